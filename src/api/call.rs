//! What is known of one call of the API: enough to serve it, and to describe it.

use axum::routing::{MethodFilter, MethodRouter};
use schemars::{JsonSchema, Schema, SchemaGenerator};

use super::Api;
use super::codes::{self, Code};

/// The JSON Schema of something, whose named parts are left with the generator.
pub(super) type SchemaOf = fn(&mut SchemaGenerator) -> Schema;

/// The schema of a type.
pub(super) fn of<T: JsonSchema>(schemas: &mut SchemaGenerator) -> Schema {
    schemas.subschema_for::<T>()
}

/// One call: a method of a path.
#[derive(Clone, Copy)]
pub(super) struct Call {
    pub(super) verb: Verb,
    /// As axum and OpenAPI both write it: `/api/v1/events/{event}`.
    pub(super) path: &'static str,
    /// What generated clients call it.
    pub(super) id: &'static str,
    /// What it does, as one sentence.
    pub(super) about: &'static str,
    /// Whether it is answered without the token too.
    pub(super) open: bool,
    /// Serves the call, at the method that is given.
    pub(super) serve: fn(MethodFilter) -> MethodRouter<Api>,
    /// The parameters of its query. A test holds them against those that the call itself says it knows.
    pub(super) query: &'static [Param],
    pub(super) body: Body,
    /// What it answers where it does what was asked.
    pub(super) answers: &'static [Answer],
    /// The problems it may answer with, beyond those that follow from what it takes; see [`Call::codes`].
    pub(super) problems: &'static [&'static [Code]],
}

/// The methods there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    Get,
    Post,
    Delete,
}

impl Verb {
    pub(super) fn filter(self) -> MethodFilter {
        match self {
            Verb::Get => MethodFilter::GET,
            Verb::Post => MethodFilter::POST,
            Verb::Delete => MethodFilter::DELETE,
        }
    }

    /// As OpenAPI writes it.
    pub(super) fn word(self) -> &'static str {
        match self {
            Verb::Get => "get",
            Verb::Post => "post",
            Verb::Delete => "delete",
        }
    }
}

/// A parameter of a path or of a query.
#[derive(Clone, Copy)]
pub(super) struct Param {
    pub(super) name: &'static str,
    pub(super) schema: SchemaOf,
    pub(super) doc: &'static str,
}

/// What a call reads beside its path and its query.
#[derive(Clone, Copy)]
pub(super) enum Body {
    /// It reads none.
    None,
    /// A JSON object without which it cannot do anything.
    Json(SchemaOf),
    /// A JSON object, or no body at all.
    Optional(SchemaOf),
    /// `{}`, or no body at all.
    Nothing,
    /// CloudEvents, in each of their forms.
    Events,
}

/// An answer that is no problem.
#[derive(Clone, Copy)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) content_type: &'static str,
    /// `None` for text.
    pub(super) schema: Option<SchemaOf>,
    pub(super) doc: &'static str,
}

/// JSON, with 200.
pub(super) const fn json(schema: SchemaOf, doc: &'static str) -> Answer {
    json_with(200, schema, doc)
}

/// JSON, with another status.
pub(super) const fn json_with(status: u16, schema: SchemaOf, doc: &'static str) -> Answer {
    Answer { status, content_type: "application/json", schema: Some(schema), doc }
}

/// Text of some type, with 200.
pub(super) const fn text(content_type: &'static str, doc: &'static str) -> Answer {
    Answer { status: 200, content_type, schema: None, doc }
}

/// Of a call whose path names something: there may be nothing of that name.
const NAMED: &[Code] = &[codes::BAD_PARAMETER, codes::NOT_FOUND];
/// Of a call that refuses parameters of the query that it does not know.
const ASKED: &[Code] = &[codes::UNKNOWN_PARAMETER, codes::BAD_PARAMETER];
/// Of a call that needs the token.
const LOCKED: &[Code] = &[codes::UNAUTHORIZED];
/// Of a call that reads a body.
const WITH_BODY: &[Code] = &[
    codes::JSON_INVALID,
    codes::CONTENT_TYPE,
    codes::CONTENT_ENCODING,
    codes::BODY_TOO_LARGE,
    codes::BODY_TIMEOUT,
    codes::BODY_INCOMPLETE,
    codes::BUSY,
];
/// Of a call that reads a JSON object.
const WITH_JSON: &[Code] = &[codes::BAD_REQUEST];
/// Of every call.
const ALWAYS: &[Code] = &[codes::URI_TOO_LONG, codes::TOO_MANY_CONNECTIONS, codes::INTERNAL];

