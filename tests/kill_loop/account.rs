//! The books held against each other, once nothing is pending any more.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::time::Duration;

use serde_json::Value;
use tokio::task::JoinSet;

use super::DEADLINE;
use super::clients::{Kind, Sent};
use super::project::CommandRun;
use super::target::{Call, Reaction};

/// How many questions are asked at a time.
const ASKED_AT_ONCE: usize = 8;

/// What each side wrote down.
pub(super) struct Books<'a> {
    /// The last broker, which nothing disturbs.
    pub(super) url: &'a str,
    /// Its number; all others were killed.
    pub(super) last_run: u32,
    pub(super) sent: BTreeMap<String, Sent>,
    pub(super) calls: Vec<Call>,
    pub(super) commands: HashMap<String, Vec<CommandRun>>,
}

/// What was counted.
#[derive(Debug, Default)]
pub(super) struct Figures {
    sent: usize,
    acknowledged: usize,
    answers_lost: usize,
    of_them_taken: usize,
    duplicates: u32,
    delivered: usize,
    dead: usize,
    unmatched: usize,
    alerts: usize,
    calls: usize,
    attempts: usize,
    interrupted: usize,
    repeated_after_interruption: usize,
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} events sent, {} acknowledged, {} answers lost ({} of them were taken), {} told that they are duplicates; \
             {} deliveries delivered, {} dead, {} events unmatched, {} alerts; {} calls in {} attempts, {} interrupted, \
             {} of which the target had answered well and got again",
            self.sent,
            self.acknowledged,
            self.answers_lost,
            self.of_them_taken,
            self.duplicates,
            self.delivered,
            self.dead,
            self.unmatched,
            self.alerts,
            self.calls,
            self.attempts,
            self.interrupted,
            self.repeated_after_interruption
        )
    }
}

/// What the other side saw of one attempt.
#[derive(Clone, Copy, Debug)]
struct Seen {
    run: u32,
    /// How the other side dealt with it.
    dealt: Dealt,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dealt {
    Well,
    /// It answered that it failed.
    Badly,
    /// It answered that it always will.
    ForGood,
    /// No answer, or perhaps too late.
    Ambiguous,
}

/// One attempt in a delivery's history.
#[derive(Debug)]
struct Attempt {
    number: u64,
    outcome: String,
    code: String,
    began_at: jiff::Timestamp,
    ended_at: jiff::Timestamp,
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}")).to_owned()
}

fn history(delivery: &Value) -> Vec<Attempt> {
    let attempts = delivery["history"].as_array().map(Vec::as_slice).unwrap_or_default();
    attempts
        .iter()
        .map(|attempt| Attempt {
            number: attempt["number"].as_u64().unwrap(),
            outcome: text(&attempt["outcome"]),
            code: text(&attempt["code"]),
            began_at: text(&attempt["began_at"]).parse().unwrap(),
            ended_at: text(&attempt["ended_at"]).parse().unwrap(),
        })
        .collect()
}

async fn get(http: reqwest::Client, url: String) -> Value {
    let response = http.get(&url).send().await.unwrap();
    assert_eq!(response.status(), 200, "{url}");
    serde_json::from_str(&response.text().await.unwrap()).unwrap()
}

fn client() -> reqwest::Client {
    reqwest::Client::builder().timeout(DEADLINE).build().unwrap()
}

