//! Copies of a data folder: made while a broker runs on it or not, and put in place of one that is lost.
//!
//! A backup is a data folder itself, of which `verify` can be asked and on which a broker could run. It holds the
//! journal and no index, for the index is made from the journal.
//!
//! Nothing is asked of a running broker. Its journal is only ever appended to, so what is at one moment the prefix
//! of it up to a valid frame stays so: full segments are copied whole, and the live one up to the last frame that
//! was valid when it was looked at. Segments are opened before the first is copied, so that one that is deleted
//! meanwhile is still read. Made ahead ones are left out, and so is the end of the live one that holds nothing.
//! What was acknowledged before the backup began is in it.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use eventyard_event::Timestamp;

use crate::dedupe::dedupe_folder;
use crate::disk::{AnyDisk, AnyFile, Disk, OpenHow, RealDisk, read_exact};
use crate::journal::{
    FoundSegment, SEGMENT_HEADER_BYTES, Segments, journal_folder, recover, segment_name, survey, used_bytes,
};
use crate::local::{io_error, recover_error};
use crate::repair::known::{KNOWN_FILE, QUARANTINE};
use crate::verify::look_at;
use crate::{OpenError, VerifyError, VerifyReport, lock};

mod restore;

pub use restore::{RestoreReport, restore};

/// Files beside the journal that belong to what is kept: the project that last loaded, and the list of damage that
/// is known.
const BESIDE: [&[&str]; 2] = [&["last-good.json"], &[QUARANTINE, KNOWN_FILE]];

/// How far a copy has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CopyProgress {
    /// The journal is copied.
    Copying {
        /// Bytes that were copied.
        done_bytes: u64,
        /// Bytes to copy; segments end before their length, so it may be done sooner.
        total_bytes: u64,
    },
    /// The copy is read back.
    Reading {
        /// Bytes that were read.
        done_bytes: u64,
        /// Bytes of the copy.
        total_bytes: u64,
    },
}

/// A backup that was made.
#[derive(Clone, Debug)]
pub struct BackupReport {
    /// Whether a process had the folder meanwhile, and its id where it is known.
    pub running: Option<Option<u32>>,
    /// What the copy holds, read back from it.
    pub copy: VerifyReport,
}

/// Why a copy was not made. Nothing of it is left then.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CopyError {
    /// What is copied cannot be read.
    #[error(transparent)]
    Verify(#[from] VerifyError),
    /// Something is where the copy is to be.
    #[error("{} is there already and is not empty", .dir.display())]
    Exists {
        /// Where.
        dir: PathBuf,
    },
    /// The root of a disk: what is copied gets its name when it is whole, and this has its name already.
    #[error("{} is the root of a disk; name a folder in it", .dir.display())]
    Root {
        /// Where.
        dir: PathBuf,
    },
    /// A copy within what is copied.
    #[error("{} is within the data folder; choose a place that outlives it", .dir.display())]
    Inside {
        /// Where.
        dir: PathBuf,
    },
    /// What is to be restored is damaged.
    #[error("{} is damaged in {count} places, the first: {first}; `eventyard store repair` on it says what is left", .dir.display())]
    Damaged {
        /// The backup.
        dir: PathBuf,
        /// How many places.
        count: u64,
        /// The first of them.
        first: String,
    },
    /// The copy holds something else than what was copied.
    #[error("the copy in {} does not hold what was copied; the disk under it cannot be trusted", .dir.display())]
    Differs {
        /// The copy.
        dir: PathBuf,
    },
}

impl From<OpenError> for CopyError {
    fn from(error: OpenError) -> CopyError {
        CopyError::Verify(VerifyError::Open(error))
    }
}

impl CopyError {
    /// The stable code of this error.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            CopyError::Verify(error) => error.code(),
            CopyError::Exists { .. } | CopyError::Root { .. } => "store_exists",
            CopyError::Inside { .. } => "store_inside",
            CopyError::Damaged { .. } | CopyError::Differs { .. } => "store_damaged",
        }
    }
}

