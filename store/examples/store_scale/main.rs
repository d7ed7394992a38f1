//! What a store costs with a million deliveries pending: to open after `kill -9`, in memory, and to make anew what
//! stands beside the journal.
//!
//! ```text
//! cargo run --release -p eventyard-store --example store_scale -- DIR [EVENTS]
//! ```
//!
//! Each figure is taken in a process of its own, which this one starts and kills: so memory is that of a store that
//! was just opened, and nothing is closed in order. DIR is a folder on the disk in question, not a tmpfs; a folder of
//! its own is made in it and removed again. EVENTS is a million where nothing is said.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use eventyard_store::{LocalStore, Options, Store};

mod work;

type Failure = Box<dyn std::error::Error>;

const USAGE: &str = "usage: store_scale DIR [EVENTS]";

/// Events of 1 KiB that fill 64 MiB of journal.
const TAIL_EVENTS: u64 = 53_000;
/// Events that are begun and settled to count the bytes that are written.
const SETTLED_EVENTS: u64 = 20_000;

#[expect(clippy::print_stderr, reason = "a program for the terminal")]
fn main() -> ExitCode {
    let all: Vec<String> = std::env::args().skip(1).collect();
    let texts: Vec<&str> = all.iter().map(String::as_str).collect();
    let done = match *texts.as_slice() {
        ["as", part, dir, count] => {
            count.parse().map_err(Failure::from).and_then(|count| as_part(part, Path::new(dir), count))
        }
        [dir] => measure(Path::new(dir), 1_000_000),
        [dir, count] => count.parse().map_err(Failure::from).and_then(|count| measure(Path::new(dir), count)),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("store_scale: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Starts this program again for one part, passes on what it says, and kills it when it has said all.
#[expect(clippy::print_stdout, reason = "a program for the terminal")]
fn start(part: &str, dir: &Path, count: u64) -> Result<(), Failure> {
    let mut child = Command::new(std::env::current_exe()?)
        .args(["as", part])
        .arg(dir)
        .arg(count.to_string())
        .stdout(Stdio::piped())
        .spawn()?;
    let out = child.stdout.take().ok_or("no output")?;
    let mut ended = false;
    for line in BufReader::new(out).lines() {
        let line = line?;
        if line == "end" {
            ended = true;
            break;
        }
        println!("{line}");
    }
    child.kill()?;
    child.wait()?;
    if ended { Ok(()) } else { Err(format!("the part `{part}` failed").into()) }
}

#[expect(clippy::print_stdout, reason = "a program for the terminal")]
fn measure(dir: &Path, count: u64) -> Result<(), Failure> {
    let dir = dir.join(format!("store-scale-{}", std::process::id()));
    std::fs::create_dir_all(&dir)?;
    let removed = Remove(dir.clone());
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    println!("load {}", load.trim());

    let tail = dir.join("tail");
    start("tail", &tail, TAIL_EVENTS)?;
    start("open", &tail, 0)?;
    std::fs::remove_dir_all(&tail)?;

    let settled = dir.join("settled");
    start("settle", &settled, SETTLED_EVENTS)?;
    std::fs::remove_dir_all(&settled)?;

    let full = dir.join("full");
    start("fill", &full, count)?;
    start("open", &full, 0)?;
    std::fs::remove_dir_all(full.join("index"))?;
    println!("without its index:");
    start("rebuild", &full, 0)?;
    drop(removed);
    Ok(())
}

/// A folder that goes with its value.
struct Remove(PathBuf);

impl Drop for Remove {
    fn drop(&mut self) {
        // A folder of a bench that stays behind is a nuisance and no more.
        drop(std::fs::remove_dir_all(&self.0));
    }
}

#[expect(clippy::print_stdout, reason = "a program for the terminal")]
fn as_part(part: &str, dir: &Path, count: u64) -> Result<(), Failure> {
    let quiet =
        Options { checkpoint_bytes: u64::MAX, checkpoint_every: Duration::from_secs(3600), ..Options::default() };
    match part {
        "fill" => fill(dir, Options::default(), count)?,
        "tail" => fill(dir, quiet, count)?,
        "settle" => {
            let (store, runtime) = open(dir, Options { first_segment_bytes: quiet.segment_bytes, ..quiet })?;
            let bytes = runtime.block_on(work::settle(&store, count))?;
            println!(
                "{bytes:.0} bytes are written for an event of 1 KiB, begun and settled; zeros written ahead apart"
            );
        }
        "open" => {
            let begun = Instant::now();
            let (store, _runtime) = open(dir, Options::default())?;
            let took = begun.elapsed();
            let stats = store.stats();
            let (now, most) = work::memory();
            println!(
                "opened in {:.2} s with {} pending in {} MiB of journal; {now} MiB resident, {most} MiB at most",
                took.as_secs_f64(),
                stats.unsettled,
                stats.journal_bytes >> 20
            );
        }
        "rebuild" => {
            let begun = Instant::now();
            let (store, runtime) = open(dir, Options::default())?;
            let ready = begun.elapsed();
            let pending = store.stats().unsettled;
            let (now, most) = work::memory();
            runtime.block_on(store.close())?;
            println!(
                "opened in {:.2} s with {pending} pending, index written after {:.2} s; {now} MiB resident, {most} MiB at most",
                ready.as_secs_f64(),
                begun.elapsed().as_secs_f64()
            );
        }
        other => return Err(format!("there is no part `{other}`").into()),
    }
    println!("end");
    std::io::stdout().flush()?;
    // Killed here.
    loop {
        std::thread::park();
    }
}

#[expect(clippy::print_stdout, reason = "a program for the terminal")]
fn fill(dir: &Path, options: Options, count: u64) -> Result<(), Failure> {
    let (store, runtime) = open(dir, options)?;
    let processor = work::processor_seconds();
    let begun = Instant::now();
    runtime.block_on(work::fill(&store, count))?;
    println!(
        "{count} events in commits of {} in {:.1} s, {:.1} µs of processor an event",
        work::COMMIT_EVENTS,
        begun.elapsed().as_secs_f64(),
        (work::processor_seconds() - processor) * 1e6 / count as f64
    );
    println!("end");
    std::io::stdout().flush()?;
    loop {
        std::thread::park();
    }
}

fn open(dir: &Path, options: Options) -> Result<(LocalStore, tokio::runtime::Runtime), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let (store, report) = LocalStore::open(dir, options, Arc::new(|| work::NOW))?;
    if !report.damages.is_empty() {
        return Err(format!("{report:?}").into());
    }
    Ok((store, runtime))
}
