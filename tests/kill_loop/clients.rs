//! Those who send events, and the book of what they sent and were told.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::DEADLINE;
use super::process::Run;

/// Clients whose events have a key, each with keys of its own; they send the next event of a key only when the
/// one before is acknowledged, so that they know its order.
const KEYED: u32 = 3;
/// Clients that send anything.
const MIXED: u32 = 5;
/// Keys of each keyed client.
const KEYS: u64 = 2;

/// Which rule an event is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Plain,
    Keyed,
    Command,
    Doomed,
    Unmatched,
}

impl Kind {
    fn ty(self) -> &'static str {
        match self {
            Kind::Plain => "load.plain",
            Kind::Keyed => "load.keyed",
            Kind::Command => "load.command",
            Kind::Doomed => "load.doomed",
            Kind::Unmatched => "load.unmatched",
        }
    }
}

/// One event that was sent at least once.
#[derive(Clone, Debug)]
pub(super) struct Sent {
    pub(super) kind: Kind,
    /// The key and the place within it.
    pub(super) key: Option<(String, u64)>,
    /// Our id of it, from its first 202; `None` where no 202 was ever read.
    pub(super) event: Option<String>,
    /// How often it was sent.
    pub(super) posts: u32,
    /// 202s that said it was taken before.
    pub(super) duplicates: u32,
}

/// What was sent and acknowledged, by CloudEvents id.
pub(super) struct Ledger {
    sent: Mutex<BTreeMap<String, Sent>>,
    acknowledged: watch::Sender<usize>,
}

impl Default for Ledger {
    fn default() -> Ledger {
        Ledger { sent: Mutex::default(), acknowledged: watch::channel(0).0 }
    }
}

impl Ledger {
    pub(super) fn acknowledged_count(&self) -> usize {
        *self.acknowledged.borrow()
    }

    /// Returns once so many 202s have been read for events.
    pub(super) async fn acknowledged(&self, count: usize) {
        let mut seen = self.acknowledged.subscribe();
        let reached = tokio::time::timeout(DEADLINE, seen.wait_for(|seen| *seen >= count)).await;
        reached.expect("the broker stopped taking events").unwrap();
    }

    pub(super) fn take(&self) -> BTreeMap<String, Sent> {
        std::mem::take(&mut self.sent.lock().unwrap())
    }

    /// Written down before it is sent: what the broker may know of, the ledger does.
    fn sending(&self, events: &[Draft]) {
        let mut sent = self.sent.lock().unwrap();
        for Draft { id, kind, key, .. } in events {
            let new = Sent { kind: *kind, key: key.clone(), event: None, posts: 0, duplicates: 0 };
            sent.entry(id.clone()).or_insert(new).posts += 1;
        }
    }

    fn told(&self, receipts: &[Value]) {
        let mut sent = self.sent.lock().unwrap();
        for receipt in receipts {
            let id = receipt["id"].as_str().unwrap();
            let event = receipt["event"].as_str().unwrap();
            let one = sent.get_mut(id).unwrap_or_else(|| panic!("an acknowledgement of what was not sent: {receipt}"));
            let duplicate = receipt["duplicate"].as_bool().unwrap();
            one.duplicates += u32::from(duplicate);
            assert!(!duplicate || one.posts > 1, "called a duplicate although it is the first: {receipt}");
            match &one.event {
                Some(first) => assert!(duplicate && first == event, "{first} was acknowledged, then {receipt}"),
                None => one.event = Some(event.to_owned()),
            }
        }
        drop(sent);
        self.acknowledged.send_modify(|count| *count += receipts.len());
    }
}

/// An event to send.
#[derive(Clone, Debug)]
struct Draft {
    id: String,
    kind: Kind,
    key: Option<(String, u64)>,
    /// What it says; the first body that is taken counts.
    note: u64,
}

impl Draft {
    fn json(&self) -> Value {
        let mut data = json!({ "note": self.note, "padding": "x".repeat(200) });
        if let Some((key, place)) = &self.key {
            data["key"] = json!(key);
            data["place"] = json!(place);
        }
        json!({ "specversion": "1.0", "id": self.id, "source": "/load", "type": self.kind.ty(), "data": data })
    }
}

/// All clients at work.
pub(super) struct Clients {
    tasks: Mutex<JoinSet<()>>,
    finishing: CancellationToken,
}

impl Clients {
    pub(super) fn start(seed: u64, ledger: &Arc<Ledger>, runs: &watch::Sender<Option<Run>>) -> Clients {
        let finishing = CancellationToken::new();
        let mut tasks = JoinSet::new();
        for number in 0..KEYED + MIXED {
            let client = Client {
                number,
                random: fastrand::Rng::with_seed(seed.wrapping_add(u64::from(number) + 1)),
                http: reqwest::Client::builder().timeout(DEADLINE).build().unwrap(),
                ledger: Arc::clone(ledger),
                runs: runs.subscribe(),
                finishing: finishing.clone(),
                count: 0,
                acknowledged: Vec::new(),
            };
            tasks.spawn(client.work());
        }
        Clients { tasks: Mutex::new(tasks), finishing }
    }

