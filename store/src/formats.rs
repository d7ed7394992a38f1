//! The bytes of every record, held against those in `tests/formats/`: today's code reads what was ever written,
//! and writes what it wrote before. `EVENTYARD_BLESS=1` writes the files anew, which is right for a version that
//! was never released and wrong for every other: a new layout gets a new version, and a folder of its own.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use eventyard_event::{Data, DeliveryId, Envelope, Event, EventId, ExtensionValue, Name, Timestamp};

use crate::catalog::{Catalog, Ended, write_part};
use crate::checkpoint::formats as checkpoint;
use crate::dedupe;
use crate::disk::{AnyDisk, RealDisk};
use crate::journal::*;
use crate::state::{ItemPlace, Standing};
use crate::{
    Admission, AfterDead, AttemptOutcome, AttemptRecord, Begin, Dedupe, Lane, NewDelivery, NewPosition, QueueKey,
    Reason, SavedPosition, Split, Verdict, each_place,
};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/formats")
}

/// The bytes of a file of version 1; first written, where that is asked for.
fn bytes_of(name: &str, written: &[u8]) -> Vec<u8> {
    bytes_of_version(1, name, written)
}

fn bytes_of_version(version: u8, name: &str, written: &[u8]) -> Vec<u8> {
    let path = folder().join(format!("{version}/{name}.hex"));
    if std::env::var_os("EVENTYARD_BLESS").is_some() {
        let mut text = String::new();
        for line in written.chunks(32) {
            line.iter().for_each(|byte| write!(text, "{byte:02x}").unwrap());
            text.push('\n');
        }
        std::fs::write(&path, text).unwrap();
    }
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(1_800_000_000_000 + millis)
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn event_id(number: u8) -> EventId {
    EventId::new(at(0), [number; 10])
}

fn delivery_id(number: u8) -> DeliveryId {
    event_id(number).delivery(u32::from(number))
}

fn place(segment: u32, offset: u32) -> Place {
    Place { segment, offset }
}

fn queue() -> QueueKey {
    QueueKey { namespace: name("default"), rule: Some(name("big-orders")), target: name("warehouse") }
}

fn admission() -> Admission {
    let event = Event {
        id: "A-1001".into(),
        source: "/shop".into(),
        ty: "order.created".into(),
        subject: Some("orders/17".into()),
        time: Some("2027-01-15T08:00:00Z".into()),
        datacontenttype: Some("application/json".into()),
        dataschema: None,
        extensions: [
            ("big".into(), ExtensionValue::Boolean(true)),
            ("count".into(), ExtensionValue::Integer(-7)),
            ("region".into(), ExtensionValue::String("eu".into())),
            ("small".into(), ExtensionValue::Boolean(false)),
        ]
        .into_iter()
        .collect(),
        data: Data::Json(Bytes::from_static(b"{\"amount\": 1500}")),
    };
    let lane = |after_dead| Some(Lane { key: b"c-17".to_vec(), after_dead });
    let to = |queue, lane| NewDelivery { queue: Arc::new(queue), lane, due_at: at(5), snapshot: [7; 16], split: None };
    let alert = QueueKey { rule: None, target: name("oncall"), ..queue() };
    Admission {
        envelope: Arc::new(Envelope {
            id: event_id(1),
            namespace: name("default"),
            source_name: name("shop"),
            tags: vec!["eu".to_owned(), "finance".to_owned()],
            received_at: at(1),
            hop_count: 3,
            keys_unique: true,
            event,
        }),
        deliveries: vec![
            to(queue(), None),
            to(queue(), lane(AfterDead::Continue)),
            to(queue(), lane(AfterDead::Wait)),
            to(alert, None),
        ],
        dedupe: Some(Dedupe { window: Duration::from_secs(60) }),
        dead: None,
    }
}

/// Of three rules: one of them splits a list of three, and another finds none.
fn split_admission() -> Admission {
    let split = |count| Some(Split { path: "data.items".into(), count });
    let lane = Some(Lane { key: b"c-17".to_vec(), after_dead: AfterDead::Wait });
    let mut admission = admission();
    let whole = NewDelivery { queue: queue().into(), lane: None, due_at: at(5), snapshot: [7; 16], split: None };
    let three = NewDelivery { lane, split: split(3), ..whole.clone() };
    let none = NewDelivery { split: split(0), ..whole.clone() };
    admission.deliveries = vec![whole.clone(), three, none, whole];
    admission
}

fn settlement(verdict: Verdict, outcome: Option<AttemptOutcome>) -> SettlementRecord {
    SettlementRecord {
        delivery: delivery_id(2),
        at: at(30),
        counts: Counts { attempts: 2, tries: 3, deaths: 1 },
        previous: place(1, 4136),
        first: place(1, 4136),
        verdict,
        attempt: outcome.map(|outcome| AttemptRecord {
            number: 3,
            began_at: at(10),
            ended_at: at(20),
            outcome,
            code: "http_503".to_owned(),
            message: "the target answered 503".to_owned(),
            response: "Service Unavailable".to_owned(),
        }),
    }
}

/// Each record that is no event, with the bytes that are written for it today.
fn records() -> Vec<(&'static str, Item, Vec<u8>)> {
    let mut records = Vec::new();
    let mut record = |name, item: Item| {
        let mut bytes = Vec::new();
        assert!(match &item {
            Item::Event(_) | Item::Kept(_) => false,
            Item::Position(position) => put_position(&mut bytes, position),
            Item::Begin(begins) => put_begins(&mut bytes, begins.iter()),
            Item::Settlement(settlement) => put_settlement(&mut bytes, settlement),
            Item::Replay { at, letters } => put_replay(&mut bytes, letters, *at),
            Item::Purge { at, letters } => put_purge(&mut bytes, letters, *at),
            Item::Hasten { at, hastened } => put_hasten(&mut bytes, hastened, *at),
            Item::KeptPosition(position, last_event, from) => {
                put_kept_position(&mut bytes, position, *last_event, *from)
            }
            Item::Forget(forgotten) => put_forget(&mut bytes, *forgotten),
        });
        records.push((name, item, bytes));
    };
    let position = NewPosition { namespace: name("default"), source: name("files"), bytes: b"offset 42".to_vec() };
    record("position", Item::Position(position));
    let begin = |number| Begin {
        delivery: delivery_id(number),
        at: at(10),
        backoff_if_interrupted: Duration::from_millis(5000),
    };
    record("begin", Item::Begin(vec![begin(1), begin(2)]));
    let delivered = settlement(Verdict::Delivered, Some(AttemptOutcome::Succeeded));
    record("settlement_delivered", Item::Settlement(delivered));
    let retry = |counted| Verdict::Retry { at: at(1030), counted };
    record("settlement_retry", Item::Settlement(settlement(retry(true), Some(AttemptOutcome::Retryable))));
    record("settlement_interrupted", Item::Settlement(settlement(retry(false), Some(AttemptOutcome::Interrupted))));
    let reason = Reason { code: "attempts_exhausted".to_owned(), message: "2 of 2 attempts failed".to_owned() };
    let dead = Verdict::Dead { reason };
    record("settlement_dead", Item::Settlement(settlement(dead.clone(), Some(AttemptOutcome::Permanent))));
    record("settlement_dead_unattempted", Item::Settlement(settlement(dead, None)));
    record("replay", Item::Replay { at: at(40), letters: vec![(delivery_id(2), at(41)), (delivery_id(3), at(42))] });
    record("purge", Item::Purge { at: at(50), letters: vec![(delivery_id(2), place(2, 4136))] });
    record("hasten", Item::Hasten { at: at(60), hastened: vec![(delivery_id(2), at(61)), (delivery_id(3), at(61))] });
    let position = NewPosition { namespace: name("default"), source: name("files"), bytes: b"offset 42".to_vec() };
    record("kept_position", Item::KeptPosition(position, Some(event_id(1)), 3));
    record("forget", Item::Forget(Forgotten { before: 4, newest: 1_800_000_000_500 }));
    records
}

#[test]
fn every_record_is_read_as_it_was_written_and_written_as_before() {
    for (name, item, written) in records() {
        let bytes = bytes_of(name, &written);
        assert_eq!(written, bytes, "{name} is written otherwise than before");
        let raw = split_item(&bytes).unwrap();
        assert_eq!(raw.bytes(), bytes.len(), "{name}");
        assert_eq!(read_item(raw).unwrap(), item, "{name} is read otherwise than it was written");
    }
}

#[test]
fn an_event_is_read_as_it_was_written_and_written_as_before() {
    for (name, kind) in [("event_json", 1), ("event_bytes", 2), ("event_no_data", 0)] {
        let mut admission = admission();
        let mark = DedupeMark { hash: [9; 16], expires_at: at(60_001) };
        let envelope = Arc::make_mut(&mut admission.envelope);
        match kind {
            2 => envelope.event.data = Data::Bytes(Bytes::from_static(&[0, 0xff, 7])),
            0 => {
                envelope.event = Event { id: "1".into(), source: "/".into(), ty: "t".into(), ..Event::default() };
                admission.deliveries.clear();
            }
            _ => {}
        }
        let mark = Some(mark).filter(|_| kind != 0);
        let mut written = Vec::new();
        assert!(put_event(&mut written, &admission, mark));
        let bytes = bytes_of(name, &written);
        assert_eq!(written, bytes, "{name} is written otherwise than before");
        let raw = split_item(&bytes).unwrap();
        assert_eq!(raw.kind, ItemKind::Event);
        let head = EventHead {
            id: admission.envelope.id,
            received_at: admission.envelope.received_at,
            dedupe: mark,
            deliveries: admission.deliveries,
        };
        assert_eq!(read_item(raw).unwrap(), Item::Event(head), "{name}");
        let read = read_envelope(&Bytes::copy_from_slice(raw.payload)).unwrap();
        assert_eq!(read, *admission.envelope, "{name}");
    }
}

#[test]
fn an_event_that_is_split_is_read_as_it_was_written_and_written_as_before() {
    let admission = split_admission();
    let mut written = Vec::new();
    assert!(put_event(&mut written, &admission, None));
    let bytes = bytes_of_version(2, "event_split", &written);
    assert_eq!(written, bytes, "an event that is split is written otherwise than before");
    assert_eq!(bytes[1], 2, "so that a program that knows nothing of it refuses it, and says so");
    let raw = split_item(&bytes).unwrap();
    let Item::Event(head) = read_item(raw).unwrap() else { panic!("it is an event") };
    assert_eq!(head.deliveries, admission.deliveries);
    let numbers: Vec<_> = each_place(&head.deliveries).map(|(_, of)| of.map(|of| (of.number, of.count))).collect();
    assert_eq!(numbers, [None, Some((1, 3)), Some((2, 3)), Some((3, 3)), Some((0, 0)), None]);
    let elements = read_elements(raw.payload).unwrap();
    for (place, (_, element)) in (0u32..).zip(each_place(&head.deliveries)) {
        assert_eq!(elements.at(place), element, "{place}");
    }
    assert_eq!(elements.at(6), None);

    let kept = |_| KeptDelivery {
        standing: Standing::Pending,
        counts: Counts::default(),
        due: at(60).as_millis(),
        budget_began: at(5).as_millis(),
        begun: None,
        newest: None,
        attempts: Vec::new(),
    };
    let kept = KeptState { from: place(1, 4136), order: 10 << 16, deliveries: (0..6).map(kept).collect() };
    let mut written = Vec::new();
    assert!(put_kept(&mut written, &kept, raw.payload));
    let bytes = bytes_of_version(2, "kept_split", &written);
    assert_eq!(written, bytes, "a copy of an event that is split is written otherwise than before");
    assert_eq!(bytes[1], 2, "for its payload is of version 2");
    let Item::Kept(read) = read_item(split_item(&bytes).unwrap()).unwrap() else { panic!("it is a copied event") };
    assert_eq!((read.0.deliveries, read.1), (admission.deliveries, kept));
}

#[test]
fn a_forged_number_of_elements_reserves_no_memory() {
    let mut admission = split_admission();
    let split = |count| Some(Split { path: "data".into(), count });
    admission.deliveries.truncate(2);
    for (count, is_read) in [(65_535, true), (65_536, false), (u32::MAX, false)] {
        admission.deliveries[1].split = split(count);
        let mut written = Vec::new();
        assert!(put_event(&mut written, &admission, None));
        assert_eq!(read_item(split_item(&written).unwrap()).is_ok(), is_read, "{count}");
    }
}

#[test]
fn a_copied_event_is_read_as_it_was_written_and_written_as_before() {
    let admission = admission();
    let mut event = Vec::new();
    assert!(put_event(&mut event, &admission, None));
    let payload = split_item(&event).unwrap().payload.to_vec();
    let delivery = |standing| KeptDelivery {
        standing,
        counts: Counts { attempts: 2, tries: 3, deaths: 1 },
        due: at(60).as_millis(),
        budget_began: at(5).as_millis(),
        begun: None,
        newest: None,
        attempts: Vec::new(),
    };
    let dead = settlement(
        Verdict::Dead { reason: Reason { code: "http_404".to_owned(), message: "it is gone".to_owned() } },
        Some(AttemptOutcome::Permanent),
    );
    let before = dead.attempt.clone().unwrap();
    let kept = KeptState {
        from: place(1, 4136),
        order: 10 << 16 | 3,
        deliveries: vec![
            delivery(Standing::Pending),
            KeptDelivery { begun: Some((at(50), 5000)), ..delivery(Standing::Leased) },
            KeptDelivery { newest: Some(dead), attempts: vec![before], ..delivery(Standing::Dead) },
            KeptDelivery { newest: Some(settlement(Verdict::Delivered, None)), ..delivery(Standing::Delivered) },
        ],
    };
    let mut written = Vec::new();
    assert!(put_kept(&mut written, &kept, &payload));
    let bytes = bytes_of("kept", &written);
    assert_eq!(written, bytes, "a copied event is written otherwise than before");
    let raw = split_item(&bytes).unwrap();
    let Item::Kept(read) = read_item(raw).unwrap() else { panic!("it is a copied event") };
    assert_eq!((read.0.id, &read.1), (admission.envelope.id, &kept));
    let found = event_payload(raw.kind, &Bytes::copy_from_slice(raw.payload)).unwrap().unwrap();
    assert_eq!(read_envelope(&found).unwrap(), *admission.envelope);
}

#[test]
fn the_list_of_a_segment_is_read_as_it_was_written_and_written_as_before() {
    let dir = tempfile::tempdir().unwrap();
    let disk = AnyDisk::Real(RealDisk);
    let mut catalog = Catalog::default();
    let item = |offset| ItemPlace { place: place(2, offset), bytes: 300 };
    catalog.add_event(event_id(1), item(4136));
    catalog.add_copy(event_id(2), item(4500), place(1, 4136));
    catalog.add_end(2, delivery_id(1), Ended { cancelled: false, last: place(2, 5000) });
    catalog.add_end(2, delivery_id(3), Ended { cancelled: true, last: place(1, 9000) });
    let (segment, written) = catalog.next_to_write([3; 16], 3).unwrap();
    let bytes = bytes_of("list", &written);
    assert_eq!(written, bytes, "the list of a segment is written otherwise than before");
    write_part(&disk, dir.path(), segment, &bytes).unwrap();
    let mut read = Catalog::default();
    assert!(read.read_part(&disk, dir.path(), [3; 16], segment));
    assert_eq!(read.event_count(), 2);
    assert_eq!(read.find_event(event_id(2)).unwrap(), item(4500));
    assert!(read.find_end(delivery_id(3)).unwrap().cancelled);
    assert_eq!(read.next_to_write([3; 16], 3), None);
}

#[test]
fn an_item_of_a_newer_version_or_of_an_unknown_kind_is_told_from_damage() {
    let (_, _, sound) = records().remove(0);
    let with = |at: usize, value: u8| {
        let mut bytes = sound.clone();
        bytes[at] = value;
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&bytes[..8]);
        hasher.update(&bytes[12..]);
        bytes[8..12].copy_from_slice(&hasher.finalize().to_le_bytes());
        bytes
    };
    assert_eq!(split_item(&with(1, 3)).unwrap_err(), ItemError::Newer { found: 3 });
    assert_eq!(split_item(&with(0, 99)).unwrap_err(), ItemError::Kind(99));
    let mut flipped = sound.clone();
    flipped[1] = 2;
    assert_eq!(split_item(&flipped).unwrap_err(), ItemError::Checksum, "a flipped version byte is damage");
}

