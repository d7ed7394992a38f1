//! A supervised source: what is read is offered until it is taken, acknowledged only then, and never lost.

use std::time::Duration;

use eventyard_connectors::source::{IntakeError, Seek, SeekError};
use eventyard_connectors::supervise::{Backoff, SourceControl, SourceState, supervise};
use proptest::prelude::*;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::scripted::{Line, Log, ScriptedIntake, ScriptedSource, TestClock, supervision};

const NOW: Duration = Duration::ZERO;

struct Bench {
    log: Log,
    intake: std::sync::Arc<ScriptedIntake>,
    clock: TestClock,
    stop: CancellationToken,
}

impl Bench {
    fn new() -> Bench {
        let log = Log::default();
        Bench {
            intake: ScriptedIntake::new(&log),
            log,
            clock: TestClock::at("2026-11-21T12:00:00Z"),
            stop: CancellationToken::new(),
        }
    }

    fn start(&self, lines: impl IntoIterator<Item = Line>) -> (SourceControl, JoinHandle<()>) {
        let source = ScriptedSource::new(&self.log, lines);
        let (control, run) = supervise(source, supervision(&self.intake, &self.clock, &self.stop));
        (control, tokio::spawn(run))
    }

    fn words(&self) -> Vec<String> {
        self.log.words()
    }
}

/// Waits, in paused time, until the source is in a state; fails after three hours of it.
async fn until(control: &SourceControl, state: SourceState) {
    let mut watch = control.watch();
    let reached =
        tokio::time::timeout(Duration::from_secs(10_800), watch.wait_for(|status| status.state == state)).await;
    reached.unwrap_or_else(|_| panic!("never {state:?}: {:?}", control.status())).unwrap();
}

fn unavailable(retry_after: Option<Duration>) -> IntakeError {
    IntakeError::Unavailable { message: "told to refuse".to_owned(), retry_after }
}

#[tokio::test(start_paused = true)]
async fn each_batch_is_acknowledged_after_it_was_taken() {
    let bench = Bench::new();
    let (control, run) = bench.start([Line::Event(NOW, "a"), Line::Event(Duration::from_secs(5), "b"), Line::Ends]);
    run.await.unwrap();
    assert_eq!(bench.words(), ["connect ", "took a", "ack", "took b", "ack", "close"]);
    let status = control.status();
    assert_eq!((status.state, status.event_count, status.lag), (SourceState::Finished, 2, Some(1)));
    assert_eq!(status.last_event_at.unwrap().to_string(), "2026-11-21T12:00:05.000Z");
}

