//! Writing items, one function for each kind.

use eventyard_event::{Data, DeliveryId, Envelope, EventId, ExtensionValue, Timestamp};

use super::read::read_elements;
use super::{
    Counts, DedupeMark, Forgotten, ItemKind, KeptDelivery, KeptState, PLAIN_VERSION, Place, SPLIT_VERSION,
    SettlementRecord, put_item, put_item_of,
};
use crate::codec::Put;
use crate::state::Standing;
use crate::{Admission, AfterDead, AttemptOutcome, AttemptRecord, Begin, NewPosition, QueueKey, Verdict};

/// Appends an event item. The head comes first and says its length, so that each of the two parts can be read
/// without the other.
pub(crate) fn put_event(out: &mut Vec<u8>, admission: &Admission, dedupe: Option<DedupeMark>) -> bool {
    let version = version_of(admission.deliveries.iter().any(|delivery| delivery.split.is_some()));
    put_item_of(out, ItemKind::Event, version, |out| {
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

fn version_of(splits: bool) -> u8 {
    if splits { SPLIT_VERSION } else { PLAIN_VERSION }
}

/// What is added to the byte of a lane where a [`Split`](crate::Split) stands behind the delivery.
pub(super) const SPLIT_FLAG: u8 = 4;

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
        let flag = if delivery.split.is_some() { SPLIT_FLAG } else { 0 };
        match &delivery.lane {
            None => out.put_u8(flag),
            Some(lane) => {
                out.put_u8(
                    flag | match lane.after_dead {
                        AfterDead::Continue => 1,
                        AfterDead::Wait => 2,
                    },
                );
                out.put_bytes(&lane.key);
            }
        }
        out.put_time(delivery.due_at);
        out.extend_from_slice(&delivery.snapshot);
        if let Some(split) = &delivery.split {
            out.put_text(&split.path);
            out.put_u32(split.count);
        }
    }
}

/// The fields of a queue's name; the checkpoint writes them too.
pub(crate) fn put_queue(out: &mut Vec<u8>, queue: &QueueKey) {
    out.put_name(&queue.namespace);
    out.put_option_text(queue.rule.as_ref().map(eventyard_event::Name::as_str));
    out.put_name(&queue.target);
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

pub(crate) fn put_begins<'a>(out: &mut Vec<u8>, begins: impl ExactSizeIterator<Item = &'a Begin>) -> bool {
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
    put_item(out, ItemKind::Settlement, |out| put_settlement_fields(out, settlement))
}

fn put_settlement_fields(out: &mut Vec<u8>, settlement: &SettlementRecord) {
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
        Some(attempt) => put_attempt(out, attempt),
    }
}

fn put_attempt(out: &mut Vec<u8>, attempt: &AttemptRecord) {
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

/// Appends an event that is copied. `event` is the payload of the item that it was written with at first; what
/// is known of it comes before that and says its length, so that each of the two can be read without the other.
pub(crate) fn put_kept(out: &mut Vec<u8>, kept: &KeptState, event: &[u8]) -> bool {
    put_item_of(out, ItemKind::Kept, version_of(read_elements(event).is_ok_and(|found| found.any())), |out| {
        let start = out.len();
        out.put_u32(0);
        put_place(out, kept.from);
        out.put_u64(kept.order);
        out.put_count(kept.deliveries.len());
        kept.deliveries.iter().for_each(|delivery| put_kept_delivery(out, delivery));
        let kept_bytes = u32::try_from(out.len() - start - 4).unwrap_or(u32::MAX);
        if let Some(field) = out.get_mut(start..start + 4) {
            field.copy_from_slice(&kept_bytes.to_le_bytes());
        }
        out.extend_from_slice(event);
    })
}

fn put_kept_delivery(out: &mut Vec<u8>, delivery: &KeptDelivery) {
    out.put_u8(delivery.standing.to_byte());
    put_counts(out, delivery.counts);
    out.put_i64(delivery.due);
    out.put_i64(delivery.budget_began);
    if let Some((at, backoff_ms)) = delivery.begun.filter(|_| delivery.standing == Standing::Leased) {
        out.put_time(at);
        out.put_u64(backoff_ms);
    }
    match &delivery.newest {
        None => out.put_u8(0),
        Some(newest) => {
            out.put_u8(1);
            put_settlement_fields(out, newest);
            out.put_count(delivery.attempts.len());
            delivery.attempts.iter().for_each(|attempt| put_attempt(out, attempt));
        }
    }
}

/// Appends a position that is copied out of the segment `from`.
pub(crate) fn put_kept_position(
    out: &mut Vec<u8>,
    position: &NewPosition,
    last_event: Option<EventId>,
    from: u32,
) -> bool {
    put_item(out, ItemKind::KeptPosition, |out| {
        out.put_u32(from);
        out.put_name(&position.namespace);
        out.put_name(&position.source);
        match last_event {
            None => out.put_u8(0),
            Some(event) => {
                out.put_u8(1);
                out.put_event_id(event);
            }
        }
        out.put_bytes(&position.bytes);
    })
}

pub(crate) fn put_forget(out: &mut Vec<u8>, forgotten: Forgotten) -> bool {
    put_item(out, ItemKind::Forget, |out| {
        out.put_u32(forgotten.before);
        out.put_i64(forgotten.newest);
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

pub(crate) fn put_hasten(out: &mut Vec<u8>, hastened: &[(DeliveryId, Timestamp)], at: Timestamp) -> bool {
    put_item(out, ItemKind::Hasten, |out| {
        out.put_time(at);
        out.put_count(hastened.len());
        for (delivery, due_at) in hastened {
            out.put_delivery_id(*delivery);
            out.put_time(*due_at);
        }
    })
}
