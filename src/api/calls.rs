//! Every call, in one table. The router is built from it and from nothing else, and so is the document that
//! `GET /api/v1/openapi.json` answers with: what is not described here is not served.
//!
//! To add a call, add it here: its path and what serves it, its parameters, what it reads and answers, and the
//! problems that do not follow from these. `tests/openapi.rs` holds what is said here against what the broker does.

use axum::routing::on;
use eventyard_event::{DeliveryId, EventId, Name, Timestamp};
use eventyard_store::DeliveryState;
use schemars::{JsonSchema as _, Schema, SchemaGenerator, json_schema};

use super::call::{Answer, Body, Call, PAGES, Param, READS, TAKES, WRITES, json, json_with, of, text};
use super::query::{LIMIT_DEFAULT, LIMIT_MAX};
use super::requests::{ExplainRequest, SeekRequest, SelectionRequest, TargetTestRequest};
use super::views::{
    Accepted, ChannelItem, ChannelTested, DeadLetterItem, DeliveryItem, EventItem, Explained, List, Live, Purged,
    ReadinessView, ReloadView, Replayed, RuleItem, SourceItem, Status, TargetItem, TargetTested,
};
use super::{codes, dead_letters, deliveries, events, explain, health, hold, ingest, live, openapi, project};
use crate::intake::Receipt;

const SINCE: Param = Param { name: "since", schema: of::<Timestamp>, doc: "Not before this time." };
const RULE: Param = Param { name: "rule", schema: of::<Name>, doc: "Only of this rule." };
const TARGET: Param = Param { name: "target", schema: of::<Name>, doc: "Only of this target." };
const STATE: Param =
    Param { name: "state", schema: of::<DeliveryState>, doc: "Only what has a delivery in this state." };
const LIMIT: Param = Param { name: "limit", schema: limit, doc: "How many items a page has at most." };
const CURSOR: Param = Param { name: "cursor", schema: of::<String>, doc: "The `next` of the page before." };

const EVENTS: &[Param] = &[
    SINCE,
    Param { name: "until", schema: of::<Timestamp>, doc: "Before this time." },
    Param { name: "source", schema: of::<Name>, doc: "Only what came by this source." },
    Param { name: "type", schema: of::<String>, doc: "Only events of this CloudEvents `type`." },
    Param { name: "id", schema: of::<String>, doc: "Only events of this CloudEvents `id`." },
    RULE,
    STATE,
    Param { name: "unmatched", schema: of::<bool>, doc: "Only what no rule matched." },
    LIMIT,
    CURSOR,
];
const DELIVERIES: &[Param] =
    &[STATE, RULE, TARGET, Param { name: "event", schema: of::<EventId>, doc: "Only of this event." }, LIMIT, CURSOR];
const DEAD_LETTERS: &[Param] = &[RULE, TARGET, SINCE, LIMIT, CURSOR];
const LIVE: &[Param] = &[
    RULE,
    Param { name: "source", schema: of::<Name>, doc: "Only what came by this source." },
    Param { name: "type", schema: of::<String>, doc: "Only events of this CloudEvents `type`." },
    Param { name: "rate", schema: rate, doc: "How many lines a second at most; 500 unless it says fewer." },
];
const WAIT: &[Param] = &[Param {
    name: "wait",
    schema: duration,
    doc: "Answer once nothing more happens to the event, or after this long; at most 60s.",
}];

/// What may stand in a path, by its name there.
pub(super) const SEGMENTS: &[Param] = &[
    Param { name: "event", schema: of::<EventId>, doc: "Our id of the event." },
    Param { name: "id", schema: of::<DeliveryId>, doc: "The delivery's id, which is its dead letter's too." },
    Param { name: "name", schema: of::<Name>, doc: "Its name in the project." },
    Param { name: "rule", schema: of::<Name>, doc: "The rule's name." },
    Param { name: "target", schema: of::<Name>, doc: "The target's name within its rule." },
];

const ACCEPTED: &[Answer] =
    &[json_with(202, of::<Accepted>, "The events and their deliveries are on disk. One receipt for each, in order.")];
const NOT_AN_EVENT: &[codes::Code] = &[
    codes::CE_MISSING_ATTRIBUTE,
    codes::CE_SPECVERSION,
    codes::CE_ATTRIBUTE,
    codes::CE_SHAPE,
    codes::CE_DATA,
    codes::CE_LIMIT,
    codes::JSON_INVALID,
];

/// Why a delivery is left as it is.
const NOT_MOVED: &[codes::Code] = &[codes::DELIVERY_IN_FLIGHT, codes::DELIVERY_DEAD, codes::DELIVERY_ENDED];

