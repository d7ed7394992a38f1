//! What a disk may do to a store, and what the store does then.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed, and says where")]

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use eventyard_event::{Data, DeliveryId};
use eventyard_store::disk::{CallKind, Crash, DiskFaults, SimulatedDisk};
use eventyard_store::{
    DeliveryFilter, Health, LocalStore, OpenError, OpenReport, PageRequest, SettleError, Store, StoreError,
    verify_simulated,
};

mod support;
use support::*;

fn open_on(disk: &SimulatedDisk) -> (LocalStore, OpenReport) {
    LocalStore::open_simulated(disk.clone(), small(), clock(0)).unwrap()
}

/// Commits an event of a few KiB with one delivery to the target `a`.
async fn put_large(store: &LocalStore, number: u64) -> Result<DeliveryId, StoreError> {
    let mut admission = admission(number, vec![delivery("a", at(0))]);
    std::sync::Arc::make_mut(&mut admission.envelope).event.data = Data::Bytes(vec![0x5a; 4000].into());
    store.commit(commit(vec![admission])).await?;
    Ok(event_id(number).delivery(0))
}

/// Commits until the segments that are kept ahead are there: what fails next is the live one.
async fn make_ahead(store: &LocalStore) {
    for number in 1000..1003 {
        put_large(store, number).await.unwrap();
    }
}

fn segment(number: u32) -> PathBuf {
    Path::new("/data/journal").join(format!("{number:010}.seg"))
}

/// Damages one file of a disk on which no store is open.
fn change(disk: &SimulatedDisk, path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = disk.peek(path).unwrap();
    change(&mut bytes);
    disk.poke(path, bytes);
}

/// Where the frames of a segment begin.
fn frames(bytes: &[u8]) -> Vec<usize> {
    (4096..bytes.len()).step_by(8).filter(|at| bytes[*at..].starts_with(b"EYfr")).collect()
}

/// A disk with 60 events on several segments, closed by the death of the process after a checkpoint.
async fn filled_disk() -> SimulatedDisk {
    let disk = SimulatedDisk::new(1);
    let (store, _) = open_on(&disk);
    for number in 0..60 {
        put_large(&store, number).await.unwrap();
    }
    store.close().await.unwrap();
    drop(store);
    disk.restart(Crash::PowerCut)
}

#[tokio::test(start_paused = true)]
async fn a_full_disk_refuses_events_takes_outcomes_and_recovers_by_itself() {
    let disk = SimulatedDisk::new(1);
    let (store, _) = open_on(&disk);
    disk.set_faults(DiskFaults { capacity_bytes: Some(4 * 64 * 1024), ..DiskFaults::default() });
    let mut accepted = Vec::new();
    let mut refused = None;
    for number in 0..200 {
        match put_large(&store, number).await {
            Ok(id) => accepted.push(id),
            Err(error) => {
                refused = Some(error);
                break;
            }
        }
    }
    assert!(matches!(refused, Some(StoreError::Full)), "{refused:?}");
    assert_eq!(store.health(), Health::Full);
    assert!(accepted.len() > 20, "there was room for {}", accepted.len());

    // The room that is kept for outcomes is theirs.
    let taken = take(&store, "a", 1000, at(0)).await;
    assert_eq!(taken.len(), accepted.len());
    for taken in &taken[..20] {
        store.begin(vec![begin(taken.delivery, at(1))]).await.remove(0).unwrap();
        settle(&store, delivered(taken.delivery, 1)).await;
    }
    assert!(matches!(put_large(&store, 500).await, Err(StoreError::Full)), "it is still full for events");

    disk.set_faults(DiskFaults::default());
    put_large(&store, 501).await.unwrap();
    assert_eq!(store.health(), Health::Good);
    drop(store);
    let (store, report) = open_on(&disk.restart(Crash::PowerCut));
    assert!(report.damages.is_empty(), "{report:?}");
    assert_eq!(store.stats().events, accepted.len() as u64 + 1, "no refused event is half there");
    assert_eq!(store.stats().unsettled, accepted.len() as u64 + 1 - 20);
}

#[tokio::test(start_paused = true)]
async fn a_disk_too_full_to_begin_on_is_said_to_be() {
    let disk = SimulatedDisk::new(1);
    disk.set_faults(DiskFaults { capacity_bytes: Some(10_000), ..DiskFaults::default() });
    let refused = LocalStore::open_simulated(disk.clone(), small(), clock(0)).err().unwrap();
    assert!(matches!(refused, OpenError::Full { .. }), "{refused}");
    disk.set_faults(DiskFaults::default());
    open_on(&disk.restart(Crash::ProcessDeath));
}

