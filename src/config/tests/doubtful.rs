//! What is legal and surely not meant is warned of, and what may be meant is not.

use super::{folder, load};
use crate::config::codes;

const MAIN: &str = r#"
[source.orders]
kind = "nats"
servers = "127.0.0.1:4222"
subject = "orders"
type = "order"

[sink.back]
kind = "nats"
servers = "127.0.0.1:4222"
subject = "orders"

[sink.away]
kind = "nats"
servers = "127.0.0.1:4222"
subject = "warehouse"

[sink.s]
kind = "discard"
"#;

/// The warnings about a project with these rules: the code of each, and its message.
fn warned(rules: &str) -> Vec<(&'static str, String)> {
    // Without NATS in this build its blocks are refused; then a project without them is what can be tested.
    let main = if cfg!(feature = "nats") { MAIN } else { "[sink.s]\nkind = \"discard\"\n" };
    warned_beside(main, rules)
}

fn warned_beside(main: &str, rules: &str) -> Vec<(&'static str, String)> {
    let folder = folder(&[("eventyard.toml", main), ("rules/a.toml", rules)]);
    let (_, report) = load(folder.path()).unwrap_or_else(|report| panic!("{report}"));
    report.diagnostics().iter().map(|found| (found.code, found.message.clone())).collect()
}

fn warned_once(rules: &str, code: &str, words: &str) {
    let found = warned(rules);
    let [(found_code, message)] = found.as_slice() else { panic!("{rules}: {found:?}") };
    assert!(*found_code == code && message.contains(words), "{found:?}");
}

fn silent(rules: &str) {
    assert_eq!(warned(rules), [], "{rules}");
}

fn rule(rest: &str) -> String {
    format!("[[rule]]\nname = \"a\"\n{rest}\n")
}

#[test]
fn a_rule_that_no_event_can_match() {
    for (pattern, words) in [
        ("{ type = [1] }", "`type` is always a text"),
        ("{ id = [{ exists = false }] }", "every event has `id`"),
        ("{ customer.name = [\"x\"] }", "`customer` has nothing below it"),
    ] {
        let rule = rule(&format!("target = {{ sink = \"s\" }}\npattern = {pattern}"));
        warned_once(&rule, codes::RULE_NEVER_MATCHES, words);
        silent(&rule.replace("[[rule]]", "[[rule]]\nenabled = false"));
    }
    let tags = "target = { sink = \"s\" }\ntags = [\"x\"]\nnot_tags = [\"x\"]\npattern = { type = [\"a\"] }";
    warned_once(&rule(tags), codes::RULE_NEVER_MATCHES, "the tag `x`");
    silent(&rule(&tags.replace("not_tags = [\"x\"]", "not_tags = [\"y\"]")));
    for pattern in ["{ data.customer.name = [\"x\"] }", "{ tenant = [1] }", "{ subject = [{ exists = false }] }"] {
        silent(&rule(&format!("target = {{ sink = \"s\" }}\npattern = {pattern}")));
    }
}

#[test]
fn a_wildcard_that_is_only_a_star() {
    let with = |glob: &str| {
        rule(&format!("target = {{ sink = \"s\" }}\npattern = {{ data.n = [{{ wildcard = '{glob}' }}] }}"))
    };
    warned_once(&with("*"), codes::WILDCARD_ONLY_STAR, "`data.n`");
    ["*a", "a*", "\\*", ""].into_iter().for_each(|glob| silent(&with(glob)));
}

