//! What targets answer is kept and shown; what the project calls a secret is taken out of it first.
//!
//! A server that repeats the request in its error page, or a script that prints its environment, would otherwise
//! carry a token into the data folder and from there to everybody who may look at an event. This is a net, not a
//! wall: it knows the secrets as they stand in the project, in HTTP Basic's form, and the address's path and query
//! where an address is one. What a target encodes otherwise passes.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use eventyard_rules::{HIDDEN, Settings, TargetTo};
use serde_json::Value;
use url::Url;

use crate::config::{Project, Runtime};
use crate::retry::Outcome;
use crate::settle::Tried;

/// Shorter texts are left alone: they turn up in anything by chance, and hiding them would only make answers
/// unreadable.
const SECRET_BYTES_MIN: usize = 6;

/// What a cut text begins with, where its beginning is missing.
const CUT: char = '…';

/// All that a project keeps to itself.
#[derive(Default)]
pub struct Secrets {
    /// The longest first, so that of two that overlap the whole of the longer one goes.
    texts: Vec<String>,
}

impl Secrets {
    /// The secrets of a project.
    #[must_use]
    pub fn of(project: &Project) -> Secrets {
        let mut found = BTreeSet::new();
        if let Some(token) = &project.server.token {
            add(token.reveal(), &mut found);
        }
        for function in &project.functions {
            let environment = match &function.runtime {
                Runtime::Command(command) => &command.environment,
                Runtime::Wasm(wasm) => &wasm.environment,
            };
            let secret = environment.iter().filter(|(_, value)| value.is_secret());
            secret.for_each(|(_, value)| add(value.reveal(), &mut found));
        }
        let http = project.rules.iter().flat_map(|rule| &rule.targets).filter_map(|target| match &target.to {
            TargetTo::Http(settings) => Some(settings),
            _ => None,
        });
        let sources = project.sources.iter().map(|source| &source.settings);
        let sinks = project.sinks.iter().map(|sink| &sink.settings);
        let channels = project.channels.iter().map(|channel| &channel.settings);
        sources.chain(sinks).chain(channels).chain(http).for_each(|settings| of_settings(settings, &mut found));
        let mut texts: Vec<String> = found.into_iter().collect();
        texts.sort_by_key(|text| std::cmp::Reverse(text.len()));
        Secrets { texts }
    }

    /// Takes them out of all that is kept of an attempt.
    pub(crate) fn hide_in(&self, tried: &mut Tried) {
        self.hide(&mut tried.response);
        match &mut tried.outcome {
            Outcome::Retryable { reason, .. } | Outcome::Permanent { reason } => self.hide(&mut reason.message),
            Outcome::Succeeded | Outcome::Interrupted => {}
        }
    }

    /// Puts [`HIDDEN`] wherever a secret stands in a text, or as much of one as a cut has left at its ends.
    pub fn hide(&self, text: &mut String) {
        if text.is_empty() {
            return;
        }
        for secret in &self.texts {
            if text.contains(secret) {
                *text = text.replace(secret, HIDDEN);
            }
        }
        self.hide_at_end(text);
        self.hide_at(0, text);
        let mut from = 0;
        while let Some(at) = text.get(from..).and_then(|rest| rest.find(CUT)) {
            from += at + CUT.len_utf8();
            self.hide_at(from, text);
        }
    }

    /// Hides the beginning of a secret with which a text ends.
    fn hide_at_end(&self, text: &mut String) {
        for secret in &self.texts {
            let beginnings = (SECRET_BYTES_MIN..secret.len()).rev().filter_map(|at| secret.get(..at));
            if let Some(part) = beginnings.into_iter().find(|part| text.ends_with(part)) {
                text.truncate(text.len() - part.len());
                text.push_str(HIDDEN);
                return;
            }
        }
    }

