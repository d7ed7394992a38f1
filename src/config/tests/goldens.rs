//! What a person reads: a whole report for a project with many mistakes, and the code of each kind of mistake.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::{codes, folder, load};

fn many_mistakes() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/config/tests/many_mistakes")
}

/// Compares with a kept text; `EVENTYARD_BLESS=1` keeps the new one instead.
fn is_kept(name: &str, text: &str) {
    let path = many_mistakes().join(name);
    if std::env::var_os("EVENTYARD_BLESS").is_some() {
        fs::write(&path, text).unwrap();
    }
    let kept = fs::read_to_string(&path).unwrap();
    assert_eq!(text, kept, "{name} differs; if that is meant: EVENTYARD_BLESS=1 cargo test");
}

#[test]
fn every_mistake_of_every_file_is_in_one_report() {
    let report = load(&many_mistakes()).unwrap_err();
    let text = report.render(false);
    is_kept("report.txt", &text);
    is_kept("report.json", &format!("{:#}\n", report.to_json()));
    for secret in ["correct horse", "correct-horse"] {
        assert!(!text.contains(secret), "{secret} shows");
        assert!(!report.to_json().to_string().contains(secret), "{secret} shows");
    }
    assert!(!text.contains('\u{1b}'), "no colours unless asked for");
    assert!(report.render(true).contains('\u{1b}'));
}

const SINK: &str = "[sink.s]\nkind = \"discard\"\n";

/// A rule named `a` with this added.
fn rule(more: &str) -> String {
    format!("{SINK}[[rule]]\nname = \"a\"\npattern = {{ type = [\"x\"] }}\ntarget = {{ sink = \"s\" }}\n{more}\n")
}

const ANSWERS_TWICE: &str = "target = [{ sink = \"s\", reply = true }, { sink = \"s\", name = \"t\", reply = true }]";

/// A source of kind http with this added.
fn http(more: &str) -> String {
    format!("[source.h]\nkind = \"http\"\npath = \"/h\"\n{more}\n")
}

/// A rule whose target has this input.
fn input(value: &str) -> String {
    rule("").replace("\"s\" }", &format!("\"s\", input = {value} }}"))
}

fn sink(url: &str) -> String {
    format!("[sink.w]\nkind = \"http\"\nurl = {url}\n")
}

fn function(more: &str) -> String {
    format!("[function.f]\nruntime = \"command\"\ncommand = [\"sh\"]\n{more}\n")
}

