//! Keeps one source going: connect, read, offer, ack; and after every failure, close, wait, connect again.
//!
//! ```text
//! starting ─→ running ⇄ paused
//!    ↑           │
//!    └─ backing_off        → finished, stopped
//! ```
//!
//! What it promises: a batch that was read is offered until the broker takes it, and is acknowledged only then;
//! one source's trouble is its own; and what state it is in can always be seen ([`SourceStatus`]).
//! Time and randomness are parameters, so that tests and the simulation drive it.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use eventyard_event::{Clock, Limits, Timestamp};
use serde::Serialize;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::source::{Batch, Intake, IntakeError, Seek, SeekError, Source, SourceContext, SourceError};

/// How many people may wait at once for one source to go on from elsewhere; each is waited for by one call.
const SEEKS_WAITING_MAX: usize = 4;

/// How long to wait before another try.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Backoff {
    /// After the first failure.
    pub first: Duration,
    /// The wait doubles up to this.
    pub max: Duration,
    /// How much of each wait is left to chance, from 0 to 1, so that many sources do not come back at once.
    pub jitter: f64,
}

impl Default for Backoff {
    fn default() -> Backoff {
        // A second is soon enough to be felt as "at once", a minute seldom enough to hurt nobody.
        Backoff { first: Duration::from_secs(1), max: Duration::from_secs(60), jitter: 0.2 }
    }
}

impl Backoff {
    /// The wait after this many failures in a row (from 1); `random` is from 0 to 1.
    #[must_use]
    pub fn wait(&self, failure_count: u32, random: f64) -> Duration {
        let doublings = failure_count.saturating_sub(1).min(31);
        let whole = self.first.saturating_mul(1 << doublings).min(self.max);
        let jitter = self.jitter.clamp(0.0, 1.0);
        whole.mul_f64(1.0 - jitter * random.clamp(0.0, 1.0))
    }
}

/// What a supervisor is given besides the source.
pub struct Supervision {
    /// The broker, narrowed to this source.
    pub intake: Arc<dyn Intake>,
    /// The wall clock.
    pub clock: Clock,
    /// Random numbers from 0 to 1.
    pub random: Box<dyn FnMut() -> f64 + Send>,
    /// How long to wait after failures.
    pub backoff: Backoff,
    /// Whether it begins paused.
    pub paused: bool,
    /// Which of the source's instances it is, from 0.
    pub instance: u32,
    /// What an event may have.
    pub limits: Limits,
    /// Ends it: what is being offered is still seen through, then the source is closed.
    pub stop: CancellationToken,
}

/// What a source is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SourceState {
    /// Connecting, or finding out what is new.
    Starting,
    /// Connected and reading; what comes from now on is read.
    Running,
    /// Held by a person. Nothing is read or offered.
    Paused,
    /// Waiting after a failure.
    BackingOff,
    /// Nothing will ever come again.
    Finished,
    /// The program is stopping.
    Stopped,
}

/// The last thing that went wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LastError {
    /// When; wall clock.
    pub at: Timestamp,
    /// A stable word.
    pub code: String,
    /// What happened.
    pub message: String,
}

/// One source at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SourceStatus {
    /// What it is doing.
    pub state: SourceState,
    /// Since when; wall clock.
    pub since: Timestamp,
    /// The last failure, or the last of what could not be decoded; kept after it is over.
    pub last_error: Option<LastError>,
    /// Failures in a row; 0 once a batch was taken. It begins anew at 1 where a connection stood for as long as
    /// [`Backoff::max`] before it failed: a source that connects and fails at once, again and again, is failing.
    pub failure_count: u32,
    /// When the next try is made, while it backs off.
    pub retry_at: Option<Timestamp>,
    /// Events that the broker took since the program started, duplicates included.
    pub event_count: u64,
    /// When the broker last took some.
    pub last_event_at: Option<Timestamp>,
    /// How many wait on the other side, where the source can tell.
    pub lag: Option<u64>,
}

/// Holds and releases a source, and shows its state. Cheap to clone; dropping it changes nothing.
#[derive(Clone)]
pub struct SourceControl {
    paused: Arc<watch::Sender<bool>>,
    status: watch::Receiver<SourceStatus>,
    seeks: mpsc::Sender<AskedSeek>,
}

