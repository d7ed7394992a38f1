//! What one value of an event is held against.

use std::net::IpAddr;

use ipnet::IpNet;

use super::address::parse_address;
use super::case::Folded;
use super::glob::Glob;
use super::number::Number;
use crate::syntax::{Value, write_string};

/// A value of an event: a leaf, for patterns see leaves only.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Scalar<'v> {
    Null,
    Bool(bool),
    Number {
        /// As it was sent.
        text: &'v str,
        /// What [`super::number::exact`] made of it.
        value: Option<f64>,
    },
    String(&'v str),
}

impl<'v> Scalar<'v> {
    /// The leaf that `value` is; `None` for lists and objects.
    pub(crate) fn of(value: &'v Value<'_>) -> Option<Scalar<'v>> {
        match value {
            Value::Null => Some(Scalar::Null),
            Value::Bool(value) => Some(Scalar::Bool(*value)),
            Value::Number(text) => Some(Scalar::Number { text, value: super::number::exact(text) }),
            Value::String(text) => Some(Scalar::String(text)),
            Value::Array(_) | Value::Object(_) | Value::Foreign(_) => None,
        }
    }

    /// What kind of value this is, with its article.
    pub(crate) fn kind(self) -> &'static str {
        match self {
            Scalar::Null => "null",
            Scalar::Bool(_) => "a boolean",
            Scalar::Number { .. } => "a number",
            Scalar::String(_) => "a string",
        }
    }
}

/// One entry of a field's list.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Matcher {
    Null,
    Bool(bool),
    /// By spelling or by value.
    Number(Number),
    /// This very string; `exactly` where it was written so, which keeps an address from being read as one.
    String {
        text: Box<str>,
        exactly: bool,
    },
    /// A string that is an IP address stands for that address, however it is spelled.
    Address {
        text: Box<str>,
        address: IpAddr,
    },
    Prefix(Box<str>),
    PrefixIgnoreCase(Folded),
    Suffix(Box<str>),
    SuffixIgnoreCase(Folded),
    EqualsIgnoreCase(Folded),
    Wildcard(Glob),
    AnythingBut(Except),
    Numeric(Range),
    Cidr {
        text: Box<str>,
        network: IpNet,
    },
    /// Any leaf, `null` included.
    Present,
    /// The event has no leaf at this path; never true of a value.
    Absent,
}

/// What `anything-but` leaves out.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Except {
    Strings(Vec<Box<str>>),
    Numbers(Vec<Number>),
    Prefixes(Vec<Box<str>>),
    Suffixes(Vec<Box<str>>),
    IgnoreCase(Vec<Folded>),
    Wildcards(Vec<Glob>),
}

/// The numbers between two bounds, or on one side of one.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Range {
    pub(crate) lower: Option<Bound>,
    pub(crate) upper: Option<Bound>,
    /// `=`: the bounds are one number.
    pub(crate) equal: bool,
}

/// An end of a [`Range`].
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Bound {
    pub(crate) text: Box<str>,
    pub(crate) value: f64,
    /// Whether the number itself belongs to the range.
    pub(crate) included: bool,
}

impl Range {
    fn contains(&self, value: f64) -> bool {
        let above = self.lower.as_ref().is_none_or(|b| value > b.value || b.included && value == b.value);
        let below = self.upper.as_ref().is_none_or(|b| value < b.value || b.included && value == b.value);
        above && below
    }
}

impl Matcher {
    /// Whether `scalar` is what this entry asks for.
    pub(crate) fn accepts(&self, scalar: Scalar<'_>) -> bool {
        match (self, scalar) {
            (Matcher::Present, _) | (Matcher::Null, Scalar::Null) => true,
            (Matcher::Bool(wanted), Scalar::Bool(found)) => *wanted == found,
            (Matcher::Number(wanted), Scalar::Number { text, value }) => wanted.equals(text, value),
            (Matcher::Numeric(range), Scalar::Number { value: Some(value), .. }) => range.contains(value),
            (Matcher::AnythingBut(except), scalar) => !except.names(scalar),
            (Matcher::String { text, .. }, Scalar::String(found)) => **text == *found,
            (Matcher::Address { address, .. }, Scalar::String(found)) => parse_address(found) == Some(*address),
            (Matcher::Prefix(prefix), Scalar::String(found)) => found.starts_with(&**prefix),
            (Matcher::PrefixIgnoreCase(prefix), Scalar::String(found)) => prefix.starts(found),
            (Matcher::Suffix(suffix), Scalar::String(found)) => found.ends_with(&**suffix),
            (Matcher::SuffixIgnoreCase(suffix), Scalar::String(found)) => suffix.ends(found),
            (Matcher::EqualsIgnoreCase(wanted), Scalar::String(found)) => wanted.equals(found),
            (Matcher::Wildcard(glob), Scalar::String(found)) => glob.matches(found),
            (Matcher::Cidr { network, .. }, Scalar::String(found)) => {
                parse_address(found).is_some_and(|address| network.contains(&address))
            }
            // What is of another type than the entry is not what it asks for; absence is not a matter of values.
            _ => false,
        }
    }
}

