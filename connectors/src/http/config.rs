//! What an http source, an http sink, an http target and the webhook channel can be told.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::preset::PRESET_NAMES;
use super::verify::VerifyConfig;
use crate::secret::{Secret, Secrets};
use crate::spec::{ConnectorSpec, Field, FieldKind, Role, Variant};

/// `[source.NAME] kind = "http"`.
pub const SOURCE_SPEC: ConnectorSpec = ConnectorSpec {
    kind: "http",
    role: Role::Source,
    summary: "Takes HTTP requests on a path of the broker's own server: webhooks, and anything that can post.",
    fields: &[
        Field::required(
            "path",
            FieldKind::String,
            "The path it answers. A segment may be a `{parameter}`, whose value becomes the event's attribute \
             `paramNAME`.",
        ),
        Field::with_default("methods", FieldKind::StringList, "POST", "The methods it answers; others are told 405."),
        Field::optional(
            "preset",
            FieldKind::OneOf(PRESET_NAMES),
            "A sender that is known: verifies its signature, names the event's type and takes its delivery id.",
        ),
        Field::optional(
            "secret",
            FieldKind::StringOrList,
            "The preset's secret (GitHub's secret, GitLab's secret or signing token, Slack's signing secret, Stripe's endpoint secret); a list while rotating, any of which is good.",
        )
        .secret(),
        Field::optional(
            "verify",
            FieldKind::Variant(VERIFY),
            "How a request proves where it comes from, where no preset says so. Verified on the bytes as they came.",
        ),
        Field::optional(
            "id_from",
            FieldKind::String,
            "Where the sender's own id stands: `header:NAME`, or a path into the JSON body such as `data.id`. \
             Without it, and where it is missing from a request, the id is ours.",
        ),
        Field::with_default(
            "codec",
            FieldKind::OneOf(&["auto", "json", "xml", "csv", "csv-rows", "form", "text", "bytes"]),
            "auto",
            "What the body is, where its content type lies or is missing. `auto` goes by the content type. The others demand \
             what they name, and a body that is not so is refused with 400; rules look into `xml`, `csv` and `form` as \
             into JSON. `csv-rows` makes an event of each row of a table.",
        ),
        Field::with_default(
            "dedupe",
            FieldKind::DurationOr(&["off"]),
            "24h",
            "How long a repeat of the sender's id is recognised and answered as the duplicate it is; or `off`.",
        ),
        Field::with_default(
            "reply",
            FieldKind::OneOf(&["accepted", "sync"]),
            "accepted",
            "`accepted` answers 202 once the event is on disk. `sync` then waits for the one target that has \
             `reply = true`, and gives the sender its answer.",
        ),
        Field::optional(
            "reply_timeout",
            FieldKind::Duration,
            "How long `reply = \"sync\"` waits before it answers 202 after all, at most an hour. Without it `30s`.",
        ),
    ],
    example: r#"[source.github]
kind = "http"
path = "/hooks/github"
preset = "github"
secret = { env = "GITHUB_SECRET", default = "change-me" }
tags = ["ci"]
dedupe = "24h"
"#,
    guide: include_str!("source.md"),
};

