//! A TOML value as a [`Node`] tree.

use std::borrow::Cow;

use toml::Spanned;
use toml::de::{DeFloat, DeInteger, DeTable, DeValue};

use super::{Entry, Node, Value};

/// The same value, its numbers as JSON writes them and its keys in the order of the file: a TOML table comes
/// sorted by key, and in a pattern with `$or` the order matters.
pub(crate) fn node<'a>(value: &'a Spanned<DeValue<'_>>) -> Node<'a> {
    let span = value.span();
    let value = match value.get_ref() {
        DeValue::String(text) => Value::String(Cow::Borrowed(text)),
        DeValue::Integer(integer) => number(integer_text(integer)),
        DeValue::Float(float) => number(float_text(float)),
        DeValue::Boolean(value) => Value::Bool(*value),
        DeValue::Datetime(_) => Value::Foreign("a date-time"),
        DeValue::Array(items) => Value::Array(items.iter().map(node).collect()),
        DeValue::Table(table) => Value::Object(entries(table)),
    };
    Node { span, value }
}

/// The entries of a table in the order of the file.
pub(crate) fn entries<'a>(table: &'a DeTable<'_>) -> Vec<Entry<'a>> {
    let mut entries: Vec<Entry<'_>> = table
        .iter()
        .map(|(key, value)| Entry { key: Cow::Borrowed(key.get_ref()), key_span: key.span(), node: node(value) })
        .collect();
    entries.sort_by_key(|entry| entry.key_span.start);
    entries
}

fn number(text: Option<String>) -> Value<'static> {
    text.map_or(Value::Foreign("a number that JSON has no word for"), |text| Value::Number(Cow::Owned(text)))
}

fn integer_text(integer: &DeInteger<'_>) -> Option<String> {
    let digits: String = integer.as_str().chars().filter(|&c| c != '_').collect();
    if integer.radix() == 10 {
        return Some(digits.trim_start_matches('+').to_owned());
    }
    i128::from_str_radix(&digits, integer.radix()).ok().map(|value| value.to_string())
}

fn float_text(float: &DeFloat<'_>) -> Option<String> {
    let digits: String = float.as_str().chars().filter(|&c| c != '_').collect();
    let digits = digits.trim_start_matches('+');
    // `inf` and `nan` are the only floats of TOML without a digit.
    digits.contains(|c: char| c.is_ascii_digit()).then(|| digits.to_owned())
}

#[cfg(test)]
mod tests {
    use super::super::Dialect;
    use super::*;

    #[test]
    fn numbers_become_json_and_keys_keep_their_order() {
        let text = "z = [1_000, +5, -0.5, 0x1F, 1e6, inf, nan, 2027-01-01]\na.y = { c = 1, b = 2 }\na.x = 1\n";
        let table = DeTable::parse(text).unwrap();
        let shown = Value::Object(entries(table.get_ref())).show(Dialect::Toml);
        assert_eq!(
            shown,
            "{ z = [1000, 5, -0.5, 31, 1e6, a number that JSON has no word for, a number that JSON has no word for, \
             a date-time], a = { y = { c = 1, b = 2 }, x = 1 } }"
        );
    }
}
