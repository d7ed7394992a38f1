//! What is measured, one case after another, each on a broker of its own.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::arguments::Asked;
use crate::broker::{Broker, pause};
use crate::clients::{Clients, Pace, Sent};
use crate::event::EVENT_BYTES;
use crate::project::{self, RULE, TARGET, Target};
use crate::{Failure, machine, peers};

/// Events of one request in the cases named `-batch`.
const BATCH: usize = 100;
/// Seconds of sending before the clock starts.
const WARM_UP: Duration = Duration::from_secs(1);
/// How often the broker is asked whether everything has ended.
const ASK_EVERY: Duration = Duration::from_millis(5);
/// How long deliveries may take to end when nothing more is sent.
const DRAIN_MAX: Duration = Duration::from_secs(120);
/// Starts on an empty folder, for a median.
const STARTS: usize = 9;
/// How long a broker is left alone before its memory is looked at.
const IDLE: Duration = Duration::from_secs(3);
/// Samples a second of a profile: a prime, so that nothing periodic hides between them.
const PROFILE_HERTZ: &str = "997";

/// One thing to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Case {
    /// Events a second.
    Rate(Target, usize),
    /// Times at half of the rate that is aimed at.
    Latency(Target, usize),
    /// An empty folder.
    Start,
    /// Many that wait, and `kill -9`.
    Pending,
    /// Other brokers.
    Peers,
}

impl Case {
    pub(crate) const ALL: [Case; 10] = [
        Case::Rate(Target::Held, 1),
        Case::Rate(Target::Held, BATCH),
        Case::Rate(Target::Discard, 1),
        Case::Rate(Target::Discard, BATCH),
        Case::Latency(Target::Held, 1),
        Case::Latency(Target::Held, BATCH),
        Case::Latency(Target::Discard, 1),
        Case::Latency(Target::Discard, BATCH),
        Case::Start,
        Case::Pending,
    ];

    pub(crate) fn find(name: &str) -> Option<Case> {
        Case::ALL.into_iter().chain([Case::Peers]).find(|case| case.name() == name)
    }

    fn name(self) -> &'static str {
        match self {
            Case::Rate(Target::Held, 1) => "accept",
            Case::Rate(Target::Held, _) => "accept-batch",
            Case::Rate(Target::Discard, 1) => "settle",
            Case::Rate(Target::Discard, _) => "settle-batch",
            Case::Latency(Target::Held, 1) => "latency",
            Case::Latency(Target::Held, _) => "latency-batch",
            Case::Latency(Target::Discard, 1) => "latency-settle",
            Case::Latency(Target::Discard, _) => "latency-settle-batch",
            Case::Start => "start",
            Case::Pending => "pending",
            Case::Peers => "peers",
        }
    }

    /// Events a second that are aimed at.
    fn aim(self) -> f64 {
        match self {
            Case::Rate(Target::Held, 1) | Case::Latency(Target::Held, 1) => 30_000.0,
            Case::Rate(Target::Held, _) | Case::Latency(Target::Held, _) => 100_000.0,
            Case::Rate(Target::Discard, 1) | Case::Latency(Target::Discard, 1) => 20_000.0,
            _ => 50_000.0,
        }
    }
}

/// Measures one case in an empty folder; the lines that say what it gave.
pub(crate) fn run(case: Case, folder: &Path, asked: &Asked) -> Result<Vec<String>, Failure> {
    let mut lines = match case {
        Case::Rate(target, events) => vec![rate(case, target, events, folder, asked)?],
        Case::Latency(target, events) => vec![latency(case, target, events, folder, asked)?],
        Case::Start => start(folder, asked)?,
        Case::Pending => pending(folder, asked)?,
        Case::Peers => peers::run(folder, asked)?,
    };
    let first = lines.first_mut().ok_or("nothing was measured")?;
    *first = format!("{:<21} {first}; load {}", case.name(), machine::load());
    for line in lines.iter_mut().skip(1) {
        *line = format!("{:<21} {line}", "");
    }
    Ok(lines)
}

