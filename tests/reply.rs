//! A sender that waits gets the first attempt's answer, or is told in time that it will not; whichever it is, the
//! delivery takes its course.
//!
//! The whole broker runs under paused time on a simulated disk, so a second here is a second exactly.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use eventyard::broker::Broker;
use eventyard::clock::Clocks;
use eventyard::config::{self, Surroundings};
use eventyard::dispatch::dispatch;
use eventyard::in_force::{Callees, InForce};
use eventyard::intake::Receipt;
use eventyard::origin::Origin;
use eventyard::reply::{Awaited, NoReply};
use eventyard_connectors::sink::{SendError, SendRequest, Sent, Sink};
use eventyard_connectors::source::Incoming;
use eventyard_event::{Data, Event, EventId, Name, Timestamp};
use eventyard_store::disk::SimulatedDisk;
use eventyard_store::{DeliveryState, LocalStore, Options};
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

const PROJECT: &str = r#"
[source.ask]
kind = "http"
path = "/ask"
reply = "sync"

[sink.target]
kind = "discard"

[sink.other]
kind = "discard"

[[rule]]
name = "beside"
from = ["ask"]
target = { sink = "other" }

[[rule]]
name = "special"
pattern = { type = ["special"] }
[[rule.target]]
name = "aside"
sink = "other"
[[rule.target]]
name = "answers"
sink = "target"
reply = true
timeout = "5m"
concurrency = 1
retry = { attempts = 3, backoff = "60s", jitter = 0 }

[[rule]]
name = "everything"
from = ["ask"]
target = { sink = "other", name = "answers", reply = true }
"#;

const WAIT: Duration = Duration::from_secs(30);
const SECOND: Duration = Duration::from_secs(1);
const WAITING_MAX: usize = 4;

/// Answers `special, ID`, or `other, ID`; each call takes as long as the next of the list says, and fails where it
/// says nothing.
struct Scripted {
    name: &'static str,
    calls: Mutex<Vec<Option<Duration>>>,
    called: Mutex<Vec<String>>,
}

#[async_trait]
impl Sink for Scripted {
    async fn send(&self, request: SendRequest) -> Result<Sent, SendError> {
        self.called.lock().unwrap().push(request.event.event.id.to_string());
        let next = self.calls.lock().unwrap().pop().unwrap_or(Some(Duration::ZERO));
        let Some(took) = next else { return Err(SendError::retryable("http_503", "not now")) };
        tokio::time::sleep(took).await;
        let body = Bytes::from(format!("{}, {}", self.name, request.event.event.id));
        Ok(Sent { body, ..Sent::default() })
    }
}

struct World {
    broker: Arc<Broker>,
    target: Arc<Scripted>,
    stop: CancellationToken,
    _stop: DropGuard,
}

fn in_force(text: &str, clocks: &Clocks, sinks: HashMap<Name, Arc<dyn Sink>>) -> InForce {
    let files = vec![("eventyard.toml".to_owned(), text.to_owned())];
    let around = Surroundings { env: &|_| None, now: clocks.now() };
    let (project, warnings) =
        config::load_files(Path::new("/project"), files, &around).unwrap_or_else(|report| panic!("{report}"));
    assert!(warnings.diagnostics().is_empty(), "{warnings}");
    InForce::new(Arc::new(project), &Callees { sinks, ..Callees::default() })
}

impl World {
    /// With a target whose calls take so long, or fail.
    fn new(mut calls: Vec<Option<Duration>>) -> World {
        calls.reverse();
        let clocks = Clocks::tokio(Timestamp::parse("2026-11-21T12:05:00Z").unwrap());
        let scripted = |name, calls| Arc::new(Scripted { name, calls: Mutex::new(calls), called: Mutex::default() });
        let (target, other) = (scripted("special", calls), scripted("other", Vec::new()));
        let sinks: HashMap<Name, Arc<dyn Sink>> = HashMap::from([
            (Name::new("target").unwrap(), Arc::clone(&target) as _),
            (Name::new("other").unwrap(), other as _),
        ]);
        let in_force = in_force(PROJECT, &clocks, sinks);
        let steady = Arc::clone(&clocks.steady);
        let (store, _) = LocalStore::open_simulated(SimulatedDisk::new(1), Options::default(), steady).unwrap();
        let broker = Arc::new(Broker::new(Arc::new(store), clocks, in_force, 7));
        let stop = CancellationToken::new();
        tokio::spawn(dispatch(Arc::clone(&broker), TaskTracker::new(), stop.clone()));
        broker.set_accepting(true);
        World { broker, target, stop: stop.clone(), _stop: stop.drop_guard() }
    }

