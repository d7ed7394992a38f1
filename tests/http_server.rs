//! The listener keeps its limits, whatever is sent to it, and goes on serving.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use eventyard::api::problem::Problem;
use eventyard::server::body::BodyReader;
use eventyard::server::{ServerLimits, ServerSettings, serve_router};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::wire::{Wire, request};

/// The body limit of `/echo` in these tests.
const ECHO_BYTES_MAX: usize = 64 * 1024;

/// A server with a few routes that show its mechanics.
struct TestServer {
    address: SocketAddr,
    stop: CancellationToken,
    task: JoinHandle<()>,
    /// Lets `/slow` answer.
    go_on: Arc<Notify>,
    /// Told when `/slow` was entered.
    entered: Arc<Notify>,
}

#[derive(Clone)]
struct Shared {
    bodies: BodyReader,
    go_on: Arc<Notify>,
    entered: Arc<Notify>,
}

async fn echo(State(shared): State<Shared>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    match shared.bodies.read(&head.headers, body, "event", ECHO_BYTES_MAX).await {
        Ok(body) => body.bytes.into_response(),
        Err(error) => Problem::from(error).into_response(),
    }
}

async fn slow(State(shared): State<Shared>) -> &'static str {
    shared.entered.notify_one();
    shared.go_on.notified().await;
    "done"
}

async fn panics() -> &'static str {
    panic!("on purpose")
}

async fn start(limits: ServerLimits) -> TestServer {
    start_with(ServerSettings { limits, ..ServerSettings::default() }).await
}

async fn start_with(settings: ServerSettings) -> TestServer {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (go_on, entered) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let shared =
        Shared { bodies: BodyReader::new(settings.limits), go_on: Arc::clone(&go_on), entered: Arc::clone(&entered) };
    let router = Router::new()
        .route("/echo", post(echo))
        .route("/slow", get(slow))
        .route("/panics", get(panics))
        .with_state(shared);
    let stop = CancellationToken::new();
    let task = tokio::spawn(serve_router(listener, router, settings, stop.clone()));
    TestServer { address, stop, task, go_on, entered }
}

impl TestServer {
    /// Everything works as before.
    async fn still_serves(&self) {
        let answer = request(self.address, "POST /echo HTTP/1.1", "hello").await;
        assert_eq!((answer.status, answer.body.as_str()), (200, "hello"));
    }
}

fn quick() -> ServerLimits {
    ServerLimits {
        head_time_max: Duration::from_millis(300),
        body_time_max: Duration::from_millis(300),
        stop_time_max: Duration::from_secs(5),
        ..ServerLimits::default()
    }
}

#[tokio::test]
async fn a_gibibyte_with_a_length_is_refused_before_it_is_read_and_the_connection_closed() {
    let server = start(ServerLimits::default()).await;
    let mut wire = Wire::connect(server.address).await;
    wire.send("POST /echo HTTP/1.1\r\nhost: test\r\ncontent-length: 1073741824\r\n\r\n").await;
    let answer = wire.answer().await;
    assert_eq!((answer.status, answer.code().as_str()), (413, "body_too_large"));
    assert_eq!(answer.header("connection"), Some("close"));
    assert_eq!(answer.json()["where"], "event");
    wire.closed().await;
    server.still_serves().await;
}

#[tokio::test]
async fn who_asks_first_is_told_without_sending_the_body() {
    let server = start(ServerLimits::default()).await;
    let mut wire = Wire::connect(server.address).await;
    wire.send("POST /echo HTTP/1.1\r\nhost: test\r\nexpect: 100-continue\r\ncontent-length: 1073741824\r\n\r\n").await;
    assert_eq!(wire.answer().await.status, 413);

    let mut wire = Wire::connect(server.address).await;
    wire.send("POST /echo HTTP/1.1\r\nhost: test\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n").await;
    assert_eq!(wire.answer().await.status, 100);
    wire.send("ok").await;
    assert_eq!(wire.answer().await.body, "ok");
}

#[tokio::test]
async fn a_gibibyte_in_chunks_is_refused_at_the_limit() {
    let server = start(ServerLimits::default()).await;
    let mut wire = Wire::connect(server.address).await;
    wire.send("POST /echo HTTP/1.1\r\nhost: test\r\ntransfer-encoding: chunked\r\n\r\n").await;
    let mut chunk = b"1000\r\n".to_vec();
    chunk.extend_from_slice(&[b'a'; 0x1000]);
    chunk.extend_from_slice(b"\r\n");
    let mut sent_bytes = 0;
    // The client sends on without reading, as clients do, until the server has hung up.
    while sent_bytes < 1 << 30 && wire.try_send(&chunk).await {
        sent_bytes += 0x1000;
    }
    assert!(sent_bytes < 64 << 20, "the server read {sent_bytes} bytes of a body that it does not want");
    server.still_serves().await;
}

