//! The commands that work from a project's files alone.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use super::support::{eventyard, project, run, run_with};

fn quickstart() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/quickstart")
}

#[test]
fn a_new_project_is_right_from_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let ended = run(&["init", "shop"], folder.path());
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert!(ended.stdout.contains("eventyard dev shop"), "{}", ended.stdout);

    let ended = run(&["check", "shop", "--deny-warnings"], folder.path());
    assert_eq!(ended.code, 0, "{}{}", ended.stdout, ended.stderr);
    assert_eq!(ended.stdout, "good: 1 rule, 2 tests, 1 source, 1 function\n");

    assert_eq!(run(&["init", "shop"], folder.path()).code, 1);
}

#[test]
fn the_quickstart_is_right() {
    let ended = run(&["check", "--deny-warnings"], &quickstart());
    assert_eq!(ended.code, 0, "{}{}", ended.stdout, ended.stderr);
    let ended = run(&["rules", "test"], &quickstart());
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert!(ended.stdout.ends_with("2 tests passed\n"), "{}", ended.stdout);
}

#[test]
fn check_reports_every_mistake_of_every_file_at_once() {
    let folder = project(&[
        (
            "eventyard.toml",
            "[server]\nlisen = \"127.0.0.1:8484\"\n\n[function.f]\nruntime = \"command\"\ncommand = [\"sh\"]\n",
        ),
        ("rules/a.toml", "[[rule]]\nname = \"a\"\npattern = { type = \"order\" }\ntaget = { function = \"f\" }\n"),
        (
            "rules/b.toml",
            "[[rule]]\nname = \"b\"\npattern = { type = [{ prefx = \"x\" }] }\ntarget = { function = \"g\" }\n",
        ),
    ]);
    let ended = run(&["check"], folder.path());
    assert_eq!(ended.code, 2);
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/check_broken.txt");
    if std::env::var_os("EVENTYARD_BLESS").is_some() {
        fs::create_dir_all(golden.parent().unwrap()).unwrap();
        fs::write(&golden, &ended.stdout).unwrap();
    }
    assert_eq!(ended.stdout, fs::read_to_string(golden).unwrap());

    let json: Value = serde_json::from_str(&run(&["check", "--json"], folder.path()).stdout).unwrap();
    let codes: Vec<_> = json["diagnostics"].as_array().unwrap().iter().map(|d| d["code"].as_str().unwrap()).collect();
    assert!(codes.contains(&"unknown_key"), "{codes:?}");
    for code in codes {
        assert_eq!(run(&["errors", code], folder.path()).code, 0, "{code} has no page");
    }
}

#[test]
fn a_failing_rule_test_is_a_failure_of_its_own_kind() {
    let rule = "[[rule]]\nname = \"a\"\npattern = { type = [\"order\"] }\ntarget = { function = \"f\" }\n\
                [[rule.test]]\nname = \"wrong\"\nevent = { type = \"order\" }\nmatches = false\n";
    let function = "[function.f]\nruntime = \"command\"\ncommand = [\"sh\"]\n";
    let folder = project(&[("eventyard.toml", function), ("rules/a.toml", rule)]);
    let ended = run(&["rules", "test"], folder.path());
    assert_eq!(ended.code, 1, "{}", ended.stderr);
    assert_eq!(
        ended.stdout,
        "✗ a: wrong: the event matches and should not\n  ✓ type: wanted [\"order\"], found \"order\"\n1 of 1 tests failed\n"
    );
    assert_eq!(run(&["check"], folder.path()).code, 2);
}

