//! Where a partition is begun.
//!
//! The later of two places counts: what the group was told, and what was saved in the frame of the last events. The
//! second is ahead where the program ended between the two. Kafka forgets the group's place when a topic is deleted; so a
//! saved place that the group does not know might be one of a topic that is gone, and the message before it is read
//! again and compared. Where neither is known, `start` decides; but a partition that was added to a topic that is being
//! read is read from its beginning, whatever `start` says.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use eventyard_event::Timestamp;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::{Offset, TopicPartitionList};

use super::super::position::{Partition, Place, Position};
use super::super::settings::Start;
use super::Plan;
use super::gathered::{Assigned, Shared};
use crate::source::{Intake, Seek, SeekError};

/// How long the cluster may take to answer a question about offsets.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// What it takes to know where to begin.
pub(super) struct Starting {
    pub(super) plan: Arc<Plan>,
    pub(super) intake: Arc<dyn Intake>,
    pub(super) runtime: tokio::runtime::Handle,
}

impl Starting {
    /// The same partitions with the offsets to begin at, noted in the state as ours.
    pub(super) fn begin(
        &self,
        consumer: &BaseConsumer<impl ConsumerContext>,
        list: &TopicPartitionList,
        shared: &Shared,
    ) -> TopicPartitionList {
        let ours: Vec<Partition> =
            list.elements().iter().map(|element| (element.topic().into(), element.partition())).collect();
        let saved = self.saved(shared);
        let told = match consumer.committed_offsets(list.clone(), ANSWER_TIMEOUT) {
            Ok(told) => Some(offsets(&told)),
            Err(error) => {
                tracing::warn!(source = %self.plan.name, %error, "the group does not say how far it has come");
                None
            }
        };
        let counts = self.counts(consumer, shared, &ours, &saved.counts);
        let begins = decide(&ours, &saved.places, told.as_ref(), &counts);
        let unknown: Vec<Partition> = begins
            .iter()
            .filter(|(_, begin)| **begin == Begin::Policy)
            .map(|(partition, _)| partition.clone())
            .collect();
        // A place that `latest` or a time gave is a place from now on: a stop before the first message must not lose
        // what comes during it.
        let by_policy: BTreeMap<Partition, Offset> = match by_policy(consumer, self.plan.start, &unknown) {
            Ok(starts) => starts.into_iter().collect(),
            Err(error) => {
                // librdkafka would begin somewhere and say nothing. Connected again, the cluster is asked again.
                shared.fail("kafka", format!("the cluster does not say where `start` is: {error}"));
                BTreeMap::new()
            }
        };
        if self.plan.start != Start::Earliest && begins.values().any(|begin| *begin == Begin::Group) {
            shared.fail("kafka", "the group does not say how far it has come".to_owned());
        }
        let mut state = shared.state();
        let mut begun = TopicPartitionList::with_capacity(ours.len());
        for partition in ours {
            let begin = begins.get(&partition).copied().unwrap_or(Begin::Group);
            let offset = match begin {
                Begin::Group => Offset::Invalid,
                Begin::Earliest => Offset::Beginning,
                Begin::At(place) => Offset::Offset(place.next),
                Begin::Verify(place) => Offset::Offset(place.next - 1),
                Begin::Policy => by_policy.get(&partition).copied().unwrap_or(Offset::Invalid),
            };
            let mut assigned = Assigned::default();
            match begin {
                Begin::Verify(place) => {
                    assigned.begun_at = Some(place.next);
                    assigned.to_verify = Some(place);
                    state.position.places.insert(partition.clone(), place);
                }
                Begin::At(place) => {
                    assigned.begun_at = Some(place.next);
                    state.position.places.insert(partition.clone(), place);
                }
                Begin::Policy => {
                    if let Offset::Offset(next) = offset {
                        assigned.begun_at = Some(next);
                        state.position.places.insert(partition.clone(), Place { next, time_ms: -1 });
                        state.to_commit.insert(partition.clone(), next);
                        state.to_save = true;
                    }
                }
                Begin::Group | Begin::Earliest => {}
            }
            if assigned.begun_at.is_none() && matches!(offset, Offset::Beginning) {
                assigned.begun_at = Some(0);
            }
            if let Err(error) = begun.add_partition_offset(&partition.0, partition.1, offset) {
                tracing::warn!(source = %self.plan.name, %error, "a partition begins where the group says");
                begun.add_partition(&partition.0, partition.1);
            }
            state.assigned.insert(partition, assigned);
        }
        begun
    }

