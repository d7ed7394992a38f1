//! `split`: each element of a list is a delivery of its own, through the whole broker.

use std::path::Path;

use serde_json::{Value, json};

use super::support::{Broker, project, run, run_with};

const MAIN: &str = r#"
[server]
listen = "127.0.0.1:0"

[defaults]
retry = { attempts = 1 }

[sink.trash]
kind = "discard"

# Appends what it was given to a file of the element, and fails while told to.
[function.note]
runtime = "command"
command = ["sh", "-c", """
cat > note-$EVENTYARD_ELEMENT-$EVENTYARD_ATTEMPT.json
echo "$EVENTYARD_EVENT_ID $EVENTYARD_ELEMENT of $EVENTYARD_ELEMENT_COUNT" > env-$EVENTYARD_ELEMENT
test ! -e fail-$EVENTYARD_ELEMENT"""]
"#;

const RULES: &str = r#"
[[rule]]
name = "lines"
pattern = { type = ["order"] }
split = "data.lines"
target = { function = "note" }
[[rule.test]]
event = { type = "order", data = { lines = [1, 2, 3] } }
matches = true
deliveries = 3

[[rule]]
name = "shaped"
pattern = { type = ["order"] }
split = "data.lines"
[[rule.target]]
name = "both"
sink = "trash"
input = { paths = { order = "data.id", sku = "element.sku", n = "elementnumber", of = "elementcount", id = "id" }, template = '{"order": <order>, "sku": <sku>, "line": "<n>/<of>", "id": <id>}' }
[[rule.target]]
name = "data"
sink = "trash"
input = "data"
"#;

fn start(rules: &str) -> (Broker, tempfile::TempDir) {
    let folder = project(&[("eventyard.toml", MAIN), ("rules/all.toml", rules)]);
    (Broker::start("run", folder.path()), folder)
}

fn ask(broker: &Broker, folder: &Path, arguments: &[&str]) -> Value {
    let url = broker.url();
    let arguments: Vec<&str> = arguments.iter().copied().chain(["--url", &url, "--json"]).collect();
    let answer = run(&arguments, folder);
    serde_json::from_str(&answer.stdout).unwrap_or_else(|_| panic!("{}{}", answer.stdout, answer.stderr))
}

fn said(broker: &Broker, folder: &Path, arguments: &[&str]) -> String {
    let url = broker.url();
    let arguments: Vec<&str> = arguments.iter().copied().chain(["--url", &url]).collect();
    run(&arguments, folder).stdout
}

/// Sends an event and waits until nothing more happens to it; our id.
fn send(broker: &Broker, folder: &Path, ty: &str, data: &str) -> String {
    let sent = ask(broker, folder, &["events", "send", "--type", ty, "--id", ty, "--data", data, "--wait"]);
    let found = ask(broker, folder, &["events", "list", "--type", ty, "--limit", "1"]);
    found["items"][0]["event"].as_str().unwrap_or_else(|| panic!("{sent}")).to_owned()
}

fn letters(broker: &Broker, folder: &Path, rule: &str) -> Vec<Value> {
    ask(broker, folder, &["dead-letters", "list", "--rule", rule])["items"].as_array().unwrap().clone()
}

