//! An event that the journal has lost, and that its sender sends again: it is taken, whatever the files of seen ids
//! say. What has ended or has gone by the retention stays a repeat.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed, and says where")]

use std::fs;
use std::path::Path;
use std::time::Duration;

use eventyard_store::{LocalStore, Options, Store};

mod support;
use support::*;

const WINDOW: Duration = Duration::from_secs(3600);

fn sent(number: u64, again: bool) -> eventyard_store::Admission {
    let ours = if again { number + 1000 } else { number };
    let mut admission = deduped(ours, &format!("sender-{number}."), at(0), WINDOW);
    std::sync::Arc::make_mut(&mut admission.envelope).event.data =
        eventyard_event::Data::Bytes(vec![0x5a; 3000].into());
    admission
}

/// 60 events on several segments, of which the first ten are delivered; the seen ids of all are in files.
async fn filled() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    for number in 0..60 {
        store.commit(commit(vec![sent(number, false)])).await.unwrap();
    }
    for taken in take(&store, "a", 10, at(0)).await {
        settle(&store, delivered(taken.delivery, 1)).await;
    }
    store.close().await.unwrap();
    dir
}

/// Flips a bit in the event of that number, and says in which segment it stands.
fn damage(dir: &Path, number: u64) -> u32 {
    let wanted = format!("sender-{number}.");
    for segment_number in 1..1000 {
        let path = segment(dir, segment_number);
        // The first ones may have gone by the retention.
        let Ok(mut bytes) = fs::read(&path) else { continue };
        if let Some(at) = bytes.windows(wanted.len()).position(|window| window == wanted.as_bytes()) {
            bytes[at] ^= 1;
            fs::write(path, bytes).unwrap();
            return segment_number;
        }
    }
    panic!("no segment holds {wanted}");
}

/// Sends all 60 again: the numbers of those that were taken anew.
async fn taken_anew(store: &LocalStore) -> Vec<u64> {
    let mut anew = Vec::new();
    for number in 0..60 {
        if !store.commit(commit(vec![sent(number, true)])).await.unwrap()[0].duplicate {
            anew.push(number);
        }
    }
    anew
}

#[tokio::test]
async fn what_a_start_without_an_index_finds_lost_is_taken_again() {
    let dir = filled().await;
    fs::remove_dir_all(dir.path().join("index")).unwrap();
    damage(dir.path(), 5);
    damage(dir.path(), 40);
    let (store, report) = open(dir.path());
    assert_eq!(report.damages.len(), 2, "{report:#?}");
    assert_eq!(taken_anew(&store).await, [5, 40]);
    assert!(taken_anew(&store).await.is_empty(), "they are repeats from then on");
    store.close().await.unwrap();
    drop(store);
    let (store, _) = open(dir.path());
    assert!(taken_anew(&store).await.is_empty(), "after a start too");
}

#[tokio::test]
async fn what_is_lost_within_a_batch_is_taken_again_once() {
    let dir = filled().await;
    fs::remove_dir_all(dir.path().join("index")).unwrap();
    damage(dir.path(), 40);
    let (store, _) = open(dir.path());
    let mut again: Vec<_> = [39, 40, 40, 41].map(|number| sent(number, true)).into();
    std::sync::Arc::make_mut(&mut again[2].envelope).id = event_id(5000);
    let admitted = store.commit(commit(again)).await.unwrap();
    assert_eq!(admitted.iter().map(|each| each.duplicate).collect::<Vec<_>>(), [true, false, true, true]);
    assert_eq!(admitted[2].event, event_id(1040), "it repeats the one that was just taken");
    assert!(store.event(event_id(1040)).await.unwrap().is_some());
}

/// No start reads a full segment where there are index and list, so nothing says before that it is damaged.
#[tokio::test]
async fn an_open_event_that_cannot_be_read_is_taken_again_and_an_ended_one_is_not() {
    let dir = filled().await;
    damage(dir.path(), 5);
    damage(dir.path(), 15);
    let (store, report) = open(dir.path());
    assert!(report.damages.is_empty() && report.rebuilt.is_none(), "{report:#?}");
    assert_eq!(taken_anew(&store).await, [15], "5 was delivered, and its sender need not know more");
}

