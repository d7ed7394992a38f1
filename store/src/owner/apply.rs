//! What follows from a batch when it is durable: it is applied to the state, and everybody who waits is told.

use std::sync::Arc;

use eventyard_event::{DeliveryId, Envelope};
use tokio::sync::oneshot;

use super::{Begun, CommitWork, Kept, KeptPosition, Outcome, Part, Settled};
use crate::catalog::{Catalog, Ended};
use crate::journal::{Counts, End, Place, Sealed};
use crate::shared::Shared;
use crate::state::{Applied, FRAME_EVENTS_MAX, ItemPlace, NONE, State, Turn};
use crate::{SavedPosition, StoreError};

/// A work of the batch: what follows from it when the batch is durable, and who is told.
pub(super) struct Gathered {
    /// The frame's sequence, and where its body stands; none where all of a commit was here already.
    pub(super) frame: Option<(u64, Place)>,
    pub(super) effect: Effect,
}

pub(super) enum Effect {
    Commit(Box<CommitWork>),
    /// Begins have no reply here: they were answered before.
    Outcome(Option<Box<Outcome>>, Option<oneshot::Sender<Result<(), StoreError>>>),
}

/// What is gathered for one sync.
#[derive(Default)]
pub(super) struct Batch {
    pub(super) gathered: Vec<Gathered>,
    /// How many of them have a frame that is not applied yet.
    pub(super) frame_count: usize,
    /// Begins; they are answered after the write.
    pub(super) begun: Vec<oneshot::Sender<Result<(), StoreError>>>,
    /// Its bytes; none while it is gathered, and none of a batch that has no frame.
    pub(super) sealed: Option<Sealed>,
    /// Where the journal ends with it.
    pub(super) end: Option<End>,
    /// Envelopes that the state keeps no longer; they go away with the answers.
    spent: Vec<Arc<Envelope>>,
}

impl Batch {
    /// Whether there is nothing to write and nobody to answer.
    pub(super) fn is_empty(&self) -> bool {
        self.gathered.is_empty() && self.begun.is_empty()
    }

    /// Tells everybody who waits for it.
    pub(super) fn answer(&mut self) {
        for gathered in self.gathered.drain(..) {
            gathered.answer(&mut self.spent);
        }
        self.spent.clear();
    }

    /// Makes visible what is durable; a second call does nothing.
    pub(super) fn apply(&mut self, shared: &Shared) {
        if self.frame_count == 0 {
            return;
        }
        self.frame_count = 0;
        let mut state = shared.state();
        let mut catalog = shared.catalog();
        for gathered in &mut self.gathered {
            let Some((sequence, place)) = gathered.frame else { continue };
            match &mut gathered.effect {
                Effect::Commit(work) => {
                    apply_parts(&mut state, &mut catalog, sequence, place, &mut work.parts);
                    if let Some((_, position)) = work.position.take() {
                        let last_event = work.parts.last().map(|part| part.admit.id);
                        let saved = SavedPosition { bytes: position.bytes, last_event };
                        state.set_position(&position.namespace, &position.source, saved, place.segment);
                    }
                }
                Effect::Outcome(outcome, _) => {
                    if let Some(outcome) = outcome.take() {
                        apply_outcome(&mut state, &mut catalog, sequence, place, *outcome);
                    }
                }
            }
        }
        drop(catalog);
        self.spent = state.take_spent();
        drop(state);
        if let Some(end) = self.end {
            shared.set_end(end);
        }
        shared.changed.notify_one();
    }

    /// Tells everybody who waits for it that it is not durable.
    pub(super) fn refuse(&mut self, error: &StoreError) {
        for reply in self.begun.drain(..) {
            drop(reply.send(Err(error.clone())));
        }
        for gathered in self.gathered.drain(..) {
            gathered.refuse(error);
        }
    }
}

impl Gathered {
    /// A caller that went away needs no answer.
    fn answer(self, spent: &mut Vec<Arc<Envelope>>) {
        match self.effect {
            Effect::Commit(mut work) => {
                work.spent = spent.pop();
                work.answer();
            }
            Effect::Outcome(_, Some(reply)) => drop(reply.send(Ok(()))),
            Effect::Outcome(_, None) => {}
        }
    }

    fn refuse(self, error: &StoreError) {
        match self.effect {
            Effect::Commit(mut work) => work.refuse(error.clone()),
            Effect::Outcome(_, Some(reply)) => drop(reply.send(Err(error.clone()))),
            Effect::Outcome(_, None) => {}
        }
    }
}

