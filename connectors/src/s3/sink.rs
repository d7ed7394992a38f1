//! Writes events into a bucket.
//!
//! An event counts as sent when the store has answered to the object that holds it. What an object is called comes from
//! the events and from the first delivery in it, so that the same deliveries sent again write over what they wrote.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_s3::primitives::ByteStream;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use futures_util::StreamExt;
use serde_json::Value;

use super::client::Bucket;
use super::failure::Failure;
use super::guard::{VIA_METADATA, via_of};
use super::key::{self, Template};
use super::settings::SinkConfig;
use crate::gather::{Gatherer, SendBatch};
use crate::sink::{SendError, SendRequest, Sent, Sink};
use crate::spec::{ConfigError, read_checked};

/// How many objects of one batch are written at once.
const PUTS_AT_ONCE: usize = 8;

/// `[sink.NAME] kind = "s3"`.
pub struct S3Sink {
    writer: Arc<Writer>,
    write: Write,
}

/// What becomes of an event.
enum Write {
    Lines(Gatherer<Writer>, usize),
    Object { key: Template },
}

/// What writes objects.
struct Writer {
    bucket: Bucket,
    prefix: Template,
    gzip: bool,
}

/// Lines that go into one object.
#[derive(Default)]
struct Gathered {
    /// The name of the first delivery.
    first: String,
    /// Places in the batch.
    places: Vec<usize>,
    lines: Vec<u8>,
}

impl S3Sink {
    /// Makes a sink from its table (held against [`SINK_SPEC`](super::SINK_SPEC)); connects to nothing.
    ///
    /// # Errors
    /// Everything that will not do, each with the key it stands at.
    pub fn build(table: &Value) -> Result<S3Sink, Vec<ConfigError>> {
        let bucket = Bucket::build(table)?;
        let config: SinkConfig = read_checked(table)?;
        let prefix = Template::parse("prefix", &config.prefix).map_err(|error| vec![error])?;
        let conflict = |key: &str, write: &str| {
            let message = format!("`{key}` means nothing with `write = \"{write}\"`");
            Err(vec![ConfigError::at(key, "conflict", message).help("leave it out")])
        };
        let of_objects = config.write == "object";
        if of_objects && config.compression.is_some() {
            return conflict("compression", "object");
        }
        if !of_objects && config.key.is_some() {
            return conflict("key", "lines");
        }
        let gzip = config.compression.as_deref() == Some("gzip");
        let writer = Arc::new(Writer { bucket, prefix, gzip });
        let write = if of_objects {
            let key = config.key.as_deref().unwrap_or("{delivery}");
            if key.is_empty() {
                return Err(vec![ConfigError::at("key", "bad_value", "an object needs a key")]);
            }
            Write::Object { key: Template::parse("key", key).map_err(|error| vec![error])? }
        } else {
            let max = table.pointer("/batch/max").and_then(Value::as_u64).unwrap_or_default();
            let max = usize::try_from(max).unwrap_or(usize::MAX);
            Write::Lines(Gatherer::new(Arc::clone(&writer), config.batch), max)
        };
        Ok(S3Sink { writer, write })
    }
}

impl Writer {
    /// Writes the data of one event as an object.
    async fn write_object(&self, key: &Template, request: &SendRequest) -> Result<Sent, SendError> {
        let key = key::finish(&format!("{}{}", self.prefix.fill(request)?, key.fill(request)?))?;
        let payload = &request.payload;
        let put = Put {
            key,
            body: payload.body.clone(),
            content_type: payload.content_type.as_deref().unwrap_or("application/octet-stream"),
            content_encoding: None,
            via: via_of(&request.event.event),
        };
        self.put(put, request.timeout).await.map_err(Failure::of_send)
    }

