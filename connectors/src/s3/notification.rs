//! What stores say of their own accord, each in its dialect, read into [`Change`]s.
//!
//! | dialect | how it is known | its own ways |
//! |---|---|---|
//! | AWS | `eventSource` `aws:s3` | keys as HTML forms write them; event names without `s3:`; may come wrapped by SNS or as EventBridge's event |
//! | MinIO | `eventSource` `minio:s3` | event names with `s3:`; the object's metadata comes along |
//! | versitygw | `configurationId` ends in `-global` | plain keys; the sequencer counts from 1 with each start of the gateway |
//!
//! Aliyun's OSS (`{"events": […]}` with `oss`) and Tencent's COS (records with `cos`) have a place here and are not read
//! yet: they are refused by name.

use std::collections::BTreeMap;

use eventyard_event::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use super::change::{Change, Kind};
use super::guard::VIA_METADATA;
use super::text::unform;

/// The most changes in one message. Stores send one; what says it has more than this is made to hurt.
const RECORDS_MAX: usize = 1000;

/// The longest key that S3 has, in bytes.
const KEY_BYTES_MAX: usize = 1024;

/// Why a message is none that a store sends.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct NotANotification(String);

fn not(problem: impl Into<String>) -> NotANotification {
    NotANotification(problem.into())
}

/// Whose dialect a record speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dialect {
    Aws,
    Minio,
    Versitygw,
}

