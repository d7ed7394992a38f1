//! The senders that are known, each with requests that it signed, or that were signed by another program as its
//! documentation says.

use std::time::Duration;

use bytes::Bytes;
use eventyard_connectors::http::{
    HttpSource, NoSample, Refusal, RequestHead, SOURCE_SPEC, SampleRequest, Taken, sample, samples,
};
use eventyard_connectors::source::Incoming;
use eventyard_connectors::spec::normalise;
use eventyard_event::{Data, ExtensionValue, Limits, Name, Timestamp};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use serde_json::{Value, json};

/// When the fixtures were signed, in seconds since 1970.
const SIGNED_AT: i64 = 1_800_000_000;

const FORM: &str = "application/x-www-form-urlencoded";

fn build(preset: &str, secret: Value) -> HttpSource {
    let table = json!({ "path": "/hook", "preset": preset, "secret": secret });
    let plain = normalise(SOURCE_SPEC.fields, table.as_object().unwrap()).unwrap();
    HttpSource::build(&Name::new("hook").unwrap(), &Value::Object(plain)).unwrap().0
}

fn post_at(source: &HttpSource, seconds: i64, pairs: &[(&str, &str)], body: &[u8]) -> Result<Taken, Refusal> {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        headers.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap());
    }
    let head = RequestHead { method: &Method::POST, path: "/hook", query: None, headers: &headers };
    source.accept(head, Bytes::copy_from_slice(body), Timestamp::from_millis(seconds * 1000), &Limits::default())
}

fn event(taken: Result<Taken, Refusal>) -> Incoming {
    match taken.unwrap() {
        Taken::Events(mut events) => {
            assert_eq!(events.len(), 1);
            events.pop().unwrap()
        }
        Taken::Greeting(greeting) => panic!("{greeting:?}"),
    }
}

fn code(taken: Result<Taken, Refusal>) -> &'static str {
    taken.unwrap_err().code
}

/// The example of Slack's "Verifying requests from Slack": a slash command.
const SLACK_SECRET: &str = "8f742231b10e8888abcd99yyyzzz85a5";
const SLACK_SIGNED_AT: i64 = 1_531_420_618;
const SLACK_SIGNATURE: &str = "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503";
const SLACK_BODY: &[u8] = b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow\
&channel_id=G8PSS9T3V&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=\
&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN\
&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c";

#[test]
fn slacks_own_example_is_believed_for_five_minutes() {
    let source = build("slack", json!(SLACK_SECRET));
    let at = SLACK_SIGNED_AT.to_string();
    let head = [("x-slack-signature", SLACK_SIGNATURE), ("x-slack-request-timestamp", &at), ("content-type", FORM)];
    let incoming = event(post_at(&source, SLACK_SIGNED_AT + 299, &head, SLACK_BODY));
    assert_eq!((incoming.event.ty.as_str(), incoming.event.id.as_str()), ("slack.slash_command", ""));
    assert_eq!(incoming.event.data, Data::Bytes(Bytes::from_static(SLACK_BODY)));
    assert_eq!(code(post_at(&source, SLACK_SIGNED_AT + 302, &head, SLACK_BODY)), "stale");
    let other = build("slack", json!("another"));
    assert_eq!(code(post_at(&other, SLACK_SIGNED_AT, &head, SLACK_BODY)), "unauthorized");
    // The time is signed: an old request cannot be given a new one.
    let later = (SLACK_SIGNED_AT + 1000).to_string();
    let moved = [("x-slack-signature", SLACK_SIGNATURE), ("x-slack-request-timestamp", &later), ("content-type", FORM)];
    assert_eq!(code(post_at(&source, SLACK_SIGNED_AT + 1000, &moved, SLACK_BODY)), "unauthorized");
}

#[test]
fn slacks_question_is_answered_only_when_it_is_slacks() {
    let source = build("slack", json!("s"));
    let request = made("slack", "url_verification", "3eZbrw1a", Some("s"));
    match take(&source, &request).unwrap() {
        Taken::Greeting(greeting) => {
            assert_eq!((greeting.content_type, greeting.body.as_ref()), ("text/plain", &b"3eZbrw1a"[..]));
        }
        Taken::Events(events) => panic!("{events:?}"),
    }
    assert_eq!(code(take(&source, &made("slack", "url_verification", "3eZbrw1a", None))), "unauthorized");
    let long = json!({ "type": "url_verification", "challenge": "x".repeat(2000) }).to_string();
    assert_eq!(code(take(&source, &with_body("slack", "url_verification", &long))), "preset_body");
}

