//! What the API shows and does, and how it says no.

use std::time::Duration;

use eventyard::api::views::{DeadLetterItem, DeliveryItem, EventItem, List, RuleItem, SourceItem, Status, TargetItem};
use eventyard::server::{ServerLimits, ServerSettings};
use eventyard_event::{EventId, Timestamp};
use eventyard_store::{DeliveryState, StoreError};
use serde_json::json;

use crate::http_broker::{start, start_with};
use crate::wire::request;

#[tokio::test]
async fn an_event_is_shown_with_its_deliveries() {
    let server = start().await;
    let id = server.big_order("1").await;
    let event: EventItem = serde_json::from_str(&server.get(&format!("/api/v1/events/{id}")).await.body).unwrap();
    assert_eq!(event.event.to_string(), id);
    assert_eq!(event.rules[0].as_str(), "big-orders");
    assert_eq!(event.deliveries[0].state, DeliveryState::Pending);
    assert!(!event.settled);
    assert!(event.cloudevent.get().contains(r#""data":{"amount":1500}"#));

    let list: List<EventItem> = serde_json::from_str(&server.get("/api/v1/events").await.body).unwrap();
    assert_eq!((list.items.len(), list.next), (1, None));
    let list: List<DeliveryItem> = serde_json::from_str(&server.get("/api/v1/deliveries").await.body).unwrap();
    assert_eq!(list.items[0].event.to_string(), id);
    let delivery = server.get(&format!("/api/v1/deliveries/{id}-0")).await.json();
    assert_eq!((delivery["rule"].as_str(), delivery["cloudevent_id"].as_str()), (Some("big-orders"), Some("1")));
}

#[tokio::test]
async fn a_list_comes_in_pages_and_a_forged_cursor_is_refused() {
    let server = start().await;
    for id in 0..5 {
        server.big_order(&id.to_string()).await;
    }
    let mut seen = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = server.get(&format!("/api/v1/events?limit=2&cursor={cursor}")).await.json();
        for item in page["items"].as_array().unwrap() {
            seen.push(item["cloudevent"]["id"].as_str().unwrap().to_owned());
        }
        match page["next"].as_str() {
            Some(next) => cursor = next.to_owned(),
            None => break,
        }
    }
    assert_eq!(seen, ["4", "3", "2", "1", "0"]);
    for path in ["events", "deliveries", "dead-letters"] {
        let answer = server.get(&format!("/api/v1/{path}?cursor=forged")).await;
        assert_eq!((answer.status, answer.code().as_str()), (400, "bad_cursor"), "{path}");
        let answer = server.get(&format!("/api/v1/{path}?limit=1000000000")).await;
        assert_eq!(answer.status, 200, "a large limit is clamped");
    }
}

#[tokio::test]
async fn a_page_of_large_events_ends_early_and_the_next_goes_on_from_there() {
    let limits = ServerLimits { page_bytes_max: 150 * 1024, ..ServerLimits::default() };
    let server = start_with(ServerSettings { limits, ..ServerSettings::default() }).await;
    let filling = "x".repeat(10_000);
    for id in 0..50 {
        let event = json!({
            "specversion": "1.0", "id": id.to_string(), "source": "/shop", "type": "order.created",
            "data": { "amount": 1500, "filling": filling },
        });
        assert_eq!(server.send(&event.to_string()).await.status, 202);
    }
    server.store.all_become(DeliveryState::Dead);
    for path in ["events", "dead-letters"] {
        let mut counts = Vec::new();
        let mut seen = std::collections::BTreeSet::new();
        let mut cursor = String::new();
        loop {
            let answer = server.get(&format!("/api/v1/{path}?limit=1000&cursor={cursor}")).await;
            assert!(answer.body.len() < 450 * 1024, "{path}: a page of {} bytes", answer.body.len());
            let page = answer.json();
            let items = page["items"].as_array().unwrap();
            counts.push(items.len());
            seen.extend(items.iter().map(|item| item["cloudevent"]["id"].as_str().unwrap().to_owned()));
            match page["next"].as_str() {
                Some(next) => cursor = next.to_owned(),
                None => break,
            }
        }
        assert_eq!((counts.as_slice(), seen.len()), (&[20, 20, 10][..], 50), "{path}");
    }
}

#[tokio::test]
async fn parameters_that_are_wrong_or_unknown_are_named() {
    let server = start().await;
    for (path, code, place) in [
        ("events?since=yesterday", "bad_parameter", "since"),
        ("events?state=flying", "bad_parameter", "state"),
        ("events?limit=many", "bad_parameter", "limit"),
        ("events?source=Not-A-Name", "bad_parameter", "source"),
        ("events/7", "bad_parameter", "event"),
        ("deliveries/7", "bad_parameter", "id"),
        ("rules/Not%20A%20Name", "bad_parameter", "rule"),
        ("events?sinse=2026-11-21T00:00:00Z", "unknown_parameter", "sinse"),
        ("rules?limit=1", "unknown_parameter", "limit"),
    ] {
        let answer = server.get(&format!("/api/v1/{path}")).await;
        assert_eq!((answer.status, answer.code().as_str()), (400, code), "{path}");
        assert_eq!(answer.json()["where"], place, "{path}");
    }
    assert!(
        server.get("/api/v1/events?sinse=x").await.json()["fix"].as_str().unwrap().contains("did you mean `since`")
    );
}

#[tokio::test]
async fn an_event_that_is_not_there_may_be_past_the_retention_and_the_answer_says_so() {
    let server = start().await;
    let id = server.big_order("1").await;
    let made_at = id.parse::<EventId>().unwrap().made_at().unwrap();
    let path = format!("/api/v1/events/{id}");
    assert_eq!(server.get(&path).await.status, 200);
    server.store.forget_until(made_at);
    let gone = server.get(&path).await;
    assert_eq!((gone.status, gone.code().as_str()), (404, "not_found"));
    let said = gone.json();
    let detail = said["detail"].as_str().unwrap();
    assert!(detail.contains("past the retention") && detail.contains(&made_at.to_string()), "{detail}");
    assert!(said["fix"].as_str().unwrap().contains("[store] retention"), "{said}");
    let explained = server.call("POST", "/api/v1/explain", &json!({ "event": id }).to_string()).await;
    assert_eq!(explained.json()["detail"], said["detail"]);
    // One that would be younger than anything that went never was there.
    let younger = EventId::new(Timestamp::from_millis(made_at.as_millis() + 1), [0; 10]);
    let never = server.get(&format!("/api/v1/events/{younger}")).await;
    assert_eq!((never.status, never.code().as_str()), (404, "not_found"));
    assert!(!never.json()["detail"].as_str().unwrap().contains("retention"), "{never:?}");
}

#[tokio::test]
async fn what_does_not_exist_is_404_with_where_to_look() {
    let server = start().await;
    let id = "01993b1e-7c55-7d2a-9a50-3c1f6f0e9d11";
    for path in [
        format!("events/{id}"),
        format!("deliveries/{id}-0"),
        format!("dead-letters/{id}-0"),
        "rules/none".to_owned(),
        "sources/none".to_owned(),
        "channels/none".to_owned(),
    ] {
        let answer = server.get(&format!("/api/v1/{path}")).await;
        assert_eq!((answer.status, answer.code().as_str()), (404, "not_found"), "{path}");
        assert!(answer.json()["fix"].as_str().unwrap().contains("eventyard "), "a command goes on: {answer:?}");
    }
    for path in ["/api/v1/nothing", "/api/v2/events", "/event", "/healthz/x"] {
        let answer = server.get(path).await;
        assert_eq!((answer.status, answer.code().as_str()), (404, "not_found"), "{path}");
    }
    for path in ["/", "/ui/", "/2015-03-31/functions/x/invocations"] {
        let answer = server.get(path).await;
        assert_eq!((answer.status, answer.code().as_str()), (404, "not_in_this_version"), "{path}");
    }
}

#[tokio::test]
async fn another_method_is_405_with_those_that_would_do() {
    let server = start().await;
    for (method, path, allow) in
        [("PUT", "/events", "POST"), ("POST", "/api/v1/rules", "GET,HEAD"), ("TRACE", "/healthz", "GET,HEAD")]
    {
        let answer = request(server.address, &format!("{method} {path} HTTP/1.1"), "").await;
        assert_eq!((answer.status, answer.code().as_str()), (405, "method_not_allowed"), "{method} {path}");
        assert_eq!(answer.header("allow"), Some(allow));
    }
}

#[tokio::test]
async fn a_wait_ends_when_the_event_is_settled() {
    let server = start().await;
    let id = server.big_order("1").await;
    let path = format!("/api/v1/events/{id}?wait=30s");
    let (answer, ()) = tokio::join!(server.get(&path), async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        server.store.all_become(DeliveryState::Delivered);
    });
    assert_eq!(answer.json()["settled"], true);

    let second = server.big_order("2").await;
    let answer = server.get(&format!("/api/v1/events/{second}?wait=100ms")).await;
    assert_eq!((answer.status, answer.json()["settled"].as_bool()), (200, Some(false)), "the time is over");
}