/// Returns once no delivery is pending. One that failed often while the targets were down would come back in minutes: it is
/// tried at once, as somebody would who knows that they are up again.
pub(super) async fn settled(url: &str) {
    let http = client();
    let began = std::time::Instant::now();
    let mut hastened = false;
    loop {
        let status = get(http.clone(), format!("{url}/api/v1/status")).await;
        if status["stats"]["unsettled"] == 0 {
            return;
        }
        assert!(began.elapsed() < DEADLINE, "this never settles: {status:#}");
        if !hastened && began.elapsed() > DEADLINE / 3 {
            hastened = true;
            hasten(&http, url).await;
        }
        // Between two questions, not instead of them.
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn hasten(http: &reqwest::Client, url: &str) {
    let waiting = get(http.clone(), format!("{url}/api/v1/deliveries?state=pending&limit=1000")).await;
    for delivery in waiting["items"].as_array().unwrap() {
        let retry = http.post(format!("{url}/api/v1/deliveries/{}/retry", text(&delivery["id"])));
        // One that is attempted at this moment is refused, and needs no help.
        retry.send().await.unwrap();
    }
}

/// Every event that the broker keeps, with each attempt of each delivery.
async fn all_events(http: &reqwest::Client, url: &str) -> Vec<Value> {
    let (mut ids, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = get(http.clone(), format!("{url}/api/v1/events?limit=1000{cursor}")).await;
        ids.extend(page["items"].as_array().unwrap().iter().map(|item| text(&item["event"])));
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    let (mut asked, mut answers) = (JoinSet::new(), Vec::new());
    for id in ids {
        if asked.len() >= ASKED_AT_ONCE {
            answers.push(asked.join_next().await.unwrap().unwrap());
        }
        asked.spawn(get(http.clone(), format!("{url}/api/v1/events/{id}")));
    }
    answers.extend(asked.join_all().await);
    answers
}

impl Books<'_> {
    /// Holds the books against each other. Panics with the first thing that does not fit.
    pub(super) async fn check(&self) -> Figures {
        let http = client();
        let events = all_events(&http, self.url).await;
        let metrics = http.get(format!("{}/metrics", self.url)).send().await.unwrap().text().await.unwrap();
        assert!(metrics.lines().any(|line| line == "eventyard_events_lost_total 0"), "{metrics}");

        let mut seen = self.seen();
        let mut figures = Figures { sent: self.sent.len(), calls: self.calls.len(), ..Figures::default() };
        let mut kept: HashMap<String, &Value> = HashMap::new();
        let mut announced: HashMap<String, usize> = HashMap::new();
        for event in &events {
            let id = text(&event["cloudevent"]["id"]);
            match event["source_name"].as_str() {
                Some("events") => {
                    assert!(self.sent.contains_key(&id), "nobody sent this: {event:#}");
                    assert!(kept.insert(id.clone(), event).is_none(), "{id} is kept twice");
                }
                Some("eventyard") => match event["cloudevent"]["type"].as_str() {
                    Some("eventyard.dead_letter") => {
                        let dead = text(&event["cloudevent"]["subject"]);
                        assert_eq!(id, format!("{dead}.dead.1"));
                        *announced.entry(dead).or_default() += 1;
                    }
                    // The rounds with files that do not load.
                    Some("eventyard.rules_refused") => {}
                    _ => panic!("the broker says something unexpected of itself: {event:#}"),
                },
                _ => panic!("from no known source: {event:#}"),
            }
        }

        for event in &events {
            let sent = self.sent.get(event["cloudevent"]["id"].as_str().unwrap());
            for (delivery, state) in self.deliveries(event, sent) {
                let id = text(&delivery["id"]);
                assert_eq!(delivery["state"], state, "{event:#}");
                let attempts = history(delivery);
                let seen = seen.remove(&id).unwrap_or_default();
                self.check_attempts(state, &attempts, &seen, &mut figures).unwrap_or_else(|wrong| {
                    panic!("{wrong}\nthe broker says: {attempts:#?}\nthe target saw: {seen:#?}\n{event:#}")
                });
                let alert = delivery["rule"].is_null();
                match state {
                    "dead" => {
                        figures.dead += 1;
                        assert_eq!(announced.remove(&id), Some(1), "one announcement for each death: {event:#}");
                    }
                    _ if alert => figures.alerts += 1,
                    _ => figures.delivered += 1,
                }
            }
        }
        assert!(seen.is_empty(), "deliveries were attempted that the broker knows nothing of: {seen:#?}");
        assert!(announced.is_empty(), "deaths were announced that did not happen: {announced:?}");
        assert_eq!(figures.alerts, figures.dead, "one alert for each death");

        for (id, sent) in &self.sent {
            let kept = kept.get(id);
            figures.duplicates += sent.duplicates;
            if let Some(event) = &sent.event {
                let kept = kept.unwrap_or_else(|| panic!("LOST: {id} was acknowledged as {event} and is not kept"));
                assert_eq!(kept["event"], **event, "another event was acknowledged for {id} than is kept");
                figures.acknowledged += 1;
            } else {
                figures.answers_lost += 1;
                figures.of_them_taken += usize::from(kept.is_some());
            }
            figures.unmatched += usize::from(kept.is_some() && sent.kind == Kind::Unmatched);
        }
        self.check_order(&kept);
        figures
    }

    /// What the other sides saw, by delivery and attempt.
    fn seen(&self) -> HashMap<String, BTreeMap<u64, Seen>> {
        let mut all: HashMap<String, BTreeMap<u64, Seen>> = HashMap::new();
        let from_calls = self.calls.iter().map(|call| {
            let dealt = match call.reaction {
                Reaction::Good => Dealt::Well,
                Reaction::Busy => Dealt::Badly,
                Reaction::Gone => Dealt::ForGood,
                Reaction::Slow(_) | Reaction::Hang | Reaction::Drop => Dealt::Ambiguous,
            };
            (&call.delivery, call.attempt, Seen { run: call.run, dealt })
        });
        let from_commands = self.commands.iter().flat_map(|(delivery, runs)| {
            runs.iter().map(move |one| {
                let dealt = if one.succeeded { Dealt::Well } else { Dealt::Badly };
                (delivery, one.attempt, Seen { run: one.run, dealt })
            })
        });
        for (delivery, attempt, seen) in from_calls.chain(from_commands) {
            let before = all.entry(delivery.clone()).or_default().insert(attempt, seen);
            assert!(before.is_none(), "attempt {attempt} of {delivery} was made twice: {before:?} and {seen:?}");
        }
        all
    }

    /// The deliveries of an event, each with the state in which it must have ended; fails where there are others
    /// than its rule makes.
    fn deliveries<'e>(&self, event: &'e Value, sent: Option<&Sent>) -> Vec<(&'e Value, &'static str)> {
        assert_eq!(event["settled"], true, "{event:#}");
        let found = event["deliveries"].as_array().unwrap();
        let wanted: &[(Option<&str>, &str, &'static str)] = match sent.map(|sent| sent.kind) {
            Some(Kind::Plain) => &[(Some("plain"), "http", "delivered")],
            Some(Kind::Keyed) => &[(Some("ordered"), "http", "delivered")],
            Some(Kind::Command) => &[(Some("command"), "append", "delivered")],
            Some(Kind::Doomed) => &[(Some("doomed"), "http", "dead")],
            Some(Kind::Unmatched) => &[],
            None if event["cloudevent"]["type"] == "eventyard.dead_letter" => &[(None, "oncall", "delivered")],
            None => &[],
        };
        let names: Vec<_> = found.iter().map(|one| (one["rule"].as_str(), one["target"].as_str().unwrap())).collect();
        let right = wanted.iter().map(|(rule, target, _)| (*rule, *target)).eq(names);
        assert!(right, "other deliveries than its rule makes: {event:#}");
        found.iter().zip(wanted).map(|(delivery, (_, _, state))| (delivery, *state)).collect()
    }

    /// Whether each attempt had a cause, and what the broker says of it fits what the other side saw.
    fn check_attempts(
        &self,
        state: &str,
        attempts: &[Attempt],
        seen: &BTreeMap<u64, Seen>,
        figures: &mut Figures,
    ) -> Result<(), String> {
        figures.attempts += attempts.len();
        if let Some(number) = seen.keys().find(|number| !attempts.iter().any(|attempt| attempt.number == **number)) {
            return Err(format!("the target was called for an attempt {number} that no history tells of"));
        }
        for (place, attempt) in attempts.iter().enumerate() {
            let number = attempt.number;
            let wrong = |what: &str| Err(format!("attempt {number}: {what}"));
            if number != place as u64 + 1 {
                return wrong("its number is not its place");
            }
            let last = place + 1 == attempts.len();
            let seen_now = seen.get(&number);
            let fits = match (attempt.outcome.as_str(), seen_now.map(|seen| seen.dealt)) {
                ("succeeded", Some(Dealt::Well | Dealt::Ambiguous)) => last && state == "delivered",
                ("permanent", Some(Dealt::ForGood)) => last && state == "dead",
                ("retryable", Some(Dealt::Badly)) => !last || state == "dead",
                // An answer that came too late, or not at all, or a call that never arrived.
                ("retryable", _) => {
                    matches!(attempt.code.as_str(), "timeout" | "connection_lost" | "response_broken" | "connect")
                        && (!last || state == "dead")
                }
                ("interrupted", _) => !last,
                _ => false,
            };
            if !fits {
                return wrong("it does not fit what the target saw, or what came after it");
            }
            if attempt.outcome == "interrupted" {
                figures.interrupted += 1;
                figures.repeated_after_interruption +=
                    usize::from(seen_now.is_some_and(|seen| seen.dealt == Dealt::Well));
                if seen_now.is_some_and(|seen| seen.run == self.last_run) {
                    return wrong("interrupted although nobody interrupted that run");
                }
            }
            let next = seen.get(&(number + 1));
            if let (Some(now), Some(next)) = (seen_now, next) {
                let later = if attempt.outcome == "interrupted" { next.run > now.run } else { next.run >= now.run };
                if !later {
                    return wrong("the next attempt was made by a run that cannot have made it");
                }
            }
        }
        if attempts.is_empty() { Err("ended without an attempt".to_owned()) } else { Ok(()) }
    }

    /// Within a key, nothing is attempted before the one ahead has ended: by the broker's own history, and by the
    /// order in which the target was called.
    fn check_order(&self, kept: &HashMap<String, &Value>) {
        let mut by_key: BTreeMap<&str, Vec<(u64, &Value)>> = BTreeMap::new();
        let mut places: HashMap<String, (&str, u64)> = HashMap::new();
        for (id, sent) in &self.sent {
            if let (Some((key, place)), Some(event)) = (&sent.key, kept.get(id)) {
                let delivery = &event["deliveries"][0];
                by_key.entry(key).or_default().push((*place, delivery));
                places.insert(text(&delivery["id"]), (key, *place));
            }
        }
        assert!(!by_key.is_empty(), "no event had a key");
        for (key, mut deliveries) in by_key {
            deliveries.sort_by_key(|(place, _)| *place);
            for pair in deliveries.windows(2) {
                let (ahead, behind) = (history(pair[0].1), history(pair[1].1));
                let (ended, began) = (ahead.last().unwrap().ended_at, behind[0].began_at);
                assert!(ended <= began, "{key}: begun before the one ahead had ended:\n{ahead:#?}\n{behind:#?}");
            }
        }
        let mut reached: HashMap<&str, (u32, u64)> = HashMap::new();
        let mut ordered: Vec<&Call> = self.calls.iter().filter(|call| places.contains_key(&call.delivery)).collect();
        ordered.sort_by_key(|call| call.run);
        for call in ordered {
            let (key, place) = places[&call.delivery];
            let before = reached.insert(key, (call.run, place));
            assert!(
                before.is_none_or(|(_, before)| before <= place),
                "{key}: {place} was called after {before:?} (run, place): {call:?}"
            );
        }
    }
}
