//! What the specification demands of an event's attributes, and what our limits do.
//!
//! The choices, where the specification leaves some:
//! - Extension names are `[a-z0-9]+`. The specification's "SHOULD NOT exceed 20 characters" is advice to those
//!   who invent names; longer ones are accepted.
//! - `dataschema` is a URI with a scheme; a fragment is accepted, because JSON Schema references carry one.
//! - `time` may have a leap second (`:60`), as RFC 3339 says, in any minute, and as many
//!   digits of a second as the sender likes. It is kept as written.

use fluent_uri::{Uri, UriRef};

use crate::text::is_printable_ascii;
use crate::{Event, EventError, ExtensionValue, Limits, media_type};

/// The attributes that the specification itself defines. An extension may not take one of these names, nor
/// `data` or `data_base64`, which are members of the JSON format beside the attributes.
const DEFINED: [&str; 9] =
    ["specversion", "id", "source", "type", "subject", "time", "datacontenttype", "dataschema", "data"];

/// How many characters of something a sender wrote are repeated in an error.
const QUOTED_CHARS_MAX: usize = 64;

impl Event {
    /// Checks everything that CloudEvents 1.0 demands of attributes, and `limits`. The data is not looked at.
    ///
    /// # Errors
    /// [`EventError::MissingAttribute`] for an empty `id`, `source` or `type`, [`EventError::Attribute`] for
    /// one that breaks a rule or is too long, [`EventError::Limit`] for too many extensions.
    pub fn check(&self, limits: &Limits) -> Result<(), EventError> {
        for (name, value) in [("id", &self.id), ("source", &self.source), ("type", &self.ty)] {
            check_text(name, value, limits)?;
        }
        let optional = [
            ("subject", &self.subject),
            ("time", &self.time),
            ("datacontenttype", &self.datacontenttype),
            ("dataschema", &self.dataschema),
        ];
        for (name, value) in optional {
            if let Some(value) = value {
                check_text(name, value, limits)?;
            }
        }
        self.check_formats()?;
        self.check_extensions(limits)
    }

    fn check_formats(&self) -> Result<(), EventError> {
        check_source(&self.source)?;
        self.time.as_deref().map_or(Ok(()), check_time)?;
        self.dataschema.as_deref().map_or(Ok(()), check_schema)?;
        self.datacontenttype.as_deref().map_or(Ok(()), check_content_type)
    }

    fn check_extensions(&self, limits: &Limits) -> Result<(), EventError> {
        if self.extensions.len() > limits.extensions_max {
            return Err(EventError::Limit {
                what: format!("the number of extension attributes, {},", self.extensions.len()),
                limit: "extensions",
                max: limits.extensions_max,
            });
        }
        for (name, value) in &self.extensions {
            let text = if let ExtensionValue::String(text) = value { Some(text.as_str()) } else { None };
            check_extension(name, text, limits)?;
        }
        Ok(())
    }
}

pub(crate) fn check_source(source: &str) -> Result<(), EventError> {
    let is_plain = source.bytes().fold(true, |plain, byte| plain & is_plain_in_uri(byte));
    if is_plain || UriRef::parse(source).is_ok() {
        return Ok(());
    }
    Err(attribute("source", format!("is no URI-reference: `{}`", quoted(source))))
}

pub(crate) fn check_time(time: &str) -> Result<(), EventError> {
    let Some(problem) = time_problem(time) else { return Ok(()) };
    Err(attribute("time", format!("{problem}: `{}`; write it like 2026-11-21T11:30:45Z", quoted(time))))
}

pub(crate) fn check_schema(schema: &str) -> Result<(), EventError> {
    if Uri::parse(schema).is_ok() {
        return Ok(());
    }
    Err(attribute("dataschema", format!("is no absolute URI: `{}`", quoted(schema))))
}

