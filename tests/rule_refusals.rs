//! Rules that would cost too much, ask for nothing, or say what cannot be meant: refused when they are loaded, with the
//! place and the limit's name. What cannot be seen in the files is cut off while it runs.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use super::support::{Broker, Ended, eventyard, free_port, project, run};

const SINK: &str = "[sink.s]\nkind = \"discard\"\n";

/// A project with one rule of this pattern, in JSON.
fn with_pattern(pattern: &str) -> TempDir {
    let rule = format!("[[rule]]\nname = \"a\"\npattern = '''{pattern}'''\ntarget = {{ sink = \"s\" }}\n");
    project(&[("eventyard.toml", SINK), ("rules/a.toml", &rule)])
}

/// What `check` says of a project that it refuses.
fn refused(folder: &Path) -> String {
    let checked = run(&["check"], folder);
    assert_eq!(checked.code, 2, "{}{}", checked.stdout, checked.stderr);
    checked.stdout
}

fn all_in(said: &str, wanted: &[&str]) {
    for wanted in wanted {
        assert!(said.contains(wanted), "`{wanted}` is missing:\n{said}");
    }
}

fn accepted(folder: &Path) -> Ended {
    let checked = run(&["check"], folder);
    assert_eq!(checked.code, 0, "{}{}", checked.stdout, checked.stderr);
    checked
}

/// Row R4.
#[test]
fn a_wildcard_of_more_stars_than_the_limit_is_refused_and_one_within_it_takes_linear_time() {
    let stars = |count: usize| format!("{{\"data\": {{\"x\": [{{\"wildcard\": \"{}b\"}}]}}}}", "*a".repeat(count));
    let said = refused(with_pattern(&stars(65)).path());
    all_in(&said, &["error[pattern_limit]", "rules/a.toml:3:", "limit STARS_MAX", "more than 64 stars"]);

    let folder = with_pattern(&stars(64));
    accepted(folder.path());
    // A matcher that goes back would need the age of the universe for this text; the deadline is for slow machines.
    let event = format!("{{\"type\": \"t\", \"data\": {{\"x\": \"{}\"}}}}\n", "a".repeat(1_000_000));
    let began = Instant::now();
    let matched = super::support::run_with(&["rules", "match"], folder.path(), &event);
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    assert_eq!(matched.code, 0, "{}", matched.stderr);
    assert!(matched.stdout.contains("\"rules\":[]"), "{}", matched.stdout);
}

/// Row R5.
#[test]
fn there_are_no_regular_expressions() {
    for operator in ["regex", "regexp"] {
        for pattern in ["(a+)+$", "a{1000000}"] {
            let said = refused(with_pattern(&format!("{{\"type\": [{{\"{operator}\": \"{pattern}\"}}]}}")).path());
            all_in(
                &said,
                &["error[pattern_operator]", "rules/a.toml:3:", &format!("there is no operator `{operator}`")],
            );
        }
    }
    let docs = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/rules.md")).unwrap();
    assert!(docs.contains("no regular expressions"), "the reference says so");
}

/// Row R6.
#[test]
fn a_list_a_depth_and_a_number_of_files_have_limits_that_are_named() {
    let list = |count: usize| {
        let values: Vec<String> = (0..count).map(|n| format!("\"v{n}\"")).collect();
        format!("{{\"type\": [{}]}}", values.join(","))
    };
    accepted(with_pattern(&list(10_000)).path());
    all_in(&refused(with_pattern(&list(10_001)).path()), &["error[pattern_limit]", "limit ALTERNATIVES_MAX"]);

    let depth = |depth: usize| format!("{}[1]{}", "{\"a\":".repeat(depth), "}".repeat(depth));
    accepted(with_pattern(&depth(100)).path());
    all_in(&refused(with_pattern(&depth(110)).path()), &["error[pattern_limit]", "limit DEPTH_MAX"]);
}