#[tokio::test(start_paused = true)]
async fn after_a_sync_that_failed_nothing_is_acknowledged_until_a_restart() {
    for kind in [CallKind::Sync, CallKind::Write] {
        let disk = SimulatedDisk::new(1);
        let (store, _) = open_on(&disk);
        let before = put_large(&store, 1).await.unwrap();
        make_ahead(&store).await;
        assert_eq!(take(&store, "a", 1, at(0)).await[0].delivery, before);
        disk.set_faults(DiskFaults { fail: Some((disk.calls(), kind, ErrorKind::Other)), ..DiskFaults::default() });
        let failed = put_large(&store, 2).await;
        assert!(matches!(failed, Err(StoreError::Poisoned(_))), "{failed:?}");
        // The disk is well again, and is not believed.
        for _ in 0..3 {
            assert!(matches!(put_large(&store, 3).await, Err(StoreError::Poisoned(_))));
        }
        let settled = store.settle(vec![delivered(before, 1)]).await.remove(0);
        assert!(matches!(settled, Err(SettleError::Store(StoreError::Poisoned(_)))), "{settled:?}");
        assert!(store.take(&queue("a"), 1, at(0), LEASE).await.is_err(), "no attempt begins either");
        let Health::Poisoned(why) = store.health() else { panic!("{:?}", store.health()) };
        assert!(why.contains("journal/0000000001.seg") && why.contains("simulated disk fails"), "{why}");
        assert!(matches!(store.close().await, Err(StoreError::Poisoned(_))));
        drop(store);
        let (store, report) = open_on(&disk.restart(Crash::PowerCut));
        assert!(report.damages.is_empty(), "{report:?}");
        assert!(store.event(event_id(1)).await.unwrap().is_some(), "what was acknowledged is there");
        assert!(store.event(event_id(3)).await.unwrap().is_none());
        put_large(&store, 4).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_flipped_byte_in_a_synced_frame_costs_that_frame_and_is_named() {
    let disk = filled_disk().await;
    // Of the segment that the checkpoint stands in: those before it are not read at a start.
    let live = (1..).take_while(|number| disk.peek(&segment(*number)).is_some_and(|bytes| bytes[4096] != 0)).last();
    let path = segment(live.unwrap());
    let mut hit = 0;
    change(&disk, &path, |bytes| {
        hit = frames(bytes)[1];
        bytes[hit + 200] ^= 1;
    });
    let (store, report) = open_on(&disk);
    assert_eq!(report.damages.len(), 1, "{report:?}");
    let damage = &report.damages[0];
    assert_eq!(damage.file, format!("journal/{}", path.file_name().unwrap().to_str().unwrap()));
    assert_eq!(damage.offset, hit as u64);
    assert!(report.torn.is_none(), "what was synced is not torn");
    let aside = Path::new("/data/quarantine").join(format!("{}-{hit}", damage.file.replace('/', "-")));
    assert_eq!(disk.peek(&aside).unwrap().len() as u64, damage.bytes, "the bytes are kept for whoever wants to look");

    // All others are served, this one is named whenever somebody asks.
    let mut unreadable = 0;
    for number in 0..60 {
        match store.event(event_id(number)).await {
            Ok(view) => assert!(view.is_some()),
            Err(StoreError::Corrupt(what)) => {
                assert!(what.contains(&damage.file), "{what}");
                unreadable += 1;
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(unreadable, 1);
    let taken = take(&store, "a", 100, at(0)).await;
    assert_eq!((taken.len(), taken.iter().filter(|taken| taken.unreadable.is_some()).count()), (60, 1));
    let listed = store.deliveries(DeliveryFilter::default(), PageRequest { limit: 100, cursor: None }).await.unwrap();
    assert_eq!(listed.items.len(), 59);
    put_large(&store, 100).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn damage_to_a_segment_that_is_not_read_at_a_start_is_named_when_it_is_met() {
    let disk = filled_disk().await;
    change(&disk, &segment(1), |bytes| {
        let at = frames(bytes)[3] + 300;
        bytes[at] ^= 1;
    });
    let (store, _) = open_on(&disk);
    let read = store.event(event_id(3)).await;
    let Err(StoreError::Corrupt(what)) = read else { panic!("{read:?}") };
    assert!(what.contains("journal/0000000001.seg at "), "{what}");
    let taken = take(&store, "a", 100, at(0)).await;
    let sound = taken.iter().filter(|taken| taken.unreadable.is_none()).count();
    assert_eq!((taken.len(), sound), (60, 59), "the rest goes on, and it is said of the one");
}

#[tokio::test(start_paused = true)]
async fn a_cut_tail_is_cut_for_good_and_the_journal_goes_on() {
    let disk = SimulatedDisk::new(1);
    let (store, _) = open_on(&disk);
    for number in 0..5 {
        put_large(&store, number).await.unwrap();
    }
    drop(store);
    tokio::task::yield_now().await;
    let disk = disk.restart(Crash::PowerCut);
    change(&disk, &segment(1), |bytes| {
        let last = *frames(bytes).last().unwrap();
        bytes[last + 1000..last + 2000].fill(0);
    });
    let (store, report) = open_on(&disk);
    assert_eq!(report.torn.unwrap().file, "journal/0000000001.seg");
    assert!(report.damages.is_empty());
    assert_eq!(store.stats().events, 4);
    put_large(&store, 10).await.unwrap();
    drop(store);
    tokio::task::yield_now().await;
    let disk = disk.restart(Crash::PowerCut);
    let (store, report) = open_on(&disk);
    assert!(report.torn.is_none() && report.damages.is_empty(), "{report:?}");
    assert_eq!(store.stats().events, 5);
}

#[tokio::test(start_paused = true)]
async fn a_segment_of_zeros_or_one_that_is_missing_is_named_and_the_others_are_served() {
    for missing in [false, true] {
        let disk = filled_disk().await;
        for path in disk.paths() {
            // Without the lists and the index, so that all is read from the journal.
            if path.extension().is_some_and(|ending| ending == "cat") {
                disk.pluck(&path);
            }
        }
        if missing {
            disk.pluck(&segment(2));
        } else {
            change(&disk, &segment(2), |bytes| bytes.fill(0));
        }
        let report = match LocalStore::open_simulated(disk.clone(), small(), clock(0)) {
            Ok((store, report)) => {
                put_large(&store, 100).await.unwrap();
                assert!(store.event(event_id(59)).await.unwrap().is_some());
                report
            }
            Err(error) => panic!("{error}"),
        };
        assert!(report.damages.iter().any(|damage| damage.file == "journal/0000000002.seg"), "{report:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_end_of_the_journal_that_only_the_index_has_seen_is_damage_and_is_set_aside() {
    let disk = filled_disk().await;
    let live = (1..).take_while(|number| disk.peek(&segment(*number)).is_some_and(|bytes| bytes[4096] != 0)).last();
    let path = segment(live.unwrap());
    change(&disk, &path, |bytes| {
        let last = *frames(bytes).last().unwrap();
        bytes[last + 1000] ^= 1;
    });
    let (store, report) = open_on(&disk);
    assert!(report.torn.is_none(), "it was synced, and the index proves it: {report:?}");
    assert!(report.damages[0].what.contains("the frame 60"), "{report:?}");
    assert!(report.rebuilt.is_some());
    assert!(disk.paths().iter().any(|path| path.starts_with("/data/quarantine")), "{:?}", disk.paths());
    assert_eq!(store.stats().events, 59);

    // The index that stood ahead must not be believed later, when the journal has grown past it.
    for number in 100..105 {
        put_large(&store, number).await.unwrap();
    }
    drop(store);
    tokio::task::yield_now().await;
    let disk = disk.restart(Crash::PowerCut);
    assert!(verify_simulated(&disk, at(0)).unwrap().is_sound());
    let (store, report) = open_on(&disk);
    assert!(report.damages.is_empty() && report.rebuilt.is_none(), "{report:?}");
    assert_eq!((store.stats().events, store.stats().unsettled), (64, 64));
}

#[tokio::test(start_paused = true)]
async fn an_index_that_is_behind_is_gone_on_from() {
    let disk = filled_disk().await;
    let (store, _) = open_on(&disk);
    put_large(&store, 100).await.unwrap();
    settle(&store, delivered(take(&store, "a", 1, at(0)).await[0].delivery, 1)).await;
    drop(store);
    tokio::task::yield_now().await;
    let (store, report) = open_on(&disk.restart(Crash::ProcessDeath));
    assert!(report.rebuilt.is_none() && report.frames_read < 62, "{report:?}");
    assert_eq!((store.stats().events, store.stats().unsettled), (61, 60));
}

#[tokio::test(start_paused = true)]
async fn data_of_a_newer_version_is_refused_and_not_touched() {
    let disk = filled_disk().await;
    change(&disk, &segment(1), |bytes| {
        bytes[8..10].copy_from_slice(&7u16.to_le_bytes());
        let sum = crc32fast::hash(&bytes[..30]).to_le_bytes();
        bytes[30..34].copy_from_slice(&sum);
    });
    let before: Vec<_> = disk.paths().iter().map(|path| disk.peek(path)).collect();
    let refused = LocalStore::open_simulated(disk.clone(), small(), clock(0)).err().unwrap();
    assert_eq!(refused.code(), "store_newer");
    let text = refused.to_string();
    assert!(text.contains("journal/0000000001.seg has format version 7") && text.contains("up to 1"), "{text}");
    assert_eq!(disk.paths().iter().map(|path| disk.peek(path)).collect::<Vec<_>>(), before);
}

#[tokio::test(start_paused = true)]
async fn segments_of_which_none_can_be_read_are_no_empty_start() {
    let disk = filled_disk().await;
    for path in disk.paths() {
        change(&disk, &path, |bytes| bytes.fill(0));
    }
    let refused = LocalStore::open_simulated(disk.clone(), small(), clock(0)).err().unwrap();
    assert_eq!(refused.code(), "store_unreadable", "{refused}");

    let disk = filled_disk().await;
    disk.paths().iter().filter(|path| path.starts_with("/data/journal")).for_each(|path| disk.pluck(path));
    let (_, report) = open_on(&disk);
    assert!(report.new && report.damages[0].what.contains("every file of the journal is gone"), "{report:?}");
}

#[tokio::test]
async fn an_index_of_garbage_is_set_aside_and_rebuilt() {
    for garbage in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        let (store, _) = open(dir.path());
        put(&store, 1).await;
        put(&store, 2).await;
        store.close().await.unwrap();
        drop(store);
        for entry in fs::read_dir(dir.path().join("index")).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() {
                fs::write(path, if garbage { vec![0x5a; 9000] } else { Vec::new() }).unwrap();
            }
        }
        let (store, report) = open(dir.path());
        if garbage {
            assert!(report.rebuilt.as_deref().unwrap().contains("the index cannot be read"), "{report:?}");
            assert!(dir.path().join("index.aside").is_dir());
        }
        assert_eq!((report.open_events, store.stats().unsettled), (2, 2));
        put(&store, 3).await;
        store.close().await.unwrap();
        drop(store);
        let (store, report) = open(dir.path());
        assert!(report.rebuilt.is_none(), "{report:?}");
        assert_eq!(store.stats().unsettled, 3);
    }
}

#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "a thread of its own, that only waits")]
async fn an_index_that_is_still_held_for_a_moment_is_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    put(&store, 1).await;
    store.close().await.unwrap();
    drop(store);
    // As a process does that was being started when the last owner ended.
    let held = fs::File::open(dir.path().join("index/db")).unwrap();
    held.lock().unwrap();
    let holder = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(300));
        drop(held);
    });
    let (_, report) = open(dir.path());
    assert!(report.rebuilt.is_none(), "{report:?}");
    holder.join().unwrap();
}

#[tokio::test]
async fn a_folder_in_use_is_refused_with_its_owner() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    let refused = LocalStore::open(dir.path(), small(), clock(0)).err().unwrap();
    assert_eq!(refused.code(), "store_locked");
    assert!(refused.to_string().contains(&format!("process {}", std::process::id())), "{refused}");
    drop(store);
    open(dir.path());
}

#[test]
fn an_owner_that_is_gone_is_not_named() {
    let dir = tempfile::tempdir().unwrap();
    let lock = fs::File::create(dir.path().join("lock")).unwrap();
    lock.lock_shared().unwrap();
    // Higher than any process id that Linux gives.
    fs::write(dir.path().join("lock"), "999999999\n").unwrap();
    let refused = LocalStore::open(dir.path(), small(), clock(0)).err().unwrap();
    assert!(refused.to_string().contains("in use by another process"), "{refused}");
}

#[test]
fn a_folder_that_cannot_be_made_is_refused_with_its_name() {
    // Read-only for everybody, the superuser included: a file stands where a folder is needed.
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("data"), "").unwrap();
    let refused = LocalStore::open(&dir.path().join("data"), small(), clock(0)).err().unwrap();
    assert_eq!(refused.code(), "store_io");
    assert!(refused.to_string().contains("data/journal cannot be used"), "{refused}");
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_turned_read_only_poisons_with_its_reason() {
    let disk = SimulatedDisk::new(1);
    let (store, _) = open_on(&disk);
    make_ahead(&store).await;
    let fail = Some((disk.calls(), CallKind::Write, ErrorKind::ReadOnlyFilesystem));
    disk.set_faults(DiskFaults { fail, ..DiskFaults::default() });
    let failed = put_large(&store, 1).await;
    let Err(StoreError::Poisoned(why)) = failed else { panic!("{failed:?}") };
    assert!(why.contains("journal/0000000001.seg"), "{why}");
}

#[tokio::test]
async fn a_folder_deleted_beneath_a_running_store_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let (store, _) = open(&data);
    put(&store, 1).await;
    // Segments are being made ahead meanwhile, so a folder may get a new file between its last one and itself.
    while fs::remove_dir_all(&data).is_err() {
        assert!(data.exists(), "it is gone");
    }
    let began = Instant::now();
    // The store looks once a second; what is asked meanwhile is answered from a file without a name.
    while !matches!(store.health(), Health::Poisoned(_)) {
        assert!(began.elapsed() < Duration::from_secs(30), "nobody has noticed");
        store.changed().await;
    }
    let Health::Poisoned(why) = store.health() else { unreachable!() };
    assert!(why.contains("was the data folder deleted?"), "{why}");
    assert!(matches!(store.commit(commit(vec![admission(2, vec![])])).await, Err(StoreError::Poisoned(_))));
    drop(store);
}

