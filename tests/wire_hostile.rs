//! Clients that mean harm, against the running program: they get an answer or the door, and everybody else is served
//! as before. After each: nothing that was acknowledged is lost, nothing that was refused is kept, it is ready within a
//! second, and its memory is bounded.

use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};

use crate::wire::Wire;
use crate::wire_broker::WireBroker;

const EVENT: &str = r#"{"specversion":"1.0","id":"ID","source":"/s","type":"t"}"#;

/// How much the process may grow by while clients misbehave.
const GROWTH_BYTES_MAX: usize = 48 << 20;

/// Far more than any answer takes; the tests share their machine with others.
const PROMPT: Duration = Duration::from_secs(1);

/// How long anything here may take before it counts as never.
const DEADLINE: Duration = Duration::from_secs(60);

async fn post(broker: &WireBroker, id: &str) -> Duration {
    let began = Instant::now();
    let answer = broker.structured(EVENT.replace("ID", id)).await;
    assert_eq!(answer.status, 202, "{answer:?}");
    began.elapsed()
}

/// Sends bytes that are no request, and gets the answer; the connection is closed behind it.
async fn refused(broker: &WireBroker, bytes: impl AsRef<[u8]>) -> (u16, String) {
    let mut wire = broker.connect().await;
    wire.try_send(bytes.as_ref()).await;
    let answer = wire.answer().await;
    let code = answer.code();
    assert_eq!(answer.header("connection"), Some("close"), "{answer:?}");
    wire.closed().await;
    (answer.status, code)
}

/// A request with these bytes as the end of its head, and a body that is an event.
fn with_head(head: &str, id: &str) -> String {
    let event = EVENT.replace("ID", id);
    format!(
        "POST /events HTTP/1.1\r\nhost: test\r\ncontent-type: application/cloudevents+json\r\n{head}\r\n\r\n{event}"
    )
}

