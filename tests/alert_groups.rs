//! Alerts that come close together reach people as one that names each; and every one of them is still a
//! delivery of its own. Under paused time, with the real journal on a simulated disk.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use eventyard::broker::Broker;
use eventyard::clock::Clocks;
use eventyard::config::{self, AlertKind, Surroundings};
use eventyard::dispatch::dispatch;
use eventyard::in_force::{Callees, InForce};
use eventyard::origin::Origin;
use eventyard_connectors::sink::{SendError, SendRequest, Sent, Sink};
use eventyard_connectors::source::Incoming;
use eventyard_event::{Event, Name, Timestamp};
use eventyard_store::disk::SimulatedDisk;
use eventyard_store::{DeliveryFilter, DeliveryState, LocalStore, Options, PageRequest};
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// A whole multiple of five minutes since 1970.
const BEGAN_AT: Timestamp = Timestamp::from_millis(1_790_000_100_000);

const PROJECT: &str = r#"
[sink.broken]
kind = "discard"

[channel.people]
kind = "webhook"
url = "http://127.0.0.1:9/"
alerts = ["dead_letter", "source_down"]
group = "5m"

[[rule]]
name = "orders"
pattern = { type = ["order"] }
target = { sink = "broken" }
"#;

/// One request that the channel was sent.
#[derive(Clone)]
struct Said {
    at: Timestamp,
    id: String,
    attempt: u32,
    event: Value,
}

/// A channel that keeps what it is sent, and fails as often as it is told to.
struct People {
    clocks: Clocks,
    said: Mutex<Vec<Said>>,
    failures: Mutex<u32>,
}

#[async_trait]
impl Sink for People {
    async fn connect(&self) -> Result<(), SendError> {
        Ok(())
    }

    async fn send(&self, request: SendRequest) -> Result<Sent, SendError> {
        let said = Said {
            at: self.clocks.steady_now(),
            id: request.delivery,
            attempt: request.attempt,
            event: serde_json::from_slice(&request.payload.body).unwrap(),
        };
        self.said.lock().unwrap().push(said);
        let mut failures = self.failures.lock().unwrap();
        if *failures > 0 {
            *failures -= 1;
            return Err(SendError::retryable("http_503", "try again"));
        }
        Ok(Sent::default())
    }

    async fn close(&self) {}
}

/// A target that takes nothing, so that every event dies.
struct Broken;

#[async_trait]
impl Sink for Broken {
    async fn connect(&self) -> Result<(), SendError> {
        Ok(())
    }

    async fn send(&self, _: SendRequest) -> Result<Sent, SendError> {
        Err(SendError::permanent("http_400", "the target answered 400"))
    }

    async fn close(&self) {}
}

struct Bench {
    broker: Arc<Broker>,
    people: Arc<People>,
    stop: CancellationToken,
}

impl Bench {
    fn start() -> Bench {
        let clocks = Clocks::tokio(BEGAN_AT);
        let options = Options { segment_bytes: 256 * 1024, ..Options::default() };
        let (store, _) =
            LocalStore::open_simulated(SimulatedDisk::new(1), options, Arc::clone(&clocks.steady)).unwrap();
        let around = Surroundings { env: &|_| None, now: BEGAN_AT };
        let files = vec![("eventyard.toml".to_owned(), PROJECT.to_owned())];
        let (project, _) = config::load_files(Path::new("/sim"), files, &around)
            .unwrap_or_else(|report| panic!("{}", report.render(false)));
        let people = Arc::new(People { clocks: clocks.clone(), said: Mutex::default(), failures: Mutex::default() });
        let mut callees = Callees::default();
        callees.sinks.insert(Name::new("broken").unwrap(), Arc::new(Broken));
        callees.channels.insert(Name::new("people").unwrap(), Arc::clone(&people) as Arc<dyn Sink>);
        let in_force = InForce::new(Arc::new(project), &callees);
        let broker = Arc::new(Broker::new(Arc::new(store), clocks, in_force, 7));
        let stop = CancellationToken::new();
        tokio::spawn(dispatch(Arc::clone(&broker), TaskTracker::new(), stop.clone()));
        broker.set_accepting(true);
        Bench { broker, people, stop }
    }

    /// An event that dies at once.
    async fn order(&self, id: &str) {
        let event = Event { id: id.into(), source: "/shop".into(), ty: "order".into(), ..Event::default() };
        let source_name = Name::new("shop").unwrap();
        let origin = Origin { namespace: Name::default_namespace(), source_name, tags: Vec::new() };
        self.broker.admit(&origin, vec![Incoming { event, keys_unique: true, dedupe: None }]).await.unwrap();
    }

    /// What people were told so far.
    fn said(&self) -> Vec<Said> {
        self.people.said.lock().unwrap().clone()
    }

    /// The state of every alert.
    async fn alerts(&self) -> Vec<DeliveryState> {
        let filter = DeliveryFilter { target: Some(Name::new("people").unwrap()), ..DeliveryFilter::default() };
        let page = PageRequest { limit: 1000, cursor: None };
        let page = self.broker.store().deliveries(filter, page).await.unwrap();
        page.items.iter().map(|delivery| delivery.state).collect()
    }

