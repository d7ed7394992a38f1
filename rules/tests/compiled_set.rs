//! The compiled set and the simple evaluator give the same answers, whatever the patterns and the events are.
//!
//! The properties shrink what fails to something small. What they make takes time to make, so that one more test makes
//! cases by plain dice, many thousands a second: `EVENTYARD_CASES=1000000` runs as many as that.

use eventyard_rules::{Memory, Pattern, PatternSet, reference_matches_json};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

/// A leaf as text of JSON: odd numbers and escapes are spelled in ways that a tree would lose.
fn leaf() -> impl Strategy<Value = String> {
    prop_oneof![
        1 => Just("null".to_owned()),
        1 => any::<bool>().prop_map(|value| value.to_string()),
        1 => (-3i64..4).prop_map(|value| value.to_string()),
        1 => prop::sample::select(vec![
            "1.0", "1e0", "10e-1", "0.5", "5e-1", "-0", "-0.0", "0e7", "2.50", "1E+2", "100", "1e400", "-1.5e-3",
            "9007199254740993", "9007199254740992", "5e-324", "0.1000000000000000055511151231257827", "123456789012345678",
        ]).prop_map(str::to_owned),
        3 => text().prop_map(|text| Value::from(text).to_string()),
        1 => prop::sample::select(vec![
            r#""\u0061""#, r#""\u00e9""#, r#""\ud83d\ude00""#, r#""a\"b""#, r#""\\""#, r#""a\\""#, r#""\/x""#, r#""a\tb\n""#,
            r#""10.0.0.1""#, r#""10.0.0.001""#, r#""10.1.2.3""#, r#""2001:DB8::1""#, r#""2001:db8:0::1""#, r#""::ffff:10.0.0.1""#,
        ]).prop_map(str::to_owned),
    ]
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "[abAB*é]{0,4}",
        1 => "[ab]{0,3}xyzzy[ab]{0,3}",
        1 => "[abÉéKſ😀\\\\\"]{0,12}",
    ]
}

fn key() -> impl Strategy<Value = String> {
    prop_oneof![
        12 => prop::sample::select(vec!["a", "b", "c"]).prop_map(str::to_owned),
        1 => prop::sample::select(vec!["a.b", "b.c", "", "a.", ".a", "abcdefghij", "é", "a\"b", "a\\"]).prop_map(str::to_owned),
    ]
}

/// A key as JSON, now and then with an escape that need not be.
fn spelled(key: &str, odd: bool) -> String {
    if odd && key == "a" { "\"\\u0061\"".to_owned() } else { Value::from(key).to_string() }
}

/// A value as text, with odd spaces; keys may be there twice.
fn value() -> impl Strategy<Value = String> {
    let space = prop::sample::select(vec!["", "", "", " ", "\n  "]);
    leaf().prop_recursive(5, 48, 5, move |inner| {
        let space = space.clone();
        prop_oneof![
            (prop::collection::vec(inner.clone(), 0..5), space.clone())
                .prop_map(|(items, space)| format!("[{space}{}{space}]", items.join(&format!("{space},{space}")))),
            (prop::collection::vec((key(), inner, 0..9), 0..4), space)
                .prop_map(|(members, space)| members_text(&members, space)),
        ]
    })
}

fn members_text(members: &[(String, String, i32)], space: &str) -> String {
    let members: Vec<String> = members
        .iter()
        .map(|(key, value, odd)| format!("{space}{}{space}:{space}{value}{space}", spelled(key, *odd == 0)))
        .collect();
    format!("{{{}}}", members.join(","))
}

fn event() -> impl Strategy<Value = String> {
    (prop::collection::vec((key(), value(), 0..9), 0..5), prop::sample::select(vec!["", " "]))
        .prop_map(|(members, space)| members_text(&members, space))
}

