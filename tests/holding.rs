//! What a person does to a broker that runs: hold sources and targets, try a delivery at once, end one, try a target,
//! and follow what passes. The real program, its real journal and its own commands.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use eventyard::fate::FATES_WAITING_MAX;
use eventyard::origin::Origin;
use eventyard_connectors::source::Incoming;
use eventyard_event::{Event, Name, format_text};
use serde_json::{Value, json};

use crate::support::{Broker, Ended, eventyard, run};
use crate::wire::request;

/// How long anything here may take on a busy machine.
const DEADLINE: Duration = Duration::from_secs(60);

const MAIN: &str = r#"
[server]
listen = "127.0.0.1:PORT"

[source.shop]
kind = "http"
path = "/hooks/shop"

[source.tick]
kind = "timer"
schedule = "@every 1s"

[function.log]
runtime = "command"
command = ["./log.sh"]

[function.broken]
runtime = "command"
command = ["./broken.sh"]

[function.slow]
runtime = "command"
command = ["./slow.sh"]

[sink.nowhere]
kind = "discard"
"#;

const ORDERS: &str = r#"
[[rule]]
name = "orders"
order_by = "data.key"
pattern = { type = ["order"] }
target = { function = "log" }
"#;

const OTHERS: &str = r#"
[[rule]]
name = "ticks"
from = ["tick"]
target = { sink = "nowhere" }

[[rule]]
name = "later"
order_by = "data.key"
pattern = { type = ["later"] }
target = { function = "broken", retry = { attempts = 9, backoff = "1h" } }

[[rule]]
name = "once"
pattern = { type = ["once"] }
target = { function = "broken", retry = { attempts = 1 } }

[[rule]]
name = "slow"
pattern = { type = ["slow"] }
target = { function = "slow" }

[[rule]]
name = "chain"
pattern = { type = ["chain"] }
target = { event = { type = "chained" } }
"#;

/// A project in a folder of its own.
fn project() -> tempfile::TempDir {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let port = crate::support::free_port().to_string();
    fs::write(path.join("eventyard.toml"), MAIN.replace("PORT", &port)).unwrap();
    fs::create_dir(path.join("rules")).unwrap();
    fs::write(path.join("rules/orders.toml"), ORDERS).unwrap();
    fs::write(path.join("rules/others.toml"), OTHERS).unwrap();
    for (name, script) in [
        ("log.sh", "#!/bin/sh\necho \"$EVENTYARD_EVENT_ID\" >> log\n"),
        ("broken.sh", "#!/bin/sh\necho no >&2\nexit 3\n"),
        ("slow.sh", "#!/bin/sh\nexec sleep 60\n"),
    ] {
        fs::write(path.join(name), script).unwrap();
        fs::set_permissions(path.join(name), fs::Permissions::from_mode(0o755)).unwrap();
    }
    folder
}

fn good(arguments: &[&str], folder: &Path) -> Ended {
    let ended = run(arguments, folder);
    assert_eq!(ended.code, 0, "{arguments:?}: {}{}", ended.stdout, ended.stderr);
    ended
}

fn asked(arguments: &[&str], folder: &Path) -> Value {
    let arguments: Vec<&str> = arguments.iter().copied().chain(["--json"]).collect();
    serde_json::from_str(&good(&arguments, folder).stdout).unwrap()
}

/// Asks until the answer is as wanted. Each question is a process of its own, so nothing spins.
fn asked_until(arguments: &[&str], folder: &Path, wanted: impl Fn(&Value) -> bool) -> Value {
    let began = Instant::now();
    loop {
        let answer = asked(arguments, folder);
        if wanted(&answer) {
            return answer;
        }
        assert!(began.elapsed() < DEADLINE, "{arguments:?} never came out: {answer:#}");
    }
}

