//! The bytes of objects that events name.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::BytesMut;
use eventyard_event::Event;
use serde::Deserialize;

use super::client::Bucket;
use super::failure::Failure;
use crate::objects::{Object, Objects};
use crate::sink::SendError;

/// Fetches objects of one source's bucket.
pub struct S3Objects {
    bucket: Arc<Bucket>,
}

/// What the data of an event says of its object.
#[derive(Deserialize)]
struct Named {
    bucket: String,
    key: String,
    size: Option<u64>,
    version_id: Option<String>,
}

impl S3Objects {
    pub(super) fn new(bucket: Arc<Bucket>) -> S3Objects {
        S3Objects { bucket }
    }

    async fn get(&self, named: Named, bytes_max: u64) -> Result<Object, Failure> {
        let client = self.bucket.client()?;
        let call = client.get_object().bucket(self.bucket.name()).key(named.key).set_version_id(named.version_id);
        let mut answer = call.send().await.map_err(|error| Failure::of("GetObject", error))?;
        let said = answer.content_length().and_then(|length| u64::try_from(length).ok()).unwrap_or_default();
        if said > bytes_max {
            return Err(too_large(said, bytes_max));
        }
        let mut body = BytesMut::new();
        while let Some(chunk) = answer.body.next().await {
            let broken = |error: aws_sdk_s3::primitives::ByteStreamError| {
                Failure::passing("response_broken", format!("GetObject: the object broke off: {error}"))
            };
            body.extend_from_slice(&chunk.map_err(broken)?);
            // What a store says of a length is not yet the length.
            if body.len() as u64 > bytes_max {
                return Err(too_large(body.len() as u64, bytes_max));
            }
        }
        Ok(Object { content_type: answer.content_type().map(str::to_owned), body: body.freeze() })
    }
}

fn too_large(size: u64, bytes_max: u64) -> Failure {
    Failure::lasting("object_too_large", format!("the object has {size} bytes, and {bytes_max} are fetched at most"))
}

#[async_trait]
impl Objects for S3Objects {
    async fn fetch(&self, event: &Event, bytes_max: u64) -> Result<Object, SendError> {
        let none = |why: &str| SendError::permanent("no_object", format!("the event names no object: {why}"));
        let data = event.data.json().ok_or_else(|| none("its data is no JSON"))?;
        let named: Named = serde_json::from_slice(data).map_err(|_| none("its data has no `bucket` and `key`"))?;
        if named.bucket != self.bucket.name() {
            return Err(none("its bucket is not the source's"));
        }
        // Spares the request; what the event says may be wrong, and is held against the answer too.
        if let Some(size) = named.size.filter(|size| *size > bytes_max) {
            return Err(too_large(size, bytes_max).of_send());
        }
        self.get(named, bytes_max).await.map_err(Failure::of_send)
    }
}
