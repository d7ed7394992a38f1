//! What a client sees over HTTP.
//!
//! Errors are `application/problem+json` ([`problem`]) with a stable code out of one list ([`codes`]).

pub mod codes;
pub mod problem;
pub mod query;
