//! Who answers a sender that waits.

use super::{codes, folder, load};

const SOURCES: &str = r#"
[source.ask]
kind = "http"
path = "/ask"
reply = "sync"
tags = ["front"]

[source.other]
kind = "http"
path = "/other"
reply = "sync"

[source.silent]
kind = "http"
path = "/silent"

[sink.s]
kind = "discard"
"#;

const EVERYTHING: &str = r#"
[[rule]]
name = "everything"
from = ["ask"]
target = { sink = "s", reply = true }
"#;

const SPECIAL: &str = r#"
[[rule]]
name = "special"
pattern = { type = ["special"] }
target = { sink = "s", reply = true }
"#;

/// The codes that a project with these sources and rules is refused or warned with.
fn said_of(rules: &[&str]) -> Vec<&'static str> {
    let text = format!("{SOURCES}{}", rules.concat());
    match load(folder(&[("eventyard.toml", &text)]).path()) {
        Ok((_, warnings)) => codes(&warnings),
        Err(report) => codes(&report),
    }
}

#[test]
fn a_rule_for_everything_may_stand_behind_the_others_and_not_before() {
    assert!(said_of(&[SPECIAL, EVERYTHING]).is_empty());
    // Before it, it leaves the other source to it.
    assert!(said_of(&[EVERYTHING, SPECIAL]).is_empty());
    let of_ask = SPECIAL.replace("special\"\n", "asked\"\n").replace("pattern", "from = [\"ask\"]\npattern");
    assert_eq!(said_of(&[EVERYTHING, &of_ask, SPECIAL]), ["reply_shadowed"]);
    assert!(said_of(&[&of_ask, EVERYTHING, SPECIAL]).is_empty());
    assert_eq!(said_of(&[EVERYTHING, &EVERYTHING.replace("everything", "again"), SPECIAL]), ["reply_shadowed"]);
    // A rule that is not enabled, or a target that does not answer, is in nobody's way.
    let off = EVERYTHING.replace("target", "enabled = false\ntarget");
    assert!(said_of(&[&off, &of_ask, SPECIAL]).is_empty());
    let mute = EVERYTHING.replace(", reply = true", "");
    assert!(said_of(&[&mute, &of_ask, SPECIAL]).is_empty());
}

#[test]
fn a_source_that_nobody_answers_and_an_answer_that_nobody_waits_for_are_warned_of() {
    assert_eq!(said_of(&[EVERYTHING]), ["reply_unused"], "`other` waits in vain");
    let of_silent = SPECIAL.replace("pattern", "from = [\"silent\"]\npattern").replace("special\"\n", "silent\"\n");
    assert_eq!(said_of(&[SPECIAL, &of_silent]), ["reply_unused"], "`silent` does not wait");
    let tagged = |tags: &str| SPECIAL.replace("pattern", &format!("{tags}\npattern"));
    assert_eq!(said_of(&[&tagged("tags = [\"front\"]")]), ["reply_unused"], "`other` has no such tag");
    assert_eq!(said_of(&[&tagged("not_tags = [\"front\"]")]), ["reply_unused"], "`ask` has that tag");
    assert_eq!(said_of(&[SPECIAL, &tagged("tags = [\"back\"]").replace("special\"\n", "back\"\n")]), ["reply_unused"]);
}
