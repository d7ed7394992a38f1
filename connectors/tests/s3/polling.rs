//! What a source that lists a bucket promises.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use eventyard_connectors::s3::{S3Source, SOURCE_SPEC, Way};
use eventyard_connectors::source::{
    Batch, Incoming, Intake, IntakeError, Seek, SeekError, Source, SourceContext, SourceError, Undecodable,
};
use eventyard_connectors::spec::normalise;
use eventyard_event::{Limits, Name, Timestamp};
use serde_json::{Value, json};

use crate::server::{Bucket, Kind, buckets};

/// No source that lists asks anything of it.
struct NoIntake;

#[async_trait]
impl Intake for NoIntake {
    async fn offer(&self, _batch: &mut Batch) -> Result<(), IntakeError> {
        Err(IntakeError::Closed)
    }
    async fn position(&self) -> Result<Option<Vec<u8>>, IntakeError> {
        Ok(None)
    }
    async fn last_settled(&self) -> Result<bool, IntakeError> {
        Ok(true)
    }
}

/// A source, and the position that the broker would have saved.
pub(crate) struct Polled {
    source: Box<dyn Source>,
    pub(crate) position: Option<Vec<u8>>,
    /// What could not be read.
    pub(crate) dead: Vec<Undecodable>,
}

pub(crate) fn build(name: &str, table: &serde_json::Map<String, Value>) -> S3Source {
    let table = Value::Object(normalise(SOURCE_SPEC.fields, table).unwrap());
    match S3Source::build(&Name::new(name).unwrap(), &table) {
        Ok(source) => source,
        Err(errors) => panic!("{errors:?}"),
    }
}

impl Polled {
    pub(crate) async fn connect(bucket: &Bucket, more: &Value, position: Option<Vec<u8>>) -> Polled {
        let mut table = bucket.table(&json!({ "poll_every": "100ms" }));
        table.extend(more.as_object().unwrap().clone());
        let Way::Polling(mut source) = build("uploads", &table).way else { panic!("it does not list") };
        source.connect(context(position.clone())).await.unwrap();
        Polled { source, position, dead: Vec::new() }
    }

    /// The next events, committed; empty batches that only move the position are passed over.
    pub(crate) async fn next(&mut self) -> Vec<Incoming> {
        loop {
            let batch = tokio::time::timeout(Duration::from_secs(30), self.source.read()).await.unwrap().unwrap();
            assert!(batch.position.as_ref().is_none_or(|position| position.len() <= 64 * 1024));
            self.position = batch.position.or_else(|| self.position.take());
            self.source.ack().await.unwrap();
            self.dead.extend(batch.undecodable);
            if !batch.events.is_empty() {
                return batch.events;
            }
        }
    }

    /// The keys of the next events.
    pub(crate) async fn keys(&mut self) -> Vec<String> {
        self.next().await.iter().map(|incoming| data(incoming)["key"].as_str().unwrap().to_owned()).collect()
    }

    /// Nothing comes within some listings.
    pub(crate) async fn silence(&mut self) {
        let more = tokio::time::timeout(Duration::from_millis(600), self.next()).await;
        assert!(more.is_err(), "{:?}", more.unwrap());
    }

    /// Waits until what lies in the bucket was looked at.
    pub(crate) async fn settled(&mut self) {
        while self.position.is_none() {
            let batch = self.source.read().await.unwrap();
            assert!(batch.events.is_empty());
            self.position = batch.position;
        }
    }
}

pub(crate) fn context(position: Option<Vec<u8>>) -> SourceContext {
    SourceContext {
        position,
        intake: Arc::new(NoIntake),
        clock: Arc::new(|| Timestamp::from_millis(0)),
        instance: 0,
        limits: Limits::default(),
    }
}

pub(crate) fn data(incoming: &Incoming) -> Value {
    serde_json::from_slice(incoming.event.data.bytes()).unwrap()
}

