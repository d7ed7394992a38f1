//! Which events a segment holds and which deliveries ended in it: what lists are made from, and how an event
//! that has nothing more to come is found again.
//!
//! A segment's part follows from the segment alone. When the segment is full its part is written to a file beside
//! it, so that opening need not read the segment; a file that is missing or damaged is made again.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use eventyard_event::{DeliveryId, EventId};

use crate::codec::{DecodeError, Fields, Put};
use crate::disk::{AnyDisk, Disk, OpenHow, put_whole, read_all};
use crate::journal::{Place, put_place, read_place};
use crate::state::{IdMap, ItemPlace, id_key};

mod ends;

use ends::Ends;

const MAGIC: &[u8; 8] = b"EYcatlg1";

/// An event's item in its segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Listed {
    id: EventId,
    offset: u32,
    bytes: u32,
}

/// How a delivery ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ended {
    pub(crate) cancelled: bool,
    /// Its newest settlement, from which its history hangs.
    pub(crate) last: Place,
}

/// One segment's part.
#[derive(Debug, Default)]
pub(crate) struct SegmentCatalog {
    /// In commit order.
    events: Vec<Listed>,
    /// Which of them are copies, by number, and of what.
    copies: Vec<(u32, Place)>,
    find: Find,
}

/// How a segment's events and ends are looked up.
#[derive(Debug)]
enum Find {
    /// While the segment grows. `tabled` of its events stand in the table: see [`Catalog::table_events`].
    Growing { events: IdMap<u32>, tabled: usize, ends: Ends },
    /// Afterwards, in half the memory: numbers of events by id, and ends by delivery.
    Full { events: Vec<u32>, ends: Vec<(DeliveryId, Ended)> },
}

impl Default for Find {
    fn default() -> Find {
        Find::Growing { events: IdMap::default(), tabled: 0, ends: Ends::default() }
    }
}

impl SegmentCatalog {
    fn event(&self, id: EventId) -> Option<&Listed> {
        let number = match &self.find {
            Find::Growing { events, tabled, .. } => match events.get(&id_key(id)) {
                Some(number) => *number,
                None => return self.events.iter().skip(*tabled).find(|listed| listed.id == id),
            },
            Find::Full { events, .. } => {
                let key = |number: &u32| self.events.get(*number as usize).map(|listed| listed.id);
                let at = events.partition_point(|number| key(number) < Some(id));
                *events.get(at).filter(|number| key(number) == Some(id))?
            }
        };
        self.events.get(number as usize)
    }

    fn end(&self, delivery: DeliveryId) -> Option<Ended> {
        match &self.find {
            Find::Growing { ends, .. } => ends.get(delivery),
            Find::Full { ends, .. } => {
                let at = ends.binary_search_by_key(&delivery, |(delivery, _)| *delivery).ok()?;
                ends.get(at).map(|(_, ended)| *ended)
            }
        }
    }

    fn table_events(&mut self) {
        if let Find::Growing { events, tabled, .. } = &mut self.find {
            for (number, listed) in (0u32..).zip(&self.events).skip(*tabled) {
                events.insert(id_key(listed.id), number);
            }
            *tabled = self.events.len();
        }
    }

    /// Nothing more comes to it.
    fn close(&mut self) {
        if let Find::Growing { ends, .. } = &mut self.find {
            let ends = ends.in_order();
            let mut events: Vec<u32> = (0u32..).take(self.events.len()).collect();
            events.sort_unstable_by_key(|number| self.events.get(*number as usize).map(|listed| listed.id));
            self.events.shrink_to_fit();
            self.find = Find::Full { events, ends };
        }
    }

