//! What is forgotten, and what never is: segments past the retention go with what has ended in them, and what is
//! open is carried on.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed, and says where")]

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use eventyard_event::{Clock, Data};
use eventyard_store::disk::{Crash, SimulatedDisk};
use eventyard_store::{
    AfterDead, DeadLetterFilter, DeliveryState, EventFilter, LocalStore, NewPosition, OpenReport, Options, PageRequest,
    Settlement, Store, Taken, verify_simulated,
};

mod support;
use support::*;

/// A day, in milliseconds.
const DAY: i64 = 24 * 3600 * 1000;

/// A clock that is set by hand.
#[derive(Clone, Default)]
struct Hand(Arc<AtomicI64>);

impl Hand {
    fn set(&self, millis: i64) {
        self.0.store(millis, Ordering::Relaxed);
    }

    fn clock(&self) -> Clock {
        let hand = self.clone();
        Arc::new(move || at(hand.0.load(Ordering::Relaxed)))
    }
}

fn options() -> Options {
    Options { checkpoint_every: Duration::from_millis(50), retention: Duration::from_secs(24 * 3600), ..small() }
}

fn open_on(disk: &SimulatedDisk, options: Options, hand: &Hand) -> (LocalStore, OpenReport) {
    LocalStore::open_simulated(disk.clone(), options, hand.clock()).unwrap()
}

/// Commits events of a kilobyte without deliveries until so many segments are full.
async fn fill(store: &LocalStore, numbers: &mut std::ops::RangeFrom<u64>, segments: usize) {
    for _ in 0..segments * 60 {
        let mut padded = admission(numbers.next().unwrap(), Vec::new());
        std::sync::Arc::make_mut(&mut padded.envelope).event.data = Data::Bytes(Bytes::from(vec![0x5a; 1024]));
        store.commit(commit(vec![padded])).await.unwrap();
    }
}

/// Lets the store do what it does by itself.
async fn rest() {
    tokio::time::sleep(Duration::from_secs(60)).await;
}

fn page() -> PageRequest {
    PageRequest { limit: 1000, cursor: None }
}

/// Reopens after a power cut; with the index or without.
async fn reopen(
    store: LocalStore,
    disk: &SimulatedDisk,
    options: Options,
    hand: &Hand,
    index: bool,
) -> (LocalStore, SimulatedDisk) {
    drop(store);
    tokio::task::yield_now().await;
    let disk = disk.restart(Crash::PowerCut);
    let report = verify_simulated(&disk, at(0)).unwrap();
    assert!(report.is_sound(), "{report:#?}");
    if !index {
        disk.lose_index();
    }
    let (store, report) = open_on(&disk, options, hand);
    assert!(report.damages.is_empty() && report.rebuilt.is_none(), "{report:?}");
    (store, disk)
}

#[tokio::test(start_paused = true)]
async fn settled_events_go_when_they_are_past_the_retention_and_space_comes_back() {
    let (disk, hand) = (SimulatedDisk::new(1), Hand::default());
    let (store, _) = open_on(&disk, options(), &hand);
    fill(&store, &mut (1..), 6).await;
    rest().await;
    let full = store.stats();
    assert_eq!((full.events, full.forgotten_until), (360, None), "nothing goes before its time");
    hand.set(DAY + 1);
    rest().await;
    let after = store.stats();
    assert!(after.journal_bytes * 2 < full.journal_bytes, "{} of {}", after.journal_bytes, full.journal_bytes);
    assert!(after.events < 60, "only the last segment's are left: {}", after.events);
    assert!(store.event(event_id(1)).await.unwrap().is_none());
    let newest = after.forgotten_until.unwrap();
    assert!(event_id(1).made_at().unwrap() <= newest, "{newest}");
    let listed = store.events(EventFilter::default(), page()).await.unwrap();
    assert_eq!(listed.items.len() as u64, after.events);
    let (store, _) = reopen(store, &disk, options(), &hand, true).await;
    assert_eq!((store.stats().events, store.stats().forgotten_until), (after.events, Some(newest)));
}

