//! Logs: sentences with fields, on standard error; text where a terminal reads them, else one line of JSON each.
//!
//! Standard output belongs to what a command was asked for. A log line is a full sentence plus fields; ERROR
//! means that data was lost or that a person is needed, WARN that something will be tried again or was refused,
//! INFO that something began or ended.

use std::io::{self, IsTerminal as _};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::{SubscriberInitExt as _, TryInitError};

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Text on a terminal, JSON otherwise.
    Automatic,
    /// For people.
    Text,
    /// For programs: one object a line.
    Json,
}

/// Why logging could not begin.
#[derive(Debug, thiserror::Error)]
pub enum LogsError {
    /// The filter cannot be read.
    #[error("the log filter `{filter}` cannot be read; write a level (warn, info, debug) or MODULE=LEVEL, with commas")]
    Filter {
        /// What was given.
        filter: String,
        /// Why it cannot be read.
        source: ParseError,
    },
    /// There is a logger already; a program has one.
    #[error("logging has begun already")]
    Begun(#[source] TryInitError),
}

/// Libraries that say more at their info level than the broker's reader wants to know.
const QUIET: &str = "sled=warn,hyper=warn,hyper_util=warn,reqwest=warn,rustls=warn,notify=warn";

/// Begins logging for the whole process.
///
/// `filter` is a level (`info`) or a list such as `warn,eventyard::dispatch=debug`; the noise of libraries below
/// warnings is left out unless the list names them.
///
/// # Errors
/// [`LogsError`] where the filter cannot be read, or where logging has begun already.
pub fn begin(format: LogFormat, filter: &str) -> Result<(), LogsError> {
    let filter = EnvFilter::try_new(format!("{QUIET},{filter}"))
        .map_err(|source| LogsError::Filter { filter: filter.to_owned(), source })?;
    let terminal = io::stderr().is_terminal();
    let text = match format {
        LogFormat::Automatic => terminal,
        LogFormat::Text => true,
        LogFormat::Json => false,
    };
    let lines = tracing_subscriber::registry().with(filter);
    if text {
        let forbidden = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let layer = tracing_subscriber::fmt::layer()
            .with_writer(io::stderr)
            .with_ansi(terminal && !forbidden)
            .with_target(false);
        lines.with(layer).try_init().map_err(LogsError::Begun)
    } else {
        let layer = tracing_subscriber::fmt::layer()
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .with_writer(io::stderr);
        lines.with(layer).try_init().map_err(LogsError::Begun)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_that_cannot_be_read_is_named() {
        let error = begin(LogFormat::Json, "eventyard=loud").unwrap_err();
        assert!(matches!(&error, LogsError::Filter { filter, .. } if filter == "eventyard=loud"), "{error}");
    }
}
