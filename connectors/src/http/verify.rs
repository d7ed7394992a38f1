//! Proofs of where a request comes from, on the bytes as they came.
//!
//! Every failure gives the same answer, after the same work: each key's MAC is computed whatever the header says,
//! and what was sent is compared in constant time. The one exception is a right signature with a time that is off:
//! its sender holds the key, and is told that it is `stale`.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use eventyard_event::Timestamp;
use hmac::{Hmac, KeyInit, Mac};
use http::{HeaderMap, HeaderName};
use serde::Deserialize;
use sha2::{Digest, Sha256, Sha512};
use subtle::{Choice, ConstantTimeEq};

use crate::secret::Secrets;
use crate::spec::ConfigError;

/// How many signatures of one request are looked at. A sender that rotates its key sends two.
const SIGNATURES_MAX: usize = 16;

/// How many secrets may be good at once: enough for any rotation, few enough to hash a body with each.
const SECRETS_MAX: usize = 8;

/// How far a signed time may be off where the project does not say: what the senders' own libraries allow.
pub(super) const TOLERANCE: Duration = Duration::from_secs(300);

/// What a secret of standardwebhooks.com begins with.
pub(super) const WHSEC: &str = "whsec_";

/// The header of Stripe's signatures.
pub(super) const STRIPE_SIGNATURE: &str = "stripe-signature";

/// `verify`, after its shape was checked.
#[derive(Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(super) enum VerifyConfig {
    Hmac {
        secret: Secrets,
        header: String,
        algorithm: String,
        encoding: String,
        prefix: String,
        payload: String,
        timestamp_header: Option<String>,
        #[serde(rename = "tolerance")]
        tolerance_ms: u64,
    },
    #[serde(rename = "standard-webhooks")]
    StandardWebhooks {
        secret: Secrets,
        #[serde(rename = "tolerance")]
        tolerance_ms: u64,
    },
    Basic {
        username: String,
        password: Secrets,
    },
    ApiKey {
        header: String,
        secret: Secrets,
    },
    None,
}

/// A proof that is asked of every request.
#[derive(Debug)]
pub(super) enum Verifier {
    /// A MAC of the body, or of a text around it.
    Hmac(HmacVerifier),
    /// standardwebhooks.com
    StandardWebhooks { keys: Vec<Key>, tolerance: Duration },
    /// HTTP Basic authentication.
    Basic { username: Digested, passwords: Vec<Digested> },
    /// A key in a header.
    ApiKey { header: HeaderName, keys: Vec<Digested> },
    /// `Stripe-Signature: t=TIME,v1=MAC,v1=MAC`, the MAC in hex of `TIME.BODY`.
    Stripe { keys: Vec<Key>, tolerance: Duration },
    /// One of these proofs, as while a sender is moved from the one to the other.
    AnyOf(Vec<Verifier>),
    /// Nothing is asked.
    None,
}

/// The key of a MAC. Never shown.
pub(super) struct Key(Vec<u8>);

/// The digest of a secret that is compared. Never shown: a short secret could be guessed from it.
pub(super) struct Digested([u8; 32]);

impl Key {
    /// Keeps the bytes of a key.
    pub(super) fn new(bytes: impl Into<Vec<u8>>) -> Key {
        Key(bytes.into())
    }

    /// The HMAC-SHA-256 of these pieces, one after another.
    pub(super) fn hmac_sha256(&self, pieces: &[&[u8]]) -> Vec<u8> {
        Hash::Sha256.mac(self, pieces)
    }
}

impl Digested {
    /// Secrets are compared by their digests, so that not even their lengths show in the time.
    pub(super) fn of(text: &str) -> Digested {
        Digested(Sha256::digest(text.as_bytes()).into())
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key(…)")
    }
}

impl std::fmt::Debug for Digested {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Digested(…)")
    }
}

/// Why a request is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Disbelief {
    /// No proof, or a wrong one.
    Unproved,
    /// The proof is right and too old, or from the future.
    Stale,
}

/// A MAC in a header.
#[derive(Debug)]
pub(super) struct HmacVerifier {
    pub(super) keys: Vec<Key>,
    pub(super) header: HeaderName,
    pub(super) hash: Hash,
    pub(super) encoding: Encoding,
    pub(super) prefix: String,
    pub(super) payload: Vec<Part>,
    pub(super) timestamp: Option<(HeaderName, Duration)>,
}

/// The hash under a MAC.
#[derive(Clone, Copy, Debug)]
pub(super) enum Hash {
    Sha256,
    Sha512,
}

