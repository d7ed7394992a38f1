//! WebAssembly functions in a whole broker: refused with their place, called, cut off, replaced, and there after a
//! restart. What one call promises is tested in `functions/tests/wasm.rs`.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use super::support::{Broker, copy_project, eventyard, free_port, run};

const DEADLINE: Duration = Duration::from_secs(60);

/// Says `text` and ends well.
fn saying(text: &str) -> String {
    format!(
        r#"(module
             (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
             (memory (export "memory") 1)
             (data (i32.const 64) "{text}")
             (func (export "_start")
               (i32.store (i32.const 0) (i32.const 64))
               (i32.store (i32.const 4) (i32.const {length}))
               (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))"#,
        length = text.len()
    )
}

const ENDLESS: &str = r#"(module (func (export "_start") (loop $l (br $l))))"#;
const LIBRARY: &str = r#"(module (func (export "_initialize")))"#;

/// A project with modules, and a rule for each that calls it for events of its name.
fn project(modules: &[(&str, &str)], more: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let mut main = format!("[server]\nlisten = \"127.0.0.1:{}\"\n{more}", free_port());
    let mut rules = "# One rule for each function.\n".to_owned();
    for (name, wat) in modules {
        put(folder.path(), name, wat);
        main += &format!("[function.{name}]\nruntime = \"wasm\"\npackage = \"{name}.wasm\"\ntimeout = \"500ms\"\n");
        rules += &format!(
            "[[rule]]\nname = \"{name}\"\npattern = {{ type = [\"{name}\"] }}\n[[rule.target]]\nfunction = \"{name}\"\nretry = {{ attempts = 2, backoff = \"100ms\" }}\n"
        );
    }
    fs::create_dir(folder.path().join("rules")).unwrap();
    fs::write(folder.path().join("rules/all.toml"), rules).unwrap();
    fs::write(folder.path().join("eventyard.toml"), main).unwrap();
    folder
}

/// Puts a module in its place at once, as compilers and editors do.
fn put(folder: &Path, name: &str, wat: &str) {
    let beside = folder.join("module.new");
    fs::write(&beside, wat::parse_str(wat).unwrap()).unwrap();
    fs::rename(beside, folder.join(format!("{name}.wasm"))).unwrap();
}

/// Sends an event, waits for its end, and gives its deliveries.
fn send(folder: &Path, ty: &str) -> Vec<Value> {
    let sent = run(&["events", "send", "--type", ty, "--data", "{}", "--wait", "--json"], folder);
    let listed = run(&["events", "list", "--json"], folder);
    let listed: Value = serde_json::from_str(&listed.stdout).unwrap();
    // The newest of its type: a dead letter is an event too.
    let newest = listed["items"].as_array().unwrap().iter().find(|event| event["cloudevent"]["type"] == ty);
    let id = newest.and_then(|event| event["event"].as_str());
    let id = id.unwrap_or_else(|| panic!("{listed:#} {} {}", sent.stdout, sent.stderr)).to_owned();
    let shown = run(&["events", "show", &id, "--json"], folder);
    let event: Value = serde_json::from_str(&shown.stdout).unwrap_or_else(|_| panic!("{}", shown.stdout));
    event["deliveries"].as_array().unwrap().clone()
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < DEADLINE, "{what}: not within {DEADLINE:?}");
        std::thread::yield_now();
    }
}

#[test]
fn what_cannot_be_a_function_is_a_mistake_with_its_place() {
    let folder = project(&[("good", &saying("x")), ("library", LIBRARY)], "");
    fs::write(folder.path().join("rules/all.toml"), "# no rules").unwrap();
    let more = "[function.gone]\nruntime = \"wasm\"\npackage = \"gone.wasm\"\n\
        [function.script]\nruntime = \"wasm\"\npackage = \"script.wasm\"\n\
        [function.small]\nruntime = \"wasm\"\npackage = \"good.wasm\"\nmemory = \"1KiB\"\n\
        [function.out]\nruntime = \"wasm\"\npackage = \"good.wasm\"\negress_allow = [\"http://x/\", \"api.example.com\"]\n\
        [function.typo]\nruntime = \"wasm\"\npakage = \"good.wasm\"\n";
    let main = fs::read_to_string(folder.path().join("eventyard.toml")).unwrap() + more;
    fs::write(folder.path().join("eventyard.toml"), main).unwrap();
    fs::write(folder.path().join("script.wasm"), "#!/bin/sh\n").unwrap();
    let checked = run(&["check"], folder.path());
    assert_eq!(checked.code, 2);
    let told = checked.stderr + &checked.stdout;
    for wanted in [
        "function_bad_module",
        "it is a library (it exports `_initialize`)",
        "package = \"library.wasm\"",
        "package_missing",
        "does not begin with the bytes",
        "out_of_range",
        "`http://x/` is no host, address or network",
        "which cannot call out",
        "did you mean `package`",
    ] {
        assert!(told.contains(wanted), "`{wanted}` is missing:\n{told}");
    }
}

