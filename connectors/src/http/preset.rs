//! Senders that are known: how each proves itself, names its events, numbers its deliveries and greets a new
//! address. One file a sender, and one line here.

mod github;
mod gitlab;
mod sample;
mod slack;
mod stripe;

use bytes::Bytes;
use eventyard_event::{Data, Timestamp};
use http::HeaderMap;

use super::verify::{Key, Verifier, checked};
use crate::secret::Secrets;
use crate::spec::ConfigError;

pub use sample::{NoSample, SampleRequest, sample, samples};

/// A known sender.
#[derive(Debug)]
pub(super) struct Preset {
    /// `preset = "…"`; also what its event types begin with.
    pub(super) name: &'static str,
    /// How its requests prove where they come from, by the project's secrets.
    verifier: fn(&Secrets) -> Result<Verifier, Vec<ConfigError>>,
    /// What a request is that has proved itself.
    read: fn(&HeaderMap, &Data) -> Result<Reading, Unreadable>,
    /// Headers that become extension attributes.
    pub(super) extensions: &'static [(&'static str, &'static str)],
    /// The headers of a request with this word, id and body as the sender would make it, but for the proof.
    headers: fn(&str, &str) -> Vec<(&'static str, String)>,
    /// The headers that prove it, by one secret.
    sign: fn(&str, &Unsigned<'_>) -> Vec<(&'static str, String)>,
    /// Bodies as the sender makes them, by the word of their type.
    samples: &'static [(&'static str, &'static str)],
}

/// What a request of a known sender is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Reading {
    /// Something happened.
    Event {
        /// What, in one word; the event's type is the preset's name, a dot and this.
        word: String,
        /// The sender's id of it, which a redelivery has as well.
        id: Option<String>,
    },
    /// Nothing happened: the sender asks whether somebody is here, and wants this back as plain text.
    Challenge(Bytes),
}

/// Why a request that has proved itself is still none of the sender's.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unreadable {
    /// This header is missing or holds no word.
    Header(&'static str),
    /// This member of the JSON body is missing or holds no word.
    Body(&'static str),
}

/// What a signature is made over.
struct Unsigned<'a> {
    id: &'a str,
    at: Timestamp,
    body: &'a [u8],
}

impl Unsigned<'_> {
    /// The time as the known senders sign it: whole seconds since 1970.
    fn seconds(&self) -> String {
        self.at.as_millis().div_euclid(1000).to_string()
    }
}

const PRESETS: &[Preset] = &[github::PRESET, gitlab::PRESET, slack::PRESET, stripe::PRESET];

/// The names that `preset` may have.
pub(super) const PRESET_NAMES: &[&str] =
    &[github::PRESET.name, gitlab::PRESET.name, slack::PRESET.name, stripe::PRESET.name];

/// The longest word that an event's type ends with, in bytes.
const WORD_BYTES_MAX: usize = 100;

impl Preset {
    /// The preset of this name.
    pub(super) fn find(name: &str) -> Option<&'static Preset> {
        PRESETS.iter().find(|preset| preset.name == name)
    }

    /// How its requests prove where they come from.
    pub(super) fn verifier(&self, secrets: &Secrets) -> Result<Verifier, Vec<ConfigError>> {
        (self.verifier)(secrets)
    }

    /// What a request is that has proved itself.
    pub(super) fn read(&self, headers: &HeaderMap, data: &Data) -> Result<Reading, Unreadable> {
        (self.read)(headers, data)
    }
}

/// The secrets as keys of a MAC.
fn keys(secrets: &Secrets) -> Result<Vec<Key>, Vec<ConfigError>> {
    Ok(checked(secrets, "secret")?.into_iter().map(Key::new).collect())
}

/// Whether a text may end an event's type.
fn is_word(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= WORD_BYTES_MAX
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'))
}
