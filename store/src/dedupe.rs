//! Which `(namespace, source attribute, id)` have been seen.
//!
//! What came since the last checkpoint is in memory; what came before stands in files, each of one stretch of
//! time, sorted by hash, with a filter in memory that answers "certainly not" nearly always. A file is dropped
//! whole, when its last id has expired or when there are more ids than the limit allows. Small neighbours are
//! merged, so that there are few files however often a checkpoint is made.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use eventyard_event::{Envelope, EventId, Timestamp};
use siphasher::sip128::{Hasher128, SipHasher13};

use crate::disk::{AnyDisk, Disk, OpenHow};
use crate::journal::DedupeMark;
use crate::state::IdHasher;

mod bucket;

use bucket::{Bucket, Entry};

/// Ids of a merged file at most: 10 MiB, so that a merge is short and a dropped file loses little.
const MERGED_MAX: usize = 262_144;

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

/// By a hash that is keyed already, so that hashing it again need not be.
type Seen = HashMap<[u8; 16], (EventId, Timestamp), BuildHasherDefault<IdHasher>>;

/// The event that another one repeats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Repeated {
    pub(crate) event: EventId,
    /// Only a file that an earlier process may have written says so. The journal may have lost the event since, and
    /// the files stand beside the journal and are not made from it at each start: whoever asks has to look.
    pub(crate) from_before: bool,
}

/// What is known of ids that came before.
#[derive(Default)]
pub(crate) struct Dedupe {
    newest: Seen,
    /// What is on its way into a file.
    sealing: Option<Arc<Seen>>,
    /// Oldest first.
    buckets: Vec<Arc<Bucket>>,
    next_number: u64,
}

/// Where the files stand.
pub(crate) struct Place<'a> {
    pub(crate) disk: &'a AnyDisk,
    pub(crate) folder: &'a Path,
    pub(crate) journal: [u8; 16],
}

/// The folder of the files within the data folder.
pub(crate) fn dedupe_folder(dir: &Path) -> PathBuf {
    dir.join("dedupe")
}

impl Dedupe {
    /// Opens the files that are there.
    ///
    /// # Errors
    /// A text where one cannot be read; all are then rebuilt from the journal.
    pub(crate) fn open(place: &Place<'_>) -> Result<Dedupe, String> {
        let mut dedupe = Dedupe::default();
        let listed = match place.disk.list(place.folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(dedupe),
            other => other.map_err(|error| error.to_string())?,
        };
        for listed in listed {
            let Some(number) = bucket::number_of(&listed.name) else { continue };
            let opened = Bucket::open(place, number, listed.bytes)
                .map_err(|error| format!("the file dedupe/{} cannot be read: {error}", listed.name))?;
            dedupe.buckets.push(Arc::new(opened));
            dedupe.next_number = dedupe.next_number.max(number + 1);
        }
        // A merge that was not finished leaves what it merged beside it: both say the same.
        dedupe.buckets.sort_by_key(|bucket| (bucket.first, bucket.number));
        Ok(dedupe)
    }

    /// Removes all files.
    pub(crate) fn clear(place: &Place<'_>) -> io::Result<()> {
        let listed = match place.disk.list(place.folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => other?,
        };
        for listed in listed.iter().filter(|listed| !listed.folder) {
            place.disk.remove(&place.folder.join(&listed.name))?;
        }
        let names = place.disk.open(place.folder, OpenHow::Folder)?;
        place.disk.sync(&names)
    }

    /// The event that came first, where this one repeats it. A file that cannot be read is as good as none:
    /// a repeat may then be delivered again, which is better than an event refused.
    pub(crate) fn find(&self, disk: &AnyDisk, hash: &[u8; 16], received_at: Timestamp) -> Option<Repeated> {
        let live = |found: &(EventId, Timestamp)| (received_at < found.1).then_some(found.0);
        let in_memory = [Some(&self.newest), self.sealing.as_deref()].into_iter().flatten();
        if let Some(event) = in_memory.filter_map(|seen| seen.get(hash)).find_map(live) {
            return Some(Repeated { event, from_before: false });
        }
        self.buckets.iter().rev().find_map(|bucket| match bucket.find(disk, hash) {
            Ok(found) => {
                found.as_ref().and_then(live).map(|event| Repeated { event, from_before: bucket.from_before })
            }
            Err(error) => {
                tracing::error!(file = %bucket.number, %error, "a file of seen ids cannot be read; a repeat may be delivered again");
                None
            }
        })
    }

