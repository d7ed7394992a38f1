//! Events that are matched where they stand: the same ids and the same rules as of those that are read first, and nothing
//! said of what is no event.

use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use eventyard_event::json::read_structured;
use eventyard_event::{Envelope, Event, EventId, Limits, Name, Timestamp};
use eventyard_rules::file::{Host, read_rules};
use eventyard_rules::reader::{Document, Reading};
use eventyard_rules::{InPlace, Report, RuleSet};
use proptest::prelude::*;

/// Rules that ask for each sort of thing that an event has.
fn rules() -> RuleSet {
    let conditions = [
        r#"pattern = { specversion = ["1.0"], type = ["t", "order.paid"] }"#,
        r#"pattern = { source = [{ prefix = "/s" }], id = [{ suffix = "1" }] }"#,
        r#"pattern = { subject = [{ exists = false }] }"#,
        r#"pattern = { subject = [{ wildcard = "a*c" }, ""] }"#,
        r#"pattern = { time = [{ prefix = "2026-" }], dataschema = [{ exists = true }] }"#,
        r#"pattern = { datacontenttype = [{ anything-but = "application/json" }] }"#,
        r#"pattern = { seven = [7], yes = [true] }"#,
        r#"pattern = { seven = [{ numeric = ["<", 0] }, "7", 0] }"#,
        r#"pattern = { tags = ["eu"], data = { tags = ["root"] } }"#,
        r#"pattern = { tags = ["root"] }"#,
        r#"pattern = { data = [{ exists = true }] }"#,
        r#"pattern = { data = ["v", 1.5, true] }"#,
        r#"pattern = { data = { a = [1, "v", { exists = false }] } }"#,
        r#"pattern = { data = { a = { b = ["v"] }, c = [{ numeric = [">", 0] }] } }"#,
        r#"pattern = { data = { l = { a = [1], b = [2] } } }"#,
        r#"pattern = { data = { l = { a = [{ exists = false }] } } }"#,
        r#"pattern = '{"data":{"l":["v"],"c":[null]}}'"#,
        r#"pattern = { data = { "a.b" = [1] } }"#,
        r#"pattern = { data = { d = ["é\n", "é", "a\"b"] } }"#,
        r#"pattern = { data_base64 = [{ exists = true }] }"#,
        r#"when = "seven > 0 AND EXISTS subject""#,
        r#"when = "tags = 'root' OR type LIKE 'order%'""#,
        "from = [\"shop\"]\ntags = [\"eu\"]",
        "from = [\"other\"]",
        "pattern = { type = [\"t\"] }\nnot_tags = [\"eu\"]",
    ];
    let rule =
        |(number, condition)| format!("[[rule]]\nname = \"r{number}\"\n{condition}\ntarget = {{ function = \"f\" }}\n");
    let text: String = (0..).zip(conditions).map(rule).collect();
    let file: Arc<str> = Arc::from("rules/r.toml");
    let document = Document::parse(&text);
    let reading = Reading::new(&file, &document, &|_| Ok(None));
    let host = Host { http_target: &|_| None, event_file: &|_| Err("there is none".to_owned()), text: &text };
    let read = read_rules(&reading.root(&document), &host);
    let mut report = Report::new();
    report.add_source(&file, &text);
    reading.finish(&mut report);
    assert!(report.is_empty(), "{report}");
    RuleSet::compile(read.into_iter().map(|read| read.rule).collect())
}

fn envelope() -> Envelope {
    Envelope {
        id: EventId::new(Timestamp::EPOCH, [0; 10]),
        namespace: Name::default_namespace(),
        source_name: Name::new("shop").expect("a name"),
        tags: vec!["eu".to_owned()],
        received_at: Timestamp::EPOCH,
        hop_count: 0,
        keys_unique: true,
        event: Event::default(),
    }
}

const LIMITS: Limits =
    Limits { event_bytes_max: 600, batch_events_max: 1, attribute_bytes_max: 30, extensions_max: 8, json_depth_max: 5 };

/// The id, as JSON, and the matches of an event that is read first; none where it is no event.
fn read_first(rules: &RuleSet, line: &[u8]) -> Option<(String, Vec<String>)> {
    let (event, shape) = read_structured(&Bytes::copy_from_slice(line), &LIMITS).ok()?;
    let id = serde_json::Value::from(&*event.id).to_string();
    let envelope = Envelope { event, keys_unique: shape.keys_unique, ..envelope() };
    Some((id, rules.matches(&envelope).iter().map(|rule| rule.name.to_string()).collect()))
}

fn where_it_stands(in_place: &mut InPlace<'_>, line: &[u8]) -> Option<(String, Vec<String>)> {
    let (id, rules) = in_place.matches(line)?;
    Some((id.to_owned(), rules.map(|rule| rule.name.to_string()).collect()))
}

