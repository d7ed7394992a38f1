//! What stands between the reading thread and the supervisor's calls.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, oneshot};

use super::super::message::Read;
use super::super::position::{Partition, Place, Position};
use crate::polled::{BATCH_BYTES_MAX, BatchConfig};
use crate::source::{Batch, Seek, SeekError, SourceError};

/// Messages that wait to be handed out, about, where a batch is smaller: the next ones are decoded while one is written.
const WAITING_MAX: usize = 1_000;

/// A message on its way to the broker.
pub(super) struct Gathered {
    pub(super) partition: Partition,
    /// Where its partition goes on after it.
    pub(super) place: Place,
    /// How many bytes it had.
    pub(super) bytes: usize,
    pub(super) what: Read,
}

/// Who asked to go on from another place, and for what.
pub(super) type SeekAsked = (Seek, oneshot::Sender<Result<Vec<u8>, SeekError>>);

/// A partition that is ours.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Assigned {
    /// The offset after its newest message, as librdkafka last said.
    pub(super) end: Option<i64>,
    /// Where it was begun, until something of it is on disk.
    pub(super) begun_at: Option<i64>,
    /// The offset that its next message has at least.
    pub(super) expected: i64,
    /// The message before the saved place is read again, to see whether it is the one that was saved.
    pub(super) to_verify: Option<Place>,
}

/// Whether the group has given what it has for us, be it nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Begun {
    #[default]
    NotYet,
    /// And `read` has not told.
    Now,
    Told,
}

#[derive(Default)]
pub(super) struct State {
    /// Read and not handed out, in the order of each partition.
    pub(super) waiting: VecDeque<Gathered>,
    pub(super) waiting_bytes: usize,
    /// Since when the first of them waits.
    pub(super) waiting_since: Option<Instant>,
    /// The places of the batch that was handed out and not acknowledged.
    pub(super) handed: Option<BTreeMap<Partition, Place>>,
    /// What is on disk.
    pub(super) position: Position,
    /// The position changed without an event: it is to be saved by itself.
    pub(super) to_save: bool,
    pub(super) assigned: BTreeMap<Partition, Assigned>,
    /// On disk, and the group is not told yet.
    pub(super) to_commit: BTreeMap<Partition, i64>,
    /// When the group is to be told next, at the earliest.
    pub(super) commit_after: Option<Instant>,
    pub(super) seek: Option<SeekAsked>,
    pub(super) failure: Option<SourceError>,
    /// What the group first gave is ours, and where each of it begins is known; or there is nothing that it could give.
    pub(super) begun: Begun,
    pub(super) stopping: bool,
}

/// The state, and the two ways to be woken.
pub(super) struct Shared {
    // A std Mutex: held for moments, never over an await or a call of librdkafka that waits.
    state: Mutex<State>,
    /// Wakes the reading thread: something was taken, acknowledged or asked.
    changed: Condvar,
    /// Wakes `read`: something waits, or it has failed.
    ready: Notify,
    /// The source's name, for its log.
    pub(super) name: String,
    batch: BatchConfig,
}

/// What `read` finds.
pub(super) enum Taken {
    Batch(Batch),
    /// Nothing yet.
    Nothing,
    /// Something, which waits for more until then.
    NotBefore(Instant),
}

