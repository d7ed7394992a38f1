//! Single values: their words, strings and what may stand for them, and TOML as JSON.

use std::ops::Range;

use serde_json::{Map, Number, Value};
use toml::de::{DeTable, DeValue};

use super::{Reading, Reference, TomlValue};
use crate::codes;
use crate::diagnostic::Diagnostic;
use crate::mask::is_secret_key;
use crate::text::{HIDDEN, Settings, Text};

/// What a value is, in words.
pub(crate) fn found(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

impl Reading<'_> {
    /// Reports a value of the wrong type.
    pub(crate) fn wrong_type(&self, key: &str, wanted: &str, value: &TomlValue<'_>) {
        self.wrong_type_with_help(key, wanted, value, None);
    }

    /// The same, with a sentence that says what to do.
    pub(crate) fn wrong_type_with_help(&self, key: &str, wanted: &str, value: &TomlValue<'_>, help: Option<String>) {
        let message = format!("`{key}` takes {wanted}, not {}", found(value.get_ref()));
        let diagnostic = Diagnostic::error(codes::WRONG_TYPE, self.file(), message)
            .with_span(value.span())
            .with_label(format!("{wanted} belongs here"));
        self.push(Diagnostic { help, ..diagnostic });
    }

    /// Reports a value of the right type that will not do.
    pub fn refuse(&self, code: &'static str, span: Range<usize>, message: String, help: Option<String>) {
        let mut diagnostic = Diagnostic::error(code, self.file(), message).with_span(span);
        diagnostic.help = help;
        self.push(diagnostic);
    }

    /// A string, or what stands for one; `None` where it is neither or cannot be resolved (reported).
    pub(crate) fn text(&self, key: &str, value: &TomlValue<'_>) -> Option<Text> {
        let text = match value.get_ref() {
            DeValue::String(text) if is_secret_key(key) => Text::secret(text.clone()),
            DeValue::String(text) => Text::plain(text.clone()),
            DeValue::Table(table) if is_reference(table) => {
                let resolved = self.resolve_reference(key, table, value.span());
                if resolved.is_none() {
                    self.unresolved.borrow_mut().push(value.span());
                }
                resolved?
            }
            DeValue::Table(_) => {
                let wanted = "a string, or { env = \"NAME\" } or { file = \"path\" } for one";
                self.wrong_type(key, wanted, value);
                return None;
            }
            _ => {
                self.wrong_type(key, "a string", value);
                return None;
            }
        };
        if is_secret_key(key) && text.reveal().is_empty() {
            let message = format!("`{key}` is empty, and an empty secret protects nothing");
            self.refuse(
                codes::BAD_VALUE,
                value.span(),
                message,
                Some("give it a value, or leave the key out".to_owned()),
            );
            return None;
        }
        if let DeValue::String(written) = value.get_ref()
            && is_secret_key(key)
            && let Some(variable) = shell_variable(written)
        {
            let message = format!("`{key}` is the very text that stands here: no variable is put in its place");
            let help = format!("write {{ env = \"{variable}\" }} to take it from the environment");
            let found = Diagnostic::error(codes::SECRET_LITERAL, self.file(), message).with_span(value.span());
            self.push(found.with_help(help).as_warning());
        }
        if text.is_secret() {
            self.remember_secret(text.reveal());
        }
        Some(text)
    }

    fn resolve_reference(&self, key: &str, table: &DeTable<'_>, span: Range<usize>) -> Option<Text> {
        let part = |name: &str| table.get(name);
        let default = part("default").and_then(|value| value.get_ref().as_str());
        if let Some(wrong) = part("default").filter(|value| !value.get_ref().is_str()) {
            self.wrong_type("default", "a string", wrong);
            return None;
        }
        let (reference, at) = match (part("env"), part("file")) {
            (Some(value), _) => (value.get_ref().as_str().map(Reference::Env), value),
            (None, Some(value)) => (value.get_ref().as_str().map(Reference::File), value),
            (None, None) => return None,
        };
        let Some(reference) = reference else {
            self.wrong_type(if part("env").is_some() { "env" } else { "file" }, "a string", at);
            return None;
        };
        match ((self.resolve)(reference), reference) {
            (Ok(Some(value)), _) => Some(Text::secret(value)),
            (Ok(None), _) if default.is_some() => default.map(Text::secret),
            (Ok(None), Reference::Env(name)) => {
                let message = format!("the environment variable `{name}` is not set, and `{key}` needs it");
                let help = format!("set {name}, or give a default: {{ env = \"{name}\", default = \"…\" }}");
                self.refuse(codes::ENV_MISSING, at.span(), message, Some(help));
                None
            }
            (Ok(None), Reference::File(path)) => {
                let help = Some("make the file; a relative path starts at the project folder".to_owned());
                self.refuse(codes::SECRET_FILE, at.span(), format!("the file `{path}` does not exist"), help);
                None
            }
            (Err(problem), Reference::Env(name)) => {
                let message = format!("the environment variable `{name}` cannot be used: {problem}");
                self.refuse(codes::ENV_MISSING, span, message, None);
                None
            }
            (Err(problem), Reference::File(path)) => {
                let message = format!("the file `{path}` cannot be read: {problem}");
                self.refuse(codes::SECRET_FILE, at.span(), message, None);
                None
            }
        }
    }

    /// TOML as the JSON it says, with nothing resolved: for data, in which `env` may be a word like any other.
    pub(crate) fn plain_json(&self, value: &TomlValue<'_>) -> Option<Value> {
        Some(match value.get_ref() {
            DeValue::String(text) => Value::String(text.clone().into_owned()),
            DeValue::Boolean(truth) => Value::Bool(*truth),
            DeValue::Datetime(instant) => Value::String(instant.to_string()),
            DeValue::Integer(_) => Value::Number(self.json_integer(value)?),
            DeValue::Float(_) => Value::Number(self.json_float(value)?),
            DeValue::Array(items) => {
                let items: Vec<Option<Value>> = items.iter().map(|item| self.plain_json(item)).collect();
                Value::Array(items.into_iter().collect::<Option<_>>()?)
            }
            DeValue::Table(table) => {
                let members: Vec<Option<(String, Value)>> = table
                    .iter()
                    .map(|(key, value)| Some((key.get_ref().clone().into_owned(), self.plain_json(value)?)))
                    .collect();
                Value::Object(members.into_iter().collect::<Option<_>>()?)
            }
        })
    }

    /// TOML as JSON with references resolved, and the same with secrets hidden.
    pub(crate) fn settings(&self, key: &str, value: &TomlValue<'_>) -> Option<Settings> {
        match value.get_ref() {
            DeValue::String(_) => self.text_settings(key, value),
            DeValue::Table(table) if is_reference(table) => self.text_settings(key, value),
            DeValue::Array(items) => {
                let items: Vec<Option<Settings>> = items.iter().map(|item| self.settings(key, item)).collect();
                let items: Vec<Settings> = items.into_iter().collect::<Option<_>>()?;
                let shown = items.iter().map(|item| item.shown().clone()).collect();
                Some(Settings::new(items.into_iter().map(|item| item.reveal().clone()).collect(), shown))
            }
            DeValue::Table(table) => {
                let mut both = (Map::new(), Map::new());
                let mut whole = true;
                for (key, value) in table {
                    let key = key.get_ref().as_ref();
                    match self.settings(key, value) {
                        Some(inner) => {
                            both.0.insert(key.to_owned(), inner.reveal().clone());
                            both.1.insert(key.to_owned(), inner.shown().clone());
                        }
                        None => whole = false,
                    }
                }
                whole.then(|| Settings::new(Value::Object(both.0), Value::Object(both.1)))
            }
            _ => {
                let value = self.plain_json(value)?;
                let shown = if is_secret_key(key) { Value::String(HIDDEN.to_owned()) } else { value.clone() };
                Some(Settings::new(value, shown))
            }
        }
    }

    fn text_settings(&self, key: &str, value: &TomlValue<'_>) -> Option<Settings> {
        let Some(text) = self.text(key, value) else {
            // Something stands there, so that it is not found missing as well.
            let unresolved = value.get_ref().is_table().then(|| Value::String(HIDDEN.to_owned()));
            return unresolved.map(|value| Settings::new(value.clone(), value));
        };
        Some(Settings::new(Value::String(text.reveal().to_owned()), Value::String(text.shown().to_owned())))
    }

    fn json_integer(&self, value: &TomlValue<'_>) -> Option<Number> {
        let number = integer(value.get_ref());
        let fits = number.and_then(|number| {
            i64::try_from(number).map(Number::from).or_else(|_| u64::try_from(number).map(Number::from)).ok()
        });
        if fits.is_none() {
            self.refuse(codes::OUT_OF_RANGE, value.span(), "the number does not fit into 64 bits".to_owned(), None);
        }
        fits
    }

    fn json_float(&self, value: &TomlValue<'_>) -> Option<Number> {
        let number = float(value.get_ref()).and_then(Number::from_f64);
        if number.is_none() {
            let message = "JSON has no such number".to_owned();
            self.refuse(codes::OUT_OF_RANGE, value.span(), message, Some("write a finite number".to_owned()));
        }
        number
    }
}

