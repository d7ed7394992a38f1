//! EventBridge's input transformer: what a target receives is made of a template and of values from the event.
//!
//! A [`Transform`] is made once, of paths with names and of a template, and everything that can be known then is
//! checked then ([`Transform::new`]). For each delivery it is applied to what is seen of the event ([`Seen`]).
//!
//! A template has one of two forms. Of *JSON*, in which `<name>` stands where a value may stand, or inside of a text; what
//! comes out is JSON for every event. Or of *lines of text*, each in quotes; what comes out are the lines, in their quotes.
//! What a name stands for depends on where it is used:
//!
//! | the value | alone, in JSON | in a text, in JSON | in a line of text |
//! |---|---|---|---|
//! | a text | with quotes | without | without |
//! | a number, `true`, `false`, `null` | as it is spelled | as it is spelled | as it is spelled |
//! | an object, a list | as it stands | nothing can be made: [`ApplyError::InQuotes`] | without its quotes and spaces |
//! | not there | `""` | nothing | nothing |
//!
//! Texts are escaped for where they come to stand, so no value can end the text that it is in. A value is never looked
//! at for names: what comes out is no template.

pub(crate) mod find;
mod path;
mod render;
mod template;

use std::ops::Range;

use eventyard_event::Envelope;

pub use path::InputPath;

use crate::codes;
use template::{Part, Place};

/// The most paths of one transformer, as EventBridge has it.
pub const PATHS_MAX: usize = 100;

/// The longest name of a path, in bytes, as EventBridge has it.
pub const NAME_BYTES_MAX: usize = 256;

/// The longest template, in characters, as EventBridge has it.
pub const TEMPLATE_CHARS_MAX: usize = 8192;

/// The most that comes out, in bytes: what a target receives is held in memory while it is called.
pub const OUTPUT_BYTES_MAX: usize = 1024 * 1024;

/// Names that need no path.
pub const PREDEFINED: [&str; 5] = [
    "aws.events.rule-arn",
    "aws.events.rule-name",
    "aws.events.event.ingestion-time",
    "aws.events.event",
    "aws.events.event.json",
];

/// Paths and a template, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Transform {
    paths: Vec<(Box<str>, InputPath)>,
    template: Box<str>,
    strict: bool,
    /// Whether the template came from where secrets come from, so that nobody is shown it.
    hidden: bool,
    parts: Vec<Part>,
    /// Whether what comes out is one JSON value; several lines of text are none.
    is_json: bool,
}

/// What a name in a template stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Variable {
    /// One of the paths, by its place.
    Path(usize),
    RuleArn,
    RuleName,
    IngestionTime,
    /// The event without its payload.
    Event,
    /// The whole event.
    EventJson,
}

/// What is wrong with paths or a template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct TransformError {
    /// One of [`mod@codes`].
    pub code: &'static str,
    /// What it is about.
    pub about: About,
    /// What is wrong.
    pub message: String,
    /// What to do, where there is something to say.
    pub help: Option<String>,
}

/// Where a mistake stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum About {
    /// All the paths.
    Paths,
    /// The path of this name.
    Path(String),
    /// These bytes of the template.
    Template(Range<usize>),
}

/// Why nothing can be made of an event.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    /// `strict`, and the event lacks something.
    #[error("the event has nothing at `{path}`, which `<{name}>` asks for, and the input is `strict`")]
    MissingPath {
        /// The name in the template.
        name: String,
        /// Its path.
        path: String,
    },
    /// An object or a list would stand inside of a text.
    #[error("`{path}` is {found}, and `<{name}>` stands in quotes, where only a text or a number has a place")]
    InQuotes {
        /// The name in the template.
        name: String,
        /// Its path.
        path: String,
        /// `an object` or `a list`.
        found: &'static str,
    },
    /// More than [`OUTPUT_BYTES_MAX`].
    #[error("the template makes more than 1 MiB of this event (limit OUTPUT_BYTES_MAX)")]
    TooLarge,
}

impl ApplyError {
    /// The stable word of a dead letter's reason.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            ApplyError::MissingPath { .. } => "input_missing_path",
            ApplyError::InQuotes { .. } => "input_in_quotes",
            ApplyError::TooLarge => "template_limit",
        }
    }
}

/// What a transformer makes a payload of.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'e> {
    /// The event.
    pub subject: Subject<'e>,
    /// What `<aws.events.rule-name>` stands for.
    pub rule_name: &'e str,
    /// What `<aws.events.rule-arn>` stands for.
    pub rule_arn: &'e str,
    /// What `<aws.events.event.ingestion-time>` stands for.
    pub ingestion_time: &'e str,
}

/// An event, in one of the forms in which it can be looked into.
#[derive(Clone, Copy, Debug)]
pub enum Subject<'e> {
    /// An event of the broker's: attributes, extensions and `tags` by their names, the payload as `data`, as patterns see
    /// it.
    Event(&'e Envelope),
    /// The same of a rule that splits, and the element that is delivered as `element`.
    Element {
        /// The event, with all of its data.
        event: &'e Envelope,
        /// The element's JSON.
        element: &'e str,
    },
    /// An event of EventBridge's, as the text of a JSON object that was checked ([`eventyard_event::json::validate`]).
    /// On text that is no JSON, nothing is found, or what comes out is no JSON either.
    Json(&'e str),
}

/// What comes out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// The payload.
    pub text: String,
    /// Whether it is one JSON value; otherwise it is lines of text.
    pub is_json: bool,
}

