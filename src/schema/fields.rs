//! The blocks that connectors read, as schemas.

use eventyard_connectors::registry;
use eventyard_connectors::spec::{Field, FieldKind, Role, Variant, common_fields};
use serde_json::{Map, Value, json};

use super::{described, list_of, text_with, words};
use crate::config::AlertKind;

/// A block of a role: which keys it has depends on its kind.
pub(super) fn block(role: Role) -> Value {
    let kinds = registry::specs(role).iter().map(|spec| {
        let common = common_fields(role).iter().filter(|field| field.name != "kind");
        let mut block = of(common.chain(spec.fields));
        kind(&mut block, spec.kind, spec.summary);
        block
    });
    json!({ "oneOf": kinds.collect::<Vec<_>>() })
}

/// A table with these keys and no others.
pub(super) fn table(fields: &[Field]) -> Value {
    of(fields.iter())
}

/// `tls = { cert = "…", key = "…" }`.
pub(super) fn certificate() -> Value {
    const FIELDS: &[Field] = &[
        Field::required("cert", FieldKind::String, "The certificate and what it rests on, as PEM."),
        Field::required("key", FieldKind::String, "Its key, as PEM."),
    ];
    table(FIELDS)
}

fn of<'f>(fields: impl Iterator<Item = &'f Field> + Clone) -> Value {
    let properties: Map<String, Value> = fields.clone().map(|field| (field.name.to_owned(), property(field))).collect();
    let required: Vec<&str> = fields.filter(|field| field.required).map(|field| field.name).collect();
    json!({ "type": "object", "properties": properties, "required": required, "additionalProperties": false })
}

/// Makes a table one of this kind.
fn kind(table: &mut Value, kind: &str, doc: &str) {
    table["description"] = doc.into();
    table["properties"]["kind"] = json!({ "const": kind });
    if let Some(required) = table["required"].as_array_mut() {
        required.insert(0, "kind".into());
    }
}

fn property(field: &Field) -> Value {
    let schema = match &field.kind {
        // The one list of words among the keys that every block takes.
        FieldKind::StringList if field.name == "alerts" => {
            json!({ "type": "array", "items": words(&AlertKind::ALL.map(AlertKind::word)) })
        }
        FieldKind::String if field.name == "namespace" => json!({ "$ref": "#/$defs/name" }),
        FieldKind::String | FieldKind::Path => json!({ "$ref": "#/$defs/text" }),
        FieldKind::Integer { min, max } => json!({ "type": "integer", "minimum": min, "maximum": max }),
        FieldKind::Boolean => json!({ "type": "boolean" }),
        FieldKind::Duration => json!({ "$ref": "#/$defs/duration" }),
        FieldKind::DurationOr(others) => json!({ "anyOf": [{ "$ref": "#/$defs/duration" }, { "enum": others }] }),
        FieldKind::Size => json!({ "$ref": "#/$defs/size" }),
        FieldKind::StringOrList => json!({ "anyOf": [{ "$ref": "#/$defs/text" }, list_of("text")] }),
        FieldKind::StringList => list_of("text"),
        FieldKind::OneOf(known) => text_with(json!({ "enum": known })),
        FieldKind::Table(fields) => table(fields),
        FieldKind::Variant(variants) => json!({ "oneOf": variants.iter().map(variant).collect::<Vec<_>>() }),
        FieldKind::Map => json!({ "type": "object", "additionalProperties": { "$ref": "#/$defs/text" } }),
        FieldKind::Any => json!({}),
    };
    let default = field.default.map(|default| match &field.kind {
        FieldKind::Boolean => Value::Bool(default == "true"),
        FieldKind::Integer { .. } => default.parse::<i64>().map_or(Value::Null, Value::from),
        FieldKind::StringOrList | FieldKind::StringList => json!([default]),
        _ => default.into(),
    });
    let doc = if field.secret { format!("{} Never shown.", field.doc) } else { field.doc.to_owned() };
    described(schema, &doc, default)
}

fn variant(variant: &Variant) -> Value {
    let mut table = table(variant.fields);
    kind(&mut table, variant.kind, variant.doc);
    table
}
