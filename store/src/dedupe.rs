//! Which `(namespace, source attribute, id)` have been seen.

use std::collections::HashMap;

use eventyard_event::{Envelope, EventId, Timestamp};
use siphasher::sip128::{Hasher128, SipHasher13};
use std::hash::Hasher;

use crate::journal::DedupeMark;

/// What is known of ids that came before.
#[derive(Debug, Default)]
pub(crate) struct Dedupe {
    seen: HashMap<[u8; 16], (EventId, Timestamp)>,
}

/// The keyed hash of what identifies an event to its sender. The key is the journal's id, which no sender
/// knows, so that nobody can make two ids fall together.
pub(crate) fn hash(key: &[u8; 16], envelope: &Envelope) -> [u8; 16] {
    let mut hasher = SipHasher13::new_with_key(key);
    for part in [envelope.namespace.as_str(), &envelope.event.source, &envelope.event.id] {
        hasher.write(&(part.len() as u64).to_le_bytes());
        hasher.write(part.as_bytes());
    }
    hasher.finish128().as_u128().to_le_bytes()
}

impl Dedupe {
    /// The event that came first, where this one repeats it.
    pub(crate) fn find(&self, hash: &[u8; 16], received_at: Timestamp) -> Option<EventId> {
        self.seen.get(hash).filter(|(_, expires_at)| received_at < *expires_at).map(|(event, _)| *event)
    }

    pub(crate) fn add(&mut self, mark: DedupeMark, event: EventId) {
        self.seen.insert(mark.hash, (event, mark.expires_at));
    }
}
