//! Slack: "Verifying requests from Slack" and "Events API" of its documentation.

use bytes::Bytes;
use eventyard_event::Data;
use http::{HeaderMap, HeaderName};

use super::{Preset, Reading, Unreadable, Unsigned, is_word, keys};
use crate::http::field::{text_at, text_of};
use crate::http::verify::{Encoding, Hash, HmacVerifier, Part, TOLERANCE, Verifier, hex, hmac_sha256};
use crate::secret::Secrets;
use crate::spec::ConfigError;

const SIGNATURE: &str = "x-slack-signature";
const SIGNED_AT: &str = "x-slack-request-timestamp";
const VERSION: &str = "v0";

/// What a new address is asked: to say the body's `challenge` again.
const CHALLENGE: &str = "url_verification";

/// The longest challenge that is answered, in bytes. Slack's have some fifty.
const CHALLENGE_BYTES_MAX: usize = 1024;

/// What wraps an event of the Events API.
const WRAPPER: &str = "event_callback";

pub(super) const PRESET: Preset = Preset {
    name: "slack",
    verifier,
    read,
    extensions: &[("x-slack-retry-num", "slackretrynum"), ("x-slack-retry-reason", "slackretryreason")],
    headers,
    sign,
    samples: &[
        ("message", include_str!("samples/slack.message.json")),
        ("app_mention", include_str!("samples/slack.app_mention.json")),
        (CHALLENGE, include_str!("samples/slack.url_verification.json")),
    ],
};

fn verifier(secrets: &Secrets) -> Result<Verifier, Vec<ConfigError>> {
    Ok(Verifier::Hmac(HmacVerifier {
        keys: keys(secrets)?,
        header: HeaderName::from_static(SIGNATURE),
        hash: Hash::Sha256,
        encoding: Encoding::Hex,
        prefix: format!("{VERSION}="),
        payload: vec![Part::Text(format!("{VERSION}:")), Part::Timestamp, Part::Text(":".to_owned()), Part::Body],
        timestamp: Some((HeaderName::from_static(SIGNED_AT), TOLERANCE)),
    }))
}

/// Events come as JSON, what people click and slash commands as a form.
fn read(headers: &HeaderMap, data: &Data) -> Result<Reading, Unreadable> {
    if let Data::Bytes(body) = data {
        return read_form(headers, body);
    }
    let outer = text_at(data, &["type"]).unwrap_or_default();
    if outer == CHALLENGE {
        let challenge = text_at(data, &["challenge"]).filter(|text| text.len() <= CHALLENGE_BYTES_MAX);
        return challenge.map(|text| Reading::Challenge(Bytes::from(text))).ok_or(Unreadable::Body("challenge"));
    }
    let word = if outer == WRAPPER { text_at(data, &["event", "type"]).unwrap_or_default() } else { outer };
    if !is_word(&word) {
        return Err(Unreadable::Body("type"));
    }
    Ok(Reading::Event { word, id: text_at(data, &["event_id"]) })
}

fn read_form(headers: &HeaderMap, body: &[u8]) -> Result<Reading, Unreadable> {
    let is_form = text_of(headers, "content-type").is_some_and(|text| {
        eventyard_event::media_type::essence(text).eq_ignore_ascii_case("application/x-www-form-urlencoded")
    });
    let field = |name: &str| {
        let mut fields = url::form_urlencoded::parse(body).take(FORM_FIELDS_MAX);
        fields.find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
    };
    let word = match (is_form, field("payload"), field("command")) {
        (true, Some(payload), _) => text_at(&Data::Json(Bytes::from(payload)), &["type"]).unwrap_or_default(),
        (true, None, Some(_)) => "slash_command".to_owned(),
        _ => String::new(),
    };
    // Neither carries an id, and Slack sends neither again.
    if is_word(&word) { Ok(Reading::Event { word, id: None }) } else { Err(Unreadable::Body("type")) }
}

/// How many fields of a form are looked at: Slack's have some twelve.
const FORM_FIELDS_MAX: usize = 64;

fn headers(_: &str, _: &str) -> Vec<(&'static str, String)> {
    Vec::new()
}

fn sign(secret: &str, request: &Unsigned<'_>) -> Vec<(&'static str, String)> {
    let seconds = request.seconds();
    let pieces = [VERSION.as_bytes(), b":", seconds.as_bytes(), b":", request.body];
    let signature = format!("{VERSION}={}", hex(&hmac_sha256(secret.as_bytes(), &pieces)));
    vec![(SIGNED_AT, seconds), (SIGNATURE, signature)]
}
