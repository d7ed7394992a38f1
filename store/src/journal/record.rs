//! What stands in a frame: items, each with its kind, version, length and checksum, so that one event of a
//! large batch can be read and checked alone.
//!
//! ```text
//! item    = kind:u8 version:u8 zero:u16 bytes:u32 checksum:u32 payload
//! payload = the fields of its kind, in the order in which they are written below
//! ```
//!
//! Bytes of every kind and version that was ever written stand in `tests/formats/` and are read by a test; the
//! layout is told in full in `docs/formats.md`. A field is never added to a version: a new version is, and the reader keeps reading the old ones.

use bytes::Bytes;
use eventyard_event::{Data, DeliveryId, Envelope, Event, EventId, ExtensionValue, Timestamp};

use crate::codec::{DecodeError, Fields, Put};
use crate::{
    Admission, AfterDead, AttemptOutcome, AttemptRecord, Begin, Lane, NewDelivery, NewPosition, QueueKey, Reason,
    Verdict,
};

/// Bytes before an item's payload.
pub(crate) const ITEM_HEADER_BYTES: usize = 12;

/// The newest version of every kind; one number for all, counted up when any of them changes.
pub(crate) const ITEM_VERSION: u8 = 1;

/// What an item is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ItemKind {
    /// An event with its deliveries.
    Event,
    /// How far a source has come.
    Position,
    /// Attempts that begin.
    Begin,
    /// How one lease ended.
    Settlement,
    /// Dead letters that are pending again.
    Replay,
    /// Dead letters that are given up for good.
    Purge,
}

impl ItemKind {
    fn to_byte(self) -> u8 {
        match self {
            ItemKind::Event => 1,
            ItemKind::Position => 2,
            ItemKind::Begin => 3,
            ItemKind::Settlement => 4,
            ItemKind::Replay => 5,
            ItemKind::Purge => 6,
        }
    }

    fn from_byte(byte: u8) -> Option<ItemKind> {
        Some(match byte {
            1 => ItemKind::Event,
            2 => ItemKind::Position,
            3 => ItemKind::Begin,
            4 => ItemKind::Settlement,
            5 => ItemKind::Replay,
            6 => ItemKind::Purge,
            _ => return None,
        })
    }
}

/// Where an item begins: the segment's number (they count from 1) and the offset in its file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Place {
    pub(crate) segment: u32,
    pub(crate) offset: u32,
}

impl Place {
    /// No place at all; what a chain ends with.
    pub(crate) const NONE: Place = Place { segment: 0, offset: 0 };

    pub(crate) fn is_none(self) -> bool {
        self.segment == 0
    }
}

/// What is kept of a `(namespace, source attribute, id)` to recognise it again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DedupeMark {
    /// The keyed hash of the three.
    pub(crate) hash: [u8; 16],
    /// Recognised until the `received_at` of the repeat reaches this.
    pub(crate) expires_at: Timestamp,
}

/// The counts of a delivery as they stand after a record; absolute, so that applying it twice changes nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) attempts: u32,
    pub(crate) tries: u32,
    pub(crate) deaths: u32,
}

/// A settlement as it is written: with its place in the chain of the delivery's history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SettlementRecord {
    pub(crate) delivery: DeliveryId,
    pub(crate) at: Timestamp,
    pub(crate) counts: Counts,
    /// The settlement before this one.
    pub(crate) previous: Place,
    /// The delivery's first settlement.
    pub(crate) first: Place,
    pub(crate) verdict: Verdict,
    pub(crate) attempt: Option<AttemptRecord>,
}

/// An event's part that the index needs, without its envelope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EventHead {
    pub(crate) id: EventId,
    pub(crate) received_at: Timestamp,
    pub(crate) dedupe: Option<DedupeMark>,
    pub(crate) deliveries: Vec<NewDelivery>,
}

/// An item as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Item {
    Event(EventHead),
    Position(NewPosition),
    Begin(Vec<Begin>),
    Settlement(SettlementRecord),
    Replay {
        at: Timestamp,
        letters: Vec<(DeliveryId, Timestamp)>,
    },
    /// With the newest settlement of each, for its history.
    Purge {
        at: Timestamp,
        letters: Vec<(DeliveryId, Place)>,
    },
}

/// Why an item cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ItemError {
    #[error("an item ends before its length")]
    Short,
    #[error("an item's checksum does not fit")]
    Checksum,
    #[error("an item has the unknown kind {0}")]
    Kind(u8),
    #[error("an item has version {found}; this program knows versions up to {ITEM_VERSION}")]
    Newer { found: u8 },
    #[error(transparent)]
    Field(#[from] DecodeError),
}

