//! Stripe: "Receive Stripe events in your webhook endpoint" and "Verify webhook signatures manually" of its
//! documentation.

use eventyard_event::Data;
use http::HeaderMap;

use super::{Preset, Reading, Unreadable, Unsigned, is_word, keys};
use crate::http::field::text_at;
use crate::http::verify::{STRIPE_SIGNATURE, TOLERANCE, Verifier, hex, hmac_sha256};
use crate::secret::Secrets;
use crate::spec::ConfigError;

pub(super) const PRESET: Preset = Preset {
    name: "stripe",
    verifier,
    read,
    extensions: &[],
    headers,
    sign,
    samples: &[
        ("invoice.paid", include_str!("samples/stripe.invoice.paid.json")),
        ("checkout.session.completed", include_str!("samples/stripe.checkout.session.completed.json")),
        ("customer.subscription.deleted", include_str!("samples/stripe.customer.subscription.deleted.json")),
    ],
};

fn verifier(secrets: &Secrets) -> Result<Verifier, Vec<ConfigError>> {
    Ok(Verifier::Stripe { keys: keys(secrets)?, tolerance: TOLERANCE })
}

fn read(_: &HeaderMap, data: &Data) -> Result<Reading, Unreadable> {
    let word = text_at(data, &["type"]).filter(|word| is_word(word)).ok_or(Unreadable::Body("type"))?;
    Ok(Reading::Event { word, id: text_at(data, &["id"]) })
}

fn headers(_: &str, _: &str) -> Vec<(&'static str, String)> {
    Vec::new()
}

fn sign(secret: &str, request: &Unsigned<'_>) -> Vec<(&'static str, String)> {
    let seconds = request.seconds();
    let mac = hmac_sha256(secret.as_bytes(), &[seconds.as_bytes(), b".", request.body]);
    vec![(STRIPE_SIGNATURE, format!("t={seconds},v1={}", hex(&mac)))]
}
