//! Copies of a data folder, of one that is in use too, and what is restored from them.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed, and says where")]

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use eventyard_event::{Data, Timestamp};
use eventyard_store::{CopyError, CopyProgress, LocalStore, Store, backup, restore, verify};

mod support;
use support::*;

async fn put_large(store: &LocalStore, number: u64, bytes: usize) {
    let mut admission = admission(number, vec![delivery("a", at(0))]);
    // Zeros at the end of an event are a part of it.
    std::sync::Arc::make_mut(&mut admission.envelope).event.data = Data::Bytes(vec![0; bytes].into());
    store.commit(commit(vec![admission])).await.unwrap();
}

async fn has(dir: &Path, numbers: std::ops::Range<u64>) {
    let (store, report) = open(dir);
    assert!(report.damages.is_empty(), "{report:?}");
    for number in numbers {
        assert!(store.event(event_id(number)).await.unwrap().is_some(), "{number} is missing");
    }
    put(&store, 1_000_000).await;
    store.close().await.unwrap();
}

#[tokio::test]
async fn what_a_stopped_store_holds_is_copied_and_restored() {
    let (dir, place) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (store, _) = open(dir.path());
    for number in 0..60 {
        put_large(&store, number, 9000).await;
    }
    for taken in take(&store, "a", 20, at(0)).await {
        settle(&store, delivered(taken.delivery, 1)).await;
    }
    store.close().await.unwrap();
    drop(store);
    fs::write(dir.path().join("last-good.json"), "{}").unwrap();
    let whole = verify(dir.path(), at(0), &mut |_| {}).unwrap();

    let to = place.path().join("monday");
    let mut steps = Vec::new();
    let report = backup(dir.path(), &to, at(0), &mut |step: CopyProgress| steps.push(step)).unwrap();
    assert!(report.running.is_none() && report.copy.is_sound(), "{report:?}");
    assert_eq!((report.copy.event_count, report.copy.unsettled_count), (60, 40));
    assert!(report.copy.journal_bytes < whole.journal_bytes, "what was made ahead is left out");
    assert!(steps.iter().any(|step| matches!(step, CopyProgress::Copying { .. })));
    assert!(steps.iter().any(|step| matches!(step, CopyProgress::Reading { .. })));
    assert_eq!(fs::read(to.join("last-good.json")).unwrap(), b"{}");
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 1, "nothing unfinished is left");

    let new = place.path().join("new/data");
    let restored = restore(&to, &new, false, at(0), &mut |_| {}).unwrap();
    assert_eq!((restored.copy.event_count, restored.copy.unsettled_count, &restored.old), (60, 40, &None));
    has(&new, 0..60).await;
    has(&to, 0..60).await;
}

/// Committed numbers are counted up only after their commit has returned.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_is_being_written_is_copied_with_all_that_was_acknowledged_before() {
    let (dir, place) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (store, _) = open(dir.path());
    let (acknowledged, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    // How far it may go: enough that it writes throughout a copy, and no more than a test needs.
    let limit = Arc::new(AtomicU64::new(0));
    let sizes = [100, 5000, 20_000].into_iter().cycle();
    let writer = tokio::spawn({
        let (store, acknowledged, stop) = (store.clone(), Arc::clone(&acknowledged), Arc::clone(&stop));
        let limit = Arc::clone(&limit);
        async move {
            let (mut number, mut sizes) = (0, sizes);
            while !stop.load(Ordering::Relaxed) {
                if number >= limit.load(Ordering::Relaxed) {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                    continue;
                }
                put_large(&store, number, sizes.next().unwrap()).await;
                number += 1;
                acknowledged.store(number, Ordering::Relaxed);
            }
        }
    });
    for round in 0..8u64 {
        let far = acknowledged.load(Ordering::Relaxed);
        limit.store(far + 80, Ordering::Relaxed);
        while acknowledged.load(Ordering::Relaxed) < far + 5 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let before = acknowledged.load(Ordering::Relaxed);
        let (from, to) = (dir.path().to_owned(), place.path().join(format!("copy-{round}")));
        let copied = to.clone();
        let made = tokio::task::spawn_blocking(move || backup(&from, &copied, at(0), &mut |_| {})).await.unwrap();
        let report = made.unwrap();
        assert_eq!(report.running, Some(Some(std::process::id())));
        assert!(report.copy.is_sound() && report.copy.torn.is_none(), "{report:#?}");
        assert!(report.copy.event_count >= before, "{} of {before}", report.copy.event_count);
        has(&to, 0..before).await;
    }
    stop.store(true, Ordering::Relaxed);
    writer.await.unwrap();
    store.close().await.unwrap();
    assert!(verify(dir.path(), at(0), &mut |_| {}).unwrap().is_sound(), "copying changed nothing");
}

