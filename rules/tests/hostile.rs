//! Events and patterns that somebody built to cost more than they should. Each of these takes milliseconds, and
//! would take hours if the evaluator tried combinations or went back.

use std::fmt::Write as _;

use eventyard_event::{Data, Envelope, Event, EventId, Name, Timestamp};
use eventyard_rules::pattern::limits::{ALTERNATIVES_MAX, DEPTH_MAX, FIELDS_MAX, STARS_MAX};
use eventyard_rules::reference::matches;
use eventyard_rules::{Pattern, View, explain_pattern};

const MEBIBYTE: usize = 1 << 20;

fn matched(pattern: &str, data: String) -> bool {
    let pattern = Pattern::from_json(pattern).unwrap_or_else(|errors| panic!("{errors:#?}"));
    let envelope = Envelope {
        id: EventId::new(Timestamp::EPOCH, [0; 10]),
        namespace: Name::default_namespace(),
        source_name: Name::new("shop").expect("a name"),
        tags: Vec::new(),
        received_at: Timestamp::EPOCH,
        hop_count: 0,
        keys_unique: false,
        event: Event { data: Data::Json(data.into()), ..Event::default() },
    };
    let view = View::new(&envelope);
    let matched = matches(&pattern, &view);
    assert_eq!(explain_pattern(&pattern, &view).iter().all(|field| field.ok), matched);
    matched
}

fn code(pattern: &str) -> &'static str {
    Pattern::from_json(pattern).expect_err("is refused")[0].code
}

#[test]
fn many_stars_against_a_mebibyte_of_what_nearly_fits() {
    let stars = "*a".repeat(STARS_MAX - 1);
    let event = || format!("{{\"x\":\"{}\"}}", "a".repeat(MEBIBYTE));
    assert!(!matched(&format!("{{\"data\":{{\"x\":[{{\"wildcard\":\"{stars}*b\"}}]}}}}"), event()));
    assert!(!matched(&format!("{{\"data\":{{\"x\":[{{\"wildcard\":\"{stars}b*\"}}]}}}}"), event()));
    assert!(matched(&format!("{{\"data\":{{\"x\":[{{\"wildcard\":\"{stars}*\"}}]}}}}"), event()));
    assert_eq!(code(&format!("{{\"x\":[{{\"wildcard\":\"{}\"}}]}}", "*a".repeat(STARS_MAX + 1))), "pattern_limit");
}

