//! The machine's clocks. The only place that reads them; everywhere else the time is a parameter.

use std::sync::Arc;
use std::time::Instant;

use eventyard_event::{Clock, Timestamp};

/// The two clocks that the broker goes by.
#[derive(Clone)]
pub struct Clocks {
    /// What a wall clock on the machine shows. For what people read, and for timers.
    pub wall: Clock,
    /// The wall clock as it stood when the program started, moved on by monotonic time. For retries and leases:
    /// a jump of the wall clock neither delays nor hastens them.
    pub steady: Clock,
}

impl Clocks {
    /// The machine's own.
    #[must_use]
    pub fn machine() -> Clocks {
        let began_at = wall_now();
        let began = Instant::now();
        Clocks { wall: Arc::new(wall_now), steady: Arc::new(move || began_at.plus(began.elapsed())) }
    }

    /// Both driven by tokio's time, from `began_at` on: under paused time, a simulation's clock.
    ///
    /// Must be called within a runtime.
    #[must_use]
    pub fn tokio(began_at: Timestamp) -> Clocks {
        let began = tokio::time::Instant::now();
        let clock: Clock = Arc::new(move || began_at.plus(began.elapsed()));
        Clocks { wall: Arc::clone(&clock), steady: clock }
    }

    /// Wall-clock time.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        (self.wall)()
    }

    /// Steady time; comparable with itself only.
    #[must_use]
    pub fn steady_now(&self) -> Timestamp {
        (self.steady)()
    }
}

/// A clock before 1970 is taken as it is: ids and due times saturate instead of failing.
#[expect(clippy::disallowed_methods, reason = "this is the one place that reads the machine's clock")]
fn wall_now() -> Timestamp {
    Timestamp::from(jiff::Timestamp::now())
}