/// An entry of a field's list, as text.
fn entry() -> impl Strategy<Value = String> {
    let operator = |name: &'static str| text().prop_map(move |text| json!({ name: text }).to_string());
    prop_oneof![
        6 => leaf(),
        1 => operator("prefix"),
        1 => operator("suffix"),
        1 => operator("equals-ignore-case"),
        1 => operator("exactly"),
        1 => text().prop_map(|text| json!({"prefix": {"equals-ignore-case": text}}).to_string()),
        1 => text().prop_map(|text| json!({"suffix": {"equals-ignore-case": text}}).to_string()),
        2 => "([abAé]|xyzzy|xyz|\\*[ab]|\\\\\\*|\\\\\\\\){0,4}\\*?".prop_map(|text| json!({"wildcard": text}).to_string()),
        1 => prop::collection::vec(text(), 1..3).prop_map(|texts| json!({"anything-but": texts}).to_string()),
        1 => prop::collection::vec(-2i64..3, 1..3).prop_map(|numbers| json!({"anything-but": numbers}).to_string()),
        1 => (prop::sample::select(vec!["prefix", "suffix", "equals-ignore-case", "wildcard"]), "[abA]{1,2}")
            .prop_map(|(name, text)| json!({"anything-but": {name: text}}).to_string()),
        1 => (-3i64..4, 1i64..4, any::<bool>(), any::<bool>()).prop_map(|(low, width, closed, open)| json!({"numeric": [
            if closed { ">=" } else { ">" }, low, if open { "<" } else { "<=" }, low + width]}).to_string()),
        1 => (prop::sample::select(vec!["=", "<", "<=", ">", ">="]), prop::sample::select(vec!["0", "1.0", "5e-1", "-1", "2.5", "100"]))
            .prop_map(|(sign, number)| format!("{{\"numeric\":[\"{sign}\",{number}]}}")),
        2 => any::<bool>().prop_map(|exists| json!({"exists": exists}).to_string()),
        1 => prop::sample::select(vec!["10.0.0.0/8", "10.0.0.0/32", "0.0.0.0/0", "10.1.0.0/16", "2001:db8::/32", "::/0"])
            .prop_map(|network| json!({"cidr": network}).to_string()),
    ]
}

fn list() -> impl Strategy<Value = String> {
    let many = prop::collection::vec(entry(), 17..24);
    prop_oneof![15 => prop::collection::vec(entry(), 1..4), 1 => many]
        .prop_map(|entries| format!("[{}]", entries.join(",")))
}

fn fields() -> impl Strategy<Value = String> {
    let path = prop_oneof![
        12 => "[abc](\\.[abc]){0,2}",
        1 => prop::sample::select(vec!["", ".a", "a.", "abcdefghij", "é", "a\"b"]).prop_map(str::to_owned),
    ];
    prop::collection::btree_map(path, list(), 1..4).prop_map(|fields| {
        let fields: Vec<String> =
            fields.iter().map(|(path, list)| format!("{}:{list}", Value::from(path.as_str()))).collect();
        fields.join(",")
    })
}

fn pattern() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => fields().prop_map(|fields| format!("{{{fields}}}")),
        1 => (fields(), fields(), fields()).prop_map(|(all, one, other)| format!("{{{all},\"$or\":[{{{one}}},{{{other}}}]}}")),
    ]
}

/// Whether no object has a key twice, or one with a dot.
fn keys_are_unique(text: &str) -> bool {
    eventyard_event::json::validate(text.as_bytes(), 127).is_ok_and(|shape| shape.keys_unique)
}

/// So many cases; `PROPTEST_CASES` for more.
fn cases(cases: u32) -> ProptestConfig {
    let default = ProptestConfig::default();
    let cases = if std::env::var_os("PROPTEST_CASES").is_some() { default.cases } else { cases };
    ProptestConfig { cases, failure_persistence: None, ..default }
}

fn agree(patterns: &[String], event: &str, memory: &mut Memory) -> Result<(), TestCaseError> {
    // A pattern that the generator made and that is refused (two stars in a row) is not asked.
    let patterns: Vec<Pattern> = patterns.iter().filter_map(|pattern| Pattern::from_json(pattern).ok()).collect();
    let expected: Option<Vec<u32>> = (0..)
        .zip(&patterns)
        .map(|(place, pattern)| Some((place, reference_matches_json(pattern, event)?)))
        .collect::<Option<Vec<(u32, bool)>>>()
        .map(|answers| answers.into_iter().filter(|(_, matched)| *matched).map(|(place, _)| place).collect());
    let Some(expected) = expected else { return Ok(()) };
    let set = PatternSet::new(&patterns);
    prop_assert_eq!(set.matches_json(event, false, memory), &*expected, "{}", event);
    if keys_are_unique(event) {
        prop_assert_eq!(set.matches_json(event, true, memory), &*expected, "stopping early: {}", event);
    }
    Ok(())
}

