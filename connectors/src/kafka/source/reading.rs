//! The thread that polls librdkafka.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::{Offset, TopicPartitionList};
use tokio::sync::oneshot;

use super::super::client::Meaning;
use super::super::message::{Reader, time_ms};
use super::super::position::{Partition, Place};
use super::super::settings::Start;
use super::commit::commit;
use super::gathered::{Assigned, Gathered, Shared, State};
use super::rebalance::{Group, LastError};
use super::starting::{self, Starting};
use super::{CONNECT_TIMEOUT, Plan};
use crate::source::{Intake, SeekError, SourceError};

/// How long one poll waits. What is asked of this thread meanwhile waits as long.
const POLL: Duration = Duration::from_millis(20);
/// Messages that are gathered before `read` is woken, where they come without a pause.
const ANNOUNCE_EVERY: usize = 256;
/// How long the thread waits for room before it stops fetching. Stopping throws away what was read ahead, so a commit
/// that takes its usual time must not come to that.
const ROOM_WAIT: Duration = Duration::from_secs(2);
/// How long the cluster may take to say that it is still there, after librdkafka has said that no broker is.
const PROBE_TIMEOUT: Duration = Duration::from_secs(5);
/// The same warning is said this often at most.
const WARN_EVERY: Duration = Duration::from_secs(60);

/// How long a connection may still take once every broker has refused one: some name resolves to two addresses, of
/// which one is good.
const REFUSED_WAIT: Duration = Duration::from_secs(2);

/// How long what librdkafka has to say is heard while nobody answers. Without a wait one poll hears one thing, and there
/// are more lines of log than errors.
const REASON_WAIT: Duration = Duration::from_millis(50);

type GroupConsumer = BaseConsumer<Group>;

/// What the thread is given.
pub(super) struct Reading {
    pub(super) plan: Arc<Plan>,
    pub(super) reader: Reader,
    pub(super) shared: Arc<Shared>,
    pub(super) intake: Arc<dyn Intake>,
    pub(super) runtime: tokio::runtime::Handle,
    pub(super) instance: u32,
}

impl Reading {
    /// From connecting to having left the group.
    pub(super) fn run(self, ready: oneshot::Sender<Result<(), SourceError>>) {
        let consumer = match self.connect() {
            Ok(consumer) => consumer,
            Err(error) => {
                // Nobody waits where connecting was given up.
                let _ = ready.send(Err(error));
                return;
            }
        };
        let _ = ready.send(Ok(()));
        let mut polling =
            Polling { reading: &self, consumer: &consumer, held: false, warned: None, last: None, unfound: 0 };
        while !self.shared.state().stopping {
            polling.turn();
        }
        // What has failed is not waited for; a group that is there is told the last places.
        if self.shared.state().failure.is_none() {
            commit(&consumer, &self.shared, CommitMode::Sync);
        }
    }

    fn connect(&self) -> Result<GroupConsumer, SourceError> {
        let failed = |meaning: Meaning, message: String| SourceError::Failed { code: meaning.word(), message };
        let mut settings = self.plan.client.clone();
        // One static member for each instance; two of the same name would drive each other out.
        if self.instance > 0
            && let Some(member) = settings.get("group.instance.id")
        {
            let member = format!("{member}-{}", self.instance);
            settings.set("group.instance.id", member);
        }
        let group = Group {
            shared: Arc::clone(&self.shared),
            last_error: LastError::default(),
            starting: Starting {
                plan: Arc::clone(&self.plan),
                intake: Arc::clone(&self.intake),
                runtime: self.runtime.clone(),
            },
        };
        let consumer: GroupConsumer = settings
            .create_with_context(group)
            .map_err(|error| failed(Meaning::Passing, format!("the Kafka client could not be made: {error}")))?;
        let mut deadline = Instant::now() + CONNECT_TIMEOUT;
        let cluster = loop {
            if let Some(cluster) = consumer.client().fetch_cluster_id(Duration::from_millis(500)) {
                break cluster;
            }
            // Why nobody answers comes by the same queue as messages.
            while let Some(polled) = consumer.poll(REASON_WAIT) {
                let meaning = polled.err().and_then(|error| error.rdkafka_error_code()).map(Meaning::of);
                if let Some(meaning @ (Meaning::Auth | Meaning::Tls | Meaning::Denied)) = meaning {
                    return Err(failed(meaning, consumer.context().last_error()));
                }
                if meaning == Some(Meaning::Unreachable) {
                    deadline = deadline.min(Instant::now() + REFUSED_WAIT);
                }
            }
            if self.shared.state().stopping || Instant::now() >= deadline {
                let why = consumer.context().last_error();
                let why = if why.is_empty() { "no broker answers".to_owned() } else { why };
                return Err(failed(Meaning::Unreachable, why));
            }
        };
        {
            let mut state = self.shared.state();
            state.position.cluster = cluster;
            state.position.group.clone_from(&self.plan.group);
        }
        self.check_topics(&consumer)?;
        let topics: Vec<&str> = self.plan.topics.iter().map(String::as_str).collect();
        consumer.subscribe(&topics).map_err(|error| failed(Meaning::Passing, error.to_string()))?;
        Ok(consumer)
    }

