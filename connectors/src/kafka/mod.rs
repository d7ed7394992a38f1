//! Kafka: topics as a source and as a sink.
//!
//! Both stand on librdkafka, which has threads of its own. What of it is ours:
//!
//! - [`config`](self) holds what the project says and makes librdkafka's settings of it.
//! - [`client`](self) is what both directions share: where its log goes, and which of its errors means what.
//! - The source reads on one thread of its own ([`source`](self)), because librdkafka calls back from there and may
//!   block; the supervisor's calls only take what that thread has gathered.
//! - The sink is one producer, through which every delivery passes.
//!
//! Where a source stands in each partition is kept twice: in the group, for its other members, and in the frame that
//! holds the events ([`position`](self)). The second is what makes a crash repeat nothing; the first is never ahead of
//! it.

#[cfg(feature = "kafka")]
mod client;
mod config;
#[cfg(feature = "kafka")]
mod message;
#[cfg(feature = "kafka")]
mod position;
#[cfg(feature = "kafka")]
mod settings;
#[cfg(feature = "kafka")]
mod sink;
#[cfg(feature = "kafka")]
mod source;

pub use config::{SINK_SPEC, SOURCE_SPEC};
#[cfg(feature = "kafka")]
pub use sink::KafkaSink;
#[cfg(feature = "kafka")]
pub use source::KafkaSource;
