//! One run of the program, and its violent end.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use super::DEADLINE;
use crate::support::eventyard;

/// A broker that takes events.
#[derive(Clone, Debug)]
pub(super) struct Run {
    /// Counts starts from 1; targets see it with each call.
    pub(super) number: u32,
    pub(super) url: String,
}

pub(super) struct Process {
    child: Child,
    stdout: Lines<BufReader<ChildStdout>>,
}

fn log(folder: &Path, run: u32) -> PathBuf {
    folder.join(format!("run-{run}.log"))
}

impl Process {
    /// Starts it; does not wait.
    pub(super) fn launch(folder: &Path, run: u32, target: SocketAddr) -> Process {
        let mut command = eventyard(&["run"], folder);
        command
            .env("RUN", run.to_string())
            .env("TARGET", format!("http://{target}"))
            .stdout(Stdio::piped())
            .stderr(fs::File::create(log(folder, run)).unwrap());
        let mut child = Command::from(command).kill_on_drop(true).spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap()).lines();
        Process { child, stdout }
    }

    /// Waits until it is ready; where it listens.
    pub(super) async fn ready(&mut self) -> String {
        let line = tokio::time::timeout(DEADLINE, self.stdout.next_line()).await.expect("not ready in time").unwrap();
        let line = line.expect("the broker ended before it was ready; its log says why");
        let (_, url) = line.split_once("ready on ").unwrap_or_else(|| panic!("not ready: {line}"));
        url.trim().to_owned()
    }

    /// `kill -9`, and waits until it is gone.
    pub(super) async fn kill(&mut self) {
        self.child.kill().await.unwrap();
    }

    /// SIGTERM, and how it ended.
    pub(super) async fn terminate(&mut self) -> Option<i32> {
        let pid = i32::try_from(self.child.id().unwrap()).unwrap();
        let pid = rustix::process::Pid::from_raw(pid).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        tokio::time::timeout(DEADLINE, self.child.wait()).await.expect("it did not stop in time").unwrap().code()
    }
}

/// An ERROR in a log means that data was lost or that a person is needed. A kill is neither; only files that do
/// not load are.
pub(super) fn no_run_complained(folder: &Path, runs: u32) {
    for run in 1..=runs {
        let said = fs::read_to_string(log(folder, run)).unwrap();
        let bad = |line: &&str| {
            let error = line.contains("\"ERROR\"") && !line.contains("files are refused");
            error || line.contains("rebuilt from the journal") || line.contains("panicked at")
        };
        let complaints: Vec<&str> = said.lines().filter(bad).collect();
        assert!(complaints.is_empty(), "run {run} complained: {complaints:#?}");
    }
}
