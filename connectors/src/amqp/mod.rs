//! AMQP 0.9.1: queues of RabbitMQ and its like as a source, exchanges as a sink.
//!
//! The client keeps no connection alive by itself: a source that loses its own says so, and the supervisor makes a new
//! one; a sink makes a new one with the next send. What the server's errors mean is said once, for both, in
//! [`client`](self).

#[cfg(feature = "amqp")]
mod client;
mod config;
#[cfg(feature = "amqp")]
mod message;
#[cfg(feature = "amqp")]
mod settings;
#[cfg(feature = "amqp")]
mod sink;
#[cfg(feature = "amqp")]
mod source;

pub use config::{SINK_SPEC, SOURCE_SPEC};
#[cfg(feature = "amqp")]
pub use sink::AmqpSink;
#[cfg(feature = "amqp")]
pub use source::AmqpSource;