    fn put(&self, journal: [u8; 16], segment: u32) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        out.extend_from_slice(&journal);
        out.put_u32(segment);
        out.put_count(self.events.len());
        for listed in &self.events {
            out.put_event_id(listed.id);
            out.put_u32(listed.offset);
            out.put_u32(listed.bytes);
        }
        out.put_count(self.copies.len());
        for (number, from) in &self.copies {
            out.put_u32(*number);
            put_place(&mut out, *from);
        }
        let ends = match &self.find {
            Find::Growing { ends, .. } => Cow::Owned(ends.in_order()),
            Find::Full { ends, .. } => Cow::Borrowed(ends),
        };
        for (delivery, ended) in ends.iter() {
            out.put_delivery_id(*delivery);
            out.put_u8(u8::from(ended.cancelled));
            put_place(&mut out, ended.last);
        }
        let sum = crc32fast::hash(&out);
        out.put_u32(sum);
        out
    }

    fn read(bytes: &[u8], journal: [u8; 16], segment: u32) -> Result<SegmentCatalog, DecodeError> {
        let (body, sum) = bytes.split_last_chunk::<4>().ok_or(DecodeError("checksum"))?;
        let mut fields = Fields::new(body);
        let ours = fields.raw(8, "magic")? == MAGIC
            && crc32fast::hash(body) == u32::from_le_bytes(*sum)
            && fields.hash("journal")? == journal
            && fields.u32("segment")? == segment;
        if !ours {
            return Err(DecodeError("header"));
        }
        let count = fields.count_of(24, "events")?;
        let mut events = Vec::with_capacity(count);
        for _ in 0..count {
            let (id, offset) = (fields.event_id("id")?, fields.u32("offset")?);
            events.push(Listed { id, offset, bytes: fields.u32("bytes")? });
        }
        let mut copies = Vec::new();
        for _ in 0..fields.count_of(12, "copies")? {
            copies.push((fields.u32("number")?, read_place(&mut fields)?));
        }
        let mut ends = Ends::default();
        while fields.left() > 0 {
            let delivery = fields.delivery_id("delivery")?;
            let ended = Ended { cancelled: fields.flag("cancelled")?, last: read_place(&mut fields)? };
            ends.add(delivery, ended);
        }
        let mut catalog =
            SegmentCatalog { events, copies, find: Find::Growing { events: IdMap::default(), tabled: 0, ends } };
        catalog.close();
        Ok(catalog)
    }
}

/// All segments.
#[derive(Debug, Default)]
pub(crate) struct Catalog {
    segments: BTreeMap<u32, SegmentCatalog>,
    /// Those whose file is written.
    written: BTreeSet<u32>,
    /// Events that were copied, where they stood before. Their segments are about to go.
    superseded: BTreeSet<Place>,
    listed_count: u64,
}

fn path_of(folder: &Path, segment: u32) -> PathBuf {
    folder.join(format!("{segment:010}.cat"))
}

impl Catalog {
    pub(crate) fn add_event(&mut self, id: EventId, item: ItemPlace) {
        let segment = self.segments.entry(item.place.segment).or_default();
        segment.events.push(Listed { id, offset: item.place.offset, bytes: item.bytes });
        self.listed_count += 1;
    }

    /// An event that was copied is listed where its copy stands, and no more where it stood.
    pub(crate) fn add_copy(&mut self, id: EventId, item: ItemPlace, from: Place) {
        self.add_event(id, item);
        if let Some(segment) = self.segments.get_mut(&item.place.segment) {
            let number = u32::try_from(segment.events.len() - 1).unwrap_or(u32::MAX);
            segment.copies.push((number, from));
        }
        self.supersede(from);
    }

    fn supersede(&mut self, from: Place) {
        if self.segments.contains_key(&from.segment) {
            self.superseded.insert(from);
        }
    }

    /// How many events are listed.
    pub(crate) fn event_count(&self) -> u64 {
        self.listed_count - self.superseded.len() as u64
    }

    /// Forgets the parts of the segments before one.
    pub(crate) fn drop_before(&mut self, before: u32) {
        let rest = self.segments.split_off(&before);
        let gone = std::mem::replace(&mut self.segments, rest);
        self.listed_count -= gone.values().map(|segment| segment.events.len() as u64).sum::<u64>();
        self.written = self.written.split_off(&before);
        self.superseded = self.superseded.split_off(&Place { segment: before, offset: 0 });
    }

    /// Some events of a segment in commit order, from the one with the number `from` on.
    pub(crate) fn part(&self, segment: u32, from: usize, count: usize) -> Vec<EventId> {
        let events = self.segments.get(&segment).map(|part| part.events.iter().skip(from).take(count));
        events.into_iter().flatten().map(|listed| listed.id).collect()
    }

    /// `segment` is where the record stands that ended it.
    pub(crate) fn add_end(&mut self, segment: u32, delivery: DeliveryId, ended: Ended) {
        if let Find::Growing { ends, .. } = &mut self.segments.entry(segment).or_default().find {
            ends.add(delivery, ended);
        }
    }

    /// Makes events quick to find. Who looks for one by its id calls this before: what was just committed is
    /// rarely asked for, and so a commit does not pay for a table that nobody may need.
    pub(crate) fn table_events(&mut self) {
        self.segments.values_mut().for_each(SegmentCatalog::table_events);
    }

