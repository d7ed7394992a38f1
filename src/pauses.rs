//! What a person holds: sources that take nothing, and targets that nothing is sent to.
//!
//! A pause outlives restarts, kills and reloads, and ends when somebody resumes. It is kept where everything else is
//! kept: as the position of the broker's own source, in the journal, so that it is durable when it is answered and a
//! backup of the store has it too. It is by name: a target that leaves the project while it is paused keeps its
//! deliveries, which wait until it is back, or until it is resumed and they end as `target_gone`.
//!
//! A paused target's deliveries count as waiting. Nothing of them is attempted, so nothing of their budget is used;
//! what was in flight when the target was paused is let finish. `max_age` goes on counting.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arc_swap::ArcSwap;
use eventyard_event::{Name, Timestamp};
use eventyard_store::{Commit, NewPosition, QueueKey, StoreError};
use serde::{Deserialize, Serialize};

use crate::alert::OWN_SOURCE;
use crate::broker::Broker;
use crate::fate::Fate;
use crate::telemetry::metrics::{QueueLabel, SourceLabel};

/// How many sources and targets may be paused at a time. A position of the store holds 64 KiB, and a target with the
/// longest names takes about 220 bytes of it.
pub const PAUSES_MAX: usize = 256;

/// The form in which pauses are kept. A newer one is refused rather than half understood.
const VERSION: u32 = 1;

/// Something that can be paused.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pausable {
    /// `[source.NAME]`.
    Source(Name),
    /// A target of a rule.
    Target(QueueKey),
}

impl std::fmt::Display for Pausable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Pausable::Source(name) => write!(f, "source {name}"),
            Pausable::Target(queue) => match &queue.rule {
                Some(rule) => write!(f, "target {rule}/{}", queue.target),
                None => write!(f, "channel {}", queue.target),
            },
        }
    }
}

/// Everything that is paused at one moment, and since when.
#[derive(Clone, Debug, Default)]
pub struct Paused {
    /// By name.
    pub sources: BTreeMap<Name, Timestamp>,
    /// By rule and target.
    pub targets: BTreeMap<QueueKey, Timestamp>,
}

/// Why a pause or its end did not come to be. Everything is as it was.
#[derive(Clone, Debug, thiserror::Error)]
pub enum PauseError {
    /// [`PAUSES_MAX`] is met.
    #[error("{PAUSES_MAX} sources and targets are paused already")]
    TooMany,
    /// The store could not keep it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What is kept cannot be read.
    #[error("what is paused cannot be read back: {0}")]
    Unreadable(String),
}

/// What is paused now.
#[derive(Default)]
pub struct Pauses {
    now: ArcSwap<Paused>,
    /// One change at a time.
    turn: tokio::sync::Mutex<()>,
}

impl Pauses {
    /// What is paused at this moment.
    #[must_use]
    pub fn now(&self) -> Arc<Paused> {
        self.now.load_full()
    }
}

impl Paused {
    /// Since when something is paused; `None` where it is not.
    #[must_use]
    pub fn since(&self, what: &Pausable) -> Option<Timestamp> {
        match what {
            Pausable::Source(name) => self.sources.get(name).copied(),
            Pausable::Target(queue) => self.targets.get(queue).copied(),
        }
    }

    /// The targets alone, as lists of the store take them.
    #[must_use]
    pub fn held(&self) -> Arc<BTreeSet<QueueKey>> {
        Arc::new(self.targets.keys().cloned().collect())
    }

    fn with(&self, what: &Pausable, since: Option<Timestamp>) -> Paused {
        let mut next = self.clone();
        match (what, since) {
            (Pausable::Source(name), Some(at)) => next.sources.insert(name.clone(), at),
            (Pausable::Source(name), None) => next.sources.remove(name),
            (Pausable::Target(queue), Some(at)) => next.targets.insert(queue.clone(), at),
            (Pausable::Target(queue), None) => next.targets.remove(queue),
        };
        next
    }

    fn count(&self) -> usize {
        self.sources.len() + self.targets.len()
    }
}

/// What is kept: names and milliseconds in short rows, for there is room for 64 KiB.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    version: u32,
    sources: Vec<(Name, i64)>,
    targets: Vec<(Name, Option<Name>, Name, i64)>,
}

impl Kept {
    fn of(paused: &Paused) -> Kept {
        let source = |(name, since): (&Name, &Timestamp)| (name.clone(), since.as_millis());
        let target = |(queue, since): (&QueueKey, &Timestamp)| {
            (queue.namespace.clone(), queue.rule.clone(), queue.target.clone(), since.as_millis())
        };
        Kept {
            version: VERSION,
            sources: paused.sources.iter().map(source).collect(),
            targets: paused.targets.iter().map(target).collect(),
        }
    }

    fn read(bytes: &[u8]) -> Result<Paused, PauseError> {
        #[derive(Deserialize)]
        struct Version {
            version: u32,
        }
        let unreadable = |error: serde_json::Error| PauseError::Unreadable(error.to_string());
        let Version { version } = serde_json::from_slice(bytes).map_err(unreadable)?;
        if version != VERSION {
            let problem = format!("it has the form {version}, and this version reads {VERSION}");
            return Err(PauseError::Unreadable(problem));
        }
        let kept: Kept = serde_json::from_slice(bytes).map_err(unreadable)?;
        let sources = kept.sources.into_iter().map(|(name, since)| (name, Timestamp::from_millis(since))).collect();
        let target =
            |(namespace, rule, target, since)| (QueueKey { namespace, rule, target }, Timestamp::from_millis(since));
        let targets = kept.targets.into_iter().map(target).collect();
        Ok(Paused { sources, targets })
    }
}

