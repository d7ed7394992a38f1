//! The reference pages are what the connectors declare, and their examples load.

use std::path::{Path, PathBuf};

use eventyard_connectors::http::HttpClient;
use eventyard_connectors::reference::{index, page, page_name};
use eventyard_connectors::registry::{build_channel, build_sink, build_source, reserved_kinds, specs};
use eventyard_connectors::spec::{ConfigError, Field, Role, common_fields, normalise};
use eventyard_event::{Name, Timestamp};
use serde_json::Value;

const ROLES: [Role; 3] = [Role::Source, Role::Sink, Role::Channel];

fn docs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs")
}

#[test]
fn the_pages_under_docs_are_those_that_the_connectors_declare() {
    let mut pages = Vec::new();
    for role in ROLES {
        pages.push((format!("{}s.md", role.as_str()), index(role, specs(role), reserved_kinds(role))));
        pages.extend(specs(role).iter().map(|spec| (page_name(spec), page(spec))));
    }
    let bless = std::env::var_os("EVENTYARD_BLESS").is_some();
    for (name, text) in pages {
        let path = docs().join(&name);
        if bless {
            std::fs::create_dir_all(docs()).unwrap();
            std::fs::write(&path, &text).unwrap();
        }
        let found = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            found == text,
            "docs/{name} differs; write it with EVENTYARD_BLESS=1 cargo test -p eventyard-connectors"
        );
    }
}

/// Puts the default where `{ env = …, default = … }` stands, as the project's reader would.
fn resolve(value: &mut Value) {
    match value {
        Value::Object(table) if table.contains_key("env") => *value = table["default"].clone(),
        Value::Object(table) => table.values_mut().for_each(resolve),
        Value::Array(items) => items.iter_mut().for_each(resolve),
        _ => {}
    }
}

#[test]
fn every_example_loads() {
    for role in ROLES {
        for spec in specs(role) {
            let file: toml::Table = toml::from_str(spec.example).unwrap();
            let mut file = serde_json::to_value(file).unwrap();
            resolve(&mut file);
            let blocks = file[role.as_str()].as_object().unwrap();
            assert_eq!(blocks.len(), 1, "one block in the example of {}", spec.kind);
            let (name, block) = blocks.iter().next().unwrap();
            assert_eq!(block["kind"], spec.kind);
            let fields: Vec<Field> = common_fields(role).iter().chain(spec.fields).copied().collect();
            let plain = Value::Object(normalise(&fields, block.as_object().unwrap()).unwrap());
            let client = HttpClient::new(Vec::new());
            let built = match role {
                Role::Source => {
                    build_source(spec.kind, &Name::new(name).unwrap(), &plain, Timestamp::EPOCH).map(|_| ())
                }
                Role::Sink => build_sink(spec.kind, &plain, &client).map(|_| ()),
                Role::Channel => build_channel(spec.kind, &plain, &client).map(|_| ()),
            };
            let left_out = |errors: &Vec<ConfigError>| errors.iter().all(|error| error.code == "not_built");
            if built.as_ref().is_err_and(left_out) {
                continue;
            }
            built.unwrap_or_else(|errors| panic!("{}: {errors:?}", spec.kind));
        }
    }
}

#[test]
fn every_secret_is_marked() {
    fn walk(fields: &[Field], seen: &mut Vec<(String, bool)>) {
        use eventyard_connectors::spec::FieldKind;
        for field in fields {
            seen.push((field.name.to_owned(), field.secret));
            match field.kind {
                FieldKind::Table(fields) => walk(fields, seen),
                FieldKind::Variant(variants) => variants.iter().for_each(|variant| walk(variant.fields, seen)),
                _ => {}
            }
        }
    }
    let mut seen = Vec::new();
    for role in ROLES {
        specs(role).iter().for_each(|spec| walk(spec.fields, &mut seen));
    }
    for (name, secret) in seen {
        let named_so = ["secret", "token", "password", "creds"].contains(&name.as_str())
            || name.starts_with("secret_")
            || name.ends_with("_secret")
            || name.ends_with("_token");
        assert_eq!(secret, named_so, "{name}");
    }
}
