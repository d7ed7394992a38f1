//! The machine's clock is set by hand, or by a time server that was far off: retries keep their pauses, budgets their
//! length, and a timer fires neither in a burst nor twice.
//!
//! The whole broker runs under paused time on a simulated disk; only the wall clock jumps, as it does on a machine.

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use eventyard::broker::Broker;
use eventyard::callees::{self, Built};
use eventyard::clock::Clocks;
use eventyard::config::{self, Project, Surroundings};
use eventyard::dead_letter::Selection;
use eventyard::dispatch::dispatch;
use eventyard::in_force::{Callees, InForce};
use eventyard::origin::Origin;
use eventyard_connectors::sink::{SendError, SendRequest, Sent, Sink};
use eventyard_connectors::source::Incoming;
use eventyard_event::{Data, Event, EventId, Name, Timestamp};
use eventyard_store::disk::SimulatedDisk;
use eventyard_store::{DeliveryState, LocalStore, Options};
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

/// A Saturday, five minutes past noon.
const BEGAN_AT: &str = "2026-11-21T12:05:00Z";

const PROJECT: &str = r#"
[sink.target]
kind = "discard"

[source.hourly]
kind = "timer"
schedule = "0 * * * *"
overlap = "allow"

[[rule]]
name = "orders"
pattern = { type = ["order.created"] }
target = { sink = "target", retry = { attempts = 4, backoff = "60s", backoff_max = "4m", max_age = "30m", jitter = 0 } }

[[rule]]
name = "hours"
from = ["hourly"]
target = { sink = "target" }
"#;

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const DAY_MILLIS: i64 = 86_400_000;

/// Ten days ahead, ten days back, an hour back.
const JUMPS: [i64; 3] = [10 * DAY_MILLIS, -10 * DAY_MILLIS, -DAY_MILLIS / 24];

/// A target that fails for orders as often as it is told to, and knows when it was called.
struct Target {
    began: Instant,
    failures_left: AtomicU32,
    /// Seconds since the beginning, and the event.
    calls: Mutex<Vec<(u64, String)>>,
}

#[async_trait]
impl Sink for Target {
    async fn send(&self, request: SendRequest) -> Result<Sent, SendError> {
        let call = (self.began.elapsed().as_secs(), request.event.event.id.to_string());
        self.calls.lock().unwrap().push(call);
        if request.event.event.ty != "order.created" {
            return Ok(Sent::default());
        }
        let left = self.failures_left.load(Ordering::SeqCst);
        self.failures_left.store(left.saturating_sub(1), Ordering::SeqCst);
        if left > 0 { Err(SendError::retryable("http_503", "not now")) } else { Ok(Sent::default()) }
    }
}

struct World {
    broker: Arc<Broker>,
    target: Arc<Target>,
    /// By how much the wall clock is off.
    wall_off_millis: Arc<AtomicI64>,
    _stop: DropGuard,
}

impl World {
    fn new(failures: u32) -> World {
        let began_at = Timestamp::parse(BEGAN_AT).unwrap();
        let steady = Clocks::tokio(began_at).steady;
        let wall_off_millis = Arc::new(AtomicI64::new(0));
        let (ticking, off) = (Arc::clone(&steady), Arc::clone(&wall_off_millis));
        let wall = Arc::new(move || Timestamp::from_millis(ticking().as_millis() + off.load(Ordering::SeqCst)));
        let clocks = Clocks { wall, steady };

        let target = Target { began: Instant::now(), failures_left: failures.into(), calls: Mutex::default() };
        let target = Arc::new(target);
        let sink: Arc<dyn Sink> = Arc::clone(&target) as _;
        let callees = Callees { sinks: HashMap::from([(Name::new("target").unwrap(), sink)]), ..Callees::default() };
        let Built { sources, .. } = callees::build(project(began_at), Path::new("/bin/false"), began_at).unwrap();
        let in_force = InForce::new(Arc::new(project(began_at)), &callees);

        let options = Options::default();
        let (store, _) =
            LocalStore::open_simulated(SimulatedDisk::new(1), options, Arc::clone(&clocks.steady)).unwrap();
        let broker = Arc::new(Broker::new(Arc::new(store), clocks, in_force, 7));
        let stop = CancellationToken::new();
        tokio::spawn(dispatch(Arc::clone(&broker), TaskTracker::new(), stop.clone()));
        broker.set_accepting(true);
        broker.run_sources(sources);
        World { broker, target, wall_off_millis, _stop: stop.drop_guard() }
    }

    /// Sets the wall clock.
    fn jump(&self, by_millis: i64) {
        self.wall_off_millis.fetch_add(by_millis, Ordering::SeqCst);
    }

