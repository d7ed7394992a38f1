//! GitLab: "Webhooks" and "Webhook events" of its documentation.
//!
//! A hook has a secret token, which comes back as it is in a header, or, in newer versions, a signing token
//! (`whsec_…`), with which each request is signed as standardwebhooks.com describes. Both are read, also beside
//! each other, so that a hook can be moved from the one to the other.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use eventyard_event::Data;
use http::{HeaderMap, HeaderName};

use super::{Preset, Reading, Unreadable, Unsigned, is_word};
use crate::http::field::{text_at, text_of};
use crate::http::verify::{
    Digested, TOLERANCE, Verifier, WHSEC, checked, hmac_sha256, standard_webhooks_key, standard_webhooks_signed,
};
use crate::secret::Secrets;
use crate::spec::ConfigError;

const TOKEN: &str = "x-gitlab-token";
const EVENT: &str = "x-gitlab-event";

/// The same for each try of one delivery. The header X-Gitlab-Event-UUID is not: what one event sets off has the same.
const DELIVERY: &str = "idempotency-key";

/// The word in [`EVENT`] for what an administrator's hook tells; what happened stands in the body.
const SYSTEM: &str = "system";

pub(super) const PRESET: Preset = Preset {
    name: "gitlab",
    verifier,
    read,
    extensions: &[
        ("x-gitlab-instance", "gitlabinstance"),
        ("x-gitlab-webhook-uuid", "gitlabwebhookuuid"),
        ("x-gitlab-event-uuid", "gitlabeventuuid"),
    ],
    headers,
    sign,
    samples: &[
        ("push", include_str!("samples/gitlab.push.json")),
        ("merge_request", include_str!("samples/gitlab.merge_request.json")),
        ("pipeline", include_str!("samples/gitlab.pipeline.json")),
    ],
};

fn verifier(secrets: &Secrets) -> Result<Verifier, Vec<ConfigError>> {
    let texts = checked(secrets, "secret")?;
    let (signing, plain): (Vec<&str>, Vec<&str>) = texts.into_iter().partition(|text| text.starts_with(WHSEC));
    let mut ways = Vec::new();
    if !signing.is_empty() {
        let keys = signing.into_iter().map(standard_webhooks_key).collect::<Result<_, _>>()?;
        ways.push(Verifier::StandardWebhooks { keys, tolerance: TOLERANCE });
    }
    if !plain.is_empty() {
        let keys = plain.into_iter().map(Digested::of).collect();
        ways.push(Verifier::ApiKey { header: HeaderName::from_static(TOKEN), keys });
    }
    Ok(Verifier::AnyOf(ways))
}

/// `Merge Request Hook` is the word `merge_request`.
fn read(headers: &HeaderMap, data: &Data) -> Result<Reading, Unreadable> {
    let named = text_of(headers, EVENT).ok_or(Unreadable::Header(EVENT))?;
    let mut word = named.strip_suffix(" Hook").unwrap_or(named).to_ascii_lowercase().replace(' ', "_");
    if word == SYSTEM
        && let Some(happened) = text_at(data, &["event_name"]).or_else(|| text_at(data, &["object_kind"]))
    {
        word = happened;
    }
    if !is_word(&word) {
        return Err(Unreadable::Header(EVENT));
    }
    Ok(Reading::Event { word, id: text_of(headers, DELIVERY).map(str::to_owned) })
}

fn headers(word: &str, id: &str) -> Vec<(&'static str, String)> {
    let capital = |part: &str| {
        let mut chars = part.chars();
        chars.next().map_or_else(String::new, |first| first.to_ascii_uppercase().to_string() + chars.as_str())
    };
    let words: Vec<String> = word.split('_').map(capital).collect();
    vec![(EVENT, format!("{} Hook", words.join(" "))), (DELIVERY, id.to_owned())]
}

fn sign(secret: &str, request: &Unsigned<'_>) -> Vec<(&'static str, String)> {
    let Some(key) = secret.strip_prefix(WHSEC).and_then(|text| STANDARD.decode(text).ok()) else {
        return vec![(TOKEN, secret.to_owned())];
    };
    let seconds = request.seconds();
    let mac = hmac_sha256(&key, &standard_webhooks_signed(request.id, &seconds, request.body));
    vec![
        ("webhook-id", request.id.to_owned()),
        ("webhook-timestamp", seconds),
        ("webhook-signature", format!("v1,{}", STANDARD.encode(mac))),
    ]
}
