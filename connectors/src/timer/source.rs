//! Waits for the instants of a schedule and makes their events.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use eventyard_event::{Data, Event, Extensions, Name, Text, Timestamp, format_text};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::config::TimerConfig;
use super::{CatchUp, Schedule, Step, TimerState};
use crate::source::{Batch, Incoming, ManualFiring, Source, SourceContext, SourceError};
use crate::spec::{ConfigError, check_type, read_checked};

/// The longest that a timer sleeps before it looks at the clock again: a clock that is set while it sleeps is seen
/// this late at most.
const SLEEP_MAX: Duration = Duration::from_secs(30);

/// `[source.NAME] kind = "timer"`.
pub struct TimerSource {
    schedule: Schedule,
    catch_up: CatchUp,
    catch_up_window: Duration,
    /// `overlap = "skip"`.
    waits_for_last: bool,
    firing: Arc<Firing>,
    /// When the timer was first connected, or the last pause ended; what passed before is what a stop missed.
    began_at: Option<Timestamp>,
    connection: Option<Connection>,
}

/// What makes the event of an instant.
struct Firing {
    name: Name,
    ty: Text,
    payload: Value,
    schedule: Schedule,
}

struct Connection {
    context: SourceContext,
    state: TimerState,
    /// Where this timer was never seen before, or its schedule is another one now: the time from which it counts,
    /// to be saved before anything else.
    anchor: Option<Timestamp>,
    /// What the last batch stands for, until it is acknowledged.
    offered: Option<Timestamp>,
}

/// How far a timer has come, as it is saved. A position of another schedule says nothing about this one's instants.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Position {
    version: u32,
    schedule: String,
    timezone: String,
    handled: Timestamp,
}

/// The version of [`Position`] that is written and read.
const POSITION_VERSION: u32 = 1;

/// The schedule of a timer's table (held against [`SPEC`](super::SPEC)); for showing its coming instants.
///
/// # Errors
/// What does not read.
pub fn schedule_of(table: &Value) -> Result<Schedule, Vec<ConfigError>> {
    let config: TimerConfig = read_checked(table)?;
    Schedule::parse(&config.schedule, &config.timezone).map_err(|error| vec![error])
}

impl TimerSource {
    /// Makes the timer `name` from its table (held against [`SPEC`](super::SPEC)); with warnings, for which `now`
    /// is needed.
    ///
    /// # Errors
    /// What does not read.
    pub fn build(
        name: &Name,
        table: &Value,
        now: Timestamp,
    ) -> Result<(TimerSource, Vec<ConfigError>), Vec<ConfigError>> {
        let config: TimerConfig = read_checked(table)?;
        check_type(config.ty.as_deref())?;
        let schedule = Schedule::parse(&config.schedule, &config.timezone).map_err(|error| vec![error])?;
        let mut warnings = Vec::new();
        if schedule.next_after(now).is_none() {
            let message = format!("`{}` will never fire", schedule.as_str());
            warnings.push(
                ConfigError::at("schedule", "never_fires", message)
                    .help("no coming date fits it; look at its day, month and year together"),
            );
        }
        let firing = Firing {
            name: name.clone(),
            ty: config.ty.map_or_else(|| "timer.fired".into(), Text::from),
            payload: config.payload,
            schedule: schedule.clone(),
        };
        let source = TimerSource {
            schedule,
            catch_up: match config.catch_up.as_str() {
                "skip" => CatchUp::Skip,
                "all" => CatchUp::All,
                _ => CatchUp::Latest,
            },
            catch_up_window: Duration::from_millis(config.catch_up_window_ms),
            waits_for_last: config.overlap != "allow",
            firing: Arc::new(firing),
            began_at: None,
            connection: None,
        };
        Ok((source, warnings))
    }

    /// When it fires.
    #[must_use]
    pub fn schedule(&self) -> &Schedule {
        &self.schedule
    }

    fn position(&self, handled: Timestamp) -> Result<Option<Vec<u8>>, SourceError> {
        let position = Position {
            version: POSITION_VERSION,
            schedule: self.schedule.as_str().to_owned(),
            timezone: self.schedule.zone_name().to_owned(),
            handled,
        };
        serde_json::to_vec(&position).map(Some).map_err(|error| broken_position(&error.to_string()))
    }
}