#[tokio::test(start_paused = true)]
async fn what_is_open_is_carried_on_with_its_history() {
    for index in [true, false] {
        let (disk, hand) = (SimulatedDisk::new(2), Hand::default());
        let (store, _) = open_on(&disk, options(), &hand);
        let several = |number, count| {
            let to = |_| in_lane("a", &format!("lane-{number}"), AfterDead::Wait, at(0));
            admission(number, (0..count).map(to).collect())
        };
        // One is dead and its neighbour was delivered, one waits, one was never attempted.
        store.commit(commit(vec![several(1, 2), several(2, 1), several(3, 1)])).await.unwrap();
        let (dead, waits, pending) = (event_id(1).delivery(1), event_id(2).delivery(0), event_id(3).delivery(0));
        for taken in take(&store, "a", 10, at(0)).await {
            if taken.delivery != pending {
                store.begin(vec![begin(taken.delivery, at(1))]).await.remove(0).unwrap();
            } else {
                store.release(vec![taken.delivery]).await;
            }
        }
        settle(&store, retried(waits, 1, at(30 * DAY))).await;
        settle(&store, delivered(event_id(1).delivery(0), 1)).await;
        for taken in take(&store, "a", 10, at(0)).await {
            if taken.delivery == dead {
                settle(&store, died(dead, 1, at(9))).await;
            } else {
                store.release(vec![taken.delivery]).await;
            }
        }
        let position = NewPosition { namespace: name("default"), source: name("files"), bytes: b"42".to_vec() };
        let positioned = eventyard_store::Commit { admissions: vec![admission(4, vec![])], position: Some(position) };
        store.commit(positioned).await.unwrap();
        let mut numbers = 10..;
        let mut options = options();
        options.dead_letter_retention = Duration::from_secs(365 * 24 * 3600);
        let mut disk = disk;
        let mut store = store;
        for round in 1..4 {
            fill(&store, &mut numbers, 4).await;
            hand.set(round * 2 * DAY);
            rest().await;
            (store, disk) = reopen(store, &disk, options.clone(), &hand, index).await;
            assert!(store.stats().journal_bytes < 10 * 64 * 1024, "{}", store.stats().journal_bytes);
            assert!(store.event(event_id(4)).await.unwrap().is_none(), "what it stood beside is gone");

            let view = store.event(event_id(1)).await.unwrap().unwrap();
            let states: Vec<_> = view.deliveries.iter().map(|delivery| delivery.state).collect();
            assert_eq!(states, [DeliveryState::Delivered, DeliveryState::Dead]);
            assert!(view.deliveries.iter().all(|delivery| delivery.history.len() == 1), "{view:#?}");
            let letters = store.dead_letters(DeadLetterFilter::default(), page()).await.unwrap().items;
            assert_eq!(letters.len(), 1);
            assert_eq!(letters[0].reason.code, "attempts_exhausted");
            assert_eq!((letters[0].delivery.id, letters[0].dead_at), (dead, at(9)));
            let view = store.delivery(waits).await.unwrap().unwrap();
            assert_eq!((view.state, view.attempts, view.history.len()), (DeliveryState::Waiting, 1, 1));
            assert_eq!(store.delivery(pending).await.unwrap().unwrap().state, DeliveryState::Pending);
            let position = store.position(&name("default"), &name("files")).await.unwrap().unwrap();
            assert_eq!((position.bytes.as_slice(), position.last_event), (b"42".as_slice(), Some(event_id(4))));
            let listed = store.events(EventFilter::default(), page()).await.unwrap().items;
            let mut ids: Vec<_> = listed.iter().map(|view| view.envelope.id).collect();
            assert_eq!(listed.len() as u64, store.stats().events);
            ids.sort();
            ids.dedup();
            assert_eq!(listed.len(), ids.len(), "no event is listed twice");
        }
        // It goes on as if nothing had happened.
        store.replay(vec![(dead, at(6 * DAY))], at(6 * DAY)).await.unwrap();
        let taken = take(&store, "a", 10, at(6 * DAY)).await;
        let tries: Vec<_> = taken.iter().map(|taken| (taken.delivery, taken.tries)).collect();
        assert_eq!(tries, [(dead, 1), (pending, 0)]);
        assert_eq!(taken[0].envelope.event.id, "id-1");
        store.begin(vec![begin(dead, at(1))]).await.remove(0).unwrap();
        settle(&store, delivered(dead, 2)).await;
        let view = store.event(event_id(1)).await.unwrap().unwrap();
        let histories: Vec<_> = view.deliveries.iter().map(|delivery| delivery.history.len()).collect();
        assert_eq!(histories, [1, 2]);
    }
}