/// The same for the first line of a text, where it is like those before; with the length of the line.
fn in_a_text(in_place: &mut InPlace<'_>, text: &str) -> Option<((String, Vec<String>), usize)> {
    let (id, rules, length) = in_place.matches_line(text)?;
    Some(((id.to_owned(), rules.map(|rule| rule.name.to_string()).collect()), length))
}

/// One of some texts without spaces.
fn one_of(texts: &'static str) -> impl Strategy<Value = String> {
    prop::sample::select(texts.split(' ').collect::<Vec<_>>()).prop_map(str::to_owned)
}

/// JSON data, in which keys mostly stand in one order.
fn data() -> impl Strategy<Value = String> {
    let good = concat!(
        "1 2 1.5 -0 -1 0 1e2 0.5e-1 1e400 123456789012345678901234567890 true false null {} [] [[]] ",
        r#""v" "" "é" "\u00e9\n" "a\"b" "root" "a\u0020text\u0020with\u0020escapes" "a_text_that_is_longer_than_one_window""#,
    );
    let broken = r#"01 1. - nul "\ud800" "\x" [1,] {"a"} v"#;
    let leaf = prop_oneof![60 => one_of(good), 1 => one_of(broken)];
    leaf.prop_recursive(4, 24, 6, |inner| {
        let keys = one_of(r"a b c d l tags a.b \u0061 a_key_that_is_longer_than_a_window");
        prop_oneof![
            2 => prop::collection::vec(inner.clone(), 0..4).prop_map(|items| format!("[{}]", items.join(","))),
            2 => prop::collection::vec((keys, inner.clone()), 0..4).prop_map(|members| object(&members)),
            6 => prop::collection::vec(prop::option::weighted(0.6, inner), 4).prop_map(|values| {
                let members = ["a", "b", "c", "l"].into_iter().zip(values);
                object(&members.filter_map(|(key, value)| Some((key.to_owned(), value?))).collect::<Vec<_>>())
            }),
        ]
    })
}

fn object(members: &[(String, String)]) -> String {
    let member = |(key, value): &(String, String)| format!("\"{key}\":{value}");
    format!("{{{}}}", members.iter().map(member).collect::<Vec<_>>().join(","))
}

/// A member of an event: mostly one of what is usual.
fn member(name: &'static str, usual: &'static str) -> impl Strategy<Value = (String, String)> {
    let odd = one_of(concat!(
        r#"null "" 1 -0 007 2147483648 1.5 true ["v"] {"a":1} "\u0061" "text/plain" "a|b" "/s" "1.0" "aGk=" "#,
        "\"\u{7f}\" \"\u{fdd0}\" \"more_than_thirty_bytes_of_a_text\""
    ));
    prop_oneof![60 => one_of(usual), 1 => odd].prop_map(move |value| (name.to_owned(), value))
}