/// `verify = { kind = … }`.
pub const VERIFY: &[Variant] = &[
    Variant {
        kind: "hmac",
        doc: "A header holds the HMAC of the body.",
        fields: &[
            Field::required("secret", FieldKind::StringOrList, "The key; a list while rotating.").secret(),
            Field::required("header", FieldKind::String, "The header that holds the signature."),
            Field::with_default("algorithm", FieldKind::OneOf(&["sha256", "sha512"]), "sha256", "The hash."),
            Field::with_default(
                "encoding",
                FieldKind::OneOf(&["hex", "base64"]),
                "hex",
                "How the signature is written.",
            ),
            Field::with_default(
                "prefix",
                FieldKind::String,
                "",
                "What stands before the signature, such as `sha256=`.",
            ),
            Field::with_default(
                "payload",
                FieldKind::String,
                "{body}",
                "What is signed: `{body}`, and `{timestamp}` where `timestamp_header` is set; such as `{timestamp}.{body}`.",
            ),
            Field::optional(
                "timestamp_header",
                FieldKind::String,
                "The header that holds the time of signing, in seconds since 1970. `payload` must sign it.",
            ),
            Field::with_default("tolerance", FieldKind::Duration, "5m", "How far that time may be off, either way."),
        ],
    },
    Variant {
        kind: "standard-webhooks",
        doc: "Signed as standardwebhooks.com describes: webhook-id, webhook-timestamp and webhook-signature.",
        fields: &[
            Field::required(
                "secret",
                FieldKind::StringOrList,
                "The key in base64, `whsec_` before it or not; a list while rotating.",
            )
            .secret(),
            Field::with_default("tolerance", FieldKind::Duration, "5m", "How far the time may be off, either way."),
        ],
    },
    Variant {
        kind: "basic",
        doc: "HTTP Basic authentication.",
        fields: &[
            Field::required("username", FieldKind::String, "The user."),
            Field::required("password", FieldKind::StringOrList, "The password; a list while rotating.").secret(),
        ],
    },
    Variant {
        kind: "api_key",
        doc: "A header holds a key.",
        fields: &[
            Field::with_default("header", FieldKind::String, "x-api-key", "The header."),
            Field::required("secret", FieldKind::StringOrList, "The key; a list while rotating.").secret(),
        ],
    },
    Variant { kind: "none", doc: "Nothing is proved: whoever reaches the path is believed.", fields: &[] },
];

/// How a call authenticates itself.
const AUTH: &[Variant] = &[
    Variant {
        kind: "bearer",
        doc: "`Authorization: Bearer …`",
        fields: &[Field::required("token", FieldKind::String, "The token.").secret()],
    },
    Variant {
        kind: "basic",
        doc: "HTTP Basic authentication.",
        fields: &[
            Field::required("username", FieldKind::String, "The user."),
            Field::required("password", FieldKind::String, "The password.").secret(),
        ],
    },
    Variant {
        kind: "api_key",
        doc: "A key in a header.",
        fields: &[
            Field::with_default("header", FieldKind::String, "x-api-key", "The header."),
            Field::required("secret", FieldKind::String, "The key.").secret(),
        ],
    },
    Variant {
        kind: "oauth2",
        doc: "An access token by OAuth 2.0 client credentials, kept until shortly before it ends.",
        fields: &[
            Field::required("token_url", FieldKind::String, "The token endpoint; http or https."),
            Field::required("client_id", FieldKind::String, "Who we are."),
            Field::required("client_secret", FieldKind::String, "What proves it.").secret(),
            Field::optional("scope", FieldKind::String, "What for: words with spaces between them."),
            Field::optional("audience", FieldKind::String, "Whom the token is for, where the endpoint asks."),
            Field::with_default(
                "credentials",
                FieldKind::OneOf(&["header", "body"]),
                "header",
                "Where the endpoint looks for id and secret: HTTP Basic's `header`, or the `body`.",
            ),
        ],
    },
];

/// How a call is signed.
const SIGN: &[Variant] = &[Variant {
    kind: "standard-webhooks",
    doc: "As standardwebhooks.com describes: `webhook-signature` over `webhook-id`, `webhook-timestamp` and the body.",
    fields: &[Field::required(
        "secret",
        FieldKind::StringOrList,
        "The key in base64, `whsec_` before it or not; with a list each key signs, while receivers change over.",
    )
    .secret()],
}];

