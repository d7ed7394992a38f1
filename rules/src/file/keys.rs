//! The keys of `[[rule]]` and of what stands in it.

use std::time::Duration;

use super::{ATTEMPTS_MAX, BACKOFF_MAX, BACKOFF_MIN, CONCURRENCY_MAX, MAX_AGE_MAX, OBJECT_BYTES_RANGE, TIMEOUT_MAX};
use crate::shape::{Key, Kind, Shape};

/// `[[rule]]`.
pub static RULE: Shape = Shape {
    doc: "Which events call which targets.",
    keys: &[
        Key::required("name", Kind::Name, "Its name, unique in its namespace."),
        Key::with_default("namespace", Kind::Name, "default", "Only events of this namespace are seen."),
        Key::with_default("description", Kind::Text, "", "For people."),
        Key::with_default(
            "enabled",
            Kind::Boolean,
            "true",
            "`false` leaves the rule in the file and out of the broker.",
        ),
        Key::optional("from", Kind::Names, "Only events of these sources."),
        Key::optional("tags", Kind::Texts, "Only events with all of these tags."),
        Key::optional("not_tags", Kind::Texts, "Only events with none of these tags."),
        Key::optional(
            "pattern",
            Kind::Pattern,
            "What the event must look like: EventBridge's patterns, as a table or as a text of JSON.",
        ),
        Key::optional(
            "when",
            Kind::Text,
            "An expression over the event's attributes that must be true: CloudEvents SQL 1.0, such as \
             `subject LIKE 'eu/%' AND EXISTS customer`.",
        ),
        Key::with_default(
            "order_after_dead",
            Kind::Word(&["continue", "wait"]),
            "continue",
            "What a dead letter does to the events behind it that have the same key.",
        ),
        Key::optional(
            "order_by",
            Kind::Text,
            "A path into the event, such as `data.customer_id`: one after another within its values.",
        ),
        Key::optional("retry", Kind::Table(&RETRY), "How its targets are retried; a target may say otherwise."),
        Key::optional(
            "split",
            Kind::Text,
            "A path to a list in the data, such as `data.items`: each element is delivered alone, to each target.",
        ),
        Key::required("target", Kind::Tables(&TARGET), "Whom it calls, one or several."),
        Key::optional(
            "test",
            Kind::Tables(&TEST),
            "Events that must match, or must not; tried whenever the project is loaded.",
        ),
    ],
    one_of: &[],
    any_of: &["pattern", "from"],
};

/// `[[rule.target]]`.
static TARGET: Shape = Shape {
    doc: "Whom a rule calls: exactly one of function, sink, channel, http and event.",
    keys: &[
        Key::optional("function", Kind::Text, "A `[function.NAME]`."),
        Key::optional("sink", Kind::Name, "A `[sink.NAME]`."),
        Key::optional("channel", Kind::Name, "A `[channel.NAME]`."),
        Key::optional("http", Kind::Foreign, "An HTTP request."),
        Key::optional("event", Kind::Table(&EVENT), "A new event, which rules see in turn."),
        Key::optional(
            "name",
            Kind::Name,
            "Its name in the rule; pending deliveries follow it. Two alike must be named.",
        ),
        Key::with_default(
            "reply",
            Kind::Boolean,
            "false",
            "Senders that wait (`reply = \"sync\"` on the source) are given its answer.",
        ),
        Key::optional("retry", Kind::Table(&RETRY), "How it is retried."),
        Key::optional(
            "timeout",
            Kind::Duration(Duration::from_millis(1), TIMEOUT_MAX),
            "How long one attempt may take.",
        ),
        Key::optional(
            "concurrency",
            Kind::Integer(1, CONCURRENCY_MAX as u64),
            "How many attempts are made at once, at most.",
        ),
        Key::optional(
            "input",
            Kind::WordOrTable(&["event", "data", "raw", "object"], &INPUT),
            "What it receives: the event as CloudEvents JSON (functions, unless said otherwise), its data as JSON, the bytes as \
             they came (http and sinks, unless said otherwise), the bytes of the object that the event names, or what a \
             template makes of the event.",
        ),
        Key::optional(
            "object_max",
            Kind::Size(OBJECT_BYTES_RANGE.0, OBJECT_BYTES_RANGE.1),
            "How large an object may be that it receives, with `input = \"object\"`; without it `10MiB`.",
        ),
        Key::optional(
            "answer",
            Kind::Table(&ANSWER),
            "What becomes of a function's answer: the data of a new event, which rules see in turn.",
        ),
    ],
    one_of: &["function", "sink", "channel", "http", "event"],
    any_of: &[],
};

