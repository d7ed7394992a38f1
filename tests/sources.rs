//! Sources that the broker keeps going: one at a time under a name, and people told of one that stays down.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use eventyard::config::SourceDef;
use eventyard::in_force::Feed;
use eventyard::intake::Maker;
use eventyard::origin::Origin;
use eventyard::sources::Declared;
use eventyard_connectors::reader::{NotRead, Reader};
use eventyard_connectors::source::{Batch, Incoming, Source, SourceContext, SourceError, Undecodable};
use eventyard_connectors::supervise::SourceState;
use eventyard_event::{Event, Name};
use eventyard_store::{EventFilter, PageRequest, StoreError};
use tokio::sync::watch;

use crate::http_broker::{HttpBroker, start, start_changed};

/// What the sources of a test did, in order.
type Log = Arc<Mutex<Vec<String>>>;

/// A source that says what happens to it.
struct Told {
    /// What it is called in the log.
    word: &'static str,
    log: Log,
    /// What its reads give, one after another; then they wait for ever.
    reads: VecDeque<Result<Batch, SourceError>>,
    /// `close` waits until this is true.
    may_close: watch::Receiver<bool>,
}

impl Told {
    fn say(&self, what: &str) {
        self.log.lock().unwrap().push(format!("{} {what}", self.word));
    }
}

#[async_trait]
impl Source for Told {
    async fn connect(&mut self, _: SourceContext) -> Result<(), SourceError> {
        self.say("connects");
        Ok(())
    }

    async fn read(&mut self) -> Result<Batch, SourceError> {
        match self.reads.pop_front() {
            Some(read) => read,
            None => std::future::pending().await,
        }
    }

    async fn ack(&mut self) -> Result<(), SourceError> {
        Ok(())
    }

    async fn close(&mut self) {
        self.say("is told to close");
        self.may_close.wait_for(|may| *may).await.unwrap();
        self.say("has closed");
    }

    fn lag(&self) -> Option<u64> {
        Some(7)
    }
}

/// A source of the name `queue`; another `description` makes it another definition.
fn declared(description: &str, source: Told) -> Declared {
    let (name, namespace) = (Name::new("queue").unwrap(), Name::default_namespace());
    let origin = Origin { namespace: namespace.clone(), source_name: name.clone(), tags: Vec::new() };
    let definition = SourceDef {
        name,
        namespace,
        description: description.to_owned(),
        enabled: true,
        kind: "told".to_owned(),
        tags: Vec::new(),
        settings: Default::default(),
    };
    Declared { origin, kind: "told".to_owned(), definition, instances: vec![Box::new(source)], filter: None }
}

