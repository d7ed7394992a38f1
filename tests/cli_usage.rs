//! What every command promises: exit codes, where output goes, and errors that say how to go on.

use super::support::{free_port, run};

#[test]
fn a_usage_error_ends_with_2_and_says_what_is_near() {
    let folder = tempfile::tempdir().unwrap();
    let ended = run(&["evnts", "list"], folder.path());
    assert_eq!(ended.code, 2);
    assert!(ended.stderr.contains("'events'"), "{}", ended.stderr);
    assert_eq!(ended.stdout, "");

    assert_eq!(run(&["events", "list", "--limit", "0"], folder.path()).code, 2);
    assert_eq!(run(&["dead-letters", "replay"], folder.path()).code, 2);
    assert_eq!(run(&["dead-letters", "replay", "--all", "--rule", "x"], folder.path()).code, 2);
    assert_eq!(run(&["events", "send"], folder.path()).code, 2);
}

#[test]
fn help_and_version_end_with_0() {
    let folder = tempfile::tempdir().unwrap();
    for arguments in [&["--help"][..], &["events", "send", "--help"], &["--version"], &["help", "dlq"]] {
        let ended = run(arguments, folder.path());
        assert_eq!(ended.code, 0, "{arguments:?}: {}", ended.stderr);
        assert!(ended.stdout.contains("eventyard"), "{arguments:?}");
    }
}

#[test]
fn a_command_of_a_later_version_says_so_whatever_its_arguments() {
    let folder = tempfile::tempdir().unwrap();
    for arguments in [&["functions", "deploy", "x.zip", "--alias", "live"][..], &["top"], &["channels", "silence", "x"]]
    {
        let ended = run(arguments, folder.path());
        assert_eq!(ended.code, 2, "{arguments:?}");
        assert!(ended.stderr.contains("is not in this version"), "{arguments:?}: {}", ended.stderr);
    }
}

#[test]
fn without_a_broker_a_client_says_how_to_start_one() {
    let folder = tempfile::tempdir().unwrap();
    let free = format!("127.0.0.1:{}", free_port());
    std::fs::write(folder.path().join("eventyard.toml"), format!("[server]\nlisten = \"{free}\"\n")).unwrap();
    let ended = run(&["status"], folder.path());
    assert_eq!(ended.code, 1);
    assert!(ended.stderr.contains(&format!("no broker answers at http://{free}")), "{}", ended.stderr);
    assert!(ended.stderr.contains("eventyard run DIR"), "{}", ended.stderr);
}

#[test]
fn errors_explains_each_code_without_a_broker() {
    let folder = tempfile::tempdir().unwrap();
    let all = run(&["errors"], folder.path());
    assert_eq!(all.code, 0);
    assert!(all.stdout.contains("body_too_large"));

    let one = run(&["errors", "http_404"], folder.path());
    assert_eq!(one.code, 0);
    assert!(one.stdout.contains("What to do"), "{}", one.stdout);

    let json: serde_json::Value = serde_json::from_str(&run(&["errors", "--json"], folder.path()).stdout).unwrap();
    assert!(json["items"].as_array().unwrap().len() > 20);

    let unknown = run(&["errors", "unknwon_key"], folder.path());
    assert_eq!(unknown.code, 2);
    assert!(unknown.stderr.contains("unknown_key"), "{}", unknown.stderr);
}

#[test]
fn a_reader_that_goes_away_early_is_no_failure() {
    let folder = tempfile::tempdir().unwrap();
    let mut child =
        super::support::eventyard(&["errors"], folder.path()).stdout(std::process::Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_token_in_an_address_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let ended = run(&["status", "--url", "http://user:secret@127.0.0.1:1"], folder.path());
    assert_eq!(ended.code, 2);
    assert!(ended.stderr.contains("EVENTYARD_TOKEN"), "{}", ended.stderr);
}