    async fn ask(&self, ty: &str, id: &str) -> (Receipt, Result<Awaited, NoReply>) {
        self.ask_from("ask", ty, id).await
    }

    async fn ask_from(&self, source: &str, ty: &str, id: &str) -> (Receipt, Result<Awaited, NoReply>) {
        let origin =
            Origin { namespace: Name::default_namespace(), source_name: Name::new(source).unwrap(), tags: Vec::new() };
        let event = Event {
            id: id.into(),
            source: "/sources/ask".into(),
            ty: ty.into(),
            data: Data::Json("{}".into()),
            ..Event::default()
        };
        let incoming = Incoming { event, keys_unique: true, dedupe: Some(Duration::from_secs(3600)) };
        let (mut receipts, awaited) = self.broker.admit_for_reply(&origin, vec![incoming], WAITING_MAX).await.unwrap();
        (receipts.remove(0), awaited)
    }

    /// What the sender is told, after how long.
    async fn told(&self, awaited: Result<Awaited, NoReply>) -> (Result<String, NoReply>, Duration) {
        let began = Instant::now();
        let answer = match awaited {
            Ok(awaited) => awaited.answer(WAIT, &self.stop).await,
            Err(none) => Err(none),
        };
        (answer.map(|answer| String::from_utf8(answer.body.to_vec()).unwrap()), began.elapsed())
    }

    /// The state of the delivery that answers `special`: the third, after `beside` and `aside`.
    async fn state(&self, event: EventId) -> DeliveryState {
        self.broker.store().delivery(event.delivery(2)).await.unwrap().unwrap().state
    }

    fn called(&self) -> usize {
        self.target.called.lock().unwrap().len()
    }
}

#[tokio::test(start_paused = true)]
async fn the_answer_comes_the_moment_the_target_gives_it() {
    let world = World::new(vec![Some(3 * SECOND)]);
    let (receipt, awaited) = world.ask("special", "a").await;
    assert_eq!(world.told(awaited).await, (Ok("special, a".to_owned()), 3 * SECOND));
    tokio::time::sleep(SECOND).await;
    assert_eq!(world.state(receipt.event).await, DeliveryState::Delivered);
    assert_eq!(world.called(), 1);
}

