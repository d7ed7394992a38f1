//! The last good project.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::{folder, load_with, write};
use crate::config::last_good;

const ENV: [(&str, &str); 1] = [("T", "hunter2-hunter2")];
const MAIN: &str = "[server]\ntoken = { env = \"T\" }\n[store]\ndir = \"d\"\n[sink.s]\nkind = \"discard\"\n";
const RULE: &str = "[[rule]]\nname = \"a\"\npattern = { type = [\"x\"] }\ntarget = { sink = \"s\" }\n\
                    [[rule.test]]\nfile = \"e.json\"\nmatches = true\n";

fn env(name: &str) -> Option<String> {
    ENV.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
}

#[test]
fn the_last_good_project_outlives_broken_files() {
    let folder = folder(&[("eventyard.toml", MAIN), ("rules/a.toml", RULE), ("e.json", "{\"type\":\"x\"}")]);
    let (project, _) = load_with(folder.path(), &ENV).unwrap();
    let data = folder.path().join("d");
    last_good::keep(&data, &project).unwrap();

    let copy = fs::read_to_string(data.join(last_good::FILE)).unwrap();
    assert!(!copy.contains("hunter2"), "references stay unresolved");
    assert_eq!(fs::metadata(data.join(last_good::FILE)).unwrap().permissions().mode() & 0o777, 0o600);

    write(folder.path(), "rules/a.toml", "[[rule");
    fs::remove_file(folder.path().join("e.json")).unwrap();
    assert!(load_with(folder.path(), &ENV).is_err());
    let (kept, _) = last_good::load(folder.path(), None, &env).expect("the last good one");
    assert_eq!(kept.rules[0].name.as_str(), "a");
    assert_eq!(kept.server.token.unwrap().reveal(), "hunter2-hunter2");
    assert_eq!(kept.files, project.files);
}

#[test]
fn no_field_is_missed_in_test_events_that_are_not_kept() {
    let rule = RULE.replace("type = [\"x\"]", "data.amount = [1]");
    let folder = folder(&[("eventyard.toml", MAIN), ("rules/a.toml", &rule), ("e.json", "{\"data\":{\"amount\":1}}")]);
    let (project, report) = load_with(folder.path(), &ENV).unwrap();
    assert!(report.is_empty(), "{report}");
    last_good::keep(&folder.path().join("d"), &project).unwrap();
    write(folder.path(), "rules/a.toml", "[[rule");
    let (_, report) = last_good::load(folder.path(), None, &env).expect("the last good one");
    assert!(report.is_empty(), "{report}");
}

#[test]
fn a_broken_main_file_still_tells_where_the_data_is() {
    let folder = folder(&[("eventyard.toml", MAIN)]);
    let (project, _) = load_with(folder.path(), &ENV).unwrap();
    last_good::keep(&folder.path().join("d"), &project).unwrap();
    write(folder.path(), "eventyard.toml", "[store]\ndir = \"d\"\n[sorce.x]\nkind = \n[[[");
    assert!(last_good::load(folder.path(), None, &env).is_some());
    fs::remove_file(folder.path().join("eventyard.toml")).unwrap();
    assert!(last_good::load(folder.path(), None, &env).is_none(), "nothing is kept in the default folder");
    assert!(last_good::load(folder.path(), Some(&folder.path().join("d")), &env).is_some());
}

#[test]
fn a_damaged_copy_is_not_used() {
    let folder = folder(&[("eventyard.toml", MAIN)]);
    let data = folder.path().join("d");
    let (project, _) = load_with(folder.path(), &ENV).unwrap();
    last_good::keep(&data, &project).unwrap();
    let whole = fs::read_to_string(data.join(last_good::FILE)).unwrap();
    for damaged in [
        whole.replace("discard", "discArd"),
        whole.replace("\"version\":1", "\"version\":9"),
        whole[..40].to_owned(),
        String::new(),
    ] {
        fs::write(data.join(last_good::FILE), damaged).unwrap();
        assert!(last_good::load(folder.path(), None, &env).is_none());
    }
}

#[test]
fn keeping_replaces_whole_and_survives_what_a_stop_left_behind() {
    let folder = folder(&[("eventyard.toml", MAIN)]);
    let data = folder.path().join("d");
    write(&data, "last-good.json.new", "half of it");
    let (project, _) = load_with(folder.path(), &ENV).unwrap();
    last_good::keep(&data, &project).unwrap();
    let written = fs::metadata(data.join(last_good::FILE)).unwrap().modified().unwrap();
    last_good::keep(&data, &project).unwrap();
    assert_eq!(
        fs::metadata(data.join(last_good::FILE)).unwrap().modified().unwrap(),
        written,
        "the same is not written again"
    );
    assert!(!data.join("last-good.json.new").exists());
    assert_eq!(last_good::load(folder.path(), None, &env).unwrap().0.files, project.files);
}

#[test]
fn a_secret_in_the_files_is_not_kept_and_found_again() {
    let main = MAIN.replace("{ env = \"T\" }", "\"hunter2-hunter2\"");
    let folder = folder(&[("eventyard.toml", &main), ("rules/a.toml", RULE), ("e.json", "{\"type\":\"x\"}")]);
    let (project, _) = load_with(folder.path(), &[]).unwrap();
    let data = folder.path().join("d");
    last_good::keep(&data, &project).unwrap();
    let copy = fs::read_to_string(data.join(last_good::FILE)).unwrap();
    assert!(!copy.contains("hunter2"), "{copy}");
    write(folder.path(), "rules/a.toml", "[[rule");
    let (kept, _) = last_good::load(folder.path(), None, &env).expect("the last good one");
    assert_eq!(kept.server.token.unwrap().reveal(), "hunter2-hunter2");
    write(folder.path(), "eventyard.toml", "[store]\ndir = \"d\"\n");
    assert!(last_good::load(folder.path(), None, &env).is_none(), "without its secret it is not used");
}
