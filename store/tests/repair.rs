//! What a repair makes of a data folder, damaged in every way that leaves something to be read.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed, and says where")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use eventyard_event::Limits;
use eventyard_event::json::read_batch;
use eventyard_store::{
    Compared, LocalStore, OpenError, Options, Repair, RepairError, RepairReport, RepairStep, Store, VerifyError,
};

mod support;
use support::*;

/// Every file with its bytes, but the lock.
fn files_but_lock(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = files(dir);
    found.remove(&dir.join("lock"));
    found
}

/// A folder with 60 events on several segments, some of them delivered, waiting and dead.
async fn filled() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    put_sixty(&store).await;
    for (index, taken) in take(&store, "a", 20, at(0)).await.into_iter().enumerate() {
        let id = taken.delivery;
        store.begin(vec![begin(id, at(1))]).await.remove(0).unwrap();
        settle_in_turn(&store, index, id).await;
    }
    store.close().await.unwrap();
    dir
}

async fn repair(dir: &Path) -> RepairReport {
    Repair::begin(dir, at(0), &mut |_| {}).unwrap().run(clock(0), &mut |_| {}).await.unwrap()
}

/// After a repair nothing is news any more, to `verify`, to a start, and to a second repair.
async fn is_no_news(dir: &Path) {
    let report = look(dir);
    assert!(report.is_sound(), "{report:#?}");
    assert!(matches!(report.index, Compared::Agrees { .. }), "{report:#?}");
    let (store, opened) = open(dir);
    assert!(opened.damages.is_empty() && opened.rebuilt.is_none(), "{opened:#?}");
    put(&store, 1000).await;
    store.close().await.unwrap();
    assert!(look(dir).is_sound());
    let again = Repair::begin(dir, at(0), &mut |_| {}).unwrap();
    assert_eq!(again.steps(), []);
}

#[tokio::test]
async fn a_sound_folder_is_left_alone() {
    let dir = filled().await;
    let before = files_but_lock(dir.path());
    let repair = Repair::begin(dir.path(), at(0), &mut |_| {}).unwrap();
    assert!(repair.found().is_sound());
    assert_eq!(repair.steps(), []);
    drop(repair);
    assert_eq!(files_but_lock(dir.path()), before);
}

#[tokio::test]
async fn looking_changes_nothing_and_keeps_others_out() {
    let dir = filled().await;
    change(&segment(dir.path(), 2), |bytes| bytes[4096 + 200] ^= 1);
    let before = files_but_lock(dir.path());
    let repair = Repair::begin(dir.path(), at(0), &mut |_| {}).unwrap();
    assert!(!repair.steps().is_empty());
    match LocalStore::open(dir.path(), small(), clock(0)) {
        Err(OpenError::Locked { pid, .. }) => assert_eq!(pid, Some(std::process::id())),
        other => panic!("{:?}", other.map(|(_, report)| report)),
    }
    drop(repair);
    assert_eq!(files_but_lock(dir.path()), before);
}

#[tokio::test]
async fn a_folder_in_use_is_refused_with_the_owner() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    put(&store, 1).await;
    match Repair::begin(dir.path(), at(0), &mut |_| {}).err().unwrap() {
        RepairError::Verify(VerifyError::Open(OpenError::Locked { pid, .. })) => {
            assert_eq!(pid, Some(std::process::id()));
        }
        other => panic!("{other:?}"),
    }
    drop(store);
    let empty = tempfile::tempdir().unwrap();
    let missing = Repair::begin(empty.path(), at(0), &mut |_| {}).err().unwrap();
    assert_eq!(missing.code(), "store_missing");
    assert_eq!(fs::read_dir(empty.path()).unwrap().count(), 0, "looking makes no file");
}

