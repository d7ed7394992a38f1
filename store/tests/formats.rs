//! A whole journal as version 1 wrote it: read by today's store, and written again with the same bytes.
//!
//! The bytes of each record stand beside it in `formats/1/` and are held by a test within the crate.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed, and says where")]

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use eventyard_store::disk::{Crash, SimulatedDisk};
use eventyard_store::{DeliveryState, LocalStore, NewPosition, Store, verify_simulated};

mod support;
use support::*;

const SEGMENT: &str = "/data/journal/0000000001.seg";
const SEGMENT_BYTES: usize = 64 * 1024;

/// One of everything that a journal can hold.
async fn story(disk: &SimulatedDisk) {
    let (store, _) = LocalStore::open_simulated(disk.clone(), small(), clock(0)).unwrap();
    store.commit(commit(vec![deduped(1, "x", at(0), Duration::from_secs(60)), admission(2, vec![])])).await.unwrap();
    let ids = [put(&store, 3).await, put(&store, 4).await, put(&store, 5).await];
    let position = NewPosition { namespace: name("default"), source: name("files"), bytes: b"42".to_vec() };
    let positioned = eventyard_store::Commit { admissions: vec![admission(6, vec![])], position: Some(position) };
    store.commit(positioned).await.unwrap();
    assert_eq!(take(&store, "a", 10, at(0)).await.len(), 4);
    for id in ids {
        store.begin(vec![begin(id, at(1))]).await.remove(0).unwrap();
    }
    settle(&store, retried(ids[0], 1, at(500))).await;
    settle(&store, died(ids[1], 1, at(9))).await;
    let mut with_alert = died(ids[2], 1, at(9));
    with_alert.emits = vec![admission(7, vec![delivery("oncall", at(9))])];
    settle(&store, with_alert).await;
    settle(&store, delivered(event_id(1).delivery(0), 1)).await;
    store.replay(vec![(ids[1], at(20))], at(20)).await.unwrap();
    store.purge(vec![ids[2]], at(21)).await.unwrap();
    store.hasten(vec![ids[0]], at(22), at(22)).await.unwrap();
    store.cancel(vec![ids[0]], at(23)).await.unwrap();
    store.commit(commit(vec![stillborn(8)])).await.unwrap();
    drop(store);
    tokio::task::yield_now().await;
}

/// The file's bytes without the zeros behind them.
fn checked_in(written: &[u8]) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/formats/1/journal.hex");
    if std::env::var_os("EVENTYARD_BLESS").is_some() {
        let mut text = String::new();
        for line in written.chunks(32) {
            line.iter().for_each(|byte| write!(text, "{byte:02x}").unwrap());
            text.push('\n');
        }
        std::fs::write(&path, text).unwrap();
    }
    let text = std::fs::read_to_string(&path).unwrap();
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

#[tokio::test(start_paused = true)]
async fn a_journal_is_read_as_it_was_written_and_written_as_before() {
    let disk = SimulatedDisk::new(42);
    story(&disk).await;
    let mut written = disk.peek(Path::new(SEGMENT)).unwrap();
    assert_eq!(written.len(), SEGMENT_BYTES);
    written.truncate(written.iter().rposition(|byte| *byte != 0).unwrap() + 1);
    let bytes = checked_in(&written);
    assert!(written == bytes, "the journal is written otherwise than before");

    let disk = SimulatedDisk::new(43);
    let mut segment = bytes;
    segment.resize(SEGMENT_BYTES, 0);
    disk.poke(Path::new(SEGMENT), segment);
    let report = verify_simulated(&disk, at(0)).unwrap();
    assert!(report.is_sound(), "{report:#?}");
    assert_eq!((report.event_count, report.delivery_count), (8, 6));
    let (store, opened) = LocalStore::open_simulated(disk.restart(Crash::PowerCut), small(), clock(0)).unwrap();
    assert!(opened.damages.is_empty() && opened.torn.is_none(), "{opened:?}");
    let mut states = Vec::new();
    for number in [1, 3, 4, 5, 7, 8] {
        states.push(store.delivery(event_id(number).delivery(0)).await.unwrap().unwrap().state);
    }
    use DeliveryState::{Cancelled, Dead, Delivered, Pending, Waiting};
    assert_eq!(states, [Delivered, Cancelled, Waiting, Cancelled, Pending, Dead]);
    let undecoded = store.dead_letter(event_id(8).delivery(0)).await.unwrap().unwrap();
    assert_eq!((undecoded.reason.code.as_str(), undecoded.dead_at), ("decode", at(0)));
    let again = store.commit(commit(vec![deduped(9, "x", at(1), Duration::from_secs(60))])).await.unwrap();
    assert!(again[0].duplicate, "the seen id is known");
    let position = store.position(&name("default"), &name("files")).await.unwrap().unwrap();
    assert_eq!(position.bytes, b"42");
}
