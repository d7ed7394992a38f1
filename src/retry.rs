//! What an outcome means for a delivery: a pure decision, without a clock, a store or a random number of its own.

use std::time::Duration;

use eventyard_event::Timestamp;
use eventyard_store::{AttemptOutcome, Reason};

/// How often and how far apart a target is tried. [`RetryPolicy::delay`] has the arithmetic.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RetryPolicy {
    /// The most attempts, the first one included; at least 1.
    pub attempts: u32,
    /// Given up once this much time has passed since the budget began (commit, or replay).
    pub max_age: Duration,
    /// The pause after the first failure; doubles with each further one.
    pub backoff: Duration,
    /// The longest pause.
    pub backoff_max: Duration,
    /// The share of a pause by which it is moved at random, to either side: 0.2 is 20 %.
    pub jitter: f64,
}

/// The longest that `Retry-After` is honoured.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(3600);

impl RetryPolicy {
    /// Functions: 3 attempts, 60 s and 120 s apart, within 6 h.
    pub const FUNCTION: RetryPolicy = RetryPolicy {
        attempts: 3,
        max_age: Duration::from_secs(6 * 3600),
        backoff: Duration::from_secs(60),
        backoff_max: Duration::from_secs(120),
        jitter: 0.2,
    };

    /// Everything that is called over a network: 185 attempts over 24 h, 1 s doubling to 512 s.
    pub const HTTP: RetryPolicy = RetryPolicy {
        attempts: 185,
        max_age: Duration::from_secs(24 * 3600),
        backoff: Duration::from_secs(1),
        backoff_max: Duration::from_secs(512),
        jitter: 0.2,
    };

    /// The pause after the `failures`-th failure (from 1): `backoff · 2^(failures-1)`, at most `backoff_max`,
    /// moved by `jitter`. `chance` is a random number in `0.0..1.0`.
    #[must_use]
    pub fn delay(&self, failures: u32, chance: f64) -> Duration {
        // 2^40 s is 34,000 years: beyond it only `backoff_max` speaks.
        let doublings = failures.saturating_sub(1).min(40);
        let plain = self.backoff.saturating_mul(2_u32.saturating_pow(doublings.min(31))).min(self.backoff_max);
        let factor = 1.0 + self.jitter * (2.0 * chance.clamp(0.0, 1.0) - 1.0);
        Duration::try_from_secs_f64(plain.as_secs_f64() * factor.max(0.0)).unwrap_or(self.backoff_max)
    }
}

/// What was seen of one attempt.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// The target has confirmed.
    Succeeded,
    /// It failed, and trying again may help.
    Retryable {
        /// Why.
        reason: Reason,
        /// What the target asked for.
        retry_after: Option<Duration>,
    },
    /// It failed, and trying again cannot help.
    Permanent {
        /// Why.
        reason: Reason,
    },
    /// Our own stop cut it off.
    Interrupted,
}

impl Outcome {
    /// What is kept of it with an attempt: how it ended, and why where the target failed.
    #[must_use]
    pub fn kept(&self) -> (AttemptOutcome, Option<&Reason>) {
        match self {
            Outcome::Succeeded => (AttemptOutcome::Succeeded, None),
            Outcome::Retryable { reason, .. } => (AttemptOutcome::Retryable, Some(reason)),
            Outcome::Permanent { reason } => (AttemptOutcome::Permanent, Some(reason)),
            Outcome::Interrupted => (AttemptOutcome::Interrupted, None),
        }
    }
}

/// How much of the budget is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Attempts that counted, the present one not included.
    pub attempts: u32,
    /// When the budget began.
    pub began_at: Timestamp,
}

/// What becomes of the delivery.
#[derive(Clone, Debug, PartialEq)]
pub enum Decision {
    /// It has ended well.
    Delivered,
    /// It comes back.
    Retry {
        /// When.
        at: Timestamp,
        /// Whether the attempt used up one of the budget.
        counted: bool,
    },
    /// It is given up.
    GiveUp {
        /// Why.
        reason: Reason,
    },
}