#[tokio::test]
async fn a_copy_takes_nobodys_place() {
    let (dir, place) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (store, _) = open(dir.path());
    put(&store, 1).await;
    store.close().await.unwrap();
    drop(store);
    let refused = |to: &Path| backup(dir.path(), to, at(0), &mut |_| {}).err().unwrap().code();
    fs::write(place.path().join("file"), "x").unwrap();
    assert_eq!(refused(place.path()), "store_exists");
    assert_eq!(refused(&place.path().join("file")), "store_exists");
    assert_eq!(refused(&dir.path().join("backup")), "store_inside");
    assert_eq!(refused(&place.path().join("no/such/folder")), "store_io");
    let mounted = backup(dir.path(), Path::new("/proc"), at(0), &mut |_| {}).err().unwrap();
    assert!(matches!(mounted, CopyError::Root { .. }), "{mounted}");
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 1, "nothing was made");
    let empty = place.path().join("empty");
    fs::create_dir(&empty).unwrap();
    backup(dir.path(), &empty, at(0), &mut |_| {}).unwrap();

    let restoring = |from: &Path, to: &Path| restore(from, to, false, at(0), &mut |_| {}).err().unwrap().code();
    assert_eq!(restoring(&empty, dir.path()), "store_exists");
    assert_eq!(restoring(place.path(), &place.path().join("new")), "store_missing");
    assert!(!place.path().join("new").exists());
}

/// What was killed on its way is no backup; it is removed by the next one that gets its name.
#[tokio::test]
async fn leftovers_of_backups_that_were_killed_go_and_those_of_others_stay() {
    let (dir, place) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (store, _) = open(dir.path());
    put(&store, 1).await;
    // No process has such an id; this one is alive.
    let dead = place.path().join(".monday.unfinished-4194305");
    let alive = place.path().join(format!(".monday.unfinished-{}", std::os::unix::process::parent_id()));
    let other = place.path().join(".tuesday.unfinished-4194305");
    for folder in [&dead, &alive, &other] {
        fs::create_dir_all(folder.join("journal")).unwrap();
    }
    backup(dir.path(), &place.path().join("monday"), at(0), &mut |_| {}).unwrap();
    assert!(!dead.exists() && alive.exists() && other.exists());
    drop(store);
}

/// Where the copy cannot be made, the folder holds what it held.
#[tokio::test]
async fn a_restore_that_fails_leaves_the_old_content_where_it_is() {
    let (dir, place) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let to = place.path().join("copy");
    let (store, _) = open(dir.path());
    put(&store, 1).await;
    store.close().await.unwrap();
    drop(store);
    backup(dir.path(), &to, at(0), &mut |_| {}).unwrap();
    // A folder with the name of a file cannot be copied, even by root; `verify` does not look at it.
    fs::create_dir_all(to.join("dedupe/not-ours.ids")).unwrap();
    fs::write(dir.path().join("last-good.json"), "{}").unwrap();
    let mut before: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    let failed = restore(&to, dir.path(), true, at(1), &mut |_| {}).err().unwrap();
    assert_eq!(failed.code(), "store_io", "{failed}");
    let mut after: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    before.sort();
    after.sort();
    assert_eq!(after, before);
    has(dir.path(), 1..2).await;
}

#[tokio::test]
async fn an_old_folder_is_set_aside_by_force_alone_and_never_from_under_its_owner() {
    let (dir, place) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let to = place.path().join("copy");
    let (store, _) = open(dir.path());
    put(&store, 1).await;
    backup(dir.path(), &to, at(0), &mut |_| {}).unwrap();
    put(&store, 2).await;
    let locked = restore(&to, dir.path(), true, at(0), &mut |_| {}).err().unwrap();
    assert_eq!(locked.code(), "store_locked", "{locked}");
    assert!(locked.to_string().contains(&format!("process {}", std::process::id())), "{locked}");
    store.close().await.unwrap();
    drop(store);

    for round in 1..=2 {
        let restored = restore(&to, dir.path(), true, at(round), &mut |_| {}).unwrap();
        assert_eq!(restored.copy.event_count, 1);
        let old = restored.old.unwrap();
        assert!(old.starts_with(dir.path()) && old.join("journal").is_dir(), "{}", old.display());
    }
    let first = dir.path().join(format!("before-restore-{}", at(1).as_millis()));
    assert_eq!(verify(&first, at(0), &mut |_| {}).unwrap().event_count, 2, "the old one is whole");
    has(dir.path(), 1..2).await;
}

#[tokio::test]
async fn a_damaged_backup_is_not_restored_and_damage_that_is_copied_is_said() {
    let (dir, place) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (store, _) = open(dir.path());
    for number in 0..30 {
        put_large(&store, number, 9000).await;
    }
    store.close().await.unwrap();
    drop(store);
    change(&segment(dir.path(), 2), |bytes| bytes[4096 + 500] ^= 1);
    let to = place.path().join("copy");
    let report = backup(dir.path(), &to, at(0), &mut |_| {}).unwrap();
    assert!(!report.copy.is_sound() && report.copy.event_count == 29, "{report:#?}");
    let new = place.path().join("new");
    let refused = restore(&to, &new, false, at(0), &mut |_| {}).err().unwrap();
    assert_eq!(refused.code(), "store_damaged", "{refused}");
    assert!(!new.exists(), "nothing was made");
    // Repaired, it is what it is.
    let repair = eventyard_store::Repair::begin(&to, Timestamp::EPOCH, &mut |_| {}).unwrap();
    repair.run(clock(0), &mut |_| {}).await.unwrap();
    let restored = restore(&to, &new, false, at(0), &mut |_| {}).unwrap();
    assert_eq!((restored.copy.event_count, restored.copy.known.len()), (29, 1));
}
