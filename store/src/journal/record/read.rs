//! Reading items: the same fields in the same order as `write.rs` writes them.

use bytes::Bytes;
use eventyard_event::{Data, Envelope, Event, ExtensionValue, Text};

use super::write::SPLIT_FLAG;
use super::{
    Counts, DedupeMark, Elements, EventHead, Forgotten, ITEM_HEADER_BYTES, ITEM_VERSION, Item, ItemKind, KeptDelivery,
    KeptState, Place, RawItem, SettlementRecord, item_bytes, split_item,
};
use crate::codec::{DecodeError, Fields};
use crate::delivery::DELIVERIES_MAX;
use crate::state::Standing;
use crate::{
    AfterDead, AttemptOutcome, AttemptRecord, Begin, Lane, NewDelivery, NewPosition, QueueKey, Reason, Split, Verdict,
    place_count,
};

pub(crate) fn read_queue(fields: &mut Fields<'_>) -> Result<QueueKey, DecodeError> {
    Ok(QueueKey {
        namespace: fields.name("queue.namespace")?,
        rule: if fields.flag("queue.rule")? { Some(fields.name("queue.rule")?) } else { None },
        target: fields.name("queue.target")?,
    })
}

pub(crate) fn read_counts(fields: &mut Fields<'_>) -> Result<Counts, DecodeError> {
    Ok(Counts { attempts: fields.u32("attempts")?, tries: fields.u32("tries")?, deaths: fields.u32("deaths")? })
}

