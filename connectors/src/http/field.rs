//! Single values out of a request: a header's, or that of a member of its JSON body.

use std::borrow::Cow;
use std::collections::BTreeMap;

use eventyard_event::Data;
use http::HeaderMap;
use serde_json::value::RawValue;

/// A header's value without the spaces around it, where it is plain text.
pub(super) fn text_of<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok().map(str::trim)
}

/// A text or a number below `keys` in JSON data; a number as it is written.
pub(super) fn text_at<K: AsRef<str>>(data: &Data, keys: &[K]) -> Option<String> {
    let mut value: &RawValue = serde_json::from_slice(data.json()?).ok()?;
    for key in keys {
        let object: BTreeMap<Cow<'_, str>, &RawValue> = serde_json::from_str(value.get()).ok()?;
        value = object.get(key.as_ref()).copied()?;
    }
    let text = value.get();
    match text.bytes().next()? {
        b'"' => serde_json::from_str::<String>(text).ok(),
        b'-' | b'0'..=b'9' => Some(text.to_owned()),
        _ => None,
    }
}
