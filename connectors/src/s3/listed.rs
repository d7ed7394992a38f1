//! What a page of a listing says, and what it cannot say.
//!
//! XML holds few control characters. A store that is asked for `encoding-type=url` writes keys as forms do, which holds
//! everything; one that takes no notice of that writes U+FFFD in the place of what it cannot say, and the key is not the
//! object's any more. So a plain key with U+FFFD is *doubtful*: the store is asked for it, and where there is no such
//! object, that one cannot be read. Nor can a listing go on behind such a key: between what it is and what it is written
//! as, there is room for others.

use std::fmt::Write as _;

use aws_sdk_s3::error::SdkError;
use aws_sdk_s3::operation::list_objects_v2::ListObjectsV2Output;
use aws_sdk_s3::types::{EncodingType, Object};
use bytes::Bytes;
use eventyard_event::Timestamp;
use futures_util::{StreamExt, TryStreamExt};
use serde_json::{Value, json};

use super::change::{Change, DEDUPE, Kind};
use super::client::Bucket;
use super::failure::Failure;
use super::guard::digest;
use super::heads::HEADS_AT_ONCE;
use super::notification::unquoted;
use super::seen::Sight;
use super::text::unform;
use crate::source::Undecodable;

/// What stands for a character that cannot be said.
const LOST: char = '\u{fffd}';

/// The code of an object whose key cannot be read.
const CODE: &str = "key_unreadable";

/// An object of a page.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) sight: Sight,
    pub(super) change: Change,
    /// Whether its key may be another.
    pub(super) doubtful: bool,
}

/// The objects of a page.
pub(super) fn found(bucket: &Bucket, page: &ListObjectsV2Output) -> Vec<Found> {
    let encoded = is_encoded(page);
    page.contents().iter().map(|object| found_one(bucket, object, encoded)).collect()
}

fn is_encoded(page: &ListObjectsV2Output) -> bool {
    page.encoding_type() == Some(&EncodingType::Url)
}

fn found_one(bucket: &Bucket, object: &Object, encoded: bool) -> Found {
    let raw = object.key().unwrap_or_default();
    // A store that says it encodes and does not is taken at its key.
    let key = encoded.then(|| unform(raw)).flatten().unwrap_or_else(|| raw.to_owned());
    let time = object.last_modified().and_then(|at| at.to_millis().ok()).map(Timestamp::from_millis);
    let millis = time.map_or(0, Timestamp::as_millis);
    let etag = object.e_tag().map(unquoted);
    let hash = digest(&[&key, etag.as_deref().unwrap_or_default(), &millis.to_string()]);
    let doubtful = !encoded && key.contains(LOST);
    let change = Change {
        kind: Kind::Created,
        bucket: bucket.name().to_owned(),
        key,
        size: object.size().and_then(|size| u64::try_from(size).ok()),
        etag,
        version_id: None,
        // A listing has none; the time takes its place.
        sequencer: Some(format!("{millis:016x}")),
        event_name: "ObjectCreated:Listed".to_owned(),
        time,
        content_type: None,
        via: None,
        metadata_known: false,
    };
    Found { sight: (millis, hash), change, doubtful }
}

/// How many objects to ask for instead, where the next page would begin behind a key that is perhaps another.
///
/// # Errors
/// There is no other key to begin behind.
pub(super) fn shorter(page: &ListObjectsV2Output) -> Result<Option<i32>, Failure> {
    let goes_on_by = page.next_continuation_token().filter(|_| page.is_truncated() == Some(true));
    if is_encoded(page) || !goes_on_by.is_some_and(|token| token.contains(LOST)) {
        return Ok(None);
    }
    let is_sure = |object: &Object| object.key().is_some_and(|key| !key.contains(LOST));
    let last = page.contents().iter().rposition(is_sure).and_then(|at| i32::try_from(at + 1).ok());
    let message = "all keys of a page hold control characters, which the store does not say: nothing behind them can be \
                   listed before some of them are renamed";
    last.map(Some).ok_or_else(|| Failure::passing(CODE, message))
}

/// Of doubtful objects, those that are there, and a letter for each other.
pub(super) async fn look_for(
    bucket: &Bucket,
    doubtful: Vec<Change>,
) -> Result<(Vec<Change>, Vec<Undecodable>), Failure> {
    let client = bucket.client()?;
    let looked = doubtful.into_iter().map(|change| async move {
        match client.head_object().bucket(bucket.name()).key(&change.key).send().await {
            Err(SdkError::ServiceError(said)) if said.raw().status().as_u16() == 404 => Ok(Err(unreadable(change))),
            // Who may not ask takes it as it is.
            Err(error) => {
                Some(Failure::of("HeadObject", error)).filter(|it| it.code != "forbidden").map_or(Ok(Ok(change)), Err)
            }
            Ok(_) => Ok(Ok(change)),
        }
    });
    let looked: Vec<Result<Change, Undecodable>> =
        futures_util::stream::iter(looked.collect::<Vec<_>>()).buffered(HEADS_AT_ONCE).try_collect().await?;
    let (mut there, mut letters) = (Vec::new(), Vec::new());
    for one in looked {
        match one {
            Ok(change) => there.push(change),
            Err(letter) => letters.push(letter),
        }
    }
    Ok((there, letters))
}

fn unreadable(change: Change) -> Undecodable {
    let mut message = String::from("the store lists an object as ");
    // Writing to a String cannot fail.
    let _ = write!(message, "{:?}", change.key);
    message.push_str(
        " and has none of that name: the real key holds a control character, which this store's listing cannot say, or \
         the object was deleted meanwhile",
    );
    tracing::warn!(bucket = change.bucket, key = change.key, code = CODE, "{message}");
    let time = change.time.map(|at| at.to_jiff().to_string());
    let at = json!({ "bucket": change.bucket, "key": change.key, "etag": change.etag, "time": time });
    let at = if let Value::Object(at) = at { at } else { serde_json::Map::new() };
    Undecodable {
        at,
        raw: Bytes::new(),
        size: change.size.unwrap_or_default(),
        code: CODE.to_owned(),
        message,
        dedupe: Some(DEDUPE),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(keys: &[&str], token: Option<&str>) -> ListObjectsV2Output {
        let objects = keys.iter().map(|key| Object::builder().key(*key).build()).collect();
        let page = ListObjectsV2Output::builder().set_contents(Some(objects)).is_truncated(token.is_some());
        page.set_next_continuation_token(token.map(str::to_owned)).build()
    }

    #[test]
    fn a_listing_goes_on_only_behind_a_key_that_is_sure() {
        let asked = |keys: &[&str], token| shorter(&page(keys, token)).map_err(|failure| failure.code);
        assert_eq!(asked(&["a", "b"], Some("b")), Ok(None));
        assert_eq!(asked(&["a", "b\u{fffd}", "c"], Some("c")), Ok(None));
        assert_eq!(asked(&["a", "b\u{fffd}"], None), Ok(None));
        assert_eq!(asked(&["a", "b\u{fffd}", "c\u{fffd}"], Some("c\u{fffd}")), Ok(Some(1)));
        // A token that is no key tells nothing of keys.
        assert_eq!(asked(&["a", "b\u{fffd}"], Some("b3BhcXVl")), Ok(None));
        assert_eq!(asked(&["b\u{fffd}"], Some("b\u{fffd}")), Err("key_unreadable"));
    }
}
