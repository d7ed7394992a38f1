//! Many writers at once on a real disk, where one batch is applied while the next one is written.

mod support;

use std::collections::HashMap;
use std::time::Duration;

use eventyard_event::EventId;
use eventyard_store::{Commit, LocalStore, Store};
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
