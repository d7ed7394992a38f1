//! Holds a block against what its connector declares, and translates what the connector says into places.

use std::collections::BTreeSet;
use std::path::Path;

use eventyard_connectors::registry;
use eventyard_connectors::spec::{ConfigError, Field, FieldKind, Role, Variant, common_fields, normalise};
use eventyard_rules::reader::Table;
use eventyard_rules::{Diagnostic, HIDDEN, Settings, is_secret_key};
use serde_json::{Map, Value};

/// Reads `kind` and gives the kind's keys; `None` where there is no such kind (reported).
pub(super) fn read_kind(table: &Table<'_>, role: Role) -> Option<(String, &'static [Field])> {
    let kinds: Vec<&str> = registry::specs(role).iter().map(|spec| spec.kind).collect();
    let help = format!("say which connector it is: kind = one of {}", kinds.join(", "));
    match table.nearly("kind").filter(|_| !table.has("kind")) {
        // Which keys there are depends on the kind, so nobody else will say that this one is misspelt.
        Some(wrong) => {
            let message = format!("unknown key `{wrong}` in {}", table.title());
            let place = table.place_along(&[wrong], true);
            let found = Diagnostic::error_at(eventyard_rules::codes::UNKNOWN_KEY, &place, message);
            table.reading().push(found.with_label("did you mean `kind`?").with_help(help));
        }
        None => {
            table.require("kind", &help);
        }
    }
    let kind = table.filled_string("kind");
    debug_assert_eq!(
        table.known_keys().into_iter().collect::<BTreeSet<_>>(),
        common_fields(role).iter().map(|field| field.name.to_owned()).collect::<BTreeSet<_>>(),
        "what every {} takes is declared in connectors/src/spec.rs",
        role.as_str(),
    );
    let kind = kind?;
    match registry::spec(role, &kind) {
        Ok(spec) => Some((kind, spec.fields)),
        Err(error) => {
            report(table, &[error], &[]);
            None
        }
    }
}

/// Reads what is left of a table by these keys, and gives it in the shape that the connector reads. `None` where
/// something will not do (reported), and where the kind is not known, for which keys exist depends on it.
/// Relative paths in it start at `folder`.
pub(super) fn read_rest(
    table: &Table<'_>,
    fields: &'static [Field],
    kind_is_known: bool,
    folder: &Path,
) -> Option<Settings> {
    let data: Vec<&str> =
        fields.iter().filter(|field| matches!(field.kind, FieldKind::Any)).map(|field| field.name).collect();
    let unresolved_before = table.reading().unresolved_count();
    let given = table.rest(&data).filter(|_| kind_is_known)?;
    let Value::Object(members) = given.reveal() else { return None };
    match normalise(fields, members) {
        // What could not be resolved has been reported; with something else in its place nothing is built.
        Ok(_) if table.reading().unresolved_count() > unresolved_before => None,
        Ok(mut value) => {
            // What is shown stays as it was written.
            let shown = hide_table(table, fields, &value);
            complete_paths(fields, &mut value, folder);
            Some(Settings::new(Value::Object(value), Value::Object(shown)))
        }
        Err(errors) => {
            report(table, &errors, fields);
            None
        }
    }
}

/// Makes every path one that starts at the root.
fn complete_paths(fields: &'static [Field], table: &mut Map<String, Value>, folder: &Path) {
    for field in fields {
        match (&field.kind, table.get_mut(field.name)) {
            (FieldKind::Path, Some(Value::String(path))) => *path = folder.join(&*path).to_string_lossy().into_owned(),
            (FieldKind::Table(inner), Some(Value::Object(members))) => complete_paths(inner, members, folder),
            (FieldKind::Variant(variants), Some(Value::Object(members))) => {
                complete_paths(fields_of(variants, members), members, folder);
            }
            _ => {}
        }
    }
}

