//! Mending a data folder on which no broker runs.
//!
//! What can be made again is: the index, the lists of a segment's events, a segment's header. What cannot be read
//! of the journal cannot be made again; it is copied aside, events in it that are whole are written to a file from
//! which they can be sent again, and the place is noted as known ([`known`]), so that it is no news any more.
//! Nothing is deleted but files that were never finished: whatever is replaced is moved aside first.
//!
//! [`Repair::begin`] looks and says what would be done; [`Repair::run`] does it and looks again.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use eventyard_event::json::write_structured;
use eventyard_event::{Clock, Event, Timestamp};

use crate::dedupe::dedupe_folder;
use crate::disk::{AnyDisk, Disk, OpenHow, RealDisk, read_exact};
use crate::journal::{
    FoundSegment, Header, SEGMENT_HEADER_BYTES, events_within, journal_folder, read_header, segment_file,
    segment_header, survey,
};
use crate::local::{index_folder, io_error, open_held, recover_error};
use crate::verify::{Progress, look_at};
use crate::{Damage, OpenError, Options, Store, StoreError, VerifyError, VerifyReport, lock};

pub(crate) mod known;

use known::{Known, QUARANTINE};

/// Settled events that are old enough to go are not the business of a repair.
const KEEP_ALL: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// One thing that a repair does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RepairStep {
    /// Bytes that cannot be read are copied to the folder `quarantine`.
    Copy(Damage),
    /// A segment's header is copied there and written anew; all that it says is known from the others.
    Header {
        /// The segment's file.
        file: String,
    },
    /// A file or folder is moved there, because it is made again.
    Move {
        /// Its name within the data folder.
        file: String,
    },
    /// A file that was never finished is removed; nothing was ever acknowledged for it.
    Remove {
        /// Its name within the data folder.
        file: String,
    },
    /// Something is gone, and is noted as known.
    Note(Damage),
    /// Index and seen ids are made again from the journal.
    Rebuild,
}

/// A repair that has looked and done nothing yet. Keeps every other process out of the folder.
pub struct Repair {
    dir: PathBuf,
    lock: File,
    found: VerifyReport,
    steps: Vec<RepairStep>,
    journal: [u8; 16],
}

/// What a repair has done.
#[derive(Clone, Debug)]
pub struct RepairReport {
    /// What was done, in order.
    pub steps: Vec<RepairStep>,
    /// What was found before.
    pub before: VerifyReport,
    /// What is found now.
    pub after: VerifyReport,
    /// Where what was moved stands; `None` where nothing was.
    pub aside: Option<PathBuf>,
    /// Whole events in places that cannot be read otherwise: the files they were written to, each as a batch of
    /// CloudEvents that a broker takes, and how many.
    pub saved_events: Vec<(PathBuf, usize)>,
}

/// Why a repair cannot be begun or ended.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RepairError {
    /// The folder cannot be read.
    #[error(transparent)]
    Verify(#[from] VerifyError),
    /// Nothing says which segments are the journal's.
    #[error(
        "of {count} files in {} no more than {ours} belong to the same journal; move those of the others away by hand", .dir.display()
    )]
    Mixed {
        /// The journal's folder.
        dir: PathBuf,
        /// How many files there are.
        count: usize,
        /// How many have the journal that the first one has.
        ours: usize,
    },
    /// The index could not be made again.
    #[error("the index could not be made again: {0}")]
    Rebuild(#[from] StoreError),
}

impl From<OpenError> for RepairError {
    fn from(error: OpenError) -> RepairError {
        RepairError::Verify(VerifyError::Open(error))
    }
}

impl RepairError {
    /// The stable code of this error.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            RepairError::Verify(error) => error.code(),
            RepairError::Mixed { .. } => "store_damaged",
            RepairError::Rebuild(_) => "store_io",
        }
    }
}

