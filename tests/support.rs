//! What tests of the real program share: running it, and folders that go away by themselves.

use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Output, Stdio};

pub(crate) use super::free_port::free_port;

/// How one run of the program ended.
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// The program, without anything of this process's environment that would change what it does.
pub(crate) fn eventyard(arguments: &[&str], folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_eventyard"));
    command
        .args(arguments)
        .current_dir(folder)
        .env_remove("EVENTYARD_URL")
        .env_remove("EVENTYARD_TOKEN")
        .env_remove("EVENTYARD_LOG")
        .env("NO_COLOR", "1")
        .stdin(Stdio::null());
    command
}

/// Runs the program to its end.
pub(crate) fn run(arguments: &[&str], folder: &Path) -> Ended {
    ended(eventyard(arguments, folder).output().unwrap())
}

/// What a command lists with `--json`.
pub(crate) fn listed(folder: &Path, arguments: &[&str]) -> Vec<serde_json::Value> {
    let ended = run(arguments, folder);
    let list: serde_json::Value =
        serde_json::from_str(&ended.stdout).unwrap_or_else(|_| panic!("{}{}", ended.stdout, ended.stderr));
    list["items"].as_array().unwrap().clone()
}

/// Runs the program to its end with something on its standard input.
pub(crate) fn run_with(arguments: &[&str], folder: &Path, input: &str) -> Ended {
    use std::io::Write as _;
    let mut child = eventyard(arguments, folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_owned();
    // Apart, so that a program that writes before it has read everything does not wait for us.
    let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()));
    let output = child.wait_with_output().unwrap();
    let _ = writer.join();
    ended(output)
}

fn ended(output: Output) -> Ended {
    Ended {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// A folder with these files: where each is, and what it says.
pub(crate) fn project(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = folder.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    folder
}

/// A copy of one of the repository's projects, on a port of its own.
pub(crate) fn copy_project(path: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join(path), folder.path(), &free_port().to_string());
    folder
}

fn copy(from: &Path, to: &Path, port: &str) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        // What an earlier run of the example left behind is no part of it.
        if matches!(entry.file_name().to_str(), Some("data" | "courier-hired" | "registry-is-up"))
            || entry.path().extension().is_some_and(|extension| extension == "log")
        {
            continue;
        }
        if from.is_dir() {
            copy(&from, &to, port);
        } else if from.extension().is_some_and(|extension| extension == "toml") {
            std::fs::write(&to, std::fs::read_to_string(&from).unwrap().replace("8484", port)).unwrap();
        } else {
            // With its permissions: scripts must be executable.
            std::fs::copy(&from, &to).unwrap();
        }
    }
}

/// A broker that runs as a process of its own; killed when the test is over.
pub(crate) struct Broker {
    child: Child,
    stdout: BufReader<ChildStdout>,
    address: String,
}

impl Broker {
    /// Starts `eventyard run` or `dev` in a project's folder and waits until it is ready.
    pub(crate) fn start(command: &str, folder: &Path) -> Broker {
        Broker::start_with::<&str>(command, folder, &[])
    }

    /// The same with variables.
    pub(crate) fn start_with<V: AsRef<OsStr>>(command: &str, folder: &Path, variables: &[(&str, V)]) -> Broker {
        let variables = variables.iter().map(|(name, value)| (name, value));
        Broker::spawn(eventyard(&[command], folder).envs(variables).stderr(Stdio::inherit()))
    }

    /// The same from a command that is the caller's, for one who wants its standard error.
    pub(crate) fn spawn(command: &mut Command) -> Broker {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let mut broker = Broker { child, stdout, address: String::new() };
        let said = broker.lines_until("ready on http://");
        let (_, address) = said.trim_end().rsplit_once("http://").unwrap();
        broker.address = address.to_owned();
        broker
    }

    /// Where it listens.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Where it listens, as a socket's address.
    pub(crate) fn address(&self) -> std::net::SocketAddr {
        self.address.parse().unwrap()
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// SIGKILL; returns when it is gone.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// The most memory that it has had at a time, in bytes; `None` where the system does not say.
    pub(crate) fn memory_peak(&self) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
        Some(line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? * 1024)
    }

    /// What it printed up to and with a line that holds `wanted`. Ends the test when it ends without.
    pub(crate) fn lines_until(&mut self, wanted: &str) -> String {
        let mut said = String::new();
        loop {
            let start = said.len();
            let length = self.stdout.read_line(&mut said).unwrap();
            assert!(length > 0, "the broker ended without `{wanted}`:\n{said}");
            if said[start..].contains(wanted) {
                return said;
            }
        }
    }

    /// SIGTERM, and how it ended.
    pub(crate) fn terminate(&mut self) -> Option<i32> {
        self.signal(rustix::process::Signal::TERM);
        self.ended()
    }

    /// SIGINT, and how it ended.
    pub(crate) fn interrupt(&mut self) -> Option<i32> {
        self.signal(rustix::process::Signal::INT);
        self.ended()
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// How it ended, if it has; the exit code, where it was no signal.
    pub(crate) fn try_ended(&mut self) -> Option<Option<i32>> {
        self.child.try_wait().unwrap().map(|status| status.code())
    }

    /// Waits for its end; the exit code, where it was no signal.
    pub(crate) fn ended(&mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
