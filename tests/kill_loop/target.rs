//! The other side: an HTTP server that writes down each call before it answers well, badly, late or never.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::DEADLINE;

/// How the server feels about calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mood {
    /// Answers 200; what is doomed stays doomed.
    Good,
    /// Answers 503, so that work piles up.
    Down,
    /// Anything may happen.
    Fickle,
}

/// What was done with one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reaction {
    /// 200 at once.
    Good,
    /// 200 after some time.
    Slow(Duration),
    /// 503.
    Busy,
    /// 404, which no retry can mend.
    Gone,
    /// No answer for as long as anybody waits.
    Hang,
    /// The connection is closed instead of an answer.
    Drop,
}

/// One call, as it came.
#[derive(Clone, Debug)]
pub(super) struct Call {
    /// `webhook-id`.
    pub(super) delivery: String,
    /// `eventyard-attempt`.
    pub(super) attempt: u64,
    /// Which run of the broker sent it.
    pub(super) run: u32,
    pub(super) reaction: Reaction,
}

struct Shared {
    seed: u64,
    mood: Mutex<Mood>,
    calls: Mutex<Vec<Call>>,
    count: watch::Sender<usize>,
}

pub(super) struct Target {
    pub(super) address: SocketAddr,
    shared: Arc<Shared>,
}

impl Target {
    pub(super) async fn start(seed: u64) -> Target {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (count, _) = watch::channel(0);
        let shared = Shared { seed, mood: Mutex::new(Mood::Good), calls: Mutex::new(Vec::new()), count };
        let shared = Arc::new(shared);
        tokio::spawn(serve(listener, Arc::clone(&shared)));
        Target { address, shared }
    }

    pub(super) fn set_mood(&self, mood: Mood) {
        *self.shared.mood.lock().unwrap() = mood;
    }

    pub(super) fn call_count(&self) -> usize {
        *self.shared.count.borrow()
    }

    /// Returns once there have been so many calls.
    pub(super) async fn called(&self, count: usize) {
        let mut seen = self.shared.count.subscribe();
        let reached = tokio::time::timeout(DEADLINE, seen.wait_for(|seen| *seen >= count)).await;
        reached.expect("the broker stopped calling its targets").unwrap();
    }

    /// Every call so far, in the order in which they were read.
    pub(super) fn calls(&self) -> Vec<Call> {
        self.shared.calls.lock().unwrap().clone()
    }
}

async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            let service = service_fn(move |request| answer(Arc::clone(&shared), request));
            // An error is a connection that we dropped, or that ended with a broker.
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

/// The connection is to be closed without an answer.
#[derive(Debug, thiserror::Error)]
#[error("dropped on purpose")]
struct Dropped;

async fn answer(shared: Arc<Shared>, request: Request<Incoming>) -> Result<Response<Empty<Bytes>>, Dropped> {
    let (head, body) = request.into_parts();
    // A request that was cut off was none.
    let Ok(_) = body.collect().await else { return Err(Dropped) };
    let text = |name: &str| head.headers.get(name).map(|value| value.to_str().unwrap().to_owned());
    let delivery = text("webhook-id").unwrap();
    let attempt: u64 = text("eventyard-attempt").unwrap().parse().unwrap();
    let run = text("x-run").unwrap().parse().unwrap();
    let doomed = text("x-doomed").is_some();
    let alert = text("ce-type").is_some_and(|ty| ty.starts_with("eventyard."));
    let mood = *shared.mood.lock().unwrap();
    let reaction = react(shared.seed, mood, &delivery, attempt, doomed, alert);
    shared.calls.lock().unwrap().push(Call { delivery, attempt, run, reaction });
    shared.count.send_modify(|count| *count += 1);
    let status = match reaction {
        Reaction::Good => StatusCode::OK,
        Reaction::Slow(pause) => {
            tokio::time::sleep(pause).await;
            StatusCode::OK
        }
        Reaction::Busy => StatusCode::SERVICE_UNAVAILABLE,
        Reaction::Gone => StatusCode::NOT_FOUND,
        Reaction::Hang => std::future::pending().await,
        Reaction::Drop => return Err(Dropped),
    };
    let mut response = Response::new(Empty::new());
    *response.status_mut() = status;
    Ok(response)
}

/// The same for the same attempt, whatever the order in which calls come.
fn react(seed: u64, mood: Mood, delivery: &str, attempt: u64, doomed: bool, alert: bool) -> Reaction {
    let mixed = delivery
        .bytes()
        .fold(seed ^ attempt.rotate_left(32), |sum, byte| (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    let mut random = fastrand::Rng::with_seed(mixed);
    if doomed {
        return if random.bool() { Reaction::Gone } else { Reaction::Busy };
    }
    match (mood, random.u32(0..100)) {
        (Mood::Good, _) => Reaction::Good,
        // Channels retry a second and more apart; one failure each is enough to see it.
        (_, 0..10) if alert && attempt == 1 => Reaction::Busy,
        (_, _) if alert => Reaction::Good,
        (Mood::Down, _) => Reaction::Busy,
        (Mood::Fickle, 0..8) => Reaction::Busy,
        (Mood::Fickle, 8..14) => Reaction::Slow(Duration::from_millis(random.u64(5..60))),
        (Mood::Fickle, 14..17) => Reaction::Drop,
        (Mood::Fickle, 17..19) => Reaction::Hang,
        (Mood::Fickle, _) => Reaction::Good,
    }
}