/// Somebody wants the source to go on from elsewhere, and waits to be told.
struct AskedSeek {
    to: Seek,
    reply: oneshot::Sender<Result<(), SeekError>>,
}

impl SourceControl {
    /// Makes the source go on from another place; returns when it will, and the new position is on disk. One that is
    /// paused stays so; one that waits after a failure tries to connect at once.
    ///
    /// Cancellation: one that was asked for is done all the same.
    ///
    /// # Errors
    /// [`SeekError`].
    pub async fn seek(&self, to: Seek) -> Result<(), SeekError> {
        let failed = |code, message: &str| SeekError::Failed { code, message: message.to_owned() };
        let (reply, answer) = oneshot::channel();
        self.seeks.try_send(AskedSeek { to, reply }).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => failed("busy", "others wait for this source to go on from elsewhere"),
            mpsc::error::TrySendError::Closed(_) => failed("stopped", "the source does not run"),
        })?;
        answer.await.unwrap_or_else(|_| Err(failed("stopped", "the source has stopped")))
    }

    /// Holds the source. What it is just offering is seen through. Takes effect when the state says so.
    pub fn pause(&self) {
        self.paused.send_replace(true);
    }

    /// Lets it go on.
    pub fn resume(&self) {
        self.paused.send_replace(false);
    }

    /// Whether it is held, or about to be.
    #[must_use]
    pub fn is_paused(&self) -> bool {
        *self.paused.borrow()
    }

    /// What it is doing now.
    #[must_use]
    pub fn status(&self) -> SourceStatus {
        self.status.borrow().clone()
    }

    /// Follows its status; the channel closes when the source has stopped.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<SourceStatus> {
        self.status.clone()
    }
}

/// Takes charge of a source. The future runs until [`Supervision::stop`] is cancelled or the source has ended;
/// it must be driven to its end for the source to be closed.
pub fn supervise(
    source: Box<dyn Source>,
    supervision: Supervision,
) -> (SourceControl, impl Future<Output = ()> + Send + 'static) {
    let (paused, paused_seen) = watch::channel(supervision.paused);
    let first = SourceStatus {
        state: SourceState::Starting,
        since: (supervision.clock)(),
        last_error: None,
        failure_count: 0,
        retry_at: None,
        event_count: 0,
        last_event_at: None,
        lag: None,
    };
    let (status, status_seen) = watch::channel(first);
    let paused = Arc::new(paused);
    let (seeks, asked) = mpsc::channel(SEEKS_WAITING_MAX);
    let control = SourceControl { paused: Arc::clone(&paused), status: status_seen, seeks: seeks.clone() };
    let Supervision { intake, clock, random, backoff, instance, limits, stop, .. } = supervision;
    let watched = Watched {
        status,
        paused: paused_seen,
        _paused: paused,
        asked,
        _seeks: seeks,
        next_seek: None,
        clock,
        random,
        backoff,
        instance,
        limits,
        connected_at: None,
        stop,
    };
    (control, run(source, intake, watched))
}

/// Why a source is no longer driven.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Finished,
    Stopped,
}

/// Why one connection is over.
enum Over {
    End(End),
    Failed { code: String, message: String, retry_after: Option<Duration> },
}

impl From<SourceError> for Over {
    fn from(error: SourceError) -> Over {
        match error {
            SourceError::Ended => Over::End(End::Finished),
            SourceError::Failed { code, message } => Over::Failed { code: code.to_owned(), message, retry_after: None },
        }
    }
}

impl From<IntakeError> for Over {
    fn from(error: IntakeError) -> Over {
        match error {
            IntakeError::Closed => Over::End(End::Stopped),
            error => Over::Failed {
                code: error.code().to_owned(),
                message: error.to_string(),
                retry_after: error.retry_after(),
            },
        }
    }
}

async fn run(mut source: Box<dyn Source>, intake: Arc<dyn Intake>, mut watched: Watched) {
    let end = loop {
        let over = drive(source.as_mut(), &intake, &mut watched).await;
        source.close().await;
        match over {
            Over::End(end) => break end,
            Over::Failed { code, message, retry_after } => {
                if watched.back_off(code, message, retry_after).await == Next::Stop {
                    break End::Stopped;
                }
            }
        }
    };
    watched.state(match end {
        End::Finished => SourceState::Finished,
        End::Stopped => SourceState::Stopped,
    });
}