#[test]
fn what_people_click_in_slack_is_named_by_its_payload() {
    let source = build("slack", json!("s"));
    let mut request = with_body("slack", "x", "payload=%7B%22type%22%3A%22block_actions%22%7D");
    request.headers.retain(|(name, _)| *name != "content-type");
    request.headers.push(("content-type", FORM.to_owned()));
    assert_eq!(event(take(&source, &request)).event.ty, "slack.block_actions");
}

const STRIPE_BODY: &[u8] =
    br#"{"id":"evt_1","object":"event","type":"invoice.paid","data":{"object":{"amount_paid":4200}}}"#;
const STRIPE_MAC: &str = "93764b4f1e75dfb18236a13e60d873743e5fabcad7e89aaf60f918d9ac2dc3cf";

#[test]
fn stripes_signature_is_believed_among_others() {
    let source = build("stripe", json!(["whsec_new", "whsec_yard"]));
    let zeros = "0".repeat(64);
    for good in [
        format!("t={SIGNED_AT},v1={STRIPE_MAC}"),
        format!("t={SIGNED_AT},v1={zeros},v1={STRIPE_MAC},v0={zeros}"),
        format!("t={SIGNED_AT}, v1={STRIPE_MAC}"),
    ] {
        let incoming = event(post_at(&source, SIGNED_AT, &[("stripe-signature", &good)], STRIPE_BODY));
        assert_eq!((incoming.event.ty.as_str(), incoming.event.id.as_str()), ("stripe.invoice.paid", "evt_1"));
        assert_eq!(incoming.dedupe, Some(Duration::from_secs(86_400)));
    }
    for (bad, code_wanted) in [
        (String::new(), "unauthorized"),
        (format!("v1={STRIPE_MAC}"), "unauthorized"),
        (format!("t={SIGNED_AT},v0={STRIPE_MAC}"), "unauthorized"),
        (format!("t={},v1={STRIPE_MAC}", SIGNED_AT + 1), "unauthorized"),
        (format!("t={SIGNED_AT},v1={}", &STRIPE_MAC[..62]), "unauthorized"),
        // Sixteen parts are looked at.
        (format!("t={SIGNED_AT}{},v1={STRIPE_MAC}", format!(",v1={zeros}").repeat(15)), "unauthorized"),
    ] {
        let answer = post_at(&source, SIGNED_AT, &[("stripe-signature", &bad)], STRIPE_BODY);
        assert_eq!(code(answer), code_wanted, "{bad}");
    }
    let good = format!("t={SIGNED_AT},v1={STRIPE_MAC}");
    assert_eq!(code(post_at(&source, SIGNED_AT + 302, &[("stripe-signature", &good)], STRIPE_BODY)), "stale");
    assert_eq!(code(post_at(&source, SIGNED_AT, &[("stripe-signature", &good)], b"{}")), "unauthorized");
}

#[test]
fn gitlabs_token_and_its_signature_are_believed_beside_each_other() {
    let signing = "whsec_eWFyZC15YXJkLXlhcmQteWFyZA==";
    let both = build("gitlab", json!(["the token", signing]));
    let token_only = build("gitlab", json!("the token"));
    let signing_only = build("gitlab", json!(signing));
    let body = br#"{"object_kind":"push"}"#;
    let event_header = ("x-gitlab-event", "Push Hook");
    let token =
        [("x-gitlab-token", "the token"), event_header, ("idempotency-key", "d1"), ("x-gitlab-event-uuid", "u1")];
    for source in [&both, &token_only] {
        let incoming = event(post_at(source, SIGNED_AT, &token, body));
        assert_eq!((incoming.event.ty.as_str(), incoming.event.id.as_str()), ("gitlab.push", "d1"));
        let uuid = incoming.event.extensions.get("gitlabeventuuid");
        assert_eq!(uuid, Some(&ExtensionValue::String("u1".into())));
    }
    assert_eq!(code(post_at(&signing_only, SIGNED_AT, &token, body)), "unauthorized");
    let at = SIGNED_AT.to_string();
    let signed = [
        ("webhook-id", "d1"),
        ("webhook-timestamp", at.as_str()),
        ("webhook-signature", "v1,kFGyfSXf3+9Z1zQ8xJKBfKE9J8J8CS/UHYfWdDAIwT4="),
        event_header,
    ];
    for source in [&both, &signing_only] {
        assert_eq!(event(post_at(source, SIGNED_AT, &signed, body)).event.ty, "gitlab.push");
        assert_eq!(code(post_at(source, SIGNED_AT + 302, &signed, body)), "stale");
    }
    assert_eq!(code(post_at(&token_only, SIGNED_AT, &signed, body)), "unauthorized");
    let wrong = [("x-gitlab-token", signing), event_header];
    assert_eq!(code(post_at(&both, SIGNED_AT, &wrong, body)), "unauthorized");
}

