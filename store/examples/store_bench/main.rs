//! How fast the store makes events durable, and how fast anything could on the same disk.
//!
//! ```text
//! cargo run --release -p eventyard-store --example store_bench -- enq DIR WRITERS SECONDS
//! cargo run --release -p eventyard-store --example store_bench -- phys DIR
//! cargo run --release -p eventyard-store --example store_bench -- both DIR WRITERS SECONDS
//! cargo run --release -p eventyard-store --example store_bench -- lives DIR WRITERS SECONDS
//! ```
//!
//! `enq` commits 1 KiB events through [`LocalStore::commit`](eventyard_store::LocalStore), one event with one
//! delivery each, by so many writers that each wait for their answer. `phys` measures the limit: nothing but a
//! write of as many bytes and an fdatasync, into a file whose blocks are there. `both` alternates the two,
//! the limit at the very batch size that the store had just reached, and prints the ratio; it is the number to
//! look at, because it holds whatever the disk does that day.
//!
//! `lives` commits 64 events at once, and takes, begins and settles as many deliveries: the processor time of an event
//! is what to look at there.
//!
//! `enq`, `both` and `lives` end in an optional word. `ahead` (the default) measures the commit path: segments are made
//! before the clock starts and no checkpoint is written meanwhile, as in the limit no zeros and no index are.
//! `whole` measures the store as the broker opens it, with all of that going on beside the commits.
//!
//! DIR is a folder on the disk in question, not a tmpfs; a folder of its own is made in it and removed again.
//! Nothing is asserted: times depend on the machine, and `docs/benchmarks.md` says what they were where.

use std::path::PathBuf;
use std::process::ExitCode;

mod commits;
mod limit;
mod lives;
mod machine;
mod spread;

use commits::{Bench, Doing, How};
use spread::median;

/// The broker's own.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Rounds of `both` and `enq`; medians are printed. Many and short, so that the two see the same disk.
const ROUNDS: usize = 15;

/// Seconds at each batch size of `phys`.
const LIMIT_SECONDS: f64 = 2.0;

const USAGE: &str = "usage: store_bench enq DIR WRITERS SECONDS [ahead|whole]
       store_bench phys DIR
       store_bench both DIR WRITERS SECONDS [ahead|whole]
       store_bench lives DIR WRITERS SECONDS [ahead|whole]";

type Failure = Box<dyn std::error::Error>;

struct Asked {
    what: What,
    dir: PathBuf,
}

#[derive(Clone, Copy)]
enum What {
    Limit,
    Commits { writers: usize, seconds: f64, how: How, doing: Doing, with_limit: bool },
}

fn read_arguments() -> Option<Asked> {
    let all: Vec<String> = std::env::args().skip(1).collect();
    let texts: Vec<&str> = all.iter().map(String::as_str).collect();
    let (what, dir) = match *texts.as_slice() {
        ["phys", dir] => (What::Limit, dir),
        [what @ ("enq" | "both" | "lives"), dir, writers, seconds, ref rest @ ..] => {
            let how = match *rest {
                [] | ["ahead"] => How::Ahead,
                ["whole"] => How::Whole,
                _ => return None,
            };
            let writers = writers.parse().ok().filter(|writers| *writers > 0)?;
            let seconds = seconds.parse().ok().filter(|seconds| *seconds > 0.0)?;
            let doing = if what == "lives" { Doing::Lives } else { Doing::Commits };
            (What::Commits { writers, seconds, how, doing, with_limit: what == "both" }, dir)
        }
        _ => return None,
    };
    Some(Asked { what, dir: PathBuf::from(dir) })
}

#[expect(clippy::print_stderr, reason = "a program for the terminal")]
fn main() -> ExitCode {
    let Some(asked) = read_arguments() else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    match run(&asked) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("store_bench: {error}");
            ExitCode::FAILURE
        }
    }
}

#[expect(clippy::print_stdout, reason = "a program for the terminal")]
fn run(asked: &Asked) -> Result<(), Failure> {
    std::fs::create_dir_all(&asked.dir)?;
    println!("{}", machine::describe(&asked.dir));
    match asked.what {
        What::Limit => limits(asked),
        What::Commits { writers, seconds, how, doing, with_limit } => {
            rounds(asked, Rounds { writers, seconds: seconds / ROUNDS as f64, how, doing, with_limit })
        }
    }
}

/// `phys`: the limit at batches of four sizes.
#[expect(clippy::print_stdout, reason = "a program for the terminal")]
fn limits(asked: &Asked) -> Result<(), Failure> {
    let file = limit::LimitFile::make(&asked.dir)?;
    for batch in [1, 10, 100, 1000] {
        let found = file.measure(batch, commits::FRAME_BYTES, LIMIT_SECONDS)?;
        println!(
            "phys  batch {batch:>5}: {:>8.0} events/s, {:>6.0} syncs/s of {:.0} µs, {:.1} µs of processor an event",
            found.events_per_second(),
            found.syncs_per_second(),
            1e6 / found.syncs_per_second(),
            found.processor_us()
        );
    }
    Ok(())
}

#[derive(Clone, Copy)]
struct Rounds {
    writers: usize,
    seconds: f64,
    how: How,
    doing: Doing,
    with_limit: bool,
}

/// `enq`, `both` and `lives`.
#[expect(clippy::print_stdout, reason = "a program for the terminal")]
fn rounds(asked: &Asked, rounds: Rounds) -> Result<(), Failure> {
    let file = if rounds.with_limit { Some(limit::LimitFile::make(&asked.dir)?) } else { None };
    let bench = Bench::open(&asked.dir, rounds.how, rounds.doing, rounds.writers, rounds.seconds * ROUNDS as f64)?;
    let frame_bytes = bench.measure_frame_bytes()?;
    println!("{} writers, {frame_bytes} bytes a frame, {}", rounds.writers, rounds.how.describe());
    // What is allocated and named for the first time is no part of any round.
    bench.measure(rounds.seconds.min(0.5))?;

    let mut rates = Vec::new();
    let mut ratios = Vec::new();
    let mut limits = Vec::new();
    let mut halves = Vec::new();
    let mut late = Vec::new();
    let mut processor = Vec::new();
    for round in 1..=ROUNDS {
        let found = bench.measure(rounds.seconds)?;
        rates.push(found.events_per_second());
        halves.push(found.p50_us);
        late.push(found.p99_us);
        processor.push(found.processor_us());
        println!("enq   round {round}: {found}, load {}", machine::load());
        if let Some(file) = &file {
            let limit = file.measure_mean(found.batch, frame_bytes, rounds.seconds)?;
            let ratio = found.events_per_second() / limit;
            println!("phys  round {round}: {limit:>8.0} events/s at that batch; ratio {:.0} %", 100.0 * ratio);
            limits.push(limit);
            ratios.push(ratio);
        }
    }
    println!(
        "enq   median : {:>8.0} events/s, p50 {} µs, p99 {} µs, {:.2} µs of processor an event",
        median(&mut rates),
        median(&mut halves),
        median(&mut late),
        median(&mut processor)
    );
    if file.is_some() {
        println!(
            "both  median : limit {:.0} events/s, ratio {:.0} % (lowest {:.0} %)",
            median(&mut limits),
            100.0 * median(&mut ratios),
            100.0 * ratios.iter().copied().fold(f64::INFINITY, f64::min)
        );
    }
    if let Some(made) = bench.made_meanwhile() {
        println!("note  : {made} segments were made during the rounds; ask for fewer seconds");
    }
    bench.close()?;
    Ok(())
}
