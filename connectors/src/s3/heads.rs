//! Asks objects where they came from, where nobody has said so.

use aws_sdk_s3::error::SdkError;
use futures_util::StreamExt;

use super::change::{Change, Kind};
use super::client::Bucket;
use super::failure::Failure;
use super::guard::VIA_METADATA;

/// How many objects are asked for their metadata at once.
pub(super) const HEADS_AT_ONCE: usize = 16;

/// Asks each new object which sources it came through, where the store has not said so already.
pub(super) async fn ask(bucket: &Bucket, changes: Vec<Change>) -> Result<Vec<Change>, Failure> {
    let client = bucket.client()?;
    let asked = changes.into_iter().map(|change| async move {
        if change.kind == Kind::Deleted || change.metadata_known {
            return Ok(change);
        }
        let head = client.head_object().bucket(bucket.name()).key(&change.key);
        match head.set_version_id(change.version_id.clone()).send().await {
            Ok(found) => Ok(Change {
                via: found.metadata().and_then(|all| all.get(VIA_METADATA)).cloned(),
                content_type: change.content_type.or(found.content_type),
                metadata_known: true,
                ..change
            }),
            // Whoever the event is delivered to finds out that it is gone.
            Err(SdkError::ServiceError(said)) if said.raw().status().as_u16() == 404 => Ok(change),
            Err(error) => {
                let failure = Failure::of("HeadObject", error);
                if failure.code != "forbidden" {
                    return Err(failure);
                }
                tracing::warn!(
                    bucket = bucket.name(),
                    key = change.key,
                    "the store does not let us ask where an object came from; it is taken, and nothing keeps it from \
                     going in a circle: allow HeadObject, or set loop_guard = false"
                );
                Ok(change)
            }
        }
    });
    let answers: Vec<Result<Change, Failure>> =
        futures_util::stream::iter(asked.collect::<Vec<_>>()).buffered(HEADS_AT_ONCE).collect().await;
    answers.into_iter().collect()
}
