//! The extension attributes of an event, by name.
//!
//! An event has few of them, mostly three to ten. They are put in once, on the way in, and from then on looked through in the
//! order of their names, copied and let go of. So they stand sorted in one piece of memory that is as long as they are,
//! where a tree would take nodes of eleven. What comes in goes to its place by moving what stands behind it: how many there
//! may be is bounded by [`Limits`](crate::Limits) and by what a message may have of headers.

use std::fmt;
use std::iter::Map;
use std::ops::Index;
use std::slice;

use crate::{ExtensionValue, Text};

/// Extension attributes, each name once, in the order of the names' bytes.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Extensions {
    /// Sorted by name, each once.
    sorted: Vec<(Text, ExtensionValue)>,
}

impl Extensions {
    /// None yet, with room for so many.
    #[must_use]
    pub fn with_capacity(count: usize) -> Extensions {
        Extensions { sorted: Vec::with_capacity(count) }
    }

    /// Makes room for so many more, so that they come in without another allocation.
    pub fn reserve(&mut self, count: usize) {
        self.sorted.reserve_exact(count);
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.sorted.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sorted.is_empty()
    }

    /// The value of an attribute, where there is one of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&ExtensionValue> {
        self.sorted.iter().find(|(known, _)| is(known, name)).map(|(_, value)| value)
    }

    /// Whether there is one of this name.
    #[must_use]
    pub fn contains_key(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// Adds an attribute; one of the same name gives way and is returned.
    pub fn insert(&mut self, name: Text, value: ExtensionValue) -> Option<ExtensionValue> {
        match self.find(&name) {
            Ok(at) => self.sorted.get_mut(at).map(|(_, known)| std::mem::replace(known, value)),
            Err(at) => {
                self.sorted.insert(at, (name, value));
                None
            }
        }
    }

    /// Takes an attribute out, where there is one of this name.
    pub fn remove(&mut self, name: &str) -> Option<ExtensionValue> {
        let at = self.sorted.iter().position(|(known, _)| is(known, name))?;
        Some(self.sorted.remove(at).1)
    }

    /// Takes all of them out; their room stays.
    pub fn clear(&mut self) {
        self.sorted.clear();
    }

    /// All of them in the order of their names.
    pub fn iter(&self) -> Iter<'_> {
        self.sorted.iter().map(|(name, value)| (name, value))
    }

    /// Where one of this name stands, or where it would.
    fn find(&self, name: &str) -> Result<usize, usize> {
        // What was written by us comes back in order.
        if self.sorted.last().is_none_or(|(last, _)| last.as_str() < name) {
            return Err(self.sorted.len());
        }
        self.sorted.binary_search_by(|(known, _)| known.as_str().cmp(name))
    }
}

/// Whether it is this name. There are few, most of another length: each looked at so is faster than halving.
fn is(known: &Text, name: &str) -> bool {
    known.len() == name.len() && known == name
}

/// [`Extensions`] in the order of their names.
type Iter<'a> =
    Map<slice::Iter<'a, (Text, ExtensionValue)>, fn(&'a (Text, ExtensionValue)) -> (&'a Text, &'a ExtensionValue)>;

impl<'a> IntoIterator for &'a Extensions {
    type Item = (&'a Text, &'a ExtensionValue);
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

impl IntoIterator for Extensions {
    type Item = (Text, ExtensionValue);
    type IntoIter = std::vec::IntoIter<(Text, ExtensionValue)>;

    fn into_iter(self) -> Self::IntoIter {
        self.sorted.into_iter()
    }
}

/// Of several with one name the last stays.
impl Extend<(Text, ExtensionValue)> for Extensions {
    fn extend<I: IntoIterator<Item = (Text, ExtensionValue)>>(&mut self, more: I) {
        for (name, value) in more {
            self.insert(name, value);
        }
    }
}

/// Of several with one name the last stays.
impl FromIterator<(Text, ExtensionValue)> for Extensions {
    fn from_iter<I: IntoIterator<Item = (Text, ExtensionValue)>>(all: I) -> Extensions {
        let all = all.into_iter();
        let mut extensions = Extensions::with_capacity(all.size_hint().0);
        extensions.extend(all);
        extensions
    }
}

/// Of several with one name the last stays.
impl<const N: usize> From<[(Text, ExtensionValue); N]> for Extensions {
    fn from(all: [(Text, ExtensionValue); N]) -> Extensions {
        all.into_iter().collect()
    }
}

/// For those who know that it is there: it panics where it is not.
impl Index<&str> for Extensions {
    type Output = ExtensionValue;