#[async_trait]
impl Source for TimerSource {
    async fn connect(&mut self, context: SourceContext) -> Result<(), SourceError> {
        let now = (context.clock)();
        let began_at = *self.began_at.get_or_insert(now);
        let saved = context.position.as_deref().map(read_position).transpose()?;
        let (handled, anchor) = match saved {
            Some(saved) if saved.schedule == self.schedule.as_str() && saved.timezone == self.schedule.zone_name() => {
                (saved.handled, None)
            }
            // Never behind what another schedule has handled: an instant that both have would fire twice.
            Some(other) => (now.max(other.handled), Some(now.max(other.handled))),
            None => (now, Some(now)),
        };
        let state = TimerState::new(handled, began_at, self.catch_up, self.catch_up_window);
        self.connection = Some(Connection { context, state, anchor, offered: None });
        Ok(())
    }

    async fn read(&mut self) -> Result<Batch, SourceError> {
        loop {
            let Some(connection) = &mut self.connection else {
                return Err(SourceError::Failed { code: "not_connected", message: "read before connect".to_owned() });
            };
            if let Some(anchor) = connection.anchor {
                connection.offered = Some(anchor);
                return Ok(Batch { position: self.position(anchor)?, ..Batch::default() });
            }
            let now = (connection.context.clock)();
            match connection.state.step(&self.schedule, now) {
                Step::Finished => return Err(SourceError::Ended),
                Step::Wait(until) => tokio::time::sleep(until.since(now).min(SLEEP_MAX)).await,
                Step::Miss { through } => {
                    tracing::info!(source = %self.firing.name, through = %through, "a timer has passed over what it missed");
                    connection.state.handle(through);
                }
                Step::Fire { instants, through } => {
                    if self.waits_for_last && !last_settled(&connection.context).await? {
                        tracing::info!(
                            source = %self.firing.name, scheduled_at = %through,
                            "a timer does not fire: a delivery of its last firing has not ended"
                        );
                        // Kept in memory alone: a saved position would stand for a frame without an event, and the
                        // last firing would count as settled.
                        connection.state.handle(through);
                        continue;
                    }
                    connection.offered = Some(through);
                    let events = instants.into_iter().map(|at| self.firing.scheduled(at)).collect();
                    return Ok(Batch { events, position: self.position(through)?, ..Batch::default() });
                }
            }
        }
    }

    async fn ack(&mut self) -> Result<(), SourceError> {
        if let Some(connection) = &mut self.connection
            && let Some(through) = connection.offered.take()
        {
            connection.anchor = None;
            connection.state.handle(through);
        }
        Ok(())
    }

    async fn close(&mut self) {
        self.connection = None;
    }

    fn resumed(&mut self, now: Timestamp) {
        if self.began_at.is_some() {
            self.began_at = Some(now);
        }
        if let Some(connection) = &mut self.connection {
            connection.state.begin_again(now);
        }
    }

    fn manual(&self) -> Option<ManualFiring> {
        let firing = Arc::clone(&self.firing);
        Some(Arc::new(move |now, random| firing.by_hand(now, random)))
    }
}

impl Firing {
    fn scheduled(&self, at: Timestamp) -> Incoming {
        self.event(format_text!("{}@{}", self.name, at.to_jiff()), at)
    }

    fn by_hand(&self, now: Timestamp, random: [u8; 10]) -> Incoming {
        let random: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
        self.event(format_text!("{}@{now}#manual-{random}", self.name), now)
    }

    fn event(&self, id: Text, at: Timestamp) -> Incoming {
        let data = json!({ "scheduled_at": self.schedule.show(at), "payload": self.payload });
        let event = Event {
            id,
            source: format_text!("/sources/{}", self.name),
            ty: self.ty.clone(),
            subject: Some(self.name.as_str().into()),
            time: Some(format_text!("{}", at.to_jiff())),
            datacontenttype: Some("application/json".into()),
            dataschema: None,
            extensions: Extensions::default(),
            data: Data::Json(Bytes::from(data.to_string())),
        };
        // The position in the same frame guards against repeats, and our own JSON repeats no key.
        Incoming { event, keys_unique: true, dedupe: None }
    }
}

async fn last_settled(context: &SourceContext) -> Result<bool, SourceError> {
    context
        .intake
        .last_settled()
        .await
        .map_err(|error| SourceError::Failed { code: "intake", message: error.to_string() })
}

fn read_position(bytes: &[u8]) -> Result<Position, SourceError> {
    let position: Position = serde_json::from_slice(bytes).map_err(|error| broken_position(&error.to_string()))?;
    if position.version != POSITION_VERSION {
        return Err(broken_position(&format!(
            "it has version {}, and this program reads {POSITION_VERSION}",
            position.version
        )));
    }
    Ok(position)
}

fn broken_position(problem: &str) -> SourceError {
    SourceError::Failed { code: "position", message: format!("the timer's saved position does not read: {problem}") }
}
