//! What tests of the real program share: running it, and folders that go away by themselves.

use std::path::Path;
use std::process::{Command, Output, Stdio};

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
