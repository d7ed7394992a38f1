//! Reading a checkpoint back.

use super::entries;
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
    // The names may stand behind what uses them.
    let (mut queues, mut snapshots) = (0, 0);
    let mut misfits = 0u64;
    pairs.each(&mut |key, value| {
        any = true;
        let fail = |error: crate::codec::DecodeError| error.to_string();
        let (kind, rest) = key.split_first().ok_or("an entry has no key")?;
        match kind {
            b'm' => meta = Some(entries::read_meta(value).map_err(fail)?),
            b'c' => entries::read_chunk(rest, value, &mut |event| {
                for (delivery, ..) in &event.deliveries {
                    queues = queues.max(delivery.queue as usize + 1);
                    snapshots = snapshots.max(delivery.snapshot as usize + 1);
                }
                misfits += u64::from(!state.restore(event.number, event.id, event.item, event.deliveries));
                Ok(())
            })
            .map_err(fail)?,
            b'p' => {
                let (namespace, source) = entries::read_position_key(rest).map_err(fail)?;
                let (saved, segment) = entries::read_saved(value).map_err(fail)?;
                state.set_position(&namespace, &source, saved, segment);
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
    if queues > names.queue_count() || snapshots > names.snapshot_count() {
        return Err("a delivery is in a queue without a name".to_owned());
    }
    if misfits > 0 {
        return Err(format!("{misfits} events stand in it twice, or have ended"));
    }
    state.place_restored();
    state.forgotten = meta.forgotten;
    // What was just read is what is there.
    state.take_changes();
    Ok(Found::Checkpoint(Box::new(Loaded { meta, names, state })))
}
