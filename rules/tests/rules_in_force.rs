//! Rules as they stand in a file, from their text to what they match: the reader's words for a wrong pattern, the
//! rule set, and explanations. Expected texts lie in `golden/`; `EVENTYARD_BLESS=1` writes them anew.

use std::path::Path;
use std::sync::Arc;

use eventyard_event::{Data, Envelope, Event, EventId, Name, Timestamp};
use eventyard_rules::file::{Host, read_rules};
use eventyard_rules::reader::{Document, Reading};
use eventyard_rules::transform::{Seen, Subject, Transform};
use eventyard_rules::{Explanation, Report, Rule, RuleSet, View, run_tests};

/// Reads a file of rules; the targets may be left out in `text`.
fn read(text: &str) -> (Vec<Rule>, Report) {
    let file: Arc<str> = Arc::from("rules/orders.toml");
    let document = Document::parse(text);
    let reading = Reading::new(&file, &document, &|_| Ok(None));
    let host = Host { http_target: &|_| None, event_file: &|_| Err("there is none".to_owned()), text };
    let rules = read_rules(&reading.root(&document), &host).into_iter().map(|read| read.rule).collect();
    let mut report = Report::new();
    report.add_source(&file, text);
    reading.finish(&mut report);
    (rules, report)
}

fn rules(text: &str) -> RuleSet {
    let (rules, report) = read(text);
    assert!(report.is_empty(), "{report}");
    RuleSet::compile(rules)
}

/// A rule called `name` with these lines and a target.
fn rule(name: &str, lines: &str) -> String {
    format!("[[rule]]\nname = \"{name}\"\ntarget = {{ function = \"f\" }}\n{lines}\n")
}

fn event(ty: &str, data: &str) -> Envelope {
    Envelope {
        id: EventId::new(Timestamp::EPOCH, [0; 10]),
        namespace: Name::default_namespace(),
        source_name: Name::new("shop").expect("a name"),
        tags: vec!["eu".to_owned(), "finance".to_owned()],
        received_at: Timestamp::EPOCH,
        hop_count: 0,
        keys_unique: true,
        event: Event {
            id: "1".into(),
            source: "/sources/shop".into(),
            ty: ty.into(),
            data: Data::Json(data.to_owned().into()),
            ..Event::default()
        },
    }
}

fn names(rules: &RuleSet, event: &Envelope) -> Vec<String> {
    rules.matches(event).iter().map(|rule| rule.name.to_string()).collect()
}

