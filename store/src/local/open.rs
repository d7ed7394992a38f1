//! Opening a store: lock, checkpoint, journal, and everything that was read made durable before it is served.

use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use eventyard_event::Clock;

use super::LocalStore;
use super::rebuild::Rebuild;
use super::run::Running;
use crate::checkpoint::{self, Checkpointer, Found, Pairs, SledPairs};
use crate::dedupe::{self, Dedupe, dedupe_folder};
use crate::disk::{AnyDisk, Disk, OpenHow, RealDisk};
use crate::journal::{
    Ahead, End, FoundSegment, FrameRead, Journal, Opened, Prepared, RecoverError, Recovered, SEGMENT_HEADER_BYTES,
    SegmentFiles, Segments, journal_folder, recover, segment_file, survey,
};
use crate::lock;
use crate::owner::Owner;
use crate::repair::known::Known;
use crate::shared::{Folders, Parts, Shared};
use crate::{Damage, OpenError, OpenProgress, OpenReport, OpenWatcher, Options};

pub(crate) fn io(path: &Path) -> impl Fn(std::io::Error) -> OpenError {
    let path = path.to_owned();
    move |error| match error.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => OpenError::Full { dir: path.clone() },
        _ => OpenError::Io { path: path.clone(), error: error.to_string() },
    }
}

pub(crate) fn recover_error(error: RecoverError) -> OpenError {
    match error {
        RecoverError::Io { path, error } => io(&path)(error),
        RecoverError::Newer { file, found, known } => OpenError::Newer { file, found, known },
    }
}

/// An id for a new journal. Also the key of the dedupe hashes, so nobody outside may know it.
fn new_journal_id(disk: &AnyDisk) -> [u8; 16] {
    use std::hash::{BuildHasher, Hasher};
    match disk {
        AnyDisk::Simulated(disk) => disk.new_id(),
        AnyDisk::Real(_) => {
            // The standard library's hash maps are keyed with the system's randomness; this is its way out.
            let random = || std::hash::RandomState::new().build_hasher().finish();
            (u128::from(random()) << 64 | u128::from(random())).to_le_bytes()
        }
    }
}

/// What is read back from.
struct Ground<'a> {
    disk: &'a AnyDisk,
    folders: &'a Folders,
    journal: [u8; 16],
    segments: &'a [FoundSegment],
    /// What is wrong with the segments at first sight.
    damages: &'a [Damage],
    /// What a repair has seen to.
    known: &'a Known,
    watcher: Option<&'a OpenWatcher>,
}

/// How often it is told how far reading has come.
const TOLD_BYTES: u64 = 4 * 1024 * 1024;

/// Tells how far reading the journal has come.
struct Told<'a> {
    watcher: Option<&'a OpenWatcher>,
    /// The segments that are read, with the bytes before each.
    before: BTreeMap<u32, u64>,
    progress: OpenProgress,
}

impl Told<'_> {
    fn frame(&mut self, frame: &FrameRead<'_>) {
        let Some(watcher) = self.watcher else { return };
        let before = self.before.get(&frame.place.segment).copied().unwrap_or(0);
        let read_bytes = before + u64::from(frame.place.offset);
        if read_bytes >= self.progress.read_bytes + TOLD_BYTES {
            self.progress.read_bytes = read_bytes;
            watcher.tell(self.progress);
        }
    }
}

/// The folder of the index within the data folder.
pub(crate) fn index_folder(dir: &Path) -> PathBuf {
    dir.join("index")
}

/// Opens what holds the checkpoint and reads it.
pub(crate) fn find_checkpoint(disk: &AnyDisk, dir: &Path) -> (Pairs, Result<Found, String>) {
    match disk {
        AnyDisk::Simulated(disk) => {
            let pairs = Pairs::Simulated(disk.clone());
            let found = checkpoint::load(&pairs);
            (pairs, found)
        }
        AnyDisk::Real(_) => {
            let (sled, opened) = SledPairs::open(&index_folder(dir));
            let pairs = Pairs::Sled(sled);
            let found = opened.and_then(|()| checkpoint::load(&pairs));
            (pairs, found)
        }
    }
}

