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

use eventyard_store::{QueueKey, ReadyQueue, Taken};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::alert::group::GROUP_ALERTS_MAX;
use crate::attempt::attempt;
use crate::broker::Broker;

/// The most attempts at a time, over all targets. Each holds an event in memory, so with events of 1 MiB this
/// bounds attempts to about a gigabyte; in practice events are a thousand times smaller.
pub const IN_FLIGHT_MAX: usize = 1024;

/// The most deliveries taken from one queue in one go, so that one queue cannot fill a round by itself.
const TAKE_MAX: usize = 256;

/// How long a lease holds without being extended, for stores that outlive their caller.
const LEASE: Duration = Duration::from_secs(60);

/// However quiet it is, the store is asked again after this long: a lost wake-up costs a pause, not a delivery.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// Runs until `stop` is cancelled; then takes nothing more and returns. Attempts that were started go on as
/// tasks of `attempts`, which the caller waits for.
pub async fn dispatch(broker: Arc<Broker>, attempts: TaskTracker, stop: CancellationToken) {
    let (finished_send, mut finished) = mpsc::channel::<QueueKey>(IN_FLIGHT_MAX);
    let mut in_flight = InFlight::default();
    let mut turn = fair::Turn::default();
    loop {
        while let Ok(queue) = finished.try_recv() {
            in_flight.remove(&queue);
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
            start(&broker, &chosen, &mut in_flight, &attempts, &finished_send).await
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
            Some(queue) = finished.recv() => in_flight.remove(&queue),
            () = broker.store().changed() => {}
            () = broker.targets_changed() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// How many attempts run, in all and for each queue.
#[derive(Default)]
struct InFlight {
    total: usize,
    by_queue: HashMap<QueueKey, usize>,
}

impl InFlight {
    fn of(&self, queue: &QueueKey) -> usize {
        self.by_queue.get(queue).copied().unwrap_or(0)
    }

    fn add(&mut self, queue: &QueueKey) {
        self.total += 1;
        *self.by_queue.entry(queue.clone()).or_default() += 1;
    }

    fn remove(&mut self, queue: &QueueKey) {
        self.total = self.total.saturating_sub(1);
        if let Some(count) = self.by_queue.get_mut(queue) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.by_queue.remove(queue);
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
    let candidates: Vec<fair::Candidate<'_>> = ready
        .iter()
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
    in_flight: &mut InFlight,
    attempts: &TaskTracker,
    finished: &mpsc::Sender<QueueKey>,
) -> usize {
    let in_force = broker.in_force();
    let mut started = 0;
    for (queue, count) in chosen {
        let now = broker.clocks().steady_now();
        let taken = match broker.store().take(queue, *count, now, LEASE).await {
            Ok(taken) => taken,
            Err(error) => {
                tracing::error!(%error, target_name = %queue.target, "deliveries of this target could not be read");
                continue;
            }
        };
        for _ in &taken {
            in_flight.add(queue);
            started += 1;
        }
        if in_force.is_grouped(queue) {
            spawn(broker, taken, attempts, finished.clone());
        } else {
            for one in taken {
                spawn(broker, vec![one], attempts, finished.clone());
            }
        }
    }
    started
}

/// Starts one attempt, of one delivery or of alerts that are sent as one.
fn spawn(broker: &Arc<Broker>, taken: Vec<Taken>, attempts: &TaskTracker, finished: mpsc::Sender<QueueKey>) {
    let broker = Arc::clone(broker);
    attempts.spawn(async move {
        let queues: Vec<QueueKey> = taken.iter().map(|taken| taken.queue.clone()).collect();
        attempt(&broker, taken).await;
        for queue in queues {
            // The channel holds as many as there can be attempts; it is closed only when dispatch has stopped.
            let _ = finished.send(queue).await;
        }
    });
}
