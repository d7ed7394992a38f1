//! What memory holds, built from the journal's frames: the same calls as while running, applied in order.

use std::ops::Range;

use super::views::items_of;
use crate::catalog::{Catalog, Ended};
use crate::dedupe::Dedupe;
use crate::journal::{Elements, EventHead, FrameRead, Item, ItemError, KeptState};
use crate::owner::{Begun, Kept, KeptPosition, Outcome, Settled, apply_outcome, order_of, within};
use crate::state::{Admit, AdmitDelivery, ItemPlace, NONE, Names, State, Turn};
use crate::{NewDelivery, SavedPosition, Verdict};

/// What is built while the journal is read.
#[derive(Default)]
pub(crate) struct Rebuild {
    pub(crate) names: Names,
    pub(crate) state: State,
    pub(crate) catalog: Catalog,
    pub(crate) dedupe: Dedupe,
    /// The last frame that the checkpoint holds.
    pub(crate) held: u64,
}

impl Rebuild {
    pub(crate) fn apply(&mut self, frame: &FrameRead<'_>) -> Result<(), ItemError> {
        let mut index = 0;
        let mut last_event = None;
        for item in items_of(frame.body) {
            let (at, bytes, item) = item?;
            let place = within(frame.place, at);
            match item {
                Item::Event(head) => {
                    let item = ItemPlace { place, bytes: u32::try_from(bytes).unwrap_or(u32::MAX) };
                    self.catalog.add_event(head.id, item);
                    last_event = Some(head.id);
                    if let Some(mark) = head.dedupe {
                        self.dedupe.add(mark, head.id, frame.sequence);
                    }
                    let order = order_of(frame.sequence, index);
                    index += 1;
                    if frame.sequence > self.held {
                        // Nothing is kept in memory of what stands in the journal.
                        let elements = Elements::default();
                        let deliveries = self.numbered(head.deliveries);
                        let mut admit = Admit { id: head.id, received_at: head.received_at, deliveries, elements };
                        self.state.admit(order, item, &mut admit, None);
                    }
                }
                Item::Position(position) if frame.sequence > self.held => {
                    let saved = SavedPosition { bytes: position.bytes, last_event };
                    self.state.set_position(&position.namespace, &position.source, saved, place.segment);
                }
                Item::Position(_) => {}
                Item::Kept(kept) => self.kept(frame, at..at + bytes, *kept),
                other => self.outcome(frame, at, other),
            }
        }
        Ok(())
    }

    fn kept(&mut self, frame: &FrameRead<'_>, item: Range<usize>, (head, state): (EventHead, KeptState)) {
        if let Some(mark) = head.dedupe {
            self.dedupe.add(mark, head.id, frame.sequence);
        }
        let (id, from) = (head.id, state.from);
        if frame.sequence <= self.held {
            let bytes = u32::try_from(item.len()).unwrap_or(u32::MAX);
            self.catalog.add_copy(id, ItemPlace { place: within(frame.place, item.start), bytes }, from);
            return;
        }
        let whole = Some(Box::new((self.numbered(head.deliveries), state)));
        let outcome = Outcome::Keep { events: vec![Kept { id, from, item, whole }], positions: Vec::new() };
        apply_outcome(&mut self.state, &mut self.catalog, frame.sequence, frame.place, outcome);
    }

    fn numbered(&mut self, deliveries: Vec<NewDelivery>) -> Vec<AdmitDelivery> {
        let names = &mut self.names;
        let numbered = deliveries.into_iter().flat_map(|delivery| {
            let count = delivery.place_count();
            let one = AdmitDelivery {
                queue: names.queue_number(&delivery.queue),
                lane: delivery.lane,
                due_at: delivery.due_at,
                snapshot: names.snapshot_number(delivery.snapshot),
            };
            std::iter::repeat_n(one, count)
        });
        numbered.collect()
    }

    fn outcome(&mut self, frame: &FrameRead<'_>, at_in_body: usize, item: Item) {
        let outcome = match item {
            Item::Begin(begins) => {
                Outcome::Begin(begins.into_iter().map(|begin| Begun { begin, slot: NONE }).collect())
            }
            Item::Settlement(record) => {
                let turn = match record.verdict {
                    Verdict::Delivered => Turn::Delivered,
                    Verdict::Retry { at, .. } => Turn::Retry { at },
                    Verdict::Dead { .. } => Turn::Dead { at: record.at },
                };
                let (delivery, counts) = (record.delivery, record.counts);
                let settled = vec![Settled { delivery, slot: NONE, at_in_body, counts, turn }];
                Outcome::Settle { settled, emits: Vec::new() }
            }
            Item::Replay { letters, .. } => Outcome::Replay { letters },
            Item::Purge { letters, .. } => Outcome::Purge { letters },
            Item::Hasten { hastened, .. } => Outcome::Hasten { hastened },
            Item::KeptPosition(position, last_event, from) => {
                let positions = vec![KeptPosition { position, last_event, from }];
                Outcome::Keep { events: Vec::new(), positions }
            }
            Item::Forget(forgotten) => Outcome::Forget(forgotten),
            Item::Event(_) | Item::Position(_) | Item::Kept(_) => return,
        };
        if frame.sequence > self.held {
            apply_outcome(&mut self.state, &mut self.catalog, frame.sequence, frame.place, outcome);
            return;
        }
        // The checkpoint holds its effect; the catalogue does not.
        match outcome {
            Outcome::Settle { settled, .. } => {
                for Settled { delivery, .. } in settled.iter().filter(|one| matches!(one.turn, Turn::Delivered)) {
                    let last = within(frame.place, at_in_body);
                    self.catalog.add_end(frame.place.segment, *delivery, Ended { cancelled: false, last });
                }
            }
            Outcome::Purge { letters } => {
                for (delivery, last) in letters {
                    self.catalog.add_end(frame.place.segment, delivery, Ended { cancelled: true, last });
                }
            }
            Outcome::Forget(forgotten) => self.catalog.drop_before(forgotten.before),
            _ => {}
        }
    }
}
