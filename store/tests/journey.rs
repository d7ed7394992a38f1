//! What the store promises to its callers, one call at a time, on a real folder.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed, and says where")]

use eventyard_event::Timestamp;
use eventyard_store::{
    AfterDead, AttemptOutcome, Commit, DeadLetterFilter, DeliveryFilter, DeliveryState, EventFilter, LocalStore,
    NewPosition, PageRequest, SettleError, Store, StoreError,
};

mod support;
use support::*;

#[tokio::test]
async fn what_was_committed_is_there_after_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let (store, report) = open(dir.path());
    assert!(report.new);
    for number in 0..200 {
        put(&store, number).await;
    }
    drop(store);
    let (store, report) = open(dir.path());
    assert!(!report.new && report.damages.is_empty() && report.torn.is_none(), "{report:?}");
    assert_eq!(report.open_events, 200);
    assert_eq!(store.stats().events, 200);
    assert_eq!(store.stats().unsettled, 200);
    let taken = take(&store, "a", 1000, at(0)).await;
    let order: Vec<_> = taken.iter().map(|taken| taken.delivery.event).collect();
    assert_eq!(order, (0..200).map(event_id).collect::<Vec<_>>(), "oldest first");
    for (number, taken) in (0..).zip(&taken) {
        assert_eq!(*taken.envelope, envelope(number, at(0)), "what stands together in the journal is read together");
    }
}

#[tokio::test]
async fn a_delivery_goes_from_commit_to_delivered() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    let id = put(&store, 1).await;
    store.changed().await;
    let ready = store.ready(at(0));
    assert_eq!((ready.len(), ready[0].eligible_count), (1, 1));
    assert_eq!(ready[0].queue, queue("a"));
    let taken = take(&store, "a", 10, at(0)).await;
    assert_eq!((taken.len(), taken[0].attempts, taken[0].tries), (1, 0, 0));
    assert_eq!(store.delivery(id).await.unwrap().unwrap().state, DeliveryState::InFlight);
    assert!(store.ready(at(0)).is_empty(), "a leased delivery is not offered");
    store.begin(vec![begin(id, at(1))]).await[0].as_ref().unwrap();
    settle(&store, delivered(id, 1)).await;
    let view = store.delivery(id).await.unwrap().unwrap();
    assert_eq!((view.state, view.attempts), (DeliveryState::Delivered, 1));
    assert_eq!(view.history, [attempt(1, AttemptOutcome::Succeeded)]);
    drop(store);
    let (store, _) = open(dir.path());
    assert_eq!(store.stats().unsettled, 0);
    assert_eq!(store.delivery(id).await.unwrap().unwrap().history.len(), 1);
    assert!(store.ready(at(1_000_000)).is_empty(), "nothing settled comes back");
}

#[tokio::test]
async fn a_retry_waits_for_its_time() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    let id = put(&store, 1).await;
    take(&store, "a", 1, at(0)).await;
    settle(&store, retried(id, 1, at(500))).await;
    for round in 0..2 {
        let store = if round == 0 { store.clone() } else { open_again(&dir, store.clone()).await };
        if round == 1 {
            assert!(store.ready(at(499)).is_empty());
            assert_eq!(store.next_due(), Some(at(500)));
            assert_eq!(store.stats().waiting, 1);
            assert_eq!(store.ready(at(500)).len(), 1);
            let taken = take(&store, "a", 1, at(500)).await;
            assert_eq!((taken[0].attempts, taken[0].tries), (1, 1));
            return;
        }
        assert!(store.ready(at(499)).is_empty());
        assert_eq!(store.delivery(id).await.unwrap().unwrap().next_attempt_at, Some(at(500)));
    }
}

/// Closes a store and opens it again. The caller's own clone still exists, which a closed store allows.
async fn open_again(dir: &tempfile::TempDir, store: LocalStore) -> LocalStore {
    store.close().await.unwrap();
    open(dir.path()).0
}

