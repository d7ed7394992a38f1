//! Hands out work: which deliveries are attempted next.
//!
//! Dispatch learns of work from the store and from nowhere else. It asks which queues have eligible
//! deliveries, chooses between queues ([`fair::choose`], a pure function), leases what was chosen and starts an
//! attempt for each. It never sees a list of deliveries, so a blocked target with a million due costs the
//! others nothing.

pub mod fair;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use eventyard_store::{QueueKey, ReadyQueue};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::alert::group::GROUP_ALERTS_MAX;
use crate::attempt::{Called, attempt_as_one, attempt_each};
use crate::broker::Broker;

/// The most attempts at a time, over all targets, those among them whose outcomes are on their way to the disk. The most that a
/// target asks for by itself is 4,000 calls.
pub const IN_FLIGHT_MAX: usize = 16_384;

/// Bytes of data that attempts hold, over all targets: where they hold so much, nothing is taken until some have ended. One
/// take may go beyond it by [`TAKE_MAX`] events.
const IN_FLIGHT_BYTES_MAX: usize = 512 * 1024 * 1024;

/// The most deliveries taken from one queue in one go, so that one queue cannot fill a round by itself.
const TAKE_MAX: usize = 256;

/// What attempts tell dispatch and it has not heard yet: each tells at most twice, so none ever waits.
const ENDS_WAITING_MAX: usize = 2 * IN_FLIGHT_MAX;

/// How long a lease holds without being extended, for stores that outlive their caller.
const LEASE: Duration = Duration::from_secs(60);

/// However quiet it is, the store is asked again after this long: a lost wake-up costs a pause, not a delivery.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// Runs until `stop` is cancelled; then takes nothing more and returns. Attempts that were started go on as
/// tasks of `attempts`, which the caller waits for.
pub async fn dispatch(broker: Arc<Broker>, attempts: TaskTracker, stop: CancellationToken) {
    dispatch_within(IN_FLIGHT_BYTES_MAX, broker, attempts, stop).await;
}

