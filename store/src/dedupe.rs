//! Which `(namespace, source attribute, id)` have been seen.
//!
//! What came since the last checkpoint is in memory; what came before stands in files, each of one stretch of
//! time, sorted by hash, with a filter in memory that answers "certainly not" nearly always. A file is dropped
//! whole, when its last id has expired or when there are more ids than the limit allows. Small neighbours are
//! merged, so that there are few files however often a checkpoint is made.

use std::collections::{HashMap, hash_map};
use std::hash::{BuildHasherDefault, Hasher};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

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
    /// The last frame that one of those came with: it may be gathered and not durable yet.
    newest_frame: u64,
    /// What is on its way into a file.
    sealing: Option<Arc<Seen>>,
    /// The files, which others look ids up in meanwhile.
    shown: Arc<Shown>,
    next_number: u64,
}

/// The files as they are now, behind a lock of its own: who only wants to look ids up does not stand in the way of who
/// remembers one.
#[derive(Default)]
pub(crate) struct Shown {
    /// How often the files have changed.
    generation: AtomicU64,
    files: RwLock<Files>,
}

impl Shown {
    fn files(&self) -> Files {
        self.files.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Looks ids up in the files, without a lock. Returns the generation of the files where they have none of them.
    pub(crate) fn find_none(&self, disk: &AnyDisk, ids: impl Iterator<Item = ([u8; 16], Timestamp)>) -> Option<u64> {
        // Before the files: should they change meanwhile, they are newer than what they are taken for.
        let generation = self.generation.load(Ordering::Acquire);
        if generation > 0 {
            let files = self.files();
            for (hash, received_at) in ids {
                if files.find(disk, &hash, received_at).is_some() {
                    return None;
                }
            }
        }
        Some(generation)
    }
}

/// The files at one moment, oldest first; ids can be looked up in them without a lock. Cheap to clone.
#[derive(Clone, Default)]
struct Files(Arc<Vec<Arc<Bucket>>>);

impl Files {
    /// How many ids they have.
    fn count(&self) -> usize {
        self.0.iter().map(|bucket| bucket.count).sum()
    }

    /// The event that came first, where a file says that this one repeats it. A file that cannot be read is as good as
    /// none: a repeat may then be delivered again, which is better than an event refused.
    fn find(&self, disk: &AnyDisk, hash: &[u8; 16], received_at: Timestamp) -> Option<Repeated> {
        self.0.iter().rev().find_map(|bucket| match bucket.find(disk, hash) {
            Ok(found) => {
                let live = found.filter(|found| received_at < found.1);
                live.map(|(event, _)| Repeated { event, from_before: bucket.from_before })
            }
            Err(error) => {
                tracing::error!(file = %bucket.number, %error, "a file of seen ids cannot be read; a repeat may be delivered again");
                None
            }
        })
    }
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
        let (mut dedupe, mut files) = (Dedupe::default(), Vec::new());
        let listed = match place.disk.list(place.folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(dedupe),
            other => other.map_err(|error| error.to_string())?,
        };
        for listed in listed {
            let Some(number) = bucket::number_of(&listed.name) else { continue };
            let opened = Bucket::open(place, number, listed.bytes)
                .map_err(|error| format!("the file dedupe/{} cannot be read: {error}", listed.name))?;
            files.push(Arc::new(opened));
            dedupe.next_number = dedupe.next_number.max(number + 1);
        }
        // A process that died while it wrote one may have left it in the page cache alone, where it would be believed until
        // the power goes.
        if !files.is_empty() {
            let names = place.disk.open(place.folder, OpenHow::Folder).map_err(|error| error.to_string())?;
            place.disk.sync(&names).map_err(|error| error.to_string())?;
        }
        // A merge that was not finished leaves what it merged beside it: both say the same.
        files.sort_by_key(|bucket: &Arc<Bucket>| (bucket.first, bucket.number));
        dedupe.change_files(|found| *found = files);
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

    /// The event that came first, where this one repeats it; where it does not, it is the first from now on. `frame`
    /// is what it comes with.
    pub(crate) fn find_or_add(
        &mut self,
        disk: &AnyDisk,
        mark: DedupeMark,
        event: EventId,
        received_at: Timestamp,
        frame: u64,
    ) -> Option<Repeated> {
        let found = self.find(disk, &mark.hash, received_at);
        if found.is_none() {
            self.add(mark, event, frame);
        }
        found
    }

