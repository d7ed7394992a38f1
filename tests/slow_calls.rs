//! Deliveries are taken many at a time, and each goes its own way from there: one that is slow, or that ends in a fault of
//! ours, keeps none of the others waiting.
//!
//! The whole broker runs under paused time on a simulated disk.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use eventyard::broker::Broker;
use eventyard::clock::Clocks;
use eventyard::config::{self, Project, Surroundings};
use eventyard::dispatch::dispatch;
use eventyard::in_force::{Callees, InForce};
use eventyard::origin::Origin;
use eventyard_connectors::sink::{Ends, SendEach, SendError, SendRequest, Sent, Sink};
use eventyard_connectors::source::Incoming;
use eventyard_event::{Data, Event, EventId, Name, Timestamp, format_text};
use eventyard_store::disk::SimulatedDisk;
use eventyard_store::{DeliveryState, LocalStore, Options};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

const NOW: &str = "2026-11-21T12:00:00Z";

/// How long a slow call takes; the others take none or a hundredth of a second.
const SLOW: Duration = Duration::from_secs(20);

/// Does what an event's type says, and counts how many calls are under way.
#[derive(Default)]
struct Target {
    /// It is handed many at once.
    many: bool,
    under_way: AtomicUsize,
    most: AtomicUsize,
    /// It answers nothing.
    hangs: AtomicBool,
}

#[async_trait]
impl Sink for Target {
    async fn send(&self, request: SendRequest) -> Result<Sent, SendError> {
        self.most.fetch_max(self.under_way.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        if self.hangs.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        match request.event.event.ty.as_str() {
            "slow" => tokio::time::sleep(SLOW).await,
            "soon" => tokio::time::sleep(Duration::from_millis(10)).await,
            "faulty" => {
                tokio::time::sleep(Duration::from_millis(10)).await;
                panic!("a fault, as it is planned here");
            }
            _ => {}
        }
        self.under_way.fetch_sub(1, Ordering::SeqCst);
        Ok(Sent::default())
    }

    fn many(&self) -> Option<&dyn SendEach> {
        self.many.then_some(self)
    }
}

#[async_trait]
impl SendEach for Target {
    async fn send_each(&self, requests: Vec<SendRequest>, ends: &Arc<Ends>) {
        let send = |(place, request)| async move { ends.end(place, self.send(request).await) };
        requests.into_iter().enumerate().map(send).collect::<FuturesUnordered<_>>().collect::<()>().await;
    }
}

struct World {
    broker: Arc<Broker>,
    target: Arc<Target>,
    _stop: DropGuard,
}

impl World {
    fn new(concurrency: usize, many: bool) -> World {
        let clocks = Clocks::tokio(Timestamp::parse(NOW).unwrap());
        let target = Arc::new(Target { many, ..Target::default() });
        let sink: Arc<dyn Sink> = Arc::clone(&target) as _;
        let callees = Callees { sinks: HashMap::from([(Name::new("target").unwrap(), sink)]), ..Callees::default() };
        let in_force = InForce::new(Arc::new(project(concurrency)), &callees);
        let disk = SimulatedDisk::new(1);
        let (store, _) = LocalStore::open_simulated(disk, Options::default(), Arc::clone(&clocks.steady)).unwrap();
        let broker = Arc::new(Broker::new(Arc::new(store), clocks, in_force, 7));
        let stop = CancellationToken::new();
        tokio::spawn(dispatch(Arc::clone(&broker), TaskTracker::new(), stop.clone()));
        broker.set_accepting(true);
        World { broker, target, _stop: stop.drop_guard() }
    }

    /// All in one commit, so that they are taken together.
    async fn send(&self, types: &[&str]) -> Vec<EventId> {
        let origin = Origin {
            namespace: Name::default_namespace(),
            source_name: Name::new("events").unwrap(),
            tags: Vec::new(),
        };
        let incoming = |(number, ty): (usize, &&str)| {
            let event = Event {
                id: format_text!("e-{number}"),
                source: "/shop".into(),
                ty: (*ty).into(),
                data: Data::Json("{}".into()),
                ..Event::default()
            };
            Incoming { event, keys_unique: true, dedupe: None }
        };
        let events = types.iter().enumerate().map(incoming).collect();
        let receipts = self.broker.admit(&origin, events).await.unwrap();
        receipts.into_iter().map(|receipt| receipt.event).collect()
    }

