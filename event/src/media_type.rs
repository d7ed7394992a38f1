//! Media types (RFC 2046): what a content type says about data, without looking at the data.

use crate::text::is_printable_ascii;

/// The media type without its parameters and the space around it: `application/json; charset=utf-8` gives
/// `application/json`. Upper and lower case are the sender's; compare without regard to them.
#[must_use]
pub fn essence(content_type: &str) -> &str {
    content_type.split(';').next().unwrap_or_default().trim()
}

/// Whether a content type has the form `type/subtype`, with or without parameters.
///
/// Parameters are not looked into: senders write odd ones, and nothing here depends on them but `charset`.
#[must_use]
pub fn is_well_formed(content_type: &str) -> bool {
    // What most of them are.
    if content_type == "application/json" {
        return true;
    }
    let Some((kind, subtype)) = essence(content_type).split_once('/') else { return false };
    is_printable_ascii(content_type) && is_token(kind) && is_token(subtype)
}

/// Whether a content type declares JSON: `*/json` or `*/*+json`, with any parameters.
#[must_use]
pub fn is_json(content_type: &str) -> bool {
    let Some((_, subtype)) = essence(content_type).split_once('/') else { return false };
    subtype.eq_ignore_ascii_case("json") || ends_with_ignoring_case(subtype, "+json")
}

/// Whether a content type declares text in UTF-8, so that its bytes may be shown and carried as a string:
/// `text/*`, XML, JavaScript, YAML and forms, unless a `charset` names another encoding.
#[must_use]
pub fn is_text(content_type: &str) -> bool {
    let essence = essence(content_type);
    let Some((kind, subtype)) = essence.split_once('/') else { return false };
    let textual = kind.eq_ignore_ascii_case("text")
        || ends_with_ignoring_case(subtype, "+xml")
        || ["xml", "javascript", "yaml", "x-www-form-urlencoded", "x-ndjson", "jsonl", "toml", "graphql"]
            .iter()
            .any(|known| subtype.eq_ignore_ascii_case(known));
    textual && charset_is_utf8(content_type)
}

/// Whether a content type's `charset` is UTF-8, a subset of it, or not given.
#[must_use]
pub fn charset_is_utf8(content_type: &str) -> bool {
    let charset = content_type.split(';').skip(1).find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("charset").then_some(value.trim().trim_matches('"'))
    });
    charset.is_none_or(|name| ["utf-8", "utf8", "us-ascii"].iter().any(|known| name.eq_ignore_ascii_case(known)))
}

fn ends_with_ignoring_case(text: &str, end: &str) -> bool {
    let (text, end) = (text.as_bytes(), end.as_bytes());
    text.len() >= end.len() && text[text.len() - end.len()..].eq_ignore_ascii_case(end)
}

/// RFC 9110's `token`.
fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_known_by_subtype_and_suffix() {
        for json in ["application/json", "text/json", "Application/JSON; charset=utf-8", "application/problem+json"] {
            assert!(is_json(json), "{json}");
        }
        for other in ["", "json", "application/jsonp", "application/json-seq", "text/plain; a=application/json"] {
            assert!(!is_json(other), "{other}");
        }
    }

    #[test]
    fn text_in_another_encoding_is_not_taken_for_utf8() {
        assert!(is_text("text/plain"));
        assert!(is_text("text/plain; charset=\"UTF-8\""));
        assert!(is_text("image/svg+xml"));
        assert!(!is_text("text/plain; charset=iso-8859-1"));
        assert!(!is_text("application/octet-stream"));
        assert!(!is_text("text"));
    }

    #[test]
    fn a_media_type_is_two_tokens() {
        assert!(is_well_formed("application/vnd.x+json;a=\"b c\""));
        for bad in ["", "text", "text/", "/plain", "te xt/plain", "text/plain/x", "text/plain;\u{e9}", "a/b;\n"] {
            assert!(!is_well_formed(bad), "{bad:?}");
        }
    }
}
