//! The stable codes of this crate's errors; each has a page in `docs/errors/`.

/// All codes of [`OpenError`](crate::OpenError) and [`VerifyError`](crate::VerifyError), and `store_damaged` for
/// what a [`VerifyReport`](crate::VerifyReport) or an [`OpenReport`](crate::OpenReport) says.
pub const CODES: [&str; 7] =
    ["store_damaged", "store_full", "store_io", "store_locked", "store_missing", "store_newer", "store_unreadable"];
