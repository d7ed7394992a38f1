//! The JSON Schema of a project's files, for editors and for whoever writes such files by program.
//!
//! It is made from what the reader itself goes by: the keys of `eventyard.toml` and of rules ([`eventyard_rules::shape`]),
//! and the fields that each connector declares ([`eventyard_connectors::spec`]). So a key that exists is in it, and no
//! other is. It says less than the reader does where a schema cannot say it (that a name exists, that two keys exclude
//! each other, that a pattern's operator has the right operand): what it refuses `eventyard check` refuses too, not the
//! other way round.

mod fields;

mod shapes;

use eventyard_event::NAME_PATTERN;
use serde_json::{Value, json};

use crate::config::keys;

/// Which files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum File {
    /// `eventyard.toml`.
    Main,
    /// `rules/*.toml`.
    Rules,
}

const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";

/// The schema of such a file.
#[must_use]
pub fn document(file: File) -> Value {
    let (title, shape) = match file {
        File::Main => ("eventyard.toml", &keys::MAIN_FILE),
        File::Rules => ("rules/*.toml of eventyard", &keys::RULES_FILE),
    };
    let mut schema = shapes::table(shape);
    schema["$schema"] = DIALECT.into();
    schema["title"] = title.into();
    schema["$defs"] = json!({
        "reference": reference(),
        "text": { "anyOf": [{ "type": "string" }, { "$ref": "#/$defs/reference" }] },
        "name": text_with(json!({ "type": "string", "pattern": NAME_PATTERN })),
        "duration": text_with(json!({
            "type": "string", "pattern": "^[0-9]+(ms|s|m|h|d)$", "examples": ["250ms", "30s", "5m", "6h", "7d"],
        })),
        "size": text_with(json!({
            "type": "string", "pattern": "^[0-9]+(B|KiB|MiB|GiB|TiB)$", "examples": ["64KiB", "10MiB", "1GiB"],
        })),
        "pattern": shapes::pattern(),
        "alternative": shapes::alternative(),
    });
    schema
}

/// What may stand for a text.
fn reference() -> Value {
    let table = |key: &str, doc: &str| {
        json!({
            "type": "object",
            "description": doc,
            "required": [key],
            "properties": {
                key: { "type": "string" },
                "default": { "type": "string", "description": "What holds where there is none." },
            },
            "additionalProperties": false,
        })
    };
    json!({
        "oneOf": [
            table("env", "The value of a variable of the environment. It never shows."),
            table("file", "What a file holds. It never shows."),
        ],
    })
}

/// A text of some form, or what may stand for one.
fn text_with(schema: Value) -> Value {
    json!({ "anyOf": [schema, { "$ref": "#/$defs/reference" }] })
}

/// Words, one of which stands there.
fn words(words: &[&str]) -> Value {
    text_with(json!({ "enum": words }))
}

/// A list of something, or of what may stand for it.
fn list_of(name: &str) -> Value {
    json!({ "type": "array", "items": { "$ref": format!("#/$defs/{name}") } })
}

/// Tables by name: `[key.NAME]`.
fn named(table: Value) -> Value {
    json!({ "type": "object", "propertyNames": { "pattern": NAME_PATTERN }, "additionalProperties": table })
}

/// The same schema, with what is said of it.
fn described(mut schema: Value, doc: &str, default: Option<Value>) -> Value {
    schema["description"] = doc.into();
    if let Some(default) = default {
        schema["default"] = default;
    }
    schema
}