#[tokio::test]
async fn five_hundred_heads_that_drip_are_cut_off_and_nobody_else_waits() {
    let broker = WireBroker::start().await;
    post(&broker, "before").await;
    let before = broker.memory_peak_bytes();
    let mut dripping = Vec::new();
    for _ in 0..500 {
        let mut wire = broker.connect().await;
        assert!(wire.try_send("POST /events HTTP/1.1\r\nhost: test\r\nx-").await);
        dripping.push(wire);
    }
    let (began, mut took) = (Instant::now(), Vec::new());
    while began.elapsed() < Duration::from_secs(8) {
        took.push(post(&broker, &format!("e-{}", took.len())).await);
        // A byte of header each five seconds, near enough.
        if took.len() == 20 {
            for wire in &mut dripping {
                wire.try_send("a").await;
            }
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    took.sort();
    let (median, late) = (took[took.len() / 2], took[took.len() * 9 / 10]);
    println!("{} posts beside 500 dripping heads: median {median:?}, nine of ten within {late:?}", took.len());
    assert!(late < PROMPT, "others wait: {late:?}");
    let all_closed = async {
        for wire in &mut dripping {
            wire.closed().await;
        }
    };
    tokio::time::timeout(DEADLINE, all_closed).await.expect("a head may take ten seconds");
    let growth = broker.memory_peak_bytes() - before;
    assert!(growth < GROWTH_BYTES_MAX, "the process grew by {growth} bytes");
    broker.is_well().await;
}

#[tokio::test]
async fn idle_connections_past_the_limit_are_turned_away_and_places_come_back() {
    // Half of the files are for connections.
    let broker = WireBroker::start_with_files(128).await;
    post(&broker, "before").await;
    let mut served = broker.connect().await;
    let event = |id: &str| EVENT.replace("ID", id);
    let head = "POST /events HTTP/1.1\ncontent-type: application/cloudevents+json";
    broker.note(&served.request(head, event("first")).await);

    let mut idle = Vec::new();
    for _ in 0..300 {
        idle.push(broker.connect().await);
    }
    let last = idle.last_mut().unwrap();
    let answer = last.answer().await;
    assert_eq!((answer.status, answer.code().as_str()), (503, "too_many_connections"));
    last.closed().await;
    // Who is inside is served all the while.
    broker.note(&served.request(head, event("second")).await);

    drop((idle, served));
    let began = Instant::now();
    loop {
        let mut wire = broker.connect().await;
        wire.try_send("GET /readyz HTTP/1.1\r\nhost: test\r\n\r\n").await;
        if wire.answer().await.status == 200 {
            break;
        }
        assert!(began.elapsed() < DEADLINE, "the places of closed connections did not come back");
    }
    post(&broker, "after").await;
    broker.is_well().await;
}

#[tokio::test]
async fn a_process_out_of_files_serves_who_is_inside_and_takes_others_again_later() {
    let broker = WireBroker::start().await;
    let head = "POST /events HTTP/1.1\ncontent-type: application/cloudevents+json";
    let mut served = broker.connect().await;
    broker.note(&served.request(head, EVENT.replace("ID", "before")).await);

    let pid = broker.process().pid();
    let open = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count() as u64;
    let process = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    // The test's own, which the program has inherited.
    let usual = getrlimit(Resource::Nofile);
    let few = Rlimit { current: Some(open + 8), maximum: usual.maximum };
    prlimit(Some(process), Resource::Nofile, few).unwrap();
    // More than there are files for; those that are not taken wait at the door.
    let mut crowd = Vec::new();
    for _ in 0..40 {
        crowd.push(broker.connect().await);
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    broker.note(&served.request(head, EVENT.replace("ID", "meanwhile")).await);
    assert!(matches!(served.request("GET /healthz HTTP/1.1", "").await.status, 200));

    drop(crowd);
    prlimit(Some(process), Resource::Nofile, usual).unwrap();
    let again = tokio::time::timeout(DEADLINE, post(&broker, "after")).await;
    again.expect("nobody is taken any more");
    broker.is_well().await;
}

#[tokio::test]
async fn a_body_whose_length_is_unclear_smuggles_nothing() {
    let broker = WireBroker::start().await;
    post(&broker, "before").await;
    let smuggled = with_head(&format!("content-length: {}", EVENT.replace("ID", "smuggled").len()), "smuggled");
    // Chunks count, and the connection ends with the answer: what follows is nobody's request.
    for head in [
        "content-length: 4\r\ntransfer-encoding: chunked",
        "transfer-encoding: chunked\r\ncontent-length: 4",
        "Transfer-Encoding : chunked\r\ncontent-length: 0",
        "transfer-encoding: chunked, identity",
        "transfer-encoding: identity, chunked\r\ncontent-length: 4",
        "transfer-encoding: xchunked",
        "transfer-encoding: \x0bchunked",
    ] {
        let mut wire = broker.connect().await;
        wire.try_send(format!("POST /events HTTP/1.1\r\nhost: test\r\ncontent-type: application/cloudevents+json\r\n{head}\r\n\r\n0\r\n\r\n{smuggled}")).await;
        let answer = wire.answer().await;
        assert_eq!(answer.status, 400, "{head:?}: {answer:?}");
        assert_eq!(answer.header("connection"), Some("close"), "{head:?}");
        wire.closed().await;
    }
    for head in [
        "content-length: 56\r\ncontent-length: 57",
        "content-length: 56, 57",
        "content-length: +56",
        "content-length: 0x38",
    ] {
        let refused = refused(&broker, with_head(head, "unclear")).await;
        assert_eq!(refused, (400, "not_http".to_owned()), "{head}");
    }
    broker.is_well().await;
}

#[tokio::test]
async fn chunks_that_are_none_are_refused_and_their_extensions_bounded() {
    let broker = WireBroker::start().await;
    post(&broker, "before").await;
    let before = broker.memory_peak_bytes();
    let long = format!("5;{}", "x".repeat(1 << 20));
    for size in ["FFFFFFFFFFFFFFFFF", "-1", "0x10", "z", "", " 5", "5 5", long.as_str()] {
        let mut wire = broker.connect().await;
        let head = "POST /in/x HTTP/1.1\r\nhost: test\r\ntransfer-encoding: chunked\r\n\r\n";
        wire.try_send(format!("{head}{size}\r\nhello\r\n0\r\n\r\n")).await;
        let answer = wire.answer().await;
        let shown = &size[..size.len().min(20)];
        assert_eq!((answer.status, answer.code().as_str()), (400, "body_incomplete"), "{shown:?}");
        wire.closed().await;
    }
    let growth = broker.memory_peak_bytes() - before;
    assert!(growth < GROWTH_BYTES_MAX, "the process grew by {growth} bytes");
    broker.is_well().await;
}

#[tokio::test]
async fn a_head_that_is_none_is_told_so_and_the_connection_closed() {
    let broker = WireBroker::start().await;
    post(&broker, "before").await;
    let length = format!("content-length: {}\r\n", EVENT.replace("ID", "x").len());
    for line in
        ["x-a: 1\0 2", "x-a: 1\r2", "x-a: 1\n2", "x a: 1", "x-a : 1", ": 1", "x-a", " x-a: 1", "x\0: 1", "x-\u{7f}: 1"]
    {
        let refused = refused(&broker, with_head(&format!("{length}{line}"), "x")).await;
        assert_eq!(refused, (400, "not_http".to_owned()), "{line:?}");
    }
    let hello = b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03 and so on, as TLS begins\r\n\r\n";
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00";
    for bytes in [
        &hello[..],
        &preface[..],
        b"hello\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /a b HTTP/1.1\r\n\r\n",
        b"\xff\xfe\x00\r\n\r\n",
        b"GET /\x00 HTTP/1.1\r\n\r\n",
    ] {
        let (status, code) = refused(&broker, bytes).await;
        assert_eq!((status, code.as_str()), (400, "not_http"), "{:?}", String::from_utf8_lossy(bytes));
    }
    broker.is_well().await;
}

#[tokio::test]
async fn a_client_that_asks_whether_it_may_send_and_then_says_nothing_is_given_up() {
    let broker = WireBroker::start().await;
    let mut wire = broker.connect().await;
    let length = EVENT.len();
    let head = format!("expect: 100-continue\r\ncontent-length: {length}\r\n\r\n");
    wire.send(format!("POST /events HTTP/1.1\r\nhost: test\r\ncontent-type: application/cloudevents+json\r\n{head}"))
        .await;
    assert_eq!(wire.answer().await.status, 100);
    let began = Instant::now();
    let answer = wire.answer().await;
    assert_eq!((answer.status, answer.code().as_str()), (408, "body_timeout"));
    assert!(began.elapsed() > Duration::from_secs(8), "{:?}", began.elapsed());
    wire.closed().await;
    broker.is_well().await;
}

#[tokio::test]
async fn a_compressed_body_is_refused_unread_wherever_it_is_sent() {
    let broker = WireBroker::start().await;
    let before = broker.memory_peak_bytes();
    // Ten kilobytes of zeros under gzip, said to be ten gibibytes more.
    let bomb = [&b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03"[..], &[0; 10_000]].concat();
    for path in ["/events", "/in/x", "/api/v1/explain"] {
        for encoding in ["gzip", "x-gzip", "deflate", "br", "zstd", "identity, gzip"] {
            let kind = if path == "/events" { "application/cloudevents+json" } else { "application/json" };
            let head = format!("POST {path} HTTP/1.1\ncontent-type: {kind}\ncontent-encoding: {encoding}");
            let answer = broker.request(&head, &bomb).await;
            assert_eq!((answer.status, answer.code().as_str()), (415, "content_encoding"), "{path} {encoding}");
        }
    }
    let growth = broker.memory_peak_bytes() - before;
    assert!(growth < GROWTH_BYTES_MAX, "the process grew by {growth} bytes");
    broker.is_well().await;
}

#[tokio::test]
async fn a_path_that_climbs_or_is_broken_leads_nowhere() {
    let broker = WireBroker::start().await;
    for path in [
        "/..%2f..%2fetc/passwd",
        "/../../etc/passwd",
        "/in/..%2f..%2fetc/passwd/x",
        "//",
        "//in/x",
        "//events",
        "/in//x",
        "/%00",
        "/in/%00",
        "/in/%ff%fe",
        "/in/%c0%af",
        "/in/%zz",
        "/in/%",
        "/api/v1/events/..%2f..%2fhealthz",
        "/api/v1/events/%00",
        "/api/v1/rules/%ff",
    ] {
        for method in ["GET", "POST"] {
            let answer = broker.request(&format!("{method} {path} HTTP/1.1"), "x").await;
            assert!(matches!(answer.status, 400 | 404 | 405), "{method} {path}: {answer:?}");
            answer.code();
        }
    }
    let long = format!("POST /in/{} HTTP/1.1", "a".repeat(20_000));
    let answer = broker.request(&long, "x").await;
    assert_eq!((answer.status, answer.code().as_str()), (414, "uri_too_long"));
    broker.is_well().await;
}

#[tokio::test]
async fn a_method_that_nobody_takes_is_405_however_long() {
    let broker = WireBroker::start().await;
    let long = "A".repeat(10_240);
    for method in ["TRACE", "CONNECT", "PROPFIND", long.as_str()] {
        for path in ["/events", "/in/x", "/healthz", "/api/v1/rules"] {
            let answer = broker.request(&format!("{method} {path} HTTP/1.1"), "").await;
            let shown = &method[..method.len().min(10)];
            let found = (answer.status, answer.code());
            assert_eq!(found, (405, "method_not_allowed".to_owned()), "{shown} {path}: {answer:?}");
        }
    }
    let connect = broker.request("CONNECT example.com:443 HTTP/1.1", "").await;
    assert!(matches!(connect.status, 400 | 404 | 405), "{connect:?}");
    broker.is_well().await;
}

#[tokio::test]
async fn connections_that_come_and_break_by_the_thousand_leave_nothing() {
    let broker = WireBroker::start().await;
    post(&broker, "before").await;
    let before = broker.memory_peak_bytes();
    for number in 0..2_000 {
        let mut wire = Wire::connect(broker.address).await;
        if number % 2 == 0 {
            wire.try_send("POST /events HTTP/1.1\r\nhost: test\r\ncontent-le").await;
        }
        drop(wire);
    }
    assert!(post(&broker, "after").await < DEADLINE);
    let growth = broker.memory_peak_bytes() - before;
    assert!(growth < GROWTH_BYTES_MAX, "the process grew by {growth} bytes");
    broker.is_well().await;
}
