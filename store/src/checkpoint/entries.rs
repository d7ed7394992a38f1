//! The bytes of the checkpoint's entries.

use eventyard_event::{EventId, Name};

use super::Meta;
use crate::codec::{DecodeError, Fields, Put};
use crate::journal::{
    Counts, End, Forgotten, Place, put_counts, put_place, put_queue, read_counts, read_place, read_queue,
};
use crate::state::{CHUNK_EVENTS, DeliverySlot, EventSlot, ItemPlace, Lease, NONE, Queued, Standing, State};
use crate::{AfterDead, QueueKey, SavedPosition};

/// The version of the checkpoint's entries. A checkpoint of another version is set aside and rebuilt.
const VERSION: u16 = 2;

pub(super) fn put_meta(journal: [u8; 16], end: End, forgotten: Forgotten) -> Vec<u8> {
    let mut out = Vec::new();
    out.put_u16(VERSION);
    out.extend_from_slice(&journal);
    out.put_u64(end.sequence);
    put_place(&mut out, end.place);
    out.put_u32(forgotten.before);
    out.put_i64(forgotten.newest);
    out
}

pub(super) fn read_meta(bytes: &[u8]) -> Result<Meta, DecodeError> {
    let mut fields = Fields::new(bytes);
    if fields.u16("version")? != VERSION {
        return Err(DecodeError("version"));
    }
    let journal = fields.hash("journal")?;
    let end = End { sequence: fields.u64("sequence")?, place: read_place(&mut fields)? };
    let forgotten = Forgotten { before: fields.u32("before")?, newest: fields.i64("newest")? };
    fields.end("meta")?;
    Ok(Meta { journal, end, forgotten })
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

/// A position, and the segment that it stands in.
pub(super) fn put_saved(saved: &SavedPosition, segment: u32) -> Vec<u8> {
    let mut out = Vec::new();
    out.put_u32(segment);
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

pub(super) fn read_saved(bytes: &[u8]) -> Result<(SavedPosition, u32), DecodeError> {
    let mut fields = Fields::new(bytes);
    let segment = fields.u32("segment")?;
    let last_event = if fields.flag("last_event")? { Some(fields.event_id("last_event")?) } else { None };
    let saved = SavedPosition { bytes: fields.bytes("bytes")?.to_vec(), last_event };
    fields.end("position")?;
    Ok((saved, segment))
}

/// A delivery has changed since its event came: all of it is written.
const TOUCHED: u8 = 0x20;
/// A delivery has a lane that goes on after a dead letter.
const LANE: u8 = 0x08;
/// A delivery has a lane that waits for a dead letter.
const LANE_WAITS: u8 = 0x10;
/// Where a delivery stands.
const STANDING: u8 = 0x07;

/// The shortest that a delivery can be; what a count of them is held against.
const DELIVERY_BYTES_MIN: usize = 11;
/// As much of an event.
const EVENT_BYTES_MIN: usize = 23;

pub(super) fn chunk_key(chunk: u32) -> Vec<u8> {
    number_key(b'c', chunk)
}

/// The events of a chunk with their deliveries.
pub(super) fn put_chunk(state: &State, chunk: u32) -> Vec<u8> {
    let mut out = Vec::with_capacity(CHUNK_EVENTS * 64);
    out.put_count(state.chunk(chunk).count());
    for (number, event) in state.chunk(chunk) {
        out.put_number(u64::from(number) % CHUNK_EVENTS as u64);
        put_event(&mut out, state, event);
    }
    out
}

fn put_event(out: &mut Vec<u8>, state: &State, event: &EventSlot) {
    let first = event.deliveries.first().and_then(|slot| state.deliveries.get(*slot));
    out.put_event_id(event.id);
    out.put_number(u64::from(event.item.place.segment));
    out.put_number(u64::from(event.item.place.offset));
    out.put_number(u64::from(event.item.bytes));
    out.put_number(first.map_or(0, |delivery| delivery.order));
    out.put_count(event.deliveries.len());
    for slot in event.deliveries.iter() {
        if let Some(delivery) = state.deliveries.get(*slot) {
            put_delivery(out, state, *slot, delivery);
        }
    }
}

/// A delivery. A lease that was not begun is not written: after a restart it never was. What has not been touched
/// since its event came, as most of a backlog has not, is told by its queue, its rules and its due time.
pub(super) fn put_delivery(out: &mut Vec<u8>, state: &State, slot: u32, delivery: &DeliverySlot) {
    let begun = state.leases.get(&slot).and_then(|lease| lease.begun);
    let standing = match delivery.standing {
        Standing::Leased if begun.is_none() => Standing::Pending,
        other => other,
    };
    let untouched = standing == Standing::Pending
        && delivery.counts == Counts::default()
        && delivery.last.is_none()
        && delivery.budget_began == delivery.due
        && delivery.applied == delivery.order >> 16;
    let key = if delivery.lane == NONE { None } else { state.lane_key(delivery.lane) };
    let lane = match (key, delivery.after_dead) {
        (None, _) => 0,
        (Some(_), AfterDead::Continue) => LANE,
        (Some(_), AfterDead::Wait) => LANE_WAITS,
    };
    out.put_u8(standing.to_byte() | lane | if untouched { 0 } else { TOUCHED });
    out.put_number(u64::from(delivery.queue));
    out.put_number(u64::from(delivery.snapshot));
    out.put_i64(delivery.due);
    if let Some(key) = key {
        out.put_bytes(key);
    }
    if untouched {
        return;
    }
    put_counts(out, delivery.counts);
    out.put_i64(delivery.budget_began);
    put_place(out, delivery.last);
    put_place(out, delivery.first);
    out.put_u64(delivery.applied);
    if let (Standing::Leased, Some((at, backoff_ms))) = (standing, begun) {
        out.put_time(at);
        out.put_u64(backoff_ms);
    }
}

/// A delivery as it is read back: with its lane's key and what had begun.
pub(crate) type SavedDelivery = (DeliverySlot, Option<Vec<u8>>, Option<Lease>);

/// An event as it is read back.
pub(crate) struct SavedEvent {
    /// Its number in the table of events.
    pub(crate) number: u32,
    pub(crate) id: EventId,
    pub(crate) item: ItemPlace,
    pub(crate) deliveries: Vec<SavedDelivery>,
}

/// Reads a chunk, and hands each of its events to `each`.
pub(super) fn read_chunk(
    key: &[u8],
    value: &[u8],
    each: &mut dyn FnMut(SavedEvent) -> Result<(), DecodeError>,
) -> Result<(), DecodeError> {
    let chunk = u32::from_be_bytes(key.try_into().map_err(|_| DecodeError("chunk"))?);
    let first = u64::from(chunk) * CHUNK_EVENTS as u64;
    let mut fields = Fields::new(value);
    for _ in 0..fields.count_of(EVENT_BYTES_MIN, "events")? {
        let within = Some(fields.number("number")?).filter(|number| *number < CHUNK_EVENTS as u64);
        let number = within.and_then(|within| u32::try_from(first + within).ok()).ok_or(DecodeError("number"))?;
        let id = fields.event_id("id")?;
        let place = Place { segment: fields.number32("segment")?, offset: fields.number32("offset")? };
        let item = ItemPlace { place, bytes: fields.number32("bytes")? };
        let order = fields.number("order")?;
        let count = fields.count_of(DELIVERY_BYTES_MIN, "deliveries")?;
        let mut deliveries = Vec::with_capacity(count);
        for place in 0..u32::try_from(count).map_err(|_| DecodeError("deliveries"))? {
            deliveries.push(read_delivery(&mut fields, place, order)?);
        }
        each(SavedEvent { number, id, item, deliveries })?;
    }
    fields.end("chunk")
}

pub(super) fn read_delivery(fields: &mut Fields<'_>, place: u32, order: u64) -> Result<SavedDelivery, DecodeError> {
    let flags = fields.u8("standing")?;
    let standing = Standing::from_byte(flags & STANDING).ok_or(DecodeError("standing"))?;
    let (queue, snapshot) = (fields.number32("queue")?, fields.number32("snapshot")?);
    let due = fields.i64("due")?;
    let (after_dead, key) = match flags & (LANE | LANE_WAITS) {
        0 => (AfterDead::Continue, None),
        LANE => (AfterDead::Continue, Some(fields.bytes("lane.key")?.to_vec())),
        LANE_WAITS => (AfterDead::Wait, Some(fields.bytes("lane.key")?.to_vec())),
        _ => return Err(DecodeError("lane")),
    };
    let mut slot = DeliverySlot {
        event: NONE,
        place,
        queue,
        lane: NONE,
        snapshot,
        counts: Counts::default(),
        order,
        due,
        budget_began: due,
        last: Place::NONE,
        first: Place::NONE,
        applied: order >> 16,
        standing,
        after_dead,
        queued: Queued::No,
        new: false,
        moving: false,
    };
    let mut lease = None;
    match flags & !(STANDING | LANE | LANE_WAITS) {
        0 if standing == Standing::Pending => {}
        TOUCHED => {
            slot.counts = read_counts(fields)?;
            slot.budget_began = fields.i64("budget")?;
            slot.last = read_place(fields)?;
            slot.first = read_place(fields)?;
            slot.applied = fields.u64("applied")?;
            if standing == Standing::Leased {
                let begun = Some((fields.time("begun")?, fields.u64("backoff")?));
                lease = Some(Lease { begun, beginning: true });
            }
        }
        _ => return Err(DecodeError("standing")),
    }
    // What has never waited for its time stands in commit order when it is read in commit order.
    slot.new = standing == Standing::Pending && slot.last.is_none();
    Ok((slot, key, lease))
}