fn checksum(head: &[u8], payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(head);
    hasher.update(payload);
    hasher.finalize()
}

/// Appends one item whose payload `fill` writes. Returns `false`, with nothing appended, where the payload is
/// longer than a length field can say.
fn put_item(out: &mut Vec<u8>, kind: ItemKind, fill: impl FnOnce(&mut Vec<u8>)) -> bool {
    let start = out.len();
    out.extend_from_slice(&[kind.to_byte(), ITEM_VERSION, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    fill(out);
    let Ok(bytes) = u32::try_from(out.len() - start - ITEM_HEADER_BYTES) else {
        out.truncate(start);
        return false;
    };
    if let Some((head, payload)) = out.get_mut(start..).and_then(|item| item.split_at_mut_checked(ITEM_HEADER_BYTES)) {
        if let Some(field) = head.get_mut(4..8) {
            field.copy_from_slice(&bytes.to_le_bytes());
        }
        let sum = checksum(head.get(..8).unwrap_or_default(), payload);
        if let Some(field) = head.get_mut(8..12) {
            field.copy_from_slice(&sum.to_le_bytes());
        }
    }
    true
}

/// Appends an event item. The head comes first and says its length, so that each of the two parts can be read
/// without the other.
pub(crate) fn put_event(out: &mut Vec<u8>, admission: &Admission, dedupe: Option<DedupeMark>) -> bool {
    put_item(out, ItemKind::Event, |out| {
        let start = out.len();
        out.put_u32(0);
        put_head(out, admission, dedupe);
        let head_bytes = u32::try_from(out.len() - start - 4).unwrap_or(u32::MAX);
        if let Some(field) = out.get_mut(start..start + 4) {
            field.copy_from_slice(&head_bytes.to_le_bytes());
        }
        put_envelope(out, &admission.envelope);
    })
}

fn put_head(out: &mut Vec<u8>, admission: &Admission, dedupe: Option<DedupeMark>) {
    out.put_event_id(admission.envelope.id);
    out.put_time(admission.envelope.received_at);
    match dedupe {
        None => out.put_u8(0),
        Some(mark) => {
            out.put_u8(1);
            out.extend_from_slice(&mark.hash);
            out.put_time(mark.expires_at);
        }
    }
    out.put_count(admission.deliveries.len());
    for delivery in &admission.deliveries {
        put_queue(out, &delivery.queue);
        match &delivery.lane {
            None => out.put_u8(0),
            Some(lane) => {
                out.put_u8(match lane.after_dead {
                    AfterDead::Continue => 1,
                    AfterDead::Wait => 2,
                });
                out.put_bytes(&lane.key);
            }
        }
        out.put_time(delivery.due_at);
        out.extend_from_slice(&delivery.snapshot);
    }
}

/// The fields of a queue's name; the checkpoint writes them too.
pub(crate) fn put_queue(out: &mut Vec<u8>, queue: &QueueKey) {
    out.put_name(&queue.namespace);
    out.put_option_text(queue.rule.as_ref().map(eventyard_event::Name::as_str));
    out.put_name(&queue.target);
}

pub(crate) fn read_queue(fields: &mut Fields<'_>) -> Result<QueueKey, DecodeError> {
    Ok(QueueKey {
        namespace: fields.name("queue.namespace")?,
        rule: if fields.flag("queue.rule")? { Some(fields.name("queue.rule")?) } else { None },
        target: fields.name("queue.target")?,
    })
}

fn put_envelope(out: &mut Vec<u8>, envelope: &Envelope) {
    out.put_name(&envelope.namespace);
    out.put_name(&envelope.source_name);
    out.put_count(envelope.tags.len());
    for tag in &envelope.tags {
        out.put_text(tag);
    }
    out.put_u8(envelope.hop_count);
    out.put_u8(u8::from(envelope.keys_unique));
    let event = &envelope.event;
    out.put_text(&event.id);
    out.put_text(&event.source);
    out.put_text(&event.ty);
    for attribute in [&event.subject, &event.time, &event.datacontenttype, &event.dataschema] {
        out.put_option_text(attribute.as_deref());
    }
    out.put_count(event.extensions.len());
    for (name, value) in &event.extensions {
        out.put_text(name);
        match value {
            ExtensionValue::String(text) => {
                out.put_u8(0);
                out.put_text(text);
            }
            ExtensionValue::Integer(number) => {
                out.put_u8(1);
                out.extend_from_slice(&number.to_le_bytes());
            }
            ExtensionValue::Boolean(value) => out.put_u8(if *value { 3 } else { 2 }),
        }
    }
    out.put_u8(match event.data {
        Data::None => 0,
        Data::Json(_) => 1,
        Data::Bytes(_) => 2,
    });
    out.extend_from_slice(event.data.bytes());
}

pub(crate) fn put_position(out: &mut Vec<u8>, position: &NewPosition) -> bool {
    put_item(out, ItemKind::Position, |out| {
        out.put_name(&position.namespace);
        out.put_name(&position.source);
        out.put_bytes(&position.bytes);
    })
}

pub(crate) fn put_begins(out: &mut Vec<u8>, begins: &[Begin]) -> bool {
    put_item(out, ItemKind::Begin, |out| {
        out.put_count(begins.len());
        for begin in begins {
            out.put_delivery_id(begin.delivery);
            out.put_time(begin.at);
            out.put_u64(u64::try_from(begin.backoff_if_interrupted.as_millis()).unwrap_or(u64::MAX));
        }
    })
}

pub(crate) fn put_settlement(out: &mut Vec<u8>, settlement: &SettlementRecord) -> bool {
    put_item(out, ItemKind::Settlement, |out| {
        out.put_delivery_id(settlement.delivery);
        out.put_time(settlement.at);
        put_counts(out, settlement.counts);
        put_place(out, settlement.previous);
        put_place(out, settlement.first);
        match &settlement.verdict {
            Verdict::Delivered => out.put_u8(0),
            Verdict::Retry { at, counted } => {
                out.put_u8(if *counted { 2 } else { 1 });
                out.put_time(*at);
            }
            Verdict::Dead { reason } => {
                out.put_u8(3);
                out.put_text(&reason.code);
                out.put_text(&reason.message);
            }
        }
        match &settlement.attempt {
            None => out.put_u8(0),
            Some(attempt) => {
                out.put_u8(match attempt.outcome {
                    AttemptOutcome::Succeeded => 1,
                    AttemptOutcome::Retryable => 2,
                    AttemptOutcome::Permanent => 3,
                    AttemptOutcome::Interrupted => 4,
                });
                out.put_u32(attempt.number);
                out.put_time(attempt.began_at);
                out.put_time(attempt.ended_at);
                out.put_text(&attempt.code);
                out.put_text(&attempt.message);
                out.put_text(&attempt.response);
            }
        }
    })
}

pub(crate) fn put_counts(out: &mut Vec<u8>, counts: Counts) {
    out.put_u32(counts.attempts);
    out.put_u32(counts.tries);
    out.put_u32(counts.deaths);
}

pub(crate) fn put_place(out: &mut Vec<u8>, place: Place) {
    out.put_u32(place.segment);
    out.put_u32(place.offset);
}

pub(crate) fn read_counts(fields: &mut Fields<'_>) -> Result<Counts, DecodeError> {
    Ok(Counts { attempts: fields.u32("attempts")?, tries: fields.u32("tries")?, deaths: fields.u32("deaths")? })
}

pub(crate) fn read_place(fields: &mut Fields<'_>) -> Result<Place, DecodeError> {
    Ok(Place { segment: fields.u32("segment")?, offset: fields.u32("offset")? })
}

pub(crate) fn put_replay(out: &mut Vec<u8>, letters: &[(DeliveryId, Timestamp)], at: Timestamp) -> bool {
    put_item(out, ItemKind::Replay, |out| {
        out.put_time(at);
        out.put_count(letters.len());
        for (delivery, due_at) in letters {
            out.put_delivery_id(*delivery);
            out.put_time(*due_at);
        }
    })
}

pub(crate) fn put_purge(out: &mut Vec<u8>, letters: &[(DeliveryId, Place)], at: Timestamp) -> bool {
    put_item(out, ItemKind::Purge, |out| {
        out.put_time(at);
        out.put_count(letters.len());
        for (delivery, last) in letters {
            out.put_delivery_id(*delivery);
            put_place(out, *last);
        }
    })
}

/// An item's frame of reference: its kind and where its payload stands in the bytes it was found in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RawItem<'a> {
    pub(crate) kind: ItemKind,
    pub(crate) payload: &'a [u8],
}

impl RawItem<'_> {
    /// The bytes of the item, its header included.
    pub(crate) fn bytes(&self) -> usize {
        ITEM_HEADER_BYTES + self.payload.len()
    }
}