    /// How many partitions each topic had when it was first seen: what was saved, else what it has now. Where partitions
    /// are begun with the first message anyway, nobody need know.
    fn counts(
        &self,
        consumer: &BaseConsumer<impl ConsumerContext>,
        shared: &Shared,
        ours: &[Partition],
        saved: &BTreeMap<Arc<str>, i32>,
    ) -> BTreeMap<Arc<str>, i32> {
        if self.plan.start == Start::Earliest {
            return BTreeMap::new();
        }
        let mut counts = shared.state().position.counts.clone();
        counts.extend(saved.iter().map(|(topic, count)| (Arc::clone(topic), *count)));
        let seen = counts.clone();
        for topic in ours.iter().map(|(topic, _)| topic).collect::<BTreeSet<_>>() {
            let metadata = consumer.fetch_metadata(Some(topic), ANSWER_TIMEOUT);
            let now =
                metadata.ok().and_then(|metadata| metadata.topics().first().map(|topic| topic.partitions().len()));
            let now = now.and_then(|count| i32::try_from(count).ok()).unwrap_or_default();
            let highest = ours.iter().filter(|(name, _)| name == topic).map(|(_, partition)| partition + 1).max();
            let now = now.max(highest.unwrap_or_default());
            let known = counts.entry(Arc::clone(topic)).or_default();
            *known = now.max(*known);
        }
        shared.state().position.counts.clone_from(&counts);
        counts
            .into_iter()
            .map(|(topic, count)| {
                let count = seen.get(&topic).copied().unwrap_or(count);
                (topic, count)
            })
            .collect()
    }

    /// What all instances of this source have saved of this cluster and group, the later of two places.
    fn saved(&self, shared: &Shared) -> Position {
        let positions = match self.runtime.block_on(self.intake.positions()) {
            Ok(positions) => positions,
            Err(error) => {
                shared.fail("position", format!("the saved position cannot be read: {error}"));
                return Position::default();
            }
        };
        let mut all = Position::default();
        for (_, bytes) in positions {
            match Position::read(&bytes) {
                Ok(read) => {
                    let state = shared.state();
                    if read.cluster != state.position.cluster || read.group != state.position.group {
                        continue;
                    }
                    drop(state);
                    for (partition, place) in read.places {
                        let known = all.places.entry(partition).or_insert(place);
                        if place.next > known.next {
                            *known = place;
                        }
                    }
                    for (topic, count) in read.counts {
                        let known = all.counts.entry(topic).or_insert(count);
                        *known = count.max(*known);
                    }
                }
                Err(error) => shared.fail("position", error.to_string()),
            }
        }
        all
    }
}

/// Where one partition is begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Begin {
    /// Where the group says, for it could not be asked.
    Group,
    /// At this place.
    At(Place),
    /// At this place, after a look at the message before it.
    Verify(Place),
    /// With its first message.
    Earliest,
    /// Where `start` says.
    Policy,
}