/// Takes how far it has come.
type Progress<'a> = &'a mut dyn FnMut(CopyProgress);

/// Copies the data folder `dir` to `to`, which must not exist or be empty, and reads the copy back. The copy has
/// its name when it is whole and durable, and not before. Blocks; takes the memory of one segment, and for reading
/// back that of an open store.
///
/// # Errors
/// [`CopyError`]. Damage that is copied along is no error but in the report.
pub fn backup(dir: &Path, to: &Path, now: Timestamp, progress: Progress<'_>) -> Result<BackupReport, CopyError> {
    if !journal_folder(dir).is_dir() {
        return Err(VerifyError::Missing { dir: dir.to_owned() }.into());
    }
    let to = whole_path(to)?;
    let to = to.as_path();
    if is_root(to) {
        return Err(CopyError::Root { dir: to.to_owned() });
    }
    if !is_vacant(to, &[])? {
        return Err(CopyError::Exists { dir: to.to_owned() });
    }
    if to.starts_with(whole_path(dir)?) {
        return Err(CopyError::Inside { dir: to.to_owned() });
    }
    // Nobody writes while we hold it; where somebody does, nothing is asked of him.
    let (_lock, running) = match lock::share(dir) {
        Ok(lock) => (lock, None),
        Err(OpenError::Locked { pid, .. }) => (None, Some(pid)),
        Err(error) => return Err(error.into()),
    };
    let disk = AnyDisk::Real(RealDisk);
    let name = to.file_name().and_then(|name| name.to_str()).unwrap_or("backup");
    let prefix = format!(".{name}.unfinished-");
    remove_leftovers(to, &prefix)?;
    let unfinished = to.with_file_name(format!("{prefix}{}", std::process::id()));
    let copy = Unfinished::make(&unfinished)?;
    copy_content(&disk, dir, &copy.0, running.is_some(), progress)?;
    let report = read(&disk, &copy.0, now, progress)?;
    copy.finish(to)?;
    Ok(BackupReport { running, copy: report })
}

/// Copies all that is kept of a data folder into another one, durably. `running`: somebody may write on it meanwhile.
fn copy_content(
    disk: &AnyDisk,
    from: &Path,
    to: &Path,
    running: bool,
    progress: Progress<'_>,
) -> Result<(), CopyError> {
    // Before the journal's end is looked for: an id may be known only of an event that is there.
    copy_seen_ids(from, to)?;
    Source::open(disk, from)?.copy(&journal_folder(to), running, progress)?;
    copy_beside(from, to)?;
    sync_folder(to)?;
    Ok(())
}

/// Reads a folder from end to end.
fn read(disk: &AnyDisk, dir: &Path, now: Timestamp, progress: Progress<'_>) -> Result<VerifyReport, VerifyError> {
    look_at(disk, dir, now, &mut |step| {
        progress(CopyProgress::Reading { done_bytes: step.read_bytes, total_bytes: step.total_bytes });
    })
}

/// A path from the root, of something that may not exist yet.
fn whole_path(path: &Path) -> Result<PathBuf, OpenError> {
    let fail = io_error(path);
    match fs::canonicalize(path) {
        Ok(whole) => return Ok(whole),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(fail(error)),
    }
    let absolute = std::path::absolute(path).map_err(&fail)?;
    let above = absolute.parent().unwrap_or(Path::new("/"));
    let above = fs::canonicalize(above).map_err(io_error(above))?;
    Ok(absolute.file_name().map_or(above.clone(), |name| above.join(name)))
}

/// Whether nothing is there but names that do not count.
fn is_vacant(dir: &Path, but: &[&str]) -> Result<bool, OpenError> {
    let fail = io_error(dir);
    let mut entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
        // A file is there.
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => return Ok(false),
        other => other.map_err(&fail)?,
    };
    entries.try_fold(true, |vacant, entry| {
        let name = entry.map_err(&fail)?.file_name();
        Ok(vacant && but.iter().any(|other| name == *other))
    })
}

