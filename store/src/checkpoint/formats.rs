//! The index's entries, for the test that holds their bytes against those of earlier versions.

use eventyard_event::{EventId, Name, Timestamp};

use super::{Meta, entries};
use crate::journal::{Counts, End, Forgotten, Place};
use crate::state::{Admit, AdmitDelivery, ItemPlace, NONE, Standing, State, Turn};
use crate::{AfterDead, Lane, QueueKey, SavedPosition};

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

const FORGOTTEN: Forgotten = Forgotten { before: 2, newest: 1_800_000_000_500 };

fn end() -> End {
    End { sequence: 77, place: Place { segment: 2, offset: 8192 } }
}

fn event_id(number: u8) -> EventId {
    EventId::new(Timestamp::from_millis(1_800_000_000_000), [number; 10])
}

/// An event of which one delivery is pending in a lane, one waits, one is under way and one is dead; then one that
/// has ended, and one that nothing has happened to.
fn state() -> State {
    let mut state = State::default();
    let at = |millis: i64| Timestamp::from_millis(1_800_000_000_000 + millis);
    let lane = Some(Lane { key: b"c-17".to_vec(), after_dead: AfterDead::Wait });
    let to = |lane| AdmitDelivery { queue: 4, lane, due_at: at(0), snapshot: 2 };
    let admit =
        |id, deliveries| Admit { id, received_at: at(0), deliveries, elements: crate::journal::Elements::default() };
    let mut first = admit(event_id(1), vec![to(lane), to(None), to(None), to(None)]);
    let item = ItemPlace { place: Place { segment: 1, offset: 4136 }, bytes: 300 };
    state.admit(10 << 16 | 3, item, &mut first, None);
    let counts = Counts { attempts: 1, tries: 2, deaths: 1 };
    let place = Place { segment: 1, offset: 5000 };
    for (delivery, turn) in [(1, Turn::Retry { at: at(900) }), (3, Turn::Dead { at: at(800) })] {
        state.settle(11, NONE, event_id(1).delivery(delivery), place, counts, turn);
    }
    state.begin(12, NONE, event_id(1).delivery(2), at(700), 5000);
    for (number, order) in [(2, 13 << 16), (3, 14 << 16)] {
        state.admit(order, item, &mut admit(event_id(number), vec![to(None)]), None);
    }
    state.settle(15, NONE, event_id(2).delivery(0), place, Counts::default(), Turn::Delivered);
    state
}

/// Each kind of entry by name, as it is written today.
pub(crate) fn entries(queue: &QueueKey, saved: &SavedPosition) -> Vec<(&'static str, Vec<u8>)> {
    let state = state();
    vec![
        ("index_meta", entries::put_meta([3; 16], end(), FORGOTTEN)),
        ("index_queue", entries::put_queue_name(queue)),
        ("index_position_key", entries::position_key(&name("default"), &name("files"))),
        ("index_position", entries::put_saved(saved, 4)),
        ("index_chunk", entries::put_chunk(&state, 0)),
    ]
}

/// Reads an entry, and holds what is read against what it was written from.
pub(crate) fn read_again(name_of: &str, bytes: &[u8]) {
    match name_of {
        "index_meta" => {
            assert_eq!(entries::read_meta(bytes).unwrap(), Meta { journal: [3; 16], end: end(), forgotten: FORGOTTEN })
        }
        "index_queue" => assert_eq!(entries::read_queue_name(bytes).unwrap().target.as_str(), "warehouse"),
        "index_position_key" => {
            let read = entries::read_position_key(&bytes[1..]).unwrap();
            assert_eq!(read, (name("default"), name("files")));
        }
        "index_position" => {
            let (saved, segment) = entries::read_saved(bytes).unwrap();
            assert_eq!((saved.bytes.as_slice(), segment), (b"offset 42".as_slice(), 4));
        }
        "index_chunk" => {
            let mut again = State::default();
            let mut orders = Vec::new();
            entries::read_chunk(&entries::chunk_key(0)[1..], bytes, &mut |read| {
                orders.push((read.id, read.deliveries[0].0.order));
                let standings: Vec<_> = read.deliveries.iter().map(|(delivery, ..)| delivery.standing).collect();
                match read.number {
                    0 => {
                        assert_eq!(standings, [Standing::Pending, Standing::Waiting, Standing::Leased, Standing::Dead])
                    }
                    _ => assert_eq!(standings, [Standing::Pending]),
                }
                assert!(again.restore(read.number, read.id, read.item, read.deliveries));
                Ok(())
            })
            .unwrap();
            assert_eq!(orders, [(event_id(1), 10 << 16 | 3), (event_id(3), 14 << 16)]);
            again.place_restored();
            assert_eq!(entries::put_chunk(&again, 0), bytes, "nothing is lost on the way in and out");
        }
        other => panic!("{other}"),
    }
}