    /// A source none of whose topics is there has nothing to wait for; one of several that is missing does not stop
    /// the others.
    fn check_topics(&self, consumer: &GroupConsumer) -> Result<(), SourceError> {
        let mut missing = Vec::new();
        for topic in self.plan.topics.iter().filter(|topic| !topic.starts_with('^')) {
            let metadata = consumer.fetch_metadata(Some(topic), PROBE_TIMEOUT).map_err(|error| {
                let meaning = error.rdkafka_error_code().map_or(Meaning::Passing, Meaning::of);
                SourceError::Failed { code: meaning.word(), message: format!("topic {topic}: {error}") }
            })?;
            let error = metadata.topics().first().and_then(rdkafka::metadata::MetadataTopic::error);
            match error.map(|error| Meaning::of(error.into())) {
                Some(Meaning::NoTopic) => missing.push(topic.as_str()),
                Some(Meaning::Denied) => {
                    let message = format!("the topic {topic} may not be read");
                    return Err(SourceError::Failed { code: Meaning::Denied.word(), message });
                }
                _ => {}
            }
        }
        if missing.is_empty() {
            return Ok(());
        }
        let message = format!("the cluster has no topic {}", missing.join(", "));
        if missing.len() == self.plan.topics.len() {
            return Err(SourceError::Failed { code: Meaning::NoTopic.word(), message });
        }
        tracing::warn!(source = %self.plan.name, "{message}; the others are read");
        Ok(())
    }
}

/// One connected consumer, between two turns.
struct Polling<'a> {
    reading: &'a Reading,
    consumer: &'a GroupConsumer,
    /// Fetching is stopped until there is room.
    held: bool,
    /// When a passing error was last said.
    warned: Option<Instant>,
    /// The partition of the last message.
    last: Option<Partition>,
    /// Of how many of our topics and patterns librdkafka has said that they fit nothing. It says so once of each.
    unfound: usize,
}