#[tokio::test]
async fn what_stood_in_a_missing_segment_is_taken_again() {
    let dir = filled().await;
    let number = damage(dir.path(), 30);
    fs::remove_file(segment(dir.path(), number)).unwrap();
    fs::remove_dir_all(dir.path().join("index")).unwrap();
    let (store, _) = open(dir.path());
    let mut lost = Vec::new();
    for number in 0..60 {
        if store.event(event_id(number)).await.unwrap().is_none() {
            lost.push(number);
        }
    }
    assert!(lost.contains(&30) && lost.len() < 30, "{lost:?}");
    assert_eq!(taken_anew(&store).await, lost);
}

/// The sum says that the last frame was never finished, and nothing but the file of seen ids knows otherwise.
#[tokio::test]
async fn an_end_that_is_cut_takes_nobodys_event_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    for number in 0..10 {
        store.commit(commit(vec![sent(number, false)])).await.unwrap();
    }
    store.close().await.unwrap();
    drop(store);
    let path = segment(dir.path(), 1);
    let mut bytes = fs::read(&path).unwrap();
    let wanted = b"sender-9.";
    let cut = bytes.windows(wanted.len()).position(|window| window == wanted).unwrap();
    bytes[cut..].fill(0);
    fs::write(path, bytes).unwrap();
    fs::remove_dir_all(dir.path().join("index")).unwrap();
    let (store, report) = open(dir.path());
    assert!(report.torn.is_some() && report.damages.is_empty(), "{report:#?}");
    let again = store.commit(commit((0..10).map(|number| sent(number, true)).collect())).await.unwrap();
    let anew: Vec<_> = (0..10).filter(|number| !again[*number].duplicate).collect();
    assert_eq!(anew, [9]);
}

#[tokio::test]
async fn what_has_gone_by_the_retention_stays_a_repeat_after_a_start() {
    let dir = aged().await;
    let (store, _) = LocalStore::open(dir.path(), short(), clock(10)).unwrap();
    assert!(store.event(event_id(1)).await.unwrap().is_none());
    assert!(taken_anew(&store).await.is_empty());
}

/// It is as old as what has gone, and only its copy says that it was still open.
#[tokio::test]
async fn an_old_open_event_whose_copy_is_lost_is_taken_again() {
    let dir = aged().await;
    damage(dir.path(), 0);
    fs::remove_dir_all(dir.path().join("index")).unwrap();
    let (store, report) = LocalStore::open(dir.path(), short(), clock(10)).unwrap();
    assert_eq!(report.damages.len(), 1, "{report:#?}");
    assert!(store.event(event_id(0)).await.unwrap().is_none());
    let again = store.commit(commit(vec![sent(0, true), sent(59, true)])).await.unwrap();
    assert_eq!(again.iter().map(|each| each.duplicate).collect::<Vec<_>>(), [false, true]);
    store.close().await.unwrap();
    drop(store);
    // The next start sees no damage any more, for it stands behind the index.
    let (store, _) = LocalStore::open(dir.path(), short(), clock(10)).unwrap();
    let again = store.commit(commit(vec![sent(0, true), sent(59, true)])).await.unwrap();
    assert_eq!(again.iter().map(|each| each.duplicate).collect::<Vec<_>>(), [true, true]);
}

fn short() -> Options {
    Options { retention_bytes: 2 * 64 * 1024, checkpoint_every: Duration::from_millis(50), ..small() }
}

/// 60 events, of which all but the first are delivered and the oldest have gone by the retention.
async fn aged() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = LocalStore::open(dir.path(), short(), clock(10)).unwrap();
    store.commit(commit(vec![sent(0, false)])).await.unwrap();
    let kept = take(&store, "a", 1, at(0)).await.remove(0);
    store.begin(vec![begin(kept.delivery, at(1))]).await.remove(0).unwrap();
    settle(&store, retried(kept.delivery, 1, at(1_000_000))).await;
    for number in 1..60 {
        store.commit(commit(vec![sent(number, false)])).await.unwrap();
        for taken in take(&store, "a", 1, at(0)).await {
            settle(&store, delivered(taken.delivery, 1)).await;
        }
    }
    let began = std::time::Instant::now();
    while store.event(event_id(1)).await.unwrap().is_some() || segment(dir.path(), 1).exists() {
        assert!(began.elapsed() < Duration::from_secs(30), "nothing goes");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(store.event(event_id(0)).await.unwrap().is_some(), "what is open is carried on");
    store.close().await.unwrap();
    dir
}
