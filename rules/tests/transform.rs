//! EventBridge's input transformer: what comes out for which template, what is refused, and that what comes out is
//! sound whatever is in the event.
#![expect(clippy::unwrap_used, reason = "a test that fails may panic")]

use eventyard_event::{Data, Envelope, Event, EventId, ExtensionValue, Extensions, Name, Timestamp, json};
use eventyard_rules::transform::{
    About, ApplyError, NAME_BYTES_MAX, OUTPUT_BYTES_MAX, PATHS_MAX, Seen, Subject, TEMPLATE_CHARS_MAX, Transform,
};
use proptest::prelude::*;
use serde_json::Value;

/// The event of EventBridge's documents and recordings, spelled with spaces as a sender might.
const EVENT: &str = r#"{"version": "0", "id": "7bf7-3129", "detail-type": "core.update-account-command",
  "source": "core", "account": "123456789012", "time": "2024-06-11T08:33:10Z", "region": "us-east-1",
  "resources": ["arn:aws:ec2:1", "arn:aws:ec2:2"],
  "detail": {"command": "update-account", "payload": {"acc_id": "0a787ecb-4015", "sf_id": "baz"},
    "states": ["ACTIVE", "INACTIVE"], "one": ["HIGH"], "admin": true, "none": null, "price": 10.50, "big": 12345678901234567890.10,
    "quoted": "say \"hi\"\nto caf\u00e9 \u0001 \\ 😀", "html": "<id> <none>", "a/b": 7, "with-dash": 1, "with_line": 2,
    "items": [{"sku": "a", "n": 1}, {"n": 2}, {"sku": {"x": "y \"z\""}}], "deep": {"a": {"b": [[1, 2], [3]]}}, "twice": 1, "twice": 2}}"#;