/// Sends an event and gives our id of it.
fn send(folder: &Path, ty: &str, id: &str) -> String {
    let sent = asked(&["events", "send", "--type", ty, "--id", id, "--data", r#"{"key":"k"}"#], folder);
    sent["accepted"][0]["event"].as_str().unwrap().to_owned()
}

fn delivery(event: &str) -> String {
    format!("{event}-0")
}

fn refused(arguments: &[&str], folder: &Path, code: &str) {
    let ended = run(arguments, folder);
    assert_eq!(ended.code, 1, "{arguments:?}: {}", ended.stdout);
    assert!(ended.stderr.contains(&format!("[{code}]")), "{arguments:?}: {}", ended.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_paused_stays_so_over_kill_and_reload_and_goes_on_in_order() {
    let project = project();
    let folder = project.path();
    let mut broker = Broker::start("run", folder);
    good(&["targets", "pause", "orders/log"], folder);
    good(&["sources", "pause", "shop"], folder);
    asked(&["sources", "pause", "tick"], folder);
    refused(&["targets", "pause", "orders/none"], folder, "not_found");
    refused(&["sources", "pause", "none"], folder, "not_found");
    asked_until(&["sources", "show", "tick"], folder, |tick| tick["state"] == "paused");
    let ticks = || asked(&["events", "list", "--source", "tick", "--limit", "1000"], folder)["items"].clone();
    let before = ticks();
    let events: Vec<String> = ["1", "2", "3"].iter().map(|id| send(folder, "order", id)).collect();

    for round in ["before the kill", "after it"] {
        let answer = request(broker.address(), "POST /hooks/shop HTTP/1.1", "{}").await;
        assert_eq!((answer.status, answer.code().as_str()), (503, "source_paused"), "{round}");
        assert!(answer.header("retry-after") == Some("60"), "{answer:?}");
        let waiting = asked(&["deliveries", "list", "--state", "waiting"], folder);
        assert_eq!(waiting["items"].as_array().unwrap().len(), 3, "{round}: {waiting:#}");
        assert_eq!(waiting["items"][0]["waits_for"]["what"], "target_paused");
        assert_eq!(asked(&["deliveries", "list", "--state", "pending"], folder)["items"], json!([]), "{round}");
        let status = good(&["status"], folder).stdout;
        assert!(status.contains("paused: 2 sources, 1 target"), "{round}: {status}");
        let metrics = request(broker.address(), "GET /metrics HTTP/1.1", "").await.body;
        assert!(metrics.contains(r#"eventyard_target_paused{rule="orders",target="log"} 1"#), "{round}");
        assert!(metrics.contains(r#"eventyard_source_paused{source="shop"} 1"#), "{round}");
        let shown = good(&["events", "show", &events[0]], folder).stdout;
        assert!(shown.contains("eventyard targets resume orders/log"), "{round}: {shown}");
        if round == "before the kill" {
            broker.kill();
            broker = Broker::start("run", folder);
        }
    }
    assert_eq!(ticks(), before, "a timer does not fire while it is paused, nor at a start");

    // A project without the rule: what is held goes on waiting, and can be seen.
    fs::remove_file(folder.join("rules/orders.toml")).unwrap();
    good(&["reload"], folder);
    let targets = asked(&["targets", "list"], folder);
    let gone = targets["items"].as_array().unwrap().iter().find(|target| target["rule"] == "orders").unwrap().clone();
    assert_eq!((&gone["state"], &gone["pending"]), (&json!("gone"), &json!(3)));
    assert!(gone["paused_since"].is_string(), "{gone}");
    assert_eq!(asked(&["deliveries", "list", "--state", "dead"], folder)["items"], json!([]));
    fs::write(folder.join("rules/orders.toml"), ORDERS).unwrap();
    good(&["reload"], folder);
    assert!(!folder.join("log").exists(), "nothing was attempted while it was paused");

    good(&["targets", "resume", "orders/log"], folder);
    asked_until(&["deliveries", "list", "--rule", "orders", "--state", "delivered"], folder, |list| {
        list["items"].as_array().unwrap().len() == 3
    });
    assert_eq!(fs::read_to_string(folder.join("log")).unwrap(), "1\n2\n3\n");
    let attempts = asked(&["deliveries", "show", &delivery(&events[2])], folder);
    assert_eq!(attempts["attempts"], 1, "waiting used up nothing");

    good(&["sources", "resume", "shop"], folder);
    good(&["sources", "resume", "tick"], folder);
    assert_eq!(request(broker.address(), "POST /hooks/shop HTTP/1.1", "{}").await.status, 202);
    asked_until(&["events", "list", "--source", "tick"], folder, |list| list["items"] != before);
    assert!(!good(&["status"], folder).stdout.contains("paused"));
    assert_eq!(broker.terminate(), Some(0));
}

#[test]
fn a_delivery_is_tried_at_once_or_ended_for_good() {
    let project = project();
    let folder = project.path();
    let mut broker = Broker::start("run", folder);
    let (first, second) = (send(folder, "later", "1"), send(folder, "later", "2"));
    let (first, second) = (delivery(&first), delivery(&second));
    let waits = asked_until(&["deliveries", "show", &first], folder, |one| one["state"] == "waiting");
    assert_eq!((&waits["waits_for"]["what"], &waits["attempts"]), (&json!("time"), &json!(1)));
    let told = good(&["deliveries", "show", &first], folder).stdout;
    assert!(told.contains("attempt 1 failed") && told.contains("next: attempt 2 at "), "{told}");
    assert!(told.contains(&format!("eventyard deliveries retry {first}")), "{told}");
    let behind = asked(&["deliveries", "show", &second], folder);
    assert_eq!((&behind["waits_for"]["what"], &behind["waits_for"]["delivery"]), (&json!("order"), &json!(first)));

    assert!(good(&["deliveries", "retry", &first], folder).stdout.starts_with("due now"));
    let again = asked_until(&["deliveries", "show", &first], folder, |one| {
        one["history"].as_array().unwrap().len() == 2 && one["state"] == "waiting"
    });
    assert_eq!(again["attempts"], 2, "the budget is not a fresh one");

    assert!(good(&["deliveries", "cancel", &first], folder).stdout.starts_with("cancelled"));
    // The next one of the key may go, and waits for its own time then.
    asked_until(&["deliveries", "show", &second], folder, |one| one["waits_for"]["what"] == "time");
    refused(&["deliveries", "cancel", &first], folder, "delivery_ended");
    refused(&["deliveries", "retry", &first], folder, "delivery_ended");
    broker.kill();
    let broker = Broker::start("run", folder);
    assert_eq!(asked(&["deliveries", "show", &first], folder)["state"], "cancelled");

    let dead = send(folder, "once", "3");
    let told = asked_until(&["events", "show", &dead], folder, |event| event["settled"] == true);
    let note = &told["deliveries"][0]["dead_letter"];
    assert_eq!(note["replay"], format!("eventyard dead-letters replay {}", delivery(&dead)));
    assert_eq!(note["reason"]["code"], "exit_3", "{note}");
    refused(&["deliveries", "retry", &delivery(&dead)], folder, "delivery_dead");
    refused(&["deliveries", "cancel", &delivery(&dead)], folder, "delivery_dead");
    let told = good(&["events", "show", &dead], folder).stdout;
    assert!(told.contains("given up ") && told.contains("eventyard dead-letters replay"), "{told}");

    let slow = delivery(&send(folder, "slow", "4"));
    asked_until(&["deliveries", "show", &slow], folder, |one| one["state"] == "in_flight");
    refused(&["deliveries", "cancel", &slow], folder, "delivery_in_flight");
    refused(&["deliveries", "retry", &second, &slow], folder, "delivery_in_flight");
    refused(&["deliveries", "show", "01993b1e-7c55-7d2a-9a50-3c1f6f0e9d11-0"], folder, "not_found");

    let nobody = send(folder, "nobody.cares", "5");
    let told = good(&["events", "show", &nobody], folder).stdout;
    assert!(told.contains("no rule matched") && told.contains("11 bytes of data"), "{told}");
    drop(broker);
}

#[test]
fn a_target_is_tried_and_nothing_is_kept() {
    let project = project();
    let folder = project.path();
    let mut broker = Broker::start("run", folder);
    asked(&["sources", "pause", "tick"], folder);
    good(&["targets", "pause", "orders/log"], folder);
    let kept = || asked(&["events", "list", "--limit", "1000"], folder)["items"].as_array().unwrap().len();
    let before = kept();

    fs::write(folder.join("event.json"), r#"{ "type": "order", "id": "tried", "data": { "key": "k" } }"#).unwrap();
    let tried = good(&["targets", "test", "orders/log", "--file", "event.json"], folder).stdout;
    assert!(tried.starts_with("succeeded orders/log"), "{tried}");
    assert_eq!(fs::read_to_string(folder.join("log")).unwrap(), "tried\n", "paused or not");
    let failed = run(&["targets", "test", "once/broken"], folder);
    assert_eq!(failed.code, 1);
    assert!(failed.stdout.contains("[exit_3]"), "{}", failed.stdout);
    let chained = asked(&["targets", "test", "chain/event"], folder);
    assert_eq!(chained["would_make"], json!(["chained"]), "{chained:#}");
    refused(&["targets", "test", "orders/none"], folder, "not_found");
    for (misspelt, meant) in [
        (&["targets", "test", "once/brokn"][..], "once/broken"),
        (&["sources", "pause", "tik"], "tick"),
        (&["rules", "show", "order"], "orders"),
    ] {
        let said = run(misspelt, folder).stderr;
        assert!(said.contains(&format!("did you mean `{meant}`?")), "{said}");
    }
    assert_eq!(run(&["targets", "test", "orders"], folder).code, 2);

    assert_eq!(kept(), before);
    let metrics = asked(&["status"], folder);
    assert_eq!(metrics["status"]["stats"]["dead"], 0);
    assert_eq!(broker.terminate(), Some(0));
}

#[test]
fn what_passes_can_be_followed_until_the_broker_stops() {
    let project = project();
    let folder = project.path();
    let mut broker = Broker::start("run", folder);
    let follow = |arguments: &[&str]| {
        let arguments: Vec<&str> = ["events", "tap"].iter().chain(arguments).copied().collect();
        let mut tap = eventyard(&arguments, folder).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let stdout = BufReader::new(tap.stdout.take().unwrap());
        (tap, stdout)
    };
    let (mut by_rule, by_rule_out) = follow(&["--rule", "orders", "--count", "3", "--json"]);
    let (mut text, text_out) = follow(&["--type", "once"]);
    let mut said = String::new();
    BufReader::new(text.stderr.take().unwrap()).read_line(&mut said).unwrap();
    assert!(said.starts_with("following"), "{said}");
    // The other one says nothing with --json; it is there when its place is taken.
    let both = |status: &Value| status["status"]["taps"] == 2;
    asked_until(&["status"], folder, both);

    send(folder, "once", "1");
    send(folder, "order", "2");
    let lines: Vec<Value> = by_rule_out.lines().map(|line| serde_json::from_str(&line.unwrap()).unwrap()).collect();
    let fates: Vec<&str> = lines.iter().map(|line| line["fate"].as_str().unwrap()).collect();
    assert_eq!(fates, ["accepted", "attempted", "delivered"], "{lines:#?}");
    assert_eq!((&lines[0]["cloudevent_id"], &lines[0]["rules"]), (&json!("2"), &json!(["orders"])));
    assert!(lines.iter().all(|line| line["at"].is_string() && line["type"] == "order"), "{lines:#?}");
    assert_eq!(by_rule.wait().unwrap().code(), Some(0));

    let mut text_out = text_out.lines().map(Result::unwrap);
    let dead = text_out.find(|line| line.contains("dead ")).unwrap();
    assert!(dead.contains("once → broken"), "{dead}");
    assert_eq!(broker.terminate(), Some(0));
    assert_eq!(text.wait().unwrap().code(), Some(0), "it ends with the broker");
}

#[test]
fn a_reload_that_is_refused_is_a_matter_of_configuration() {
    let project = project();
    let folder = project.path();
    let broker = Broker::start("run", folder);
    fs::write(folder.join("rules/others.toml"), "[[rule]]\nnam = \"x\"\n").unwrap();
    let ended = run(&["reload"], folder);
    assert_eq!(ended.code, 2, "{}", ended.stderr);
    assert!(ended.stderr.contains("[rules_refused]"), "{}", ended.stderr);
    drop(broker);
    // That no broker answers is another matter.
    assert_eq!(run(&["reload"], folder).code, 1);
}

async fn follow(url: &str) -> reqwest::Response {
    reqwest::Client::builder().no_proxy().build().unwrap().get(url).send().await.unwrap()
}

/// Reads a stream up to the event that holds this.
async fn read_until(stream: &mut reqwest::Response, wanted: &str) -> String {
    let mut said = String::new();
    while !said.contains(wanted) || !said.ends_with("\n\n") {
        let piece = tokio::time::timeout(DEADLINE, stream.chunk()).await.unwrap().unwrap();
        let piece = piece.unwrap_or_else(|| panic!("no `{wanted}`: {said}"));
        said.push_str(std::str::from_utf8(&piece).unwrap());
    }
    said
}

/// As `events tap` shows it.
#[test]
fn a_tap_says_how_much_was_lost_and_left_out() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let server = std::thread::spawn(move || {
        for stream in listener.incoming().take(2) {
            let mut stream = BufReader::new(stream.unwrap());
            let mut line = String::new();
            while stream.read_line(&mut line).unwrap() > "\r\n".len() {
                line.clear();
            }
            let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";
            let lines =
                ": following\n\nevent: lost\ndata: {\"lost\":1904}\n\nevent: left_out\ndata: {\"left_out\":7}\n\n";
            let end = "event: end\ndata: {\"why\":\"the broker stops\"}\n\n";
            write!(stream.get_mut(), "{head}{lines}{end}").unwrap();
        }
    });
    let folder = tempfile::tempdir().unwrap();
    let tap = |more: &[&str]| run(&[&["events", "tap", "--url", &url], more].concat(), folder.path());
    let said = tap(&[]);
    assert_eq!(said.code, 0, "{}", said.stderr);
    assert!(said.stdout.contains("1904 were lost because they were not read in time"), "{}", said.stdout);
    assert!(said.stdout.contains("7 more were left out"), "{}", said.stdout);
    assert_eq!(tap(&["--json"]).stdout, "{\"lost\":1904}\n{\"left_out\":7}\n");
    server.join().unwrap();
}

/// The runtime has one thread, and the commit and its news are one piece of work: nobody reads in between.
#[tokio::test]
async fn a_follower_that_is_too_slow_is_told_how_much_was_lost() {
    let server = crate::http_broker::start().await;
    let url = format!("http://{}/api/v1/live", server.address);
    let mut slow = follow(&url).await;
    read_until(&mut slow, ": following").await;
    let origin =
        Origin { namespace: Name::default_namespace(), source_name: Name::new("events").unwrap(), tags: Vec::new() };
    let count = FATES_WAITING_MAX + 1000;
    let incoming = |number: usize| {
        let event =
            Event { id: format_text!("e-{number}"), source: "/shop".into(), ty: "t".into(), ..Event::default() };
        Incoming { event, keys_unique: true, dedupe: None }
    };
    server.broker.admit(&origin, (0..count).map(incoming).collect()).await.unwrap();
    let said = read_until(&mut slow, "event: lost").await;
    let lost = said.lines().find_map(|line| line.strip_prefix("data: {\"lost\":")).unwrap();
    let lost: usize = lost.trim_end_matches('}').parse().unwrap();
    // Each event has a piece of news or two; those that wait are the newest.
    assert!(lost >= 1000 && lost <= 2 * count - FATES_WAITING_MAX, "{lost}");
    // And it goes on from there.
    read_until(&mut slow, "event: left_out").await;
}

#[tokio::test]
async fn followers_are_few_and_each_is_told_how_much_it_does_not_see() {
    let server = crate::http_broker::start().await;
    let url = format!("http://{}/api/v1/live", server.address);
    let mut one_a_second = follow(&format!("{url}?rate=1&rule=big-orders")).await;
    assert_eq!(one_a_second.headers()["content-type"], "text/event-stream; charset=utf-8");
    read_until(&mut one_a_second, ": following").await;
    let mut others = Vec::new();
    for _ in 1..16 {
        others.push(follow(&url).await);
    }
    let refused = server.get("/api/v1/live").await;
    assert_eq!((refused.status, refused.code().as_str()), (503, "too_many_taps"));
    assert_eq!(server.get("/api/v1/live?rate=0").await.status, 400);

    for id in ["1", "2", "3"] {
        server.big_order(id).await;
    }
    let said = read_until(&mut one_a_second, "left_out").await;
    assert!(said.starts_with("event: accepted\ndata: {\"at\":"), "{said}");
    assert!(said.contains("event: left_out\ndata: {\"left_out\":2}\n"), "{said}");

    // One that goes away makes room.
    others.pop();
    let began = Instant::now();
    while server.get("/api/v1/status").await.json()["taps"] == 16 {
        server.big_order("4").await;
        assert!(began.elapsed() < DEADLINE, "the place is never free again");
    }
}
