//! The operators: `{ prefix = "eu/" }` and its like, from what was written to a [`Matcher`].

use super::address::{parse_address, parse_network};
use super::build::Builder;
use super::case::Folded;
use super::codes;
use super::glob::{Glob, GlobError};
use super::limits::{ALTERNATIVES_MAX, STARS_MAX};
use super::matcher::{Except, Matcher};
use super::number::Number;
use crate::syntax::{Node, Value};

/// Every operator, in the order in which messages list them.
pub(crate) const OPERATORS: &[&str] =
    &["prefix", "suffix", "equals-ignore-case", "wildcard", "anything-but", "numeric", "exists", "cidr", "exactly"];

/// What stands after `anything-but` beside plain values.
const EXCEPT_OPERATORS: &[&str] = &["prefix", "suffix", "equals-ignore-case", "wildcard"];

/// The names that no field may have inside `$or`: there they would be read as operators that are missing their
/// list. The words that event-ruler keeps for later are kept here too.
pub(crate) const RESERVED: &[&str] = &[
    "exactly",
    "equals-ignore-case",
    "prefix",
    "suffix",
    "anything-but",
    "exists",
    "wildcard",
    "numeric",
    "cidr",
    "=",
    "<",
    "<=",
    ">",
    ">=",
    "regex",
    "not-wildcard",
    "not-equals-ignore-case",
    "date-after",
    "date-on-or-after",
    "date-before",
    "date-on-or-before",
    "in-date-range",
    "ip-address-in-range",
    "ip-address-not-in-range",
];

/// The known name that `wrong` was probably meant to be.
pub(crate) fn nearest<'n>(wrong: &str, known: &[&'n str]) -> Option<&'n str> {
    let plain = |text: &str| text.to_lowercase().replace(['_', ' '], "-");
    let wrong = plain(wrong);
    let wrong = match wrong.as_str() {
        "startswith" | "starts-with" | "begins-with" => "prefix",
        "endswith" | "ends-with" => "suffix",
        "not" | "not-in" | "neq" | "not-equals" | "anythingbut" | "except" => "anything-but",
        "ignore-case" | "equals-ignorecase" | "equalsignorecase" => "equals-ignore-case",
        "glob" | "like" | "match" | "shellstyle" => "wildcard",
        "equals" | "eq" | "exact" => "exactly",
        "number" | "range" | "gt" | "lt" | ">" | "<" | ">=" | "<=" | "=" => "numeric",
        "ip" | "subnet" => "cidr",
        "or" | "$any" => "$or",
        other => other,
    };
    let scored = known.iter().map(|name| (strsim::damerau_levenshtein(wrong, name), *name));
    scored
        .min_by_key(|(distance, _)| *distance)
        .filter(|(distance, name)| *distance <= 1 + name.len() / 4)
        .map(|(_, name)| name)
}