/// A settlement for a retry whose answer was so long.
fn retried_after(taken: &Taken, number: u32, response_bytes: usize) -> Settlement {
    let mut settlement = retried(taken.delivery, number, at(DAY));
    settlement.attempt.as_mut().unwrap().response = "r".repeat(response_bytes);
    settlement
}

/// 60 KiB is what a segment holds. Histories do not count for the size of the event that a frame is planned by.
#[tokio::test(start_paused = true)]
async fn a_copy_is_never_longer_than_a_segment() {
    // How many events, the bytes of each, of each answer to an attempt, how many attempts, and how many are shown then.
    for (count, data_bytes, response_bytes, attempts, left) in
        [(2, 24_000, 5_000, 2, 2), (1, 30_000, 15_000, 3, 1), (1, 50_000, 12_000, 1, 1)]
    {
        let (disk, hand) = (SimulatedDisk::new(8), Hand::default());
        let (store, _) = open_on(&disk, options(), &hand);
        let admissions = (1..=count).map(|number| {
            let mut padded = admission(number, vec![delivery("a", at(0))]);
            std::sync::Arc::make_mut(&mut padded.envelope).event.data =
                Data::Bytes(Bytes::from(vec![0x5a; data_bytes]));
            padded
        });
        store.commit(commit(admissions.collect())).await.unwrap();
        for number in 1..=attempts {
            for taken in take(&store, "a", 2, at(DAY)).await {
                store.begin(vec![begin(taken.delivery, at(1))]).await.remove(0).unwrap();
                settle(&store, retried_after(&taken, number, response_bytes)).await;
            }
        }
        fill(&store, &mut (10..), 12).await;
        hand.set(2 * DAY);
        rest().await;
        let stays = data_bytes == 50_000;
        let freed = store.stats().journal_bytes < 8 * 64 * 1024;
        assert_eq!(freed, !stays, "{} bytes of journal", store.stats().journal_bytes);
        for index in [true, false] {
            let (again, _) = reopen(store.clone(), &disk, options(), &hand, index).await;
            for taken in take(&again, "a", 2, at(2 * DAY)).await {
                assert_eq!(taken.envelope.event.data.bytes().len(), data_bytes);
                let view = again.delivery(taken.delivery).await.unwrap().unwrap();
                assert_eq!((view.attempts, view.history.len()), (attempts, left), "{:?}", view.history.first());
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_element_that_is_open_is_carried_on_as_the_one_it_was() {
    for index in [true, false] {
        let (disk, hand) = (SimulatedDisk::new(7), Hand::default());
        let (store, _) = open_on(&disk, options(), &hand);
        store.commit(commit(vec![admission(1, vec![split_in(3, "a", at(0))])])).await.unwrap();
        for (number, taken) in take(&store, "a", 3, at(0)).await.into_iter().enumerate() {
            store.begin(vec![begin(taken.delivery, at(1))]).await.remove(0).unwrap();
            match number {
                0 => settle(&store, delivered(taken.delivery, 1)).await,
                1 => settle(&store, died(taken.delivery, 1, at(9))).await,
                _ => settle(&store, retried(taken.delivery, 1, at(DAY))).await,
            }
        }
        let mut options = options();
        options.dead_letter_retention = Duration::from_secs(365 * 24 * 3600);
        fill(&store, &mut (10..), 6).await;
        hand.set(2 * DAY);
        rest().await;
        let (store, _) = reopen(store, &disk, options, &hand, index).await;
        let view = store.event(event_id(1)).await.unwrap().unwrap();
        let of: Vec<_> =
            view.deliveries.iter().map(|each| (each.element.as_ref().unwrap().number, each.state)).collect();
        assert_eq!(of, [(1, DeliveryState::Delivered), (2, DeliveryState::Dead), (3, DeliveryState::Pending)]);
        let taken = take(&store, "a", 3, at(2 * DAY)).await.remove(0).element.unwrap();
        assert_eq!((taken.number, taken.count), (3, 3));
    }
}

#[tokio::test(start_paused = true)]
async fn a_repeat_is_known_for_its_window_though_its_event_is_gone() {
    for index in [true, false] {
        let (disk, hand) = (SimulatedDisk::new(3), Hand::default());
        let (store, _) = open_on(&disk, options(), &hand);
        let window = Duration::from_secs(10 * 24 * 3600);
        let mut one = deduped(1, "x", at(0), window);
        one.deliveries.clear();
        store.commit(commit(vec![one])).await.unwrap();
        fill(&store, &mut (10..), 3).await;
        hand.set(2 * DAY);
        rest().await;
        assert!(store.event(event_id(1)).await.unwrap().is_none());
        let (store, _) = reopen(store, &disk, options(), &hand, index).await;
        let again = store.commit(commit(vec![deduped(9, "x", at(3 * DAY), window)])).await.unwrap();
        assert!(again[0].duplicate && again[0].event == event_id(1), "{again:?}");
        let late = store.commit(commit(vec![deduped(8, "x", at(11 * DAY), window)])).await.unwrap();
        assert!(!late[0].duplicate, "its window is over");
    }
}

#[tokio::test(start_paused = true)]
async fn a_journal_over_its_size_loses_its_oldest_that_has_ended_and_nothing_else() {
    let (disk, hand) = (SimulatedDisk::new(4), Hand::default());
    let options = Options { retention_bytes: 4 * 64 * 1024, ..options() };
    let (store, _) = open_on(&disk, options.clone(), &hand);
    let pending = put(&store, 1).await;
    fill(&store, &mut (10..), 12).await;
    hand.set(60_000);
    rest().await;
    // Two more are made ahead.
    assert!(store.stats().journal_bytes <= 7 * 64 * 1024, "{}", store.stats().journal_bytes);
    assert_eq!(store.delivery(pending).await.unwrap().unwrap().state, DeliveryState::Pending);
    assert!(store.event(event_id(10)).await.unwrap().is_none());
    let (store, _) = reopen(store, &disk, options, &hand, false).await;
    assert_eq!(take(&store, "a", 10, at(0)).await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_backlog_larger_than_the_size_stays_and_is_not_copied_about() {
    let (disk, hand) = (SimulatedDisk::new(5), Hand::default());
    let options = Options { retention_bytes: 2 * 64 * 1024, ..options() };
    let (store, _) = open_on(&disk, options, &hand);
    for number in 0..400 {
        let mut padded = admission(number, vec![delivery("a", at(0))]);
        std::sync::Arc::make_mut(&mut padded.envelope).event.data = Data::Bytes(Bytes::from(vec![0x5a; 1024]));
        store.commit(commit(vec![padded])).await.unwrap();
    }
    let frames = store.stats().frames;
    hand.set(2 * DAY);
    rest().await;
    assert_eq!(store.stats().unsettled, 400);
    assert_eq!(store.stats().frames, frames, "nothing was written");
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_that_nobody_replays_is_given_up_in_the_end() {
    let (disk, hand) = (SimulatedDisk::new(6), Hand::default());
    let (store, _) = open_on(&disk, options(), &hand);
    let id = put(&store, 1).await;
    take(&store, "a", 1, at(0)).await;
    settle(&store, died(id, 1, at(9))).await;
    hand.set(29 * DAY);
    rest().await;
    assert_eq!(store.stats().dead, 1);
    hand.set(30 * DAY + 10);
    rest().await;
    assert_eq!(store.stats().dead, 0);
    assert_eq!(store.delivery(id).await.unwrap().unwrap().state, DeliveryState::Cancelled);
}

#[tokio::test(start_paused = true)]
async fn a_first_segment_that_is_gone_without_a_word_is_damage() {
    let (disk, hand) = (SimulatedDisk::new(7), Hand::default());
    let (store, _) = open_on(&disk, options(), &hand);
    fill(&store, &mut (1..), 3).await;
    drop(store);
    tokio::task::yield_now().await;
    disk.pluck(std::path::Path::new("/data/journal/0000000001.seg"));
    let disk = disk.restart(Crash::PowerCut);
    let verified = verify_simulated(&disk, at(0)).unwrap();
    assert!(verified.damages.iter().any(|damage| damage.what == "segment 1 is missing"), "{verified:?}");
    let (_, report) = open_on(&disk, options(), &hand);
    assert!(report.damages.iter().any(|damage| damage.what == "segment 1 is missing"), "{report:?}");
}