    fn find(&self, disk: &AnyDisk, hash: &[u8; 16], received_at: Timestamp) -> Option<Repeated> {
        let live = |found: &(EventId, Timestamp)| (received_at < found.1).then_some(found.0);
        let in_memory = [Some(&self.newest), self.sealing.as_deref()].into_iter().flatten();
        let found = in_memory.filter_map(|seen| seen.get(hash)).find_map(live);
        let here = found.map(|event| Repeated { event, from_before: false });
        here.or_else(|| self.shown.files().find(disk, hash, received_at))
    }

    /// Where the files are shown.
    pub(crate) fn shown(&self) -> Arc<Shown> {
        Arc::clone(&self.shown)
    }

    fn change_files(&mut self, change: impl FnOnce(&mut Vec<Arc<Bucket>>)) {
        change(Arc::make_mut(&mut self.shown.files.write().unwrap_or_else(PoisonError::into_inner).0));
        self.shown.generation.fetch_add(1, Ordering::Release);
    }

    /// Remembers ids of which none was ever seen, all of them or none: `false` where one was, or may have been. They
    /// have been looked up before in the files of that generation, which have none of them; no file is read here.
    pub(crate) fn add_new(
        &mut self,
        generation: u64,
        ids: impl Iterator<Item = (DedupeMark, EventId)> + Clone,
        frame: u64,
    ) -> bool {
        if generation != self.shown.generation.load(Ordering::Acquire) {
            return false;
        }
        for (count, (mark, event)) in ids.clone().enumerate() {
            let known = self.sealing.as_ref().is_some_and(|sealing| sealing.contains_key(&mark.hash));
            match self.newest.entry(mark.hash) {
                hash_map::Entry::Vacant(place) if !known => drop(place.insert((event, mark.expires_at))),
                _ => {
                    for (mark, _) in ids.take(count) {
                        self.newest.remove(&mark.hash);
                    }
                    return false;
                }
            }
        }
        self.newest_frame = self.newest_frame.max(frame);
        true
    }

