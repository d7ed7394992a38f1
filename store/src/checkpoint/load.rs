//! Reading a checkpoint back.

use super::entries::{self, SavedEvent};
use super::{Meta, Pairs};
use crate::state::{Names, State};

/// A checkpoint that was read.
pub(crate) struct Loaded {
    pub(crate) meta: Meta,
    pub(crate) names: Names,
    pub(crate) state: State,
}

/// What stands where a checkpoint belongs.
pub(crate) enum Found {
    /// Nothing at all.
    Nothing,
    /// The beginnings of a first one, which are not to be trusted.
    Unfinished,
    /// One that can be gone on from.
    Checkpoint(Box<Loaded>),
}

/// Reads a checkpoint.
///
/// # Errors
/// A text where what is there cannot be a checkpoint of ours; it is then rebuilt from the journal.
pub(crate) fn load(pairs: &Pairs) -> Result<Found, String> {
    let mut any = false;
    let mut meta = None;
    let mut names = Names::default();
    let mut state = State::default();
    let mut events: Vec<SavedEvent> = Vec::new();
    pairs.each(&mut |key, value| {
        any = true;
        let fail = |error: crate::codec::DecodeError| error.to_string();
        let (kind, rest) = key.split_first().ok_or("an entry has no key")?;
        match kind {
            b'm' => meta = Some(entries::read_meta(value).map_err(fail)?),
            b'e' => events.push(entries::read_entry(rest, value).map_err(fail)?),
            b'p' => {
                let (namespace, source) = entries::read_position_key(rest).map_err(fail)?;
                state.set_position(&namespace, &source, entries::read_saved(value).map_err(fail)?);
            }
            b'q' => {
                let number = names.queue_number(&entries::read_queue_name(value).map_err(fail)?);
                if rest != number.to_be_bytes() {
                    return Err("a queue's name is missing".to_owned());
                }
            }
            b's' => {
                let snapshot = value.try_into().map_err(|_| "a snapshot cannot be read".to_owned())?;
                let number = names.snapshot_number(snapshot);
                if rest != number.to_be_bytes() {
                    return Err("a snapshot is missing".to_owned());
                }
            }
            _ => return Err("an entry has an unknown key".to_owned()),
        }
        Ok(())
    })?;
    let Some(meta) = meta else {
        return Ok(if any { Found::Unfinished } else { Found::Nothing });
    };
    events.sort_unstable_by_key(|event| event.order);
    for event in events {
        let known = event.deliveries.iter().all(|(delivery, ..)| {
            (delivery.queue as usize) < names.queue_count() && (delivery.snapshot as usize) < names.snapshot_count()
        });
        if !known {
            return Err("a delivery is in a queue without a name".to_owned());
        }
        state.restore(event.id, event.item, event.deliveries);
    }
    // What was just read is what is there.
    state.take_changes();
    Ok(Found::Checkpoint(Box::new(Loaded { meta, names, state })))
}
