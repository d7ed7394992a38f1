//! One seed: several lives of the broker on one disk, each ended by a crash, then one in which everything settles.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use eventyard::broker::Broker;
use eventyard::by_hand::ByHandError;
use eventyard::clock::Clocks;
use eventyard::config::{self, Project, Surroundings};
use eventyard::dead_letter::Selection;
use eventyard::dispatch::dispatch;
use eventyard::in_force::{Callees, InForce};
use eventyard::origin::Origin;
use eventyard::pauses::{Pausable, PauseError};
use eventyard_connectors::sink::Sink;
use eventyard_connectors::source::Incoming;
use eventyard_event::{Data, DeliveryId, Event, Name, Timestamp};
use eventyard_functions::Executor;
use eventyard_store::disk::{CallKind, Crash, DiskFaults, SimulatedDisk};
use eventyard_store::{
    DeadLetterFilter, DeliveryFilter, DeliveryState, DeliveryView, EventFilter, LocalStore, Options, PageRequest,
    PlantedFaults, QueueKey, Store, StoreError,
};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::ledger::Ledger;
use super::targets::Scripted;

/// When the first life begins.
const BEGAN_AT: Timestamp = Timestamp::from_millis(1_790_000_000_000);
/// Crashes before everything has to settle.
const CRASHES_MAX: u64 = 5;
/// How long everything may take to settle once nothing fails any more: far above the longest pause.
const SETTLED_WITHIN: Duration = Duration::from_secs(3600);
/// Clients that send at the same time.
const CLIENTS: u64 = 3;
/// How long anybody waits for an answer before going away.
const PATIENCE: Duration = Duration::from_secs(30);
/// Targets that people pause; each is the only one of the rule of its name, and the only one that calls what it calls.
const PAUSED_NOW_AND_THEN: [&str; 3] = ["plain", "ordered", "held"];
/// More pending deliveries than this are never there: clients send few events.
const UNSETTLED_MAX: u64 = 2_000;

const PROJECT: &str = r#"
[defaults]
retry = { attempts = 4, backoff = "1s", backoff_max = "20s", max_age = "2h" }

[function.plain]
runtime = "command"
command = ["true"]
timeout = "5s"

[sink.fan]
kind = "discard"

[sink.ordered]
kind = "discard"

[sink.held]
kind = "discard"

[sink.split]
kind = "discard"

[channel.people]
kind = "webhook"
url = "http://127.0.0.1:9/"
alerts = ["dead_letter"]

[[rule]]
name = "plain"
pattern = { type = ["plain", "chained"] }
target = { function = "plain", concurrency = 4 }

[[rule]]
name = "ordered"
pattern = { type = ["ordered"] }
order_by = "data.key"
target = { sink = "ordered", timeout = "5s", concurrency = 4 }

[[rule]]
name = "held"
pattern = { type = ["held"] }
order_by = "data.key"
order_after_dead = "wait"
target = { sink = "held", timeout = "5s", concurrency = 4 }

[[rule]]
name = "chain"
pattern = { type = ["chain"] }
target = { event = { type = "chained" } }
"#;

/// The rules that reloads change: with both targets, or with one of them; splitting, or not.
const FAN_OUT: [&str; 2] = [
    r#"
[[rule]]
name = "fan"
pattern = { type = ["plain", "fan"] }
[[rule.target]]
sink = "fan"
timeout = "5s"
concurrency = 4
[[rule.target]]
name = "second"
sink = "fan"
timeout = "5s"
concurrency = 4

[[rule]]
name = "split"
pattern = { type = ["split"] }
split = "data.items"
target = { sink = "split", timeout = "5s", concurrency = 4 }
"#,
    r#"
[[rule]]
name = "fan"
pattern = { type = ["fan"] }
target = { sink = "fan", timeout = "5s", concurrency = 4 }

[[rule]]
name = "split"
pattern = { type = ["split"] }
target = { sink = "split", timeout = "5s", concurrency = 4 }
"#,
];

