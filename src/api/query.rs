//! The query of a call: what may stand there, and what it says.
//!
//! A parameter that a call does not know is refused with the nearest one it does: a filter that is misspelt and
//! ignored would answer another question than the one that was asked.

use std::str::FromStr;
use std::time::Duration;

use axum::http::Uri;
use eventyard_connectors::spec::parse_duration;
use eventyard_event::{Name, Timestamp};
use eventyard_store::PageRequest;
use serde::Deserialize;
use serde::de::IntoDeserializer;
use serde::de::value::StrDeserializer;

use super::codes;
use super::problem::Problem;

/// The items of a page where nobody says how many.
pub const LIMIT_DEFAULT: usize = 100;
/// The most items of a page; more is clamped.
pub const LIMIT_MAX: usize = 1000;

/// The parameters of one call.
#[derive(Debug)]
pub struct Query {
    pairs: Vec<(String, String)>,
}

impl Query {
    /// Reads the query of a call that knows these parameters.
    ///
    /// # Errors
    /// A problem that names a parameter that is unknown or stands twice.
    pub fn read(uri: &Uri, known: &[&str]) -> Result<Query, Problem> {
        let mut pairs: Vec<(String, String)> = Vec::new();
        for (key, value) in url::form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()) {
            if !known.contains(&key.as_ref()) {
                return Err(unknown(&key, known));
            }
            if pairs.iter().any(|(earlier, _)| *earlier == key) {
                let detail = format!("the parameter `{key}` stands twice");
                return Err(Problem::new(&codes::BAD_PARAMETER, detail).at(key).fix("send it once"));
            }
            // `since=` says nothing, as if it were not there.
            if !value.is_empty() {
                pairs.push((key.into_owned(), value.into_owned()));
            }
        }
        Ok(Query { pairs })
    }

    /// A parameter as it stands.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        self.pairs.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    fn parsed<T, E: std::fmt::Display>(
        &self,
        name: &'static str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Result<Option<T>, Problem> {
        self.text(name).map(|text| parse(text).map_err(|error| bad(name, text, &error))).transpose()
    }

    /// A name.
    ///
    /// # Errors
    /// A problem that names the parameter; so for the others below.
    pub fn name(&self, name: &'static str) -> Result<Option<Name>, Problem> {
        self.parsed(name, Name::from_str)
    }

    /// A time, in RFC 3339.
    ///
    /// # Errors
    /// A problem that names the parameter.
    pub fn time(&self, name: &'static str) -> Result<Option<Timestamp>, Problem> {
        // A `+` of an offset that was not percent-encoded arrives as a space.
        self.parsed(name, |text| Timestamp::parse(&text.replace(' ', "+")))
    }

    /// A duration such as `30s`.
    ///
    /// # Errors
    /// A problem that names the parameter.
    pub fn duration(&self, name: &'static str) -> Result<Option<Duration>, Problem> {
        self.parsed(name, parse_duration)
    }

    /// `true` or `false`.
    ///
    /// # Errors
    /// A problem that names the parameter.
    pub fn flag(&self, name: &'static str) -> Result<bool, Problem> {
        Ok(self.parsed(name, bool::from_str)?.unwrap_or(false))
    }

    /// One of the words of an enum.
    ///
    /// # Errors
    /// A problem that names the parameter and the words.
    pub fn word<T: for<'de> Deserialize<'de>>(&self, name: &'static str) -> Result<Option<T>, Problem> {
        self.parsed(name, |text| {
            let text: StrDeserializer<'_, serde::de::value::Error> = text.into_deserializer();
            T::deserialize(text)
        })
    }

    /// `limit`, clamped to 1..=[`LIMIT_MAX`], and `cursor`.
    ///
    /// # Errors
    /// A problem where `limit` is no number.
    pub fn page(&self) -> Result<PageRequest, Problem> {
        let limit = self.parsed("limit", |text| {
            if text.chars().all(|c| c.is_ascii_digit()) {
                // What overflows is a number too, and clamped like any other.
                Ok(text.parse::<usize>().unwrap_or(usize::MAX).clamp(1, LIMIT_MAX))
            } else {
                Err(format!("a number from 1 to {LIMIT_MAX} belongs here"))
            }
        })?;
        Ok(PageRequest { limit: limit.unwrap_or(LIMIT_DEFAULT), cursor: self.text("cursor").map(str::to_owned) })
    }
}

