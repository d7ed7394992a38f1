//! Holds a table against its fields: every mistake is found, and what passes is in one plain shape.

use serde_json::{Map, Value};

use super::{ConfigError, Field, FieldKind, Variant, parse_duration, parse_size};

/// Checks a table against its fields and gives it back in the shape that connectors read: defaults filled in,
/// durations as whole milliseconds, sizes as bytes, a lone text as a list of one where a list is meant.
/// The text of `{ env = … }` and `{ file = … }` is in place already.
///
/// # Errors
/// Every mistake, in the order of the table.
pub fn normalise(fields: &[Field], table: &Map<String, Value>) -> Result<Map<String, Value>, Vec<ConfigError>> {
    let mut errors = Vec::new();
    let mut plain = Map::new();
    for (key, value) in table {
        match fields.iter().find(|field| field.name == key) {
            Some(field) => match normalise_value(&field.kind, value) {
                Ok(value) => {
                    plain.insert(key.clone(), value);
                }
                Err(inner) => errors.extend(inner.into_iter().map(|error| error.within(key))),
            },
            None => errors.push(unknown_key(fields, key)),
        }
    }
    // A key that is there misspelt has been reported, and is not missed as well.
    let names = || fields.iter().map(|field| field.name);
    let unknown = table.keys().filter(|key| names().all(|name| name != key.as_str()));
    let meant: Vec<&str> = unknown.filter_map(|key| nearest(key, names())).collect();
    for field in fields.iter().filter(|field| !table.contains_key(field.name)) {
        if field.required && meant.contains(&field.name) {
            continue;
        }
        if field.required {
            errors.push(ConfigError {
                path: Vec::new(),
                code: "missing_key",
                message: format!("the key `{}` is missing", field.name),
                help: Some(field.doc.to_owned()),
            });
        } else if let Some(default) = field.default {
            match normalise_value(&field.kind, &default_value(&field.kind, default)) {
                Ok(value) => {
                    plain.insert(field.name.to_owned(), value);
                }
                Err(inner) => errors.extend(inner.into_iter().map(|error| error.within(field.name))),
            }
        }
    }
    if errors.is_empty() { Ok(plain) } else { Err(errors) }
}

/// Of `names`, the one that `word` most probably meant; `None` where none is near.
#[must_use]
pub fn nearest<'a>(word: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase();
    names
        .into_iter()
        .map(|name| (strsim::jaro_winkler(&word, &name.to_lowercase()), name))
        .filter(|(likeness, _)| *likeness >= 0.8)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, name)| name)
}

fn normalise_value(kind: &FieldKind, value: &Value) -> Result<Value, Vec<ConfigError>> {
    match (kind, value) {
        (FieldKind::Any, _) | (FieldKind::String, Value::String(_)) | (FieldKind::Boolean, Value::Bool(_)) => {
            Ok(value.clone())
        }
        (FieldKind::Path, Value::String(text)) if text.is_empty() => Err(bad("no file or folder is named".to_owned())),
        (FieldKind::Path, Value::String(text)) if text.contains('\0') => Err(bad("no path has a NUL in it".to_owned())),
        (FieldKind::Path, Value::String(_)) => Ok(value.clone()),
        (FieldKind::Integer { min, max }, Value::Number(number)) => match number.as_i64() {
            Some(whole) if (*min..=*max).contains(&whole) => Ok(value.clone()),
            _ => Err(bad(format!("{number} is not a whole number from {min} to {max}"))),
        },
        (FieldKind::Duration, Value::String(text)) => duration(text).map_err(bad),
        (FieldKind::DurationOr(words), Value::String(text)) if words.contains(&text.as_str()) => Ok(value.clone()),
        (FieldKind::DurationOr(words), Value::String(text)) => {
            duration(text).map_err(|problem| bad(format!("{problem}, or {}", quoted(words))))
        }
        (FieldKind::Size, Value::String(text)) => parse_size(text).map(Value::from).map_err(bad),
        (FieldKind::StringOrList, Value::String(_)) => Ok(Value::Array(vec![value.clone()])),
        (FieldKind::StringOrList | FieldKind::StringList, Value::Array(items)) => {
            let wrong = items.iter().position(|item| !item.is_string());
            match wrong {
                None => Ok(value.clone()),
                Some(at) => Err(wrong_type("a text", items.get(at).unwrap_or(value), Some(at))),
            }
        }
        (FieldKind::OneOf(words), Value::String(text)) => {
            if words.contains(&text.as_str()) {
                return Ok(value.clone());
            }
            let error = ConfigError {
                path: Vec::new(),
                code: "bad_value",
                message: format!("`{text}` is not one of {}", quoted(words)),
                help: nearest(text, words.iter().copied()).map(|word| format!("did you mean `{word}`?")),
            };
            Err(vec![error])
        }
        (FieldKind::Table(fields), Value::Object(table)) => normalise(fields, table).map(Value::Object),
        (FieldKind::Variant(variants), Value::Object(table)) => normalise_variant(variants, table),
        (FieldKind::Map, Value::Object(table)) => {
            let errors: Vec<ConfigError> = table
                .iter()
                .filter(|(_, value)| !value.is_string())
                .flat_map(|(key, value)| wrong_type("a text", value, None).into_iter().map(|error| error.within(key)))
                .collect();
            if errors.is_empty() { Ok(value.clone()) } else { Err(errors) }
        }
        (kind, value) => Err(wrong_type(expectation(kind), value, None)),
    }
}