fn seen(subject: Subject<'_>) -> Seen<'_> {
    Seen {
        subject,
        rule_name: "big-orders",
        rule_arn: "arn:aws:events:us-east-1:123456789012:rule/big-orders",
        ingestion_time: "2024-06-11T08:33:10Z",
    }
}

const PATHS: [(&str, &str); 28] = [
    ("detail-type", "$.detail-type"),
    ("timestamp", "$.time"),
    ("command", "$.detail.command"),
    ("missing", "$.detail.notinmessage"),
    ("userId", "$.detail.payload.acc_id"),
    ("payload", "$.detail.payload"),
    ("one", "$.detail.one"),
    ("states", "$.detail.states"),
    ("admin", "$.detail.admin"),
    ("none", "$.detail.none"),
    ("price", "$.detail.price"),
    ("big", "$.detail.big"),
    ("quoted", "$.detail.quoted"),
    ("html", "$.detail.html"),
    ("slash", "$.detail.a/b"),
    ("dash", "$.detail.with-dash"),
    ("line", "$.detail.with_line"),
    ("first", "$.resources[0]"),
    ("third", "$.resources[2]"),
    ("all", "$.resources[*]"),
    ("skus", "$.detail.items[*].sku"),
    ("values", "$.detail.payload.*"),
    ("inner", "$.detail.deep.a.b[0][1]"),
    ("flat", "$.detail.deep.a.b[*][*]"),
    ("twice", "$.detail.twice"),
    ("nothing", "$.detail.payload[0]"),
    ("through", "$.detail.command[*]"),
    ("whole", "$.detail"),
];

fn made(template: &str) -> String {
    match Transform::new(PATHS, template, false) {
        Ok(transform) => match transform.apply(&seen(Subject::Json(EVENT))) {
            Ok(output) => {
                assert_eq!(
                    output.is_json,
                    json::validate(output.text.as_bytes(), 127).is_ok(),
                    "{template} makes {}",
                    output.text
                );
                output.text
            }
            Err(error) => format!("! {}", error.code()),
        },
        Err(errors) => format!("!! {}", errors.iter().map(|error| error.code).collect::<Vec<_>>().join(" ")),
    }
}

#[test]
fn what_the_service_was_recorded_to_deliver_is_delivered() {
    for (template, wanted) in [
        (
            r#""Event of <detail-type> type, at time <timestamp>, info extracted from detail <command>""#,
            r#""Event of core.update-account-command type, at time 2024-06-11T08:33:10Z, info extracted from detail update-account""#,
        ),
        (r#""info extracted from detail <missing>""#, r#""info extracted from detail ""#),
        (
            r#""{[/Check with special starting characters for event of <detail-type> type""#,
            r#""{[/Check with special starting characters for event of core.update-account-command type""#,
        ),
        (
            r#"{"detailType": <detail-type>,  "time": <timestamp>, "command": <command>}"#,
            r#"{"detailType": "core.update-account-command",  "time": "2024-06-11T08:33:10Z", "command": "update-account"}"#,
        ),
        (r#"{"command": <missing>}"#, r#"{"command": ""}"#),
        (r#"{"command": "<missing>"}"#, r#"{"command": ""}"#),
        (
            r#"{"method": "PUT", "path": "users-service/users/<userId>", "bod": <payload>}"#,
            r#"{"method": "PUT", "path": "users-service/users/0a787ecb-4015", "bod": {"acc_id": "0a787ecb-4015", "sf_id": "baz"}}"#,
        ),
        (
            r#"{"bod": [<userId>, "hardcoded"], "id": "<userId>"}"#,
            r#"{"bod": ["0a787ecb-4015", "hardcoded"], "id": "0a787ecb-4015"}"#,
        ),
        (
            r#"{"multi_replacement": "users/<userId>/second/<userId>"}"#,
            r#"{"multi_replacement": "users/0a787ecb-4015/second/0a787ecb-4015"}"#,
        ),
        (
            r#""Payload of <payload> with path users-service/users/<userId> and <userId>""#,
            r#""Payload of {acc_id:0a787ecb-4015,sf_id:baz} with path users-service/users/0a787ecb-4015 and 0a787ecb-4015""#,
        ),
        (r#""states <states>, one <one>, admin <admin>""#, r#""states [ACTIVE,INACTIVE], one [HIGH], admin true""#),
        (r#"{"a": <states>, "b": <one>, "c": <admin>}"#, r#"{"a": ["ACTIVE", "INACTIVE"], "b": ["HIGH"], "c": true}"#),
        (
            "\"<userId>\"\n\"<command> of <payload>\"",
            "\"0a787ecb-4015\"\n\"update-account of {acc_id:0a787ecb-4015,sf_id:baz}\"",
        ),
        ("  \"a\"  \r\n\n\t\"<userId>\"\n", "\"a\"\n\"0a787ecb-4015\""),
        (r#"{"payload": "<payload>"}"#, "! input_in_quotes"),
        (r#"{"not_valid": "users-service/users/<payload>", "bod": <payload>}"#, "! input_in_quotes"),
        (r#"{"singlelistitem": "<one>"}"#, "! input_in_quotes"),
        (r#"Payload of <payload>"#, "!! bad_template"),
        (r#"<userId> is in state <command>"#, "!! bad_template"),
        (r#""with not defined key <notdefinedkey>""#, "!! unknown_placeholder"),
        (
            r#""all <aws.events.rule-arn> <aws.events.rule-name> <aws.events.event.ingestion-time>""#,
            r#""all arn:aws:events:us-east-1:123456789012:rule/big-orders big-orders 2024-06-11T08:33:10Z""#,
        ),
        (r#"{"name": <aws.events.rule-name>}"#, r#"{"name": "big-orders"}"#),
        (r#""<aws.events.event>""#, "!! bad_template"),
        (r#"{"a": "<aws.events.event.json>"}"#, "!! bad_template"),
        (r#""instance \"<userId>\" is in <command>""#, r#""instance \"0a787ecb-4015\" is in update-account""#),
    ] {
        assert_eq!(made(template), wanted, "{template}");
    }
    let both: Value =
        serde_json::from_str(&made(r#"{"event": <aws.events.event>, "json": <aws.events.event.json>}"#)).unwrap();
    let mut whole: Value = serde_json::from_str(EVENT).unwrap();
    assert_eq!(both["json"], whole);
    let whole = whole.as_object_mut().unwrap();
    whole.shift_remove("detail");
    let ty = whole.shift_remove("detail-type").unwrap();
    whole.insert("detailType".to_owned(), ty);
    assert_eq!(both["event"], Value::Object(whole.clone()));
}

#[test]
fn values_keep_their_spelling_and_texts_are_escaped_for_where_they_stand() {
    for (template, wanted) in [
        ("[<price>, <big>, <none>]", "[10.50, 12345678901234567890.10, null]"),
        (r#"{"t": "<price> <big> <none> <admin>"}"#, r#"{"t": "10.50 12345678901234567890.10 null true"}"#),
        (r#"{"t": <quoted>}"#, r#"{"t": "say \"hi\"\nto caf\u00e9 \u0001 \\ 😀"}"#),
        (r#"{"t": "> <quoted>"}"#, r#"{"t": "> say \"hi\"\nto café \u0001 \\ 😀"}"#),
        (r#""> <quoted>""#, r#""> say \"hi\"\nto café \u0001 \\ 😀""#),
        // A value is never looked at for names.
        (r#"{"t": <html>, "u": "<html>"}"#, r#"{"t": "<id> <none>", "u": "<id> <none>"}"#),
        ("[<slash>, <dash>, <line>, <first>, <third>]", r#"[7, 1, 2, "arn:aws:ec2:1", ""]"#),
        ("<all>", r#"["arn:aws:ec2:1","arn:aws:ec2:2"]"#),
        ("<skus>", r#"["a",{"x": "y \"z\""}]"#),
        (r#""<skus>""#, r#""[a,{x:y \"z\"}]""#),
        ("<values>", r#"["0a787ecb-4015","baz"]"#),
        ("[<inner>, <flat>, <twice>, <nothing>, <through>]", r#"[2, [1,2,3], 2, "", ""]"#),
        // As EventBridge's InputPath would have it.
        ("<command>", r#""update-account""#),
        ("\t<payload>\n", r#"{"acc_id": "0a787ecb-4015", "sf_id": "baz"}"#),
        ("null", "null"),
        // A `<` that is not closed on its line is a sign.
        (r#"{"a": "1 < 2"}"#, r#"{"a": "1 < 2"}"#),
        (r#"{"a": "1 \u003c 2 \u003e 0 <price>"}"#, r#"{"a": "1 \u003c 2 \u003e 0 10.50"}"#),
        ("{\"a\": \"x < y\",\n \"b\": <price>}", "{\"a\": \"x < y\",\n \"b\": 10.50}"),
        (r#"{"a\"b": "\\<price>\\"}"#, r#"{"a\"b": "\\10.50\\"}"#),
    ] {
        assert_eq!(made(template), wanted, "{template}");
    }
}

#[test]
fn what_is_no_template_is_refused_where_it_is_wrong() {
    for (template, code, at) in [
        ("", "bad_template", ""),
        (" \n ", "bad_template", " \n "),
        ("text", "bad_template", "text"),
        (r#"{"a": <price>"#, "bad_template", ""),
        (r#"{"a": <price><price>}"#, "bad_template", "<"),
        (r#"{"a": 1<price>}"#, "bad_template", "<"),
        (r#"{"a": <price>1}"#, "bad_template", "1"),
        (r#"{<price>: 1}"#, "bad_template", "<price>"),
        (r#"{"<price>": 1}"#, "bad_template", "<price>"),
        (r#"{"a": 1, "b\"<price>\"" : 1}"#, "bad_template", "<price>"),
        (r#"{"a": "<price>}"#, "bad_template", ""),
        (r#"{"a": "1 < 2 and <price>"}"#, "bad_template", "< 2 and <price>"),
        (r#"{"a": "<>"}"#, "bad_template", "<>"),
        (r#"{'a': 1}"#, "bad_template", "'"),
        ("{\"a\": \"two\nlines\"}", "bad_template", "\n"),
        (r#""a" "b""#, "bad_template", "\""),
        ("\"a\"\ntext", "bad_template", "text"),
        ("\"two\nlines\"", "bad_template", "\"two"),
        (r#""\x""#, "bad_template", "x"),
        (r#"{"a": é}"#, "bad_template", "é"),
        (r#"{"a": <prize>}"#, "unknown_placeholder", "<prize>"),
        (r#"{"a": <aws.events.rule>}"#, "unknown_placeholder", "<aws.events.rule>"),
    ] {
        let errors = Transform::new(PATHS, template, false).unwrap_err();
        assert_eq!(errors[0].code, code, "{template}: {errors:?}");
        let About::Template(span) = errors[0].about.clone() else { panic!("{errors:?}") };
        assert_eq!(template.get(span.start..span.end.min(template.len())).unwrap(), at, "{template}: {errors:?}");
        assert!(errors[0].help.is_some(), "{template}");
    }
    let errors = Transform::new(PATHS, r#"{"a": <prize>}"#, false).unwrap_err();
    assert_eq!(errors[0].help.as_deref(), Some("did you mean <price>?"));
}

#[test]
fn names_paths_and_templates_have_limits() {
    let code = |name: &str, path: &str| {
        let errors = Transform::new([(name, path)], "1", false).err().unwrap_or_default();
        errors.iter().map(|error| error.code).collect::<Vec<_>>().join(" ")
    };
    for name in ["a", "A-b_9", &"n".repeat(NAME_BYTES_MAX)] {
        assert_eq!(code(name, "data"), "", "{name}");
    }
    for name in ["", "a b", "a.b", "é", "AWS.x", "aws.events.event", "a>", &"n".repeat(NAME_BYTES_MAX + 1)] {
        assert_eq!(code(name, "data"), "bad_value", "{name}");
    }
    for path in ["$", "data", "$.data", "data.a[0]", "$[0]", "$.a[*].b", "$.*", "a.b-c_d/e:f é", "$.a[0][1]", "*"] {
        assert_eq!(code("a", path), "", "{path}");
    }
    for path in [
        "",
        "$.",
        ".a",
        "a.",
        "a..b",
        "$..a",
        "a[",
        "a[x]",
        "a[-1]",
        "a['b']",
        "$['a']",
        "a]",
        "a[]",
        "a[?(@.b)]",
        "a\nb",
        "a[0]b.",
        "[99999999999999999999999]",
        "a.[0]",
    ] {
        assert_eq!(code("a", path), "bad_path", "{path}");
    }
    let many: Vec<String> = (0..=PATHS_MAX).map(|n| format!("n{n}")).collect();
    let paths = |count: usize| many.iter().take(count).map(|name| (name.as_str(), "data"));
    assert!(Transform::new(paths(PATHS_MAX), "1", false).is_ok());
    assert_eq!(Transform::new(paths(PATHS_MAX + 1), "1", false).unwrap_err()[0].code, "too_many");
    let long = |length: usize| format!("\"{}\"", "é".repeat(length - 2));
    assert!(Transform::new([], &long(TEMPLATE_CHARS_MAX), false).is_ok());
    assert_eq!(Transform::new([], &long(TEMPLATE_CHARS_MAX + 1), false).unwrap_err()[0].code, "too_many");
    assert!(Transform::new([], &"[".repeat(8000), false).is_err());
}

fn envelope(data: Data) -> Envelope {
    Envelope {
        id: EventId::new(Timestamp::EPOCH, [0; 10]),
        namespace: Name::default_namespace(),
        source_name: Name::new("shop").unwrap(),
        tags: vec!["eu".to_owned(), "vip".to_owned()],
        received_at: Timestamp::EPOCH,
        hop_count: 0,
        keys_unique: false,
        event: Event {
            id: "1".into(),
            source: "/shop".into(),
            ty: "order.created".into(),
            subject: Some("say \"hi\"\r\nX-Injected: 1".into()),
            extensions: Extensions::from([
                ("count".into(), ExtensionValue::Integer(-7)),
                ("urgent".into(), ExtensionValue::Boolean(true)),
                ("customer".into(), ExtensionValue::String("c7".into())),
            ]),
            data,
            ..Event::default()
        },
    }
}

#[test]
fn paths_lead_into_events_of_the_broker() {
    let envelope =
        envelope(Data::Json(r#" {"customer":{"id":7.0},"a.b":{"c":1},"lines":[{"sku":"x"},{"sku":"y"}]} "#.into()));
    let found = |path: &str| {
        let transform = Transform::new([("v", path)], "<v>", false).unwrap();
        transform.apply(&seen(Subject::Event(&envelope))).unwrap().text
    };
    for (path, wanted) in [
        ("data.customer.id", "7.0"),
        ("$.data.customer.id", "7.0"),
        ("data.customer", r#"{"id":7.0}"#),
        ("data.a.b.c", "1"),
        ("data.lines[1].sku", r#""y""#),
        ("data.lines[*].sku", r#"["x","y"]"#),
        ("type", r#""order.created""#),
        ("$.specversion", r#""1.0""#),
        ("subject", r#""say \"hi\"\r\nX-Injected: 1""#),
        ("count", "-7"),
        ("urgent", "true"),
        ("customer", r#""c7""#),
        ("tags", r#"["eu","vip"]"#),
        ("tags[1]", r#""vip""#),
        ("time", r#""""#),
        ("type.x", r#""""#),
        ("type[0]", r#""""#),
        ("datax", r#""""#),
        ("data[0]", r#""""#),
    ] {
        assert_eq!(found(path), wanted, "{path}");
    }
    let whole: Value = serde_json::from_str(&found("$")).unwrap();
    assert_eq!(whole, serde_json::from_slice::<Value>(&envelope.structured_json()).unwrap());
    let all: Value = serde_json::from_str(&found("*")).unwrap();
    assert_eq!(all[0], "1.0");
    let transform = Transform::new([], r#"{"e": <aws.events.event>, "j": <aws.events.event.json>}"#, true).unwrap();
    let made: Value = serde_json::from_str(&transform.apply(&seen(Subject::Event(&envelope))).unwrap().text).unwrap();
    assert_eq!(made["j"], whole);
    assert_eq!((&made["e"]["type"], made["e"].get("data")), (&Value::from("order.created"), None));
}

#[test]
fn data_that_is_no_json_is_not_seen() {
    for data in [Data::None, Data::Bytes("{\"a\":1}".into())] {
        let envelope = envelope(data);
        let transform = Transform::new([("v", "data.a"), ("d", "data")], "[<v>, <d>]", false).unwrap();
        assert_eq!(transform.apply(&seen(Subject::Event(&envelope))).unwrap().text, r#"["", ""]"#);
    }
}

/// Row T1.
#[test]
fn a_missing_path_is_empty_and_strict_gives_up() {
    let apply = |template: &str, strict| {
        let transform = Transform::new(PATHS, template, strict).unwrap();
        transform.apply(&seen(Subject::Json(EVENT))).map(|output| output.text)
    };
    assert_eq!(apply(r#"{"a": <missing>, "b": "x<missing>"}"#, false).unwrap(), r#"{"a": "", "b": "x"}"#);
    assert_eq!(apply(r#"{"a": <none>, "b": "<price>"}"#, true).unwrap(), r#"{"a": null, "b": "10.50"}"#);
    let error = apply(r#"{"a": <price>, "b": "x<missing>"}"#, true).unwrap_err();
    assert_eq!(error, ApplyError::MissingPath { name: "missing".to_owned(), path: "$.detail.notinmessage".to_owned() });
    assert_eq!(error.code(), "input_missing_path");
    assert!(error.to_string().contains("$.detail.notinmessage"));
}

/// Row T2, as far as JSON and lines of text go.
#[test]
fn a_value_cannot_end_the_text_that_it_stands_in() {
    for nasty in
        ["\"", "\\", "\",\"admin\":true,\"x\":\"", "\r\n", "\n\"second line\"", "\u{0}", "\u{2028}", "\u{7f}", "<v>"]
    {
        let event = serde_json::json!({ "v": nasty, "o": { "k\"": [nasty] } }).to_string();
        for (template, lines) in [(r#"{"a": <v>, "b": "x <v> y"}"#, 1), ("\"<v> <o>\"\n\"<o>\"", 2)] {
            let transform = Transform::new([("v", "v"), ("o", "o")], template, false).unwrap();
            let made = transform.apply(&seen(Subject::Json(&event))).unwrap().text;
            assert_eq!(made.lines().count(), lines, "{made}");
            for line in made.lines() {
                let value: Value = serde_json::from_str(line).unwrap();
                if let Some(object) = value.as_object() {
                    assert_eq!(
                        (object.len(), &value["a"], &value["b"]),
                        (2, &nasty.into(), &format!("x {nasty} y").into())
                    );
                } else {
                    assert!(value.as_str().unwrap().contains(nasty), "{made}");
                }
            }
        }
    }
}

/// Row T3.
#[test]
fn what_comes_out_has_a_limit() {
    let event = format!(r#"{{"v":"{}"}}"#, "x".repeat(OUTPUT_BYTES_MAX / 4));
    let apply = |template: &str| {
        Transform::new([("v", "v")], template, false)
            .unwrap()
            .apply(&seen(Subject::Json(&event)))
            .map(|made| made.text.len())
    };
    assert!(apply("[<v>,<v>,<v>]").is_ok());
    assert_eq!(apply("[<v>,<v>,<v>,<v>]"), Err(ApplyError::TooLarge));
    assert_eq!(ApplyError::TooLarge.code(), "template_limit");
    // As many as a template can hold.
    assert_eq!(apply(&format!("[{}<v>]", "<v>,".repeat(2000))), Err(ApplyError::TooLarge));
}

/// Any JSON.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        "[\"\\\\<>a\n\u{1}😀]{0,6}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[ab.\"\\\\]{0,2}", inner, 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// Templates, most of which are ones.
fn any_template() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "\"",
        "\\",
        "\\n",
        "<a>",
        "<b>",
        "<c>",
        "<x>",
        "<",
        ">",
        " ",
        "\n",
        "1",
        "null",
        "\"k\":",
        "\"k\": <a>",
        "\"<b> and <c>\"",
        "é",
        "<aws.events.event.json>",
        "<aws.events.rule-name>",
    ]);
    prop_oneof![
        prop::collection::vec(piece.clone(), 0..12).prop_map(|pieces| pieces.concat()),
        prop::collection::vec(prop::sample::select(vec!["<a>", "\"<b>\"", "{\"k\":<c>}", "[]", "\"x<a>\""]), 0..5)
            .prop_map(|values| format!("[{}]", values.join(","))),
    ]
}

/// What is at a path of names and places, by another reader.
fn by_pointer<'v>(value: &'v Value, path: &[&str]) -> Option<&'v Value> {
    path.iter().try_fold(value, |value, step| match value {
        Value::Array(items) => items.get(step.parse::<usize>().ok()?),
        Value::Object(members) => members.get(*step),
        _ => None,
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn what_a_template_of_json_makes_is_json(template in any_template(), event in any_json(), spaced in any::<bool>()) {
        let event = serde_json::json!({ "v": event });
        let event = if spaced { serde_json::to_string_pretty(&event).unwrap() } else { event.to_string() };
        let paths = [("a", "v"), ("b", "v.a"), ("c", "v[0]")];
        if let Ok(transform) = Transform::new(paths, &template, false)
            && let Ok(made) = transform.apply(&seen(Subject::Json(&event)))
        {
            let lines: Vec<&str> = if made.is_json { vec![&made.text] } else { made.text.lines().collect() };
            for line in lines {
                prop_assert!(serde_json::from_str::<Value>(line).is_ok(), "{template} makes {}", made.text);
            }
        }
    }

    #[test]
    fn a_value_alone_is_the_value(value in any_json(), spaced in any::<bool>()) {
        let event = serde_json::json!({ "x": [1, { "v": value }] });
        let text = if spaced { serde_json::to_string_pretty(&event).unwrap() } else { event.to_string() };
        // Read back, for not every number survives being written and read by this other reader.
        let event: Value = serde_json::from_str(&text).unwrap();
        let transform = Transform::new([("v", "$.x[1].v")], "<v>", true).unwrap();
        let made = transform.apply(&seen(Subject::Json(&text))).unwrap().text;
        prop_assert_eq!(serde_json::from_str::<Value>(&made).unwrap(), by_pointer(&event, &["x", "1", "v"]).unwrap().clone());
    }

    #[test]
    fn a_text_in_a_text_is_the_text(text in any::<String>()) {
        let event = serde_json::json!({ "v": text }).to_string();
        for template in [r#"["<v>"]"#, r#""<v>""#, "[<v>]"] {
            let made = Transform::new([("v", "v")], template, true).unwrap().apply(&seen(Subject::Json(&event))).unwrap();
            let made: Value = serde_json::from_str(&made.text).unwrap();
            let made = made.get(0).unwrap_or(&made);
            prop_assert_eq!(made.as_str().unwrap(), &text);
        }
    }

    #[test]
    fn no_text_makes_it_panic(template in "[<>\"a{}:, \n\\\\\\[\\]]{0,40}", path in "[$.a\\[\\]*0]{0,12}", event in "[{}\"a:,\\[\\]\\\\1]{0,40}") {
        if let Ok(transform) = Transform::new([("a", path.as_str())], &template, false) {
            let _ = transform.apply(&seen(Subject::Json(&event)));
        }
    }
}