/// The keys of a rule's `http = { … }`, of a sink of kind `http` and of a channel of kind `webhook`.
pub const TARGET_FIELDS: &[Field] = &[
    Field::required("url", FieldKind::String, "Where to send; http or https, without a user or password in it."),
    Field::with_default("method", FieldKind::OneOf(&["POST", "PUT", "PATCH", "DELETE", "GET"]), "POST", "The method."),
    Field::optional("headers", FieldKind::Map, "Headers to add; they may not replace those that the broker sets."),
    Field::optional("auth", FieldKind::Variant(AUTH), "How the call authenticates itself."),
    Field::optional(
        "sign",
        FieldKind::Variant(SIGN),
        "How the call is signed, so that its receiver can tell that it is ours.",
    ),
    Field::with_default(
        "format",
        FieldKind::OneOf(&["binary", "structured"]),
        "binary",
        "Where the rule's `input` leaves the data as it came: `binary` sends it with the attributes in `ce-*` headers, \
         `structured` sends the whole event as CloudEvents JSON.",
    ),
];

/// `[sink.NAME] kind = "http"`.
pub const SINK_SPEC: ConnectorSpec = ConnectorSpec {
    kind: "http",
    role: Role::Sink,
    summary: "Sends each event as an HTTP request.",
    fields: TARGET_FIELDS,
    example: r#"[sink.orders]
kind = "http"
url = "http://127.0.0.1:9000/orders"
auth = { kind = "bearer", token = { env = "ORDERS_TOKEN", default = "change-me" } }
"#,
    guide: include_str!("sink.md"),
};

/// `[channel.NAME] kind = "webhook"`.
pub const CHANNEL_SPEC: ConnectorSpec = ConnectorSpec {
    kind: "webhook",
    role: Role::Channel,
    summary: "Sends each alert as an HTTP request.",
    fields: TARGET_FIELDS,
    example: r#"[channel.oncall]
kind = "webhook"
url = "http://127.0.0.1:9000/alerts"
alerts = ["dead_letter", "source_down", "rules_refused"]
"#,
    guide: include_str!("channel.md"),
};
/// An http source's own keys, after their shape was checked.
#[derive(Debug, Deserialize)]
pub(super) struct SourceConfig {
    pub(super) path: String,
    pub(super) methods: Vec<String>,
    pub(super) preset: Option<String>,
    pub(super) secret: Option<Secrets>,
    pub(super) verify: Option<VerifyConfig>,
    pub(super) id_from: Option<String>,
    #[serde(default)]
    pub(super) codec: Option<String>,
    pub(super) dedupe: Value,
    pub(super) reply: String,
    #[serde(rename = "reply_timeout")]
    pub(super) reply_timeout_ms: Option<u64>,
    #[serde(rename = "type")]
    pub(super) ty: Option<String>,
}

/// An http target's keys, after their shape was checked.
#[derive(Debug, Deserialize)]
pub(super) struct TargetConfig {
    pub(super) url: String,
    pub(super) method: String,
    #[serde(default)]
    pub(super) headers: BTreeMap<String, Secret>,
    pub(super) auth: Option<AuthConfig>,
    pub(super) sign: Option<SignConfig>,
    pub(super) format: String,
}

/// `auth`, after its shape was checked.
#[derive(Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(super) enum AuthConfig {
    Bearer { token: Secret },
    Basic { username: String, password: Secret },
    ApiKey { header: String, secret: Secret },
    Oauth2(OAuth2Config),
}

/// `auth = { kind = "oauth2" }`, after its shape was checked.
#[derive(Debug, Deserialize)]
pub(super) struct OAuth2Config {
    pub(super) token_url: String,
    pub(super) client_id: String,
    pub(super) client_secret: Secret,
    pub(super) scope: Option<String>,
    pub(super) audience: Option<String>,
    pub(super) credentials: String,
}

/// `sign`, after its shape was checked.
#[derive(Debug, Deserialize)]
#[serde(tag = "kind")]
pub(super) enum SignConfig {
    #[serde(rename = "standard-webhooks")]
    StandardWebhooks { secret: Secrets },
}
