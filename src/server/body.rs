//! Reading a request's body: no larger, no slower and no more of them at once than [`ServerLimits`] say.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, header};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::ServerLimits;

/// The unit in which the memory for bodies is counted: a semaphore counts to 2^29 or so, not bytes.
const BUDGET_UNIT_BYTES: usize = 4096;

/// How much room is made ahead for a body that announces its length: most need no more, and whoever announces a lot
/// and sends nothing gets no more.
const RESERVED_BYTES_MAX: usize = 256 * 1024;

/// A body, and its share of the memory that all bodies may take; the share is given back when this is
/// dropped, so it is kept until the request is answered.
#[derive(Debug)]
pub struct ReadBody {
    /// The bytes as they came.
    pub bytes: Bytes,
    _share: Option<OwnedSemaphorePermit>,
}

/// Why a body was not read to its end. The connection cannot be used any further.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// It says that it is, or turned out to be, larger than allowed.
    #[error("the body is over the limit `{limit}` of {max} bytes")]
    TooLarge {
        /// The limit's name.
        limit: &'static str,
        /// In bytes.
        max: usize,
    },
    /// It did not come in time.
    #[error("the body did not come in time: {received} bytes after {} s", waited.as_secs())]
    TooSlow {
        /// Bytes that came.
        received: usize,
        /// How long was waited.
        waited: Duration,
    },
    /// It is compressed; the bytes are taken as they are or not at all.
    #[error("the content encoding `{0}` is not read")]
    Encoding(String),
    /// It broke off, or its chunks are not as HTTP has them.
    #[error("the body broke off after {received} bytes")]
    Broken {
        /// Bytes that came.
        received: usize,
        /// What hyper saw.
        #[source]
        source: axum::Error,
    },
    /// All bodies together take as much memory as they may.
    #[error("the bodies of other requests fill the memory that is set aside for them")]
    Busy,
}

/// Reads bodies within limits. Cheap to clone; the clones share one budget.
#[derive(Clone, Debug)]
pub struct BodyReader {
    budget: Arc<Semaphore>,
    limits: ServerLimits,
}

impl BodyReader {
    /// A reader with a budget of its own.
    #[must_use]
    pub fn new(limits: ServerLimits) -> BodyReader {
        let units = (limits.bodies_bytes_max / BUDGET_UNIT_BYTES).min(Semaphore::MAX_PERMITS);
        BodyReader { budget: Arc::new(Semaphore::new(units)), limits }
    }

    /// The limits it holds bodies to.
    #[must_use]
    pub fn limits(&self) -> &ServerLimits {
        &self.limits
    }

    /// Reads a body of at most `max` bytes; `limit` is the limit's name. A length that is announced and too
    /// large is refused before a byte is read.
    ///
    /// # Errors
    /// [`BodyError`]; the connection has to be closed after the answer.
    pub async fn read(
        &self,
        headers: &HeaderMap,
        mut body: Body,
        limit: &'static str,
        max: usize,
    ) -> Result<ReadBody, BodyError> {
        if let Some(encoding) = compressed(headers) {
            return Err(BodyError::Encoding(encoding));
        }
        let announced = axum::body::HttpBody::size_hint(&body).lower();
        let announced = usize::try_from(announced).unwrap_or(usize::MAX);
        if announced > max {
            return Err(BodyError::TooLarge { limit, max });
        }
        let began = Instant::now();
        let mut bytes = BytesMut::with_capacity(announced.min(RESERVED_BYTES_MAX));
        let mut share: Option<OwnedSemaphorePermit> = None;
        loop {
            let received = bytes.len();
            let deadline = began + self.limits.body_time_max + self.time_for(received);
            let frame = match tokio::time::timeout_at(deadline, body.frame()).await {
                Ok(None) => return Ok(ReadBody { bytes: bytes.freeze(), _share: share }),
                Ok(Some(Ok(frame))) => frame,
                Ok(Some(Err(source))) => return Err(BodyError::Broken { received, source }),
                Err(_) => return Err(BodyError::TooSlow { received, waited: began.elapsed() }),
            };
            // Trailers carry nothing that we read.
            let Ok(data) = frame.into_data() else { continue };
            if data.len() > max - received {
                return Err(BodyError::TooLarge { limit, max });
            }
            self.pay(&mut share, received + data.len())?;
            bytes.extend_from_slice(&data);
        }
    }