    /// Nothing new is sent from now on; what was promised still is.
    pub(super) fn finish(&self) {
        self.finishing.cancel();
    }

    /// Waits for all of them; a client that failed fails the test.
    pub(super) async fn ended(&self) {
        let mut tasks = std::mem::take(&mut *self.tasks.lock().unwrap());
        while let Some(ended) = tokio::time::timeout(DEADLINE, tasks.join_next()).await.expect("a client hangs") {
            ended.unwrap();
        }
    }
}

struct Client {
    number: u32,
    random: fastrand::Rng,
    http: reqwest::Client,
    ledger: Arc<Ledger>,
    runs: watch::Receiver<Option<Run>>,
    finishing: CancellationToken,
    /// Events made so far.
    count: u64,
    /// Some that were acknowledged, to be sent again on purpose.
    acknowledged: Vec<Draft>,
}

impl Client {
    async fn work(mut self) {
        while !self.finishing.is_cancelled() {
            let events = self.next();
            let keyed = events[0].kind == Kind::Keyed;
            self.ledger.sending(&events);
            while !self.post(&events).await {
                // The answer never came. Half of the senders in the world try again, the others never do; those
                // with keys always do, for they may not go on before.
                if !keyed && self.random.bool() {
                    break;
                }
                self.ledger.sending(&events);
            }
        }
    }

    fn next(&mut self) -> Vec<Draft> {
        if self.number < KEYED {
            let place = self.count;
            self.count += 1;
            let key = format!("k{}-{}", self.number, place % KEYS);
            let id = format!("{key}-{place}");
            return vec![Draft { id, kind: Kind::Keyed, key: Some((key, place)), note: 0 }];
        }
        if self.random.u32(0..8) == 0 && !self.acknowledged.is_empty() {
            let again = self.random.usize(0..self.acknowledged.len());
            let mut again = self.acknowledged.swap_remove(again);
            again.note = self.random.u64(..);
            return vec![again];
        }
        let many = if self.random.u32(0..10) == 0 { 5 } else { 1 };
        (0..many).map(|_| self.draft()).collect()
    }

    fn draft(&mut self) -> Draft {
        let kind = match self.random.u32(0..40) {
            0..3 => Kind::Command,
            3 => Kind::Doomed,
            4..6 => Kind::Unmatched,
            _ => Kind::Plain,
        };
        self.count += 1;
        Draft { id: format!("c{}-{}", self.number, self.count), kind, key: None, note: 0 }
    }

    /// Sends once; whether it was acknowledged. Waits for a broker first.
    async fn post(&mut self, events: &[Draft]) -> bool {
        let run = tokio::time::timeout(DEADLINE, self.runs.wait_for(Option::is_some)).await;
        let run = run.expect("no broker in time").unwrap().clone().unwrap();
        let (content_type, body) = match events {
            [event] => ("application/cloudevents+json", event.json()),
            events => ("application/cloudevents-batch+json", events.iter().map(Draft::json).collect()),
        };
        let request = self.http.post(format!("{}/events", run.url)).header("content-type", content_type);
        let answer = match request.body(body.to_string()).send().await {
            Ok(response) => {
                let status = response.status();
                response.text().await.map(|text| (status.as_u16(), text))
            }
            Err(error) => Err(error),
        };
        let Ok((status, text)) = answer else {
            // Only a kill may do that.
            let gone = |now: &Option<Run>| now.as_ref().is_none_or(|now| now.number != run.number);
            let killed = tokio::time::timeout(Duration::from_secs(10), self.runs.wait_for(gone)).await;
            killed.unwrap_or_else(|_| panic!("no answer, and nobody was killed: {answer:?}")).unwrap();
            return false;
        };
        assert_eq!(status, 202, "{text}");
        let answer: Value = serde_json::from_str(&text).unwrap();
        let receipts = answer["accepted"].as_array().unwrap();
        assert_eq!(receipts.len(), events.len(), "{text}");
        self.ledger.told(receipts);
        if self.acknowledged.len() < 200 {
            self.acknowledged.extend(events.iter().filter(|event| event.key.is_none()).cloned());
        }
        true
    }
}

/// Has the project read again; the broker may be killed meanwhile.
pub(super) async fn reload(url: String) {
    let client = reqwest::Client::builder().timeout(DEADLINE).build().unwrap();
    if let Ok(response) = client.post(format!("{url}/api/v1/reload")).send().await {
        assert_eq!(response.status(), 200);
    }
}