impl Repair {
    /// Takes the folder, reads all of it, and says what would be done. Changes nothing. Blocks; `progress` is
    /// called at every frame.
    ///
    /// # Errors
    /// [`RepairError`]: among others where a process has the folder.
    pub fn begin(dir: &Path, now: Timestamp, progress: Progress<'_>) -> Result<Repair, RepairError> {
        if !journal_folder(dir).is_dir() {
            return Err(VerifyError::Missing { dir: dir.to_owned() }.into());
        }
        let lock = lock::take(dir)?;
        let disk = AnyDisk::Real(RealDisk);
        let found = look_at(&disk, dir, now, progress)?;
        let folder = journal_folder(dir);
        let survey = survey(&disk, &folder).map_err(recover_error)?;
        let Some(journal) = survey.journal else {
            return Err(OpenError::Unreadable { dir: folder, count: survey.segments.len() }.into());
        };
        let headers = headers(&disk, &survey.segments)?;
        let count = headers.len();
        let ours = headers.iter().filter(|(_, header)| *header == Header::Of(journal)).count();
        let others = headers.iter().filter(|(_, header)| matches!(header, Header::Of(other) if *other != journal));
        if others.count() >= ours {
            return Err(RepairError::Mixed { dir: folder, count, ours });
        }
        let mut steps = steps(dir, &found, &headers);
        steps.extend(leftovers(&disk, dir)?.into_iter().map(|file| RepairStep::Remove { file }));
        Ok(Repair { dir: dir.to_owned(), lock, found, steps, journal })
    }

    /// What was found.
    #[must_use]
    pub fn found(&self) -> &VerifyReport {
        &self.found
    }

    /// What would be done; nothing where nothing is wrong.
    #[must_use]
    pub fn steps(&self) -> &[RepairStep] {
        &self.steps
    }

    /// Does it, and reads everything again. A repair that is cut off is begun again, and goes on.
    ///
    /// # Errors
    /// [`RepairError`]. What was done until then stays done, and nothing of it has lost a byte.
    pub async fn run(self, clock: Clock, progress: Progress<'_>) -> Result<RepairReport, RepairError> {
        let Repair { dir, lock, found, steps, journal } = self;
        let disk = AnyDisk::Real(RealDisk);
        let now = clock();
        let ground = Aside { disk: &disk, dir: &dir, name: format!("repair-{}", now.as_millis()) };
        // What is copied is safe before anything is changed.
        let saved_events = ground.copy_all(&steps, found.torn.as_ref()).map_err(io_error(&dir.join(QUARANTINE)))?;
        let mut aside = (!saved_events.is_empty()).then(|| ground.folder());
        for step in &steps {
            match step {
                RepairStep::Header { file } => {
                    write_header(&disk, &dir.join(file), journal).map_err(io_error(&dir.join(file)))?;
                }
                RepairStep::Move { file } => {
                    ground.take(file).map_err(io_error(&dir.join(file)))?;
                    aside = Some(ground.folder());
                }
                RepairStep::Remove { file } => disk.remove(&dir.join(file)).map_err(io_error(&dir.join(file)))?,
                RepairStep::Copy(_) | RepairStep::Note(_) | RepairStep::Rebuild => {}
            }
        }
        let lock = if steps.contains(&RepairStep::Rebuild) {
            let options = Options {
                retention: KEEP_ALL,
                retention_bytes: u64::MAX,
                dead_letter_retention: KEEP_ALL,
                ..Options::default()
            };
            let (store, _) = open_held(&dir, options, clock, lock)?;
            store.close().await?;
            drop(store);
            lock::take(&dir)?
        } else {
            lock
        };

        let mut after = look_at(&disk, &dir, now, progress)?;
        let journal_damage = |damage: &Damage| damage.file.starts_with("journal/") && damage.file.ends_with(".seg");
        let left: Vec<Damage> = after.damages.extract_if(.., |damage| journal_damage(damage)).collect();
        if !left.is_empty() {
            let mut known = Known::read(&disk, &dir, journal);
            known.add(&left, now);
            known.write(&disk, &dir).map_err(io_error(&dir.join(QUARANTINE)))?;
            after.damage_count = after.damage_count.saturating_sub(left.len() as u64);
            after.known.extend(left);
        }
        drop(lock);
        Ok(RepairReport { steps, before: found, after, aside, saved_events })
    }
}

