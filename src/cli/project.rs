//! A project's files, and events that are tried against its rules without a broker.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use eventyard::config::{self, Project, Surroundings};
use eventyard_event::json::{Shape, read_structured, read_structured_into};
use eventyard_event::{Envelope, Event, EventError, EventId, Limits, Name, Timestamp};
use eventyard_rules::{InPlace, Report, RuleSet};

use super::Context;
use super::draft::{self, Attributes, Overrides};
use super::exit::{Failure, Outcome};
use super::screen::complain;

/// Which project, for commands that need no broker.
#[derive(clap::Args, Debug)]
pub(crate) struct ProjectArgs {
    /// The project's folder
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub(crate) project: PathBuf,
}

/// Loads and checks a project, and returns what was found with it.
///
/// The error is the whole report, which nothing has printed yet.
pub(crate) fn load(folder: &Path, context: &Context) -> Result<(Project, Report), Report> {
    let around = Surroundings { env: &|name| std::env::var(name).ok(), now: context.clocks.now() };
    config::load_at(folder, &around)
}

/// Loads a project for a command that is not about its mistakes: they are printed, and end it.
pub(crate) fn load_or_report(folder: &Path, context: &Context) -> Outcome<Project> {
    match load(folder, context) {
        Ok((project, _warnings)) => Ok(project),
        Err(report) => {
            complain(report.render(super::screen::errors_coloured()));
            complain(format!("error: the project in {} does not load", folder.display()));
            Err(Failure::Reported(2))
        }
    }
}

/// By which source an event in a file is supposed to come.
#[derive(clap::Args, Debug)]
pub(crate) struct FromArgs {
    /// The source it comes by, so that rules with `from` and `tags` can be tried [default: events]
    #[arg(long, value_name = "NAME")]
    from: Option<Name>,
}

/// What the broker would add to an event.
pub(crate) struct Arrival {
    namespace: Name,
    source_name: Name,
    tags: Vec<String>,
    limits: Limits,
}

impl FromArgs {
    /// Finds the source in the project.
    pub(crate) fn arrival(&self, project: &Project) -> Outcome<Arrival> {
        let Some(name) = &self.from else {
            return Arrival::by_post();
        };
        let Some(source) = project.sources.iter().find(|source| source.name == *name) else {
            let names = project.sources.iter().map(|source| source.name.as_str());
            return Err(no_such("source", name.as_str(), names));
        };
        Ok(Arrival {
            namespace: source.namespace.clone(),
            source_name: name.clone(),
            tags: source.tags.clone(),
            limits: Limits::default(),
        })
    }
}

impl Arrival {
    /// As for what is sent to `POST /events`.
    pub(crate) fn by_post() -> Outcome<Arrival> {
        let source_name = Name::new("events").map_err(|error| Failure::usage(error.to_string()))?;
        let namespace = Name::default_namespace();
        Ok(Arrival { namespace, source_name, tags: Vec::new(), limits: Limits::default() })
    }

    /// Reads an event's JSON as the broker would, after filling in what it lacks.
    pub(crate) fn envelope(&self, json: &str, context: &Context) -> Result<Envelope, EventError> {
        let mut envelope = self.empty(context.clocks.now());
        self.fill(&Bytes::copy_from_slice(json.as_bytes()), &mut envelope)?;
        Ok(envelope)
    }

    /// What the broker adds to each event, without any event.
    pub(crate) fn empty(&self, now: Timestamp) -> Envelope {
        Envelope {
            id: EventId::new(now, [0; 10]),
            namespace: self.namespace.clone(),
            source_name: self.source_name.clone(),
            tags: self.tags.clone(),
            received_at: now,
            hop_count: 0,
            keys_unique: true,
            event: Event::default(),
        }
    }

    /// What events are matched by where they stand, if any rule could match them.
    pub(crate) fn in_place<'r>(&self, rules: &'r RuleSet, now: Timestamp) -> Option<InPlace<'r>> {
        InPlace::new(rules, &self.empty(now), self.limits)
    }

    /// Puts another event into an envelope, read as by [`Arrival::envelope`], and uses its room again. Its data
    /// stays a slice of `json`. After an error there is no event in it.
    pub(crate) fn fill(&self, json: &Bytes, envelope: &mut Envelope) -> Result<(), EventError> {
        let shape = match read_structured_into(json, &self.limits, &mut envelope.event) {
            Err(EventError::MissingAttribute(name)) if name != "type" => {
                let shape;
                (envelope.event, shape) = self.completed(json, name)?;
                shape
            }
            other => other?,
        };
        envelope.keys_unique = shape.keys_unique;
        Ok(())
    }

    fn completed(&self, json: &[u8], missing: &'static str) -> Result<(Event, Shape), EventError> {
        let wrong = || EventError::MissingAttribute(missing);
        let attributes: Attributes = serde_json::from_slice(json).map_err(|_| wrong())?;
        let complete = draft::complete(&attributes, &Overrides::default(), None, &mut || "unnamed".to_owned());
        let complete = complete.map_err(|_| wrong())?;
        read_structured(&Bytes::from(complete), &self.limits)
    }
}

/// A name that the project does not have, with the nearest and all there are.
pub(crate) fn no_such<'n>(what: &str, name: &str, names: impl Iterator<Item = &'n str>) -> Failure {
    let mut names: Vec<&str> = names.collect();
    names.sort_unstable();
    let mut text = format!("the project has no {what} `{name}`");
    let near = names
        .iter()
        .map(|known| (strsim::normalized_damerau_levenshtein(known, name), known))
        .filter(|(likeness, _)| *likeness > 0.6)
        .max_by(|a, b| a.0.total_cmp(&b.0));
    if let Some((_, near)) = near {
        text.push_str(&format!("\n  help: did you mean `{near}`?"));
    }
    text.push_str(&match names.as_slice() {
        [] => format!("\n  help: it has no {what} at all"),
        names => format!("\n  help: there are {}", names.join(", ")),
    });
    Failure::usage(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_nearly_right_is_named() {
        let text = no_such("rule", "big-order", ["orders", "big-orders"].into_iter()).text().unwrap();
        assert_eq!(
            text,
            "the project has no rule `big-order`\n  help: did you mean `big-orders`?\n  help: there are big-orders, orders"
        );
    }
}