#[test]
fn lists_beside_lists_are_not_multiplied() {
    // Five lists of 3,000 elements, and a sixth field that nothing satisfies together with the first.
    let mut event = String::from("{");
    for list in 0..5 {
        let elements = vec!["{\"x\":1}"; 3_000].join(",");
        write!(event, "\"l{list}\":[{elements}],").unwrap();
    }
    event.push_str("\"m\":[{\"x\":1},{\"y\":1}]}");
    let pattern = r#"{"data":{"l0":{"x":[1]},"l1":{"x":[1]},"l2":{"x":[1]},"l3":{"x":[1]},"l4":{"x":[1]},"m":{"x":[1],"y":[1]}}}"#;
    assert!(!matched(pattern, event.clone()));
    assert!(matched(&pattern.replace(r#","y":[1]"#, ""), event));
}

#[test]
fn a_riddle_in_repeated_keys_ends_with_no_match() {
    // Each list is a choice between two elements, and each field a demand on the choices: whether all can be had
    // is a question nobody can answer fast, so the evaluator gives up within its limit.
    let fields = 60;
    let mut event = String::from("{");
    let mut random = 7_u64;
    for _ in 0..200 {
        event.push_str("\"l\":[");
        for element in 0..2 {
            event.push_str(if element == 0 { "{" } else { ",{" });
            let demands: Vec<String> = (0..4)
                .map(|_| {
                    random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    format!("\"f{}\":1", (random >> 33) % (fields - 1))
                })
                .collect();
            event.push_str(&demands.join(","));
            event.push('}');
        }
        event.push_str("],");
    }
    write!(event, "\"l\":[{{\"f{}\":1}},{{\"f0\":1}}]}}", fields - 1).unwrap();
    let demands: Vec<String> = (0..fields).map(|field| format!("\"f{field}\":[1]")).collect();
    // Whatever the answer is, it comes, and explaining agrees with it.
    matched(&format!("{{\"data\":{{\"l\":{{{}}}}}}}", demands.join(",")), event);
}

#[test]
fn repeated_lists_and_deep_lists_take_time_in_proportion() {
    let pattern = r#"{"data":{"a":{"b":[1],"c":[1]}}}"#;
    let repeated = format!("{{{}}}", vec!["\"a\":[{\"b\":1}]"; 20_000].join(","));
    assert!(!matched(pattern, repeated));
    let deep = format!("{{\"a\":{}{{\"b\":1}}{}}}", "[".repeat(120), "]".repeat(120));
    assert!(!matched(pattern, deep));
    let wide = format!("{{\"a\":[{}]}}", vec!["[{\"b\":1},{\"c\":1}]"; 15_000].join(","));
    assert!(!matched(pattern, wide));
    // A long key above many leaves is looked at once, not once for each leaf.
    let long = format!("{{\"{}\":[{}]}}", "k".repeat(MEBIBYTE / 2), vec!["1"; 100_000].join(","));
    assert!(!matched(pattern, long));
}

#[test]
fn ten_thousand_alternatives_are_looked_up_and_one_more_is_refused() {
    let list = |count: usize| (0..count).map(|n| format!("\"order-{n}\"")).collect::<Vec<_>>().join(",");
    let pattern = format!("{{\"data\":{{\"x\":[{}]}}}}", list(ALTERNATIVES_MAX));
    let values = vec!["\"order-x\""; 50_000].join(",");
    assert!(!matched(&pattern, format!("{{\"x\":[{values}]}}")));
    assert!(matched(&pattern, "{\"x\":\"order-9999\"}".to_owned()));
    assert_eq!(code(&format!("{{\"x\":[{}]}}", list(ALTERNATIVES_MAX + 1))), "pattern_limit");
    assert_eq!(code(&format!("{{\"x\":[{{\"anything-but\":[{}]}}]}}", list(ALTERNATIVES_MAX + 1))), "pattern_limit");
}

#[test]
fn depth_fields_and_combinations_have_limits() {
    let nested = |depth: usize| format!("{}[1]{}", "{\"a\":".repeat(depth), "}".repeat(depth));
    assert!(Pattern::from_json(&nested(DEPTH_MAX)).is_ok());
    assert_eq!(code(&nested(DEPTH_MAX + 3)), "pattern_limit");
    assert_eq!(code(&"[".repeat(100_000)), "pattern_json");

    let wide =
        |count: usize| format!("{{{}}}", (0..count).map(|n| format!("\"f{n}\":[1]")).collect::<Vec<_>>().join(","));
    assert!(Pattern::from_json(&wide(FIELDS_MAX)).is_ok());
    assert_eq!(code(&wide(FIELDS_MAX + 1)), "pattern_limit");

    let or = |name: usize, count: usize| {
        let alternatives: Vec<String> = (0..count).map(|n| format!("{{\"f{name}\":[{n}]}}")).collect();
        format!("\"g{name}\":{{\"$or\":[{}]}}", alternatives.join(","))
    };
    assert!(Pattern::from_json(&format!("{{{},{},{}}}", or(0, 10), or(1, 10), or(2, 10))).is_ok());
    assert_eq!(code(&format!("{{{},{},{}}}", or(0, 10), or(1, 10), or(2, 11))), "pattern_limit");
    let thousands: Vec<String> = (0..50).map(|n| or(n, 20)).collect();
    assert_eq!(code(&format!("{{{}}}", thousands.join(","))), "pattern_limit");
}
