//! The journal on a disk that forgets: clients commit, workers attempt and settle, and the machine stops at any
//! call; then everything that was acknowledged has to be there.
//!
//! Each seed is a world of its own under paused time. `EVENTYARD_SEEDS=N` runs more of them,
//! `EVENTYARD_SEED=S` runs one again.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed, and says where")]

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use eventyard_event::{DeliveryId, EventId, format_text};
use eventyard_store::disk::{CallKind, Crash, DiskFaults, SimulatedDisk};
use eventyard_store::{
    Admission, AfterDead, AttemptOutcome, Commit, Dedupe, DeliveryState, Element, LocalStore, Options, PlantedFaults,
    Store, StoreError, VerifyError, verify_simulated,
};

mod support;
use support::*;

const SEEDS: u64 = 2000;
const QUEUES: [&str; 2] = ["a", "b"];

/// The lane a delivery stands on, if any, and what its deaths do to it.
type OnLane = Option<(u64, AfterDead)>;

/// What the world knows of a delivery.
#[derive(Clone, Debug)]
struct Known {
    lane: Option<(u64, AfterDead)>,
    state: Stand,
    /// What was asked for and not answered.
    asked: Option<Stand>,
    /// Attempts that were settled, those that were interrupted included.
    tries: u32,
    /// A begin was answered, and no settlement was.
    begun: bool,
    /// A cancellation was asked for and not answered.
    cancelling: bool,
    /// It was asked to be due at this time, and there was no answer.
    hastening: Option<i64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stand {
    Open { due: i64 },
    Dead,
    Delivered,
    Purged,
}

#[derive(Default)]
struct World {
    now: i64,
    next_event: u64,
    /// Events that were asked for.
    asked: BTreeMap<u64, Vec<(&'static str, OnLane)>>,
    /// Of events whose last delivery is split: the place of the first element, and how many there are; 0 where it could
    /// not be split.
    elements: BTreeMap<u64, (u32, u32)>,
    /// Those of them that were sent as dead letters from the start.
    stillborn: BTreeSet<u64>,
    /// Of each id of a sender, the events that were sent with it.
    senders: BTreeMap<u64, Vec<u64>>,
    answered_sender: BTreeMap<u64, EventId>,
    present: BTreeMap<u64, Vec<Known>>,
    /// Events that had ended and are gone by the retention.
    gone: BTreeSet<u64>,
    wrong: Vec<String>,
}

type Shared = Arc<Mutex<World>>;

impl World {
    fn known(&mut self, id: DeliveryId) -> Option<&mut Known> {
        let number = number_of(id.event);
        self.present.get_mut(&number)?.get_mut(id.place as usize)
    }

    /// Holds the element that a delivery says it is of against what was sent.
    fn check_element(&mut self, id: DeliveryId, found: Option<&Element>) {
        let sent = self.elements.get(&number_of(id.event)).filter(|(first, _)| id.place >= *first);
        let sent = sent.map(|(first, count)| if *count == 0 { (0, 0) } else { (id.place - first + 1, *count) });
        if sent != found.map(|element| (element.number, element.count)) {
            self.wrong(format!("{id} is of {found:?} and was sent as {sent:?}"));
        }
    }

