//! GitHub: "Validating webhook deliveries" and "Webhook events and payloads" of its documentation.

use eventyard_event::Data;
use http::{HeaderMap, HeaderName};

use super::{Preset, Reading, Unreadable, Unsigned, is_word, keys};
use crate::http::field::text_of;
use crate::http::verify::{Encoding, Hash, HmacVerifier, Part, Verifier, hex, hmac_sha256};
use crate::secret::Secrets;
use crate::spec::ConfigError;

/// The older X-Hub-Signature is HMAC-SHA-1 and not looked at.
const SIGNATURE: &str = "x-hub-signature-256";
const SIGNATURE_PREFIX: &str = "sha256=";
const EVENT: &str = "x-github-event";
const DELIVERY: &str = "x-github-delivery";

pub(super) const PRESET: Preset = Preset {
    name: "github",
    verifier,
    read,
    extensions: &[
        ("x-github-hook-id", "githubhookid"),
        ("x-github-hook-installation-target-type", "githubtargettype"),
        ("x-github-hook-installation-target-id", "githubtargetid"),
    ],
    headers,
    sign,
    samples: &[
        ("ping", include_str!("samples/github.ping.json")),
        ("push", include_str!("samples/github.push.json")),
        ("pull_request", include_str!("samples/github.pull_request.json")),
        ("issues", include_str!("samples/github.issues.json")),
    ],
};

fn verifier(secrets: &Secrets) -> Result<Verifier, Vec<ConfigError>> {
    Ok(Verifier::Hmac(HmacVerifier {
        keys: keys(secrets)?,
        header: HeaderName::from_static(SIGNATURE),
        hash: Hash::Sha256,
        encoding: Encoding::Hex,
        prefix: SIGNATURE_PREFIX.to_owned(),
        payload: vec![Part::Body],
        timestamp: None,
    }))
}

fn read(headers: &HeaderMap, _: &Data) -> Result<Reading, Unreadable> {
    let word = text_of(headers, EVENT).filter(|word| is_word(word)).ok_or(Unreadable::Header(EVENT))?;
    Ok(Reading::Event { word: word.to_owned(), id: text_of(headers, DELIVERY).map(str::to_owned) })
}

fn headers(word: &str, id: &str) -> Vec<(&'static str, String)> {
    vec![(EVENT, word.to_owned()), (DELIVERY, id.to_owned())]
}

fn sign(secret: &str, request: &Unsigned<'_>) -> Vec<(&'static str, String)> {
    vec![(SIGNATURE, format!("{SIGNATURE_PREFIX}{}", hex(&hmac_sha256(secret.as_bytes(), &[request.body]))))]
}
