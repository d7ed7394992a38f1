//! The bytes of the checkpoint's entries.

use eventyard_event::{EventId, Name};

use super::Meta;
use crate::codec::{DecodeError, Fields, Put};
use crate::journal::{End, put_counts, put_place, put_queue, read_counts, read_place, read_queue};
use crate::state::{DeliverySlot, EventSlot, ItemPlace, Lease, NONE, Queued, Standing, State};
use crate::{AfterDead, QueueKey, SavedPosition};

/// The version of the checkpoint's entries. A checkpoint of another version is set aside and rebuilt.
const VERSION: u16 = 1;

pub(super) fn put_meta(journal: [u8; 16], end: End) -> Vec<u8> {
    let mut out = Vec::new();
    out.put_u16(VERSION);
    out.extend_from_slice(&journal);
    out.put_u64(end.sequence);
    put_place(&mut out, end.place);
    out
}

pub(super) fn read_meta(bytes: &[u8]) -> Result<Meta, DecodeError> {
    let mut fields = Fields::new(bytes);
    if fields.u16("version")? != VERSION {
        return Err(DecodeError("version"));
    }
    let journal = fields.hash("journal")?;
    let end = End { sequence: fields.u64("sequence")?, place: read_place(&mut fields)? };
    fields.end("meta")?;
    Ok(Meta { journal, end })
}

pub(super) fn number_key(kind: u8, number: u32) -> Vec<u8> {
    let mut key = vec![kind];
    key.extend_from_slice(&number.to_be_bytes());
    key
}

pub(super) fn put_queue_name(queue: &QueueKey) -> Vec<u8> {
    let mut out = Vec::new();
    put_queue(&mut out, queue);
    out
}

pub(super) fn read_queue_name(bytes: &[u8]) -> Result<QueueKey, DecodeError> {
    let mut fields = Fields::new(bytes);
    let queue = read_queue(&mut fields)?;
    fields.end("queue")?;
    Ok(queue)
}

pub(super) fn position_key(namespace: &Name, source: &Name) -> Vec<u8> {
    let mut key = vec![b'p'];
    key.put_name(namespace);
    key.put_name(source);
    key
}

pub(super) fn read_position_key(key: &[u8]) -> Result<(Name, Name), DecodeError> {
    let mut fields = Fields::new(key);
    let names = (fields.name("namespace")?, fields.name("source")?);
    fields.end("position")?;
    Ok(names)
}

pub(super) fn put_saved(saved: &SavedPosition) -> Vec<u8> {
    let mut out = Vec::new();
    match saved.last_event {
        None => out.put_u8(0),
        Some(event) => {
            out.put_u8(1);
            out.put_event_id(event);
        }
    }
    out.put_bytes(&saved.bytes);
    out
}

pub(super) fn read_saved(bytes: &[u8]) -> Result<SavedPosition, DecodeError> {
    let mut fields = Fields::new(bytes);
    let last_event = if fields.flag("last_event")? { Some(fields.event_id("last_event")?) } else { None };
    let saved = SavedPosition { bytes: fields.bytes("bytes")?.to_vec(), last_event };
    fields.end("position")?;
    Ok(saved)
}

