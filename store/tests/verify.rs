//! What `verify` says of a data folder, sound and damaged in every way that leaves something to be read.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed, and says where")]

use std::fs;

use eventyard_store::{Compared, LocalStore, NewPosition, OpenError, Store, VerifyError, VerifyProgress, verify};

mod support;
use support::*;

/// Some of everything: delivered, waiting, dead, replayed, purged, ids of senders, a position; over several
/// segments.
async fn fill(store: &LocalStore) {
    put_sixty(store).await;
    let position = NewPosition { namespace: name("default"), source: name("files"), bytes: b"42".to_vec() };
    let last = eventyard_store::Commit { admissions: vec![], position: Some(position) };
    store.commit(last).await.unwrap();
    for (index, taken) in take(store, "a", 20, at(0)).await.into_iter().enumerate() {
        let id = taken.delivery;
        store.begin(vec![begin(id, at(1))]).await.remove(0).unwrap();
        settle_in_turn(store, index, id).await;
        match index {
            1 => drop(store.replay(vec![(id, at(10))], at(10)).await.unwrap()),
            5 => drop(store.purge(vec![id], at(10)).await.unwrap()),
            _ => {}
        }
    }
}

/// A folder that was filled and closed, with its checkpoint.
async fn filled() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    fill(&store).await;
    store.close().await.unwrap();
    dir
}

fn find(bytes: &[u8], wanted: &[u8]) -> usize {
    bytes.windows(wanted.len()).position(|window| window == wanted).unwrap()
}

#[tokio::test]
async fn a_sound_folder_is_counted_compared_and_not_changed() {
    let dir = filled().await;
    let before = files(dir.path());
    let mut progress = Vec::new();
    let report = verify(dir.path(), at(0), &mut |step: VerifyProgress| progress.push(step)).unwrap();
    assert!(report.is_sound(), "{report:#?}");
    assert_eq!((report.event_count, report.delivery_count), (60, 60));
    // 60, of which 10 were delivered, 3 stayed dead and 1 was purged; 1 dead one was replayed.
    assert_eq!((report.unsettled_count, report.dead_count), (46, 3));
    assert!(report.segment_count > 4 && report.frame_count > 100, "{report:?}");
    assert_eq!(report.index, Compared::Agrees { entry_count: 50 }, "49 open events and a position");
    assert_eq!(report.seen_ids, Compared::Agrees { entry_count: 60 });
    assert!(report.torn.is_none() && report.lost_events.is_empty());
    assert!(progress.is_sorted_by_key(|step| step.read_bytes) && progress.len() as u64 == report.frame_count);
    assert!(progress.iter().all(|step| step.read_bytes <= step.total_bytes));
    assert_eq!(files(dir.path()), before);
}

#[tokio::test]
async fn an_index_that_is_behind_is_compared_with_what_came_after_it() {
    let dir = filled().await;
    let (store, _) = open(dir.path());
    put(&store, 100).await;
    let id = take(&store, "a", 1, at(0)).await[0].delivery;
    settle(&store, delivered(id, 1)).await;
    drop(store);
    let report = look(dir.path());
    assert!(report.is_sound(), "{report:#?}");
    assert_eq!(report.index, Compared::Agrees { entry_count: 50 });
}

#[tokio::test]
async fn a_folder_in_use_is_refused_with_the_owner() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    put(&store, 1).await;
    match verify(dir.path(), at(0), &mut |_| {}) {
        Err(VerifyError::Open(OpenError::Locked { pid, .. })) => assert_eq!(pid, Some(std::process::id())),
        other => panic!("{other:?}"),
    }
    drop(store);
    assert!(look(dir.path()).is_sound());
}

#[test]
fn a_folder_without_a_store_is_no_sound_store() {
    let dir = tempfile::tempdir().unwrap();
    for folder in [dir.path().to_owned(), dir.path().join("not there")] {
        let refused = verify(&folder, at(0), &mut |_| {}).unwrap_err();
        assert_eq!(refused.code(), "store_missing", "{refused}");
    }
    assert!(!dir.path().join("not there").exists());
    fs::create_dir(dir.path().join("journal")).unwrap();
    assert_eq!(verify(dir.path(), at(0), &mut |_| {}).unwrap_err().code(), "store_missing");
}