/// One connection, from connect to whatever ends it.
async fn drive(source: &mut dyn Source, intake: &Arc<dyn Intake>, watched: &mut Watched) -> Over {
    if watched.while_paused_with(source).await == Next::Stop {
        return Over::End(End::Stopped);
    }
    watched.state(SourceState::Starting);
    let connected = async {
        let position = intake.position().await?;
        let context = SourceContext {
            position,
            intake: Arc::clone(intake),
            clock: Arc::clone(&watched.clock),
            instance: watched.instance,
            limits: watched.limits,
        };
        source.connect(context).await.map_err(Over::from)
    };
    let stop = watched.stop.clone();
    let connected = tokio::select! {
        biased;
        () = stop.cancelled() => return Over::End(End::Stopped),
        connected = connected => connected,
    };
    if let Err(over) = connected {
        if let (Some(ask), Over::Failed { code: _, message, .. }) = (watched.next_seek.take(), &over) {
            ask.answer(Err(SeekError::Failed { code: "connect", message: message.clone() }));
        }
        return over;
    }
    watched.connected_at = Some(tokio::time::Instant::now());
    loop {
        if watched.while_paused_with(source).await == Next::Stop {
            return Over::End(End::Stopped);
        }
        if let Some(ask) = watched.next_seek.take() {
            if let Err(over) = seek(source, intake, watched, ask).await {
                return over;
            }
            continue;
        }
        watched.state(if source.has_begun() { SourceState::Running } else { SourceState::Starting });
        let batch = tokio::select! {
            biased;
            () = stop.cancelled() => return Over::End(End::Stopped),
            () = watched.until_asked() => continue,
            read = source.read() => match read {
                Ok(batch) => batch,
                Err(error) => return error.into(),
            },
        };
        if batch.is_empty() {
            continue;
        }
        // A source moves on past it, and people are to see that something was wrong.
        let wrong = batch.undecodable.last().map(|bad| (bad.code.clone(), bad.message.clone()));
        match offer(batch, intake, watched).await {
            Ok(taken_count) => watched.taken(taken_count, source.lag(), wrong),
            Err(over) => return over,
        }
        // The broker has it on disk, so this is seen through even while stopping: it is short, and spares the
        // other side a repeat.
        if let Err(error) = source.ack().await {
            return error.into();
        }
    }
}

impl AskedSeek {
    /// Whoever went away needs no answer.
    fn answer(self, answer: Result<(), SeekError>) {
        drop(self.reply.send(answer));
    }
}

/// Lets the source go on from elsewhere, and has that on disk before anything is read from there.
async fn seek(
    source: &mut dyn Source,
    intake: &Arc<dyn Intake>,
    watched: &mut Watched,
    ask: AskedSeek,
) -> Result<(), Over> {
    let stop = watched.stop.clone();
    let sought = tokio::select! {
        biased;
        () = stop.cancelled() => return Err(Over::End(End::Stopped)),
        sought = source.seek(&ask.to) => sought,
    };
    let position = match sought {
        Ok(position) => position,
        Err(error) => {
            ask.answer(Err(error));
            return Ok(());
        }
    };
    if position.is_some() {
        offer(Batch { position, ..Batch::default() }, intake, watched).await?;
    }
    tracing::info!(to = ?ask.to, "a source goes on from where it was told to");
    ask.answer(Ok(()));
    Ok(())
}