    /// What the newest file that has an id says of it, and when that expires.
    pub(crate) fn find_in_files(&self, disk: &AnyDisk, hash: &[u8; 16]) -> io::Result<Option<(EventId, Timestamp)>> {
        for bucket in self.shown.files().0.iter().rev() {
            if let Some(found) = bucket.find(disk, hash)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// How many ids stand in files.
    pub(crate) fn count_in_files(&self) -> usize {
        self.shown.files().count()
    }

    /// Forgets of what is not in a file yet all that a file says too. What cannot be looked up stays.
    pub(crate) fn forget_what_files_have(&mut self, disk: &AnyDisk) {
        if self.count_in_files() == 0 {
            return;
        }
        let mut newest = std::mem::take(&mut self.newest);
        newest.retain(|hash, found| !matches!(self.find_in_files(disk, hash), Ok(Some(known)) if known.1 >= found.1));
        self.newest = newest;
    }

    /// Forgets what stands in files. Their numbers are not used again.
    pub(crate) fn forget_files(&mut self) {
        self.change_files(Vec::clear);
    }

    /// Forgets what is not in a file; for a reader that looks at one frame after another.
    pub(crate) fn forget_newest(&mut self) {
        self.newest.clear();
    }

    /// Remembers an id that came with a frame.
    pub(crate) fn add(&mut self, mark: DedupeMark, event: EventId, frame: u64) {
        self.newest.insert(mark.hash, (event, mark.expires_at));
        self.newest_frame = self.newest_frame.max(frame);
    }

    /// The first step of a checkpoint: what is to be written, the number of its file, and the frame that has to be
    /// durable before it is.
    pub(crate) fn begin_seal(&mut self) -> Option<(Arc<Seen>, u64, u64)> {
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
        Some((seen, number, self.newest_frame))
    }

    /// The last step: the file is there.
    pub(crate) fn end_seal(&mut self, bucket: Bucket) {
        self.sealing = None;
        self.change_files(|files| files.push(Arc::new(bucket)));
    }

    /// Two neighbours that are to become one, and the number of the file that they become.
    pub(crate) fn next_merge(&mut self) -> Option<(Arc<Bucket>, Arc<Bucket>, u64)> {
        let files = self.shown.files();
        let [.., a, b] = files.0.as_slice() else { return None };
        if a.count > b.count * 2 || a.count + b.count > MERGED_MAX {
            return None;
        }
        let number = self.next_number;
        self.next_number += 1;
        Some((Arc::clone(a), Arc::clone(b), number))
    }

    /// Puts the merged file in the place of the two that it was made of.
    pub(crate) fn end_merge(&mut self, merged: Bucket) {
        self.change_files(|files| {
            files.truncate(files.len().saturating_sub(2));
            files.push(Arc::new(merged));
        });
    }

    /// Takes out what has expired at `now`, and the oldest where there are more ids than `max`.
    pub(crate) fn expire(&mut self, now: Timestamp, max: usize) -> Vec<Arc<Bucket>> {
        let files = self.shown.files();
        let (mut total, mut gone) = (files.count(), Vec::new());
        for bucket in files.0.iter() {
            if bucket.expires_at <= now || total > max {
                total -= bucket.count;
                gone.push(Arc::clone(bucket));
            }
        }
        if !gone.is_empty() {
            self.change_files(|files| files.retain(|bucket| !gone.iter().any(|other| Arc::ptr_eq(bucket, other))));
        }
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
/// moment; no file is touched while it is held. `wait_until_durable` is told a frame: an id in a file whose event was
/// lost with the power would make the sender's next try a repeat.
pub(crate) fn checkpoint<'a, G: std::ops::DerefMut<Target = Dedupe>>(
    place: &Place<'_>,
    lock: impl Fn() -> G + 'a,
    wait_until_durable: impl Fn(u64) -> io::Result<()>,
    now: Timestamp,
    max: usize,
) -> io::Result<()> {
    let sealing = lock().begin_seal();
    if let Some((seen, number, frame)) = sealing {
        wait_until_durable(frame)?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::SimulatedDisk;

    const NOW: Timestamp = Timestamp::from_millis(5);

    fn id(number: u8) -> (DedupeMark, EventId) {
        let mark = DedupeMark { hash: [number; 16], expires_at: Timestamp::from_millis(10) };
        (mark, EventId::new(Timestamp::EPOCH, [number; 10]))
    }

    #[test]
    fn new_ids_are_taken_together_or_not_at_all() {
        let (disk, mut dedupe) = (AnyDisk::Simulated(SimulatedDisk::new(1)), Dedupe::default());
        let look = |dedupe: &Dedupe, number| dedupe.shown().find_none(&disk, [([number; 16], NOW)].into_iter());
        let before = look(&dedupe, 4).unwrap();
        let known = |dedupe: &Dedupe, number| dedupe.find(&disk, &[number; 16], NOW).is_some();
        assert!(dedupe.add_new(before, [id(1), id(2)].into_iter(), 1));
        for again in [[id(3), id(1)], [id(3), id(3)]] {
            assert!(!dedupe.add_new(before, again.into_iter(), 2));
            assert!(!known(&dedupe, 3), "none of them is remembered");
        }
        assert!(known(&dedupe, 1) && known(&dedupe, 2));

        // On its way into a file it is as well known as before, and afterwards only to who looks into that.
        let (_, number, frame) = dedupe.begin_seal().unwrap();
        assert_eq!(frame, 1);
        assert!(!dedupe.add_new(before, [id(4), id(2)].into_iter(), 3));
        let place = Place { disk: &disk, folder: Path::new("/data/dedupe"), journal: [0; 16] };
        let entry =
            |(mark, event): (DedupeMark, EventId)| Entry { hash: mark.hash, event, expires_at: mark.expires_at };
        dedupe.end_seal(Bucket::write(&place, number, number, [id(1), id(2)].map(entry).into()).unwrap());
        assert!(!dedupe.add_new(before, [id(4)].into_iter(), 4), "it was looked up in what are not the files any more");
        assert_eq!(look(&dedupe, 2), None);
        let now = look(&dedupe, 4).unwrap();
        assert!(dedupe.add_new(now, [id(4)].into_iter(), 5));
    }
}
