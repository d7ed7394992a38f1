//! Files that are broken on purpose or by accident.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::time::Duration;

use proptest::prelude::*;

use super::{codes, folder, load, refused, write};
use crate::config::check::RULES_MAX;
use crate::config::folder::{FILE_BYTES_MAX, FILES_MAX};

const MAIN: (&str, &str) = ("eventyard.toml", "[sink.s]\nkind = \"discard\"\n");
const RULE: &str = "[[rule]]\nname = \"a\"\npattern = { type = [\"x\"] }\ntarget = { sink = \"s\" }\n";

#[test]
fn an_empty_rules_file_is_refused_and_a_deleted_one_is_not() {
    for empty in ["", "\n", "  \n\t\r\n"] {
        assert_eq!(codes(&refused(&[MAIN, ("rules/a.toml", empty)])), ["file_empty"]);
    }
    super::loaded(&[MAIN]);
    super::loaded(&[MAIN, ("rules/a.toml", "# no rules yet\n")]);
}

#[test]
fn more_rules_than_a_project_may_have_are_refused() {
    // Names alone are soon read; that each of them lacks the rest is said, too, of the first.
    let names: String = (0..=RULES_MAX).map(|number| format!("[[rule]]\nname=\"r{number}\"\n")).collect();
    let report = refused(&[MAIN, ("rules/a.toml", &names)]);
    assert!(codes(&report).contains(&"too_many"), "{report}");
}

#[test]
fn a_half_written_rules_file_is_refused_with_its_place_alone() {
    for end in 1..RULE.len() - 1 {
        if !RULE.is_char_boundary(end) || RULE[..end].ends_with("\n[[rule]]\n") {
            continue;
        }
        let report = refused(&[MAIN, ("rules/a.toml", &RULE[..end])]);
        assert!(report.has_errors());
        assert!(report.diagnostics().len() <= 3, "{report}");
    }
}

#[test]
fn what_is_no_file_of_text_is_refused_by_its_own_code() {
    let project = folder(&[MAIN]);
    let rules = project.path().join("rules");
    fs::create_dir(&rules).unwrap();
    fs::create_dir(rules.join("folder.toml")).unwrap();
    symlink("loop.toml", rules.join("loop.toml")).unwrap();
    symlink("nowhere", rules.join("dangling.toml")).unwrap();
    symlink("/dev/zero", rules.join("endless.toml")).unwrap();
    fs::write(rules.join("latin1.toml"), b"# caf\xe9\n").unwrap();
    fs::File::create(rules.join("sparse.toml")).unwrap().set_len(1 << 30).unwrap();
    fs::write(rules.join("just-over.toml"), vec![b' '; usize::try_from(FILE_BYTES_MAX).unwrap() + 1]).unwrap();
    fs::write(rules.join(".#editor.toml"), b"\xff").unwrap();
    fs::write(rules.join("notes.txt"), b"\xff").unwrap();
    let report = load(project.path()).unwrap_err();
    let mut found: Vec<(&str, &str)> = report.diagnostics().iter().map(|found| (&*found.file, found.code)).collect();
    found.sort_unstable();
    let wanted = [
        ("rules/dangling.toml", "file_unreadable"),
        ("rules/endless.toml", "file_is_no_file"),
        ("rules/folder.toml", "file_is_no_file"),
        ("rules/just-over.toml", "file_too_large"),
        ("rules/latin1.toml", "file_not_utf8"),
        ("rules/loop.toml", "file_link_loop"),
        ("rules/sparse.toml", "file_too_large"),
    ];
    assert_eq!(found, wanted);
}

#[test]
fn a_file_that_may_not_be_read_is_refused() {
    let project = folder(&[MAIN, ("rules/a.toml", RULE)]);
    let path = project.path().join("rules/a.toml");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).unwrap();
    // The superuser may read everything.
    if fs::read(&path).is_ok() {
        println!("skipped: this user may read every file");
        return;
    }
    assert_eq!(codes(&load(project.path()).unwrap_err()), ["file_unreadable"]);
}