/// How a signature is written.
#[derive(Clone, Copy, Debug)]
pub(super) enum Encoding {
    Hex,
    Base64,
}

/// A piece of what is signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Text(String),
    Timestamp,
    Body,
}

impl Verifier {
    /// From what the project says.
    pub(super) fn build(config: VerifyConfig) -> Result<Verifier, Vec<ConfigError>> {
        match config {
            VerifyConfig::None => Ok(Verifier::None),
            VerifyConfig::Hmac { .. } => HmacVerifier::build(config).map(Verifier::Hmac),
            VerifyConfig::StandardWebhooks { secret, tolerance_ms } => {
                let keys =
                    checked(&secret, "secret")?.into_iter().map(standard_webhooks_key).collect::<Result<_, _>>()?;
                Ok(Verifier::StandardWebhooks { keys, tolerance: Duration::from_millis(tolerance_ms) })
            }
            VerifyConfig::Basic { username, password } => {
                if username.contains(':') {
                    return Err(vec![ConfigError::at("username", "bad_value", "a user's name may not hold `:`")]);
                }
                let passwords = checked(&password, "password")?.into_iter().map(Digested::of).collect();
                Ok(Verifier::Basic { username: Digested::of(&username), passwords })
            }
            VerifyConfig::ApiKey { header, secret } => {
                let header = header_name(&header, "header")?;
                Ok(Verifier::ApiKey {
                    header,
                    keys: checked(&secret, "secret")?.into_iter().map(Digested::of).collect(),
                })
            }
        }
    }

    /// Whether a request is believed.
    pub(super) fn verify(&self, headers: &HeaderMap, body: &[u8], now: Timestamp) -> Result<(), Disbelief> {
        match self {
            Verifier::None => Ok(()),
            Verifier::Hmac(hmac) => hmac.verify(headers, body, now),
            Verifier::StandardWebhooks { keys, tolerance } => {
                verify_standard_webhooks(keys, *tolerance, headers, body, now)
            }
            Verifier::Stripe { keys, tolerance } => verify_stripe(keys, *tolerance, headers, body, now),
            Verifier::AnyOf(ways) => {
                // All of them, whichever is right: the time it takes tells nothing.
                let tried: Vec<_> = ways.iter().map(|way| way.verify(headers, body, now)).collect();
                let stale = tried.contains(&Err(Disbelief::Stale));
                if tried.contains(&Ok(())) {
                    Ok(())
                } else {
                    Err(if stale { Disbelief::Stale } else { Disbelief::Unproved })
                }
            }
            Verifier::Basic { username, passwords } => {
                let given = basic_credentials(headers);
                let (user, password) = given.as_deref().and_then(|text| text.split_once(':')).unwrap_or_default();
                let right = Digested::of(user).0.ct_eq(&username.0) & among(&Digested::of(password), passwords);
                proved(right, given.is_some())
            }
            Verifier::ApiKey { header, keys } => {
                let given = single(headers, header);
                proved(among(&Digested::of(given.unwrap_or_default()), keys), given.is_some())
            }
        }
    }
}

impl HmacVerifier {
    fn build(config: VerifyConfig) -> Result<HmacVerifier, Vec<ConfigError>> {
        let VerifyConfig::Hmac { secret, header, algorithm, encoding, prefix, payload, timestamp_header, tolerance_ms } =
            config
        else {
            return Err(vec![ConfigError::at("kind", "bad_value", "this is no hmac")]);
        };
        let payload =
            payload_parts(&payload).map_err(|problem| vec![ConfigError::at("payload", "bad_value", problem)])?;
        let signs_time = payload.contains(&Part::Timestamp);
        match &timestamp_header {
            Some(_) if !signs_time => {
                return Err(vec![
                    ConfigError::at("timestamp_header", "bad_value", "the time is not signed, so it proves nothing")
                        .help("put {timestamp} into `payload`, as the sender does, or leave `timestamp_header` out"),
                ]);
            }
            None if signs_time => {
                return Err(vec![
                    ConfigError::at("payload", "bad_value", "`{timestamp}` stands here, and nothing says where it is")
                        .help("name the header that holds it: timestamp_header = \"…\""),
                ]);
            }
            _ => {}
        }
        let timestamp = match timestamp_header {
            Some(name) => Some((header_name(&name, "timestamp_header")?, Duration::from_millis(tolerance_ms))),
            None => None,
        };
        Ok(HmacVerifier {
            keys: checked(&secret, "secret")?.into_iter().map(Key::new).collect(),
            header: header_name(&header, "header")?,
            hash: if algorithm == "sha512" { Hash::Sha512 } else { Hash::Sha256 },
            encoding: if encoding == "base64" { Encoding::Base64 } else { Encoding::Hex },
            prefix,
            payload,
            timestamp,
        })
    }

