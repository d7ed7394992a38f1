//! Reloads while events come in: each event meets one project, whole, and none is refused for it.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::disk_ground::Client;
use crate::support::{Broker, project, run};

const MAIN: &str =
    "[server]\nlisten = \"127.0.0.1:0\"\n\n[sink.one]\nkind = \"discard\"\n\n[sink.two]\nkind = \"discard\"\n";
const SENDERS: usize = 4;
const RELOADS: usize = 40;

/// Four rules in one file that changes in one step: the two of this side take every event, the other two none. All are
/// always there, so that every delivery finds its target.
fn write_rules(folder: &Path, on: &str) {
    let mut rules = String::new();
    for (part, sink) in [("first", "one"), ("second", "two")] {
        for side in ["left", "right"] {
            let ty = if side == on { "load" } else { "nothing" };
            rules += &format!(
                "[[rule]]\nname = \"{part}-{side}\"\npattern = {{ type = [\"{ty}\"] }}\ntarget = {{ sink = \"{sink}\" }}\n\n"
            );
        }
    }
    let new = folder.join("rules.new");
    fs::write(&new, rules).unwrap();
    fs::rename(new, folder.join("rules/both.toml")).unwrap();
}

/// The side of the rules that an event met; all of them must be of one.
fn side(rules: &[String]) -> &str {
    let sides: BTreeSet<_> = rules.iter().map(|rule| rule.rsplit('-').next().unwrap()).collect();
    assert!(rules.len() == 2 && sides.len() == 1, "an event met the rules of two projects: {rules:?}");
    sides.first().unwrap()
}

/// Sends until it is told to stop; the events' ids, each with the side of its rules.
fn send(address: std::net::SocketAddr, number: usize, stop: &AtomicBool) -> Vec<(String, String)> {
    let mut client = Client::connect(address).unwrap();
    let mut taken = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let said = client.post(&format!("{number}-{}", taken.len()), 100).unwrap();
        assert_eq!(said.status, 202, "{}", said.body);
        let accepted = &said.json()["accepted"][0];
        let rules: Vec<String> = serde_json::from_value(accepted["rules"].clone()).unwrap();
        taken.push((accepted["event"].as_str().unwrap().to_owned(), side(&rules).to_owned()));
    }
    taken
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_command_had_read_is_not_read_again_by_the_watch_and_a_later_change_is() {
    let folder = project(&[("eventyard.toml", MAIN), ("rules/README", "rules are written by the test")]);
    write_rules(folder.path(), "left");
    let mut broker = Broker::start("run", folder.path());
    let mut client = Client::connect(broker.address()).unwrap();
    let mut reloads = || -> u64 {
        let metrics = client.get("/metrics").unwrap().body;
        let counts = metrics.lines().filter(|line| line.starts_with("eventyard_reloads_total{"));
        counts.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
    };
    write_rules(folder.path(), "right");
    let reloaded = run(&["reload", "--url", &broker.url()], folder.path());
    assert!(reloaded.stdout.contains("read again"), "{}{}", reloaded.stdout, reloaded.stderr);
    // Longer than files must be unchanged before the watch reads them.
    tokio::time::sleep(Duration::from_millis(2_000)).await;
    assert_eq!(reloads(), 1);

    write_rules(folder.path(), "left");
    let until = std::time::Instant::now() + Duration::from_secs(20);
    while reloads() == 1 && std::time::Instant::now() < until {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(reloads(), 2, "the watch reads what nobody had read");
    // Nobody waited for anybody: whoever asks has the files read, changed or not.
    let again = run(&["reload", "--url", &broker.url()], folder.path());
    assert!(again.stdout.contains("nothing has changed"), "{}{}", again.stdout, again.stderr);
    assert_eq!(reloads(), 3);
    assert_eq!(broker.terminate(), Some(0));
}

#[test]
fn a_flood_of_warnings_is_cut_and_says_where_all_of_them_are() {
    let folder = project(&[("eventyard.toml", MAIN), ("rules/README", "rules are written by the test")]);
    let mut broker = Broker::start("run", folder.path());
    let rule = |number: usize| {
        format!(
            "[[rule]]\nname = \"r{number}\"\npattern = {{ type = [{{ wildcard = \"*\" }}], n = [\"{number}\"] }}\ntarget = {{ sink = \"one\" }}\n"
        )
    };
    fs::write(folder.path().join("rules/all.toml"), (0..205).map(rule).collect::<String>()).unwrap();
    let reloaded = run(&["reload", "--url", &broker.url()], folder.path());
    assert_eq!(reloaded.stdout.matches("warning:").count(), 200, "{}", reloaded.stdout);
    assert!(reloaded.stdout.contains("… and 5 more; `eventyard reload --json` has them all"), "{}", reloaded.stdout);
    let all = run(&["reload", "--json", "--url", &broker.url()], folder.path()).stdout;
    let all: serde_json::Value = serde_json::from_str(&all).unwrap();
    assert_eq!(all["warnings"].as_array().unwrap().len(), 205);
    assert_eq!(broker.terminate(), Some(0));
}

#[test]
fn under_load_drops_no_event_and_mixes_no_two_rule_sets() {
    let folder = project(&[("eventyard.toml", MAIN), ("rules/README", "rules are written by the test")]);
    write_rules(folder.path(), "left");
    let mut broker = Broker::start("run", folder.path());
    let stop = Arc::new(AtomicBool::new(false));
    let senders: Vec<_> = (0..SENDERS)
        .map(|number| {
            let (address, stop) = (broker.address(), Arc::clone(&stop));
            std::thread::spawn(move || send(address, number, &stop))
        })
        .collect();
    for round in 0..RELOADS {
        write_rules(folder.path(), if round % 2 == 0 { "right" } else { "left" });
        let reloaded = run(&["reload", "--url", &broker.url()], folder.path());
        assert_eq!(reloaded.code, 0, "{}{}", reloaded.stdout, reloaded.stderr);
    }
    stop.store(true, Ordering::Relaxed);
    let taken: Vec<_> = senders.into_iter().flat_map(|sender| sender.join().unwrap()).collect();
    for wanted in ["left", "right"] {
        assert!(taken.iter().any(|(_, side)| side == wanted), "no event met the rules of the {wanted}");
    }
    // What stands on disk is what was answered.
    let mut client = Client::connect(broker.address()).unwrap();
    for (event, answered) in taken.iter().step_by(taken.len().div_ceil(500)) {
        let shown = client.get(&format!("/api/v1/events/{event}")).unwrap();
        assert_eq!(shown.status, 200, "{}", shown.body);
        let deliveries = shown.json()["deliveries"].as_array().unwrap().clone();
        let rules: Vec<String> = deliveries.iter().map(|one| one["rule"].as_str().unwrap().to_owned()).collect();
        assert_eq!(side(&rules), answered, "{}", shown.body);
    }
    assert_eq!(broker.terminate(), Some(0));
}
