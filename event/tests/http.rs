//! The HTTP binding: three forms, one of them always, and header values that come back as they went out.
#![expect(clippy::unwrap_used, reason = "a test that fails may panic")]

use bytes::Bytes;
use eventyard_event::http::{Form, form, read_binary, read_request, write_binary};
use eventyard_event::{Data, Event, EventError, ExtensionValue, Limits};
use http::{HeaderMap, HeaderName, HeaderValue};

fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        headers.append(name.parse::<HeaderName>().unwrap(), HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    headers
}

const REQUIRED: [(&str, &str); 4] =
    [("ce-specversion", "1.0"), ("ce-id", "1"), ("ce-source", "/mycontext"), ("ce-type", "com.example.someevent")];

fn read(more: &[(&str, &str)], body: &'static str) -> Result<Event, EventError> {
    let pairs: Vec<_> = REQUIRED.iter().chain(more).copied().collect();
    read_binary(&headers(&pairs), Bytes::from_static(body.as_bytes()), &Limits::default()).map(|(event, _)| event)
}

fn code(result: Result<Event, EventError>) -> &'static str {
    result.unwrap_err().code()
}

#[test]
fn the_specifications_binary_event() {
    let event = read(
        &[
            ("ce-time", "2018-04-05T03:56:24Z"),
            ("ce-comexampleothervalue", "5"),
            ("Content-Type", "application/json; charset=utf-8"),
            ("X-Other", "ignored"),
        ],
        "{ \"a\" : 1.0 }",
    )
    .unwrap();
    assert_eq!(event.time.as_deref(), Some("2018-04-05T03:56:24Z"));
    assert_eq!(event.datacontenttype.as_deref(), Some("application/json; charset=utf-8"));
    assert_eq!(event.extensions["comexampleothervalue"], ExtensionValue::String("5".into()));
    assert_eq!(event.extensions.len(), 1);
    assert_eq!(event.data, Data::Json(Bytes::from_static(b"{ \"a\" : 1.0 }")));
}

#[test]
fn a_missing_header_is_named() {
    for (missing, _) in REQUIRED {
        let rest: Vec<_> = REQUIRED.iter().filter(|(name, _)| *name != missing).copied().collect();
        let error = read_request(&headers(&rest), Bytes::new(), &Limits::default()).unwrap_err();
        assert_eq!(error.code(), "ce_missing_attribute");
        assert!(error.to_string().contains(missing.strip_prefix("ce-").unwrap()), "{error}");
    }
}

#[test]
fn a_header_that_stands_twice_is_refused() {
    assert_eq!(code(read(&[("ce-id", "2")], "")), "ce_attribute");
    assert_eq!(code(read(&[("ce-id", "1")], "")), "ce_attribute");
    assert_eq!(code(read(&[("ce-x", "1"), ("ce-x", "1")], "")), "ce_attribute");
    assert_eq!(code(read(&[("content-type", "text/plain"), ("content-type", "text/plain")], "")), "ce_attribute");
}

#[test]
fn header_values_are_percent_decoded_once() {
    let subject = |value: &str| read(&[("ce-subject", value)], "").map(|event| event.subject.unwrap());
    assert_eq!(subject("Euro%20%E2%82%AC%20%F0%9F%98%80").unwrap(), "Euro € 😀");
    assert_eq!(subject("%e2%82%ac").unwrap(), "€");
    assert_eq!(subject("%41%2525").unwrap(), "A%25");
    assert_eq!(subject("a b").unwrap(), "a b");
    assert_eq!(subject("\u{20ac}").unwrap(), "€");
    assert_eq!(subject("\"a \\\"b\\\" \\\\ %20c\"").unwrap(), "a \"b\" \\  c");
    assert_eq!(subject("a\"b").unwrap(), "a\"b");
    for broken in ["%E2%2", "%", "%4", "%zz", "%C0%A0", "%E2%82", "%ff", "%ED%A0%80", "\"open", "\"a\"b\"", "%00"] {
        let error = subject(broken).unwrap_err();
        assert_eq!(error.code(), "ce_attribute", "{broken}");
        assert!(error.to_string().contains("`subject`"), "{error}");
    }
    let mut raw = headers(&REQUIRED);
    raw.insert("ce-subject", HeaderValue::from_bytes(b"\xff").unwrap());
    assert_eq!(read_binary(&raw, Bytes::new(), &Limits::default()).unwrap_err().code(), "ce_attribute");
}

#[test]
fn attribute_rules_hold_in_headers_too() {
    for bad in [
        ("ce-bad-name", "x"),
        ("ce-", "x"),
        ("ce-data", "x"),
        ("ce-data_base64", "x"),
        ("ce-datacontenttype", "text/plain"),
        ("ce-subject", ""),
        ("ce-time", "yesterday"),
        ("ce-dataschema", "relative"),
        ("content-type", "json"),
        ("ce-x", "%07"),
    ] {
        assert_eq!(code(read(&[bad], "")), "ce_attribute", "{bad:?}");
    }
    let mut old = headers(&REQUIRED);
    old.insert("ce-specversion", HeaderValue::from_static("0.3"));
    assert_eq!(read_binary(&old, Bytes::new(), &Limits::default()).unwrap_err().code(), "ce_specversion");
}