#[tokio::test]
async fn each_element_is_delivered_dies_and_is_replayed_by_itself() {
    let (mut broker, folder) = start(RULES);
    let path = folder.path();
    std::fs::write(path.join("fail-2"), "").unwrap();
    let data = r#"{"id": 7, "lines": [{"sku":"a","price":1.50}, {"sku":"b","price":12345678901234567890.10}, 3]}"#;
    let event = send(&broker, path, "order", data);

    let read = |name: &str| std::fs::read_to_string(path.join(name)).unwrap();
    let second: Value = serde_json::from_str(&read("note-2-1.json")).unwrap();
    assert_eq!(
        (&second["id"], &second["elementnumber"], &second["elementcount"]),
        (&json!("order#2"), &json!(2), &json!(3))
    );
    assert!(
        read("note-2-1.json").contains(r#""data":{"sku":"b","price":12345678901234567890.10}"#),
        "no digit is lost"
    );
    assert_eq!(read("env-3"), "order#3 3 of 3\n");

    let dead = letters(&broker, path, "lines");
    assert_eq!(dead.len(), 1, "the others are not held up: {dead:?}");
    assert_eq!(dead[0]["element"], json!({ "path": "data.lines", "number": 2, "count": 3 }));
    let id = dead[0]["id"].as_str().unwrap().to_owned();
    let shown = said(&broker, path, &["dead-letters", "show", &id]);
    assert!(shown.contains("  target   note (2 of 3)"), "{shown}");
    let shown = said(&broker, path, &["events", "show", &event]);
    assert!(shown.contains("lines → note (1 of 3): delivered"), "{shown}");
    let listed = ask(&broker, path, &["deliveries", "list", "--rule", "lines"]);
    assert_eq!(listed["items"].as_array().unwrap().len(), 3, "{listed}");

    broker.kill();
    std::fs::remove_file(path.join("fail-2")).unwrap();
    // The rule splits something else by now; the delivery is of the element that it was of.
    std::fs::write(
        path.join("rules/all.toml"),
        RULES.replace("\"data.lines\"", "\"data.others\"").replace("deliveries = 3", ""),
    )
    .unwrap();
    let broker = Broker::start("run", path);
    said(&broker, path, &["dead-letters", "replay", &id]);
    eventyard_connectors::http::install_crypto();
    let shown = reqwest::get(format!("{}/api/v1/events/{event}?wait=30s", broker.url())).await.unwrap();
    let shown = shown.text().await.unwrap();
    assert!(shown.contains(r#""settled":true"#), "{shown}");
    assert!(letters(&broker, path, "lines").is_empty(), "{shown}");
    assert_eq!(read("note-2-2.json"), read("note-2-1.json"), "a replay keeps the element");
}

#[test]
fn a_template_sees_the_element_and_the_event_and_a_target_can_be_tried() {
    let (broker, folder) = start(RULES);
    let path = folder.path();
    let url = broker.url();
    let event = r#"{"id":"A","type":"order","source":"/x","specversion":"1.0","data":{"id":7,"lines":[{"sku":1.0},{"sku":2}]}}"#;
    let given = |target: &str| {
        let tried = run_with(&["targets", "test", target, "--url", &url, "--file", "-", "--json"], path, event);
        let tried: Value = serde_json::from_str(&tried.stdout).unwrap_or_else(|_| panic!("{}", tried.stderr));
        assert_eq!(tried["outcome"], "succeeded", "{tried}");
        tried["given"].as_str().unwrap().to_owned()
    };
    assert_eq!(given("shaped/both"), r#"{"order": 7, "sku": 1.0, "line": "1/2", "id": "A#1"}"#);
    assert_eq!(given("shaped/data"), r#"{"sku":1.0}"#);
    let tried = ask(&broker, path, &["targets", "test", "shaped/data"]);
    assert_eq!(tried["outcome"], "succeeded", "an event of our own has a list with one element: {tried}");
    assert!(tried["given"].as_str().unwrap().contains("A test of the target"), "{tried}");
}

#[test]
fn what_cannot_be_split_is_a_dead_letter_and_an_empty_list_is_explained() {
    let (broker, folder) = start(RULES);
    let path = folder.path();
    let reasons = || -> Vec<Value> {
        let dead = letters(&broker, path, "shaped");
        dead.iter().map(|letter| letter["reason"]["code"].clone()).collect()
    };
    send(&broker, path, "order", r#"{"line": []}"#);
    assert_eq!(reasons(), ["split_no_list", "split_no_list"], "one for each target");
    assert_eq!(letters(&broker, path, "shaped")[0].get("element"), None);
    let letter = letters(&broker, path, "lines").remove(0);
    assert_eq!(letter["reason"]["message"], "the event has nothing at `data.lines`, where the rule splits a list");

    let event = r#"{"type":"order","data":{"lines":[]}}"#;
    let explained = run_with(&["explain", "-", "lines"], path, event).stdout;
    assert!(explained.contains("split data.lines: the list is empty, so nothing is delivered"), "{explained}");
    let sent = ask(&broker, path, &["events", "send", "--type", "order", "--id", "empty", "--data", r#"{"lines":[]}"#]);
    let id = sent["accepted"][0]["event"].as_str().unwrap();
    assert_eq!(sent["accepted"][0]["rules"], json!(["lines", "shaped"]), "{sent}");
    let shown = said(&broker, path, &["events", "show", id]);
    assert!(shown.contains("the list that lines splits is empty"), "{shown}");

    let many = format!(r#"{{"lines":[{}1]}}"#, "1,".repeat(10_000));
    std::fs::write(path.join("many.json"), format!(r#"{{"type":"order","id":"many","data":{many}}}"#)).unwrap();
    ask(&broker, path, &["events", "send", "many.json", "--wait"]);
    assert_eq!(reasons()[..2], ["split_limit", "split_limit"]);
}

#[test]
fn a_rule_that_splits_what_cannot_be_split_is_refused() {
    let refused = |rule: &str| {
        let rules = format!("[[rule]]\nname = \"lines\"\npattern = {{ type = [\"order\"] }}\n{rule}\n");
        let folder = project(&[("eventyard.toml", MAIN), ("rules/all.toml", &rules)]);
        let checked = run(&["check"], folder.path());
        assert_eq!(checked.code, 2, "{}", checked.stdout);
        checked.stdout + &checked.stderr
    };
    let told = refused("split = \"lines\"\ntarget = { sink = \"trash\" }");
    assert!(told.contains("bad_path") && told.contains("did you mean `data.lines`?"), "{told}");
    let told = refused("split = \"data.lines[0]\"\ntarget = { sink = \"trash\" }");
    assert!(told.contains("bad_path") && told.contains("`[` has no meaning"), "{told}");
    for target in ["function = \"note\", reply = true", "sink = \"trash\", input = \"object\""] {
        let told = refused(&format!("split = \"data.lines\"\ntarget = {{ {target} }}"));
        assert!(told.contains("split_target"), "{told}");
    }
    let test = "[[rule.test]]\nevent = { type = \"order\", data = { lines = [1, 2] } }\nmatches = true\ndeliveries = 3";
    let told = refused(&format!("split = \"data.lines\"\ntarget = {{ sink = \"trash\" }}\n{test}"));
    assert!(told.contains("should make 3 deliveries and makes 2"), "{told}");
}

/// `[limits] pending` counts elements before they are taken: one event may be very many deliveries.
#[test]
fn a_list_that_has_no_room_is_refused_whole_and_may_come_again() {
    let main = format!("{MAIN}\n[limits]\npending = 5\n");
    let rules = RULES.split("[[rule]]\nname = \"shaped\"").next().unwrap();
    let folder = project(&[("eventyard.toml", &main), ("rules/all.toml", rules)]);
    let path = folder.path();
    let broker = Broker::start("run", path);
    said(&broker, path, &["targets", "pause", "lines/note"]);
    let url = broker.url();
    let send = |id: &str, lines: &str| {
        let data = format!("{{\"lines\":[{lines}]}}");
        run(&["events", "send", "--type", "order", "--id", id, "--data", &data, "--url", &url], path)
    };
    let first = send("1", "1,2,3");
    assert_eq!(first.code, 0, "{}", first.stderr);
    let second = send("2", "1,2,3");
    assert!(second.code == 1 && second.stderr.contains("backlog_full"), "{}{}", second.stdout, second.stderr);
    assert_eq!(send("3", "1,2").code, 0, "what fits is taken");
    said(&broker, path, &["targets", "resume", "lines/note"]);
    let settled = || {
        let events = ask(&broker, path, &["events", "list", "--type", "order"]);
        events["items"].as_array().unwrap().iter().all(|event| event["settled"] == true)
    };
    assert!((0..1000).any(|_| settled()), "what was paused goes on");
    let alone = send("4", "1,2,3,4,5,6,7");
    assert_eq!(alone.code, 0, "what is over the limit by itself is taken when nothing waits: {}", alone.stderr);
}

/// The made-up event has a list where the rule that is tried splits, and not where its namesake elsewhere does.
#[test]
fn a_target_is_tried_by_the_rule_of_its_own_namespace() {
    let rule = |namespace: &str, target: &str| {
        format!(
            "[[rule]]\nname = \"same\"\nnamespace = \"{namespace}\"\npattern = {{ type = [\"order\"] }}\nsplit = \"data.{namespace}\"\n\
             target = {{ name = \"{target}\", event = {{ type = \"line\" }} }}\n\n"
        )
    };
    let (broker, folder) = start(&(rule("north", "up") + &rule("south", "down")));
    for target in ["same/up", "same/down"] {
        let tried = ask(&broker, folder.path(), &["targets", "test", target]);
        assert_eq!(tried["outcome"], "succeeded", "{tried:#}");
    }
    // Nor is a rule of another namespace one that an event of this one could be explained by, whatever it is called.
    let event = send(&broker, folder.path(), "order", "{}");
    let refused = run(&["explain", &event, "same", "--url", &broker.url()], folder.path());
    assert!(refused.stderr.contains("there is no rule `same`"), "{}", refused.stderr);
    assert!(!refused.stderr.contains("did you mean"), "{}", refused.stderr);
}
