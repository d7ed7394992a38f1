//! Every code that an attempt, a source or a dead letter may bear has a page: `eventyard errors CODE` never has nothing to say.
//!
//! Codes of the HTTP interface, of projects and of the store stand in lists, which the pages are held against where they are
//! (`src/cli/errors.rs`). Those of connectors and attempts stand where they arise, so they are read out of the sources' text:
//! every literal that is one word and stands where a code does. What stands there and is none is in [`NO_CODES`].

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Calls that take a code, and which of their arguments it is.
const CALLS: &[(&str, usize)] = &[
    ("retryable", 0),
    ("permanent", 0),
    ("passing", 0),
    ("lasting", 0),
    ("fail", 0),
    ("failed", 0),
    ("lost", 0),
    ("refusal", 1),
    ("DecodeError::new", 0),
    ("ConfigError::at", 1),
    ("Undecodable::new", 2),
];

/// Words that stand where a code does and that nobody is ever shown as one.
const NO_CODES: &[&str] = &[
    // What a sink says of what succeeded (`Sent::code`).
    "appended",
    "confirmed",
    "discarded",
    "duplicate",
    "object_written",
    "published",
    "stored",
    "written",
    // What AMQP says, until it is known of what: it becomes `queue_missing` or `exchange_missing`.
    "not_there",
    // A source that has ended has not failed.
    "ended",
    // Whoever asks for a place to go on from is told `seek_failed`, whatever hindered it.
    "seek",
    "stopped",
    // The kinds of security that librdkafka knows.
    "plaintext",
    "sasl_plaintext",
    "sasl_ssl",
    "ssl",
    // Words of reference pages and mistakes.
    "anything",
    "channel",
    "empty",
    "nothing",
    "sink",
    "source",
    "text",
    // What happened to an object, and types of Slack's.
    "deleted",
    "slash_command",
    // Values and keys of settings, and words of sentences.
    "creds",
    "earliest",
    "false",
    "field",
    "fields",
    "jsonl",
    "latest",
    "token",
    "true",
];

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    /// A word of the language or a name, with the paths before it: `DecodeError::new`.
    Name(String),
    Text(String),
    Mark(char),
}

/// The text of a Rust file as tokens: as much as it takes to know what a literal is an argument of.
fn tokens(text: &str) -> Vec<Token> {
    let chars: Vec<char> = text.chars().collect();
    let at = |index: usize| chars.get(index).copied().unwrap_or('\n');
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    let (mut tokens, mut i) = (Vec::new(), 0);
    while i < chars.len() {
        match at(i) {
            '/' if at(i + 1) == '/' => i += chars[i..].iter().take_while(|c| **c != '\n').count(),
            'r' if at(i + 1) == '"' || (at(i + 1) == '#' && matches!(at(i + 2), '"' | '#')) => {
                let marks = chars[i + 1..].iter().take_while(|c| **c == '#').count();
                let start = i + marks + 2;
                let ends = |end: &usize| at(*end) == '"' && (1..=marks).all(|mark| at(end + mark) == '#');
                let end = (start..chars.len()).find(ends).unwrap();
                tokens.push(Token::Text(chars[start..end].iter().collect()));
                i = end + 1 + marks;
            }
            '"' => {
                let start = i + 1;
                i = start;
                while at(i) != '"' {
                    i += if at(i) == '\\' { 2 } else { 1 };
                }
                tokens.push(Token::Text(chars[start..i].iter().collect()));
                i += 1;
            }
            // A character, and no lifetime.
            '\'' if at(i + 1) == '\\' => i += 3 + chars[i + 3..].iter().take_while(|c| **c != '\'').count() + 1,
            '\'' if at(i + 2) == '\'' => i += 3,
            c if is_name(c) => {
                let start = i;
                while is_name(at(i)) || (at(i) == ':' && at(i + 1) == ':') || (at(i) == ':' && at(i - 1) == ':') {
                    i += 1;
                }
                tokens.push(Token::Name(chars[start..i].iter().collect()));
            }
            c => {
                if !c.is_whitespace() {
                    tokens.push(Token::Mark(c));
                }
                i += 1;
            }
        }
    }
    tokens
}

fn is_word(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}

/// The call whose argument stands at `index`, and which one it is.
fn call(tokens: &[Token], index: usize) -> Option<(&str, usize)> {
    let (mut depth, mut commas) = (0, 0);
    for before in (0..index).rev() {
        match &tokens[before] {
            Token::Mark(')' | ']' | '}') => depth += 1,
            Token::Mark('(') if depth == 0 => {
                let Token::Name(name) = tokens.get(before.checked_sub(1)?)? else { return None };
                return Some((name, commas));
            }
            Token::Mark('[' | '{') if depth == 0 => return None,
            Token::Mark('(' | '[' | '{') => depth -= 1,
            Token::Mark(',') if depth == 0 => commas += 1,
            _ => {}
        }
    }
    None
}

