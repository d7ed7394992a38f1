//! What stands in a frame: items, each with its kind, version, length and checksum, so that one event of a
//! large batch can be read and checked alone.
//!
//! ```text
//! item    = kind:u8 version:u8 zero:u16 bytes:u32 checksum:u32 payload
//! payload = the fields of its kind, in the order in which `record/write.rs` writes them
//! ```
//!
//! Bytes of every kind and version that was ever written stand in `tests/formats/` and are read by a test; the
//! layout is told in full in `docs/formats.md`. A field is never added to a version: a new version is, and the reader keeps reading the old ones.

use eventyard_event::{DeliveryId, EventId, Timestamp};

use crate::codec::{DecodeError, Fields};
use crate::state::Standing;
use crate::{AttemptRecord, Begin, NewDelivery, NewPosition, Verdict};

mod elements;
mod read;
mod write;

pub(crate) use elements::Elements;
pub(crate) use read::{
    event_payload, events_within, items_of_damaged, read_counts, read_elements, read_envelope, read_item, read_place,
    read_queue,
};
pub(crate) use write::{
    put_begins, put_counts, put_event, put_forget, put_hasten, put_kept, put_kept_position, put_place, put_position,
    put_purge, put_queue, put_replay, put_settlement,
};

/// Bytes before an item's payload.
pub(crate) const ITEM_HEADER_BYTES: usize = 12;

/// The newest version of every kind; one number for all, counted up when any of them changes.
pub(crate) const ITEM_VERSION: u8 = 2;

/// What is written with [`SPLIT_VERSION`] where that is needed, and everything else with this: so a program of before
/// reads every journal of a project that splits nothing.
pub(crate) const PLAIN_VERSION: u8 = 1;

/// Of an event some of whose deliveries are of elements, and of its copy.
pub(crate) const SPLIT_VERSION: u8 = 2;

/// What an item is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ItemKind {
    /// An event with its deliveries.
    Event,
    /// How far a source has come.
    Position,
    /// Attempts that begin.
    Begin,
    /// How one lease ended.
    Settlement,
    /// Dead letters that are pending again.
    Replay,
    /// Deliveries that a person ended: dead letters that are given up for good, and what was cancelled.
    Purge,
    /// Deliveries that wait and come back at another time.
    Hasten,
    /// An event that is still open, copied out of a segment that is to go, with all that is known of it.
    Kept,
    /// How far a source has come, copied out of a segment that is to go.
    KeptPosition,
    /// The oldest segments are not needed any more.
    Forget,
}

impl ItemKind {
    fn to_byte(self) -> u8 {
        match self {
            ItemKind::Event => 1,
            ItemKind::Position => 2,
            ItemKind::Begin => 3,
            ItemKind::Settlement => 4,
            ItemKind::Replay => 5,
            ItemKind::Purge => 6,
            ItemKind::Hasten => 7,
            ItemKind::Kept => 8,
            ItemKind::KeptPosition => 9,
            ItemKind::Forget => 10,
        }
    }

    fn from_byte(byte: u8) -> Option<ItemKind> {
        Some(match byte {
            1 => ItemKind::Event,
            2 => ItemKind::Position,
            3 => ItemKind::Begin,
            4 => ItemKind::Settlement,
            5 => ItemKind::Replay,
            6 => ItemKind::Purge,
            7 => ItemKind::Hasten,
            8 => ItemKind::Kept,
            9 => ItemKind::KeptPosition,
            10 => ItemKind::Forget,
            _ => return None,
        })
    }
}

/// Where an item begins: the segment's number (they count from 1) and the offset in its file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Place {
    pub(crate) segment: u32,
    pub(crate) offset: u32,
}

impl Place {
    /// No place at all; what a chain ends with.
    pub(crate) const NONE: Place = Place { segment: 0, offset: 0 };

    pub(crate) fn is_none(self) -> bool {
        self.segment == 0
    }
}

/// What is kept of a `(namespace, source attribute, id)` to recognise it again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DedupeMark {
    /// The keyed hash of the three.
    pub(crate) hash: [u8; 16],
    /// Recognised until the `received_at` of the repeat reaches this.
    pub(crate) expires_at: Timestamp,
}

/// The counts of a delivery as they stand after a record; absolute, so that applying it twice changes nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) attempts: u32,
    pub(crate) tries: u32,
    pub(crate) deaths: u32,
}

impl Counts {
    /// Of a delivery that came as a dead letter: nobody was called.
    pub(crate) const DEAD_FROM_THE_START: Counts = Counts { attempts: 0, tries: 0, deaths: 1 };
}

/// A settlement as it is written: with its place in the chain of the delivery's history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SettlementRecord {
    pub(crate) delivery: DeliveryId,
    pub(crate) at: Timestamp,
    pub(crate) counts: Counts,
    /// The settlement before this one.
    pub(crate) previous: Place,
    /// The delivery's first settlement.
    pub(crate) first: Place,
    pub(crate) verdict: Verdict,
    pub(crate) attempt: Option<AttemptRecord>,
}

/// An event's part that the index needs, without its envelope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EventHead {
    pub(crate) id: EventId,
    pub(crate) received_at: Timestamp,
    pub(crate) dedupe: Option<DedupeMark>,
    pub(crate) deliveries: Vec<NewDelivery>,
}

