//! Secrets that stand in the project's files themselves do not go into the copy. What is kept is the text with
//! stars in their places; to be used, it takes them from the folder's present files, by the path of their key.

use std::ops::Range;

use eventyard_rules::mask_secrets;
use serde::{Deserialize, Serialize};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A file without the secrets in it.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct KeptFile {
    pub(super) path: String,
    pub(super) text: String,
    /// Where stars stand for what was hidden, in bytes.
    pub(super) hidden: Vec<Range<usize>>,
}

impl KeptFile {
    pub(super) fn new(path: &str, text: &str) -> KeptFile {
        let masked = mask_secrets(text);
        let mut hidden: Vec<Range<usize>> = Vec::new();
        for (at, _) in text.bytes().zip(masked.bytes()).enumerate().filter(|(_, (was, is))| was != is) {
            match hidden.last_mut().filter(|last| last.end == at) {
                Some(last) => last.end = at + 1,
                None => hidden.push(at..at + 1),
            }
        }
        KeptFile { path: path.to_owned(), text: masked, hidden }
    }

    /// The text as it was, with the secrets of `present`, which may have mistakes elsewhere.
    ///
    /// # Errors
    /// The path of a key whose secret stands nowhere any more.
    pub(super) fn filled(&self, present: Option<&str>) -> Result<String, String> {
        if self.hidden.is_empty() {
            return Ok(self.text.clone());
        }
        // The stars stand within quotes or in comments, so the text is as sound as it was.
        let (kept, _) = DeTable::parse_recoverable(&self.text);
        let (present, _) = DeTable::parse_recoverable(present.unwrap_or_default());
        let mut texts = Vec::new();
        strings(kept.get_ref(), &mut Vec::new(), &mut texts);
        texts.retain(|(_, span)| self.hidden.iter().any(|hidden| hidden.start < span.end && span.start < hidden.end));
        // From the end, so that the places before stay what they are.
        texts.sort_by_key(|(_, span)| std::cmp::Reverse(span.start));
        let mut filled = self.text.clone();
        for (path, span) in texts {
            let secret = look_up(present.get_ref(), &path).ok_or_else(|| shown(&path))?;
            filled.replace_range(span, &toml::Value::String(secret.to_owned()).to_string());
        }
        Ok(filled)
    }
}

/// A step to a value.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Key(String),
    /// The element of a list that has this `name`; by its place where it has none.
    Named(String),
    At(usize),
}

fn shown(path: &[Step]) -> String {
    let parts: Vec<String> = path
        .iter()
        .map(|step| match step {
            Step::Key(text) | Step::Named(text) => text.clone(),
            Step::At(at) => at.to_string(),
        })
        .collect();
    parts.join(".")
}

/// Every string of a table with its path and its place, the quotes included.
fn strings(table: &DeTable<'_>, path: &mut Vec<Step>, found: &mut Vec<(Vec<Step>, Range<usize>)>) {
    for (key, value) in table {
        path.push(Step::Key(key.get_ref().to_string()));
        strings_of(value, path, found);
        path.pop();
    }
}

fn strings_of(value: &Spanned<DeValue<'_>>, path: &mut Vec<Step>, found: &mut Vec<(Vec<Step>, Range<usize>)>) {
    match value.get_ref() {
        DeValue::String(_) => found.push((path.clone(), value.span())),
        DeValue::Table(table) => strings(table, path, found),
        DeValue::Array(list) => {
            for (at, element) in list.iter().enumerate() {
                path.push(name_of(element).map_or(Step::At(at), Step::Named));
                strings_of(element, path, found);
                path.pop();
            }
        }
        _ => {}
    }
}

fn name_of(element: &Spanned<DeValue<'_>>) -> Option<String> {
    element.get_ref().as_table()?.get("name")?.get_ref().as_str().map(str::to_owned)
}

fn look_up<'t>(table: &'t DeTable<'_>, path: &[Step]) -> Option<&'t str> {
    let (first, rest) = path.split_first()?;
    let Step::Key(key) = first else { return None };
    let mut value = table.get(key.as_str())?;
    for step in rest {
        value = match step {
            Step::Key(key) => value.get_ref().as_table()?.get(key.as_str())?,
            Step::Named(name) => {
                let list = value.get_ref().as_array()?;
                list.iter().find(|element| name_of(element).as_ref() == Some(name))?
            }
            Step::At(at) => value.get_ref().as_array()?.get(*at)?,
        };
    }
    value.get_ref().as_str()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"
[server]
token = "canary-1"           # not canary-2
[source.shop]
secret = ["canary-3", "canary\"4"]
[[rule]]
name = "b"
http = { url = "http://me:canary-5@host/", auth = { password = { env = "P", default = "canary-6" } } }
"#;

    #[test]
    fn secrets_are_not_kept_and_come_from_the_file_again() {
        let kept = KeptFile::new("eventyard.toml", TEXT);
        for canary in [1, 3, 5, 6] {
            assert!(!kept.text.contains(&format!("canary-{canary}")), "{}", kept.text);
        }
        assert!(!kept.text.contains("canary\\\"4"), "{}", kept.text);
        let filled = kept.filled(Some(TEXT)).unwrap();
        assert_eq!(filled.parse::<toml::Table>().unwrap(), TEXT.parse::<toml::Table>().unwrap());
    }

    #[test]
    fn they_are_found_beside_mistakes_and_changes() {
        let kept = KeptFile::new("eventyard.toml", TEXT);
        let present = TEXT.replace("[[rule]]", "[[rule]]\nname = \"a\"\n[[rule]]") + "\nbroken = = 3\n";
        let filled = kept.filled(Some(&present)).unwrap();
        assert_eq!(filled.parse::<toml::Table>().unwrap(), TEXT.parse::<toml::Table>().unwrap());
    }

    #[test]
    fn a_secret_that_is_gone_is_named() {
        let kept = KeptFile::new("eventyard.toml", TEXT);
        let present = TEXT.replace("token", "tokem");
        assert_eq!(kept.filled(Some(&present)), Err("server.token".to_owned()));
        assert!(kept.filled(None).is_err());
    }

    #[test]
    fn a_file_without_secrets_is_kept_as_it_is() {
        let text = "[source.a]\nsecret = { env = \"A\" }\n";
        let kept = KeptFile::new("a", text);
        assert_eq!((kept.text.as_str(), kept.filled(None)), (text, Ok(text.to_owned())));
    }
}
