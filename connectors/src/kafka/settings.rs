//! The keys of a source and of a sink, after their shape was checked.

use std::collections::BTreeMap;

use eventyard_event::Timestamp;
use serde::Deserialize;

use crate::Secret;
use crate::codec::CodecConfig;
use crate::polled::BatchConfig;
use crate::spec::ConfigError;

/// A source's own keys, as they were given.
#[derive(Debug, Deserialize)]
pub(super) struct SourceConfig {
    #[serde(flatten)]
    pub(super) cluster: Cluster,
    pub(super) topics: Vec<String>,
    pub(super) group: Option<String>,
    pub(super) start: String,
    pub(super) tombstones: Tombstones,
    pub(super) batch: BatchConfig,
    #[serde(flatten)]
    pub(super) codec: CodecConfig,
    #[serde(rename = "type")]
    pub(super) ty: Option<String>,
}

/// A sink's own keys, as they were given.
#[derive(Debug, Deserialize)]
pub(super) struct SinkConfig {
    #[serde(flatten)]
    pub(super) cluster: Cluster,
    pub(super) topic: String,
    pub(super) key: Option<String>,
    pub(super) format: String,
    pub(super) compression: String,
}

/// How to reach a cluster.
#[derive(Debug, Deserialize)]
pub(super) struct Cluster {
    pub(super) brokers: Vec<String>,
    pub(super) sasl: Option<Sasl>,
    pub(super) tls: Option<Tls>,
    #[serde(default)]
    pub(super) options: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Sasl {
    pub(super) mechanism: Mechanism,
    pub(super) username: String,
    pub(super) password: Secret,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub(super) enum Mechanism {
    #[serde(rename = "PLAIN")]
    Plain,
    #[serde(rename = "SCRAM-SHA-256")]
    ScramSha256,
    #[serde(rename = "SCRAM-SHA-512")]
    ScramSha512,
}

impl Mechanism {
    pub(super) fn word(self) -> &'static str {
        match self {
            Mechanism::Plain => "PLAIN",
            Mechanism::ScramSha256 => "SCRAM-SHA-256",
            Mechanism::ScramSha512 => "SCRAM-SHA-512",
        }
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct Tls {
    pub(super) ca: Option<String>,
    pub(super) certificate: Option<String>,
    pub(super) key: Option<String>,
    pub(super) password: Option<Secret>,
}

/// What becomes of a message without a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Tombstones {
    DeadLetter,
    Event,
    Skip,
}

/// Where to begin where no place is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Start {
    Earliest,
    Latest,
    Time(Timestamp),
}

impl Start {
    pub(super) fn read(text: &str) -> Result<Start, ConfigError> {
        match text {
            "earliest" => Ok(Start::Earliest),
            "latest" => Ok(Start::Latest),
            text => Timestamp::parse(text).map(Start::Time).map_err(|_| {
                let message = format!("`{}` is no place to start", text.escape_debug());
                ConfigError::at("start", "bad_value", message)
                    .help("write earliest, latest, or a time such as 2027-01-01T00:00:00Z")
            }),
        }
    }
}

/// Checks a topic's name, or with `^` before it a pattern for names.
pub(super) fn check_topic(key: &str, topic: &str) -> Option<ConfigError> {
    // Kafka's own rule.
    const NAME_BYTES_MAX: usize = 249;
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    let is_name =
        !topic.is_empty() && topic.len() <= NAME_BYTES_MAX && topic != "." && topic != ".." && topic.bytes().all(legal);
    if is_name {
        return None;
    }
    let message = format!("`{}` is no topic's name", topic.escape_debug());
    Some(ConfigError::at(key, "bad_value", message).help("a name has letters, digits, dots, dashes and underscores"))
}
