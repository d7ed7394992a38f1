//! One object that was created or deleted, whoever said so, and the event that it makes.

use std::time::Duration;

use bytes::Bytes;
use eventyard_event::{Data, Event, ExtensionValue, Name, Text, Timestamp, format_text};
use serde_json::json;

use super::guard::{VIA, digest, follow};
use super::text::visible;
use crate::source::Incoming;

/// How long a repeat of the same change is recognised: stores tell some changes twice, and a listing that was cut off
/// finds again what it found before.
pub(super) const DEDUPE: Duration = Duration::from_hours(24);

/// What happened to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// It is new, or has new bytes.
    Created,
    /// It is gone, or hidden by a delete marker.
    Deleted,
}

/// One object that was created or deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) kind: Kind,
    pub(super) bucket: String,
    /// As it is, without any encoding.
    pub(super) key: String,
    pub(super) size: Option<u64>,
    /// Without quotation marks.
    pub(super) etag: Option<String>,
    pub(super) version_id: Option<String>,
    /// Larger for what happened later to the same key; compared as text, the shorter filled up with zeros.
    pub(super) sequencer: Option<String>,
    /// The store's own word, such as `ObjectCreated:Put`.
    pub(super) event_name: String,
    pub(super) time: Option<Timestamp>,
    pub(super) content_type: Option<String>,
    /// The sources that the object says it came through.
    pub(super) via: Option<String>,
    /// Whether `via` is what the object's metadata says, rather than not known.
    pub(super) metadata_known: bool,
}

/// What makes the events of one source.
#[derive(Clone, Debug)]
pub(super) struct Maker {
    pub(super) name: Name,
    /// In place of the types below.
    pub(super) ty: Option<String>,
    /// See [`super::guard`].
    pub(super) mark: String,
}

impl Maker {
    /// The events of some changes: of each one, unless it came through this source before.
    pub(super) fn events(&self, changes: &[Change]) -> Vec<Incoming> {
        let event = |change: &Change| {
            let made = follow(change.via.as_deref(), &self.mark).map(|via| self.event(change, via));
            if made.is_none() {
                tracing::info!(
                    source = %self.name, bucket = change.bucket, key = change.key,
                    "an object is passed over: it was made of one that came in by this source"
                );
            }
            made
        };
        changes.iter().filter_map(event).collect()
    }

    fn event(&self, change: &Change, via: String) -> Incoming {
        let data = json!({
            "bucket": change.bucket,
            "key": change.key,
            "size": change.size,
            "etag": change.etag,
            "version_id": change.version_id,
            "sequencer": change.sequencer,
            "event_name": change.event_name,
            "content_type": change.content_type,
        });
        let ty = match change.kind {
            Kind::Created => "s3.object_created",
            Kind::Deleted => "s3.object_deleted",
        };
        let event = Event {
            id: change.id(),
            source: format_text!("/sources/{}", self.name),
            ty: self.ty.as_deref().unwrap_or(ty).into(),
            subject: Some(visible(&format_text!("{}/{}", change.bucket, change.key))),
            time: change.time.map(|at| format_text!("{}", at.to_jiff())),
            datacontenttype: Some("application/json".into()),
            dataschema: None,
            extensions: [(VIA.into(), ExtensionValue::String(via.into()))].into(),
            data: Data::Json(Bytes::from(data.to_string())),
        };
        Incoming { event, keys_unique: true, dedupe: Some(DEDUPE) }
    }
}

impl Change {
    /// What the change is known by: the object's etag, the sequencer, and a hash of the key, for sequencers are told
    /// apart for one key only.
    fn id(&self) -> Text {
        let what = match self.kind {
            Kind::Created => self.etag.as_deref().unwrap_or("created"),
            Kind::Deleted => "deleted",
        };
        let time = || self.time.map_or_else(|| "0".to_owned(), |at| format!("{:016x}", at.as_millis()));
        let sequencer = self.sequencer.clone().unwrap_or_else(time);
        let key = digest(&[&self.bucket, &self.key, self.version_id.as_deref().unwrap_or_default()]);
        visible(&format_text!("{what}-{sequencer}-{key:016x}"))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in super::super) fn change(key: &str) -> Change {
        Change {
            kind: Kind::Created,
            bucket: "photos".to_owned(),
            key: key.to_owned(),
            size: Some(3),
            etag: Some("abc".to_owned()),
            version_id: None,
            sequencer: Some("0055".to_owned()),
            event_name: "ObjectCreated:Put".to_owned(),
            time: Some(Timestamp::from_millis(1_000)),
            content_type: None,
            via: None,
            metadata_known: true,
        }
    }

    pub(in super::super) fn maker() -> Maker {
        Maker { name: Name::new("uploads").unwrap(), ty: None, mark: "uploads-1".to_owned() }
    }

    #[test]
    fn an_event_names_the_object_and_nothing_of_its_bytes() {
        let [incoming] = maker().events(&[change("in/über a.txt")]).try_into().unwrap();
        let event = &incoming.event;
        assert_eq!((event.ty.as_str(), event.source.as_str()), ("s3.object_created", "/sources/uploads"));
        assert_eq!(event.subject.as_deref(), Some("photos/in/über a.txt"));
        assert!(event.id.starts_with("abc-0055-"), "{}", event.id);
        let data: serde_json::Value = serde_json::from_slice(event.data.bytes()).unwrap();
        assert_eq!(data["key"], "in/über a.txt");
        assert_eq!(data["version_id"], serde_json::Value::Null);
        assert!(event.check(&eventyard_event::Limits::default()).is_ok());
    }

    #[test]
    fn any_key_makes_an_event_that_is_taken() {
        for key in ["../../etc/passwd", "a\nb\u{0}c", "\u{fffe}", &"ü".repeat(512), " ", "日本語/🎉"] {
            let [incoming] = maker().events(&[change(key)]).try_into().unwrap();
            incoming.event.check(&eventyard_event::Limits::default()).unwrap();
            let data: serde_json::Value = serde_json::from_slice(incoming.event.data.bytes()).unwrap();
            assert_eq!(data["key"], key, "the key itself is never changed");
        }
    }

    #[test]
    fn ids_are_the_same_for_a_repeat_and_differ_for_anything_else() {
        let id = |change: Change| maker().events(&[change]).pop().unwrap().event.id;
        assert_eq!(id(change("a")), id(change("a")));
        let others = [
            change("b"),
            Change { etag: Some("abd".to_owned()), ..change("a") },
            Change { sequencer: Some("0056".to_owned()), ..change("a") },
            Change { version_id: Some("1".to_owned()), ..change("a") },
            Change { kind: Kind::Deleted, ..change("a") },
        ];
        for other in others {
            assert_ne!(id(other), id(change("a")));
        }
    }
}