/// Decides. `now` is the steady clock's time, `chance` a random number in `0.0..1.0`.
///
/// A retry that would fall after `max_age` is not waited for: the delivery is given up at once, so that people
/// hear of it while it still matters.
#[must_use]
pub fn decide(policy: &RetryPolicy, budget: Budget, outcome: Outcome, now: Timestamp, chance: f64) -> Decision {
    match outcome {
        Outcome::Succeeded => Decision::Delivered,
        Outcome::Permanent { reason } => Decision::GiveUp { reason },
        Outcome::Interrupted => Decision::Retry { at: now.plus(policy.delay(1, chance)), counted: false },
        Outcome::Retryable { reason, retry_after } => {
            let failures = budget.attempts.saturating_add(1);
            if failures >= policy.attempts {
                let message =
                    format!("{failures} of {} attempts failed; the last: {}", policy.attempts, reason.message);
                return Decision::GiveUp { reason: Reason { code: reason.code, message } };
            }
            let asked_for = retry_after.unwrap_or_default().min(RETRY_AFTER_MAX);
            let at = now.plus(policy.delay(failures, chance).max(asked_for));
            if at.since(budget.began_at) > policy.max_age {
                let message = format!("the next attempt would come after max_age; the last: {}", reason.message);
                return Decision::GiveUp { reason: Reason { code: reason.code, message } };
            }
            Decision::Retry { at, counted: true }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_000_000_000);

    fn failed(retry_after: Option<Duration>) -> Outcome {
        Outcome::Retryable { reason: Reason { code: "http_503".into(), message: "busy".into() }, retry_after }
    }

    fn secs(s: u64) -> Duration {
        Duration::from_secs(s)
    }

    #[test]
    fn functions_are_tried_three_times_60_and_120_seconds_apart() {
        let policy = RetryPolicy { jitter: 0.0, ..RetryPolicy::FUNCTION };
        let at = |attempts| decide(&policy, Budget { attempts, began_at: NOW }, failed(None), NOW, 0.5);
        assert_eq!(at(0), Decision::Retry { at: NOW.plus(secs(60)), counted: true });
        assert_eq!(at(1), Decision::Retry { at: NOW.plus(secs(120)), counted: true });
        assert!(matches!(at(2), Decision::GiveUp { .. }));
    }

    #[test]
    fn http_doubles_from_1_to_512_seconds_and_its_attempts_last_for_24_hours() {
        let policy = RetryPolicy { jitter: 0.0, ..RetryPolicy::HTTP };
        let delays: Vec<u64> = (1..=11).map(|n| policy.delay(n, 0.5).as_secs()).collect();
        assert_eq!(delays, [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 512]);
        let all: u64 = (1..185).map(|n| policy.delay(n, 0.5).as_secs()).sum();
        assert!(all >= policy.max_age.as_secs(), "{all} s");
    }

    #[test]
    fn retry_after_lengthens_a_pause_up_to_an_hour() {
        let policy = RetryPolicy { jitter: 0.0, ..RetryPolicy::HTTP };
        let budget = Budget { attempts: 0, began_at: NOW };
        let at = |asked| decide(&policy, budget, failed(Some(asked)), NOW, 0.5);
        assert_eq!(at(secs(7)), Decision::Retry { at: NOW.plus(secs(7)), counted: true });
        assert_eq!(at(secs(999_999_999)), Decision::Retry { at: NOW.plus(secs(3600)), counted: true });
        assert_eq!(at(secs(0)), Decision::Retry { at: NOW.plus(secs(1)), counted: true });
    }

    #[test]
    fn a_permanent_failure_is_given_up_at_once_and_an_interruption_costs_nothing() {
        let reason = Reason { code: "http_404".into(), message: "gone".into() };
        let budget = Budget { attempts: 2, began_at: NOW };
        let given_up = decide(&RetryPolicy::HTTP, budget, Outcome::Permanent { reason: reason.clone() }, NOW, 0.5);
        assert_eq!(given_up, Decision::GiveUp { reason });
        let again = decide(&RetryPolicy::FUNCTION, budget, Outcome::Interrupted, NOW, 0.5);
        assert_eq!(again, Decision::Retry { at: NOW.plus(secs(60)), counted: false });
    }

    proptest! {
        #[test]
        fn a_retry_lies_ahead_within_its_bounds(
            attempts in 1_u32..1000, used in 0_u32..1000, backoff in 1_u64..10_000_000, max in 1_u64..10_000_000,
            jitter in 0.0_f64..=1.0, chance in 0.0_f64..1.0, age in 0_u64..1_000_000_000, asked in prop::option::of(0_u64..u64::MAX),
        ) {
            let policy = RetryPolicy {
                attempts,
                max_age: Duration::from_millis(500_000_000),
                backoff: Duration::from_millis(backoff),
                backoff_max: Duration::from_millis(max),
                jitter,
            };
            let began_at = NOW.minus(Duration::from_millis(age));
            let outcome = failed(asked.map(Duration::from_millis));
            match decide(&policy, Budget { attempts: used, began_at }, outcome, NOW, chance) {
                Decision::Delivered => prop_assert!(false, "a failure is no success"),
                Decision::Retry { at, counted } => {
                    prop_assert!(counted && at >= NOW && used + 1 < attempts);
                    prop_assert!(at.since(began_at) <= policy.max_age);
                    let longest = policy.backoff_max.mul_f64(1.0 + jitter).max(RETRY_AFTER_MAX);
                    prop_assert!(at.since(NOW) <= longest);
                }
                Decision::GiveUp { .. } => {
                    let tired = used + 1 >= attempts;
                    let late = Duration::from_millis(age) + policy.backoff_max.mul_f64(2.0).max(RETRY_AFTER_MAX) > policy.max_age;
                    prop_assert!(tired || late);
                }
            }
        }
    }
}
