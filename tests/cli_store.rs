//! `eventyard store verify`, by the real program on a real data folder.

use std::fs;
use std::path::Path;

use serde_json::Value;

use super::support::{Broker, Ended, copy_project, run};

fn json(ended: &Ended) -> Value {
    serde_json::from_str(&ended.stdout).unwrap_or_else(|_| panic!("no JSON: {}{}", ended.stdout, ended.stderr))
}

/// A project whose broker took some events and ended.
fn used_project() -> tempfile::TempDir {
    let folder = copy_project("examples/quickstart");
    let mut broker = Broker::start("run", folder.path());
    let sent = run(&["events", "send", "--type", "nobody.cares", "--count", "20"], folder.path());
    assert_eq!(sent.code, 0, "{}", sent.stderr);

    let busy = run(&["store", "verify"], folder.path());
    assert_eq!(busy.code, 1, "{}", busy.stdout);
    for wanted in ["in use by process ", "[store_locked]", "eventyard errors store_locked"] {
        assert!(busy.stderr.contains(wanted), "{}", busy.stderr);
    }
    assert_eq!(broker.terminate(), Some(0));
    folder
}

fn first_segment(folder: &Path) -> std::path::PathBuf {
    folder.join("data/journal/0000000001.seg")
}

#[test]
fn a_sound_store_is_said_to_be_and_a_damaged_one_is_named() {
    let folder = used_project();
    let folder = folder.path();
    let sound = run(&["store", "verify"], folder);
    assert_eq!(sound.code, 0, "{}{}", sound.stdout, sound.stderr);
    assert!(sound.stdout.starts_with("sound: ") && sound.stdout.contains("20 events"), "{}", sound.stdout);
    assert_eq!(sound.stderr, "", "no progress where there is no terminal");
    let told = json(&run(&["store", "verify", "data", "--json"], folder));
    assert_eq!((&told["sound"], &told["events"], &told["damages"]), (&true.into(), &20.into(), &Value::Array(vec![])));
    assert_eq!(told["index"]["state"], "agrees");

    let mut bytes = fs::read(first_segment(folder)).unwrap();
    bytes[4096 + 100] ^= 1;
    fs::write(first_segment(folder), &bytes).unwrap();
    let damaged = run(&["store", "verify", "."], folder);
    assert_eq!(damaged.code, 1, "{}", damaged.stdout);
    for wanted in ["damaged in ", "journal/0000000001.seg at ", "eventyard errors store_damaged"] {
        assert!(damaged.stdout.contains(wanted), "{}", damaged.stdout);
    }
    let told = run(&["store", "verify", "--json"], folder);
    assert_eq!((told.code, &json(&told)["sound"]), (1, &false.into()));
    assert_eq!(json(&told)["damages"][0]["file"], "journal/0000000001.seg");
    assert_eq!(fs::read(first_segment(folder)).unwrap(), bytes, "nothing is repaired in passing");
}

#[test]
fn a_folder_without_a_store_is_refused() {
    let folder = copy_project("examples/quickstart");
    let never_run = run(&["store", "verify"], folder.path());
    assert_eq!(never_run.code, 1);
    assert!(never_run.stderr.contains("[store_missing]"), "{}", never_run.stderr);
    assert!(!folder.path().join("data").exists(), "looking makes no folder");

    let empty = tempfile::tempdir().unwrap();
    let neither = run(&["store", "verify"], empty.path());
    assert_eq!(neither.code, 2);
    assert!(neither.stderr.contains("neither a project's folder"), "{}", neither.stderr);
}
