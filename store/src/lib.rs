//! What is on disk, and what is promised about it.
//!
//! A [`Store`] keeps events and their deliveries until each delivery has ended. After [`Store::commit`] has
//! returned, what was committed survives any crash and any power cut; before that, all of it or none of it
//! does. Work is learnt of from the store and from nowhere else: [`Store::ready`] says which queues have
//! eligible deliveries, [`Store::take`] leases some, [`Store::begin`] writes that an attempt starts,
//! [`Store::settle`] writes how it ended. So recovery after a crash and ordinary running are the same code.
//!
//! The words: a *delivery* is one event on its way to one target; a *queue* holds the deliveries of one
//! target; a *lane* orders the deliveries of one key within a queue; a *frame* is what becomes durable
//! together; a *dead letter* is a delivery that has been given up and waits to be replayed or purged.
//!
//! The store knows no rules and no network, reads no clock of its own (a [`Clock`](eventyard_event::Clock) is
//! a parameter) and decides nothing: whether an outcome means a retry or a dead letter is the caller's word.

mod backup;
mod catalog;
mod checkpoint;
mod codec;
mod dedupe;
mod delivery;
mod error;
#[cfg(test)]
mod formats;
mod history;
mod journal;
mod local;
mod lock;
mod options;
mod owner;
mod query;
mod repair;
mod retention;
mod shared;
mod state;
mod store;
mod verify;

pub mod codes;
pub mod disk;

pub use backup::{BackupReport, CopyError, CopyProgress, RestoreReport, backup, restore};
pub use delivery::{
    Admission, Admitted, AfterDead, AttemptOutcome, AttemptRecord, Begin, Commit, Dedupe, DeliveryState, Element, Lane,
    NewDelivery, NewPosition, QueueKey, Reason, SavedPosition, Settlement, SnapshotHash, Split, Taken, Verdict,
    each_place, place_count,
};
pub use error::{SettleError, StoreError};
pub use local::LocalStore;
pub use options::{Damage, OpenError, OpenProgress, OpenReport, OpenWatcher, Options, PlantedFaults};
pub use query::{
    DeadLetter, DeadLetterFilter, DeliveryFilter, DeliveryView, EventFilter, EventView, Health, Page, PageRequest,
    ReadyQueue, Stats,
};
pub use repair::{Repair, RepairError, RepairReport, RepairStep};
pub use store::Store;
pub use verify::{
    Compared, DAMAGES_MAX, LOST_EVENTS_MAX, VerifyError, VerifyProgress, VerifyReport, verify, verify_simulated,
};
