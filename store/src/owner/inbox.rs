//! What stands in line for the owner, because it could not be gathered by who brought it. Two lines: outcomes and
//! begins go first and have room of their own, so that what is in flight can always be written down, however much
//! comes in.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use super::{CommitWork, OutcomeWork, Work};
use crate::StoreError;

/// Commits that wait at most; beyond it callers are told to come again, which is what a source can act on.
const INTAKE_COUNT_MAX: usize = 65_536;
/// Bytes of commits that wait at most; or one commit, however large.
const INTAKE_BYTES_MAX: usize = 128 * 1024 * 1024;
/// Outcomes that wait at most. Each belongs to a lease, and there are far fewer leases.
const OUTCOME_COUNT_MAX: usize = 262_144;

/// More than can ever stand in line.
const CLOSED: usize = 1 << 32;

#[derive(Default)]
struct Lines {
    outcomes: VecDeque<OutcomeWork>,
    intake: VecDeque<Box<CommitWork>>,
    intake_bytes: usize,
    /// Something was gathered without standing in line, and no batch was taken to the disk since.
    gathered: bool,
    /// The owner waits to be woken.
    asleep: bool,
    closed: Option<StoreError>,
}

/// The two lines.
#[derive(Default)]
pub(crate) struct Inbox {
    lines: Mutex<Lines>,
    /// How many stand in them or were called and are not gathered yet, and [`CLOSED`] where they are closed.
    standing: AtomicUsize,
    /// Wakes an owner that is a thread.
    thread: Condvar,
    /// Wakes an owner that is a tokio task.
    task: tokio::sync::Notify,
}

impl Lines {
    fn is_wanted(&self) -> bool {
        self.gathered || !self.outcomes.is_empty() || !self.intake.is_empty()
    }
}

impl Inbox {
    fn lock(&self) -> MutexGuard<'_, Lines> {
        // Nothing in here panics while it holds the lock.
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake(&self, mut lines: MutexGuard<'_, Lines>) {
        if lines.asleep {
            lines.asleep = false;
            drop(lines);
            self.thread.notify_one();
            self.task.notify_one();
        }
    }

    pub(crate) fn push_commit(&self, work: Box<CommitWork>) -> Result<(), StoreError> {
        let mut lines = self.lock();
        if let Some(error) = &lines.closed {
            return Err(error.clone());
        }
        let bytes = work.body.len();
        let crowded = lines.intake_bytes > 0 && lines.intake_bytes + bytes > INTAKE_BYTES_MAX;
        if crowded || lines.intake.len() >= INTAKE_COUNT_MAX {
            return Err(StoreError::Busy);
        }
        lines.intake_bytes += bytes;
        lines.intake.push_back(work);
        self.standing.fetch_add(1, Ordering::Release);
        self.wake(lines);
        Ok(())
    }

    /// All of them or none.
    pub(crate) fn push_outcomes(&self, works: Vec<OutcomeWork>) -> Result<(), StoreError> {
        let mut lines = self.lock();
        if let Some(error) = &lines.closed {
            return Err(error.clone());
        }
        if lines.outcomes.len() + works.len() > OUTCOME_COUNT_MAX {
            return Err(StoreError::Busy);
        }
        self.standing.fetch_add(works.len(), Ordering::Release);
        lines.outcomes.extend(works);
        self.wake(lines);
        Ok(())
    }

    /// Takes what waits, outcomes first, up to a number of works and of bytes (or one work, however large).
    /// [`Inbox::leave`] is to be called for it.
    pub(crate) fn drain(&self, into: &mut VecDeque<Work>, count_max: usize, bytes_max: usize) {
        let mut lines = self.lock();
        let mut bytes: usize = into.iter().map(Work::body_bytes).sum();
        while into.len() < count_max && bytes < bytes_max {
            let work = match lines.outcomes.pop_front() {
                Some(work) => Work::Outcome(work),
                None => match lines.intake.pop_front() {
                    Some(work) => {
                        lines.intake_bytes -= work.body.len();
                        Work::Commit(work)
                    }
                    None => return,
                },
            };
            bytes += work.body_bytes();
            into.push_back(work);
        }
    }

    /// One comes that did not stand in line, and counts as if it had.
    pub(crate) fn enter(&self) {
        self.standing.fetch_add(1, Ordering::Release);
    }

    /// So many that were taken out of the lines are gathered, or refused.
    pub(crate) fn leave(&self, count: usize) {
        self.standing.fetch_sub(count, Ordering::Release);
    }

    /// Whether nobody stands in line, so that nobody is passed by, and the lines are not closed.
    pub(crate) fn is_free(&self) -> bool {
        self.standing.load(Ordering::Acquire) == 0
    }

    /// Whether somebody waits for the owner at this moment, in line or gathered.
    pub(crate) fn is_wanted(&self) -> bool {
        self.lock().is_wanted()
    }

    /// Tells the owner of what was gathered without standing in line.
    pub(crate) fn note_gathered(&self) {
        let mut lines = self.lock();
        lines.gathered = true;
        self.wake(lines);
    }

    /// What was gathered is on its way to the disk.
    pub(crate) fn note_taken(&self) {
        self.lock().gathered = false;
    }

    /// Waits until there is work, or until the inbox is closed and empty (`false`). For a thread.
    pub(crate) fn wait(&self) -> bool {
        let mut lines = self.lock();
        loop {
            if lines.is_wanted() {
                return true;
            }
            if lines.closed.is_some() {
                return false;
            }
            lines.asleep = true;
            lines = self.thread.wait(lines).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// As [`Inbox::wait`], for a task. Cancel safe.
    pub(crate) async fn wait_async(&self) -> bool {
        loop {
            {
                let mut lines = self.lock();
                if lines.is_wanted() {
                    return true;
                }
                if lines.closed.is_some() {
                    return false;
                }
                lines.asleep = true;
            }
            self.task.notified().await;
        }
    }

    /// Nothing more is taken in; what waits already is still to be done.
    pub(crate) fn close(&self, error: StoreError) {
        let mut lines = self.lock();
        if lines.closed.is_none() {
            lines.closed = Some(error);
            self.standing.fetch_add(CLOSED, Ordering::Release);
        }
        lines.asleep = true;
        self.wake(lines);
    }
}