proptest! {
    #![proptest_config(cases(300))]

    #[test]
    fn a_set_matches_what_the_evaluator_matches(patterns in prop::collection::vec(pattern(), 1..8), event in event()) {
        agree(&patterns, &event, &mut Memory::default())?;
    }

    #[test]
    fn elements_of_lists_are_told_apart_as_the_evaluator_does(
        patterns in prop::collection::vec(few_fields(), 1..6), event in lists_of_objects(),
    ) {
        agree(&patterns, &event, &mut Memory::default())?;
    }

    #[test]
    fn nothing_is_left_over_from_the_event_before(patterns in prop::collection::vec(few_fields(), 1..4), events in prop::collection::vec(lists_of_objects(), 2..6)) {
        let mut memory = Memory::default();
        for event in &events {
            agree(&patterns, event, &mut memory)?;
        }
    }
}

/// Patterns that mostly ask for one of a few texts at one path, as rules do for an event's type, and for something else
/// at another.
fn kind_and_more() -> impl Strategy<Value = String> {
    let kind = prop_oneof![
        20 => (0..14).prop_map(|kind| format!("[\"t{kind}\"]")),
        1 => (0..14, 0..14).prop_map(|(one, other)| format!("[\"t{one}\",\"t{other}\"]")),
        1 => Just("[{\"prefix\":\"t\"}]".to_owned()),
    ];
    let more = prop_oneof![
        4 => (0..14).prop_map(|text| format!("\"t{text}\"")),
        1 => (0i32..4).prop_map(|number| number.to_string()),
        1 => prop::sample::select(vec!["t", "t1"]).prop_map(|head| json!({"prefix": head}).to_string()),
        1 => (0..10).prop_map(|tail| json!({"wildcard": format!("t*{tail}")}).to_string()),
        1 => prop::collection::vec((0..14).prop_map(|text| format!("t{text}")), 1..4)
            .prop_map(|texts| json!({"anything-but": texts}).to_string()),
        1 => Just("{\"exists\":false}".to_owned()),
    ];
    (kind, more, 0..12).prop_map(|(kind, more, place)| match place {
        0 => format!("{{\"kind\":{kind}}}"),
        1 => format!("{{\"more\":[{more}]}}"),
        2 => format!("{{\"kind\":{kind},\"x\":[{more}],\"more\":[{more}]}}"),
        _ => format!("{{\"kind\":{kind},\"more\":[{more}]}}"),
    })
}

/// Events for these, with as many kinds as no sender has any reason to send.
fn kinds_and_more() -> impl Strategy<Value = String> {
    let text = || (0..14).prop_map(|text| format!("\"t{text}\"")).boxed();
    let value = || prop_oneof![6 => text(), 1 => Just("1".to_owned()), 1 => Just("null".to_owned())];
    let values = |most| {
        let list = prop::collection::vec(value(), 0..most).prop_map(|values| format!("[{}]", values.join(",")));
        prop_oneof![2 => value(), 1 => list]
    };
    (values(20), values(4), any::<bool>()).prop_map(|(kinds, more, later)| {
        if later {
            format!("{{\"more\":{more},\"kind\":{kinds}}}")
        } else {
            format!("{{\"kind\":{kinds},\"more\":{more}}}")
        }
    })
}

proptest! {
    #![proptest_config(cases(300))]

    #[test]
    fn what_most_patterns_share_is_found_with_the_rest(
        patterns in prop::collection::vec(kind_and_more(), 2..60), events in prop::collection::vec(kinds_and_more(), 1..6),
    ) {
        let mut memory = Memory::default();
        for event in &events {
            agree(&patterns, event, &mut memory)?;
        }
    }
}

