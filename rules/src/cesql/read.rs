//! Reads an expression (section 2), by the precedence of operators.
//!
//! | binds | |
//! |---|---|
//! | most | `NOT`, `-` before an operand |
//! | | `LIKE`, `IN` |
//! | | `*` `/` `%` |
//! | | `+` `-` |
//! | | `=` `!=` `<>` `<` `<=` `>` `>=` |
//! | | `AND`, from the right |
//! | least | `OR` `XOR`, from the right |

use std::borrow::Cow;

use super::functions::Function;
use super::like::Like;
use super::{DEPTH_MAX, EXPRESSION_BYTES_MAX, Node, Operator, ParseError, Value};

/// A word or a sign, and where it stands.
#[derive(Clone, Debug, PartialEq)]
struct Token {
    kind: Kind,
    start: usize,
    end: usize,
}

#[derive(Clone, Debug, PartialEq)]
enum Kind {
    /// A name or a keyword, as it is written.
    Word,
    /// Digits.
    Number,
    /// A text without its quotes and escapes.
    Text(String),
    Sign(&'static str),
    End,
}

const SIGNS: &[&str] = &["!=", "<>", "<=", ">=", "=", "<", ">", "+", "-", "*", "/", "%", "(", ")", ","];

/// Words that mean something; an attribute of such a name cannot be asked for.
const KEYWORDS: &[&str] = &["AND", "OR", "XOR", "NOT", "LIKE", "IN", "EXISTS", "TRUE", "FALSE"];

pub(super) fn read(text: &str) -> Result<Node, ParseError> {
    if text.len() > EXPRESSION_BYTES_MAX {
        let message = format!("the expression has {} bytes, over {EXPRESSION_BYTES_MAX}", text.len());
        return Err(ParseError { at: 0, length: 0, message, help: None });
    }
    let mut reader = Reader { text, tokens: tokens(text)?, next: 0, depth: 0 };
    let root = reader.expression(0)?;
    match reader.peek().kind {
        Kind::End => Ok(root),
        _ => Err(reader.unexpected("the expression ends before this, or an operator is missing")),
    }
}

fn tokens(text: &str) -> Result<Vec<Token>, ParseError> {
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        let first = rest.chars().next().unwrap_or(' ');
        let start = at;
        let kind = if first.is_whitespace() {
            at += first.len_utf8();
            continue;
        } else if first == '\'' || first == '"' {
            let (string, length) = quoted(rest, first).ok_or_else(|| ParseError {
                at: start,
                length: rest.len(),
                message: "this text has no end".to_owned(),
                help: Some(format!("close it with {first}; write {first} inside of it as \\{first}")),
            })?;
            at += length;
            Kind::Text(string)
        } else if first.is_ascii_digit() {
            at += run(rest, |c| c.is_ascii_alphanumeric());
            // An attribute's name may begin with a digit.
            if rest.get(..at - start).is_some_and(|word| word.bytes().all(|byte| byte.is_ascii_digit())) {
                Kind::Number
            } else {
                Kind::Word
            }
        } else if first.is_ascii_alphabetic() {
            at += run(rest, |c| c.is_ascii_alphanumeric() || c == '_');
            Kind::Word
        } else if let Some(sign) = SIGNS.iter().find(|sign| rest.starts_with(**sign)) {
            at += sign.len();
            Kind::Sign(sign)
        } else {
            let is_data = first == '.' && text.get(..start).is_some_and(|before| before.ends_with("data"));
            return Err(match is_data {
                true => data_is_elsewhere(start.saturating_sub(4), 4 + rest.len().min(1)),
                false => ParseError {
                    at: start,
                    length: first.len_utf8(),
                    message: format!("`{}` means nothing here", first.escape_debug()),
                    help: Some("texts stand in quotes: subject = 'eu/berlin'".to_owned()),
                },
            });
        };
        tokens.push(Token { kind, start, end: at });
    }
    tokens.push(Token { kind: Kind::End, start: text.len(), end: text.len() });
    Ok(tokens)
}

fn run(text: &str, belongs: impl Fn(char) -> bool) -> usize {
    text.find(|c| !belongs(c)).unwrap_or(text.len())
}

/// The text in quotes, and how many bytes it takes with them. Only the quote itself is written with a backslash; any
/// other backslash is one.
fn quoted(text: &str, quote: char) -> Option<(String, usize)> {
    let mut string = String::new();
    let mut chars = text.char_indices().skip(1).peekable();
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' if chars.peek().is_some_and(|(_, next)| *next == quote) => {
                chars.next();
                string.push(quote);
            }
            c if c == quote => return Some((string, at + quote.len_utf8())),
            c => string.push(c),
        }
    }
    None
}

fn data_is_elsewhere(at: usize, length: usize) -> ParseError {
    ParseError {
        at,
        length,
        message: "an expression sees the event's attributes, not its data".to_owned(),
        help: Some(
            "ask for data in the rule's pattern: [rule.pattern] data.amount = [{ numeric = [\">\", 5] }]".to_owned(),
        ),
    }
}

