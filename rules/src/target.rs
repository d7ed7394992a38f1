//! Whom a rule calls. Names only: who answers to a name is the root crate's to know.

use std::sync::Arc;
use std::time::Duration;

use eventyard_event::Name;

use crate::diagnostic::Place;
use crate::text::Settings;
use crate::transform::Transform;

/// One target of a rule.
#[derive(Clone, Debug, PartialEq)]
pub struct Target {
    /// Unique in its rule; pending deliveries follow it. Where the file names none: the function's, sink's or
    /// channel's name, or `http`, or `event`.
    pub name: Name,
    /// What is called.
    pub to: TargetTo,
    /// What it says otherwise than its rule about retries.
    pub retry: RetryOverrides,
    /// How long one attempt may take; `None` for what the function, the sink or the kind says.
    pub timeout: Option<Duration>,
    /// How many attempts of this target may run at once; `None` for the default.
    pub concurrency: Option<u32>,
    /// What it receives; `None` for the default of its kind ([`TargetTo::default_input`]).
    pub input: Option<Input>,
    /// The most bytes of an object that it receives, with [`Input::Object`]; `None` for [`OBJECT_BYTES_MAX`].
    pub object_bytes_max: Option<u64>,
    /// What becomes of a function's answer, where it goes on.
    pub answer: Option<AnswerEvent>,
    /// Whether a sender that waits gets this target's answer: see `reply = "sync"` of an http source.
    pub reply: bool,
    /// Where it stands.
    pub place: Place,
}

/// What a target is.
#[derive(Clone, Debug, PartialEq)]
pub enum TargetTo {
    /// `function = "NAME"`, `"NAME:ALIAS"` or `"NAME:VERSION"`.
    Function {
        /// `[function.NAME]`.
        name: Name,
        /// An alias or a version.
        qualifier: Option<String>,
    },
    /// `sink = "NAME"`.
    Sink(Name),
    /// `channel = "NAME"`.
    Channel(Name),
    /// `http = { url = … }`: the settings of an `http` sink, checked by whoever knows that sink.
    Http(Settings),
    /// `event = { type = … }`: the event goes round again as a new one, so that rules make chains.
    Event(EventTarget),
}

impl TargetTo {
    /// What a target of this kind receives where its rule does not say.
    #[must_use]
    pub fn default_input(&self) -> Input {
        match self {
            TargetTo::Function { .. } | TargetTo::Channel(_) => Input::Event,
            TargetTo::Sink(_) | TargetTo::Http(_) | TargetTo::Event(_) => Input::Raw,
        }
    }

    /// Whether targets of this kind answer anything that a sender could be given.
    #[must_use]
    pub fn can_reply(&self) -> bool {
        match self {
            TargetTo::Function { .. } | TargetTo::Sink(_) | TargetTo::Http(_) => true,
            TargetTo::Channel(_) | TargetTo::Event(_) => false,
        }
    }

    /// `function`, `sink`, `channel`, `http` or `event`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            TargetTo::Function { .. } => "function",
            TargetTo::Sink(_) => "sink",
            TargetTo::Channel(_) => "channel",
            TargetTo::Http(_) => "http",
            TargetTo::Event(_) => "event",
        }
    }
}

/// What an `event` target makes of an event: a new one with the same data, and these attributes instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventTarget {
    /// The new event's `type`.
    pub ty: String,
    /// Its `source`; `None` for `/rules/NAMESPACE/RULE`.
    pub source: Option<String>,
    /// Its `subject`; `None` for that of the event it is made from.
    pub subject: Option<String>,
}

/// What a function's answer becomes: a new event with the answer as its data, and these attributes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnswerEvent {
    /// Its attributes, as of an `event` target.
    pub event: EventTarget,
    /// The media type of its data; `None` for what the answer looks like.
    pub content_type: Option<String>,
}

/// The most bytes of an object that a target receives where its rule does not say.
pub const OBJECT_BYTES_MAX: u64 = 10 * 1024 * 1024;

/// What a target receives.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// Structured CloudEvents JSON.
    Event,
    /// The data as JSON.
    Data,
    /// The bytes as they came with their content type.
    Raw,
    /// The bytes of the object that the event names, fetched for each attempt.
    Object,
    /// What a template makes of the event.
    Template(Arc<Transform>),
}

/// What a `retry` table says; each key may be left to the next outer one.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct RetryOverrides {
    /// How many attempts, the first one counted; at least 1.
    pub attempts: Option<u32>,
    /// Counted from commit or replay; no attempt begins later.
    pub max_age: Option<Duration>,
    /// The pause after the first failure; it doubles with each further one.
    pub backoff: Option<Duration>,
    /// The longest pause.
    pub backoff_max: Option<Duration>,
    /// By what fraction a pause may be shorter or longer, 0.0 to 1.0.
    pub jitter: Option<f64>,
}

impl RetryOverrides {
    /// These, and where they are silent what `outer` says.
    #[must_use]
    pub fn or(self, outer: RetryOverrides) -> RetryOverrides {
        RetryOverrides {
            attempts: self.attempts.or(outer.attempts),
            max_age: self.max_age.or(outer.max_age),
            backoff: self.backoff.or(outer.backoff),
            backoff_max: self.backoff_max.or(outer.backoff_max),
            jitter: self.jitter.or(outer.jitter),
        }
    }
}