#[tokio::test]
async fn a_damaged_frame_is_copied_aside_noted_and_costs_its_event_alone() {
    let dir = filled().await;
    let path = segment(dir.path(), 2);
    change(&path, |bytes| {
        let at = bytes.windows(3000).rposition(|window| window == [0x5a; 3000]).unwrap();
        bytes[at + 1500] ^= 1;
    });
    let damaged = fs::read(&path).unwrap();
    let before = look(dir.path());
    let (damage, lost) = (before.damages[0].clone(), *before.lost_events.first().unwrap());

    let report = repair(dir.path()).await;
    assert!(report.after.is_sound(), "{report:#?}");
    assert_eq!(report.after.event_count, 59);
    assert!(report.steps.contains(&RepairStep::Copy(damage.clone())), "{report:#?}");
    assert!(report.steps.contains(&RepairStep::Rebuild), "{report:#?}");
    assert_eq!(report.after.known[0], damage);
    assert_eq!(fs::read(&path).unwrap(), damaged, "the journal's bytes stay as they are");
    let copy = dir.path().join(format!("quarantine/journal-0000000002.seg-{}", damage.offset));
    let (from, bytes) = (usize::try_from(damage.offset).unwrap(), usize::try_from(damage.bytes).unwrap());
    assert_eq!(fs::read(copy).unwrap(), damaged[from..from + bytes]);
    assert!(report.aside.as_ref().unwrap().join("index").is_dir(), "the old index is kept");
    is_no_news(dir.path()).await;

    let (store, _) = open(dir.path());
    assert!(store.event(lost).await.unwrap().is_none(), "it is not there, and that is no error");
    for number in (0..60).filter(|number| event_id(*number) != lost) {
        assert!(store.event(event_id(number)).await.unwrap().is_some(), "{number}");
    }
    // Its sender may send it again.
    let number = (0..60).find(|number| event_id(*number) == lost).unwrap();
    let again = deduped(2000, &format!("sender-{number}"), at(10), Duration::from_secs(3600));
    assert!(!store.commit(commit(vec![again])).await.unwrap()[0].duplicate);
    // And what comes to be damaged later is news.
    drop(store);
    change(&segment(dir.path(), 1), |bytes| bytes[4096 + 200] ^= 1);
    assert!(!look(dir.path()).is_sound());
}

#[tokio::test]
async fn whole_events_of_a_damaged_frame_can_be_sent_again() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    put(&store, 0).await;
    let batch = (1..=5).map(|number| admission(number, vec![delivery("a", at(0))])).collect();
    store.commit(commit(batch)).await.unwrap();
    put(&store, 6).await;
    store.close().await.unwrap();
    change(&segment(dir.path(), 1), |bytes| {
        let at = bytes.windows(12).position(|window| window == b"{\"number\":3}").unwrap();
        bytes[at + 10] ^= 1;
    });
    let report = repair(dir.path()).await;
    let [(file, 4)] = &report.saved_events[..] else { panic!("one of five is damaged: {report:#?}") };
    let events = read_batch(&fs::read(file).unwrap().into(), &Limits::default()).unwrap();
    let ids: Vec<_> = events.iter().map(|(event, _)| event.id.as_str()).collect();
    assert_eq!(ids, ["id-1", "id-2", "id-4", "id-5"]);
    is_no_news(dir.path()).await;
}

/// One batch of more events than go in one file; and a segment whose bytes look like the beginnings of items, each
/// of them as long as all the rest.
#[tokio::test]
async fn many_events_are_saved_in_files_that_a_broker_takes_and_mimicry_holds_nothing_up() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { segment_bytes: 4 << 20, first_segment_bytes: 4 << 20, ..Options::default() };
    let (store, _) = LocalStore::open(dir.path(), options, clock(0)).unwrap();
    let batch = (1..=2500).map(|number| admission(number, Vec::new())).collect();
    store.commit(commit(batch)).await.unwrap();
    let mut mimic = admission(3000, Vec::new());
    let beginning = [1, 1, 0, 0, 0, 0, 8, 0, 9, 9, 9, 9];
    std::sync::Arc::make_mut(&mut mimic.envelope).event.data =
        eventyard_event::Data::Bytes(beginning.repeat((1 << 20) / 12).into());
    store.commit(commit(vec![mimic])).await.unwrap();
    put(&store, 6).await;
    store.close().await.unwrap();
    drop(store);
    change(&segment(dir.path(), 1), |bytes| {
        for wanted in ["\"number\":77}", "id-3000"] {
            let at = bytes.windows(wanted.len()).position(|window| window == wanted.as_bytes()).unwrap();
            bytes[at] ^= 1;
        }
    });
    let began = std::time::Instant::now();
    let report = repair(dir.path()).await;
    assert!(began.elapsed() < Duration::from_secs(60), "{:?}", began.elapsed());
    let counts: Vec<_> = report.saved_events.iter().map(|(_, count)| *count).collect();
    assert_eq!(counts, [1000, 1000, 499]);
    for (file, count) in &report.saved_events {
        let events = read_batch(&fs::read(file).unwrap().into(), &Limits::default()).unwrap();
        assert_eq!(events.len(), *count);
    }
}

