//! `runtime = "command"`: one process for each call.
//!
//! The process gets the payload on its standard input, and answers on its standard output. It may ignore its
//! input, close it, or answer without reading all of it: only its exit status decides. It runs in the project's
//! folder, in a process group of its own, with an environment that is made for it and inherits nothing but
//! [`INHERITED`].
//!
//! A call is over when the process has ended, whoever else holds its pipes: what is in them is read for at most
//! [`DRAIN_TIME`], and then whatever is left of the group is killed. One that runs too long is asked to end
//! (SIGTERM to the group), and killed (SIGKILL to the group) after a grace time.
//!
//! Two limits of this, both of what the system offers without unsafe code. If the broker itself is killed
//! (SIGKILL), each command dies with it, but what a command had started in turn lives on; a stop that the broker
//! knows of leaves nothing. And every file that the broker opens is closed in the process, but one that the
//! broker was itself started with, by somebody who did not close it, is not.
//!
//! Not here: a bound on how many processes run at once. Each target's `concurrency` is that bound.

mod group;
mod orphans;
mod spawner;
mod stream;

use std::ffi::OsString;
use std::io;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::pin::pin;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use eventyard_event::Name;
use rustix::process::Signal;
use tokio::time::{Instant, timeout};

use self::group::Group;
pub use self::orphans::adopt_orphans;
use crate::output::{Answer, Tail};
use crate::shim::{exec_failure, shim_arguments};
use crate::{Executor, Invocation, InvocationError, InvocationResult, STDERR_TAIL_BYTES_MAX};

/// What a process inherits from the broker's environment. Everything else may hold the broker's secrets.
pub const INHERITED: [&str; 5] = ["PATH", "HOME", "LANG", "TZ", "TMPDIR"];

/// Where programs are looked for if the broker has no `PATH` itself.
const PATH_DEFAULT: &str = "/usr/local/bin:/usr/bin:/bin";

/// How long a process that has been asked to end may take before it is killed.
pub const TERM_GRACE: Duration = Duration::from_secs(2);

/// How much of an answer is kept, unless a configuration says otherwise: as much as an event may have.
pub const OUTPUT_BYTES_MAX: usize = 1024 * 1024;

/// How long after the end of a process its pipes are still read, if somebody else holds them open. What the
/// process itself wrote is in them by then, and is read at once.
const DRAIN_TIME: Duration = Duration::from_millis(250);

/// The variable by which the processes of one call are recognised, whatever group or session they move to.
const CALL_VARIABLE: &str = "EVENTYARD_CALL";

/// How one command is run. The fields are `[function.NAME]`'s.
#[derive(Clone, Debug)]
pub struct CommandConfig {
    /// The program and its arguments. A name without `/` is looked up in `PATH`, a relative path starts at
    /// `folder`. No shell is involved.
    pub command: Vec<String>,
    /// The project folder, as an absolute path; the process starts in it.
    pub folder: PathBuf,
    /// Variables of the function's own. They may replace the inherited ones, and none of those that the broker
    /// sets for each call, which begin `EVENTYARD_`.
    pub environment: Vec<(String, String)>,
    /// The longest that one call may run.
    pub timeout: Duration,
    /// From the request to end, after `timeout`, to the kill.
    pub term_grace: Duration,
    /// The longest answer; what comes after is read and dropped, and the result says so.
    pub output_bytes_max: usize,
}

impl CommandConfig {
    /// A configuration that says only what must be said.
    #[must_use]
    pub fn new(command: Vec<String>, folder: PathBuf, timeout: Duration) -> CommandConfig {
        let (term_grace, output_bytes_max) = (TERM_GRACE, OUTPUT_BYTES_MAX);
        CommandConfig { command, folder, environment: Vec::new(), timeout, term_grace, output_bytes_max }
    }
}

/// Runs a command for each call. It keeps nothing between calls.
#[derive(Debug)]
pub struct CommandExecutor {
    name: Name,
    config: CommandConfig,
    shim: PathBuf,
    inherited: Vec<(&'static str, OsString)>,
}

impl CommandExecutor {
    /// An executor of the function `name`. `shim` is the absolute path of a binary that calls
    /// [`crate::exec_shim`] for the argument [`crate::EXEC_SUBCOMMAND`]; the broker gives `/proc/self/exe`,
    /// which stays right when the file of the running binary is replaced.
    ///
    /// Nothing is started and nothing looked up: a command that is missing shows in the call's outcome, and
    /// may be there by the next.
    #[must_use]
    pub fn new(name: Name, config: CommandConfig, shim: PathBuf) -> CommandExecutor {
        let mut inherited: Vec<_> =
            INHERITED.iter().filter_map(|&name| std::env::var_os(name).map(|value| (name, value))).collect();
        if !inherited.iter().any(|(name, _)| *name == "PATH") {
            inherited.push(("PATH", PATH_DEFAULT.into()));
        }
        CommandExecutor { name, config, shim, inherited }
    }

    fn command(&self, invocation: &Invocation, call: &str) -> Command {
        let mut command = Command::new(&self.shim);
        command
            .args(shim_arguments(&self.config.command))
            .current_dir(&self.config.folder)
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .env_clear()
            .envs(self.inherited.iter().map(|(name, value)| (name, value)))
            .envs(self.config.environment.iter().map(|(name, value)| (name, value)))
            .envs(invocation.environment.iter().map(|(name, value)| (name, value)))
            .env("EVENTYARD_FUNCTION", self.name.as_str())
            .env("EVENTYARD_DELIVERY", &invocation.id)
            .env("EVENTYARD_ATTEMPT", invocation.attempt.to_string())
            .env("EVENTYARD_CONTENT_TYPE", &invocation.content_type)
            .env(CALL_VARIABLE, call);
        command
    }

