//! JSON text as a [`Node`] tree.
//!
//! serde_json reads what the outside sends; this reader is for what must keep its place in the text, its digits
//! and its repeated keys. It accepts exactly RFC 8259, to a depth of [`DEPTH_MAX`].

use std::borrow::Cow;

use super::{Entry, Node, Value};

/// How deep arrays and objects may be nested. serde_json allows 127 levels below the outermost, so everything
/// that intake lets through can be read here, and a recursion of this depth is no danger to the stack. One level
/// more, for `data` stands inside the event.
pub(crate) const DEPTH_MAX: usize = 129;

/// Where the text stops being JSON, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct JsonError {
    /// The byte at which it was noticed.
    pub(crate) at: usize,
    pub(crate) problem: &'static str,
}

/// Reads one JSON value that fills the whole text.
pub(crate) fn parse(text: &str) -> Result<Node<'_>, JsonError> {
    let mut reader = Reader { text, at: 0 };
    reader.space();
    let node = reader.value(0)?;
    reader.space();
    if reader.at < text.len() {
        return Err(reader.error("something follows the end of the value"));
    }
    Ok(node)
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    fn error(&self, problem: &'static str) -> JsonError {
        JsonError { at: self.at, problem }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    /// The text from `start` to here. Both ends stand beside ASCII bytes, so they are character boundaries.
    fn since(&self, start: usize) -> &'a str {
        self.text.get(start..self.at).unwrap_or("")
    }

    fn value(&mut self, depth: usize) -> Result<Node<'a>, JsonError> {
        if depth > DEPTH_MAX {
            return Err(self.error("it is nested too deeply"));
        }
        let start = self.at;
        let value = match self.peek() {
            Some(b'{') => self.object(depth)?,
            Some(b'[') => self.array(depth)?,
            Some(b'"') => Value::String(self.string()?),
            Some(b'-' | b'0'..=b'9') => self.number()?,
            Some(b't') => self.word("true", Value::Bool(true))?,
            Some(b'f') => self.word("false", Value::Bool(false))?,
            Some(b'n') => self.word("null", Value::Null)?,
            Some(b'\'') => return Err(self.error("strings stand in double quotes")),
            Some(_) => return Err(self.error("a value is expected here")),
            None => return Err(self.error("the text ends where a value is expected")),
        };
        Ok(Node { span: start..self.at, value })
    }

    fn word(&mut self, word: &'static str, value: Value<'a>) -> Result<Value<'a>, JsonError> {
        if !self.text.as_bytes()[self.at..].starts_with(word.as_bytes()) {
            return Err(self.error("a value is expected here"));
        }
        self.at += word.len();
        Ok(value)
    }

    fn object(&mut self, depth: usize) -> Result<Value<'a>, JsonError> {
        self.at += 1;
        let mut entries = Vec::new();
        self.space();
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(Value::Object(entries));
        }
        loop {
            self.space();
            let start = self.at;
            match self.peek() {
                Some(b'"') => {}
                Some(b'}') => return Err(self.error("a comma stands before the closing brace")),
                _ => return Err(self.error("a key in double quotes is expected here")),
            }
            let key = self.string()?;
            let key_span = start..self.at;
            self.space();
            if self.peek() != Some(b':') {
                return Err(self.error("a colon is expected after the key"));
            }
            self.at += 1;
            self.space();
            let node = self.value(depth + 1)?;
            entries.push(Entry { key, key_span, node });
            self.space();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b'}') => {
                    self.at += 1;
                    return Ok(Value::Object(entries));
                }
                _ => return Err(self.error("a comma or a closing brace is expected here")),
            }
        }
    }

    fn array(&mut self, depth: usize) -> Result<Value<'a>, JsonError> {
        self.at += 1;
        let mut items = Vec::new();
        self.space();
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(Value::Array(items));
        }
        loop {
            self.space();
            if self.peek() == Some(b']') {
                return Err(self.error("a comma stands before the closing bracket"));
            }
            items.push(self.value(depth + 1)?);
            self.space();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b']') => {
                    self.at += 1;
                    return Ok(Value::Array(items));
                }
                _ => return Err(self.error("a comma or a closing bracket is expected here")),
            }
        }
    }

    fn digits(&mut self) -> Result<(), JsonError> {
        if !matches!(self.peek(), Some(b'0'..=b'9')) {
            return Err(self.error("a digit is expected here"));
        }
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        Ok(())
    }

    fn number(&mut self) -> Result<Value<'a>, JsonError> {
        let start = self.at;
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        if self.peek() == Some(b'0') {
            self.at += 1;
            if matches!(self.peek(), Some(b'0'..=b'9')) {
                return Err(self.error("a number does not start with 0"));
            }
        } else {
            self.digits()?;
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(Value::Number(Cow::Borrowed(self.since(start))))
    }

    fn string(&mut self) -> Result<Cow<'a, str>, JsonError> {
        self.at += 1;
        let mut start = self.at;
        let mut unescaped: Option<String> = None;
        loop {
            match self.peek() {
                Some(b'"') => {
                    let rest = self.since(start);
                    self.at += 1;
                    return Ok(match unescaped {
                        None => Cow::Borrowed(rest),
                        Some(text) => Cow::Owned(text + rest),
                    });
                }
                Some(b'\\') => {
                    let mut text = unescaped.take().unwrap_or_default();
                    text.push_str(self.since(start));
                    text.push(self.escape()?);
                    start = self.at;
                    unescaped = Some(text);
                }
                Some(0..0x20) => return Err(self.error("a control character stands unescaped in a string")),
                Some(_) => self.at += 1,
                None => return Err(self.error("the text ends inside a string")),
            }
        }
    }

    /// Reads an escape, from its backslash on.
    fn escape(&mut self) -> Result<char, JsonError> {
        self.at += 1;
        let c = match self.peek() {
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => {
                self.at += 1;
                return self.unicode();
            }
            _ => return Err(self.error("this escape is not known")),
        };
        self.at += 1;
        Ok(c)
    }

    fn unicode(&mut self) -> Result<char, JsonError> {
        let high = self.four_hex()?;
        let code = if (0xd800..0xdc00).contains(&high) {
            if !self.text.as_bytes()[self.at..].starts_with(b"\\u") {
                return Err(self.error("half a surrogate pair stands alone"));
            }
            self.at += 2;
            let low = self.four_hex()?;
            if !(0xdc00..0xe000).contains(&low) {
                return Err(self.error("half a surrogate pair stands alone"));
            }
            0x1_0000 + ((high - 0xd800) << 10) + (low - 0xdc00)
        } else {
            high
        };
        char::from_u32(code).ok_or_else(|| self.error("half a surrogate pair stands alone"))
    }

    fn four_hex(&mut self) -> Result<u32, JsonError> {
        let mut code = 0;
        for _ in 0..4 {
            let digit = self.peek().and_then(|b| char::from(b).to_digit(16));
            code = code * 16 + digit.ok_or_else(|| self.error("four hexadecimal digits are expected here"))?;
            self.at += 1;
        }
        Ok(code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_serde_json_on_what_is_json() {
        let texts = [
            "",
            " ",
            "{",
            "}",
            "[",
            "[]",
            "{}",
            "[1,]",
            "{\"a\":1,}",
            "{\"a\" 1}",
            "{a:1}",
            "'a'",
            "\"a",
            "\"\\x\"",
            "\"\\ud800\"",
            "\"\\ud83d\\ude00\"",
            "\"\\udc00\"",
            "\"\u{1}\"",
            "\"\u{7f}\"",
            "01",
            "-",
            "-0",
            "1.",
            ".5",
            "1e",
            "1e+",
            "1E-2",
            "1e5",
            "-0.0e0",
            "nul",
            "null",
            "truefalse",
            "true false",
            "NaN",
            "Infinity",
            "[1 2]",
            "\u{feff}1",
            "{\"a\":{\"b\":[null,true,\"\\u0041\\/\"]}}",
            "\t1\r\n",
            "+1",
            "0x1",
        ];
        for text in texts {
            let theirs = serde_json::from_str::<serde_json::Value>(text);
            assert_eq!(parse(text).is_ok(), theirs.is_ok(), "{text:?}");
        }
    }

    #[test]
    fn keeps_digits_and_both_values_of_a_key() {
        let node = parse(r#" {"a":1.50e1,"a":"\u00e9\n"}"#).unwrap();
        assert_eq!(node.value.show(super::super::Dialect::Json), r#"{"a": 1.50e1, "a": "é\n"}"#);
        assert_eq!(node.span, 1..28);
    }

    #[test]
    fn a_flood_of_brackets_is_refused_and_does_not_overflow() {
        for bracket in ["[", "{\"a\":"] {
            assert_eq!(parse(&bracket.repeat(100_000)).unwrap_err().problem, "it is nested too deeply");
        }
        let deep = format!("{}{}", "[".repeat(127), "]".repeat(127));
        assert!(parse(&deep).is_ok());
    }
}