    /// Writes many events as lines: one result for each, in their order.
    async fn write_lines(&self, requests: &[SendRequest]) -> Vec<Result<Sent, SendError>> {
        let mut results: Vec<Option<Result<Sent, SendError>>> = vec![None; requests.len()];
        // By the object's prefix and by the sources that its events came through, which its metadata names.
        let mut objects: BTreeMap<(String, Option<&str>), Gathered> = BTreeMap::new();
        for ((place, request), result) in requests.iter().enumerate().zip(&mut results) {
            match self.prefix.fill(request).and_then(|prefix| Ok((prefix, key::line(request)?))) {
                Ok((prefix, line)) => {
                    let gathered = objects.entry((prefix, via_of(&request.event.event))).or_default();
                    if gathered.places.is_empty() {
                        gathered.first.clone_from(&request.delivery);
                    }
                    gathered.places.push(place);
                    gathered.lines.extend(line);
                }
                Err(error) => *result = Some(Err(error)),
            }
        }
        let timeout = requests.iter().map(|request| request.timeout).min().unwrap_or_default();
        let puts = objects.into_iter().map(|((prefix, via), gathered)| async move {
            let result = self.write_gathered(&prefix, via, gathered.first, gathered.lines, timeout).await;
            (gathered.places, result)
        });
        let ended: Vec<_> =
            futures_util::stream::iter(puts.collect::<Vec<_>>()).buffer_unordered(PUTS_AT_ONCE).collect().await;
        for (places, result) in ended {
            for place in places {
                if let Some(slot) = results.get_mut(place) {
                    *slot = Some(result.clone());
                }
            }
        }
        let lost = || Err(SendError::retryable("internal", "the object of this event was not written"));
        results.into_iter().map(|result| result.unwrap_or_else(lost)).collect()
    }

    async fn write_gathered(
        &self,
        prefix: &str,
        via: Option<&str>,
        first: String,
        lines: Vec<u8>,
        timeout: Duration,
    ) -> Result<Sent, SendError> {
        let ending = if self.gzip { "jsonl.gz" } else { "jsonl" };
        let key = key::finish(&format!("{prefix}{first}.{ending}"))?;
        let body = if self.gzip { packed(lines).await? } else { lines };
        let put = Put {
            key,
            body: Bytes::from(body),
            content_type: "application/x-ndjson",
            content_encoding: self.gzip.then_some("gzip"),
            via,
        };
        self.put(put, timeout).await.map_err(Failure::of_send)
    }

    async fn put(&self, put: Put<'_>, timeout: Duration) -> Result<Sent, Failure> {
        let client = self.bucket.client()?;
        let mut call = client
            .put_object()
            .bucket(self.bucket.name())
            .key(&put.key)
            .content_type(put.content_type)
            .set_content_encoding(put.content_encoding.map(str::to_owned))
            .body(ByteStream::from(put.body));
        if let Some(via) = put.via {
            call = call.metadata(VIA_METADATA, via);
        }
        let answer = tokio::time::timeout(timeout, call.send()).await.map_err(|_| Failure::timeout(timeout))?;
        let answer = answer.map_err(|error| Failure::of("PutObject", error))?;
        Ok(Sent {
            code: "object_written".into(),
            response_head: key::shown(self.bucket.name(), &put.key, answer.e_tag()),
            ..Sent::default()
        })
    }
}

/// One object to be written.
struct Put<'a> {
    key: String,
    body: Bytes,
    content_type: &'a str,
    content_encoding: Option<&'a str>,
    via: Option<&'a str>,
}

/// Packs lines on a thread of its own: megabytes of them would hold up everything else.
async fn packed(lines: Vec<u8>) -> Result<Vec<u8>, SendError> {
    let work = tokio::task::spawn_blocking(move || {
        let mut encoder = GzEncoder::new(Vec::with_capacity(lines.len() / 4), Compression::fast());
        encoder.write_all(&lines)?;
        encoder.finish()
    });
    let failed =
        |problem: String| SendError::retryable("compression", format!("the lines cannot be packed: {problem}"));
    work.await.map_err(|error| failed(error.to_string()))?.map_err(|error| failed(error.to_string()))
}