#[tokio::test]
async fn what_ends_together_shares_a_frame_and_each_has_its_own_history() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    for number in 0..30 {
        put(&store, number).await;
    }
    let taken = take(&store, "a", 30, at(0)).await;
    store.begin(taken.iter().map(|each| begin(each.delivery, at(1))).collect()).await;
    let frames = store.stats().frames;
    let mut settlements: Vec<_> = (0u64..)
        .zip(&taken)
        .map(|(number, taken)| match number % 3 {
            0 => delivered(taken.delivery, 1),
            1 => retried(taken.delivery, 1, at(500)),
            _ => died(taken.delivery, 1, at(9)),
        })
        .collect();
    // One with an event of its own has a frame of its own; one that is not in flight any more is refused alone.
    settlements[5].emits.push(admission(100, vec![delivery("b", at(0))]));
    settlements.push(delivered(taken[0].delivery, 1));
    let results = store.settle(settlements).await;
    assert!(matches!(results[30], Err(SettleError::NotInFlight(_))) && results[..30].iter().all(Result::is_ok));
    // Those before it, it, and those behind it; that of the begins may have been counted before.
    let written = store.stats().frames - frames;
    assert!((3..=4).contains(&written), "{written} frames");
    for reopened in [false, true] {
        let store = if reopened { open_again(&dir, store.clone()).await } else { store.clone() };
        assert_eq!((store.stats().dead, store.stats().waiting), (10, 10));
        for (number, taken) in (0usize..).zip(&taken) {
            let view = store.delivery(taken.delivery).await.unwrap().unwrap();
            let state = [DeliveryState::Delivered, DeliveryState::Waiting, DeliveryState::Dead][number % 3];
            assert_eq!((view.state, view.history.len()), (state, 1), "{number}");
        }
        assert_eq!(store.event(event_id(100)).await.unwrap().unwrap().deliveries.len(), 1);
    }
}

#[tokio::test]
async fn a_dead_letter_is_replayed_once_with_a_fresh_budget() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    let id = put(&store, 1).await;
    take(&store, "a", 1, at(0)).await;
    settle(&store, died(id, 1, at(9))).await;
    let letter = store.dead_letter(id).await.unwrap().unwrap();
    assert_eq!((letter.reason.code.as_str(), letter.dead_at), ("attempts_exhausted", at(9)));
    let page = store.dead_letters(DeadLetterFilter::default(), PageRequest::default()).await.unwrap();
    assert_eq!(page.items.len(), 1);
    drop(store);
    let (store, _) = open(dir.path());
    assert_eq!(store.stats().dead, 1);
    assert_eq!(store.replay(vec![(id, at(10))], at(10)).await.unwrap(), [id]);
    assert!(store.replay(vec![(id, at(10))], at(10)).await.unwrap().is_empty(), "a second call finds nothing");
    let taken = take(&store, "a", 1, at(10)).await;
    assert_eq!((taken[0].attempts, taken[0].tries, taken[0].deaths), (0, 1, 1));
    assert_eq!(taken[0].budget_began_at, at(10));
    settle(&store, delivered(id, 2)).await;
    let numbers: Vec<u32> = store.delivery(id).await.unwrap().unwrap().history.iter().map(|each| each.number).collect();
    assert_eq!(numbers, [1, 2]);
}