#[tokio::test(start_paused = true)]
async fn a_source_is_starting_until_what_was_there_before_is_taken() {
    let bench = Bench::new();
    let mut source = ScriptedSource::new(&bench.log, [Line::Event(Duration::from_secs(5), "a"), Line::AckFails]);
    source.begun = false;
    let (control, run) = supervise(source, supervision(&bench.intake, &bench.clock, &bench.stop));
    let run = tokio::spawn(run);
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert_eq!(bench.words(), ["connect "]);
    assert_eq!(control.status().state, SourceState::Starting, "it is connected, and reads");
    control.pause();
    until(&control, SourceState::Paused).await;
    control.resume();
    until(&control, SourceState::Starting).await;
    until(&control, SourceState::BackingOff).await;
    until(&control, SourceState::Starting).await;
    bench.stop.cancel();
    run.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_source_that_begins_with_nothing_runs_and_commits_nothing() {
    let bench = Bench::new();
    let lines = [Line::ConnectFails, Line::Begins(Duration::from_secs(5)), Line::Event(Duration::from_secs(5), "a")];
    let mut source = ScriptedSource::new(&bench.log, lines);
    source.begun = false;
    let (control, run) = supervise(source, supervision(&bench.intake, &bench.clock, &bench.stop));
    let run = tokio::spawn(run);
    until(&control, SourceState::Running).await;
    assert_eq!(bench.words(), ["connect ", "close", "connect "]);
    assert_eq!(control.status().failure_count, 1, "nothing was taken yet");
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_eq!(bench.words()[3..], ["took a", "ack"]);
    bench.stop.cancel();
    run.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_refused_batch_is_offered_again_and_never_acknowledged_before() {
    let bench = Bench::new();
    bench.intake.refuse(unavailable(None));
    bench.intake.refuse(IntakeError::BacklogFull { retry_after: Some(Duration::from_secs(30)) });
    bench.intake.refuse(IntakeError::Refused { code: "body_too_large".into(), message: "too large".into() });
    let (control, run) = bench.start([Line::Event(NOW, "a"), Line::Ends]);
    let began = tokio::time::Instant::now();
    run.await.unwrap();
    let expected =
        ["connect ", "refused unavailable", "refused backlog_full", "refused body_too_large", "took a", "ack", "close"];
    assert_eq!(bench.words(), expected);
    // A second, then what the broker asked for, then four seconds of doubling.
    assert_eq!(began.elapsed().as_secs(), 1 + 30 + 4);
    assert_eq!(control.status().failure_count, 0);
    assert_eq!(control.status().last_error.unwrap().code, "body_too_large");
}

#[tokio::test(start_paused = true)]
async fn after_a_failure_it_closes_waits_and_connects_from_the_saved_position() {
    let bench = Bench::new();
    let lines = [
        Line::ConnectFails,
        Line::ConnectFails,
        Line::Event(NOW, "a"),
        Line::ReadFails,
        Line::Event(NOW, "b"),
        Line::AckFails,
        Line::Ends,
    ];
    let (_, run) = bench.start(lines);
    run.await.unwrap();
    let expected = [
        "connect ",
        "close",
        "connect ",
        "close",
        "connect ",
        "took a",
        "ack",
        "close",
        "connect a",
        "took b",
        "ack fails",
        "close",
        "connect b",
        "close",
    ];
    assert_eq!(bench.words(), expected);
}

#[tokio::test(start_paused = true)]
async fn a_source_that_connects_and_fails_at_once_waits_longer_and_longer() {
    let bench = Bench::new();
    let (control, run) = bench.start((0..5).map(|_| Line::ReadFails).chain([Line::Event(NOW, "a"), Line::ReadFails]));
    let began = tokio::time::Instant::now();
    let mut watch = control.watch();
    watch.wait_for(|status| status.event_count == 1).await.unwrap();
    assert_eq!(began.elapsed().as_secs(), 1 + 2 + 4 + 8 + 16);
    // What was taken ends the row.
    watch.wait_for(|status| status.state == SourceState::BackingOff).await.unwrap();
    assert_eq!(control.status().failure_count, 1);
    bench.stop.cancel();
    run.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_stood_ends_a_row_of_failures() {
    let bench = Bench::new();
    let hours = Duration::from_secs(7200);
    let (control, run) = bench.start([Line::ReadFails, Line::ReadFails, Line::ReadFailsAfter(hours), Line::Ends]);
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!((control.status().state, control.status().failure_count), (SourceState::Running, 2));
    until(&control, SourceState::BackingOff).await;
    assert_eq!(control.status().failure_count, 1);
    run.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_it_is_doing_can_be_seen() {
    let bench = Bench::new();
    let (control, run) = bench.start([Line::ConnectFails]);
    until(&control, SourceState::BackingOff).await;
    let status = control.status();
    assert_eq!((status.failure_count, status.retry_at.unwrap()), (1, bench.clock.now().plus(Duration::from_secs(1))));
    let error = status.last_error.unwrap();
    assert_eq!((error.code.as_str(), error.message.as_str()), ("connect", "connect was told to fail"));
    until(&control, SourceState::Running).await;
    assert_eq!((control.status().failure_count, control.status().retry_at), (1, None));
    bench.stop.cancel();
    run.await.unwrap();
    assert_eq!(control.status().state, SourceState::Stopped);
}

#[tokio::test(start_paused = true)]
async fn a_paused_source_reads_nothing_and_loses_nothing() {
    let bench = Bench::new();
    let (control, run) = bench.start([Line::Event(Duration::from_secs(10), "a"), Line::Ends]);
    until(&control, SourceState::Running).await;
    control.pause();
    until(&control, SourceState::Paused).await;
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(bench.words(), ["connect "]);
    control.resume();
    run.await.unwrap();
    assert_eq!(bench.words(), ["connect ", "took a", "ack", "close"]);
}

#[tokio::test(start_paused = true)]
async fn a_source_that_begins_paused_connects_when_it_is_resumed() {
    let bench = Bench::new();
    let source = ScriptedSource::new(&bench.log, [Line::Ends]);
    let mut given = supervision(&bench.intake, &bench.clock, &bench.stop);
    given.paused = true;
    let (control, run) = supervise(source, given);
    let run = tokio::spawn(run);
    until(&control, SourceState::Paused).await;
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert!(bench.words().is_empty());
    control.resume();
    run.await.unwrap();
    assert_eq!(bench.words(), ["connect ", "close"]);
}

#[tokio::test(start_paused = true)]
async fn a_pause_ends_a_wait_and_a_resume_tries_at_once() {
    let bench = Bench::new();
    bench.intake.refuse(unavailable(Some(Duration::from_secs(900))));
    let (control, run) = bench.start([Line::Event(NOW, "a"), Line::Ends]);
    until(&control, SourceState::BackingOff).await;
    control.pause();
    until(&control, SourceState::Paused).await;
    let began = tokio::time::Instant::now();
    control.resume();
    run.await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(1));
    assert_eq!(bench.intake.ids(), ["a"]);
}

#[tokio::test(start_paused = true)]
async fn a_stop_acknowledges_nothing_that_was_not_taken() {
    let bench = Bench::new();
    for _ in 0..100 {
        bench.intake.refuse(unavailable(None));
    }
    let (control, run) = bench.start([Line::Event(NOW, "a")]);
    until(&control, SourceState::BackingOff).await;
    bench.stop.cancel();
    run.await.unwrap();
    assert_eq!(bench.words(), ["connect ", "refused unavailable", "close"]);
    assert_eq!(bench.intake.ids(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_is_stopping_ends_the_source() {
    let bench = Bench::new();
    bench.intake.refuse(IntakeError::Closed);
    let (control, run) = bench.start([Line::Event(NOW, "a")]);
    run.await.unwrap();
    assert_eq!(bench.words(), ["connect ", "refused stopping", "close"]);
    assert_eq!(control.status().state, SourceState::Stopped);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever fails, everything that was read is taken, in order, each acknowledged after it; and a wait never
    /// leaves its bounds.
    #[test]
    fn nothing_is_lost_whatever_fails(script in prop::collection::vec(0_u8..8, 0..40), refusals in prop::collection::vec(0_u8..3, 0..20)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let bench = Bench::new();
            for refusal in &refusals {
                bench.intake.refuse(match refusal {
                    0 => unavailable(None),
                    1 => IntakeError::Full { retry_after: Some(Duration::from_secs(5)) },
                    _ => IntakeError::Refused { code: "x".into(), message: "x".into() },
                });
            }
            const IDS: [&str; 4] = ["a", "b", "c", "d"];
            let lines = script.iter().map(|line| match line {
                0 => Line::ConnectFails,
                1 => Line::ReadFails,
                2 => Line::AckFails,
                n => Line::Event(Duration::from_secs(u64::from(*n)), IDS[usize::from(*n) % 4]),
            });
            // A line that its call never meets (an ack line at a read) would end the script there.
            let wanted: Vec<String> = reachable(&script).iter().map(|n| IDS[usize::from(*n) % 4].to_owned()).collect();
            let (_, run) = bench.start(lines);
            tokio::time::sleep(Duration::from_secs(100_000)).await;
            bench.stop.cancel();
            run.await.unwrap();
            assert_eq!(bench.intake.ids(), wanted);
            let words = bench.words();
            for pair in words.windows(2) {
                assert_eq!(pair[1].starts_with("ack"), pair[0].starts_with("took"), "{words:?}");
            }
        });
    }

    #[test]
    fn a_wait_stays_within_its_bounds(failures in 0_u32.., random in -1.0_f64..2.0, jitter in -1.0_f64..2.0) {
        let backoff = Backoff { jitter, ..Backoff::default() };
        let wait = backoff.wait(failures, random);
        prop_assert!(wait <= backoff.max);
        let steady = Backoff { jitter: 0.2, ..Backoff::default() }.wait(failures, random);
        prop_assert!(steady >= Duration::from_millis(800));
    }
}

/// The events of a script that are read before it comes to a line that the call of the moment does not understand
/// (the scripted source is silent from there on).
fn reachable(script: &[u8]) -> Vec<u8> {
    let mut lines = script.iter().copied().peekable();
    let mut events = Vec::new();
    loop {
        while lines.next_if_eq(&0).is_some() {} // connects that fail, then one that does not
        loop {
            match lines.next() {
                Some(1) => break,
                Some(event) if event > 2 => {
                    events.push(event);
                    if lines.next_if_eq(&2).is_some() {
                        break;
                    }
                }
                _ => return events,
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_seek_is_on_disk_before_it_is_answered_and_before_the_next_read() {
    let bench = Bench::new();
    let (control, run) = bench.start([Line::Event(Duration::from_secs(10), "a"), Line::Ends]);
    until(&control, SourceState::Running).await;
    control.seek(Seek::Position("17".to_owned())).await.unwrap();
    assert_eq!(bench.intake.position.lock().unwrap().as_deref(), Some(b"17".as_slice()));
    assert_eq!(bench.words(), ["connect ", "seek Position(\"17\")", "took "]);
    assert_eq!(control.seek(Seek::Earliest).await, Err(SeekError::Unsupported));
    run.await.unwrap();
    assert_eq!(bench.words()[3..], ["seek Earliest", "took a", "ack", "close"]);
    let stopped = control.seek(Seek::Latest).await;
    assert!(matches!(stopped, Err(SeekError::Failed { code: "stopped", .. })), "{stopped:?}");
}

#[tokio::test(start_paused = true)]
async fn a_source_that_is_paused_can_be_moved_and_stays_paused() {
    let bench = Bench::new();
    let source = ScriptedSource::new(&bench.log, [Line::Event(NOW, "a"), Line::Ends]);
    let mut given = supervision(&bench.intake, &bench.clock, &bench.stop);
    given.paused = true;
    let (control, run) = supervise(source, given);
    let run = tokio::spawn(run);
    until(&control, SourceState::Paused).await;
    for position in ["17", "18"] {
        control.seek(Seek::Position(position.to_owned())).await.unwrap();
        until(&control, SourceState::Paused).await;
    }
    tokio::time::sleep(Duration::from_secs(600)).await;
    let moved = ["connect ", "seek Position(\"17\")", "took ", "seek Position(\"18\")", "took "];
    assert_eq!(bench.words(), moved);
    control.resume();
    run.await.unwrap();
    assert_eq!(bench.words()[5..], ["took a", "ack", "close"]);
}

#[tokio::test(start_paused = true)]
async fn a_seek_tries_to_connect_at_once_and_says_where_that_fails() {
    let bench = Bench::new();
    let (control, run) = bench.start([Line::ConnectFails, Line::ConnectFails, Line::Ends]);
    until(&control, SourceState::BackingOff).await;
    let failed = control.seek(Seek::Position("17".to_owned())).await;
    assert!(matches!(failed, Err(SeekError::Failed { code: "connect", .. })), "{failed:?}");
    control.seek(Seek::Position("18".to_owned())).await.unwrap();
    run.await.unwrap();
    let words = ["connect ", "close", "connect ", "close", "connect ", "seek Position(\"18\")", "took ", "close"];
    assert_eq!(bench.words(), words);
}
