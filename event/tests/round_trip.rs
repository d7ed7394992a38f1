//! What is written reads back the same, and no bytes at all make a reader panic.
#![expect(clippy::unwrap_used, reason = "a test that fails may panic")]

use bytes::Bytes;
use eventyard_event::{Data, Event, ExtensionValue, Extensions, Limits, Text, http as binary, json};
use http::{HeaderMap, HeaderName, HeaderValue};
use proptest::prelude::*;

/// Text that an attribute may hold.
fn text() -> impl Strategy<Value = Text> {
    "[ -~äß€語😀]{1,20}".prop_map(Text::from)
}

fn extensions() -> impl Strategy<Value = Extensions> {
    let value = prop_oneof![
        text().prop_map(ExtensionValue::String),
        any::<i32>().prop_map(ExtensionValue::Integer),
        any::<bool>().prop_map(ExtensionValue::Boolean),
    ];
    let name = "[a-z0-9]{1,12}".prop_map(Text::from).prop_filter("names of their own", |name| {
        let event = Event { extensions: [(name.clone(), ExtensionValue::Boolean(true))].into(), ..sample() };
        event.check(&Limits::default()).is_ok()
    });
    proptest::collection::btree_map(name, value, 0..5).prop_map(|map| map.into_iter().collect())
}

fn sample() -> Event {
    Event { id: "1".into(), source: "/s".into(), ty: "t".into(), ..Event::default() }
}

fn json_text() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        Just("1e999".to_owned()),
        Just("-0".to_owned()),
        any::<i64>().prop_map(|number| number.to_string()),
        any::<String>().prop_map(|text| serde_json::to_string(&text).unwrap()),
    ];
    leaf.prop_recursive(4, 32, 4, |inner| {
        let member = (any::<String>(), inner.clone())
            .prop_map(|(key, value)| format!("{} : {value}", serde_json::to_string(&key).unwrap()));
        prop_oneof![
            proptest::collection::vec(inner, 0..4).prop_map(|items| format!("[{}]", items.join(" ,\n"))),
            proptest::collection::vec(member, 0..4).prop_map(|members| format!("{{ {} }}", members.join(","))),
        ]
    })
}

/// Data with a content type that fits it.
fn data() -> impl Strategy<Value = (Option<Text>, Data)> {
    let json = (proptest::option::of(Just("application/json; charset=utf-8".into())), json_text())
        .prop_map(|(declared, text)| (declared, Data::Json(Bytes::from(text))));
    let plain = any::<String>().prop_map(|text| (Some("text/plain".into()), Data::Bytes(Bytes::from(text))));
    let bytes = (
        prop_oneof![Just("text/plain"), Just("application/octet-stream"), Just("text/plain; charset=latin1")],
        any::<Vec<u8>>(),
    )
        .prop_map(|(declared, bytes)| (Some(declared.into()), Data::Bytes(Bytes::from(bytes))));
    prop_oneof![Just((None, Data::None)), json, plain, bytes]
}

fn event() -> impl Strategy<Value = Event> {
    let attributes = (text(), "[a-z]{1,8}:[a-z/]{0,8}", text(), proptest::option::of(text()));
    (attributes, extensions(), data()).prop_map(|((id, source, ty, subject), extensions, (datacontenttype, data))| {
        let time = Some("2026-11-21T11:30:45.007Z".into());
        Event { id, source: source.into(), ty, subject, time, datacontenttype, dataschema: None, extensions, data }
    })
}

fn header_map(pairs: &[(String, String)]) -> HeaderMap {
    let parse =
        |(name, value): &(String, String)| (name.parse::<HeaderName>().unwrap(), value.parse::<HeaderValue>().unwrap());
    pairs.iter().map(parse).collect()
}