/// Pure: from what is saved, what the group was told (`None` where it did not answer) and how many partitions the
/// topics had.
fn decide(
    ours: &[Partition],
    saved: &BTreeMap<Partition, Place>,
    told: Option<&BTreeMap<Partition, i64>>,
    counts: &BTreeMap<Arc<str>, i32>,
) -> BTreeMap<Partition, Begin> {
    let was_added = |(topic, partition): &Partition| counts.get(topic).is_some_and(|count| partition >= count);
    let begin = |partition: &Partition| {
        let place = saved.get(partition).copied();
        let committed = told.and_then(|told| told.get(partition).copied());
        match (place, committed) {
            (Some(place), Some(committed)) if committed >= place.next => {
                Begin::At(Place { next: committed, ..Place { time_ms: -1, ..place } })
            }
            (Some(place), _) if place.next > 0 && place.time_ms >= 0 => Begin::Verify(place),
            (Some(place), _) => Begin::At(place),
            (None, Some(committed)) => Begin::At(Place { next: committed, time_ms: -1 }),
            (None, None) if told.is_none() => Begin::Group,
            (None, None) if was_added(partition) => Begin::Earliest,
            (None, None) => Begin::Policy,
        }
    };
    ours.iter().map(|partition| (partition.clone(), begin(partition))).collect()
}

/// The offsets that `start` means; `earliest` needs nobody to be asked.
pub(super) fn by_policy(
    consumer: &BaseConsumer<impl ConsumerContext>,
    start: Start,
    partitions: &[Partition],
) -> KafkaResult<Vec<(Partition, Offset)>> {
    match start {
        Start::Earliest => Ok(partitions.iter().map(|partition| (partition.clone(), Offset::Beginning)).collect()),
        Start::Latest => at_time(consumer, partitions, Offset::End),
        Start::Time(time) => after(consumer, partitions, time),
    }
}

/// The first offsets at `time` or later; the ends where nothing is so late.
fn after(
    consumer: &BaseConsumer<impl ConsumerContext>,
    partitions: &[Partition],
    time: Timestamp,
) -> KafkaResult<Vec<(Partition, Offset)>> {
    let found = at_time(consumer, partitions, Offset::Offset(time.as_millis().max(0)))?;
    let late: Vec<Partition> = found
        .iter()
        .filter(|(_, offset)| !matches!(offset, Offset::Offset(_)))
        .map(|(partition, _)| partition.clone())
        .collect();
    let ends: BTreeMap<Partition, Offset> = at_time(consumer, &late, Offset::End)?.into_iter().collect();
    let or_end = |(partition, offset): (Partition, Offset)| {
        let offset = ends.get(&partition).copied().unwrap_or(offset);
        (partition, offset)
    };
    Ok(found.into_iter().map(or_end).collect())
}

/// Asks for the offsets at a time, or at `Beginning` or `End`.
fn at_time(
    consumer: &BaseConsumer<impl ConsumerContext>,
    partitions: &[Partition],
    time: Offset,
) -> KafkaResult<Vec<(Partition, Offset)>> {
    if partitions.is_empty() {
        return Ok(Vec::new());
    }
    let mut asked = TopicPartitionList::with_capacity(partitions.len());
    for (topic, partition) in partitions {
        asked.add_partition_offset(topic, *partition, time)?;
    }
    let answered = consumer.offsets_for_times(asked, ANSWER_TIMEOUT)?;
    answered
        .elements()
        .iter()
        .map(|element| {
            element.error()?;
            Ok(((element.topic().into(), element.partition()), element.offset()))
        })
        .collect()
}

/// The offsets of a seek, for those of our partitions that it moves.
pub(super) fn places(
    consumer: &BaseConsumer<impl ConsumerContext>,
    to: &Seek,
    ours: &[Partition],
) -> Result<Vec<(Partition, i64)>, SeekError> {
    let failed = |error: KafkaError| SeekError::Failed { code: "seek", message: error.to_string() };
    let found = match to {
        Seek::Earliest => at_time(consumer, ours, Offset::Beginning).map_err(failed)?,
        Seek::Latest => at_time(consumer, ours, Offset::End).map_err(failed)?,
        Seek::Time(time) => after(consumer, ours, *time).map_err(failed)?,
        Seek::Position(text) => {
            let (partition, offset) = read_position(text)?;
            let ours = ours.iter().filter(|ours| **ours == partition);
            ours.map(|ours| (ours.clone(), Offset::Offset(offset))).collect()
        }
    };
    let number = |(partition, offset): (Partition, Offset)| match offset {
        Offset::Offset(offset) => Some((partition, offset)),
        _ => None,
    };
    Ok(found.into_iter().filter_map(number).collect())
}