/// Offers a batch until it is taken. It is dropped (and not acknowledged) only where the program stops; the
/// source then finds it again after the next start.
async fn offer(mut batch: Batch, intake: &Arc<dyn Intake>, watched: &mut Watched) -> Result<u64, Over> {
    let event_count = batch.events.len() as u64;
    loop {
        // Not under a select: a commit that is under way goes on without its caller, and the ack with it.
        match intake.offer(&mut batch).await {
            Ok(()) => return Ok(event_count),
            Err(IntakeError::Closed) => return Err(Over::End(End::Stopped)),
            Err(error) => {
                let retry_after = error.retry_after();
                let next = watched.back_off(error.code().to_owned(), error.to_string(), retry_after).await;
                if next == Next::Stop || watched.while_paused().await == Next::Stop {
                    return Err(Over::End(End::Stopped));
                }
            }
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    GoOn,
    Stop,
}

/// The supervisor's side of what is shown and asked.
struct Watched {
    status: watch::Sender<SourceStatus>,
    paused: watch::Receiver<bool>,
    /// Keeps the channel open when every [`SourceControl`] is gone.
    _paused: Arc<watch::Sender<bool>>,
    asked: mpsc::Receiver<AskedSeek>,
    /// Keeps that channel open, too.
    _seeks: mpsc::Sender<AskedSeek>,
    /// What is to be done before the next read.
    next_seek: Option<AskedSeek>,
    clock: Clock,
    random: Box<dyn FnMut() -> f64 + Send>,
    backoff: Backoff,
    instance: u32,
    limits: Limits,
    /// When the present connection was made; taken by its first failure.
    connected_at: Option<tokio::time::Instant>,
    stop: CancellationToken,
}

impl Watched {
    fn state(&self, state: SourceState) {
        let now = (self.clock)();
        self.status.send_if_modified(|status| {
            let changed = status.state != state;
            if changed {
                status.state = state;
                status.since = now;
                status.retry_at = None;
            }
            changed
        });
    }

    fn taken(&self, event_count: u64, lag: Option<u64>, wrong: Option<(String, String)>) {
        let now = (self.clock)();
        self.status.send_modify(|status| {
            status.failure_count = 0;
            status.lag = lag;
            if let Some((code, message)) = wrong {
                status.last_error = Some(LastError { at: now, code, message });
            }
            status.event_count += event_count;
            if event_count > 0 {
                status.last_event_at = Some(now);
            }
        });
    }

    /// Until somebody wants the source paused, or to go on from elsewhere.
    async fn until_asked(&mut self) {
        tokio::select! {
            _ = self.paused.wait_for(|paused| *paused) => {}
            // The sender lives as long as `self`.
            Some(ask) = self.asked.recv(), if self.next_seek.is_none() => self.next_seek = Some(ask),
        }
    }

    /// The same, and tells the source when a pause is over.
    async fn while_paused_with(&mut self, source: &mut dyn Source) -> Next {
        let was_paused = *self.paused.borrow();
        let stop = self.stop.clone();
        if was_paused && self.next_seek.is_none() {
            self.state(SourceState::Paused);
            // What a pause holds is reading; going elsewhere is what one pauses a source for.
            tokio::select! {
                biased;
                () = stop.cancelled() => return Next::Stop,
                Some(ask) = self.asked.recv() => self.next_seek = Some(ask),
                _ = self.paused.wait_for(|paused| !*paused) => {}
            }
        }
        let next = if self.next_seek.is_some() { Next::GoOn } else { self.while_paused().await };
        if was_paused && next == Next::GoOn && !*self.paused.borrow() {
            source.resumed((self.clock)());
        }
        next
    }

    async fn while_paused(&mut self) -> Next {
        if *self.paused.borrow_and_update() {
            self.state(SourceState::Paused);
        }
        let stop = self.stop.clone();
        tokio::select! {
            biased;
            () = stop.cancelled() => Next::Stop,
            _ = self.paused.wait_for(|paused| !*paused) => Next::GoOn,
        }
    }

    async fn back_off(&mut self, code: String, message: String, retry_after: Option<Duration>) -> Next {
        let now = (self.clock)();
        let stood = self.connected_at.take().is_some_and(|at| at.elapsed() >= self.backoff.max);
        let before = if stood { 0 } else { self.status.borrow().failure_count };
        let failure_count = before.saturating_add(1);
        let wait = self.backoff.wait(failure_count, (self.random)()).max(retry_after.unwrap_or_default());
        self.state(SourceState::BackingOff);
        self.status.send_modify(|status| {
            status.failure_count = failure_count;
            status.last_error = Some(LastError { at: now, code, message });
            status.retry_at = Some(now.plus(wait));
        });
        let stop = self.stop.clone();
        tokio::select! {
            biased;
            () = stop.cancelled() => Next::Stop,
            // Who pauses wants to see it paused; and who resumes wants to see a try at once.
            () = self.until_asked() => Next::GoOn,
            () = tokio::time::sleep(wait) => Next::GoOn,
        }
    }
}
