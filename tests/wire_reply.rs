//! `reply = "sync"` against the running program: what a function prints is what the sender reads, and where there is
//! nothing to give the sender is told where to look.

use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::wire::Answer;
use crate::wire_broker::WireBroker;

/// One function that does what the path says, and an http target.
const TABLES: &str = r#"
[source.ask]
kind = "http"
path = "/ask/{how}"
reply = "sync"
reply_timeout = "TIMEOUT"
id_from = "header:x-id"

[source.pass]
kind = "http"
path = "/pass"
reply = "sync"

[source.forget]
kind = "http"
path = "/forget"
reply = "sync"

[function.answer]
runtime = "command"
command = ["sh", "-c", '''
case "$EVENTYARD_EVENT_SUBJECT" in
    */json) echo '{"asked": true}' ;;
    */text) echo "all is well" ;;
    */bytes) printf '\377\376' ;;
    */nothing) ;;
    */fail) echo "no" >&2; test "$EVENTYARD_ATTEMPT" != 1 || exit 3; echo "on second thoughts" ;;
    */slow) sleep 2; echo "late" ;;
    */large) head -c 2000000 /dev/zero ;;
esac
''']

[[rule]]
name = "ask"
from = ["ask"]
target = { function = "answer", reply = true, retry = { attempts = 3, backoff = "1s", jitter = 0 } }

[[rule]]
name = "pass"
from = ["pass"]
target = { http = { url = "http://UPSTREAM/answer" }, reply = true }

[[rule]]
name = "forget"
from = ["forget"]
target = { sink = "nowhere", reply = true }
"#;

async fn start(timeout: &str) -> WireBroker {
    WireBroker::start_with("", &TABLES.replace("TIMEOUT", timeout).replace("UPSTREAM", "127.0.0.1:9")).await
}

async fn ask(broker: &WireBroker, how: &str) -> Answer {
    broker.request(&format!("POST /ask/{how} HTTP/1.1"), "").await
}

/// What stands in a 202: why there is no answer, and where to look.
fn told(answer: &Answer) -> (String, String) {
    assert_eq!(answer.status, 202, "{answer:?}");
    let json = answer.json();
    let event = json["accepted"][0]["event"].as_str().unwrap();
    assert_eq!(answer.header("location"), Some(format!("/api/v1/events/{event}").as_str()));
    (json["reply"].as_str().unwrap().to_owned(), event.to_owned())
}

