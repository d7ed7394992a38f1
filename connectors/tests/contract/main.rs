//! What every source and every sink promises, run over each system that is a real server.
//!
//! A system is told how to be prepared, written to and read from ([`system::System`]); the promises ([`sources`],
//! [`sinks`]) are the same for all of them. `contract!` makes a test of each. To have another system tested, implement
//! the trait in a file beside these and name it below.
//!
//! The servers are started by `tests/services/*.sh`; a test whose server cannot be had says so and does nothing, unless
//! `EVENTYARD_SERVICES_REQUIRED=1`.
#![allow(
    dead_code,
    unused_macros,
    unused_imports,
    clippy::unwrap_used,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a test against real servers panics where it fails, says where it skips and reads the real clock; and without any of the features there is no system to test"
)]

mod broker;
#[cfg(feature = "nats")]
#[path = "../../../tests/certificate.rs"]
mod certificate;
mod file;
#[cfg(any(feature = "nats", feature = "s3"))]
#[path = "../../../tests/free_port.rs"]
mod free_port;
mod proxy;
mod services;
mod sinks;
mod sources;
mod system;

#[cfg(feature = "amqp")]
mod amqp;
#[cfg(feature = "kafka")]
mod kafka;
#[cfg(feature = "nats")]
mod nats;
#[cfg(feature = "s3")]
mod s3;