#[tokio::test]
async fn what_is_new_or_changed_comes_once_and_what_lay_there_does_not() {
    for bucket in buckets("new").await {
        bucket.put("in/old.txt", b"old").await;
        let mut polled = Polled::connect(&bucket, &json!({ "prefix": "in/" }), None).await;
        polled.settled().await;
        let etag = bucket.put("in/a.txt", b"abc").await;
        bucket.put("elsewhere/b.txt", b"abc").await;
        let [incoming] = polled.next().await.try_into().unwrap();
        let event = &incoming.event;
        assert_eq!((event.ty.as_str(), event.source.as_str()), ("s3.object_created", "/sources/uploads"));
        assert_eq!(event.subject.as_deref(), Some(format!("{}/in/a.txt", bucket.name).as_str()));
        assert!(event.id.starts_with(&etag), "{} {etag}", event.id);
        let data = data(&incoming);
        assert_eq!((&data["size"], &data["etag"]), (&json!(3), &json!(etag)));
        polled.silence().await;
        bucket.put("in/old.txt", b"changed").await;
        assert_eq!(polled.keys().await, ["in/old.txt"]);
        bucket.delete("in/old.txt").await;
        polled.silence().await;
    }
}

#[tokio::test]
async fn a_restart_goes_on_where_it_was() {
    for bucket in buckets("restart").await {
        let mut polled = Polled::connect(&bucket, &json!({}), None).await;
        polled.settled().await;
        bucket.put("a", b"1").await;
        assert_eq!(polled.keys().await, ["a"]);
        let position = polled.position.take();
        drop(polled);
        bucket.put("b", b"2").await;
        let mut polled = Polled::connect(&bucket, &json!({}), position).await;
        assert_eq!(polled.keys().await, ["b"]);
        polled.silence().await;
    }
}

#[tokio::test]
async fn a_batch_that_was_not_taken_is_read_again() {
    for bucket in buckets("again").await {
        let mut polled = Polled::connect(&bucket, &json!({}), None).await;
        polled.settled().await;
        let saved = polled.position.clone();
        bucket.put("a", b"1").await;
        let first = polled.next().await;
        // The broker died before it had them on disk.
        let mut polled = Polled::connect(&bucket, &json!({}), saved).await;
        assert_eq!(polled.next().await, first);
    }
}

#[tokio::test]
async fn a_source_that_is_told_to_goes_through_the_bucket_again() {
    for bucket in buckets("seek").await {
        bucket.put("a", b"1").await;
        let mut polled = Polled::connect(&bucket, &json!({}), None).await;
        polled.settled().await;
        polled.position = polled.source.seek(&Seek::Earliest).await.unwrap();
        let again = polled.next().await;
        assert_eq!((data(&again[0])["key"].as_str(), again[0].dedupe), (Some("a"), None));
        // The position is enough to go on from.
        let position = polled.source.seek(&Seek::Time(Timestamp::EPOCH)).await.unwrap();
        let mut polled = Polled::connect(&bucket, &json!({}), position).await;
        assert_eq!(polled.keys().await, ["a"]);
        polled.source.seek(&Seek::Latest).await.unwrap();
        polled.silence().await;
        bucket.put("b", b"2").await;
        assert_eq!(polled.keys().await, ["b"]);
        let error = polled.source.seek(&Seek::Position("7".to_owned())).await.unwrap_err();
        assert!(matches!(error, SeekError::BadPosition { .. }), "{error}");
    }
}

#[tokio::test]
async fn a_backfill_takes_everything_page_by_page_and_can_be_cut_off() {
    for bucket in buckets("backfill").await {
        for number in 0..1205 {
            bucket.put(&format!("in/{number:05}"), b"x").await;
        }
        let more = json!({ "prefix": "in/", "backfill": true, "loop_guard": false });
        let mut polled = Polled::connect(&bucket, &more, None).await;
        let first = polled.keys().await;
        assert_eq!(first.len(), 1000);
        let position = polled.position.take();
        bucket.put("in/00000a", b"behind").await;
        let mut polled = Polled::connect(&bucket, &more, position).await;
        let mut all = first;
        while all.len() < 1205 {
            all.extend(polled.keys().await);
        }
        assert_eq!(all.first().map(String::as_str), Some("in/00000"));
        let expected: Vec<String> = (0..1205).map(|number| format!("in/{number:05}")).collect();
        assert_eq!(all, expected);
        // What was written behind it meanwhile comes, and what may have come before comes with the id it had.
        let after = polled.keys().await;
        assert!(after.contains(&"in/00000a".to_owned()), "{after:?}");
    }
}

