//! What a timer does now: a pure decision from the schedule, the time and what was handled.

use std::time::Duration;

use eventyard_event::Timestamp;

use super::Schedule;

/// The most instants that one catching-up fires.
pub const CATCH_UP_MAX: usize = 100;

/// An instant that is looked at later than this has been missed. A running timer looks within milliseconds; this
/// leaves room for a busy machine and a commit that had to wait, and is far below what a clock jumps.
pub const LATE_MAX: Duration = Duration::from_secs(60);

/// What becomes of instants that were missed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CatchUp {
    /// None fires.
    Skip,
    /// The newest fires.
    Latest,
    /// All fire, the [`CATCH_UP_MAX`] newest at most.
    All,
}

/// How far a timer has come, and how it treats what it missed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimerState {
    /// Every instant up to this one has fired or been passed over. Never moves back, whatever the clock does: this
    /// is what makes a second firing impossible.
    handled: Timestamp,
    /// What passed before this passed while nothing ran.
    began_at: Timestamp,
    catch_up: CatchUp,
    catch_up_window: Duration,
}

/// What to do now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing is due. Look again at this time at the latest.
    Wait(Timestamp),
    /// These are due, in order; `through` is handled when they have been committed.
    Fire {
        /// At least one.
        instants: Vec<Timestamp>,
        /// The newest instant that is due.
        through: Timestamp,
    },
    /// Instants have passed and none is to fire; `through` is handled.
    Miss {
        /// The newest of them.
        through: Timestamp,
    },
    /// Nothing will ever be due again.
    Finished,
}

impl TimerState {
    /// A timer that has handled everything up to `handled` and runs since `began_at`.
    #[must_use]
    pub fn new(handled: Timestamp, began_at: Timestamp, catch_up: CatchUp, catch_up_window: Duration) -> TimerState {
        TimerState { handled, began_at, catch_up, catch_up_window }
    }

    /// Everything up to this instant has fired or been passed over.
    #[must_use]
    pub fn handled(&self) -> Timestamp {
        self.handled
    }

    /// Says that everything up to `through` has fired or been passed over.
    pub fn handle(&mut self, through: Timestamp) {
        self.handled = self.handled.max(through);
    }

    /// Says that nothing ran until `now`.
    pub fn begin_again(&mut self, now: Timestamp) {
        self.began_at = self.began_at.max(now);
    }

    /// What to do at `now`.
    ///
    /// Instants that are due together are treated as what a stop missed: one firing for all of them, or as
    /// `catch_up` says. So a clock that jumps ahead makes no burst.
    #[must_use]
    pub fn step(&self, schedule: &Schedule, now: Timestamp) -> Step {
        let Some(next) = schedule.next_after(self.handled) else { return Step::Finished };
        if next > now {
            return Step::Wait(next);
        }
        let count = if self.catch_up == CatchUp::All { CATCH_UP_MAX } else { 1 };
        let due = schedule.newest(self.handled, now, count);
        let through = due.last().copied().unwrap_or(next);
        let instants: Vec<Timestamp> = due.into_iter().filter(|at| self.fires(*at, now)).collect();
        if instants.is_empty() { Step::Miss { through } } else { Step::Fire { instants, through } }
    }

    fn fires(&self, at: Timestamp, now: Timestamp) -> bool {
        let late = now.since(at);
        let missed = at <= self.began_at || late > LATE_MAX;
        !missed || self.catch_up != CatchUp::Skip && late <= self.catch_up_window
    }
}
