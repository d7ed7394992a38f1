//! What every polled source can be told beside its own keys, and how events are gathered into a batch.
//!
//! [`INSTANCES`] and [`FILTER`] are seen to by the broker: it runs so many of a source, and leaves out what its filter
//! does not match. [`BATCH`] is for the source, by way of [`Gathered`].

use std::time::Duration;

use serde::Deserialize;

use crate::source::{Batch, Incoming, Undecodable};
use crate::spec::{Field, FieldKind};

/// The most bytes that one batch takes, more or less: it is one frame of the journal, and is in memory until it is
/// written. A single event may be larger.
pub const BATCH_BYTES_MAX: usize = 8 * 1024 * 1024;

/// How many events are committed together.
pub const BATCH: Field = Field::with_default(
    "batch",
    FieldKind::Table(&[
        Field::with_default(
            "max",
            FieldKind::Integer { min: 1, max: 10_000 },
            "1000",
            "As many events at most; a batch ends at 8 MiB, too.",
        ),
        Field::with_default(
            "window",
            FieldKind::Duration,
            "0ms",
            "How long a batch waits for more once it has one. Without it, what has come already goes on at once.",
        ),
    ]),
    "{}",
    "How many events are committed together.",
);

/// How many of a source run side by side.
pub const INSTANCES: Field = Field::with_default(
    "instances",
    FieldKind::Integer { min: 1, max: 16 },
    "1",
    "How many of it run side by side, each with a connection of its own. What order the system keeps for one reader is \
     then kept only as far as the system keeps it between several.",
);

/// What of a source's events is taken.
pub const FILTER: Field = Field::optional(
    "filter",
    FieldKind::Any,
    "A pattern as in a rule, as a table or a string of JSON. What does not match is acknowledged, counted and not kept.",
);

/// `batch`, to be read from a source's settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct BatchConfig {
    max: usize,
    #[serde(rename = "window")]
    window_ms: u64,
}

impl BatchConfig {
    /// The most events of one batch.
    #[must_use]
    pub fn max(&self) -> usize {
        self.max
    }

    /// How long a batch waits for more once it has one.
    #[must_use]
    pub fn window(&self) -> Duration {
        Duration::from_millis(self.window_ms)
    }
}

/// A batch that is being gathered.
#[derive(Debug)]
pub struct Gathered {
    config: BatchConfig,
    batch: Batch,
    bytes: usize,
}

impl Gathered {
    /// An empty one.
    #[must_use]
    pub fn new(config: BatchConfig) -> Gathered {
        Gathered { config, batch: Batch::default(), bytes: 0 }
    }

    /// Adds an event.
    pub fn event(&mut self, incoming: Incoming) {
        self.bytes += incoming.event.data.bytes().len();
        self.batch.events.push(incoming);
    }

    /// Adds what could not be decoded.
    pub fn undecodable(&mut self, undecodable: Undecodable) {
        self.bytes += undecodable.raw.len();
        self.batch.undecodable.push(undecodable);
    }

    /// How many messages there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.batch.events.len() + self.batch.undecodable.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether no more belongs into it.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.len() >= self.config.max || self.bytes >= BATCH_BYTES_MAX
    }

    /// The batch, with the position that comes with it.
    #[must_use]
    pub fn finish(self, position: Option<Vec<u8>>) -> Batch {
        Batch { position, ..self.batch }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use serde_json::Map;

    use super::*;

    #[test]
    fn a_batch_is_full_by_number_or_by_bytes() {
        let dead = |bytes: usize| Undecodable::new(Map::new(), &Bytes::from(vec![0; bytes]), "decode", "no");
        let mut gathered = Gathered::new(BatchConfig { max: 2, window_ms: 0 });
        gathered.undecodable(dead(1));
        assert!(!gathered.is_full() && !gathered.is_empty());
        gathered.undecodable(dead(1));
        assert!(gathered.is_full());
        let mut gathered = Gathered::new(BatchConfig { max: 10_000, window_ms: 0 });
        while !gathered.is_full() {
            gathered.undecodable(dead(1 << 20));
        }
        assert_eq!(gathered.len(), BATCH_BYTES_MAX / crate::source::UNDECODABLE_RAW_MAX);
        let batch = gathered.finish(Some(vec![1]));
        assert_eq!((batch.undecodable.len(), batch.position), (128, Some(vec![1])));
    }
}