#[tokio::test]
async fn each_element_of_a_list_is_a_delivery_of_its_own_and_stays_the_one_it_was() {
    const COUNT: u32 = 10_000;
    let dir = tempfile::tempdir().unwrap();
    let (mut store, _) = open(dir.path());
    let deliveries = vec![delivery("b", at(0)), split_in(COUNT, "a", at(0)), split_in(0, "c", at(0))];
    store.commit(commit(vec![admission(1, deliveries)])).await.unwrap();
    let id = |number| event_id(1).delivery(number);
    for round in 0..3 {
        if round > 0 {
            store = open_again(&dir, store).await;
        }
        assert_eq!(store.stats().unsettled, u64::from(COUNT) + 2 - round);
        let view = store.event(event_id(1)).await.unwrap().unwrap();
        assert_eq!(view.deliveries.len(), COUNT as usize + 2);
        let of = |place: usize| view.deliveries[place].element.as_ref().map(|of| (of.number, of.count));
        assert_eq!(
            (of(0), of(1), of(10_000), of(10_001)),
            (None, Some((1, COUNT)), Some((COUNT, COUNT)), Some((0, 0)))
        );
        let taken = take(&store, "a", 1, at(0)).await.remove(0);
        let element = taken.element.unwrap();
        let number = u32::try_from(round).unwrap() + 1;
        assert_eq!((taken.delivery, element.number, &*element.path), (id(number), number, "data.items"));
        store.begin(vec![begin(taken.delivery, at(1))]).await.remove(0).unwrap();
        settle(&store, if round == 1 { died(id(number), 1, at(9)) } else { delivered(id(number), 1) }).await;
    }
    let store = open_again(&dir, store).await;
    let letter = store.dead_letter(id(2)).await.unwrap().unwrap();
    assert_eq!(letter.delivery.element.unwrap().number, 2);
    assert_eq!(store.delivery(id(1)).await.unwrap().unwrap().state, DeliveryState::Delivered);
    store.replay(vec![(id(2), at(10))], at(10)).await.unwrap();
    let taken = take(&store, "a", COUNT as usize, at(10)).await;
    let mut numbers: Vec<u32> = taken.iter().map(|taken| taken.element.as_ref().unwrap().number).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (2..=COUNT).filter(|number| *number != 3).collect::<Vec<_>>(), "the replayed one among them");
}

#[tokio::test]
async fn a_purged_dead_letter_is_gone_for_good() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    let id = put(&store, 1).await;
    take(&store, "a", 1, at(0)).await;
    settle(&store, died(id, 1, at(9))).await;
    assert_eq!(store.purge(vec![id], at(11)).await.unwrap(), [id]);
    assert!(store.purge(vec![id], at(11)).await.unwrap().is_empty());
    drop(store);
    let (store, _) = open(dir.path());
    assert_eq!((store.stats().dead, store.stats().unsettled), (0, 0));
    let view = store.delivery(id).await.unwrap().unwrap();
    assert_eq!((view.state, view.history.len()), (DeliveryState::Cancelled, 1));
}

#[tokio::test]
async fn a_cancelled_delivery_is_never_taken_again_and_its_lane_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    for number in 0..3 {
        let deliveries = vec![in_lane("a", "k", AfterDead::Wait, at(0))];
        store.commit(commit(vec![admission(number, deliveries)])).await.unwrap();
    }
    let [first, second, third] = [0, 1, 2].map(|number| event_id(number).delivery(0));
    assert_eq!(store.delivery(second).await.unwrap().unwrap().behind, Some(first));
    assert_eq!(take(&store, "a", 10, at(0)).await[0].delivery, first);
    assert!(store.cancel(vec![first], at(1)).await.unwrap().is_empty(), "what is in flight is passed over");
    settle(&store, retried(first, 1, at(100))).await;
    // One that waits for its time, and one that stands behind it.
    assert_eq!(store.cancel(vec![first, second], at(2)).await.unwrap(), [first, second]);
    assert!(store.cancel(vec![first], at(3)).await.unwrap().is_empty(), "a second call finds nothing");
    assert_eq!(store.stats().unsettled, 1);
    let taken = take(&store, "a", 10, at(200)).await;
    assert_eq!(taken.iter().map(|taken| taken.delivery).collect::<Vec<_>>(), [third]);
    drop(store);
    let (store, _) = open(dir.path());
    assert_eq!(store.stats().unsettled, 1);
    for (id, tries) in [(first, 1), (second, 0)] {
        let view = store.delivery(id).await.unwrap().unwrap();
        assert_eq!((view.state, view.history.len()), (DeliveryState::Cancelled, tries));
    }
    assert_eq!(take(&store, "a", 10, at(200)).await[0].delivery, third);
}