fn normalise_variant(variants: &[Variant], table: &Map<String, Value>) -> Result<Value, Vec<ConfigError>> {
    let kinds: Vec<&str> = variants.iter().map(|variant| variant.kind).collect();
    let kind = match table.get("kind") {
        Some(Value::String(kind)) => kind,
        Some(other) => {
            return Err(wrong_type("a text", other, None).into_iter().map(|error| error.within("kind")).collect());
        }
        None => {
            return Err(vec![ConfigError {
                path: Vec::new(),
                code: "missing_key",
                message: "the key `kind` is missing".to_owned(),
                help: Some(format!("write kind = … with one of {}", quoted(&kinds))),
            }]);
        }
    };
    let Some(variant) = variants.iter().find(|variant| variant.kind == kind) else {
        let error = ConfigError::at("kind", "bad_value", format!("`{kind}` is not one of {}", quoted(&kinds)));
        return Err(vec![match nearest(kind, kinds.iter().copied()) {
            Some(word) => error.help(format!("did you mean `{word}`?")),
            None => error,
        }]);
    };
    let mut rest = table.clone();
    rest.shift_remove("kind");
    let mut plain = normalise(variant.fields, &rest)?;
    plain.insert("kind".to_owned(), Value::String(kind.clone()));
    Ok(Value::Object(plain))
}

fn unknown_key(fields: &[Field], key: &str) -> ConfigError {
    let names: Vec<&str> = fields.iter().map(|field| field.name).collect();
    let error = ConfigError::at(key, "unknown_key", format!("there is no key `{key}` here"));
    let known =
        if names.is_empty() { "nothing may stand here".to_owned() } else { format!("the keys are {}", quoted(&names)) };
    match nearest(key, names.iter().copied()) {
        Some(name) => error.help(format!("did you mean `{name}`? {known}")),
        None => error.help(known),
    }
}

fn duration(text: &str) -> Result<Value, String> {
    let millis = parse_duration(text)?.as_millis();
    u64::try_from(millis).map(Value::from).map_err(|_| format!("`{text}` is too long"))
}

fn default_value(kind: &FieldKind, default: &str) -> Value {
    match kind {
        FieldKind::Boolean => Value::Bool(default == "true"),
        FieldKind::Integer { .. } => default.parse::<i64>().map_or(Value::Null, Value::from),
        FieldKind::StringOrList | FieldKind::StringList => Value::Array(vec![Value::String(default.to_owned())]),
        // Each of its keys has a default of its own.
        FieldKind::Table(_) => Value::Object(Map::new()),
        _ => Value::String(default.to_owned()),
    }
}

fn expectation(kind: &FieldKind) -> &'static str {
    match kind {
        FieldKind::String | FieldKind::OneOf(_) => "a text",
        FieldKind::Path => "a path",
        FieldKind::Integer { .. } => "a whole number",
        FieldKind::Boolean => "true or false",
        FieldKind::Duration | FieldKind::DurationOr(_) => "a duration such as \"30s\"",
        FieldKind::Size => "a size such as \"64KiB\"",
        FieldKind::StringOrList => "a text or a list of texts",
        FieldKind::StringList => "a list of texts",
        FieldKind::Table(_) | FieldKind::Variant(_) | FieldKind::Map => "a table",
        FieldKind::Any => "anything",
    }
}

fn wrong_type(expected: &str, value: &Value, place: Option<usize>) -> Vec<ConfigError> {
    let found = match value {
        Value::Null => "nothing",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a table",
    };
    vec![ConfigError {
        path: place.map(|at| at.to_string()).into_iter().collect(),
        code: "wrong_type",
        message: format!("{expected} belongs here, not {found}"),
        help: None,
    }]
}

fn bad(message: String) -> Vec<ConfigError> {
    vec![ConfigError { path: Vec::new(), code: "bad_value", message, help: None }]
}

fn quoted(words: &[&str]) -> String {
    words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}