/// Everything a message may be. Unknown keys are each store's own.
#[derive(Deserialize)]
struct Message {
    #[serde(rename = "Records")]
    records: Option<Vec<Record>>,
    /// What AWS sends once to see whether anybody is there.
    #[serde(rename = "Event")]
    event: Option<String>,
    /// SNS around the message.
    #[serde(rename = "Message")]
    message: Option<String>,
    /// EventBridge's event.
    #[serde(rename = "detail-type")]
    detail_type: Option<String>,
    id: Option<String>,
    time: Option<String>,
    detail: Option<Detail>,
    /// Aliyun OSS.
    events: Option<Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Record {
    event_source: Option<String>,
    event_time: Option<String>,
    event_name: Option<String>,
    s3: Option<RecordS3>,
    /// Tencent COS.
    cos: Option<Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RecordS3 {
    configuration_id: Option<String>,
    bucket: NamedBucket,
    object: RecordObject,
}

#[derive(Deserialize)]
struct NamedBucket {
    name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RecordObject {
    key: String,
    size: Option<u64>,
    e_tag: Option<String>,
    version_id: Option<String>,
    sequencer: Option<String>,
    content_type: Option<String>,
    user_metadata: Option<BTreeMap<String, String>>,
}

/// `detail` of EventBridge's event. Its key is plain.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Detail {
    bucket: NamedBucket,
    object: DetailObject,
    reason: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct DetailObject {
    key: String,
    size: Option<u64>,
    etag: Option<String>,
    version_id: Option<String>,
    sequencer: Option<String>,
}

/// The changes that a message tells of. Empty for what tells of none: a test, or something that left the bytes as
/// they were (tags, access, restoring).
pub(super) fn read(body: &[u8]) -> Result<Vec<Change>, NotANotification> {
    let message: Message =
        serde_json::from_slice(body).map_err(|error| not(format!("it is no JSON of S3: {error}")))?;
    match message {
        // One envelope of SNS, not envelopes within envelopes.
        Message { message: Some(inner), records: None, .. } => {
            let inner: Message = serde_json::from_str(&inner)
                .map_err(|error| not(format!("what SNS carries is no JSON of S3: {error}")))?;
            changes(inner)
        }
        plain => changes(plain),
    }
}

fn changes(message: Message) -> Result<Vec<Change>, NotANotification> {
    match message {
        Message { records: Some(records), .. } if records.len() > RECORDS_MAX => {
            Err(not(format!("it tells of {} changes, and at most {RECORDS_MAX} are read", records.len())))
        }
        Message { records: Some(records), .. } => {
            let read: Result<Vec<Option<Change>>, NotANotification> = records.into_iter().map(record).collect();
            Ok(read?.into_iter().flatten().collect())
        }
        Message { event: Some(event), .. } if event == "s3:TestEvent" => Ok(Vec::new()),
        Message { detail_type: Some(ty), detail: Some(detail), id, time, .. } => {
            Ok(from_event_bridge(&ty, detail, id, time.as_deref())?.into_iter().collect())
        }
        Message { events: Some(_), .. } => Err(not("it is Aliyun OSS's, which this version does not read")),
        _ => Err(not("it has neither `Records` nor `detail`")),
    }
}

fn record(record: Record) -> Result<Option<Change>, NotANotification> {
    if record.cos.is_some() {
        return Err(not("it is Tencent COS's, which this version does not read"));
    }
    let Some(s3) = record.s3 else { return Err(not("a record has no `s3`")) };
    let name = record.event_name.unwrap_or_default();
    let name = name.strip_prefix("s3:").unwrap_or(&name).to_owned();
    let Some(kind) = kind_of(&name) else { return Ok(None) };
    let global = s3.configuration_id.as_deref().is_some_and(|id| id.ends_with("-global"));
    let dialect = match record.event_source.as_deref() {
        Some("minio:s3") => Dialect::Minio,
        _ if global => Dialect::Versitygw,
        _ => Dialect::Aws,
    };
    let object = s3.object;
    let time = record.event_time.as_deref().and_then(|text| Timestamp::parse(text).ok());
    let mut sequencer = object.sequencer.filter(|sequencer| !sequencer.is_empty());
    if let (Dialect::Versitygw, Some(count)) = (dialect, &sequencer) {
        // With the time before it, it neither repeats nor falls behind what another start of the gateway counted.
        sequencer = Some(format!("{:016x}{count:0>16}", time.map_or(0, Timestamp::as_millis)));
    }
    let key = key_of(dialect, &object.key)?;
    let metadata = object.user_metadata;
    let said = |wanted: &str| {
        let found = metadata.iter().flatten().find(|(name, _)| {
            let name = name.to_ascii_lowercase();
            name.strip_prefix("x-amz-meta-").unwrap_or(&name) == wanted
        });
        found.map(|(_, value)| value.clone())
    };
    Ok(Some(Change {
        kind,
        bucket: s3.bucket.name,
        key,
        size: object.size.filter(|_| kind == Kind::Created),
        etag: object.e_tag.as_deref().map(unquoted),
        version_id: object.version_id.filter(|version| !version.is_empty() && version != "null"),
        sequencer,
        event_name: name,
        time,
        content_type: object.content_type.clone().or_else(|| said("content-type")),
        via: said(VIA_METADATA),
        metadata_known: dialect == Dialect::Minio && metadata.is_some(),
    }))
}

fn from_event_bridge(
    ty: &str,
    detail: Detail,
    id: Option<String>,
    time: Option<&str>,
) -> Result<Option<Change>, NotANotification> {
    let kind = match ty {
        "Object Created" => Kind::Created,
        "Object Deleted" => Kind::Deleted,
        _ => return Ok(None),
    };
    check_key(&detail.object.key)?;
    let what = if kind == Kind::Created { "ObjectCreated" } else { "ObjectRemoved" };
    Ok(Some(Change {
        kind,
        bucket: detail.bucket.name,
        key: detail.object.key,
        size: detail.object.size.filter(|_| kind == Kind::Created),
        etag: detail.object.etag.as_deref().map(unquoted),
        version_id: detail.object.version_id.filter(|version| !version.is_empty()),
        sequencer: detail.object.sequencer.or(id),
        event_name: format!("{what}:{}", detail.reason.unwrap_or_default()),
        time: time.and_then(|text| Timestamp::parse(text).ok()),
        content_type: None,
        via: None,
        metadata_known: false,
    }))
}

fn kind_of(name: &str) -> Option<Kind> {
    if name.starts_with("ObjectCreated:") {
        return Some(Kind::Created);
    }
    // A lifecycle that deletes says so in words of its own.
    let deleted = ["ObjectRemoved:", "LifecycleExpiration:"];
    deleted.iter().any(|start| name.starts_with(start)).then_some(Kind::Deleted)
}

/// A key as the object has it, from how a store writes it.
fn key_of(dialect: Dialect, key: &str) -> Result<String, NotANotification> {
    let read = match dialect {
        Dialect::Aws | Dialect::Minio => unform(key),
        Dialect::Versitygw => Some(key.to_owned()),
    };
    let read = read.ok_or_else(|| not(format!("the key `{}` cannot be decoded", key.escape_default())))?;
    check_key(&read)?;
    Ok(read)
}

fn check_key(key: &str) -> Result<(), NotANotification> {
    if key.is_empty() || key.len() > KEY_BYTES_MAX {
        return Err(not(format!("a key has {} bytes, and S3's have 1 to {KEY_BYTES_MAX}", key.len())));
    }
    Ok(())
}

pub(super) fn unquoted(etag: &str) -> String {
    etag.trim_matches('"').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const AWS: &str = r#"{"Records":[{"eventVersion":"2.1","eventSource":"aws:s3","awsRegion":"eu-central-1",
        "eventTime":"2026-11-22T00:00:00.000Z","eventName":"ObjectCreated:Put","userIdentity":{"principalId":"A"},
        "requestParameters":{"sourceIPAddress":"127.0.0.1"},"responseElements":{"x-amz-request-id":"C","x-amz-id-2":"F"},
        "s3":{"s3SchemaVersion":"1.0","configurationId":"c","bucket":{"name":"photos","ownerIdentity":{"principalId":"A"},
        "arn":"arn:aws:s3:::photos"},"object":{"key":"in/my+photo%281%29.jpg","size":1024,
        "eTag":"d41d8cd98f00b204e9800998ecf8427e","versionId":"096fKKXTRTtl3on89fVO.nfljtsv6qko","sequencer":"0055AED6DCD90281E5"}}}]}"#;