/// Whether a folder is where a disk is mounted.
fn is_root(dir: &Path) -> bool {
    let device = |path: &Path| fs::metadata(path).map(|found| found.dev());
    match (device(dir), dir.parent().map(device)) {
        (Ok(_), None) => true,
        (Ok(own), Some(Ok(above))) => own != above,
        _ => false,
    }
}

/// Removes what backups to the same place have left that were killed.
fn remove_leftovers(to: &Path, prefix: &str) -> Result<(), OpenError> {
    let above = to.parent().unwrap_or(Path::new("/"));
    for entry in fs::read_dir(above).map_err(io_error(above))? {
        let entry = entry.map_err(io_error(above))?;
        let name = entry.file_name();
        let owner = name.to_str().and_then(|name| name.strip_prefix(prefix)).and_then(|pid| pid.parse().ok());
        // One that had our id is as dead as one whose id nobody has.
        if owner.is_some_and(|pid| pid == std::process::id() || !lock::is_alive(pid)) {
            fs::remove_dir_all(entry.path()).map_err(io_error(&entry.path()))?;
        }
    }
    Ok(())
}

fn sync_folder(path: &Path) -> Result<(), OpenError> {
    File::open(path).and_then(|folder| folder.sync_all()).map_err(io_error(path))
}

/// A folder that goes away with its value, unless it was finished.
struct Unfinished(PathBuf);

impl Unfinished {
    fn make(path: &Path) -> Result<Unfinished, OpenError> {
        let made = fs::DirBuilder::new().mode(0o700).create(path);
        made.map_err(io_error(path))?;
        Ok(Unfinished(path.to_owned()))
    }

    /// Gives it its name, durably.
    fn finish(self, to: &Path) -> Result<(), OpenError> {
        // In place of an empty folder, where one is there.
        fs::rename(&self.0, to).map_err(io_error(to))?;
        sync_folder(to.parent().unwrap_or(Path::new("/")))
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        // Where it has its name, nothing is left here.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Copies the files of seen ids, durably: some are of events that have gone by the retention, and which nothing else
/// knows. Each is written once and never changed; one that is merged into another meanwhile is left out, for
/// the other has all of it and is found by looking again.
fn copy_seen_ids(from: &Path, to: &Path) -> Result<(), OpenError> {
    const LOOKS: usize = 10;
    let (from, to) = (dedupe_folder(from), dedupe_folder(to));
    if !from.is_dir() {
        return Ok(());
    }
    fs::create_dir_all(&to).map_err(io_error(&to))?;
    for _ in 0..LOOKS {
        let mut missed = false;
        for entry in fs::read_dir(&from).map_err(io_error(&from))? {
            let name = entry.map_err(io_error(&from))?.file_name();
            let (there, copy) = (from.join(&name), to.join(&name));
            if copy.exists() || there.extension().is_none_or(|ending| ending != "ids") {
                continue;
            }
            match fs::copy(&there, &copy).and_then(|_| File::open(&copy)?.sync_all()) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => missed = true,
                other => other.map_err(io_error(&there))?,
            }
        }
        if !missed {
            break;
        }
    }
    sync_folder(&to)
}

/// Copies the files beside the journal that belong to it, durably.
fn copy_beside(from: &Path, to: &Path) -> Result<(), OpenError> {
    for parts in BESIDE {
        let path: PathBuf = parts.iter().collect();
        let (from, to) = (from.join(&path), to.join(&path));
        let copied = || -> io::Result<()> {
            if let Some(above) = to.parent() {
                fs::create_dir_all(above)?;
            }
            fs::copy(&from, &to)?;
            File::open(&to)?.sync_all()?;
            to.parent().map_or(Ok(()), |above| File::open(above)?.sync_all())
        };
        if from.is_file() {
            copied().map_err(io_error(&to))?;
        }
    }
    Ok(())
}

/// The segments of a folder, opened.
struct Source<'a> {
    disk: &'a AnyDisk,
    journal: [u8; 16],
    /// Those that hold anything, in order; the last is the live one.
    segments: Vec<(FoundSegment, AnyFile)>,
}

