//! What holds of patterns whatever they and the events are.

use eventyard_event::{Data, Envelope, Event, EventId, Name, Timestamp};
use eventyard_rules::reference::matches;
use eventyard_rules::{Pattern, View, explain_pattern};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

fn envelope(data: Vec<u8>) -> Envelope {
    Envelope {
        id: EventId::new(Timestamp::EPOCH, [0; 10]),
        namespace: Name::default_namespace(),
        source_name: Name::new("shop").expect("a name"),
        tags: Vec::new(),
        received_at: Timestamp::EPOCH,
        hop_count: 0,
        keys_unique: false,
        event: Event { data: Data::Json(data.into()), ..Event::default() },
    }
}

fn matched(pattern: &Value, data: &str) -> bool {
    let pattern = Pattern::from_json(&pattern.to_string()).unwrap_or_else(|errors| panic!("{pattern}: {errors:#?}"));
    let envelope = envelope(data.as_bytes().to_vec());
    let view = View::new(&envelope);
    let matched = matches(&pattern, &view);
    // Explaining and matching never disagree.
    assert_eq!(explain_pattern(&pattern, &view).iter().all(|field| field.ok), matched, "{data}");
    matched
}

fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-3i64..4).prop_map(Value::from),
        "[abAé*]{0,3}".prop_map(Value::from),
    ]
}

