//! How far a source has come in each partition, as it is saved in the frame of its events.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// The bytes of a position at most; the store takes no more.
pub(super) const POSITION_BYTES_MAX: usize = 64 * 1024;

/// The version of [`Written`] that is written and read.
const POSITION_VERSION: u32 = 1;

/// One partition of one topic.
pub(super) type Partition = (Arc<str>, i32);

/// How far a source has come in one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// The offset of the message that comes next.
    pub(super) next: i64,
    /// The timestamp of the message before it, by which a topic that was deleted and made again is recognised; -1
    /// where there is none.
    pub(super) time_ms: i64,
}

/// How far a source has come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Position {
    /// Whose offsets these are: the cluster's id and the group. Offsets of another cluster or group mean nothing.
    pub(super) cluster: String,
    pub(super) group: String,
    pub(super) places: BTreeMap<Partition, Place>,
    /// How many partitions a topic had when it was last seen; those beyond were added since. Kept only where `start`
    /// makes a difference between the two.
    pub(super) counts: BTreeMap<Arc<str>, i32>,
}

#[derive(Serialize, Deserialize)]
struct Written {
    version: u32,
    cluster: String,
    group: String,
    /// By topic and partition: the next offset, and the timestamp before it.
    topics: BTreeMap<String, BTreeMap<i32, (i64, i64)>>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    partitions: BTreeMap<String, i32>,
}

/// A saved position that does not read.
#[derive(Debug, thiserror::Error)]
#[error("the saved position does not read: {0}")]
pub(super) struct BrokenPosition(String);

impl Position {
    /// Reads what [`Position::write`] wrote.
    pub(super) fn read(bytes: &[u8]) -> Result<Position, BrokenPosition> {
        let written: Written = serde_json::from_slice(bytes).map_err(|error| BrokenPosition(error.to_string()))?;
        if written.version != POSITION_VERSION {
            let problem = format!("it has version {}, and this program reads {POSITION_VERSION}", written.version);
            return Err(BrokenPosition(problem));
        }
        let mut places = BTreeMap::new();
        for (topic, partitions) in written.topics {
            let topic: Arc<str> = topic.into();
            for (partition, (next, time_ms)) in partitions {
                places.insert((Arc::clone(&topic), partition), Place { next, time_ms });
            }
        }
        let counts = written.partitions.into_iter().map(|(topic, count)| (topic.into(), count)).collect();
        Ok(Position { cluster: written.cluster, group: written.group, places, counts })
    }

    /// What is saved. Where it would be over [`POSITION_BYTES_MAX`], partitions that are not in `needed` are left out
    /// first: the group knows those.
    pub(super) fn write(&self, needed: impl Fn(&Partition) -> bool) -> Result<Vec<u8>, BrokenPosition> {
        let whole = self.encode(|_| true)?;
        if whole.len() <= POSITION_BYTES_MAX {
            return Ok(whole);
        }
        let short = self.encode(needed)?;
        if short.len() <= POSITION_BYTES_MAX {
            return Ok(short);
        }
        let count = self.places.len();
        Err(BrokenPosition(format!("{count} partitions are too many for one source; let several share them")))
    }

    fn encode(&self, keep: impl Fn(&Partition) -> bool) -> Result<Vec<u8>, BrokenPosition> {
        let mut topics: BTreeMap<String, BTreeMap<i32, (i64, i64)>> = BTreeMap::new();
        for (partition, place) in self.places.iter().filter(|(partition, _)| keep(partition)) {
            topics.entry(partition.0.to_string()).or_default().insert(partition.1, (place.next, place.time_ms));
        }
        let written = Written {
            version: POSITION_VERSION,
            cluster: self.cluster.clone(),
            group: self.group.clone(),
            topics,
            partitions: self.counts.iter().map(|(topic, count)| (topic.to_string(), *count)).collect(),
        };
        serde_json::to_vec(&written).map_err(|error| BrokenPosition(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn position(partitions: i32) -> Position {
        let topic: Arc<str> = "orders".into();
        let places =
            (0..partitions).map(|partition| ((Arc::clone(&topic), partition), Place { next: 1 << 40, time_ms: -1 }));
        let counts = [("orders".into(), partitions)].into();
        Position { cluster: "c".into(), group: "g".into(), places: places.collect(), counts }
    }

    #[test]
    fn a_position_is_read_as_it_was_written() {
        let position = position(7);
        assert_eq!(Position::read(&position.write(|_| true).unwrap()).unwrap(), position);
    }

    #[test]
    fn what_does_not_read_says_so() {
        assert!(Position::read(b"{}").is_err());
        let newer = br#"{"version":2,"cluster":"","group":"","topics":{}}"#;
        assert!(Position::read(newer).unwrap_err().to_string().contains("version 2"));
    }

    #[test]
    fn a_position_that_is_too_long_leaves_out_what_the_group_knows() {
        let written = position(4000).write(|(_, partition)| *partition < 10).unwrap();
        assert!(written.len() <= POSITION_BYTES_MAX);
        assert_eq!(Position::read(&written).unwrap().places.len(), 10);
        assert!(position(4000).write(|_| true).is_err());
    }
}