    pub(crate) fn find_event(&self, id: EventId) -> Option<ItemPlace> {
        self.segments.iter().rev().find_map(|(number, segment)| {
            let listed = segment.event(id)?;
            Some(ItemPlace { place: Place { segment: *number, offset: listed.offset }, bytes: listed.bytes })
        })
    }

    pub(crate) fn find_end(&self, delivery: DeliveryId) -> Option<Ended> {
        self.segments.values().rev().find_map(|segment| segment.end(delivery))
    }

    /// Up to `count` events that stand before `before`, newest first.
    pub(crate) fn before(&self, before: Place, count: usize) -> Vec<(EventId, ItemPlace)> {
        let mut found = Vec::with_capacity(count);
        for (number, segment) in self.segments.range(..=before.segment).rev() {
            let end = if *number == before.segment {
                segment.events.partition_point(|listed| listed.offset < before.offset)
            } else {
                segment.events.len()
            };
            for listed in segment.events.get(..end).unwrap_or_default().iter().rev() {
                if found.len() == count {
                    return found;
                }
                let place = Place { segment: *number, offset: listed.offset };
                if self.superseded.contains(&place) {
                    continue;
                }
                found.push((listed.id, ItemPlace { place, bytes: listed.bytes }));
            }
        }
        found
    }

    /// Closes the parts of segments before `live`, and gives the bytes of one that is not written yet.
    pub(crate) fn next_to_write(&mut self, journal: [u8; 16], live: u32) -> Option<(u32, Vec<u8>)> {
        let number =
            self.segments.range(..live).map(|(number, _)| *number).find(|number| !self.written.contains(number))?;
        self.written.insert(number);
        let segment = self.segments.get_mut(&number)?;
        segment.close();
        Some((number, segment.put(journal, number)))
    }

    /// Reads a segment's part from its file. `false` where that cannot be: then the segment is to be read.
    pub(crate) fn read_part(&mut self, disk: &AnyDisk, folder: &Path, journal: [u8; 16], segment: u32) -> bool {
        let path = path_of(folder, segment);
        let read = || disk.open(&path, OpenHow::Read).and_then(|file| read_all(disk, &file));
        let Some(part) = read().ok().and_then(|bytes| SegmentCatalog::read(&bytes, journal, segment).ok()) else {
            return false;
        };
        self.listed_count += part.events.len() as u64;
        part.copies.iter().for_each(|(_, from)| self.supersede(*from));
        self.segments.insert(segment, part);
        self.written.insert(segment);
        true
    }
}

/// What a segment's file says, as against the segment itself.
pub(crate) enum PartFound {
    /// There is none. One is written when the next segment has begun.
    Absent,
    /// It cannot be read; the next start makes it again.
    Unreadable,
    /// It says the same.
    Same,
    /// It says something else, and names these events that the segment does not hold.
    Differs { lost: Vec<EventId> },
}

impl Catalog {
    /// Holds the file of a segment against what was read from the segment itself.
    pub(crate) fn compare_part(
        &self,
        disk: &AnyDisk,
        folder: &Path,
        journal: [u8; 16],
        segment: u32,
    ) -> io::Result<PartFound> {
        let mut written = Catalog::default();
        let there = path_of(folder, segment);
        match disk.open(&there, OpenHow::Read) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(PartFound::Absent),
            other => drop(other?),
        }
        if !written.read_part(disk, folder, journal, segment) {
            return Ok(PartFound::Unreadable);
        }
        let (empty, none) = (SegmentCatalog::default(), SegmentCatalog::default());
        let written = written.segments.get(&segment).unwrap_or(&none);
        let read = self.segments.get(&segment).unwrap_or(&empty);
        if written.put(journal, segment) == read.put(journal, segment) {
            return Ok(PartFound::Same);
        }
        let lost = written.events.iter().filter(|listed| read.event(listed.id) != Some(listed));
        Ok(PartFound::Differs { lost: lost.map(|listed| listed.id).collect() })
    }
}

/// The file of a segment's part.
pub(crate) fn part_path(folder: &Path, segment: u32) -> PathBuf {
    path_of(folder, segment)
}

/// Writes a segment's part beside it, durably.
pub(crate) fn write_part(disk: &AnyDisk, folder: &Path, segment: u32, bytes: &[u8]) -> io::Result<()> {
    let path = path_of(folder, segment);
    put_whole(disk, &folder.join(format!("{segment:010}.cat.new")), &path, bytes).map(drop)
}