/// Whether a code stands at `index`. `values`: what a `match` or an `if` turns into a word is one, too.
fn is_code(tokens: &[Token], index: usize, values: bool) -> bool {
    let before = |back: usize| index.checked_sub(back).and_then(|at| tokens.get(at));
    let name = |token: Option<&Token>, wanted: &str| matches!(token, Some(Token::Name(name)) if name == wanted);
    if before(1) == Some(&Token::Mark(':')) && name(before(2), "code") {
        return true;
    }
    let arrow = |back| before(back) == Some(&Token::Mark('>')) && before(back + 1) == Some(&Token::Mark('='));
    let is_arm = arrow(1) || (before(1) == Some(&Token::Mark('(')) && arrow(2));
    let is_block = before(1) == Some(&Token::Mark('{')) && tokens.get(index + 1) == Some(&Token::Mark('}'));
    if values && (is_arm || is_block) {
        return true;
    }
    // `SendError::retryable` and `Failure::passing` are known by their last name, `new` and `at` by their type.
    call(tokens, index).is_some_and(|(name, argument)| {
        let is_it = |known: &str| name == known || name.ends_with(&format!("::{known}"));
        CALLS.iter().any(|(known, wanted)| is_it(known) && argument == *wanted)
    })
}

fn files(folder: &Path, all: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() {
            files(&path, all);
        } else if name.ends_with(".rs") && !name.ends_with("tests.rs") {
            all.push(path);
        }
    }
}

/// The codes in one file's text, its tests left out.
fn codes_of(text: &str, values: bool) -> BTreeSet<String> {
    let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let tokens = tokens(text);
    let code = |(index, token): (usize, &Token)| match token {
        Token::Text(text) if is_word(text) && is_code(&tokens, index, values) => Some(text.clone()),
        _ => None,
    };
    tokens.iter().enumerate().filter_map(code).collect()
}

#[test]
fn each_code_of_a_connector_and_of_an_attempt_has_a_page() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = BTreeMap::<String, PathBuf>::new();
    for folder in ["connectors/src", "functions/src", "src"] {
        let mut all = Vec::new();
        files(&root.join(folder), &mut all);
        assert!(all.len() > 10, "{folder}");
        for file in all {
            let text = std::fs::read_to_string(&file).unwrap();
            for code in codes_of(&text, folder == "connectors/src") {
                found.entry(code).or_insert_with(|| file.strip_prefix(root).unwrap().to_owned());
            }
        }
    }
    // One of each way in which codes are written: where the reading above goes blind, this says so.
    for known in [
        "no_stream",
        "stream_full",
        "slow_consumer",
        "topic_missing",
        "file_full",
        "not_utf8",
        "bad_value",
        "stale",
        "target_gone",
    ] {
        assert!(found.contains_key(known), "{known} is not found in the sources");
    }
    let stale: Vec<_> = NO_CODES.iter().filter(|word| !found.contains_key(**word)).collect();
    assert!(stale.is_empty(), "not in the sources any more, strike them from the list: {stale:?}");
    let missing: Vec<_> = found
        .iter()
        .filter(|(code, _)| !NO_CODES.contains(&code.as_str()))
        .filter(|(code, _)| !root.join(format!("docs/errors/{code}.md")).exists())
        .map(|(code, file)| format!("{code} ({})", file.display()))
        .collect();
    assert!(missing.is_empty(), "codes without a page in docs/errors: {}", missing.join(", "));
}

#[test]
fn a_code_is_found_wherever_it_may_stand() {
    let text = r#"
        // SendError::retryable("comment", "x")
        Failed { code: "field", message: format!("{code}") }
        SendError::retryable(
            "line_below",
            "words, \" and more",
        );
        ConfigError::at(a("x", 'y', '"'), "second", message);
        Undecodable::new(at, &Bytes::new(), "third", message);
        match x { A => "arm", B(_) => ("arm_of_two", "words of it"), 'a'..='z' => f::<'static>("no") }
        let code = if so { "block" } else { "other_block" };
        shown("no");
    "#;
    let all = |codes: &[&str]| codes.iter().map(|code| (*code).to_owned()).collect::<BTreeSet<_>>();
    assert_eq!(
        codes_of(text, true),
        all(&["arm", "arm_of_two", "block", "field", "line_below", "other_block", "second", "third"])
    );
    assert_eq!(codes_of(text, false), all(&["field", "line_below", "second", "third"]));
}