/// The length of the item that begins with `head`, header included; to know how much to read.
pub(crate) fn item_bytes(head: &[u8]) -> Result<usize, ItemError> {
    let mut fields = Fields::new(head.get(4..).ok_or(ItemError::Short)?);
    let payload = fields.u32("item")?;
    usize::try_from(payload).ok().and_then(|payload| payload.checked_add(ITEM_HEADER_BYTES)).ok_or(ItemError::Short)
}

/// Reads the item at the front of `bytes` and checks its sum.
pub(crate) fn split_item(bytes: &[u8]) -> Result<RawItem<'_>, ItemError> {
    let (head, rest) = bytes.split_at_checked(ITEM_HEADER_BYTES).ok_or(ItemError::Short)?;
    let payload_bytes = item_bytes(head)? - ITEM_HEADER_BYTES;
    let payload = rest.get(..payload_bytes).ok_or(ItemError::Short)?;
    let mut fields = Fields::new(head);
    let (kind, version) = (fields.u8("kind")?, fields.u8("version")?);
    fields.raw(6, "item")?;
    if fields.u32("checksum")? != checksum(head.get(..8).unwrap_or_default(), payload) {
        return Err(ItemError::Checksum);
    }
    if version == 0 || version > ITEM_VERSION {
        return Err(ItemError::Newer { found: version });
    }
    let kind = ItemKind::from_byte(kind).ok_or(ItemError::Kind(kind))?;
    Ok(RawItem { kind, payload })
}

