//! What a source that lists a bucket remembers, within 64 KiB whatever the bucket's size.
//!
//! A listing is by key, not by time, and the time of an object says little: stores give whole seconds, and an upload in
//! parts carries the time at which it began. So what is remembered is the *set* of objects that were seen, each by a
//! hash of its key, etag and time. Where there are more than [`SEEN_MAX`] of them, only the youngest are kept, and
//! whatever is not younger than the youngest that was let go (the *floor*) counts as seen.
//!
//! So every object makes one event for each of its states that a listing finds, but for this: an object that appears
//! with a time below the floor is not seen. That takes an upload in parts during which [`SEEN_MAX`] others came.

use std::collections::{BTreeSet, HashSet};
use std::time::Duration;

use super::guard::digest;

/// How many objects are remembered one by one: 60,000 bytes, within the 64 KiB that a position has.
pub(super) const SEEN_MAX: usize = 7_500;

/// How long before a backfill began an object may have changed that is looked at again after it, where the program
/// ended in between: more than clocks differ, and few enough to be recognised as repeats.
const BACKFILL_MARGIN: Duration = Duration::from_mins(15);

/// The version of a saved position that is written and read.
const VERSION: u8 = 1;

/// An object as it is remembered: its time in milliseconds, and the hash of what it is.
pub(super) type Sight = (i64, u64);

/// The objects that were seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Seen {
    /// What is not younger than this was seen.
    floor: Option<Sight>,
    known: HashSet<u64>,
}

impl Seen {
    /// Whether an object was not seen before.
    pub(super) fn is_new(&self, sight: Sight) -> bool {
        self.floor.is_none_or(|floor| sight > floor) && !self.known.contains(&sight.1)
    }

    /// Remembers an object that makes an event, until the listing is over. Where there is no room for it, a listing
    /// that is cut off finds it again, and its id says that it is a repeat.
    pub(super) fn note(&mut self, sight: Sight) {
        if self.known.len() < SEEN_MAX {
            self.known.insert(sight.1);
        }
    }

    /// Everything that changed before this instant was seen, and nothing else.
    pub(super) fn before(millis: i64) -> Seen {
        Seen { floor: Some((millis, 0)), known: HashSet::new() }
    }
}

/// The youngest objects of one listing.
#[derive(Debug, Default)]
pub(super) struct Youngest {
    kept: BTreeSet<Sight>,
    let_go: Option<Sight>,
}

impl Youngest {
    pub(super) fn add(&mut self, sight: Sight) {
        self.kept.insert(sight);
        if self.kept.len() > SEEN_MAX {
            self.let_go = self.let_go.max(self.kept.pop_first());
        }
    }

    /// What is remembered after a whole listing. The floor never falls: what was seen stays seen.
    pub(super) fn seen(self, before: &Seen) -> Seen {
        let floor = self.let_go.max(before.floor);
        Seen { floor, known: self.kept.into_iter().map(|(_, hash)| hash).collect() }
    }

    /// The same after a backfill of which only the end was listed by this program; it began at this instant.
    pub(super) fn seen_since(self, began_millis: i64) -> Seen {
        let margin = i64::try_from(BACKFILL_MARGIN.as_millis()).unwrap_or(i64::MAX);
        self.seen(&Seen::before(began_millis.saturating_sub(margin)))
    }
}

/// How far a source has come, as it is saved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// It has seen nothing, and what lies there makes no events.
    Fresh,
    /// It takes what lies in the bucket, by key; the last one taken. It began at this instant. Where somebody asked for it
    /// (`since`), only what changed since then, and what came before comes again.
    Backfill { began_millis: i64, since: Option<i64>, after: String },
    /// It takes what is new.
    Watching(Seen),
}

/// Which bucket and prefix a position belongs to. One of another says nothing about this.
pub(super) fn identity(endpoint: &str, bucket: &str, prefix: &str) -> u64 {
    digest(&[endpoint, bucket, prefix])
}