#[tokio::test]
async fn a_client_that_sends_a_little_too_much_gets_to_read_its_answer() {
    let server = start(ServerLimits::default()).await;
    let mut wire = Wire::connect(server.address).await;
    wire.send("POST /echo HTTP/1.1\r\nhost: test\r\ntransfer-encoding: chunked\r\n\r\n").await;
    // A megabyte over the limit, all of it sent before the answer is read: no reset may overtake the answer.
    wire.send("110000\r\n").await;
    wire.send(vec![b'a'; 0x11_0000]).await;
    wire.send("\r\n0\r\n\r\n").await;
    let answer = wire.answer().await;
    assert_eq!((answer.status, answer.code().as_str()), (413, "body_too_large"));
    wire.closed().await;
}

#[tokio::test]
async fn a_body_that_stops_half_way_is_given_up() {
    let server = start(quick()).await;
    let mut wire = Wire::connect(server.address).await;
    wire.send("POST /echo HTTP/1.1\r\nhost: test\r\ncontent-length: 10\r\n\r\n12345").await;
    let answer = wire.answer().await;
    assert_eq!((answer.status, answer.code().as_str()), (408, "body_timeout"));
    wire.closed().await;
    server.still_serves().await;
}

#[tokio::test]
async fn too_many_headers_are_431_and_a_hundred_are_not() {
    let server = start(ServerLimits::default()).await;
    let many = |count: usize| {
        let headers: String = (0..count).map(|number| format!("\nx-{number}: 1")).collect();
        format!("POST /echo HTTP/1.1{headers}")
    };
    // `request` adds host and content-length.
    assert_eq!(request(server.address, &many(98), "hello").await.status, 200);
    assert_eq!(request(server.address, &many(99), "hello").await.status, 431);
    assert_eq!(request(server.address, &many(1000), "hello").await.status, 431);
    server.still_serves().await;
}