fn golden(name: &str, found: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    if std::env::var_os("EVENTYARD_BLESS").is_some() {
        std::fs::write(&path, found).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(found == expected, "{name} differs from what is expected; found:\n{found}");
}

#[test]
fn mistakes_in_patterns_are_shown_where_they_stand() {
    let text = r#"[[rule]]
name = "bare"
target = { function = "f" }
[rule.pattern]
type = "order.created"
data.amount = 5
data.kind = { prefix = "a" }
data.total = { numeric = [">", 5] }

[[rule]]
name = "operators"
target = { function = "f" }
[rule.pattern]
type = [{ prefx = "order." }]
subject = [{ startsWith = "eu/" }]
data.amount = [{ numeric = [">", "1000"] }, { numeric = ["<", 5, ">", 1] }, { numeric = [">", 5, "<", 3] }]
data.ip = [{ cidr = "10.0.0.0/99" }, { cidr = "localhost" }]
data.path = [{ wildcard = "a**b" }, { wildcard = 'C:\Temp\*' }]
data.not = [{ anything-but = [1, "a"] }, { anything-but = { numeric = [">", 5] } }, { anything-but = [] }]
data.when = [2027-01-01]
data.list = []
data.both = [{ prefix = "a", suffix = "b" }]
data.prefixes = [{ prefix = ["a", "b"] }]

[[rule]]
name = "from-eventbridge"
target = { function = "f" }
pattern = '''
{
  "source": ["aws.ec2"],
  "detail-type": ["EC2 Instance State-change Notification"],
  "detail": { "state": ["running"] }
}
'''

[[rule]]
name = "broken-json"
target = { function = "f" }
pattern = '''
{
  "type": ["a",]
}
'''

[[rule]]
name = "escaped-json"
target = { function = "f" }
pattern = "{\"type\": [{\"sufix\": \"x\"}]}"

[[rule]]
name = "ors"
target = { function = "f" }
[rule.pattern]
"$or" = [{ type = ["a"] }]
data."$or" = [{ prefix = ["a"] }, { x = [1] }]
data.x = [1]
"data.x" = [2]
"$and" = [{ type = ["a"] }]
"#;
    let (_, report) = read(text);
    golden("wrong_patterns.txt", &report.render(false));
}

#[test]
fn toml_and_json_say_the_same() {
    let rules = rules(
        &[
            rule(
                "toml",
                r#"[rule.pattern]
type = ["order.created"]
data.amount = [{ numeric = [">", 1_000] }, 0x10, 1.50]
data.customer = { name = [{ prefix = "A" }], "address.city" = ["Ulm"] }"#,
            ),
            rule(
                "json",
                r#"pattern = '''{"data": {"amount": [{"numeric": [">", 1000]}, 16, 1.50],
                "customer": {"address": {"city": ["Ulm"]}, "name": [{"prefix": "A"}]}}, "type": ["order.created"]}'''"#,
            ),
            rule("path", r#"pattern = { "$.type" = ["order.created"] }"#),
        ]
        .concat(),
    );
    let [toml, json, path] = rules.rules() else { panic!("three rules") };
    assert_eq!(toml.pattern, json.pattern);
    assert_eq!(path.pattern.as_ref().unwrap().to_json(), r#"{"type":["order.created"]}"#);
    assert_eq!(
        toml.pattern.as_ref().unwrap().to_json(),
        r#"{"data.amount":[{"numeric":[">",1000]},16,1.50],"data.customer.address.city":["Ulm"],"data.customer.name":[{"prefix":"A"}],"type":["order.created"]}"#
    );
}

#[test]
fn a_rule_sees_what_its_filters_let_through() {
    let rules = rules(
        &[
            rule("all-of-shop", "from = [\"shop\"]"),
            rule("other-source", "from = [\"till\"]"),
            rule("either-source", "from = [\"till\", \"shop\"]"),
            rule("tagged", "from = [\"shop\"]\ntags = [\"eu\", \"finance\"]"),
            rule("tag-missing", "from = [\"shop\"]\ntags = [\"eu\", \"us\"]"),
            rule("left-out", "from = [\"shop\"]\nnot_tags = [\"finance\"]"),
            rule("not-left-out", "from = [\"shop\"]\nnot_tags = [\"us\"]"),
            rule("off", "from = [\"shop\"]\nenabled = false"),
            rule("elsewhere", "from = [\"shop\"]\nnamespace = \"other\""),
            rule("by-pattern", "pattern = { type = [\"order.created\"] }"),
            rule("by-tag-in-pattern", "pattern = { tags = [\"eu\"] }"),
            rule("both", "from = [\"till\"]\npattern = { type = [\"order.created\"] }"),
        ]
        .concat(),
    );
    let expected = ["all-of-shop", "either-source", "tagged", "not-left-out", "by-pattern", "by-tag-in-pattern"];
    assert_eq!(names(&rules, &event("order.created", "{}")), expected);
    let mut other = event("order.created", "{}");
    other.namespace = Name::new("other").unwrap();
    assert_eq!(names(&rules, &other), ["elsewhere"]);
    assert!(rules.rule("other", "elsewhere").is_some() && rules.rule("default", "elsewhere").is_none());

    // Explaining agrees with matching, for every rule.
    for event in [event("order.created", "{}"), other, event("x", "{}")] {
        let matched = names(&rules, &event);
        let explained = rules.explain(&event, None);
        for rule in &explained.rules {
            assert_eq!(rule.matched, matched.contains(&rule.rule.to_string()), "{rule:?}");
        }
        assert_eq!(explained.nearest.is_none(), !matched.is_empty());
    }
}

#[test]
fn the_hash_is_of_what_the_rules_say() {
    let one = rule("one", "pattern = { data = { a = [1], b = [2] } }");
    let two = rule("two", "from = [\"shop\", \"till\"]\ntags = [\"a\", \"b\"]");
    let hash = |text: &str| rules(text).hash();
    let base = hash(&format!("{one}{two}"));
    // Stored with every delivery: it must be the same in the next version too.
    assert_eq!(base.map(|byte| format!("{byte:02x}")).concat(), HASH);
    for same in [
        format!("{two}{one}"),
        format!(
            "# a remark\n{}{two}",
            rule("one", "description = \"words\"\npattern = '{\"data.b\":[2],\"data.a\":[1]}'")
        ),
        format!("{one}{}", rule("two", "from = [\"till\", \"shop\"]\ntags = [\"b\", \"a\"]")),
        format!(
            "{one}{}",
            rule(
                "two",
                "from = [\"shop\", \"till\"]\ntags = [\"a\", \"b\"]\n[[rule.test]]\nmatches = true\nevent = {}"
            )
        ),
    ] {
        assert_eq!(hash(&same), base, "{same}");
    }
    for other in [
        one.clone(),
        format!("{}{two}", one.replace("[2]", "[3]")),
        format!("{}{two}", one.replace("\"f\"", "\"g\"")),
        format!("{}{two}", one.replace("\"one\"", "\"uno\"")),
        format!("{}{two}", rule("one", "enabled = false\npattern = { data = { a = [1], b = [2] } }")),
        format!("{}{two}", rule("one", "order_by = \"data.a\"\npattern = { data = { a = [1], b = [2] } }")),
    ] {
        assert_ne!(hash(&other), base, "{other}");
    }
}

const HASH: &str = "035e9b1ce1ae8ec0df4fce2f9562d3d4";

#[test]
fn tests_of_rules_are_run_with_the_tags_of_their_source() {
    let rules = rules(&rule(
        "big",
        r#"from = ["shop"]
tags = ["finance"]
enabled = false
pattern = { type = ["order.created"], data = { amount = [{ numeric = [">", 1000] }] } }
[[rule.test]]
name = "large"
event = { type = "order.created", data = { amount = 2000 } }
matches = true
[[rule.test]]
name = "small"
event = { type = "order.created", data = { amount = 5 } }
matches = true
[[rule.test]]
name = "without the tag"
tags = []
event = { type = "order.created", data = { amount = 2000 } }
matches = false"#,
    ));
    let tags_of = |source: &Name| {
        assert_eq!(source.as_str(), "shop");
        vec!["finance".to_owned()]
    };
    let failures = run_tests(rules.rules(), tags_of, |_, _, _| None);
    let failed: Vec<&str> = failures.iter().map(|failure| failure.test.name.as_str()).collect();
    assert_eq!(failed, ["small"]);
    assert!(!failures[0].explanation.matched);
    // The source has lost its tag: now the test of the large order fails too.
    assert_eq!(run_tests(rules.rules(), |_| Vec::new(), |_, _, _| None).len(), 2);
}

/// An explanation as text.
fn told(explanation: &Explanation) -> String {
    let mut text = String::new();
    for rule in &explanation.rules {
        text.push_str(&format!("{} {}\n", rule.rule, if rule.matched { "matches" } else { "does not match" }));
        for field in &rule.fields {
            let found = field.found.as_deref().unwrap_or("nothing");
            let sign = if field.ok { "ok " } else { "no " };
            text.push_str(&format!("  {sign} {}: wanted {}, found {found}\n", field.path, field.wanted));
            if let Some(note) = &field.note {
                text.push_str(&format!("      {note}\n"));
            }
        }
    }
    let nearest = explanation.nearest.as_ref().map_or("none".to_owned(), ToString::to_string);
    text.push_str(&format!("nearest: {nearest}\n"));
    text
}

#[test]
fn explanations_say_the_commonest_reasons_in_words() {
    let data = r#"{
        "amount": "5000", "count": 5, "flag": true, "flagText": "true", "nothing": null, "big": 9007199254740993,
        "status": "PAID ", "state": "Running", "city": "Ulmm", "path": "eu/west/1", "kind": "refund",
        "customer": {"id": 7, "name": "Ada"}, "empty": {}, "list": [],
        "lines": [{"sku": "a", "count": 1}, {"sku": "b", "count": 2}], "there": 1
    }"#;
    let rules = rules(
        &[
            rule(
                "types",
                r#"[rule.pattern.data]
amount = [{ numeric = [">", 1000] }]
count = ["5"]
flag = ["true"]
flagText = [true]
nothing = ["null"]
big = [9007199254740992]"#,
            ),
            rule(
                "spelling",
                r#"[rule.pattern.data]
status = ["PAID"]
state = ["running"]
city = ["Ulm"]
path = ["eu/west", "eu/*/2"]
kind = [{ anything-but = ["refund", "return"] }]
there = [{ exists = false }]"#,
            ),
            rule("wildcard-as-text", "pattern = { data.path = [\"eu/*/1\"] }"),
            rule(
                "missing",
                r#"[rule.pattern]
amount = [1]
type = ["order.created"]
data.custmer.id = [7]
data.customer = ["Ada"]
data.empty = ["x"]
data.list = ["x"]
data.Count = [5]
data.id = [7]
data.zzz = [1]"#,
            ),
            rule("two-elements", "pattern = { data.lines = { sku = [\"a\"], count = [2] } }"),
            rule("either", "pattern = { type = [\"order.created\"], \"$or\" = [{ data.a = [1], data.b = [1] }, { data.count = [6] }] }"),
            rule("from", "from = [\"shopp\", \"till\"]\ntags = [\"EU\", \"eu\"]\nnot_tags = [\"finance\"]"),
            rule("off", "from = [\"shop\"]\nenabled = false"),
        ]
        .concat(),
    );
    let event = event("order.created", data);
    let mut text = told(&rules.explain(&event, None));

    text.push_str("\n-- data that is not JSON\n");
    let mut bytes = event.clone();
    bytes.event.data = Data::Bytes("<order/>".into());
    bytes.event.datacontenttype = Some("text/plain".into());
    text.push_str(&told(&rules.explain(&bytes, Some("two-elements"))));
    text.push_str("\n-- no data\n");
    bytes.event.data = Data::None;
    text.push_str(&told(&rules.explain(&bytes, Some("two-elements"))));
    text.push_str("\n-- no such rule\n");
    text.push_str(&told(&rules.explain(&event, Some("nobody"))));
    golden("explanations.txt", &text);
}

#[test]
fn an_explanation_is_json_as_the_api_gives_it() {
    let rules = rules(&rule("big", "pattern = { data.amount = [{ numeric = [\">\", 1000] }] }"));
    let json = serde_json::to_value(rules.explain(&event("t", "{\"amount\":\"5\"}"), None)).unwrap();
    assert_eq!(
        json,
        serde_json::json!({
            "rules": [{
                "rule": "big",
                "matched": false,
                "fields": [{
                    "path": "data.amount",
                    "wanted": "[{\"numeric\":[\">\",1000]}]",
                    "found": "\"5\"",
                    "ok": false,
                    "note": "the event has the string \"5\", the rule wants a number; a number has no quotes \
                        (and this one would not match either)",
                }],
            }],
            "nearest": "big",
        })
    );
}

#[test]
fn data_of_other_formats_is_looked_into() {
    let rules = rules(
        &[
            rule(
                "xml",
                "order_by = \"data.order.@id\"\n[rule.pattern.data.order]\nsku = [\"b\"]\n\"@id\" = [{ prefix = \"7\" }]",
            ),
            rule("csv", "[rule.pattern]\ndata.sku = [\"b\"]\ndata.count = [\"2\"]"),
            rule("form", "[rule.pattern]\ndata.sku = [\"b\"]\ndata.note = [\"x y\"]"),
            rule("json", "[rule.pattern]\ndata.a = [1]"),
        ]
        .concat(),
    );
    let of = |content_type: &str, data: &'static str| {
        let mut envelope = event("order.created", data);
        envelope.event.datacontenttype = Some(content_type.into());
        if !data.starts_with('{') {
            envelope.event.data = Data::Bytes(data.into());
        }
        envelope
    };
    let xml = "<order id=\"7-1\"><sku>a</sku><sku>b</sku></order>";
    for (content_type, data, wanted) in [
        ("application/xml; charset=utf-8", xml, &["xml"][..]),
        ("application/vnd.shop+xml", xml, &["xml"]),
        ("text/plain", xml, &[]),
        ("text/csv", "sku,count\r\na,1\r\n\"b\",2\r\n", &["csv"]),
        // Two fields never come from different rows.
        ("text/csv", "sku,count\na,2\nb,1\n", &[]),
        ("application/x-www-form-urlencoded", "sku=a&sku=b&note=x+y", &["form"]),
        ("application/json; charset=utf-8", "{\"a\":1}", &["json"]),
        ("application/vnd.shop+json", "{\"a\":1}", &["json"]),
    ] {
        let envelope = of(content_type, data);
        assert_eq!(names(&rules, &envelope), wanted, "{content_type}");
        let explained = rules.explain(&envelope, None).rules;
        let explained: Vec<_> = explained.iter().filter(|rule| rule.matched).map(|rule| rule.rule.as_str()).collect();
        assert_eq!(explained, wanted, "{content_type}");
    }
    let broken = of("text/xml", "<order><sku>b</order>");
    assert!(names(&rules, &broken).is_empty());
    let shown = format!("{:?}", rules.explain(&broken, None));
    assert!(shown.contains("is not what `text/xml` says"), "{shown}");
    let order = rules.rule("default", "xml").and_then(|rule| rule.order_by.clone()).expect("it is ordered");
    let envelope = of("text/xml", xml);
    assert_eq!(order.lookup(&View::new(&envelope)), Some("7-1"));
    let transform = Transform::new([("skus", "data.order.sku")], "<skus>", true).expect("a template");
    let seen = Seen { subject: Subject::Event(&envelope), rule_name: "", rule_arn: "", ingestion_time: "" };
    assert_eq!(transform.apply(&seen).expect("a payload").text, r#"["a","b"]"#);
}