#[test]
fn rule_tests_are_told_as_json_and_as_junit_with_the_explanation_of_what_fails() {
    let rule = "[[rule]]\nname = \"a\"\npattern = { type = [\"order\"], data.note = [\"<&>\"] }\ntarget = { function = \"f\" }\n\
                [[rule.test]]\nname = \"fits\"\nevent = { type = \"order\", data = { note = \"<&>\" } }\nmatches = true\n\
                [[rule.test]]\nname = \"a \\\"late\\\" one\"\nevent = { type = \"order\", data = { note = \"\\u0007x\" } }\nmatches = true\n";
    let function = "[function.f]\nruntime = \"command\"\ncommand = [\"sh\"]\n";
    let folder = project(&[("eventyard.toml", function), ("rules/a.toml", rule)]);
    let ended = run(&["rules", "test", "--json", "--junit", "out.xml"], folder.path());
    assert_eq!(ended.code, 1, "{}", ended.stderr);
    let json: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(json["items"][0], serde_json::json!({ "rule": "a", "test": "fits", "passed": true }));
    assert_eq!(json["items"][1]["passed"], false);
    assert_eq!(json["items"][1]["explanation"]["fields"][0]["path"], "data.note");
    let xml = fs::read_to_string(folder.path().join("out.xml")).unwrap();
    for part in [
        "<testsuite name=\"rules\" tests=\"2\" failures=\"1\" errors=\"0\">",
        "<testcase classname=\"a\" name=\"fits\"/>",
        "<testcase classname=\"a\" name=\"a &quot;late&quot; one\">",
        "<failure message=\"the event should match and does not\">✗ data.note: wanted [&quot;&lt;&amp;&gt;&quot;]",
    ] {
        assert!(xml.contains(part), "{part}\n{xml}");
    }
    assert!(!xml.contains('\u{7}'), "{xml}");
    // One rule's tests alone; and a place that cannot be written.
    let ended = run(&["rules", "test", "a", "--junit", "no/such/folder.xml"], folder.path());
    assert_eq!(ended.code, 1);
    assert!(ended.stderr.contains("cannot be written"), "{}", ended.stderr);
}

#[test]
fn rule_tests_run_again_when_a_file_changes() {
    let rule = |kind: &str| {
        format!(
            "[[rule]]\nname = \"a\"\npattern = {{ type = [\"{kind}\"] }}\ntarget = {{ function = \"f\" }}\n\
             [[rule.test]]\nname = \"t\"\nevent = {{ type = \"order\" }}\nmatches = true\n"
        )
    };
    let function = "[function.f]\nruntime = \"command\"\ncommand = [\"sh\"]\n";
    let folder = project(&[("eventyard.toml", function), ("rules/a.toml", &rule("order"))]);
    let mut watching = Command::new(env!("CARGO_BIN_EXE_eventyard"))
        .args(["rules", "test", "--watch"])
        .current_dir(folder.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(watching.stdout.take().unwrap()).lines().map(Result::unwrap);
    let mut until = |wanted: &str| {
        assert!(lines.by_ref().any(|line| line == wanted), "the command ended without: {wanted}");
    };
    until("1 test passed");
    until("waiting for a change");
    fs::write(folder.path().join("rules/a.toml"), rule("other")).unwrap();
    until("1 of 1 tests failed");
    until("waiting for a change");
    // What does not load is said, and the next change is waited for.
    fs::write(folder.path().join("rules/a.toml"), "[[rule").unwrap();
    until("waiting for a change");
    fs::write(folder.path().join("rules/a.toml"), rule("order")).unwrap();
    until("1 test passed");
    watching.kill().unwrap();
    watching.wait().unwrap();
}

#[test]
fn check_warns_of_what_is_legal_and_surely_not_meant() {
    let rule = "[[rule]]\nname = \"vip\"\ntarget = { sink = \"s\" }\npattern = { customer.vip = [true] }\n";
    let folder = project(&[("eventyard.toml", "[sink.s]\nkind = \"discard\"\n"), ("rules/a.toml", rule)]);
    let ended = run(&["check"], folder.path());
    assert_eq!(ended.code, 0, "{}", ended.stdout);
    for part in ["warning[rule_never_matches]", "rules/a.toml:2:8", "data.customer.vip"] {
        assert!(ended.stdout.contains(part), "{part}: {}", ended.stdout);
    }
    assert_eq!(run(&["check", "--deny-warnings"], folder.path()).code, 1);
}

/// Every operator of the reference page with its examples: what they say matches does, and nothing else.
#[test]
fn each_operator_of_the_reference_does_what_its_example_says() {
    let docs = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/rules.md")).unwrap();
    let (_, rest) = docs.split_once("### Each operator by an example").unwrap();
    let (_, block) = rest.split_once("```toml\n").unwrap();
    let (rules, _) = block.split_once("```").unwrap();
    let folder = project(&[("eventyard.toml", "[sink.trash]\nkind = \"discard\"\n"), ("rules/a.toml", rules)]);
    let ended = run(&["rules", "test"], folder.path());
    assert_eq!(ended.code, 0, "{}{}", ended.stdout, ended.stderr);
    for operator in
        ["prefix", "suffix", "equals-ignore-case", "wildcard", "numeric", "anything-but", "exists", "cidr", "$or"]
    {
        assert!(rules.contains(operator), "{operator} has no example");
    }
    let ended = run(&["check", "--deny-warnings"], folder.path());
    assert_eq!(ended.code, 0, "{}", ended.stdout);
}

#[test]
fn rules_match_answers_each_line_and_goes_on_after_a_bad_one() {
    let input = concat!(
        r#"{"specversion":"1.0","id":"1","source":"/s","type":"order.created","data":{"amount":1500}}"#,
        "\n",
        "{ nonsense\n",
        "\n",
        r#"{"type":"order.created","data":{"amount":5}}"#,
        "\n",
        r#"{"id":"4"}"#,
        "\n",
        r#"{"specversion":"1.0","id":"5","source":"/s","type":"other"}"#,
    );
    let ended = run_with(&["rules", "match"], &quickstart(), input);
    assert_eq!(ended.code, 1, "{}", ended.stderr);
    let lines: Vec<Value> = ended.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 5);
    assert_eq!(lines[0], serde_json::json!({ "id": "1", "rules": ["orders", "big-orders"] }));
    assert_eq!((&lines[1]["line"], &lines[1]["error"]["code"]), (&2.into(), &"json_invalid".into()));
    assert_eq!(lines[2]["rules"], serde_json::json!(["orders"]));
    assert_eq!((&lines[3]["line"], &lines[3]["error"]["code"]), (&5.into(), &"ce_missing_attribute".into()));
    assert_eq!(lines[4], serde_json::json!({ "id": "5", "rules": [] }));
    assert!(ended.stderr.contains("2 lines hold no event"), "{}", ended.stderr);

    assert_eq!(run_with(&["rules", "match"], &quickstart(), "").code, 0);
}