fn headers<'s>(disk: &AnyDisk, segments: &'s [FoundSegment]) -> Result<Vec<(&'s FoundSegment, Header)>, OpenError> {
    let read = |segment: &'s FoundSegment| {
        let file = disk.open(&segment.path, OpenHow::Read)?;
        let head = read_exact(disk, &file, 0, SEGMENT_HEADER_BYTES.min(segment.bytes))?;
        Ok((segment, read_header(&head, segment.number)))
    };
    segments.iter().map(|segment| read(segment).map_err(|error| io_error(&segment.path)(error))).collect()
}

/// What is to be done about what was found.
fn steps(dir: &Path, found: &VerifyReport, headers: &[(&FoundSegment, Header)]) -> Vec<RepairStep> {
    let mut steps = Vec::new();
    let headless = |file: &str| {
        headers.iter().any(|(segment, header)| *header == Header::Damaged && segment_file(segment.number) == file)
    };
    let mut rebuild = false;
    for damage in &found.damages {
        if damage.file.ends_with(".seg") {
            rebuild = true;
            let header = damage.offset == 0 && headless(&damage.file);
            steps.push(match damage.bytes {
                0 => RepairStep::Note(damage.clone()),
                _ if header => RepairStep::Header { file: damage.file.clone() },
                _ => RepairStep::Copy(damage.clone()),
            });
        } else if damage.file.ends_with(".cat") {
            steps.push(RepairStep::Move { file: damage.file.clone() });
        } else {
            rebuild = true;
        }
    }
    if rebuild {
        // The seen ids too: a lost event that is sent again must not be taken for a repeat. Those of events that have
        // gone by the retention are forgotten early by it, and a repeat of one may be delivered again.
        let both = [("index", index_folder(dir)), ("dedupe", dedupe_folder(dir))];
        let there = both.into_iter().filter(|(_, folder)| folder.exists());
        steps.extend(there.map(|(name, _)| RepairStep::Move { file: name.to_owned() }));
        steps.push(RepairStep::Rebuild);
    }
    steps
}

/// Files that were never finished.
fn leftovers(disk: &AnyDisk, dir: &Path) -> Result<Vec<String>, OpenError> {
    let mut found = Vec::new();
    for folder in ["journal", "dedupe"] {
        let listed = match disk.list(&dir.join(folder)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            other => other.map_err(io_error(&dir.join(folder)))?,
        };
        let unfinished = listed.into_iter().filter(|file| !file.folder && file.name.ends_with(".new"));
        found.extend(unfinished.map(|file| format!("{folder}/{}", file.name)));
    }
    Ok(found)
}

fn write_header(disk: &AnyDisk, path: &Path, journal: [u8; 16]) -> io::Result<()> {
    let number = path.file_name().and_then(|name| name.to_str()).and_then(crate::journal::segment_number);
    let number = number.ok_or(io::ErrorKind::InvalidInput)?;
    let file = disk.open(path, OpenHow::Write)?;
    disk.write(&file, 0, &segment_header(journal, number))?;
    disk.sync(&file)
}

/// Events of a file of saved ones, at most: a tenth of what a broker takes in one batch unless it is told otherwise.
const SAVED_EVENTS: usize = 1000;

/// Bytes of such a file, but for its last event: what is held in memory, and below what a broker takes as a body.
const SAVED_BYTES: usize = 16 * 1024 * 1024;

/// Events that can be sent again, on their way to files.
struct Saved<'a> {
    aside: &'a Aside<'a>,
    text: Vec<u8>,
    /// Events in the text.
    count: usize,
    files: Vec<(PathBuf, usize)>,
}

