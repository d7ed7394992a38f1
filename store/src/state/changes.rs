//! What has changed since the last checkpoint, so that the next one writes no more than that.

use std::collections::BTreeSet;

use eventyard_event::{EventId, Name};

use super::{EventSlot, State, id_key};

/// What has changed since the last checkpoint.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    pub(crate) changed: Vec<EventId>,
    pub(crate) gone: Vec<EventId>,
    pub(crate) positions: BTreeSet<(Name, Name)>,
}

impl State {
    /// Takes what has changed since the last checkpoint.
    pub(crate) fn take_changes(&mut self) -> Changes {
        Changes {
            changed: std::mem::take(&mut self.changed),
            gone: std::mem::take(&mut self.gone),
            positions: std::mem::take(&mut self.positions_changed),
        }
    }

    /// An event that a checkpoint is about to write: from now on it counts as unchanged and as held.
    pub(crate) fn save(&mut self, id: EventId) -> Option<(u32, EventSlot)> {
        let number = *self.by_id.get(&id_key(id))?;
        let event = self.events.get_mut(number)?;
        event.dirty = false;
        event.saved = true;
        Some((number, event.clone()))
    }

    /// Forgets what checkpoints hold: the next one writes everything.
    pub(crate) fn unsave_all(&mut self) {
        let numbers: Vec<u32> = self.events.iter().map(|(number, _)| number).collect();
        self.changed.clear();
        for number in numbers {
            if let Some(event) = self.events.get_mut(number) {
                event.saved = false;
                event.dirty = true;
                self.changed.push(event.id);
            }
        }
        self.gone.clear();
        self.positions_changed = self.positions.keys().cloned().collect();
    }

    /// Notes that an event has changed since the last checkpoint.
    pub(super) fn mark(&mut self, event: u32) {
        if let Some(entry) = self.events.get_mut(event)
            && !entry.dirty
        {
            entry.dirty = true;
            self.changed.push(entry.id);
        }
    }
}