/// Patterns of a few fields with values that are likely to be met.
fn few_fields() -> impl Strategy<Value = String> {
    let entry = prop_oneof![
        3 => (0i64..3).prop_map(|value| value.to_string()),
        1 => any::<bool>().prop_map(|exists| json!({"exists": exists}).to_string()),
        1 => (0i64..3).prop_map(|value| json!({"anything-but": value}).to_string()),
    ];
    prop::collection::btree_map("[ab](\\.[ab]){0,2}", prop::collection::vec(entry, 1..3), 1..5).prop_map(|fields| {
        let fields: Vec<String> =
            fields.iter().map(|(path, list)| format!("\"{path}\":[{}]", list.join(","))).collect();
        format!("{{{}}}", fields.join(","))
    })
}

fn lists_of_objects() -> impl Strategy<Value = String> {
    let leaf = (0i64..3).prop_map(Value::from).boxed();
    let value = leaf.prop_recursive(5, 60, 4, |inner| {
        prop_oneof![
            3 => prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            3 => prop::collection::vec((prop::sample::select(vec!["a", "b"]), inner), 0..3)
                .prop_map(|members| Value::Object(members.into_iter().map(|(key, value)| (key.to_owned(), value)).collect::<Map<_, _>>())),
        ]
    });
    prop::collection::btree_map("[ab]|a\\.b", value, 1..3)
        .prop_map(|members| Value::Object(members.into_iter().collect::<Map<_, _>>()).to_string())
}

proptest! {
    #![proptest_config(cases(200))]

    #[test]
    fn no_text_makes_it_panic(
        patterns in prop::collection::vec(pattern(), 1..4), text in "[\\[\\]{}:,\"ab.0-9e\\\\*u ]{0,150}", unique in any::<bool>(),
    ) {
        let patterns: Vec<Pattern> = patterns.iter().filter_map(|pattern| Pattern::from_json(pattern).ok()).collect();
        PatternSet::new(&patterns).matches_json(&text, unique, &mut Memory::default());
        PatternSet::new(&patterns).matches_json(&format!("{{\"a\":{text}"), unique, &mut Memory::default());
    }
}

