//! What is the same whatever a connector is refused for: people are told, the source backs off, and no secret is shown.

use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use crate::support::{Broker, run};

/// Four failures in a row, with the pauses between them and what each server takes to refuse.
const DEADLINE: Duration = Duration::from_secs(120);

pub(crate) async fn get(broker: &Broker, path: &str) -> Value {
    reqwest::get(format!("{}{path}", broker.url())).await.unwrap().json().await.unwrap()
}

/// Waits until all of these sources (by name) have been announced as down for their credentials.
pub(crate) async fn until_announced(broker: &Broker, sources: &[&str]) -> Vec<Value> {
    let deadline = tokio::time::Instant::now() + DEADLINE;
    let alerts = loop {
        let list = get(broker, "/api/v1/events?type=eventyard.source_down&limit=100").await;
        let mut alerts = Vec::new();
        for item in list["items"].as_array().unwrap() {
            let shown = get(broker, &format!("/api/v1/events/{}", item["event"].as_str().unwrap())).await;
            alerts.push(shown["cloudevent"]["data"].clone());
        }
        if alerts.len() >= sources.len() {
            break alerts;
        }
        let sources = get(broker, "/api/v1/sources").await;
        assert!(tokio::time::Instant::now() < deadline, "{alerts:#?} {sources:#}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    };
    let mut told: Vec<(&str, &str)> = alerts
        .iter()
        .map(|alert| (alert["source"].as_str().unwrap(), alert["reason"]["code"].as_str().unwrap()))
        .collect();
    told.sort_unstable();
    let expected: Vec<(&str, &str)> = sources.iter().map(|name| (*name, "connector_auth")).collect();
    assert_eq!(told, expected, "{alerts:#?}");
    alerts
}

/// Fails where a source does not show this code, runs, or tries without growing pauses. Gives the text of its error.
pub(crate) async fn assert_backs_off(broker: &Broker, name: &str, code: &str) -> String {
    let source = get(broker, &format!("/api/v1/sources/{name}")).await;
    let error = source["last_error"].as_str().unwrap_or_default().to_owned();
    assert!(error.starts_with(&format!("{code}: ")), "{source:#}");
    assert_ne!(source["state"], "running", "{source:#}");
    let metrics = reqwest::get(format!("{}/metrics", broker.url())).await.unwrap().text().await.unwrap();
    // Pauses of 1, 2, 4, 8 s and so on, less what chance takes off.
    let line = format!("eventyard_source_errors_total{{source=\"{name}\"}} ");
    let failures: u64 = metrics.lines().find_map(|said| said.strip_prefix(&line)?.parse().ok()).unwrap();
    assert!((4..=8).contains(&failures), "{name} has failed {failures} times: it does not back off");
    error
}

/// Fails where the timer named `clock`, which fires each second, does not go on.
pub(crate) async fn assert_clock_goes_on(broker: &Broker) {
    assert_eq!(get(broker, "/api/v1/sources/clock").await["state"], "running");
    let ticks =
        async || get(broker, "/api/v1/events?type=timer.fired&limit=1000").await["items"].as_array().unwrap().len();
    let before = ticks().await;
    tokio::time::sleep(Duration::from_millis(2500)).await;
    assert!(ticks().await > before, "the timer goes on");
}

/// Stops the broker; fails where the alerts, what it shows, its log or any other file below its folder holds the secret.
pub(crate) async fn assert_stays_secret(mut broker: Broker, folder: &Path, alerts: &[Value], secret: &str) {
    let listed = run(&["sources", "list"], folder);
    let (sources, events) = (get(&broker, "/api/v1/sources").await, get(&broker, "/api/v1/events").await);
    let said = [sources.to_string(), format!("{alerts:?}"), listed.stdout, events.to_string()];
    assert!(said.iter().all(|said| !said.contains(secret)), "{said:#?}");
    assert_eq!(broker.terminate(), Some(0));
    assert_nowhere(folder, secret);
}

fn assert_nowhere(folder: &Path, secret: &str) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            assert_nowhere(&path, secret);
        } else if let Ok(bytes) = std::fs::read(&path) {
            let found = bytes.windows(secret.len()).any(|some| some == secret.as_bytes());
            assert!(!found, "{} holds the secret", path.display());
        }
    }
}