fn rate(case: Case, target: Target, events: usize, folder: &Path, asked: &Asked) -> Result<String, Failure> {
    let broker = begin(target, folder, asked)?;
    let mut clients = Clients::connect(broker.address, asked.connections, events)?;
    clients.send(Pace::Closed(WARM_UP))?;
    if target == Target::Discard {
        drain(&broker)?;
    }
    let profile = profile(case, &broker, asked)?;
    let (processor, ours) = (broker.processor_seconds(), machine::processor_seconds());
    let began = Instant::now();
    let mut sent = clients.send(Pace::Closed(Duration::from_secs_f64(asked.seconds)))?;
    let ours = machine::processor_seconds() - ours;
    if target == Target::Discard {
        drain(&broker)?;
        sent.took = began.elapsed();
    }
    let processor = broker.processor_seconds() - processor;
    end_profile(profile)?;
    let [p50, p99] = sent.latencies.quantiles([0.5, 0.99]);
    let (now, most) = broker.resident_mb();
    let line = format!(
        "{:>7.0} events/s (aim {:.0}); POST to 202 p50 {p50:.1} ms, p99 {p99:.1} ms; {}; resident {now:.0} MB, \
         at most {most:.0} MB",
        sent.events as f64 / sent.took.as_secs_f64(),
        case.aim(),
        costs(&sent, processor, ours),
    );
    broker.stop()?;
    Ok(line)
}

fn latency(case: Case, target: Target, events: usize, folder: &Path, asked: &Asked) -> Result<String, Failure> {
    let broker = begin(target, folder, asked)?;
    let mut clients = Clients::connect(broker.address, asked.connections, events)?;
    let wanted = case.aim() / 2.0;
    let requests = wanted / events as f64;
    clients.send(Pace::Open(requests, WARM_UP))?;
    let profile = profile(case, &broker, asked)?;
    let (processor, ours) = (broker.processor_seconds(), machine::processor_seconds());
    let mut sent = clients.send(Pace::Open(requests, Duration::from_secs_f64(asked.seconds)))?;
    let (processor, ours) = (broker.processor_seconds() - processor, machine::processor_seconds() - ours);
    end_profile(profile)?;
    let [p50, p99, p999, most] = sent.latencies.quantiles([0.5, 0.99, 0.999, 1.0]);
    let line = format!(
        "at {wanted:.0} events/s (sent {:.0}/s): p50 {p50:.2} ms, p99 {p99:.2} ms (aim 5), p99.9 {p999:.1} ms, \
         most {most:.1} ms; {}",
        sent.events as f64 / sent.took.as_secs_f64(),
        costs(&sent, processor, ours),
    );
    if target == Target::Discard {
        drain(&broker)?;
    }
    broker.stop()?;
    Ok(line)
}

fn start(folder: &Path, asked: &Asked) -> Result<Vec<String>, Failure> {
    project::write(folder, Target::Discard)?;
    let mut times = Vec::with_capacity(STARTS);
    for _ in 0..STARTS {
        remove_data(folder)?;
        let broker = Broker::start(&asked.binary, folder)?;
        times.push(broker.ready_after);
        broker.stop()?;
    }
    times.sort_unstable();
    remove_data(folder)?;
    let broker = Broker::start(&asked.binary, folder)?;
    pause(IDLE);
    let (resident, _) = broker.resident_mb();
    let processor = broker.processor_seconds();
    pause(IDLE);
    let processor = (broker.processor_seconds() - processor) / IDLE.as_secs_f64();
    broker.stop()?;
    let millis = |time: Option<&Duration>| time.map_or(0.0, |time| time.as_secs_f64() * 1e3);
    Ok(vec![format!(
        "ready after {:.0} ms on an empty folder (aim 200; of {STARTS} starts {:.0} to {:.0}); idle {resident:.0} MB \
         resident (aim 50), {:.1} ms of processor a second",
        millis(times.get(STARTS / 2)),
        millis(times.first()),
        millis(times.last()),
        processor * 1e3,
    )])
}