/// `input = { … }` of a target.
static INPUT: Shape = Shape::of(
    "What the target receives is made of a template: EventBridge's input transformer.",
    &[
        Key::optional(
            "paths",
            Kind::Map,
            "Paths into the event, such as `data.customer.id` or `data.lines[0].sku`, by the names that the template has \
             for them.",
        ),
        Key::required(
            "template",
            Kind::Text,
            "JSON, or lines of text in quotes, in which `<name>` stands for what is at the path of that name.",
        ),
        Key::with_default(
            "strict",
            Kind::Boolean,
            "false",
            "An event that lacks one of the paths becomes a dead letter, instead of a payload with a gap.",
        ),
    ],
);

/// `event = { … }` of a target.
static EVENT: Shape = Shape::of(
    "A new event.",
    &[
        Key::required("type", Kind::Text, "Its `type`."),
        Key::optional("source", Kind::Text, "Its `source`."),
        Key::optional("subject", Kind::Text, "Its `subject`."),
    ],
);

/// `answer = { … }` of a target.
static ANSWER: Shape = Shape::of(
    "A new event with a function's answer as its data.",
    &[
        Key::required("type", Kind::Text, "Its `type`."),
        Key::optional("source", Kind::Text, "Its `source`."),
        Key::optional("subject", Kind::Text, "Its `subject`; without it, that of the event which was answered."),
        Key::optional(
            "content_type",
            Kind::Text,
            "What its data is; without it JSON where it is JSON, and bytes otherwise.",
        ),
    ],
);

/// `retry = { … }` of a rule, of a target and of `[defaults]`.
pub static RETRY: Shape = Shape::of(
    "How what failed is tried again.",
    &[
        Key::optional(
            "attempts",
            Kind::Integer(1, ATTEMPTS_MAX as u64),
            "How many attempts there are, the first counted.",
        ),
        Key::optional("max_age", Kind::Duration(Duration::from_secs(1), MAX_AGE_MAX), "How old a delivery may become."),
        Key::optional(
            "backoff",
            Kind::Duration(BACKOFF_MIN, BACKOFF_MAX),
            "The first pause; each is twice the one before.",
        ),
        Key::optional("backoff_max", Kind::Duration(BACKOFF_MIN, BACKOFF_MAX), "The longest pause."),
        Key::optional("jitter", Kind::Number(0.0, 1.0), "Which part of a pause is left to chance."),
    ],
);

/// `[[rule.test]]`.
static TEST: Shape = Shape {
    doc: "An event, and whether the rule must match it.",
    keys: &[
        Key::optional("name", Kind::Text, "What it shows."),
        Key::required("matches", Kind::Boolean, "What is expected."),
        Key::optional(
            "deliveries",
            Kind::Integer(0, u32::MAX as u64),
            "How many deliveries the rule makes of the event, all targets together; for rules that split.",
        ),
        Key::optional(
            "payload",
            Kind::Any,
            "What a target would receive: a text is held against it byte by byte, anything else as JSON.",
        ),
        Key::optional("target", Kind::Name, "Whose `payload` it is, where the rule has several targets."),
        Key::optional(
            "element",
            Kind::Integer(1, u32::MAX as u64),
            "Of which element `payload` is, where the rule splits; without it the first.",
        ),
        Key::optional("from", Kind::Name, "The source that the event came by."),
        Key::optional("tags", Kind::Texts, "The tags that it came with."),
        Key::optional("event", Kind::Object, "The event as CloudEvents JSON; what is missing is filled in."),
        Key::optional("file", Kind::Text, "A file that holds the event."),
    ],
    one_of: &["event", "file"],
    any_of: &[],
};