    fn wrong(&mut self, what: String) {
        self.wrong.push(what);
    }
}

fn number_of(id: EventId) -> u64 {
    // The random half of the ids that `support` makes holds their number; two bits of it are the variant's.
    let bytes = id.to_bytes();
    u64::from_be_bytes(bytes[8..].try_into().unwrap()) & 0x00ff_ffff_ffff_ffff
}

fn rest_of(seed: u64, stream: u64) -> fastrand::Rng {
    fastrand::Rng::with_seed(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ stream)
}

/// Sends events until the store refuses for good.
async fn client(store: LocalStore, world: Shared, mut random: fastrand::Rng, lane: u64) {
    for _ in 0..random.usize(4..24) {
        let (commit, numbers) = {
            let mut world = world.lock().unwrap();
            let count = if random.u8(..8) == 0 { random.usize(2..6) } else { 1 };
            let mut admissions = Vec::new();
            let mut numbers = Vec::new();
            for _ in 0..count {
                let number = world.next_event;
                world.next_event += 1;
                let mut deliveries = Vec::new();
                let mut specs = Vec::new();
                for target in QUEUES.iter().take(random.usize(..=2)) {
                    let ordered = random
                        .bool()
                        .then_some((lane, if lane.is_multiple_of(2) { AfterDead::Continue } else { AfterDead::Wait }));
                    specs.push((*target, ordered));
                    deliveries.push(match ordered {
                        None => delivery(target, at(0)),
                        Some((lane, after_dead)) => in_lane(target, &lane.to_string(), after_dead, at(0)),
                    });
                }
                // Those of a lane keep their places, by which the lanes are held against each other.
                if let Some((target, None)) = specs.last().copied()
                    && random.u8(..4) == 0
                {
                    let count = random.u32(..6);
                    let first = u32::try_from(specs.len()).unwrap() - 1;
                    world.elements.insert(number, (first, count));
                    specs.extend((1..count).map(|_| (target, None)));
                    deliveries.pop();
                    deliveries.push(split_in(count, target, at(0)));
                }
                let sender = random.bool().then(|| random.u64(..12));
                let mut envelope = envelope(number, at(0));
                envelope.event.id =
                    sender.map_or(format_text!("own-{number}"), |sender| format_text!("sender-{sender}"));
                envelope.event.data = eventyard_event::Data::Bytes(vec![0x5a; random.usize(..3000)].into());
                if let Some(sender) = sender {
                    world.senders.entry(sender).or_default().push(number);
                }
                world.asked.insert(number, specs);
                let dead = (random.u8(..8) == 0).then(|| eventyard_store::Reason {
                    code: "decode".to_owned(),
                    message: "it is no JSON".to_owned(),
                });
                if dead.is_some() {
                    world.stillborn.insert(number);
                }
                admissions.push(Admission {
                    envelope: envelope.into(),
                    deliveries,
                    dedupe: sender.map(|_| Dedupe { window: Duration::from_secs(3600) }),
                    dead,
                });
                numbers.push((number, sender));
            }
            (Commit { admissions, position: None }, numbers)
        };
        match store.commit(commit).await {
            Ok(admitted) => answered(&mut world.lock().unwrap(), &admitted, &numbers),
            Err(StoreError::Full | StoreError::Busy) => {}
            Err(_) => return,
        }
        if random.u8(..4) == 0 {
            tokio::time::sleep(Duration::from_millis(random.u64(..5))).await;
        }
    }
}

/// Holds an answer against what was sent.
fn answered(world: &mut World, admitted: &[eventyard_store::Admitted], sent: &[(u64, Option<u64>)]) {
    for (admitted, (number, sender)) in admitted.iter().zip(sent) {
        let first = number_of(admitted.event);
        if admitted.duplicate != (first != *number) {
            world.wrong(format!("event {number} was answered with {first}, duplicate {}", admitted.duplicate));
        }
        if let Some(sender) = sender {
            let known = *world.answered_sender.entry(*sender).or_insert(admitted.event);
            if known != admitted.event {
                world.wrong(format!("sender's id {sender} was answered with two events"));
            }
        }
        arrive(world, first);
    }
}

/// An event is there, by an answer or by being seen.
fn arrive(world: &mut World, number: u64) {
    if world.gone.contains(&number) {
        return;
    }
    let Some(specs) = world.asked.get(&number).cloned() else {
        world.wrong(format!("event {number} was never sent"));
        return;
    };
    let state = if world.stillborn.contains(&number) { Stand::Dead } else { Stand::Open { due: at(0).as_millis() } };
    world.present.entry(number).or_insert_with(|| {
        specs
            .into_iter()
            .map(|(_, lane)| Known {
                lane,
                state,
                asked: None,
                tries: 0,
                begun: false,
                cancelling: false,
                hastening: None,
            })
            .collect()
    });
}

/// Attempts what is eligible until the store refuses for good.
async fn worker(store: LocalStore, world: Shared, mut random: fastrand::Rng) {
    for _ in 0..random.usize(4..36) {
        let now = {
            let mut world = world.lock().unwrap();
            world.now += random.i64(1..50);
            at(world.now)
        };
        let ready = store.ready(now);
        let Some(queue) = random.choice(ready) else {
            tokio::time::sleep(Duration::from_millis(random.u64(1..10))).await;
            let goes_on = match random.u8(..8) {
                0 | 1 => raise(&store, &world, &mut random).await,
                2 => interfere(&store, &world, &mut random).await,
                _ => true,
            };
            if !goes_on {
                return;
            }
            continue;
        };
        let Ok(taken) = store.take(&queue.queue, random.usize(1..4), now, LEASE).await else { return };
        for taken in &taken {
            check_taken(&mut world.lock().unwrap(), taken, now.as_millis());
        }
        let mut over = Vec::new();
        for taken in taken {
            if random.u8(..8) == 0 {
                store.release(vec![taken.delivery]).await;
                continue;
            }
            let begun = store.begin(vec![begin(taken.delivery, now)]).await.remove(0);
            if begun.is_err() {
                return;
            }
            if let Some(known) = world.lock().unwrap().known(taken.delivery) {
                known.begun = true;
            }
            tokio::time::sleep(Duration::from_millis(random.u64(..4))).await;
            // Those that end together share a frame.
            over.push(taken);
            if random.bool() && !end(&store, &world, &mut random, &std::mem::take(&mut over), now).await {
                return;
            }
        }
        if !end(&store, &world, &mut random, &over, now).await {
            return;
        }
    }
}

fn check_taken(world: &mut World, taken: &eventyard_store::Taken, now: i64) {
    let number = number_of(taken.delivery.event);
    // It may be synced and offered before its sender has been answered.
    arrive(world, number);
    let Some(known) = world.known(taken.delivery).cloned() else {
        world.wrong(format!("{} has no such place", taken.delivery));
        return;
    };
    if taken.unreadable.is_none() {
        world.check_element(taken.delivery, taken.element.as_ref());
    }
    // An answer that is on its way may have been overtaken by the delivery's next turn.
    let state = known.asked.unwrap_or(known.state);
    match state {
        Stand::Open { due } if due.min(known.hastening.unwrap_or(due)) <= now => {}
        other => world.wrong(format!("{} was taken at {now} while it was {other:?}", taken.delivery)),
    }
    if known.asked.is_none() && known.tries != taken.tries {
        world.wrong(format!("{} had {} tries and was taken with {}", taken.delivery, known.tries, taken.tries));
    }
    let Some((lane, after_dead)) = known.lane else { return };
    let ahead = world.present.range(..number).filter(|(_, each)| {
        each.get(taken.delivery.place as usize).is_some_and(|other| {
            other.lane == known.lane
                && other.asked.is_none()
                && !other.cancelling
                && match other.state {
                    Stand::Open { .. } => true,
                    Stand::Dead => after_dead == AfterDead::Wait,
                    Stand::Delivered | Stand::Purged => false,
                }
        })
    });
    let ahead: Vec<u64> = ahead.map(|(number, _)| *number).collect();
    if !ahead.is_empty() {
        world.wrong(format!("{} of lane {lane} was taken before {ahead:?}", taken.delivery));
    }
}

/// Settles deliveries at random, all in one call. `false` where the store refuses one for good.
async fn end(
    store: &LocalStore,
    world: &Shared,
    random: &mut fastrand::Rng,
    taken: &[eventyard_store::Taken],
    now: eventyard_event::Timestamp,
) -> bool {
    let mut asked = Vec::new();
    let mut settlements = Vec::new();
    for taken in taken {
        let (id, number) = (taken.delivery, taken.tries + 1);
        let (settlement, stand) = match random.u8(..4) {
            0 => {
                let due = now.plus(Duration::from_millis(random.u64(1..200)));
                (retried(id, number, due), Stand::Open { due: due.as_millis() })
            }
            1 => (died(id, number, now), Stand::Dead),
            _ => (delivered(id, number), Stand::Delivered),
        };
        if let Some(known) = world.lock().unwrap().known(id) {
            known.asked = Some(stand);
        }
        settlements.push(settlement);
        asked.push((id, number, stand));
    }
    let results = store.settle(settlements).await;
    assert_eq!(results.len(), asked.len());
    let mut goes_on = true;
    for ((id, number, stand), result) in asked.into_iter().zip(results) {
        if result.is_err() {
            goes_on = false;
            continue;
        }
        if let Some(known) = world.lock().unwrap().known(id) {
            // Another worker may have gone on with it between the sync and here.
            if known.asked == Some(stand) {
                known.asked = None;
                known.begun = false;
            }
            known.state = stand;
            known.tries = known.tries.max(number);
        }
    }
    goes_on
}

/// Cancels or hastens a delivery that is thought to rest.
async fn interfere(store: &LocalStore, world: &Shared, random: &mut fastrand::Rng) -> bool {
    let (id, now) = {
        let world = world.lock().unwrap();
        let open: Vec<DeliveryId> = world
            .present
            .iter()
            .flat_map(|(number, each)| {
                (0u32..)
                    .zip(each)
                    .filter(|(_, known)| matches!(known.state, Stand::Open { .. }) && known.asked.is_none())
                    // One after the other: the answer to who comes too late would be taken for the end of both.
                    .filter(|(_, known)| !known.cancelling && known.hastening.is_none())
                    .map(move |(place, _)| event_id(*number).delivery(place))
            })
            .collect();
        let Some(id) = random.choice(open) else { return true };
        (id, at(world.now))
    };
    let cancels = random.u8(..4) == 0;
    if let Some(known) = world.lock().unwrap().known(id) {
        (known.cancelling, known.hastening) = (cancels, (!cancels).then_some(now.as_millis()));
    }
    let answer = if cancels { store.cancel(vec![id], now).await } else { store.hasten(vec![id], now, now).await };
    let Ok(done) = answer else { return false };
    if let Some(known) = world.lock().unwrap().known(id) {
        (known.cancelling, known.hastening) = (false, None);
        match known.state {
            _ if !done.contains(&id) => {}
            _ if cancels => known.state = Stand::Purged,
            // It may have moved on since; then this is only laxer than need be.
            Stand::Open { due } => known.state = Stand::Open { due: due.min(now.as_millis()) },
            _ => {}
        }
    }
    true
}

/// Replays or purges a dead letter.
async fn raise(store: &LocalStore, world: &Shared, random: &mut fastrand::Rng) -> bool {
    let (id, now) = {
        let world = world.lock().unwrap();
        let dead: Vec<DeliveryId> = world
            .present
            .iter()
            .flat_map(|(number, each)| {
                (0u32..)
                    .zip(each)
                    .filter(|(_, known)| known.state == Stand::Dead && known.asked.is_none())
                    .map(move |(place, _)| event_id(*number).delivery(place))
            })
            .collect();
        let Some(id) = random.choice(dead) else { return true };
        (id, at(world.now))
    };
    let replays = random.bool();
    let stand = if replays { Stand::Open { due: now.as_millis() } } else { Stand::Purged };
    if let Some(known) = world.lock().unwrap().known(id) {
        known.asked = Some(stand);
    }
    let answer = if replays { store.replay(vec![(id, now)], now).await } else { store.purge(vec![id], now).await };
    match answer {
        Ok(done) => {
            if let Some(known) = world.lock().unwrap().known(id).filter(|known| known.asked == Some(stand)) {
                known.asked = None;
                if done.contains(&id) {
                    known.state = stand;
                }
            }
            true
        }
        Err(_) => false,
    }
}

/// Holds the store against what is known, after a restart. What was asked and not answered is settled by what
/// is found.
async fn examine(store: &LocalStore, world: &Shared, crash: Crash, forgets: bool) {
    let asked: BTreeSet<u64> = world.lock().unwrap().asked.keys().copied().collect();
    for number in asked {
        let found = match store.event(event_id(number)).await {
            Ok(found) => found,
            Err(error) => {
                world.lock().unwrap().wrong(format!("event {number} cannot be seen: {error}"));
                continue;
            }
        };
        let mut world = world.lock().unwrap();
        let Some(view) = found else {
            if world.gone.contains(&number) {
                continue;
            }
            // What has ended may be gone by the retention, whether or not its end was answered.
            let ended = |stand: Stand| matches!(stand, Stand::Delivered | Stand::Purged);
            let all_ended =
                |known: &Vec<Known>| known.iter().all(|known| ended(known.state) || known.asked.is_some_and(ended));
            match world.present.get(&number) {
                Some(known) if forgets && all_ended(known) => {
                    world.present.remove(&number);
                    world.gone.insert(number);
                }
                Some(_) => world.wrong(format!("event {number} was acknowledged and is gone")),
                None if forgets && world.asked.get(&number).is_some_and(Vec::is_empty) => {
                    world.gone.insert(number);
                }
                None => {
                    world.asked.remove(&number);
                }
            }
            continue;
        };
        arrive(&mut world, number);
        for view in view.deliveries {
            let Some(known) = world.known(view.id).cloned() else {
                world.wrong(format!("{} should not be", view.id));
                continue;
            };
            world.check_element(view.id, view.element.as_ref());
            let fits = |stand: Stand| match stand {
                Stand::Open { .. } => matches!(view.state, DeliveryState::Pending | DeliveryState::Waiting),
                Stand::Dead => view.state == DeliveryState::Dead,
                Stand::Delivered => view.state == DeliveryState::Delivered,
                Stand::Purged => view.state == DeliveryState::Cancelled,
            };
            let tries = u32::try_from(view.history.len()).unwrap();
            let interrupted = view.history.last().is_some_and(|last| last.outcome == AttemptOutcome::Interrupted);
            let asked = known.asked.filter(|stand| fits(*stand) && tries > known.tries || fits(*stand) && !known.begun);
            let cut_off = interrupted && tries > known.tries && view.state == DeliveryState::Waiting;
            let cancelled = known.cancelling && view.state == DeliveryState::Cancelled;
            if !(fits(known.state) || asked.is_some() || cut_off || cancelled) {
                world.wrong(format!(
                    "{} is {:?} and was {:?}, asked {:?}",
                    view.id, view.state, known.state, known.asked
                ));
            }
            if tries < known.tries {
                world.wrong(format!("{} had {} tries and has {tries}: {:?}, {known:?}", view.id, known.tries, view));
            }
            if crash == Crash::ProcessDeath && known.begun && tries == known.tries {
                world.wrong(format!("{} had begun, and no trace of it is left", view.id));
            }
            let due = view.next_attempt_at.map_or(0, eventyard_event::Timestamp::as_millis);
            let state = match view.state {
                DeliveryState::Pending | DeliveryState::Waiting => Stand::Open { due },
                DeliveryState::Dead => Stand::Dead,
                DeliveryState::Delivered => Stand::Delivered,
                _ => Stand::Purged,
            };
            if let Some(known) = world.known(view.id) {
                let (lane, cancelling, hastening) = (known.lane, false, None);
                *known = Known { lane, state, asked: None, tries, begun: false, cancelling, hastening };
            }
        }
    }
    let mut world = world.lock().unwrap();
    let all = || world.present.values().flatten();
    let open = all().filter(|known| matches!(known.state, Stand::Open { .. })).count() as u64;
    let dead = all().filter(|known| known.state == Stand::Dead).count() as u64;
    let wanted = (world.present.len() as u64, open, dead, 0);
    let stats = store.stats();
    let found = (stats.events, stats.unsettled, stats.dead, stats.in_flight);
    if found != wanted {
        world.wrong(format!("the counts are {found:?} and should be {wanted:?}"));
    }
}

/// What one seed came to.
#[derive(Default)]
struct Outcome {
    wrong: Vec<String>,
    crashes: u32,
    events: usize,
}

async fn live(seed: u64, faults: PlantedFaults) -> Outcome {
    let mut random = rest_of(seed, 1);
    let world = Shared::default();
    let mut disk = SimulatedDisk::new(seed);
    let mut crash = Crash::PowerCut;
    let mut outcome = Outcome::default();
    // In every other world segments go as soon as they can, or when the journal is longer than a few of them.
    let forgets = random.bool();
    let (retention, retention_bytes) = match forgets {
        true if random.bool() => (Duration::ZERO, u64::MAX),
        true => (Duration::from_secs(3600), random.u64(..4) * 64 * 1024),
        false => (Duration::from_secs(3600), u64::MAX),
    };
    for life in 0..random.u64(2..5) {
        let options = Options {
            segment_bytes: 64 * 1024,
            first_segment_bytes: 64 * 1024,
            checkpoint_bytes: random.u64(4..64) * 1024,
            checkpoint_every: Duration::from_millis(random.u64(20..500)),
            retention,
            retention_bytes,
            faults,
            ..Options::default()
        };
        let now = at(world.lock().unwrap().now);
        let slowness_max = Duration::from_micros(random.u64(..3000));
        let calls = disk.calls();
        // Now and then the machine stops again while it recovers.
        if life > 0 && random.u8(..4) == 0 {
            disk.set_faults(DiskFaults { crash_at: Some(calls + random.u64(1..40)), ..DiskFaults::default() });
            let opened = LocalStore::open_simulated(disk.clone(), options.clone(), Arc::new(move || now));
            drop(opened);
            crash = if crash == Crash::PowerCut || random.bool() { Crash::PowerCut } else { Crash::ProcessDeath };
            disk = disk.restart(crash);
        }
        disk.set_faults(DiskFaults::default());
        if life > 0 && random.u8(..8) == 0 {
            disk.lose_index();
        }
        if life > 0 && seed.is_multiple_of(4) {
            match verify_simulated(&disk, now) {
                Ok(report) if report.is_sound() => {}
                // The machine may have stopped before there was any.
                Err(VerifyError::Missing { .. }) => {}
                other => world.lock().unwrap().wrong(format!("life {life}: verify says {other:?}")),
            }
        }
        let (store, report) = match LocalStore::open_simulated(disk.clone(), options, Arc::new(move || now)) {
            Ok(opened) => opened,
            Err(error) => {
                outcome.wrong.push(format!("life {life}: {error}"));
                break;
            }
        };
        if !report.damages.is_empty() || report.rebuilt.is_some() {
            world.lock().unwrap().wrong(format!("life {life}: nothing was damaged, and yet {report:?}"));
        }
        examine(&store, &world, crash, forgets).await;
        if !world.lock().unwrap().wrong.is_empty() {
            break;
        }

        let calls = disk.calls();
        let stops = random.bool();
        disk.set_faults(DiskFaults {
            crash_at: stops.then(|| calls + random.u64(1..400)),
            fail: (random.u8(..8) == 0).then(|| {
                let kind = if random.bool() { CallKind::Sync } else { CallKind::Write };
                (calls + random.u64(1..300), kind, ErrorKind::Other)
            }),
            capacity_bytes: (random.u8(..8) == 0).then(|| random.u64(4..12) * 64 * 1024),
            slowness_max,
        });
        let mut running = tokio::task::JoinSet::new();
        for number in 0..3 {
            running.spawn(client(store.clone(), Arc::clone(&world), rest_of(seed, 100 * life + number), number));
        }
        for number in 10..12 {
            running.spawn(worker(store.clone(), Arc::clone(&world), rest_of(seed, 100 * life + number)));
        }
        let all = async { while running.join_next().await.is_some() {} };
        let time = Duration::from_millis(random.u64(1..3000));
        let timed_out = tokio::time::timeout(time, all).await.is_err();
        running.abort_all();
        while running.join_next().await.is_some() {}
        if !timed_out && !disk.crashed() && random.bool() {
            drop(store.close().await);
        }
        drop(store);
        tokio::task::yield_now().await;
        crash = if random.bool() { Crash::PowerCut } else { Crash::ProcessDeath };
        outcome.crashes += u32::from(disk.crashed());
        disk = disk.restart(crash);
    }
    let mut world = world.lock().unwrap();
    outcome.events = world.present.len();
    outcome.wrong.append(&mut world.wrong);
    outcome
}

fn run(seed: u64, faults: PlantedFaults) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(live(seed, faults))
}

fn seeds() -> std::ops::Range<u64> {
    let from = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    match from("EVENTYARD_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..from("EVENTYARD_SEEDS").unwrap_or(SEEDS),
    }
}

#[test]
fn whatever_was_acknowledged_survives_a_crash_at_any_call() {
    // Worlds know nothing of each other, so every processor lives through its share.
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let (crashes, events) = std::thread::scope(|scope| {
        let share = |first| scope.spawn(move || live_through(seeds().skip(first).step_by(threads)));
        let shares: Vec<_> = (0..threads).map(share).collect();
        let counts =
            shares.into_iter().map(|share| share.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        counts.fold((0, 0), |sum, counts| (sum.0 + counts.0, sum.1 + counts.1))
    });
    println!("{} seeds: {crashes} machines stopped in the middle of a call, {events} events", seeds().count());
}

/// Runs some seeds, and counts the machines that stopped in the middle of a call, and the events.
fn live_through(seeds: impl Iterator<Item = u64>) -> (u64, u64) {
    let (mut crashes, mut events) = (0, 0);
    for seed in seeds {
        let outcome = run(seed, PlantedFaults::default());
        assert!(
            outcome.wrong.is_empty(),
            "EVENTYARD_SEED={seed}: {:#?}",
            outcome.wrong.iter().take(8).collect::<Vec<_>>()
        );
        crashes += u64::from(outcome.crashes);
        events += outcome.events as u64;
    }
    (crashes, events)
}

/// How many seeds it takes until a planted fault is found; `None` where it is not.
fn found_after(faults: PlantedFaults) -> Option<u64> {
    (0..300).find(|seed| !run(*seed, faults).wrong.is_empty())
}

#[test]
fn an_answer_before_the_sync_is_found() {
    assert!(found_after(PlantedFaults { answer_before_sync: true, ..PlantedFaults::default() }).is_some());
}

#[test]
fn a_begin_that_is_not_written_is_found() {
    assert!(found_after(PlantedFaults { settle_without_begin: true, ..PlantedFaults::default() }).is_some());
}

#[test]
fn a_checkpoint_ahead_of_the_sync_is_found() {
    assert!(found_after(PlantedFaults { checkpoint_ahead_of_sync: true, ..PlantedFaults::default() }).is_some());
}

#[test]
fn the_same_seed_tells_the_same_story() {
    for seed in 0..20 {
        let (a, b) = (run(seed, PlantedFaults::default()), run(seed, PlantedFaults::default()));
        assert_eq!((a.crashes, a.events), (b.crashes, b.events), "seed {seed}");
    }
}
