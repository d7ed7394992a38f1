//! Rules: what they say, how they are read from TOML, and which of them an event matches.
//!
//! A project's files become [`Rule`]s, each with a pattern and targets; every mistake of every file is
//! collected in one [`Report`], with its place, rather than the first one alone.
//!
//! The checked rules are compiled into a [`RuleSet`], which says of an event which rules match it
//! ([`RuleSet::matches`]) and why ([`RuleSet::explain`]). What rules see of an event is a [`View`]; what they ask of
//! it is a [`Pattern`]; what it means that the two agree is written down in [`mod@reference`], and a [`PatternSet`] finds
//! it out for any number of patterns in one pass over the event.
//!
//! What is not here: no clock, no file, no network, no store, and no environment. Texts come in, and whatever a
//! file refers to (`{ env = … }`, `{ file = … }`) is resolved by a closure of the caller's.

pub mod codes;

pub mod cesql;

mod compiled;

mod definition;

pub mod diagnostic;

mod explain;

mod fields;

pub mod file;

mod mask;

mod path;

pub mod pattern;

pub mod reference;

pub mod reader;

pub mod shape;

mod rule;

mod rule_set;

mod split;

mod syntax;

mod target;

mod text;

pub mod transform;

mod view;

mod units;

pub use compiled::{Memory, PatternSet, reference_matches_json};
pub use diagnostic::{Diagnostic, Place, Related, Report, Severity};
pub use explain::{Explanation, FieldVerdict, RuleExplanation, explain_pattern};
pub use mask::{is_secret_key, mask_secrets};
pub use path::{PATH_BYTES_MAX, Path, PathError};
pub use pattern::{Oddity, Pattern, PatternError};
pub use rule::{OrderAfterDead, Rule, RuleTest, TestPayload};
pub use rule_set::{InPlace, RuleSet, TestFailure, Wrong, run_tests};
pub use split::{Elements, SPLIT_DELIVERIES_MAX, SplitError, SplitFound, over_limit};
pub use target::{AnswerEvent, EventTarget, Input, OBJECT_BYTES_MAX, RetryOverrides, Target, TargetTo};
pub use text::{HIDDEN, Settings, Text};
pub use transform::Transform;
pub use units::{nearest, parse_duration, parse_size, show_duration, show_size};
pub use view::View;