pub(crate) fn read_place(fields: &mut Fields<'_>) -> Result<Place, DecodeError> {
    Ok(Place { segment: fields.u32("segment")?, offset: fields.u32("offset")? })
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

/// Bytes that are summed up in vain, for each byte that is looked through. Data may be made to look like one item
/// after another, each as long as all that comes behind it; nobody is to wait for that.
const IN_VAIN_MAX: usize = 64;

/// Hands on every event that stands whole anywhere in bytes that cannot be read otherwise: an item has a sum of its
/// own, whatever has become of the frame around it.
///
/// # Errors
/// The first one of `each`.
pub(crate) fn events_within<E>(bytes: &[u8], each: &mut dyn FnMut(&Event) -> Result<(), E>) -> Result<(), E> {
    let mut in_vain = bytes.len().saturating_mul(IN_VAIN_MAX);
    let mut at = 0;
    while let Some(rest) = bytes.get(at..).filter(|rest| rest.len() >= ITEM_HEADER_BYTES) {
        if !may_begin_event(rest) {
            at += 1;
            continue;
        }
        let event = split_item(rest).ok().and_then(|raw| {
            let payload = event_payload(raw.kind, &Bytes::copy_from_slice(raw.payload)).ok()??;
            Some((raw.bytes(), read_envelope(&payload).ok()?))
        });
        match event {
            Some((item_bytes, envelope)) => {
                each(&envelope.event)?;
                at += item_bytes;
            }
            None => {
                let summed = item_bytes(rest).ok().filter(|bytes| *bytes <= rest.len()).unwrap_or(0);
                let Some(left) = in_vain.checked_sub(summed) else { break };
                in_vain = left;
                at += 1;
            }
        }
    }
    Ok(())
}

/// Whether an item of an event may begin here: what its sum is not needed for.
fn may_begin_event(bytes: &[u8]) -> bool {
    matches!(bytes, [kind, 1..=ITEM_VERSION, 0, 0, ..]
        if matches!(ItemKind::from_byte(*kind), Some(ItemKind::Event | ItemKind::Kept)))
}

/// Reads the fields of an item. Of an event, only the head.
pub(crate) fn read_item(item: RawItem<'_>) -> Result<Item, DecodeError> {
    let mut fields = Fields::new(item.payload);
    let item = match item.kind {
        ItemKind::Event => {
            return Ok(Item::Event(read_event(&mut fields)?));
        }
        ItemKind::Kept => {
            let kept_bytes = usize::try_from(fields.u32("kept")?).map_err(|_| DecodeError("kept"))?;
            let mut kept = Fields::new(fields.raw(kept_bytes, "kept")?);
            let state = read_kept(&mut kept)?;
            kept.end("kept")?;
            let head = read_event(&mut fields)?;
            if place_count(&head.deliveries) != state.deliveries.len() {
                return Err(DecodeError("deliveries"));
            }
            return Ok(Item::Kept(Box::new((head, state))));
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
        ItemKind::Hasten => {
            let at = fields.time("at")?;
            let count = fields.count_of(28, "hastened")?;
            let mut hastened = Vec::with_capacity(count);
            for _ in 0..count {
                hastened.push((fields.delivery_id("delivery")?, fields.time("due_at")?));
            }
            Item::Hasten { at, hastened }
        }
        ItemKind::KeptPosition => {
            let from = fields.u32("from")?;
            let (namespace, source) = (fields.name("namespace")?, fields.name("source")?);
            let last_event = if fields.flag("last_event")? { Some(fields.event_id("last_event")?) } else { None };
            let bytes = fields.bytes("bytes")?.to_vec();
            Item::KeptPosition(NewPosition { namespace, source, bytes }, last_event, from)
        }
        ItemKind::Forget => Item::Forget(Forgotten { before: fields.u32("before")?, newest: fields.i64("newest")? }),
    };
    fields.end("item")?;
    Ok(item)
}

/// The head of an event item, at the front of its payload.
fn read_event(fields: &mut Fields<'_>) -> Result<EventHead, DecodeError> {
    let head_bytes = usize::try_from(fields.u32("head")?).map_err(|_| DecodeError("head"))?;
    let mut head = Fields::new(fields.raw(head_bytes, "head")?);
    let read = read_head(&mut head)?;
    head.end("head")?;
    Ok(read)
}

/// Which deliveries of an event are of elements, from the payload that it was written with at first.
pub(crate) fn read_elements(payload: &[u8]) -> Result<Elements, DecodeError> {
    Ok(Elements::of(&read_event(&mut Fields::new(payload))?.deliveries))
}

/// The payload that an event was written with at first, whether or not it was copied since. `None` where the item
/// is no event.
pub(crate) fn event_payload(kind: ItemKind, payload: &Bytes) -> Result<Option<Bytes>, DecodeError> {
    match kind {
        ItemKind::Event => Ok(Some(payload.clone())),
        ItemKind::Kept => {
            let mut fields = Fields::new(payload);
            let kept_bytes = usize::try_from(fields.u32("kept")?).map_err(|_| DecodeError("kept"))?;
            fields.raw(kept_bytes, "kept")?;
            Ok(Some(payload.slice(payload.len() - fields.left()..)))
        }
        _ => Ok(None),
    }
}

/// The shortest that a copied delivery can be.
const KEPT_DELIVERY_BYTES_MIN: usize = 30;
/// The shortest that an attempt can be.
const ATTEMPT_BYTES_MIN: usize = 24;

fn read_kept(fields: &mut Fields<'_>) -> Result<KeptState, DecodeError> {
    let from = read_place(fields)?;
    let order = fields.u64("order")?;
    let count = fields.count_of(KEPT_DELIVERY_BYTES_MIN, "deliveries")?;
    let mut deliveries = Vec::with_capacity(count);
    for _ in 0..count {
        let standing = Standing::from_byte(fields.u8("standing")?).ok_or(DecodeError("standing"))?;
        let counts = read_counts(fields)?;
        let (due, budget_began) = (fields.i64("due")?, fields.i64("budget")?);
        let begun = match standing {
            Standing::Leased => Some((fields.time("begun")?, fields.u64("backoff")?)),
            _ => None,
        };
        let mut kept = KeptDelivery { standing, counts, due, budget_began, begun, newest: None, attempts: Vec::new() };
        if fields.flag("history")? {
            kept.newest = Some(read_settlement(fields)?);
            for _ in 0..fields.count_of(ATTEMPT_BYTES_MIN, "attempts")? {
                kept.attempts.push(read_attempt(fields)?.ok_or(DecodeError("attempt"))?);
            }
        }
        deliveries.push(kept);
    }
    Ok(KeptState { from, order, deliveries })
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
        let lane = fields.u8("lane")?;
        let splits = lane & SPLIT_FLAG != 0;
        let after_dead = match lane & !SPLIT_FLAG {
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
        let snapshot = fields.hash("snapshot")?;
        let split = if splits {
            Some(Split { path: fields.text("split.path")?.into(), count: fields.u32("split.count")? })
        } else {
            None
        };
        deliveries.push(NewDelivery { queue: queue.into(), lane, due_at, snapshot, split });
    }
    // A forged number must not make us reserve memory for what nobody could have written.
    if place_count(&deliveries) > DELIVERIES_MAX.max(deliveries.len()) {
        return Err(DecodeError("split.count"));
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
    let attempt = read_attempt(fields)?;
    Ok(SettlementRecord { delivery, at, counts, previous, first, verdict, attempt })
}

/// An attempt, where there was one.
fn read_attempt(fields: &mut Fields<'_>) -> Result<Option<AttemptRecord>, DecodeError> {
    let outcome = match fields.u8("outcome")? {
        0 => return Ok(None),
        1 => AttemptOutcome::Succeeded,
        2 => AttemptOutcome::Retryable,
        3 => AttemptOutcome::Permanent,
        4 => AttemptOutcome::Interrupted,
        _ => return Err(DecodeError("outcome")),
    };
    Ok(Some(AttemptRecord {
        number: fields.u32("number")?,
        began_at: fields.time("began_at")?,
        ended_at: fields.time("ended_at")?,
        outcome,
        code: fields.text("code")?.into(),
        message: fields.text("message")?.into(),
        response: fields.text("response")?.into(),
    }))
}

/// Extension attributes that room is made for at once; an event that has more grows.
const EXTENSIONS_EXPECTED: usize = 64;

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
        id: fields.text("event.id")?.into(),
        source: fields.text("event.source")?.into(),
        ty: fields.text("event.type")?.into(),
        ..Event::default()
    };
    for (attribute, field) in [
        (&mut event.subject, "subject"),
        (&mut event.time, "time"),
        (&mut event.datacontenttype, "datacontenttype"),
        (&mut event.dataschema, "dataschema"),
    ] {
        *attribute = fields.option_text(field)?.map(Text::from);
    }
    let count = fields.count_of(2, "extensions")?;
    // A forged number makes no more room than events need.
    event.extensions.reserve(count.min(EXTENSIONS_EXPECTED));
    for _ in 0..count {
        let name = fields.text("extension")?.into();
        let value = match fields.u8("extension")? {
            0 => ExtensionValue::String(fields.text("extension")?.into()),
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