    /// What the newest file that has an id says of it, and when that expires.
    pub(crate) fn find_in_files(&self, disk: &AnyDisk, hash: &[u8; 16]) -> io::Result<Option<(EventId, Timestamp)>> {
        for bucket in self.buckets.iter().rev() {
            if let Some(found) = bucket.find(disk, hash)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// How many ids stand in files.
    pub(crate) fn count_in_files(&self) -> usize {
        self.buckets.iter().map(|bucket| bucket.count).sum()
    }

    /// Forgets of what is not in a file yet all that a file says too. What cannot be looked up stays.
    pub(crate) fn forget_what_files_have(&mut self, disk: &AnyDisk) {
        if self.buckets.is_empty() {
            return;
        }
        let mut newest = std::mem::take(&mut self.newest);
        newest.retain(|hash, found| !matches!(self.find_in_files(disk, hash), Ok(Some(known)) if known.1 >= found.1));
        self.newest = newest;
    }

    /// Forgets what stands in files. Their numbers are not used again.
    pub(crate) fn forget_files(&mut self) {
        self.buckets.clear();
    }

    /// Forgets what is not in a file; for a reader that looks at one frame after another.
    pub(crate) fn forget_newest(&mut self) {
        self.newest.clear();
    }

    pub(crate) fn add(&mut self, mark: DedupeMark, event: EventId) {
        self.newest.insert(mark.hash, (event, mark.expires_at));
    }

    /// The first step of a checkpoint: what is to be written, and the number of its file.
    pub(crate) fn begin_seal(&mut self) -> Option<(Arc<Seen>, u64)> {
        if self.newest.is_empty() && self.sealing.is_none() {
            return None;
        }
        let mut seen = std::mem::take(&mut self.newest);
        if let Some(before) = self.sealing.take() {
            // The last checkpoint failed: what it could not write is written now.
            for (hash, found) in before.iter() {
                seen.entry(*hash).or_insert(*found);
            }
        }
        let seen = Arc::new(seen);
        self.sealing = Some(Arc::clone(&seen));
        let number = self.next_number;
        self.next_number += 1;
        Some((seen, number))
    }

    /// The last step: the file is there.
    pub(crate) fn end_seal(&mut self, bucket: Bucket) {
        self.sealing = None;
        self.buckets.push(Arc::new(bucket));
    }

    /// Two neighbours that are to become one, and the number of the file that they become.
    pub(crate) fn next_merge(&mut self) -> Option<(Arc<Bucket>, Arc<Bucket>, u64)> {
        let older = self.buckets.len().checked_sub(2)?;
        let (a, b) = (self.buckets.get(older)?, self.buckets.get(older + 1)?);
        if a.count > b.count * 2 || a.count + b.count > MERGED_MAX {
            return None;
        }
        let number = self.next_number;
        self.next_number += 1;
        Some((Arc::clone(a), Arc::clone(b), number))
    }

    /// Puts the merged file in the place of the two that it was made of.
    pub(crate) fn end_merge(&mut self, merged: Bucket) {
        self.buckets.truncate(self.buckets.len().saturating_sub(2));
        self.buckets.push(Arc::new(merged));
    }

    /// Takes out what has expired at `now`, and the oldest where there are more ids than `max`.
    pub(crate) fn expire(&mut self, now: Timestamp, max: usize) -> Vec<Arc<Bucket>> {
        let mut total: usize = self.buckets.iter().map(|bucket| bucket.count).sum();
        let mut gone = Vec::new();
        self.buckets.retain(|bucket| {
            let drops = bucket.expires_at <= now || total > max;
            if drops {
                total -= bucket.count;
                gone.push(Arc::clone(bucket));
            }
            !drops
        });
        gone
    }
}

/// Writes a file of its own for some ids; what the test of its bytes reads back.
#[cfg(test)]
pub(crate) fn write_file(place: &Place<'_>, number: u64, ids: &[([u8; 16], EventId, Timestamp)]) -> io::Result<()> {
    let entry = |&(hash, event, expires_at): &_| Entry { hash, event, expires_at };
    Bucket::write(place, number, number, ids.iter().map(entry).collect()).map(drop)
}

/// What a checkpoint does with the ids: writes the new ones, merges, drops. `lock` gives the shared value for a
/// moment; no file is touched while it is held.
pub(crate) fn checkpoint<'a, G: std::ops::DerefMut<Target = Dedupe>>(
    place: &Place<'_>,
    lock: impl Fn() -> G + 'a,
    now: Timestamp,
    max: usize,
) -> io::Result<()> {
    let sealing = lock().begin_seal();
    if let Some((seen, number)) = sealing {
        let entries = seen.iter().map(|(hash, (event, expires_at))| Entry {
            hash: *hash,
            event: *event,
            expires_at: *expires_at,
        });
        let bucket = Bucket::write(place, number, number, entries.collect())?;
        lock().end_seal(bucket);
    }
    loop {
        let merge = lock().next_merge();
        let Some((older, newer, number)) = merge else { break };
        let mut entries = newer.read(place.disk)?;
        let mut before = older.read(place.disk)?;
        before.retain(|entry| entries.binary_search_by(|other| other.hash.cmp(&entry.hash)).is_err());
        entries.append(&mut before);
        entries.retain(|entry| entry.expires_at > now);
        let mut merged = Bucket::write(place, number, older.first, entries)?;
        merged.from_before = older.from_before || newer.from_before;
        lock().end_merge(merged);
        for bucket in [older, newer] {
            bucket.remove(place)?;
        }
    }
    let gone = lock().expire(now, max);
    for bucket in gone {
        bucket.remove(place)?;
    }
    Ok(())
}
