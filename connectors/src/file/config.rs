//! What a file sink can be told.

use serde::Deserialize;

use crate::gather::{self, GatherConfig};
use crate::spec::{ConnectorSpec, Field, FieldKind, Role};

/// `[sink.NAME] kind = "file"`.
pub const SINK_SPEC: ConnectorSpec = ConnectorSpec {
    kind: "file",
    role: Role::Sink,
    summary: "Appends a line of JSON for each event to files that are rotated by size and by time.",
    fields: &[
        Field::required(
            "folder",
            FieldKind::Path,
            "Where the files are; made where it is not there. A relative one starts at the project's folder.",
        ),
        Field::with_default("prefix", FieldKind::String, "events", "What the files' names begin with."),
        Field::with_default(
            "max_size",
            FieldKind::Size,
            "64MiB",
            "A file that has reached this is followed by another.",
        ),
        Field::with_default(
            "max_age",
            FieldKind::Duration,
            "24h",
            "So is one whose first line was written this long ago.",
        ),
        gather::BATCH,
    ],
    example: r#"[sink.archive]
kind = "file"
folder = "archive"
"#,
    guide: include_str!("sink.md"),
};

/// A file sink's own keys, after their shape was checked.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct FileConfig {
    pub(super) folder: String,
    pub(super) prefix: String,
    pub(super) max_size: u64,
    #[serde(rename = "max_age")]
    pub(super) max_age_ms: u64,
    pub(super) batch: GatherConfig,
}
