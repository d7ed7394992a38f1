//! Makes events of what stores send of their own accord, however it came here.

use std::sync::Arc;

use async_trait::async_trait;

use super::change::{Change, Maker};
use super::client::Bucket;
use super::{heads, notification};
use crate::reader::{NotRead, Reader};
use crate::source::Incoming;

/// Reads S3's notifications for one source.
pub struct NotificationReader {
    bucket: Arc<Bucket>,
    prefix: String,
    maker: Maker,
    loop_guard: bool,
}

impl NotificationReader {
    pub(super) fn new(bucket: Arc<Bucket>, prefix: String, maker: Maker, loop_guard: bool) -> NotificationReader {
        NotificationReader { bucket, prefix, maker, loop_guard }
    }
}

#[async_trait]
impl Reader for NotificationReader {
    async fn read(&self, body: &[u8]) -> Result<Vec<Incoming>, NotRead> {
        let changes = notification::read(body).map_err(|problem| NotRead::Never {
            code: "not_s3",
            message: format!("this is no notification: {problem}"),
        })?;
        // A gateway tells of all its buckets, and only what is this source's may be fetched by it.
        let ours = |change: &Change| change.bucket == self.bucket.name() && change.key.starts_with(&self.prefix);
        let mut changes: Vec<Change> = changes.into_iter().filter(ours).collect();
        if self.loop_guard && changes.iter().any(|change| !change.metadata_known) {
            changes = heads::ask(&self.bucket, changes).await.map_err(|failure| NotRead::Now {
                code: failure.code,
                message: failure.message,
                retry_after: failure.retry_after,
            })?;
        }
        Ok(self.maker.events(&changes))
    }
}
