//! Secrets that look like nothing else, looked for wherever the broker writes: its output, its log with everything
//! in it, every answer of its API, every command, the alerts it sends, and each byte of its data folder.
//!
//! The targets are of the worst kind. One answers with all that it was sent, one is not there at all, and a script
//! prints its whole environment before it fails.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::ci::{ALERT_KEY, API_TOKEN, Ci, Delivery, REGISTRY_TOKEN, WEBHOOK_SECRET};

const TARGET_TOKEN: &str = "canary-target-0b6e9d7f13";
const TARGET_HEADER: &str = "canary-header-5a72c4e91b";
const TARGET_PATH: &str = "canary-path-d3180f6ea4";
const TARGET_QUERY: &str = "canary-query-7be24c80f9";
/// Written into a rule's file as it is, as nobody should.
const LITERAL: &str = "canary-literal-61f5d09ac3";

const OUTSIDE: &str = r#"
[function.leaky]
runtime = "command"
command = ["/bin/sh", "-c", "env; env >&2; exit 1"]
environment = { REGISTRY_TOKEN = { env = "REGISTRY_TOKEN" } }

[function.proud]
runtime = "command"
command = ["/bin/sh", "-c", "env"]
environment = { REGISTRY_TOKEN = { env = "REGISTRY_TOKEN" } }

[[rule]]
name = "outside"
pattern = { type = ["github.ping"] }
retry = { attempts = 2, backoff = "20ms" }

[[rule.target]]
name = "echoes"
http = { url = { env = "ECHO_URL" }, headers = { x-extra = { env = "TARGET_HEADER" } }, auth = { kind = "bearer", token = { env = "TARGET_TOKEN" } } }

[[rule.target]]
name = "absent"
http = { url = { env = "ABSENT_URL" }, auth = { kind = "basic", username = "ci", password = "LITERAL" } }

[[rule.target]]
function = "leaky"

[[rule.target]]
function = "proud"
"#;

/// A mistake on the very line of a secret, and one that ends the file within a secret.
const MISTAKES: [&str; 2] = [
    "[[rule]]\nname = \"broken\"\ntagret = { http = { url = \"http://127.0.0.1:1/\", auth = { kind = \"bearer\", token = \"LITERAL\" } } }\n",
    "[[rule]]\nname = \"broken\"\n[rule.target.http]\nurl = { env = \"ECHO_URL\", default = 7 }\nauth = { kind = \"bearer\", token = \"LITERAL\n",
];

/// What was looked through, by where it came from.
type Seen = BTreeMap<String, Vec<u8>>;

/// Fails where one of the secrets, or what HTTP Basic makes of it, stands in what was seen.
fn assert_clean(seen: &Seen, secrets: &[&str]) {
    let mut found = Vec::new();
    for secret in secrets {
        let basic = STANDARD.encode(format!("ci:{secret}"));
        for (place, bytes) in seen {
            for needle in [*secret, &basic] {
                if let Some(at) = bytes.windows(needle.len()).position(|window| window == needle.as_bytes()) {
                    let around = &bytes[at.saturating_sub(160)..bytes.len().min(at + needle.len() + 40)];
                    found.push(format!("{needle} in {place}: …{}…", String::from_utf8_lossy(around)));
                }
            }
        }
    }
    assert!(found.is_empty(), "{} secrets were found:\n{}", found.len(), found.join("\n"));
}

/// Every file below a folder; without the zeros at its end, which are room for more and take long to look through.
fn files(folder: &Path, seen: &mut Seen) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, seen);
        } else {
            let mut bytes = fs::read(&path).unwrap();
            bytes.truncate(bytes.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1));
            seen.insert(path.display().to_string(), bytes);
        }
    }
}

/// A server that answers a call with all that was in it, and 500 unless it is an alert.
async fn echo(listener: TcpListener, alerts: Arc<Mutex<Vec<String>>>) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        tokio::spawn(echo_once(stream, Arc::clone(&alerts)));
    }
}

