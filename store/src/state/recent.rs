//! Envelopes that will be taken soon, kept in memory so that they need not be read back.

use std::collections::VecDeque;
use std::sync::Arc;

use eventyard_event::Envelope;

use super::NONE;
use crate::journal::Elements;

/// Bytes of envelopes that are kept in memory because they will be taken soon. Beyond it the oldest are
/// forgotten and read from the journal when they are taken.
const RECENT_BYTES_MAX: usize = 16 * 1024 * 1024;

/// What an event was written with, as far as whoever attempts or shows its deliveries needs it.
#[derive(Clone, Debug)]
pub(crate) struct Stored {
    pub(crate) envelope: Arc<Envelope>,
    pub(crate) elements: Elements,
}

impl Stored {
    /// None of its deliveries is of an element.
    pub(crate) fn plain(envelope: Arc<Envelope>) -> Stored {
        Stored { envelope, elements: Elements::default() }
    }
}

/// Envelopes of what was committed last, oldest first.
#[derive(Default)]
pub(super) struct Recent {
    envelopes: VecDeque<(Option<Stored>, usize)>,
    /// The number of the first one; they are counted on and on, [`NONE`] left out, and whoever asks for one
    /// looks whether it is the one that was meant.
    first: u32,
    bytes: usize,
    /// Those that are not kept any more; for whoever changed the state to drop.
    pub(super) spent: Vec<Arc<Envelope>>,
}

impl Recent {
    pub(super) fn keep(&mut self, envelope: &Arc<Envelope>, elements: &Elements) -> u32 {
        // What an envelope takes beside its data: attributes and the allocations they stand in.
        let bytes = envelope.event.data.bytes().len() + 512;
        let mut number = self.number_of(self.envelopes.len());
        if number == NONE {
            self.envelopes.push_back((None, 0));
            number = self.number_of(self.envelopes.len());
        }
        let stored = Stored { envelope: Arc::clone(envelope), elements: elements.clone() };
        self.envelopes.push_back((Some(stored), bytes));
        self.bytes += bytes;
        while self.bytes > RECENT_BYTES_MAX
            && let Some((oldest, bytes)) = self.envelopes.pop_front()
        {
            self.first = self.first.wrapping_add(1);
            self.bytes -= bytes;
            self.spent.extend(oldest.map(|stored| stored.envelope));
        }
        number
    }

    fn number_of(&self, at: usize) -> u32 {
        // Each takes 512 bytes of 16 MiB at the least, so there are never as many as four billion.
        self.first.wrapping_add(u32::try_from(at).unwrap_or(u32::MAX))
    }

    pub(super) fn get(&self, number: u32) -> Option<&Stored> {
        self.envelopes.get(number.wrapping_sub(self.first) as usize)?.0.as_ref()
    }

    pub(super) fn forget(&mut self, number: u32) {
        if number != NONE
            && let Some((envelope, _)) = self.envelopes.get_mut(number.wrapping_sub(self.first) as usize)
        {
            self.spent.extend(envelope.take().map(|stored| stored.envelope));
        }
    }
}
