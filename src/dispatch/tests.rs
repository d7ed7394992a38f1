//! How much is under way at a time, with the whole broker under paused time on a simulated disk.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use eventyard_connectors::sink::{SendError, SendRequest, Sent, Sink};
use eventyard_connectors::source::Incoming;
use eventyard_event::{Data, Event, EventId, Name, Timestamp};
use eventyard_store::disk::{DiskFaults, SimulatedDisk};
use eventyard_store::{DeliveryState, LocalStore, Options};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::*;
use crate::clock::Clocks;
use crate::config::{self, Surroundings};
use crate::in_force::{Callees, InForce};
use crate::origin::Origin;

const DATA_BYTES: usize = 1000;

/// Holds each call until it is let go.
struct Target {
    let_go: Semaphore,
    under_way: AtomicUsize,
    most: AtomicUsize,
}

#[async_trait]
impl Sink for Target {
    async fn send(&self, _: SendRequest) -> Result<Sent, SendError> {
        self.most.fetch_max(self.under_way.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        self.let_go.acquire().await.unwrap().forget();
        self.under_way.fetch_sub(1, Ordering::SeqCst);
        Ok(Sent::default())
    }
}

/// A broker with so many rules that all match the same event, each with a queue of its own.
fn world(rules: usize) -> (Arc<Broker>, Arc<Target>, SimulatedDisk) {
    let mut text = "[sink.target]\nkind = \"discard\"\n".to_owned();
    for number in 0..rules {
        text.push_str(&format!(
            "\n[[rule]]\nname = \"r{number}\"\npattern = {{ source = [\"/shop\"] }}\ntarget = {{ sink = \"target\" }}\n"
        ));
    }
    let now = Timestamp::parse("2026-11-21T12:00:00Z").unwrap();
    let files = vec![("eventyard.toml".to_owned(), text)];
    let loaded = config::load_files(Path::new("/project"), files, &Surroundings { env: &|_| None, now });
    let (project, _) = loaded.unwrap_or_else(|report| panic!("{}", report.render(false)));
    let target =
        Arc::new(Target { let_go: Semaphore::new(0), under_way: AtomicUsize::new(0), most: AtomicUsize::new(0) });
    let sink: Arc<dyn Sink> = Arc::clone(&target) as _;
    let callees = Callees { sinks: HashMap::from([(Name::new("target").unwrap(), sink)]), ..Callees::default() };
    let clocks = Clocks::tokio(now);
    let disk = SimulatedDisk::new(1);
    let (store, _) = LocalStore::open_simulated(disk.clone(), Options::default(), Arc::clone(&clocks.steady)).unwrap();
    let broker = Arc::new(Broker::new(Arc::new(store), clocks, InForce::new(Arc::new(project), &callees), 7));
    broker.set_accepting(true);
    (broker, target, disk)
}

async fn send(broker: &Broker) -> EventId {
    let origin =
        Origin { namespace: Name::default_namespace(), source_name: Name::new("events").unwrap(), tags: Vec::new() };
    let data = Data::Json(format!("\"{}\"", "x".repeat(DATA_BYTES - 2)).into());
    let event = Event { id: "1".into(), source: "/shop".into(), ty: "order".into(), data, ..Event::default() };
    let receipts = broker.admit(&origin, vec![Incoming { event, keys_unique: true, dedupe: None }]).await.unwrap();
    receipts[0].event
}

async fn delivered(broker: &Broker, event: EventId) -> usize {
    let view = broker.store().event(event).await.unwrap().unwrap();
    view.deliveries.iter().filter(|delivery| delivery.state == DeliveryState::Delivered).count()
}

#[tokio::test(start_paused = true)]
async fn no_more_bytes_are_under_way_than_may_and_one_take() {
    let (broker, target, _) = world(7);
    let (stop, attempts) = (CancellationToken::new(), TaskTracker::new());
    let bytes_max = DATA_BYTES * 5 / 2;
    tokio::spawn(dispatch_within(bytes_max, Arc::clone(&broker), attempts.clone(), stop.clone()));
    let event = send(&broker).await;
    // Two are within the bound, and the third goes beyond it.
    for done in 0..7 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let wanted = (7 - done).min(3);
        assert_eq!((delivered(&broker, event).await, target.under_way.load(Ordering::SeqCst)), (done, wanted));
        target.let_go.add_permits(1);
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!((delivered(&broker, event).await, target.most.load(Ordering::SeqCst)), (7, 3));
    stop.cancel();
}

/// What was told, of how many, and when.
type News = (&'static str, usize, Instant);

#[derive(Clone, Default)]
struct Noted(Arc<std::sync::Mutex<Vec<News>>>);

impl Called for Noted {
    async fn called(&self, count: usize) {
        self.0.lock().unwrap().push(("called", count, Instant::now()));
    }

    async fn settled(&self, count: usize) {
        self.0.lock().unwrap().push(("settled", count, Instant::now()));
    }
}

/// A place at a target is free when its call has ended, though the outcome is still on its way to the disk.
#[tokio::test(start_paused = true)]
async fn a_place_is_free_before_the_outcome_is_on_disk() {
    let (broker, target, disk) = world(1);
    let event = send(&broker).await;
    let now = broker.clocks().steady_now();
    let ready = broker.store().ready(now);
    let taken = broker.store().take(&ready[0].queue, 1, now, LEASE).await.unwrap();
    let noted = Noted::default();
    let attempt = tokio::spawn({
        let (broker, noted) = (Arc::clone(&broker), noted.clone());
        async move { attempt_each(&broker, taken, &TaskTracker::new(), noted).await }
    });
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!((target.under_way.load(Ordering::SeqCst), noted.0.lock().unwrap().len()), (1, 0), "it is being called");
    disk.set_faults(DiskFaults { slowness_max: Duration::from_secs(60), ..DiskFaults::default() });
    let answered_at = Instant::now();
    target.let_go.add_permits(1);
    attempt.await.unwrap();
    let noted = noted.0.lock().unwrap().clone();
    assert_eq!(
        noted.iter().map(|(what, count, _)| (*what, *count)).collect::<Vec<_>>(),
        [("called", 1), ("settled", 1)]
    );
    assert_eq!(noted[0].2, answered_at);
    assert!(noted[1].2 > answered_at + Duration::from_secs(1), "the disk takes its time: {noted:?}");
    assert_eq!(delivered(&broker, event).await, 1);
}

#[test]
fn a_call_that_has_ended_frees_its_place_and_its_outcome_the_rest() {
    let name = |text| Name::new(text).unwrap();
    let queue = QueueKey { namespace: Name::default_namespace(), rule: Some(name("r")), target: name("t") };
    let mut in_flight = InFlight::default();
    in_flight.add(&queue, 3, 300);
    in_flight.end(&End::Called(Arc::new(queue.clone()), 2));
    assert_eq!((in_flight.of(&queue), in_flight.total, in_flight.bytes), (1, 3, 300));
    in_flight.end(&End::Settled(2, 200));
    assert_eq!((in_flight.of(&queue), in_flight.total, in_flight.bytes), (1, 1, 100));
    in_flight.end(&End::Called(Arc::new(queue), 1));
    in_flight.end(&End::Settled(1, 100));
    assert_eq!((in_flight.by_queue.len(), in_flight.total, in_flight.bytes), (0, 0, 0));
}
