//! What an AMQP source and an AMQP sink can be told.

use crate::spec::{ConnectorSpec, Field, FieldKind, Role};
use crate::{codec, polled};

const URL: Field = Field::required(
    "url",
    FieldKind::String,
    "The server: `amqp://host:5672/vhost`, or `amqps://` with TLS. A user and password may stand in it where it comes \
     from `{ env = … }` or `{ file = … }`; else they have keys of their own.",
);
const USERNAME: Field = Field::optional("username", FieldKind::String, "The user, in place of the one in `url`.");
const PASSWORD: Field =
    Field::optional("password", FieldKind::String, "The password, in place of the one in `url`.").secret();

/// `[source.NAME] kind = "amqp"`.
pub const SOURCE_SPEC: ConnectorSpec = ConnectorSpec {
    kind: "amqp",
    role: Role::Source,
    summary: "Makes an event of each message of a queue of RabbitMQ, or of another server that speaks AMQP 0.9.1.",
    fields: &[
        URL,
        USERNAME,
        PASSWORD,
        Field::optional(
            "queue",
            FieldKind::String,
            "The queue. Without it, `exchange` is bound to a queue `eventyard.NAME`, which is declared.",
        ),
        Field::optional("exchange", FieldKind::String, "An exchange to which the queue is bound at each connection."),
        Field::with_default(
            "routing_key",
            FieldKind::StringOrList,
            "#",
            "What it is bound with; several are several bindings.",
        ),
        Field::with_default(
            "declare",
            FieldKind::OneOf(&["none", "queue", "all"]),
            "none",
            "What is made where it is not there: nothing (a queue that is missing is an error), the queue, or the \
             exchange as well. What is there in another form is an error, too.",
        ),
        Field::with_default(
            "queue_type",
            FieldKind::OneOf(&["quorum", "classic"]),
            "quorum",
            "Which kind of queue is declared; always a durable one.",
        ),
        Field::with_default(
            "exchange_type",
            FieldKind::OneOf(&["topic", "direct", "fanout", "headers"]),
            "topic",
            "Which kind of exchange is declared; always a durable one.",
        ),
        Field::with_default(
            "prefetch",
            FieldKind::Integer { min: 1, max: 65_535 },
            "2000",
            "Messages that are on their way and not acknowledged, at most; a batch has no more.",
        ),
        Field::with_default(
            "reply",
            FieldKind::Boolean,
            "false",
            "Answers each message that has a `reply_to`, once it is on disk.",
        ),
        Field::with_default(
            "dedupe",
            FieldKind::DurationOr(&["off"]),
            "24h",
            "How long a message with the same `message_id` (or CloudEvents id) is recognised; `off` takes it again.",
        ),
        polled::BATCH,
        polled::INSTANCES,
        polled::FILTER,
        codec::FIELDS[0],
        codec::FIELDS[1],
        codec::FIELDS[2],
    ],
    example: r#"[source.orders]
kind = "amqp"
url = { env = "AMQP_URL", default = "amqp://127.0.0.1:5672/%2f" }
queue = "orders"
exchange = "shop"
routing_key = ["order.*"]
declare = "queue"
"#,
    guide: include_str!("source.md"),
};

/// `[sink.NAME] kind = "amqp"`.
pub const SINK_SPEC: ConnectorSpec = ConnectorSpec {
    kind: "amqp",
    role: Role::Sink,
    summary: "Publishes each event to an exchange of RabbitMQ, or of another server that speaks AMQP 0.9.1.",
    fields: &[
        URL,
        USERNAME,
        PASSWORD,
        Field::with_default(
            "exchange",
            FieldKind::String,
            "",
            "The exchange; the default one leads to the queue that `routing_key` names.",
        ),
        Field::required(
            "routing_key",
            FieldKind::String,
            "The routing key; with paths into the event in braces, such as `order.{data.country}`.",
        ),
        Field::with_default(
            "format",
            FieldKind::OneOf(&["binary", "structured"]),
            "binary",
            "Where the rule's `input` leaves the data as it came: `binary` sends it with the attributes in \
             `cloudEvents:` headers, `structured` sends the whole event as CloudEvents JSON.",
        ),
    ],
    example: r#"[sink.warehouse]
kind = "amqp"
url = { env = "AMQP_URL", default = "amqp://127.0.0.1:5672/%2f" }
exchange = "warehouse"
routing_key = "order.{data.country}"
"#,
    guide: include_str!("sink.md"),
};
