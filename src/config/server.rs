//! `[server]`, `[store]` and `[limits]`.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use eventyard_rules::codes as rule_codes;
use eventyard_rules::reader::Table;
use eventyard_rules::{Diagnostic, Place};
use ipnet::IpNet;

use super::codes;
use super::project::{LimitSettings, Server, StoreSettings, Tls};

/// The longest time for attempts in flight: who stops a program does not wait longer.
pub(super) const GRACE_MAX: Duration = Duration::from_secs(600);

/// The longest retention, ten years.
pub(super) const RETENTION_MAX: Duration = Duration::from_secs(3650 * 24 * 3600);

/// The second part of the answer is where `listen` stands.
pub(super) fn read_server(file: &Table<'_>, folder: &Path) -> (Server, Place) {
    let mut server = Server::default();
    let Some(table) = file.table("server", "[server]") else { return (server, file.place()) };
    let listen_place = table.place_of("listen");
    if let Some(listen) = table.filled_string("listen").and_then(|text| read_listen(&table, &text)) {
        server.listen = listen;
    }
    server.token = table.text("token");
    server.tls = read_tls(&table, folder);
    server.grace = table.duration("grace", Duration::ZERO..=GRACE_MAX).unwrap_or(server.grace);
    server.egress_allow = table
        .texts("egress_allow")
        .into_iter()
        .filter_map(|(text, span)| {
            let network = text.reveal().parse::<IpNet>().ok();
            let address = || text.reveal().parse::<IpAddr>().ok().map(IpNet::from);
            let read = network.or_else(address);
            if read.is_none() {
                let message = format!("`{text}` is no network");
                let help = Some("write an address with a prefix length: \"10.0.0.0/8\" or \"fd00::/8\"".to_owned());
                table.reading().refuse(rule_codes::BAD_VALUE, span, message, help);
            }
            read
        })
        .collect();
    table.finish();
    (server, listen_place)
}

fn read_listen(table: &Table<'_>, text: &str) -> Option<SocketAddr> {
    // The one name that means the same everywhere; any other would have to be asked for.
    let numeric = match text.strip_prefix("localhost:") {
        Some(port) => format!("127.0.0.1:{port}"),
        None => text.to_owned(),
    };
    let read = numeric.parse().ok();
    if read.is_none() {
        let help = Some("write an address and a port: \"127.0.0.1:8484\", \"0.0.0.0:8484\" or \"[::1]:8484\"");
        table.refuse("listen", rule_codes::BAD_VALUE, format!("`{text}` is no address to listen on"), help);
    }
    read
}

fn read_tls(table: &Table<'_>, folder: &Path) -> Option<Tls> {
    let value = table.value("tls")?;
    if !value.get_ref().is_table() {
        return table.word("tls", &[("proxy", ())], &[]).map(|()| Tls::Proxy);
    }
    let tls = table.table("tls", "[server] tls")?;
    let path = |key: &str| {
        tls.require(key, "tls = { cert = \"cert.pem\", key = \"key.pem\" }, or tls = \"proxy\"");
        let full = folder.join(tls.filled_string(key)?);
        if !full.is_file() {
            let message = format!("the file of `{key}` is not there");
            tls.refuse(key, codes::NO_CERTIFICATE, message, Some("a relative path starts at the project folder"));
        }
        Some(full)
    };
    let (cert, key) = (path("cert"), path("key"));
    tls.finish();
    Some(Tls::Files { cert: cert?, key: key? })
}

/// What a listener that others can reach must have.
pub(super) fn check_listen(server: &Server, place: &Place) -> Option<Diagnostic> {
    if server.listen.ip().is_loopback() {
        return None;
    }
    let lacking = match (&server.token, &server.tls) {
        (Some(_), Some(_)) => return None,
        (None, None) => "a token and tls",
        (None, Some(_)) => "a token",
        (Some(_), None) => "tls",
    };
    let message = format!("`{}` can be reached from other machines, which needs {lacking}", server.listen);
    Some(Diagnostic::error_at(codes::LISTEN_INSECURE, place, message).with_help(
        "set token = { env = \"EVENTYARD_TOKEN\" } and tls = { cert = \"…\", key = \"…\" } (or tls = \"proxy\" \
             where something in front ends TLS), or listen on 127.0.0.1",
    ))
}

pub(super) fn read_store(file: &Table<'_>, folder: &Path) -> StoreSettings {
    let StoreSettings { dir, retention, retention_bytes } = StoreSettings::default();
    let mut store = StoreSettings { dir: folder.join(dir), retention, retention_bytes };
    let Some(table) = file.table("store", "[store]") else { return store };
    if let Some(dir) = table.filled_string("dir") {
        store.dir = folder.join(dir);
    }
    store.retention = table.duration("retention", Duration::ZERO..=RETENTION_MAX).unwrap_or(retention);
    store.retention_bytes = table.size("retention_size", 0..=1 << 50).unwrap_or(retention_bytes);
    table.finish();
    store
}

pub(super) fn read_limits(file: &Table<'_>) -> LimitSettings {
    let mut limits = LimitSettings::default();
    let Some(table) = file.table("limits", "[limits]") else { return limits };
    let whole = |number: u64, default: usize| usize::try_from(number).unwrap_or(default);
    if let Some(bytes) = table.size("event", 1024..=64 << 20) {
        limits.event_bytes_max = whole(bytes, limits.event_bytes_max);
    }
    if let Some(events) = table.integer("batch", 1..=1_000_000) {
        limits.batch_events_max = whole(events, limits.batch_events_max);
    }
    if let Some(pending) = table.integer("pending", 1..=1_000_000_000) {
        limits.pending = pending;
    }
    table.finish();
    limits
}