/// What came of one seed.
pub(super) struct Outcome {
    pub(super) violations: Vec<String>,
    pub(super) trace: Vec<String>,
    pub(super) trace_hash: u64,
    pub(super) acknowledged: u64,
    pub(super) calls: u64,
    pub(super) lives: u64,
    pub(super) deaths: u64,
    pub(super) pauses: u64,
    pub(super) cancelled: u64,
}

impl Outcome {
    pub(super) fn broken(violation: String) -> Outcome {
        let (trace, violations) = (Vec::new(), vec![violation]);
        Outcome {
            violations,
            trace,
            trace_hash: 0,
            acknowledged: 0,
            calls: 0,
            lives: 0,
            deaths: 0,
            pauses: 0,
            cancelled: 0,
        }
    }
}

/// Runs one seed from the first start to the last check.
pub(super) fn simulate(seed: u64, faults: PlantedFaults) -> Outcome {
    let ledger = Ledger::new(seed);
    let mut disk = SimulatedDisk::new(seed);
    let mut clients: Vec<Client> = (0..CLIENTS).map(Client::new).collect();
    let crashes = ledger.lock().random.u64(2..=CRASHES_MAX);
    let mut now = BEGAN_AT;
    for life in 0..=crashes {
        let last = life == crashes;
        if last {
            ledger.lock().faulty = false;
            disk.set_faults(DiskFaults::default());
        }
        // A runtime for each life: dropping it ends every task, as the death of a process does.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let setting = Setting { ledger: ledger.clone(), disk: disk.clone(), faults, seed: seed * 1000 + life };
        now = runtime.block_on(setting.live(now, &mut clients, last));
        drop(runtime);
        let mut ledger = ledger.lock();
        ledger.all_calls_are_cut();
        if last || !ledger.violations.is_empty() {
            break;
        }
        let crash = if ledger.random.bool() { Crash::PowerCut } else { Crash::ProcessDeath };
        if crash == Crash::PowerCut {
            ledger.power_cuts += 1;
        }
        ledger.trace(now, format!("{crash:?}"));
        disk = disk.restart(crash);
        // The machine is away for a while.
        now = now.plus(Duration::from_millis(ledger.random.u64(0..60_000)));
    }
    let ledger = ledger.lock();
    Outcome {
        violations: ledger.violations.clone(),
        trace: ledger.trace.clone(),
        trace_hash: ledger.trace_hash(),
        acknowledged: u64::try_from(ledger.acknowledged.len()).unwrap(),
        calls: ledger.calls,
        lives: crashes + 1,
        deaths: ledger.deaths,
        pauses: ledger.pause_count,
        cancelled: u64::try_from(ledger.cancelled.len()).unwrap(),
    }
}

/// A client that sends events one after another and sends each again, with the same id, until it is answered.
struct Client {
    number: u64,
    sent: u64,
    keys: BTreeMap<String, u64>,
    unanswered: Option<Event>,
}

impl Client {
    fn new(number: u64) -> Client {
        Client { number, sent: 0, keys: BTreeMap::new(), unanswered: None }
    }