/// The variable that a text names as a shell would, `$TOKEN` or `${token}`, with `Bearer` or another word before it
/// or without. A `$` before small letters alone may well begin a password.
fn shell_variable(text: &str) -> Option<&str> {
    let last = text.rsplit(' ').next()?.strip_prefix('$')?;
    let (name, braced) = match last.strip_prefix('{').and_then(|name| name.strip_suffix('}')) {
        Some(name) => (name, true),
        None => (last, false),
    };
    let fits = |c: char| c == '_' || c.is_ascii_uppercase() || c.is_ascii_digit() || braced && c.is_ascii_lowercase();
    let named = name.chars().next().is_some_and(|first| !first.is_ascii_digit()) && name.chars().all(fits);
    named.then_some(name)
}

/// Whether a table stands for a string: `env` or `file`, and nothing beside it but `default`.
fn is_reference(table: &DeTable<'_>) -> bool {
    (table.contains_key("env") != table.contains_key("file"))
        && table.keys().all(|key| matches!(key.get_ref().as_ref(), "env" | "file" | "default"))
}

/// A whole number, whatever its base.
pub(crate) fn integer(value: &DeValue<'_>) -> Option<i128> {
    value.as_integer().and_then(|number| i128::from_str_radix(number.as_str(), number.radix()).ok())
}

/// A number with or without a fraction.
pub(crate) fn float(value: &DeValue<'_>) -> Option<f64> {
    match value {
        DeValue::Float(number) => number.as_str().parse().ok(),
        // A whole number where a fraction may stand: `jitter = 0`. Rounding is far beyond any limit of ours.
        DeValue::Integer(number) if number.radix() == 10 => number.as_str().parse().ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::shell_variable;

    #[test]
    fn a_shells_variable_is_known_and_a_password_with_a_dollar_is_none() {
        for (text, name) in [
            ("$TOKEN", Some("TOKEN")),
            ("${TOKEN}", Some("TOKEN")),
            ("${db_password}", Some("db_password")),
            ("Bearer $API_KEY_2", Some("API_KEY_2")),
            ("$ecret", None),
            ("$2b$12$abcdef", None),
            ("${TOKEN", None),
            ("$", None),
            ("${}", None),
            ("TOKEN", None),
            ("x$TOKEN", None),
        ] {
            assert_eq!(shell_variable(text), name, "{text}");
        }
    }
}