#[test]
fn rules_match_answers_in_the_order_of_the_lines_however_many_there_are() {
    const LINES: usize = 20_000;
    const TOO_LONG: usize = 7_000;
    let event = |number: usize| {
        let amount = if number.is_multiple_of(3) { 1500 } else { 5 };
        format!(
            r#"{{"id":"{number}","type":"order.created","data":{{"amount":{amount},"note":"{}"}}}}"#,
            "x".repeat(90)
        )
    };
    let line = |number| if number == TOO_LONG { "x".repeat(1_100_000) } else { event(number) };
    let input: String = (1..=LINES).map(|number| line(number) + "\n").collect();
    let ended = run_with(&["rules", "match"], &quickstart(), &input);
    assert_eq!(ended.code, 1, "{}", ended.stderr);
    let lines: Vec<Value> = ended.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), LINES);
    for (number, line) in (1..).zip(&lines) {
        if number == TOO_LONG {
            assert_eq!((&line["line"], &line["error"]["code"]), (&number.into(), &"body_too_large".into()));
            continue;
        }
        assert_eq!(line["id"], number.to_string(), "{line}");
        assert_eq!(line["rules"].as_array().unwrap().len(), if number.is_multiple_of(3) { 2 } else { 1 }, "{line}");
    }
    assert!(ended.stderr.contains("1 line holds no event"), "{}", ended.stderr);
}

