//! `eventyard store repair`, `backup` and `restore`, by the real program on real data folders.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::disk_ground::{Client, Ground, Load, get, nothing_is_lost, stored, until};
use crate::support::{Ended, run};

fn json(ended: &Ended) -> Value {
    serde_json::from_str(&ended.stdout).unwrap_or_else(|_| panic!("no JSON: {}{}", ended.stdout, ended.stderr))
}

/// A folder with so many events, each delivered, and our ids of them in order.
fn used(count: usize) -> (Ground, Vec<String>) {
    let ground = Ground::new();
    let mut broker = ground.start();
    let mut client = Client::connect(broker.address()).unwrap();
    let mut ids = Vec::new();
    for number in 0..count {
        let said = client.post(&format!("event-{number:04}."), 100).unwrap();
        ids.push(said.json()["accepted"][0]["event"].as_str().unwrap().to_owned());
    }
    until("all is delivered", || (get(&broker, "/api/v1/status").json()["stats"]["unsettled"] == 0).then_some(()));
    assert_eq!(broker.terminate(), Some(0));
    (ground, ids)
}

fn flip(path: &Path, in_text: &str) {
    let mut bytes = fs::read(path).unwrap();
    let at = bytes.windows(in_text.len()).position(|window| window == in_text.as_bytes()).unwrap();
    bytes[at + in_text.len() - 2] ^= 1;
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_damaged_folder_is_repaired_and_a_broker_starts_on_it_without_a_warning() {
    let (ground, ids) = used(20);
    let nothing = run(&["store", "repair"], ground.path());
    assert!(
        nothing.code == 0 && nothing.stdout.starts_with("nothing to repair"),
        "{}{}",
        nothing.stdout,
        nothing.stderr
    );

    flip(&ground.segment(1), "event-0007.");
    let before = fs::read(ground.segment(1)).unwrap();
    let plan = run(&["store", "repair", "--dry-run"], ground.path());
    assert_eq!(plan.code, 1, "{}", plan.stderr);
    for wanted in ["damaged in ", "copy journal/0000000001.seg at ", "move index to `quarantine`", "make index"] {
        assert!(plan.stdout.contains(wanted), "`{wanted}` is missing: {}", plan.stdout);
    }
    let unasked = run(&["store", "repair"], ground.path());
    assert!(unasked.code == 2 && unasked.stderr.contains("--yes"), "{}{}", unasked.code, unasked.stderr);
    assert!(!ground.data().join("quarantine").exists(), "nothing was done yet");

    let done = run(&["store", "repair", "--yes", "--json"], ground.path());
    assert_eq!(done.code, 0, "{}{}", done.stdout, done.stderr);
    let told = json(&done);
    assert_eq!((&told["sound"], &told["left"]), (&true.into(), &Value::Array(vec![])));
    assert_eq!(told["known"][0]["file"], "journal/0000000001.seg");
    assert_eq!(told["lost_events"][0], ids[7].as_str());
    let offset = &told["known"][0]["offset"];
    assert!(ground.data().join(format!("quarantine/journal-0000000001.seg-{offset}")).exists());
    assert!(
        fs::read(ground.segment(1)).unwrap()[..before.len() / 2] == before[..before.len() / 2],
        "not a byte is lost"
    );

    let verified = run(&["store", "verify"], ground.path());
    assert!(verified.code == 0 && verified.stdout.contains("known before"), "{}", verified.stdout);
    let mut broker = ground.start();
    let lost: Vec<_> = ids.iter().cloned().collect::<BTreeSet<_>>().difference(&stored(&broker)).cloned().collect();
    assert_eq!(lost, [ids[7].clone()]);
    assert_eq!(get(&broker, &format!("/api/v1/events/{}", ids[7])).status, 404);
    let busy = run(&["store", "repair"], ground.path());
    assert!(busy.code == 1 && busy.stderr.contains(&format!("in use by process {}", broker.pid())), "{}", busy.stderr);
    assert_eq!(broker.terminate(), Some(0));
    let log = ground.log();
    assert!(!log.contains("\"WARN\"") && !log.contains("\"ERROR\""), "{log}");
}

#[test]
fn a_backup_of_a_running_broker_holds_all_that_was_acknowledged_before_it_began() {
    let ground = Ground::new();
    let mut broker = ground.start();
    let place = tempfile::tempdir().unwrap();
    let load = Load::start(&broker, 6, 2000);
    let mut acknowledged = BTreeSet::new();
    for round in 0..3 {
        load.acknowledged(acknowledged.len() + 100);
        acknowledged = load.so_far();
        let to = place.path().join(format!("backup-{round}"));
        let made = run(&["store", "backup", to.to_str().unwrap(), "--json"], ground.path());
        assert_eq!(made.code, 0, "{}{}", made.stdout, made.stderr);
        let told = json(&made);
        assert_eq!((&told["running"], &told["sound"]), (&true.into(), &true.into()));

        // Elsewhere, by the project of that place.
        let other = Ground::new();
        let restored = run(&["store", "restore", to.to_str().unwrap()], other.path());
        assert_eq!(restored.code, 0, "{}{}", restored.stdout, restored.stderr);
        other.is_sound();
        let mut copy = other.start();
        nothing_is_lost(&copy, &acknowledged);
        assert_eq!(copy.terminate(), Some(0));
    }
    let all = load.end();
    assert!(all.len() > acknowledged.len(), "it went on meanwhile");
    nothing_is_lost(&broker, &all);
    assert_eq!(broker.terminate(), Some(0));
    ground.is_sound();
}

#[test]
fn a_restore_replaces_nothing_unasked_and_sets_the_old_folder_aside() {
    let (ground, ids) = used(5);
    let place = tempfile::tempdir().unwrap();
    let to = place.path().join("backup");
    let to = to.to_str().unwrap();
    let made = run(&["store", "backup", to], ground.path());
    assert!(made.code == 0 && made.stdout.starts_with("copied: "), "{}{}", made.stdout, made.stderr);
    let again = run(&["store", "backup", to], ground.path());
    assert!(again.code == 1 && again.stderr.contains("[store_exists]"), "{}", again.stderr);

    let mut broker = ground.start();
    let late = Client::connect(broker.address()).unwrap().post("late", 10).unwrap();
    let late = late.json()["accepted"][0]["event"].as_str().unwrap().to_owned();
    let busy = run(&["store", "restore", to, "--force"], ground.path());
    assert!(busy.code == 1 && busy.stderr.contains(&format!("process {}", broker.pid())), "{}", busy.stderr);
    assert_eq!(broker.terminate(), Some(0));
    let refused = run(&["store", "restore", to], ground.path());
    assert!(refused.code == 1 && refused.stderr.contains("[store_exists]"), "{}", refused.stderr);
    let restored = run(&["store", "restore", to, "--force", "--json"], ground.path());
    assert_eq!(restored.code, 0, "{}", restored.stderr);
    let told = json(&restored);
    assert_eq!(told["holds"]["events"], 5);

    let mut broker = ground.start();
    assert_eq!(stored(&broker), ids.into_iter().collect());
    assert_eq!(broker.terminate(), Some(0));
    let old = run(&["store", "verify", told["old"].as_str().unwrap(), "--json"], ground.path());
    assert_eq!(json(&old)["events"], 6, "the old one is whole, {late} included");
}
