//! Reading a data folder from end to end, and changing nothing in it.
//!
//! Every segment is read, every frame's and every item's checksum is made again, and every item is taken apart.
//! What follows from the journal is then held against what stands beside it: the catalogue's files, the index
//! and the files of seen ids. A torn tail is told from damage by what follows it, as it is when the store is
//! opened (see `journal/recover.rs`).
//!
//! The index is sled's, and sled cannot open a folder without writing to it; so a copy is opened, in the
//! system's temporary folder.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use eventyard_event::{EventId, Timestamp};

use crate::disk::{AnyDisk, RealDisk, SimulatedDisk};
use crate::journal::{FoundSegment, Segments, journal_folder, recover, survey};
use crate::local::{missing_at_front, recover_error};
use crate::repair::known::Known;
use crate::{Damage, OpenError, lock};

mod compare;
mod copy;
mod leftovers;
mod walk;

use walk::Walk;

/// Places that a report names at most; the next ones are only counted.
pub const DAMAGES_MAX: usize = 1000;

/// Lost events that a report names at most.
pub const LOST_EVENTS_MAX: usize = 100_000;

/// How far [`verify`] has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VerifyProgress {
    /// Bytes of the journal that were read.
    pub read_bytes: u64,
    /// Bytes of the journal.
    pub total_bytes: u64,
}

/// What [`verify`] found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VerifyReport {
    /// Files of the journal, those made ahead included.
    pub segment_count: u64,
    /// Their length.
    pub journal_bytes: u64,
    /// Frames that can be read.
    pub frame_count: u64,
    /// Items in them.
    pub item_count: u64,
    /// Events in them.
    pub event_count: u64,
    /// Deliveries of those events.
    pub delivery_count: u64,
    /// Deliveries that have not ended and are not dead.
    pub unsettled_count: u64,
    /// Dead letters.
    pub dead_count: u64,
    /// The end of the journal, where a write was not finished. It was never acknowledged, and is no damage.
    pub torn: Option<Damage>,
    /// What is not as it was written, the journal's first; at most [`DAMAGES_MAX`].
    pub damages: Vec<Damage>,
    /// What cannot be read and was seen to by a [`Repair`](crate::Repair) before, with what follows from it.
    pub known: Vec<Damage>,
    /// All damages, those included that are not named.
    pub damage_count: u64,
    /// Events of which something points to them, or a part is there, and which cannot be served. In no way all:
    /// of what nothing else knows, nothing can be named. At most [`LOST_EVENTS_MAX`].
    pub lost_events: BTreeSet<EventId>,
    /// The index.
    pub index: Compared,
    /// The files of seen ids.
    pub seen_ids: Compared,
}

/// How something beside the journal compares with it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Compared {
    /// It does not exist. The next start makes it from the journal.
    #[default]
    Absent,
    /// Its beginnings are there, as a stop leaves them. The next start makes it from the journal.
    Unfinished,
    /// It says what the journal says.
    Agrees {
        /// Entries that were compared.
        entry_count: u64,
    },
    /// It cannot be used, or says something else; the damages say what.
    Damaged,
    /// It could not be looked at, and why.
    NotCompared(String),
}

impl VerifyReport {
    /// Whether all of it is as it was written.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.damage_count == 0
    }

    fn damaged(&mut self, damage: Damage) {
        self.damage_count += 1;
        if self.damages.len() < DAMAGES_MAX {
            self.damages.push(damage);
        }
    }

    fn lost(&mut self, event: EventId) {
        if self.lost_events.len() < LOST_EVENTS_MAX {
            self.lost_events.insert(event);
        }
    }
}

/// Why a data folder cannot be verified.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// There is no journal.
    #[error("there is no store in {}; a folder that holds one has a folder `journal` with files in it", .dir.display())]
    Missing {
        /// Where it was looked for.
        dir: PathBuf,
    },
    /// It is in use, was written by a newer program, or cannot be read at all.
    #[error(transparent)]
    Open(#[from] OpenError),
}

