//! The Kafka source and sink against a real Kafka.
#![expect(clippy::unwrap_used, reason = "a test that fails may panic")]

mod broken;
mod cluster;
mod reading;
#[cfg(feature = "kafka-tls")]
mod secured;
mod sharing;
mod writing;