impl Broker {
    /// Reads back what was paused before the restart. Called once, before anything is dispatched or taken.
    ///
    /// # Errors
    /// [`PauseError`] where that cannot be read: to start as if nothing was paused would call targets that somebody
    /// holds.
    pub async fn load_pauses(&self) -> Result<(), PauseError> {
        let saved = self.store().position(&Name::default_namespace(), &OWN_SOURCE).await?;
        let paused = saved.map(|saved| Kept::read(&saved.bytes)).transpose()?.unwrap_or_default();
        for what in paused.sources.keys().cloned().map(Pausable::Source) {
            self.measure_pause(&what, true);
        }
        for what in paused.targets.keys().cloned().map(Pausable::Target) {
            self.measure_pause(&what, true);
        }
        self.pauses().now.store(Arc::new(paused));
        Ok(())
    }

    /// Pauses something. Durable on return, and from then on nothing of it begins. False where it was paused already.
    ///
    /// # Errors
    /// [`PauseError`]; then it goes on as before.
    pub async fn pause(&self, what: &Pausable) -> Result<bool, PauseError> {
        let _turn = self.pauses().turn.lock().await;
        let before = self.pauses().now();
        if before.since(what).is_some() {
            return Ok(false);
        }
        if before.count() >= PAUSES_MAX {
            return Err(PauseError::TooMany);
        }
        let next = Arc::new(before.with(what, Some(self.clocks().now())));
        // At once, so that nothing begins while this is on its way to the disk.
        self.pauses().now.store(Arc::clone(&next));
        self.hold(what, true);
        if let Err(error) = self.keep(&next).await {
            self.pauses().now.store(before);
            self.hold(what, false);
            return Err(error);
        }
        self.tell_pause(what, true);
        Ok(true)
    }

    /// Lets something go on. Durable on return. False where it was not paused.
    ///
    /// # Errors
    /// [`PauseError`]; then it stays paused.
    pub async fn resume(&self, what: &Pausable) -> Result<bool, PauseError> {
        let _turn = self.pauses().turn.lock().await;
        let before = self.pauses().now();
        if before.since(what).is_none() {
            return Ok(false);
        }
        let next = Arc::new(before.with(what, None));
        self.keep(&next).await?;
        self.pauses().now.store(next);
        self.hold(what, false);
        self.tell_pause(what, false);
        Ok(true)
    }

    async fn keep(&self, paused: &Paused) -> Result<(), PauseError> {
        let bytes = serde_json::to_vec(&Kept::of(paused)).map_err(|error| PauseError::Unreadable(error.to_string()))?;
        let position = NewPosition { namespace: Name::default_namespace(), source: OWN_SOURCE.clone(), bytes };
        self.store().commit(Commit { admissions: Vec::new(), position: Some(position) }).await?;
        Ok(())
    }

    /// Makes a change felt.
    fn hold(&self, what: &Pausable, paused: bool) {
        match what {
            Pausable::Source(name) => self.sources().hold(name, paused),
            Pausable::Target(_) => self.look_at_targets_again(),
        }
    }

    fn tell_pause(&self, what: &Pausable, paused: bool) {
        self.measure_pause(what, paused);
        tracing::info!(%what, "{}", if paused { "paused" } else { "resumed" });
        let what = what.to_string();
        self.tell(if paused { Fate::Paused { what } } else { Fate::Resumed { what } });
    }

    /// A gauge that is 1 stands there while it is paused, and none at all otherwise.
    fn measure_pause(&self, what: &Pausable, paused: bool) {
        match what {
            Pausable::Source(name) => {
                let label = SourceLabel { source: name.to_string() };
                if paused {
                    self.metrics().source_paused.get_or_create(&label).set(1);
                } else {
                    self.metrics().source_paused.remove(&label);
                }
            }
            Pausable::Target(queue) => {
                let label = QueueLabel::of(queue);
                if paused {
                    self.metrics().target_paused.get_or_create(&label).set(1);
                } else {
                    self.metrics().target_paused.remove(&label);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(n: usize) -> QueueKey {
        let long = |what: &str| Name::new(&format!("{what}{n:0>width$}", width = 63 - what.len())).unwrap();
        QueueKey { namespace: long("n"), rule: Some(long("r")), target: long("t") }
    }

    #[test]
    fn as_many_as_are_allowed_fit_into_a_position() {
        let now = Timestamp::from_millis(1_800_000_000_000);
        let all =
            (0..PAUSES_MAX).fold(Paused::default(), |paused, n| paused.with(&Pausable::Target(queue(n)), Some(now)));
        let bytes = serde_json::to_vec(&Kept::of(&all)).unwrap();
        assert!(bytes.len() <= 64 * 1024, "{} bytes", bytes.len());
        let read = Kept::read(&bytes).unwrap();
        assert_eq!(read.held().len(), PAUSES_MAX);
        assert_eq!(read.targets, all.targets);
    }

    #[test]
    fn a_form_that_is_newer_is_refused() {
        let newer = br#"{"version":2,"sources":[],"targets":[],"more":true}"#;
        assert!(matches!(Kept::read(newer), Err(PauseError::Unreadable(text)) if text.contains("form 2")));
        assert!(Kept::read(b"nonsense").is_err());
    }
}