#[async_trait]
impl SendBatch for Writer {
    async fn send_batch(&self, requests: &[SendRequest]) -> Vec<Result<Sent, SendError>> {
        self.write_lines(requests).await
    }
}

#[async_trait]
impl Sink for S3Sink {
    async fn send(&self, request: SendRequest) -> Result<Sent, SendError> {
        match &self.write {
            Write::Object { key } => self.writer.write_object(key, &request).await,
            Write::Lines(gatherer, _) => gatherer.send(request).await,
        }
    }

    fn concurrency(&self) -> Option<usize> {
        match &self.write {
            Write::Lines(_, max) => Some(*max),
            Write::Object { .. } => None,
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::io::Read;

    use eventyard_event::{Data, Envelope, Event, EventId, Name, Timestamp};
    use serde_json::json;

    use super::*;
    use crate::sink::{Payload, PayloadForm};
    use crate::spec::normalise;

    /// A delivery of an event with this subject and data.
    pub(in super::super) fn request(number: u8, subject: &str, data: &'static [u8]) -> SendRequest {
        let event = Event {
            id: number.to_string().into(),
            source: "/shop".into(),
            ty: "order.created".into(),
            subject: Some(subject.into()),
            time: Some("2026-11-22T01:02:03Z".into()),
            datacontenttype: Some("application/json".into()),
            data: Data::Json(Bytes::from_static(data)),
            ..Event::default()
        };
        let envelope = Envelope {
            id: EventId::from_bytes([number; 16]),
            namespace: Name::default_namespace(),
            source_name: Name::new("shop").unwrap(),
            tags: Vec::new(),
            received_at: Timestamp::EPOCH,
            hop_count: 0,
            keys_unique: true,
            event,
        };
        SendRequest {
            delivery: format!("delivery-{number}"),
            attempt: 1,
            at: Timestamp::EPOCH,
            payload: Payload { content_type: None, body: Bytes::from_static(data), form: PayloadForm::Raw },
            event: Arc::new(envelope),
            timeout: Duration::from_secs(5),
            traceparent: None,
        }
    }

    #[test]
    fn a_line_is_one_line() {
        let line = key::line(&request(1, "a", b"{\n  \"a\":\r\n 1\n}")).unwrap();
        assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1);
        let value: Value = serde_json::from_slice(&line).unwrap();
        assert_eq!((&value["type"], &value["data"]["a"]), (&json!("order.created"), &json!(1)));
    }

    #[tokio::test]
    async fn what_is_packed_is_what_was_there() {
        let packed = packed(b"{}\n{}\n".to_vec()).await.unwrap();
        let mut plain = Vec::new();
        flate2::read::GzDecoder::new(packed.as_slice()).read_to_end(&mut plain).unwrap();
        assert_eq!(plain, b"{}\n{}\n");
    }

    #[test]
    fn keys_that_mean_nothing_together_are_refused() {
        let codes = |extra: Value| {
            let mut table = json!({ "bucket": "archive", "prefix": "" });
            table.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
            let table = normalise(crate::s3::SINK_SPEC.fields, table.as_object().unwrap()).unwrap();
            let table = Value::Object(table);
            match S3Sink::build(&table) {
                Ok(_) => Vec::new(),
                Err(errors) => errors.into_iter().map(|error| error.code).collect(),
            }
        };
        assert!(codes(json!({})).is_empty());
        assert!(codes(json!({ "write": "object", "key": "{name}" })).is_empty());
        assert_eq!(codes(json!({ "key": "{name}" })), ["conflict"]);
        assert_eq!(codes(json!({ "write": "object", "compression": "gzip" })), ["conflict"]);
        assert_eq!(codes(json!({ "prefix": "../" })), ["bad_value"]);
        assert_eq!(codes(json!({ "write": "object", "key": "" })), ["bad_value"]);
        let keys = json!({ "access_key_id": "a", "secret_access_key": "b", "credentials": "role" });
        assert_eq!(codes(keys), ["conflict"]);
    }
}
