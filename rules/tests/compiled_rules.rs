//! Rules in force match what each of them asked alone, by the simple evaluator, would match: attributes, extensions,
//! tags and data, whatever source an event comes by.

use eventyard_event::{Data, Envelope, Event, EventId, ExtensionValue, Name, Text, Timestamp};
use eventyard_rules::cesql::Expression;
use eventyard_rules::reference::matches;
use eventyard_rules::{OrderAfterDead, Pattern, Place, RetryOverrides, Rule, RuleSet, View};
use proptest::prelude::*;

const FIELDS: &[&str] = &[
    r#""type":["a"]"#,
    r#""type":["b",{"prefix":"a"}]"#,
    r#""source":[{"suffix":"op"}]"#,
    r#""subject":[{"exists":false}]"#,
    r#""subject":["a"]"#,
    r#""specversion":["1.0"]"#,
    r#""id":[{"anything-but":"1"}]"#,
    r#""time":[{"exists":true}]"#,
    r#""datacontenttype":[{"wildcard":"*json"}]"#,
    r#""dataschema":[{"exists":false}]"#,
    r#""sequence":[7]"#,
    r#""sequence":[{"numeric":["<",8]}]"#,
    r#""urgent":[true]"#,
    r#""urgent":[false,{"exists":false}]"#,
    r#""tags":["eu"]"#,
    r#""tags":[{"anything-but":"eu"}]"#,
    r#""data":[5]"#,
    r#""data":[{"exists":false}]"#,
    r#""data":{"a":[1],"b":["x"]}"#,
    r#""data":{"a":[{"exists":false}]}"#,
    r#""data":{"l":{"a":[1],"b":[2]}}"#,
    r#""data":{"l.a":[{"exists":true}]}"#,
];

/// Some that are true mostly, some that fail where an attribute is missing.
const WHEN: &[&str] = &[
    "id LIKE '%'",
    "type IN ('a', 'ab')",
    "EXISTS zone",
    "sequence > 6",
    "NOT urgent OR subject = 'b'",
    "EXISTS sequence AND sequence = 7",
    "sequence",
];

const DATA: &[&str] = &[
    "5",
    "\"x\"",
    "null",
    "{}",
    r#"{"a":1,"b":"x"}"#,
    r#"{"b":"x","a":1.0,"c":[1,2,{"d":3}]}"#,
    r#"{"a":2,"a":1}"#,
    r#"{"l":[{"a":1,"b":3},{"a":2,"b":2}]}"#,
    r#"{"l":[{"a":1},{"a":1,"b":2}],"b":"x"}"#,
    r#"{"l.a":1,"l":{"b":2}}"#,
    r#" [ {"l":{"a":1,"b":2}} , {"a":1} ] "#,
];

fn name(text: &str) -> Name {
    Name::new(text).expect("a name")
}

fn names() -> impl Strategy<Value = Vec<Name>> {
    prop::collection::vec(prop::sample::select(vec![name("shop"), name("other")]), 0..2)
}

fn tags() -> impl Strategy<Value = Vec<String>> {
    prop::collection::vec(prop::sample::select(vec!["eu".to_owned(), "us".to_owned()]), 0..2)
}

fn rule() -> impl Strategy<Value = Rule> {
    let pattern = prop::option::weighted(0.9, prop::sample::subsequence(FIELDS.to_vec(), 1..4));
    let namespace = prop::sample::select(vec!["default", "default", "default", "team"]);
    let when = prop::option::weighted(0.4, prop::sample::select(WHEN.to_vec()));
    (names(), tags(), tags(), pattern, when, prop::bool::weighted(0.9), namespace).prop_map(
        |(from, tags, not_tags, fields, when, enabled, namespace)| {
            // Two fields of one path are a mistake, and leave a rule without a pattern.
            let pattern = fields.and_then(|fields| Pattern::from_json(&format!("{{{}}}", fields.join(","))).ok());
            Rule {
                name: name("rule"),
                namespace: name(namespace),
                description: String::new(),
                enabled,
                from,
                tags,
                not_tags,
                pattern,
                when: when.map(|when| Expression::parse(when).expect("an expression")),
                order_by: None,
                order_after_dead: OrderAfterDead::Continue,
                split: None,
                retry: RetryOverrides::default(),
                targets: Vec::new(),
                tests: Vec::new(),
                place: Place { file: "rules/a.toml".into(), span: 0..0 },
            }
        },
    )
}

fn envelope() -> impl Strategy<Value = Envelope> {
    let word = || prop::sample::select(vec!["a", "ab", "b", "/shop", "1"]).prop_map(Text::from);
    let data = prop_oneof![
        8 => prop::sample::select(DATA.to_vec()).prop_map(|data| Data::Json(data.to_owned().into())),
        1 => Just(Data::None),
        1 => Just(Data::Bytes("{\"a\":1}".into())),
    ];
    let extensions = prop::collection::btree_map(
        prop::sample::select(vec!["sequence", "urgent", "tags", "data", "zone"]).prop_map(Text::from),
        prop_oneof![
            (6i32..9).prop_map(ExtensionValue::Integer),
            any::<bool>().prop_map(ExtensionValue::Boolean),
            word().prop_map(ExtensionValue::String),
        ],
        0..4,
    )
    .prop_map(|map| map.into_iter().collect());
    let attributes = (word(), word(), word(), prop::option::of(word()), prop::option::of(word()));
    let source = prop::sample::select(vec![name("shop"), name("other"), name("third")]);
    (attributes, extensions, data, tags(), source, prop::option::of(Just("application/json".into()))).prop_map(
        |((id, source, ty, subject, time), extensions, data, tags, source_name, datacontenttype)| {
            let unique = data
                .json()
                .is_none_or(|json| eventyard_event::json::validate(json, 127).is_ok_and(|shape| shape.keys_unique));
            Envelope {
                id: EventId::new(Timestamp::EPOCH, [0; 10]),
                namespace: Name::default_namespace(),
                source_name,
                tags,
                received_at: Timestamp::EPOCH,
                hop_count: 0,
                keys_unique: unique,
                event: Event { id, source, ty, subject, time, datacontenttype, extensions, data, ..Event::default() },
            }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn rules_match_together_as_each_does_alone(rules in prop::collection::vec(rule(), 0..8), envelope in envelope()) {
        let set = RuleSet::compile(rules);
        let view = View::new(&envelope);
        let expected: Vec<&Rule> = set.rules().iter().filter(|rule| {
            rule.enabled
                && rule.namespace == envelope.namespace
                && (rule.from.is_empty() || rule.from.contains(&envelope.source_name))
                && rule.tags.iter().all(|tag| envelope.tags.contains(tag))
                && !rule.not_tags.iter().any(|tag| envelope.tags.contains(tag))
                && rule.pattern.as_ref().is_none_or(|pattern| matches(pattern, &view))
                && rule.when.as_ref().is_none_or(|when| when.passes(&envelope.event) == Ok(true))
        }).collect();
        let explained = set.explain(&envelope, None);
        let matched = explained.rules.iter().filter(|rule| rule.matched).count();
        prop_assert_eq!(matched, expected.len());
        let places = |rules: &[&Rule]| -> Vec<usize> {
            rules.iter().map(|rule| set.rules().iter().position(|other| std::ptr::eq(*rule, other)).unwrap()).collect()
        };
        prop_assert_eq!(places(&set.matches(&envelope)), places(&expected));
    }
}