/// Of a call that reads the store.
pub(super) const READS: &[Code] = &[codes::STORE_READ_FAILED, codes::STORE_POISONED, codes::STOPPING, codes::BUSY];
/// Of a call that reads a list out of the store.
pub(super) const PAGES: &[Code] = &[codes::BAD_CURSOR];
/// Of a call that writes to the store.
pub(super) const WRITES: &[Code] = &[codes::NO_SPACE];
/// Of a call that makes events.
pub(super) const TAKES: &[Code] = &[codes::BACKLOG_FULL, codes::BATCH_TOO_LARGE];

impl Call {
    /// A call that answers with `serve` and nothing else said yet.
    const fn new(
        verb: Verb,
        path: &'static str,
        id: &'static str,
        about: &'static str,
        serve: fn(MethodFilter) -> MethodRouter<Api>,
    ) -> Call {
        Call { verb, path, id, about, open: false, serve, query: &[], body: Body::None, answers: &[], problems: &[] }
    }

    /// A call that asks.
    pub(super) const fn get(
        path: &'static str,
        id: &'static str,
        about: &'static str,
        serve: fn(MethodFilter) -> MethodRouter<Api>,
    ) -> Call {
        Call::new(Verb::Get, path, id, about, serve)
    }

    /// A call that does something and whose body says nothing; [`Call::body`] gives it another one.
    pub(super) const fn post(
        path: &'static str,
        id: &'static str,
        about: &'static str,
        serve: fn(MethodFilter) -> MethodRouter<Api>,
    ) -> Call {
        Call { body: Body::Nothing, ..Call::new(Verb::Post, path, id, about, serve) }
    }

    /// A call that removes something.
    pub(super) const fn delete(
        path: &'static str,
        id: &'static str,
        about: &'static str,
        serve: fn(MethodFilter) -> MethodRouter<Api>,
    ) -> Call {
        Call::new(Verb::Delete, path, id, about, serve)
    }

    /// Answered without the token too.
    pub(super) const fn open(self) -> Call {
        Call { open: true, ..self }
    }

    /// The parameters of its query.
    pub(super) const fn query(self, query: &'static [Param]) -> Call {
        Call { query, ..self }
    }

    /// What it reads.
    pub(super) const fn body(self, body: Body) -> Call {
        Call { body, ..self }
    }

    /// What it answers where it does what was asked.
    pub(super) const fn answers(self, answers: &'static [Answer]) -> Call {
        Call { answers, ..self }
    }

    /// The problems it may answer with, beyond those that follow from what it takes.
    pub(super) const fn problems(self, problems: &'static [&'static [Code]]) -> Call {
        Call { problems, ..self }
    }

    /// Every problem it may answer with, in the order of statuses and words.
    pub(super) fn codes(&self) -> Vec<Code> {
        let (asked, named) = (self.path.starts_with("/api/"), self.path.contains('{'));
        let with_body = !matches!(self.body, Body::None);
        let with_json = matches!(self.body, Body::Json(_) | Body::Optional(_) | Body::Nothing);
        let follow = [
            (!self.open, LOCKED),
            (asked, ASKED),
            (named, NAMED),
            (with_body, WITH_BODY),
            (with_json, WITH_JSON),
            (true, ALWAYS),
        ];
        let follow = follow.into_iter().filter(|(follows, _)| *follows).map(|(_, codes)| codes);
        let mut codes: Vec<Code> = self.problems.iter().copied().chain(follow).flatten().copied().collect();
        codes.sort_by_key(|code| (code.status, code.word));
        codes.dedup();
        codes
    }
}