/// A position as bytes: the version, whose it is, a word for the stage, and the stage.
pub(super) fn write(identity: u64, stage: &Stage) -> Vec<u8> {
    let mut bytes = vec![VERSION];
    bytes.extend(identity.to_be_bytes());
    match stage {
        Stage::Fresh => bytes.push(b'n'),
        Stage::Backfill { began_millis, since, after } => {
            bytes.push(if since.is_some() { b's' } else { b'b' });
            bytes.extend(began_millis.to_be_bytes());
            bytes.extend(since.iter().flat_map(|since| since.to_be_bytes()));
            bytes.extend(after.as_bytes());
        }
        Stage::Watching(seen) => {
            bytes.push(if seen.floor.is_some() { b'f' } else { b'w' });
            if let Some((millis, hash)) = seen.floor {
                bytes.extend(millis.to_be_bytes());
                bytes.extend(hash.to_be_bytes());
            }
            let mut known: Vec<u64> = seen.known.iter().copied().collect();
            known.sort_unstable();
            bytes.extend(known.into_iter().flat_map(u64::to_be_bytes));
        }
    }
    bytes
}

/// Reads a position; `None` where it is another bucket's.
///
/// # Errors
/// What is wrong with it.
pub(super) fn read(bytes: &[u8], identity: u64) -> Result<Option<Stage>, String> {
    let (&version, rest) = bytes.split_first().ok_or("it is empty")?;
    if version != VERSION {
        return Err(format!("it has version {version}, and this program reads {VERSION}"));
    }
    let (whose, rest) = number(rest)?;
    if whose != identity {
        return Ok(None);
    }
    let (&word, rest) = rest.split_first().ok_or("it ends too soon")?;
    let stage = match word {
        b'n' => Stage::Fresh,
        b'b' | b's' => {
            let (began, rest) = number(rest)?;
            let (since, after) = if word == b's' {
                let (since, after) = number(rest)?;
                (Some(since.cast_signed()), after)
            } else {
                (None, rest)
            };
            let after = std::str::from_utf8(after).map_err(|_| "its key is no text")?.to_owned();
            Stage::Backfill { began_millis: began.cast_signed(), since, after }
        }
        b'w' => Stage::Watching(Seen { floor: None, known: hashes(rest)? }),
        b'f' => {
            let (millis, rest) = number(rest)?;
            let (hash, rest) = number(rest)?;
            Stage::Watching(Seen { floor: Some((millis.cast_signed(), hash)), known: hashes(rest)? })
        }
        other => return Err(format!("its stage `{}` is not known", char::from(other).escape_default())),
    };
    Ok(Some(stage))
}

fn number(bytes: &[u8]) -> Result<(u64, &[u8]), String> {
    let (number, rest) = bytes.split_first_chunk().ok_or("it ends too soon")?;
    Ok((u64::from_be_bytes(*number), rest))
}