    /// How many are delivered, and how many are in flight.
    async fn stand(&self, events: &[EventId]) -> (usize, usize) {
        let mut found = (0, 0);
        for event in events {
            match self.broker.store().delivery(event.delivery(0)).await.unwrap().unwrap().state {
                DeliveryState::Delivered => found.0 += 1,
                DeliveryState::InFlight => found.1 += 1,
                _ => {}
            }
        }
        found
    }
}

fn project(concurrency: usize) -> Project {
    let text = format!(
        "[sink.target]\nkind = \"discard\"\n\n[[rule]]\nname = \"all\"\npattern = {{ source = [\"/shop\"] }}\n\
         target = {{ sink = \"target\", concurrency = {concurrency}, timeout = \"60s\" }}\n"
    );
    let files = vec![("eventyard.toml".to_owned(), text)];
    let now = Timestamp::parse(NOW).unwrap();
    match config::load_files(Path::new("/project"), files, &Surroundings { env: &|_| None, now }) {
        Ok((project, _)) => project,
        Err(report) => panic!("{report}"),
    }
}

/// A sink that is handed one at a time, and one that is handed many.
const BOTH: [bool; 2] = [false, true];

#[tokio::test(start_paused = true)]
async fn slow_calls_hold_back_none_of_those_that_were_taken_with_them() {
    for many in BOTH {
        let world = World::new(100, many);
        let types: Vec<&str> = (0..90).map(|number| ["slow", "soon", "at once"][number % 3]).collect();
        let events = world.send(&types).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(world.stand(&events).await, (60, 30), "many: {many}");
        tokio::time::sleep(SLOW).await;
        assert_eq!(world.stand(&events).await, (90, 0), "many: {many}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_ends_gives_its_place_to_the_next_while_others_of_its_batch_go_on() {
    for many in BOTH {
        let world = World::new(4, many);
        let types: Vec<&str> = (0..40).map(|number| if number < 3 { "slow" } else { "soon" }).collect();
        let events = world.send(&types).await;
        // Three places are taken for long; through the fourth go all the others, one after another.
        tokio::time::sleep(SLOW / 2).await;
        assert_eq!(world.stand(&events).await, (37, 3), "many: {many}");
        assert_eq!(world.target.most.load(Ordering::SeqCst), 4, "never more than `concurrency`");
    }
}

#[tokio::test(start_paused = true)]
async fn a_fault_in_one_call_takes_none_of_the_others_with_it() {
    let world = World::new(100, false);
    let types: Vec<&str> = (0..30).map(|number| ["soon", "faulty", "at once"][number % 3]).collect();
    let events = world.send(&types).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    // What broke off keeps its lease, and the next start finds it interrupted.
    assert_eq!(world.stand(&events).await, (20, 10));
}

#[tokio::test(start_paused = true)]
async fn a_fault_in_a_call_for_many_takes_none_with_it_that_had_ended_and_no_place_at_the_target() {
    let world = World::new(30, true);
    let types: Vec<&str> = (0..30).map(|number| ["slow", "faulty", "at once"][number % 3]).collect();
    let broken = world.send(&types).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(world.stand(&broken).await, (10, 20));
    let events = world.send(&["soon"; 60]).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(world.stand(&events).await, (60, 0));
}

#[tokio::test(start_paused = true)]
async fn many_that_are_not_answered_in_time_have_failed() {
    let world = World::new(100, true);
    world.target.hangs.store(true, Ordering::SeqCst);
    let events = world.send(&["at once"; 20]).await;
    tokio::time::sleep(Duration::from_secs(59)).await;
    assert_eq!(world.stand(&events).await, (0, 20));
    tokio::time::sleep(Duration::from_secs(2)).await;
    let view = world.broker.store().delivery(events[7].delivery(0)).await.unwrap().unwrap();
    assert_eq!((view.state, view.attempts), (DeliveryState::Waiting, 1));
    world.target.hangs.store(false, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(world.stand(&events).await, (20, 0));
}