/// Row R7.
#[test]
fn a_range_that_holds_no_number_or_compares_with_none_is_refused() {
    for (range, wanted) in [
        (r#"[">", "x"]"#, "compares with a number"),
        (r#"[">", 5, "<", 3]"#, "no range lies between 5 and 3"),
        (r#"[">", 5, "<", 5]"#, "no range lies between"),
        (r#"[">=", 5, "<=", 5]"#, "no range lies between"),
        (r#"["<", 5, ">", 3]"#, "does not fit at this place"),
        (r#"[">", 1, ">", 2]"#, "does not fit at this place"),
        (r#"["!=", 5]"#, "is no comparison sign"),
        (r#"[">"]"#, "one or two comparisons"),
        ("[]", "one or two comparisons"),
        ("5", "takes a list"),
    ] {
        let said = refused(with_pattern(&format!("{{\"data\": {{\"n\": [{{\"numeric\": {range}}}]}}}}")).path());
        all_in(&said, &["error[pattern_numeric]", "rules/a.toml:3:", wanted]);
    }
}

/// Row R8.
#[test]
fn what_is_empty_asks_for_nothing_and_is_refused() {
    for pattern in [
        "{}",
        r#"{"type": []}"#,
        r#"{"data": {}}"#,
        r#"{"type": [{"anything-but": []}]}"#,
        r#"{"type": [{"anything-but": {"prefix": []}}]}"#,
    ] {
        all_in(&refused(with_pattern(pattern).path()), &["error[pattern_empty]", "rules/a.toml:3:"]);
    }
    all_in(&refused(with_pattern(r#"{"$or": []}"#).path()), &["error[pattern_or]"]);
    all_in(&refused(with_pattern(r#"{"type": [{}]}"#).path()), &["error[pattern_value]"]);
    all_in(
        &refused(with_pattern(r#"{"type": [{"anything-but": {"prefix": ""}}]}"#).path()),
        &["error[pattern_operand]"],
    );
}

/// Row R14.
#[test]
fn a_backoff_that_makes_no_sense_is_refused_at_its_key() {
    for (retry, code, at, wanted) in [
        ("backoff = \"0s\"", "out_of_range", "\"0s\"", "between 1ms and"),
        ("backoff_max = \"0s\"", "out_of_range", "\"0s\"", "between 1ms and"),
        ("backoff = \"10s\", backoff_max = \"1s\"", "bad_retry", "\"1s\"", "shorter than `backoff`"),
        ("jitter = 2.0", "out_of_range", "2.0", "between 0 and 1"),
        ("jitter = -0.1", "out_of_range", "-0.1", "between 0 and 1"),
        ("jitter = nan", "out_of_range", "nan", "between 0 and 1"),
        ("attempts = 0", "out_of_range", "0 }", "between 1 and 100000"),
        ("attempts = 4294967296", "out_of_range", "4294967296", "between 1 and 100000"),
        ("attempts = -1", "out_of_range", "-1", "between 1 and 100000"),
        ("max_age = \"0s\"", "out_of_range", "\"0s\"", "between 1s and"),
    ] {
        let target = format!("target = {{ sink = \"s\", retry = {{ {retry} }} }}");
        let rule = format!("[[rule]]\nname = \"a\"\npattern = {{ type = [\"x\"] }}\n{target}\n");
        let folder = project(&[("eventyard.toml", SINK), ("rules/a.toml", &rule)]);
        let column = target.find(at).unwrap() + 1;
        let place = format!("rules/a.toml:4:{column}");
        all_in(&refused(folder.path()), &[&format!("error[{code}]"), &place, wanted]);
    }
    let defaults = project(&[("eventyard.toml", "[defaults]\nretry = { attempts = 0 }\n")]);
    all_in(&refused(defaults.path()), &["error[out_of_range]", "eventyard.toml:2:22"]);
}

/// Row R15.
#[test]
fn a_variable_that_is_not_set_is_refused_by_name_and_no_value_is_shown() {
    let url = "target = { http = { url = { env = \"HOOK_URL_OF_TEST\" } } }\n";
    let rule = format!("[[rule]]\nname = \"a\"\npattern = {{ type = [\"x\"] }}\n{url}");
    let folder = project(&[("eventyard.toml", ""), ("rules/a.toml", &rule)]);
    let said = refused(folder.path());
    all_in(&said, &["error[env_missing]", "rules/a.toml:4:35", "`HOOK_URL_OF_TEST` is not set", "default = "]);

    // Beside one that is set and will not do: its name may show, its value may not.
    let output =
        eventyard(&["check"], folder.path()).env("HOOK_URL_OF_TEST", "gopher://hunter2.example/").output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(!said.contains("hunter2"), "{said}");
}

#[test]
fn a_file_that_cannot_be_read_is_refused_by_name() {
    let with = |file: &str| {
        let main = format!("[server]\nlisten = \"127.0.0.1:0\"\ntoken = {{ file = \"{file}\" }}\n");
        project(&[("eventyard.toml", &main)])
    };
    let missing = refused(with("secrets/token").path());
    all_in(&missing, &["error[secret_file]", "eventyard.toml:3:18", "`secrets/token` does not exist"]);

    let folder = with("token");
    fs::create_dir(folder.path().join("token")).unwrap();
    all_in(&refused(folder.path()), &["error[secret_file]", "`token` cannot be read: it is no file"]);

    let folder = with("token");
    fs::write(folder.path().join("token"), b"hunter2\xff").unwrap();
    let said = refused(folder.path());
    all_in(&said, &["error[secret_file]", "`token` cannot be read: it is not UTF-8 text"]);
    assert!(!said.contains("hunter2"), "{said}");

    let folder = with("token");
    fs::write(folder.path().join("token"), "hunter2".repeat(10_000)).unwrap();
    let said = refused(folder.path());
    all_in(&said, &["error[secret_file]", "it is larger than 65536 bytes"]);
    assert!(!said.contains("hunter2"), "{said}");
}

/// A rule that makes an event of a type, of events of another.
fn passes_on(name: &str, ty: &str, more: &str, makes: &str) -> String {
    format!(
        "[[rule]]\nname = \"{name}\"\npattern = {{ type = [\"{ty}\"]{more} }}\ntarget = {{ event = {{ type = \"{makes}\" }} }}\n"
    )
}

/// Row R3.
#[test]
fn a_certain_circle_is_refused_with_the_way_it_goes() {
    let circle = format!("{}{}", passes_on("one", "a", "", "b"), passes_on("two", "b", "", "a"));
    let own = passes_on("one", "a", "", "a");
    let from_own = "[[rule]]\nname = \"all\"\nfrom = [\"eventyard\"]\ntarget = { event = { type = \"again\" } }\n";
    for (rules, wanted) in
        [(circle.as_str(), "`one` → `two` → `one`"), (&own, "`one` → `one`"), (from_own, "`all` → `all`")]
    {
        let said = refused(project(&[("eventyard.toml", ""), ("rules/a.toml", rules)]).path());
        all_in(&said, &["error[event_cycle]", "rules/a.toml:", wanted]);
    }
}

/// Row R3.
#[test]
fn a_rule_that_posts_to_its_own_broker_what_it_matches_is_refused() {
    let main = "[server]\nlisten = \"127.0.0.1:8484\"\n[source.hook]\nkind = \"http\"\npath = \"/hooks/{name}\"\n\
                [source.proved]\nkind = \"http\"\npath = \"/proved\"\n\
                verify = { kind = \"hmac\", secret = \"s3cr3t-s3cr3t-s3cr3t\", header = \"x-signature\" }\n";
    let rule = |filter: &str, url: &str, more: &str| {
        format!("[[rule]]\nname = \"round\"\n{filter}\ntarget = {{ http = {{ url = \"{url}\" }}{more} }}\n")
    };
    let types = "pattern = { type = [\"x\"] }";
    let received = "pattern = { type = [\"http.received\"] }";
    for (filter, url, more) in [
        (types, "http://127.0.0.1:8484/events", ""),
        ("from = [\"events\"]", "http://127.0.0.1:8484/events", ", input = \"event\""),
        ("from = [\"hook\"]", "http://localhost:8484/hooks/a", ""),
        (received, "http://127.0.0.1:8484/hooks/a", ", input = \"data\""),
    ] {
        let folder = project(&[("eventyard.toml", main), ("rules/a.toml", &rule(filter, url, more))]);
        all_in(&refused(folder.path()), &["error[event_cycle]", "rules/a.toml:4:", "round"]);
    }
    for (filter, url, more) in [
        ("from = [\"hook\"]", "http://127.0.0.1:8484/events", ""),
        (types, "http://127.0.0.1:8485/events", ""),
        (types, "http://127.0.0.1:8484/hooks/a", ", input = \"data\""),
        (types, "http://127.0.0.1:8484/proved", ""),
    ] {
        accepted(project(&[("eventyard.toml", main), ("rules/a.toml", &rule(filter, url, more))]).path());
    }
}

/// Row R3.
#[test]
fn a_circle_that_depends_on_the_data_ends_as_one_dead_letter() {
    // Whether `b` is made into `a` again is a matter of the data, so that no check can refuse it.
    let main = format!("[server]\nlisten = \"127.0.0.1:{}\"\n", free_port());
    let rules = passes_on("there", "a", "", "b") + &passes_on("back", "b", ", data.again = [true]", "a");
    let folder = project(&[("eventyard.toml", &main), ("rules/a.toml", &rules)]);
    let folder = folder.path();
    let mut broker = Broker::start("run", folder);
    let sent = run(&["events", "send", "--type", "a", "--data", "{\"again\": true}"], folder);
    assert_eq!(sent.code, 0, "{}{}", sent.stdout, sent.stderr);
    let began = Instant::now();
    let letters = loop {
        let listed = run(&["dead-letters", "list", "--json"], folder);
        let letters: Value = serde_json::from_str(&listed.stdout).unwrap();
        if letters["items"].as_array().is_some_and(|items| !items.is_empty()) {
            break letters;
        }
        assert!(began.elapsed() < Duration::from_secs(60), "no dead letter: {}", listed.stdout);
    };
    let items = letters["items"].as_array().unwrap();
    assert_eq!(items.len(), 1, "{letters}");
    assert_eq!(items[0]["reason"]["code"], "loop_detected", "{letters}");
    assert_eq!(items[0]["rule"], "there", "{letters}");
    let metrics = run(&["deliveries", "list", "--json", "--limit", "100"], folder);
    let deliveries: Value = serde_json::from_str(&metrics.stdout).unwrap();
    // The first event, the 16 that it was made into, and no more.
    assert_eq!(deliveries["items"].as_array().unwrap().len(), 17, "{deliveries}");
    assert_eq!(broker.terminate(), Some(0));
}

/// A project of `count` rules in files of a thousand each, the pattern of each its own.
pub(crate) fn many_rules(count: usize) -> TempDir {
    let folder = project(&[("eventyard.toml", &format!("[server]\nlisten = \"127.0.0.1:{}\"\n{SINK}", free_port()))]);
    fs::create_dir(folder.path().join("rules")).unwrap();
    for file in 0..count.div_ceil(1_000) {
        let mut text = String::new();
        for n in file * 1_000..count.min((file + 1) * 1_000) {
            write!(
                text,
                "[[rule]]\nname = \"r{n}\"\ntarget = {{ sink = \"s\" }}\n[rule.pattern]\ntype = [\"order.created\"]\n\
                 data.customer = [\"c-{n}\"]\ndata.path = [{{ prefix = \"/{}/\" }}]\ndata.amount = [{{ numeric = [\">\", {n}] }}]\n\n",
                n % 97
            )
            .unwrap();
        }
        fs::write(folder.path().join(format!("rules/{file:04}.toml")), text).unwrap();
    }
    folder
}

/// Row R6.
#[test]
fn many_rules_load_and_reload_in_time_that_grows_with_their_number() {
    // `EVENTYARD_RULES=100000` is the measurement, with the optimised program.
    let count = std::env::var("EVENTYARD_RULES").ok().and_then(|count| count.parse().ok()).unwrap_or(5_000);
    let folder = many_rules(count);
    let began = Instant::now();
    accepted(folder.path());
    let checked = began.elapsed();
    let mut broker = Broker::start("run", folder.path());
    let changed =
        fs::read_to_string(folder.path().join("rules/0000.toml")).unwrap().replace("order.created", "order.made");
    fs::write(folder.path().join("rules/0000.toml"), changed).unwrap();
    let began = Instant::now();
    let reloaded = run(&["reload"], folder.path());
    assert_eq!(reloaded.code, 0, "{}{}", reloaded.stdout, reloaded.stderr);
    let (reloaded, memory) = (began.elapsed(), broker.memory_peak().unwrap_or(0) / 1024 / 1024);
    println!("{count} rules: checked in {checked:?}, reloaded in {reloaded:?}, at most {memory} MiB in memory");
    assert!(checked.max(reloaded) < Duration::from_secs(60));
    assert_eq!(broker.terminate(), Some(0));
}
