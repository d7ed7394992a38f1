//! The tables that our own reader reads, as schemas.

use eventyard_rules::shape::{Key, Kind, Shape, pattern_operators};
use eventyard_rules::{show_duration, show_size};
use serde_json::{Map, Value, json};

use super::{described, fields, list_of, named, words};
use crate::config::keys;

/// A table of these keys and no others.
pub(super) fn table(shape: &Shape) -> Value {
    let properties: Map<String, Value> = shape.keys.iter().map(|key| (key.name.to_owned(), property(key))).collect();
    let required: Vec<&str> = shape.keys.iter().filter(|key| key.required).map(|key| key.name).collect();
    let mut table = json!({
        "type": "object",
        "description": shape.doc,
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    });
    let each = |names: &[&str]| names.iter().map(|name| json!({ "required": [name] })).collect::<Vec<_>>();
    if !shape.one_of.is_empty() {
        table["oneOf"] = each(shape.one_of).into();
    }
    if !shape.any_of.is_empty() {
        table["anyOf"] = each(shape.any_of).into();
    }
    table
}

fn property(key: &Key) -> Value {
    let (schema, bounds) = match &key.kind {
        Kind::Text => (json!({ "$ref": "#/$defs/text" }), None),
        Kind::Name => (json!({ "$ref": "#/$defs/name" }), None),
        Kind::Boolean => (json!({ "type": "boolean" }), None),
        Kind::Integer(least, most) => (json!({ "type": "integer", "minimum": least, "maximum": most }), None),
        Kind::Number(least, most) => (json!({ "type": "number", "minimum": least, "maximum": most }), None),
        Kind::Duration(least, most) => {
            (json!({ "$ref": "#/$defs/duration" }), Some((show_duration(*least), show_duration(*most))))
        }
        Kind::Size(least, most) => (json!({ "$ref": "#/$defs/size" }), Some((show_size(*least), show_size(*most)))),
        Kind::Word(known) => (words(known), None),
        Kind::WordOrTable(known, inner) => (json!({ "anyOf": [words(known), table(inner)] }), None),
        Kind::Texts => (list_of("text"), None),
        Kind::Names => (list_of("name"), None),
        Kind::Table(inner) => (table(inner), None),
        Kind::List(inner) => (json!({ "type": "array", "items": table(inner) }), None),
        Kind::Tables(inner) => {
            let one = table(inner);
            (json!({ "anyOf": [{ "type": "array", "items": one }, one] }), None)
        }
        Kind::Map => (json!({ "type": "object", "additionalProperties": { "$ref": "#/$defs/text" } }), None),
        Kind::Object => (json!({ "type": "object" }), None),
        Kind::Any => (json!({}), None),
        Kind::Pattern => (text_with_pattern(), None),
        Kind::Foreign => (foreign(key.name), None),
    };
    let default = key.default.map(|default| match key.kind {
        Kind::Boolean => Value::Bool(default == "true"),
        Kind::Integer(..) => default.parse::<u64>().map_or(Value::Null, Value::from),
        _ => default.into(),
    });
    match bounds {
        // A schema cannot compare durations and sizes, people can.
        Some((least, most)) => described(schema, &format!("{} From {least} to {most}.", key.doc), default),
        None => described(schema, key.doc, default),
    }
}

/// What others than the reader's own tables say.
fn foreign(key: &str) -> Value {
    match key {
        "source" => named(fields::block(eventyard_connectors::spec::Role::Source)),
        "sink" => named(fields::block(eventyard_connectors::spec::Role::Sink)),
        "channel" => named(fields::block(eventyard_connectors::spec::Role::Channel)),
        "function" => named(functions()),
        "http" => fields::table(eventyard_connectors::http::TARGET_FIELDS),
        "tls" => json!({ "anyOf": [words(&["proxy"]), fields::certificate()] }),
        // A test calls this with every key there is.
        _ => Value::Bool(true),
    }
}

/// A function of any runtime; which keys it has depends on that.
fn functions() -> Value {
    let runtimes = keys::RUNTIMES.iter().map(|(runtime, shape)| {
        let mut table = table(shape);
        table["properties"]["runtime"] = described(json!({ "const": runtime }), shape.doc, None);
        table
    });
    json!({ "oneOf": runtimes.collect::<Vec<_>>() })
}

/// A pattern may be a text of JSON, too.
fn text_with_pattern() -> Value {
    json!({ "anyOf": [{ "$ref": "#/$defs/pattern" }, { "type": "string" }] })
}

/// Fields, each with a list of what will do, or with fields of its own.
pub(super) fn pattern() -> Value {
    json!({
        "type": "object",
        "properties": {
            "$or": {
                "type": "array", "minItems": 2, "items": { "$ref": "#/$defs/pattern" },
                "description": "One of these patterns must fit as well.",
            },
        },
        "additionalProperties": {
            "anyOf": [
                { "type": "array", "minItems": 1, "items": { "$ref": "#/$defs/alternative" } },
                { "$ref": "#/$defs/pattern" },
            ],
        },
    })
}

/// A value, or an operator.
pub(super) fn alternative() -> Value {
    let operators: Map<String, Value> =
        pattern_operators().iter().map(|name| ((*name).to_owned(), Value::Bool(true))).collect();
    json!({
        "anyOf": [
            { "type": ["string", "number", "boolean", "null"] },
            { "type": "object", "properties": operators, "minProperties": 1, "maxProperties": 1, "additionalProperties": false },
        ],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_that_others_read_is_described() {
        fn visit(shape: &Shape) {
            for key in shape.keys {
                match &key.kind {
                    Kind::Foreign => assert_ne!(foreign(key.name), Value::Bool(true), "describe `{}`", key.name),
                    Kind::Table(inner) | Kind::List(inner) | Kind::Tables(inner) | Kind::WordOrTable(_, inner) => {
                        visit(inner)
                    }
                    _ => {}
                }
                assert!(key.doc.ends_with('.'), "`{}` says what it does, in sentences", key.name);
                let default = key.default.map_or(Value::Null, |_| property(key)["default"].clone());
                assert_eq!(key.default.is_some(), !default.is_null(), "the default of `{}` does not read", key.name);
            }
        }
        visit(&keys::MAIN_FILE);
        keys::RUNTIMES.iter().for_each(|(_, shape)| visit(shape));
    }
}