#[tokio::test]
async fn a_mebibyte_of_header_is_431_also_as_a_token() {
    let server = start(ServerLimits::default()).await;
    for name in ["x-large", "authorization: Bearer"] {
        let mut wire = Wire::connect(server.address).await;
        wire.send(format!("POST /echo HTTP/1.1\r\nhost: test\r\n{name}: ")).await;
        wire.try_send(vec![b'a'; 1 << 20]).await;
        wire.try_send("\r\n\r\n").await;
        assert_eq!(wire.answer().await.status, 431);
        wire.closed().await;
    }
    let answer =
        request(server.address, &format!("POST /echo HTTP/1.1\nx-fits: {}", "a".repeat(50_000)), "hello").await;
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn a_head_that_drips_is_cut_off() {
    let server = start(quick()).await;
    let mut wire = Wire::connect(server.address).await;
    let began = tokio::time::Instant::now();
    while wire.try_send("x").await {
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(began.elapsed() < Duration::from_secs(10), "the head may take 300 ms");
    }
    server.still_serves().await;
}

#[tokio::test]
async fn a_client_that_asks_and_never_listens_does_not_keep_its_place() {
    let server = start(ServerLimits { answer_stall_max: Duration::from_millis(300), ..quick() }).await;
    let mut wire = Wire::connect(server.address).await;
    let question = "GET /nothing HTTP/1.1\r\nhost: test\r\n\r\n".repeat(1000);
    // One question after another and no answer read: at some time neither side can send any more.
    let began = tokio::time::Instant::now();
    let asking = async { while wire.try_send(&question).await {} };
    tokio::time::timeout(Duration::from_secs(60), asking).await.expect("the connection was kept");
    assert!(began.elapsed() >= Duration::from_millis(300), "{:?}", began.elapsed());
    server.still_serves().await;
}

#[tokio::test]
async fn a_connection_that_idles_between_requests_is_closed() {
    let server = start(quick()).await;
    let mut wire = Wire::connect(server.address).await;
    for _ in 0..2 {
        wire.send("POST /echo HTTP/1.1\r\nhost: test\r\ncontent-length: 1\r\n\r\na").await;
        assert_eq!(wire.answer().await.status, 200);
    }
    wire.closed().await;
}

#[tokio::test]
async fn connections_over_the_limit_are_told_and_closed_and_places_come_back() {
    let server = start(ServerLimits { connections_max: 2, ..ServerLimits::default() }).await;
    let idle = [Wire::connect(server.address).await, Wire::connect(server.address).await];
    let mut third = Wire::connect(server.address).await;
    let answer = third.answer().await;
    assert_eq!((answer.status, answer.code().as_str()), (503, "too_many_connections"));
    assert!(answer.header("retry-after").is_some());
    third.closed().await;

    drop(idle);
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    loop {
        let mut wire = Wire::connect(server.address).await;
        wire.try_send("POST /echo HTTP/1.1\r\nhost: test\r\ncontent-length: 5\r\n\r\nhello").await;
        if wire.answer().await.status == 200 {
            break;
        }
        assert!(tokio::time::Instant::now() < deadline, "the places of closed connections did not come back");
    }
}

#[tokio::test]
async fn the_memory_for_bodies_is_shared_and_bounded() {
    let limits = ServerLimits { bodies_bytes_max: 16 * 1024, ..ServerLimits::default() };
    let server = start(limits).await;
    let answer = request(server.address, "POST /echo HTTP/1.1", vec![b'a'; 32 * 1024]).await;
    assert_eq!((answer.status, answer.code().as_str()), (503, "busy"));
    server.still_serves().await;
}

#[tokio::test]
async fn a_panic_is_answered_and_ends_one_request_only() {
    let server = start(ServerLimits::default()).await;
    let answer = request(server.address, "GET /panics HTTP/1.1", "").await;
    assert_eq!((answer.status, answer.code().as_str()), (500, "internal"));
    assert!(!answer.body.contains("on purpose"), "the log has it, the client does not");
    server.still_serves().await;
}

#[tokio::test]
async fn a_length_and_chunks_at_once_smuggle_nothing_in() {
    // RFC 9112, section 6.1: the chunks count, and the connection ends with the answer.
    let server = start(ServerLimits::default()).await;
    for head in ["content-length: 5\r\ntransfer-encoding: chunked", "transfer-encoding: chunked\r\ncontent-length: 5"] {
        let mut wire = Wire::connect(server.address).await;
        wire.send(format!("POST /echo HTTP/1.1\r\nhost: test\r\n{head}\r\n\r\n")).await;
        wire.send("0\r\n\r\nGET /panics HTTP/1.1\r\nhost: smuggled\r\n\r\n").await;
        assert_eq!(wire.answer().await.body, "");
        wire.closed().await;
    }
}

#[tokio::test]
async fn a_body_of_unclear_length_is_400_and_the_connection_closed() {
    let server = start(ServerLimits::default()).await;
    for head in ["content-length: 5\r\ncontent-length: 6", "transfer-encoding: gzip", "content-length: -1"] {
        let mut wire = Wire::connect(server.address).await;
        wire.send(format!("POST /echo HTTP/1.1\r\nhost: test\r\n{head}\r\n\r\n")).await;
        assert_eq!(wire.answer().await.status, 400, "{head}");
        wire.closed().await;
    }
    server.still_serves().await;
}

#[tokio::test]
async fn broken_chunks_are_400_and_the_connection_closed() {
    let server = start(ServerLimits::default()).await;
    for size in ["FFFFFFFFFFFFFFFFF", "-1", "0x10", "z"] {
        let mut wire = Wire::connect(server.address).await;
        wire.send(format!("POST /echo HTTP/1.1\r\nhost: test\r\ntransfer-encoding: chunked\r\n\r\n{size}\r\n")).await;
        let answer = wire.answer().await;
        assert_eq!((answer.status, answer.code().as_str()), (400, "body_incomplete"), "{size}");
        wire.closed().await;
    }
}

#[tokio::test]
async fn a_stop_lets_the_request_in_flight_end_and_takes_no_other() {
    let server = start(quick()).await;
    let mut in_flight = Wire::connect(server.address).await;
    let mut idle = Wire::connect(server.address).await;
    idle.send("POST /echo HTTP/1.1\r\nhost: test\r\ncontent-length: 1\r\n\r\na").await;
    assert_eq!(idle.answer().await.status, 200);
    in_flight.send("GET /slow HTTP/1.1\r\nhost: test\r\n\r\n").await;
    server.entered.notified().await;

    server.stop.cancel();
    idle.closed().await;
    assert!(!server.task.is_finished(), "a request is in flight");
    server.go_on.notify_one();
    assert_eq!(in_flight.answer().await.body, "done");
    tokio::time::timeout(Duration::from_secs(5), server.task).await.expect("the server did not end").unwrap();
    assert!(tokio::net::TcpStream::connect(server.address).await.is_err(), "nobody listens any more");
}

#[tokio::test]
async fn a_stop_does_not_wait_for_ever() {
    let server = start(ServerLimits { stop_time_max: Duration::from_millis(200), ..ServerLimits::default() }).await;
    let mut in_flight = Wire::connect(server.address).await;
    in_flight.send("GET /slow HTTP/1.1\r\nhost: test\r\n\r\n").await;
    server.entered.notified().await;
    server.stop.cancel();
    tokio::time::timeout(Duration::from_secs(5), server.task).await.expect("the server did not end").unwrap();
    in_flight.closed().await;
}