/// Where something within a frame's body stands in the segment.
pub(crate) fn within(body: Place, offset: usize) -> Place {
    Place { segment: body.segment, offset: body.offset.saturating_add(u32::try_from(offset).unwrap_or(u32::MAX)) }
}

/// The commit order of the events of a frame.
pub(crate) fn order_of(sequence: u64, index: usize) -> u64 {
    debug_assert!(index < FRAME_EVENTS_MAX, "the limit is checked before a frame is made");
    sequence << 16 | index as u64
}

fn apply_parts(state: &mut State, catalog: &mut Catalog, sequence: u64, body: Place, parts: &mut [Part]) {
    for (index, part) in parts.iter_mut().enumerate() {
        let bytes = u32::try_from(part.item.len()).unwrap_or(u32::MAX);
        let item = ItemPlace { place: within(body, part.item.start), bytes };
        let (id, received_at) = (part.admit.id, part.admit.received_at);
        catalog.add_event(id, item);
        state.admit(order_of(sequence, index), item, &mut part.admit, Some(&part.envelope));
        for (place, settlement) in (0u32..).zip(&part.deaths) {
            let at = within(body, settlement.start);
            let (delivery, turn) = (id.delivery(place), Turn::Dead { at: received_at });
            state.settle(sequence, NONE, delivery, at, Counts::DEAD_FROM_THE_START, turn);
        }
    }
}

/// Applies an outcome. The same call while running and at recovery.
pub(crate) fn apply_outcome(state: &mut State, catalog: &mut Catalog, sequence: u64, body: Place, outcome: Outcome) {
    let unknown = |applied: Applied, delivery: DeliveryId| {
        if applied == Applied::Unknown {
            tracing::debug!(%delivery, sequence, "a record is of a delivery that has ended, or whose event is damaged");
        }
    };
    match outcome {
        Outcome::Begin(begins) => {
            for Begun { begin, slot } in begins {
                let backoff = u64::try_from(begin.backoff_if_interrupted.as_millis()).unwrap_or(u64::MAX);
                unknown(state.begin(sequence, slot, begin.delivery, begin.at, backoff), begin.delivery);
            }
        }
        Outcome::Settle { settled, mut emits } => {
            for Settled { delivery, slot, at_in_body, counts, turn } in settled {
                let at = within(body, at_in_body);
                unknown(state.settle(sequence, slot, delivery, at, counts, turn), delivery);
                if matches!(turn, Turn::Delivered) {
                    catalog.add_end(body.segment, delivery, Ended { cancelled: false, last: at });
                }
            }
            apply_parts(state, catalog, sequence, body, &mut emits);
        }
        Outcome::Replay { letters } => {
            for (delivery, due_at) in letters {
                unknown(state.replay(sequence, delivery, due_at), delivery);
            }
        }
        Outcome::Purge { letters } => {
            for (delivery, last) in letters {
                unknown(state.purge(sequence, delivery), delivery);
                catalog.add_end(body.segment, delivery, Ended { cancelled: true, last });
            }
        }
        Outcome::Hasten { hastened } => {
            for (delivery, due_at) in hastened {
                unknown(state.hasten(sequence, delivery, due_at), delivery);
            }
        }
        Outcome::Keep { events, positions } => {
            for Kept { id, from, item, whole } in events {
                let item =
                    ItemPlace { place: within(body, item.start), bytes: u32::try_from(item.len()).unwrap_or(u32::MAX) };
                catalog.add_copy(id, item, from);
                let applied = state.keep(sequence, id, from, item);
                if let (Applied::Unknown, Some(whole)) = (applied, whole) {
                    state.keep_anew(sequence, id, item, whole.0, whole.1);
                }
            }
            for KeptPosition { position, last_event, from } in positions {
                // A newer one may have been on its way while this one was copied, and stands before the copy.
                let newer = state.position(&position.namespace, &position.source).is_some_and(|(_, at)| *at > from);
                if !newer {
                    let saved = SavedPosition { bytes: position.bytes, last_event };
                    state.set_position(&position.namespace, &position.source, saved, body.segment);
                }
            }
        }
        Outcome::Forget(forgotten) => {
            state.forgotten = forgotten;
            catalog.drop_before(forgotten.before);
        }
    }
}