impl Except {
    /// Whether `scalar` is one of what is left out. A value of another type never is: `anything-but = "a"` takes
    /// null, numbers and booleans.
    pub(crate) fn names(&self, scalar: Scalar<'_>) -> bool {
        match (self, scalar) {
            (Except::Numbers(numbers), Scalar::Number { text, value }) => numbers.iter().any(|n| n.equals(text, value)),
            (Except::Strings(strings), Scalar::String(found)) => strings.iter().any(|s| **s == *found),
            (Except::Prefixes(all), Scalar::String(found)) => all.iter().any(|prefix| found.starts_with(&**prefix)),
            (Except::Suffixes(all), Scalar::String(found)) => all.iter().any(|suffix| found.ends_with(&**suffix)),
            (Except::IgnoreCase(all), Scalar::String(found)) => all.iter().any(|wanted| wanted.equals(found)),
            (Except::Wildcards(globs), Scalar::String(found)) => globs.iter().any(|glob| glob.matches(found)),
            _ => false,
        }
    }
}

/// Entries as the JSON that a person would write for them; what [`super::Pattern::to_json`] is made of.
impl Matcher {
    pub(crate) fn write_json(&self, out: &mut String) {
        match self {
            Matcher::Null => out.push_str("null"),
            Matcher::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
            Matcher::Number(number) => out.push_str(&number.text),
            Matcher::String { text, exactly: false } | Matcher::Address { text, .. } => write_string(text, out),
            Matcher::String { text, exactly: true } => operator(out, "exactly", |out| write_string(text, out)),
            Matcher::Prefix(text) => operator(out, "prefix", |out| write_string(text, out)),
            Matcher::Suffix(text) => operator(out, "suffix", |out| write_string(text, out)),
            Matcher::PrefixIgnoreCase(folded) => operator(out, "prefix", |out| ignore_case(folded, out)),
            Matcher::SuffixIgnoreCase(folded) => operator(out, "suffix", |out| ignore_case(folded, out)),
            Matcher::EqualsIgnoreCase(folded) => ignore_case(folded, out),
            Matcher::Wildcard(glob) => operator(out, "wildcard", |out| write_string(&glob.text, out)),
            Matcher::AnythingBut(except) => operator(out, "anything-but", |out| except.write_json(out)),
            Matcher::Numeric(range) => operator(out, "numeric", |out| range.write_json(out)),
            Matcher::Cidr { text, .. } => operator(out, "cidr", |out| write_string(text, out)),
            Matcher::Present => out.push_str("{\"exists\":true}"),
            Matcher::Absent => out.push_str("{\"exists\":false}"),
        }
    }
}

impl Except {
    fn write_json(&self, out: &mut String) {
        match self {
            Except::Strings(all) => list(out, all, |text, out| write_string(text, out)),
            Except::Numbers(all) => list(out, all, |number, out| out.push_str(&number.text)),
            Except::Prefixes(all) => operator(out, "prefix", |out| list(out, all, |text, out| write_string(text, out))),
            Except::Suffixes(all) => operator(out, "suffix", |out| list(out, all, |text, out| write_string(text, out))),
            Except::IgnoreCase(all) => operator(out, "equals-ignore-case", |out| {
                list(out, all, |folded, out| write_string(&folded.text, out));
            }),
            Except::Wildcards(all) => {
                operator(out, "wildcard", |out| list(out, all, |glob, out| write_string(&glob.text, out)));
            }
        }
    }
}

impl Range {
    fn write_json(&self, out: &mut String) {
        let mut terms = Vec::new();
        for (bound, sign) in [(&self.lower, '>'), (&self.upper, '<')] {
            if let Some(bound) = bound {
                terms.push(format!("\"{sign}{}\",{}", if bound.included { "=" } else { "" }, bound.text));
            }
        }
        if let (true, Some(bound)) = (self.equal, &self.lower) {
            terms = vec![format!("\"=\",{}", bound.text)];
        }
        out.push('[');
        out.push_str(&terms.join(","));
        out.push(']');
    }
}

fn operator(out: &mut String, name: &str, operand: impl FnOnce(&mut String)) {
    out.push_str("{\"");
    out.push_str(name);
    out.push_str("\":");
    operand(out);
    out.push('}');
}

fn ignore_case(folded: &Folded, out: &mut String) {
    operator(out, "equals-ignore-case", |out| write_string(&folded.text, out));
}

fn list<T>(out: &mut String, items: &[T], write: impl Fn(&T, &mut String)) {
    out.push('[');
    for (place, item) in items.iter().enumerate() {
        if place > 0 {
            out.push(',');
        }
        write(item, out);
    }
    out.push(']');
}