pub(crate) fn check_content_type(content_type: &str) -> Result<(), EventError> {
    if media_type::is_well_formed(content_type) {
        return Ok(());
    }
    Err(attribute("datacontenttype", format!("is no media type: `{}`", quoted(content_type))))
}

/// An [`EventError::Attribute`], with a name that a sender may have chosen cut to a length fit for reading.
pub(crate) fn attribute(name: &str, problem: impl Into<String>) -> EventError {
    EventError::Attribute { name: quoted(name), problem: problem.into() }
}

/// What a sender wrote, as it may stand in an error: short, on one line, no control characters.
pub(crate) fn quoted(text: &str) -> String {
    let mut shown: String = text.chars().take(QUOTED_CHARS_MAX).flat_map(char::escape_debug).collect();
    if text.chars().nth(QUOTED_CHARS_MAX).is_some() {
        shown.push('…');
    }
    shown
}

pub(crate) fn check_spec_version(text: &str) -> Result<(), EventError> {
    if text == "1.0" { Ok(()) } else { Err(EventError::SpecVersion(quoted(text))) }
}

/// Checks an extension, and its text where that is what its value is.
pub(crate) fn check_extension(name: &str, text: Option<&str>, limits: &Limits) -> Result<(), EventError> {
    check_extension_name(name, limits)?;
    let Some(text) = text else { return Ok(()) };
    check_length(name, text, limits)?;
    check_characters(name, text)
}

fn check_extension_name(name: &str, limits: &Limits) -> Result<(), EventError> {
    if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit()) {
        return Err(attribute(name, "has a name that is not made of a-z and 0-9 alone"));
    }
    if DEFINED.contains(&name) {
        return Err(attribute(name, "is no extension: the specification gives this name a meaning of its own"));
    }
    check_length(name, name, limits)
}

/// Length, emptiness and characters of an attribute that the specification defines.
pub(crate) fn check_text(name: &'static str, value: &str, limits: &Limits) -> Result<(), EventError> {
    if value.is_empty() {
        return Err(attribute(name, "is empty"));
    }
    check_length(name, value, limits)?;
    check_characters(name, value)
}

fn check_length(name: &str, value: &str, limits: &Limits) -> Result<(), EventError> {
    if value.len() > limits.attribute_bytes_max {
        let (length, max) = (value.len(), limits.attribute_bytes_max);
        return Err(attribute(name, format!("has {length} bytes, over the limit `attribute` of {max}")));
    }
    Ok(())
}

/// The specification's String type: no control characters, no Unicode noncharacters. (Surrogates cannot stand
/// in a `str`; the readers refuse them.)
fn check_characters(name: &str, value: &str) -> Result<(), EventError> {
    // Nearly every value.
    if is_printable_ascii(value) {
        return Ok(());
    }
    match value.chars().find(|&c| is_forbidden(c)) {
        Some(c) => {
            Err(attribute(name, format!("has the character U+{:04X}, which no attribute may hold", u32::from(c))))
        }
        None => Ok(()),
    }
}

/// Whether a text may be an attribute's value: not empty, within the limit, and without forbidden characters.
#[must_use]
pub fn fits_attribute(text: &str, limits: &Limits) -> bool {
    check_text("id", text, limits).is_ok()
}

/// What no attribute may hold (CloudEvents, "Type System"): control characters and what Unicode says is no character.
#[must_use]
pub fn is_forbidden(c: char) -> bool {
    let code = u32::from(c);
    c.is_control() || (0xfdd0..=0xfdef).contains(&code) || code & 0xfffe == 0xfffe
}

/// What stands in paths and names as it is: a text of these alone is a URI-reference, however it is put together.
fn is_plain_in_uri(byte: u8) -> bool {
    matches!(byte, b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'-' | b'.' | b'_' | b'~')
}