#[tokio::test]
async fn a_delivery_that_waits_can_be_made_due_and_keeps_its_budget() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    let id = put(&store, 1).await;
    take(&store, "a", 1, at(0)).await;
    assert!(store.hasten(vec![id], at(1), at(1)).await.unwrap().is_empty(), "what is in flight is passed over");
    settle(&store, retried(id, 1, at(60_000))).await;
    assert!(take(&store, "a", 1, at(50)).await.is_empty());
    assert_eq!(store.hasten(vec![id], at(50), at(50)).await.unwrap(), [id]);
    drop(store);
    let (store, _) = open(dir.path());
    let taken = take(&store, "a", 1, at(50)).await;
    assert_eq!((taken[0].attempts, taken[0].tries, taken[0].budget_began_at), (1, 1, at(0)));
    settle(&store, died(id, 2, at(51))).await;
    assert!(store.hasten(vec![id], at(52), at(52)).await.unwrap().is_empty(), "a dead one is replayed instead");
}

#[tokio::test]
async fn what_is_pending_in_a_held_queue_is_listed_as_waiting() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    for (number, target) in [(1, "a"), (2, "b")] {
        store.commit(commit(vec![admission(number, vec![delivery(target, at(0))])])).await.unwrap();
    }
    let held = std::sync::Arc::new([queue("a")].into_iter().collect());
    for (state, wanted) in [(DeliveryState::Waiting, 1), (DeliveryState::Pending, 2)] {
        let filter = DeliveryFilter { state: Some(state), held: std::sync::Arc::clone(&held), ..Default::default() };
        let page = store.deliveries(filter, PageRequest { limit: 10, cursor: None }).await.unwrap();
        let found: Vec<_> = page.items.iter().map(|view| view.id).collect();
        assert_eq!(found, [event_id(wanted).delivery(0)], "{state:?}");
        let filter = EventFilter { state: Some(state), held: std::sync::Arc::clone(&held), ..Default::default() };
        let page = store.events(filter, PageRequest { limit: 10, cursor: None }).await.unwrap();
        assert_eq!(page.items.len(), 1, "{state:?}");
    }
}

#[tokio::test]
async fn a_lane_goes_one_after_another() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    for number in 0..3 {
        let deliveries = vec![in_lane("a", "k", AfterDead::Wait, at(0))];
        store.commit(commit(vec![admission(number, deliveries)])).await.unwrap();
    }
    let taken = take(&store, "a", 10, at(0)).await;
    assert_eq!(taken.len(), 1, "only the head is eligible");
    let first = taken[0].delivery;
    settle(&store, retried(first, 1, at(100))).await;
    assert!(take(&store, "a", 10, at(50)).await.is_empty(), "those behind wait for the head's retry");
    let taken = take(&store, "a", 10, at(100)).await;
    assert_eq!(taken[0].delivery, first);
    settle(&store, died(first, 2, at(101))).await;
    assert!(take(&store, "a", 10, at(200)).await.is_empty(), "the lane waits for its dead letter");
    store.replay(vec![(first, at(200))], at(200)).await.unwrap();
    let taken = take(&store, "a", 10, at(200)).await;
    assert_eq!(taken[0].delivery, first);
    settle(&store, died(first, 3, at(201))).await;
    store.purge(vec![first], at(202)).await.unwrap();
    let taken = take(&store, "a", 10, at(203)).await;
    assert_eq!(taken[0].delivery, event_id(1).delivery(0));
    settle(&store, delivered(taken[0].delivery, 1)).await;
    assert_eq!(take(&store, "a", 10, at(204)).await[0].delivery, event_id(2).delivery(0));
}