async fn echo_once(mut stream: TcpStream, alerts: Arc<Mutex<Vec<String>>>) {
    let (mut request, mut buffer) = (Vec::new(), [0; 4096]);
    let (head, body) = loop {
        let Ok(count @ 1..) = stream.read(&mut buffer).await else { return };
        request.extend_from_slice(&buffer[..count]);
        let text = String::from_utf8_lossy(&request).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length =
            head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
        if body.len() >= length.unwrap_or(0) {
            break (head.to_owned(), body.to_owned());
        }
    };
    let alert = head.starts_with("POST /alerts");
    if alert {
        alerts.lock().unwrap().push(body);
    }
    let status = if alert { "200 OK" } else { "500 Oh no" };
    let authorization =
        head.lines().find(|line| line.to_ascii_lowercase().starts_with("authorization")).unwrap_or("a: b");
    let answer = format!(
        "HTTP/1.1 {status}\r\nx-{authorization}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{head}",
        head.len()
    );
    let _ = stream.write_all(answer.as_bytes()).await;
}

async fn every_answer(ci: &Ci, seen: &mut Seen) {
    let mut paths: Vec<String> =
        ["/healthz", "/readyz", "/metrics", "/nothing", "/api/v1/nothing"].map(str::to_owned).into();
    for list in ["events", "deliveries", "dead-letters", "rules", "targets", "sources", "channels", "status"] {
        paths.push(format!("/api/v1/{list}"));
    }
    for (list, key) in [
        ("events", "event"),
        ("deliveries", "id"),
        ("dead-letters", "id"),
        ("rules", "name"),
        ("sources", "name"),
        ("channels", "name"),
    ] {
        for item in ci.all(&format!("/api/v1/{list}")).await {
            paths.push(format!("/api/v1/{list}/{}", item[key].as_str().unwrap()));
        }
    }
    // A token where it does not belong is refused, and not repeated.
    paths.push(format!("/api/v1/events?token={API_TOKEN}"));
    for path in paths {
        for token in [API_TOKEN, "guessed"] {
            let (status, answer) = ci.call("GET", &path, token, "").await;
            let who = if token == API_TOKEN { "us" } else { "somebody" };
            seen.insert(format!("GET {} as {who}: {status}", path.replace(API_TOKEN, "…")), answer.into_bytes());
        }
    }
    for (path, body) in [
        ("/events", "no event"),
        ("/hooks/github", "{}"),
        ("/hooks/alerts", "{}"),
        ("/api/v1/explain", r#"{"cloudevent":{"type":"github.push","data":{}}}"#),
        ("/api/v1/explain", "{"),
        ("/api/v1/channels/oncall/test", ""),
        ("/api/v1/sources/github/fire", ""),
        ("/api/v1/dead-letters/replay", r#"{"all":true,"dry_run":true}"#),
        ("/api/v1/reload", ""),
    ] {
        for token in [API_TOKEN, "guessed"] {
            let (status, answer) = ci.call("POST", path, token, body).await;
            let who = if token == API_TOKEN { "us" } else { "somebody" };
            seen.insert(format!("POST {path} {body} as {who}: {status}"), answer.into_bytes());
        }
    }
}

async fn every_command(ci: &Ci, seen: &mut Seen) {
    let mut commands: Vec<Vec<String>> = Vec::new();
    let mut add = |line: &str| commands.push(line.split(' ').map(str::to_owned).collect());
    for line in [
        "status",
        "check",
        "reload",
        "rules list",
        "rules test",
        "rules show outside",
        "rules show build-main",
        "sources list",
        "sources show github",
        "sources show alerts",
        "channels list",
        "channels test oncall",
        "events list",
        "deliveries list",
        "dead-letters list",
        "explain payloads/push-main.json",
        "status --url http://127.0.0.1:1",
        "events send --type github.ping --wait",
    ] {
        add(line);
        if !line.contains("send") {
            add(&format!("{line} --json"));
        }
    }
    for (command, list, key) in [("events show", "events", "event"), ("dead-letters show", "dead-letters", "id")] {
        for item in ci.all(&format!("/api/v1/{list}")).await {
            add(&format!("{command} {}", item[key].as_str().unwrap()));
        }
    }
    for arguments in commands {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let output = ci.command(&arguments);
        let said = [output.stdout, output.stderr].concat();
        seen.insert(format!("eventyard {}: {:?}", arguments.join(" "), output.status.code()), said);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_shows_anywhere() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let alerts = Arc::new(Mutex::new(Vec::new()));
    tokio::spawn(echo(listener, Arc::clone(&alerts)));

    let echo_url = format!("http://{address}/{TARGET_PATH}?key={TARGET_QUERY}");
    let absent_url = format!("http://127.0.0.1:1/{TARGET_PATH}?key={TARGET_QUERY}");
    let alert_url = format!("http://{address}/alerts/{TARGET_PATH}");
    let variables = [
        ("ECHO_URL", echo_url.as_str()),
        ("ABSENT_URL", &absent_url),
        ("ALERT_URL", &alert_url),
        ("TARGET_TOKEN", TARGET_TOKEN),
        ("TARGET_HEADER", TARGET_HEADER),
    ];
    let ci = Ci::start_changed(&variables, |folder| {
        let (functions, rules) = OUTSIDE.split_at(OUTSIDE.find("[[rule]]").unwrap());
        fs::write(folder.join("rules/outside.toml"), rules.replace("LITERAL", LITERAL)).unwrap();
        let project = fs::read_to_string(folder.join("eventyard.toml")).unwrap();
        fs::write(folder.join("eventyard.toml"), project + functions).unwrap();
    });
    let payload = |name: &str| fs::read_to_string(ci.folder().join("payloads").join(name)).unwrap();
    for (place, event, body) in [
        (1, "push", payload("push-main.json")),
        (2, "push", payload("push-tag.json")),
        (3, "ping", "{\"zen\":\"Keep it logically awesome.\"}".to_owned()),
        (4, "ping", "no JSON".to_owned()),
    ] {
        let (status, answer) = ci.post(&Delivery::new(event, &body, place).signed(WEBHOOK_SECRET)).await;
        assert_eq!(status, 202, "{answer:#}");
    }
    let mut seen = Seen::new();
    let (_, answer) = ci.post(&Delivery::new("push", "{}", 5).signed("guessed")).await;
    seen.insert("a refused delivery".to_owned(), answer.to_string().into_bytes());
    ci.settled().await;
    // The publication, and both pings at the echo, at nobody, and at the script.
    assert_eq!(ci.all("/api/v1/dead-letters").await.len(), 7);

    every_answer(&ci, &mut seen).await;
    every_command(&ci, &mut seen).await;

    for (place, mistake) in MISTAKES.iter().enumerate() {
        fs::write(ci.folder().join("rules/broken.toml"), mistake.replace("LITERAL", LITERAL)).unwrap();
        let (status, answer) = ci.call("POST", "/api/v1/reload", API_TOKEN, "").await;
        assert_eq!(status, 422, "{answer}");
        seen.insert(format!("a refused reload {place}"), answer.into_bytes());
        let (_, answer) = ci.call("GET", "/readyz", API_TOKEN, "").await;
        assert!(answer.contains("rules_refused"), "{answer}");
        seen.insert(format!("/readyz with mistake {place}"), answer.into_bytes());
        for command in
            ["check", "check --json", "reload", "reload --json", "status", "rules list", "explain event.json"]
        {
            let output = ci.command(&command.split(' ').collect::<Vec<_>>());
            let said = [output.stdout, output.stderr].concat();
            seen.insert(format!("eventyard {command} with mistake {place}"), said);
        }
    }
    ci.settled().await;
    ci.stop();
    // With files that do not load, the last good ones serve; a secret it cannot find is named by its variable.
    ci.start_again();
    seen.insert("/readyz after a start".to_owned(), ci.call("GET", "/readyz", API_TOKEN, "").await.1.into_bytes());
    ci.settled().await;
    ci.stop();

    let told = alerts.lock().unwrap().join("\n");
    assert!(told.contains("publish-tag") && told.contains("outside"), "{told}");
    seen.insert("the alerts".to_owned(), told.into_bytes());
    seen.insert("the log".to_owned(), fs::read(ci.folder().join("broker.log")).unwrap());
    let secrets =
        [WEBHOOK_SECRET, API_TOKEN, ALERT_KEY, REGISTRY_TOKEN, TARGET_TOKEN, TARGET_HEADER, TARGET_PATH, TARGET_QUERY];
    assert_clean(&seen, &[&secrets[..], &[LITERAL]].concat());

    let mut data = Seen::new();
    files(&ci.folder().join("data"), &mut data);
    assert!(data.len() >= 3, "{:?}", data.keys());
    assert_clean(&data, &secrets);
    // One that stands in the project's own files is not kept with the copy of them either.
    assert_clean(&data, &[LITERAL]);
}
