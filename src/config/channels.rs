//! `[channel.NAME]`: a way to tell people.

use eventyard_connectors::http::HttpClient;
use eventyard_connectors::registry::build_channel;
use eventyard_connectors::spec::Role;
use eventyard_event::Name;
use eventyard_rules::reader::Table;

use super::block::Block;
use super::project::ChannelDef;
use super::{AlertKind, connector};

/// Alerts that have a name and come with the parts they tell of.
const ALERTS_RESERVED: [&str; 2] = ["function_crashing", "quota_reached"];

pub(super) fn read_channels(file: &Table<'_>, client: &HttpClient) -> Vec<ChannelDef> {
    file.named_tables("channel").into_iter().map(|(name, table)| read_channel(name, table, client)).collect()
}

fn read_channel(name: Name, table: Table<'_>, client: &HttpClient) -> ChannelDef {
    let block = Block::read(&table);
    let mut alerts = Vec::new();
    let words = AlertKind::ALL.map(|kind| (kind.word(), kind));
    for alert in table.words("alerts", &words, &ALERTS_RESERVED) {
        if !alerts.contains(&alert) {
            alerts.push(alert);
        }
    }
    table.reserved("group");
    let known = connector::read_kind(&table, Role::Channel);
    let kind_is_known = known.is_some();
    let (kind, fields) = known.unwrap_or_default();
    let settings = connector::read_rest(&table, fields, kind_is_known);
    if let Some(Err(errors)) = settings.as_ref().map(|settings| build_channel(&kind, settings.reveal(), client)) {
        connector::report(&table, &errors, fields);
    }
    table.finish();
    ChannelDef {
        name,
        namespace: block.namespace,
        kind,
        enabled: block.enabled,
        description: block.description,
        alerts,
        settings: settings.unwrap_or_default(),
    }
}