impl Ground<'_> {
    /// Begins to tell how far reading from a segment on has come.
    fn tell_from(&self, from: u32, rebuilding: bool) -> Told<'_> {
        let mut total_bytes = 0;
        let mut before = BTreeMap::new();
        for segment in self.segments.iter().filter(|segment| segment.number >= from) {
            before.insert(segment.number, total_bytes);
            total_bytes += segment.bytes as u64;
        }
        let told =
            Told { watcher: self.watcher, before, progress: OpenProgress { read_bytes: 0, total_bytes, rebuilding } };
        if let Some(watcher) = self.watcher {
            watcher.tell(told.progress);
        }
        told
    }

    fn dedupe_place(&self) -> dedupe::Place<'_> {
        dedupe::Place { disk: self.disk, folder: &self.folders.dedupe, journal: self.journal }
    }

    fn known_to(&self, known: u64) -> Segments<'_> {
        Segments { all: self.segments, journal: self.journal, known }
    }

    /// The last frame that the index had seen. Where it is all that is left of a journal, that is said.
    fn known_by(&self, loaded: &checkpoint::Loaded, report: &mut OpenReport) -> u64 {
        let known = loaded.meta.end.sequence;
        if report.new {
            let what = format!("every file of the journal is gone; the index had seen {known} frames of it");
            report.damages.push(Damage { file: "journal".to_owned(), offset: 0, bytes: 0, what });
        }
        if loaded.meta.journal == self.journal { known } else { 0 }
    }

    /// Builds the state from the checkpoint and the journal behind it, or from the journal alone.
    fn read_back(
        &self,
        mut pairs: Pairs,
        found: Result<Found, String>,
        report: &mut OpenReport,
    ) -> Result<(Rebuild, Recovered, Checkpointer), OpenError> {
        let known = match &found {
            Ok(Found::Checkpoint(loaded)) => self.known_by(loaded, report),
            _ => 0,
        };
        let why = match found {
            Err(error) => Some(format!("the index cannot be read: {error}")),
            Ok(Found::Nothing) => {
                let (rebuild, recovered) = self.read_journal(known)?;
                return Ok((rebuild, recovered, Checkpointer::new(pairs, Some((0, 0)))));
            }
            Ok(Found::Unfinished) => None,
            Ok(Found::Checkpoint(loaded)) => match self.read_checkpoint(*loaded)? {
                Ok((rebuild, recovered, names)) => {
                    return Ok((rebuild, recovered, Checkpointer::new(pairs, Some(names))));
                }
                Err(why) => Some(why),
            },
        };
        if let Some(why) = &why {
            tracing::warn!(%why, "the index is set aside and rebuilt from the journal");
        }
        report.rebuilt = why;
        // Now and durably, not at the next checkpoint: when the journal has grown past the place where this index
        // stands, nothing would tell any more that it is not to be used.
        pairs.set_aside().map_err(|error| OpenError::Io { path: self.folders.index.clone(), error })?;
        let fresh = pairs.reopen();
        if let Err(error) = &fresh {
            tracing::warn!(%error, "the index cannot be made anew; it is tried again with each checkpoint");
        }
        let (rebuild, recovered) = self.read_journal(known)?;
        Ok((rebuild, recovered, Checkpointer::new(pairs, fresh.ok().map(|()| (0, 0)))))
    }

    /// `known` is the last frame that the index had seen; only what was synced is ever put into it.
    ///
    /// The files of seen ids stay where they can be read: they know ids of events that are gone by the retention. They
    /// go where the journal has lost something: an open event may be as old as those, and with its copy and the index
    /// nothing is left that tells it from them. Then a repeat of what is gone may be delivered again, which is better
    /// than an event that is nowhere.
    fn read_journal(&self, known: u64) -> Result<(Rebuild, Recovered), OpenError> {
        let place = self.dedupe_place();
        let dedupe = match Dedupe::open(&place) {
            Ok(dedupe) => dedupe,
            Err(why) => {
                tracing::warn!(%why, "the files of seen ids are made again from the journal");
                Dedupe::clear(&place).map_err(io(&self.folders.dedupe))?;
                Dedupe::default()
            }
        };
        let mut rebuild = Rebuild { dedupe, ..Rebuild::default() };
        let from = self.segments.first().map_or(1, |first| first.number);
        let mut told = self.tell_from(from, !self.segments.is_empty());
        let recovered = recover(self.disk, self.known_to(known), from, &mut |frame| {
            told.frame(&frame);
            rebuild.apply(&frame)
        });
        let recovered = recovered.map_err(recover_error)?;
        let missing = missing_at_front(self.segments, &rebuild);
        let mut damages = self.damages.iter().chain(&recovered.damages).chain(&missing);
        if damages.any(|damage| !self.known.covers(damage)) {
            rebuild.dedupe.forget_files();
            Dedupe::clear(&place).map_err(io(&self.folders.dedupe))?;
        } else {
            rebuild.dedupe.forget_what_files_have(self.disk);
        }
        Ok((rebuild, recovered))
    }

    /// The inner error says why the checkpoint is not to be used.
    #[expect(clippy::type_complexity, reason = "taken apart at once")]
    fn read_checkpoint(
        &self,
        loaded: checkpoint::Loaded,
    ) -> Result<Result<(Rebuild, Recovered, (usize, usize)), String>, OpenError> {
        let checkpoint::Loaded { meta, names, state } = loaded;
        if meta.journal != self.journal {
            return Ok(Err("the index belongs to another journal".to_owned()));
        }
        let from = meta.end.place.segment;
        if !self.segments.iter().any(|segment| segment.number == from) {
            return Ok(Err("the index stands at a segment that is not there".to_owned()));
        }
        let dedupe = match Dedupe::open(&self.dedupe_place()) {
            Ok(dedupe) => dedupe,
            Err(why) => return Ok(Err(why)),
        };
        let counts = (names.queue_count(), names.snapshot_count());
        let mut rebuild = Rebuild { names, state, dedupe, held: u64::MAX, ..Rebuild::default() };
        let mut damages = Vec::new();
        let needed = meta.forgotten.before..from;
        for segment in self.segments.iter().filter(|segment| needed.contains(&segment.number)) {
            if rebuild.catalog.read_part(self.disk, &self.folders.journal, self.journal, segment.number) {
                continue;
            }
            let alone = Segments { all: std::slice::from_ref(segment), journal: self.journal, known: 0 };
            let read = recover(self.disk, alone, segment.number, &mut |frame| rebuild.apply(&frame));
            damages.extend(read.map_err(recover_error)?.damages);
        }
        rebuild.held = meta.end.sequence;
        let mut told = self.tell_from(from, false);
        let recovered = recover(self.disk, self.known_to(meta.end.sequence), from, &mut |frame| {
            told.frame(&frame);
            rebuild.apply(&frame)
        });
        let mut recovered = recovered.map_err(recover_error)?;
        let reached = recovered.end.map_or(0, |end| end.sequence);
        if reached < meta.end.sequence {
            return Ok(Err(format!(
                "the index stands at frame {}, and the journal ends at frame {reached}",
                meta.end.sequence
            )));
        }
        recovered.damages.splice(0..0, damages);
        Ok(Ok((rebuild, recovered, counts)))
    }
}

