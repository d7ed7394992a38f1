//! `[source.NAME]`.

use std::path::Path;
use std::sync::Arc;

use eventyard_connectors::http::HttpSource;
use eventyard_connectors::registry::{BuiltSource, build_source};
use eventyard_connectors::spec::{ConfigError, Role};
use eventyard_event::{Name, Timestamp};
use eventyard_rules::file::read_tags;
use eventyard_rules::reader::Table;
use eventyard_rules::{Pattern, PatternError, PatternSet, Place, Settings};
use serde_json::Value;

use super::block::Block;
use super::project::SourceDef;
use super::{codes, connector};

/// Names that stand for what the broker itself brings in: `POST /events`, and its own events.
pub(super) const RESERVED_NAMES: [&str; 2] = ["events", OWN_SOURCE];

/// The source of what the broker itself makes, events of `event` targets among them.
pub(super) const OWN_SOURCE: &str = "eventyard";

/// A source, and what only the checks between blocks need.
pub(super) struct ReadSource {
    pub(super) def: SourceDef,
    pub(super) place: Place,
    /// Where its `path` stands.
    pub(super) path_place: Place,
    /// What is mounted on the server, where it is an http source or one that is told by requests.
    pub(super) http: Option<Arc<HttpSource>>,
    /// The source that it is made of, and where that is named.
    pub(super) from: Option<(Name, Place)>,
}

pub(super) fn read_sources(file: &Table<'_>, folder: &Path, now: Timestamp) -> Vec<ReadSource> {
    file.named_tables("source").into_iter().map(|(name, table)| read_source(name, table, folder, now)).collect()
}

fn read_source(name: Name, table: Table<'_>, folder: &Path, now: Timestamp) -> ReadSource {
    let block = Block::read(&table);
    let tags = read_tags(&table, "tags");
    let ty = table.filled_string("type");
    if RESERVED_NAMES.contains(&name.as_str()) {
        let message = format!("`{name}` is what the broker calls a source of its own");
        table.reading().refuse(
            codes::RESERVED_NAME,
            table.place().span,
            message,
            Some("choose another name".to_owned()),
        );
    }
    let known = connector::read_kind(&table, Role::Source);
    let kind_is_known = known.is_some();
    let (kind, fields) = known.unwrap_or_default();
    let settings =
        connector::read_rest(&table, fields, kind_is_known, folder).map(|settings| with_type(&settings, ty.as_deref()));
    let path_place = table.place_of("path");
    let (mut http, mut from) = (None, None);
    let mut sound = settings.is_some();
    if let Some(settings) = &settings {
        match build_source(&kind, &name, settings.reveal(), now) {
            Ok((built, warnings)) => {
                connector::warn(&table, &warnings);
                match built {
                    BuiltSource::Http(source) | BuiltSource::Read { http: source, .. } => http = Some(source),
                    BuiltSource::From { source, .. } => from = Some((source, table.place_of("notifications"))),
                    BuiltSource::Polled(_) => {}
                }
                if let Err(errors) = source_filter(settings.reveal()) {
                    connector::report(&table, &errors, fields);
                    sound = false;
                }
            }
            Err(errors) => {
                connector::report(&table, &errors, fields);
                sound = false;
            }
        }
    }
    table.finish();
    let settings = settings.filter(|_| sound).unwrap_or_default();
    let def = SourceDef {
        name,
        namespace: block.namespace,
        description: block.description,
        enabled: block.enabled,
        kind,
        tags,
        settings,
    };
    ReadSource { def, place: block.place, path_place, http, from }
}

/// The settings with the `type` that the block gives, which connectors read like a key of their own.
fn with_type(settings: &Settings, ty: Option<&str>) -> Settings {
    let Some(ty) = ty else { return settings.clone() };
    let add = |value: &Value| {
        let mut value = value.clone();
        if let Value::Object(members) = &mut value {
            members.insert("type".to_owned(), ty.into());
        }
        value
    };
    Settings::new(add(settings.reveal()), add(settings.shown()))
}

/// The `filter` of a source, where it has one.
///
/// # Errors
/// Every mistake in it, at its key.
pub(crate) fn source_filter(settings: &serde_json::Value) -> Result<Option<PatternSet>, Vec<ConfigError>> {
    let json = match settings.get("filter") {
        None => return Ok(None),
        Some(serde_json::Value::String(json)) => json.clone(),
        Some(table) => table.to_string(),
    };
    let pattern = Pattern::from_json(&json).map_err(|errors| {
        let error = |error: PatternError| {
            let at = if error.path.is_empty() { String::new() } else { format!("{}: ", error.path) };
            ConfigError { help: error.help, ..ConfigError::at("filter", error.code, format!("{at}{}", error.message)) }
        };
        errors.into_iter().map(error).collect::<Vec<_>>()
    })?;
    Ok(Some(PatternSet::new([&pattern])))
}
