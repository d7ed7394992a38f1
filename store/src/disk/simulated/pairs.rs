//! The simulated disk's key-value store, in the place of sled: batches are atomic, and at a power cut the first
//! few of those that were not synced are kept.

use std::collections::BTreeMap;

use super::SimulatedDisk;

/// Puts and removals that become visible together.
pub(crate) type PairBatch = Vec<(Vec<u8>, Option<Vec<u8>>)>;

#[derive(Default)]
pub(super) struct Pairs {
    seen: BTreeMap<Vec<u8>, Vec<u8>>,
    durable: BTreeMap<Vec<u8>, Vec<u8>>,
    unsynced: Vec<PairBatch>,
}

fn apply(to: &mut BTreeMap<Vec<u8>, Vec<u8>>, batch: PairBatch) {
    for (key, value) in batch {
        match value {
            Some(value) => to.insert(key, value),
            None => to.remove(&key),
        };
    }
}

impl Pairs {
    pub(super) fn cut_power(&mut self, random: &mut fastrand::Rng) {
        let kept = if self.unsynced.is_empty() { 0 } else { random.usize(..=self.unsynced.len()) };
        for batch in self.unsynced.drain(..).take(kept) {
            apply(&mut self.durable, batch);
        }
        self.seen = self.durable.clone();
    }
}

impl SimulatedDisk {
    /// Applies a batch; durable after [`SimulatedDisk::sync_pairs`].
    pub(crate) fn put_pairs(&self, batch: PairBatch) -> std::io::Result<()> {
        let (mut inner, stops) = self.call(super::CallKind::Write)?;
        inner.crashed |= stops;
        apply(&mut inner.pairs.seen, batch.clone());
        inner.pairs.unsynced.push(batch);
        if stops { Err(std::io::Error::other("the machine stops")) } else { Ok(()) }
    }

    /// Makes all batches durable.
    pub(crate) fn sync_pairs(&self) -> std::io::Result<()> {
        let (mut inner, stops) = self.call(super::CallKind::Sync)?;
        let done = !stops || inner.random.bool();
        inner.crashed |= stops;
        if done {
            for batch in std::mem::take(&mut inner.pairs.unsynced) {
                apply(&mut inner.pairs.durable, batch);
            }
        }
        if stops { Err(std::io::Error::other("the machine stops")) } else { Ok(()) }
    }

    /// All pairs.
    pub(crate) fn pairs(&self) -> std::io::Result<Vec<(Vec<u8>, Vec<u8>)>> {
        let (inner, _) = self.call(super::CallKind::Read)?;
        Ok(inner.pairs.seen.iter().map(|(key, value)| (key.clone(), value.clone())).collect())
    }

    /// Loses what stands in the place of the index, durably and without a call; for tests that start without it.
    pub fn lose_index(&self) {
        self.lock().pairs = Pairs::default();
    }

    /// Forgets all pairs, durably.
    pub(crate) fn clear_pairs(&self) -> std::io::Result<()> {
        let (mut inner, _) = self.call(super::CallKind::Rename)?;
        inner.pairs = Pairs::default();
        Ok(())
    }
}