/// Objects, lists and leaves over the keys a, b and c.
fn value() -> impl Strategy<Value = Value> {
    scalar().prop_recursive(4, 40, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[abc]", inner, 0..4).prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

fn event() -> impl Strategy<Value = Value> {
    prop::collection::btree_map("[abc]", value(), 1..4).prop_map(|map| Value::Object(map.into_iter().collect()))
}

/// An entry of a field's list.
fn entry() -> impl Strategy<Value = Value> {
    prop_oneof![
        4 => scalar(),
        1 => "[abA]{0,2}".prop_map(|text| json!({"prefix": text})),
        1 => "[abA]{0,2}".prop_map(|text| json!({"suffix": {"equals-ignore-case": text}})),
        1 => "[abA]{0,2}".prop_map(|text| json!({"anything-but": text})),
        1 => "a?\\*b?".prop_map(|text| json!({"wildcard": text})),
        1 => (-3i64..4).prop_map(|number| json!({"numeric": [">=", number]})),
        1 => any::<bool>().prop_map(|exists| json!({"exists": exists})),
    ]
}

/// A pattern as its fields: paths and lists.
fn fields() -> impl Strategy<Value = Vec<(String, Vec<Value>)>> {
    prop::collection::btree_map("data\\.[abc](\\.[abc]){0,2}", prop::collection::vec(entry(), 1..3), 1..5)
        .prop_map(|map| map.into_iter().collect())
}

fn object(fields: &[(String, Vec<Value>)]) -> Value {
    fields.iter().map(|(path, list)| (path.clone(), Value::from(list.clone()))).collect::<Map<_, _>>().into()
}

/// The same event with the keys of every object the other way round.
fn reversed(value: &Value) -> Value {
    match value {
        Value::Object(map) => map.iter().rev().map(|(key, value)| (key.clone(), reversed(value))).collect(),
        Value::Array(items) => items.iter().map(reversed).collect(),
        leaf => leaf.clone(),
    }
}

/// The definition of a match, tried out combination by combination: a leaf for each field, no two of them in
/// different elements of one list. A trail says which elements of which lists a leaf stands in.
fn naive(fields: &[(String, Vec<Value>)], data: &Value) -> bool {
    let mut leaves = Vec::new();
    lay_flat(data, "data".to_owned(), &mut Vec::new(), &mut 0, &mut leaves);
    choose(fields, &leaves, &mut Vec::new())
}

type Trail = Vec<(usize, usize)>;

fn lay_flat(
    node: &Value,
    path: String,
    trail: &mut Trail,
    lists: &mut usize,
    leaves: &mut Vec<(String, Value, Trail)>,
) {
    match node {
        Value::Object(map) => {
            map.iter().for_each(|(key, value)| lay_flat(value, format!("{path}.{key}"), trail, lists, leaves));
        }
        Value::Array(items) => {
            let list = *lists;
            *lists += 1;
            for (place, item) in items.iter().enumerate() {
                if item.is_object() || item.is_array() {
                    trail.push((list, place));
                    lay_flat(item, path.clone(), trail, lists, leaves);
                    trail.pop();
                } else {
                    leaves.push((path.clone(), item.clone(), trail.clone()));
                }
            }
        }
        leaf => leaves.push((path, leaf.clone(), trail.clone())),
    }
}

fn choose(fields: &[(String, Vec<Value>)], leaves: &[(String, Value, Trail)], so_far: &mut Trail) -> bool {
    let Some(((path, list), rest)) = fields.split_first() else { return true };
    let here: Vec<_> = leaves.iter().filter(|(at, _, _)| at == path).collect();
    if here.is_empty() {
        return list.contains(&json!({"exists": false})) && choose(rest, leaves, so_far);
    }
    here.iter().any(|(_, value, trail)| {
        let fits = trail.iter().all(|(list, place)| so_far.iter().all(|(other, at)| other != list || at == place));
        // One leaf alone in an event is what operators are about, and those have cases of their own.
        let accepted = || matched(&json!({"data": {"x": list}}), &json!({"x": value}).to_string());
        fits && accepted() && {
            let length = so_far.len();
            so_far.extend(trail);
            let found = choose(rest, leaves, so_far);
            so_far.truncate(length);
            found
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_match_is_what_its_definition_says(fields in fields(), event in event()) {
        prop_assert_eq!(matched(&object(&fields), &event.to_string()), naive(&fields, &event));
    }

    #[test]
    fn the_order_of_keys_does_not_matter(fields in fields(), event in event()) {
        let pattern = object(&fields);
        let other = Value::Object(pattern.as_object().unwrap().clone().into_iter().rev().collect());
        let expected = matched(&pattern, &event.to_string());
        prop_assert_eq!(matched(&pattern, &reversed(&event).to_string()), expected);
        prop_assert_eq!(matched(&other, &event.to_string()), expected);
    }

    #[test]
    fn or_is_as_many_patterns_as_it_multiplies_out_to(
        common in fields(), first in prop::collection::vec(fields(), 2..4), second in prop::collection::vec(fields(), 2..4),
        event in event(),
    ) {
        let alternatives = |all: &[Vec<(String, Vec<Value>)>]| Value::from(all.iter().map(|one| object(one)).collect::<Vec<_>>());
        let mut nested = object(&common);
        // One `$or` beside the fields, one inside each of its alternatives.
        let inner: Vec<Value> = first.iter().map(|one| {
            let mut one = object(one);
            one["$or"] = alternatives(&second);
            one
        }).collect();
        nested["$or"] = Value::from(inner);
        let event = event.to_string();
        let expected = first.iter().any(|one| second.iter().any(|other| {
            let mut all = object(&common);
            for (path, list) in one.iter().chain(other) {
                all[path] = Value::from(list.clone());
            }
            matched(&all, &event)
        }));
        prop_assert_eq!(matched(&nested, &event), expected);
    }

    #[test]
    fn anything_but_is_the_opposite_for_every_value(texts in prop::collection::vec("[abA]{1,2}", 1..3), value in scalar()) {
        let event = json!({"x": value}).to_string();
        let accepts = |list: Value| matched(&json!({"data": {"x": list}}), &event);
        prop_assert_ne!(accepts(json!([{"anything-but": texts}])), accepts(json!(texts)));
        for operator in ["prefix", "suffix", "equals-ignore-case", "wildcard"] {
            let each: Vec<Value> = texts.iter().map(|text| json!({operator: text})).collect();
            prop_assert_ne!(accepts(json!([{"anything-but": {operator: texts}}])), accepts(json!(each)), "{}", operator);
        }
    }

    #[test]
    fn the_fixed_form_says_the_same(fields in fields(), other in fields()) {
        let either = json!({"$or": [object(&fields), object(&other)]}).to_string();
        for text in [object(&fields).to_string(), either] {
            let pattern = Pattern::from_json(&text).unwrap();
            let fixed = pattern.to_json();
            let again = Pattern::from_json(&fixed).unwrap();
            prop_assert_eq!(&again, &pattern);
            prop_assert_eq!(again.to_json(), fixed);
        }
    }

    #[test]
    fn no_text_makes_the_reader_or_the_evaluator_panic(
        text in "[\\[\\]{}:,\"a$or.0-9e\\\\*u ]{0,40}", data in prop::collection::vec(any::<u8>(), 0..60),
    ) {
        let pattern = Pattern::from_json(&text).or_else(|_| Pattern::from_json(r#"{"data":{"a":[1,{"wildcard":"*"}]}}"#));
        for bytes in [text.into_bytes(), data] {
            let envelope = envelope(bytes);
            let view = View::new(&envelope);
            if let Ok(pattern) = &pattern {
                prop_assert_eq!(matches(pattern, &view), explain_pattern(pattern, &view).iter().all(|field| field.ok));
            }
        }
    }
}