#[test]
fn a_linked_rules_file_is_read() {
    let project = folder(&[MAIN, ("elsewhere.toml", RULE)]);
    fs::create_dir(project.path().join("rules")).unwrap();
    symlink("../elsewhere.toml", project.path().join("rules/a.toml")).unwrap();
    assert_eq!(load(project.path()).unwrap().0.rules.len(), 1);
}

#[test]
fn a_folder_without_a_project_says_how_to_make_one() {
    let report = load(tempfile::tempdir().unwrap().path()).unwrap_err();
    assert_eq!(codes(&report), ["no_project"]);
    assert!(report.render(false).contains("eventyard init"));
    let rules_is_a_file = refused(&[MAIN, ("rules", "")]);
    assert_eq!(codes(&rules_is_a_file), ["file_is_no_file"]);
}

#[test]
fn too_many_files_are_refused() {
    let project = folder(&[MAIN]);
    let rules = project.path().join("rules");
    fs::create_dir(&rules).unwrap();
    for number in 0..=FILES_MAX {
        fs::File::create(rules.join(format!("{number}.toml"))).unwrap();
    }
    assert_eq!(codes(&load(project.path()).unwrap_err()), ["files_too_many"]);
}

#[test]
fn megabytes_of_garbage_are_refused_in_time_and_in_few_words() {
    for garbage in ["[", "]", "=", "\"", "a.", "a=[", "{", "a={b=", "\n[[rule]]", "'''", "#\n=", "secret=[", "\u{0}"] {
        let text = garbage.repeat(256 * 1024 / garbage.len());
        let started = std::time::Instant::now();
        let Err(report) = load(folder(&[MAIN, ("rules/a.toml", &text)]).path()) else { panic!("{garbage:?} loads") };
        assert!(report.diagnostics().len() <= 102, "{garbage:?}: {}", report.diagnostics().len());
        let rendered = report.render(false);
        assert!(rendered.len() < 2 * 1024 * 1024, "{garbage:?}: {} bytes of report", rendered.len());
        // A generous bound: what it guards against is quadratic, and would take minutes.
        assert!(started.elapsed() < Duration::from_secs(20), "{garbage:?} took {:?}", started.elapsed());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_bytes_never_panic(main in proptest::collection::vec(any::<u8>(), 0..200), rules in proptest::collection::vec(any::<u8>(), 0..200)) {
        let project = folder(&[]);
        fs::write(project.path().join("eventyard.toml"), main).unwrap();
        fs::create_dir(project.path().join("rules")).unwrap();
        fs::write(project.path().join("rules/a.toml"), rules).unwrap();
        if let Err(report) = load(project.path()) {
            let _ = (report.render(true), report.to_json());
        }
    }

    #[test]
    fn what_looks_like_a_project_never_panics(text in proptest::collection::vec(prop_oneof![
        Just("[[rule]]\n"), Just("[rule.pattern]\n"), Just("[source.a]\n"), Just("[server]\n"), Just("name = "), Just("\"x\"\n"),
        Just("kind = \"http\"\n"), Just("target = { "), Just("sink = \"s\""), Just(" }\n"), Just("[[rule.test]]\n"), Just("event = "),
        Just("{ env = \"É\" }\n"), Just("retry = "), Just("-1\n"), Just("1e400\n"), Just("[\n"), Just("]\n"), Just("'''"), Just("type"),
        Just(" = "), Just("."), Just("☃"), Just("\r\n"), Just("secret = \"\"\n"), Just("path = \"/a\"\n"), Just("1979-05-27\n"),
    ], 0..30)) {
        let project = folder(&[]);
        write(project.path(), "eventyard.toml", &text.concat());
        if let Err(report) = load(project.path()) {
            let _ = (report.render(true), report.to_json());
        }
    }
}
