//! The keys of a source and of a sink, as they were given.

use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use crate::Secret;
use crate::codec::CodecConfig;
use crate::polled::BatchConfig;

/// A source's own keys.
#[derive(Debug, Deserialize)]
pub(super) struct SourceConfig {
    #[serde(flatten)]
    pub(super) server: Server,
    pub(super) queue: Option<String>,
    pub(super) exchange: Option<String>,
    pub(super) routing_key: Vec<String>,
    pub(super) declare: Declare,
    pub(super) queue_type: String,
    pub(super) exchange_type: String,
    pub(super) prefetch: u16,
    pub(super) reply: bool,
    dedupe: Value,
    pub(super) batch: BatchConfig,
    #[serde(flatten)]
    pub(super) codec: CodecConfig,
    #[serde(rename = "type")]
    pub(super) ty: Option<String>,
}

impl SourceConfig {
    /// `dedupe`; `None` for `off`.
    pub(super) fn dedupe(&self) -> Option<Duration> {
        self.dedupe.as_u64().map(Duration::from_millis)
    }
}

/// A sink's own keys.
#[derive(Debug, Deserialize)]
pub(super) struct SinkConfig {
    #[serde(flatten)]
    pub(super) server: Server,
    pub(super) exchange: String,
    pub(super) routing_key: String,
    pub(super) format: String,
}

/// How to reach a server.
#[derive(Debug, Deserialize)]
pub(super) struct Server {
    pub(super) url: Secret,
    pub(super) username: Option<String>,
    pub(super) password: Option<Secret>,
}

/// What is made where it is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Declare {
    None,
    Queue,
    All,
}