impl VerifyError {
    /// The stable code of this error.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            VerifyError::Missing { .. } => "store_missing",
            VerifyError::Open(error) => error.code(),
        }
    }
}

/// Takes how far it has come.
pub(crate) type Progress<'a> = &'a mut dyn FnMut(VerifyProgress);

/// Reads the data folder `dir` from end to end and changes nothing in it. `now` is the wall clock's time: ids
/// that have expired by then need not be in their files any more. Blocks; keeps other processes from opening the
/// store meanwhile. Takes the memory that opening the store takes, twice.
///
/// `progress` is called at every frame and must be quick.
///
/// # Errors
/// [`VerifyError`]. Damage is no error but in the report.
pub fn verify(dir: &Path, now: Timestamp, progress: Progress<'_>) -> Result<VerifyReport, VerifyError> {
    if !journal_folder(dir).is_dir() {
        return Err(VerifyError::Missing { dir: dir.to_owned() });
    }
    // Until the end of this call.
    let _lock = lock::share(dir)?;
    look_at(&AnyDisk::Real(RealDisk), dir, now, progress)
}

/// As [`verify`], of a simulated disk on which no store is open.
///
/// # Errors
/// As [`verify`].
pub fn verify_simulated(disk: &SimulatedDisk, now: Timestamp) -> Result<VerifyReport, VerifyError> {
    look_at(&AnyDisk::Simulated(disk.clone()), Path::new("/data"), now, &mut |_| {})
}

/// What is looked at.
struct Ground<'a> {
    disk: &'a AnyDisk,
    dir: &'a Path,
    /// The journal's folder.
    folder: PathBuf,
    journal: [u8; 16],
    segments: Vec<FoundSegment>,
    known: Known,
    now: Timestamp,
}

impl Ground<'_> {
    /// Whether the journal does not begin with its first segment any more.
    fn front_is_gone(&self) -> bool {
        self.segments.first().is_some_and(|first| first.number > 1)
    }
}

/// As [`verify`], by one who has the folder's lock.
pub(crate) fn look_at(
    disk: &AnyDisk,
    dir: &Path,
    now: Timestamp,
    progress: Progress<'_>,
) -> Result<VerifyReport, VerifyError> {
    let folder = journal_folder(dir);
    let mut survey = survey(disk, &folder).map_err(recover_error)?;
    if survey.segments.is_empty() {
        return Err(VerifyError::Missing { dir: dir.to_owned() });
    }
    let Some(journal) = survey.journal else {
        return Err(OpenError::Unreadable { dir: folder, count: survey.segments.len() }.into());
    };
    let mut report = VerifyReport {
        segment_count: survey.segments.len() as u64,
        journal_bytes: survey.segments.iter().map(|segment| segment.bytes as u64).sum(),
        ..VerifyReport::default()
    };
    let known = Known::read(disk, dir, journal);
    report.known = known.split_off(&mut survey.damages);
    survey.damages.into_iter().for_each(|damage| report.damaged(damage));
    let ground = Ground { disk, dir, folder, journal, segments: survey.segments, known, now };

    let mut walk = Walk::begin(&ground, &mut report, progress);
    let from = ground.segments.first().map_or(1, |first| first.number);
    let segments = Segments { all: &ground.segments, journal, known: walk.known() };
    let read = recover(disk, segments, from, &mut |frame| walk.frame(&frame));
    let walked = walk.end();
    let mut recovered = read.map_err(recover_error)?;
    recovered.damages.splice(0..0, missing_at_front(&ground.segments, &walked.alone));
    report.known.extend(ground.known.split_off(&mut recovered.damages));

    report.frame_count = recovered.frames;
    report.torn = recovered.torn;
    for damage in recovered.damages {
        leftovers::name_what_is_left(&ground, &damage, &mut report);
        report.damaged(damage);
    }
    leftovers::look_at_what_is_ahead(&ground, recovered.end, &mut report)?;
    compare::all(&ground, walked, recovered.end, &mut report)?;
    Ok(report)
}
