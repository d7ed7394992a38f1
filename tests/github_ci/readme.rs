//! The README of examples/github-ci, line by line.

use std::fs;
use std::path::Path;
use std::process::Output;
use std::time::{Duration, Instant};

use super::ci::Ci;

/// The README's steps take seconds: a retry after one, another after two.
const DEADLINE: Duration = Duration::from_secs(60);

/// The lines of shell that the README shows below its first `cd`, in order.
fn steps() -> Vec<String> {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/github-ci/README.md");
    let text = fs::read_to_string(readme).unwrap();
    let lines = text.lines().filter_map(|line| line.strip_prefix("    ")).map(str::to_owned);
    lines.skip_while(|line| !line.starts_with("alias ")).skip(1).collect()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// Does one step of the README as it stands there.
fn step(ci: &Ci, line: &str) -> String {
    let output = match line.strip_prefix("eventyard ") {
        Some(rest) => ci.command(&rest.split(' ').collect::<Vec<_>>()),
        None => ci.shell(line),
    };
    said(&output)
}

/// The same until it says what the README says it does: scripts take a moment.
fn step_until(ci: &Ci, line: &str, wanted: &str) {
    let began = Instant::now();
    loop {
        let said = step(ci, line);
        if said.contains(wanted) {
            return;
        }
        assert!(began.elapsed() < DEADLINE, "`{line}` never said `{wanted}`:\n{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_readme_of_the_example_is_true() {
    for tool in ["curl", "openssl"] {
        if std::process::Command::new(tool).arg("--version").output().is_err() {
            println!("SKIPPED: the README's commands need {tool}, which is not installed");
            return;
        }
    }
    let ci = Ci::start();
    let first = "scripts/send.sh push payloads/push-main.json 11111111-0000-0000-0000-000000000001";
    // Each line of the README with something that it says there.
    let expected = [
        (first, r#""rules":["build-main"]"#),
        ("cat builds.log", "octo-org/hello-world refs/heads/main 0d1a26e6"),
        (first, r#""duplicate":true"#),
        (
            "scripts/send.sh pull_request payloads/pull-request.json 11111111-0000-0000-0000-000000000002",
            r#""rules":["check-pull-request"]"#,
        ),
        (
            "scripts/send.sh push payloads/push-tag.json 11111111-0000-0000-0000-000000000003",
            r#""rules":["publish-tag"]"#,
        ),
        ("eventyard deliveries list --rule publish-tag", "dead"),
        ("eventyard dead-letters list", "eventyard dead-letters replay "),
        ("cat alerts.log", "the registry does not answer for refs/tags/v1.0.0 (attempt 3)"),
        ("touch registry-is-up", ""),
        ("eventyard dead-letters replay --rule publish-tag", "1 dead letter pending again"),
        (
            "GITHUB_SECRET=guessed scripts/send.sh push payloads/push-main.json 11111111-0000-0000-0000-000000000004",
            r#""code":"unauthorized""#,
        ),
        ("eventyard events list", "github.push"),
        ("eventyard rules test", "7 tests passed"),
    ];
    let steps = steps();
    let lines: Vec<&str> = expected.iter().map(|(line, _)| *line).collect();
    assert_eq!(steps, lines, "the README's steps and this test's have parted");
    for (line, wanted) in expected {
        // What is sent is sent once; what only looks may look again.
        if line.starts_with("cat ") || line.ends_with("list") || line.contains("list ") {
            step_until(&ci, line, wanted);
        } else {
            let said = step(&ci, line);
            assert!(said.contains(wanted), "`{line}` did not say `{wanted}`:\n{said}");
        }
    }
    step_until(&ci, "eventyard deliveries list --rule publish-tag", "delivered");
    ci.settled().await;
    assert_eq!(ci.lines("builds.log").len(), 1, "a redelivery was built again");
    assert_eq!(ci.lines("checks.log"), ["https://github.com/octo-org/hello-world/pull/2.diff"]);
    ci.stop();
}
