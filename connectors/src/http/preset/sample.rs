//! Requests as a known sender would make them, for `eventyard events send github.push`.

use bytes::Bytes;
use eventyard_event::Timestamp;

use super::{PRESETS, Preset, Unsigned, is_word};

/// A request that a known sender could have made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SampleRequest {
    /// Its headers, names in lower case; the content type among them.
    pub headers: Vec<(&'static str, String)>,
    /// Its body.
    pub body: Bytes,
}

/// Why there is no such request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoSample {
    /// No preset has this name.
    #[error("there is no such preset")]
    Preset,
    /// The preset has no body for this word; any word goes with a body of one's own.
    #[error("the preset has no example of this event")]
    Word,
}

/// Every event that [`sample`] has a body for, as `(preset, word)`.
pub fn samples() -> impl Iterator<Item = (&'static str, &'static str)> {
    PRESETS.iter().flat_map(|preset| preset.samples.iter().map(|(word, _)| (preset.name, *word)))
}

/// The request by which the sender `preset` tells of `word` (of `push`, for the type `github.push`): with its example
/// body or with `body`, with the delivery id `id`, and with the proof that `secret` gives, or without any.
///
/// # Errors
/// [`NoSample`].
pub fn sample(
    preset: &str,
    word: &str,
    body: Option<Bytes>,
    id: &str,
    at: Timestamp,
    secret: Option<&str>,
) -> Result<SampleRequest, NoSample> {
    let preset = Preset::find(preset).ok_or(NoSample::Preset)?;
    let example = || preset.samples.iter().find(|(name, _)| *name == word).map(|(_, text)| filled(text, id, at));
    let body = match body {
        Some(body) if is_word(word) => body,
        Some(_) => return Err(NoSample::Word),
        None => example().ok_or(NoSample::Word)?,
    };
    let mut headers = vec![("content-type", "application/json".to_owned())];
    headers.extend((preset.headers)(word, id));
    if let Some(secret) = secret {
        headers.extend((preset.sign)(secret, &Unsigned { id, at, body: &body }));
    }
    Ok(SampleRequest { headers, body })
}

/// An example with its places filled: those of what is different each time.
fn filled(text: &str, id: &str, at: Timestamp) -> Bytes {
    let seconds = at.as_millis().div_euclid(1000).to_string();
    Bytes::from(
        text.trim_end().replace("<id>", id).replace("\"<seconds>\"", &seconds).replace("<time>", &at.to_string()),
    )
}