/// Dice: a xorshift generator.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 11).unwrap_or(0) % bound
    }

    fn one<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len())]
    }

    fn text(&mut self) -> String {
        let parts = ["a", "b", "A", "B", "é", "É", "*", "xyzzy", "😀", "\\", "\"", "ſ", "K"];
        let length = self.below(5);
        (0..length)
            .map(|_| {
                let most = if self.below(3) == 0 { parts.len() } else { 4 };
                parts[self.below(most)]
            })
            .collect()
    }

    fn leaf(&mut self) -> String {
        const ODD: &[&str] = &[
            "null",
            "true",
            "false",
            "1.0",
            "1e0",
            "10e-1",
            "0.5",
            "5e-1",
            "-0",
            "-0.0",
            "0e7",
            "2.50",
            "1E+2",
            "100",
            "1e400",
            "-1.5e-3",
            "9007199254740993",
            "9007199254740992",
            "5e-324",
            "0.1000000000000000055511151231257827",
            "123456789012345678",
            r#""\u0061""#,
            r#""\u00e9""#,
            r#""\ud83d\ude00""#,
            r#""a\"b""#,
            r#""\\""#,
            r#""a\\""#,
            r#""\/x""#,
            r#""a\tb\n""#,
            r#""10.0.0.1""#,
            r#""10.0.0.001""#,
            r#""10.1.2.3""#,
            r#""2001:DB8::1""#,
            r#""2001:db8:0::1""#,
            r#""::ffff:10.0.0.1""#,
        ];
        match self.below(4) {
            0 => self.one(ODD).to_owned(),
            1 => (i32::try_from(self.below(7)).expect("small") - 3).to_string(),
            _ => Value::from(self.text()).to_string(),
        }
    }

    fn key(&mut self) -> &'static str {
        if self.below(14) > 0 {
            self.one(&["a", "b", "c"])
        } else {
            self.one(&["a.b", "b.c", "", "a.", ".a", "abcdefghij", "é", "a\"b"])
        }
    }

    fn value(&mut self, depth: usize) -> String {
        match self.below(if depth > 4 { 4 } else { 8 }) {
            0..=3 => self.leaf(),
            4 | 5 => self.object(depth + 1, 4),
            _ => {
                let items: Vec<String> = (0..self.below(4)).map(|_| self.value(depth + 1)).collect();
                let space = self.one(&["", "", " ", "\n"]);
                format!("[{space}{}{space}]", items.join(&format!("{space},")))
            }
        }
    }

    fn object(&mut self, depth: usize, members: usize) -> String {
        let members: Vec<String> = (0..self.below(members))
            .map(|_| {
                let (key, space) = (self.key(), self.one(&["", "", "", " "]));
                format!("{space}{}{space}:{space}{}{space}", spelled(key, self.below(9) == 0), self.value(depth))
            })
            .collect();
        format!("{{{}}}", members.join(","))
    }

    fn entry(&mut self) -> String {
        let text = self.text();
        match self.below(24) {
            0..=7 => self.leaf(),
            8 => json!({"prefix": text}).to_string(),
            9 => json!({"suffix": text}).to_string(),
            10 => json!({"equals-ignore-case": text}).to_string(),
            11 => json!({"prefix": {"equals-ignore-case": text}}).to_string(),
            12 => json!({"suffix": {"equals-ignore-case": text}}).to_string(),
            13 => json!({"exactly": text}).to_string(),
            14..=16 => {
                let pieces = ["a", "b", "xyz", "xyzzy", "é", "\\*", "\\\\", "*", "*"];
                let glob: String = (0..self.below(6)).map(|_| self.one(&pieces)).collect();
                json!({"wildcard": glob.replace("**", "*").replace("**", "*")}).to_string()
            }
            17 => json!({"anything-but": [text, self.text()]}).to_string(),
            18 => json!({"anything-but": [self.below(4), self.below(4)]}).to_string(),
            19 => {
                let name = self.one(&["prefix", "suffix", "equals-ignore-case", "wildcard"]);
                json!({"anything-but": {name: self.one(&["a", "Ab", "é"])}}).to_string()
            }
            20 => {
                let low = i32::try_from(self.below(7)).expect("small") - 3;
                let high = low + 1 + i32::try_from(self.below(3)).expect("small");
                json!({"numeric": [self.one(&[">", ">="]), low, self.one(&["<", "<="]), high]}).to_string()
            }
            21 => format!(
                "{{\"numeric\":[\"{}\",{}]}}",
                self.one(&["=", "<", "<=", ">", ">="]),
                self.one(&["0", "1.0", "5e-1", "-1", "2.5", "100"])
            ),
            22 => json!({"cidr": self.one(&["10.0.0.0/8", "10.0.0.0/32", "0.0.0.0/0", "10.1.0.0/16", "2001:db8::/32", "::/0"])})
                .to_string(),
            _ => json!({"exists": self.below(2) == 0}).to_string(),
        }
    }

    fn fields(&mut self) -> String {
        let mut fields = std::collections::BTreeMap::new();
        for _ in 0..=self.below(3) {
            let path: Vec<&str> = (0..=self.below(3)).map(|_| self.key()).collect();
            let count = if self.below(20) == 0 { 20 } else { 1 + self.below(3) };
            let entries: Vec<String> = (0..count).map(|_| self.entry()).collect();
            fields.insert(path.join("."), format!("[{}]", entries.join(",")));
        }
        let fields: Vec<String> =
            fields.iter().map(|(path, list)| format!("{}:{list}", Value::from(path.as_str()))).collect();
        fields.join(",")
    }

    fn pattern(&mut self) -> String {
        if self.below(6) > 0 {
            return format!("{{{}}}", self.fields());
        }
        format!("{{{},\"$or\":[{{{}}},{{{}}}]}}", self.fields(), self.fields(), self.fields())
    }
}

