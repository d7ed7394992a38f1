//! Paths into an event (the place for them).

/// A path into an event, such as `data.customer.id`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path {}
