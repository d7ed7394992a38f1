//! What can go wrong with a store.

use eventyard_event::DeliveryId;

/// A call that was not carried out: nothing of it is on disk, unless the variant says otherwise.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// There is no space for more events; 507. Ends by itself when there is space again.
    #[error("no space left for events in the data folder")]
    Full,
    /// Writing failed earlier; nothing more is written until a restart. What the failed frame held may or may
    /// not be on disk.
    #[error("the journal cannot be written any more: {0}")]
    Poisoned(String),
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
    /// More waits to be written than the owner takes at a time; try again shortly.
    #[error("too much is waiting to be written")]
    Busy,
    /// A frame over a limit of the format.
    #[error("{what} is over the store's limit of {max}")]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// The limit, in its own unit.
        max: usize,
    },
    /// A page cursor that this store did not make.
    #[error("the cursor is none of ours")]
    BadCursor,
    /// Something on disk is damaged; the text names file and offset.
    #[error("damaged: {0}")]
    Corrupt(String),
    /// A read failed.
    #[error("reading the store failed: {0}")]
    Io(String),
}

/// Why a delivery was not moved. These are faults of the caller.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SettleError {
    /// The store has no such delivery.
    #[error("there is no delivery {0}")]
    Unknown(DeliveryId),
    /// The delivery is not leased, so it cannot begin, be settled or be released.
    #[error("the delivery {0} is not in flight")]
    NotInFlight(DeliveryId),
    /// The store did not write it.
    #[error(transparent)]
    Store(#[from] StoreError),
}