/// Waits until an event's delivery of a rule has ended well; its story.
async fn delivered(broker: &WireBroker, event: &str, rule: &str) -> Value {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
    loop {
        let shown = broker.shown(event).await.json();
        let deliveries = shown["deliveries"].as_array().unwrap();
        let delivery = deliveries.iter().find(|one| one["rule"] == rule).cloned().unwrap();
        if delivery["state"] == "delivered" {
            return delivery;
        }
        assert!(tokio::time::Instant::now() < deadline, "{delivery}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn what_a_function_prints_is_the_answer() {
    let broker = start("30s").await;
    for (how, status, content_type, body) in [
        ("json", 200, Some("application/json"), "{\"asked\": true}\n"),
        ("text", 200, Some("text/plain; charset=utf-8"), "all is well\n"),
        ("nothing", 204, None, ""),
    ] {
        let answer = ask(&broker, how).await;
        assert_eq!((answer.status, answer.header("content-type"), answer.body.as_str()), (status, content_type, body));
        assert_eq!((answer.header("location"), answer.header("cache-control")), (None, Some("no-store")), "{how}");
        let event = answer.header("eventyard-event").unwrap();
        delivered(&broker, event, "ask").await;
    }
    let answer = broker.request("POST /forget HTTP/1.1", "x").await;
    assert_eq!((answer.status, answer.body.as_str()), (204, ""), "a sink that says nothing");
    assert_eq!(broker.metric("eventyard_replies_total{source=\"ask\",outcome=\"answered\"}").await, Some(3.0));
    assert_eq!(broker.metric("eventyard_replies_waiting").await, Some(0.0));
    broker.is_well().await;
}

#[tokio::test]
async fn what_cannot_be_answered_is_told_where_to_look_and_goes_on() {
    let broker = start("500ms").await;
    let (why, failed) = told(&ask(&broker, "fail").await);
    assert_eq!(why, "failed");
    let (why, slow) = told(&ask(&broker, "slow").await);
    assert_eq!(why, "timeout");
    let delivery = delivered(&broker, &slow, "ask").await;
    assert_eq!(delivery["attempts"], 1, "nobody waits, and it is not run twice");
    delivered(&broker, &failed, "ask").await;
    broker.is_well().await;
}

#[tokio::test]
async fn an_answer_that_is_too_large_is_not_cut_but_withheld() {
    let broker = start("30s").await;
    let (why, event) = told(&ask(&broker, "large").await);
    assert_eq!(why, "too_large");
    delivered(&broker, &event, "ask").await;
    broker.is_well().await;
}

#[tokio::test]
async fn a_repeat_is_told_where_the_first_one_is() {
    let broker = start("30s").await;
    let head = "POST /ask/json HTTP/1.1\nx-id: order-1";
    let first = broker.request(head, "").await;
    assert_eq!(first.status, 200);
    let again = broker.request(head, "{\"a\": 1}").await;
    assert_eq!(told(&again), ("duplicate".to_owned(), first.header("eventyard-event").unwrap().to_owned()));
    let receipt = again.json()["accepted"][0].clone();
    assert_eq!((receipt["duplicate"].as_bool(), receipt["rules"].as_array().map(Vec::len)), (Some(true), Some(0)));
    broker.is_well().await;
}

#[tokio::test]
async fn a_batch_is_taken_and_not_waited_for() {
    let broker = start("30s").await;
    let event = |id: &str| format!(r#"{{"specversion":"1.0","id":"{id}","source":"/s","type":"t"}}"#);
    let head = "POST /ask/json HTTP/1.1\ncontent-type: application/cloudevents-batch+json";
    let answer = broker.request(head, format!("[{},{}]", event("1"), event("2"))).await;
    assert_eq!((answer.status, answer.header("location")), (202, None));
    assert_eq!(answer.json()["reply"], "batch");
    broker.is_well().await;
}

#[tokio::test]
async fn what_an_http_target_answers_is_passed_on_with_its_status_and_type() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let upstream = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut read = [0; 4096];
            let _ = stream.read(&mut read).await;
            let answer = "HTTP/1.1 201 Created\r\ncontent-type: application/vnd.shop+json\r\nset-cookie: a=b\r\n\
                          connection: close\r\ncontent-length: 8\r\n\r\n{\"n\": 1}";
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    let broker = WireBroker::start_with("", &TABLES.replace("TIMEOUT", "30s").replace("UPSTREAM", &upstream)).await;
    let answer = broker.request("POST /pass HTTP/1.1", "x").await;
    assert_eq!((answer.status, answer.header("content-type")), (201, Some("application/vnd.shop+json")));
    assert_eq!((answer.body.as_str(), answer.header("set-cookie")), ("{\"n\": 1}", None));
    broker.is_well().await;
}

/// Waits until a function runs, so that its event is on disk and waited for.
async fn called(broker: &WireBroker) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    while broker.metric("eventyard_deliveries_in_flight").await.unwrap_or_default() < 1.0 {
        assert!(tokio::time::Instant::now() < deadline, "it is never called");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_sender_that_hangs_up_frees_its_place_and_its_event_is_delivered() {
    let broker = start("30s").await;
    let mut wire = broker.connect().await;
    wire.send("POST /ask/slow HTTP/1.1\r\nhost: test\r\ncontent-length: 0\r\n\r\n").await;
    called(&broker).await;
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    assert_eq!(broker.metric("eventyard_replies_waiting").await, Some(1.0));
    drop(wire);
    while broker.metric("eventyard_replies_total{source=\"ask\",outcome=\"gone\"}").await != Some(1.0) {
        assert!(tokio::time::Instant::now() < deadline, "a sender that is gone keeps its place");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(broker.metric("eventyard_replies_waiting").await, Some(0.0));
    let listed = broker.get("/api/v1/events?source=ask").await.json();
    let event = listed["items"][0]["event"].as_str().unwrap().to_owned();
    delivered(&broker, &event, "ask").await;
}

#[tokio::test]
async fn a_kill_while_a_sender_waits_costs_the_answer_and_not_the_event() {
    let mut broker = start("30s").await;
    let mut wire = broker.connect().await;
    wire.send("POST /ask/slow HTTP/1.1\r\nhost: test\r\ncontent-length: 0\r\n\r\n").await;
    called(&broker).await;
    broker.kill_and_restart();
    let listed = broker.get("/api/v1/events?source=ask").await.json();
    let event = listed["items"][0]["event"].as_str().unwrap().to_owned();
    let delivery = delivered(&broker, &event, "ask").await;
    assert_eq!(delivery["state"], "delivered");
}

#[tokio::test]
async fn a_stop_waits_for_the_function_that_runs_and_its_sender_has_the_answer() {
    let mut broker = start("30s").await;
    let mut wire = broker.connect().await;
    wire.send("POST /ask/slow HTTP/1.1\r\nhost: test\r\ncontent-length: 0\r\n\r\n").await;
    called(&broker).await;
    broker.process().signal(rustix::process::Signal::TERM);
    let answer = wire.answer().await;
    assert_eq!((answer.status, answer.body.as_str()), (200, "late\n"));
    assert_eq!(broker.ended().await, Some(0));
}
