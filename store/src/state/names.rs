//! Queue names and snapshot hashes, each kept once and meant by number.
//!
//! A delivery in memory names its queue in four bytes. The numbers are this process's and the checkpoint's;
//! the journal holds the names themselves. There are as many as rules, targets and reloads make, and they are
//! never forgotten while the store is open.

use std::collections::HashMap;
use std::sync::Arc;

use crate::{QueueKey, SnapshotHash};

/// The two tables. A lock of its own guards them, because callers look names up before they hand a commit to
/// the owner, many at a time.
#[derive(Debug, Default)]
pub(crate) struct Names {
    queues: Vec<Arc<QueueKey>>,
    queue_numbers: HashMap<Arc<QueueKey>, u32>,
    snapshots: Vec<SnapshotHash>,
    snapshot_numbers: HashMap<SnapshotHash, u32>,
}

impl Names {
    pub(crate) fn find_queue(&self, queue: &QueueKey) -> Option<u32> {
        self.queue_numbers.get(queue).copied()
    }

    pub(crate) fn find_snapshot(&self, snapshot: &SnapshotHash) -> Option<u32> {
        self.snapshot_numbers.get(snapshot).copied()
    }

    /// The number of a queue, a new one where it has none.
    pub(crate) fn queue_number(&mut self, queue: &QueueKey) -> u32 {
        if let Some(number) = self.find_queue(queue) {
            return number;
        }
        let number = u32::try_from(self.queues.len()).unwrap_or(u32::MAX);
        let queue = Arc::new(queue.clone());
        self.queues.push(Arc::clone(&queue));
        self.queue_numbers.insert(queue, number);
        number
    }

    /// The number of a snapshot, a new one where it has none.
    pub(crate) fn snapshot_number(&mut self, snapshot: SnapshotHash) -> u32 {
        if let Some(number) = self.find_snapshot(&snapshot) {
            return number;
        }
        let number = u32::try_from(self.snapshots.len()).unwrap_or(u32::MAX);
        self.snapshots.push(snapshot);
        self.snapshot_numbers.insert(snapshot, number);
        number
    }

    pub(crate) fn queue(&self, number: u32) -> Option<&Arc<QueueKey>> {
        self.queues.get(number as usize)
    }

    pub(crate) fn snapshot(&self, number: u32) -> Option<SnapshotHash> {
        self.snapshots.get(number as usize).copied()
    }

    pub(crate) fn queue_count(&self) -> usize {
        self.queues.len()
    }

    pub(crate) fn snapshot_count(&self) -> usize {
        self.snapshots.len()
    }
}
