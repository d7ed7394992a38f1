//! A timer under its supervisor, in paused time.

use std::sync::Arc;
use std::time::Duration;

use eventyard_connectors::registry::{BuiltSource, build_source};
use eventyard_connectors::source::{Batch, Intake, IntakeError, Source};
use eventyard_connectors::spec::{ConfigError, normalise};
use eventyard_connectors::supervise::{SourceControl, SourceState, supervise};
use eventyard_connectors::timer::{SPEC, TimerSource, schedule_of};
use eventyard_event::{Limits, Name, Timestamp};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::scripted::{Log, ScriptedIntake, TestClock, supervision};

/// A Saturday, half a minute past noon.
const START: &str = "2026-11-21T12:00:30Z";

fn table(table: Value) -> Value {
    Value::Object(normalise(SPEC.fields, table.as_object().unwrap()).unwrap())
}

fn try_build(given: Value) -> Result<(TimerSource, Vec<ConfigError>), Vec<ConfigError>> {
    TimerSource::build(&Name::new("tick").unwrap(), &table(given), Timestamp::parse(START).unwrap())
}

/// One run of the program over a store that outlives it.
struct Run {
    intake: Arc<ScriptedIntake>,
    clock: TestClock,
    stop: CancellationToken,
    control: SourceControl,
    run: JoinHandle<()>,
}

impl Run {
    fn start(given: &Value, intake: &Arc<ScriptedIntake>, clock: &TestClock) -> Run {
        let (source, _) = try_build(given.clone()).unwrap();
        let stop = CancellationToken::new();
        let (control, run) = supervise(Box::new(source), supervision(intake, clock, &stop));
        Run { intake: Arc::clone(intake), clock: clock.clone(), stop, control, run: tokio::spawn(run) }
    }

    fn first(given: Value) -> Run {
        Run::start(&given, &ScriptedIntake::new(&Log::default()), &TestClock::at(START))
    }

    async fn restart(self, given: &Value, down: Duration) -> Run {
        self.stop.cancel();
        self.run.await.unwrap();
        tokio::time::sleep(down).await;
        Run::start(given, &self.intake, &self.clock)
    }

    async fn after(&self, seconds: u64) -> Vec<String> {
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        self.fired()
    }

    fn fired(&self) -> Vec<String> {
        self.intake.ids().into_iter().map(|id| id.trim_start_matches("tick@2026-11-").to_owned()).collect()
    }
}

#[tokio::test(start_paused = true)]
async fn a_firing_is_an_event_with_an_id_of_its_own() {
    let run =
        Run::first(json!({ "schedule": "* * * * *", "timezone": "Europe/Berlin", "payload": { "report": "sales" } }));
    assert_eq!(run.after(120).await, ["21T12:01:00Z", "21T12:02:00Z"]);
    let first = run.intake.events.lock().unwrap().first().cloned().unwrap();
    assert_eq!((first.event.ty.as_str(), first.event.source.as_str()), ("timer.fired", "/sources/tick"));
    assert_eq!((first.event.subject.as_deref(), first.event.id.as_str()), (Some("tick"), "tick@2026-11-21T12:01:00Z"));
    assert_eq!((first.dedupe, first.keys_unique), (None, true));
    let data: Value = serde_json::from_slice(first.event.data.json().unwrap()).unwrap();
    assert_eq!(data, json!({ "scheduled_at": "2026-11-21T13:01:00+01:00", "payload": { "report": "sales" } }));
    first.event.check(&Limits::default()).unwrap();
}

#[tokio::test(start_paused = true)]
async fn it_fires_on_time() {
    let run = Run::first(json!({ "schedule": "*/10 * * * * *" }));
    assert_eq!(run.after(3601).await.len(), 360);
    assert!(
        run.control.status().last_event_at.unwrap().since(Timestamp::parse("2026-11-21T13:00:30Z").unwrap())
            < Duration::from_millis(50)
    );
}