#[tokio::test]
async fn a_lane_that_goes_on_lets_a_replayed_one_in_again() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    for number in 0..3 {
        let deliveries = vec![in_lane("a", "k", AfterDead::Continue, at(0))];
        store.commit(commit(vec![admission(number, deliveries)])).await.unwrap();
    }
    let first = take(&store, "a", 10, at(0)).await[0].delivery;
    settle(&store, died(first, 1, at(1))).await;
    let second = take(&store, "a", 10, at(1)).await[0].delivery;
    assert_eq!(second, event_id(1).delivery(0));
    store.replay(vec![(first, at(2))], at(2)).await.unwrap();
    assert!(take(&store, "a", 10, at(3)).await.is_empty(), "one of the lane is in flight");
    settle(&store, delivered(second, 1)).await;
    assert_eq!(take(&store, "a", 10, at(4)).await[0].delivery, first, "the replayed one is the oldest");
}

#[tokio::test]
async fn repeats_are_recognised_within_their_window_and_after_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    let window = std::time::Duration::from_millis(100);
    let first = store.commit(commit(vec![deduped(1, "x", at(0), window)])).await.unwrap();
    assert!(!first[0].duplicate);
    for reopened in [false, true] {
        let store = if reopened { open_again(&dir, store.clone()).await } else { store.clone() };
        let again = store.commit(commit(vec![deduped(2, "x", at(99), window)])).await.unwrap();
        assert_eq!((again[0].event, again[0].duplicate), (event_id(1), true));
        if reopened {
            let both = store.commit(commit(vec![
                deduped(3, "y", at(99), window),
                deduped(4, "y", at(99), window),
                deduped(5, "x", at(100), window),
            ]));
            let both = both.await.unwrap();
            assert_eq!(both.iter().map(|each| each.duplicate).collect::<Vec<_>>(), [false, true, false]);
            assert_eq!(both[1].event, event_id(3));
            assert_eq!(store.stats().events, 3);
        }
    }
}

#[tokio::test]
async fn a_position_stands_in_the_frame_of_its_events() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    let position = NewPosition { namespace: name("default"), source: name("files"), bytes: b"42".to_vec() };
    let with = Commit { admissions: vec![admission(1, vec![])], position: Some(position) };
    store.commit(with).await.unwrap();
    drop(store);
    let (store, _) = open(dir.path());
    let saved = store.position(&name("default"), &name("files")).await.unwrap().unwrap();
    assert_eq!((saved.bytes, saved.last_event), (b"42".to_vec(), Some(event_id(1))));
    assert_eq!(store.position(&name("default"), &name("others")).await.unwrap(), None);
    let unmatched = EventFilter { unmatched: true, ..EventFilter::default() };
    assert_eq!(store.events(unmatched, PageRequest::default()).await.unwrap().items.len(), 1);
}

#[tokio::test]
async fn an_attempt_that_our_death_cut_off_is_interrupted_and_not_counted() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    let (begun, leased) = (put(&store, 1).await, put(&store, 2).await);
    assert_eq!(take(&store, "a", 2, at(0)).await.len(), 2);
    store.begin(vec![begin(begun, at(1))]).await[0].as_ref().unwrap();
    drop(store);
    let (store, report) = LocalStore::open(dir.path(), small(), clock(1000)).unwrap();
    assert_eq!(report.interrupted, 1);
    let view = store.delivery(begun).await.unwrap().unwrap();
    assert_eq!((view.state, view.attempts), (DeliveryState::Waiting, 0));
    assert_eq!(view.next_attempt_at, Some(at(6000)));
    assert_eq!((view.history.len(), view.history[0].outcome), (1, AttemptOutcome::Interrupted));
    assert_eq!((view.history[0].began_at, view.history[0].ended_at), (at(1), at(1000)));
    let taken = take(&store, "a", 2, at(1000)).await;
    assert_eq!(taken.iter().map(|taken| taken.delivery).collect::<Vec<_>>(), [leased], "a lease alone is no attempt");
    drop(store);
    let (store, report) = open(dir.path());
    assert_eq!(report.interrupted, 0, "it was written down");
    assert_eq!(store.delivery(begun).await.unwrap().unwrap().history.len(), 1);
}