/// The items of a damaged body that can be read all the same.
pub(crate) fn items_of_damaged(body: &[u8]) -> Vec<Item> {
    let mut found = Vec::new();
    let mut rest = body;
    // A length that was damaged leads astray, and the walk ends there.
    while let Ok(bytes) = item_bytes(rest) {
        found.extend(split_item(rest).ok().and_then(|raw| read_item(raw).ok()));
        let Some(next) = rest.get(bytes..) else { break };
        rest = next;
    }
    found
}

/// Reads the fields of an item. Of an event, only the head.
pub(crate) fn read_item(item: RawItem<'_>) -> Result<Item, DecodeError> {
    let mut fields = Fields::new(item.payload);
    let item = match item.kind {
        ItemKind::Event => {
            let head_bytes = usize::try_from(fields.u32("head")?).map_err(|_| DecodeError("head"))?;
            let mut head = Fields::new(fields.raw(head_bytes, "head")?);
            let item = Item::Event(read_head(&mut head)?);
            head.end("head")?;
            return Ok(item);
        }
        ItemKind::Position => Item::Position(NewPosition {
            namespace: fields.name("namespace")?,
            source: fields.name("source")?,
            bytes: fields.bytes("bytes")?.to_vec(),
        }),
        ItemKind::Begin => {
            let count = fields.count_of(36, "begins")?;
            let mut begins = Vec::with_capacity(count);
            for _ in 0..count {
                begins.push(Begin {
                    delivery: fields.delivery_id("delivery")?,
                    at: fields.time("at")?,
                    backoff_if_interrupted: std::time::Duration::from_millis(fields.u64("backoff")?),
                });
            }
            Item::Begin(begins)
        }
        ItemKind::Settlement => Item::Settlement(read_settlement(&mut fields)?),
        ItemKind::Replay => {
            let at = fields.time("at")?;
            let count = fields.count_of(28, "letters")?;
            let mut letters = Vec::with_capacity(count);
            for _ in 0..count {
                letters.push((fields.delivery_id("delivery")?, fields.time("due_at")?));
            }
            Item::Replay { at, letters }
        }
        ItemKind::Purge => {
            let at = fields.time("at")?;
            let count = fields.count_of(28, "letters")?;
            let mut letters = Vec::with_capacity(count);
            for _ in 0..count {
                letters.push((fields.delivery_id("delivery")?, read_place(&mut fields)?));
            }
            Item::Purge { at, letters }
        }
    };
    fields.end("item")?;
    Ok(item)
}