/// The keys of the variant that a table is.
fn fields_of(variants: &'static [Variant], table: &Map<String, Value>) -> &'static [Field] {
    let found = table.get("kind").and_then(|kind| variants.iter().find(|variant| kind == variant.kind));
    found.map_or(&[], |variant| variant.fields)
}

/// Reports what a connector found wrong.
pub(super) fn report(table: &Table<'_>, errors: &[ConfigError], fields: &[Field]) {
    for error in errors {
        if error.code == eventyard_rules::codes::UNKNOWN_KEY && error.path.len() == 1 {
            // The block's own keys belong to the list as well.
            let common = table.known_keys();
            let known: Vec<&str> =
                fields.iter().map(|field| field.name).chain(common.iter().map(String::as_str)).collect();
            table.unknown_key(&error.path, table.title(), &known);
            continue;
        }
        table.reading().push(diagnostic(table, error));
    }
}

/// Reports what a connector found doubtful.
pub(super) fn warn(table: &Table<'_>, warnings: &[ConfigError]) {
    for warning in warnings {
        table.reading().push(diagnostic(table, warning).as_warning());
    }
}

fn diagnostic(table: &Table<'_>, error: &ConfigError) -> Diagnostic {
    let at_key = error.code == eventyard_rules::codes::UNKNOWN_KEY;
    let place = table.place_along(&error.path, at_key);
    let found = Diagnostic::error_at(error.code, &place, error.message.clone());
    Diagnostic { help: error.help.clone(), ..found }
}

/// The same settings with every secret hidden: what the connector declares as one, what its key's name says is
/// one, and what was resolved from the environment or a file.
fn hide_table(table: &Table<'_>, fields: &[Field], value: &Map<String, Value>) -> Map<String, Value> {
    value
        .iter()
        .map(|(key, value)| {
            let field = fields.iter().find(|field| field.name == key);
            let secret = is_secret_key(key) || field.is_some_and(|field| field.secret);
            let shown = match (field.map(|field| &field.kind), value) {
                _ if secret => hide_all(value),
                (Some(FieldKind::Table(inner)), Value::Object(members)) => {
                    Value::Object(hide_table(table, inner, members))
                }
                (Some(FieldKind::Variant(variants)), Value::Object(members)) => {
                    Value::Object(hide_table(table, fields_of(variants, members), members))
                }
                // Data of any shape is an event's, and shows as every event does.
                (Some(FieldKind::Any), value) => value.clone(),
                (_, value) => hide_resolved(table, value),
            };
            (key.clone(), shown)
        })
        .collect()
}

fn hide_all(value: &Value) -> Value {
    match value {
        Value::Array(items) => Value::Array(items.iter().map(hide_all).collect()),
        _ => Value::String(HIDDEN.to_owned()),
    }
}

fn hide_resolved(table: &Table<'_>, value: &Value) -> Value {
    match value {
        Value::String(text) if table.reading().is_secret(text) => Value::String(HIDDEN.to_owned()),
        Value::Array(items) => items.iter().map(|item| hide_resolved(table, item)).collect(),
        Value::Object(members) => Value::Object(hide_table(table, &[], members)),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn relative_paths_start_at_the_folder_at_any_depth() {
        const INNER: &[Field] =
            &[Field::optional("ca", FieldKind::Path, ""), Field::optional("x", FieldKind::String, "")];
        const VARIANTS: &[Variant] =
            &[Variant { kind: "a", doc: "", fields: INNER }, Variant { kind: "b", doc: "", fields: &[] }];
        const FIELDS: &[Field] = &[
            Field::optional("near", FieldKind::Path, ""),
            Field::optional("far", FieldKind::Path, ""),
            Field::optional("text", FieldKind::String, ""),
            Field::optional("tls", FieldKind::Table(INNER), ""),
            Field::optional("one", FieldKind::Variant(VARIANTS), ""),
            Field::optional("other", FieldKind::Variant(VARIANTS), ""),
        ];
        let mut table = json!({
            "near": "a/b", "far": "/a", "text": "a",
            "tls": { "ca": "c", "x": "x" }, "one": { "kind": "a", "ca": "./d" }, "other": { "kind": "b" }
        });
        complete_paths(FIELDS, table.as_object_mut().unwrap(), Path::new("/project"));
        let wanted = json!({
            "near": "/project/a/b", "far": "/a", "text": "a",
            "tls": { "ca": "/project/c", "x": "x" }, "one": { "kind": "a", "ca": "/project/./d" }, "other": { "kind": "b" }
        });
        assert_eq!(table, wanted);
    }
}