    fn spawn_failed(&self, problem: io::Error) -> InvocationError {
        let command = self.config.command.first().cloned().unwrap_or_default();
        InvocationError::SpawnFailed { command, problem }
    }
}

#[async_trait]
impl Executor for CommandExecutor {
    async fn invoke(&self, invocation: Invocation) -> Result<InvocationResult, InvocationError> {
        let call = next_call();
        let command = self.command(&invocation, &call);
        let mut group = spawner::spawn(command, call).await.map_err(|problem| self.spawn_failed(problem))?;
        let started = Instant::now();
        let pipes = group.take_pipes().map_err(|problem| self.spawn_failed(problem))?;

        let timeout = invocation.timeout.min(self.config.timeout);
        let mut answer = Answer::new(self.config.output_bytes_max);
        let mut tail = Tail::new(STDERR_TAIL_BYTES_MAX);
        let reading = async {
            tokio::join!(stream::read_answer(pipes.stdout, &mut answer), stream::read_tail(pipes.stderr, &mut tail));
        };
        let writing = stream::feed(pipes.stdin, &invocation.payload);
        let watching = watch(&group, timeout, self.config.term_grace);
        let timed_out = converse(reading, writing, watching).await;

        let took = started.elapsed();
        let stderr_tail = tail.into_text();
        let status = group.end().map_err(|problem| InvocationError::StatusUnknown { problem })?;
        if timed_out {
            return Err(InvocationError::Timeout { timeout, stderr_tail });
        }
        self.judge(status, &stderr_tail)?;
        let (answer, truncated) = answer.into_bytes();
        Ok(InvocationResult { answer, truncated, stderr_tail, took })
    }

    /// Nothing is kept between calls, so nothing is given back.
    async fn close(&self) {}
}

impl CommandExecutor {
    /// What the end of a process that was not stopped by us says about the call.
    fn judge(&self, status: ExitStatus, stderr_tail: &str) -> Result<(), InvocationError> {
        match (status.code(), status.signal()) {
            (Some(0), _) => Ok(()),
            (Some(status), _) => match exec_failure(status, stderr_tail) {
                Some(problem) => Err(self.spawn_failed(problem)),
                None => Err(InvocationError::Exit { status, stderr_tail: stderr_tail.to_owned() }),
            },
            (None, signal) => Err(InvocationError::Signal {
                name: signal_name(signal.unwrap_or_default()),
                stderr_tail: stderr_tail.to_owned(),
            }),
        }
    }
}

/// A name for one call that no other call of this broker's life has, nor a broker that ran beside it.
fn next_call() -> String {
    static CALLS: AtomicU64 = AtomicU64::new(1);
    format!("{}-{}", std::process::id(), CALLS.fetch_add(1, Ordering::Relaxed))
}

/// Waits for the end of a process, asks it to end when its time is up, and kills it when it does not. True
/// where its time was up.
async fn watch(group: &Group, limit: Duration, term_grace: Duration) -> bool {
    if timeout(limit, group.exited()).await.is_ok() {
        return false;
    }
    group.signal(Signal::TERM);
    if timeout(term_grace, group.exited()).await.is_err() {
        group.signal(Signal::KILL);
        group.exited().await;
    }
    true
}

/// Serves a process's pipes until it has ended, and what is left in them for [`DRAIN_TIME`] after that.
async fn converse(
    reading: impl Future<Output = ()>,
    writing: impl Future<Output = ()>,
    watching: impl Future<Output = bool>,
) -> bool {
    let (mut reading, mut writing, mut watching) = (pin!(reading), pin!(writing), pin!(watching));
    let (mut all_read, mut all_written) = (false, false);
    let timed_out = loop {
        tokio::select! {
            biased;
            timed_out = &mut watching => break timed_out,
            () = &mut reading, if !all_read => all_read = true,
            () = &mut writing, if !all_written => all_written = true,
        }
    };
    if !all_read {
        // An error here only means that somebody else still holds the pipes, who is of no interest.
        let _ = timeout(DRAIN_TIME, reading).await;
    }
    timed_out
}

/// A signal's name as people know it.
fn signal_name(number: i32) -> String {
    const NAMES: [(Signal, &str); 19] = [
        (Signal::HUP, "SIGHUP"),
        (Signal::INT, "SIGINT"),
        (Signal::QUIT, "SIGQUIT"),
        (Signal::ILL, "SIGILL"),
        (Signal::TRAP, "SIGTRAP"),
        (Signal::ABORT, "SIGABRT"),
        (Signal::BUS, "SIGBUS"),
        (Signal::FPE, "SIGFPE"),
        (Signal::KILL, "SIGKILL"),
        (Signal::USR1, "SIGUSR1"),
        (Signal::SEGV, "SIGSEGV"),
        (Signal::USR2, "SIGUSR2"),
        (Signal::PIPE, "SIGPIPE"),
        (Signal::ALARM, "SIGALRM"),
        (Signal::TERM, "SIGTERM"),
        (Signal::XCPU, "SIGXCPU"),
        (Signal::XFSZ, "SIGXFSZ"),
        (Signal::VTALARM, "SIGVTALRM"),
        (Signal::SYS, "SIGSYS"),
    ];
    let known = NAMES.iter().find(|(signal, _)| signal.as_raw() == number);
    known.map_or_else(|| format!("SIG{number}"), |(_, name)| (*name).to_owned())
}