    async fn order(&self) -> EventId {
        let origin = Origin {
            namespace: Name::default_namespace(),
            source_name: Name::new("events").unwrap(),
            tags: Vec::new(),
        };
        let event = Event {
            id: "o-1".into(),
            source: "/shop".into(),
            ty: "order.created".into(),
            data: Data::Json("{}".into()),
            ..Event::default()
        };
        let incoming = Incoming { event, keys_unique: true, dedupe: None };
        self.broker.admit(&origin, vec![incoming]).await.unwrap().remove(0).event
    }

    /// At which seconds the target was called for events that are no timer's.
    fn order_calls(&self) -> Vec<u64> {
        let calls = self.target.calls.lock().unwrap();
        calls.iter().filter(|(_, id)| id == "o-1").map(|(at, _)| *at).collect()
    }

    /// The ids of what the timer fired: its name and the instant.
    fn fired(&self) -> Vec<String> {
        let calls = self.target.calls.lock().unwrap();
        calls.iter().filter(|(_, id)| id.starts_with("hourly@")).map(|(_, id)| id.clone()).collect()
    }

    async fn state(&self, event: EventId) -> DeliveryState {
        self.broker.store().delivery(event.delivery(0)).await.unwrap().unwrap().state
    }
}

fn project(now: Timestamp) -> Project {
    let files = vec![("eventyard.toml".to_owned(), PROJECT.to_owned())];
    match config::load_files(Path::new("/project"), files, &Surroundings { env: &|_| None, now }) {
        Ok((project, _)) => project,
        Err(report) => panic!("{report}"),
    }
}

/// Lets time pass; all that is due in it happens.
async fn pass(time: Duration) {
    tokio::time::sleep(time).await;
}

/// Row R11: retries.
#[tokio::test(start_paused = true)]
async fn a_jump_while_a_delivery_waits_leaves_its_pauses_as_they_were() {
    for jump in JUMPS {
        let world = World::new(2);
        let event = world.order().await;
        pass(Duration::from_secs(10)).await;
        world.jump(jump);
        pass(10 * MINUTE).await;
        assert_eq!(world.order_calls(), [0, 60, 180], "a jump by {jump} ms");
        assert_eq!(world.state(event).await, DeliveryState::Delivered);
    }
}

/// Row R11: retries.
#[tokio::test(start_paused = true)]
async fn a_jump_before_an_event_comes_leaves_its_budget_as_it_was() {
    for jump in JUMPS {
        let world = World::new(2);
        world.jump(jump);
        let event = world.order().await;
        pass(10 * MINUTE).await;
        assert_eq!(world.order_calls(), [0, 60, 180], "a jump by {jump} ms");
        assert_eq!(world.state(event).await, DeliveryState::Delivered, "a jump by {jump} ms");
    }
}

#[tokio::test(start_paused = true)]
async fn a_replay_after_a_jump_has_a_whole_budget() {
    for jump in JUMPS {
        let world = World::new(6);
        let event = world.order().await;
        pass(10 * MINUTE).await;
        assert_eq!(world.state(event).await, DeliveryState::Dead);
        assert_eq!(world.order_calls(), [0, 60, 180, 420]);
        world.jump(jump);
        let replayed = world.broker.replay(Selection::All, None, false).await.unwrap();
        assert_eq!(replayed.replayed, 1);
        pass(10 * MINUTE).await;
        assert_eq!(world.order_calls()[4..], [600, 660, 780], "a jump by {jump} ms");
        assert_eq!(world.state(event).await, DeliveryState::Delivered, "a jump by {jump} ms");
    }
}

/// Row R11: timers.
#[tokio::test(start_paused = true)]
async fn a_timer_makes_no_burst_of_ten_days_and_fires_nothing_twice() {
    let world = World::new(0);
    pass(HOUR).await;
    assert_eq!(world.fired(), ["hourly@2026-11-21T13:00:00Z"]);
    world.jump(10 * DAY_MILLIS);
    pass(2 * MINUTE).await;
    // It was 13:05, and is 13:07 ten days later: the newest of 240 missed instants, and no other.
    assert_eq!(world.fired()[1..], ["hourly@2026-12-01T13:00:00Z"]);
    pass(HOUR).await;
    assert_eq!(world.fired()[2..], ["hourly@2026-12-01T14:00:00Z"]);
    world.jump(-DAY_MILLIS / 24);
    // 14:00 comes a second time and is not fired again.
    pass(HOUR).await;
    assert_eq!(world.fired().len(), 3, "{:?}", world.fired());
    pass(HOUR).await;
    assert_eq!(world.fired()[3..], ["hourly@2026-12-01T15:00:00Z"]);
}
