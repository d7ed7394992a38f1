//! What a Kafka source and a Kafka sink can be told.

use crate::spec::{ConnectorSpec, Field, FieldKind, Role};
use crate::{codec, polled};

const BROKERS: Field = Field::required(
    "brokers",
    FieldKind::StringOrList,
    "Brokers of the cluster, as `host:port`; one that answers is enough to find the others.",
);

const SASL: Field = Field::optional(
    "sasl",
    FieldKind::Table(&[
        Field::with_default(
            "mechanism",
            FieldKind::OneOf(&["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]),
            "PLAIN",
            "How the password is proved. The SCRAM ones take the feature `kafka-tls`.",
        ),
        Field::required("username", FieldKind::String, "The user."),
        Field::required("password", FieldKind::String, "The password.").secret(),
    ]),
    "Who asks, where the cluster wants to know.",
);

const TLS: Field = Field::optional(
    "tls",
    FieldKind::Table(&[
        Field::optional("ca", FieldKind::Path, "A file of certificates to trust, in place of the machine's own."),
        Field::optional("certificate", FieldKind::Path, "The client's certificate, a file."),
        Field::optional("key", FieldKind::Path, "The certificate's key, a file."),
        Field::optional("password", FieldKind::String, "What the key is locked with.").secret(),
    ]),
    "Encrypts the connections; `tls = {}` is enough where the machine trusts the brokers. Takes the feature \
     `kafka-tls`.",
);

const OPTIONS: Field = Field::optional(
    "options",
    FieldKind::Map,
    "Settings of librdkafka by their own names, such as `\"client.rack\" = \"eu-1\"`. What eventyard's promises rest \
     on cannot be set.",
);

/// `[source.NAME] kind = "kafka"`.
pub const SOURCE_SPEC: ConnectorSpec = ConnectorSpec {
    kind: "kafka",
    role: Role::Source,
    summary: "Makes an event of each message of Kafka topics, as a member of a group.",
    fields: &[
        BROKERS,
        Field::required(
            "topics",
            FieldKind::StringOrList,
            "The topics. One that begins with `^` is a pattern for names: `^orders-.*` takes topics that are made \
             later, too.",
        ),
        Field::optional(
            "group",
            FieldKind::String,
            "The consumer group; its members share the partitions. Without it `eventyard-NAME`.",
        ),
        Field::with_default(
            "start",
            FieldKind::String,
            "earliest",
            "Where to begin in a partition in which the group has no place yet, or one that Kafka no longer keeps: \
             `earliest`, `latest`, or a time such as `2027-01-01T00:00:00Z`.",
        ),
        Field::with_default(
            "tombstones",
            FieldKind::OneOf(&["dead_letter", "event", "skip"]),
            "dead_letter",
            "What becomes of a message without a value: a dead letter, an event without data, or nothing.",
        ),
        SASL,
        TLS,
        OPTIONS,
        polled::BATCH,
        polled::INSTANCES,
        polled::FILTER,
        codec::FIELDS[0],
        codec::FIELDS[1],
        codec::FIELDS[2],
    ],
    example: r#"[source.orders]
kind = "kafka"
brokers = ["127.0.0.1:9092"]
topics = ["orders", "^returns-.*"]
group = "eventyard"
start = "earliest"
"#,
    guide: include_str!("source.md"),
};

/// `[sink.NAME] kind = "kafka"`.
pub const SINK_SPEC: ConnectorSpec = ConnectorSpec {
    kind: "kafka",
    role: Role::Sink,
    summary: "Writes each event to a Kafka topic.",
    fields: &[
        BROKERS,
        Field::required("topic", FieldKind::String, "The topic."),
        Field::optional(
            "key",
            FieldKind::String,
            "The message's key: a path into the event such as `subject` or `data.customer.id`, or a text with paths in \
             braces, `{data.tenant}/{subject}`. Messages with the same key keep their order in one partition. Without \
             it, or where the event lacks the path, a message has no key.",
        ),
        Field::with_default(
            "format",
            FieldKind::OneOf(&["binary", "structured"]),
            "binary",
            "Where the rule's `input` leaves the data as it came: `binary` sends it with the attributes in `ce_` \
             headers, `structured` sends the whole event as CloudEvents JSON.",
        ),
        Field::with_default(
            "compression",
            FieldKind::OneOf(&["none", "gzip", "snappy", "lz4", "zstd"]),
            "none",
            "How batches are packed on their way.",
        ),
        SASL,
        TLS,
        OPTIONS,
    ],
    example: r#"[sink.warehouse]
kind = "kafka"
brokers = ["127.0.0.1:9092"]
topic = "warehouse"
key = "data.customer.id"
"#,
    guide: include_str!("sink.md"),
};
