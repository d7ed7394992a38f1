//! Segments that are made ahead, so that nobody waits for zeros.
//!
//! Two are kept: the next one, and behind it a reserve that only outcomes may use when the disk is full, so
//! that what is in flight can still be written down. On a real disk a thread of its own makes them; on the
//! simulated one they are made when they are asked for.

use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::segment::{make_segment, segment_name};
use crate::disk::{AnyDisk, AnyFile, Disk, OpenHow};

/// The next segment and the reserve.
const AHEAD: usize = 2;

/// Segments behind the live one that the system may keep in memory, together 256 MiB: what is read again is mostly in
/// them. Of those before, it is asked to keep nothing, so that a broker that writes all day does not fill the memory of
/// the machine with what nobody will read. (Where memory is the host's, pages that were never used before are slow, too:
/// writing zeros into such took a fifth of the broker's processor time.)
const CACHED: u32 = 4;

/// How long after a refusal for want of space it is tried again. Each try writes until the disk is full, so it is
/// not made all the time.
const TRY_AGAIN: Duration = Duration::from_secs(2);

/// Why there is no segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NoSegment {
    /// No space; it may come.
    Full,
    /// The disk failed.
    Failed(String),
    /// The store is being closed.
    Closed,
}

/// A segment that is ready to be written.
#[derive(Clone)]
pub(crate) struct Prepared {
    pub(crate) number: u32,
    pub(crate) file: AnyFile,
    pub(crate) bytes: usize,
}

struct Inner {
    ready: VecDeque<Prepared>,
    next_number: u32,
    /// How many are to be ready: more at first where that was asked for, [`AHEAD`] once those are taken.
    wanted: usize,
    /// Why the last one could not be made.
    trouble: Option<NoSegment>,
    /// Whether a thread makes them. Until then, who needs one makes it: a start may need one before it has threads.
    threaded: bool,
    closed: bool,
}

/// The segments that are ready. Shared by the owner, who takes, and the thread, which makes.
pub(crate) struct Ahead {
    inner: Mutex<Inner>,
    changed: Condvar,
    disk: AnyDisk,
    folder: PathBuf,
    journal: [u8; 16],
    segment_bytes: usize,
}

impl Ahead {
    pub(crate) fn new(
        disk: AnyDisk,
        folder: PathBuf,
        journal: [u8; 16],
        segment_bytes: usize,
        extra: usize,
        (ready, next_number): (VecDeque<Prepared>, u32),
    ) -> Arc<Ahead> {
        let inner = Inner { ready, next_number, wanted: AHEAD + extra, trouble: None, threaded: false, closed: false };
        Arc::new(Ahead { inner: Mutex::new(inner), changed: Condvar::new(), disk, folder, journal, segment_bytes })
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing in here panics while it holds the lock; were it to, the numbers would still be right.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the next segment. `outcomes` may have the reserve; intake must leave it. Waits while one is being
    /// made.
    pub(crate) fn take(&self, outcomes: bool) -> Result<Prepared, NoSegment> {
        let needed = if outcomes { 1 } else { AHEAD };
        let mut inner = self.lock();
        loop {
            if inner.ready.len() >= needed
                && let Some(next) = inner.ready.pop_front()
            {
                inner.wanted = AHEAD.max(inner.wanted - 1);
                self.changed.notify_all();
                return Ok(next);
            }
            if let Some(trouble) = &inner.trouble {
                return Err(trouble.clone());
            }
            if inner.closed {
                return Err(NoSegment::Closed);
            }
            if inner.threaded {
                inner = self.changed.wait(inner).unwrap_or_else(PoisonError::into_inner);
            } else {
                drop(inner);
                self.make_one();
                inner = self.lock();
            }
        }
    }

    /// Makes one segment where one is wanted, and notes why where that fails. `false` where nothing is left to
    /// be done for now.
    pub(crate) fn make_one(&self) -> bool {
        let number = {
            let inner = self.lock();
            if inner.closed || inner.ready.len() >= inner.wanted {
                return false;
            }
            inner.next_number
        };
        let behind = self.behind(number);
        let made = make_segment(&self.disk, &self.folder, self.journal, number, self.segment_bytes, behind.as_ref());
        let mut inner = self.lock();
        let done = match made {
            Ok(file) => {
                inner.next_number = number.saturating_add(1);
                inner.ready.push_back(Prepared { number, file, bytes: self.segment_bytes });
                inner.trouble = None;
                true
            }
            Err(error) => {
                inner.trouble = Some(no_segment(&error));
                false
            }
        };
        self.changed.notify_all();
        done
    }

    /// The youngest segment that is too old to be kept in memory, once the segment `made` is there. None where the
    /// retention has removed it. Who reads it later reads it from the disk.
    fn behind(&self, made: u32) -> Option<AnyFile> {
        let AnyDisk::Real(_) = &self.disk else { return None };
        let ahead = u32::try_from(AHEAD).unwrap_or(u32::MAX);
        let old = made.saturating_sub(ahead.saturating_add(CACHED));
        self.disk.open(&self.folder.join(segment_name(old)), OpenHow::Read).ok()
    }

    /// Whether the last attempt to make one failed for want of space.
    pub(crate) fn is_full(&self) -> bool {
        self.lock().trouble == Some(NoSegment::Full)
    }

    /// Whether outcomes have taken the reserve and no space has come since: what is left of the live segment is
    /// then theirs too.
    pub(crate) fn reserve_is_gone(&self) -> bool {
        let inner = self.lock();
        inner.ready.is_empty() && inner.trouble == Some(NoSegment::Full)
    }

    /// The numbers and lengths of those that are ready.
    pub(crate) fn bytes(&self) -> u64 {
        self.lock().ready.iter().map(|segment| segment.bytes as u64).sum()
    }

    /// From now on a thread makes them. Said before it is started, so that no two make the same one.
    pub(crate) fn begin_thread(&self) {
        self.lock().threaded = true;
    }

    /// Makes segments until the store is closed; what the thread does.
    pub(crate) fn run(&self) {
        loop {
            while self.make_one() {}
            let inner = self.lock();
            if inner.closed {
                return;
            }
            if inner.trouble.is_some() {
                // Space may come at any time, and nobody tells us.
                drop(self.changed.wait_timeout(inner, TRY_AGAIN));
            } else if inner.ready.len() >= inner.wanted {
                drop(self.changed.wait(inner));
            }
        }
    }

    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }
}

/// What an error of the disk means for making a segment.
fn no_segment(error: &io::Error) -> NoSegment {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => NoSegment::Full,
        _ => NoSegment::Failed(error.to_string()),
    }
}
