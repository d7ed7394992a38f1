//! The keys of `eventyard.toml` that are no connector's: declared here, held by the reader against what is read
//! ([`eventyard_rules::shape`]), and the source of the JSON Schema.

use std::time::Duration;

use eventyard_functions::WasmConfig;
use eventyard_rules::file::{RETRY, RULE, TIMEOUT_MAX};
use eventyard_rules::shape::{Key, Kind, Shape};

use super::server::{GRACE_MAX, RETENTION_MAX};

/// A file below `rules/`.
pub(crate) static RULES_FILE: Shape = Shape::of("Rules.", &[RULES]);

/// `eventyard.toml`.
pub(crate) static MAIN_FILE: Shape = Shape::of(
    "A project of eventyard.",
    &[
        Key::optional("server", Kind::Table(&SERVER), "Where the broker listens, and who may call it."),
        Key::optional("store", Kind::Table(&STORE), "What is kept, and where."),
        Key::optional("limits", Kind::Table(&LIMITS), "How much is too much."),
        Key::optional("defaults", Kind::Table(&DEFAULTS), "What holds for the targets of every rule."),
        Key::optional("source", Kind::Foreign, "Where events come from, by name."),
        Key::optional("function", Kind::Foreign, "What can be run for an event, by name."),
        Key::optional("sink", Kind::Foreign, "Where events can be sent, by name."),
        Key::optional("channel", Kind::Foreign, "Ways to tell people, by name."),
        RULES,
    ],
);

const RULES: Key = Key::optional("rule", Kind::List(&RULE), "Which events call which targets.");

static SERVER: Shape = Shape::of(
    "Where the broker listens, and who may call it.",
    &[
        Key::with_default(
            "listen",
            Kind::Text,
            "127.0.0.1:8484",
            "Address and port. One that other machines can reach needs `token` and `tls`.",
        ),
        Key::optional("token", Kind::Text, "Where set, every call needs it but the health checks and http sources."),
        Key::optional(
            "tls",
            Kind::Foreign,
            "The files of a certificate and its key, or `proxy` where something in front ends TLS.",
        ),
        Key::with_default(
            "grace",
            Kind::Duration(Duration::ZERO, GRACE_MAX),
            "8s",
            "How long attempts in flight may still take when the broker is told to stop.",
        ),
        Key::optional(
            "egress_allow",
            Kind::Texts,
            "Networks that targets may reach though they are link-local or come from an event or the API.",
        ),
    ],
);

static STORE: Shape = Shape::of(
    "What is kept, and where.",
    &[
        Key::with_default("dir", Kind::Text, "data", "The data folder; a relative path starts at the project folder."),
        Key::with_default(
            "retention",
            Kind::Duration(Duration::ZERO, RETENTION_MAX),
            "7d",
            "How long settled events are kept.",
        ),
        Key::with_default("retention_size", Kind::Size(0, 1 << 50), "1GiB", "How many bytes of them at most."),
    ],
);

static LIMITS: Shape = Shape::of(
    "How much is too much.",
    &[
        Key::with_default("event", Kind::Size(1024, 64 << 20), "1MiB", "The bytes of one event as it is sent."),
        Key::with_default("batch", Kind::Integer(1, 1_000_000), "10000", "The events of one batch."),
        Key::with_default(
            "pending",
            Kind::Integer(1, 1_000_000_000),
            "5000000",
            "The deliveries that may wait; beyond it events are told 503.",
        ),
    ],
);

static DEFAULTS: Shape = Shape::of(
    "What holds for the targets of every rule.",
    &[Key::optional("retry", Kind::Table(&RETRY), "How they are retried; a rule, then a target, says otherwise.")],
);

// What every function has, however it runs.
const ENABLED: Key =
    Key::with_default("enabled", Kind::Boolean, "true", "`false` leaves the block in the file and out of the broker.");
const DESCRIPTION: Key = Key::with_default("description", Kind::Text, "", "For people.");
const NAMESPACE: Key = Key::with_default("namespace", Kind::Name, "default", "Rules of other namespaces never see it.");
const RUNTIME: Key = Key::required("runtime", Kind::Text, "How it runs.");
const TIMEOUT: Key = Key::with_default(
    "timeout",
    Kind::Duration(Duration::from_millis(1), TIMEOUT_MAX),
    "60s",
    "How long one call may take.",
);

/// `[function.NAME] runtime = "command"`.
pub(crate) static COMMAND: Shape = Shape::of(
    "One process an event: stdin the event, stdout the answer.",
    &[
        ENABLED,
        DESCRIPTION,
        NAMESPACE,
        RUNTIME,
        Key::required("command", Kind::Texts, "The program and its arguments."),
        Key::optional("environment", Kind::Map, "Variables beside those that every command gets."),
        TIMEOUT,
    ],
);

/// `[function.NAME] runtime = "wasm"`.
pub(crate) static WASM: Shape = Shape::of(
    "A WebAssembly module inside the broker: a WASI 0.1 command, or a wasi:http component.",
    &[
        ENABLED,
        DESCRIPTION,
        NAMESPACE,
        RUNTIME,
        Key::required("package", Kind::Text, "The compiled file, from the project's folder."),
        Key::with_default(
            "memory",
            Kind::Size(WASM_MEMORY_BYTES_MIN, WasmConfig::MEMORY_BYTES_MAX),
            "64MiB",
            "The most memory of one call.",
        ),
        Key::optional("environment", Kind::Map, "Variables beside those that every call gets."),
        Key::optional("arguments", Kind::Texts, "Arguments after the function's name."),
        Key::optional(
            "egress_allow",
            Kind::Texts,
            "Hosts, addresses and networks that a component may call over HTTP.",
        ),
        TIMEOUT,
    ],
);

/// The least `memory`: one page.
pub(crate) const WASM_MEMORY_BYTES_MIN: u64 = 64 * 1024;

/// Every runtime, with the keys of a function that has it.
pub(crate) static RUNTIMES: &[(&str, &Shape)] = &[("command", &COMMAND), ("wasm", &WASM)];
