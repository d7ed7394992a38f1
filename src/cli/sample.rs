//! `eventyard events send github.push`: a request as a known sender would make it, sent to the source that waits for it.

use bytes::Bytes;
use eventyard::config::{Project, SourceDef};
use eventyard_connectors::http::{NoSample, PathTemplate, SampleRequest, sample, samples};
use eventyard_event::{Name, Timestamp};
use serde_json::Value;

use super::exit::{Failure, Outcome};

/// What stands in a path where the source has a `{parameter}`.
const PARAMETER: &str = "sample";

/// What a known sender would tell: of `github.push`, the preset `github` and the word `push`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted<'a> {
    preset: &'a str,
    word: &'a str,
}

/// A request and where it goes.
#[derive(Debug)]
pub(crate) struct Addressed {
    /// The source that waits for it.
    pub(crate) source: Name,
    /// The method that it takes.
    pub(crate) method: String,
    /// Its path.
    pub(crate) path: String,
    /// What is sent.
    pub(crate) request: SampleRequest,
}

impl<'a> Wanted<'a> {
    /// Reads `PRESET.EVENT`; `None` where no preset has that name, or where a file has.
    pub(crate) fn read(text: &'a str) -> Option<Wanted<'a>> {
        let (preset, word) = text.split_once('.')?;
        let known = samples().any(|(name, _)| name == preset);
        (known && !std::path::Path::new(text).exists()).then_some(Wanted { preset, word })
    }

    /// Makes the request for the project's source, `to` being its name where several wait for this sender.
    pub(crate) fn address(
        self,
        project: &Project,
        to: Option<&Name>,
        body: Option<String>,
        id: &str,
        now: Timestamp,
        sign: bool,
    ) -> Outcome<Addressed> {
        let source = self.source(project, to)?;
        let settings = source.settings.reveal();
        let text = |key: &str| settings.get(key).and_then(Value::as_str);
        let secret = settings.pointer("/secret/0").or_else(|| settings.get("secret")).and_then(Value::as_str);
        if sign && secret.is_none() {
            return Err(Failure::usage(format!("the source `{}` has no secret to sign with", source.name)));
        }
        let path = PathTemplate::parse(text("path").unwrap_or_default()).map_err(Failure::usage)?;
        let mut methods =
            settings.get("methods").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
        let first = methods.next().unwrap_or("POST");
        let method = if methods.any(|method| method == "POST") { "POST" } else { first };
        let request = sample(self.preset, self.word, body.map(Bytes::from), id, now, secret.filter(|_| sign))
            .map_err(|why| self.unknown(why))?;
        Ok(Addressed {
            source: source.name.clone(),
            method: method.to_owned(),
            path: path.with_parameters(PARAMETER),
            request,
        })
    }

    fn source<'p>(self, project: &'p Project, to: Option<&Name>) -> Outcome<&'p SourceDef> {
        let waits = |source: &&SourceDef| {
            let preset = source.settings.reveal().get("preset").and_then(Value::as_str);
            source.enabled && preset == Some(self.preset)
        };
        let waiting: Vec<&SourceDef> = project.sources.iter().filter(waits).collect();
        let names = || waiting.iter().map(|source| source.name.as_str()).collect::<Vec<_>>().join(", ");
        match (waiting.as_slice(), to) {
            ([], _) => Err(Failure::usage(format!(
                "no source of this project has preset = \"{0}\"\n  help: add one: [source.{0}] with kind = \"http\", \
                 path = \"/hooks/{0}\", preset = \"{0}\" and a secret",
                self.preset
            ))),
            ([one], None) => Ok(one),
            (_, Some(name)) => waiting.iter().copied().find(|source| source.name == *name).ok_or_else(|| {
                Failure::usage(format!("the source `{name}` does not wait for {}; these do: {}", self.preset, names()))
            }),
            (_, None) => Err(Failure::usage(format!(
                "several sources wait for {}\n  help: choose one with --to: {}",
                self.preset,
                names()
            ))),
        }
    }

    fn unknown(self, why: NoSample) -> Failure {
        let known: Vec<String> = listed().filter(|name| name.starts_with(&format!("{}.", self.preset))).collect();
        Failure::usage(format!(
            "there is no `{}.{}`: {why}\n  help: these have an example: {}; for any other, give its body: --data @FILE",
            self.preset,
            self.word,
            known.join(", ")
        ))
    }
}

/// Every event that can be sent without a body of one's own.
pub(crate) fn listed() -> impl Iterator<Item = String> {
    samples().map(|(preset, word)| format!("{preset}.{word}"))
}