#[tokio::test]
async fn a_flipped_byte_is_named_with_its_place_and_what_it_costs() {
    let dir = filled().await;
    let path = segment(dir.path(), 2);
    // In the data of an event that has not ended.
    let mut offset = 0;
    change(&path, |bytes| {
        offset = bytes.windows(3000).rposition(|window| window == [0x5a; 3000]).unwrap();
        bytes[offset + 1500] ^= 1;
    });
    let report = look(dir.path());
    assert_eq!(report.damages[0].file, "journal/0000000002.seg");
    let damage = &report.damages[0];
    assert!((damage.offset..damage.offset + damage.bytes).contains(&(offset as u64)), "{damage:?}");
    assert!(damage.what.contains("the frame "), "{damage:?}");
    assert_eq!(report.event_count, 59);
    assert_eq!(report.lost_events.len(), 1, "the list of the segment's events names it: {report:#?}");
    assert_eq!(report.index, Compared::Damaged, "it holds an event that cannot be read");

    // Served without it, and never in silence.
    let (store, opened) = open(dir.path());
    let lost = *report.lost_events.first().unwrap();
    let read = store.event(lost).await;
    assert!(read.is_err() || !opened.damages.is_empty(), "{read:?} {opened:?}");
    drop(store);
}

#[tokio::test]
async fn every_byte_of_a_frame_is_watched() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    for number in 0..3 {
        put(&store, number).await;
    }
    drop(store);
    let path = segment(dir.path(), 1);
    let sound = fs::read(&path).unwrap();
    let frame_bytes = 4096 + (find(&sound[4104..], b"EYfr") + 8);
    assert!(look(dir.path()).is_sound());
    // Every one would take long, every third takes all fields.
    for at in (4096..frame_bytes - 8).step_by(3) {
        let mut bytes = sound.clone();
        bytes[at] ^= 0x40;
        fs::write(&path, bytes).unwrap();
        let report = look(dir.path());
        assert!(!report.is_sound(), "the byte at {at} is not watched");
        assert_eq!(report.damages[0].offset, 4096, "{report:#?}");
    }
}

#[tokio::test]
async fn a_cut_tail_is_named_and_is_no_damage() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    put(&store, 1).await;
    put(&store, 2).await;
    drop(store);
    let path = segment(dir.path(), 1);
    change(&path, |bytes| {
        let second = 4104 + find(&bytes[4104..], b"EYfr");
        bytes[second + 80..second + 200].fill(0);
    });
    let before = files(dir.path());
    let report = look(dir.path());
    assert!(report.is_sound(), "{report:#?}");
    assert_eq!(report.torn.unwrap().file, "journal/0000000001.seg");
    assert_eq!(report.event_count, 1);
    assert_eq!(files(dir.path()), before, "verify cuts nothing");
}

#[tokio::test]
async fn a_segment_of_zeros_and_one_that_is_missing_are_named() {
    for missing in [false, true] {
        let dir = filled().await;
        let path = segment(dir.path(), 3);
        if missing {
            fs::remove_file(&path).unwrap();
        } else {
            change(&path, |bytes| bytes.fill(0));
        }
        let report = look(dir.path());
        let named = report.damages.iter().filter(|damage| damage.file == "journal/0000000003.seg").count();
        assert_eq!(named, 2, "the file itself, and the frames: {report:#?}");
        assert!(!report.lost_events.is_empty());
        // The segments before and behind it are read.
        assert!(report.event_count > 30 && report.event_count < 60, "{report:#?}");
    }
}

