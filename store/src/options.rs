//! How a store is opened, what was found, and why it could not be.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Ids that are kept to recognise repeats, where nothing else is said.
pub(crate) const DEDUPE_MAX: usize = 10_000_000;

/// How a [`LocalStore`](crate::LocalStore) is opened. [`Options::default`] is what the broker runs with.
#[derive(Clone, Debug)]
pub struct Options {
    /// The length of a journal file; 64 MiB. Clamped to 64 KiB..=1 GiB. One commit may be nearly as large.
    pub segment_bytes: usize,
    /// The length of the very first file of an empty folder, so that a new store is there at once; 4 MiB.
    pub first_segment_bytes: usize,
    /// Segments made ahead when the store is opened, beyond the next one and the reserve; 0. Those that are used
    /// up are not made again: a bench asks for as many as it will fill, to measure commits alone.
    pub segments_ahead: usize,
    /// A checkpoint is made when this much was written since the last one; 64 MiB.
    pub checkpoint_bytes: u64,
    /// A checkpoint is made when this much time has passed since the last one and anything was written; 30 s.
    pub checkpoint_every: Duration,
    /// Ids that are kept to recognise repeats; 10 million. Beyond it the oldest are forgotten early.
    pub dedupe_max: usize,
    /// A due time further ahead than this, when the store is opened, was written while the clock was wrong;
    /// it is brought back to this. 31 days, more than any pause that a rule can ask for.
    pub backoff_max: Duration,
    /// How long settled events are kept; 7 days. A segment goes when its youngest event is older.
    pub retention: Duration,
    /// How long the journal may grow; 1 GiB. Beyond it the oldest segments go before their time, as far as they hold
    /// what has ended; what is still open stays, however much it is.
    pub retention_bytes: u64,
    /// How long a dead letter is kept that is neither replayed nor purged; 30 days.
    pub dead_letter_retention: Duration,
    /// Told how far opening has come; none where nobody asks.
    pub watcher: Option<OpenWatcher>,
    /// Faults that a test plants, to show that the simulation would find them.
    #[doc(hidden)]
    pub faults: PlantedFaults,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            segment_bytes: 64 * 1024 * 1024,
            first_segment_bytes: 4 * 1024 * 1024,
            segments_ahead: 0,
            checkpoint_bytes: 64 * 1024 * 1024,
            checkpoint_every: Duration::from_secs(30),
            dedupe_max: DEDUPE_MAX,
            backoff_max: Duration::from_secs(31 * 24 * 3600),
            retention: Duration::from_secs(7 * 24 * 3600),
            retention_bytes: 1024 * 1024 * 1024,
            dead_letter_retention: Duration::from_secs(30 * 24 * 3600),
            watcher: None,
            faults: PlantedFaults::default(),
        }
    }
}

impl Options {
    pub(crate) fn clamped(mut self) -> Options {
        self.segment_bytes = self.segment_bytes.clamp(64 * 1024, 1024 * 1024 * 1024).next_multiple_of(4096);
        self.first_segment_bytes = self.first_segment_bytes.clamp(64 * 1024, self.segment_bytes).next_multiple_of(4096);
        self
    }
}

/// How far opening a store has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenProgress {
    /// Bytes of the journal that were read.
    pub read_bytes: u64,
    /// Bytes of the journal that are to be read.
    pub total_bytes: u64,
    /// The index is being made again, so all of the journal is read.
    pub rebuilding: bool,
}

/// Is told how far opening a store has come: when reading the journal begins, and then every few MiB. It is called by
/// the thread that opens and must be quick.
#[derive(Clone)]
pub struct OpenWatcher(Arc<dyn Fn(OpenProgress) + Send + Sync>);

impl OpenWatcher {
    /// Calls `told`.
    #[must_use]
    pub fn new(told: impl Fn(OpenProgress) + Send + Sync + 'static) -> OpenWatcher {
        OpenWatcher(Arc::new(told))
    }

    pub(crate) fn tell(&self, progress: OpenProgress) {
        (self.0)(progress);
    }
}

impl std::fmt::Debug for OpenWatcher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("OpenWatcher")
    }
}

/// Faults that a test plants. None of them can be reached from a project's configuration.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PlantedFaults {
    /// Commits and outcomes are answered before their sync.
    pub answer_before_sync: bool,
    /// Begins are answered and never written.
    pub settle_without_begin: bool,
    /// A checkpoint holds what is written and not synced.
    pub checkpoint_ahead_of_sync: bool,
}

/// Something on disk that is not as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The file, by its name within the data folder.
    pub file: String,
    /// Where it begins.
    pub offset: u64,
    /// How long it is; 0 where something is missing.
    pub bytes: u64,
    /// What is wrong, in words.
    pub what: String,
}

impl std::fmt::Display for Damage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} at {}: {}", self.file, self.offset, self.what)
    }
}

/// What was found when a store was opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OpenReport {
    /// The folder was empty: this is a new journal.
    pub new: bool,
    /// Frames that were read from the journal, those that the checkpoint holds already included.
    pub frames_read: u64,
    /// Events with deliveries that have not ended, or that are dead letters.
    pub open_events: u64,
    /// Attempts that our own death cut off.
    pub interrupted: u64,
    /// A last batch that a power cut left in part, and that was cut. It was never acknowledged.
    pub torn: Option<Damage>,
    /// What cannot be read. What could be read of the bytes is in the folder `quarantine`. Never empty in
    /// silence: say it to a person.
    pub damages: Vec<Damage>,
    /// What cannot be read and was seen to by a [`Repair`](crate::Repair) before: no news.
    pub known: Vec<Damage>,
    /// Why the checkpoint was moved aside and the index rebuilt from the journal, where it was.
    pub rebuilt: Option<String>,
}

/// Why a store cannot be opened.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Another process has it.
    #[error("the data folder {} is in use by {}; stop that process or choose another folder", .dir.display(), owner(*.pid))]
    Locked {
        /// The data folder.
        dir: PathBuf,
        /// The other process, where it could be read.
        pid: Option<u32>,
    },
    /// It was written by a newer program.
    #[error(
        "{file} has format version {found}, and this program reads versions up to {known}; run a newer eventyard on this folder"
    )]
    Newer {
        /// The file, by its name within the data folder.
        file: String,
        /// What it has.
        found: u16,
        /// What this program knows.
        known: u16,
    },
    /// A file or folder cannot be used.
    #[error("{} cannot be used: {error}", .path.display())]
    Io {
        /// Which one.
        path: PathBuf,
        /// Why.
        error: String,
    },
    /// No segment's header can be read, so nothing says whose journal this is.
    #[error("none of the {count} journal files in {} can be read; restore them from a backup, or move them away to begin anew", .dir.display())]
    Unreadable {
        /// The journal's folder.
        dir: PathBuf,
        /// How many there are.
        count: usize,
    },
    /// There is no space even for the first journal file.
    #[error("there is no space for the journal in {}; free some", .dir.display())]
    Full {
        /// The journal's folder.
        dir: PathBuf,
    },
}

/// Who holds a data folder, in words.
pub(crate) fn owner(pid: Option<u32>) -> String {
    pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"))
}

impl OpenError {
    /// The stable code of this error.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            OpenError::Locked { .. } => "store_locked",
            OpenError::Newer { .. } => "store_newer",
            OpenError::Io { .. } => "store_io",
            OpenError::Unreadable { .. } => "store_unreadable",
            OpenError::Full { .. } => "store_full",
        }
    }
}