#[test]
fn rules_match_answers_a_line_that_is_sent_alone_before_the_next_one_comes() {
    let mut command = eventyard(&["rules", "match"], &quickstart());
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    let (to, answers) = std::sync::mpsc::channel();
    std::thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|line| to.send(line)));
    for number in 1..=9 {
        // In two pieces, the first without an end.
        write!(input, r#"{{"id":"{number}","ty"#).unwrap();
        input.flush().unwrap();
        writeln!(input, r#"pe":"order.created","data":{{"amount":5}}}}"#).unwrap();
        input.flush().unwrap();
        let answer = answers.recv_timeout(Duration::from_secs(60)).unwrap();
        assert_eq!(answer, format!(r#"{{"id":"{number}","rules":["orders"]}}"#));
    }
    write!(input, r#"{{"id":"last","type":"other"}}"#).unwrap();
    drop(input);
    assert_eq!(answers.recv_timeout(Duration::from_secs(60)).unwrap(), r#"{"id":"last","rules":[]}"#);
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn rules_with_from_are_tried_by_naming_the_source() {
    let line = r#"{"type":"alert.received"}"#;
    let ended = run_with(&["rules", "match", "--from", "alerts"], &quickstart(), line);
    assert!(ended.stdout.contains(r#""rules":["announce"]"#), "{}{}", ended.stdout, ended.stderr);
    assert!(run_with(&["rules", "match"], &quickstart(), line).stdout.contains(r#""rules":[]"#));

    let ended = run_with(&["rules", "match", "--from", "alert"], &quickstart(), line);
    assert_eq!(ended.code, 2);
    assert!(ended.stderr.contains("did you mean `alerts`?"), "{}", ended.stderr);
}

#[test]
fn the_coming_instants_of_a_timer_know_both_days_on_which_clocks_change() {
    let folder = project(&[(
        "eventyard.toml",
        "[source.nightly]\nkind = \"timer\"\nschedule = \"30 2 * * *\"\ntimezone = \"Europe/Berlin\"\n",
    )]);
    let next = |after: &str| {
        let ended = run(&["sources", "next", "nightly", "--count", "3", "--after", after], folder.path());
        assert_eq!(ended.code, 0, "{}", ended.stderr);
        ended.stdout
    };
    assert_eq!(
        next("2026-03-27T12:00:00Z"),
        "2026-03-28T02:30:00+01:00\n2026-03-29T03:00:00+02:00\n2026-03-30T02:30:00+02:00\n"
    );
    assert_eq!(
        next("2026-10-24T12:00:00Z"),
        "2026-10-25T02:30:00+02:00\n2026-10-26T02:30:00+01:00\n2026-10-27T02:30:00+01:00\n"
    );

    let ended = run(&["sources", "next", "nighly"], folder.path());
    assert_eq!(ended.code, 2);
    assert!(ended.stderr.contains("did you mean `nightly`?"), "{}", ended.stderr);
}

#[test]
fn explain_says_field_by_field_why_a_rule_does_not_match() {
    let event = r#"{"type":"order.created","data":{"amount":"1500"}}"#;
    let ended = run_with(&["explain", "-", "big-orders"], &quickstart(), event);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let expected = "big-orders does not match\n";
    assert!(ended.stdout.starts_with(expected), "{}", ended.stdout);
    assert!(ended.stdout.contains("✓ type: "), "{}", ended.stdout);
    assert!(ended.stdout.contains("✗ data.amount: wanted "), "{}", ended.stdout);

    let ended = run_with(&["explain", "-", "--json"], &quickstart(), r#"{"type":"nothing.known"}"#);
    let json: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(json["rules"].as_array().unwrap().len(), 3);
    assert!(json["nearest"].is_string());

    let ended = run(&["explain", "event.json", "big-order"], &quickstart());
    assert_eq!(ended.code, 2);
    assert!(ended.stderr.contains("did you mean `big-orders`?"), "{}", ended.stderr);
}

#[test]
fn a_project_that_is_not_there_is_said_with_the_way_to_make_one() {
    let folder = tempfile::tempdir().unwrap();
    let ended = run(&["check"], folder.path());
    assert_eq!(ended.code, 2);
    assert!(ended.stdout.contains("eventyard.toml"), "{}", ended.stdout);
    assert_eq!(run(&["run"], folder.path()).code, 2);
}
