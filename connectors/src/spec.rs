//! What a connector can be told, as data: the project's reader checks tables against it, the reference pages and
//! the schema are generated from it, and the connector itself receives only what passed.

mod normalise;
mod units;

use eventyard_event::{Event, Limits};

pub use normalise::{nearest, normalise};
pub use units::{parse_duration, parse_size};

/// What a connector is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// `[source.NAME]`
    Source,
    /// `[sink.NAME]`
    Sink,
    /// `[channel.NAME]`
    Channel,
}

impl Role {
    /// The word as it stands in a table's header.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Source => "source",
            Role::Sink => "sink",
            Role::Channel => "channel",
        }
    }
}

/// One kind of connector in one role.
#[derive(Clone, Copy, Debug)]
pub struct ConnectorSpec {
    /// `kind = "…"`
    pub kind: &'static str,
    /// What it is for.
    pub role: Role,
    /// One sentence.
    pub summary: &'static str,
    /// Its own keys. What every block of its role takes stands in [`common_fields`] and is not repeated here.
    pub fields: &'static [Field],
    /// A block of TOML that loads as it is.
    pub example: &'static str,
    /// What a table of keys cannot say: Markdown, for the reference page.
    pub guide: &'static str,
}

/// One key.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// The key.
    pub name: &'static str,
    /// What may stand there.
    pub kind: FieldKind,
    /// Whether it must be there.
    pub required: bool,
    /// What holds when it is not there, as text of its kind; a list's is its only element.
    pub default: Option<&'static str>,
    /// Whether its value must never show.
    pub secret: bool,
    /// What it does, in one or two sentences.
    pub doc: &'static str,
}

impl Field {
    /// A key that may be left out.
    #[must_use]
    pub const fn optional(name: &'static str, kind: FieldKind, doc: &'static str) -> Field {
        Field { name, kind, required: false, default: None, secret: false, doc }
    }

    /// A key that must be there.
    #[must_use]
    pub const fn required(name: &'static str, kind: FieldKind, doc: &'static str) -> Field {
        Field { required: true, ..Field::optional(name, kind, doc) }
    }

    /// A key with a default.
    #[must_use]
    pub const fn with_default(name: &'static str, kind: FieldKind, default: &'static str, doc: &'static str) -> Field {
        Field { default: Some(default), ..Field::optional(name, kind, doc) }
    }

    /// The same key, its value a secret.
    #[must_use]
    pub const fn secret(self) -> Field {
        Field { secret: true, ..self }
    }
}

/// What may stand at a key, and what it is when the connector sees it.
#[derive(Clone, Copy, Debug)]
pub enum FieldKind {
    /// Any text.
    String,
    /// A file or a folder; a relative one starts at the project's folder. The connector sees the whole path.
    Path,
    /// A whole number from `min` to `max`.
    Integer {
        /// The smallest.
        min: i64,
        /// The largest.
        max: i64,
    },
    /// `true` or `false`.
    Boolean,
    /// `"250ms"`, `"30s"`, `"5m"`, `"6h"`, `"7d"`. The connector sees whole milliseconds.
    Duration,
    /// A duration, or one of these words. The connector sees milliseconds, or the word.
    DurationOr(&'static [&'static str]),
    /// `"64KiB"`, `"10MiB"`. The connector sees bytes.
    Size,
    /// A text or a list of them. The connector always sees a list.
    StringOrList,
    /// A list of texts.
    StringList,
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// A table with these keys.
    Table(&'static [Field]),
    /// A table whose `kind` says which keys it has.
    Variant(&'static [Variant]),
    /// A table of any keys, with texts.
    Map,
    /// Anything at all; passed on as it is.
    Any,
}

/// One shape of a [`FieldKind::Variant`] table.
#[derive(Clone, Copy, Debug)]
pub struct Variant {
    /// The value of `kind`.
    pub kind: &'static str,
    /// What it is.
    pub doc: &'static str,
    /// Its keys, `kind` itself left out.
    pub fields: &'static [Field],
}

/// Something in a connector's table that will not do, or (as a warning) probably will not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// The keys that lead to it, from the connector's own table on; empty for the table as a whole. Where a key
    /// is missing, the path ends at the table that lacks it.
    pub path: Vec<String>,
    /// A stable word.
    pub code: &'static str,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub help: Option<String>,
}

