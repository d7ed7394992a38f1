//! What the group gives and takes.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext, RebalanceProtocol};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{ClientContext, TopicPartitionList};
use serde::Deserialize;

use super::super::client;
use super::super::position::Partition;
use super::commit::commit;
use super::gathered::Shared;
use super::starting::Starting;

/// How long a rebalance waits for what was handed out to be on disk. Beyond it the next owner repeats some events; the
/// group itself waits for minutes.
const ACK_WAIT: Duration = Duration::from_secs(20);

/// When the group is told again what it did not take.
const COMMIT_AGAIN: Duration = Duration::from_secs(1);

/// What librdkafka calls back, all of it on the thread that polls.
pub(super) struct Group {
    pub(super) shared: Arc<Shared>,
    pub(super) starting: Starting,
    pub(super) last_error: LastError,
}

/// The last error's words.
pub(super) type LastError = Mutex<String>;

/// The part of librdkafka's statistics that says how much waits, and what the group knows of it.
#[derive(Deserialize)]
struct Statistics {
    #[serde(default)]
    topics: std::collections::BTreeMap<String, TopicStatistics>,
}

#[derive(Deserialize)]
struct TopicStatistics {
    #[serde(default)]
    partitions: std::collections::BTreeMap<String, PartitionStatistics>,
}

#[derive(Deserialize)]
struct PartitionStatistics {
    ls_offset: i64,
    /// Of the last commit that was answered. Negative: there was none.
    committed_offset: i64,
}

impl Group {
    /// What librdkafka last said of an error.
    pub(super) fn last_error(&self) -> String {
        self.last_error.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn assign(&self, consumer: &BaseConsumer<Group>, list: &TopicPartitionList) -> KafkaResult<()> {
        let list = self.starting.begin(consumer, list, &self.shared);
        match consumer.rebalance_protocol() {
            RebalanceProtocol::Cooperative => consumer.incremental_assign(&list),
            RebalanceProtocol::Eager | RebalanceProtocol::None => consumer.assign(&list),
        }?;
        self.shared.begin();
        Ok(())
    }

    fn revoke(&self, consumer: &BaseConsumer<Group>, list: &TopicPartitionList) -> KafkaResult<()> {
        let gone: Vec<Partition> =
            list.elements().iter().map(|element| (element.topic().into(), element.partition())).collect();
        let is_gone = |partition: &Partition| gone.contains(partition);
        let mut state = self.shared.state();
        state.drop_waiting(is_gone);
        let lost = consumer.assignment_lost();
        let handed = |state: &super::gathered::State| {
            state.handed.as_ref().is_some_and(|handed| handed.keys().any(is_gone)) && state.failure.is_none()
        };
        if !lost && handed(&state) {
            state = self.shared.wait_while(state, ACK_WAIT, handed);
        }
        let failed = state.failure.is_some();
        drop(state);
        if !lost && !failed {
            commit(consumer, &self.shared, CommitMode::Sync);
        }
        let mut state = self.shared.state();
        for partition in &gone {
            state.assigned.remove(partition);
            state.to_commit.remove(partition);
            // The next owner moves on from here: a place kept any longer would be an old one when it comes back.
            if !lost && !failed && state.position.places.remove(partition).is_some() {
                state.to_save = true;
            }
        }
        drop(state);
        self.shared.announce();
        match consumer.rebalance_protocol() {
            RebalanceProtocol::Cooperative => consumer.incremental_unassign(list),
            RebalanceProtocol::Eager | RebalanceProtocol::None => consumer.unassign(),
        }
    }
}

impl ClientContext for Group {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        if facility == "COMMITFAIL" {
            // The only word that comes of it: a group that is sharing its partitions anew takes nothing.
            tracing::info!(source = %self.shared.name, message, "the group did not take how far this source has come");
            let mut state = self.shared.state();
            state.tell_all();
            state.commit_after = Some(Instant::now() + COMMIT_AGAIN);
            return;
        }
        if facility == "OFFSET" {
            // A place that Kafka no longer keeps: what lay between is gone, and people should know.
            tracing::warn!(source = %self.shared.name, message, "a partition goes on elsewhere than where it was left");
            return;
        }
        client::log(level, &self.shared.name, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        let message = client::words(&error, reason);
        tracing::debug!(source = %self.shared.name, message, "librdkafka reports");
        *self.last_error.lock().unwrap_or_else(PoisonError::into_inner) = message;
    }

    fn stats_raw(&self, statistics: &[u8]) {
        let Ok(statistics) = serde_json::from_slice::<Statistics>(statistics) else { return };
        let of =
            |(topic, partition): &Partition| statistics.topics.get(&**topic)?.partitions.get(&partition.to_string());
        let mut state = self.shared.state();
        for (partition, assigned) in &mut state.assigned {
            // -1001 and the like mean that it is not known yet.
            if let Some(end) = of(partition).map(|said| said.ls_offset).filter(|end| *end >= 0) {
                assigned.end = Some(end);
            }
        }
        let ours: Vec<Partition> = state.assigned.keys().cloned().collect();
        for partition in ours {
            if let Some(said) = of(&partition) {
                state.compare_told(&partition, said.committed_offset);
            }
        }
    }
}

impl ConsumerContext for Group {
    fn rebalance(&self, consumer: &BaseConsumer<Group>, what: RDKafkaRespErr, list: &mut TopicPartitionList) {
        let assigned = what == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS;
        tracing::info!(
            source = %self.shared.name, partitions = list.count(), assigned, "the group shares its partitions anew"
        );
        let done = if assigned { self.assign(consumer, list) } else { self.revoke(consumer, list) };
        if let Err(error) = done {
            self.shared.fail("kafka", format!("the group's new shares could not be taken: {error}"));
        }
    }
}