#[test]
fn the_entries_of_the_index_are_read_as_they_were_written_and_written_as_before() {
    for (name, written) in
        checkpoint::entries(&queue(), &SavedPosition { bytes: b"offset 42".to_vec(), last_event: Some(event_id(1)) })
    {
        let bytes = bytes_of(name, &written);
        assert_eq!(written, bytes, "{name} is written otherwise than before");
        checkpoint::read_again(name, &bytes);
    }
}

#[test]
fn a_file_of_seen_ids_is_read_as_it_was_written_and_written_as_before() {
    let dir = tempfile::tempdir().unwrap();
    let disk = AnyDisk::Real(RealDisk);
    let place = dedupe::Place { disk: &disk, folder: dir.path(), journal: [3; 16] };
    let marks: Vec<_> = (1..=3u8).map(|number| ([number; 16], event_id(number), at(i64::from(number)))).collect();
    dedupe::write_file(&place, 5, &marks).unwrap();
    let path = dir.path().join("000000000005.ids");
    let written = std::fs::read(&path).unwrap();
    let bytes = bytes_of("seen_ids", &written);
    assert_eq!(written, bytes, "seen ids are written otherwise than before");
    std::fs::write(&path, bytes).unwrap();
    let read = dedupe::Dedupe::open(&place).unwrap();
    for (hash, event, expires_at) in marks {
        assert_eq!(read.find_in_files(&disk, &hash).unwrap(), Some((event, expires_at)));
    }
    assert_eq!(read.find_in_files(&disk, &[4; 16]).unwrap(), None);
}