/// A value that cannot be read, of the query or of the path.
pub(super) fn bad(name: &str, text: &str, error: &dyn std::fmt::Display) -> Problem {
    // What is echoed is cut: it is the client's own text, and may be long.
    let shown: String = text.chars().take(100).collect();
    Problem::new(&codes::BAD_PARAMETER, format!("`{name}` cannot be `{shown}`: {error}")).at(name)
}

fn unknown(key: &str, known: &[&str]) -> Problem {
    let shown: String = key.chars().take(100).collect();
    let nearest = known
        .iter()
        .map(|candidate| (strsim::jaro_winkler(candidate, key), candidate))
        .filter(|(likeness, _)| *likeness > 0.75)
        .max_by(|a, b| a.0.total_cmp(&b.0));
    let fix = match (nearest, known) {
        (Some((_, nearest)), _) => format!("did you mean `{nearest}`? This call knows: {}", known.join(", ")),
        (None, []) => "leave it out: this call takes no parameters".to_owned(),
        (None, known) => format!("this call knows: {}", known.join(", ")),
    };
    Problem::new(&codes::UNKNOWN_PARAMETER, format!("this call has no parameter `{shown}`")).at(shown.clone()).fix(fix)
}

#[cfg(test)]
mod tests {
    use eventyard_store::DeliveryState;

    use super::*;

    fn query(text: &str) -> Result<Query, Problem> {
        let uri: Uri = format!("/x?{text}").parse().unwrap();
        Query::read(&uri, &["since", "rule", "state", "limit", "cursor", "unmatched", "wait"])
    }

    #[test]
    fn a_misspelt_parameter_is_refused_with_the_nearest() {
        let problem = query("sinse=2026-11-21T00:00:00Z").unwrap_err();
        assert_eq!(problem.body().code, "unknown_parameter");
        assert!(problem.body().fix.contains("did you mean `since`?"), "{problem:?}");
        assert!(query("zzz=1").unwrap_err().body().fix.starts_with("this call knows"));
    }

    #[test]
    fn the_limit_is_clamped_and_must_be_a_number() {
        let limit = |text: &str| query(text).unwrap().page().map(|page| page.limit);
        assert_eq!(limit("").unwrap(), LIMIT_DEFAULT);
        assert_eq!(limit("limit=0").unwrap(), 1);
        assert_eq!(limit("limit=1000000000").unwrap(), LIMIT_MAX);
        assert_eq!(limit("limit=99999999999999999999999999").unwrap(), LIMIT_MAX);
        for bad in ["limit=-1", "limit=many", "limit=1e3"] {
            assert_eq!(limit(bad).unwrap_err().body().location.as_deref(), Some("limit"), "{bad}");
        }
    }

    #[test]
    fn values_are_read_or_named() {
        let good = query("since=2026-11-21T13:00:00+01:00&state=in_flight&wait=30s&unmatched=true&rule=").unwrap();
        assert_eq!(good.time("since").unwrap(), Some(Timestamp::parse("2026-11-21T12:00:00Z").unwrap()));
        assert_eq!(good.word::<DeliveryState>("state").unwrap(), Some(DeliveryState::InFlight));
        assert_eq!(good.duration("wait").unwrap(), Some(Duration::from_secs(30)));
        assert!(good.flag("unmatched").unwrap());
        assert_eq!(good.name("rule").unwrap(), None);

        let bad = query("since=yesterday&state=flying&wait=long&unmatched=1&rule=A").unwrap();
        assert_eq!(bad.time("since").unwrap_err().body().location.as_deref(), Some("since"));
        let state = bad.word::<DeliveryState>("state").unwrap_err();
        assert!(state.body().detail.contains("in_flight"), "the words are named: {state:?}");
        assert!(bad.duration("wait").is_err() && bad.flag("unmatched").is_err() && bad.name("rule").is_err());
        assert!(query("rule=a&rule=b").unwrap_err().body().detail.contains("twice"));
    }
}