    fn verify(&self, headers: &HeaderMap, body: &[u8], now: Timestamp) -> Result<(), Disbelief> {
        let given = single(headers, &self.header)
            .and_then(|value| value.strip_prefix(self.prefix.as_str()))
            .and_then(|text| self.encoding.decode(text));
        let signed_at = self.timestamp.as_ref().and_then(|(header, _)| single(headers, header));
        let pieces: Vec<&[u8]> = self
            .payload
            .iter()
            .map(|part| match part {
                Part::Text(text) => text.as_bytes(),
                Part::Timestamp => signed_at.unwrap_or_default().as_bytes(),
                Part::Body => body,
            })
            .collect();
        let mut right = Choice::from(0);
        for key in &self.keys {
            right |= self.hash.mac(key, &pieces).ct_eq(given.as_deref().unwrap_or_default());
        }
        proved(right, given.is_some())?;
        match &self.timestamp {
            Some((_, tolerance)) => fresh(signed_at, *tolerance, now),
            None => Ok(()),
        }
    }
}

impl Hash {
    fn mac(self, Key(key): &Key, pieces: &[&[u8]]) -> Vec<u8> {
        match self {
            Hash::Sha256 => mac::<Hmac<Sha256>>(key, pieces),
            Hash::Sha512 => mac::<Hmac<Sha512>>(key, pieces),
        }
    }
}

impl Encoding {
    fn decode(self, text: &str) -> Option<Vec<u8>> {
        match self {
            Encoding::Base64 => STANDARD.decode(text).ok(),
            Encoding::Hex => unhex(text),
        }
    }
}

fn verify_standard_webhooks(
    keys: &[Key],
    tolerance: Duration,
    headers: &HeaderMap,
    body: &[u8],
    now: Timestamp,
) -> Result<(), Disbelief> {
    let id = single(headers, &HeaderName::from_static("webhook-id"));
    let signed_at = single(headers, &HeaderName::from_static("webhook-timestamp"));
    let signatures: Vec<Vec<u8>> = single(headers, &HeaderName::from_static("webhook-signature"))
        .unwrap_or_default()
        .split(' ')
        .take(SIGNATURES_MAX)
        .filter_map(|one| one.strip_prefix("v1,"))
        .filter_map(|encoded| STANDARD.decode(encoded).ok())
        .collect();
    let pieces = standard_webhooks_signed(id.unwrap_or_default(), signed_at.unwrap_or_default(), body);
    proved(signed(keys, &pieces, &signatures), id.is_some_and(|id| !id.is_empty()) && signed_at.is_some())?;
    fresh(signed_at, tolerance, now)
}

/// What standardwebhooks.com signs, in pieces.
pub(super) fn standard_webhooks_signed<'a>(id: &'a str, signed_at: &'a str, body: &'a [u8]) -> [&'a [u8]; 5] {
    [id.as_bytes(), b".", signed_at.as_bytes(), b".", body]
}

/// The key in a secret of standardwebhooks.com: base64, `whsec_` before it or not.
pub(super) fn standard_webhooks_key(text: &str) -> Result<Key, Vec<ConfigError>> {
    match STANDARD.decode(text.strip_prefix(WHSEC).unwrap_or(text)) {
        Ok(key) if !key.is_empty() => Ok(Key(key)),
        _ => Err(vec![
            ConfigError::at("secret", "bad_value", "the secret is not in base64")
                .help("standard-webhooks secrets are base64, with or without `whsec_` before it"),
        ]),
    }
}

fn verify_stripe(
    keys: &[Key],
    tolerance: Duration,
    headers: &HeaderMap,
    body: &[u8],
    now: Timestamp,
) -> Result<(), Disbelief> {
    let given = single(headers, &HeaderName::from_static(STRIPE_SIGNATURE)).unwrap_or_default();
    let parts = || given.split(',').take(SIGNATURES_MAX).filter_map(|part| part.trim().split_once('='));
    let signed_at = parts().find(|(name, _)| *name == "t").map(|(_, value)| value);
    // `v0` is a scheme for Stripe's own tests and proves nothing.
    let signatures: Vec<Vec<u8>> = parts().filter(|(name, _)| *name == "v1").filter_map(|(_, v)| unhex(v)).collect();
    let pieces: [&[u8]; 3] = [signed_at.unwrap_or_default().as_bytes(), b".", body];
    proved(signed(keys, &pieces, &signatures), signed_at.is_some())?;
    fresh(signed_at, tolerance, now)
}

