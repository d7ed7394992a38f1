//! A source and an intake that do what a test tells them, and a clock that follows tokio's paused time.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use eventyard_connectors::source::{
    Batch, Incoming, Intake, IntakeError, Seek, SeekError, Source, SourceContext, SourceError,
};
use eventyard_connectors::supervise::{Backoff, Supervision};
use eventyard_event::{Clock, Event, Timestamp};
use tokio_util::sync::CancellationToken;

/// A wall clock over tokio's: it goes on with paused time, and a test may set it.
#[derive(Clone)]
pub(crate) struct TestClock {
    start: Timestamp,
    began: tokio::time::Instant,
    set_by_millis: Arc<AtomicI64>,
}

impl TestClock {
    pub(crate) fn at(start: &str) -> TestClock {
        TestClock {
            start: Timestamp::parse(start).unwrap(),
            began: tokio::time::Instant::now(),
            set_by_millis: Arc::default(),
        }
    }

    pub(crate) fn now(&self) -> Timestamp {
        let millis = self.start.plus(self.began.elapsed()).as_millis() + self.set_by_millis.load(Ordering::SeqCst);
        Timestamp::from_millis(millis)
    }

    /// Sets the clock ahead, or back.
    pub(crate) fn jump(&self, seconds: i64) {
        self.set_by_millis.fetch_add(seconds * 1000, Ordering::SeqCst);
    }

    pub(crate) fn clock(&self) -> Clock {
        let clock = self.clone();
        Arc::new(move || clock.now())
    }
}