/// For each code the texts of an `eventyard.toml` that is refused, or warned of, with that code alone.
fn cases() -> Vec<(&'static str, String)> {
    let own = |code, text: &str| (code, text.to_owned());
    let two_rules = |first: &str, second: &str| format!("{SINK}{first}{second}");
    let one = "[[rule]]\nname = \"a\"\nfrom = [\"events\"]\ntarget = { sink = \"s\" }\n";
    vec![
        own("toml_syntax", "[server\n"),
        own("toml_syntax", "[limits]\nbatch = 1\nbatch = 2\n"),
        own("unknown_key", "[sorce.a]\n"),
        own("unknown_key", "[server]\nport = 1\n"),
        ("unknown_key", http("secrt = \"x-x-x\"")),
        ("unknown_key", rule("whenever = 1")),
        // A key that must be there, misspelt, is not missed as well.
        ("unknown_key", one.replace("name", "nmae") + SINK),
        ("unknown_key", one.replace("from", "form") + SINK),
        ("unknown_key", one.replace("target", "taget") + SINK),
        ("unknown_key", one.replace("{ sink", "{ snik") + SINK),
        ("unknown_key", http("").replace("path", "pth")),
        ("unknown_key", function("").replace("command =", "comand =")),
        ("unknown_key", rule("[[rule.test]]\nevnt = { type = \"x\" }\nmatches = true")),
        ("unknown_key", rule("[[rule.test]]\nevent = { type = \"x\" }\nmaches = true")),
        ("missing_key", "[source.h]\nkind = \"http\"\n".to_owned()),
        ("missing_key", "[source.h]\npath = \"/h\"\n".to_owned()),
        ("unknown_key", "[source.h]\nknid = \"http\"\npath = \"/h\"\n".to_owned()),
        ("missing_key", "[function.f]\nruntime = \"command\"\n".to_owned()),
        ("missing_key", one.replace("name = \"a\"\n", "") + SINK),
        ("missing_key", rule("[[rule.test]]\nevent = { type = \"x\" }")),
        ("missing_key", rule("[[rule.test]]\nmatches = true")),
        own("wrong_type", "server = 5\n"),
        own("wrong_type", "[server]\ngrace = 8\n"),
        own("wrong_type", "[source]\nkind = \"http\"\n"),
        ("wrong_type", rule("tags = \"one\"")),
        ("wrong_type", rule("enabled = \"yes\"")),
        ("wrong_type", rule("pattern = 5").replacen("pattern = { type = [\"x\"] }\n", "", 1)),
        own("bad_value", "[server]\nlisten = \"everywhere\"\n"),
        own("bad_value", "[server]\ntoken = \"\"\n"),
        own("bad_value", "[server]\negress_allow = [\"10.0.0.0/99\"]\n"),
        ("bad_value", rule("order_by = \"data.id\"\norder_after_dead = \"stop\"")),
        ("bad_value", rule("order_after_dead = \"wait\"")),
        ("bad_value", function("environment = { EVENTYARD_X = \"1\" }")),
        ("bad_value", "[function.f]\nruntime = \"cobol\"\n".to_owned()),
        ("bad_value", rule("").replace("sink = \"s\" }", "event = { type = \"eventyard.x\" } }")),
        own("out_of_range", "[limits]\nbatch = -1\n"),
        ("out_of_range", rule("retry = { attempts = 0 }")),
        ("out_of_range", rule("retry = { attempts = 4294967296 }")),
        ("out_of_range", rule("retry = { backoff = \"0s\" }")),
        ("out_of_range", rule("retry = { jitter = 2.0 }")),
        ("out_of_range", rule("retry = { jitter = nan }")),
        own("bad_name", "[sink.Big]\nkind = \"discard\"\n"),
        ("bad_name", one.replace("\"a\"", "\"a b\"") + SINK),
        own("bad_duration", "[store]\nretention = \"1w\"\n"),
        own("bad_size", "[limits]\nevent = \"1MB\"\n"),
        ("bad_path", rule("order_by = \"data..id\"")),
        ("bad_path", rule("split = \"items\"")),
        ("split_target", rule("split = \"data.items\"").replace("\"s\" }", "\"s\", input = \"object\" }")),
        ("bad_path", http("").replace("/h\"", "h\"")),
        ("bad_expression", rule("when = \"subject == 'x'\"")),
        own("not_in_this_version", "[sink.q]\nkind = \"sqs\"\n"),
        ("reply_unused", rule("").replace("\"s\" }", "\"s\", reply = true }")),
        ("reply_unused", http("reply = \"sync\"")),
        (
            "reply_shadowed",
            http("reply = \"sync\"")
                + &one.replace("events", "h").replace("target = { sink = \"s\" }", ANSWERS_TWICE)
                + SINK,
        ),
        ("bad_value", rule("").replace("sink = \"s\" }", "event = { type = \"y\" }, reply = true }")),
        ("not_in_this_version", rule("").replace("\"s\" }", "\"s\", input = \"lambda\" }")),
        ("bad_template", input("{ template = \"\" }")),
        ("bad_template", input("{ paths = { id = \"data.id\" }, template = 'order <id>' }")),
        ("bad_template", input("{ paths = { id = \"data.id\" }, template = '{<id>: 1}' }")),
        ("unknown_placeholder", input("{ paths = { id = \"data.id\" }, template = '{\"id\": <di>}' }")),
        ("unknown_placeholder", input("{ template = { env = \"MISSING\", default = '{\"id\": <di>}' } }")),
        ("bad_path", input("{ paths = { id = \"data..id\" }, template = '{\"id\": <id>}' }")),
        ("bad_value", input("{ paths = { \"a b\" = \"data.id\" }, template = '1' }")),
        ("missing_key", input("{ paths = { id = \"data.id\" } }")),
        ("unknown_key", input("{ template = '1', stict = true }")),
        ("wrong_type", input("{ paths = { id = 1 }, template = '[<id>]' }")),
        ("wrong_type", input("[1]")),
        ("not_in_this_version", rule("").replace("sink = \"s\"", "function = \"f:live\"") + &function("")),
        ("conflict", http("reply_timeout = \"3s\"")),
        ("out_of_range", http("reply = \"sync\"\nreply_timeout = \"2h\"")),
        own("not_in_this_version", "[source.k]\nkind = \"sqs\"\n"),
        own("not_in_this_version", "[sink.k]\nkind = \"redis\"\n"),
        own("not_in_this_version", "[channel.k]\nkind = \"dingtalk\"\n"),
        own("not_in_this_version", "[function.f]\nruntime = \"python\"\npackage = \"x\"\n"),
        own("package_missing", "[function.f]\nruntime = \"wasm\"\npackage = \"x\"\n"),
        own("missing_key", "[function.f]\nruntime = \"wasm\"\n"),
        // What is no module, where modules can be run; else what the build lacks.
        own(NO_MODULE, "[function.f]\nruntime = \"wasm\"\npackage = \"eventyard.toml\"\n"),
        own("not_in_this_version", "[function.f]\nruntime = \"nodejs20.x\"\n"),
        ("not_in_this_version", function("aliases = { live = { 3 = 90 } }")),
        own("out_of_range", "[channel.c]\nkind = \"webhook\"\nurl = \"http://127.0.0.1\"\ngroup = \"7h\"\n"),
        own("env_missing", "[server]\ntoken = { env = \"MISSING\" }\n"),
        ("env_missing", http("preset = \"github\"\nsecret = { env = \"MISSING\" }")),
        ("env_missing", http("dedupe = { env = \"MISSING\" }")),
        own("secret_literal", "[server]\ntoken = \"$TOKEN\"\n"),
        ("secret_literal", http("preset = \"github\"\nsecret = [\"s-s-s\", \"${GITHUB_SECRET}\"]")),
        own("secret_file", "[server]\ntoken = { file = \"missing\" }\n"),
        ("bad_retry", rule("retry = { backoff = \"2s\", backoff_max = \"1s\" }")),
        ("rule_without_condition", one.replace("from = [\"events\"]\n", "") + SINK),
        ("rule_without_target", one.replace("target = { sink = \"s\" }\n", "") + SINK),
        ("rule_without_target", one.replace("target = { sink = \"s\" }\n", "target = []\n") + SINK),
        ("target_ambiguous", one.replace("sink = \"s\"", "sink = \"s\", channel = \"c\"") + SINK),
        ("target_ambiguous", one.replace("sink = \"s\"", "timeout = \"1s\"") + SINK),
        (
            "target_duplicate",
            one.replace("target = { sink = \"s\" }", "target = [{ sink = \"s\" }, { sink = \"s\" }]") + SINK,
        ),
        ("bad_event", rule("[[rule.test]]\nevent = { type = \"\" }\nmatches = true")),
        ("bad_event", rule("[[rule.test]]\nfile = \"missing.json\"\nmatches = true")),
        ("too_many", rule(&format!("tags = {:?}", (0..65).map(|n| n.to_string()).collect::<Vec<_>>()))),
        own("unknown_kind", "[source.h]\nkind = \"htp\"\n"),
        ("conflict", http("preset = \"github\"\nsecret = \"x-x-x\"\nverify = { kind = \"none\" }")),
        own("reserved_name", "[source.eventyard]\nkind = \"http\"\npath = \"/h\"\n"),
        own("reserved_path", "[source.h]\nkind = \"http\"\npath = \"/{any}\"\n"),
        ("path_taken", http("") + &http("").replace("[source.h]", "[source.i]")),
        (
            "path_taken",
            http("").replace("/h", "/h/{a}") + &http("").replace("[source.h]", "[source.i]").replace("/h", "/h/b"),
        ),
        own("listen_insecure", "[server]\nlisten = \"[::]:8484\"\n"),
        ("verify_required", format!("[server]\nlisten = \"[::]:1\"\ntoken = \"x-x-x\"\ntls = \"proxy\"\n{}", http(""))),
        ("rule_duplicate", two_rules(one, one)),
        ("unknown_source", one.replace("events", "event") + SINK),
        ("unknown_target", one.to_owned()),
        ("other_namespace", one.to_owned() + SINK + "namespace = \"other\"\n"),
        ("not_enabled", one.to_owned() + SINK + "enabled = false\n"),
        ("event_cycle", rule("").replace("sink = \"s\"", "event = { type = \"x\" }")),
        ("rule_never_matches", rule("").replace("\"x\"", "1")),
        ("rule_repeated", two_rules(one, &one.replace("\"a\"", "\"b\""))),
        (
            "rule_feeds_itself",
            rule("").replace("type = [", "data.n = [").replace("sink = \"s\"", "event = { type = \"x\" }"),
        ),
        (
            "field_unknown",
            rule("[[rule.test]]\nevent = { type = \"y\" }\nmatches = false").replace("type = [\"x\"]", "data.n = [1]"),
        ),
        ("wildcard_only_star", rule("").replace("\"x\"", "{ wildcard = \"*\" }")),
        ("rule_test_failed", rule("[[rule.test]]\nevent = { type = \"x\" }\nmatches = false")),
        ("command_missing", function("").replace("\"sh\"", "\"./missing.sh\"")),
        ("command_missing", function("").replace("\"sh\"", "\"no-such-program-anywhere\"")),
        own("no_certificate", "[server]\ntls = { cert = \"eventyard.toml\", key = \"k.pem\" }\n"),
        ("secret_empty", http("verify = { kind = \"hmac\", header = \"x\", secret = [] }")),
        ("bad_url", sink("\"gopher://127.0.0.1/\"")),
        ("bad_url", sink("\"http://me:pass@127.0.0.1/\"")),
        ("bad_url", sink("\"http://{data.host}/orders\"")),
        ("bad_url", sink("\"https://<host>.example.com:443/orders\"")),
        ("bad_url", sink("\"http://127.0.0.1/\\r\\nx: y\"")),
        ("egress_blocked", sink("\"http://169.254.169.254/\"")),
        own("bad_schedule", "[source.t]\nkind = \"timer\"\nschedule = \"@yearlyy\"\n"),
        own("never_fires", "[source.t]\nkind = \"timer\"\nschedule = \"0 0 30 2 *\"\n"),
        own("unknown_timezone", "[source.t]\nkind = \"timer\"\nschedule = \"@daily\"\ntimezone = \"Mars/Base\"\n"),
    ]
}