/// Whether one of the signatures is one of the keys' over these pieces; the same work whichever it is.
fn signed(keys: &[Key], pieces: &[&[u8]], signatures: &[Vec<u8>]) -> Choice {
    let mut right = Choice::from(0);
    for key in keys {
        let expected = Hash::Sha256.mac(key, pieces);
        for signature in signatures {
            right |= expected.ct_eq(signature);
        }
    }
    right
}

/// The HMAC-SHA-256 of these pieces, one after another.
pub(super) fn hmac_sha256(key: &[u8], pieces: &[&[u8]]) -> Vec<u8> {
    mac::<Hmac<Sha256>>(key, pieces)
}

/// Bytes in lower-case hex.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn mac<M: Mac + KeyInit>(key: &[u8], pieces: &[&[u8]]) -> Vec<u8> {
    // HMAC takes keys of any length; the error exists for MACs that do not.
    let Ok(mut mac) = <M as KeyInit>::new_from_slice(key) else { return Vec::new() };
    for piece in pieces {
        mac.update(piece);
    }
    mac.finalize().into_bytes().to_vec()
}

fn proved(right: Choice, given: bool) -> Result<(), Disbelief> {
    if bool::from(right) && given { Ok(()) } else { Err(Disbelief::Unproved) }
}

fn fresh(signed_at: Option<&str>, tolerance: Duration, now: Timestamp) -> Result<(), Disbelief> {
    let seconds = signed_at.and_then(|text| text.parse::<i64>().ok()).ok_or(Disbelief::Unproved)?;
    let signed_at = Timestamp::from_millis(seconds.saturating_mul(1000));
    // A sender's seconds are cut, not rounded: up to one second of the difference is nobody's fault.
    let off = now.since(signed_at).max(signed_at.since(now));
    if off <= tolerance.saturating_add(Duration::from_secs(1)) { Ok(()) } else { Err(Disbelief::Stale) }
}

/// A header's value, where it stands there once and is plain text.
fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?;
    if values.next().is_some() { None } else { value.to_str().ok() }
}

fn basic_credentials(headers: &HeaderMap) -> Option<String> {
    let value = single(headers, &http::header::AUTHORIZATION)?;
    let (scheme, encoded) = value.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()
}

fn among(given: &Digested, good: &[Digested]) -> Choice {
    good.iter().fold(Choice::from(0), |right, one| right | one.0.ct_eq(&given.0))
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let nibble = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let bytes = text.as_bytes();
    if !bytes.len().is_multiple_of(2) {
        return None;
    }
    bytes.chunks_exact(2).map(|pair| Some(nibble(*pair.first()?)? << 4 | nibble(*pair.last()?)?)).collect()
}

/// The secrets' texts, none of them empty.
pub(super) fn checked<'a>(secrets: &'a Secrets, key: &str) -> Result<Vec<&'a str>, Vec<ConfigError>> {
    let texts: Vec<&str> = secrets.iter().map(super::super::secret::Secret::expose).collect();
    if texts.is_empty() || texts.iter().any(|text| text.is_empty()) {
        let error = ConfigError::at(key, "secret_empty", "an empty secret proves nothing");
        return Err(vec![error.help("where it comes from the environment, see that the variable is set")]);
    }
    if texts.len() > SECRETS_MAX {
        let message = format!("at most {SECRETS_MAX} secrets may be good at once");
        return Err(vec![ConfigError::at(key, "bad_value", message)]);
    }
    Ok(texts)
}

/// A header's name as the project writes it.
pub(super) fn header_name(text: &str, key: &str) -> Result<HeaderName, Vec<ConfigError>> {
    HeaderName::from_bytes(text.as_bytes()).map_err(|_| {
        vec![ConfigError::at(key, "bad_value", format!("`{}` is no header's name", text.escape_default()))]
    })
}

fn payload_parts(text: &str) -> Result<Vec<Part>, String> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        if !before.is_empty() {
            parts.push(Part::Text(before.to_owned()));
        }
        let (name, after) = after.split_once('}').ok_or("a `{` is not closed")?;
        parts.push(match name {
            "body" => Part::Body,
            "timestamp" => Part::Timestamp,
            other => return Err(format!("`{{{other}}}` is neither {{body}} nor {{timestamp}}")),
        });
        rest = after;
    }
    if !rest.is_empty() {
        parts.push(Part::Text(rest.to_owned()));
    }
    if parts.contains(&Part::Body) { Ok(parts) } else { Err("without `{body}` the body is not signed".to_owned()) }
}
