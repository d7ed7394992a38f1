//! Templates: what the page about them shows is what comes out, and what nothing can be made of is a dead letter.

use std::path::Path;

use eventyard_event::{Envelope, EventId, Limits, Name, Timestamp, json};
use eventyard_rules::Input;
use eventyard_rules::transform::{Seen, Subject};
use serde_json::Value;

use super::support::{Broker, project, run, run_with};

/// Who is called in these tests.
const MAIN: &str = r#"
[server]
listen = "127.0.0.1:0"

[source.shop]
kind = "http"
path = "/shop"

[sink.trash]
kind = "discard"

[function.echo]
runtime = "command"
command = ["cat"]
"#;

fn page() -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/transform.md")).unwrap()
}

/// The fenced blocks of a page, each with its language.
fn blocks(page: &str) -> Vec<(&str, &str)> {
    let mut blocks = Vec::new();
    let mut rest = page;
    while let Some((_, after)) = rest.split_once("\n```") {
        let (language, after) = after.split_once('\n').unwrap();
        let (block, after) = after.split_once("\n```").unwrap();
        blocks.push((language, block));
        rest = after;
    }
    blocks
}

/// What the input of the rule `orders` makes of an event.
fn made(input: &str, event: &str) -> String {
    let rule = format!("[[rule]]\nname = \"orders\"\nfrom = [\"shop\"]\n[[rule.target]]\nsink = \"trash\"\n{input}\n");
    let folder = project(&[("eventyard.toml", MAIN), ("rules/orders.toml", &rule)]);
    let (project, _) =
        eventyard::config::load(folder.path(), &|_| None).unwrap_or_else(|report| panic!("{}", report.render(false)));
    let Some(Input::Template(transform)) = project.rules[0].targets[0].input.clone() else { panic!("{input}") };
    let (event, shape) = json::read_structured(&event.to_owned().into(), &Limits::default()).unwrap();
    let envelope = Envelope {
        id: EventId::from_bytes([0; 16]),
        namespace: Name::default_namespace(),
        source_name: Name::new("shop").unwrap(),
        tags: Vec::new(),
        received_at: Timestamp::EPOCH,
        hop_count: 0,
        keys_unique: shape.keys_unique,
        event,
    };
    let seen = Seen {
        subject: Subject::Event(&envelope),
        rule_name: "orders",
        rule_arn: "/rules/default/orders",
        ingestion_time: &envelope.received_at.to_string(),
    };
    transform.apply(&seen).unwrap().text
}

#[test]
fn the_page_about_templates_tells_the_truth() {
    let page = page();
    let blocks = blocks(&page);
    let event = blocks.iter().find(|(language, _)| *language == "json").unwrap().1;
    let mut shown = 0;
    for pair in blocks.windows(2) {
        if let [("toml target", input), ("text", wanted)] = pair {
            assert_eq!(&made(input, event), wanted, "{input}");
            shown += 1;
        }
    }
    assert_eq!(shown, blocks.iter().filter(|(language, _)| *language == "text").count());
    assert!(shown >= 5);
    let whole = blocks.iter().find(|(_, block)| block.starts_with("# rules/")).unwrap().1;
    let folder = project(&[("eventyard.toml", MAIN), ("rules/orders.toml", whole)]);
    let checked = run(&["check"], folder.path());
    assert_eq!(checked.code, 0, "{}{}", checked.stdout, checked.stderr);
}

/// A rule for events of this type.
fn rule(ty: &str, target: &str) -> String {
    format!("[[rule]]\nname = \"{ty}\"\npattern = {{ type = [\"{ty}\"] }}\ntarget = {{ {target} }}\n")
}

/// The broker and its folder.
fn broker(rules: &[String]) -> (Broker, tempfile::TempDir) {
    let folder = project(&[("eventyard.toml", MAIN), ("rules/all.toml", &rules.concat())]);
    (Broker::start("run", folder.path()), folder)
}

/// Sends an event of this type and waits for its fate; the dead letter's reason where it had to be given up.
fn fate(broker: &Broker, folder: &Path, ty: &str, data: &str) -> Option<Value> {
    let url = broker.url();
    let _ = run(&["events", "send", "--url", &url, "--type", ty, "--data", data, "--wait"], folder);
    let listed = run(&["dead-letters", "list", "--url", &url, "--rule", ty, "--json"], folder);
    let listed: Value = serde_json::from_str(&listed.stdout).unwrap();
    let reason = listed["items"].get(0)?["reason"].clone();
    Some(reason)
}

