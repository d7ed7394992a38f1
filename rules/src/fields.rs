//! An event laid flat: which leaf stands at which path, and in which elements of which lists.
//!
//! Lists have no place in a path: `{"lines": [{"sku": 1}, {"sku": 2}]}` has two leaves at `lines.sku`. What a list
//! leaves behind is a [`Context`] for each of its elements that is an object or a list: two leaves go together
//! unless they stand in different elements of the same list. A plain value in a list belongs to what is around the
//! list, so that it goes together with everything (event-ruler has it so).

use std::collections::{HashMap, HashSet};

use crate::pattern::Pattern;
use crate::pattern::matcher::Scalar;
use crate::syntax::{Node, Value};
use crate::view::View;

/// The context of everything that stands in no list.
pub(crate) const OUTERMOST: usize = 0;

/// An element of a list, or the event itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Context {
    /// The context that its list stands in. Always a smaller number than its own, but for the outermost.
    pub(crate) parent: usize,
    /// Which list; numbered through the event.
    pub(crate) list: usize,
}

/// A leaf.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Leaf<'v> {
    pub(crate) scalar: Scalar<'v>,
    pub(crate) context: usize,
}

/// The paths that somebody asks for, and all that lead to them, so that the rest of an event is passed over.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wanted {
    /// Each path, cut at each of its dots.
    leading: HashSet<Box<str>>,
}

impl Wanted {
    pub(crate) fn add(&mut self, pattern: &Pattern) {
        for path in pattern.paths() {
            for (dot, _) in path.match_indices('.') {
                self.leading.insert(path[..dot].into());
            }
            self.leading.insert((&*path).into());
        }
    }
}

/// An event, laid flat.
#[derive(Debug)]
pub(crate) struct Fields<'v> {
    pub(crate) contexts: Vec<Context>,
    leaves: HashMap<Box<str>, Vec<Leaf<'v>>>,
}

impl<'v> Fields<'v> {
    /// Lays the wanted paths of an event flat. Takes time in proportion to the event, whatever is in it: a key is
    /// looked at once, and what it leads to only if some wanted path goes that way.
    pub(crate) fn new(view: &'v View<'_>, wanted: &Wanted) -> Fields<'v> {
        Fields::of_node(view.root(), wanted)
    }

    /// The same for any node.
    pub(crate) fn of_node(node: &'v Node<'_>, wanted: &Wanted) -> Fields<'v> {
        let outermost = Context { parent: OUTERMOST, list: 0 };
        let fields = Fields { contexts: vec![outermost], leaves: HashMap::new() };
        let mut walk = Walk { fields, wanted, path: String::new(), keys: 0, lists: 0 };
        walk.node(node, OUTERMOST);
        walk.fields
    }

    /// Of what somebody else has laid flat.
    pub(crate) fn of(contexts: Vec<Context>, leaves: HashMap<Box<str>, Vec<Leaf<'v>>>) -> Fields<'v> {
        Fields { contexts, leaves }
    }

    /// The leaves at `path`.
    pub(crate) fn at(&self, path: &str) -> &[Leaf<'v>] {
        self.leaves.get(path).map_or(&[], Vec::as_slice)
    }
}

struct Walk<'v, 'w> {
    fields: Fields<'v>,
    wanted: &'w Wanted,
    path: String,
    /// How many keys the path is made of: an empty key is one, too.
    keys: usize,
    lists: usize,
}

impl<'v> Walk<'v, '_> {
    fn node(&mut self, node: &'v Node<'_>, context: usize) {
        match &node.value {
            Value::Object(entries) => {
                for entry in entries {
                    let length = self.path.len();
                    // event-ruler joins keys by dots, so that a dot in a key and a level of nesting are one.
                    if self.keys > 0 {
                        self.path.push('.');
                    }
                    self.path.push_str(&entry.key);
                    self.keys += 1;
                    if self.wanted.leading.contains(self.path.as_str()) {
                        self.node(&entry.node, context);
                    }
                    self.keys -= 1;
                    self.path.truncate(length);
                }
            }
            Value::Array(items) => {
                let list = self.lists;
                self.lists += 1;
                for item in items {
                    if matches!(item.value, Value::Object(_) | Value::Array(_)) {
                        self.fields.contexts.push(Context { parent: context, list });
                        self.node(item, self.fields.contexts.len() - 1);
                    } else {
                        self.node(item, context);
                    }
                }
            }
            leaf => {
                if let Some(scalar) = Scalar::of(leaf) {
                    let leaf = Leaf { scalar, context };
                    match self.fields.leaves.get_mut(self.path.as_str()) {
                        Some(leaves) => leaves.push(leaf),
                        None => {
                            self.fields.leaves.insert(self.path.as_str().into(), vec![leaf]);
                        }
                    }
                }
            }
        }
    }
}
