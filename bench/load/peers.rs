//! Two other brokers beside this one, in the same run: how many events a second each has made durable.
//!
//! The same 1,024 bytes, 64 of them on their way at any time, in turns of a few seconds so that all see the same disk.
//! NATS JetStream syncs each message before it acknowledges (`sync_interval: always`); the queue of RabbitMQ is a
//! quorum queue with confirms. Each is spoken to over one connection by a client as bare as ours, in its own
//! protocol; eventyard is sent one event a request over 64 connections, as in the case `accept`.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::arguments::Asked;
use crate::broker::Broker;
use crate::clients::{Clients, Pace};
use crate::project::Target;
use crate::{Failure, cases, machine};

mod amqp;
mod nats;

/// Turns of each; medians are printed.
const TURNS: usize = 5;
/// Messages on their way at any time.
const WINDOW: usize = 64;

/// Where another broker listens, and its process.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    pub(crate) address: String,
    pub(crate) pid: String,
}

/// What takes messages and says when they are durable.
trait Confirms {
    /// Sends so many messages; returns when they are on their way.
    fn send(&mut self, count: usize) -> Result<(), Failure>;
    /// Waits for confirmations; how many came.
    fn confirmed(&mut self) -> Result<usize, Failure>;
}

/// Sends for so long; how many events became durable, and in what time.
type Turn<'a> = dyn FnMut(Duration) -> Result<(u64, Duration), Failure> + 'a;

/// One of those that are compared.
struct Contender<'a> {
    name: &'static str,
    pid: String,
    turn: Box<Turn<'a>>,
    rates: Vec<f64>,
    events: u64,
    processor: f64,
    clients: f64,
}

/// Compares; a line for each, ours first.
pub(crate) fn run(folder: &Path, asked: &Asked) -> Result<Vec<String>, Failure> {
    let broker = cases::begin(Target::Held, folder, asked)?;
    let mut contenders = vec![ours(&broker, asked)?];
    if let Some(peer) = &asked.nats {
        let mut nats = nats::Nats::connect(&peer.address)?;
        contenders.push(contender("NATS JetStream", &peer.pid, move |time| pump(&mut nats, time)));
    }
    if let Some(peer) = &asked.amqp {
        let mut amqp = amqp::Amqp::connect(&peer.address)?;
        contenders.push(contender("RabbitMQ quorum queue", &peer.pid, move |time| pump(&mut amqp, time)));
    }
    let seconds = Duration::from_secs_f64(asked.seconds / TURNS as f64);
    for turn in 0..=TURNS {
        for contender in &mut contenders {
            contender.take_turn(seconds, turn > 0)?;
        }
    }
    let first = contenders.first_mut().map_or(0.0, Contender::rate);
    let lines = contenders.iter_mut().map(|contender| contender.line(first)).collect();
    drop(contenders);
    broker.stop()?;
    Ok(lines)
}

fn ours<'a>(broker: &Broker, asked: &Asked) -> Result<Contender<'a>, Failure> {
    let mut clients = Clients::connect(broker.address, asked.connections, 1)?;
    Ok(contender("eventyard", &broker.pid().to_string(), move |time| {
        let sent = clients.send(Pace::Closed(time))?;
        Ok((sent.events, sent.took))
    }))
}

fn contender<'a>(
    name: &'static str,
    pid: &str,
    turn: impl FnMut(Duration) -> Result<(u64, Duration), Failure> + 'a,
) -> Contender<'a> {
    let turn = Box::new(turn);
    Contender { name, pid: pid.to_owned(), turn, rates: Vec::new(), events: 0, processor: 0.0, clients: 0.0 }
}

impl Contender<'_> {
    /// One turn; the first one warms up and does not count.
    fn take_turn(&mut self, time: Duration, counts: bool) -> Result<(), Failure> {
        let (processor, clients) = (processor_seconds_of_tree(&self.pid), machine::processor_seconds());
        let (events, took) = (self.turn)(time).map_err(|error| format!("{}: {error}", self.name))?;
        if counts {
            self.rates.push(events as f64 / took.as_secs_f64());
            self.events += events;
            self.processor += processor_seconds_of_tree(&self.pid) - processor;
            self.clients += machine::processor_seconds() - clients;
        }
        Ok(())
    }

    fn rate(&mut self) -> f64 {
        self.rates.sort_by(f64::total_cmp);
        self.rates.get(self.rates.len() / 2).copied().unwrap_or_default()
    }

    fn line(&mut self, first: f64) -> String {
        let rate = self.rate();
        let micros = |seconds: f64| seconds * 1e6 / self.events.max(1) as f64;
        let (least, most) = (self.rates.first().copied(), self.rates.last().copied());
        format!(
            "{:<22}{rate:>7.0} durable events/s (of {TURNS} turns {:.0} to {:.0}); eventyard has {:.1} times as many; \
             processor an event: server {:.1} µs, client {:.1} µs",
            self.name,
            least.unwrap_or_default(),
            most.unwrap_or_default(),
            first / rate.max(1.0),
            micros(self.processor),
            micros(self.clients),
        )
    }
}

/// Keeps [`WINDOW`] messages on their way for so long, then waits for the last confirmation.
fn pump(peer: &mut impl Confirms, time: Duration) -> Result<(u64, Duration), Failure> {
    let began = Instant::now();
    peer.send(WINDOW)?;
    let (mut waiting, mut done) = (WINDOW, 0_u64);
    while waiting > 0 {
        let confirmed = peer.confirmed()?;
        waiting -= confirmed;
        done += confirmed as u64;
        if began.elapsed() < time && confirmed > 0 {
            peer.send(confirmed)?;
            waiting += confirmed;
        }
    }
    Ok((done, began.elapsed()))
}

/// Processor time of a process and of its children that run: a server may begin as a script.
fn processor_seconds_of_tree(process: &str) -> f64 {
    let threads = std::fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
    let children: f64 = threads
        .filter_map(|thread| std::fs::read_to_string(thread.path().join("children")).ok())
        .map(|children| children.split_whitespace().map(processor_seconds_of_tree).sum::<f64>())
        .sum();
    machine::processor_seconds_of(process) + children
}