#[tokio::test]
async fn an_attempt_whose_earlier_ones_are_gone_is_still_told() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    let id = put(&store, 1).await;
    for number in 1..=2 {
        take(&store, "a", 1, at(1000)).await;
        store.begin(vec![begin(id, at(1))]).await.remove(0).unwrap();
        let mut settlement = retried(id, number, at(500));
        settlement.attempt.as_mut().unwrap().message = format!("try number {number}");
        settle(&store, settlement).await;
    }
    store.close().await.unwrap();
    change(&segment(dir.path(), 1), |bytes| {
        let at = bytes.windows(12).position(|window| window == b"try number 1").unwrap();
        bytes[at] ^= 1;
    });
    repair(dir.path()).await;
    let (store, _) = open(dir.path());
    let view = store.delivery(id).await.unwrap().unwrap();
    let told: Vec<_> = view.history.iter().map(|attempt| attempt.message.as_str()).collect();
    assert_eq!(told, ["try number 2"]);
    drop(store);
    assert!(look(dir.path()).is_sound());
}

#[tokio::test]
async fn a_header_is_written_anew_and_nothing_is_lost() {
    let dir = filled().await;
    let path = segment(dir.path(), 2);
    let sound = fs::read(&path).unwrap();
    change(&path, |bytes| bytes[..100].fill(0xee));
    let report = repair(dir.path()).await;
    assert!(report.after.is_sound() && report.after.known.is_empty(), "{report:#?}");
    assert_eq!(report.after.event_count, 60);
    assert_eq!(fs::read(&path).unwrap(), sound);
    let copy = fs::read(dir.path().join("quarantine/journal-0000000002.seg-0")).unwrap();
    assert_eq!(copy[..100], [0xee; 100]);
    is_no_news(dir.path()).await;
}

#[tokio::test]
async fn a_segment_of_zeros_and_one_that_is_missing_are_noted() {
    for missing in [false, true] {
        let dir = filled().await;
        let path = segment(dir.path(), 3);
        if missing {
            fs::remove_file(&path).unwrap();
        } else {
            change(&path, |bytes| bytes.fill(0));
        }
        let report = repair(dir.path()).await;
        assert!(report.after.is_sound(), "{report:#?}");
        assert!(!report.after.known.is_empty() && report.after.event_count > 30, "{report:#?}");
        is_no_news(dir.path()).await;
    }
}

#[tokio::test]
async fn index_lists_and_seen_ids_are_made_again() {
    let dir = filled().await;
    for entry in fs::read_dir(dir.path().join("index")).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            change(&path, |bytes| bytes.fill(0xa5));
        }
    }
    let ids = fs::read_dir(dir.path().join("dedupe")).unwrap().next().unwrap().unwrap().path();
    change(&ids, |bytes| bytes[20] ^= 1);
    change(&dir.path().join("journal/0000000001.cat"), |bytes| bytes[30] ^= 1);
    fs::write(dir.path().join("journal/0000000099.seg.new"), "x").unwrap();
    let report = repair(dir.path()).await;
    assert!(report.after.is_sound() && report.after.known.is_empty(), "{report:#?}");
    assert_eq!((report.after.event_count, &report.after.seen_ids), (60, &Compared::Agrees { entry_count: 60 }));
    assert!(!dir.path().join("journal/0000000099.seg.new").exists());
    let aside = report.aside.unwrap();
    for kept in ["index", "dedupe", "journal-0000000001.cat"] {
        assert!(aside.join(kept).exists(), "{kept}");
    }
    is_no_news(dir.path()).await;
}

#[tokio::test]
async fn an_end_that_only_the_index_knew_of_is_copied_before_it_is_cut() {
    let dir = filled().await;
    let last = (1..).take_while(|number| segment(dir.path(), *number).exists()).last().unwrap();
    let used = (1..=last).rev().find(|number| fs::read(segment(dir.path(), *number)).unwrap()[4096] != 0).unwrap();
    change(&segment(dir.path(), used), |bytes| {
        let at = (4096..bytes.len()).step_by(8).rfind(|at| bytes[*at..].starts_with(b"EYfr")).unwrap();
        bytes[at + 60] ^= 1;
    });
    let report = repair(dir.path()).await;
    assert!(report.after.is_sound(), "{report:#?}");
    let copies = fs::read_dir(dir.path().join("quarantine")).unwrap();
    let copies: Vec<_> = copies.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert!(copies.iter().any(|name| name.starts_with(&format!("journal-{used:010}.seg-"))), "{copies:?}");
    // What is written there from now on is no known damage.
    is_no_news(dir.path()).await;
}

#[tokio::test]
async fn a_folder_of_two_journals_is_sorted_out_by_people() {
    let (dir, other) = (filled().await, filled().await);
    for number in (2..).take_while(|number| segment(dir.path(), *number).exists()) {
        fs::copy(segment(other.path(), number), segment(dir.path(), number)).unwrap();
    }
    let before = files_but_lock(dir.path());
    let refused = Repair::begin(dir.path(), at(0), &mut |_| {}).err().unwrap();
    assert!(matches!(refused, RepairError::Mixed { ours: 1, .. }), "{refused}");
    assert_eq!(files_but_lock(dir.path()), before);
}
