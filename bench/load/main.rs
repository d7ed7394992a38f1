//! How fast the whole broker is: the release binary on an empty data folder, a project made for the run, and
//! clients that really send.
//!
//! ```text
//! cargo build --release
//! cargo run --release -p eventyard-bench -- [CASE…] [--seconds N] [--dir FOLDER] [--binary PATH] [--perf FOLDER]
//! ```
//!
//! The cases, all of them where none is named:
//!
//! - `accept`, `accept-batch`: events a second that are answered 202, each after its sync, while the one target is
//!   paused; one event a request, and a hundred.
//! - `settle`, `settle-batch`: the same to a `discard` sink, and the clock runs until the last delivery has ended.
//! - `latency`, `latency-settle`, each also `-batch`: from the moment when a request should have been sent to its 202,
//!   at half of the rate that is aimed at. Requests are due at fixed times whether or not the earlier ones were
//!   answered, so a pause of the broker counts for every request that fell into it.
//! - `start`: how long an empty folder takes to be ready, and the memory of a broker that does nothing.
//! - `pending`: a million deliveries that wait, `kill -9`, and how long until events are taken again.
//! - `peers`, only where it is named: other brokers in the same run (see [`peers`]).
//!
//! The clients are one thread with sockets of its own (see [`clients`]), on the same processors as the broker; what
//! an event costs either of them is printed beside each rate. Nothing is asserted: times are a machine's.
//! What they were where stands in `docs/benchmarks-end-to-end.md`.

use std::path::PathBuf;
use std::process::ExitCode;

mod arguments;
mod broker;
mod cases;
mod clients;
mod event;
mod latency;
#[path = "../../store/examples/store_bench/machine.rs"]
#[expect(dead_code, reason = "the bench of the store asks for more")]
mod machine;
mod peers;
mod project;

type Failure = Box<dyn std::error::Error>;

#[expect(clippy::print_stderr, reason = "a program for the terminal")]
fn main() -> ExitCode {
    let all: Vec<String> = std::env::args().skip(1).collect();
    let asked = match arguments::read(&all) {
        Ok(asked) => asked,
        Err(problem) => {
            eprintln!("load: {problem}\n{}", arguments::USAGE);
            return ExitCode::from(2);
        }
    };
    match run(&asked) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("load: {error}");
            ExitCode::FAILURE
        }
    }
}

#[expect(clippy::print_stdout, reason = "a program for the terminal")]
fn run(asked: &arguments::Asked) -> Result<(), Failure> {
    std::fs::create_dir_all(&asked.dir)?;
    println!("{}", machine::describe(&asked.dir));
    println!("binary: {}", asked.binary.display());
    for case in &asked.cases {
        let folder = Folder::make(&asked.dir)?;
        for line in cases::run(*case, &folder.0, asked)? {
            println!("{line}");
        }
    }
    Ok(())
}

/// A folder for one case, removed at its end: a million events are more than a gigabyte.
struct Folder(PathBuf);

impl Folder {
    fn make(within: &std::path::Path) -> std::io::Result<Folder> {
        let folder = within.join(format!("load-{}", std::process::id()));
        std::fs::create_dir_all(&folder)?;
        Ok(Folder(folder.canonicalize()?))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