async fn until(what: &str, seconds_max: u64, mut reached: impl FnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(seconds_max);
    while !reached() {
        assert!(tokio::time::Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_source_that_a_reload_replaces_has_ended_before_the_new_one_connects() {
    let server = start().await;
    let log = Log::default();
    let (let_close, may_close) = watch::channel(false);
    let told = |word| Told { word, log: Arc::clone(&log), reads: VecDeque::new(), may_close: may_close.clone() };
    let said = || log.lock().unwrap().clone();

    server.broker.run_sources(vec![declared("first", told("first"))]);
    until("connected", 20, || said().len() == 1).await;
    server.broker.run_sources(vec![declared("second", told("second"))]);
    until("told to close", 20, || said().len() == 2).await;
    // A third while the first still closes: the second never comes to run.
    server.broker.run_sources(Vec::new());
    server.broker.run_sources(vec![declared("third", told("third"))]);
    // Everything that could run has: nothing but the first one's close is awaited.
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert_eq!(said(), ["first connects", "first is told to close"]);
    assert_eq!(server.broker.source_views()[0].status.state, SourceState::Starting);

    let_close.send_replace(true);
    until("the third runs", 20, || server.broker.source_views()[0].status.state == SourceState::Running).await;
    let said = said();
    assert_eq!(said[2], "first has closed");
    assert_eq!(said.last().unwrap(), "third connects");
    assert!(!said.contains(&"second connects".to_owned()), "{said:?}");
}

/// How often people were told that a source is down.
async fn told_down(server: &HttpBroker) -> usize {
    let filter = EventFilter { ty: Some("eventyard.source_down".to_owned()), ..EventFilter::default() };
    let page = PageRequest { limit: 100, cursor: None };
    server.broker.store().events(filter, page).await.unwrap().items.len()
}

#[tokio::test(start_paused = true)]
async fn a_source_that_connects_and_fails_at_once_is_announced_once_and_again_after_it_was_well() {
    let server = start().await;
    let (_let_close, may_close) = watch::channel(true);
    let fails = || Err(SourceError::Failed { code: "broken", message: "the queue hangs up".to_owned() });
    let event = Event { source: "/queue".into(), ty: "t".into(), ..Event::default() };
    let batch = || {
        Ok(Batch {
            events: vec![Incoming { event: event.clone(), keys_unique: true, dedupe: None }],
            ..Batch::default()
        })
    };
    let failures = || (0..10).map(|_| fails());
    let reads = failures().chain([batch()]).chain(failures()).chain([batch()]).collect();
    let told = Told { word: "queue", log: Log::default(), reads, may_close };
    server.broker.run_sources(vec![declared("", told)]);

    let mut announced = Vec::new();
    for count in [1, 2] {
        until("taken, after six minutes of back-off", 3600, || {
            server.broker.source_views()[0].status.event_count == count
        })
        .await;
        announced.push(told_down(&server).await);
    }
    assert_eq!(announced, [1, 2]);
}

#[tokio::test(start_paused = true)]
async fn that_credentials_are_refused_is_news_of_a_source_that_could_not_be_reached() {
    let server = start().await;
    let (_let_close, may_close) = watch::channel(true);
    let fails = |code| (0..5).map(move |_| Err(SourceError::Failed { code, message: format!("it says {code}") }));
    let reads = fails("connect").chain(fails("auth")).chain(fails("connect")).chain(fails("denied")).collect();
    let told = Told { word: "queue", log: Log::default(), reads, may_close };
    server.broker.run_sources(vec![declared("", told)]);
    let failed = || server.broker.source_views()[0].status.failure_count == 20;
    until("all failures, half an hour of back-off", 7200, failed).await;
    // What is announced after the last one is there as well.
    tokio::time::sleep(Duration::from_secs(1)).await;

    let list = server.get("/api/v1/events?type=eventyard.source_down").await.json();
    let reason = |event: &serde_json::Value| event["cloudevent"]["data"]["reason"].clone();
    let mut reasons: Vec<_> = list["items"].as_array().unwrap().iter().map(reason).collect();
    reasons.reverse();
    let wanted = serde_json::json!([
        { "code": "source_down", "message": "it says connect" },
        { "code": "connector_auth", "message": "it says auth" },
    ]);
    assert_eq!(serde_json::Value::Array(reasons), wanted);
}

#[tokio::test]
async fn how_many_wait_on_the_other_side_is_a_metric_as_long_as_the_source_is_there() {
    let server = start().await;
    let (_let_close, may_close) = watch::channel(true);
    let event = Event { source: "/queue".into(), ty: "t".into(), ..Event::default() };
    let events = vec![Incoming { event, keys_unique: true, dedupe: None }];
    let reads = [Ok(Batch { events, ..Batch::default() })].into();
    let told = Told { word: "queue", log: Log::default(), reads, may_close };
    server.broker.run_sources(vec![declared("", told)]);
    until("taken", 20, || server.broker.source_views()[0].status.event_count == 1).await;
    let line = "eventyard_source_lag{source=\"queue\"} 7";
    let metrics = server.get("/metrics").await.body;
    assert!(metrics.lines().any(|said| said == line), "{metrics}");
    server.broker.run_sources(Vec::new());
    assert!(!server.get("/metrics").await.body.contains("eventyard_source_lag{"));
}

/// A message that is no JSON, with what a system would say of where it stands.
fn poison(offset: u64) -> Undecodable {
    let at = serde_json::json!({ "topic": "orders", "partition": 0, "offset": offset });
    let at = at.as_object().cloned().unwrap_or_default();
    let body = bytes::Bytes::from_static(b"no JSON\xff");
    Undecodable { dedupe: Some(Duration::from_secs(3600)), ..Undecodable::new(at, &body, "decode", "it is no JSON") }
}

#[tokio::test]
async fn what_a_source_cannot_decode_is_a_dead_letter_with_its_coordinates() {
    let server = start().await;
    let (_let_close, may_close) = watch::channel(true);
    let event = Event { source: "/queue".into(), ty: "t".into(), ..Event::default() };
    let event = || Incoming { event: event.clone(), keys_unique: true, dedupe: None };
    let batch = || Batch { events: vec![event()], position: Some(b"18".to_vec()), undecodable: vec![poison(17)] };
    // The second time, one of them was read before.
    let again = Batch { undecodable: vec![poison(17), poison(18)], ..batch() };
    let told = Told { word: "queue", log: Log::default(), reads: [Ok(batch()), Ok(again)].into(), may_close };
    server.broker.run_sources(vec![declared("", told)]);
    until("taken", 20, || server.broker.source_views()[0].status.event_count == 2).await;

    let list = server.get("/api/v1/dead-letters").await.json();
    let letters = list["items"].as_array().unwrap();
    let at: Vec<u64> = letters.iter().map(|letter| letter["at"]["offset"].as_u64().unwrap()).collect();
    assert_eq!(at, [18, 17], "a repeat makes no second letter: {list:#}");
    let letter = &letters[1];
    assert_eq!((&letter["kind"], &letter["source"], &letter["rule"]), (&"source".into(), &"queue".into(), &().into()));
    assert_eq!((&letter["raw"], &letter["size"]), (&"bm8gSlNPTv8=".into(), &8.into()));
    assert_eq!((&letter["reason"]["code"], &letter["at"]["topic"]), (&"decode".into(), &"orders".into()));

    let filter = EventFilter { ty: Some("eventyard.dead_letter".to_owned()), ..EventFilter::default() };
    let alerts = server.broker.store().events(filter, PageRequest { limit: 100, cursor: None }).await.unwrap();
    assert_eq!(alerts.items.len(), 2, "each is announced once");

    let all = r#"{"all":true}"#;
    let replayed = server.call("POST", "/api/v1/dead-letters/replay", all).await.json();
    assert_eq!((&replayed["replayed"], &replayed["undecodable"]), (&0.into(), &2.into()));
    let id = letter["id"].as_str().unwrap();
    let purged = server.call("DELETE", "/api/v1/dead-letters", &format!(r#"{{"ids":["{id}"]}}"#)).await.json();
    assert_eq!(purged["purged"], 1);
    let list = server.get("/api/v1/dead-letters").await.json();
    assert_eq!(list["items"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn instances_run_side_by_side_and_a_filter_leaves_out_and_counts() {
    let server = start().await;
    let (_let_close, may_close) = watch::channel(true);
    let batch = |types: &[&str]| {
        let event = |ty: &&str| Event { source: "/queue".into(), ty: (*ty).into(), ..Event::default() };
        let incoming = |ty| Incoming { event: event(ty), keys_unique: true, dedupe: None };
        Ok(Batch { events: types.iter().map(incoming).collect(), ..Batch::default() })
    };
    let log = Log::default();
    let told = |word, types: &[&str]| Told {
        word,
        log: Arc::clone(&log),
        reads: [batch(types)].into(),
        may_close: may_close.clone(),
    };
    let mut source = declared("", told("one", &["wanted", "other"]));
    source.instances.push(Box::new(told("two", &["other", "wanted", "wanted"])));
    let pattern = eventyard_rules::Pattern::from_json(r#"{"type":["wanted"]}"#).unwrap();
    source.filter = Some(Arc::new(eventyard_rules::PatternSet::new([&pattern])));
    server.broker.run_sources(vec![source]);
    until("both have read", 20, || server.broker.source_views()[0].status.event_count == 5).await;
    assert_eq!(server.broker.source_views()[0].instances, 2);
    let filter = EventFilter { source_name: Some(Name::new("queue").unwrap()), ..EventFilter::default() };
    let kept = server.broker.store().events(filter, PageRequest { limit: 100, cursor: None }).await.unwrap();
    assert_eq!(kept.items.len(), 3);
    let metrics = server.get("/metrics").await.body;
    let filtered = r#"eventyard_events_filtered_total{source="queue"} 2"#;
    assert!(metrics.contains(filtered), "{metrics}");

    server.broker.run_sources(Vec::new());
    until("both have closed", 20, || {
        log.lock().unwrap().iter().filter(|said| said.ends_with("has closed")).count() == 2
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_the_store_refuses_is_offered_again_as_it_was() {
    let server = start().await;
    let (_let_close, may_close) = watch::channel(true);
    let event = |id: &str, ty: &str| Incoming {
        event: Event { id: id.into(), source: "/queue".into(), ty: ty.into(), ..Event::default() },
        keys_unique: true,
        dedupe: Some(Duration::from_secs(3600)),
    };
    let events = vec![event("", "t"), event("no", "other"), event("7", "t")];
    let batch = Batch { events, position: Some(b"18".to_vec()), undecodable: vec![poison(17)] };
    let told = Told { word: "queue", log: Log::default(), reads: [Ok(batch)].into(), may_close };
    let mut source = declared("", told);
    let pattern = eventyard_rules::Pattern::from_json(r#"{"type":["t"]}"#).unwrap();
    source.filter = Some(Arc::new(eventyard_rules::PatternSet::new([&pattern])));
    server.store.fail(Some(StoreError::Full));
    server.broker.run_sources(vec![source]);
    let refusals = || server.broker.source_views()[0].status.failure_count;
    until("refused again and again", 600, || refusals() == 3).await;
    assert_eq!((server.store.event_count(), server.store.positions().len()), (0, 0));
    server.store.fail(None);
    until("taken", 600, || server.broker.source_views()[0].status.event_count == 3).await;
    assert_eq!(server.store.positions(), [b"18"]);
    let all = server.broker.store().events(EventFilter::default(), PageRequest { limit: 100, cursor: None });
    let all = all.await.unwrap().items;
    let named = |ty: &str| {
        let of = all.iter().filter(|view| view.envelope.event.ty == ty);
        of.map(|view| (view.envelope.id.to_string(), view.envelope.event.id.clone())).collect::<Vec<_>>()
    };
    let mut taken = named("t");
    taken.sort_by_key(|(_, id)| id == "7");
    assert_eq!(taken.len(), 2);
    assert_eq!(taken[0].0, taken[0].1, "an event without an id has ours, of the time when it was taken");
    assert_eq!(taken[1].1, "7");
    assert_eq!(named("eventyard.dead_letter").len(), 1, "what could not be decoded came along");
    let metrics = server.get("/metrics").await.body;
    assert!(metrics.contains(r#"eventyard_events_filtered_total{source="queue"} 1"#), "{metrics}");
}

/// Reads `{"objects": ["a", "b"]}` into an event each.
struct Objects;

#[async_trait]
impl Reader for Objects {
    async fn read(&self, body: &[u8]) -> Result<Vec<Incoming>, NotRead> {
        let never = |message: &str| NotRead::Never { code: "not_objects", message: message.to_owned() };
        let message: serde_json::Value = serde_json::from_slice(body).map_err(|_| never("no JSON"))?;
        let objects = message["objects"].as_array().ok_or_else(|| never("no objects"))?;
        let event = |id: &serde_json::Value| Incoming {
            event: Event {
                id: id.as_str().unwrap_or_default().into(),
                source: "/sources/uploads".into(),
                ty: "object".into(),
                ..Event::default()
            },
            keys_unique: true,
            dedupe: Some(Duration::from_secs(3600)),
        };
        Ok(objects.iter().map(event).collect())
    }
}

#[tokio::test]
async fn messages_that_tell_of_another_sources_objects_become_that_sources_events() {
    let server = start_changed(|in_force| {
        let (namespace, source_name) = (Name::default_namespace(), Name::new("uploads").unwrap());
        let origin = Origin { namespace, source_name, tags: vec!["store".to_owned()] };
        let maker = Arc::new(Maker { origin, filter: None });
        in_force.feeds.insert(Name::new("queue").unwrap(), vec![Feed { maker, reader: Arc::new(Objects) }]);
    })
    .await;
    let message = |body: &'static str| Incoming {
        event: Event {
            source: "/queue".into(),
            ty: "queue.message".into(),
            data: eventyard_event::Data::Bytes(body.into()),
            ..Event::default()
        },
        keys_unique: true,
        dedupe: None,
    };
    let batch = || {
        let events =
            vec![message(r#"{"objects": ["a", "b"]}"#), message("something else"), message(r#"{"objects": []}"#)];
        Ok(Batch { events, position: Some(b"3".to_vec()), ..Batch::default() })
    };
    let (_let_close, may_close) = watch::channel(true);
    let told = Told { word: "queue", log: Log::default(), reads: [batch(), batch()].into(), may_close };
    server.store.fail(Some(StoreError::Busy));
    server.broker.run_sources(vec![declared("", told)]);
    until("refused", 20, || server.broker.source_views()[0].status.failure_count == 1).await;
    server.store.fail(None);
    until("taken twice", 20, || server.broker.source_views()[0].status.event_count == 6).await;

    let of = async |ty: &str| {
        let filter = EventFilter { ty: Some(ty.to_owned()), ..EventFilter::default() };
        server.broker.store().events(filter, PageRequest { limit: 100, cursor: None }).await.unwrap().items
    };
    let made = of("object").await;
    let mut ids: Vec<_> = made.iter().map(|event| event.envelope.event.id.clone()).collect();
    ids.sort();
    assert_eq!(ids, ["a", "b"], "the queue told them twice");
    assert!(
        made.iter().all(|event| event.envelope.source_name.as_str() == "uploads" && event.envelope.tags == ["store"])
    );
    // What is no notification, and what tells of nothing, stays the queue's.
    assert_eq!(of("queue.message").await.len(), 4);
}
