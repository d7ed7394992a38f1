//! Object stores that speak S3: AWS, MinIO, versitygw and their like.
//!
//! - A **change** ([`change::Change`]) is one object that was created or deleted, whatever dialect said so.
//!   [`notification`] reads what stores send of their own accord, [`source::PollingSource`] finds out by listing.
//! - An event carries an object **by reference**: bucket, key, etag. Its bytes are fetched for whom they are delivered
//!   to ([`objects::S3Objects`]), never on the way in, and are never in the journal.
//! - The **sink** ([`sink::S3Sink`]) writes events as lines of larger objects, or the data of each as an object.
//! - The **guard** ([`guard`]) keeps what a source brought in from coming in by it again: the sink marks what it
//!   writes with the sources it came through, and a source passes over what is marked with itself.
//!
//! What is not here: the client retries nothing, for the supervisor and the broker do.

#[cfg(feature = "s3")]
mod change;
#[cfg(feature = "s3")]
mod client;
mod config;
#[cfg(feature = "s3")]
mod credentials;
#[cfg(feature = "s3")]
mod failure;
#[cfg(feature = "s3")]
mod guard;
#[cfg(feature = "s3")]
mod heads;
#[cfg(feature = "s3")]
mod key;
#[cfg(feature = "s3")]
mod listed;
#[cfg(feature = "s3")]
mod notification;
#[cfg(feature = "s3")]
mod objects;
#[cfg(feature = "s3")]
mod reader;
#[cfg(feature = "s3")]
mod seen;
#[cfg(feature = "s3")]
mod settings;
#[cfg(feature = "s3")]
mod sink;
#[cfg(feature = "s3")]
mod source;
#[cfg(feature = "s3")]
mod text;

pub use config::{SINK_SPEC, SOURCE_SPEC};
#[cfg(feature = "s3")]
pub use guard::VIA;
#[cfg(feature = "s3")]
pub use objects::S3Objects;
#[cfg(feature = "s3")]
pub use reader::NotificationReader;
#[cfg(feature = "s3")]
pub use sink::S3Sink;
#[cfg(feature = "s3")]
pub use source::{PollingSource, S3Source, Way};