#[tokio::test]
async fn dead_letters_are_shown_replayed_and_purged() {
    let server = start().await;
    let id = server.big_order("1").await;
    server.big_order("2").await;
    server.store.all_become(DeliveryState::Dead);

    let list: List<DeadLetterItem> = serde_json::from_str(&server.get("/api/v1/dead-letters").await.body).unwrap();
    assert_eq!(list.items.len(), 2);
    let letter = server.get(&format!("/api/v1/dead-letters/{id}-0")).await.json();
    assert_eq!(letter["kind"], "delivery");
    assert_eq!(letter["reason"]["code"], "http_404");
    assert_eq!(letter["cloudevent"]["data"]["amount"], 1500);
    assert_eq!(letter["replay"], format!("eventyard dead-letters replay {id}-0"));

    let replay = "/api/v1/dead-letters/replay";
    let dry = server.call("POST", replay, r#"{"all": true, "dry_run": true}"#).await;
    assert_eq!((dry.status, dry.json()), (202, json!({ "replayed": 2, "dry_run": true })));
    let body = json!({ "ids": [format!("{id}-0")], "rate": 50 }).to_string();
    assert_eq!(server.call("POST", replay, &body).await.json()["replayed"], 1);
    assert_eq!(server.call("POST", replay, &body).await.json()["replayed"], 0, "a second call finds nothing");
    let purged = server.call("DELETE", "/api/v1/dead-letters", r#"{"rule": "big-orders"}"#).await;
    assert_eq!((purged.status, purged.json()["purged"].as_u64()), (200, Some(1)));
}

#[tokio::test]
async fn a_call_whose_body_is_not_understood_does_nothing() {
    let server = start().await;
    server.big_order("1").await;
    server.store.all_become(DeliveryState::Dead);
    for (body, code) in [
        ("{", "json_invalid"),
        ("", "bad_request"),
        ("{}", "bad_request"),
        (r#"{"all": true, "dryrun": true}"#, "bad_request"),
        (r#"{"all": true, "rule": "big-orders"}"#, "bad_request"),
        (r#"{"ids": ["7"]}"#, "bad_request"),
        (r#"{"all": "yes"}"#, "bad_request"),
        (r#"{"all": true, "rate": 1}"#, "bad_request"),
        ("[]", "bad_request"),
    ] {
        let answer = server.call("DELETE", "/api/v1/dead-letters", body).await;
        assert_eq!((answer.status, answer.code().as_str()), (400, code), "{body}: {answer:?}");
    }
    // What a page in a browser can send without asking.
    let head = "POST /api/v1/dead-letters/replay HTTP/1.1\ncontent-type: text/plain";
    let answer = request(server.address, head, r#"{"all": true}"#).await;
    assert_eq!((answer.status, answer.code().as_str()), (415, "content_type"));
    assert_eq!(server.get("/api/v1/dead-letters").await.json()["items"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn explain_says_what_was_wanted_and_what_was_found() {
    let server = start().await;
    let body = json!({ "cloudevent": {
        "specversion": "1.0", "id": "1", "source": "/shop", "type": "order.created", "data": { "amount": "1500" },
    } });
    let answer = server.call("POST", "/api/v1/explain", &body.to_string()).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let explained = answer.json();
    assert_eq!(explained["nearest"], "big-orders");
    assert_eq!(explained["rules"][0]["matched"], false);
    let fields = explained["rules"][0]["fields"].as_array().unwrap();
    let amount = fields.iter().find(|field| field["path"] == "data.amount").unwrap();
    assert_eq!((amount["ok"].as_bool(), amount["found"].as_str()), (Some(false), Some("\"1500\"")));
    assert!(amount["note"].is_string(), "a string where a number is wanted is said in words");

    let id = server.big_order("2").await;
    let body = json!({ "event": id, "rule": "big-orders" }).to_string();
    assert_eq!(server.call("POST", "/api/v1/explain", &body).await.json()["rules"][0]["matched"], true);

    for (body, status, code) in [
        (json!({}), 400, "bad_request"),
        (json!({ "event": id, "cloudevent": {} }), 400, "bad_request"),
        (json!({ "cloudevent": {} }), 400, "ce_missing_attribute"),
        (json!({ "event": id, "rule": "none" }), 404, "not_found"),
        (json!({ "event": "01993b1e-7c55-7d2a-9a50-3c1f6f0e9d11" }), 404, "not_found"),
    ] {
        let answer = server.call("POST", "/api/v1/explain", &body.to_string()).await;
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{body}");
    }
}

#[tokio::test]
async fn the_project_in_force_is_shown() {
    let server = start().await;
    server.big_order("1").await;
    let rules: List<RuleItem> = serde_json::from_str(&server.get("/api/v1/rules").await.body).unwrap();
    assert_eq!((rules.items[0].name.as_str(), rules.items[0].state.as_str()), ("big-orders", "active"));
    assert_eq!(rules.items[0].file, "rules/orders.toml");
    assert!(rules.items[0].pattern.as_ref().unwrap().get().contains("order.created"));
    assert_eq!(server.get("/api/v1/rules/big-orders").await.json()["targets"][0]["to"], "http://127.0.0.1:9/t");

    let targets: List<TargetItem> = serde_json::from_str(&server.get("/api/v1/targets").await.body).unwrap();
    assert_eq!((targets.items[0].kind.as_str(), targets.items[0].pending), ("http", 1));

    let sources: List<SourceItem> = serde_json::from_str(&server.get("/api/v1/sources").await.body).unwrap();
    assert_eq!(sources.items.len(), 4);
    let github = server.get("/api/v1/sources/github").await.json();
    assert_eq!((github["state"].as_str(), github["path"].as_str()), (Some("listening"), Some("/hooks/github")));
    assert_eq!(server.get("/api/v1/channels/oncall").await.json()["alerts"], json!(["dead_letter"]));

    let fired = server.call("POST", "/api/v1/sources/nightly/fire", "").await;
    assert_eq!((fired.status, fired.json()["source"].as_str()), (200, Some("/sources/nightly")));

    let answer = server.call("POST", "/api/v1/sources/github/fire", "").await;
    assert_eq!((answer.status, answer.code().as_str()), (409, "cannot_fire"));
    let answer = server.call("POST", "/api/v1/sources/none/fire", "{}").await;
    assert_eq!((answer.status, answer.code().as_str()), (404, "not_found"));
    let answer = server.call("POST", "/api/v1/channels/none/test", "{}").await;
    assert_eq!((answer.status, answer.code().as_str()), (404, "not_found"));
}

#[tokio::test]
async fn readiness_says_why_not_and_status_says_how() {
    let server = start().await;
    assert_eq!(server.get("/healthz").await.status, 200);
    let ready = server.get("/readyz").await;
    assert_eq!((ready.status, ready.json()), (200, json!({ "ready": true, "reasons": [], "warnings": [] })));

    server.store.fail(Some(StoreError::Full));
    let full = server.get("/readyz").await;
    assert_eq!((full.status, full.json()["reasons"][0]["code"].as_str()), (503, Some("no_space")));
    assert_eq!(server.get("/healthz").await.status, 200, "alive all the same");

    server.store.fail(None);
    server.big_order("1").await;
    let status: Status = serde_json::from_str(&server.get("/api/v1/status").await.body).unwrap();
    assert!(status.readiness.ready);
    assert_eq!((status.rules, status.stats.events, status.backlog[0].pending), (1, 1, 1));
    assert_eq!(status.version, env!("CARGO_PKG_VERSION"));
}
