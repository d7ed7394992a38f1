//! Tells the group how far this source has come.

use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext};
use rdkafka::{Offset, TopicPartitionList};

use super::gathered::Shared;

/// How often the group is told how far this source has come. What a crash between two tellings leaves untold stands in
/// the saved position.
const COMMIT_EVERY: Duration = Duration::from_millis(100);

/// Tells the group what is on disk, now and then; or with `Sync` at once, all of it, and waits for the answer.
pub(super) fn commit(consumer: &BaseConsumer<impl ConsumerContext>, shared: &Shared, mode: CommitMode) {
    let now = Instant::now();
    let mut state = shared.state();
    if matches!(mode, CommitMode::Sync) {
        state.tell_all();
    } else if state.commit_after.is_some_and(|after| now < after) {
        return;
    }
    if state.to_commit.is_empty() {
        return;
    }
    let offsets = std::mem::take(&mut state.to_commit);
    state.commit_after = Some(now + COMMIT_EVERY);
    drop(state);
    let mut list = TopicPartitionList::with_capacity(offsets.len());
    let listed = offsets.iter().try_for_each(|((topic, partition), offset)| {
        list.add_partition_offset(topic, *partition, Offset::Offset(*offset))
    });
    if let Err(error) = listed.and_then(|()| consumer.commit(&list, mode)) {
        // The saved position holds all the same.
        tracing::info!(source = %shared.name, %error, "the group could not be told how far this source has come");
    }
}