impl Saved<'_> {
    fn add(&mut self, event: &Event) -> io::Result<()> {
        self.text.push(if self.count == 0 { b'[' } else { b',' });
        self.text.extend_from_slice(&write_structured(event));
        self.count += 1;
        if self.count == SAVED_EVENTS || self.text.len() >= SAVED_BYTES { self.write() } else { Ok(()) }
    }

    fn write(&mut self) -> io::Result<()> {
        self.text.push(b']');
        let Aside { disk, .. } = self.aside;
        let names = disk.open(&self.aside.folder(), OpenHow::Folder)?;
        let path = self.aside.folder().join(format!("events-{:04}.json", self.files.len() + 1));
        let file = disk.open(&path, OpenHow::Create)?;
        disk.write(&file, 0, &self.text)?;
        disk.sync(&file)?;
        disk.sync(&names)?;
        self.files.push((path, self.count));
        self.text.clear();
        self.count = 0;
        Ok(())
    }

    /// Writes the rest; the files, and how many events are in each.
    fn end(mut self) -> io::Result<Vec<(PathBuf, usize)>> {
        if self.count > 0 {
            self.write()?;
        }
        Ok(self.files)
    }
}

/// Where things are set aside.
struct Aside<'a> {
    disk: &'a AnyDisk,
    dir: &'a Path,
    /// Of the folder of this repair.
    name: String,
}

impl Aside<'_> {
    fn folder(&self) -> PathBuf {
        self.dir.join(QUARANTINE).join(&self.name)
    }

    /// Copies all that is damaged, durably, and saves the events in it that are whole.
    fn copy_all(&self, steps: &[RepairStep], torn: Option<&Damage>) -> io::Result<Vec<(PathBuf, usize)>> {
        let header = |file: &String| Damage {
            file: file.clone(),
            offset: 0,
            bytes: SEGMENT_HEADER_BYTES as u64,
            what: String::new(),
        };
        // The end that the next start cuts was never acknowledged; where other things are copied, it is too.
        let torn = torn.filter(|torn| torn.bytes > 0 && steps.contains(&RepairStep::Rebuild));
        let damages = steps.iter().filter_map(|step| match step {
            RepairStep::Copy(damage) => Some(damage.clone()),
            RepairStep::Header { file } => Some(header(file)),
            _ => None,
        });
        let damages: Vec<Damage> = damages.chain(torn.cloned()).collect();
        if damages.is_empty() {
            return Ok(Vec::new());
        }
        let folder = self.dir.join(QUARANTINE);
        let names = self.disk.open(&folder, OpenHow::Folder)?;
        let mut saved = Saved { aside: self, text: Vec::new(), count: 0, files: Vec::new() };
        for damage in &damages {
            let from = self.disk.open(&self.dir.join(&damage.file), OpenHow::Read)?;
            let mut bytes = vec![0; usize::try_from(damage.bytes).map_err(io::Error::other)?];
            let count = self.disk.read(&from, damage.offset, &mut bytes)?;
            bytes.truncate(count);
            if torn.is_none_or(|torn| torn != damage) {
                events_within(&bytes, &mut |event| saved.add(event))?;
            }
            self.put(&folder, &format!("{}-{}", damage.file.replace('/', "-"), damage.offset), &bytes)?;
        }
        self.disk.sync(&names)?;
        saved.end()
    }

    /// Writes a file; where one of that name has other bytes, under another name.
    fn put(&self, folder: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
        let mut path = folder.join(name);
        match self.disk.open(&path, OpenHow::Read) {
            Ok(there) if crate::disk::read_all(self.disk, &there)? == bytes => return Ok(()),
            Ok(_) => path = folder.join(format!("{name}-{}", self.name)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let file = match self.disk.open(&path, OpenHow::Create) {
            // Of a repair in the same millisecond, which is this one begun again.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => self.disk.open(&path, OpenHow::Write)?,
            other => other?,
        };
        self.disk.write(&file, 0, bytes)?;
        self.disk.sync(&file)
    }

    /// Moves a file or a folder here.
    fn take(&self, file: &str) -> io::Result<()> {
        let own = self.disk.open(&self.folder(), OpenHow::Folder)?;
        let from = self.dir.join(file);
        self.disk.rename(&from, &self.folder().join(file.replace('/', "-")))?;
        self.disk.sync(&own)?;
        let above = from.parent().unwrap_or(self.dir);
        self.disk.sync(&self.disk.open(above, OpenHow::Folder)?)
    }
}