#[tokio::test(start_paused = true)]
async fn a_due_time_written_while_the_clock_was_wrong_comes_back_within_reach() {
    let disk = SimulatedDisk::new(1);
    let (store, _) = open_on(&disk);
    let id = put_large(&store, 1).await.unwrap();
    take(&store, "a", 1, at(0)).await;
    let year = Duration::from_secs(365 * 24 * 3600);
    settle(&store, retried(id, 1, at(0).plus(year))).await;
    drop(store);
    tokio::task::yield_now().await;
    let (store, _) = LocalStore::open_simulated(disk.restart(Crash::PowerCut), small(), Arc::new(|| at(1000))).unwrap();
    let due = store.delivery(id).await.unwrap().unwrap().next_attempt_at.unwrap();
    assert_eq!(due, at(1000).plus(small().backoff_max));
}

#[tokio::test]
async fn what_a_dead_owner_left_behind_does_not_keep_its_successor_out() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()));
    let path = dir.path().join("lock");
    // No process has this number: it is above what Linux gives out.
    std::fs::write(&path, "4194305\n").unwrap();
    let left_behind = std::fs::File::open(&path).unwrap();
    left_behind.lock().unwrap();
    let opening = tokio::task::spawn_blocking({
        let dir = dir.path().to_owned();
        move || LocalStore::open(&dir, small(), clock(0)).map(|_| ())
    });
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(!opening.is_finished(), "it waits while the folder is held");
    drop(left_behind);
    opening.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_start_that_needs_a_segment_before_it_has_threads_makes_one() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    let id = put(&store, 1).await;
    take(&store, "a", 1, at(0)).await;
    store.begin(vec![begin(id, at(1))]).await.remove(0).unwrap();
    drop(store);
    // The live segment is full, and none was made ahead: that the attempt was cut off has to be written somewhere.
    let journal = dir.path().join("journal");
    let live = journal.join("0000000001.seg");
    let bytes = fs::read(&live).unwrap();
    // The last frame may end with zeros.
    let end = (bytes.iter().rposition(|byte| *byte != 0).unwrap() + 16).next_multiple_of(8);
    for entry in fs::read_dir(&journal).unwrap() {
        fs::remove_file(entry.unwrap().path()).unwrap();
    }
    fs::write(&live, &bytes[..end]).unwrap();
    let path = dir.path().to_owned();
    let opening = tokio::task::spawn_blocking(move || LocalStore::open(&path, small(), clock(0)));
    let opened = tokio::time::timeout(Duration::from_secs(30), opening).await.expect("it waits for ever");
    let (store, report) = opened.unwrap().unwrap();
    assert_eq!(report.interrupted, 1);
    put(&store, 2).await;
}
