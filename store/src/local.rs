//! The [`Store`] on one machine: the journal with its index in memory.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use eventyard_event::{Clock, DeliveryId, EventId, Name, Timestamp};

use crate::disk::{AnyDisk, RealDisk, SimulatedDisk};
use crate::owner::Entry;
use crate::shared::Shared;
use crate::{
    Admitted, Begin, Commit, DeadLetter, DeadLetterFilter, DeliveryFilter, DeliveryView, EventFilter, EventView,
    Health, OpenError, OpenReport, Options, Page, PageRequest, QueueKey, ReadyQueue, SavedPosition, SettleError,
    Settlement, Stats, Store, StoreError, Taken,
};

mod blanks;
mod lists;
mod open;
mod rebuild;
mod run;
mod views;
mod writes;

pub(crate) use open::{find_checkpoint, index_folder, io as io_error, missing_at_front, open_held, recover_error};
pub(crate) use rebuild::Rebuild;
use run::Running;

/// A store on the local disk. Cheap to clone; with the last clone the owner ends, without a checkpoint unless
/// [`Store::close`] was called.
#[derive(Clone)]
pub struct LocalStore {
    shared: Arc<Shared>,
    entry: Entry,
    running: Arc<Running>,
}

impl LocalStore {
    /// Opens the store in the folder `dir`, or makes a new one there. Reads the journal back, so it blocks for
    /// as long as that takes; may be called inside a runtime or outside.
    ///
    /// `clock` is the wall clock; it is asked when something is found to have been interrupted, when lists say
    /// what waits, and when due times are brought back to [`Options::backoff_max`].
    ///
    /// # Errors
    /// [`OpenError`]. Damage is no error: what could be read is served, and the report names the rest.
    pub fn open(dir: &Path, options: Options, clock: Clock) -> Result<(LocalStore, OpenReport), OpenError> {
        open::open(&AnyDisk::Real(RealDisk), dir, options, clock)
    }

    /// Opens the store on a simulated disk. Its owner is a tokio task, which waits out the disk's slowness in
    /// tokio's time: so this is called inside a runtime, and with paused time nothing takes long.
    ///
    /// # Errors
    /// As [`LocalStore::open`].
    pub fn open_simulated(
        disk: SimulatedDisk,
        options: Options,
        clock: Clock,
    ) -> Result<(LocalStore, OpenReport), OpenError> {
        open::open(&AnyDisk::Simulated(disk), Path::new("/data"), options, clock)
    }
}

#[async_trait]
impl Store for LocalStore {
    async fn commit(&self, commit: Commit) -> Result<Vec<Admitted>, StoreError> {
        self.write_commit(commit).await
    }

    fn ready(&self, now: Timestamp) -> Vec<ReadyQueue> {
        let found = self.shared.state().ready(now);
        let names = self.shared.names();
        found
            .into_iter()
            .filter_map(|(number, eligible_count)| {
                Some(ReadyQueue { queue: QueueKey::clone(names.queue(number)?), eligible_count })
            })
            .collect()
    }

    async fn changed(&self) {
        self.shared.changed.notified().await;
    }

    fn next_due(&self) -> Option<Timestamp> {
        self.shared.state().next_due()
    }

    async fn take(
        &self,
        queue: &QueueKey,
        count: usize,
        now: Timestamp,
        _lease: Duration,
    ) -> Result<Vec<Taken>, StoreError> {
        self.lease(queue, count, now)
    }

    async fn extend(&self, _deliveries: &[DeliveryId], _lease: Duration) -> Result<(), StoreError> {
        Ok(())
    }

    async fn begin(&self, begins: Vec<Begin>) -> Vec<Result<(), SettleError>> {
        self.write_begins(begins).await
    }

    async fn settle(&self, settlements: Vec<Settlement>) -> Vec<Result<(), SettleError>> {
        self.write_settlements(settlements).await
    }

    async fn release(&self, deliveries: Vec<DeliveryId>) {
        let mut state = self.shared.state();
        let mut released = false;
        for delivery in deliveries {
            released |= state.release(delivery);
        }
        drop(state);
        if released {
            self.shared.changed.notify_one();
        }
    }

    async fn replay(
        &self,
        letters: Vec<(DeliveryId, Timestamp)>,
        at: Timestamp,
    ) -> Result<Vec<DeliveryId>, StoreError> {
        self.write_replay(letters, at).await
    }

    async fn purge(&self, letters: Vec<DeliveryId>, at: Timestamp) -> Result<Vec<DeliveryId>, StoreError> {
        self.write_purge(letters, at).await
    }

    async fn cancel(&self, deliveries: Vec<DeliveryId>, at: Timestamp) -> Result<Vec<DeliveryId>, StoreError> {
        self.write_cancel(deliveries, at).await
    }

    async fn hasten(
        &self,
        deliveries: Vec<DeliveryId>,
        due_at: Timestamp,
        at: Timestamp,
    ) -> Result<Vec<DeliveryId>, StoreError> {
        self.write_hasten(deliveries, due_at, at).await
    }

    async fn event(&self, id: EventId) -> Result<Option<EventView>, StoreError> {
        self.view_event(id)
    }

    async fn events(&self, filter: EventFilter, page: PageRequest) -> Result<Page<EventView>, StoreError> {
        self.list_events(&filter, &page)
    }

    async fn delivery(&self, id: DeliveryId) -> Result<Option<DeliveryView>, StoreError> {
        self.view_delivery(id)
    }

    async fn deliveries(&self, filter: DeliveryFilter, page: PageRequest) -> Result<Page<DeliveryView>, StoreError> {
        self.list_deliveries(&filter, &page)
    }

    async fn dead_letter(&self, id: DeliveryId) -> Result<Option<DeadLetter>, StoreError> {
        self.view_dead_letter(id)
    }

    async fn dead_letters(&self, filter: DeadLetterFilter, page: PageRequest) -> Result<Page<DeadLetter>, StoreError> {
        self.list_dead_letters(&filter, &page)
    }

    async fn position(&self, namespace: &Name, source: &Name) -> Result<Option<SavedPosition>, StoreError> {
        Ok(self.shared.state().position(namespace, source).map(|(saved, _)| saved.clone()))
    }

    fn stats(&self) -> Stats {
        let (tally, waiting, forgotten) = {
            let state = self.shared.state();
            (state.tally, state.waiting_count(), state.forgotten)
        };
        Stats {
            events: self.shared.catalog().event_count(),
            unsettled: tally.unsettled,
            in_flight: tally.leased,
            waiting,
            dead: tally.dead,
            journal_bytes: self.shared.journal_bytes(),
            frames: self.shared.end().sequence,
            syncs: self.shared.syncs(),
            forgotten_until: (forgotten.before > 0).then(|| Timestamp::from_millis(forgotten.newest)),
        }
    }

    fn backlog(&self) -> Vec<(QueueKey, u64)> {
        let counts: Vec<u64> = self.shared.state().queues.iter().map(|queue| queue.unsettled).collect();
        let names = self.shared.names();
        (0u32..)
            .zip(counts)
            .filter(|(_, count)| *count > 0)
            .filter_map(|(number, count)| Some((QueueKey::clone(names.queue(number)?), count)))
            .collect()
    }

    fn health(&self) -> Health {
        self.shared.health()
    }

    async fn close(&self) -> Result<(), StoreError> {
        self.running.close(&self.shared).await
    }
}
