//! `[channel.NAME]`: a way to tell people.

use std::path::Path;
use std::time::Duration;

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

/// The shortest and the longest window of alerts that are sent as one. Whoever waits for longer than the latter has
/// no alert but a report, and an alert is given up a day after it was made.
const GROUP_MIN: Duration = Duration::from_secs(1);
const GROUP_MAX: Duration = Duration::from_secs(6 * 3600);

pub(super) fn read_channels(file: &Table<'_>, folder: &Path, client: &HttpClient) -> Vec<ChannelDef> {
    file.named_tables("channel").into_iter().map(|(name, table)| read_channel(name, table, folder, client)).collect()
}

fn read_channel(name: Name, table: Table<'_>, folder: &Path, client: &HttpClient) -> ChannelDef {
    let block = Block::read(&table);
    let mut alerts = Vec::new();
    let words = AlertKind::ALL.map(|kind| (kind.word(), kind));
    for alert in table.words("alerts", &words, &ALERTS_RESERVED) {
        if !alerts.contains(&alert) {
            alerts.push(alert);
        }
    }
    let group = table.duration("group", GROUP_MIN..=GROUP_MAX);
    let known = connector::read_kind(&table, Role::Channel);
    let kind_is_known = known.is_some();
    let (kind, fields) = known.unwrap_or_default();
    let settings = connector::read_rest(&table, fields, kind_is_known, folder);
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
        group,
        settings: settings.unwrap_or_default(),
    }
}