impl Shared {
    pub(super) fn new(name: &str, batch: BatchConfig) -> Shared {
        Shared { state: Mutex::default(), changed: Condvar::new(), ready: Notify::new(), name: name.to_owned(), batch }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits on the reading thread, for so long at most, while `condition` holds.
    pub(super) fn wait_while<'a>(
        &self,
        state: MutexGuard<'a, State>,
        at_most: Duration,
        condition: impl Fn(&State) -> bool,
    ) -> MutexGuard<'a, State> {
        let waited = self.changed.wait_timeout_while(state, at_most, |state| condition(state));
        waited.unwrap_or_else(PoisonError::into_inner).0
    }

    /// Something waits to be taken.
    pub(super) fn announce(&self) {
        self.ready.notify_one();
    }

    /// Until something may be there to be taken.
    pub(super) async fn wait(&self) {
        self.ready.notified().await;
    }

    /// The connection is over.
    pub(super) fn fail(&self, code: &'static str, message: String) {
        self.state().failure.get_or_insert(SourceError::Failed { code, message });
        self.announce();
    }

    /// The group has given what it has for us.
    pub(super) fn begin(&self) {
        let mut state = self.state();
        if state.begun == Begun::NotYet {
            state.begun = Begun::Now;
        }
        drop(state);
        self.announce();
    }

    pub(super) fn has_begun(&self) -> bool {
        self.state().begun != Begun::NotYet
    }

    /// Whether as much waits as may.
    pub(super) fn is_full(&self, state: &State) -> bool {
        state.waiting.len() >= self.batch.max().max(WAITING_MAX) || state.waiting_bytes >= BATCH_BYTES_MAX
    }

    /// The next batch, where there is one.
    pub(super) fn take(&self) -> Result<Taken, SourceError> {
        let mut state = self.state();
        if let Some(failure) = &state.failure {
            return Err(failure.clone());
        }
        // An empty batch: the supervisor asks [`Shared::has_begun`] before it reads on.
        if state.begun == Begun::Now {
            state.begun = Begun::Told;
            return Ok(Taken::Batch(Batch::default()));
        }
        if state.handed.is_some() || (state.waiting.is_empty() && !state.to_save) {
            return Ok(Taken::Nothing);
        }
        let is_whole = state.waiting.len() >= self.batch.max() || state.waiting_bytes >= BATCH_BYTES_MAX;
        if let Some(since) = state.waiting_since
            && !is_whole
            && since.elapsed() < self.batch.window()
        {
            return Ok(Taken::NotBefore(since + self.batch.window()));
        }
        let mut batch = Batch::default();
        let mut places = BTreeMap::new();
        // They come in runs of one partition, of which the last place counts.
        let mut run: Option<(Partition, Place)> = None;
        let (mut count, mut bytes) = (0, 0);
        while count < self.batch.max()
            && state.waiting.front().is_some_and(|next| count == 0 || bytes + next.bytes <= BATCH_BYTES_MAX)
            && let Some(gathered) = state.waiting.pop_front()
        {
            count += 1;
            bytes += gathered.bytes;
            match gathered.what {
                Read::Event(incoming) => batch.events.push(*incoming),
                Read::Undecodable(letter) => batch.undecodable.push(*letter),
                Read::Skipped => {}
            }
            match &mut run {
                Some((partition, place)) if *partition == gathered.partition => *place = gathered.place,
                _ => places.extend(run.replace((gathered.partition, gathered.place))),
            }
        }
        places.extend(run);
        state.waiting_bytes = state.waiting_bytes.saturating_sub(bytes);
        state.waiting_since = (!state.waiting.is_empty()).then(Instant::now);
        let mut position = state.position.clone();
        position.places.extend(places.iter().map(|(partition, place)| (partition.clone(), *place)));
        let untold: BTreeSet<&Partition> = state.to_commit.keys().chain(places.keys()).collect();
        let written = position.write(|partition| untold.contains(partition));
        let written = written.map_err(|error| SourceError::Failed { code: "position", message: error.to_string() })?;
        batch.position = Some(written);
        state.to_save = false;
        state.handed = Some(places);
        drop(state);
        self.changed.notify_all();
        Ok(Taken::Batch(batch))
    }

    /// The batch that was taken is on disk.
    pub(super) fn acknowledge(&self) {
        let mut state = self.state();
        for (partition, place) in state.handed.take().unwrap_or_default() {
            // A partition that was given up meanwhile is its next owner's to speak of.
            if let Some(assigned) = state.assigned.get_mut(&partition) {
                assigned.begun_at = None;
                state.to_commit.insert(partition.clone(), place.next);
            }
            state.position.places.insert(partition, place);
        }
        drop(state);
        self.changed.notify_all();
    }

    /// What is waiting goes, nothing is waited for any more, and the reading thread ends.
    pub(super) fn stop(&self) {
        let mut state = self.state();
        state.stopping = true;
        state.waiting.clear();
        state.waiting_bytes = 0;
        state.handed = None;
        drop(state);
        self.changed.notify_all();
    }

    pub(super) fn ask_to_seek(&self, to: Seek, answer: oneshot::Sender<Result<Vec<u8>, SeekError>>) {
        self.state().seek = Some((to, answer));
        self.changed.notify_all();
    }

    /// How many messages wait in our partitions and are not on disk here.
    pub(super) fn lag(&self) -> Option<u64> {
        let state = self.state();
        let of = |(partition, assigned): (&Partition, &Assigned)| {
            // Asked between the commit of a batch and its ack, so what was handed out is on disk.
            let handed = state.handed.as_ref().and_then(|handed| handed.get(partition));
            let saved = || state.position.places.get(partition).filter(|_| assigned.begun_at.is_none());
            let next = handed.or_else(saved).map(|place| place.next).or(assigned.begun_at)?;
            Some(assigned.end?.saturating_sub(next).max(0).unsigned_abs())
        };
        let known: Vec<u64> = state.assigned.iter().filter_map(of).collect();
        (!known.is_empty()).then(|| known.iter().sum())
    }
}