#[test]
fn a_module_that_begins_with_more_memory_than_it_has_is_refused() {
    let wat = r#"(module (memory (export "memory") 100) (func (export "_start")))"#;
    let folder = project(&[("large", wat)], "");
    assert_eq!(run(&["check"], folder.path()).code, 0);
    let main = fs::read_to_string(folder.path().join("eventyard.toml")).unwrap() + "memory = \"2MiB\"\n";
    fs::write(folder.path().join("eventyard.toml"), main).unwrap();
    let checked = run(&["check"], folder.path());
    assert_eq!(checked.code, 2);
    let told = checked.stdout + &checked.stderr;
    assert!(told.contains("memory = \"7MiB\""), "{told}");
}

#[test]
fn an_event_goes_in_and_an_answer_comes_out() {
    let answer = include_str!("../functions/tests/modules/answer.wat");
    let answer = |status| answer.replace("STATUS", status).replace("BEFORE", "").replace("AFTER", "");
    let modules = [
        ("hello", saying("hello, event")),
        ("trap", r#"(module (func (export "_start") unreachable))"#.to_owned()),
        ("good-component", answer("204")),
        ("bad-component", answer("422")),
    ];
    let modules: Vec<_> = modules.iter().map(|(name, wat)| (*name, wat.as_str())).collect();
    let folder = project(&modules, "");
    let folder = folder.path();
    let mut broker = Broker::start("run", folder);

    let hello = &send(folder, "hello")[0];
    assert_eq!(hello["state"], "delivered", "{hello:#}");
    assert!(hello.to_string().contains("hello, event"), "{hello:#}");
    let trap = &send(folder, "trap")[0];
    assert_eq!((&trap["state"], &trap["attempts"]), (&"dead".into(), &2.into()), "{trap:#}");
    let reason = run(&["dead-letters", "list", "--json"], folder).stdout;
    assert!(reason.contains("function_trap") && reason.contains("unreachable"), "{reason}");
    assert_eq!(send(folder, "good-component")[0]["state"], "delivered");
    let bad = &send(folder, "bad-component")[0];
    assert_eq!((&bad["state"], &bad["attempts"]), (&"dead".into(), &1.into()), "a 422 is not tried again: {bad:#}");

    assert!(folder.join("data/compiled/code").is_dir(), "compiled code is kept");
    assert_eq!(broker.terminate(), Some(0));
}

#[test]
fn a_function_that_never_ends_dies_and_holds_up_nobody() {
    let folder = project(&[("endless", ENDLESS), ("hello", &saying("hello"))], "");
    let folder = folder.path();
    let mut broker = Broker::start("run", folder);
    for _ in 0..8 {
        let sent = run(&["events", "send", "--type", "endless", "--data", "{}"], folder);
        assert_eq!(sent.code, 0, "{}", sent.stderr);
    }
    // While they go round, others are taken and delivered.
    assert_eq!(send(folder, "hello")[0]["state"], "delivered");
    until("all are dead letters", || {
        let letters = run(&["dead-letters", "list", "--json"], folder).stdout;
        letters.matches("function_timeout").count() >= 8
    });
    assert_eq!(broker.terminate(), Some(0));
}

#[test]
fn a_stop_ends_a_function_that_never_ends() {
    let folder = project(&[("endless", ENDLESS)], "grace = \"500ms\"\n");
    let main = fs::read_to_string(folder.path().join("eventyard.toml")).unwrap();
    fs::write(folder.path().join("eventyard.toml"), main.replace("timeout = \"500ms\"", "timeout = \"5m\"")).unwrap();
    let mut broker = Broker::start("run", folder.path());
    assert_eq!(run(&["events", "send", "--type", "endless", "--data", "{}"], folder.path()).code, 0);
    until("it is called", || run(&["deliveries", "list", "--json"], folder.path()).stdout.contains("in_flight"));
    let began = Instant::now();
    assert_eq!(broker.terminate(), Some(0));
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
}

#[test]
fn another_module_is_taken_while_running_and_a_broken_one_is_not_even_after_a_restart() {
    let folder = project(&[("hello", &saying("the first"))], "");
    let folder = folder.path();
    let said = || send(folder, "hello")[0].to_string();
    let mut broker = Broker::start("run", folder);
    assert!(said().contains("the first"));

    put(folder, "hello", &saying("the second"));
    until("the second module is in force", || said().contains("the second"));

    put(folder, "hello", LIBRARY);
    until("the broken module is refused", || {
        reqwest_text(&format!("{}/readyz", broker.url())).contains("rules_refused")
    });
    assert!(said().contains("the second"));
    assert_eq!(broker.terminate(), Some(0));

    // The last good module was kept with the last good project.
    let mut broker = Broker::start("run", folder);
    assert!(said().contains("the second"));
    assert_eq!(broker.terminate(), Some(0));
    let kept = fs::read_dir(folder.join("data/last-good-packages")).unwrap().count();
    assert_eq!(kept, 1, "what is not needed goes");
}

/// A GET without a runtime of the test's own.
fn reqwest_text(url: &str) -> String {
    eventyard_connectors::http::install_crypto();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async { reqwest::get(url).await.unwrap().text().await.unwrap() })
}