#[tokio::test(start_paused = true)]
async fn a_restart_fires_nothing_twice_and_catches_up_as_it_was_told() {
    for (catch_up, expected) in [
        ("skip", vec!["21T12:01:00Z", "21T12:06:00Z"]),
        ("latest", vec!["21T12:01:00Z", "21T12:05:00Z", "21T12:06:00Z"]),
        ("all", vec!["21T12:01:00Z", "21T12:02:00Z", "21T12:03:00Z", "21T12:04:00Z", "21T12:05:00Z", "21T12:06:00Z"]),
    ] {
        let given = json!({ "schedule": "* * * * *", "catch_up": catch_up });
        let run = Run::first(given.clone());
        run.after(60).await;
        let run = run.restart(&given, Duration::from_secs(240)).await;
        assert_eq!(run.after(35).await, expected, "{catch_up}");
        let run = run.restart(&given, Duration::ZERO).await;
        assert_eq!(run.after(10).await, expected, "{catch_up}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_pause_missed_is_caught_up_as_it_was_told() {
    for (catch_up, expected) in [
        ("skip", vec!["21T12:00:40Z", "21T12:01:30Z"]),
        ("latest", vec!["21T12:00:40Z", "21T12:01:20Z", "21T12:01:30Z"]),
        ("all", vec!["21T12:00:40Z", "21T12:00:50Z", "21T12:01:00Z", "21T12:01:10Z", "21T12:01:20Z", "21T12:01:30Z"]),
    ] {
        let run = Run::first(json!({ "schedule": "*/10 * * * * *", "catch_up": catch_up }));
        run.after(15).await;
        run.control.pause();
        // Less than what a running timer may be late by: a pause is a stop, however short.
        assert_eq!(run.after(40).await, ["21T12:00:40Z"], "{catch_up}: nothing fires while it is paused");
        run.control.resume();
        assert_eq!(run.after(9).await, expected, "{catch_up}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_passed_before_the_first_firing_is_caught_up_too() {
    let given = json!({ "schedule": "at(2026-11-21T12:05:00)" });
    let run = Run::first(given.clone());
    run.after(10).await;
    let run = run.restart(&given, Duration::from_secs(600)).await;
    assert_eq!(run.after(1).await, ["21T12:05:00Z"]);
    run.run.await.unwrap();
    assert_eq!(run.control.status().state, SourceState::Finished);
}

#[tokio::test(start_paused = true)]
async fn another_schedule_begins_anew() {
    let run = Run::first(json!({ "schedule": "* * * * *" }));
    run.after(60).await;
    // Half past twelve has never been this schedule's instant before: nothing is to be caught up.
    let run = run.restart(&json!({ "schedule": "*/15 * * * *" }), Duration::from_secs(3600)).await;
    assert_eq!(run.after(60).await, ["21T12:01:00Z"]);
    assert_eq!(run.after(900).await, ["21T12:01:00Z", "21T13:15:00Z"]);
}

#[tokio::test(start_paused = true)]
async fn a_clock_set_ten_days_ahead_makes_no_burst() {
    for (catch_up, most) in [("skip", 1), ("latest", 1), ("all", 100)] {
        let run = Run::first(json!({ "schedule": "* * * * *", "catch_up": catch_up }));
        run.after(60).await;
        run.clock.jump(10 * 86_400);
        let caught_up = run.after(30).await.len() - 1;
        assert!(caught_up <= most, "{catch_up}: {caught_up}");
        // And it goes on from there, once a minute.
        assert_eq!(run.after(600).await.len() - 1 - caught_up, 10, "{catch_up}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_clock_set_an_hour_back_fires_nothing_twice() {
    let run = Run::first(json!({ "schedule": "* * * * *", "catch_up": "all" }));
    let before = run.after(600).await;
    run.clock.jump(-3600);
    assert_eq!(run.after(3590).await, before);
    assert_eq!(run.after(60).await.len(), before.len() + 1);
}

#[tokio::test(start_paused = true)]
async fn it_does_not_fire_while_its_last_firing_is_unsettled() {
    let run = Run::first(json!({ "schedule": "* * * * *" }));
    run.after(60).await;
    *run.intake.settled.lock().unwrap() = false;
    assert_eq!(run.after(300).await.len(), 1);
    *run.intake.settled.lock().unwrap() = true;
    assert_eq!(run.after(60).await, ["21T12:01:00Z", "21T12:07:00Z"]);

    let run = Run::first(json!({ "schedule": "* * * * *", "overlap": "allow" }));
    *run.intake.settled.lock().unwrap() = false;
    assert_eq!(run.after(300).await.len(), 5);
}

#[tokio::test(start_paused = true)]
async fn what_the_broker_refuses_fires_once_when_it_is_taken() {
    let run = Run::first(json!({ "schedule": "@hourly" }));
    for _ in 0..8 {
        run.intake.refuse(IntakeError::Full { retry_after: None });
    }
    assert_eq!(run.after(3600 + 600).await, ["21T13:00:00Z"]);
}

#[tokio::test(start_paused = true)]
async fn a_position_that_does_not_read_fires_nothing() {
    for position in [
        &b"garbage"[..],
        br#"{"version":2,"schedule":"* * * * *","timezone":"UTC","handled":"2026-11-21T12:00:00.000Z"}"#,
    ] {
        let intake = ScriptedIntake::new(&Log::default());
        *intake.position.lock().unwrap() = Some(position.to_vec());
        let run = Run::start(&json!({ "schedule": "* * * * *" }), &intake, &TestClock::at(START));
        assert_eq!(run.after(600).await.len(), 0);
        assert_eq!(run.control.status().last_error.unwrap().code, "position");
    }
}

#[tokio::test(start_paused = true)]
async fn a_firing_by_hand_leaves_the_position_alone() {
    let (source, _) = try_build(json!({ "schedule": "@daily", "payload": 7 })).unwrap();
    let fire = source.manual().unwrap();
    let now = Timestamp::parse("2026-11-21T12:34:56.789Z").unwrap();
    let (one, two) = (fire(now, [1; 10]), fire(now, [2; 10]));
    assert_eq!(one.event.id, "tick@2026-11-21T12:34:56.789Z#manual-01010101010101010101");
    assert_ne!(one.event.id, two.event.id);
    assert_eq!((one.event.ty.as_str(), one.dedupe), ("timer.fired", None));
    // The firing of the schedule comes all the same.
    let intake = ScriptedIntake::new(&Log::default());
    let run = Run::start(&json!({ "schedule": "* * * * *" }), &intake, &TestClock::at(START));
    intake.offer(&mut Batch { events: vec![one], ..Batch::default() }).await.unwrap();
    assert_eq!(run.after(60).await, ["21T12:34:56.789Z#manual-01010101010101010101", "21T12:01:00Z"]);
}

#[test]
fn the_project_may_name_the_type() {
    let mut given = table(json!({ "schedule": "@daily" }));
    given["type"] = json!("report.due");
    let (source, _) = TimerSource::build(&Name::new("tick").unwrap(), &given, Timestamp::EPOCH).unwrap();
    assert_eq!(source.manual().unwrap()(Timestamp::EPOCH, [0; 10]).event.ty, "report.due");
}

#[test]
fn a_schedule_that_never_fires_is_a_warning() {
    let (_, warnings) = try_build(json!({ "schedule": "0 0 30 2 *" })).unwrap();
    assert_eq!(warnings.len(), 1);
    assert_eq!((warnings[0].path.join("."), warnings[0].code), ("schedule".to_owned(), "never_fires"));
    assert!(try_build(json!({ "schedule": "@daily" })).unwrap().1.is_empty());
}

#[test]
fn what_the_project_gets_wrong_is_said_at_its_key() {
    for (given, path, code) in [
        (json!({ "schedule": "61 * * * *" }), "schedule", "bad_schedule"),
        (json!({ "schedule": "* * * *" }), "schedule", "bad_schedule"),
        (json!({ "schedule": "@yearlyy" }), "schedule", "bad_schedule"),
        (json!({ "schedule": "@daily", "timezone": "Mars/Base" }), "timezone", "unknown_timezone"),
    ] {
        let errors = try_build(given.clone()).err().unwrap();
        assert_eq!((errors[0].path.join(".").as_str(), errors[0].code), (path, code), "{given}");
        assert!(errors[0].help.is_some());
    }
    let errors =
        normalise(SPEC.fields, json!({ "schedule": "@daily", "overlap": "skp" }).as_object().unwrap()).unwrap_err();
    assert_eq!(errors[0].help.as_deref(), Some("did you mean `skip`?"));
}

#[test]
fn the_coming_instants_follow_from_the_table_alone() {
    let schedule = schedule_of(&table(json!({ "schedule": "30 2 * * *", "timezone": "Europe/Berlin" }))).unwrap();
    let from = Timestamp::parse("2026-03-28T12:00:00Z").unwrap();
    let shown: Vec<String> = schedule.upcoming(from).take(2).map(|at| schedule.show(at)).collect();
    assert_eq!(shown, ["2026-03-29T03:00:00+02:00", "2026-03-30T02:30:00+02:00"]);
}

#[test]
fn the_registry_builds_it() {
    let name = Name::new("tick").unwrap();
    let (built, _) = build_source("timer", &name, &table(json!({ "schedule": "@daily" })), Timestamp::EPOCH).unwrap();
    let BuiltSource::Polled(source) = built else { panic!("a timer is polled") };
    assert!(source.manual().is_some());
}