/// All calls, in the order of the documentation.
pub(super) static CALLS: &[Call] = &[
    Call::post(ingest::EVENTS_PATH, "sendEvents", "Takes CloudEvents: binary, structured or batched.", |verb| {
        on(verb, ingest::post_events)
    })
    .body(Body::Events)
    .answers(ACCEPTED)
    .problems(&[NOT_AN_EVENT, TAKES, READS, WRITES]),
    Call::get("/healthz", "isAlive", "Whether anything answers.", |verb| on(verb, health::live))
        .open()
        .answers(&[json(of::<Live>, "It does.")]),
    Call::get("/readyz", "isReady", "Whether events are taken.", |verb| on(verb, health::ready)).open().answers(&[
        json(of::<ReadinessView>, "They are; `warnings` says what somebody should look at."),
        json_with(503, of::<ReadinessView>, "They are not; `reasons` says why."),
    ]),
    Call::get("/metrics", "metrics", "The metrics, for Prometheus.", |verb| on(verb, health::metrics))
        .answers(&[text("application/openmetrics-text", "OpenMetrics text.")]),
    Call::get("/api/v1/status", "status", "How the broker is.", |verb| on(verb, health::status))
        .answers(&[json(of::<Status>, "Version, readiness, counts, and what waits for which target.")]),
    Call::get("/api/v1/events", "listEvents", "What came in, the newest first.", |verb| on(verb, events::list))
        .query(EVENTS)
        .answers(&[json(of::<List<EventItem>>, "A page of events with their deliveries.")])
        .problems(&[READS, PAGES]),
    Call::get("/api/v1/events/{event}", "showEvent", "One event's whole story.", |verb| on(verb, events::show))
        .query(WAIT)
        .answers(&[json(of::<EventItem>, "The event, and each delivery with each attempt.")])
        .problems(&[READS]),
    Call::get("/api/v1/deliveries", "listDeliveries", "Each event on its way to each target.", |verb| {
        on(verb, deliveries::list)
    })
    .query(DELIVERIES)
    .answers(&[json(of::<List<DeliveryItem>>, "A page of deliveries, the newest first.")])
    .problems(&[READS, PAGES]),
    Call::get("/api/v1/deliveries/{id}", "showDelivery", "One delivery.", |verb| on(verb, deliveries::show))
        .answers(&[json(of::<DeliveryItem>, "The delivery with each attempt.")])
        .problems(&[READS]),
    Call::post("/api/v1/deliveries/{id}/retry", "retryDelivery", "Makes a delivery that waits due now.", |verb| {
        on(verb, deliveries::retry)
    })
    .answers(&[json(of::<DeliveryItem>, "The delivery as it is then.")])
    .problems(&[NOT_MOVED, READS, WRITES]),
    Call::post("/api/v1/deliveries/{id}/cancel", "cancelDelivery", "Ends a delivery for good.", |verb| {
        on(verb, deliveries::cancel)
    })
    .answers(&[json(of::<DeliveryItem>, "The delivery, which is never attempted again.")])
    .problems(&[NOT_MOVED, READS, WRITES]),
    Call::get("/api/v1/dead-letters", "listDeadLetters", "What was given up.", |verb| on(verb, dead_letters::list))
        .query(DEAD_LETTERS)
        .answers(&[json(of::<List<DeadLetterItem>>, "A page of dead letters, the newest first.")])
        .problems(&[READS, PAGES]),
    Call::delete("/api/v1/dead-letters", "purgeDeadLetters", "Gives dead letters up for good.", |verb| {
        on(verb, dead_letters::purge)
    })
    .body(Body::Json(purge))
    .answers(&[json(of::<Purged>, "How many.")])
    .problems(&[READS, WRITES]),
    Call::post("/api/v1/dead-letters/replay", "replayDeadLetters", "Tries dead letters again.", |verb| {
        on(verb, dead_letters::replay)
    })
    .body(Body::Json(of::<SelectionRequest>))
    .answers(&[json_with(202, of::<Replayed>, "How many are pending again, with a fresh budget of attempts.")])
    .problems(&[READS, WRITES]),
    Call::get("/api/v1/dead-letters/{id}", "showDeadLetter", "One dead letter.", |verb| on(verb, dead_letters::show))
        .answers(&[json(of::<DeadLetterItem>, "The dead letter, its event whole, and each attempt.")])
        .problems(&[READS]),
    Call::get("/api/v1/rules", "listRules", "The rules in force.", |verb| on(verb, project::rules))
        .answers(&[json(of::<List<RuleItem>>, "All of them.")]),
    Call::get("/api/v1/rules/{name}", "showRule", "One rule.", |verb| on(verb, project::rule))
        .answers(&[json(of::<RuleItem>, "The rule.")]),
    Call::get("/api/v1/targets", "listTargets", "Whom rules call, and what waits for each.", |verb| {
        on(verb, project::targets)
    })
    .answers(&[json(of::<List<TargetItem>>, "All of them, and those that are gone while deliveries wait for them.")])
    .problems(&[READS]),
    Call::post("/api/v1/targets/{rule}/{target}/pause", "pauseTarget", "Holds a target.", |verb| {
        on(verb, hold::pause_target)
    })
    .answers(&[json(of::<TargetItem>, "The target. Its deliveries wait and no attempt is made.")])
    .problems(&[&[codes::TOO_MANY_PAUSES], READS, WRITES]),
    Call::post("/api/v1/targets/{rule}/{target}/resume", "resumeTarget", "Lets a target go on.", |verb| {
        on(verb, hold::resume_target)
    })
    .answers(&[json(of::<TargetItem>, "The target.")])
    .problems(&[READS, WRITES]),
    Call::post(
        "/api/v1/targets/{rule}/{target}/test",
        "testTarget",
        "Calls a target once and keeps nothing.",
        |verb| on(verb, hold::test_target),
    )
    .body(Body::Optional(of::<TargetTestRequest>))
    .answers(&[json(of::<TargetTested>, "What came of it, whatever that was.")])
    .problems(&[NOT_AN_EVENT]),
    Call::get("/api/v1/sources", "listSources", "Where events come from.", |verb| on(verb, project::sources))
        .answers(&[json(of::<List<SourceItem>>, "All of them, with state, lag and last error.")]),
    Call::get("/api/v1/sources/{name}", "showSource", "One source.", |verb| on(verb, project::source))
        .answers(&[json(of::<SourceItem>, "The source.")]),
    Call::post("/api/v1/sources/{name}/pause", "pauseSource", "Holds a source.", |verb| on(verb, hold::pause_source))
        .answers(&[json(of::<SourceItem>, "The source. Nothing is taken from it.")])
        .problems(&[&[codes::TOO_MANY_PAUSES], READS, WRITES]),
    Call::post("/api/v1/sources/{name}/resume", "resumeSource", "Lets a source go on.", |verb| {
        on(verb, hold::resume_source)
    })
    .answers(&[json(of::<SourceItem>, "The source.")])
    .problems(&[READS, WRITES]),
    Call::post("/api/v1/sources/{name}/fire", "fireSource", "Makes a timer fire now.", |verb| on(verb, project::fire))
        .answers(&[json(of::<Receipt>, "The receipt of the event that it made.")])
        .problems(&[&[codes::CANNOT_FIRE], TAKES, READS, WRITES]),
    Call::post("/api/v1/sources/{name}/seek", "seekSource", "Lets a source go on from another place.", |verb| {
        on(verb, project::seek)
    })
    .body(Body::Json(of::<SeekRequest>))
    .answers(&[json(of::<SourceItem>, "The source. What it reads next is from there.")])
    .problems(&[&[codes::CANNOT_SEEK, codes::SEEK_FAILED]]),
    Call::get("/api/v1/channels", "listChannels", "The ways to tell people.", |verb| on(verb, project::channels))
        .answers(&[json(of::<List<ChannelItem>>, "All of them.")]),
    Call::get("/api/v1/channels/{name}", "showChannel", "One channel.", |verb| on(verb, project::channel))
        .answers(&[json(of::<ChannelItem>, "The channel.")]),
    Call::post("/api/v1/channels/{name}/test", "testChannel", "Sends a trial message.", |verb| {
        on(verb, project::test_channel)
    })
    .answers(&[json(of::<ChannelTested>, "The channel took it.")])
    .problems(&[&[codes::CHANNEL_FAILED], READS, WRITES]),
    Call::post("/api/v1/explain", "explain", "Why rules match an event, or do not.", |verb| on(verb, explain::explain))
        .body(Body::Json(of::<ExplainRequest>))
        .answers(&[json(of::<Explained>, "Each rule, and each thing that it asks for.")])
        .problems(&[NOT_AN_EVENT, &[codes::NOT_FOUND], READS]),
    Call::post("/api/v1/reload", "reload", "Reads the project again, all or nothing.", |verb| {
        on(verb, project::reload)
    })
    .answers(&[json(of::<ReloadView>, "What is in force now.")])
    .problems(&[&[codes::RULES_REFUSED]]),
    Call::get("/api/v1/live", "follow", "What passes, as it passes.", |verb| on(verb, live::follow))
        .query(LIVE)
        .answers(&[text("text/event-stream", "Server-sent events, until either side ends it.")])
        .problems(&[&[codes::TOO_MANY_TAPS]]),
    Call::get("/api/v1/openapi.json", "openapi", "This document.", |verb| on(verb, openapi::show))
        .answers(&[json(any_object, "OpenAPI 3.1.")]),
];

fn limit(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "integer", "minimum": 0, "default": LIMIT_DEFAULT,
        "description": format!("Below 1 it is taken as 1, above {LIMIT_MAX} as {LIMIT_MAX}."),
    })
}

fn rate(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "integer", "minimum": 1, "maximum": 4_294_967_295_u32 })
}

fn duration(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "pattern": "^[0-9]{1,9}(ms|s|m|h|d)$", "examples": ["30s"] })
}

fn any_object(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "object" })
}

/// A purge is asked for as a replay is, but has no rate.
fn purge(schemas: &mut SchemaGenerator) -> Schema {
    let mut schema = SelectionRequest::json_schema(schemas);
    if let Some(properties) = schema.get_mut("properties").and_then(|properties| properties.as_object_mut()) {
        properties.shift_remove("rate");
    }
    schema
}