/// Sets of many rules that are alike: what is filed by both ends of a wildcard, refused by what most rules share or by
/// the range beside it, and looked at twice or not.
#[test]
fn crowds_of_rules_are_told_apart_as_the_evaluator_does() {
    let mut dice = Dice(0x5eed_5eed_5eed_5eed);
    let mut memory = Memory::default();
    let mut matched = 0;
    for round in 0..150 {
        let patterns: Vec<String> = (0..200)
            .map(|_| {
                let kind = json!({ "kind": [dice.one(&["x", "y", "z"])] });
                let mut pattern = kind.as_object().expect("an object").clone();
                let glob = format!(
                    "{}*{}{}",
                    dice.one(&["a", "aa", "ab", "", "aab"]),
                    dice.one(&["", "", "b*", "c*"]),
                    dice.one(&["a", "ba", "c", "", "cab"]),
                );
                pattern.insert("text".to_owned(), json!([{ "wildcard": glob }]));
                if dice.below(2) == 0 {
                    let low = f64::from(i32::try_from(dice.below(40)).expect("small")) / 10.0 - 1.0;
                    let range =
                        json!([{ "numeric": [dice.one(&[">", ">="]), low, dice.one(&["<", "<="]), low + 0.7] }]);
                    pattern.insert("list.number".to_owned(), range);
                }
                if dice.below(4) == 0 {
                    pattern.insert("list.word".to_owned(), json!([dice.one(&["p", "q"]), { "prefix": "r" }]));
                }
                Value::Object(pattern).to_string()
            })
            .collect();
        let read: Vec<Pattern> = patterns.iter().filter_map(|pattern| Pattern::from_json(pattern).ok()).collect();
        assert!(read.len() > 100);
        let set = PatternSet::new(&read);
        for _ in 0..4 {
            let text =
                |dice: &mut Dice| -> String { (0..dice.below(7)).map(|_| dice.one(&["a", "a", "b", "c"])).collect() };
            // In every tenth round there are so many values that each branch is looked at once.
            let texts: Vec<String> = (0..if round % 10 == 0 { 100 } else { 1 }).map(|_| text(&mut dice)).collect();
            let list: Vec<Value> = (0..dice.below(4))
                .map(|_| {
                    let number = f64::from(i32::try_from(dice.below(40)).expect("small")) / 10.0 - 1.0;
                    json!({ "number": number, "word": dice.one(&["p", "q", "rs", "t"]) })
                })
                .collect();
            let event = json!({ "kind": dice.one(&["x", "y", "z", "w"]), "text": texts, "list": list }).to_string();
            let expected: Vec<u32> = (0..)
                .zip(&read)
                .filter(|(_, pattern)| reference_matches_json(pattern, &event).expect("an object"))
                .map(|(place, _)| place)
                .collect();
            assert_eq!(set.matches_json(&event, true, &mut memory), &*expected, "{event}");
            matched += expected.len();
        }
    }
    assert!(matched > 1000, "{matched}");
}

#[test]
fn dice_find_no_case_in_which_they_differ() {
    let cases = std::env::var("EVENTYARD_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(5_000_u64);
    let seed = std::env::var("EVENTYARD_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1_u64);
    let (mut dice, mut memory) = (Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1), Memory::default());
    let (mut asked, mut matched) = (0_u64, 0_u64);
    for _ in 0..cases {
        let patterns: Vec<String> = (0..=dice.below(6)).map(|_| dice.pattern()).collect();
        let event = dice.object(0, 6);
        let read: Vec<Pattern> = patterns.iter().filter_map(|pattern| Pattern::from_json(pattern).ok()).collect();
        let expected: Vec<u32> = (0..)
            .zip(&read)
            .filter(|(_, pattern)| reference_matches_json(pattern, &event).expect("an object"))
            .map(|(place, _)| place)
            .collect();
        let set = PatternSet::new(&read);
        assert_eq!(set.matches_json(&event, false, &mut memory), &*expected, "{event}\n{patterns:#?}");
        if keys_are_unique(&event) {
            assert_eq!(set.matches_json(&event, true, &mut memory), &*expected, "early: {event}\n{patterns:#?}");
        }
        asked += read.len() as u64;
        matched += expected.len() as u64;
    }
    println!("{cases} cases, {asked} questions, {matched} matches");
    // Dice that never hit would prove nothing.
    assert!(asked > cases && matched > cases / 20);
}