    fn index(&self, name: &str) -> &ExtensionValue {
        self.get(name).unwrap_or_else(|| panic!("there is no extension attribute `{name}`"))
    }
}

impl fmt::Debug for Extensions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    /// Few names, so that many meet again; some longer than what is kept in place.
    fn name() -> impl Strategy<Value = Text> {
        prop_oneof!["[a-c0-1]{0,2}", "[ab]", Just("anameofmorethantwentyfourletters".to_owned())].prop_map(Text::from)
    }

    fn named() -> impl Strategy<Value = (Text, ExtensionValue)> {
        (name(), any::<i32>().prop_map(ExtensionValue::Integer))
    }

    fn same(ours: &Extensions, map: &BTreeMap<Text, ExtensionValue>) {
        assert_eq!(ours.len(), map.len());
        assert_eq!(ours.is_empty(), map.is_empty());
        assert!(ours.iter().eq(map.iter()), "{ours:?} and {map:?}");
        assert!(ours.clone().into_iter().eq(map.clone()), "{ours:?} and {map:?}");
        assert_eq!(format!("{ours:?} {ours:#?}"), format!("{map:?} {map:#?}"));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn they_are_what_a_map_by_name_is(
            begin in prop::collection::vec(named(), 0..12),
            steps in prop::collection::vec((0..4, named()), 0..40),
            asked in name(),
        ) {
            let mut ours: Extensions = begin.iter().cloned().collect();
            let mut map: BTreeMap<Text, ExtensionValue> = begin.into_iter().collect();
            same(&ours, &map);
            for (step, (name, value)) in steps {
                match step {
                    0 => prop_assert_eq!(ours.remove(&name), map.remove(&name)),
                    1 => {
                        ours.extend([(name.clone(), value.clone()), (name.clone(), ExtensionValue::Boolean(true))]);
                        map.extend([(name.clone(), value), (name, ExtensionValue::Boolean(true))]);
                    }
                    _ => prop_assert_eq!(ours.insert(name.clone(), value.clone()), map.insert(name, value)),
                }
                same(&ours, &map);
                prop_assert_eq!(ours.get(&asked), map.get(&asked));
                prop_assert_eq!(ours.contains_key(&asked), map.contains_key(&asked));
            }
            let backwards: Extensions = ours.clone().into_iter().rev().collect();
            prop_assert_eq!(&backwards, &ours, "the order in which they came is not seen");
            ours.clear();
            same(&ours, &BTreeMap::new());
        }
    }

    #[test]
    fn one_is_had_by_its_name() {
        let of = |value: &str| ExtensionValue::String(value.into());
        let all = Extensions::from([("b".into(), of("1")), ("a".into(), of("2")), ("b".into(), of("3"))]);
        assert_eq!((&all["a"], &all["b"], all.len()), (&of("2"), &of("3"), 2));
        assert_eq!(all.get("c"), None);
    }

    #[test]
    #[should_panic(expected = "no extension attribute `c`")]
    fn one_that_is_not_there_is_not_had() {
        let _ = &Extensions::default()["c"];
    }

    #[test]
    fn room_that_was_made_is_enough() {
        let mut all = Extensions::with_capacity(2);
        all.reserve(7);
        let room = all.sorted.as_ptr();
        for name in ["g", "b", "f", "c", "a", "e", "d"] {
            all.insert(name.into(), ExtensionValue::Boolean(true));
        }
        assert_eq!(all.sorted.as_ptr(), room);
    }
}
