//! The contract of a store. Implemented on the local journal, and past one machine on NATS JetStream; so it is
//! asynchronous and batch-shaped, and knows no positions in a file.

use std::time::Duration;

use async_trait::async_trait;
use eventyard_event::{DeliveryId, EventId, Name, Timestamp};

use crate::{
    Admitted, Begin, Commit, DeadLetter, DeadLetterFilter, DeliveryFilter, DeliveryView, EventFilter, EventView,
    Health, Page, PageRequest, QueueKey, ReadyQueue, SavedPosition, SettleError, Settlement, Stats, StoreError, Taken,
};

/// Keeps events and deliveries. All calls may be made from many tasks at once.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// Writes one frame and returns when it is durable. Duplicates are decided in commit order; a repeat of
    /// something that is not yet synced waits for that sync.
    ///
    /// Cancellation: a caller that goes away does not undo a commit; whether it happened is then unknown to
    /// the caller.
    async fn commit(&self, commit: Commit) -> Result<Vec<Admitted>, StoreError>;

    /// The queues that have eligible deliveries at `now` (due, and head of their lane), in no order.
    /// Costs as many steps as there are such queues, however many deliveries wait elsewhere.
    fn ready(&self, now: Timestamp) -> Vec<ReadyQueue>;

    /// Returns when something may have become eligible since the last call of [`Store::ready`]: a commit, an
    /// outcome, a replay, a release. Carries no data, wakes one waiter, and remembers one wake-up.
    async fn changed(&self);

    /// When the next delivery that waits for its time becomes due, where one does.
    fn next_due(&self) -> Option<Timestamp>;

    /// Leases up to `count` eligible deliveries of a queue, oldest first. They stay leased until they are
    /// settled or released, or until `lease` is over where the store outlives its caller (the local one does
    /// not, and ignores it).
    ///
    /// `now` is the steady clock's time: wall-clock time at start plus monotonic time since, so that a jump of
    /// the clock neither delays nor hastens a retry. The same clock gives `due_at` and `Retry { at }`.
    async fn take(
        &self,
        queue: &QueueKey,
        count: usize,
        now: Timestamp,
        lease: Duration,
    ) -> Result<Vec<Taken>, StoreError>;

    /// Keeps leases for another `lease`.
    async fn extend(&self, deliveries: &[DeliveryId], lease: Duration) -> Result<(), StoreError>;

    /// Writes that attempts begin. Returns after the write and before its sync: the program's own death cannot
    /// hide the attempt, a power cut may. One result for each, in order.
    async fn begin(&self, begins: Vec<Begin>) -> Vec<Result<(), SettleError>>;

    /// Writes how leases ended; returns when that is durable. Each settlement is one frame together with what
    /// it emits. One result for each, in order.
    async fn settle(&self, settlements: Vec<Settlement>) -> Vec<Result<(), SettleError>>;

    /// Gives leases back that were not begun; nothing is written.
    async fn release(&self, deliveries: Vec<DeliveryId>);

    /// Dead letters become pending again with a fresh budget, each at its own time. Those that are not dead
    /// (any more) are passed over. Durable on return; the ids that were replayed.
    async fn replay(&self, letters: Vec<(DeliveryId, Timestamp)>, at: Timestamp)
    -> Result<Vec<DeliveryId>, StoreError>;

    /// Dead letters are given up for good. Those that are not dead are passed over. Durable on return.
    async fn purge(&self, letters: Vec<DeliveryId>, at: Timestamp) -> Result<Vec<DeliveryId>, StoreError>;

    /// Deliveries that are pending or waiting end as cancelled and are never attempted again; in their lanes the
    /// next ones may go. Those that are leased, dead or ended are passed over. Durable on return; the ids that
    /// were cancelled.
    async fn cancel(&self, deliveries: Vec<DeliveryId>, at: Timestamp) -> Result<Vec<DeliveryId>, StoreError>;

    /// Deliveries that are pending or waiting become due at `due_at`, by the clock of [`Store::take`]; budget and
    /// order stay as they are. Others are passed over. Durable on return; the ids that were moved.
    async fn hasten(
        &self,
        deliveries: Vec<DeliveryId>,
        due_at: Timestamp,
        at: Timestamp,
    ) -> Result<Vec<DeliveryId>, StoreError>;

    /// An event with its deliveries and their attempts.
    async fn event(&self, id: EventId) -> Result<Option<EventView>, StoreError>;

    /// Events, newest first.
    async fn events(&self, filter: EventFilter, page: PageRequest) -> Result<Page<EventView>, StoreError>;

    /// One delivery.
    async fn delivery(&self, id: DeliveryId) -> Result<Option<DeliveryView>, StoreError>;

    /// Deliveries, newest event first.
    async fn deliveries(&self, filter: DeliveryFilter, page: PageRequest) -> Result<Page<DeliveryView>, StoreError>;

    /// One dead letter.
    async fn dead_letter(&self, id: DeliveryId) -> Result<Option<DeadLetter>, StoreError>;

    /// Dead letters, newest first.
    async fn dead_letters(&self, filter: DeadLetterFilter, page: PageRequest) -> Result<Page<DeadLetter>, StoreError>;

    /// How far a source has come.
    async fn position(&self, namespace: &Name, source: &Name) -> Result<Option<SavedPosition>, StoreError>;

    /// Counts. Cheap: read from memory.
    fn stats(&self) -> Stats;

    /// Unsettled deliveries by queue; for metrics.
    fn backlog(&self) -> Vec<(QueueKey, u64)>;

    /// Whether it can be written to. Cheap: read from memory.
    fn health(&self) -> Health;

    /// Writes a checkpoint, syncs and ends the owner. Later calls answer [`StoreError::Closed`].
    async fn close(&self) -> Result<(), StoreError>;
}