#[tokio::test]
async fn keys_of_every_kind_come_as_they_are() {
    for bucket in buckets("keys").await {
        let mut polled = Polled::connect(&bucket, &json!({}), None).await;
        polled.settled().await;
        let keys = ["a b+c.txt", "a%20b", "über/日本語 🎉.txt", "100%.txt", "a&b<c>'\"", "=?#;"];
        let mut expected: Vec<String> = keys.map(str::to_owned).to_vec();
        for key in keys {
            bucket.put(key, key.as_bytes()).await;
        }
        expected.sort();
        let mut found = Vec::new();
        while found.len() < expected.len() {
            found.extend(polled.keys().await);
        }
        found.sort();
        assert_eq!(found, expected, "{:?}", bucket.kind);
    }
}

/// versitygw puts U+FFFD in the place of what XML cannot hold, whatever encoding it is asked for.
#[tokio::test]
async fn a_key_that_a_listing_cannot_say_is_a_dead_letter_and_the_others_come() {
    for (bucket, loop_guard) in
        buckets("control").await.into_iter().flat_map(|bucket| [(bucket.clone(), true), (bucket, false)])
    {
        let prefix = format!("in-{loop_guard}/");
        let more = json!({ "prefix": prefix, "loop_guard": loop_guard });
        let mut polled = Polled::connect(&bucket, &more, None).await;
        polled.settled().await;
        let keys = ["a\u{7}b", "b", "c\nd\t", "d\u{fffd}", "e\u{7f}\u{85}"].map(|key| format!("{prefix}{key}"));
        for key in &keys {
            bucket.put(key, key.as_bytes()).await;
        }
        let says_all = bucket.kind == Kind::Minio;
        let expected = if says_all { &keys[..] } else { &keys[1..] };
        let mut found = Vec::new();
        while found.len() < expected.len() {
            found.extend(polled.keys().await);
        }
        found.sort();
        assert_eq!(found, expected, "{:?}", bucket.kind);
        if !says_all {
            let [letter] = &polled.dead[..] else { panic!("{:?}", polled.dead) };
            assert_eq!((letter.code.as_str(), letter.size), ("key_unreadable", keys[0].len() as u64));
            assert_eq!(
                (&letter.at["bucket"], &letter.at["key"]),
                (&json!(bucket.name), &json!(format!("{prefix}a\u{fffd}b")))
            );
            assert!(letter.message.contains("control character"), "{}", letter.message);
        }
        polled.silence().await;
        assert_eq!(polled.dead.len(), usize::from(!says_all), "it is told once");
    }
}

/// Where a page ends with such a key, the next page would begin behind it, and behind much else.
#[tokio::test]
async fn a_page_that_ends_with_a_key_that_cannot_be_said_loses_no_other() {
    for bucket in buckets("page").await {
        let mut keys: Vec<String> = (0..999).map(|number| format!("in/{number:05}")).collect();
        keys.extend(["in/00998\u{7}", "in/00998a", "in/00999"].map(str::to_owned));
        for some in keys.chunks(50) {
            futures_util::future::join_all(some.iter().map(|key| bucket.put(key, b"x"))).await;
        }
        let more = json!({ "prefix": "in/", "backfill": true, "loop_guard": false });
        let mut polled = Polled::connect(&bucket, &more, None).await;
        if bucket.kind == Kind::Versitygw {
            keys.remove(999);
        }
        let mut found = polled.keys().await;
        // Cut off in between, it begins by the position alone.
        let mut polled = Polled::connect(&bucket, &more, polled.position).await;
        while found.len() < keys.len() {
            found.extend(polled.keys().await);
        }
        assert_eq!(found, keys, "{:?}", bucket.kind);
    }
}

#[tokio::test]
async fn wrong_credentials_and_a_missing_bucket_say_so_without_the_secret() {
    for bucket in buckets("wrong").await {
        let failed = async |more: Value| {
            let table = bucket.table(&more);
            let Way::Polling(mut source) = build("uploads", &table).way else { panic!("it does not list") };
            source.connect(context(None)).await.unwrap();
            match source.read().await {
                Err(SourceError::Failed { code, message }) => (code, message),
                other => panic!("{other:?}"),
            }
        };
        let (code, message) = failed(json!({ "secret_access_key": "hunter22" })).await;
        assert_eq!(code, "auth", "{message}");
        assert!(!message.contains("hunter22"));
        assert_eq!(failed(json!({ "bucket": "not-there-at-all" })).await.0, "no_such_bucket");
        assert_eq!(failed(json!({ "endpoint": "http://127.0.0.1:1" })).await.0, "connect");
    }
}