fn read_head(fields: &mut Fields<'_>) -> Result<EventHead, DecodeError> {
    let id = fields.event_id("id")?;
    let received_at = fields.time("received_at")?;
    let dedupe = if fields.flag("dedupe")? {
        Some(DedupeMark { hash: fields.hash("dedupe.hash")?, expires_at: fields.time("dedupe.expires_at")? })
    } else {
        None
    };
    let count = fields.count_of(29, "deliveries")?;
    let mut deliveries = Vec::with_capacity(count);
    for _ in 0..count {
        let queue = read_queue(fields)?;
        let after_dead = match fields.u8("lane")? {
            0 => None,
            1 => Some(AfterDead::Continue),
            2 => Some(AfterDead::Wait),
            _ => return Err(DecodeError("lane")),
        };
        let lane = match after_dead {
            None => None,
            Some(after_dead) => Some(Lane { key: fields.bytes("lane.key")?.to_vec(), after_dead }),
        };
        let due_at = fields.time("due_at")?;
        deliveries.push(NewDelivery { queue, lane, due_at, snapshot: fields.hash("snapshot")? });
    }
    Ok(EventHead { id, received_at, dedupe, deliveries })
}

fn read_settlement(fields: &mut Fields<'_>) -> Result<SettlementRecord, DecodeError> {
    let delivery = fields.delivery_id("delivery")?;
    let at = fields.time("at")?;
    let counts = read_counts(fields)?;
    let previous = read_place(fields)?;
    let first = read_place(fields)?;
    let verdict = match fields.u8("verdict")? {
        0 => Verdict::Delivered,
        kind @ (1 | 2) => Verdict::Retry { at: fields.time("retry.at")?, counted: kind == 2 },
        3 => Verdict::Dead {
            reason: Reason { code: fields.text("reason.code")?.into(), message: fields.text("reason.message")?.into() },
        },
        _ => return Err(DecodeError("verdict")),
    };
    let outcome = match fields.u8("outcome")? {
        0 => None,
        1 => Some(AttemptOutcome::Succeeded),
        2 => Some(AttemptOutcome::Retryable),
        3 => Some(AttemptOutcome::Permanent),
        4 => Some(AttemptOutcome::Interrupted),
        _ => return Err(DecodeError("outcome")),
    };
    let attempt = match outcome {
        None => None,
        Some(outcome) => Some(AttemptRecord {
            number: fields.u32("number")?,
            began_at: fields.time("began_at")?,
            ended_at: fields.time("ended_at")?,
            outcome,
            code: fields.text("code")?.into(),
            message: fields.text("message")?.into(),
            response: fields.text("response")?.into(),
        }),
    };
    Ok(SettlementRecord { delivery, at, counts, previous, first, verdict, attempt })
}

/// Reads the envelope out of an event item's payload. The data is not copied: it stays a slice of `payload`.
pub(crate) fn read_envelope(payload: &Bytes) -> Result<Envelope, DecodeError> {
    let mut fields = Fields::new(payload);
    let head_bytes = usize::try_from(fields.u32("head")?).map_err(|_| DecodeError("head"))?;
    let mut head = Fields::new(fields.raw(head_bytes, "head")?);
    let id = head.event_id("id")?;
    let received_at = head.time("received_at")?;
    let namespace = fields.name("namespace")?;
    let source_name = fields.name("source_name")?;
    let count = fields.count_of(1, "tags")?;
    let mut tags = Vec::with_capacity(count);
    for _ in 0..count {
        tags.push(fields.text("tag")?.to_owned());
    }
    let hop_count = fields.u8("hop_count")?;
    let keys_unique = fields.flag("keys_unique")?;
    let mut event = Event {
        id: fields.text("event.id")?.to_owned(),
        source: fields.text("event.source")?.to_owned(),
        ty: fields.text("event.type")?.to_owned(),
        ..Event::default()
    };
    for (attribute, field) in [
        (&mut event.subject, "subject"),
        (&mut event.time, "time"),
        (&mut event.datacontenttype, "datacontenttype"),
        (&mut event.dataschema, "dataschema"),
    ] {
        *attribute = fields.option_text(field)?.map(str::to_owned);
    }
    for _ in 0..fields.count_of(2, "extensions")? {
        let name = fields.text("extension")?.to_owned();
        let value = match fields.u8("extension")? {
            0 => ExtensionValue::String(fields.text("extension")?.to_owned()),
            1 => ExtensionValue::Integer(fields.u32("extension")?.cast_signed()),
            2 => ExtensionValue::Boolean(false),
            3 => ExtensionValue::Boolean(true),
            _ => return Err(DecodeError("extension")),
        };
        event.extensions.insert(name, value);
    }
    let kind = fields.u8("data")?;
    let data = payload.slice(payload.len() - fields.left()..);
    event.data = match kind {
        0 if data.is_empty() => Data::None,
        1 => Data::Json(data),
        2 => Data::Bytes(data),
        _ => return Err(DecodeError("data")),
    };
    Ok(Envelope { id, namespace, source_name, tags, received_at, hop_count, keys_unique, event })
}
