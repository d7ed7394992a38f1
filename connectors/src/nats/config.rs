//! What NATS sources and sinks can be told.

#[cfg(feature = "nats")]
use serde::Deserialize;

#[cfg(feature = "nats")]
use crate::codec::CodecConfig;
use crate::codec::FIELDS as CODEC;
#[cfg(feature = "nats")]
use crate::polled::BatchConfig;
use crate::polled::{BATCH, FILTER, INSTANCES};
#[cfg(feature = "nats")]
use crate::secret::Secret;
use crate::spec::{ConnectorSpec, Field, FieldKind, Role};

const SERVERS: Field = Field::required(
    "servers",
    FieldKind::StringOrList,
    "Where to connect: `127.0.0.1:4222`, `nats://…` or `tls://…`; of several any that answers.",
);
const USER: Field = Field::optional("user", FieldKind::String, "The user, with `password`.");
const PASSWORD: Field = Field::optional("password", FieldKind::String, "The user's password.").secret();
const TOKEN: Field = Field::optional("token", FieldKind::String, "A token, instead of a user.").secret();
const CREDS: Field = Field::optional(
    "creds",
    FieldKind::String,
    "The text of a credentials file (JWT and seed): `{ file = \"user.creds\" }`.",
)
.secret();
const TLS: Field = Field::with_default(
    "tls",
    FieldKind::Boolean,
    "false",
    "Whether the connection must be encrypted. A server that demands it is met without this key.",
);
const CA: Field = Field::optional(
    "ca",
    FieldKind::String,
    "The certificates that servers are trusted by, as PEM: `{ file = \"ca.pem\" }`. Those of the system without it.",
);

/// `[source.NAME] kind = "nats"`.
pub const SOURCE_SPEC: ConnectorSpec = ConnectorSpec {
    kind: "nats",
    role: Role::Source,
    summary: "Reads a JetStream stream by a durable consumer, or listens to core subjects.",
    fields: &[
        SERVERS,
        Field::optional(
            "stream",
            FieldKind::String,
            "The JetStream stream to read. Without it, core subjects are listened to.",
        ),
        Field::optional(
            "durable",
            FieldKind::String,
            "The durable consumer's name; the source's own without it. Made where it is not there.",
        ),
        Field::optional(
            "subject",
            FieldKind::String,
            "What to listen to, `*` and `>` allowed. With a stream: only these of its messages.",
        ),
        Field::optional(
            "queue_group",
            FieldKind::String,
            "Core only: of the members of a group one gets each message.",
        ),
        Field::with_default(
            "start",
            FieldKind::OneOf(&["earliest", "latest"]),
            "earliest",
            "JetStream only: where a consumer that is made begins. `eventyard sources seek` moves it later.",
        ),
        Field::with_default(
            "ack_wait",
            FieldKind::Duration,
            "30s",
            "JetStream only: when the server gives a message again that was not acknowledged; of a consumer that is made.",
        ),
        Field::with_default(
            "dedupe",
            FieldKind::DurationOr(&["off"]),
            "24h",
            "How long a message that comes again is recognised: by `Nats-Msg-Id`, else by stream and sequence; a CloudEvent by its own id.",
        ),
        USER,
        PASSWORD,
        TOKEN,
        CREDS,
        TLS,
        CA,
        CODEC[0],
        CODEC[1],
        CODEC[2],
        BATCH,
        INSTANCES,
        FILTER,
    ],
    example: r#"[source.orders]
kind = "nats"
servers = "127.0.0.1:4222"
stream = "ORDERS"
durable = "eventyard"
"#,
    guide: include_str!("source.md"),
};

/// `[sink.NAME] kind = "nats"`.
pub const SINK_SPEC: ConnectorSpec = ConnectorSpec {
    kind: "nats",
    role: Role::Sink,
    summary: "Publishes to a JetStream stream and waits until it has the message, or to a core subject.",
    fields: &[
        SERVERS,
        Field::required("subject", FieldKind::String, "Where to publish."),
        Field::with_default(
            "jetstream",
            FieldKind::Boolean,
            "true",
            "Whether a stream must confirm. `false` publishes to whoever listens now: delivered means that the server had it.",
        ),
        USER,
        PASSWORD,
        TOKEN,
        CREDS,
        TLS,
        CA,
    ],
    example: r#"[sink.warehouse]
kind = "nats"
servers = "127.0.0.1:4222"
subject = "warehouse.orders"
"#,
    guide: include_str!("sink.md"),
};

/// How to connect.
#[cfg(feature = "nats")]
#[derive(Clone, Debug, Deserialize)]
pub(super) struct ConnectConfig {
    pub(super) servers: Vec<String>,
    pub(super) user: Option<String>,
    pub(super) password: Option<Secret>,
    pub(super) token: Option<Secret>,
    pub(super) creds: Option<Secret>,
    pub(super) tls: bool,
    pub(super) ca: Option<String>,
}

/// A source's own keys, after their shape was checked.
#[cfg(feature = "nats")]
#[derive(Clone, Debug, Deserialize)]
pub(super) struct SourceConfig {
    pub(super) stream: Option<String>,
    pub(super) durable: Option<String>,
    pub(super) subject: Option<String>,
    pub(super) queue_group: Option<String>,
    pub(super) start: String,
    #[serde(rename = "ack_wait")]
    pub(super) ack_wait_ms: u64,
    pub(super) dedupe: serde_json::Value,
    pub(super) batch: BatchConfig,
    #[serde(rename = "type")]
    pub(super) ty: Option<String>,
}

/// A sink's own keys.
#[cfg(feature = "nats")]
#[derive(Clone, Debug, Deserialize)]
pub(super) struct SinkConfig {
    pub(super) subject: String,
    pub(super) jetstream: bool,
}

/// A table is read in parts: how to connect, how to decode, and the rest.
#[cfg(feature = "nats")]
pub(super) type Decoding = CodecConfig;
