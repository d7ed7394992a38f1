//! The JSON format and the JSON text below it: what is kept, what is refused, and where the error points.
#![expect(clippy::unwrap_used, reason = "a test that fails may panic")]

use bytes::Bytes;
use eventyard_event::json::{read_batch, read_structured, validate, write_batch, write_structured};
use eventyard_event::{Data, Event, EventError, ExtensionValue, Limits, Text};

fn read(text: &str) -> Result<Event, EventError> {
    read_structured(&Bytes::copy_from_slice(text.as_bytes()), &Limits::default()).map(|(event, _)| event)
}

/// An event with more members, after the required ones.
fn with(members: &str) -> Result<Event, EventError> {
    read(&format!(r#"{{"specversion":"1.0","id":"1","source":"/s","type":"t"{members}}}"#))
}

fn code(result: Result<Event, EventError>) -> &'static str {
    result.unwrap_err().code()
}

/// Line and column of the error that `text` causes.
fn place(text: &[u8]) -> (usize, usize) {
    match validate(text, 127) {
        Err(EventError::Json { line, column, .. }) => (line, column),
        other => panic!("{other:?} for {}", String::from_utf8_lossy(text)),
    }
}

const SPEC_JSON: &str = r#"{
    "specversion" : "1.0",
    "type" : "com.example.someevent",
    "source" : "/mycontext",
    "subject": null,
    "id" : "C234-1234-1234",
    "time" : "2018-04-05T17:31:00Z",
    "comexampleextension1" : "value",
    "comexampleothervalue" : 5,
    "datacontenttype" : "application/json",
    "data" : {
        "appinfoA" : "abc",
        "appinfoB" : 123,
        "appinfoC" : true
    }
}"#;

#[test]
fn the_specifications_event_with_json_data() {
    let event = read(SPEC_JSON).unwrap();
    assert_eq!(event.id, "C234-1234-1234");
    assert_eq!(event.source, "/mycontext");
    assert_eq!(event.ty, "com.example.someevent");
    assert_eq!(event.subject, None, "null is absent");
    assert_eq!(event.time.as_deref(), Some("2018-04-05T17:31:00Z"));
    assert_eq!(event.extensions["comexampleextension1"], ExtensionValue::String("value".into()));
    assert_eq!(event.extensions["comexampleothervalue"], ExtensionValue::Integer(5));
    assert_eq!(event.extensions.len(), 2);
    let data = "{\n        \"appinfoA\" : \"abc\",\n        \"appinfoB\" : 123,\n        \"appinfoC\" : true\n    }";
    assert_eq!(event.data, Data::Json(Bytes::from_static(data.as_bytes())));
}

