//! The shim: what our own binary does when it is called as `eventyard __exec …`.
//!
//! The broker spawns it in a new process group, with the function's environment, folder and pipes already in
//! place. It restricts itself, makes sure that it cannot outlive the broker, and then becomes the command: same
//! process, same pipes. The process that ends is therefore the command itself, and its status is the command's.

use std::ffi::OsString;
use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use rustix::process::{Resource, Rlimit, Signal};

/// The first argument that turns our binary into the shim. It is no command for people.
pub const EXEC_SUBCOMMAND: &str = "__exec";

/// What the shim writes to standard error when it cannot become the command. The broker tells by it, together
/// with the exit status, that no code of the function has run.
const FAILURE_MARK: &str = "eventyard __exec: ";

/// Exit statuses of shells for a program that is not there, and for one that cannot be run.
const EXIT_NOT_FOUND: u8 = 127;
const EXIT_NOT_EXECUTABLE: u8 = 126;

/// Becomes a command. `arguments` are those that follow [`EXEC_SUBCOMMAND`]: the broker's process id, the
/// program, and its arguments. To be called first thing in `main`, before any thread is started.
///
/// Returns only where that failed: 127 where there is no such program, 126 for anything else.
pub fn exec_shim(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let error = become_command(arguments);
    let status = if error.kind() == io::ErrorKind::NotFound { EXIT_NOT_FOUND } else { EXIT_NOT_EXECUTABLE };
    let message = match error.raw_os_error() {
        Some(errno) => format!("{FAILURE_MARK}os error {errno}\n"),
        None => format!("{FAILURE_MARK}{error}\n"),
    };
    // Nobody is left to hear of a failure to say this, and the status says the rest.
    let _ = io::stderr().write_all(message.as_bytes());
    ExitCode::from(status)
}

/// The arguments for [`exec_shim`] with the subcommand before them.
pub(crate) fn shim_arguments(command: &[String]) -> impl Iterator<Item = OsString> + '_ {
    let broker = std::process::id().to_string();
    [OsString::from(EXEC_SUBCOMMAND), OsString::from(broker)].into_iter().chain(command.iter().map(OsString::from))
}

/// Why the shim could not become the command, where that is what a process's end means.
pub(crate) fn exec_failure(status: i32, stderr: &str) -> Option<io::Error> {
    if status != i32::from(EXIT_NOT_FOUND) && status != i32::from(EXIT_NOT_EXECUTABLE) {
        return None;
    }
    let problem = stderr.strip_prefix(FAILURE_MARK)?.trim_end();
    let errno = problem.strip_prefix("os error ").and_then(|errno| errno.parse().ok());
    Some(errno.map_or_else(|| io::Error::other(problem.to_owned()), io::Error::from_raw_os_error))
}

/// Only ever returns an error: otherwise there is no one left to return to.
fn become_command(arguments: impl IntoIterator<Item = OsString>) -> io::Error {
    let mut arguments = arguments.into_iter();
    let broker = arguments.next().and_then(|pid| pid.to_str()?.parse::<u32>().ok());
    let (Some(broker), Some(program)) = (broker, arguments.next()) else {
        return io::Error::new(io::ErrorKind::InvalidInput, "usage: eventyard __exec BROKER_PID PROGRAM [ARGUMENT…]");
    };
    if let Err(error) = restrict(broker) {
        return error;
    }
    Command::new(program).args(arguments).exec()
}

/// Gives up what a function must not have, and ties this process's life to the broker's.
fn restrict(broker: u32) -> io::Result<()> {
    // No set-user-id program gives the function more rights than the broker has.
    rustix::thread::set_no_new_privs(true)?;
    // A crash leaves no core file, which could hold secrets and fill the disk. An attempt record names the signal.
    rustix::process::setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    // A broker that died before the line above has not sent the signal.
    if std::os::unix::process::parent_id() != broker {
        return Err(io::Error::other("the broker is gone"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_to_exec_is_told_from_the_functions_own_exit() {
        let missing = exec_failure(127, "eventyard __exec: os error 2\n").unwrap();
        assert_eq!(missing.kind(), io::ErrorKind::NotFound);
        assert!(exec_failure(126, "eventyard __exec: the broker is gone\n").is_some());
        assert!(exec_failure(127, "sh: 1: frobnicate: not found\n").is_none());
        assert!(exec_failure(1, "eventyard __exec: os error 2\n").is_none());
    }

    #[test]
    fn arguments_that_make_no_sense_are_an_exit_status() {
        for arguments in [vec![], vec!["1"], vec!["x", "true"], vec!["-1", "true"]] {
            let status = exec_shim(arguments.iter().map(OsString::from));
            assert_eq!(format!("{status:?}"), format!("{:?}", ExitCode::from(126)), "{arguments:?}");
        }
    }
}
