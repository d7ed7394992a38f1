//! `retry = { … }` of a rule, of a target and of `[defaults]`.

use std::time::Duration;

use crate::codes;
use crate::diagnostic::Diagnostic;
use crate::reader::Table;
use crate::target::RetryOverrides;

/// The most attempts. At a pause of a second they last a day, and each is a record that a dead letter keeps.
pub const ATTEMPTS_MAX: u32 = 100_000;

/// The longest age of a delivery; longer than any retention people ask for.
pub const MAX_AGE_MAX: Duration = Duration::from_secs(365 * 24 * 3600);

/// The shortest pause. Less would be a busy loop.
pub const BACKOFF_MIN: Duration = Duration::from_millis(1);

/// The longest pause.
pub const BACKOFF_MAX: Duration = Duration::from_secs(24 * 3600);

/// Reads the key `retry` of a table; what it does not say is left open.
#[must_use]
pub fn read_retry(table: &Table<'_>) -> RetryOverrides {
    let Some(retry) = table.table("retry", "retry") else { return RetryOverrides::default() };
    let read = RetryOverrides {
        attempts: retry.integer_u32("attempts", 1..=ATTEMPTS_MAX),
        max_age: retry.duration("max_age", Duration::from_secs(1)..=MAX_AGE_MAX),
        backoff: retry.duration("backoff", BACKOFF_MIN..=BACKOFF_MAX),
        backoff_max: retry.duration("backoff_max", BACKOFF_MIN..=BACKOFF_MAX),
        jitter: retry.float("jitter", 0.0..=1.0),
    };
    if let (Some(least), Some(most)) = (read.backoff, read.backoff_max)
        && most < least
    {
        retry.reading().push(
            Diagnostic::error_at(
                codes::BAD_RETRY,
                &retry.place_of("backoff_max"),
                "`backoff_max` is shorter than `backoff`",
            )
            .with_label("the longest pause")
            .with_related(&retry.place_of("backoff"), "the first pause")
            .with_help("pauses double from backoff up to backoff_max; make it at least as long"),
        );
    }
    retry.finish();
    read
}
