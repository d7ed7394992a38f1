//! Senders that are known: how each signs, names its events and numbers its deliveries. One table, so that
//! another sender is another entry.

use super::verify::{Encoding, Hash, HmacVerifier, Key, Part, Verifier};
use http::HeaderName;

/// A known sender.
#[derive(Debug)]
pub(super) struct Preset {
    /// `preset = "…"`; also what its event types begin with.
    pub(super) name: &'static str,
    /// The header whose HMAC-SHA-256 of the body, in hex, proves the sender.
    signature_header: &'static str,
    /// What stands before the signature.
    signature_prefix: &'static str,
    /// The header that names what happened; the event's type is `NAME.VALUE`.
    pub(super) type_header: &'static str,
    /// The header that numbers the delivery; a redelivery has the same.
    pub(super) id_header: &'static str,
    /// Headers that become extension attributes.
    pub(super) extensions: &'static [(&'static str, &'static str)],
}

const PRESETS: &[Preset] = &[Preset {
    name: "github",
    // The older X-Hub-Signature is HMAC-SHA-1 and not looked at.
    signature_header: "x-hub-signature-256",
    signature_prefix: "sha256=",
    type_header: "x-github-event",
    id_header: "x-github-delivery",
    extensions: &[
        ("x-github-hook-id", "githubhookid"),
        ("x-github-hook-installation-target-type", "githubtargettype"),
        ("x-github-hook-installation-target-id", "githubtargetid"),
    ],
}];

impl Preset {
    /// The preset of this name.
    pub(super) fn find(name: &str) -> Option<&'static Preset> {
        PRESETS.iter().find(|preset| preset.name == name)
    }

    /// How its requests prove where they come from.
    pub(super) fn verifier(&self, keys: Vec<Key>) -> Verifier {
        Verifier::Hmac(HmacVerifier {
            keys,
            header: HeaderName::from_static(self.signature_header),
            hash: Hash::Sha256,
            encoding: Encoding::Hex,
            prefix: self.signature_prefix.to_owned(),
            payload: vec![Part::Body],
            timestamp: None,
        })
    }
}
