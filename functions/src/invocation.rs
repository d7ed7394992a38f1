//! One call of a function, and how it ended.

use std::borrow::Cow;
use std::io;
use std::time::Duration;

use bytes::Bytes;
use eventyard_event::Name;

/// How much of the end of what a function wrote to its standard error is kept with the outcome. Enough for a
/// stack trace; it is stored with each attempt.
pub const STDERR_TAIL_BYTES_MAX: usize = 4096;

/// How much of that stands in an error's text, which goes into logs, alerts and tables.
const STDERR_SHOWN_CHARS_MAX: usize = 512;

/// One call of a function.
#[derive(Clone, Debug)]
pub struct Invocation {
    /// The delivery's id: the same for each attempt, so that a function can recognise a repeated one.
    pub id: String,
    /// Which attempt this is; the first is 1.
    pub attempt: u32,
    /// The function's name.
    pub function: Name,
    /// What the function is given: the target's `input`, already made.
    pub payload: Bytes,
    /// The media type of `payload`.
    pub content_type: String,
    /// The longest it may run. A function's own `timeout` holds too, whichever is shorter.
    pub timeout: Duration,
    /// Facts of this event for the process environment, with names that begin `EVENTYARD_`.
    pub environment: Vec<(String, String)>,
    /// What belongs to `payload` where the function is given an HTTP request: `traceparent`, and the event's
    /// attributes (`ce-…`) where `payload` is the event's data alone. Names are lower case.
    pub headers: Vec<(String, String)>,
}

/// A call that ended well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvocationResult {
    /// What the function answered.
    pub answer: Bytes,
    /// The function answered more than the limit (`output_truncated`); `answer` is its beginning.
    pub truncated: bool,
    /// The end of what it wrote to standard error, at most [`STDERR_TAIL_BYTES_MAX`] bytes, made printable.
    pub stderr_tail: String,
    /// From the start of the code to its end.
    pub took: Duration,
}

/// A call that did not end well.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InvocationError {
    /// It ran longer than it may, and was ended.
    #[error("the function ran longer than its time-out of {timeout:?} and was stopped{}", ends_with(.stderr_tail))]
    Timeout {
        /// How long it may run.
        timeout: Duration,
        /// The end of its standard error.
        stderr_tail: String,
    },
    /// It ended by itself with an exit status other than 0.
    #[error("the function ended with exit status {status}{}", ends_with(.stderr_tail))]
    Exit {
        /// 1 to 255. 126 and 127 are what shells say for a program that cannot be run or is not there.
        status: i32,
        /// The end of its standard error.
        stderr_tail: String,
    },
    /// A signal ended it: its own crash, or somebody's kill.
    #[error("the function was ended by the signal {name}{}", ends_with(.stderr_tail))]
    Signal {
        /// Such as `SIGSEGV`.
        name: String,
        /// The end of its standard error.
        stderr_tail: String,
    },
    /// The command could not be started, so none of its code has run.
    #[error("the command `{command}` could not be started: {problem}{}", advice(.problem))]
    SpawnFailed {
        /// The program, as the project names it.
        command: String,
        /// Why.
        #[source]
        problem: io::Error,
    },
    /// It wanted more memory, or more of something else that is limited, than it may have.
    #[error("the function wanted {wanted} and was refused{}", ends_with(.stderr_tail))]
    Memory {
        /// What it wanted and what it may have, as words.
        wanted: String,
        /// The end of its standard error.
        stderr_tail: String,
    },
    /// WebAssembly code did what it must not, or gave up.
    #[error("the function trapped: {trap}{}{}", at(.place), ends_with(.stderr_tail))]
    Trap {
        /// The trap's name, such as `unreachable` or `integer_divide_by_zero`.
        trap: &'static str,
        /// The innermost function that was running, where the module names its functions.
        place: Option<String>,
        /// The end of its standard error.
        stderr_tail: String,
    },
    /// A function that answers like an HTTP server answered with a status that is no success.
    #[error("the function answered {status}{}{}", shows(.answer_head), ends_with(.stderr_tail))]
    Status {
        /// 100 to 999, without 2xx.
        status: u16,
        /// When it asks to be called again (`Retry-After`), where that is worth heeding.
        retry_after: Option<Duration>,
        /// The beginning of the answer.
        answer_head: String,
        /// The end of its standard error.
        stderr_tail: String,
    },
    /// A function that answers like an HTTP server ended without a whole answer.
    #[error("the function gave no answer: {problem}{}", ends_with(.stderr_tail))]
    NoAnswer {
        /// What was missing.
        problem: String,
        /// The end of its standard error.
        stderr_tail: String,
    },
    /// None of its code has run, because too much other code does.
    #[error("the function was not called: {calls_max} calls were in progress for {waited:?}")]
    Busy {
        /// How long the call waited for its turn.
        waited: Duration,
        /// How many calls there may be at once.
        calls_max: usize,
    },
    /// The runtime itself failed; a mistake of the broker's, or a machine without memory.
    #[error("the function could not be run: {problem}{}", ends_with(.stderr_tail))]
    Runtime {
        /// What the runtime says.
        problem: String,
        /// The end of its standard error.
        stderr_tail: String,
    },
    /// It ended, and the system does not say how.
    #[error("how the function ended cannot be learned: {problem}")]
    StatusUnknown {
        /// Why.
        #[source]
        problem: io::Error,
    },
}