impl Polling<'_> {
    /// Does what was asked, then polls for a while.
    fn turn(&mut self) {
        let shared = &self.reading.shared;
        let asked = shared.state().seek.take();
        if let Some((to, answer)) = asked {
            let sought = self.seek(&to);
            // Nobody waits where the seek took too long; the place holds all the same.
            let _ = answer.send(sought);
        }
        commit(self.consumer, shared, CommitMode::Async);
        self.keep_room();
        let mut wait = POLL;
        let (mut unannounced, mut has_room) = (0, true);
        while has_room && unannounced < ANNOUNCE_EVERY {
            match self.consumer.poll(wait) {
                Some(Ok(message)) => {
                    has_room = self.gather(&message);
                    unannounced += 1;
                }
                Some(Err(error)) => {
                    self.failed(&error);
                    has_room = !shared.is_full(&shared.state());
                }
                None => break,
            }
            wait = Duration::ZERO;
        }
        if unannounced > 0 || shared.state().to_save {
            shared.announce();
        }
    }

    /// Waits while what was gathered is not taken, and then stops fetching, but goes on polling: a member of a group
    /// that does not is driven out.
    fn keep_room(&mut self) {
        let shared = &self.reading.shared;
        let state = shared.state();
        let nothing_to_do = |state: &State| shared.is_full(state) && !state.stopping && state.seek.is_none();
        let wait = if self.held { Duration::ZERO } else { ROOM_WAIT };
        let state = shared.wait_while(state, wait, nothing_to_do);
        let (is_full, idle) = (shared.is_full(&state), nothing_to_do(&state));
        drop(state);
        let change = match (self.held, is_full) {
            (false, true) if idle => self.consumer.assignment().and_then(|ours| self.consumer.pause(&ours)),
            (true, false) => self.consumer.assignment().and_then(|ours| self.consumer.resume(&ours)),
            // What a rebalance brought since is held, too.
            (true, true) => self.consumer.assignment().and_then(|ours| self.consumer.pause(&ours)),
            _ => return,
        };
        match change {
            Ok(()) => self.held = is_full,
            Err(error) => self.warn(&format!("fetching could not be stopped or begun: {error}")),
        }
    }

    /// Decodes a message and puts it to the others, under one lock; says whether there is room for more.
    fn gather(&mut self, message: &BorrowedMessage<'_>) -> bool {
        let shared = &self.reading.shared;
        // Before the lock. That it turns out to be none of ours is rare.
        let what = self.reading.reader.read(message);
        let offset = message.offset();
        let time_ms = time_ms(message).unwrap_or(-1);
        let mut state = shared.state();
        let Some(partition) = self.find(&state, message) else { return true };
        let Some(assigned) = state.assigned.get_mut(&partition) else { return true };
        if let Some(saved) = assigned.to_verify.take() {
            if offset + 1 == saved.next && time_ms == saved.time_ms {
                return true;
            }
            // Behind it, the saved place was past the end, and librdkafka has begun by `start` already; a time it does
            // not know.
            let by_time = matches!(self.reading.plan.start, Start::Time(_));
            if offset + 1 == saved.next || (offset + 1 < saved.next && by_time) {
                drop(state);
                self.begin_anew(&partition);
                return true;
            }
        }
        if offset < assigned.expected {
            tracing::warn!(
                source = %self.reading.plan.name, topic = message.topic(), partition = partition.1,
                expected = assigned.expected, offset, "the topic is another one now, and is read by `start`"
            );
        }
        assigned.expected = offset + 1;
        let place = Place { next: offset + 1, time_ms };
        let bytes = message.payload_len() + message.key_len();
        state.push(Gathered { partition, place, bytes, what });
        !shared.is_full(&state)
    }

    /// The partition of a message, where it is ours. They come in runs, so the last one is looked at first.
    fn find(&mut self, state: &State, message: &BorrowedMessage<'_>) -> Option<Partition> {
        let (topic, number) = (message.topic(), message.partition());
        let is_it = |(name, partition): &&Partition| *partition == number && &**name == topic;
        if self.last.as_ref().filter(is_it).is_none() {
            self.last = state.assigned.keys().find(is_it).cloned();
        }
        self.last.clone()
    }

    /// The topic is not the one whose place was saved: it was deleted and made again.
    fn begin_anew(&self, partition: &Partition) {
        let (topic, number) = (&*partition.0, partition.1);
        tracing::warn!(
            source = %self.reading.plan.name, topic, partition = number,
            "the saved place belongs to a topic that is gone; this one is read by `start`"
        );
        let starts = starting::by_policy(self.consumer, self.reading.plan.start, std::slice::from_ref(partition));
        let sought = starts.map_err(|error| error.to_string()).and_then(|starts| {
            let offset = starts.first().map_or(Offset::Beginning, |(_, offset)| *offset);
            self.consumer.seek(topic, number, offset, PROBE_TIMEOUT).map_err(|error| error.to_string())
        });
        let mut state = self.reading.shared.state();
        state.position.places.remove(partition);
        if let Some(assigned) = state.assigned.get_mut(partition) {
            *assigned = Assigned { end: assigned.end, ..Assigned::default() };
        }
        if let Err(error) = sought {
            // Connected again, there is no saved place in the way any more.
            let message = format!("{topic}/{number} could not be begun anew: {error}");
            state.failure.get_or_insert(SourceError::Failed { code: "kafka", message });
        }
    }

    fn seek(&self, to: &crate::source::Seek) -> Result<Vec<u8>, SeekError> {
        let shared = &self.reading.shared;
        let failed = |error: String| SeekError::Failed { code: "seek", message: error };
        let ours: Vec<Partition> = shared.state().assigned.keys().cloned().collect();
        let places = starting::places(self.consumer, to, &ours)?;
        let mut list = TopicPartitionList::with_capacity(places.len());
        for ((topic, partition), offset) in &places {
            list.add_partition_offset(topic, *partition, Offset::Offset(*offset)).map_err(|e| failed(e.to_string()))?;
        }
        if list.count() > 0 {
            // Who reads ahead must be asked to stop before what it has read is dropped; librdkafka does both at once.
            self.consumer.seek_partitions(list, PROBE_TIMEOUT).map_err(|error| failed(error.to_string()))?;
        }
        let mut state = shared.state();
        let moved = |partition: &Partition| places.iter().any(|(moved, _)| moved == partition);
        state.drop_waiting(moved);
        for (partition, offset) in &places {
            state.position.places.insert(partition.clone(), Place { next: *offset, time_ms: -1 });
            state.to_commit.insert(partition.clone(), *offset);
            if let Some(assigned) = state.assigned.get_mut(partition) {
                *assigned = Assigned { end: assigned.end, begun_at: Some(*offset), expected: *offset, to_verify: None };
            }
        }
        let position = state.position.write(|_| true).map_err(|error| failed(error.to_string()));
        drop(state);
        // Now: a group that still knew the later place would win over an earlier one after a restart.
        commit(self.consumer, shared, CommitMode::Sync);
        position
    }

    fn failed(&mut self, error: &KafkaError) {
        let Some(code) = error.rdkafka_error_code() else { return };
        let why = self.consumer.context().last_error();
        let why = if why.is_empty() { error.to_string() } else { why };
        let shared = &self.reading.shared;
        if matches!(error, KafkaError::MessageConsumptionFatal(_)) {
            shared.fail("kafka", why);
            return;
        }
        match (code, Meaning::of(code)) {
            (_, meaning @ (Meaning::Auth | Meaning::Tls | Meaning::Denied)) => shared.fail(meaning.word(), why),
            (_, Meaning::Unreachable) => self.probe(&why),
            (_, Meaning::NoTopic) => {
                if shared.state().assigned.is_empty() && self.reading.check_topics(self.consumer).is_err() {
                    shared.fail(Meaning::NoTopic.word(), why);
                } else {
                    self.not_found(&why);
                }
            }
            (RDKafkaErrorCode::PollExceeded, _) => {
                self.warn("the group has gone on without this source, which was held up")
            }
            _ => self.warn(&why),
        }
    }

    /// Something that we read is not there, and what else we read may be. Where nothing is, librdkafka joins no group, so
    /// none will ever give us a share of nothing: what may come later is looked for, and that is all that can be begun. A
    /// topic that is found then is read by `start`.
    fn not_found(&mut self, why: &str) {
        self.unfound += 1;
        let shared = &self.reading.shared;
        if self.unfound < self.reading.plan.topics.len() || shared.has_begun() {
            self.warn(why);
            return;
        }
        tracing::info!(source = %self.reading.plan.name, "no topic fits what this source reads; it waits for one");
        shared.begin();
    }

    /// librdkafka says so also where one idle connection was closed: asks the cluster.
    fn probe(&self, why: &str) {
        let topic = self.reading.plan.topics.iter().find(|topic| !topic.starts_with('^'));
        if let Err(error) = self.consumer.fetch_metadata(topic.map(String::as_str), PROBE_TIMEOUT) {
            self.reading.shared.fail(Meaning::Unreachable.word(), format!("{why} ({error})"));
        }
    }

    fn warn(&mut self, message: &str) {
        let now = Instant::now();
        if self.warned.is_none_or(|at| now.duration_since(at) >= WARN_EVERY) {
            self.warned = Some(now);
            tracing::warn!(source = %self.reading.plan.name, "{message}");
        } else {
            tracing::debug!(source = %self.reading.plan.name, "{message}");
        }
    }
}