    fn one(text: &str) -> Change {
        let [change] = read(text.as_bytes()).unwrap().try_into().unwrap();
        change
    }

    #[test]
    fn aws_is_read() {
        let change = one(AWS);
        assert_eq!((change.kind, change.bucket.as_str()), (Kind::Created, "photos"));
        assert_eq!(change.key, "in/my photo(1).jpg");
        assert_eq!(change.event_name, "ObjectCreated:Put");
        assert_eq!(change.sequencer.as_deref(), Some("0055AED6DCD90281E5"));
        assert!(!change.metadata_known);
    }

    #[test]
    fn what_sns_and_eventbridge_wrap_is_read() {
        let sns = serde_json::json!({ "Type": "Notification", "MessageId": "1", "Message": AWS }).to_string();
        assert_eq!(one(&sns), one(AWS));
        let twice = serde_json::json!({ "Type": "Notification", "Message": sns }).to_string();
        assert!(read(twice.as_bytes()).is_err());
        let change = one(
            r#"{"version":"0","id":"17793124","detail-type":"Object Created","source":"aws.s3","time":"2026-11-22T00:00:00Z",
            "detail":{"version":"0","bucket":{"name":"photos"},"object":{"key":"in/a+b %41.txt","size":5,"etag":"b1946ac9",
            "version-id":"v1","sequencer":"00617F08299329D189"},"reason":"PutObject"}}"#,
        );
        assert_eq!(change.key, "in/a+b %41.txt", "EventBridge's keys are plain");
        assert_eq!(change.event_name, "ObjectCreated:PutObject");
        let deleted = one(
            r#"{"detail-type":"Object Deleted","id":"1","detail":{"bucket":{"name":"photos"},"object":{"key":"a"},"reason":"DeleteObject"}}"#,
        );
        assert_eq!(deleted.kind, Kind::Deleted);
    }

    #[test]
    fn minio_is_read_with_its_metadata() {
        let change = one(
            r#"{"EventName":"s3:ObjectCreated:Put","Key":"photos/in/a b.txt","Records":[{"eventVersion":"2.0",
            "eventSource":"minio:s3","awsRegion":"","eventTime":"2026-11-22T00:00:00.123Z","eventName":"s3:ObjectCreated:Put",
            "s3":{"s3SchemaVersion":"1.0","configurationId":"Config","bucket":{"name":"photos"},"object":{"key":"in%2Fa+b.txt",
            "size":3,"eTag":"900150983cd24fb0d6963f7d28e17f72","contentType":"text/plain",
            "userMetadata":{"X-Amz-Meta-Eventyard-Via":"uploads-0a","content-type":"text/plain"},"sequencer":"18A3"}},
            "source":{"host":"127.0.0.1"}}]}"#,
        );
        assert_eq!(change.key, "in/a b.txt");
        assert_eq!(change.event_name, "ObjectCreated:Put");
        assert_eq!(change.via.as_deref(), Some("uploads-0a"));
        assert_eq!(change.content_type.as_deref(), Some("text/plain"));
        assert!(change.metadata_known);
    }

    #[test]
    fn versitygw_is_read() {
        let text = |time: &str, key: &str, sequencer: u32| {
            format!(
                r#"{{"Records":[{{"eventVersion":"2.2","eventSource":"aws:s3","eventTime":"{time}",
                "eventName":"s3:ObjectCreated:Put","s3":{{"configurationId":"webhook-global","bucket":{{"name":"photos"}},
                "object":{{"key":"{key}","size":3,"eTag":"\"764efa88\"","versionId":null,"sequencer":"{sequencer}"}}}}}}]}}"#
            )
        };
        let change = one(&text("2026-11-22T00:56:11Z", "in/ü a+b%20%zz.txt", 1));
        assert_eq!((change.key.as_str(), change.etag.as_deref()), ("in/ü a+b%20%zz.txt", Some("764efa88")));
        // It counts on, and after another start from the beginning.
        let sequencer = |time, count| one(&text(time, "a", count)).sequencer.unwrap();
        assert!(sequencer("2026-11-22T00:56:11Z", 9) < sequencer("2026-11-22T00:56:11Z", 10));
        assert!(sequencer("2026-11-22T00:56:11Z", 10) < sequencer("2026-11-22T00:56:12Z", 1));
    }

    #[test]
    fn what_changes_no_bytes_makes_nothing() {
        for name in ["ObjectTagging:Put", "ObjectAcl:Put", "ObjectRestore:Completed", "s3:ObjectAccessed:Get", ""] {
            let text = AWS.replace("ObjectCreated:Put", name);
            assert_eq!(read(text.as_bytes()).unwrap(), []);
        }
        let test = br#"{"Service":"Amazon S3","Event":"s3:TestEvent","Time":"2026-11-22T00:00:00Z","Bucket":"photos"}"#;
        assert_eq!(read(test).unwrap(), []);
    }

    #[test]
    fn what_is_no_notification_says_why() {
        let problem = |text: &str| read(text.as_bytes()).unwrap_err().to_string();
        assert!(problem("nope").contains("no JSON"));
        assert!(problem("{}").contains("neither"));
        assert!(problem(r#"{"Records":[{}]}"#).contains("no `s3`"));
        assert!(problem(r#"{"events":[{"eventSource":"acs:oss","oss":{}}]}"#).contains("Aliyun OSS"));
        assert!(problem(r#"{"Records":[{"cos":{},"event":{}}]}"#).contains("Tencent COS"));
        assert!(problem(&AWS.replace("in/my+photo%281%29.jpg", "%ff")).contains("cannot be decoded"));
        assert!(problem(&AWS.replace("in/my+photo%281%29.jpg", "")).contains("0 bytes"));
        assert!(problem(&AWS.replace("in/my+photo%281%29.jpg", &"a".repeat(1025))).contains("1025 bytes"));
        let many = format!(r#"{{"Records":[{}]}}"#, vec!["{}"; RECORDS_MAX + 1].join(","));
        assert!(problem(&many).contains("1001 changes"));
    }
}