/// A line: mostly an event whose members stand in one order.
fn line() -> impl Strategy<Value = Vec<u8>> {
    let required = (
        member("specversion", r#""1.0""#),
        member("id", r#""1" "é-21""#),
        member("source", r#""/s" "https://a.example/?b#c" "other""#),
        member("type", r#""t" "order.paid""#),
    );
    let some = |name, usual| prop::option::weighted(0.4, member(name, usual));
    let optional = (
        some("subject", r#""abc" "a""#),
        some("time", r#""2026-11-23T07:00:00Z" "2025-01-01T00:00:00.5+01:00""#),
        some("datacontenttype", r#""application/json" "application/x+json;a=b" "text/json" "text/plain""#),
        some("dataschema", r#""https://a.example/s""#),
        some("seven", r#"7 -7 "7" 0"#),
        some("yes", "true false"),
    );
    let rare = (one_of("tags data_base64 Bad id x data a.b"), one_of(r#""root" null "aGk=""#));
    let whole = (
        required,
        optional,
        prop::option::weighted(0.1, rare),
        prop::option::weighted(0.9, data()),
        any::<prop::sample::Index>(),
    );
    let written = whole.prop_map(|((a, b, c, d), (e, f, g, h, i, j), rare, data, turn)| {
        let mut members = vec![a, b, c, d];
        members.extend([e, f, g, h, i, j].into_iter().flatten());
        members.extend(rare);
        members.extend(data.map(|data| ("data".to_owned(), data)));
        // Now and then in another order, or with something left out.
        let place = turn.index(20 * members.len());
        if place < members.len() {
            members.rotate_left(place);
        } else if place < members.len() + 2 {
            members.swap_remove(place - members.len());
        }
        object(&members).into_bytes()
    });
    let spoilt = (any::<prop::sample::Index>(), prop::sample::select(&b"{}[]\",: \\a1\n.-\x00\xff\xc3"[..]), 0..40);
    (written, spoilt).prop_map(|(mut line, (place, byte, how))| {
        let at = place.index(line.len());
        match how {
            0 => line.insert(at, byte),
            1 => _ = line.remove(at),
            2 => line.iter_mut().skip(at).take(1).for_each(|to| *to = byte),
            3 => line.truncate(at),
            4 => line.extend_from_slice(b" \r"),
            _ => {}
        }
        line
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_matches_an_event_where_it_stands_matches_it_when_it_is_read(lines in prop::collection::vec(line(), 1..60)) {
        static RULES: LazyLock<RuleSet> = LazyLock::new(rules);
        let rules = &*RULES;
        let mut in_place = InPlace::new(rules, &envelope(), LIMITS).unwrap();
        for line in &lines {
            let found = where_it_stands(&mut in_place, line);
            if found.is_some() {
                prop_assert_eq!(found, read_first(rules, line), "{}", String::from_utf8_lossy(line));
            }
        }
    }

    #[test]
    fn a_line_that_is_like_those_before_it_is_answered_as_when_it_is_read(lines in prop::collection::vec(line(), 1..60)) {
        static RULES: LazyLock<RuleSet> = LazyLock::new(rules);
        let rules = &*RULES;
        let mut in_place = InPlace::new(rules, &envelope(), LIMITS).unwrap();
        let text = String::from_utf8_lossy(&lines.join(&b'\n')).into_owned();
        // Twice, so that the second time all of them are like some before.
        let text = format!("{text}\n{text}");
        let mut rest = text.as_str();
        while !rest.is_empty() {
            let line = rest.split('\n').next().unwrap_or_default();
            if let Some((found, length)) = in_a_text(&mut in_place, rest) {
                prop_assert_eq!(length, line.len(), "{}", line);
                prop_assert_eq!(Some(found), read_first(rules, line.trim().as_bytes()), "{}", line);
            } else {
                let _ = in_place.matches(line.trim().as_bytes());
            }
            rest = rest.get(line.len() + 1..).unwrap_or_default();
        }
    }
}

#[test]
fn what_everybody_sends_is_matched_where_it_stands() {
    let rules = rules();
    let mut in_place = InPlace::new(&rules, &envelope(), LIMITS).unwrap();
    let start = r#"{"specversion":"1.0","id":"é-1","source":"/s","type":"t""#;
    for rest in [
        "",
        r#","subject":"abc","time":"2026-11-23T07:00:00Z","seven":7,"yes":true,"data":{"a":1,"l":[{"a":1,"b":2},{"a":2}]}"#,
        r#","datacontenttype":"application/json","dataschema":"https://a.example/s","data":"v""#,
        r#","subject":null,"data":{"a":{"b":"v"},"c":3,"d":"\u00e9\n","l":["v",[{"a":1}],{"b":2}]}"#,
        r#","datacontenttype":"text/plain","tags":"root","data_base64":null"#,
        r#", "seven": -7 , "data": { "tags": [ "root" ] } "#,
    ] {
        let line = format!("{start}{rest}}}");
        let found = where_it_stands(&mut in_place, line.as_bytes());
        assert!(found.is_some(), "{line}");
        assert_eq!(found, read_first(&rules, line.as_bytes()), "{line}");
        // From now on what differs in its values alone is told by what stands between them.
        for (value, other) in
            [(r#""1.0","id":"é-1""#, r#""1.0","id":"21""#), ("7", "8"), ("\"v\"", "\"é\\n\""), ("true", "false")]
        {
            let like = line.replace(value, other);
            let found = in_a_text(&mut in_place, &format!("{like} \r\n{{"));
            let wanted = read_first(&rules, like.as_bytes()).map(|wanted| (wanted, like.len() + 2));
            assert!(found.is_some(), "{like}");
            assert_eq!(found, wanted, "{like}");
        }
    }
}

#[test]
fn many_unusual_events_are_left_and_the_usual_ones_behind_them_are_matched_again() {
    let rules = rules();
    let mut in_place = InPlace::new(&rules, &envelope(), LIMITS).unwrap();
    let draft = br#"{"type":"t","data":{"a":1}}"#;
    assert!((0..1_000).all(|_| in_place.matches(draft).is_none()), "a draft lacks what an event has");
    let line = br#"{"specversion":"1.0","id":"1","source":"/s","type":"t"}"#;
    let taken = (0..200).filter(|_| in_place.matches(line).is_some()).count();
    assert!(taken > 100, "{taken}");
}
