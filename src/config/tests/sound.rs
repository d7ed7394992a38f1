//! What a sound project says.

use std::time::Duration;

use eventyard_rules::{Input, OrderAfterDead, TargetTo};

use super::{codes, folder, load, load_with, loaded, refused};
use crate::config::{AlertKind, Runtime, Tls};
use crate::retry::RetryPolicy;

const WHOLE: &str = r#"
[server]
listen = "127.0.0.1:8484"
token = { env = "EVENTYARD_TOKEN", default = "open-sesame" }
grace = "8s"
egress_allow = ["169.254.169.254", "10.0.0.0/8"]

[store]
dir = "data"
retention = "3d"
retention_size = "2GiB"

[limits]
event = "64KiB"
batch = 100
pending = 1000

[defaults]
retry = { attempts = 5 }

[source.github]
kind = "http"
path = "/hooks/github"
preset = "github"
secret = ["new-secret", "old-secret"]
tags = ["ci"]
dedupe = "24h"
type = "push.received"

[source.nightly]
kind = "timer"
schedule = "30 2 * * *"
timezone = "Europe/Berlin"
payload = { report = "sales", env = "prod" }

[function.resize]
runtime = "command"
command = ["sh", "resize.sh"]
environment = { LEVEL = "3", DB_PASSWORD = "hunter2-hunter2" }
timeout = "90s"

[sink.nowhere]
kind = "discard"

[channel.oncall]
kind = "webhook"
url = "http://127.0.0.1:9000/alerts"
alerts = ["dead_letter", "source_down", "rules_refused"]
"#;

const ORDERS: &str = r#"
[[rule]]
name = "big-orders"
from = ["github"]
tags = ["ci"]
order_by = "$.data.customer_id"
order_after_dead = "wait"
retry = { backoff = "2s" }
[rule.pattern]
type = ["order.created"]
data.amount = [{ numeric = [">", 1000] }]

[[rule.target]]
function = "resize"
retry = { attempts = 9, jitter = 0 }
timeout = "30s"
concurrency = 8

[[rule.target]]
http = { url = "http://127.0.0.1:9000/t", headers = { x-a = "b" }, auth = { kind = "bearer", token = "hunter2-hunter2" } }
input = "data"

[[rule.test]]
name = "small orders stay out"
event = { type = "order.created", data = { amount = 5 } }
matches = false

[[rule.test]]
event = { type = "order.created", data = { amount = 5000 } }
matches = true

[[rule]]
name = "all-of-it"
from = ["nightly"]
target = { sink = "nowhere" }
"#;

