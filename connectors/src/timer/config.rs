//! What a timer can be told.

use serde::Deserialize;
use serde_json::Value;

use crate::spec::{ConnectorSpec, Field, FieldKind, Role};

/// `[source.NAME] kind = "timer"`.
pub const SPEC: ConnectorSpec = ConnectorSpec {
    kind: "timer",
    role: Role::Source,
    summary: "Makes an event at every instant of a schedule.",
    fields: &[
        Field::required(
            "schedule",
            FieldKind::String,
            "When: five fields as in crontab, six (seconds first), seven (year last), `@daily` and its like, `@every 5m`, \
             `rate(5 minutes)`, `at(2027-01-01T00:00:00)`, `cron(0 10 ? * MON *)`; `CRON_TZ=Zone ` may stand before it.",
        ),
        Field::with_default(
            "timezone",
            FieldKind::String,
            "UTC",
            "The zone whose clocks the schedule reads. A time that a day lacks fires at the next one that exists, a \
             repeated one once.",
        ),
        Field::with_default(
            "catch_up",
            FieldKind::OneOf(&["skip", "latest", "all"]),
            "latest",
            "What becomes of instants that passed while nothing ran: none, the newest, or all (the 100 newest at most).",
        ),
        Field::with_default(
            "catch_up_window",
            FieldKind::Duration,
            "24h",
            "Instants that passed longer ago are never caught up.",
        ),
        Field::with_default(
            "overlap",
            FieldKind::OneOf(&["skip", "allow"]),
            "skip",
            "Whether it fires while a delivery of its last firing has not ended.",
        ),
        Field::optional("payload", FieldKind::Any, "Goes into the event as `data.payload`."),
    ],
    example: r#"[source.nightly]
kind = "timer"
schedule = "30 2 * * *"
timezone = "Europe/Berlin"
catch_up = "latest"
payload = { report = "sales" }
"#,
    guide: include_str!("source.md"),
};

/// A timer's own keys, after their shape was checked.
#[derive(Debug, Deserialize)]
pub(super) struct TimerConfig {
    pub(super) schedule: String,
    pub(super) timezone: String,
    pub(super) catch_up: String,
    #[serde(rename = "catch_up_window")]
    pub(super) catch_up_window_ms: u64,
    pub(super) overlap: String,
    #[serde(default)]
    pub(super) payload: Value,
    #[serde(rename = "type")]
    pub(super) ty: Option<String>,
}