/// A delivery of an event that was copied: where it stood, and its history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KeptDelivery {
    pub(crate) standing: Standing,
    pub(crate) counts: Counts,
    pub(crate) due: i64,
    pub(crate) budget_began: i64,
    /// When its attempt began and how long to wait should that be cut off, where it is under way.
    pub(crate) begun: Option<(Timestamp, u64)>,
    /// The newest settlement; its places mean nothing any more.
    pub(crate) newest: Option<SettlementRecord>,
    /// The attempts before that of the newest settlement, oldest first.
    pub(crate) attempts: Vec<AttemptRecord>,
}

/// What is known of an event beside itself when it is copied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KeptState {
    /// Where the item stood that this one takes the place of.
    pub(crate) from: Place,
    /// The event's place in commit order, which it keeps.
    pub(crate) order: u64,
    /// By place, as many as the event has.
    pub(crate) deliveries: Vec<KeptDelivery>,
}

/// Which segments are not needed any more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Forgotten {
    /// Those with lower numbers than this.
    pub(crate) before: u32,
    /// No event in them was younger, in milliseconds since 1970.
    pub(crate) newest: i64,
}

/// An item as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Item {
    Event(EventHead),
    Position(NewPosition),
    Begin(Vec<Begin>),
    Settlement(SettlementRecord),
    Replay {
        at: Timestamp,
        letters: Vec<(DeliveryId, Timestamp)>,
    },
    /// With the newest settlement of each, for its history.
    Purge {
        at: Timestamp,
        letters: Vec<(DeliveryId, Place)>,
    },
    Hasten {
        at: Timestamp,
        hastened: Vec<(DeliveryId, Timestamp)>,
    },
    Kept(Box<(EventHead, KeptState)>),
    /// With the last event of the frame that wrote it, and the segment that it stood in.
    KeptPosition(NewPosition, Option<EventId>, u32),
    Forget(Forgotten),
}

/// Why an item cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ItemError {
    #[error("an item ends before its length")]
    Short,
    #[error("an item's checksum does not fit")]
    Checksum,
    #[error("an item has the unknown kind {0}")]
    Kind(u8),
    #[error("an item has version {found}; this program knows versions up to {ITEM_VERSION}")]
    Newer { found: u8 },
    #[error(transparent)]
    Field(#[from] DecodeError),
}

fn checksum(head: &[u8], payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(head);
    hasher.update(payload);
    hasher.finalize()
}

/// Appends one item whose payload `fill` writes. Returns `false`, with nothing appended, where the payload is
/// longer than a length field can say.
fn put_item(out: &mut Vec<u8>, kind: ItemKind, fill: impl FnOnce(&mut Vec<u8>)) -> bool {
    put_item_of(out, kind, PLAIN_VERSION, fill)
}

fn put_item_of(out: &mut Vec<u8>, kind: ItemKind, version: u8, fill: impl FnOnce(&mut Vec<u8>)) -> bool {
    let start = out.len();
    out.extend_from_slice(&[kind.to_byte(), version, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    fill(out);
    let Ok(bytes) = u32::try_from(out.len() - start - ITEM_HEADER_BYTES) else {
        out.truncate(start);
        return false;
    };
    if let Some((head, payload)) = out.get_mut(start..).and_then(|item| item.split_at_mut_checked(ITEM_HEADER_BYTES)) {
        if let Some(field) = head.get_mut(4..8) {
            field.copy_from_slice(&bytes.to_le_bytes());
        }
        let sum = checksum(head.get(..8).unwrap_or_default(), payload);
        if let Some(field) = head.get_mut(8..12) {
            field.copy_from_slice(&sum.to_le_bytes());
        }
    }
    true
}

/// An item's frame of reference: its kind and where its payload stands in the bytes it was found in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RawItem<'a> {
    pub(crate) kind: ItemKind,
    pub(crate) payload: &'a [u8],
}

impl RawItem<'_> {
    /// The bytes of the item, its header included.
    pub(crate) fn bytes(&self) -> usize {
        ITEM_HEADER_BYTES + self.payload.len()
    }
}

/// The length of the item that begins with `head`, header included; to know how much to read.
pub(crate) fn item_bytes(head: &[u8]) -> Result<usize, ItemError> {
    let mut fields = Fields::new(head.get(4..).ok_or(ItemError::Short)?);
    let payload = fields.u32("item")?;
    usize::try_from(payload).ok().and_then(|payload| payload.checked_add(ITEM_HEADER_BYTES)).ok_or(ItemError::Short)
}

/// Reads the item at the front of `bytes` and checks its sum.
pub(crate) fn split_item(bytes: &[u8]) -> Result<RawItem<'_>, ItemError> {
    let (head, rest) = bytes.split_at_checked(ITEM_HEADER_BYTES).ok_or(ItemError::Short)?;
    let payload_bytes = item_bytes(head)? - ITEM_HEADER_BYTES;
    let payload = rest.get(..payload_bytes).ok_or(ItemError::Short)?;
    let mut fields = Fields::new(head);
    let (kind, version) = (fields.u8("kind")?, fields.u8("version")?);
    fields.raw(6, "item")?;
    if fields.u32("checksum")? != checksum(head.get(..8).unwrap_or_default(), payload) {
        return Err(ItemError::Checksum);
    }
    if version == 0 || version > ITEM_VERSION {
        return Err(ItemError::Newer { found: version });
    }
    let kind = ItemKind::from_byte(kind).ok_or(ItemError::Kind(kind))?;
    Ok(RawItem { kind, payload })
}