fn hashes(bytes: &[u8]) -> Result<HashSet<u64>, String> {
    let (hashes, rest) = bytes.as_chunks::<8>();
    if !rest.is_empty() {
        return Err("it ends within a hash".to_owned());
    }
    Ok(hashes.iter().map(|hash| u64::from_be_bytes(*hash)).collect())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn listing(objects: &BTreeMap<u64, Sight>, seen: &mut Seen) -> Vec<Sight> {
        let mut youngest = Youngest::default();
        let mut new = Vec::new();
        for &sight in objects.values() {
            youngest.add(sight);
            if seen.is_new(sight) {
                seen.note(sight);
                new.push(sight);
            }
        }
        *seen = youngest.seen(seen);
        new
    }

    #[test]
    fn a_small_bucket_is_known_exactly_whatever_the_times_say() {
        let mut seen = Seen::default();
        let mut objects = BTreeMap::from([(1, (100, 11)), (2, (200, 12))]);
        assert_eq!(listing(&objects, &mut seen), [(100, 11), (200, 12)]);
        assert!(listing(&objects, &mut seen).is_empty());
        // An upload in parts that began long before, and an object that was written over.
        objects.insert(3, (1, 13));
        objects.insert(1, (300, 14));
        assert_eq!(listing(&objects, &mut seen), [(300, 14), (1, 13)]);
        // One that is gone and comes again as it was: it is new again, for it was gone.
        objects.remove(&2);
        assert!(listing(&objects, &mut seen).is_empty());
        objects.insert(2, (200, 12));
        assert_eq!(listing(&objects, &mut seen), [(200, 12)]);
    }

    #[test]
    fn a_large_bucket_is_known_by_its_youngest() {
        let count = 3 * SEEN_MAX as u64;
        let mut objects: BTreeMap<u64, Sight> =
            (0..count).map(|key| (key, (i64::try_from(key).unwrap() / 10, key + 1_000_000))).collect();
        let mut seen = Seen::default();
        assert_eq!(listing(&objects, &mut seen).len() as u64, count);
        assert!(listing(&objects, &mut seen).is_empty());
        assert_eq!(seen.known.len(), SEEN_MAX);
        objects.insert(count + 1, (i64::MAX, 7));
        objects.insert(count + 2, (i64::try_from(count).unwrap() / 10, 8));
        assert_eq!(listing(&objects, &mut seen), [(i64::MAX, 7), (i64::try_from(count).unwrap() / 10, 8)]);
        assert!(write(0, &Stage::Watching(seen)).len() <= 64 * 1024);
    }

    #[test]
    fn a_position_is_read_as_it_was_written_and_only_for_its_own_bucket() {
        let stages = [
            Stage::Watching(Seen::default()),
            Stage::Watching(Seen { floor: Some((-5, u64::MAX)), known: HashSet::from([1, 2, u64::MAX]) }),
            Stage::Fresh,
            Stage::Backfill { began_millis: 1, since: None, after: "in/ü".to_owned() },
            Stage::Backfill { began_millis: 1, since: Some(i64::MIN), after: String::new() },
        ];
        for stage in stages {
            let bytes = write(7, &stage);
            assert_eq!(read(&bytes, 7), Ok(Some(stage)));
            assert_eq!(read(&bytes, 8), Ok(None));
        }
        assert!(read(&[], 7).is_err() && read(&[9, 0], 7).is_err());
        assert_ne!(identity("a", "b", "c"), identity("a", "bc", ""));
    }

    #[test]
    fn the_middle_of_a_backfill_is_looked_at_again() {
        let mut youngest = Youngest::default();
        youngest.add((10_000_000, 1));
        let seen = youngest.seen_since(10_000_000);
        assert!(!seen.is_new((10_000_000, 1)), "it was taken by this program");
        assert!(seen.is_new((10_000_000, 2)), "perhaps it was taken before; its id says so");
        assert!(!seen.is_new((1_000_000, 3)), "it lay there when the backfill began");
    }

    proptest! {
        #[test]
        fn nothing_is_missed_and_nothing_comes_twice(
            rounds in prop::collection::vec(prop::collection::vec((0u64..40, 0i64..1000), 0..30), 1..20)
        ) {
            let mut seen = Seen::default();
            let mut objects: BTreeMap<u64, Sight> = BTreeMap::new();
            let mut hash = 0;
            for round in rounds {
                let before = objects.clone();
                for (key, millis) in round {
                    hash += 1;
                    objects.insert(key, (millis, hash));
                }
                let expected: Vec<Sight> =
                    objects.iter().filter(|(key, sight)| before.get(key) != Some(sight)).map(|(_, sight)| *sight).collect();
                prop_assert_eq!(listing(&objects, &mut seen), expected);
                let stage = Stage::Watching(seen.clone());
                prop_assert_eq!(read(&write(1, &stage), 1), Ok(Some(stage)));
            }
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = read(&bytes, 0);
        }
    }
}