fn pending(folder: &Path, asked: &Asked) -> Result<Vec<String>, Failure> {
    let broker = begin(Target::Held, folder, asked)?;
    let mut clients = Clients::connect(broker.address, asked.connections, BATCH)?;
    let (processor, ours) = (broker.processor_seconds(), machine::processor_seconds());
    let sent = clients.send(Pace::Count(asked.pending))?;
    let (processor, ours) = (broker.processor_seconds() - processor, machine::processor_seconds() - ours);
    let filled = format!(
        "filled with {} events at {:.0}/s; {}",
        sent.events,
        sent.events as f64 / sent.took.as_secs_f64(),
        costs(&sent, processor, ours)
    );
    let (before, most_before) = broker.resident_mb();
    broker.kill()?;

    let broker = Broker::start(&asked.binary, folder)?;
    let (resident, most) = broker.resident_mb();
    let waiting = broker.stat("unsettled")?;
    if waiting != sent.events {
        return Err(format!("{} were acknowledged and {waiting} wait", sent.events).into());
    }
    let ready = broker.ready_after.as_secs_f64();
    pause(IDLE);
    let (later, _) = broker.resident_mb();
    broker.stop()?;
    Ok(vec![
        format!(
            "{waiting} wait: ready {ready:.2} s after kill -9 (aim 3); {resident:.0} MB resident then (at most \
             {most:.0}), {later:.0} MB {} s later (aim 300)",
            IDLE.as_secs()
        ),
        format!("{filled}; resident {before:.0} MB before it was killed, at most {most_before:.0} MB"),
    ])
}

/// A broker on a project with this target; a target that is held is paused, where the broker can do that.
pub(crate) fn begin(target: Target, folder: &Path, asked: &Asked) -> Result<Broker, Failure> {
    remove_data(folder)?;
    project::write(folder, target)?;
    let broker = Broker::start(&asked.binary, folder)?;
    if target == Target::Held {
        // Where it cannot, the target's only place is taken by a function that sleeps.
        broker.call("POST", &format!("/api/v1/targets/{RULE}/{TARGET}/pause"))?;
    }
    Ok(broker)
}

fn remove_data(folder: &Path) -> Result<(), Failure> {
    let data = folder.join("data");
    if data.exists() {
        std::fs::remove_dir_all(data)?;
    }
    Ok(())
}

/// Waits until every delivery has ended.
fn drain(broker: &Broker) -> Result<(), Failure> {
    let began = Instant::now();
    while broker.stat("unsettled")? > 0 {
        if began.elapsed() > DRAIN_MAX {
            return Err("deliveries do not end".into());
        }
        pause(ASK_EVERY);
    }
    Ok(())
}

fn costs(sent: &Sent, broker: f64, ours: f64) -> String {
    let micros = |seconds: f64| seconds * 1e6 / sent.events.max(1) as f64;
    format!(
        "processor an event of {EVENT_BYTES} bytes: broker {:.1} µs, clients {:.1} µs",
        micros(broker),
        micros(ours)
    )
}

/// `perf record` on the broker, where it was asked for.
fn profile(case: Case, broker: &Broker, asked: &Asked) -> Result<Option<Child>, Failure> {
    let Some(folder) = &asked.perf else { return Ok(None) };
    std::fs::create_dir_all(folder)?;
    let pid = broker.pid().to_string();
    let file = folder.join(format!("{}.data", case.name()));
    let command = ["record", "-q", "-g", "-F", PROFILE_HERTZ, "-p", &pid, "-o"];
    let child = Command::new("perf").args(command).arg(file).stdin(Stdio::null()).spawn()?;
    Ok(Some(child))
}

fn end_profile(profile: Option<Child>) -> Result<(), Failure> {
    let Some(mut child) = profile else { return Ok(()) };
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), rustix::process::Signal::INT)?;
    child.wait()?;
    Ok(())
}
