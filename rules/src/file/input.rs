//! `input = …` of a target.

use std::sync::Arc;

use toml::de::DeValue;

use super::Host;
use crate::codes;
use crate::reader::Table;
use crate::target::Input;
use crate::text::Text;
use crate::transform::{About, Transform, TransformError};

/// What a target receives, where the rule says so.
pub(super) fn read_input(target: &Table<'_>, host: &Host<'_>) -> Option<Input> {
    let value = target.value("input")?;
    let has = |key: &str| value.get_ref().get(key).is_some();
    // A table may stand for a word, too: `{ env = "INPUT" }`.
    let is_reference = (has("env") || has("file")) && !has("template") && !has("paths");
    if matches!(value.get_ref(), DeValue::Table(_)) && !is_reference {
        return read_transform(target.table("input", "`input`")?, host)
            .map(|transform| Input::Template(Arc::new(transform)));
    }
    let words = ["event", "data", "raw", "object"].map(|word| (word, word));
    Some(match target.word("input", &words, &["lambda", "fc", "scf"])? {
        "event" => Input::Event,
        "data" => Input::Data,
        "raw" => Input::Raw,
        _ => Input::Object,
    })
}

/// `input = { paths = { … }, template = "…" }`.
fn read_transform(table: Table<'_>, host: &Host<'_>) -> Option<Transform> {
    let errors_before = table.reading().error_count();
    table.require("template", "say what is made of the event: template = '{\"id\": <id>}'");
    let template = table.text("template");
    let strict = table.boolean("strict").unwrap_or(false);
    let paths = table.table("paths", "`paths`");
    let named: Vec<(&str, Text)> = match &paths {
        Some(paths) => paths.keys().filter_map(|name| Some((name, paths.text(name)?))).collect(),
        None => Vec::new(),
    };
    let made = template.as_ref().map(|template| {
        Transform::new(named.iter().map(|(name, path)| (*name, path.reveal())), template.reveal(), strict)
    });
    match (made, &template) {
        (Some(Ok(transform)), Some(template)) => {
            table.finish();
            return Some(if template.is_secret() { transform.hide() } else { transform });
        }
        (Some(Err(errors)), Some(template)) if table.reading().error_count() == errors_before => {
            for error in errors {
                report(&table, paths.as_ref(), &named, template, host, error);
            }
        }
        _ => {}
    }
    table.finish();
    None
}

/// Reports a mistake where it stands. What was resolved is a secret, of which nothing is told.
fn report(
    table: &Table<'_>,
    paths: Option<&Table<'_>>,
    named: &[(&str, Text)],
    template: &Text,
    host: &Host<'_>,
    error: TransformError,
) {
    let TransformError { code, about, message, help } = error;
    let (place, secret, what) = match (&about, paths) {
        (About::Path(name), Some(paths)) => {
            let secret = named.iter().any(|(known, path)| known == name && path.is_secret());
            (paths.place_along(std::slice::from_ref(name), code == codes::BAD_VALUE), secret, "path")
        }
        (About::Template(span), _) => {
            let mut place = table.place_of("template");
            // Where the file has the text as it is, without escapes, the mistake itself is pointed at.
            let written = host.text.get(place.span.clone()).unwrap_or_default();
            if let Some(start) = written.find(template.reveal()).filter(|_| !template.reveal().is_empty()) {
                let at = place.span.start + start;
                place.span = at + span.start..(at + span.end).min(place.span.end);
            }
            (place, template.is_secret(), "template")
        }
        _ => (table.place_of("paths"), false, "paths"),
    };
    if secret && code != codes::BAD_VALUE {
        let message = format!("the {what} that came from outside of the files will not do");
        table.reading().refuse(code, place.span, message, None);
    } else {
        table.reading().refuse(code, place.span, message, help);
    }
}
