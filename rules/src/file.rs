//! Reads `[[rule]]` tables.
//!
//! A rule's mistakes are reported, and reading goes on: with the rest of the rule, and with the next one. What only
//! the whole project can say (whether a source or a function of that name exists, whether another file has a rule
//! of the same name) is left to whoever has read all files: [`ReadRule`] keeps the places for it.

mod input;

mod keys;

mod retry;

mod target;

mod test;

use eventyard_event::Name;
use toml::de::DeValue;

pub use keys::{RETRY, RULE};
pub use retry::{ATTEMPTS_MAX, BACKOFF_MAX, BACKOFF_MIN, MAX_AGE_MAX, read_retry};
pub use target::{CONCURRENCY_MAX, OBJECT_BYTES_RANGE, TIMEOUT_MAX};
pub use test::TESTS_MAX;

use crate::cesql::Expression;
use crate::codes;
use crate::diagnostic::{Diagnostic, Place};
use crate::path::Path;
use crate::pattern::Pattern;
use crate::reader::Table;
use crate::rule::{OrderAfterDead, Rule};
use crate::target::{Input, Target};
use crate::text::Settings;

/// The most tags a rule or a source may name; more is no word to find something by.
pub const TAGS_MAX: usize = 64;

/// The most targets of one rule. Each is a delivery of its own for each event.
pub const TARGETS_MAX: usize = 256;

/// What reading a rule needs of its caller, who knows files and connectors.
pub struct Host<'a> {
    /// Checks `http = { … }` of a target against the keys of an `http` sink, reports what is wrong, and gives the
    /// settings back as that sink reads them.
    pub http_target: &'a dyn Fn(Table<'_>) -> Option<Settings>,
    /// The text of a test's event file, by its path relative to the project folder; an error says why it cannot
    /// be had.
    pub event_file: &'a dyn Fn(&str) -> Result<String, String>,
    /// The whole text of the file that is read: a pattern that is a string of JSON is pointed into.
    pub text: &'a str,
}

/// A rule and the places in it that a later check may point at.
#[derive(Clone, Debug)]
pub struct ReadRule {
    /// The rule.
    pub rule: Rule,
    /// Whether nothing was wrong with it. If something was, the rule holds what could be read: enough to find
    /// names that do not exist; a project with such a rule never comes into force.
    pub is_whole: bool,
    /// Where its name stands.
    pub name_place: Place,
    /// Where each name of `from` stands.
    pub from_places: Vec<Place>,
}

/// Reads all `[[rule]]` of a table, and reports what is wrong with each.
#[must_use]
pub fn read_rules(file: &Table<'_>, host: &Host<'_>) -> Vec<ReadRule> {
    file.tables("rule", "[[rule]]").into_iter().filter_map(|table| read_rule(table, host)).collect()
}

fn read_rule(mut table: Table<'_>, host: &Host<'_>) -> Option<ReadRule> {
    let errors_before = table.reading().error_count();
    let name = table.name("name");
    table.require("name", "give the rule a name: name = \"…\"");
    if let Some(name) = &name {
        table.set_title(format!("[[rule]] `{name}`"));
    }
    let namespace = table.name("namespace").unwrap_or_else(Name::default_namespace);
    let description = table.string("description").unwrap_or_default();
    let enabled = table.boolean("enabled").unwrap_or(true);
    let (from, from_places): (Vec<Name>, Vec<Place>) = table.names("from").into_iter().unzip();
    let tags = read_tags(&table, "tags");
    let not_tags = read_tags(&table, "not_tags");
    let when = read_when(&table, host);
    let pattern = read_pattern(&table, host);
    if !table.has("pattern") && !table.has("when") && from.is_empty() && !table.has("from") {
        let message = format!("{} has neither a pattern nor a from, so it would match every event", table.title());
        let help = "add [rule.pattern], or when = \"…\", or from = [\"a source\"]";
        let found = Diagnostic::error_at(codes::RULE_WITHOUT_CONDITION, &table.place(), message).with_help(help);
        table.lacks(&["pattern", "from"], found);
    } else if from.is_empty() && table.has("from") && !table.has("pattern") && !table.has("when") {
        table.refuse("from", codes::BAD_VALUE, "an empty `from` names no source", None);
    }
    let (order_by, order_after_dead) = read_order(&table);
    let retry = read_retry(&table);
    let split = read_split(&table);
    let targets = target::read_targets(&table, host);
    if split.is_some() {
        targets.iter().for_each(|target| refuse_split(&table, target));
    }
    let tests = test::read_tests(
        &table,
        host,
        &test::Tested { namespace: &namespace, from: &from, tags: &tags, targets: &targets },
    );
    let name_place = table.place_of("name");
    let place = table.place();
    let reading = table.reading();
    table.finish();
    let is_whole = reading.error_count() == errors_before && (pattern.is_some() || when.is_some() || !from.is_empty());
    let rule = Rule {
        name: name?,
        namespace,
        description,
        enabled,
        from,
        tags,
        not_tags,
        pattern,
        when,
        order_by,
        order_after_dead,
        split,
        retry,
        targets,
        tests,
        place,
    };
    Some(ReadRule { rule, is_whole, name_place, from_places })
}