#[test]
fn a_body_that_declares_json_must_be_json() {
    for json in ["application/json", "text/json", "application/vnd.x+json;charset=utf-8"] {
        let error = read(&[("content-type", json)], "{\n'a'}").unwrap_err();
        assert!(matches!(error, EventError::Json { line: 2, column: 1, .. }), "{error:?}");
    }
    assert_eq!(read(&[("content-type", "text/plain")], "{").unwrap().data, Data::Bytes(Bytes::from_static(b"{")));
    assert_eq!(read(&[], "{}").unwrap().data, Data::Bytes(Bytes::from_static(b"{}")));
    assert_eq!(read(&[("content-type", "application/json")], "").unwrap().data, Data::None);
}

#[test]
fn repeated_keys_in_a_binary_body_are_noted_and_kept() {
    let mut headers = headers(&REQUIRED);
    headers.insert("content-type", HeaderValue::from_static("application/json"));
    let body = Bytes::from_static(br#"{"a":1,"a":2}"#);
    let (event, shape) = read_binary(&headers, body.clone(), &Limits::default()).unwrap();
    assert!(!shape.keys_unique);
    assert_eq!(event.data, Data::Json(body));
}

#[test]
fn structured_wins_over_headers() {
    let body = r#"{"specversion":"1.0","id":"body","source":"/b","type":"t"}"#;
    let pairs: Vec<_> =
        REQUIRED.into_iter().chain([("content-type", "Application/CloudEvents+JSON; charset=UTF-8")]).collect();
    assert_eq!(form(&headers(&pairs)).unwrap(), Form::Structured);
    let read = read_request(&headers(&pairs), Bytes::from_static(body.as_bytes()), &Limits::default()).unwrap();
    assert_eq!(read.len(), 1);
    assert_eq!((read[0].0.id.as_str(), read[0].0.source.as_str()), ("body", "/b"));
}

#[test]
fn the_content_type_tells_the_form() {
    let of = |content_type: &str| form(&headers(&[("content-type", content_type)]));
    assert_eq!(of("application/cloudevents-batch+json").unwrap(), Form::Batch);
    for other in [
        "application/cloudevents",
        "application/cloudevents+avro",
        "application/cloudevents-batch+xml",
        "application/cloudevents+json; charset=utf-16",
        "application/json",
        "",
    ] {
        assert_eq!(of(other).unwrap_err().code(), "content_type", "{other}");
    }
    let binary: Vec<_> = REQUIRED.into_iter().chain([("content-type", "application/json")]).collect();
    assert_eq!(form(&headers(&binary)).unwrap(), Form::Binary);
    let empty = headers(&[("content-type", "application/cloudevents-batch+json")]);
    assert_eq!(read_request(&empty, Bytes::from_static(b"[]"), &Limits::default()).unwrap(), []);
}

#[test]
fn plain_json_is_told_how_to_become_an_event() {
    let plain = headers(&[("content-type", "application/json")]);
    let error = read_request(&plain, Bytes::from_static(b"{}"), &Limits::default()).unwrap_err();
    assert_eq!(error.code(), "content_type");
    for word in
        ["`application/json`", "application/cloudevents+json", "ce-specversion", "ce-id", "ce-source", "ce-type"]
    {
        assert!(error.to_string().contains(word), "{word}: {error}");
    }
}

#[test]
fn an_event_in_headers_has_a_size_too() {
    let limits = Limits { event_bytes_max: 100, ..Limits::default() };
    let error = read_binary(&headers(&REQUIRED), Bytes::from(vec![b'x'; 60]), &limits).unwrap_err();
    assert_eq!(error.code(), "body_too_large");
    assert!(read_binary(&headers(&REQUIRED), Bytes::from(vec![b'x'; 10]), &limits).is_ok());
}

#[test]
fn implied_json_is_declared_on_the_way_out() {
    let event = Event {
        id: "1".into(),
        source: "/s".into(),
        ty: "t".into(),
        subject: Some("Euro € 😀 100%\"".into()),
        data: Data::Json(Bytes::from_static(b"\"I'm just a string\"")),
        ..Event::default()
    };
    let (headers, body) = write_binary(&event);
    let value = |wanted: &str| headers.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_str());
    assert_eq!(value("content-type"), Some("application/json"));
    assert_eq!(value("ce-subject"), Some("Euro%20%E2%82%AC%20%F0%9F%98%80%20100%25%22"));
    assert_eq!(&body[..], b"\"I'm just a string\"");
}