#[test]
fn gitlabs_hooks_are_named_by_their_header() {
    let source = build("gitlab", json!("s"));
    let system = br#"{"event_name":"user_create"}"#;
    for (header, body, ty) in [
        ("Push Hook", &b"{}"[..], "gitlab.push"),
        ("Merge Request Hook", b"{}", "gitlab.merge_request"),
        ("Confidential Note Hook", b"not json", "gitlab.confidential_note"),
        ("System Hook", system, "gitlab.user_create"),
        ("System Hook", br#"{"object_kind":"merge_request"}"#, "gitlab.merge_request"),
        ("System Hook", b"{}", "gitlab.system"),
    ] {
        let head = [("x-gitlab-token", "s"), ("x-gitlab-event", header), ("content-type", "application/json")];
        assert_eq!(event(post_at(&source, SIGNED_AT, &head, body)).event.ty, ty, "{header}");
    }
    for header in ["", "Hook\"s", "a/b Hook"] {
        let head = [("x-gitlab-token", "s"), ("x-gitlab-event", header)];
        assert_eq!(code(post_at(&source, SIGNED_AT, &head, b"{}")), "preset_header", "{header}");
    }
}

#[test]
fn what_a_sender_would_never_send_is_refused_with_what_is_missing() {
    for (preset, body) in [
        ("stripe", "not json"),
        ("stripe", "{\"id\":\"evt_1\"}"),
        ("stripe", "{\"type\":\"a b\"}"),
        ("slack", "{\"type\":\"event_callback\"}"),
        ("slack", "[]"),
        ("slack", ""),
    ] {
        let refusal = take(&build(preset, json!("s")), &with_body(preset, "x", body)).unwrap_err();
        assert_eq!((refusal.status, refusal.code), (400, "preset_body"), "{preset} {body}");
    }
}

#[test]
fn every_sample_is_taken_as_what_it_is_named() {
    let mut count = 0;
    for (preset, word) in samples() {
        let source = build(preset, json!(["other", "s"]));
        let request = made(preset, word, "1a2b", Some("s"));
        match take(&source, &request).unwrap() {
            Taken::Events(events) => {
                let incoming = events.first().unwrap();
                assert_eq!(incoming.event.ty, format!("{preset}.{word}"));
                assert!(incoming.event.id.ends_with("1a2b"), "{preset}.{word}: {}", incoming.event.id);
                assert!(matches!(incoming.event.data, Data::Json(_)), "{preset}.{word}");
            }
            Taken::Greeting(_) => assert_eq!((preset, word), ("slack", "url_verification")),
        }
        assert_eq!(code(take(&source, &made(preset, word, "1a2b", None))), "unauthorized");
        assert_eq!(code(take(&source, &made(preset, word, "1a2b", Some("wrong")))), "unauthorized");
        count += 1;
    }
    assert!(count >= 12, "{count}");
}

#[test]
fn a_gitlab_request_is_signed_by_whichever_secret_there_is() {
    let signing = "whsec_eWFyZC15YXJkLXlhcmQteWFyZA==";
    let request = made("gitlab", "merge_request", "d1", Some(signing));
    assert_eq!(event(take(&build("gitlab", json!(signing)), &request)).event.ty, "gitlab.merge_request");
    assert!(!request.headers.iter().any(|(_, value)| value.contains(signing)));
}

#[test]
fn there_is_no_sample_of_what_is_not_known() {
    let at = Timestamp::from_millis(SIGNED_AT * 1000);
    assert_eq!(sample("gitub", "push", None, "1", at, None), Err(NoSample::Preset));
    assert_eq!(sample("github", "gollum", None, "1", at, None), Err(NoSample::Word));
    assert_eq!(sample("github", "a b", Some(Bytes::from_static(b"{}")), "1", at, None), Err(NoSample::Word));
    let own = sample("github", "gollum", Some(Bytes::from_static(b"{}")), "1", at, None).unwrap();
    assert!(own.headers.contains(&("x-github-event", "gollum".to_owned())));
}

fn made(preset: &str, word: &str, id: &str, secret: Option<&str>) -> SampleRequest {
    sample(preset, word, None, id, Timestamp::from_millis(SIGNED_AT * 1000), secret).unwrap()
}

fn with_body(preset: &str, word: &str, body: &str) -> SampleRequest {
    let at = Timestamp::from_millis(SIGNED_AT * 1000);
    sample(preset, word, Some(Bytes::copy_from_slice(body.as_bytes())), "1", at, Some("s")).unwrap()
}

fn take(source: &HttpSource, request: &SampleRequest) -> Result<Taken, Refusal> {
    let pairs: Vec<(&str, &str)> = request.headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    post_at(source, SIGNED_AT, &pairs, &request.body)
}