/// What happened, in order, as words.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    pub(crate) fn say(&self, word: impl Into<String>) {
        self.0.lock().unwrap().push(word.into());
    }

    pub(crate) fn words(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

/// An intake that keeps what it takes, or refuses as it was told.
pub(crate) struct ScriptedIntake {
    pub(crate) log: Log,
    /// Answers for the coming offers; beyond them all are taken.
    pub(crate) refusals: Mutex<VecDeque<IntakeError>>,
    pub(crate) position: Mutex<Option<Vec<u8>>>,
    pub(crate) events: Mutex<Vec<Incoming>>,
    pub(crate) settled: Mutex<bool>,
}

impl ScriptedIntake {
    pub(crate) fn new(log: &Log) -> Arc<ScriptedIntake> {
        Arc::new(ScriptedIntake {
            log: log.clone(),
            refusals: Mutex::default(),
            position: Mutex::default(),
            events: Mutex::default(),
            settled: Mutex::new(true),
        })
    }

    pub(crate) fn refuse(&self, error: IntakeError) {
        self.refusals.lock().unwrap().push_back(error);
    }

    pub(crate) fn ids(&self) -> Vec<String> {
        self.events.lock().unwrap().iter().map(|incoming| incoming.event.id.to_string()).collect()
    }
}

#[async_trait]
impl Intake for ScriptedIntake {
    async fn offer(&self, batch: &mut Batch) -> Result<(), IntakeError> {
        if let Some(error) = self.refusals.lock().unwrap().pop_front() {
            self.log.say(format!("refused {}", error.code()));
            return Err(error);
        }
        let ids: Vec<&str> = batch.events.iter().map(|incoming| incoming.event.id.as_str()).collect();
        self.log.say(format!("took {}", ids.join(",")));
        let Batch { events, position, .. } = std::mem::take(batch);
        if let Some(position) = position {
            *self.position.lock().unwrap() = Some(position);
        }
        self.events.lock().unwrap().extend(events);
        Ok(())
    }

    async fn position(&self) -> Result<Option<Vec<u8>>, IntakeError> {
        Ok(self.position.lock().unwrap().clone())
    }

    async fn last_settled(&self) -> Result<bool, IntakeError> {
        Ok(*self.settled.lock().unwrap())
    }
}

/// One call's answer.
pub(crate) enum Line {
    /// `connect` fails.
    ConnectFails,
    /// `read` gives a batch of one event after so long.
    Event(Duration, &'static str),
    /// `read` gives nothing at all after so long, and what it reads from then on is new.
    Begins(Duration),
    /// `read` fails.
    ReadFails,
    /// `read` fails after so long.
    ReadFailsAfter(Duration),
    /// `ack` fails.
    AckFails,
    /// `read` says that nothing will come any more.
    Ends,
}

/// A source that says its lines and then is silent.
pub(crate) struct ScriptedSource {
    pub(crate) log: Log,
    pub(crate) lines: VecDeque<Line>,
    /// Whether what it reads is new; from the first acknowledgement on it is.
    pub(crate) begun: bool,
}

impl ScriptedSource {
    pub(crate) fn new(log: &Log, lines: impl IntoIterator<Item = Line>) -> Box<ScriptedSource> {
        Box::new(ScriptedSource { log: log.clone(), lines: lines.into_iter().collect(), begun: true })
    }
}

fn failed(code: &'static str) -> SourceError {
    SourceError::Failed { code, message: format!("{code} was told to fail") }
}

#[async_trait]
impl Source for ScriptedSource {
    async fn connect(&mut self, context: SourceContext) -> Result<(), SourceError> {
        let position = context.position.map(|bytes| String::from_utf8(bytes).unwrap()).unwrap_or_default();
        self.log.say(format!("connect {position}"));
        if matches!(self.lines.front(), Some(Line::ConnectFails)) {
            self.lines.pop_front();
            return Err(failed("connect"));
        }
        Ok(())
    }

    async fn read(&mut self) -> Result<Batch, SourceError> {
        match self.lines.front() {
            Some(Line::Event(after, _)) => {
                // Cancel-safe: the line is taken only once nothing is awaited any more.
                tokio::time::sleep(*after).await;
                let Some(Line::Event(_, id)) = self.lines.pop_front() else { unreachable!() };
                let event = Event { id: id.into(), ..Event::default() };
                let events = vec![Incoming { event, keys_unique: true, dedupe: None }];
                Ok(Batch { events, position: Some(id.as_bytes().to_vec()), ..Batch::default() })
            }
            Some(Line::Begins(after)) => {
                tokio::time::sleep(*after).await;
                self.lines.pop_front();
                self.begun = true;
                Ok(Batch::default())
            }
            Some(Line::ReadFails) => {
                self.lines.pop_front();
                Err(failed("read"))
            }
            Some(Line::ReadFailsAfter(after)) => {
                tokio::time::sleep(*after).await;
                self.lines.pop_front();
                Err(failed("read"))
            }
            Some(Line::Ends) => Err(SourceError::Ended),
            _ => std::future::pending().await,
        }
    }

    async fn ack(&mut self) -> Result<(), SourceError> {
        if matches!(self.lines.front(), Some(Line::AckFails)) {
            self.lines.pop_front();
            self.log.say("ack fails");
            return Err(failed("ack"));
        }
        self.log.say("ack");
        self.begun = true;
        Ok(())
    }

    async fn close(&mut self) {
        self.log.say("close");
    }

    async fn seek(&mut self, to: &Seek) -> Result<Option<Vec<u8>>, SeekError> {
        self.log.say(format!("seek {to:?}"));
        match to {
            Seek::Position(position) => Ok(Some(position.as_bytes().to_vec())),
            Seek::Time(_) => Ok(None),
            _ => Err(SeekError::Unsupported),
        }
    }

    fn has_begun(&self) -> bool {
        self.begun
    }

    fn lag(&self) -> Option<u64> {
        Some(self.lines.len() as u64)
    }
}

pub(crate) fn supervision(intake: &Arc<ScriptedIntake>, clock: &TestClock, stop: &CancellationToken) -> Supervision {
    Supervision {
        intake: Arc::clone(intake) as Arc<dyn Intake>,
        clock: clock.clock(),
        random: Box::new(|| 0.0),
        backoff: Backoff::default(),
        paused: false,
        instance: 0,
        limits: eventyard_event::Limits::default(),
        stop: stop.clone(),
    }
}