/// Opens a folder of which the caller has the lock already.
pub(crate) fn open_held(
    dir: &Path,
    options: Options,
    clock: Clock,
    lock: File,
) -> Result<(LocalStore, OpenReport), OpenError> {
    open_locked(&AnyDisk::Real(RealDisk), dir, options, clock, Some(lock))
}

/// Opens, recovers, and starts the owner.
pub(super) fn open(
    disk: &AnyDisk,
    dir: &Path,
    options: Options,
    clock: Clock,
) -> Result<(LocalStore, OpenReport), OpenError> {
    open_locked(disk, dir, options, clock, None)
}

fn open_locked(
    disk: &AnyDisk,
    dir: &Path,
    options: Options,
    clock: Clock,
    held: Option<File>,
) -> Result<(LocalStore, OpenReport), OpenError> {
    let options = options.clamped();
    let folder = journal_folder(dir);
    let names = disk.open(&folder, OpenHow::Folder).map_err(io(&folder))?;
    let lock = match (held, disk) {
        (Some(held), _) => Some(held),
        (None, AnyDisk::Real(_)) => Some(lock::take(dir)?),
        (None, AnyDisk::Simulated(_)) => None,
    };
    let survey = survey(disk, &folder).map_err(recover_error)?;
    for path in &survey.unfinished {
        disk.remove(path).map_err(io(path))?;
    }
    let mut report = OpenReport { damages: survey.damages, ..OpenReport::default() };
    report.new = survey.segments.is_empty();
    let journal = match survey.journal {
        Some(journal) => journal,
        None if report.new => new_journal_id(disk),
        None => return Err(OpenError::Unreadable { dir: folder, count: survey.segments.len() }),
    };

    let folders = Folders { journal: folder.clone(), dedupe: dedupe_folder(dir), index: index_folder(dir) };
    let watcher = options.watcher.as_ref();
    let known = Known::read(disk, dir, journal);
    let ground = Ground {
        disk,
        folders: &folders,
        journal,
        segments: &survey.segments,
        damages: &report.damages.clone(),
        known: &known,
        watcher,
    };
    let (pairs, found) = find_checkpoint(disk, dir);
    // Only what is behind a checkpoint that can be gone on from is never read again.
    let saved_segment = match &found {
        Ok(Found::Checkpoint(loaded)) if loaded.meta.journal == journal => loaded.meta.end.place.segment,
        _ => 0,
    };
    let (mut rebuild, mut recovered, checkpointer) = ground.read_back(pairs, found, &mut report)?;
    let saved_segment = if report.rebuilt.is_none() { saved_segment } else { 0 };
    rebuild.catalog.drop_before(rebuild.state.forgotten.before);
    report.damages.extend(missing_at_front(&survey.segments, &rebuild));
    report.known = known.split_off(&mut report.damages);
    report.known.extend(known.split_off(&mut recovered.damages));
    for damage in report.damages.iter().chain(&recovered.damages) {
        tracing::error!(%damage, "the journal is damaged; what could be read of it is in the folder quarantine");
        quarantine(disk, dir, damage);
    }
    recovered.mend(disk).map_err(recover_error)?;
    // The page cache is no proof: what was read may never have been synced, and may be answered for next.
    for file in &recovered.read {
        disk.sync(file).map_err(io(&folder))?;
    }
    disk.sync(&names).map_err(io(&folder))?;
    let Recovered { end, damages, torn, frames, .. } = recovered;
    report.damages.extend(damages);
    report.torn = torn;
    report.frames_read = frames;

    let (live, at, ready, next_number) = arrange(disk, &folder, journal, &survey.segments, end, &options)?;
    let in_use = survey.segments.iter().filter(|each| each.number < live.number);
    let mut segments: BTreeMap<u32, u64> = in_use.map(|each| (each.number, each.bytes as u64)).collect();
    segments.insert(live.number, live.bytes as u64);
    let sequence = end.map_or(0, |end| end.sequence);
    let ahead = Ahead::new(
        disk.clone(),
        folder.clone(),
        journal,
        options.segment_bytes,
        options.segments_ahead,
        (ready, next_number),
    );
    let files = Arc::new(SegmentFiles::new(disk.clone(), folder.clone()));
    let opened = Opened { journal, live, at, next_sequence: sequence + 1 };
    let writer = Journal::new(opened, Arc::clone(&ahead), Arc::clone(&files));

    let now = clock();
    let Rebuild { names, mut state, catalog, dedupe, held } = rebuild;
    let unsaved_bytes = u64::from(sequence > held);
    let disk_of_shared = disk.clone();
    state.clamp_due(now.plus(options.backoff_max));
    report.open_events = state.open_count();
    let faults = options.faults;
    let end = writer.end();
    let parts = Parts {
        names,
        state,
        catalog,
        dedupe,
        files,
        ahead,
        journal,
        options,
        clock,
        end,
        segments,
        saved_segment,
        disk: disk_of_shared,
        folders,
    };
    let shared = Arc::new(Shared::new(parts));
    // What was read behind the checkpoint is to be in the next one, whether or not anything is written by then.
    shared.unsaved_bytes.store(unsaved_bytes, std::sync::atomic::Ordering::Relaxed);
    let mut owner = Owner::new(writer, Arc::clone(&shared), faults);
    report.interrupted = owner.interrupt(now).map_err(|error| OpenError::Io { path: folder.clone(), error })?;

    let entry = owner.entry();
    let running = match disk {
        AnyDisk::Real(_) => Running::threads(owner, checkpointer, lock).map_err(io(dir))?,
        AnyDisk::Simulated(disk) => Running::task(owner, checkpointer, disk.clone()),
    };
    // What is eligible now was eligible before anybody could wait for a change.
    shared.changed.notify_one();
    Ok((LocalStore { shared, entry, running: Arc::new(running) }, report))
}