impl Transform {
    /// Checks paths with their names, and a template.
    ///
    /// # Errors
    /// All that is wrong with them.
    pub fn new<'t>(
        paths: impl IntoIterator<Item = (&'t str, &'t str)>,
        template: &str,
        strict: bool,
    ) -> Result<Transform, Vec<TransformError>> {
        let mut errors = Vec::new();
        // A path that will not do keeps its name, so that the template's mistakes are no consequence of its own.
        let mut names: Vec<&str> = Vec::new();
        let mut read = Vec::new();
        for (name, text) in paths {
            names.push(name);
            let about = || About::Path(name.to_owned());
            if let Err((message, help)) = check_name(name) {
                errors.push(TransformError { code: codes::BAD_VALUE, about: about(), message, help });
            }
            match InputPath::new(text) {
                Ok(path) => read.push((Box::from(name), path)),
                Err((message, help)) => {
                    errors.push(TransformError { code: codes::BAD_PATH, about: about(), message, help });
                }
            }
        }
        if names.len() > PATHS_MAX {
            let message =
                format!("there are {} paths; at most {PATHS_MAX} may be there (limit PATHS_MAX)", names.len());
            errors.push(TransformError { code: codes::TOO_MANY, about: About::Paths, message, help: None });
        }
        match template::read(template, &names) {
            Ok((parts, is_json)) if errors.is_empty() => {
                Ok(Transform { paths: read, template: Box::from(template), strict, hidden: false, parts, is_json })
            }
            Ok(_) => Err(errors),
            Err(wrong) => {
                errors.extend(wrong);
                Err(errors)
            }
        }
    }

    /// The paths by their names.
    pub fn paths(&self) -> impl Iterator<Item = (&str, &InputPath)> {
        self.paths.iter().map(|(name, path)| (&**name, path))
    }

    /// The template as it was written.
    #[must_use]
    pub fn template(&self) -> &str {
        &self.template
    }

    /// Whether an event that lacks one of the paths is given up rather than delivered with a gap.
    #[must_use]
    pub fn is_strict(&self) -> bool {
        self.strict
    }

    /// Whether nobody is shown the template.
    #[must_use]
    pub fn is_hidden(&self) -> bool {
        self.hidden
    }

    /// The same, with a template that nobody is shown.
    #[must_use]
    pub(crate) fn hide(self) -> Transform {
        Transform { hidden: true, ..self }
    }

    /// Makes the payload for one event.
    ///
    /// # Errors
    /// [`ApplyError`] says why nothing can be made of this event; another attempt would end the same way.
    pub fn apply(&self, seen: &Seen<'_>) -> Result<Output, ApplyError> {
        let mut found: Vec<Option<Option<find::Value<'_>>>> = vec![None; self.paths.len()];
        let mut out = String::with_capacity(self.template.len());
        for part in &self.parts {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Variable { variable, place } => {
                    let own;
                    let value = match variable {
                        Variable::Path(at) => match (found.get_mut(*at), self.paths.get(*at)) {
                            (Some(kept), Some((_, path))) => {
                                kept.get_or_insert_with(|| path.find(seen.subject)).as_ref()
                            }
                            _ => None,
                        },
                        _ => {
                            own = predefined(*variable, seen);
                            Some(&own)
                        }
                    };
                    self.write(&mut out, *variable, *place, value)?;
                }
            }
            if out.len() > OUTPUT_BYTES_MAX {
                return Err(ApplyError::TooLarge);
            }
        }
        Ok(Output { text: out, is_json: self.is_json })
    }

    fn write(
        &self,
        out: &mut String,
        variable: Variable,
        place: Place,
        value: Option<&find::Value<'_>>,
    ) -> Result<(), ApplyError> {
        let told = || match variable {
            Variable::Path(at) => {
                self.paths.get(at).map(|(name, path)| (name.to_string(), path.to_string())).unwrap_or_default()
            }
            _ => Default::default(),
        };
        let Some(value) = value else {
            if self.strict {
                let (name, path) = told();
                return Err(ApplyError::MissingPath { name, path });
            }
            if place == Place::Alone {
                out.push_str("\"\"");
            }
            return Ok(());
        };
        render::write(out, place, value).map_err(|found| {
            let (name, path) = told();
            ApplyError::InQuotes { name, path, found }
        })
    }
}

fn predefined<'e>(variable: Variable, seen: &Seen<'e>) -> find::Value<'e> {
    match variable {
        Variable::RuleArn => find::Value::Text(seen.rule_arn.into()),
        Variable::RuleName | Variable::Path(_) => find::Value::Text(seen.rule_name.into()),
        Variable::IngestionTime => find::Value::Text(seen.ingestion_time.into()),
        Variable::Event => find::Value::Json(find::without_payload(seen.subject).into()),
        Variable::EventJson => find::Value::Json(find::whole(seen.subject)),
    }
}

/// What is wrong with a path's name, and what helps.
fn check_name(name: &str) -> Result<(), (String, Option<String>)> {
    if name.get(..4).is_some_and(|start| start.eq_ignore_ascii_case("aws.")) {
        let message = format!("`{name}` begins with `AWS.`, which is kept for what needs no path");
        return Err((message, Some(format!("write <{}> without a path, or take another name", PREDEFINED[1]))));
    }
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.bytes().all(fits) {
        let message = format!("`{}` is no name for a path", crate::syntax::shorten(name.escape_debug().to_string()));
        let help = format!("a name has letters, digits, `-` and `_`, at most {NAME_BYTES_MAX} (limit NAME_BYTES_MAX)");
        return Err((message, Some(help)));
    }
    Ok(())
}
