//! `[sink.NAME]`, and the `http = { … }` of a rule's target.

use std::path::Path;

use eventyard_connectors::http::{HttpClient, HttpSink, TARGET_FIELDS};
use eventyard_connectors::registry::build_sink;
use eventyard_connectors::spec::Role;
use eventyard_event::Name;
use eventyard_rules::Settings;
use eventyard_rules::reader::Table;

use super::block::Block;
use super::connector;
use super::project::SinkDef;

pub(super) fn read_sinks(file: &Table<'_>, folder: &Path, client: &HttpClient) -> Vec<SinkDef> {
    file.named_tables("sink").into_iter().map(|(name, table)| read_sink(name, table, folder, client)).collect()
}

fn read_sink(name: Name, table: Table<'_>, folder: &Path, client: &HttpClient) -> SinkDef {
    let block = Block::read(&table);
    let known = connector::read_kind(&table, Role::Sink);
    let kind_is_known = known.is_some();
    let (kind, fields) = known.unwrap_or_default();
    let settings = connector::read_rest(&table, fields, kind_is_known, folder);
    if let Some(Err(errors)) = settings.as_ref().map(|settings| build_sink(&kind, settings.reveal(), client)) {
        connector::report(&table, &errors, fields);
    }
    table.finish();
    SinkDef {
        name,
        namespace: block.namespace,
        kind,
        enabled: block.enabled,
        description: block.description,
        settings: settings.unwrap_or_default(),
    }
}

/// Checks the `http = { … }` of a target: the keys of an http sink.
pub(super) fn read_http_target(table: Table<'_>, folder: &Path, client: &HttpClient) -> Option<Settings> {
    let settings = connector::read_rest(&table, TARGET_FIELDS, true, folder)?;
    if let Err(errors) = HttpSink::build(settings.reveal(), client) {
        connector::report(&table, &errors, TARGET_FIELDS);
        return None;
    }
    table.finish();
    Some(settings)
}