#[test]
fn the_document_shows_a_function_that_loads() {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/functions.md")).unwrap();
    let block = page.split("\n```toml\n").nth(2).unwrap().split("\n```").next().unwrap();
    assert!(block.contains("runtime = \"wasm\""), "{block}");
    let folder = project(&[], "");
    fs::write(folder.path().join("eventyard.toml"), block).unwrap();
    fs::create_dir(folder.path().join("functions")).unwrap();
    let wat = include_str!("../functions/tests/modules/answer.wat");
    let wat = wat.replace("STATUS", "204").replace("BEFORE", "").replace("AFTER", "");
    put(&folder.path().join("functions"), "filter", &wat);
    let checked = run(&["check"], folder.path());
    assert_eq!(checked.code, 0, "{}{}", checked.stdout, checked.stderr);
}

#[test]
fn the_readme_of_the_example_is_true() {
    for tool in ["clang", "go"] {
        let found = std::process::Command::new("sh").args(["-c", &format!("command -v {tool}")]).output();
        if !found.is_ok_and(|found| found.status.success()) {
            println!("SKIPPED: the example's functions are compiled with {tool}, which is not installed");
            return;
        }
    }
    let folder = copy_project("examples/wasm-filter");
    let folder = folder.path();
    // Each command of the README with something that it says.
    let expected = [
        ("./build.sh", "filter-go.wasm"),
        ("eventyard check", "2 functions"),
        ("eventyard run", ""),
        ("eventyard events send order.json --wait", "1500 is over 1000"),
        ("eventyard deliveries list", "delivered"),
        ("eventyard events send broken.json --wait", "the order has no amount"),
        ("eventyard dead-letters list", "exit_1"),
        ("./build.sh", "filter-c.wasm"),
    ];
    let text = fs::read_to_string(folder.join("README.md")).unwrap();
    let steps: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("    ")).collect();
    let lines: Vec<&str> = expected.iter().map(|(line, _)| *line).collect();
    assert_eq!(steps, lines, "the README's commands and this test's have parted");
    let mut broker = None;
    for (line, wanted) in expected {
        if line == "eventyard run" {
            broker = Some(Broker::start("run", folder));
            continue;
        }
        let output = match line.strip_prefix("eventyard ") {
            Some(rest) => eventyard(&rest.split(' ').collect::<Vec<_>>(), folder).output().unwrap(),
            None => std::process::Command::new("sh").args(["-c", line]).current_dir(folder).output().unwrap(),
        };
        let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert!(said.contains(wanted), "`{line}` did not say `{wanted}`:\n{said}");
    }
    assert_eq!(broker.unwrap().terminate(), Some(0));
}
