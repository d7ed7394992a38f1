//! HTTP, inwards and outwards.
//!
//! Inwards, an [`HttpSource`] decides about each request that the broker's server takes on the source's path:
//! whether it proves where it comes from, on the bytes as they came ([`verify`]), and what event it makes. It owns
//! no listener and no limit on bodies; those are the server's.
//!
//! Outwards, an [`HttpSink`] makes one request for each attempt and reads the answer with a cap and a deadline. It
//! never follows a redirect, never retries and never goes where the project's operator did not let it.

mod answer;
mod client;
mod config;
mod egress;
mod field;
mod oauth2;
mod path;
mod preset;
mod retry_after;
mod sink;
mod source;
mod verify;

pub use client::{HttpClient, install_crypto};
pub use config::{CHANNEL_SPEC, SINK_SPEC, SOURCE_SPEC, TARGET_FIELDS, VERIFY};
pub use path::{PATH_BYTES_MAX, PathTemplate};
pub use preset::{NoSample, SampleRequest, sample, samples};
pub use sink::HttpSink;
pub use source::{Greeting, HttpSource, Refusal, RequestHead, Taken};