/// What is said of a package that is no WebAssembly.
const NO_MODULE: &str = if cfg!(feature = "wasm") { "function_bad_module" } else { "not_built" };

/// Codes that other tests cause: those of files, and what no text of a project can.
const ELSEWHERE: [&str; 13] = [
    "function_module_limit",
    "wasm_unavailable",
    if cfg!(feature = "wasm") { "not_built" } else { "function_bad_module" },
    "no_project",
    "file_unreadable",
    "file_is_no_file",
    "file_too_large",
    "file_empty",
    "file_not_utf8",
    "file_link_loop",
    "files_too_many",
    "not_checked",
    "last_good_damaged",
];

#[test]
fn each_mistake_has_its_code_and_causes_no_other() {
    let mut wrong = String::new();
    for (code, text) in cases() {
        let report = match load(folder(&[("eventyard.toml", &text)]).path()) {
            Ok((_, warnings)) => warnings,
            Err(report) => report,
        };
        let placed = report.diagnostics().iter().all(|found| found.span.is_some() && !found.message.ends_with('.'));
        if codes(&report) != [code] || !placed {
            wrong.push_str(&format!("--- {code}\n{text}\n{report}\n"));
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn each_code_is_listed_and_has_a_case() {
    let listed: BTreeSet<&str> =
        crate::config::codes::CODES.iter().chain(eventyard_rules::codes::CODES).map(|(code, _)| *code).collect();
    let caused: BTreeSet<&str> = cases().into_iter().map(|(code, _)| code).chain(ELSEWHERE).collect();
    assert_eq!(listed, caused);
}
