//! README.md is true: its project loads, and its commands print what it says they print.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use super::support::{Broker, copy_project, eventyard, run};

const ALERTED_WITHIN: Duration = Duration::from_secs(30);

fn readme() -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap()
}

/// The fenced blocks of a language, in order.
fn blocks<'t>(text: &'t str, language: &str) -> Vec<&'t str> {
    let fence = format!("\n```{language}\n");
    text.split(&fence).skip(1).map(|rest| rest.split("\n```").next().unwrap_or_default()).collect()
}

/// Writes blocks that begin with their file's name, and checks them as one project.
fn check(files: &[&str], wanted: &str) {
    let folder = tempfile::tempdir().unwrap();
    for file in files {
        let (name, _) = file.strip_prefix("# ").and_then(|file| file.split_once('\n')).unwrap();
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, file).unwrap();
    }
    let script = folder.path().join("build.sh");
    fs::write(&script, "#!/bin/sh\n").unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let checked = eventyard(&["check"], folder.path()).env("GITHUB_SECRET", "s").output().unwrap();
    let told = String::from_utf8_lossy(&checked.stdout).into_owned() + &String::from_utf8_lossy(&checked.stderr);
    assert!(checked.status.success() && told.contains(wanted) && !told.contains("warning"), "{files:#?}\n{told}");
}

#[test]
fn the_project_of_the_readme_loads() {
    let text = readme();
    let files = blocks(&text, "toml");
    assert_eq!(files.len(), 2);
    check(&files, "good: 2 rules, 1 test");
}

#[test]
fn the_projects_of_the_documents_load() {
    let page = |name: &str| fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(name)).unwrap();
    let (project, rules, functions) = (page("project.md"), page("rules.md"), page("functions.md"));
    check(&blocks(&project, "toml"), "good: 1 rule");
    // The second, a WebAssembly function, needs a module: see tests/wasm.rs.
    check(&blocks(&functions, "toml")[..1], "1 function");
    let around =
        "# eventyard.toml\n[source.shop]\nkind = \"http\"\npath = \"/shop\"\n[sink.trash]\nkind = \"discard\"\n";
    let rules = blocks(&rules, "toml");
    assert!(rules.len() >= 4);
    check(&[&[around], rules.as_slice()].concat(), "good: ");
}

#[tokio::test]
async fn every_metric_stands_in_the_documents() {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/operations.md")).unwrap();
    let folder = copy_project("examples/quickstart");
    let broker = Broker::start("run", folder.path());
    eventyard_connectors::http::install_crypto();
    let metrics = reqwest::get(format!("{}/metrics", broker.url())).await.unwrap().text().await.unwrap();
    let names: Vec<_> = metrics.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
    assert!(names.len() > 10, "{metrics}");
    for name in names {
        let (name, kind) = name.split_once(' ').unwrap();
        let name = if kind == "counter" { format!("{name}_total") } else { name.to_owned() };
        assert!(page.contains(&format!("`{name}`")), "{name} is missing in docs/operations.md");
    }
}

/// Whether a line is as the document shows it; `…` stands for anything.
fn fits(line: &str, shown: &str) -> bool {
    let mut parts = shown.split('…').map(str::trim);
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = line.trim_start().strip_prefix(first) else { return false };
    let mut open = false;
    for part in parts {
        open = part.is_empty();
        match rest.split_once(part) {
            Some((_, after)) => rest = after,
            None => return false,
        }
    }
    open || rest.trim().is_empty()
}

#[test]
fn the_commands_of_the_readme_print_what_it_shows() {
    let folder = copy_project("examples/quickstart");
    let folder = folder.path();
    let mut broker = Broker::start("run", folder);
    let text = readme();
    let mut count = 0;
    for command in blocks(&text, "console").iter().flat_map(|block| block.split("$ ").skip(1)) {
        let (command, shown) = command.split_once('\n').unwrap_or((command, ""));
        if command == "cat alerts.log" {
            // The alert is on its way; a reader is slower than this test.
            let heard = ["deliveries", "list", "--rule", "announce", "--state", "delivered", "--json"];
            let began = Instant::now();
            while !run(&heard, folder).stdout.contains("announce") {
                assert!(began.elapsed() < ALERTED_WITHIN, "no alert came");
            }
        }
        let program = Path::new(env!("CARGO_BIN_EXE_eventyard")).parent().unwrap();
        let path = std::env::var("PATH").unwrap_or_default();
        let ended = Command::new("sh")
            .args(["-c", command])
            .current_dir(folder)
            .env_remove("EVENTYARD_URL")
            .env_remove("EVENTYARD_TOKEN")
            .env("PATH", format!("{}:{path}", program.display()))
            .output()
            .unwrap();
        let told = String::from_utf8(ended.stdout).unwrap();
        let errors = String::from_utf8(ended.stderr).unwrap();
        let mut lines = told.lines();
        for shown in shown.lines().filter(|shown| !shown.is_empty()) {
            let line = lines.next().unwrap_or_default();
            assert!(fits(line, shown.trim_start()), "`{command}` shows\n{line}\nand not\n{shown}\n{told}{errors}");
        }
        count += 1;
    }
    assert_eq!(count, 6, "commands of the README");
    assert_eq!(run(&["status"], folder).code, 0);
    assert_eq!(broker.terminate(), Some(0));
}