#[test]
fn a_project_says_what_its_files_say() {
    let folder = folder(&[("eventyard.toml", WHOLE), ("rules/orders.toml", ORDERS)]);
    let (project, warnings) = load(folder.path()).unwrap_or_else(|report| panic!("{report}"));
    assert!(warnings.is_empty(), "{warnings}");

    assert_eq!(project.server.token.as_ref().unwrap().reveal(), "open-sesame");
    assert_eq!(project.server.egress_allow.len(), 2);
    assert_eq!(project.server.tls, None);
    assert_eq!(project.store.dir, folder.path().join("data"));
    assert_eq!(project.store.retention_bytes, 2 << 30);
    assert_eq!(project.limits.event_bytes_max, 64 * 1024);

    let names: Vec<&str> = project.sources.iter().map(|source| source.name.as_str()).collect();
    assert_eq!(names, ["github", "nightly"]);
    let github = &project.sources[0];
    assert_eq!(github.settings.reveal()["secret"][1], "old-secret");
    assert_eq!(github.settings.reveal()["type"], "push.received");
    assert_eq!(github.settings.reveal()["dedupe"], 86_400_000);
    let payload = &project.sources[1].settings.reveal()["payload"];
    assert_eq!(payload["env"], "prod", "in data, `env` is a word like any other");

    let Runtime::Command(command) = &project.functions[0].runtime else { panic!("{:?}", project.functions[0]) };
    assert_eq!(command.command, ["sh", "resize.sh"]);
    assert_eq!(project.functions[0].timeout, Duration::from_secs(90));
    assert_eq!(project.channels[0].alerts, AlertKind::ALL);

    let rule = &project.rules[0];
    assert_eq!(rule.order_by.as_ref().unwrap().as_str(), "data.customer_id");
    assert_eq!(rule.order_after_dead, OrderAfterDead::Wait);
    assert_eq!(rule.targets[0].name.as_str(), "resize");
    assert_eq!(rule.targets[1].name.as_str(), "http");
    assert_eq!(rule.targets[1].input, Some(Input::Data));
    let TargetTo::Http(http) = &rule.targets[1].to else { panic!("an http target") };
    assert_eq!(http.reveal()["method"], "POST");
    assert_eq!(rule.tests.len(), 2);
    assert_eq!(rule.tests[1].event.event.source, "/sources/github");

    let policy = project.retry_policy(rule, &rule.targets[0]);
    assert_eq!((policy.attempts, policy.backoff), (9, Duration::from_secs(2)));
    let policy = project.retry_policy(rule, &rule.targets[1]);
    assert_eq!((policy.attempts, policy.backoff_max), (5, RetryPolicy::HTTP.backoff_max));
}

#[test]
fn no_secret_shows_in_what_a_project_shows() {
    let folder = folder(&[("eventyard.toml", WHOLE), ("rules/orders.toml", ORDERS)]);
    let (mut project, _) =
        load_with(folder.path(), &[("PATH", "/bin"), ("EVENTYARD_TOKEN", "hunter2-hunter2")]).unwrap();
    assert_eq!(project.server.token.as_ref().unwrap().reveal(), "hunter2-hunter2");
    // The files are what their owner wrote, and are kept as such.
    project.files.clear();
    let shown = format!("{project:?}");
    for secret in ["hunter2", "open-sesame", "new-secret", "old-secret"] {
        assert!(!shown.contains(secret), "{secret} in {shown}");
    }
    assert!(shown.contains("/hooks/github"), "what is no secret is shown");
}

#[test]
fn what_comes_from_the_environment_or_a_file_is_a_secret_under_any_key() {
    let main = r#"
[sink.s]
kind = "http"
url = { env = "URL" }
headers = { x-one = { file = "one.txt" }, x-two = "plain" }
"#;
    let folder = folder(&[("eventyard.toml", main), ("one.txt", "from-a-file\n")]);
    let (project, _) = load_with(folder.path(), &[("URL", "http://127.0.0.1:9/secret-path")]).unwrap();
    let settings = &project.sinks[0].settings;
    assert_eq!(settings.reveal()["headers"]["x-one"], "from-a-file", "without the line end");
    assert_eq!(settings.shown()["url"], "***");
    assert_eq!(settings.shown()["headers"]["x-one"], "***");
    assert_eq!(settings.shown()["headers"]["x-two"], "plain");
    assert_eq!(project.named_files, [folder.path().join("one.txt")]);
}

#[test]
fn the_hash_follows_files_and_what_stands_for_strings() {
    let main = "[server]\ntoken = { env = \"T\" }\n";
    let folder = folder(&[("eventyard.toml", main)]);
    let hash = |value: &str| load_with(folder.path(), &[("T", value)]).unwrap().0.hash;
    assert_eq!(hash("one"), hash("one"));
    assert_ne!(hash("one"), hash("two"));
    let before = hash("one");
    super::write(folder.path(), "rules/a.toml", "# nothing yet\n");
    assert_ne!(hash("one"), before);
}

#[test]
fn an_empty_project_is_one() {
    let project = loaded(&[("eventyard.toml", "")]);
    assert_eq!(project.server.listen.to_string(), "127.0.0.1:8484");
    assert_eq!(project.limits.pending, 5_000_000);
    assert!(project.rules.is_empty());
}

