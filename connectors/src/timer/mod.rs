//! Time as a source: an event at every instant of a schedule.
//!
//! - [`Schedule`] knows when: it reads every form of schedule and gives the instants, pure and without a clock.
//! - [`TimerState`] decides what to do now, from the instants, the time and what was handled: pure, too.
//! - [`TimerSource`] waits, and makes the events.
//!
//! One instant makes one event with one id, and the position that says so is committed in the same frame: a timer
//! cannot fire twice for an instant, whatever crashes and however the clock is set. What a clock that was set
//! ahead has fired stays fired: until the time comes round again, such a timer is silent.

mod config;
mod cron;
mod due;
mod schedule;
mod source;

#[cfg(test)]
mod due_tests;
#[cfg(test)]
mod schedule_tests;

pub use config::SPEC;
pub use due::{CATCH_UP_MAX, CatchUp, LATE_MAX, Step, TimerState};
pub use schedule::Schedule;
pub use source::{TimerSource, schedule_of};