#[test]
fn a_rule_that_says_what_another_says() {
    let one = "[[rule]]\nname = \"a\"\ndescription = \"x\"\ntarget = { sink = \"s\" }\npattern = { type = [\"a\"], data.n = [1] }\n";
    // The same in other words.
    let same =
        "[[rule]]\nname = \"b\"\ntarget = { sink = \"s\" }\npattern = '{\"data\": {\"n\": [1]}, \"type\": [\"a\"]}'\n";
    warned_once(&format!("{one}{same}"), codes::RULE_REPEATED, "the rule `b` says the same as `a`");
    for other in [
        same.replace("[1]", "[2]"),
        same.replace("sink = \"s\"", "event = { type = \"b\" }"),
        same.replace("name = \"b\"", "name = \"b\"\nfrom = [\"events\"]"),
        same.replace("name = \"b\"", "name = \"b\"\nenabled = false"),
        same.replace("name = \"b\"", "name = \"b\"\norder_by = \"subject\""),
        same.replace("sink = \"s\"", "sink = \"s\", timeout = \"3s\""),
    ] {
        silent(&format!("{one}{other}"));
    }
}

#[test]
fn a_field_that_no_test_event_has() {
    let with = |field: &str, event: &str| {
        rule(&format!(
            "target = {{ sink = \"s\" }}\npattern = {{ {field} = [{{ numeric = [\">\", 5] }}] }}\n[[rule.test]]\n\
             event = {{ type = \"o\", data = {event} }}\nmatches = false"
        ))
    };
    warned_once(&with("data.amuont", "{ amount = 1 }"), codes::FIELD_UNKNOWN, "`data.amuont`, which no test event has");
    silent(&with("data.amount", "{ amount = 1 }"));
    silent(&with("data.lines.amount", "{ lines = [{ x = 1 }, { amount = 1 }] }"));
    // Without tests nothing is known of the events; and another rule's tests may know the field.
    silent(&rule("target = { sink = \"s\" }\npattern = { data.amuont = [1] }"));
    let other = with("data.amount", "{ amount = 1, total = 2 }").replace("\"a\"", "\"b\"");
    silent(&format!("{}{other}", with("data.total", "{ amount = 1 }")));
    // A field that may be missing need not be there.
    silent(&rule(
        "target = { sink = \"s\" }\npattern = { type = [\"o\"], data.coupon = [{ exists = false }] }\n[[rule.test]]\n\
         event = { type = \"o\" }\nmatches = true",
    ));
}

#[test]
fn a_rule_whose_event_it_matches_again() {
    let with = |rest: &str| rule(&format!("target = {{ event = {{ type = \"big\" }} }}\n{rest}"));
    warned_once(&with("pattern = { data.n = [1] }"), codes::RULE_FEEDS_ITSELF, "the same data");
    warned_once(
        &with("pattern = { type = [\"big\", \"o\"], data.n = [1] }"),
        codes::RULE_FEEDS_ITSELF,
        "the same data",
    );
    silent(&with("pattern = { type = [\"o\"], data.n = [1] }"));
    silent(&with("pattern = { source = [{ anything-but = { prefix = \"/rules/\" } }], data.n = [1] }"));
    silent(&with("from = [\"events\"]\npattern = { data.n = [1] }"));
    silent(&with("when = \"hops < 2\"\npattern = { data.n = [1] }"));
    silent(&with("pattern = { customer = [\"x\"], data.n = [1] }"));
}

#[test]
#[cfg(feature = "nats")]
fn a_rule_that_writes_where_its_source_reads() {
    let with = |sink: &str, rest: &str| rule(&format!("target = {{ sink = \"{sink}\" }}\n{rest}"));
    for rest in ["from = [\"orders\"]", "pattern = { data.n = [1] }", "pattern = { type = [\"order\"] }"] {
        warned_once(&with("back", rest), codes::RULE_FEEDS_ITSELF, "what the source `orders` reads");
        silent(&with("away", rest));
    }
    silent(&with("back", "from = [\"events\"]"));
    silent(&with("back", "pattern = { type = [\"other\"] }"));
    silent(&with("back", "from = [\"orders\"]\nwhen = \"NOT EXISTS done\""));
}