#[test]
fn the_paths_of_connectors_start_at_the_projects_folder() {
    let main = "[sink.near]\nkind = \"file\"\nfolder = \"received/near\"\n\
                [sink.far]\nkind = \"file\"\nfolder = \"/srv/far\"\n";
    let folder = folder(&[("eventyard.toml", main)]);
    let (project, _) = load(folder.path()).unwrap();
    let of = |name: &str| {
        let sink = project.sinks.iter().find(|sink| sink.name.as_str() == name).unwrap();
        sink.settings.reveal()["folder"].clone()
    };
    assert_eq!(of("near"), folder.path().join("received/near").to_str().unwrap());
    assert_eq!(of("far"), "/srv/far");
    let empty = main.replace("/srv/far", "");
    assert_eq!(codes(&refused(&[("eventyard.toml", &empty)])), ["bad_value"]);
}

#[test]
fn a_restart_is_needed_for_the_server_and_the_store_alone() {
    let one = loaded(&[("eventyard.toml", "")]);
    let mut two = loaded(&[(
        "eventyard.toml",
        "[server]\nlisten = \"127.0.0.1:1\"\n[store]\nretention = \"1d\"\n[limits]\nbatch = 5\n",
    )]);
    two.store.dir.clone_from(&one.store.dir);
    assert_eq!(one.restart_needed(&two), ["[server] listen", "[store] retention"]);
    assert!(one.restart_needed(&one).is_empty());
}

#[test]
fn off_loopback_a_token_and_tls_are_needed() {
    let codes_of = |text: &str| codes(&refused(&[("eventyard.toml", text)]));
    assert_eq!(codes_of("[server]\nlisten = \"0.0.0.0:8484\"\n"), ["listen_insecure"]);
    assert_eq!(codes_of("[server]\nlisten = \"0.0.0.0:8484\"\ntoken = \"t-t-t\"\n"), ["listen_insecure"]);
    assert_eq!(codes_of("[server]\nlisten = \"0.0.0.0:8484\"\ntls = \"proxy\"\n"), ["listen_insecure"]);
    let whole = "[server]\nlisten = \"0.0.0.0:8484\"\ntoken = \"t-t-t\"\ntls = \"proxy\"\n";
    assert_eq!(loaded(&[("eventyard.toml", whole)]).server.tls, Some(Tls::Proxy));
    let unproved = format!("{whole}[source.a]\nkind = \"http\"\npath = \"/a\"\n");
    assert_eq!(codes_of(&unproved), ["verify_required"]);
    loaded(&[("eventyard.toml", &format!("{unproved}verify = {{ kind = \"none\" }}\n"))]);
}

#[test]
fn a_failing_test_of_a_rule_keeps_the_project_from_loading() {
    let rules = "[[rule]]\nname = \"a\"\npattern = { type = [\"x\"] }\ntarget = { sink = \"s\" }\n\
                 [[rule.test]]\nname = \"t\"\nevent = { type = \"y\" }\nmatches = true\n";
    let report = refused(&[("eventyard.toml", "[sink.s]\nkind = \"discard\"\n"), ("rules/a.toml", rules)]);
    assert_eq!(codes(&report), ["rule_test_failed"]);
    let text = report.render(false);
    assert!(text.contains("type is \"y\", wanted is [\"x\"]"), "{text}");
}

#[test]
fn a_test_may_take_its_event_from_a_file_digit_for_digit() {
    let rules = "[[rule]]\nname = \"a\"\npattern = { data.n = [18446744073709551616.0] }\ntarget = { sink = \"s\" }\n\
                 [[rule.test]]\nfile = \"events/big.json\"\nmatches = false\n";
    let project = loaded(&[
        ("eventyard.toml", "[sink.s]\nkind = \"discard\"\n"),
        ("rules/a.toml", rules),
        ("events/big.json", "{\"type\": \"t\", \"data\": {\"n\": 18446744073709551617123}}"),
    ]);
    assert_eq!(project.rules[0].tests[0].event.event.data.bytes(), b"{\"n\": 18446744073709551617123}");
    assert_eq!(project.named_files.len(), 1);
}

