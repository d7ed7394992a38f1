//! What is told when things take long, and when what was stored cannot be read any more.

use std::path::Path;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use eventyard_event::Data;
use eventyard_store::disk::{Crash, SimulatedDisk};
use eventyard_store::{
    DeadLetterFilter, DeliveryState, LocalStore, OpenWatcher, Options, PageRequest, Reason, Settlement, Store, Verdict,
};

mod support;
use support::*;

#[tokio::test(start_paused = true)]
async fn a_delivery_whose_event_cannot_be_read_is_handed_out_and_can_be_given_up() {
    let disk = SimulatedDisk::new(1);
    let (store, _) = LocalStore::open_simulated(disk.clone(), small(), clock(0)).unwrap();
    let ids = [put(&store, 1).await, put(&store, 2).await];
    store.close().await.unwrap();
    drop(store);
    // Nothing of it is kept in memory after a restart.
    let disk = disk.restart(Crash::ProcessDeath);
    let (store, _) = LocalStore::open_simulated(disk.clone(), small(), clock(0)).unwrap();
    let path = Path::new("/data/journal/0000000001.seg");
    let mut bytes = disk.peek(path).unwrap();
    let at = bytes.windows(12).position(|part| part == b"{\"number\":1}").unwrap();
    bytes[at] ^= 1;
    disk.poke(path, bytes);

    let taken = take(&store, "a", 10, at_zero()).await;
    assert_eq!(taken.iter().map(|taken| taken.delivery).collect::<Vec<_>>(), ids);
    assert!(taken[0].unreadable.as_ref().unwrap().contains("journal/0000000001.seg"), "{:?}", taken[0].unreadable);
    assert!(taken[1].unreadable.is_none());
    let reason = Reason { code: "event_unreadable".to_owned(), message: "it is damaged".to_owned() };
    let verdict = Verdict::Dead { reason: reason.clone() };
    let settlement = Settlement { attempt: None, verdict, ..delivered(ids[0], 1) };
    store.settle(vec![settlement]).await.remove(0).unwrap();
    assert_eq!(store.stats().dead, 1);
    let page = PageRequest { limit: 10, cursor: None };
    let letters = store.dead_letters(DeadLetterFilter::default(), page).await.unwrap().items;
    assert_eq!(letters.len(), 1);
    assert_eq!((letters[0].delivery.id, &letters[0].reason), (ids[0], &reason));
    assert_eq!(letters[0].delivery.state, DeliveryState::Dead);
    assert_eq!(store.purge(vec![ids[0]], at_zero()).await.unwrap(), [ids[0]]);
}

fn at_zero() -> eventyard_event::Timestamp {
    at(0)
}

#[tokio::test(start_paused = true)]
async fn whoever_opens_a_store_is_told_how_far_it_has_come() {
    let disk = SimulatedDisk::new(2);
    let options = || Options { segment_bytes: 4 << 20, first_segment_bytes: 4 << 20, ..Options::default() };
    let (store, _) = LocalStore::open_simulated(disk.clone(), options(), clock(0)).unwrap();
    for number in 0..12 {
        let mut large = admission(number, vec![delivery("a", at(0))]);
        std::sync::Arc::make_mut(&mut large.envelope).event.data = Data::Bytes(Bytes::from(vec![0x5a; 1 << 20]));
        store.commit(commit(vec![large])).await.unwrap();
    }
    store.close().await.unwrap();
    drop(store);
    for lost in [false, true] {
        let disk = disk.restart(Crash::ProcessDeath);
        if lost {
            disk.lose_index();
        }
        let told = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&told);
        let watcher = OpenWatcher::new(move |progress| sink.lock().unwrap().push(progress));
        let (_store, _) =
            LocalStore::open_simulated(disk.clone(), Options { watcher: Some(watcher), ..options() }, clock(0))
                .unwrap();
        let told = told.lock().unwrap();
        assert!(told.iter().all(|progress| progress.rebuilding == lost), "{told:?}");
        assert!(told.windows(2).all(|pair| pair[0].read_bytes < pair[1].read_bytes), "{told:?}");
        assert_eq!(told[0].read_bytes, 0);
        if lost {
            assert!(told.len() > 2, "all of the journal is read: {told:?}");
        }
    }
}