/// Why a text is no RFC 3339 timestamp. Stricter than most readers of dates, on purpose: what we pass on must
/// be readable by whoever gets it.
fn time_problem(text: &str) -> Option<&'static str> {
    const NOT_RFC_3339: &str = "is no RFC 3339 time";
    let bytes = text.as_bytes();
    let shape = b"dddd-dd-ddTdd:dd:dd";
    let fits = bytes.len() > shape.len()
        && bytes.iter().zip(shape).all(|(byte, wanted)| match wanted {
            b'd' => byte.is_ascii_digit(),
            other => byte.eq_ignore_ascii_case(other),
        });
    if !fits {
        return Some(NOT_RFC_3339);
    }
    let number = |from: usize, to: usize| text.get(from..to).and_then(|digits| digits.parse::<u32>().ok());
    let (Some(year), Some(month), Some(day)) = (number(0, 4), number(5, 7), number(8, 10)) else {
        return Some(NOT_RFC_3339);
    };
    let (Some(hour), Some(minute), Some(second)) = (number(11, 13), number(14, 16), number(17, 19)) else {
        return Some(NOT_RFC_3339);
    };
    if !(1..=12).contains(&month) || day == 0 || day > days_of(year, month) {
        return Some("names a day that does not exist");
    }
    if hour > 23 || minute > 59 || second > 60 {
        return Some("names a time of day that does not exist");
    }
    let rest = text.get(shape.len()..).unwrap_or_default();
    let offset = match rest.strip_prefix('.') {
        Some(fraction) => {
            let offset = fraction.trim_start_matches(|c: char| c.is_ascii_digit());
            if offset.len() == fraction.len() {
                return Some(NOT_RFC_3339);
            }
            offset
        }
        None => rest,
    };
    if is_offset(offset) { None } else { Some("has no offset from UTC (`Z` or like `+02:00`)") }
}

/// `Z`, or hours and minutes with a sign.
fn is_offset(text: &str) -> bool {
    match text.as_bytes() {
        [b'Z' | b'z'] => true,
        [b'+' | b'-', h1, h2, b':', m1, m2] if [h1, h2, m1, m2].iter().all(|digit| digit.is_ascii_digit()) => {
            (*h1, *h2) <= (b'2', b'3') && *m1 <= b'5'
        }
        _ => false,
    }
}