#[test]
fn certain_circles_of_events_are_refused_and_possible_ones_are_not() {
    let rule = |name: &str, ty: &str, more: &str, makes: &str| {
        format!(
            "[[rule]]\nname = \"{name}\"\npattern = {{ type = [\"{ty}\"]{more} }}\ntarget = {{ event = {{ type = \"{makes}\" }} }}\n"
        )
    };
    let circle = format!("{}{}", rule("one", "a", "", "b"), rule("two", "b", "", "a"));
    let report = refused(&[("eventyard.toml", &circle)]);
    assert_eq!(codes(&report), ["event_cycle"]);
    assert!(report.render(false).contains("`one` → `two` → `one`"), "{report}");
    let own = rule("one", "a", "", "a");
    assert_eq!(codes(&refused(&[("eventyard.toml", &own)])), ["event_cycle"]);
    let depends = format!("{}{}", rule("one", "a", "", "b"), rule("two", "b", ", data.x = [1]", "a"));
    loaded(&[("eventyard.toml", &depends)]);
    let chain = format!("{}{}", rule("one", "a", "", "b"), rule("two", "b", "", "c"));
    loaded(&[("eventyard.toml", &chain)]);
}

/// A project with one function, and what its target says beside the function.
fn answering(more: &str) -> String {
    format!(
        "[function.f]\nruntime = \"command\"\ncommand = [\"true\"]\n[sink.s]\nkind = \"discard\"\n\
         [[rule]]\nname = \"a\"\npattern = {{ type = [\"x\"] }}\n{more}\n"
    )
}

#[test]
fn a_functions_answer_may_go_on_and_makes_circles_like_any_event() {
    let target = |more: &str| answering(&format!("target = {{ function = \"f\", {more} }}"));
    let project = loaded(&[("eventyard.toml", &target("answer = { type = \"y\", content_type = \"text/plain\" }"))]);
    let answer = project.rules[0].targets[0].answer.as_ref().unwrap();
    assert_eq!((answer.event.ty.as_str(), answer.content_type.as_deref()), ("y", Some("text/plain")));
    let circle = refused(&[("eventyard.toml", &target("answer = { type = \"x\" }"))]);
    assert_eq!(codes(&circle), ["event_cycle"]);
    for wrong in ["answer = { type = \"y\", content_type = \"nope\" }", "answer = { type = \"eventyard.y\" }"] {
        assert_eq!(codes(&refused(&[("eventyard.toml", &target(wrong))])), ["bad_value"], "{wrong}");
    }
    let sink = answering("target = { sink = \"s\", answer = { type = \"y\" } }");
    assert_eq!(codes(&refused(&[("eventyard.toml", &sink)])), ["bad_value"]);
}

#[test]
fn an_object_has_a_limit_and_nothing_else_has_it() {
    let target = |more: &str| answering(&format!("target = {{ function = \"f\", {more} }}"));
    let project = loaded(&[("eventyard.toml", &target("input = \"object\", object_max = \"64KiB\""))]);
    let target_of = &project.rules[0].targets[0];
    assert_eq!((&target_of.input, target_of.object_bytes_max), (&Some(Input::Object), Some(65536)));
    for wrong in ["object_max = \"64KiB\"", "input = \"raw\", object_max = \"64KiB\""] {
        assert_eq!(codes(&refused(&[("eventyard.toml", &target(wrong))])), ["bad_value"], "{wrong}");
    }
    assert_eq!(
        codes(&refused(&[("eventyard.toml", &target("input = \"object\", object_max = \"2GiB\""))])),
        ["out_of_range"]
    );
}