/// The segments before the first one that is there, where nothing says that they are not needed any more.
pub(crate) fn missing_at_front(segments: &[FoundSegment], rebuild: &Rebuild) -> Option<Damage> {
    let (first, wanted) = (segments.first()?.number, rebuild.state.forgotten.before.max(1));
    let what = match first.checked_sub(wanted)? {
        0 => return None,
        1 => format!("segment {wanted} is missing"),
        _ => format!("segments {wanted} to {} are missing", first - 1),
    };
    Some(Damage { file: segment_file(wanted), offset: 0, bytes: 0, what })
}

type Arranged = (Prepared, usize, VecDeque<Prepared>, u32);

/// Which segment is written next, where, and which are ready behind it.
fn arrange(
    disk: &AnyDisk,
    folder: &Path,
    journal: [u8; 16],
    segments: &[crate::journal::FoundSegment],
    end: Option<End>,
    options: &Options,
) -> Result<Arranged, OpenError> {
    let open = |segment: &crate::journal::FoundSegment| {
        let file = disk.open(&segment.path, OpenHow::Write).map_err(io(&segment.path))?;
        Ok(Prepared { number: segment.number, file, bytes: segment.bytes })
    };
    let live_number = end.map(|end| end.place.segment).or(segments.first().map(|first| first.number));
    let live = match segments.iter().find(|segment| Some(segment.number) == live_number) {
        Some(segment) => open(segment)?,
        None => {
            let bytes = options.first_segment_bytes;
            let file = crate::journal::make_segment(disk, folder, journal, 1, bytes, None).map_err(io(folder))?;
            Prepared { number: 1, file, bytes }
        }
    };
    let mut ready = VecDeque::new();
    for segment in segments.iter().filter(|segment| segment.number > live.number) {
        ready.push_back(open(segment)?);
    }
    let at = end.map_or(SEGMENT_HEADER_BYTES, |end| end.place.offset as usize);
    let last = segments.last().map_or(live.number, |last| last.number).max(live.number);
    Ok((live, at, ready, last.saturating_add(1)))
}

/// Copies what is damaged to a file of its own, for whoever wants to look at it. Best effort: the journal
/// itself is left as it is.
fn quarantine(disk: &AnyDisk, dir: &Path, damage: &Damage) {
    if damage.bytes == 0 {
        return;
    }
    let copy = || -> std::io::Result<PathBuf> {
        let to = dir.join("quarantine");
        let names = disk.open(&to, OpenHow::Folder)?;
        let path = to.join(format!("{}-{}", damage.file.replace('/', "-"), damage.offset));
        let from = disk.open(&dir.join(&damage.file), OpenHow::Read)?;
        let mut bytes = vec![0; usize::try_from(damage.bytes).unwrap_or(usize::MAX)];
        let count = disk.read(&from, damage.offset, &mut bytes)?;
        bytes.truncate(count);
        let file = disk.open(&path, OpenHow::Create)?;
        disk.write(&file, 0, &bytes)?;
        disk.sync(&file)?;
        disk.sync(&names)?;
        Ok(path)
    };
    match copy() {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
            tracing::warn!(%damage, %error, "the damaged bytes could not be copied aside");
        }
        _ => {}
    }
}
