//! What the benches beside a real queue share: how they are asked, what a message is, and how far eventyard has come.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use crate::broker::Broker;

pub(crate) type Failure = Box<dyn std::error::Error>;

/// How long one run may take.
pub(crate) const RUN_MAX: Duration = Duration::from_secs(600);
/// How often the server is asked how far eventyard has come: about when half of the rest should have come out, within these.
/// Asking costs the server what the bare loop does not ask of it, and the end should not be seen late.
const ASK_AFTER: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(250));

/// What is to be measured.
pub(crate) struct Asked {
    pub(crate) server: String,
    pub(crate) messages: u64,
    pub(crate) size: usize,
    pub(crate) rounds: usize,
    pub(crate) binary: PathBuf,
    pub(crate) dir: PathBuf,
    /// The target's `input`: `raw` (the message and, in headers, the attributes of its event) or `data` (the message alone).
    pub(crate) input: String,
}

/// Runs what was asked for, or says why not. `server` and `messages` hold where nothing else is asked.
#[expect(clippy::print_stderr, reason = "a program for the terminal")]
pub(crate) async fn main(
    name: &str,
    server: &str,
    messages: u64,
    run: impl AsyncFn(&Asked) -> Result<(), Failure>,
) -> ExitCode {
    let ended = match read(server, messages, std::env::args().skip(1)) {
        Ok(asked) => run(&asked).await,
        Err(error) => Err(error),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{name}: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Reads `--server URL --messages N --size BYTES --rounds N --input raw|data --binary PATH --dir FOLDER`.
fn read(server: &str, messages: u64, mut arguments: impl Iterator<Item = String>) -> Result<Asked, Failure> {
    let mut asked = Asked {
        server: server.to_owned(),
        messages,
        size: 1024,
        rounds: 3,
        binary: "target/release/eventyard".into(),
        dir: std::env::temp_dir(),
        input: "raw".to_owned(),
    };
    while let Some(name) = arguments.next() {
        let value = arguments.next().ok_or_else(|| format!("{name} wants a value"))?;
        match name.as_str() {
            "--server" => asked.server = value,
            "--messages" => asked.messages = value.parse()?,
            "--size" => asked.size = value.parse()?,
            "--rounds" => asked.rounds = value.parse()?,
            "--binary" => asked.binary = value.into(),
            "--dir" => asked.dir = value.into(),
            "--input" => asked.input = value,
            _ => return Err(format!("there is no option {name}").into()),
        }
    }
    Ok(asked)
}

/// A message of JSON, of this many bytes.
pub(crate) fn body(number: u64, size: usize) -> String {
    let mut value = format!("{{\"order\":{number},\"amount\":{},\"note\":\"", 1000 + number % 1000);
    while value.len() < size.saturating_sub(2) {
        value.push('x');
    }
    value + "\"}"
}

/// Messages a second, and the processor time of eventyard in seconds.
pub(crate) type Measured = (f64, f64);

/// Runs eventyard on a project of these two tables and one rule that looks into the data, until so many messages have
/// come out; `written` asks the server how many have. The clock runs from the first to the last.
pub(crate) async fn through_eventyard(
    asked: &Asked,
    source: &str,
    sink: &str,
    written: impl AsyncFn() -> Result<u64, Failure>,
) -> Result<Measured, Failure> {
    let folder = asked.dir.join(format!("bench-passing-{}", std::process::id()));
    write_project(&folder, source, sink, &asked.input)?;
    let measured = measure(asked, &folder, written).await;
    std::fs::remove_dir_all(&folder)?;
    measured
}

async fn measure(
    asked: &Asked,
    folder: &Path,
    written: impl AsyncFn() -> Result<u64, Failure>,
) -> Result<Measured, Failure> {
    let running = Broker::start(&asked.binary, folder)?;
    let began = Instant::now();
    let (mut first, mut before) = (None, 0.0);
    loop {
        let count = written().await?;
        if count > 0 && first.is_none() {
            first = Some((Instant::now(), count));
            before = running.processor_seconds();
        }
        if count >= asked.messages {
            break;
        }
        if began.elapsed() > RUN_MAX {
            return Err(format!("{count} of {} came out", asked.messages).into());
        }
        let (soonest, latest) = ASK_AFTER;
        let half_of_the_rest = first
            .filter(|(_, before)| count > *before)
            .map(|(at, before)| at.elapsed().mul_f64((asked.messages - count) as f64 / (count - before) as f64 / 2.0));
        tokio::time::sleep(half_of_the_rest.unwrap_or(latest / 5).clamp(soonest, latest)).await;
    }
    let (at, count) = first.unwrap_or((began, 0));
    let rate = (asked.messages - count.min(asked.messages)) as f64 / at.elapsed().as_secs_f64();
    let seconds = running.processor_seconds() - before;
    running.stop()?;
    Ok((rate, seconds))
}

fn write_project(folder: &Path, source: &str, sink: &str, input: &str) -> Result<(), Failure> {
    std::fs::create_dir_all(folder.join("rules"))?;
    let main = format!("[server]\nlisten = \"127.0.0.1:8484\"\n\n[source.in]\n{source}\n\n[sink.out]\n{sink}\n");
    std::fs::write(folder.join("eventyard.toml"), main)?;
    let rule = format!(
        "[[rule]]\nname = \"orders\"\nfrom = [\"in\"]\ntarget = {{ sink = \"out\", input = \"{input}\" }}\n[rule.pattern]\n\
         data.amount = [{{ numeric = [\">\", 10] }}]\n"
    );
    std::fs::write(folder.join("rules/orders.toml"), rule)?;
    Ok(())
}

/// What the rounds gave.
#[derive(Default)]
pub(crate) struct Rounds {
    bare: Vec<f64>,
    ours: Vec<f64>,
}

#[expect(clippy::print_stdout, reason = "a program for the terminal")]
impl Rounds {
    pub(crate) fn bare(&mut self, rate: f64) {
        println!("bare loop: {rate:.0} messages/s");
        self.bare.push(rate);
    }

    pub(crate) fn ours(&mut self, asked: &Asked, (rate, seconds): Measured) {
        let micros = seconds * 1e6 / asked.messages as f64;
        println!("eventyard: {rate:.0} messages/s, {micros:.1} µs of processor time a message");
        self.ours.push(rate);
    }

    pub(crate) fn end(self) {
        let (bare, ours) = (median(self.bare), median(self.ours));
        println!("medians: bare {bare:.0}, eventyard {ours:.0} messages/s, {:.0} %", 100.0 * ours / bare);
    }
}

fn median(mut all: Vec<f64>) -> f64 {
    all.sort_by(f64::total_cmp);
    all.get(all.len() / 2).copied().unwrap_or_default()
}