impl Builder<'_> {
    /// One entry of a field's list.
    pub(crate) fn alternative(&mut self, node: &Node<'_>) -> Option<Matcher> {
        match &node.value {
            Value::Null => Some(Matcher::Null),
            Value::Bool(value) => Some(Matcher::Bool(*value)),
            Value::Number(text) => Some(Matcher::Number(Number::new(text))),
            Value::String(text) => Some(match parse_address(text) {
                Some(address) => Matcher::Address { text: (**text).into(), address },
                None => Matcher::String { text: (**text).into(), exactly: false },
            }),
            Value::Object(entries) => {
                let entry = match entries.as_slice() {
                    [entry] => entry,
                    [] => {
                        self.error(
                            codes::VALUE,
                            node,
                            "an operator is missing between the braces",
                            Some(known_operators()),
                        );
                        return None;
                    }
                    [_, second, ..] => {
                        let help = "give each operator braces of its own: the entries of a list are alternatives";
                        self.error_at(
                            codes::VALUE,
                            second.key_span.clone(),
                            "one pair of braces holds one operator",
                            Some(help.into()),
                        );
                        return None;
                    }
                };
                self.operator(&entry.key, entry.key_span.clone(), &entry.node)
            }
            Value::Array(_) => {
                self.error(
                    codes::VALUE,
                    node,
                    "a list stands inside the list of values",
                    Some("take the inner brackets away".into()),
                );
                None
            }
            Value::Foreign(kind) => {
                let message = format!("{kind} is no value that an event can have: events are JSON");
                self.error(codes::VALUE, node, &message, Some("write it in quotes, as the event does".into()));
                None
            }
        }
    }

    fn operator(&mut self, name: &str, span: std::ops::Range<usize>, operand: &Node<'_>) -> Option<Matcher> {
        match name {
            "prefix" => self.affix(name, operand, Matcher::Prefix, Matcher::PrefixIgnoreCase),
            "suffix" => self.affix(name, operand, Matcher::Suffix, Matcher::SuffixIgnoreCase),
            "equals-ignore-case" => self.string(name, operand).map(|text| Matcher::EqualsIgnoreCase(Folded::new(text))),
            "exactly" => self.string(name, operand).map(|text| Matcher::String { text: text.into(), exactly: true }),
            "wildcard" => {
                let text = self.string(name, operand)?;
                self.glob(text, operand).map(Matcher::Wildcard)
            }
            "anything-but" => self.anything_but(operand).map(Matcher::AnythingBut),
            "numeric" => self.numeric(operand).map(Matcher::Numeric),
            "exists" => match operand.value {
                Value::Bool(true) => Some(Matcher::Present),
                Value::Bool(false) => Some(Matcher::Absent),
                _ => self.operand_error("exists", operand, "takes `true` or `false`"),
            },
            "cidr" => {
                let text = self.string(name, operand)?;
                match parse_network(text) {
                    Ok(network) => Some(Matcher::Cidr { text: text.into(), network }),
                    Err(problem) => {
                        let message = format!("`{text}` is no network: it {}", tail(&problem));
                        let help = "write a network such as `10.0.0.0/8` or `2001:db8::/32`".to_owned();
                        self.error(codes::CIDR, operand, &message, Some(help));
                        None
                    }
                }
            }
            unknown => {
                let message = format!("there is no operator `{unknown}`");
                let help = match nearest(unknown, OPERATORS) {
                    Some(name) => format!("did you mean `{name}`? {}", known_operators()),
                    None => known_operators(),
                };
                self.error_at(codes::OPERATOR, span, &message, Some(help));
                None
            }
        }
    }

    fn operand_error<T>(&mut self, operator: &str, operand: &Node<'_>, takes: &str) -> Option<T> {
        let message = format!("`{operator}` {takes}, and this is {}", operand.value.kind());
        self.error(codes::OPERAND, operand, &message, None);
        None
    }

    fn string<'n>(&mut self, operator: &str, operand: &'n Node<'_>) -> Option<&'n str> {
        match &operand.value {
            Value::String(text) => Some(text),
            Value::Array(_) => {
                let message = format!("`{operator}` takes one string, and this is a list");
                let help = format!("give each string a `{operator}` of its own, side by side in the field's list");
                self.error(codes::OPERAND, operand, &message, Some(help));
                None
            }
            _ => self.operand_error(operator, operand, "takes a string"),
        }
    }

    /// `prefix` and `suffix`: a string, or `{ equals-ignore-case = "…" }`.
    fn affix(
        &mut self,
        name: &str,
        operand: &Node<'_>,
        plain: impl Fn(Box<str>) -> Matcher,
        folded: impl Fn(Folded) -> Matcher,
    ) -> Option<Matcher> {
        let Value::Object(entries) = &operand.value else {
            return self.string(name, operand).map(|text| plain(text.into()));
        };
        match entries.as_slice() {
            [inner] if inner.key == "equals-ignore-case" => {
                self.string("equals-ignore-case", &inner.node).map(|text| folded(Folded::new(text)))
            }
            _ => self.operand_error(name, operand, "takes a string or `equals-ignore-case` with a string"),
        }
    }

    fn glob(&mut self, text: &str, node: &Node<'_>) -> Option<Glob> {
        let (code, message, help) = match Glob::new(text) {
            Ok(glob) => return Some(glob),
            Err(GlobError::DoubleStar) => {
                (codes::WILDCARD, "`**` stands in a wildcard".to_owned(), "one `*` stands for anything, `/` included")
            }
            Err(GlobError::Escape) => (
                codes::WILDCARD,
                "a backslash in a wildcard stands before `*` or another backslash, and nowhere else".to_owned(),
                "write `\\\\` for a backslash; in double quotes of TOML and in JSON, which have escapes of their own, twice as many",
            ),
            Err(GlobError::TooManyStars) => (
                codes::LIMIT,
                format!("the wildcard has more than {STARS_MAX} stars (limit STARS_MAX)"),
                "ask for the parts that matter",
            ),
        };
        self.error(code, node, &message, Some(help.into()));
        None
    }

    fn anything_but(&mut self, operand: &Node<'_>) -> Option<Except> {
        const TAKES: &str = "takes a string, a number, a list of either, or one of `prefix`, `suffix`, \
            `equals-ignore-case` and `wildcard`";
        let Value::Object(entries) = &operand.value else {
            let items = self.items("anything-but", operand, TAKES)?;
            if let Some(other) = items.iter().find(|n| !matches!(n.value, Value::String(_) | Value::Number(_))) {
                return self.operand_error("anything-but", other, TAKES);
            }
            let strings: Vec<&str> = items.iter().filter_map(|node| as_string(node)).collect();
            if strings.len() == items.len() {
                return Some(Except::Strings(strings.into_iter().map(Into::into).collect()));
            }
            if !strings.is_empty() {
                let help =
                    "all strings or all numbers; two fields of one pattern cannot look at the same path".to_owned();
                self.error(codes::OPERAND, operand, "`anything-but` mixes strings and numbers", Some(help));
                return None;
            }
            return items.iter().map(|node| self.exact_number(node)).collect::<Option<Vec<_>>>().map(Except::Numbers);
        };
        let [inner] = entries.as_slice() else { return self.operand_error("anything-but", operand, TAKES) };
        let name = &*inner.key;
        if !EXCEPT_OPERATORS.contains(&name) {
            let message = format!("`anything-but` cannot be combined with `{name}`");
            let help = match nearest(name, EXCEPT_OPERATORS) {
                Some(near) => format!("did you mean `{near}`?"),
                None => "it goes with `prefix`, `suffix`, `equals-ignore-case` and `wildcard`".to_owned(),
            };
            self.error_at(codes::OPERATOR, inner.key_span.clone(), &message, Some(help));
            return None;
        }
        let items = self.items(name, &inner.node, "after `anything-but` takes a string or a list of strings")?;
        let mut texts = Vec::with_capacity(items.len());
        for node in items {
            let Some(text) = as_string(node) else {
                return self.operand_error(name, node, "after `anything-but` takes a string or a list of strings");
            };
            if text.is_empty() && matches!(name, "prefix" | "suffix") {
                let message = format!("an empty `{name}` after `anything-but` would leave out every string");
                self.error(codes::OPERAND, node, &message, None);
                return None;
            }
            texts.push(text);
        }
        match name {
            "prefix" => Some(Except::Prefixes(texts.into_iter().map(Into::into).collect())),
            "suffix" => Some(Except::Suffixes(texts.into_iter().map(Into::into).collect())),
            "equals-ignore-case" => Some(Except::IgnoreCase(texts.into_iter().map(Folded::new).collect())),
            _ => {
                let globs: Option<Vec<_>> = texts.into_iter().map(|text| self.glob(text, &inner.node)).collect();
                globs.map(Except::Wildcards)
            }
        }
    }

    /// The items of a list, or the one thing that stands for a list of one.
    fn items<'n, 's>(&mut self, operator: &str, node: &'n Node<'s>, takes: &str) -> Option<&'n [Node<'s>]> {
        match &node.value {
            Value::Array(items) if items.is_empty() => {
                let message = format!("`{operator}` has an empty list");
                self.error(
                    codes::EMPTY,
                    node,
                    &message,
                    Some("to take every value, write `exists` with `true`".into()),
                );
                None
            }
            Value::Array(items) if items.len() > ALTERNATIVES_MAX => {
                self.too_many_alternatives(node, items.len());
                None
            }
            Value::Array(items) => Some(items),
            Value::String(_) | Value::Number(_) => Some(std::slice::from_ref(node)),
            _ => self.operand_error(operator, node, takes),
        }
    }
}

pub(super) fn as_string<'n>(node: &'n Node<'_>) -> Option<&'n str> {
    match &node.value {
        Value::String(text) => Some(text),
        _ => None,
    }
}

/// A sentence that lists the operators.
pub(crate) fn known_operators() -> String {
    format!("the operators are {}", OPERATORS.join(", "))
}

/// "needs …" stays; "`x` is …" gets a subject that fits behind "it".
fn tail(problem: &str) -> String {
    if problem.starts_with("needs") { problem.to_owned() } else { format!("is written ADDRESS/BITS, and {problem}") }
}