#[test]
#[cfg(feature = "amqp")]
fn a_rule_that_publishes_to_the_queue_of_its_source() {
    let warned = |source: &str, sink: &str, host: &str| {
        let main = format!(
            "[source.in]\nkind = \"amqp\"\nurl = \"amqp://127.0.0.1:5672/%2f\"\n{source}\n\n\
             [sink.back]\nkind = \"amqp\"\nurl = \"amqp://127.0.0.1:5672/{host}\"\n{sink}\n"
        );
        warned_beside(&main, &rule("target = { sink = \"back\" }\nfrom = [\"in\"]"))
    };
    let bound = "queue = \"orders\"\nexchange = \"shop\"";
    let to_shop = |key: &str| format!("exchange = \"shop\"\nrouting_key = \"{key}\"");
    let to_orders = "routing_key = \"orders\"";
    for (source, sink) in [
        ("queue = \"orders\"", to_orders),
        (bound, &to_shop("order.{data.country}")),
        (&format!("{bound}\nrouting_key = [\"x\", \"y\"]"), &to_shop("y")),
    ] {
        let found = warned(source, sink, "%2f");
        let [(codes::RULE_FEEDS_ITSELF, message)] = found.as_slice() else { panic!("{source}, {sink}: {found:?}") };
        assert!(message.contains("what the source `in` reads"), "{message}");
        assert_eq!(warned(source, sink, "other"), [], "another virtual host");
    }
    for (source, sink) in [
        ("queue = \"orders\"", "routing_key = \"others\""),
        ("queue = \"orders\"", &to_shop("orders")),
        (bound, "exchange = \"depot\"\nrouting_key = \"x\""),
        (&format!("{bound}\nrouting_key = \"x\""), &to_shop("y")),
    ] {
        assert_eq!(warned(source, sink, "%2f"), [], "{source}, {sink}");
    }
}

/// Two topics, each read by a source and written by a sink, and whatever is said of the second source besides.
#[cfg(feature = "kafka")]
fn two_topics(more: &str) -> String {
    let block = |name: &str, more: &str| {
        format!(
            "[source.{name}]\nkind = \"kafka\"\nbrokers = \"127.0.0.1:9092\"\ntopics = \"{name}\"\ngroup = \"g\"\n{more}\n\
             [sink.to-{name}]\nkind = \"kafka\"\nbrokers = \"127.0.0.1:9092\"\ntopic = \"{name}\"\n"
        )
    };
    block("a", "") + &block("b", more)
}

/// Row R3.
#[cfg(feature = "kafka")]
#[test]
fn a_circle_of_rules_by_topics_is_refused_where_it_is_certain() {
    let rules = |there: &str, back: &str, input: &str| {
        format!(
            "[[rule]]\nname = \"there\"\nfrom = [\"a\"]\ntarget = {{ sink = \"to-b\"{input} }}\n{there}\n\
             [[rule]]\nname = \"back\"\nfrom = [\"b\"]\ntarget = {{ sink = \"to-a\" }}\n{back}\n"
        )
    };
    let order = "pattern = { type = [\"order\"], data = { paid = [true] } }";
    for (there, back, input) in [("", "", ""), (order, order, ""), (order, "", ", input = \"event\""), ("", order, "")]
    {
        let rules = rules(there, back, input);
        let found = super::refused(&[("eventyard.toml", &two_topics("")), ("rules/a.toml", &rules)]);
        assert_eq!(super::codes(&found), ["event_cycle"], "{found}");
        assert!(["`a` by `there` → ", "`b` by `back` → "].iter().all(|way| found.to_string().contains(way)), "{found}");
    }
    let other = "pattern = { data = { paid = [false] } }";
    for (there, back, input, more) in [
        (order, other, "", ""),
        ("", "", ", input = \"data\"", ""),
        ("", "", "", "filter = { data = { paid = [true] } }"),
        ("", "", "", "codec = \"json\""),
        ("", "when = \"subject = 'x'\"", "", ""),
        ("tags = [\"x\"]", "", "", ""),
        ("", "pattern = { partition = [1] }", "", ""),
        ("", "enabled = false", "", ""),
    ] {
        assert_eq!(warned_beside(&two_topics(more), &rules(there, back, input)), [], "{there} {back} {input} {more}");
    }
}
