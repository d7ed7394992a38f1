//! Object stores, against real ones: MinIO and versitygw, started by tests/services.
//!
//! One test runs over each store. Buckets have names of their own, so that tests run side by side on one server.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed, and says where")]

mod hostile;
mod polling;
mod server;
mod writing;