#[tokio::test]
async fn an_end_that_only_the_index_knows_of_is_damage() {
    let dir = filled().await;
    let last = (1..).take_while(|number| segment(dir.path(), *number).exists()).last().unwrap();
    // The live segment loses its last frames, and the ones made ahead stay as they are.
    let used = (1..=last).rev().find(|number| fs::read(segment(dir.path(), *number)).unwrap()[4096] != 0).unwrap();
    change(&segment(dir.path(), used), |bytes| bytes[4096..].fill(0));
    let report = look(dir.path());
    assert!(!report.is_sound());
    assert!(
        report.damages.iter().any(|damage| damage.what.contains("which were synced, cannot be read")),
        "{report:#?}"
    );
}

#[tokio::test]
async fn an_index_of_garbage_is_named_and_costs_nothing() {
    let dir = filled().await;
    for entry in fs::read_dir(dir.path().join("index")).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            change(&path, |bytes| bytes.fill(0xa5));
        }
    }
    let report = look(dir.path());
    assert!(!report.is_sound());
    assert_eq!(report.index, Compared::Damaged);
    assert_eq!(report.event_count, 60);
    assert!(report.lost_events.is_empty());
    assert!(report.damages[0].what.contains("makes it again"), "{report:#?}");
    let (store, opened) = open(dir.path());
    assert!(opened.rebuilt.is_some() && opened.damages.is_empty(), "{opened:?}");
    store.close().await.unwrap();
    let report = look(dir.path());
    assert!(report.is_sound(), "{report:#?}");
}

#[tokio::test]
async fn an_index_of_another_journal_is_named() {
    let (dir, other) = (filled().await, filled().await);
    fs::remove_dir_all(dir.path().join("index")).unwrap();
    fs::rename(other.path().join("index"), dir.path().join("index")).unwrap();
    let report = look(dir.path());
    assert_eq!(report.index, Compared::Damaged);
    assert!(report.damages[0].what.contains("belongs to another journal"), "{report:#?}");
}

#[tokio::test]
async fn seen_ids_that_are_gone_or_wrong_are_named() {
    let dir = filled().await;
    let ids = fs::read_dir(dir.path().join("dedupe")).unwrap().next().unwrap().unwrap().path();
    let sound = fs::read(&ids).unwrap();
    for (place, expected) in [(48 + 5 * 40 + 3, "1 are missing"), (48 + 5 * 40 + 20, "1 are wrong"), (20, "cannot be")]
    {
        let mut bytes = sound.clone();
        bytes[place] ^= 1;
        fs::write(&ids, bytes).unwrap();
        let report = look(dir.path());
        assert_eq!(report.seen_ids, Compared::Damaged, "{place}: {report:#?}");
        assert!(report.damages.iter().any(|damage| damage.what.contains(expected)), "{place}: {report:#?}");
    }
    fs::write(&ids, sound).unwrap();
    fs::remove_file(&ids).unwrap();
    let report = look(dir.path());
    assert!(report.damages[0].what.contains("of 60 seen ids 60 are missing"), "{report:#?}");
}

#[tokio::test]
async fn a_list_of_events_that_lies_is_named() {
    let dir = filled().await;
    let list = dir.path().join("journal/0000000001.cat");
    change(&list, |bytes| {
        let at = bytes.len() / 2;
        bytes[at] ^= 1;
    });
    let report = look(dir.path());
    assert_eq!(report.damage_count, 1, "{report:#?}");
    assert_eq!(report.damages[0].file, "journal/0000000001.cat");
}

#[tokio::test]
async fn a_newer_journal_is_refused() {
    let dir = filled().await;
    change(&segment(dir.path(), 1), |bytes| {
        bytes[8] = 2;
        let sum = crc32fast::hash(&bytes[..30]).to_le_bytes();
        bytes[30..34].copy_from_slice(&sum);
    });
    match verify(dir.path(), at(0), &mut |_| {}) {
        Err(VerifyError::Open(OpenError::Newer { file, found: 2, known: 1 })) => {
            assert_eq!(file, "journal/0000000001.seg");
        }
        other => panic!("{other:?}"),
    }
}