fn days_of(year: u32, month: u32) -> u32 {
    match month {
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Text, Timestamp, format_text};

    fn event() -> Event {
        Event { id: "1".into(), source: "/s".into(), ty: "t".into(), ..Event::default() }
    }

    fn refused(event: &Event) -> String {
        let error = event.check(&Limits::default()).unwrap_err();
        assert_eq!(error.code(), "ce_attribute", "{error}");
        error.to_string()
    }

    #[test]
    fn required_attributes_are_text_of_some_length() {
        assert_eq!(event().check(&Limits::default()), Ok(()));
        assert!(refused(&Event { id: Text::default(), ..event() }).contains("`id` is empty"));
        assert!(refused(&Event { ty: Text::default(), ..event() }).contains("`type` is empty"));
        assert!(refused(&Event { id: "x".repeat(1 << 20).into(), ..event() }).contains("limit `attribute` of 4096"));
        assert!(refused(&Event { id: "a\0b".into(), ..event() }).contains("U+0000"));
        assert!(refused(&Event { subject: Some("\u{85}".into()), ..event() }).contains("U+0085"));
        assert!(refused(&Event { subject: Some("\u{fdd0}".into()), ..event() }).contains("U+FDD0"));
        assert!(refused(&Event { subject: Some("\u{1ffff}".into()), ..event() }).contains("U+1FFFF"));
        let plain = Event { subject: Some("Euro € 😀 \"quoted\"".into()), ..event() };
        assert_eq!(plain.check(&Limits::default()), Ok(()));
    }

    #[test]
    fn what_is_plain_is_a_uri_reference() {
        let plain: Vec<u8> = (0..=u8::MAX).filter(|byte| is_plain_in_uri(*byte)).collect();
        let mut random = fastrand::Rng::with_seed(1);
        for _ in 0..20_000 {
            // Many slashes, which mean most.
            let byte = |random: &mut fastrand::Rng| if random.bool() { b'/' } else { *random.choice(&plain).unwrap() };
            let text: String = (0..random.usize(..9)).map(|_| char::from(byte(&mut random))).collect();
            assert!(UriRef::parse(text.as_str()).is_ok(), "{text}");
        }
    }

    #[test]
    fn source_is_a_uri_reference_and_dataschema_a_uri() {
        for good in ["/s", "https://a.example/b?c#d", "urn:uuid:6e8bc430", "mailto:a@b.example", "sensors/tn-1", "//a"]
        {
            assert_eq!(Event { source: good.into(), ..event() }.check(&Limits::default()), Ok(()), "{good}");
        }
        for bad in ["a b", "http://[::1", "%zz", "caf\u{e9}", "1:2"] {
            assert!(refused(&Event { source: bad.into(), ..event() }).contains("URI-reference"), "{bad}");
        }
        let schema = |text: &str| Event { dataschema: Some(text.into()), ..event() };
        assert_eq!(schema("https://a.example/s.json#/d").check(&Limits::default()), Ok(()));
        assert!(refused(&schema("/s.json")).contains("absolute"));
    }

    #[test]
    fn time_is_rfc_3339_and_nothing_wider() {
        let time = |text: &str| Event { time: Some(text.into()), ..event() };
        let good = [
            "2018-04-05T17:31:00Z",
            "2018-04-05t17:31:00.123456789012345z",
            "2024-02-29T23:59:60Z",
            "0000-01-01T00:00:00-00:00",
            "9998-12-31T23:59:59+23:59",
        ];
        for good in good {
            assert_eq!(time(good).check(&Limits::default()), Ok(()), "{good}");
        }
        for common in &good[2..] {
            assert!(Timestamp::parse(common).is_ok(), "usable as an instant: {common}");
        }
        let bad = [
            "10000-01-01T00:00:00Z",
            "+10000-01-01T00:00:00Z",
            "2018-04-05",
            "2018-04-05 17:31:00Z",
            "2018-04-05T17:31:00",
            "2018-04-05T17:31Z",
            "2018-04-05T17:31:00.Z",
            "2018-04-05T17:31:00+0200",
            "2018-04-05T17:31:00+24:00",
            "2018-04-05T17:31:00+02:60",
            "2018-04-05T17:31:00Z[UTC]",
            "2018-04-05T24:00:00Z",
            "2018-04-05T17:31:61Z",
            "2018-02-29T17:31:00Z",
            "1900-02-29T17:31:00Z",
            "2018-13-01T17:31:00Z",
            "2018-00-01T17:31:00Z",
            "2018-01-00T17:31:00Z",
            "２018-04-05T17:31:00Z",
            "yesterday",
        ];
        for bad in bad {
            assert!(refused(&time(bad)).contains("`time`"), "{bad}");
        }
    }

    #[test]
    fn extension_names_are_lower_case_letters_and_digits_of_any_length() {
        let with = |name: &str| {
            let mut event = event();
            event.extensions.insert(name.into(), ExtensionValue::String("v".into()));
            event
        };
        for good in ["a", "traceparent", "0", "averyveryverylongextensionname"] {
            assert_eq!(with(good).check(&Limits::default()), Ok(()), "{good}");
        }
        for bad in ["", "Bad-Name", "snake_case", "d\u{e9}j\u{e0}", "data", "data_base64", "id", "specversion"] {
            refused(&with(bad));
        }
    }

    #[test]
    fn the_number_of_extensions_has_a_limit() {
        let mut event = event();
        for index in 0..65 {
            event.extensions.insert(format_text!("e{index}"), ExtensionValue::Boolean(true));
        }
        let error = event.check(&Limits::default()).unwrap_err();
        assert_eq!((error.code(), error.to_string().contains("`extensions`")), ("ce_limit", true));
    }
}
