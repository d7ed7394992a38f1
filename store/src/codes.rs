//! The stable codes of this crate's errors; each has a page in `docs/errors/`.

/// All codes of [`OpenError`](crate::OpenError), [`VerifyError`](crate::VerifyError),
/// [`RepairError`](crate::RepairError) and [`CopyError`](crate::CopyError), and `store_damaged` for what a
/// [`VerifyReport`](crate::VerifyReport) or an [`OpenReport`](crate::OpenReport) says.
pub const CODES: [&str; 9] = [
    "store_damaged",
    "store_exists",
    "store_full",
    "store_inside",
    "store_io",
    "store_locked",
    "store_missing",
    "store_newer",
    "store_unreadable",
];
