//! What an s3 source and an s3 sink can be told.

use crate::gather::BATCH;
use crate::http::VERIFY;
use crate::polled::FILTER;
use crate::spec::{ConnectorSpec, Field, FieldKind, Role};

const ENDPOINT: Field = Field::optional(
    "endpoint",
    FieldKind::String,
    "Where the store answers, such as `http://127.0.0.1:9000`. Without it, AWS in `region`.",
);
const REGION: Field = Field::optional(
    "region",
    FieldKind::String,
    "The store's region. Without it `AWS_REGION` of the environment, and without that `us-east-1`.",
);
const BUCKET: Field = Field::required("bucket", FieldKind::String, "The bucket.");
const PATH_STYLE: Field = Field::optional(
    "path_style",
    FieldKind::Boolean,
    "Whether the bucket stands in the path (`http://host/bucket/key`) instead of the host's name. Without it, where \
     an `endpoint` is given.",
);
const ACCESS_KEY_ID: Field = Field::optional(
    "access_key_id",
    FieldKind::String,
    "Who we are. Without it and the next, `credentials` says where to look.",
);
const SECRET_ACCESS_KEY: Field = Field::optional("secret_access_key", FieldKind::String, "What proves it.").secret();
const SESSION_TOKEN: Field =
    Field::optional("session_token", FieldKind::String, "For credentials that hold for a while only.").secret();
const CREDENTIALS: Field = Field::optional(
    "credentials",
    FieldKind::OneOf(&["environment", "role"]),
    "Where keys come from that do not stand here. `environment`: `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and \
     `AWS_SESSION_TOKEN`. `role`: where AWS's own programs look, which is there too, then in the profile files, and then \
     the role of the Kubernetes service account, the container or the instance; fetched anew before it ends. Without it, \
     `role` where no `endpoint` is given, and `environment` for any other store, which is shown no proof of a role.",
);

/// `[source.NAME] kind = "s3"`.
pub const SOURCE_SPEC: ConnectorSpec = ConnectorSpec {
    kind: "s3",
    role: Role::Source,
    summary: "Makes an event of every object that is created or changed in a bucket; with `notifications` also of every one \
              that is deleted.",
    fields: &[
        ENDPOINT,
        REGION,
        BUCKET,
        Field::with_default("prefix", FieldKind::String, "", "Only objects whose key begins so."),
        PATH_STYLE,
        ACCESS_KEY_ID,
        SECRET_ACCESS_KEY,
        SESSION_TOKEN,
        CREDENTIALS,
        FILTER,
        Field::optional(
            "notifications",
            FieldKind::Any,
            "How the store tells of changes: `\"webhook\"`, on `path`; or `{ from = \"NAME\" }`, by messages that the \
             source NAME of this project takes from a queue. Without it, the bucket is listed every so often, which cannot \
             see deletions.",
        ),
        Field::optional(
            "poll_every",
            FieldKind::Duration,
            "How long to wait between two listings, 100 ms at least. Without it `30s`.",
        ),
        Field::optional(
            "backfill",
            FieldKind::Boolean,
            "Whether what lies in the bucket already makes events too, once. Without it, it does not.",
        ),
        Field::optional("path", FieldKind::String, "The path of the broker's server that the store calls."),
        Field::optional(
            "auth_token",
            FieldKind::StringOrList,
            "What the store's requests must carry as `Authorization: Bearer …`; a list while rotating.",
        )
        .secret(),
        Field::optional(
            "verify",
            FieldKind::Variant(VERIFY),
            "How else a request proves where it comes from, as for the kind `http`.",
        ),
        Field::with_default(
            "loop_guard",
            FieldKind::Boolean,
            "true",
            "Whether each new object is asked (`HEAD`) which sources it came through, so that what a function writes \
             back does not come in again. `false` spares that request.",
        ),
    ],
    example: r#"[source.uploads]
kind = "s3"
endpoint = "http://127.0.0.1:9000"
bucket = "photos"
prefix = "in/"
access_key_id = { env = "S3_KEY", default = "minioadmin" }
secret_access_key = { env = "S3_SECRET", default = "change-me" }
poll_every = "10s"
"#,
    guide: include_str!("source.md"),
};

/// `[sink.NAME] kind = "s3"`.
pub const SINK_SPEC: ConnectorSpec = ConnectorSpec {
    kind: "s3",
    role: Role::Sink,
    summary: "Writes events into a bucket: many as lines of one object, or each as an object of its own.",
    fields: &[
        ENDPOINT,
        REGION,
        BUCKET,
        Field::with_default(
            "prefix",
            FieldKind::String,
            "{type}/{yyyy}/{mm}/{dd}/",
            "What keys begin with, as a template (below). Events whose prefixes differ go into different objects.",
        ),
        PATH_STYLE,
        ACCESS_KEY_ID,
        SECRET_ACCESS_KEY,
        SESSION_TOKEN,
        CREDENTIALS,
        Field::with_default(
            "write",
            FieldKind::OneOf(&["lines", "object"]),
            "lines",
            "`lines`: many events in one object, a line of JSON each. `object`: the data of each event is an object.",
        ),
        Field::optional(
            "key",
            FieldKind::String,
            "What follows the prefix, as a template; only with `write = \"object\"`. Without it `{delivery}`.",
        ),
        BATCH,
        Field::optional(
            "compression",
            FieldKind::OneOf(&["none", "gzip"]),
            "How objects of lines are packed. Without it, not at all.",
        ),
    ],
    example: r#"[sink.archive]
kind = "s3"
endpoint = "http://127.0.0.1:9000"
bucket = "archive"
prefix = "events/{type}/{yyyy}/{mm}/{dd}/"
access_key_id = { env = "S3_KEY", default = "minioadmin" }
secret_access_key = { env = "S3_SECRET", default = "change-me" }
batch = { max = 5000, size = "8MiB", window = "1s" }
compression = "gzip"
"#,
    guide: include_str!("sink.md"),
};