    async fn after(&self, seconds: u64) {
        tokio::time::sleep(Duration::from_secs(seconds)).await;
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// The CloudEvents ids of the events that a message tells of.
fn named(said: &Said) -> Vec<String> {
    let alerts = said.event["data"]["alerts"].as_array().unwrap();
    let mut ids: Vec<String> =
        alerts.iter().map(|alert| alert["data"]["cloudevent"]["id"].as_str().unwrap().to_owned()).collect();
    ids.sort();
    ids
}

#[tokio::test(start_paused = true)]
async fn the_alerts_of_a_window_are_sent_as_one_at_its_end_and_each_is_named() {
    let bench = Bench::start();
    bench.after(10).await;
    for id in ["a", "b", "c"] {
        bench.order(id).await;
        bench.after(30).await;
    }
    assert!(bench.said().is_empty(), "the window is not over");
    assert_eq!(bench.alerts().await.len(), 3, "durable all the same, each with its dead letter");
    bench.after(240).await;

    let said = bench.said();
    assert_eq!(said.len(), 1, "one message");
    let waited = said[0].at.since(BEGAN_AT);
    assert!(waited >= Duration::from_secs(300) && waited < Duration::from_secs(301), "{waited:?}");
    assert_eq!(said[0].event["type"], "eventyard.alerts");
    assert_eq!(named(&said[0]), ["a", "b", "c"]);
    let text = said[0].event["data"]["text"].as_str().unwrap();
    assert!(text.starts_with("3 alerts:\n- ") && text.lines().count() == 4, "{text}");
    for alert in said[0].event["data"]["alerts"].as_array().unwrap() {
        assert_eq!(alert["type"], "eventyard.dead_letter");
        assert!(alert["id"].as_str().unwrap().contains(".dead.1"), "its own stable id: {alert}");
        let data = &alert["data"];
        assert_eq!((&data["rule"], &data["target"]), (&"orders".into(), &"broken".into()));
        assert!(data["commands"]["replay"].as_str().unwrap().starts_with("eventyard dead-letters replay "));
    }
    assert!(bench.alerts().await.iter().all(|state| *state == DeliveryState::Delivered));
}

#[tokio::test(start_paused = true)]
async fn an_alert_that_is_alone_in_its_window_is_sent_as_it_is() {
    let bench = Bench::start();
    bench.order("a").await;
    bench.after(301).await;
    bench.order("b").await;
    bench.after(300).await;
    let said = bench.said();
    let types: Vec<&str> = said.iter().map(|said| said.event["type"].as_str().unwrap()).collect();
    assert_eq!(types, ["eventyard.dead_letter", "eventyard.dead_letter"]);
}

#[tokio::test(start_paused = true)]
async fn alerts_of_different_kinds_are_joined_too() {
    let bench = Bench::start();
    bench.order("a").await;
    let data = serde_json::json!({ "text": "the source queue has failed" });
    bench.broker.announce(AlertKind::SourceDown, "queue", &data).await.unwrap();
    bench.after(301).await;
    let said = bench.said();
    assert_eq!(said.len(), 1);
    assert!(said[0].event["data"]["text"].as_str().unwrap().contains("the source queue has failed"));
}

#[tokio::test(start_paused = true)]
async fn a_group_that_fails_is_sent_again_whole_under_the_same_id_and_each_alert_counts_it() {
    let bench = Bench::start();
    *bench.people.failures.lock().unwrap() = 2;
    for id in ["a", "b", "c"] {
        bench.order(id).await;
    }
    bench.after(400).await;
    let said = bench.said();
    assert_eq!(said.iter().map(|said| said.attempt).collect::<Vec<_>>(), [1, 2, 3]);
    for again in said.iter() {
        assert_eq!((again.id.as_str(), named(again)), (said[0].id.as_str(), vec!["a".into(), "b".into(), "c".into()]));
        assert_eq!(again.event["id"], said[0].event["id"]);
    }
    assert!(bench.alerts().await.iter().all(|state| *state == DeliveryState::Delivered));
}

#[tokio::test(start_paused = true)]
async fn more_alerts_than_fit_into_one_message_come_in_several_and_none_is_missing() {
    let bench = Bench::start();
    for number in 0..130 {
        bench.order(&format!("{number:03}")).await;
    }
    bench.after(301).await;
    let said = bench.said();
    let counts: Vec<usize> = said.iter().map(|said| named(said).len()).collect();
    assert_eq!(counts, [100, 30]);
    let mut all: Vec<String> = said.iter().flat_map(named).collect();
    all.sort();
    assert_eq!(all, (0..130).map(|number| format!("{number:03}")).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn a_test_of_the_channel_does_not_wait_for_a_window() {
    let bench = Bench::start();
    bench.broker.test_channel(&Name::new("people").unwrap()).await.unwrap();
    bench.after(1).await;
    assert_eq!(bench.said()[0].event["type"], "eventyard.test");
}

#[test]
fn a_window_is_between_a_second_and_six_hours() {
    for (group, good) in [("1s", true), ("6h", true), ("500ms", false), ("7h", false), ("soon", false)] {
        let text = PROJECT.replace("\"5m\"", &format!("\"{group}\""));
        let around = Surroundings { env: &|_| None, now: BEGAN_AT };
        let loaded = config::load_files(Path::new("/sim"), vec![("eventyard.toml".to_owned(), text)], &around);
        assert_eq!(loaded.is_ok(), good, "{group}");
    }
}
