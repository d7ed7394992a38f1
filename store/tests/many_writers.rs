//! Many writers at once on a real disk, where one batch is applied while the next one is written.

mod support;

use std::collections::HashMap;
use std::time::Duration;

use eventyard_event::EventId;
use eventyard_store::{Commit, LocalStore, Options, Store};
use support::{at, clock, deduped, event_id, small};

const WRITERS: u64 = 48;
/// Each of these ids is sent by every writer.
const IDS: u64 = 60;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_of_many_equal_events_is_first_and_what_is_answered_is_visible() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = LocalStore::open(dir.path(), small(), clock(0)).unwrap();
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let store = store.clone();
            tokio::spawn(async move {
                let mut answers = Vec::new();
                for id in 0..IDS {
                    let own = event_id(writer * IDS + id);
                    let admission = deduped(writer * IDS + id, &format!("id-{id}"), at(0), Duration::from_secs(60));
                    let commit = Commit { admissions: vec![admission], position: None };
                    let admitted = store.commit(commit).await.unwrap()[0];
                    let seen = store.event(admitted.event).await.unwrap();
                    assert!(seen.is_some(), "what was answered can be read at once");
                    assert_eq!(admitted.duplicate, admitted.event != own);
                    answers.push((id, admitted));
                }
                answers
            })
        })
        .collect();

    let mut first: HashMap<u64, EventId> = HashMap::new();
    let mut new_count = 0;
    for writer in writers {
        for (id, admitted) in writer.await.unwrap() {
            new_count += u64::from(!admitted.duplicate);
            assert_eq!(*first.entry(id).or_insert(admitted.event), admitted.event, "all name the same first one");
        }
    }
    assert_eq!(new_count, IDS);
    assert_eq!(store.stats().events, IDS);
    assert_eq!(store.stats().unsettled, IDS);
    store.close().await.unwrap();
    drop(store);

    let (store, report) = LocalStore::open(dir.path(), small(), clock(0)).unwrap();
    assert_eq!(report.open_events, IDS);
    for event in first.into_values() {
        assert!(store.event(event).await.unwrap().is_some());
    }
}

/// Ids go from memory to files and files are merged while they are looked up, and segments end all the time.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_id_is_taken_once_though_checkpoints_are_written_meanwhile() {
    const SENDERS: u64 = 16;
    /// Writers that send the same as one another, for one sender.
    const REPEATS: u64 = 4;
    const SENDS: u64 = 1000;
    let dir = tempfile::tempdir().unwrap();
    let options = Options { checkpoint_bytes: 1, ..small() };
    let (store, _) = LocalStore::open(dir.path(), options, clock(0)).unwrap();
    let writers: Vec<_> = (0..SENDERS * REPEATS)
        .map(|writer| {
            let (store, sender) = (store.clone(), writer / REPEATS);
            tokio::spawn(async move {
                let mut new_count = 0;
                for number in 0..SENDS {
                    // Each commit has the id before once more, and its own twice.
                    let ids = [number.saturating_sub(1), number, number];
                    let admissions = ids.iter().enumerate().map(|(place, id)| {
                        let event = (writer + 1) << 32 | number << 2 | place as u64;
                        deduped(event, &format!("{sender}-{id}"), at(0), Duration::from_secs(60))
                    });
                    let admitted = store.commit(Commit { admissions: admissions.collect(), position: None }).await;
                    let admitted = admitted.unwrap();
                    assert!(admitted[2].duplicate, "{sender}-{number} stands twice in its commit");
                    assert_eq!(admitted[1].event, admitted[2].event);
                    assert!(number == 0 || admitted[0].duplicate, "{sender}-{number}: the one before was taken");
                    new_count += admitted.iter().filter(|each| !each.duplicate).count() as u64;
                }
                new_count
            })
        })
        .collect();
    let mut new_count = 0;
    for writer in writers {
        new_count += writer.await.unwrap();
    }
    assert_eq!(new_count, SENDERS * SENDS);
    assert_eq!(store.stats().events, new_count);
    store.close().await.unwrap();
}