impl State {
    pub(super) fn push(&mut self, gathered: Gathered) {
        self.waiting_bytes += gathered.bytes;
        self.waiting_since.get_or_insert_with(Instant::now);
        self.waiting.push_back(gathered);
    }

    /// Everything that is on disk of our partitions is to be told to the group, again where it was.
    pub(super) fn tell_all(&mut self) {
        for (partition, place) in &self.position.places {
            if self.assigned.contains_key(partition) {
                self.to_commit.insert(partition.clone(), place.next);
            }
        }
    }

    /// What the group knows of a partition of ours, as librdkafka last heard from it. Where that is another place than the
    /// one on disk, the group is told again: a request that a cut connection held up is repeated by librdkafka after the
    /// newer ones, and then the group has gone back.
    pub(super) fn compare_told(&mut self, partition: &Partition, known: i64) {
        let begun = self.assigned.get(partition).is_some_and(|assigned| assigned.begun_at.is_none());
        if let Some(place) = self.position.places.get(partition).filter(|place| begun && place.next != known) {
            self.to_commit.entry(partition.clone()).or_insert(place.next);
        }
    }

    /// Forgets what was gathered and not handed out of partitions that are not ours any more.
    pub(super) fn drop_waiting(&mut self, gone: impl Fn(&Partition) -> bool) {
        self.waiting.retain(|gathered| !gone(&gathered.partition));
        self.waiting_bytes = self.waiting.iter().map(|gathered| gathered.bytes).sum();
        self.waiting_since = self.waiting_since.filter(|_| !self.waiting.is_empty());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::Undecodable;
    use bytes::Bytes;

    fn shared(max: usize, window: &str) -> Shared {
        let batch = serde_json::json!({ "max": max, "window": window.parse::<u64>().unwrap() });
        Shared::new("s", serde_json::from_value(batch).unwrap())
    }

    fn take(shared: &Shared) -> Option<Batch> {
        match shared.take().unwrap() {
            Taken::Batch(batch) => Some(batch),
            Taken::Nothing | Taken::NotBefore(_) => None,
        }
    }

    fn gathered(partition: i32, offset: i64, bytes: usize) -> Gathered {
        let letter = Undecodable::new(serde_json::Map::new(), &Bytes::new(), "decode", offset.to_string());
        Gathered {
            partition: ("t".into(), partition),
            place: Place { next: offset + 1, time_ms: offset },
            bytes,
            what: Read::Undecodable(Box::new(letter)),
        }
    }

    fn next(batch: &Batch, partition: i32) -> i64 {
        let position = Position::read(batch.position.as_deref().unwrap()).unwrap();
        position.places[&("t".into(), partition)].next
    }

    #[test]
    fn a_position_is_ahead_of_the_disk_only_in_its_own_frame() {
        let shared = shared(1000, "0");
        shared.state().assigned.insert(("t".into(), 0), Assigned::default());
        for offset in 0..3 {
            shared.state().push(gathered(0, offset, 10));
        }
        let batch = take(&shared).unwrap();
        assert_eq!((batch.undecodable.len(), next(&batch, 0)), (3, 3));
        assert!(shared.state().position.places.is_empty());
        shared.state().push(gathered(0, 3, 10));
        assert!(take(&shared).is_none(), "one batch at a time");
        assert!(shared.state().to_commit.is_empty());
        shared.acknowledge();
        assert_eq!(shared.state().to_commit[&("t".into(), 0)], 3);
        assert_eq!(next(&take(&shared).unwrap(), 0), 4);
    }

    #[test]
    fn that_it_has_begun_is_told_once_and_before_anything_else() {
        let shared = shared(1000, "0");
        assert!(!shared.has_begun() && take(&shared).is_none());
        shared.state().push(gathered(0, 0, 10));
        shared.begin();
        assert!(shared.has_begun() && take(&shared).unwrap().is_empty());
        shared.begin();
        assert_eq!(take(&shared).unwrap().undecodable.len(), 1);
    }

    #[test]
    fn a_batch_is_bounded_by_count_and_bytes() {
        let shared = shared(1000, "0");
        for offset in 0..3 {
            shared.state().push(gathered(0, offset, BATCH_BYTES_MAX));
        }
        assert_eq!(take(&shared).unwrap().undecodable.len(), 1, "a large one comes alone");
        shared.acknowledge();
        shared.state().drop_waiting(|_| true);
        for offset in 0..3000 {
            shared.state().push(gathered(0, offset, 1));
        }
        assert!(shared.is_full(&shared.state()));
        assert_eq!(take(&shared).unwrap().undecodable.len(), 1000);
    }

    #[test]
    fn a_batch_waits_for_more_as_long_as_it_was_told() {
        let shared = shared(2, "3600000");
        shared.state().push(gathered(0, 0, 1));
        assert!(matches!(shared.take().unwrap(), Taken::NotBefore(_)));
        shared.state().push(gathered(0, 1, 1));
        assert_eq!(take(&shared).unwrap().undecodable.len(), 2);
    }

    #[test]
    fn a_partition_that_was_given_up_is_neither_handed_out_nor_told() {
        let shared = shared(1000, "0");
        shared.state().assigned.insert(("t".into(), 0), Assigned::default());
        shared.state().push(gathered(0, 5, 1));
        shared.state().push(gathered(1, 6, 1));
        shared.state().drop_waiting(|(_, partition)| *partition == 1);
        let batch = take(&shared).unwrap();
        assert_eq!(batch.undecodable.len(), 1);
        shared.state().assigned.clear();
        shared.acknowledge();
        assert!(shared.state().to_commit.is_empty());
    }

    #[test]
    fn a_group_that_knows_another_place_is_told_again() {
        let shared = shared(1000, "0");
        let ours: Partition = ("t".into(), 0);
        let begun = Assigned { begun_at: Some(0), ..Assigned::default() };
        shared.state().assigned.insert(ours.clone(), begun);
        shared.state().push(gathered(0, 4, 1));
        take(&shared).unwrap();
        shared.state().compare_told(&ours, 3);
        assert!(shared.state().to_commit.is_empty(), "nothing of it is on disk yet");
        shared.acknowledge();
        shared.state().to_commit.clear();
        shared.state().compare_told(&ours, 5);
        assert!(shared.state().to_commit.is_empty(), "it knows");
        shared.state().compare_told(&ours, 3);
        assert_eq!(shared.state().to_commit[&ours], 5);
        shared.state().to_commit.insert(ours.clone(), 6);
        shared.state().compare_told(&ours, 3);
        assert_eq!(shared.state().to_commit[&ours], 6, "what is newer stays");
        shared.state().to_commit.clear();
        shared.state().assigned.clear();
        shared.state().compare_told(&ours, 3);
        assert!(shared.state().to_commit.is_empty(), "it is its next owner's to speak of");
    }

    #[test]
    fn lag_counts_what_is_not_on_disk() {
        let shared = shared(1000, "0");
        assert_eq!(shared.lag(), None);
        let assigned = Assigned { end: Some(10), begun_at: Some(4), ..Assigned::default() };
        shared.state().assigned.insert(("t".into(), 0), assigned);
        assert_eq!(shared.lag(), Some(6));
        shared.state().push(gathered(0, 6, 1));
        take(&shared).unwrap();
        assert_eq!(shared.lag(), Some(3));
        shared.acknowledge();
        assert_eq!(shared.lag(), Some(3));
    }
}