/// What a target was given, as a function that repeats it says.
fn given(broker: &Broker, folder: &Path, target: &str, event: &str) -> String {
    let arguments = ["targets", "test", target, "--url", &broker.url(), "--file", "-", "--json"];
    let tried = run_with(&arguments, folder, event);
    let tried: Value =
        serde_json::from_str(&tried.stdout).unwrap_or_else(|_| panic!("{}{}", tried.stdout, tried.stderr));
    assert_eq!(tried["outcome"], "succeeded", "{tried}");
    assert_eq!(tried["given"], tried["response"], "{tried}");
    tried["response"].as_str().unwrap().to_owned()
}

/// Rows T1, T2 and T3, through the whole broker.
#[test]
fn a_target_is_given_what_the_template_makes_or_the_event_is_a_dead_letter() {
    let id = "paths = { id = \"data.id\" }";
    let (broker, folder) = broker(&[
        rule(
            "gap",
            &format!("function = \"echo\", input = {{ {id}, template = '{{\"id\": <id>, \"t\": \"n <id>\"}}' }}"),
        ),
        rule("strict", &format!("sink = \"trash\", input = {{ {id}, strict = true, template = '[<id>]' }}")),
        rule("quotes", &format!("sink = \"trash\", input = {{ {id}, template = '[\"<id>\"]' }}")),
        rule("large", &format!("sink = \"trash\", input = {{ {id}, template = '[<id>,<id>,<id>,<id>]' }}")),
        rule("names", "function = \"echo\", input = { template = '\"<aws.events.rule-name> <aws.events.rule-arn>\"' }"),
        rule("chain", &format!("event = {{ type = \"chained\" }}, input = {{ {id}, template = '{{\"was\": <id>}}' }}")),
        rule(
            "chained",
            "function = \"echo\", input = { paths = { was = \"data.was\" }, strict = true, template = '<was>' }",
        ),
    ]);
    let path = folder.path();
    let event = |data: &str| format!("{{\"type\":\"x\",\"data\":{data}}}");

    assert_eq!(given(&broker, path, "gap/echo", &event("{\"id\":1.50}")), r#"{"id": 1.50, "t": "n 1.50"}"#);
    assert_eq!(given(&broker, path, "gap/echo", &event("{}")), r#"{"id": "", "t": "n "}"#);
    let told = run_with(&["targets", "test", "gap/echo", "--url", &broker.url(), "--file", "-"], path, &event("{}"));
    assert!(told.stdout.contains("  given {\"id\": \"\", \"t\": \"n \"}"), "{}", told.stdout);
    let nasty = event(r#"{"id":"\",\"admin\":true,\"\r\nx: y"}"#);
    let inside = r#"\",\"admin\":true,\"\r\nx: y"#;
    assert_eq!(given(&broker, path, "gap/echo", &nasty), format!("{{\"id\": \"{inside}\", \"t\": \"n {inside}\"}}"));
    assert_eq!(given(&broker, path, "names/echo", &event("1")), "\"names /rules/default/names\"");

    assert_eq!(fate(&broker, path, "strict", "{\"id\":null}"), None);
    let reason = fate(&broker, path, "strict", "{}").unwrap();
    assert_eq!(reason["code"], "input_missing_path");
    assert!(reason["message"].as_str().unwrap().contains("data.id"), "{reason}");
    let reason = fate(&broker, path, "quotes", "{\"id\":{}}").unwrap();
    assert_eq!(reason["code"], "input_in_quotes");
    let large = format!("{{\"id\":\"{}\"}}", "x".repeat(300_000));
    std::fs::write(path.join("large.json"), large).unwrap();
    assert_eq!(fate(&broker, path, "large", "@large.json").unwrap()["code"], "template_limit");

    assert_eq!(fate(&broker, path, "chain", "{\"id\":7}"), None);
    let url = broker.url();
    let chained = run(&["events", "list", "--url", &url, "--type", "chained", "--json"], path);
    let chained: Value = serde_json::from_str(&chained.stdout).unwrap();
    let event = chained["items"][0]["event"].as_str().unwrap();
    let shown = run(&["events", "show", event, "--url", &url, "--json"], path);
    assert!(shown.stdout.replace(' ', "").contains(r#""data":{"was":7}"#), "{}", shown.stdout);

    // The reason is told where people look.
    let listed = run(&["dead-letters", "list", "--url", &url, "--rule", "strict", "--json"], path);
    let listed: Value = serde_json::from_str(&listed.stdout).unwrap();
    let shown = run(&["dead-letters", "show", listed["items"][0]["id"].as_str().unwrap(), "--url", &url], path);
    assert!(shown.stdout.contains("input_missing_path") && shown.stdout.contains("data.id"), "{}", shown.stdout);
}

/// Row T4.
#[test]
fn an_event_cannot_say_which_machine_is_called() {
    for url in ["http://{data.host}/orders", "https://<host>/orders", "http://{data.host}:9000", "http://a@{x}/"] {
        let target =
            format!("[[rule]]\nname = \"a\"\nfrom = [\"shop\"]\ntarget = {{ http = {{ url = \"{url}\" }} }}\n");
        let folder = project(&[("eventyard.toml", MAIN), ("rules/a.toml", &target)]);
        let checked = run(&["check"], folder.path());
        assert_eq!(checked.code, 2, "{url}");
        assert!(checked.stdout.contains("bad_url"), "{url}: {}{}", checked.stdout, checked.stderr);
    }
}

/// A webhook of XML, a form and a table: rules look into them, and targets get the bytes.
#[tokio::test]
async fn rules_look_into_what_is_no_json() {
    let rule = |name: &str, pattern: &str, target: &str| {
        format!("[[rule]]\nname = \"{name}\"\nfrom = [\"shop\"]\npattern = '''{pattern}'''\ntarget = {{ {target} }}\n")
    };
    let (broker, _folder) = broker(&[
        rule("xml", r#"{"data": {"order": {"@id": ["7"]}}}"#, "sink = \"trash\""),
        rule("form", r#"{"data": {"sku": ["b c"]}}"#, "sink = \"trash\""),
        rule("table", r#"{"data": {"count": ["2"]}}"#, "sink = \"trash\""),
    ]);
    for (content_type, body, wanted) in [
        ("text/xml; charset=utf-8", "<order id='7'><sku>a</sku></order>", "xml"),
        ("application/x-www-form-urlencoded", "sku=a&sku=b+c", "form"),
        ("text/csv", "sku,count\na,2\n", "table"),
    ] {
        let head = format!("POST /shop HTTP/1.1\ncontent-type: {content_type}");
        let answer = super::wire::request(broker.address(), &head, body).await;
        assert_eq!(answer.status, 202, "{answer:?}");
        assert_eq!(answer.json()["accepted"][0]["rules"], serde_json::json!([wanted]), "{content_type}");
    }
    let bomb = "<!DOCTYPE l [<!ENTITY a 'x'><!ENTITY b '&a;&a;'>]><order id='7'>&b;</order>";
    let answer = super::wire::request(broker.address(), "POST /shop HTTP/1.1\ncontent-type: text/xml", bomb).await;
    assert_eq!((answer.status, &answer.json()["accepted"][0]["rules"]), (202, &serde_json::json!([])));
}

/// A test of a rule holds what a target would receive against what it says, and shows both where they differ.
#[test]
fn a_rule_test_may_say_what_a_target_receives() {
    let checked = |tests: &str| {
        let rule = "[[rule]]\nname = \"orders\"\npattern = { type = [\"order\"] }\n[[rule.target]]\nname = \"shaped\"\nsink = \
             \"trash\"\ninput = { paths = { id = \"data.id\" }, strict = true, template = '{\"order\": <id>, \"n\": [1]}' }\n\
             [[rule.target]]\nname = \"raw\"\nsink = \"trash\"\n";
        let folder = project(&[("eventyard.toml", MAIN), ("rules/orders.toml", &format!("{rule}{tests}"))]);
        let tested = run(&["rules", "test"], folder.path());
        (tested.code, tested.stdout + &run(&["check"], folder.path()).stdout)
    };
    let test = |rest: &str| {
        format!("[[rule.test]]\nevent = {{ type = \"order\", data = {{ id = 7 }} }}\nmatches = true\n{rest}\n")
    };
    for good in [
        "target = \"shaped\"\npayload = { n = [1.0], order = 7 }",
        "target = \"shaped\"\npayload = '{\"order\": 7, \"n\": [1]}'",
        "target = \"raw\"\npayload = { id = 7 }",
    ] {
        let (code, said) = checked(&test(good));
        assert_eq!(code, 0, "{said}");
    }
    let (code, said) = checked(&test("target = \"shaped\"\npayload = { n = [1], order = 8 }"));
    assert_eq!(code, 1, "{said}");
    let differs = r#"`shaped` should receive {"n":[1],"order":8} and would receive {"order": 7, "n": [1]}"#;
    assert_eq!(said.matches(differs).count(), 2, "by both commands: {said}");
    let gap = test("target = \"shaped\"\npayload = 1").replace("id = 7", "no = 7");
    let (_, said) = checked(&gap);
    assert!(said.contains("would receive nothing: ") && said.contains("[input_missing_path]"), "{said}");
    for (bad, why) in [
        ("payload = 1", "set `target` to one of `shaped`, `raw`"),
        ("payload = 1\ntarget = \"other\"", "does not say which target"),
        ("target = \"raw\"", "`target` means nothing without `payload`"),
    ] {
        let (code, said) = checked(&test(bad));
        assert!(code == 2 && said.contains(why), "{said}");
    }
}
