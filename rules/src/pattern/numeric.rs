//! `numeric`: a comparison, or a lower and then an upper bound.

use super::build::Builder;
use super::codes;
use super::matcher::{Bound, Range};
use super::number::Number;
use super::operators::as_string;
use crate::syntax::{Node, Value};

impl Builder<'_> {
    /// A number that can be compared.
    pub(super) fn exact_number(&mut self, node: &Node<'_>) -> Option<Number> {
        let Value::Number(text) = &node.value else { return None };
        let number = Number::new(text);
        if number.value.is_none() {
            let message =
                format!("{} has more digits than can be compared exactly", crate::syntax::shorten(text.to_string()));
            let help = "numbers are compared as 64-bit floats; for equality alone, list the number itself, which is then \
                compared by its spelling";
            self.error(codes::INEXACT, node, &message, Some(help.into()));
            return None;
        }
        Some(number)
    }

    pub(super) fn numeric(&mut self, operand: &Node<'_>) -> Option<Range> {
        const HELP: &str = "write a comparison such as [\">\", 0], or a lower and then an upper bound, such as \
            [\">\", 0, \"<=\", 5]";
        let Value::Array(items) = &operand.value else {
            self.error(
                codes::NUMERIC,
                operand,
                &format!("`numeric` takes a list, and this is {}", operand.value.kind()),
                Some(HELP.into()),
            );
            return None;
        };
        let terms = match items.as_slice() {
            [sign, number] => vec![(sign, number)],
            [lower, low, upper, high] => vec![(lower, low), (upper, high)],
            _ => {
                let message =
                    format!("`numeric` takes one or two comparisons, and this list has {} entries", items.len());
                self.error(codes::NUMERIC, operand, &message, Some(HELP.into()));
                return None;
            }
        };
        let mut range = Range { lower: None, upper: None, equal: false };
        for (sign, number) in &terms {
            let Some(text) = as_string(sign) else {
                let message = format!("a comparison sign is expected here, and this is {}", sign.value.kind());
                self.error(codes::NUMERIC, sign, &message, Some(HELP.into()));
                return None;
            };
            if !matches!(number.value, Value::Number(_)) {
                let message = format!("`{text}` compares with a number, and this is {}", number.value.kind());
                let help = as_string(number)
                    .filter(|text| super::number::exact(text).is_some())
                    .map_or(HELP.to_owned(), |text| format!("write {text} without quotes"));
                self.error(codes::NUMERIC, number, &message, Some(help));
                return None;
            }
            let exact = self.exact_number(number)?;
            let bound = |included| Bound { text: exact.text.clone(), value: exact.value.unwrap_or(0.0), included };
            match (text, terms.len()) {
                ("=", 1) => {
                    range = Range { lower: Some(bound(true)), upper: Some(bound(true)), equal: true };
                }
                (">" | ">=", _) if range.lower.is_none() && range.upper.is_none() => {
                    range.lower = Some(bound(text == ">="))
                }
                ("<" | "<=", _) if range.upper.is_none() && (terms.len() == 1 || range.lower.is_some()) => {
                    range.upper = Some(bound(text == "<="));
                }
                ("=" | ">" | ">=" | "<" | "<=", _) => {
                    let message = format!("`{text}` does not fit at this place of a range");
                    self.error(codes::NUMERIC, sign, &message, Some(HELP.into()));
                    return None;
                }
                _ => {
                    let message = format!("`{text}` is no comparison sign; there are =, <, <=, > and >=");
                    self.error(codes::NUMERIC, sign, &message, Some(HELP.into()));
                    return None;
                }
            }
        }
        if let (false, Some(lower), Some(upper)) = (range.equal, &range.lower, &range.upper)
            && lower.value >= upper.value
        {
            let message = format!("no range lies between {} and {}", lower.text, upper.text);
            let help = "the lower bound comes first and is the smaller one; for one number write [\"=\", 5]".to_owned();
            self.error(codes::NUMERIC, operand, &message, Some(help));
            return None;
        }
        Some(range)
    }
}