    /// How long `received` bytes may have taken at the lowest rate.
    fn time_for(&self, received: usize) -> Duration {
        let micros = (received as u128) * 1_000_000 / u128::from(self.limits.body_rate_min.max(1));
        Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX))
    }

    /// Takes as much of the budget as `bytes` need in all.
    fn pay(&self, share: &mut Option<OwnedSemaphorePermit>, bytes: usize) -> Result<(), BodyError> {
        let paid = share.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let missing = bytes.div_ceil(BUDGET_UNIT_BYTES).saturating_sub(paid);
        let Ok(missing) = u32::try_from(missing) else { return Err(BodyError::Busy) };
        if missing == 0 {
            return Ok(());
        }
        let more = Arc::clone(&self.budget).try_acquire_many_owned(missing).map_err(|_| BodyError::Busy)?;
        match share {
            Some(share) => share.merge(more),
            None => *share = Some(more),
        }
        Ok(())
    }
}

/// The content encoding, where it is one that changes the bytes.
fn compressed(headers: &HeaderMap) -> Option<String> {
    headers
        .get_all(header::CONTENT_ENCODING)
        .iter()
        .map(|value| String::from_utf8_lossy(value.as_bytes()).trim().to_owned())
        .find(|value| !value.is_empty() && !value.eq_ignore_ascii_case("identity"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reader(bodies_bytes_max: usize) -> BodyReader {
        BodyReader::new(ServerLimits { bodies_bytes_max, ..ServerLimits::default() })
    }

    async fn read(reader: &BodyReader, body: Body, max: usize) -> Result<ReadBody, BodyError> {
        reader.read(&HeaderMap::new(), body, "event", max).await
    }

    #[tokio::test]
    async fn a_body_at_the_limit_passes_and_one_byte_more_does_not() {
        let reader = reader(1 << 20);
        assert_eq!(read(&reader, Body::from("12345"), 5).await.unwrap().bytes, "12345");
        assert!(matches!(
            read(&reader, Body::from("123456"), 5).await,
            Err(BodyError::TooLarge { limit: "event", max: 5 })
        ));
    }

    #[tokio::test]
    async fn bodies_share_one_budget_and_give_it_back() {
        let reader = reader(2 * BUDGET_UNIT_BYTES);
        let first = read(&reader, Body::from(vec![b'a'; BUDGET_UNIT_BYTES + 1]), 1 << 20).await.unwrap();
        assert!(matches!(read(&reader, Body::from("b"), 1 << 20).await, Err(BodyError::Busy)));
        drop(first);
        assert!(read(&reader, Body::from("b"), 1 << 20).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_body_is_given_up_after_its_time() {
        let silent = Body::from_stream(futures_util::stream::pending::<Result<Bytes, std::io::Error>>());
        let error = read(&reader(1 << 20), silent, 100).await.unwrap_err();
        assert!(
            matches!(error, BodyError::TooSlow { received: 0, waited } if waited == Duration::from_secs(10)),
            "{error}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_line_passes_and_a_dripping_one_does_not() {
        use futures_util::StreamExt;
        let pieces = |size: usize, every: Duration, count: usize| {
            Body::from_stream(futures_util::stream::iter(0..count).then(move |_| async move {
                tokio::time::sleep(every).await;
                Ok::<_, std::io::Error>(Bytes::from(vec![b'a'; size]))
            }))
        };
        // 32 KiB a second for a minute.
        let slow = pieces(32 * 1024, Duration::from_secs(1), 60);
        assert_eq!(read(&reader(1 << 24), slow, 1 << 24).await.unwrap().bytes.len(), 60 * 32 * 1024);
        // One byte every nine seconds.
        let dripping = pieces(1, Duration::from_secs(9), 60);
        assert!(matches!(read(&reader(1 << 20), dripping, 1 << 20).await, Err(BodyError::TooSlow { .. })));
    }

    #[tokio::test]
    async fn a_compressed_body_is_refused_and_identity_is_not() {
        let with =
            |value: &str| -> HeaderMap { [(header::CONTENT_ENCODING, value.parse().unwrap())].into_iter().collect() };
        let reader = reader(1 << 20);
        let zipped = reader.read(&with("gzip"), Body::from("x"), "event", 10).await;
        assert!(matches!(zipped, Err(BodyError::Encoding(name)) if name == "gzip"));
        assert!(reader.read(&with("Identity"), Body::from("x"), "event", 10).await.is_ok());
    }
}
