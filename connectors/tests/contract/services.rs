//! The servers that are shared by all tests.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

/// What a script says of its server.
pub(crate) type Printed = BTreeMap<String, String>;

/// Starts a service (or finds it running) by its script and gives what that printed; `None`, and a line that says so,
/// where it cannot be had.
pub(crate) fn service(name: &str) -> Option<Printed> {
    // One at a time: two starts of one server would race.
    static STARTED: Mutex<BTreeMap<String, Option<Printed>>> = Mutex::new(BTreeMap::new());
    let mut started = STARTED.lock().unwrap();
    started.entry(name.to_owned()).or_insert_with(|| start(name)).clone()
}

/// Where the scripts keep a program that they have built.
pub(crate) fn program(name: &str) -> PathBuf {
    let variable = |name: &str| std::env::var_os(name).map(PathBuf::from);
    let cache = || variable("XDG_CACHE_HOME").or_else(|| Some(variable("HOME")?.join(".cache")));
    let home = variable("EVENTYARD_SERVICES").or_else(|| Some(cache()?.join("eventyard-services")));
    home.unwrap().join("bin").join(name)
}

fn start(name: &str) -> Option<Printed> {
    // What takes long to build comes later, when all of this is run again for it.
    if std::env::var("EVENTYARD_SERVICES_LATER").is_ok_and(|later| later == name) {
        eprintln!("SKIPPED: {name} comes later");
        return None;
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/services").join(format!("{name}.sh"));
    let output = Command::new(&script).arg("start").output().unwrap();
    if output.status.success() {
        let text = String::from_utf8(output.stdout).unwrap();
        return Some(text.lines().filter_map(|line| line.split_once('=')).map(own).collect());
    }
    let why = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(std::env::var_os("EVENTYARD_SERVICES_REQUIRED").is_none(), "{name} did not start: {why}");
    eprintln!("SKIPPED: {name} cannot be had here: {why}");
    None
}

fn own((key, value): (&str, &str)) -> (String, String) {
    (key.to_owned(), value.to_owned())
}
