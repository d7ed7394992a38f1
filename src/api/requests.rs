//! What a client sends: the JSON bodies of calls. A field that is not known is refused, so that a misspelt
//! `dry_run` never purges anything.

use axum::body::Body;
use axum::http::{HeaderMap, header};
use eventyard_event::{DeliveryId, EventId, Name, media_type};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::cloudevent::CloudEvent;
use super::codes;
use super::problem::Problem;
use crate::dead_letter::Selection;
use crate::server::body::BodyReader;

/// Where a source is to go on.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SeekRequest {
    /// `earliest`, `latest`, a time as RFC 3339, or a place in the words of the source's system: an offset, a sequence.
    #[schemars(length(min = 1, max = 1024))]
    pub to: String,
}

/// Which dead letters, and what to do with them: the body of a replay and of a purge.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("oneOf" = [
    { "required": ["ids"], "properties": { "ids": { "type": "array" } } },
    { "required": ["rule"], "properties": { "rule": { "type": "string" } } },
    { "required": ["all"], "properties": { "all": { "const": true } } },
]))]
pub struct SelectionRequest {
    /// These. One of `ids`, `rule` and `all` says which.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ids: Option<Vec<DeliveryId>>,
    /// All of this rule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<Name>,
    /// All there are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = [true, null]))]
    pub all: Option<bool>,
    /// How many a second are replayed at most.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "whole")]
    #[schemars(range(min = 1, max = 4_294_967_295_u32))]
    pub rate: Option<u32>,
    /// Only count them.
    #[serde(default)]
    pub dry_run: bool,
}

/// A whole number, however it is written: to JSON `5` and `5.0` are the same.
fn whole<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
    let Some(number) = Option::<serde_json::Number>::deserialize(deserializer)? else { return Ok(None) };
    let written = number.to_string();
    let digits = written.strip_suffix(".0").unwrap_or(&written);
    let misfit = || serde::de::Error::custom(format!("`{number}` is no whole number from 0 to {}", u32::MAX));
    digits.parse().map(Some).map_err(|_| misfit())
}

impl SelectionRequest {
    /// Which dead letters are meant.
    ///
    /// # Errors
    /// A problem where none or several are said.
    pub fn selection(&self) -> Result<Selection, Problem> {
        let problem = |detail: &str| {
            Problem::new(&codes::BAD_REQUEST, detail).fix("send exactly one of `ids`, `rule` and `\"all\": true`")
        };
        match (&self.ids, &self.rule, self.all) {
            (Some(ids), None, None) => Ok(Selection::Ids(ids.clone())),
            (None, Some(rule), None) => Ok(Selection::Rule(rule.clone())),
            (None, None, Some(true)) => Ok(Selection::All),
            (None, None, None) => Err(problem("nothing says which dead letters are meant")),
            (None, None, Some(false)) => Err(problem("`all` is false, so nothing says which dead letters are meant")),
            _ => Err(problem("`ids`, `rule` and `all` exclude each other")),
        }
    }
}

/// Which event to explain: the body of `POST /api/v1/explain`.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("oneOf" = [
    { "required": ["cloudevent"], "properties": { "cloudevent": { "type": "object" } } },
    { "required": ["event"], "properties": { "event": { "type": "string" } } },
]))]
pub struct ExplainRequest {
    /// An event as CloudEvents JSON. One of `cloudevent` and `event` is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<CloudEvent>")]
    pub cloudevent: Option<Box<RawValue>>,
    /// Our id of an event that is stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<EventId>,
    /// Only this rule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<Name>,
}

/// What to try a target with: the body of `POST /api/v1/targets/{rule}/{target}/test`.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TargetTestRequest {
    /// An event as CloudEvents JSON; without it, one is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<CloudEvent>")]
    pub cloudevent: Option<Box<RawValue>>,
}

/// A call that says nothing but its path; `{}` or no body at all.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Nothing {}