impl<'a> Source<'a> {
    /// Opens the segments. What is acknowledged by now is in them.
    fn open(disk: &'a AnyDisk, dir: &Path) -> Result<Source<'a>, CopyError> {
        // One that is deleted between the list and its opening had nothing any more that is needed; the list is
        // made anew, so that it is not missed.
        const TRIES: usize = 10;
        let folder = journal_folder(dir);
        let mut tries = 0;
        let (survey, files) = loop {
            tries += 1;
            let opened = survey(disk, &folder).and_then(|survey| {
                let fail = |path: &Path, error| crate::journal::RecoverError::Io { path: path.to_owned(), error };
                let open = |each: &FoundSegment| disk.open(&each.path, OpenHow::Read).map_err(|e| fail(&each.path, e));
                let files: Result<Vec<AnyFile>, _> = survey.segments.iter().map(open).collect();
                Ok((survey, files?))
            });
            match opened {
                Err(crate::journal::RecoverError::Io { error, .. })
                    if error.kind() == io::ErrorKind::NotFound && tries < TRIES => {}
                other => break other.map_err(recover_error)?,
            }
        };
        if survey.segments.is_empty() {
            return Err(VerifyError::Missing { dir: dir.to_owned() }.into());
        }
        let Some(journal) = survey.journal else {
            return Err(OpenError::Unreadable { dir: folder, count: survey.segments.len() }.into());
        };
        let mut segments: Vec<_> = survey.segments.into_iter().zip(files).collect();
        // From the end: those that were made ahead hold nothing but zeros. A journal without a frame keeps its first.
        while segments.len() > 1 {
            let Some((last, file)) = segments.last() else { break };
            let bytes = read_exact(disk, file, 0, last.bytes).map_err(io_error(&last.path))?;
            if used_bytes(bytes.get(SEGMENT_HEADER_BYTES..).unwrap_or_default()) > 0 {
                break;
            }
            segments.pop();
        }
        Ok(Source { disk, journal, segments })
    }

    /// Copies the segments into a new folder, durably.
    fn copy(&self, to: &Path, running: bool, progress: Progress<'_>) -> Result<(), CopyError> {
        let names = self.disk.open(to, OpenHow::Folder).map_err(io_error(to))?;
        let total_bytes = self.segments.iter().map(|(segment, _)| segment.bytes as u64).sum();
        let mut done_bytes = 0;
        for (index, (segment, file)) in self.segments.iter().enumerate() {
            let fail = io_error(&segment.path);
            // A later segment that holds anything says that this one is full.
            let growing = running && index + 1 == self.segments.len();
            let frames_end = self.frames_end(segment)?;
            let mut bytes =
                read_exact(self.disk, file, 0, if growing { frames_end } else { segment.bytes }).map_err(&fail)?;
            if !growing {
                // Zeros at the end are no news, unless they belong to a frame; whatever else stands there is kept.
                bytes.truncate(used_bytes(&bytes).max(frames_end).next_multiple_of(SEGMENT_HEADER_BYTES));
            }
            let path = to.join(segment_name(segment.number));
            let fail = io_error(&path);
            let copy = self.disk.open(&path, OpenHow::Create).map_err(&fail)?;
            self.disk.write(&copy, 0, &bytes).map_err(&fail)?;
            self.disk.sync(&copy).map_err(&fail)?;
            done_bytes += segment.bytes as u64;
            progress(CopyProgress::Copying { done_bytes, total_bytes });
        }
        self.disk.sync(&names).map_err(io_error(to))?;
        Ok(())
    }

    /// Where the last frame of a segment ends. The live one may be written on while it is read, and then what is
    /// behind the end that is found was not all read in order; up to it, all was written before we looked.
    fn frames_end(&self, segment: &FoundSegment) -> Result<usize, CopyError> {
        let alone = Segments { all: std::slice::from_ref(segment), journal: self.journal, known: 0 };
        let read = recover(self.disk, alone, segment.number, &mut |_| Ok(())).map_err(recover_error)?;
        Ok(read.end.map_or(SEGMENT_HEADER_BYTES.min(segment.bytes), |end| end.place.offset as usize))
    }
}