    /// Hides the end of a secret that stands at one place of a text.
    fn hide_at(&self, at: usize, text: &mut String) {
        let Some(rest) = text.get(at..) else { return };
        let ends = self.texts.iter().flat_map(|secret| {
            let last = secret.len().saturating_sub(SECRET_BYTES_MIN);
            (1..=last).filter_map(|from| secret.get(from..))
        });
        if let Some(part) = ends.filter(|part| rest.starts_with(part)).max_by_key(|part| part.len()) {
            text.replace_range(at..at + part.len(), HIDDEN);
        }
    }
}

fn add(secret: &str, found: &mut BTreeSet<String>) {
    let mut keep = |text: &str| {
        if text.len() >= SECRET_BYTES_MIN {
            found.insert(text.to_owned());
        }
    };
    keep(secret);
    // `Bearer …`, where a header was written out.
    if let Some((_, credentials)) = secret.split_once(' ') {
        keep(credentials);
    }
    // Of an address a server sees the path and the query, and may repeat either.
    if let Ok(url) = Url::parse(secret)
        && url.has_host()
    {
        keep(url.path());
        keep(url.query().unwrap_or_default());
    }
}

fn of_settings(settings: &Settings, found: &mut BTreeSet<String>) {
    collect(settings.reveal(), settings.shown(), found);
}

/// Every text that is not shown as it is.
fn collect(value: &Value, shown: &Value, found: &mut BTreeSet<String>) {
    match (value, shown) {
        (Value::String(text), Value::String(shown)) if shown == HIDDEN => add(text, found),
        (Value::Array(values), Value::Array(shown)) => {
            values.iter().zip(shown).for_each(|(value, shown)| collect(value, shown, found));
        }
        (Value::Array(values), shown) => values.iter().for_each(|value| collect(value, shown, found)),
        (Value::Object(values), shown) => {
            for (key, value) in values {
                collect(value, shown.get(key).unwrap_or(shown), found);
            }
            let text = |key: &str| values.get(key).and_then(Value::as_str);
            if let (Some(user), Some(password)) = (text("username"), text("password")) {
                add(&STANDARD.encode(format!("{user}:{password}")), found);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hidden(text: &str) -> String {
        let texts = vec!["correct horse battery".to_owned(), "hunter2!".to_owned()];
        let mut text = text.to_owned();
        Secrets { texts }.hide(&mut text);
        text
    }

    #[test]
    fn a_secret_is_hidden_wherever_it_stands_and_nothing_else_is() {
        assert_eq!(hidden("a hunter2! b hunter2!"), "a *** b ***");
        assert_eq!(hidden("correct horse battery staple"), "*** staple");
        for text in ["", "hunt", "a correct answer", "… and so on", "x…"] {
            assert_eq!(hidden(text), text);
        }
    }

    #[test]
    fn what_a_cut_has_left_of_a_secret_is_hidden_too() {
        assert_eq!(hidden("authorization: Bearer correct hor"), "authorization: Bearer ***");
        assert_eq!(hidden("horse battery\nPATH=/bin"), "***\nPATH=/bin");
        assert_eq!(hidden("its standard error ends with: …unter2!\nPATH"), "its standard error ends with: …***\nPATH");
        // As little of it is left as may stand there by chance.
        assert_eq!(hidden("…er2! and hunte"), "…er2! and hunte");
    }

    #[test]
    fn secrets_are_found_in_lists_tables_addresses_and_basic_authentication() {
        let value = serde_json::json!({
            "url": "https://example.com/hook/0123?key=456789", "secret": ["one one one", "two two two"],
            "auth": { "kind": "basic", "username": "ci", "password": "pass word" }, "headers": { "x-n": "visible" },
        });
        let shown = serde_json::json!({
            "url": HIDDEN, "secret": [HIDDEN, HIDDEN],
            "auth": { "kind": "basic", "username": "ci", "password": HIDDEN }, "headers": { "x-n": "visible" },
        });
        let mut found = BTreeSet::new();
        of_settings(&Settings::new(value, shown), &mut found);
        for wanted in ["one one one", "two two two", "pass word", "Y2k6cGFzcyB3b3Jk", "/hook/0123", "key=456789"] {
            assert!(found.contains(wanted), "{wanted}: {found:?}");
        }
        assert!(!found.contains("visible"));
    }
}
