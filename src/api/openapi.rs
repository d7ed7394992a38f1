//! The description of the API, as OpenAPI 3.1: made from the table that the router is made from ([`super::calls`]),
//! and from the types that requests are read into and answers are written from.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;
use schemars::generate::SchemaSettings;
use schemars::{Schema, SchemaGenerator};
use serde_json::{Map, Value, json};

use super::call::{Body, Call, Param, of};
use super::calls::{CALLS, SEGMENTS};
use super::cloudevent::CloudEvent;
use super::codes::Code;
use super::problem::{Problem, ProblemBody};
use super::query::Query;
use super::{Api, json};

/// `GET /api/v1/openapi.json`.
pub(super) async fn show(State(api): State<Api>, uri: Uri) -> Result<Response, Problem> {
    Query::read(&uri, &[])?;
    Ok(json(&document(api.token.is_some())))
}

/// The whole document. Without a token no call asks for one, and none says so.
#[must_use]
pub fn document(with_token: bool) -> Value {
    let mut schemas = Schemas::new();
    let mut paths: BTreeMap<&str, Map<String, Value>> = BTreeMap::new();
    for call in CALLS {
        let described = operation(call, &mut schemas, with_token);
        paths.entry(call.path).or_default().insert(call.verb.word().to_owned(), described);
    }
    let mut components = json!({ "schemas": schemas.named() });
    if with_token {
        components["securitySchemes"] = json!({ "token": { "type": "http", "scheme": "bearer" } });
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "eventyard",
            "version": env!("CARGO_PKG_VERSION"),
            "summary": "An event-driven trigger and message-routing broker.",
            "description": ABOUT,
            "license": { "name": "Apache-2.0 OR MIT", "identifier": "Apache-2.0 OR MIT" },
        },
        "servers": [{ "url": "/" }],
        "paths": paths,
        "components": components,
    })
}

const ABOUT: &str = "Errors are `application/problem+json`; `code` is what to script against. Fields are only ever added to answers. \
     Not described here: the paths of the project's own http sources, which take any body and answer as `POST /events` \
     does, or with `reply = \"sync\"` what a target answers. What is no HTTP/1.1 is answered 400 `not_http`, a head that is \
     too large 431 `head_too_large`.";

/// The schemas of what is sent and of what is answered. The same type may look different in the two: what has a default
/// need not be sent, and is always answered.
struct Schemas {
    sent: SchemaGenerator,
    answered: SchemaGenerator,
}

impl Schemas {
    fn new() -> Schemas {
        let settings = SchemaSettings::draft2020_12().with(|settings| {
            settings.definitions_path = "/components/schemas".into();
            settings.meta_schema = None;
        });
        Schemas {
            sent: settings.clone().for_deserialize().into_generator(),
            answered: settings.for_serialize().into_generator(),
        }
    }

    /// The parts that have names, of both.
    fn named(mut self) -> BTreeMap<String, Value> {
        let answered = self.answered.take_definitions(true);
        self.sent.take_definitions(true).into_iter().chain(answered).collect()
    }
}

fn operation(call: &Call, schemas: &mut Schemas, with_token: bool) -> Value {
    let segments = call.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let segments = segments.filter_map(|name| SEGMENTS.iter().find(|segment| segment.name == name));
    let mut params: Vec<Value> = segments.map(|param| parameter(param, "path", schemas)).collect();
    params.extend(call.query.iter().map(|param| parameter(param, "query", schemas)));
    if matches!(call.body, Body::Events) {
        params.extend(HEADERS.iter().map(|param| parameter(param, "header", schemas)));
    }
    let mut operation = json!({
        "operationId": call.id,
        "summary": call.about,
        "parameters": params,
        "responses": responses(call, schemas),
    });
    if let Some(body) = request_body(&call.body, schemas) {
        operation["requestBody"] = body;
    }
    if with_token {
        operation["security"] = if call.open { json!([]) } else { json!([{ "token": [] }]) };
    }
    operation
}

/// The attributes of a CloudEvent in binary form; extensions are headers of the same kind.
const HEADERS: &[Param] = &[
    Param { name: "ce-specversion", schema: of::<String>, doc: "Binary form: `1.0`." },
    Param { name: "ce-id", schema: of::<String>, doc: "Binary form: the event's `id`." },
    Param { name: "ce-source", schema: of::<String>, doc: "Binary form: the event's `source`." },
    Param { name: "ce-type", schema: of::<String>, doc: "Binary form: the event's `type`." },
];

fn parameter(param: &Param, place: &str, schemas: &mut Schemas) -> Value {
    let mut schema: Value = (param.schema)(&mut schemas.sent).into();
    if place == "query" && schema != json!({ "type": "string" }) {
        // `since=` is read as if it were not there.
        schema = json!({ "anyOf": [schema, { "const": "" }] });
    }
    json!({
        "name": param.name,
        "in": place,
        "required": place == "path",
        "description": param.doc,
        "schema": schema,
    })
}

