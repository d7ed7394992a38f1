//! The keys of an s3 source and an s3 sink, after their shape was checked.

use serde::Deserialize;
use serde_json::Value;

use crate::gather::GatherConfig;
use crate::secret::{Secret, Secrets};

/// Which bucket, and as whom: what source and sink have in common.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct StoreConfig {
    pub(super) endpoint: Option<String>,
    pub(super) region: Option<String>,
    pub(super) bucket: String,
    pub(super) path_style: Option<bool>,
    pub(super) access_key_id: Option<String>,
    pub(super) secret_access_key: Option<Secret>,
    pub(super) session_token: Option<Secret>,
    pub(super) credentials: Option<Whence>,
}

/// Where credentials are looked for that the project does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Whence {
    /// The variables of the environment, and nowhere else.
    Environment,
    /// Wherever AWS's own programs look.
    Role,
}

/// A source's own keys, after their shape was checked.
#[derive(Debug, Deserialize)]
pub(super) struct SourceConfig {
    pub(super) prefix: String,
    pub(super) notifications: Option<Value>,
    #[serde(rename = "poll_every")]
    pub(super) poll_every_ms: Option<u64>,
    pub(super) backfill: Option<bool>,
    pub(super) path: Option<String>,
    pub(super) auth_token: Option<Secrets>,
    pub(super) verify: Option<Value>,
    pub(super) loop_guard: bool,
    #[serde(rename = "type")]
    pub(super) ty: Option<String>,
}

/// A sink's own keys, after their shape was checked.
#[derive(Debug, Deserialize)]
pub(super) struct SinkConfig {
    pub(super) prefix: String,
    pub(super) write: String,
    pub(super) key: Option<String>,
    pub(super) batch: GatherConfig,
    pub(super) compression: Option<String>,
}