#[test]
fn the_specifications_event_with_xml_data() {
    let event =
        with(r#","unsetextension":null,"datacontenttype":"application/xml","data":"<much wow=\"xml\"/>""#).unwrap();
    assert_eq!(event.data, Data::Bytes(Bytes::from_static(b"<much wow=\"xml\"/>")));
    assert!(event.extensions.is_empty());
    let written = String::from_utf8(write_structured(&event)).unwrap();
    assert!(written.contains(r#""data":"<much wow=\"xml\"/>""#), "{written}");
}

#[test]
fn the_specifications_event_with_a_bare_string_and_no_content_type() {
    let event = with(r#","data":"I'm just a string""#).unwrap();
    assert_eq!(event.datacontenttype, None);
    assert_eq!(event.data, Data::Json(Bytes::from_static(b"\"I'm just a string\"")));
}

#[test]
fn the_specifications_event_with_binary_data() {
    let event = with(r#","datacontenttype":"application/vnd.apache.thrift.binary","data_base64":"AP8Q""#).unwrap();
    assert_eq!(event.data, Data::Bytes(Bytes::from_static(&[0, 0xff, 0x10])));
    let written = String::from_utf8(write_structured(&event)).unwrap();
    assert!(written.ends_with(r#""data_base64":"AP8Q"}"#), "{written}");
}

#[test]
fn the_data_is_a_slice_of_what_came() {
    let text = Bytes::from_static(SPEC_JSON.as_bytes());
    let (event, _) = read_structured(&text, &Limits::default()).unwrap();
    let Data::Json(data) = event.data else { panic!("{:?}", event.data) };
    assert!(text.as_ptr_range().contains(&data.as_ptr()), "not a copy");
}

#[test]
fn null_data_is_data_and_no_data_is_none() {
    assert_eq!(with(r#","data":null"#).unwrap().data, Data::Json(Bytes::from_static(b"null")));
    assert_eq!(with("").unwrap().data, Data::None);
    assert_eq!(with(r#","data_base64":null"#).unwrap().data, Data::None);
}

#[test]
fn a_missing_attribute_is_named() {
    for name in ["specversion", "id", "source", "type"] {
        let whole = r#"{"specversion":"1.0","id":"1","source":"/s","type":"t"}"#;
        for other in [whole.replace(&format!("\"{name}\""), "\"other\""), null_for(whole, name)] {
            assert!(
                matches!(read(&other), Err(EventError::MissingAttribute(missing)) if missing == name),
                "{name}: {:?}",
                read(&other)
            );
        }
    }
    assert_eq!(code(read("{}")), "ce_missing_attribute");
}

fn null_for(whole: &str, name: &str) -> String {
    let event: serde_json::Value = serde_json::from_str(whole).unwrap();
    let mut event = event;
    event[name] = serde_json::Value::Null;
    event.to_string()
}

#[test]
fn only_specversion_1_0_is_read() {
    for version in ["0.3", "2.0", "1", "1.0.2", " 1.0", ""] {
        let text = format!(r#"{{"specversion":"{version}","id":"1","source":"/s","type":"t"}}"#);
        assert_eq!(code(read(&text)), "ce_specversion", "{version}");
    }
    assert_eq!(code(read(r#"{"specversion":1.0,"id":"1","source":"/s","type":"t"}"#)), "ce_attribute");
}

#[test]
fn attributes_that_break_a_rule_are_refused() {
    for (attribute, value) in [
        ("id", "\"\""),
        ("id", "7"),
        ("id", r#""a\u0000b""#),
        ("source", "\"a b\""),
        ("type", "\"\""),
        ("type", "[\"t\"]"),
    ] {
        let mut event: serde_json::Value =
            serde_json::from_str(r#"{"specversion":"1.0","id":"1","source":"/s","type":"t"}"#).unwrap();
        event[attribute] = serde_json::from_str(value).unwrap();
        let error = read(&event.to_string()).unwrap_err();
        assert_eq!(error.code(), "ce_attribute", "{attribute} {value}: {error}");
        assert!(error.to_string().contains(&format!("`{attribute}`")), "{error}");
    }
    assert_eq!(code(with(r#","subject":"""#)), "ce_attribute");
    assert_eq!(code(with(r#","time":"yesterday""#)), "ce_attribute");
    assert_eq!(code(with(r#","time":"10000-01-01T00:00:00Z""#)), "ce_attribute");
    assert_eq!(code(with(r#","dataschema":"relative""#)), "ce_attribute");
    assert_eq!(code(with(r#","datacontenttype":"json""#)), "ce_attribute");
    assert!(with(r#","time":"2016-12-31T23:59:60Z""#).is_ok(), "a leap second");

    let roomy = Limits { event_bytes_max: 4 << 20, ..Limits::default() };
    let long = format!(r#"{{"specversion":"1.0","id":"{}","source":"/s","type":"t"}}"#, "x".repeat(1 << 20));
    assert_eq!(read_structured(&Bytes::from(long), &roomy).unwrap_err().code(), "ce_attribute");
}

#[test]
fn extensions_have_plain_names_and_plain_values() {
    let event = with(r#","b":true,"n":-2147483648,"z":-0,"s":"","averyveryverylongextensionname":"x""#).unwrap();
    assert_eq!(event.extensions["b"], ExtensionValue::Boolean(true));
    assert_eq!(event.extensions["n"], ExtensionValue::Integer(i32::MIN));
    assert_eq!(event.extensions["z"], ExtensionValue::Integer(0));
    assert_eq!(event.extensions["s"], ExtensionValue::String(Text::default()));
    for bad in [
        r#","Bad-Name":"x""#,
        r#","déjà":"x""#,
        r#","":"x""#,
        r#","n":1.5"#,
        r#","n":1e3"#,
        r#","n":2147483648"#,
        r#","o":{}"#,
        r#","a":[]"#,
    ] {
        assert_eq!(code(with(bad)), "ce_attribute", "{bad}");
    }
    let many: String = (0..65).map(|index| format!(r#","e{index}":1"#)).collect();
    assert_eq!(code(with(&many)), "ce_limit");
    let flood: String = (0..20_000).map(|index| format!(r#","e{index}":1"#)).collect();
    assert_eq!(code(with(&flood)), "ce_limit");
}

#[test]
fn a_member_that_stands_twice_is_refused() {
    for twice in [r#","id":"2""#, r#","x":1,"x":1"#, r#","data":1,"data":2"#, r#","\u0069d":"2""#] {
        let error = with(twice).unwrap_err();
        assert!(error.to_string().contains("stands twice"), "{twice}: {error}");
    }
}

#[test]
fn data_in_two_spellings_or_in_none_is_refused() {
    for bad in [
        r#","data":1,"data_base64":"AA==""#,
        r#","data_base64":"A""#,
        r#","data_base64":"AA""#,
        r#","data_base64":"$$$$""#,
        r#","data_base64":7"#,
        r#","datacontenttype":"text/plain","data":{"a":1}"#,
        r#","datacontenttype":"text/plain","data":null"#,
    ] {
        assert_eq!(code(with(bad)), "ce_data", "{bad}");
    }
}

#[test]
fn base64_that_declares_json_is_json_if_it_is() {
    let json = with(r#","datacontenttype":"application/json","data_base64":"eyJhIjoxfQ==""#).unwrap();
    assert_eq!(json.data, Data::Json(Bytes::from_static(b"{\"a\":1}")));
    let broken = with(r#","datacontenttype":"application/json","data_base64":"eyJhIjox""#).unwrap();
    assert_eq!(broken.data, Data::Bytes(Bytes::from_static(b"{\"a\":1")));
}

#[test]
fn a_batch_is_empty_good_or_refused_whole() {
    let limits = Limits::default();
    let batch = |text: String| read_batch(&Bytes::from(text), &limits);
    assert_eq!(batch(" [ ] ".into()).unwrap(), []);

    let good = r#"{"specversion":"1.0","id":"1","source":"/s","type":"t","data":[1]}"#;
    let read = batch(format!("[{good} , {good}]")).unwrap();
    assert_eq!(read.len(), 2);
    assert_eq!(read[1].0.data, Data::Json(Bytes::from_static(b"[1]")));

    let error = batch(format!("[{good},{{\"specversion\":\"1.0\"}},{good}]")).unwrap_err();
    assert!(matches!(error, EventError::InBatch { index: 1, .. }), "{error:?}");
    assert_eq!(
        (error.code(), error.to_string().as_str()),
        ("ce_missing_attribute", "event 1 of the batch: the attribute `id` is missing")
    );

    let error = batch(format!("[{}1]", "1,".repeat(1_000_000))).unwrap_err();
    assert_eq!(error.code(), "body_too_large");
    assert!(error.to_string().contains("`batch`"), "{error}");

    assert_eq!(batch(good.into()).unwrap_err().code(), "ce_shape");
    assert_eq!(batch("[1]".into()).unwrap_err().code(), "ce_shape");
    assert_eq!(code(self::read(&format!("[{good}]"))), "ce_shape");
    assert_eq!(code(self::read("7")), "ce_shape");
}

#[test]
fn one_event_has_a_size() {
    let text = format!(r#"{{"specversion":"1.0","id":"1","source":"/s","type":"t","data":"{}"}}"#, "x".repeat(1 << 20));
    let error = read(&text).unwrap_err();
    assert_eq!(error.code(), "body_too_large");
    assert!(error.to_string().contains("`event` of 1048576"), "{error}");
    let error = read_batch(&Bytes::from(format!("[{text}]")), &Limits::default()).unwrap_err();
    assert!(matches!(error, EventError::InBatch { index: 0, .. }), "{error}");
}

#[test]
fn broken_json_is_refused_with_line_and_column() {
    for (text, line, column) in [
        ("", 1, 1),
        ("{", 1, 2),
        ("{}x", 1, 3),
        ("{}\n{}", 2, 1),
        ("NaN", 1, 1),
        ("[\n  1,\n  Infinity\n]", 3, 3),
        ("-Infinity", 1, 2),
        ("{'a':1}", 1, 2),
        ("'a'", 1, 1),
        ("\u{feff}{}", 1, 1),
        ("[1,]", 1, 4),
        ("{\"a\":1,}", 1, 8),
        ("{a:1}", 1, 2),
        ("{\"a\" 1}", 1, 6),
        ("[1 2]", 1, 4),
        ("[1}", 1, 3),
        ("01", 1, 1),
        ("-", 1, 2),
        ("1.", 1, 3),
        (".5", 1, 1),
        ("1e", 1, 3),
        ("+1", 1, 1),
        ("0x10", 1, 2),
        ("tru", 1, 1),
        ("[true false]", 1, 7),
        ("\"a", 1, 1),
        ("\"a\tb\"", 1, 3),
        ("\"\\x\"", 1, 2),
        ("\"\\u12g4\"", 1, 2),
        ("\"\\ud800\"", 1, 2),
        ("\"\\udc00\"", 1, 2),
        ("\"\\ud800\\ud800\"", 1, 2),
        ("\"\\ud800x\"", 1, 2),
        ("// a\n1", 1, 1),
    ] {
        assert_eq!(place(text.as_bytes()), (line, column), "{text:?}");
    }
    assert_eq!(place(b"{\"a\":\n \"\xff\"}"), (2, 3), "bytes that are not UTF-8");
    assert_eq!(place(b"\"\xed\xa0\x80\""), (1, 2), "a surrogate in UTF-8");
    let error = validate(b"{'a':1}", 127).unwrap_err().to_string();
    assert_eq!(error, "not valid JSON: strings and keys stand in double quotes, not single ones at line 1, column 2");
}

#[test]
fn depth_is_a_limit_and_not_a_crash() {
    for deep in ["[".repeat(100_000), "{\"a\":".repeat(100_000), "[{\"a\":".repeat(50_000)] {
        let error = validate(deep.as_bytes(), 127).unwrap_err();
        assert_eq!(error.code(), "ce_limit");
        assert!(error.to_string().contains("`json_depth` of 127"), "{error}");
    }
    let nested = |depth: usize| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
    assert!(validate(nested(127).as_bytes(), 127).is_ok());
    assert!(validate(nested(128).as_bytes(), 127).is_err());
    assert!(serde_json::from_str::<serde_json::Value>(&nested(127)).is_ok(), "nothing downstream overflows");
    assert!(with(&format!(",\"data\":{}", nested(127))).is_ok(), "the event around it does not count");
    assert_eq!(code(with(&format!(",\"data\":{}", nested(128)))), "ce_limit");
    assert_eq!(code(with(&format!(",\"data\":{}", "[".repeat(100_000)))), "ce_limit");
}

#[test]
fn no_number_is_rounded() {
    let digits = format!("0.1{}", "0123456789".repeat(1000));
    for number in ["1e999", "-0", "18446744073709551617", "1E-999", "-0.0e+0", &digits] {
        let event = with(&format!(",\"data\":[{number}]")).unwrap();
        assert_eq!(event.data.bytes(), format!("[{number}]").as_bytes());
        let written = write_structured(&event);
        assert_eq!(read_structured(&Bytes::from(written), &Limits::default()).unwrap().0, event);
    }
}

#[test]
fn repeated_keys_are_kept_and_noted() {
    let unique = |text: &str| validate(text.as_bytes(), 127).unwrap().keys_unique;
    assert!(unique(r#"{"a":1,"b":{"a":1},"c":[{"a":1},{"a":2}]}"#));
    assert!(unique(r#"{"a":{"x":1},"x":{"a":1},"y":[{"b":1}],"b":2}"#), "an object's keys end with it");
    assert!(!unique(r#"{"a":1,"a":2}"#));
    assert!(!unique(r#"{"a":1,"\u0061":2}"#), "the same key in another spelling");
    assert!(!unique(r#"[[{"x":{"":0,"a":1,"":2}}]]"#));
    assert!(!unique(r#"{"a":{"b":1},"a.b":2}"#), "a path may be met twice");
    for size in [15, 16, 17, 18, 40] {
        let keys: String = (0..size).map(|index| format!("\"k{index}\":0,")).collect();
        assert!(unique(&format!("{{{keys}\"last\":1}}")), "{size}");
        assert!(!unique(&format!("{{{keys}\"k{}\":1}}", size - 1)), "{size}");
        assert!(unique(&format!("{{{keys}\"o\":{{{keys}\"o\":1}},\"p\":1}}")), "{size}: nested objects stand apart");
        assert!(!unique(&format!("{{{keys}\"o\":{{{keys}\"o\":1}},\"k0\":1}}")), "{size}");
    }

    let text = r#"{"specversion":"1.0","id":"1","source":"/s","type":"t","data":{"a":1, "a":2}}"#;
    let (event, shape) = read_structured(&Bytes::from_static(text.as_bytes()), &Limits::default()).unwrap();
    assert!(!shape.keys_unique);
    assert_eq!(event.data.bytes(), br#"{"a":1, "a":2}"#);
}

#[test]
fn very_many_and_very_long_keys_pass() {
    let long = format!("{{\"{}\":1}}", "k".repeat(1 << 20));
    assert!(validate(long.as_bytes(), 127).unwrap().keys_unique);
    let many: Vec<String> = (0..1_000_000).map(|index| format!("\"{index}\":0")).collect();
    assert!(validate(format!("{{{}}}", many.join(",")).as_bytes(), 127).unwrap().keys_unique);
}

#[test]
fn a_written_batch_reads_back() {
    let events =
        [with(r#","data":{"a":1}"#).unwrap(), with(r#","datacontenttype":"text/plain","data":"x\n""#).unwrap()];
    let read = read_batch(&Bytes::from(write_batch(&events)), &Limits::default()).unwrap();
    assert_eq!(read.into_iter().map(|(event, _)| event).collect::<Vec<_>>(), events);
    assert_eq!(write_batch(&[]), b"[]");
}