/// What is left of an event on its way through headers: values lose their types, no bytes are no data, and
/// implied JSON is declared. Spaces at the ends of a value survive, because they are encoded.
fn through_headers(mut event: Event) -> Event {
    let text = |value| match value {
        ExtensionValue::String(text) => text,
        ExtensionValue::Integer(number) => number.to_string().into(),
        ExtensionValue::Boolean(truth) => truth.to_string().into(),
    };
    let values = event.extensions.into_iter().map(|(name, value)| (name, ExtensionValue::String(text(value))));
    event.extensions = values.collect();
    if event.data.bytes().is_empty() {
        event.data = Data::None;
    }
    if let (Data::Json(_), None) = (&event.data, &event.datacontenttype) {
        event.datacontenttype = Some("application/json".into());
    }
    event
}

proptest! {
    #[test]
    fn structured_mode_reads_back_what_it_wrote(event in event()) {
        let written = json::write_structured(&event);
        let (read, _) = json::read_structured(&Bytes::from(written), &Limits::default()).unwrap();
        prop_assert_eq!(read, event);
    }

    #[test]
    fn binary_mode_reads_back_what_it_wrote(event in event()) {
        let (headers, body) = binary::write_binary(&event);
        let (read, _) = binary::read_binary(&header_map(&headers), body, &Limits::default()).unwrap();
        prop_assert_eq!(read, through_headers(event));
    }

    #[test]
    fn the_scanner_and_serde_json_agree_on_bytes(bytes in any::<Vec<u8>>()) {
        let ours = json::validate(&bytes, 127).is_ok();
        prop_assert_eq!(ours, serde_json::from_slice::<Box<serde_json::value::RawValue>>(&bytes).is_ok());
    }

    /// Near-JSON, so that the deep ends are reached too. `serde_json::Value` refuses numbers out of range,
    /// which the alphabet cannot spell.
    #[test]
    fn the_scanner_and_serde_json_agree_on_near_json(text in r#"[\[\]{},:"\\ truefalsn019.eE+\-\n]{0,24}"#) {
        let theirs = serde_json::from_str::<serde_json::Value>(&text);
        match (json::validate(text.as_bytes(), 127), theirs) {
            (Ok(_), Ok(_)) | (Err(_), Err(_)) => {}
            (Ok(_), Err(error)) if error.to_string().contains("out of range") => {}
            (ours, theirs) => prop_assert!(false, "{:?} and {:?}", ours, theirs),
        }
    }

    #[test]
    fn json_with_one_byte_changed_is_judged_as_serde_json_does(text in json_text(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut bytes = text.into_bytes();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let theirs = serde_json::from_slice::<serde_json::Value>(&bytes);
        match (json::validate(&bytes, 127), theirs) {
            (Ok(_), Ok(_)) | (Err(_), Err(_)) => {}
            (Ok(_), Err(error)) if error.to_string().contains("out of range") => {}
            (ours, theirs) => prop_assert!(false, "{:?} and {:?} for {:?}", ours, theirs, String::from_utf8_lossy(&bytes)),
        }
    }

    #[test]
    fn no_bytes_make_a_reader_panic(bytes in any::<Vec<u8>>(), value in any::<Vec<u8>>(), content_type in "[ -~]{0,40}") {
        let body = Bytes::from(bytes);
        let limits = Limits::default();
        let _ = json::read_structured(&body, &limits);
        let _ = json::read_batch(&body, &limits);
        let mut headers = header_map(&binary::write_binary(&sample()).0);
        if let Ok(value) = HeaderValue::from_bytes(&value) {
            headers.insert("ce-subject", value);
        }
        if let Ok(content_type) = HeaderValue::from_str(&content_type) {
            headers.insert("content-type", content_type);
        }
        let _ = binary::read_request(&headers, body, &limits);
    }

    #[test]
    fn an_event_with_one_byte_changed_never_panics(event in event(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut written = json::write_structured(&event);
        let at = at.index(written.len());
        written[at] = byte;
        let _ = json::read_structured(&Bytes::from(written), &Limits::default());
    }
}
