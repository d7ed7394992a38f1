//! The document that describes the API says what the broker does: no route, parameter, field or status more or less.
//!
//! Whoever adds a call adds it to the table in `src/api/calls.rs`, and a request for it to [`REQUESTS`].

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use eventyard_store::DeliveryState;
use serde_json::{Value, json};

use crate::http_broker::{HttpBroker, start, start_with_token};
use crate::support::{Broker, free_port};
use crate::wire::request;

/// A request for each call, and the status that it is answered with: `{event}` stands for our id of an event whose
/// delivery is dead, `CLOUDEVENT` for an event. Calls whose answer has no end (`text/event-stream`) are left out.
const REQUESTS: &[(&str, &str, &str, u16)] = &[
    ("POST", "/events", "CLOUDEVENT", 202),
    ("GET", "/healthz", "", 200),
    ("GET", "/readyz", "", 200),
    ("GET", "/metrics", "", 200),
    ("GET", "/api/v1/status", "", 200),
    ("GET", "/api/v1/events", "", 200),
    ("GET", "/api/v1/events/{event}", "", 200),
    ("GET", "/api/v1/deliveries", "", 200),
    ("GET", "/api/v1/deliveries/{event}-0", "", 200),
    // Its delivery is dead by then.
    ("POST", "/api/v1/deliveries/{event}-0/retry", "", 409),
    ("POST", "/api/v1/deliveries/{event}-0/cancel", "", 409),
    ("GET", "/api/v1/dead-letters", "", 200),
    ("GET", "/api/v1/dead-letters/{event}-0", "", 200),
    ("DELETE", "/api/v1/dead-letters", r#"{"all": true, "dry_run": true}"#, 200),
    ("POST", "/api/v1/dead-letters/replay", r#"{"all": true, "dry_run": true}"#, 202),
    ("GET", "/api/v1/rules", "", 200),
    ("GET", "/api/v1/rules/big-orders", "", 200),
    ("GET", "/api/v1/targets", "", 200),
    ("POST", "/api/v1/targets/big-orders/http/pause", "", 200),
    ("POST", "/api/v1/targets/big-orders/http/resume", "", 200),
    ("POST", "/api/v1/targets/big-orders/http/test", r#"{"cloudevent": CLOUDEVENT}"#, 200),
    ("GET", "/api/v1/sources", "", 200),
    ("GET", "/api/v1/sources/nightly", "", 200),
    ("POST", "/api/v1/sources/nightly/pause", "", 200),
    ("POST", "/api/v1/sources/nightly/resume", "", 200),
    ("POST", "/api/v1/sources/nightly/fire", "", 200),
    // A timer's instants are not kept anywhere.
    ("POST", "/api/v1/sources/nightly/seek", r#"{"to":"earliest"}"#, 409),
    ("GET", "/api/v1/channels", "", 200),
    ("GET", "/api/v1/channels/oncall", "", 200),
    // The test of a channel ends with its first attempt, and nobody attempts anything here.
    ("POST", "/api/v1/channels/nobody/test", "", 404),
    ("POST", "/api/v1/explain", r#"{"cloudevent": CLOUDEVENT}"#, 200),
    // It was not started from a folder that could be read again.
    ("POST", "/api/v1/reload", "", 422),
    ("GET", "/api/v1/openapi.json", "", 200),
];

const CLOUDEVENT: &str =
    r#"{"specversion": "1.0", "id": "7", "source": "/shop", "type": "order.created", "data": {"amount": 1200}}"#;

async fn document(server: &HttpBroker) -> Value {
    let answer = server.get("/api/v1/openapi.json").await;
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")));
    answer.json()
}

/// Every operation of a document: its method in capitals, its path, and what is said of it.
fn operations(document: &Value) -> Vec<(String, String, &Value)> {
    let paths = document["paths"].as_object().unwrap();
    let methods = paths.iter().flat_map(|(path, methods)| {
        methods.as_object().unwrap().iter().map(move |(method, told)| (method.to_uppercase(), path.clone(), told))
    });
    methods.collect()
}

/// A path with something in place of its parameters.
fn filled(path: &str) -> String {
    let id = "01993b1e-7c55-7d2a-9a50-3c1f6f0e9d11";
    path.replace("{event}", id)
        .replace("{id}", &format!("{id}-0"))
        .replace("{rule}", "r")
        .replace("{target}", "t")
        .replace("{name}", "n")
}

fn fits(pattern: &str, path: &str) -> bool {
    let (mut wanted, mut found) = (pattern.split('/'), path.split('/'));
    loop {
        match (wanted.next(), found.next()) {
            (None, None) => return true,
            (Some(wanted), Some(found)) if wanted.starts_with('{') || wanted == found => {}
            _ => return false,
        }
    }
}

#[tokio::test]
async fn each_path_takes_the_methods_that_are_described_and_no_other() {
    let server = start().await;
    let document = document(&server).await;
    for (path, methods) in document["paths"].as_object().unwrap() {
        let mut described: BTreeSet<String> =
            methods.as_object().unwrap().keys().map(|word| word.to_uppercase()).collect();
        if described.contains("GET") {
            described.insert("HEAD".to_owned());
        }
        // A method that no call has: asking with one that is there would do what the call does.
        let answer = request(server.address, &format!("PUT {} HTTP/1.1", filled(path)), "").await;
        assert_eq!(answer.status, 405, "{path} is described and not served: {answer:?}");
        let allowed: BTreeSet<String> =
            answer.header("allow").unwrap_or_default().split(',').map(|word| word.trim().to_owned()).collect();
        assert_eq!(allowed, described, "{path}");
    }
}

#[test]
fn the_router_is_made_from_the_table_alone() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = vec![folder.join("api.rs")];
    files.extend(std::fs::read_dir(folder.join("api")).unwrap().map(|entry| entry.unwrap().path()));
    for file in files.iter().filter(|file| file.is_file()) {
        let text = std::fs::read_to_string(file).unwrap();
        let routes = text.matches(".route(").count() + text.matches(".nest(").count() + text.matches(".merge(").count();
        let meant = usize::from(file.ends_with("src/api.rs"));
        assert_eq!(routes, meant, "{}: a call is added to the table in src/api/calls.rs", file.display());
    }
}

#[tokio::test]
async fn each_call_knows_the_parameters_that_are_described_and_no_other() {
    let server = start().await;
    for (method, path, told) in operations(&document(&server).await) {
        if !path.starts_with("/api/") {
            continue;
        }
        let described: Vec<&str> = told["parameters"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|param| param["in"] == "query")
            .map(|param| param["name"].as_str().unwrap())
            .collect();
        let answer = server.call(&method, &format!("{}?zz9=1", filled(&path)), "{}").await;
        assert_eq!((answer.status, answer.code().as_str()), (400, "unknown_parameter"), "{method} {path}");
        let fix = answer.json()["fix"].as_str().unwrap().to_owned();
        let known = match fix.strip_prefix("this call knows: ") {
            Some(known) => known.split(", ").collect(),
            None => Vec::new(),
        };
        let (described, known): (BTreeSet<&str>, BTreeSet<&str>) =
            (described.into_iter().collect(), known.into_iter().collect());
        assert_eq!(described, known, "{method} {path}: the table in src/api/calls.rs, and what Query::read is given");
    }
}

/// Lets no object hold more than is described, so that a field which nobody described is found.
fn make_strict(schema: &mut Value) {
    match schema {
        Value::Object(members) => {
            if members.contains_key("properties") && !members.contains_key("additionalProperties") {
                members.insert("additionalProperties".to_owned(), json!(false));
            }
            members.values_mut().for_each(make_strict);
        }
        Value::Array(items) => items.iter_mut().for_each(make_strict),
        _ => {}
    }
}

/// A validator for one of an operation's answers.
fn validator(document: &Value, schema: &Value) -> jsonschema::Validator {
    let mut components = document["components"].clone();
    for schema in components["schemas"].as_object_mut().unwrap().values_mut() {
        make_strict(schema);
    }
    let whole = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "components": components,
        "allOf": [schema],
    });
    jsonschema::options().should_validate_formats(true).build(&whole).unwrap()
}

#[tokio::test]
async fn every_answer_is_as_described_and_holds_nothing_more() {
    let server = start().await;
    let event = server.big_order("1").await;
    server.store.all_become(DeliveryState::Dead);
    let document = document(&server).await;
    let mut asked = BTreeSet::new();
    for (method, path, body, status) in REQUESTS {
        let (path, body) = (path.replace("{event}", &event), body.replace("CLOUDEVENT", CLOUDEVENT));
        let operations = operations(&document);
        let (_, described, told) = operations
            .iter()
            .find(|(its_method, its_path, _)| its_method == method && fits(its_path, &path))
            .unwrap_or_else(|| panic!("{method} {path} is not described: add it to src/api/calls.rs"));
        let content_type = if path == "/events" { "application/cloudevents+json" } else { "application/json" };
        let head = format!("{method} {path} HTTP/1.1\ncontent-type: {content_type}");
        let answer = request(server.address, &head, &body).await;
        assert_eq!(answer.status, *status, "{method} {path}: {answer:?}");
        let contents = &told["responses"][status.to_string()]["content"];
        let sent = answer.header("content-type").unwrap().split(';').next().unwrap().to_owned();
        let schema = contents.get(&sent).unwrap_or_else(|| panic!("{method} {path}: {status} {sent} is not described"));
        if sent.ends_with("json") {
            let answered = answer.json();
            let errors: Vec<String> = validator(&document, &schema["schema"])
                .iter_errors(&answered)
                .map(|error| format!("{}: {error}", error.instance_path()))
                .collect();
            assert!(errors.is_empty(), "{method} {path}: {errors:#?}\n{answered:#}");
        }
        asked.insert((method.to_string(), described.clone()));
    }
    for (method, path, told) in operations(&document) {
        let endless = told["responses"]["200"]["content"].get("text/event-stream").is_some();
        let tested = asked.contains(&(method.clone(), path.clone())) || endless;
        assert!(tested, "add a request for {method} {path} to REQUESTS in tests/openapi.rs");
    }
}

#[tokio::test]
async fn the_document_asks_for_a_token_where_the_broker_does() {
    let server = start_with_token("t0ken").await;
    assert_eq!(server.get("/api/v1/openapi.json").await.status, 401);
    let head = "GET /api/v1/openapi.json HTTP/1.1\nauthorization: Bearer t0ken";
    let document = request(server.address, head, "").await.json();
    for (_, path, told) in operations(&document) {
        let answer = request(server.address, &format!("PUT {} HTTP/1.1", filled(&path)), "").await;
        let asks = told["security"] != json!([]);
        assert_eq!(answer.status == 401, asks, "{path}");
    }
}

/// A program of target/venv, which `./test` fills; `None`, and said, where it is not there.
#[expect(clippy::print_stderr, reason = "a test that is skipped says so")]
fn python_tool(name: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/venv/bin").join(name);
    if !path.exists() {
        eprintln!("skipped: {name} is not in target/venv; ./test puts it there");
    }
    path.exists().then_some(path)
}

#[tokio::test]
async fn the_document_is_valid_openapi() {
    let Some(python) = python_tool("openapi-spec-validator").and_then(|_| python_tool("python")) else { return };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("openapi.json");
    std::fs::write(&file, document(&start().await).await.to_string()).unwrap();
    let ended = Command::new(python).args(["-m", "openapi_spec_validator"]).arg(&file).output().unwrap();
    let told = String::from_utf8_lossy(&ended.stdout).into_owned() + &String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.success(), "{told}");
}

const PROJECT: &str = r#"
[source.anything]
kind = "http"
path = "/in/{kind}"

[source.nightly]
kind = "timer"
schedule = "30 2 * * *"

[sink.nowhere]
kind = "discard"

[[rule]]
name = "everything"
pattern = { type = [{ anything-but = { prefix = "eventyard." } }] }
target = { sink = "nowhere" }
"#;

/// A cursor is what an earlier page said and nothing else, so that none can be made up. No document can say that
/// events of any content type need `ce-` headers, while those that name CloudEvents there need none; nor that a whole
/// number of an event is written without a fraction, as CloudEvents wants it (to JSON Schema `5.0` is whole too).
const SCHEMATHESIS: &str = r#"
[parameters]
"query.cursor" = ""

[[operations]]
include-path = "/events"
checks.positive_data_acceptance.enabled = false

[[operations]]
include-path = "/api/v1/explain"
checks.positive_data_acceptance.enabled = false
"#;

/// Lets schemathesis loose on the running program: thousands of requests that fit the document and that do not.
fn hold_against_schemathesis(token: Option<&str>) {
    let Some(schemathesis) = python_tool("schemathesis") else { return };
    let folder = tempfile::tempdir().unwrap();
    let server = format!("[server]\nlisten = \"127.0.0.1:{}\"\n", free_port());
    let locked = token.map(|token| format!("token = \"{token}\"\n")).unwrap_or_default();
    std::fs::write(folder.path().join("eventyard.toml"), server + &locked + PROJECT).unwrap();
    let broker = Broker::start("run", folder.path());
    std::fs::write(folder.path().join("schemathesis.toml"), SCHEMATHESIS).unwrap();
    let mut command = Command::new(schemathesis);
    command
        .arg("run")
        .arg(format!("{}/api/v1/openapi.json", broker.url()))
        // An answer without an end cannot be waited for.
        .args(["--exclude-path", "/api/v1/live"])
        // What a token changes shows in the first two phases.
        .args(["--phases", if token.is_some() { "examples,coverage" } else { "examples,coverage,fuzzing" }])
        .args(["--max-examples", "10", "--seed", "1", "--no-color"])
        .args(["--request-timeout", "20", "--generation-database", "none", "--continue-on-failure"])
        .current_dir(folder.path());
    if let Some(token) = token {
        command.args(["-H", &format!("Authorization: Bearer {token}")]);
    }
    let ended = command.output().unwrap();
    let told = String::from_utf8_lossy(&ended.stdout).into_owned() + &String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.success(), "{told}");
}

#[test]
fn schemathesis_finds_nothing() {
    hold_against_schemathesis(None);
}

#[test]
fn schemathesis_finds_nothing_where_a_token_is_needed() {
    hold_against_schemathesis(Some("t0ken"));
}