/// Reads the JSON body of a call. No body at all is read as `{}`.
///
/// A body of another declared type than JSON is refused: a page in a browser can send text and forms anywhere
/// without asking, but not JSON.
///
/// # Errors
/// A problem that names the field.
pub async fn read<T: DeserializeOwned>(bodies: &BodyReader, headers: &HeaderMap, body: Body) -> Result<T, Problem> {
    let max = bodies.limits().call_bytes_max;
    let body = bodies.read(headers, body, "call_bytes_max", max).await?;
    if body.bytes.is_empty() {
        return parse(b"{}");
    }
    let declared = headers.get(header::CONTENT_TYPE).map(|value| String::from_utf8_lossy(value.as_bytes()));
    match declared {
        Some(declared) if media_type::is_json(&declared) => parse(&body.bytes),
        _ => Err(Problem::new(&codes::CONTENT_TYPE, "the body of a call is JSON and says so")
            .at("content-type")
            .fix("send `content-type: application/json`")),
    }
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let path = error.path().to_string();
        let inner = error.into_inner();
        let code = if inner.is_data() { &codes::BAD_REQUEST } else { &codes::JSON_INVALID };
        let place = if inner.is_data() && path != "." {
            path
        } else {
            format!("line {}, column {}", inner.line(), inner.column())
        };
        Problem::new(code, inner.to_string()).at(place)
    })?;
    json.end().map_err(|error| {
        let place = format!("line {}, column {}", error.line(), error.column());
        Problem::new(&codes::JSON_INVALID, error.to_string()).at(place)
    })?;
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem<T: DeserializeOwned + std::fmt::Debug>(text: &str) -> (String, Option<String>) {
        let problem = parse::<T>(text.as_bytes()).unwrap_err();
        (problem.body().code.clone(), problem.body().location.clone())
    }

    #[test]
    fn a_misspelt_field_is_refused_by_its_name() {
        let refused = parse::<SelectionRequest>(br#"{"all": true, "dryrun": true}"#).unwrap_err();
        assert_eq!(refused.body().code, "bad_request");
        assert!(refused.body().detail.contains("dryrun"), "{refused:?}");
    }

    #[test]
    fn a_wrong_value_is_named_by_its_path() {
        assert_eq!(problem::<SelectionRequest>(r#"{"ids": ["7"]}"#), ("bad_request".into(), Some("ids[0]".into())));
        assert_eq!(problem::<SelectionRequest>(r#"{"rate": -1}"#), ("bad_request".into(), Some("rate".into())));
        assert_eq!(problem::<SelectionRequest>(r#"{"rate": 1.5}"#), ("bad_request".into(), Some("rate".into())));
        assert_eq!(parse::<SelectionRequest>(br#"{"rate": 5.0}"#).unwrap().rate, Some(5));
        assert_eq!(problem::<SelectionRequest>("{"), ("json_invalid".into(), Some("line 1, column 1".into())));
        assert_eq!(problem::<Nothing>("{} x"), ("json_invalid".into(), Some("line 1, column 4".into())));
    }

    #[test]
    fn exactly_one_way_of_saying_which() {
        let which = |text: &str| parse::<SelectionRequest>(text.as_bytes()).unwrap().selection();
        assert_eq!(which(r#"{"all": true}"#).unwrap(), Selection::All);
        assert_eq!(which(r#"{"rule": "r"}"#).unwrap(), Selection::Rule(Name::new("r").unwrap()));
        assert_eq!(which(r#"{"ids": []}"#).unwrap(), Selection::Ids(Vec::new()));
        for none in ["{}", r#"{"all": false}"#, r#"{"all": true, "rule": "r"}"#, r#"{"ids": [], "rule": "r"}"#] {
            assert!(which(none).is_err(), "{none}");
        }
    }

    #[test]
    fn an_event_to_explain_keeps_its_spelling() {
        let request: ExplainRequest = parse(br#"{"cloudevent": {"data": 0.10000000000000000000001}}"#).unwrap();
        assert_eq!(request.cloudevent.unwrap().get(), r#"{"data": 0.10000000000000000000001}"#);
    }
}