impl ConfigError {
    /// An error at one key of the connector's table.
    #[must_use]
    pub fn at(key: &str, code: &'static str, message: impl Into<String>) -> ConfigError {
        ConfigError { path: vec![key.to_owned()], code, message: message.into(), help: None }
    }

    /// The same error with a sentence that says what to do.
    #[must_use]
    pub fn help(self, help: impl Into<String>) -> ConfigError {
        ConfigError { help: Some(help.into()), ..self }
    }

    /// The same error, one table further out.
    #[must_use]
    pub fn within(mut self, key: &str) -> ConfigError {
        self.path.insert(0, key.to_owned());
        self
    }
}

impl std::fmt::Display for ConfigError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path.join("."))?;
        }
        f.write_str(&self.message)?;
        match &self.help {
            Some(help) => write!(f, " ({help})"),
            None => Ok(()),
        }
    }
}

/// The keys that every block of a role takes, whatever its `kind`.
#[must_use]
pub fn common_fields(role: Role) -> &'static [Field] {
    match role {
        Role::Source => SOURCE_FIELDS,
        Role::Sink => SINK_FIELDS,
        Role::Channel => CHANNEL_FIELDS,
    }
}

const KIND: Field = Field::required("kind", FieldKind::String, "Which connector it is.");
const ENABLED: Field = Field::with_default(
    "enabled",
    FieldKind::Boolean,
    "true",
    "`false` leaves the block in the file and out of the broker.",
);
const DESCRIPTION: Field = Field::with_default("description", FieldKind::String, "", "For people.");
const NAMESPACE: Field =
    Field::with_default("namespace", FieldKind::String, "default", "Rules of other namespaces never see it.");

const SOURCE_FIELDS: &[Field] = &[
    KIND,
    ENABLED,
    DESCRIPTION,
    NAMESPACE,
    Field::optional(
        "tags",
        FieldKind::StringList,
        "Words that every event of this source carries; rules may ask for them.",
    ),
    Field::optional("type", FieldKind::String, "The `type` of its events, in place of the connector's own."),
];
const SINK_FIELDS: &[Field] = &[KIND, ENABLED, DESCRIPTION, NAMESPACE];
const CHANNEL_FIELDS: &[Field] = &[
    KIND,
    ENABLED,
    DESCRIPTION,
    NAMESPACE,
    Field::optional(
        "alerts",
        FieldKind::StringList,
        "Which happenings it tells: `dead_letter`, `source_down`, `rules_refused`.",
    ),
    Field::optional("group", FieldKind::Duration, "Joins the alerts of this long into one that names each."),
];

/// Reads a table that was held against its fields. That it does not fit them is the caller's mistake, and the
/// error does not repeat what stands in the table: it may be a secret.
pub(crate) fn read_checked<T: serde::de::DeserializeOwned>(table: &serde_json::Value) -> Result<T, Vec<ConfigError>> {
    T::deserialize(table).map_err(|_| {
        vec![ConfigError {
            path: Vec::new(),
            code: "not_checked",
            message: "this table was not held against its fields before it was used".to_owned(),
            help: None,
        }]
    })
}

/// Checks a source's `type`, which every one of its events will carry.
pub(crate) fn check_type(ty: Option<&str>) -> Result<(), Vec<ConfigError>> {
    let Some(ty) = ty else { return Ok(()) };
    let probe = Event { id: "probe".into(), source: "/".into(), ty: ty.into(), ..Event::default() };
    probe.check(&Limits::default()).map_err(|error| vec![ConfigError::at("type", "bad_value", error.to_string())])
}
