//! NATS: core subjects, and JetStream.
//!
//! - *Core* keeps nothing: what is published while nobody listens is gone, and nothing is acknowledged. A core source is
//!   at most once up to the moment at which the broker has the event on disk, and says so on its page.
//! - *JetStream* keeps messages in streams. A source reads by a durable pull consumer and acknowledges what is on disk
//!   here; a sink waits until the stream has the message.
//!
//! One connection for each source and sink, made by [`client`]; the client library connects again by itself, but a source
//! does not let it: a lost connection is a failure that the supervisor shows and backs off from.

#[cfg(feature = "nats")]
mod client;
mod config;
#[cfg(feature = "nats")]
mod sink;
#[cfg(feature = "nats")]
mod source;

pub use config::{SINK_SPEC, SOURCE_SPEC};
#[cfg(feature = "nats")]
pub use sink::NatsSink;
#[cfg(feature = "nats")]
pub use source::NatsSource;