struct Reader<'t> {
    text: &'t str,
    tokens: Vec<Token>,
    next: usize,
    depth: usize,
}

/// What may follow an operand.
enum Follows {
    Binary(Operator),
    Like { negated: bool },
    In { negated: bool },
}

impl Reader<'_> {
    fn peek(&self) -> &Token {
        // The last one is the end, and nobody goes past it.
        const END: Token = Token { kind: Kind::End, start: 0, end: 0 };
        self.tokens.get(self.next).unwrap_or(&END)
    }

    fn word_at(&self, place: usize) -> Option<&str> {
        let token = self.tokens.get(place).filter(|token| token.kind == Kind::Word)?;
        self.text.get(token.start..token.end)
    }

    fn is_word(&self, place: usize, word: &str) -> bool {
        self.word_at(place).is_some_and(|found| found.eq_ignore_ascii_case(word))
    }

    fn take_sign(&mut self, sign: &str) -> bool {
        let is = matches!(self.peek().kind, Kind::Sign(found) if found == sign);
        self.next += usize::from(is);
        is
    }

    fn expect_sign(&mut self, sign: &str, why: &str) -> Result<(), ParseError> {
        if self.take_sign(sign) { Ok(()) } else { Err(self.unexpected(why)) }
    }

    fn unexpected(&self, why: &str) -> ParseError {
        let token = self.peek();
        let found = self.text.get(token.start..token.end).unwrap_or_default();
        let message = match token.kind {
            Kind::End => format!("the expression ends too early: {why}"),
            _ => format!("`{found}` is not expected here: {why}"),
        };
        ParseError { at: token.start, length: found.len().max(1), message, help: None }
    }

    /// Reads operators that bind as strongly as `binding` at least, with their operands.
    fn expression(&mut self, binding: u8) -> Result<Node, ParseError> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(self.unexpected(&format!("it is nested more than {DEPTH_MAX} deep")));
        }
        let mut left = self.operand()?;
        while let Some((follows, strength, from_right)) = self.follows().filter(|(_, strength, _)| *strength >= binding)
        {
            left = match follows {
                Follows::Binary(operator) => {
                    self.next += 1;
                    // What binds from the right leaves the same operator to its right side.
                    let right = self.expression(if from_right { strength } else { strength + 1 })?;
                    Node::Binary(operator, Box::new(left), Box::new(right))
                }
                Follows::Like { negated } => {
                    self.next += 1 + usize::from(negated);
                    let Kind::Text(pattern) = &self.peek().kind else {
                        return Err(self.unexpected("behind LIKE stands a text in quotes"));
                    };
                    let like = Like::read(pattern);
                    self.next += 1;
                    Node::Like { of: Box::new(left), like, negated }
                }
                Follows::In { negated } => {
                    self.next += 1 + usize::from(negated);
                    self.expect_sign("(", "behind IN stands a list in parentheses")?;
                    let set = self.list()?;
                    if set.is_empty() {
                        return Err(self.unexpected("a list has one element at least"));
                    }
                    Node::In { of: Box::new(left), set, negated }
                }
            };
        }
        self.depth -= 1;
        Ok(left)
    }

    /// What follows an operand, how strongly it binds, and whether from the right.
    fn follows(&self) -> Option<(Follows, u8, bool)> {
        use Operator as Op;
        let binary = |operator, strength, from_right| Some((Follows::Binary(operator), strength, from_right));
        match &self.peek().kind {
            Kind::Sign("*") => binary(Op::Times, 5, false),
            Kind::Sign("/") => binary(Op::Divide, 5, false),
            Kind::Sign("%") => binary(Op::Remainder, 5, false),
            Kind::Sign("+") => binary(Op::Plus, 4, false),
            Kind::Sign("-") => binary(Op::Minus, 4, false),
            Kind::Sign("=") => binary(Op::Equal, 3, false),
            Kind::Sign("!=" | "<>") => binary(Op::NotEqual, 3, false),
            Kind::Sign("<") => binary(Op::Less, 3, false),
            Kind::Sign("<=") => binary(Op::LessOrEqual, 3, false),
            Kind::Sign(">") => binary(Op::Greater, 3, false),
            Kind::Sign(">=") => binary(Op::GreaterOrEqual, 3, false),
            Kind::Word => {
                let negated = self.is_word(self.next, "NOT");
                let place = self.next + usize::from(negated);
                if self.is_word(place, "LIKE") {
                    Some((Follows::Like { negated }, 6, false))
                } else if self.is_word(place, "IN") {
                    Some((Follows::In { negated }, 6, false))
                } else if self.is_word(self.next, "AND") {
                    binary(Op::And, 2, true)
                } else if self.is_word(self.next, "OR") {
                    binary(Op::Or, 1, true)
                } else if self.is_word(self.next, "XOR") {
                    binary(Op::Xor, 1, true)
                } else {
                    None
                }
            }
            _ => None,
        }
    }

    fn operand(&mut self) -> Result<Node, ParseError> {
        let token = self.peek().clone();
        match token.kind {
            Kind::Text(text) => {
                self.next += 1;
                Ok(Node::Literal(Value::String(Cow::Owned(text))))
            }
            Kind::Number => self.number(""),
            Kind::Sign("-" | "+") => {
                let is_minus = token.kind == Kind::Sign("-");
                self.next += 1;
                if self.peek().kind == Kind::Number {
                    return self.number(if is_minus { "-" } else { "" });
                }
                if !is_minus {
                    return Err(self.unexpected("behind + stands a number"));
                }
                self.prefixed().map(|of| Node::Negate(Box::new(of)))
            }
            Kind::Sign("(") => {
                self.next += 1;
                let inner = self.expression(0)?;
                self.expect_sign(")", "a parenthesis is not closed")?;
                Ok(inner)
            }
            Kind::Word => self.word(),
            Kind::Sign(_) | Kind::End => {
                Err(self.unexpected("an attribute, a text, a number or a function belongs here"))
            }
        }
    }

    /// The operand of an operator that stands before it.
    fn prefixed(&mut self) -> Result<Node, ParseError> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(self.unexpected(&format!("it is nested more than {DEPTH_MAX} deep")));
        }
        let of = self.operand()?;
        self.depth -= 1;
        Ok(of)
    }

    /// A number with its sign, so that the lowest one can be written.
    fn number(&mut self, sign: &str) -> Result<Node, ParseError> {
        let token = self.peek().clone();
        let digits = self.text.get(token.start..token.end).unwrap_or_default();
        self.next += 1;
        match format!("{sign}{digits}").parse() {
            Ok(number) => Ok(Node::Literal(Value::Integer(number))),
            Err(_) => Err(ParseError {
                at: token.start,
                length: digits.len(),
                message: "a number lies between -2147483648 and 2147483647".to_owned(),
                help: None,
            }),
        }
    }

    fn word(&mut self) -> Result<Node, ParseError> {
        let token = self.peek().clone();
        let word = self.text.get(token.start..token.end).unwrap_or_default().to_owned();
        let keyword = KEYWORDS.iter().find(|keyword| keyword.eq_ignore_ascii_case(&word));
        match keyword {
            Some(&"TRUE") => {
                self.next += 1;
                Ok(Node::Literal(Value::Boolean(true)))
            }
            Some(&"FALSE") => {
                self.next += 1;
                Ok(Node::Literal(Value::Boolean(false)))
            }
            Some(&"NOT") => {
                self.next += 1;
                self.prefixed().map(|of| Node::Not(Box::new(of)))
            }
            Some(&"EXISTS") => {
                self.next += 1;
                let name = self.attribute("behind EXISTS stands an attribute's name")?;
                Ok(Node::Exists(name))
            }
            Some(_) => Err(self.unexpected("it stands between two operands")),
            None if matches!(self.tokens.get(self.next + 1).map(|token| &token.kind), Some(Kind::Sign("("))) => {
                self.next += 2;
                let arguments = self.list()?;
                Ok(match Function::find(&word, arguments.len()) {
                    Some(function) => Node::Call(function, arguments),
                    None => Node::Unknown { name: word.into(), at: token.start, count: arguments.len() },
                })
            }
            None => self.attribute("an attribute belongs here").map(Node::Attribute),
        }
    }

    fn attribute(&mut self, why: &str) -> Result<Box<str>, ParseError> {
        let token = self.peek().clone();
        let word = self.text.get(token.start..token.end).unwrap_or_default();
        if token.kind != Kind::Word && token.kind != Kind::Number {
            return Err(self.unexpected(why));
        }
        let wrong = |message: String, help: String| ParseError {
            at: token.start,
            length: word.len(),
            message,
            help: Some(help),
        };
        if word == "data" {
            return Err(data_is_elsewhere(token.start, word.len()));
        }
        if !word.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit()) {
            let lower: String =
                word.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase();
            return Err(wrong(
                format!("`{word}` cannot be an attribute's name"),
                format!("names are of a-z and 0-9, such as `{lower}`; a text stands in quotes: '{word}'"),
            ));
        }
        self.next += 1;
        Ok(word.into())
    }

    /// Expressions with commas between them, up to the parenthesis that closes.
    fn list(&mut self) -> Result<Vec<Node>, ParseError> {
        let mut list = Vec::new();
        if self.take_sign(")") {
            return Ok(list);
        }
        loop {
            list.push(self.expression(0)?);
            if self.take_sign(")") {
                return Ok(list);
            }
            self.expect_sign(",", "a comma or a closing parenthesis belongs here")?;
        }
    }
}