/// A list of tags: any words, none of them empty, each once.
#[must_use]
pub fn read_tags(table: &Table<'_>, key: &str) -> Vec<String> {
    let mut tags: Vec<String> = Vec::new();
    for tag in table.strings(key) {
        if tag.trim().is_empty() {
            table.refuse(key, codes::BAD_VALUE, "a tag is empty", None);
        } else if !tags.contains(&tag) {
            tags.push(tag);
        }
    }
    if tags.len() > TAGS_MAX {
        table.refuse(key, codes::TOO_MANY, format!("`{key}` has more than {TAGS_MAX} entries"), None);
    }
    tags
}

fn read_pattern(table: &Table<'_>, host: &Host<'_>) -> Option<Pattern> {
    let value = table.value("pattern")?;
    if !matches!(value.get_ref(), DeValue::Table(_) | DeValue::String(_)) {
        table.reading().wrong_type("pattern", "a table, or a string of JSON", value);
        return None;
    }
    match Pattern::from_toml(value, host.text) {
        Ok(pattern) => Some(pattern),
        Err(errors) => {
            for error in errors {
                let mut diagnostic = Diagnostic::error(error.code, table.reading().file(), error.message)
                    .with_span(error.span.unwrap_or_else(|| value.span()));
                diagnostic.help = error.help;
                table.reading().push(diagnostic);
            }
            None
        }
    }
}

/// `when`, with the place of a mistake inside of it.
fn read_when(table: &Table<'_>, host: &Host<'_>) -> Option<Expression> {
    let text = table.filled_string("when")?;
    let error = match Expression::parse(&text) {
        Ok(expression) => match expression.missing_function() {
            None => return Some(expression),
            Some(error) => error,
        },
        Err(error) => error,
    };
    let span = table.place_of("when").span;
    // Where the file has the text as it is, without escapes, the mistake itself is pointed at.
    let written = host.text.get(span.clone()).unwrap_or_default();
    let span = match written.find(&text) {
        Some(start) => {
            let at = span.start + start + error.at;
            at..(at + error.length).min(span.end)
        }
        None => span,
    };
    table.reading().refuse(codes::BAD_EXPRESSION, span, error.message, error.help);
    None
}

fn read_order(table: &Table<'_>) -> (Option<Path>, OrderAfterDead) {
    let words = [("continue", OrderAfterDead::Continue), ("wait", OrderAfterDead::Wait)];
    let after_dead = table.word("order_after_dead", &words, &[]);
    if after_dead.is_some() && !table.has("order_by") {
        let help = Some("say by which key: order_by = \"data.customer_id\"");
        table.refuse(
            "order_after_dead",
            codes::BAD_VALUE,
            "`order_after_dead` without `order_by` orders nothing",
            help,
        );
    }
    (read_path(table, "order_by", "data.customer.id"), after_dead.unwrap_or_default())
}

fn read_path(table: &Table<'_>, key: &str, example: &str) -> Option<Path> {
    let text = table.filled_string(key)?;
    match text.parse::<Path>() {
        Ok(path) => Some(path),
        Err(problem) => {
            let help = format!("write a path like {example}");
            table.refuse(key, codes::BAD_PATH, format!("`{text}` is no path into an event: {problem}"), Some(&help));
            None
        }
    }
}

/// `split`: only the data has lists.
fn read_split(table: &Table<'_>) -> Option<Path> {
    let path = read_path(table, "split", "data.items")?;
    if path.as_str() == "data" || path.as_str().starts_with("data.") {
        return Some(path);
    }
    let message = format!("`{path}` is no list: only what stands in the event's data can be split");
    table.refuse("split", codes::BAD_PATH, message, Some(&format!("did you mean `data.{path}`?")));
    None
}

/// What a target asks for that a rule that splits cannot give.
fn refuse_split(table: &Table<'_>, target: &Target) {
    let name = &target.name;
    let (message, help) = if target.reply {
        let message =
            format!("a sender that waits is given one answer, and `split` calls `{name}` once for each element");
        (message, "remove `reply = true`, or make a rule of its own for it, without `split`")
    } else if target.input == Some(Input::Object) {
        let message = format!("`{name}` would be given the same object once for each element");
        (message, "remove `input = \"object\"`, or make a rule of its own for it, without `split`")
    } else {
        return;
    };
    table.reading().push(
        Diagnostic::error_at(codes::SPLIT_TARGET, &target.place, message)
            .with_related(&table.place_of("split"), "the rule splits")
            .with_help(help),
    );
}