/// An event with its deliveries. A lease that was not begun is not written: after a restart it never was.
pub(super) fn put_entry(state: &State, event: &EventSlot) -> Vec<u8> {
    let mut out = Vec::with_capacity(128);
    put_place(&mut out, event.item.place);
    out.put_u32(event.item.bytes);
    let slots: Vec<(u32, &DeliverySlot)> =
        event.deliveries.iter().filter_map(|slot| Some((*slot, state.deliveries.get(*slot)?))).collect();
    out.put_u64(slots.first().map_or(0, |(_, delivery)| delivery.order));
    out.put_count(slots.len());
    for (slot, delivery) in slots {
        let begun = state.leases.get(&slot).and_then(|lease| lease.begun);
        let standing = match delivery.standing {
            Standing::Leased if begun.is_none() => Standing::Pending,
            other => other,
        };
        out.put_u32(delivery.queue);
        out.put_u32(delivery.snapshot);
        put_counts(&mut out, delivery.counts);
        out.put_i64(delivery.due);
        out.put_i64(delivery.budget_began);
        put_place(&mut out, delivery.last);
        put_place(&mut out, delivery.first);
        out.put_u64(delivery.applied);
        out.put_u8(match standing {
            Standing::Pending => 0,
            Standing::Waiting => 1,
            Standing::Leased => 2,
            Standing::Dead => 3,
            Standing::Delivered => 4,
            Standing::Cancelled => 5,
        });
        let key = if delivery.lane == NONE { None } else { state.lane_key(delivery.lane) };
        out.put_u8(match (key, delivery.after_dead) {
            (None, _) => 0,
            (Some(_), AfterDead::Continue) => 1,
            (Some(_), AfterDead::Wait) => 2,
        });
        if let Some(key) = key {
            out.put_bytes(key);
        }
        if let (Standing::Leased, Some((at, backoff_ms))) = (standing, begun) {
            out.put_time(at);
            out.put_u64(backoff_ms);
        }
    }
    out
}

/// A delivery as it is read back: with its lane's key and what had begun.
pub(crate) type SavedDelivery = (DeliverySlot, Option<Vec<u8>>, Option<Lease>);

/// An event as it is read back.
pub(crate) struct SavedEvent {
    pub(crate) id: EventId,
    pub(crate) item: ItemPlace,
    pub(crate) order: u64,
    pub(crate) deliveries: Vec<SavedDelivery>,
}

pub(super) fn read_entry(key: &[u8], value: &[u8]) -> Result<SavedEvent, DecodeError> {
    let mut name = Fields::new(key);
    let id = name.event_id("id")?;
    name.end("id")?;
    let mut fields = Fields::new(value);
    let item = ItemPlace { place: read_place(&mut fields)?, bytes: fields.u32("bytes")? };
    let order = fields.u64("order")?;
    let count = fields.count_of(62, "deliveries")?;
    let mut deliveries = Vec::with_capacity(count);
    for place in 0..u32::try_from(count).map_err(|_| DecodeError("deliveries"))? {
        deliveries.push(read_delivery(&mut fields, place, order)?);
    }
    fields.end("entry")?;
    Ok(SavedEvent { id, item, order, deliveries })
}

fn read_delivery(fields: &mut Fields<'_>, place: u32, order: u64) -> Result<SavedDelivery, DecodeError> {
    let (queue, snapshot) = (fields.u32("queue")?, fields.u32("snapshot")?);
    let counts = read_counts(fields)?;
    let (due, budget_began) = (fields.i64("due")?, fields.i64("budget")?);
    let (last, first) = (read_place(fields)?, read_place(fields)?);
    let applied = fields.u64("applied")?;
    let standing = match fields.u8("standing")? {
        0 => Standing::Pending,
        1 => Standing::Waiting,
        2 => Standing::Leased,
        3 => Standing::Dead,
        4 => Standing::Delivered,
        5 => Standing::Cancelled,
        _ => return Err(DecodeError("standing")),
    };
    let (after_dead, key) = match fields.u8("lane")? {
        0 => (AfterDead::Continue, None),
        1 => (AfterDead::Continue, Some(fields.bytes("lane.key")?.to_vec())),
        2 => (AfterDead::Wait, Some(fields.bytes("lane.key")?.to_vec())),
        _ => return Err(DecodeError("lane")),
    };
    let lease = if standing == Standing::Leased {
        Some(Lease { begun: Some((fields.time("begun")?, fields.u64("backoff")?)), beginning: true })
    } else {
        None
    };
    let slot = DeliverySlot {
        event: NONE,
        place,
        queue,
        lane: NONE,
        snapshot,
        counts,
        order,
        due,
        budget_began,
        last,
        first,
        applied,
        standing,
        after_dead,
        queued: Queued::No,
        // What has never waited for its time stands in commit order when it is read in commit order.
        new: standing == Standing::Pending && last.is_none(),
        moving: false,
    };
    Ok((slot, key, lease))
}
