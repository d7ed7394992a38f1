//! Where events come from and where they go: sources, sinks and the channels that tell people.
//!
//! - A **source** is something that events are fetched from ([`source::Source`]), kept going by a supervisor
//!   ([`supervise`]). It reaches the broker by one narrow handle, [`source::Intake`], and acknowledges to the other
//!   side only what the broker has on disk.
//! - An **http source** ([`http::HttpSource`]) is asked about each request by the broker's own server instead.
//! - A **sink** ([`sink::Sink`]) takes one delivery at a time and says how that went; a **channel** is a sink that
//!   alerts are sent to.
//! - What a message of another system is, and why it is no event, is decided in one place ([`codec`]).
//! - What each kind can be told is data ([`spec`]), which kinds there are is one list ([`registry`]), and the
//!   reference pages are generated from both.
//!
//! What is not here: rules, the store, retries of deliveries, and any decision about what becomes of an event. No
//! connector reads the machine's clock or draws a random number of its own.

pub mod amqp;
pub mod codec;
pub mod discard;
pub mod file;
pub mod gather;
pub mod http;
pub mod kafka;
pub mod nats;
pub mod objects;
pub mod polled;
pub mod reader;
pub mod reference;
pub mod registry;
pub mod s3;
pub mod source;
pub mod spec;
pub mod supervise;
pub mod timer;

pub mod sink;

mod secret;
#[cfg(any(feature = "amqp", feature = "kafka"))]
mod template;
mod tls;

pub use secret::{Secret, Secrets};