#[tokio::test]
async fn only_what_is_leased_can_be_moved() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    let id = put(&store, 1).await;
    let unknown = event_id(99).delivery(0);
    assert!(matches!(store.begin(vec![begin(id, at(0))]).await[0], Err(SettleError::NotInFlight(_))));
    assert!(matches!(store.settle(vec![delivered(id, 1)]).await[0], Err(SettleError::NotInFlight(_))));
    assert!(matches!(store.settle(vec![delivered(unknown, 1)]).await[0], Err(SettleError::Unknown(_))));
    take(&store, "a", 1, at(0)).await;
    store.release(vec![id]).await;
    assert!(matches!(store.settle(vec![delivered(id, 1)]).await[0], Err(SettleError::NotInFlight(_))));
    take(&store, "a", 1, at(0)).await;
    let results = store.settle(vec![delivered(id, 1), delivered(id, 1)]).await;
    assert!(results[0].is_ok() && results[1].is_err(), "{results:?}");
}

#[tokio::test]
async fn lists_come_in_pages_newest_first_and_forged_cursors_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    for number in 0..25 {
        let deliveries = vec![delivery("a", at(0)), delivery("b", at(0))];
        store.commit(commit(vec![admission(number, deliveries)])).await.unwrap();
    }
    let mut seen = Vec::new();
    let mut cursor = None;
    loop {
        let page = store.events(EventFilter::default(), PageRequest { limit: 10, cursor }).await.unwrap();
        seen.extend(page.items.iter().map(|view| view.envelope.id));
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(seen, (0..25).rev().map(event_id).collect::<Vec<_>>());

    let (mut seen, mut cursor) = (Vec::new(), None);
    let filter = DeliveryFilter { state: Some(DeliveryState::Pending), ..DeliveryFilter::default() };
    loop {
        let page = store.deliveries(filter.clone(), PageRequest { limit: 7, cursor }).await.unwrap();
        assert!(page.items.len() <= 7);
        seen.extend(page.items.iter().map(|view| view.id));
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    let wanted: Vec<_> =
        (0..25).rev().flat_map(|number| (0..2).map(move |place| event_id(number).delivery(place))).collect();
    assert_eq!(seen, wanted);

    let events = store.events(EventFilter::default(), PageRequest { limit: 1, cursor: None }).await.unwrap();
    let good = events.next.unwrap();
    let mut forged = good.clone();
    forged.replace_range(0..1, if good.starts_with('0') { "1" } else { "0" });
    for cursor in
        [forged, String::new(), "zz".to_owned(), good[..good.len() - 2].to_owned(), format!("{good}00"), "é".repeat(9)]
    {
        let refused =
            store.events(EventFilter::default(), PageRequest { limit: 1, cursor: Some(cursor.clone()) }).await;
        assert!(matches!(refused, Err(StoreError::BadCursor)), "{cursor}");
    }
    let other_list =
        store.dead_letters(DeadLetterFilter::default(), PageRequest { limit: 1, cursor: Some(good) }).await;
    assert!(matches!(other_list, Err(StoreError::BadCursor)), "a cursor is of one list");
}

#[tokio::test]
async fn a_clock_before_1970_is_no_obstacle() {
    let dir = tempfile::tempdir().unwrap();
    let clock = std::sync::Arc::new(|| Timestamp::from_millis(-5_000));
    let (store, _) = LocalStore::open(dir.path(), small(), clock).unwrap();
    let mut early = admission(1, vec![delivery("a", Timestamp::from_millis(-4_000))]);
    std::sync::Arc::make_mut(&mut early.envelope).received_at = Timestamp::from_millis(-5_000);
    store.commit(commit(vec![early])).await.unwrap();
    assert!(store.ready(Timestamp::from_millis(-4_001)).is_empty());
    assert_eq!(store.ready(Timestamp::from_millis(-4_000)).len(), 1);
}

#[tokio::test]
async fn a_closed_store_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    put(&store, 1).await;
    store.close().await.unwrap();
    let refused = store.commit(commit(vec![admission(2, vec![])])).await;
    assert!(matches!(refused, Err(StoreError::Closed)), "{refused:?}");
}
