use eventyard_event::{Data, ExtensionValue, Limits, Text};
use serde_json::json;

use super::*;

const KAFKA: Binding = Binding { prefixes: &["ce_"], percent_encoded: false };

fn decoder(codec: &str, compression: &str) -> Decoder {
    let config = serde_json::from_value(json!({ "codec": codec, "compression": compression })).unwrap();
    Decoder::new(config, KAFKA, "orders", "kafka.message".to_owned(), Limits::default())
}

fn body(text: &str) -> Message<'static> {
    Message { body: Bytes::copy_from_slice(text.as_bytes()), ..Message::default() }
}

fn code(codec: &str, message: Message<'_>) -> &'static str {
    decoder(codec, "auto").decode(message, Wrap::default()).unwrap_err().code
}

fn text(value: &str) -> ExtensionValue {
    ExtensionValue::String(value.into())
}

#[test]
fn what_says_nothing_is_wrapped_as_what_it_is() {
    let decoder = decoder("auto", "auto");
    let wrap = Wrap {
        id: "orders/0/17".into(),
        subject: Some("orders".into()),
        extensions: [("partition".into(), ExtensionValue::Integer(0)), ("offset".into(), text("17"))].into(),
        ..Wrap::default()
    };
    let read = decoder.decode(body(r#"{"a":1}"#), wrap.clone()).unwrap();
    assert_eq!(read.event.data, Data::Json(Bytes::from_static(br#"{"a":1}"#)));
    assert_eq!((read.event.source.as_str(), read.event.ty.as_str()), ("/sources/orders", "kafka.message"));
    assert_eq!((read.event.id.as_str(), read.event.extensions["offset"].clone()), ("orders/0/17", text("17")));
    let read = decoder.decode(body("no JSON"), wrap.clone()).unwrap();
    assert_eq!(read.event.data, Data::Bytes(Bytes::from_static(b"no JSON")));
    let read = decoder.decode(body(""), wrap).unwrap();
    assert_eq!(read.event.data, Data::None);
    let read = decoder.decode(body("{}"), Wrap::default()).unwrap();
    assert_eq!((read.event.id.as_str(), read.dedupe), ("", None), "the broker makes an id");
}

#[test]
fn what_is_demanded_and_is_not_so_is_named() {
    assert_eq!(code("json", body("no JSON")), "decode");
    assert_eq!(code("json", body("")), "decode");
    assert_eq!(code("cloudevents", body(r#"{"a":1}"#)), "ce_missing_attribute");
    assert_eq!(code("cloudevents", body("x")), "decode");
    let latin = Message { body: Bytes::from_static(b"caf\xe9"), ..Message::default() };
    assert_eq!(code("text", latin), "not_utf8");
    let declared = Message { content_type: Some("application/json"), ..body("{") };
    assert_eq!(code("auto", declared), "decode");
    let large = Message { body: vec![b' '; 1024 * 1024 + 1].into(), ..Message::default() };
    assert_eq!(code("bytes", large), "too_large");
    let deep = "[".repeat(200) + &"]".repeat(200);
    assert_eq!(code("json", body(&deep)), "ce_limit");
}

#[test]
fn cloudevents_are_taken_whole_in_both_modes() {
    let decoder = decoder("auto", "auto");
    let structured = r#"{"specversion":"1.0","id":"1","source":"/shop","type":"order","data":{"a":1}}"#;
    let message = Message { content_type: Some("application/cloudevents+json; charset=utf-8"), ..body(structured) };
    let event = decoder.decode(message, Wrap { id: "x".into(), ..Wrap::default() }).unwrap().event;
    assert_eq!((event.id.as_str(), event.source.as_str(), event.ty.as_str()), ("1", "/shop", "order"));
    let headers: [(&str, &[u8]); 7] = [
        ("ce_specversion", b"1.0"),
        ("ce_id", b"2"),
        ("ce_source", b"/shop"),
        ("ce_type", b"order"),
        ("ce_subject", "b\u{e4}r".as_bytes()),
        ("ce_region", b"eu"),
        ("other", b"is left out: a whole event keeps its own attributes"),
    ];
    let message = Message { content_type: Some("application/json"), headers: &headers, ..body("[1]") };
    let event = decoder.decode(message, Wrap::default()).unwrap().event;
    assert_eq!((event.id.as_str(), event.subject.as_deref()), ("2", Some("b\u{e4}r")));
    assert_eq!(event.extensions.into_iter().collect::<Vec<_>>(), [(Text::from("region"), text("eu"))]);
    assert_eq!(event.data, Data::Json(Bytes::from_static(b"[1]")));
}

#[test]
fn broken_cloudevents_are_named_and_not_wrapped() {
    let binary = |change: fn(&mut Vec<(&'static str, &'static [u8])>)| {
        let mut headers: Vec<(&str, &[u8])> =
            vec![("ce_specversion", b"1.0"), ("ce_id", b"2"), ("ce_source", b"/shop"), ("ce_type", b"order")];
        change(&mut headers);
        code("auto", Message { headers: &headers, ..body("x") })
    };
    assert_eq!(binary(|headers| headers[0].1 = b"0.3"), "ce_specversion");
    assert_eq!(binary(|headers| headers.truncate(3)), "ce_missing_attribute");
    assert_eq!(binary(|headers| headers.push(("CE_ID", b"3"))), "ce_attribute");
    assert_eq!(binary(|headers| headers[1].1 = b"\xff"), "ce_attribute");
    let batch = Message { content_type: Some("application/cloudevents-batch+json"), ..body("[]") };
    assert_eq!(code("auto", batch), "decode");
}

#[test]
fn headers_become_extensions_by_the_rule() {
    let headers: [(&str, &[u8]); 9] = [
        ("X-Request-Id", b"r1"),
        ("x.request.id", b"comes out alike"),
        ("Type", b"t"),
        ("offset", b"a coordinate has this name"),
        ("\u{e4}", b"nothing is left of it"),
        ("binary", b"\xff\xfe"),
        ("control", b"a\nb"),
        ("content-type", b"text/plain"),
        ("ce_id", b"no event without a specversion"),
    ];
    let wrap = Wrap { extensions: [("offset".into(), text("17"))].into(), ..Wrap::default() };
    let read = decoder("auto", "auto").decode(Message { headers: &headers, ..body("x") }, wrap).unwrap();
    let expected = [
        ("headersleftout", ExtensionValue::Integer(5)),
        ("headertype", text("t")),
        ("offset", text("17")),
        ("xrequestid", text("r1")),
    ];
    let found: Vec<(&str, ExtensionValue)> =
        read.event.extensions.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
    assert_eq!(found, expected);
}

#[test]
fn a_thousand_headers_are_bounded_and_the_event_is_taken() {
    let names: Vec<String> = (0..1500).map(|number| format!("h{number}")).collect();
    let headers: Vec<(&str, &[u8])> = names.iter().map(|name| (name.as_str(), b"v".as_slice())).collect();
    let message = Message { headers: &headers, ..body("x") };
    let event = decoder("auto", "auto").decode(message, Wrap::default()).unwrap().event;
    assert_eq!(event.extensions.len(), Limits::default().extensions_max);
    assert_eq!(event.extensions[names::LEFT_OUT], ExtensionValue::Integer(1500 - 63));
}

/// Row R3: a circle of rules is ended by this count, whatever stands before it.
#[test]
fn how_often_an_event_was_passed_on_is_read_behind_any_number_of_headers() {
    let names: Vec<String> = (0..500).map(|number| format!("h{number}")).collect();
    let mut headers: Vec<(&str, &[u8])> = names.iter().map(|name| (name.as_str(), b"v".as_slice())).collect();
    headers.push((hops::HEADER, b"7"));
    let message = Message { headers: &headers, ..body("x") };
    let mut event = decoder("auto", "auto").decode(message, Wrap::default()).unwrap().event;
    assert_eq!(hops::take(&mut event), 7);
    assert_eq!(event.extensions[names::LEFT_OUT], ExtensionValue::Integer(500 - 63));
}

#[cfg(feature = "codec")]
#[test]
fn packed_messages_are_unpacked_within_the_limit() {
    use std::io::Write as _;

    let gzip = |bytes: &[u8]| {
        let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        writer.write_all(bytes).unwrap();
        Bytes::from(writer.finish().unwrap())
    };
    let zstd = |bytes: &[u8]| Bytes::from(zstd::encode_all(bytes, 1).unwrap());
    let bomb = vec![0u8; 64 * 1024 * 1024];
    for (encoding, pack) in [("gzip", &gzip as &dyn Fn(&[u8]) -> Bytes), ("zstd", &zstd)] {
        let message = |body| Message { content_encoding: Some(encoding), body, ..Message::default() };
        let read = decoder("json", "auto").decode(message(pack(b"{}")), Wrap::default()).unwrap();
        assert_eq!(read.event.data, Data::Json(Bytes::from_static(b"{}")), "{encoding}");
        let packed = Message { body: pack(b"{}"), ..Message::default() };
        assert!(decoder("json", encoding).decode(packed, Wrap::default()).is_ok(), "{encoding} by the key");
        assert_eq!(code("bytes", message(pack(&bomb))), "too_large", "{encoding}");
        assert_eq!(code("bytes", message(Bytes::from_static(b"not packed"))), "unpack", "{encoding}");
        let whole = pack(&bomb[..4096]);
        assert_eq!(code("bytes", message(whole.slice(..whole.len() - 3))), "unpack", "{encoding} cut short");
    }
    let brotli = Message { content_encoding: Some("br"), ..body("x") };
    assert_eq!(code("auto", brotli), "unpack");
}

#[test]
fn what_cannot_be_decoded_keeps_its_head_and_its_coordinates() {
    let message = Bytes::from(vec![7u8; 3 * 1024 * 1024]);
    let error =
        decoder("bytes", "auto").decode(Message { body: message.clone(), ..Message::default() }, Wrap::default());
    let at = json!({ "topic": "t", "offset": 17 }).as_object().cloned().unwrap();
    let dead = error.unwrap_err().undecodable(at.clone(), &message);
    assert_eq!((dead.at, dead.raw.len(), dead.size), (at, crate::source::UNDECODABLE_RAW_MAX, 3 * 1024 * 1024));
    assert_eq!(dead.code, "too_large");
}

#[test]
fn xml_tables_and_forms_are_what_they_are_told_to_be() {
    for (codec, good, bad, content_type) in [
        ("xml", "<a>1</a>", "<a>", "application/xml"),
        ("csv", "a,b\n1,2\n", "a,a\n1,2", "text/csv"),
        ("form", "a=1&b=2", "a=%ff", "application/x-www-form-urlencoded"),
    ] {
        let read = decoder(codec, "auto").decode(body(good), Wrap::default()).unwrap();
        assert_eq!(read.event.datacontenttype.as_deref(), Some(content_type));
        assert!(read.event.seen_data().is_some());
        assert_eq!(read.event.data.bytes(), good.as_bytes());
        assert_eq!(code(codec, body(bad)), "decode");
        // Without being told, what is none is kept as the bytes that it is.
        let message = Message { content_type: Some(content_type), ..body(bad) };
        let read = decoder("auto", "auto").decode(message, Wrap::default()).unwrap();
        assert_eq!(
            (read.event.data, read.event.datacontenttype.as_deref()),
            (Data::Bytes(bad.to_owned().into()), Some(content_type))
        );
    }
    let message = Message { content_type: Some("text/xml; charset=utf-8"), ..body("<a/>") };
    let read = decoder("xml", "auto").decode(message, Wrap::default()).unwrap();
    assert_eq!(read.event.datacontenttype.as_deref(), Some("text/xml; charset=utf-8"));
}