/// `topic/partition/offset`, as it stands in an event's id.
fn read_position(text: &str) -> Result<(Partition, i64), SeekError> {
    let mut parts = text.split('/');
    let read = || {
        let (topic, partition, offset) = (parts.next()?, parts.next()?, parts.next()?);
        let offset = offset.parse::<i64>().ok().filter(|offset| *offset >= 0)?;
        let partition = partition.parse::<i32>().ok().filter(|partition| *partition >= 0)?;
        (parts.next().is_none() && !topic.is_empty()).then(|| ((topic.into(), partition), offset))
    };
    let mut read = read;
    read().ok_or_else(|| SeekError::BadPosition {
        message: "write topic/partition/offset, as it stands in an event's id".to_owned(),
    })
}

fn offsets(list: &TopicPartitionList) -> BTreeMap<Partition, i64> {
    let offset = |element: &rdkafka::topic_partition_list::TopicPartitionListElem<'_>| match element.offset() {
        Offset::Offset(offset) => Some(((element.topic().into(), element.partition()), offset)),
        _ => None,
    };
    list.elements().iter().filter_map(offset).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn partition(number: i32) -> Partition {
        ("t".into(), number)
    }

    fn begin(saved: Option<(i64, i64)>, told: Option<Option<i64>>) -> Begin {
        let saved = saved.map(|(next, time_ms)| (partition(0), Place { next, time_ms })).into_iter().collect();
        let told = told.map(|told| told.map(|told| (partition(0), told)).into_iter().collect());
        decide(&[partition(0)], &saved, told.as_ref(), &BTreeMap::new())[&partition(0)]
    }

    #[test]
    fn the_later_of_two_places_counts() {
        assert_eq!(begin(Some((5, 99)), Some(Some(7))), Begin::At(Place { next: 7, time_ms: -1 }));
        assert_eq!(begin(Some((7, 99)), Some(Some(5))), Begin::Verify(Place { next: 7, time_ms: 99 }));
        assert_eq!(begin(None, Some(Some(5))), Begin::At(Place { next: 5, time_ms: -1 }));
    }

    #[test]
    fn a_saved_place_that_the_group_does_not_know_is_looked_at() {
        assert_eq!(begin(Some((7, 99)), Some(None)), Begin::Verify(Place { next: 7, time_ms: 99 }));
        // Without a timestamp there is nothing to compare.
        assert_eq!(begin(Some((7, -1)), Some(None)), Begin::At(Place { next: 7, time_ms: -1 }));
        assert_eq!(begin(Some((0, 5)), Some(None)), Begin::At(Place { next: 0, time_ms: 5 }));
    }

    #[test]
    fn a_group_that_does_not_answer_is_no_group_without_a_place() {
        assert_eq!(begin(None, None), Begin::Group);
        assert_eq!(begin(Some((7, 99)), None), Begin::Verify(Place { next: 7, time_ms: 99 }));
    }

    #[test]
    fn a_partition_that_is_added_is_read_from_its_beginning() {
        let begin = |number| {
            let counts = [("t".into(), 3)].into();
            decide(&[partition(number)], &BTreeMap::new(), Some(&BTreeMap::new()), &counts)[&partition(number)]
        };
        assert_eq!((begin(2), begin(3)), (Begin::Policy, Begin::Earliest));
    }

    #[test]
    fn a_place_is_written_as_in_an_events_id() {
        assert_eq!(read_position("a.b/3/70"), Ok((("a.b".into(), 3), 70)));
        for bad in ["", "a", "a/1", "a/1/2/3", "a/x/1", "a/1/-1", "/1/1", "12"] {
            assert!(read_position(bad).is_err(), "{bad}");
        }
    }
}
