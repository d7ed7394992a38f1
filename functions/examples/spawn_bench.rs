//! What the shim costs: `cargo run --release -p eventyard-functions --example spawn_bench [ROUNDS] [SHIM]`.
//!
//! Prints, for `/bin/true`, the time from the start of a process to the news of its end: spawned bare, through
//! the shim, and as a whole call of a [`CommandExecutor`]. The shim is this program itself, or SHIM, for example
//! the broker's real binary. A heap of 256 MiB is touched first, because a broker has one, and a spawn that
//! had become a fork would show it.

#![expect(clippy::print_stdout, reason = "a bench prints what it measured")]

use std::error::Error;
use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use eventyard_event::Name;
use eventyard_functions::{CommandConfig, CommandExecutor, EXEC_SUBCOMMAND, Executor, Invocation, exec_shim};

const PROGRAM: &str = "/bin/true";
const HEAP_BYTES: usize = 256 * 1024 * 1024;
const ROUNDS_DEFAULT: usize = 500;

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let mut arguments = std::env::args_os().skip(1).peekable();
    if arguments.peek().is_some_and(|first| first == EXEC_SUBCOMMAND) {
        return Ok(exec_shim(arguments.skip(1)));
    }
    let rounds = match arguments.next() {
        Some(rounds) => rounds.to_str().ok_or("ROUNDS is a number")?.parse()?,
        None => ROUNDS_DEFAULT,
    };
    let shim = arguments.next().map_or_else(std::env::current_exe, |shim| Ok(PathBuf::from(shim)))?;
    let heap = vec![1_u8; HEAP_BYTES];

    let bare = measure(rounds, || run(&mut Command::new(PROGRAM)))?;
    let broker = std::process::id().to_string();
    let through = [OsString::from(EXEC_SUBCOMMAND), broker.into(), PROGRAM.into()];
    let shimmed = measure(rounds, || run(Command::new(&shim).args(&through)))?;
    let runtime = tokio::runtime::Runtime::new()?;
    let config = CommandConfig::new(vec![PROGRAM.to_owned()], "/".into(), Duration::from_secs(10));
    let executor = CommandExecutor::new(Name::new("bench")?, config, shim.clone());
    let called =
        measure(rounds, || runtime.block_on(executor.invoke(invocation()?)).map(|_| ()).map_err(io::Error::other))?;

    println!("{rounds} rounds each, {} MiB of heap, shim {}", heap.len() >> 20, shim.display());
    println!("{:>10} {:>10} {:>10}", "", "p50", "p99");
    for (what, times) in [("bare", bare), ("shim", shimmed), ("call", called)] {
        println!("{what:>10} {:>10.3?} {:>10.3?}", quantile(&times, 50), quantile(&times, 99));
    }
    Ok(ExitCode::SUCCESS)
}

fn run(command: &mut Command) -> io::Result<()> {
    let status = command.status()?;
    if status.success() { Ok(()) } else { Err(io::Error::other(format!("ended with {status}"))) }
}

fn invocation() -> io::Result<Invocation> {
    Ok(Invocation {
        id: "bench-0".to_owned(),
        attempt: 1,
        function: Name::new("bench").map_err(io::Error::other)?,
        payload: bytes::Bytes::new(),
        content_type: "application/json".to_owned(),
        timeout: Duration::from_secs(10),
        environment: Vec::new(),
    })
}

/// The times of `rounds` runs, sorted.
fn measure(rounds: usize, mut run: impl FnMut() -> io::Result<()>) -> io::Result<Vec<Duration>> {
    let mut times = Vec::with_capacity(rounds);
    for _ in 0..rounds {
        let begun = Instant::now();
        run()?;
        times.push(begun.elapsed());
    }
    times.sort_unstable();
    Ok(times)
}

fn quantile(sorted: &[Duration], percent: usize) -> Duration {
    let at = (sorted.len().saturating_sub(1)) * percent / 100;
    sorted.get(at).copied().unwrap_or_default()
}