    /// The next event, or the one that was not answered.
    fn next(&mut self, random: &mut fastrand::Rng) -> Event {
        if let Some(event) = &self.unanswered {
            return event.clone();
        }
        let ty = ["plain", "fan", "ordered", "held", "chain", "split", "nobody-listens"][random.usize(0..7)];
        self.sent += 1;
        let (id, data) = if matches!(ty, "ordered" | "held") {
            // A key belongs to one client, so that the order of its events is known.
            let key = format!("{ty}-{}-{}", self.number, random.u8(0..2));
            let count = self.keys.entry(key.clone()).or_default();
            let id = format!("{key}#{count}");
            *count += 1;
            (id, format!(r#"{{"key":"{key}"}}"#))
        } else if ty == "split" {
            // Each element says its number, and the id how many there are.
            let count = random.usize(0..5);
            let items: Vec<String> = (1..=count).map(|number| number.to_string()).collect();
            (format!("split-{}-{}-{count}", self.number, self.sent), format!(r#"{{"items":[{}]}}"#, items.join(", ")))
        } else {
            (format!("{ty}-{}-{}", self.number, self.sent), "{}".to_owned())
        };
        let event = Event {
            id: id.into(),
            source: "/sim".into(),
            ty: ty.into(),
            data: Data::Json(data.into()),
            ..Event::default()
        };
        self.unanswered = Some(event.clone());
        event
    }
}

/// One life.
struct Setting {
    ledger: Ledger,
    disk: SimulatedDisk,
    faults: PlantedFaults,
    seed: u64,
}

impl Setting {
    /// Returns the time at which it ended.
    async fn live(&self, now: Timestamp, clients: &mut [Client], last: bool) -> Timestamp {
        let clocks = Clocks::tokio(now);
        let options = Options {
            segment_bytes: 64 * 1024,
            first_segment_bytes: 64 * 1024,
            checkpoint_bytes: 16 * 1024,
            checkpoint_every: Duration::from_secs(5),
            faults: self.faults,
            ..Options::default()
        };
        let disk_fails = !last && self.plan_disk_faults();
        let opened = LocalStore::open_simulated(self.disk.clone(), options, Arc::clone(&clocks.steady));
        let store: Arc<dyn Store> = match opened {
            Ok((store, report)) => {
                for damage in report.damages {
                    self.ledger.violation(format!("power cuts and failing syncs are no damage: {damage}"));
                }
                Arc::new(store)
            }
            Err(error) => {
                // A disk that fails while opening is a reason not to start, and the next start finds everything.
                if last || !(self.disk.crashed() || disk_fails) {
                    self.ledger.violation(format!("the store does not open: {error}"));
                }
                return clocks.steady_now();
            }
        };
        self.ledger.trace(clocks.steady_now(), "the store is open".into());
        let callees = self.callees(&clocks, &store);
        let in_force = InForce::new(Arc::new(project(0)), &callees);
        let broker = Arc::new(Broker::new(store, clocks.clone(), in_force, self.seed));
        self.pauses_are_kept(&broker).await;
        let (attempts, stop) = (TaskTracker::new(), CancellationToken::new());
        let listening = tokio::spawn(listen(self.ledger.clone(), Arc::clone(&broker)));
        let dispatching = tokio::spawn(dispatch(Arc::clone(&broker), attempts.clone(), stop.clone()));
        broker.set_accepting(true);
        if last {
            self.settle_everything(&broker, clients).await;
        } else {
            self.be_busy(&broker, &callees, clients).await;
        }
        let _ = (listening, dispatching);
        clocks.steady_now()
    }

    /// Returns whether a call of the disk will fail in this life.
    fn plan_disk_faults(&self) -> bool {
        let calls = self.disk.calls();
        let mut ledger = self.ledger.lock();
        let random = &mut ledger.random;
        let mut faults = DiskFaults { slowness_max: Duration::from_millis(random.u64(0..20)), ..DiskFaults::default() };
        match random.u32(0..10) {
            0..3 => faults.crash_at = Some(calls + random.u64(1..400)),
            3..5 => faults.fail = Some((calls + random.u64(1..400), CallKind::Sync, std::io::ErrorKind::Other)),
            5 => faults.fail = Some((calls + random.u64(1..400), CallKind::Write, std::io::ErrorKind::Other)),
            6 => faults.capacity_bytes = Some(random.u64(4..16) * 64 * 1024),
            _ => {}
        }
        let fails = faults.fail.is_some();
        self.disk.set_faults(faults);
        fails
    }

    fn callees(&self, clocks: &Clocks, store: &Arc<dyn Store>) -> Callees {
        let open = Arc::new(Mutex::new(Some(Arc::clone(store))));
        let scripted = |name: &'static str, limit: usize| {
            Arc::new(Scripted {
                name,
                limit,
                ledger: self.ledger.clone(),
                clocks: clocks.clone(),
                store: Arc::clone(&open),
            })
        };
        let named = |text: &str| Name::new(text).unwrap();
        let mut callees = Callees::default();
        callees.functions.insert(named("plain"), scripted("plain", 4) as Arc<dyn Executor>);
        // Two targets of the rule call the sink `fan`, each with a limit of its own.
        for (name, limit) in [("fan", 8), ("ordered", 4), ("held", 4), ("split", 4)] {
            callees.sinks.insert(named(name), scripted(name, limit) as Arc<dyn Sink>);
        }
        callees.channels.insert(named("people"), scripted("people", 4) as Arc<dyn Sink>);
        callees
    }

    /// Clients send, the project is reloaded, dead letters are replayed, targets are paused and deliveries cancelled,
    /// until the disk stops or time is over.
    async fn be_busy(&self, broker: &Arc<Broker>, callees: &Callees, clients: &mut [Client]) {
        let steps = self.ledger.lock().random.u32(5..40);
        for _ in 0..steps {
            let (pause, what, client) = {
                let mut ledger = self.ledger.lock();
                let random = &mut ledger.random;
                (random.u64(0..1500), random.u32(0..20), random.usize(0..clients.len()))
            };
            tokio::time::sleep(Duration::from_millis(pause)).await;
            if self.disk.crashed() || broker.poisoned() {
                break;
            }
            match what {
                0 => {
                    let variant = self.ledger.lock().random.usize(0..FAN_OUT.len());
                    self.ledger.trace(broker.clocks().now(), format!("reload {variant}"));
                    broker.put_in_force(InForce::new(Arc::new(project(variant)), callees));
                }
                1 => self.replay(broker).await,
                2 => self.hold(broker).await,
                3 => self.cancel(broker).await,
                _ => self.send(broker, &mut clients[client]).await,
            }
            self.check_bounds(broker);
        }
        // Attempts that hang are cut by their time-outs while nobody sends.
        let idle = self.ledger.lock().random.u64(0..20_000);
        tokio::time::sleep(Duration::from_millis(idle)).await;
    }

    async fn send(&self, broker: &Broker, client: &mut Client) {
        let event = client.next(&mut self.ledger.lock().random);
        let id = event.id.clone();
        let origin =
            Origin { namespace: Name::default_namespace(), source_name: Name::new("sim").unwrap(), tags: Vec::new() };
        let incoming = Incoming { event, keys_unique: true, dedupe: Some(Duration::from_secs(24 * 3600)) };
        // A client that waits too long goes away and comes back with the same id.
        let answer = tokio::time::timeout(PATIENCE, broker.admit(&origin, vec![incoming])).await;
        let now = broker.clocks().now();
        let Ok(Ok(receipts)) = answer else {
            self.ledger.trace(now, format!("no answer for {id}"));
            return;
        };
        client.unanswered = None;
        let receipt = &receipts[0];
        self.ledger.trace(now, format!("acknowledged {id} as {} {}", receipt.event, receipt.duplicate));
        self.ledger.lock().acknowledged.insert(id.to_string(), receipt.event);
        if receipt.duplicate || !self.ledger.lock().random.bool() {
            return;
        }
        // Sent again although it was answered: recognised, and answered with the first one's id.
        let event = Event { id: id.clone(), source: "/sim".into(), ty: "plain".into(), ..Event::default() };
        let again = Incoming { event, keys_unique: true, dedupe: Some(Duration::from_secs(24 * 3600)) };
        if let Ok(Ok(receipts)) = tokio::time::timeout(PATIENCE, broker.admit(&origin, vec![again])).await
            && (!receipts[0].duplicate || receipts[0].event != receipt.event)
        {
            self.ledger.violation(format!("{id} was acknowledged, and its repeat was taken as new"));
        }
    }

    async fn replay(&self, broker: &Broker) {
        let Ok(letters) = dead_letters(broker).await else { return };
        self.ledger.trace(broker.clocks().now(), format!("replay of {}", letters.len()));
        self.ledger.lock().replayed(letters);
        let _ = broker.replay(Selection::All, None, false).await;
    }

    /// What was answered as paused or resumed is so after a restart; what was not answered is either.
    async fn pauses_are_kept(&self, broker: &Broker) {
        if let Err(error) = broker.load_pauses().await {
            self.ledger.violation(format!("what is paused is not read back: {error}"));
        }
        let paused = broker.pauses().now();
        for name in PAUSED_NOW_AND_THEN {
            let found = paused.since(&Pausable::Target(queue_of(name))).is_some();
            let mut ledger = self.ledger.lock();
            let answered = ledger.pauses.get(name).copied().unwrap_or(Some(false));
            if answered.is_some_and(|answered| answered != found) {
                ledger.violation(format!("{name} was paused: {answered:?}, and after the restart: {found}"));
            }
            ledger.pauses.insert(name, Some(found));
            if found {
                ledger.is_paused(name, BTreeSet::new());
            }
        }
    }

    /// Pauses a target, or lets it go on.
    async fn hold(&self, broker: &Broker) {
        let name = {
            let mut ledger = self.ledger.lock();
            let which = ledger.random.usize(0..PAUSED_NOW_AND_THEN.len());
            PAUSED_NOW_AND_THEN[which]
        };
        let what = Pausable::Target(queue_of(name));
        let is_paused = broker.pauses().now().since(&what).is_some();
        if is_paused {
            self.resume(broker, name).await;
            return;
        }
        let before = self.ledger.lock().pauses.insert(name, None);
        let answer = tokio::time::timeout(PATIENCE, broker.pause(&what)).await;
        self.ledger.trace(broker.clocks().now(), format!("pause of {name}: {answer:?}"));
        match answer {
            Ok(Ok(_)) => {
                let filter = DeliveryFilter {
                    state: Some(DeliveryState::InFlight),
                    rule: Some(Name::new(name).unwrap()),
                    ..DeliveryFilter::default()
                };
                // Nothing is waited for between the answer and this, so it is what was under way.
                let page = PageRequest { limit: 1000, cursor: None };
                let Ok(page) = broker.store().deliveries(filter, page).await else { return };
                let attempt = |view: &DeliveryView| u32::try_from(view.history.len()).unwrap() + 1;
                let under_way = page.items.iter().map(|view| (view.id, attempt(view))).collect();
                self.ledger.lock().is_paused(name, under_way);
            }
            // It was refused, and everything is as it was.
            Ok(Err(PauseError::Store(StoreError::Full | StoreError::Busy))) => {
                self.ledger.lock().pauses.insert(name, before.unwrap_or(Some(false)));
            }
            Ok(Err(_)) | Err(_) => {}
        }
    }

    async fn resume(&self, broker: &Broker, name: &'static str) {
        let before = {
            let mut ledger = self.ledger.lock();
            // It may go on before that is answered.
            ledger.goes_on(name);
            ledger.pauses.insert(name, None)
        };
        let answer = tokio::time::timeout(PATIENCE, broker.resume(&Pausable::Target(queue_of(name)))).await;
        self.ledger.trace(broker.clocks().now(), format!("resume of {name}: {answer:?}"));
        match answer {
            Ok(Ok(_)) => drop(self.ledger.lock().pauses.insert(name, Some(false))),
            Ok(Err(PauseError::Store(StoreError::Full | StoreError::Busy))) => {
                self.ledger.lock().pauses.insert(name, before.unwrap_or(Some(true)));
            }
            Ok(Err(_)) | Err(_) => {}
        }
    }

    /// Cancels a delivery of one of the events that were acknowledged.
    async fn cancel(&self, broker: &Broker) {
        let event = {
            let mut ledger = self.ledger.lock();
            let events: Vec<_> = ledger.acknowledged.values().copied().collect();
            if events.is_empty() {
                return;
            }
            let which = ledger.random.usize(0..events.len());
            events[which]
        };
        let Ok(Some(view)) = broker.store().event(event).await else { return };
        let rests = |view: &&DeliveryView| matches!(view.state, DeliveryState::Pending | DeliveryState::Waiting);
        let Some(id) = view.deliveries.iter().find(rests).map(|delivery| delivery.id) else { return };
        self.ledger.lock().cancelling.insert(id);
        let answer = tokio::time::timeout(PATIENCE, broker.cancel(id)).await;
        let mut ledger = self.ledger.lock();
        match answer {
            Ok(Ok(_)) => {
                ledger.trace(broker.clocks().now(), format!("cancelled {id}"));
                ledger.is_cancelled(id);
            }
            Ok(Err(ByHandError::Store(_))) | Err(_) => {}
            // It was passed over.
            Ok(Err(_)) => drop(ledger.cancelling.remove(&id)),
        }
    }

    fn check_bounds(&self, broker: &Broker) {
        let stats = broker.store().stats();
        if stats.unsettled > UNSETTLED_MAX || stats.in_flight > stats.unsettled {
            self.ledger.violation(format!("the counts are wrong: {stats:?}"));
        }
    }

    /// Nothing fails any more: what is unanswered is sent again, everything ends, and everything is held against
    /// the ledger.
    async fn settle_everything(&self, broker: &Arc<Broker>, clients: &mut [Client]) {
        for name in PAUSED_NOW_AND_THEN {
            self.resume(broker, name).await;
        }
        for client in clients {
            if client.unanswered.is_some() {
                self.send(broker, client).await;
            }
            if client.unanswered.is_some() {
                self.ledger.violation("an event is not taken although nothing fails any more".into());
            }
        }
        self.wait_until_settled(broker).await;
        self.check_announcements(broker).await;
        // Dead letters can be mended, those that hold back a key too.
        for _ in 0..UNSETTLED_MAX {
            if broker.store().stats().dead == 0 {
                break;
            }
            self.replay(broker).await;
            self.wait_until_settled(broker).await;
        }
        self.check_end(broker).await;
    }

    async fn wait_until_settled(&self, broker: &Broker) {
        let deadline = tokio::time::Instant::now() + SETTLED_WITHIN;
        while tokio::time::Instant::now() < deadline {
            let stats = broker.store().stats();
            // Behind a dead letter of `order_after_dead = "wait"`, a key waits for people.
            if stats.unsettled == 0 || (stats.dead > 0 && self.only_held_are_left(broker)) {
                return;
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        self.ledger.violation(format!(
            "not everything settles: {:?} {:?}",
            broker.store().stats(),
            broker.store().backlog()
        ));
    }

    fn only_held_are_left(&self, broker: &Broker) -> bool {
        let stats = broker.store().stats();
        let held = Name::new("held").unwrap();
        let left = broker.store().backlog();
        left.iter().all(|(queue, count)| *count == 0 || queue.rule.as_ref() == Some(&held))
            && stats.in_flight == 0
            && stats.waiting == 0
            && broker.store().ready(broker.clocks().steady_now()).is_empty()
    }

    /// Each death has one announcement, and people have heard of it.
    async fn check_announcements(&self, broker: &Broker) {
        let filter = EventFilter { ty: Some("eventyard.dead_letter".into()), ..EventFilter::default() };
        let mut announced = BTreeSet::new();
        let mut cursor = None;
        loop {
            let page = PageRequest { limit: 100, cursor };
            let page = broker.store().events(filter.clone(), page).await.unwrap();
            for view in page.items {
                let id = view.envelope.event.id.clone();
                let unheard =
                    view.deliveries.iter().filter(|delivery| delivery.state == DeliveryState::Delivered).count() == 0;
                let dead = view.deliveries.iter().any(|delivery| delivery.state == DeliveryState::Dead);
                if unheard && !dead {
                    self.ledger.violation(format!("the alert {id} was neither heard nor given up"));
                }
                if !announced.insert(id.clone()) {
                    self.ledger.violation(format!("{id} is announced twice"));
                }
            }
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
        }
        for letter in all_dead_letters(broker).await {
            if letter.delivery.queue.rule.is_none() || letter.envelope.event.ty.starts_with("eventyard.") {
                continue;
            }
            let prefix = format!("{}.dead.", letter.delivery.id);
            if !announced.iter().any(|id| id.starts_with(&prefix)) {
                self.ledger.violation(format!("the dead letter {} was never announced", letter.delivery.id));
            }
        }
    }

    /// Everything that was acknowledged is there, and has ended.
    async fn check_end(&self, broker: &Broker) {
        let acknowledged = self.ledger.lock().acknowledged.clone();
        for (id, event) in acknowledged {
            let Ok(Some(view)) = broker.store().event(event).await else {
                self.ledger.violation(format!("{id} was acknowledged as {event} and is gone"));
                continue;
            };
            if view.envelope.event.id != id {
                self.ledger.violation(format!("{event} was {id} and is {}", view.envelope.event.id));
            }
            let wanted = match view.envelope.event.ty.as_str() {
                "nobody-listens" => 0..=0,
                "plain" => 1..=3,
                "fan" => 1..=2,
                _ => 1..=1,
            };
            // Split, or whole where it came while the rule did not split.
            let elements = id.strip_prefix("split-").map(|_| id.rsplit('-').next().unwrap().parse::<usize>().unwrap());
            let fits = |count: usize| elements.map_or_else(|| wanted.contains(&count), |of| count == of || count == 1);
            if !fits(view.deliveries.len()) {
                self.ledger.violation(format!("{id} has {} deliveries", view.deliveries.len()));
            }
            for delivery in view.deliveries {
                let (is_cancelled, may_be) = {
                    let ledger = self.ledger.lock();
                    (ledger.cancelled.contains(&delivery.id), ledger.cancelling.contains(&delivery.id))
                };
                if is_cancelled && delivery.state != DeliveryState::Cancelled {
                    self.ledger.violation(format!("{} was cancelled and is {:?}", delivery.id, delivery.state));
                }
                if delivery.state != DeliveryState::Delivered && !(may_be && delivery.state == DeliveryState::Cancelled)
                {
                    self.ledger.violation(format!("{} of {id} ended as {:?}", delivery.id, delivery.state));
                }
            }
        }
        let stats = broker.store().stats();
        if (stats.unsettled, stats.in_flight, stats.waiting, stats.dead) != (0, 0, 0, 0) {
            self.ledger.violation(format!("all has ended, and the counts say {stats:?}"));
        }
    }
}

/// The queue of a rule whose only target has its name.
fn queue_of(name: &str) -> QueueKey {
    let name = Name::new(name).unwrap();
    QueueKey { namespace: Name::default_namespace(), rule: Some(name.clone()), target: name }
}

async fn listen(ledger: Ledger, broker: Arc<Broker>) {
    let mut fates = broker.fates();
    while let Ok(fate) = fates.recv().await {
        ledger.lock().told(&fate, broker.clocks().steady_now());
    }
}

async fn dead_letters(broker: &Broker) -> Result<Vec<DeliveryId>, eventyard_store::StoreError> {
    let mut ids = Vec::new();
    let mut cursor = None;
    loop {
        let page = PageRequest { limit: 100, cursor };
        let page = broker.store().dead_letters(DeadLetterFilter::default(), page).await?;
        ids.extend(page.items.into_iter().map(|letter| letter.delivery.id));
        cursor = page.next;
        if cursor.is_none() {
            return Ok(ids);
        }
    }
}

async fn all_dead_letters(broker: &Broker) -> Vec<eventyard_store::DeadLetter> {
    let page = PageRequest { limit: 1000, cursor: None };
    broker.store().dead_letters(DeadLetterFilter::default(), page).await.unwrap().items
}

fn project(variant: usize) -> Project {
    let files = vec![
        ("eventyard.toml".to_owned(), PROJECT.to_owned()),
        ("rules/fan.toml".to_owned(), FAN_OUT[variant].to_owned()),
    ];
    let around = Surroundings { env: &|_| None, now: BEGAN_AT };
    match config::load_files(Path::new("/sim"), files, &around) {
        Ok((project, _)) => project,
        Err(report) => panic!("{}", report.render(false)),
    }
}