fn request_body(body: &Body, schemas: &mut Schemas) -> Option<Value> {
    let sent = &mut schemas.sent;
    match body {
        Body::None => None,
        Body::Json(schema) => {
            let schema = schema(sent);
            Some(json!({ "required": true, "content": { "application/json": { "schema": schema } } }))
        }
        Body::Optional(schema) => {
            let schema = schema(sent);
            Some(json!({ "required": false, "content": { "application/json": { "schema": schema } } }))
        }
        Body::Nothing => {
            let schema = json!({ "type": "object", "additionalProperties": false });
            Some(json!({ "required": false, "content": { "application/json": { "schema": schema } } }))
        }
        Body::Events => {
            let (one, many) = (of::<CloudEvent>(sent), of::<Vec<CloudEvent>>(sent));
            Some(json!({
                "required": false,
                "description": "One event or a batch of them; or, with `ce-` headers, the data of one as it is, of any type.",
                "content": {
                    "application/cloudevents+json": { "schema": one },
                    "application/cloudevents-batch+json": { "schema": many },
                    "application/octet-stream": { "schema": {} },
                },
            }))
        }
    }
}

fn responses(call: &Call, schemas: &mut Schemas) -> BTreeMap<String, Value> {
    let mut responses: BTreeMap<String, Value> = BTreeMap::new();
    for answer in call.answers {
        let schema = answer.schema.map_or_else(|| json!({ "type": "string" }), |of| of(&mut schemas.answered).into());
        let schema: Value = schema;
        responses.insert(
            answer.status.to_string(),
            json!({ "description": answer.doc, "content": { answer.content_type: { "schema": schema } } }),
        );
    }
    let mut by_status: BTreeMap<u16, Vec<Code>> = BTreeMap::new();
    for code in call.codes() {
        by_status.entry(code.status).or_default().push(code);
    }
    for (status, codes) in by_status {
        let response =
            responses.entry(status.to_string()).or_insert_with(|| json!({ "description": "", "content": {} }));
        describe_problems(response, status, &codes, schemas);
    }
    responses
}

/// Adds the problems that come with one status to what is said of it.
fn describe_problems(response: &mut Value, status: u16, codes: &[Code], schemas: &mut Schemas) {
    let said = response["description"].as_str().unwrap_or_default();
    let mut told: Vec<String> = Some(said.to_owned()).filter(|said| !said.is_empty()).into_iter().collect();
    told.extend(codes.iter().map(|code| format!("`{}`: {}", code.word, code.summary)));
    response["description"] = told.join("\n\n").into();
    let words: Vec<&str> = codes.iter().map(|code| code.word).collect();
    let problem: Schema = of::<ProblemBody>(&mut schemas.answered);
    response["content"]["application/problem+json"] = json!({
        "schema": {
            "allOf": [problem],
            "properties": { "status": { "const": status }, "code": { "enum": words } },
        },
    });
    match status {
        401 => response["headers"] = header("WWW-Authenticate", "How to bring the token."),
        503 | 507 => {
            response["headers"] = header("Retry-After", "After how many seconds to try again, where that is known.")
        }
        _ => {}
    }
}

fn header(name: &str, doc: &str) -> Value {
    json!({ name: { "description": doc, "schema": { "type": "string" } } })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::codes::CODES;
    use super::*;

    #[test]
    fn every_part_of_a_path_has_a_description() {
        for call in CALLS {
            for part in call.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')) {
                let known = SEGMENTS.iter().any(|segment| segment.name == part);
                assert!(known, "{}: say in calls.rs, in SEGMENTS, what {{{part}}} is", call.path);
            }
        }
    }

    #[test]
    fn no_two_calls_share_a_name_and_each_says_what_it_answers() {
        let mut ids = BTreeSet::new();
        for call in CALLS {
            assert!(ids.insert(call.id), "two calls are named {}", call.id);
            assert!(call.about.ends_with('.') && !call.answers.is_empty(), "{}", call.path);
        }
    }

    /// Those that no call of the API answers with.
    const ELSEWHERE: &[(&str, &str)] = &[
        ("method_not_allowed", "there is no such call"),
        ("not_in_this_version", "there is no such call"),
        ("stale", "of http sources"),
        ("preset_body", "of http sources"),
        ("preset_header", "of http sources"),
        ("source_paused", "of http sources"),
        ("head_too_large", "there is no call yet"),
        ("not_http", "there is no call yet"),
    ];

    #[test]
    fn every_code_is_a_calls_own_or_known_to_be_none() {
        let told: BTreeSet<&str> = CALLS.iter().flat_map(Call::codes).map(|code| code.word).collect();
        for code in CODES {
            let elsewhere = ELSEWHERE.iter().any(|(word, _)| *word == code.word);
            assert_ne!(
                told.contains(code.word),
                elsewhere,
                "`{}`: name it in calls.rs among the problems of the calls that answer with it, or here",
                code.word
            );
        }
    }
}