#[tokio::test(start_paused = true)]
async fn of_several_rules_the_first_in_the_file_that_answers_does() {
    let world = World::new(Vec::new());
    let (receipt, awaited) = world.ask("special", "a").await;
    assert_eq!(receipt.rules.iter().map(Name::as_str).collect::<Vec<_>>(), ["beside", "special", "everything"]);
    assert_eq!(world.told(awaited).await.0, Ok("special, a".to_owned()));
    let (_, awaited) = world.ask("plain", "b").await;
    assert_eq!(world.told(awaited).await.0, Ok("other, b".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn what_takes_too_long_is_told_in_time_and_goes_on() {
    let world = World::new(vec![Some(40 * SECOND)]);
    let (receipt, awaited) = world.ask("special", "a").await;
    assert_eq!(world.told(awaited).await, (Err(NoReply::Timeout), WAIT));
    assert_eq!(world.state(receipt.event).await, DeliveryState::InFlight);
    tokio::time::sleep(11 * SECOND).await;
    assert_eq!((world.state(receipt.event).await, world.called()), (DeliveryState::Delivered, 1));
}

#[tokio::test(start_paused = true)]
async fn a_first_attempt_that_fails_is_told_at_once_and_the_second_is_made() {
    let world = World::new(vec![None, Some(SECOND)]);
    let (receipt, awaited) = world.ask("special", "a").await;
    assert_eq!(world.told(awaited).await, (Err(NoReply::Failed), Duration::ZERO));
    tokio::time::sleep(Duration::from_secs(62)).await;
    assert_eq!((world.state(receipt.event).await, world.called()), (DeliveryState::Delivered, 2));
}

#[tokio::test(start_paused = true)]
async fn behind_a_busy_target_a_sender_waits_its_turn_and_no_longer_than_it_may() {
    let world = World::new(vec![Some(20 * SECOND), Some(5 * SECOND), Some(20 * SECOND)]);
    let (_, first) = world.ask("special", "a").await;
    let (_, second) = world.ask("special", "b").await;
    let (third, third_awaited) = world.ask("special", "c").await;
    let told = tokio::join!(world.told(first), world.told(second), world.told(third_awaited));
    assert_eq!(told.0, (Ok("special, a".to_owned()), 20 * SECOND));
    assert_eq!(told.1, (Ok("special, b".to_owned()), 25 * SECOND));
    assert_eq!(told.2, (Err(NoReply::Timeout), WAIT));
    tokio::time::sleep(20 * SECOND).await;
    assert_eq!(world.state(third.event).await, DeliveryState::Delivered);
}

#[tokio::test(start_paused = true)]
async fn where_the_target_is_taken_away_meanwhile_its_sender_does_not_wait_on() {
    let world = World::new(vec![Some(20 * SECOND)]);
    let (_, first) = world.ask("special", "a").await;
    let (second, second_awaited) = world.ask("special", "b").await;
    let without = PROJECT.replace("name = \"special\"", "name = \"renamed\"");
    world.broker.put_in_force(in_force(&without, world.broker.clocks(), HashMap::new()));
    let told = tokio::join!(world.told(first), world.told(second_awaited));
    assert_eq!(told.0, (Ok("special, a".to_owned()), 20 * SECOND), "its attempt runs");
    assert_eq!(told.1, (Err(NoReply::Failed), Duration::ZERO));
    assert_eq!(world.state(second.event).await, DeliveryState::Dead);
}

#[tokio::test(start_paused = true)]
async fn a_repeat_is_not_run_again_and_does_not_wait() {
    let world = World::new(vec![Some(20 * SECOND)]);
    let (first, first_awaited) = world.ask("special", "a").await;
    let (again, again_awaited) = world.ask("special", "a").await;
    assert_eq!((again.event, again.duplicate), (first.event, true));
    assert!(again.rules.is_empty() && again.hint.is_none(), "they would be those of the second body: {again:?}");
    let told = tokio::join!(world.told(first_awaited), world.told(again_awaited));
    assert_eq!(told.0.0, Ok("special, a".to_owned()), "the repeat does not take its place");
    assert_eq!(told.1, (Err(NoReply::Duplicate), Duration::ZERO));
    assert_eq!(world.called(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_sender_that_goes_away_takes_nothing_with_it() {
    let world = World::new(vec![Some(SECOND)]);
    let (receipt, awaited) = world.ask("special", "a").await;
    drop(awaited);
    tokio::time::sleep(2 * SECOND).await;
    assert_eq!(world.state(receipt.event).await, DeliveryState::Delivered);
}

#[tokio::test(start_paused = true)]
async fn over_the_limit_a_sender_is_told_at_once_and_its_event_is_delivered() {
    let world = World::new(vec![Some(SECOND); WAITING_MAX + 1]);
    let mut waiting = Vec::new();
    for number in 0..WAITING_MAX {
        waiting.push(world.ask("special", &format!("e-{number}")).await.1.unwrap());
    }
    let (receipt, awaited) = world.ask("special", "one-more").await;
    assert_eq!(awaited.err(), Some(NoReply::Busy));
    drop(waiting);
    tokio::time::sleep(10 * SECOND).await;
    assert_eq!(world.state(receipt.event).await, DeliveryState::Delivered);
}

#[tokio::test(start_paused = true)]
async fn an_event_that_no_rule_answers_is_not_waited_for() {
    let world = World::new(Vec::new());
    let (receipt, awaited) = world.ask_from("elsewhere", "plain", "a").await;
    assert_eq!((receipt.rules.len(), awaited.err()), (0, Some(NoReply::NoTarget)));
}

#[tokio::test(start_paused = true)]
async fn an_attempt_cut_off_by_a_stop_answers_and_is_made_again() {
    let world = World::new(vec![Some(3600 * SECOND)]);
    let (receipt, awaited) = world.ask("special", "a").await;
    let cut_off = async {
        tokio::time::sleep(SECOND).await;
        world.stop.cancel();
        tokio::time::sleep(SECOND).await;
        world.broker.cut_off();
    };
    let (told, ()) = tokio::join!(world.told(awaited), cut_off);
    assert_eq!(told, (Err(NoReply::Stopping), 2 * SECOND));
    tokio::time::sleep(SECOND).await;
    assert_eq!(world.state(receipt.event).await, DeliveryState::Waiting);
}
