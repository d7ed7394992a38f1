//! What a command costs: `cargo run --release -p eventyard-functions --example command_bench [ROUNDS] [SHIM]`.
//!
//! Prints, for `/bin/true`, the time from the start of a process to the news of its end: spawned bare, spawned
//! through the shim, and as a whole call of a [`CommandExecutor`], with its pipes. The shim is this program itself,
//! or SHIM, for example the broker's real binary. All of it twice: with a heap of 10 MiB touched, and with one of
//! 1 GiB, because a broker may have one, and a spawn that had become a fork would show it.

#![expect(clippy::print_stdout, reason = "a bench prints what it measured")]

use std::error::Error;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use eventyard_event::Name;
use eventyard_functions::{CommandConfig, CommandExecutor, EXEC_SUBCOMMAND, Executor, Invocation, exec_shim};

const PROGRAM: &str = "/bin/true";
const HEAPS_BYTES: [usize; 2] = [10 * 1024 * 1024, 1024 * 1024 * 1024];
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
    let runtime = tokio::runtime::Runtime::new()?;
    println!("{rounds} rounds each, {PROGRAM}, shim {}", shim.display());
    println!("{:>10} {:>12} {:>12} {:>12} {:>12} {:>10}", "heap", "", "bare", "shim", "call", "call/shim");
    for heap_bytes in HEAPS_BYTES {
        let heap = touched(heap_bytes);
        let [bare, shimmed, called] = measure_all(rounds, &shim, &runtime)?;
        for percent in [50, 99] {
            let at = |times: &[Duration]| quantile(times, percent);
            let (bare, shimmed, called) = (at(&bare), at(&shimmed), at(&called));
            let ratio = called.as_secs_f64() / shimmed.as_secs_f64();
            let size = format!("{} MiB", heap.len() >> 20);
            println!(
                "{size:>10} {:>12} {bare:>12.1?} {shimmed:>12.1?} {called:>12.1?} {ratio:>10.2}",
                format!("p{percent}")
            );
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// A heap of which every page is there.
fn touched(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|at| u8::try_from(at % 251).unwrap_or_default()).collect()
}

/// The three, in turn within each round, so that what else the machine does falls on all of them.
fn measure_all(
    rounds: usize,
    shim: &Path,
    runtime: &tokio::runtime::Runtime,
) -> Result<[Vec<Duration>; 3], Box<dyn Error>> {
    let broker = std::process::id().to_string();
    let through = [OsString::from(EXEC_SUBCOMMAND), broker.into(), PROGRAM.into()];
    let config = CommandConfig::new(vec![PROGRAM.to_owned()], "/".into(), Duration::from_secs(10));
    let executor = CommandExecutor::new(Name::new("bench")?, config, shim.to_owned());
    let mut times: [Vec<Duration>; 3] = Default::default();
    for _ in 0..rounds {
        let [bare, shimmed, called] = &mut times;
        bare.push(timed(|| run(&mut Command::new(PROGRAM)))?);
        shimmed.push(timed(|| run(Command::new(shim).args(&through)))?);
        called.push(timed(|| runtime.block_on(executor.invoke(invocation()?)).map(|_| ()).map_err(io::Error::other))?);
    }
    times.iter_mut().for_each(|times| times.sort_unstable());
    Ok(times)
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
        headers: Vec::new(),
    })
}

fn timed(run: impl FnOnce() -> io::Result<()>) -> io::Result<Duration> {
    let begun = Instant::now();
    run()?;
    Ok(begun.elapsed())
}

fn quantile(sorted: &[Duration], percent: usize) -> Duration {
    let at = (sorted.len().saturating_sub(1)) * percent / 100;
    sorted.get(at).copied().unwrap_or_default()
}