/// The same with another bound on the bytes that attempts hold.
async fn dispatch_within(bytes_max: usize, broker: Arc<Broker>, attempts: TaskTracker, stop: CancellationToken) {
    let (ends_send, mut ends) = mpsc::channel::<End>(ENDS_WAITING_MAX);
    let mut in_flight = InFlight::default();
    let mut turn = fair::Turn::default();
    loop {
        while let Ok(end) = ends.try_recv() {
            in_flight.end(&end);
        }
        let now = broker.clocks().steady_now();
        let started = if broker.poisoned() {
            0
        } else {
            let ready = broker.store().ready(now);
            let mut chosen = choose(&broker, &ready, &in_flight, &mut turn);
            // Who gets a place is decided; those for whose answer somebody waits go first.
            let in_force = broker.in_force();
            chosen.sort_by_key(|(queue, _)| !in_force.target(queue).is_some_and(|target| target.reply));
            start(&broker, &chosen, bytes_max, &mut in_flight, &attempts, &ends_send).await
        };
        if started > 0 {
            // There may be more where that came from; let the attempts run first.
            tokio::task::yield_now().await;
            if stop.is_cancelled() {
                return;
            }
            continue;
        }
        // What is due already and was not started is behind a limit: the end of an attempt wakes us, not the time.
        let next_due = broker.store().next_due().filter(|due| *due > now);
        let pause = next_due.map_or(LOOK_AGAIN, |due| due.since(now).min(LOOK_AGAIN));
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            Some(end) = ends.recv() => in_flight.end(&end),
            () = broker.store().changed() => {}
            () = broker.targets_changed() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// What attempts tell dispatch.
enum End {
    /// Calls of a queue's target have ended: their places there are free.
    Called(Arc<QueueKey>, usize),
    /// So many outcomes are written, and what they held in memory is free, so many bytes.
    Settled(usize, usize),
}

/// How many attempts run, in all and for each queue.
#[derive(Default)]
struct InFlight {
    /// Until their outcomes are written.
    total: usize,
    /// The bytes of data that these hold.
    bytes: usize,
    /// Until their targets have answered.
    by_queue: HashMap<QueueKey, usize>,
}

impl InFlight {
    fn of(&self, queue: &QueueKey) -> usize {
        self.by_queue.get(queue).copied().unwrap_or(0)
    }

    fn add(&mut self, queue: &QueueKey, count: usize, bytes: usize) {
        self.total += count;
        self.bytes += bytes;
        *self.by_queue.entry(queue.clone()).or_default() += count;
    }

    fn end(&mut self, end: &End) {
        match end {
            End::Settled(settled, bytes) => {
                self.total = self.total.saturating_sub(*settled);
                self.bytes = self.bytes.saturating_sub(*bytes);
            }
            End::Called(queue, called) => {
                if let Some(count) = self.by_queue.get_mut(&**queue) {
                    *count = count.saturating_sub(*called);
                    if *count == 0 {
                        self.by_queue.remove(&**queue);
                    }
                }
            }
        }
    }
}

fn choose(
    broker: &Broker,
    ready: &[ReadyQueue],
    in_flight: &InFlight,
    turn: &mut fair::Turn,
) -> Vec<(QueueKey, usize)> {
    let in_force = broker.in_force();
    let paused = broker.pauses().now();
    let candidates: Vec<fair::Candidate<'_>> = ready
        .iter()
        .filter(|ready| !paused.targets.contains_key(&ready.queue))
        .map(|ready| {
            let running = in_flight.of(&ready.queue);
            let room = if in_force.is_grouped(&ready.queue) {
                // One group at a time, so that what becomes due meanwhile is joined too.
                if running == 0 { GROUP_ALERTS_MAX } else { 0 }
            } else {
                in_force.concurrency(&ready.queue).saturating_sub(running)
            };
            fair::Candidate { queue: &ready.queue, wanted: ready.eligible_count.min(room).min(TAKE_MAX) }
        })
        .filter(|candidate| candidate.wanted > 0)
        .collect();
    fair::choose(&candidates, IN_FLIGHT_MAX.saturating_sub(in_flight.total), turn)
}

/// Leases what was chosen and starts its attempts; returns how many.
async fn start(
    broker: &Arc<Broker>,
    chosen: &[(QueueKey, usize)],
    bytes_max: usize,
    in_flight: &mut InFlight,
    attempts: &TaskTracker,
    ends: &mpsc::Sender<End>,
) -> usize {
    let in_force = broker.in_force();
    let mut started = 0;
    for (queue, count) in chosen {
        if in_flight.bytes >= bytes_max {
            break;
        }
        let now = broker.clocks().steady_now();
        let taken = match broker.store().take(queue, *count, now, LEASE).await {
            Ok(taken) => taken,
            Err(error) => {
                tracing::error!(%error, target_name = %queue.target, "deliveries of this target could not be read");
                continue;
            }
        };
        if taken.is_empty() {
            continue;
        }
        started += taken.len();
        // The elements of one event share it.
        let events = taken.chunk_by(|one, next| Arc::ptr_eq(&one.envelope, &next.envelope)).filter_map(<[_]>::first);
        let bytes: usize = events.map(|taken| taken.envelope.event.data.bytes().len()).sum();
        let told = Told { queue: Arc::new(queue.clone()), bytes_each: bytes.div_ceil(taken.len()), ends: ends.clone() };
        in_flight.add(queue, taken.len(), told.bytes(taken.len()));
        let broker = Arc::clone(broker);
        if in_force.is_grouped(queue) {
            attempts.spawn(async move {
                let count = taken.len();
                attempt_as_one(&broker, taken).await;
                // Only now: what becomes due meanwhile is to be joined by the next group.
                told.called(count).await;
                told.settled(count).await;
            });
        } else {
            let tracker = attempts.clone();
            attempts.spawn(async move { attempt_each(&broker, taken, &tracker, told).await });
        }
    }
    started
}

/// How attempts of one queue tell dispatch.
#[derive(Clone)]
struct Told {
    queue: Arc<QueueKey>,
    /// What each of them holds, on the average.
    bytes_each: usize,
    ends: mpsc::Sender<End>,
}

impl Told {
    fn bytes(&self, count: usize) -> usize {
        count.saturating_mul(self.bytes_each)
    }
}

impl Called for Told {
    // The channel is closed only when dispatch has stopped.
    async fn called(&self, count: usize) {
        let _ = self.ends.send(End::Called(Arc::clone(&self.queue), count)).await;
    }

    async fn settled(&self, count: usize) {
        let _ = self.ends.send(End::Settled(count, self.bytes(count))).await;
    }
}

#[cfg(test)]
mod tests;