impl InvocationError {
    /// The stable code of this error: `function_timeout`, `exit_3`, `signal_sigkill`, `http_503`, `spawn_failed`.
    #[must_use]
    pub fn code(&self) -> Cow<'static, str> {
        match self {
            InvocationError::Timeout { .. } => "function_timeout".into(),
            InvocationError::Exit { status, .. } => format!("exit_{status}").into(),
            InvocationError::Signal { name, .. } => format!("signal_{}", name.to_ascii_lowercase()).into(),
            InvocationError::SpawnFailed { .. } => "spawn_failed".into(),
            InvocationError::Memory { .. } => "function_memory".into(),
            InvocationError::Trap { .. } => "function_trap".into(),
            InvocationError::Status { status, .. } => format!("http_{status}").into(),
            InvocationError::NoAnswer { .. } => "function_no_answer".into(),
            InvocationError::Busy { .. } => "function_busy".into(),
            InvocationError::Runtime { .. } => "function_runtime".into(),
            InvocationError::StatusUnknown { .. } => "status_unknown".into(),
        }
    }

    /// Whether the same call may end well another time. A command that is not there may be there later; one
    /// that the system cannot even be asked for may not. Statuses mean what they mean of an HTTP target.
    #[must_use]
    pub fn retryable(&self) -> bool {
        match self {
            InvocationError::SpawnFailed { problem, .. } => {
                !matches!(problem.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::ArgumentListTooLong)
            }
            InvocationError::Status { status, .. } => matches!(status, 408 | 425 | 429 | 500..=599),
            _ => true,
        }
    }

    /// How long the function asks to be left alone.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            InvocationError::Status { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// The end of what the function wrote to standard error; empty where it never ran.
    #[must_use]
    pub fn stderr_tail(&self) -> &str {
        match self {
            InvocationError::Timeout { stderr_tail, .. }
            | InvocationError::Exit { stderr_tail, .. }
            | InvocationError::Signal { stderr_tail, .. }
            | InvocationError::Memory { stderr_tail, .. }
            | InvocationError::Trap { stderr_tail, .. }
            | InvocationError::Status { stderr_tail, .. }
            | InvocationError::NoAnswer { stderr_tail, .. }
            | InvocationError::Runtime { stderr_tail, .. } => stderr_tail,
            InvocationError::SpawnFailed { .. }
            | InvocationError::StatusUnknown { .. }
            | InvocationError::Busy { .. } => "",
        }
    }
}

/// The end of a sentence that shows the end of standard error.
fn ends_with(stderr_tail: &str) -> String {
    let tail = stderr_tail.trim();
    if tail.is_empty() {
        return String::new();
    }
    let hidden = tail.chars().count().saturating_sub(STDERR_SHOWN_CHARS_MAX);
    let shown: String = tail.chars().skip(hidden).collect();
    format!("; its standard error ends with: {}{shown}", if hidden > 0 { "…" } else { "" })
}

/// Where it happened, where that is known.
fn at(place: &Option<String>) -> String {
    place.as_ref().map(|place| format!(" in `{place}`")).unwrap_or_default()
}

/// The beginning of an answer, where there is one.
fn shows(answer_head: &str) -> String {
    let head = answer_head.trim();
    if head.is_empty() { String::new() } else { format!(": {head}") }
}

/// What to do about a command that could not be started.
fn advice(problem: &io::Error) -> &'static str {
    match problem.kind() {
        io::ErrorKind::NotFound => "; the program, or the interpreter that its first line names, is not there",
        io::ErrorKind::PermissionDenied => "; make it executable with `chmod +x`",
        io::ErrorKind::ExecutableFileBusy => "; somebody is still writing the file",
        io::ErrorKind::ArgumentListTooLong => "; its arguments and environment are too long",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_words() {
        let exit = InvocationError::Exit { status: 3, stderr_tail: String::new() };
        let signal = InvocationError::Signal { name: "SIGKILL".into(), stderr_tail: String::new() };
        assert_eq!((exit.code(), signal.code()), ("exit_3".into(), "signal_sigkill".into()));
        assert_eq!(exit.to_string(), "the function ended with exit status 3");
    }

    #[test]
    fn the_text_shows_the_end_of_standard_error_and_not_all_of_it() {
        let stderr_tail = format!("{}the reason\n", "x".repeat(4000));
        let text = InvocationError::Exit { status: 1, stderr_tail }.to_string();
        assert!(text.ends_with("the reason") && text.contains('…') && text.len() < 700, "{text}");
    }
}
