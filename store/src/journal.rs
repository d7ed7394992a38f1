//! The journal: the truth of what was committed.
//!
//! Frames are appended to a segment, many at a time: gathered in one buffer, written with one call, made durable
//! with one sync. A batch never spans segments, so when a frame does not fit any more, what was gathered is
//! sealed first and the next segment begins with the next batch. [`Journal`] says which bytes go where and
//! touches no disk itself, but for the segments that are made ahead; its owner writes and syncs.

use std::path::PathBuf;
use std::sync::Arc;

use crate::disk::{AnyFile, PAGE_BYTES, Pages};

mod frame;
mod prepared;
mod read;
mod record;
mod recover;
mod segment;

pub(crate) use frame::{FRAME_ALIGNMENT, FRAME_HEADER_BYTES, body_checksum, find_frame_head, frame_bytes};
pub(crate) use prepared::{Ahead, NoSegment, Prepared};
pub(crate) use read::{ReadError, SegmentFiles};
pub(crate) use record::{
    Counts, DedupeMark, Elements, EventHead, Forgotten, Item, ItemError, ItemKind, KeptDelivery, KeptState, Place,
    SettlementRecord, event_payload, events_within, items_of_damaged, put_begins, put_counts, put_event, put_forget,
    put_hasten, put_kept, put_kept_position, put_place, put_position, put_purge, put_queue, put_replay, put_settlement,
    read_counts, read_elements, read_envelope, read_item, read_place, read_queue, split_item,
};
pub(crate) use recover::{FrameRead, RecoverError, Recovered, Segments, recover, survey, used_bytes};
pub(crate) use segment::{
    FoundSegment, Header, SEGMENT_HEADER_BYTES, make_segment, read_header, segment_file, segment_header, segment_name,
    segment_number,
};

/// Where the journal ends: the last frame's sequence, and the place behind it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct End {
    pub(crate) sequence: u64,
    pub(crate) place: Place,
}

/// The journal's writing side. One owner has it.
pub(crate) struct Journal {
    journal: [u8; 16],
    live: Prepared,
    salt: u32,
    /// Where the next byte goes in the live segment, what is gathered not counted.
    at: usize,
    next_sequence: u64,
    /// The first frame of the batch that is gathered.
    batch: u64,
    /// The end of what was written already, where its page is known from its beginning; behind it, what is gathered.
    buffer: Pages,
    /// How much of the buffer was written already.
    written_bytes: usize,
    pub(crate) ahead: Arc<Ahead>,
    files: Arc<SegmentFiles>,
}

/// The bytes of a batch, and where they go.
///
/// They are whole pages, so that they can pass by the page cache (but for what follows a start, until it has come to
/// the end of its first page): before the batch stands what its first page has already, which is written again as it
/// is, and behind it are zeros.
pub(crate) struct Sealed {
    pub(crate) file: AnyFile,
    pub(crate) offset: u64,
    pub(crate) bytes: Pages,
    /// How many of them are the batch's frames.
    pub(crate) frame_bytes: usize,
    /// Where the journal ends when they are durable.
    pub(crate) end: End,
}

/// What the journal is opened with.
pub(crate) struct Opened {
    pub(crate) journal: [u8; 16],
    pub(crate) live: Prepared,
    pub(crate) at: usize,
    pub(crate) next_sequence: u64,
}

impl Journal {
    pub(crate) fn new(opened: Opened, ahead: Arc<Ahead>, files: Arc<SegmentFiles>) -> Journal {
        let Opened { journal, live, at, next_sequence } = opened;
        let salt = frame::salt(journal, live.number);
        files.put(live.number, live.file.clone());
        let buffer = Pages::default();
        Journal { journal, live, salt, at, next_sequence, batch: next_sequence, buffer, written_bytes: 0, ahead, files }
    }

    /// The sequence of the frame that is gathered next.
    pub(crate) fn next_sequence(&self) -> u64 {
        self.next_sequence
    }

    /// Bytes that are gathered and not written yet.
    pub(crate) fn gathered_bytes(&self) -> usize {
        self.buffer.len() - self.written_bytes
    }

    /// Bytes of frames that the live segment still has room for.
    pub(crate) fn room(&self) -> usize {
        self.live.bytes.saturating_sub(self.at + self.gathered_bytes())
    }

    /// Whether a frame with such a body still fits into the live segment.
    pub(crate) fn fits(&self, body_bytes: usize) -> bool {
        frame_bytes(body_bytes) <= self.room()
    }

    /// Gathers a frame that fits. Returns its sequence and the place of its body.
    pub(crate) fn gather(&mut self, body: &[u8], body_checksum: u32) -> (u64, Place) {
        debug_assert!(self.fits(body.len()), "the caller has asked whether it fits");
        let sequence = self.next_sequence;
        self.next_sequence += 1;
        let offset = self.at + self.gathered_bytes() + FRAME_HEADER_BYTES;
        let header = frame::FrameHeader { body_bytes: body.len(), sequence, batch: self.batch, body_checksum };
        frame::put_frame(self.buffer.with_room(frame_bytes(body.len())), self.salt, header, body);
        let offset = u32::try_from(offset).unwrap_or(u32::MAX);
        (sequence, Place { segment: self.live.number, offset })
    }

    /// Takes what is gathered, to be written with one call and synced, and begins the next batch, in the memory of an
    /// earlier one. The caller writes nothing of the next one before this one is synced.
    pub(crate) fn seal(&mut self, mut spare: Pages) -> Sealed {
        let (offset, frame_bytes) = (self.at - self.written_bytes, self.gathered_bytes());
        self.at += frame_bytes;
        spare.clear();
        // Of the last page, what is known of it: all, but where the batch neither began at a page nor reached the next.
        let last_page = self.at - self.at % PAGE_BYTES;
        if let Some(known) = last_page.checked_sub(offset) {
            let known = self.buffer.get(known..).unwrap_or_default();
            spare.with_room(known.len()).extend_from_slice(known);
        }
        self.written_bytes = spare.len();
        let mut bytes = std::mem::replace(&mut self.buffer, spare);
        bytes.fill_up(self.at.next_multiple_of(PAGE_BYTES).min(self.live.bytes) - offset);
        self.batch = self.next_sequence;
        Sealed { file: self.live.file.clone(), offset: offset as u64, bytes, frame_bytes, end: self.end() }
    }

    /// Goes on in the next segment. Everything gathered has been sealed before.
    pub(crate) fn roll(&mut self, outcomes: bool) -> Result<(), NoSegment> {
        debug_assert!(self.gathered_bytes() == 0, "what was gathered is sealed first");
        self.live = self.ahead.take(outcomes)?;
        self.buffer.clear();
        self.written_bytes = 0;
        self.salt = frame::salt(self.journal, self.live.number);
        self.at = SEGMENT_HEADER_BYTES;
        self.files.put(self.live.number, self.live.file.clone());
        Ok(())
    }

    /// Where the journal ends, what is only gathered not counted.
    pub(crate) fn end(&self) -> End {
        let offset = u32::try_from(self.at).unwrap_or(u32::MAX);
        End { sequence: self.next_sequence - 1, place: Place { segment: self.live.number, offset } }
    }

    pub(crate) fn live_number(&self) -> u32 {
        self.live.number
    }

    pub(crate) fn live_bytes(&self) -> u64 {
        self.live.bytes as u64
    }
}

/// The folder of the segments within the data folder.
pub(crate) fn journal_folder(dir: &std::path::Path) -> PathBuf {
    dir.join("journal")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::{AnyDisk, Disk, OpenHow, RealDisk};

    /// Batches of all lengths, from any place on, written as they are sealed, are one row of frames; and from the second
    /// page on each write is of whole pages.
    #[test]
    fn batches_that_are_written_page_by_page_are_one_row() {
        const SEGMENT_BYTES: usize = 64 * 1024;
        let mut random = fastrand::Rng::with_seed(3);
        for round in 0..50 {
            let dir = tempfile::tempdir().unwrap();
            let disk = AnyDisk::Real(RealDisk);
            let file = disk.open(&dir.path().join("1"), OpenHow::Create).unwrap();
            let first = SEGMENT_HEADER_BYTES + 8 * random.usize(0..700);
            let mut wanted = vec![b'x'; first];
            wanted.resize(SEGMENT_BYTES, 0);
            disk.write(&file, 0, &wanted).unwrap();
            let files = Arc::new(SegmentFiles::new(disk.clone(), dir.path().into()));
            let ahead = Ahead::new(
                disk.clone(),
                dir.path().into(),
                [0; 16],
                SEGMENT_BYTES,
                0,
                (std::collections::VecDeque::new(), 2),
            );
            let live = Prepared { number: 1, file: file.clone(), bytes: SEGMENT_BYTES };
            let opened = Opened { journal: [0; 16], live, at: first, next_sequence: 1 };
            let mut journal = Journal::new(opened, ahead, files);
            let (mut at, mut spare) = (first, Pages::default());
            loop {
                let batch = journal.next_sequence();
                for _ in 0..random.usize(1..4) {
                    let mut body = vec![0; random.usize(1..5000)];
                    random.fill(&mut body);
                    if !journal.fits(body.len()) {
                        break;
                    }
                    let (sequence, place) = journal.gather(&body, body_checksum(&body));
                    assert_eq!(place.offset as usize, at + FRAME_HEADER_BYTES);
                    let header = frame::FrameHeader {
                        body_bytes: body.len(),
                        sequence,
                        batch,
                        body_checksum: body_checksum(&body),
                    };
                    let mut framed = Vec::new();
                    frame::put_frame(&mut framed, journal.salt, header, &body);
                    wanted[at..at + framed.len()].copy_from_slice(&framed);
                    at += framed.len();
                }
                if journal.gathered_bytes() == 0 {
                    break;
                }
                let sealed = journal.seal(spare);
                let begins = usize::try_from(sealed.offset).unwrap();
                let whole = begins.is_multiple_of(PAGE_BYTES) && sealed.bytes.len().is_multiple_of(PAGE_BYTES);
                assert!(sealed.bytes.as_ptr().addr().is_multiple_of(PAGE_BYTES));
                assert!(whole || begins / PAGE_BYTES == first / PAGE_BYTES, "round {round}: {begins}");
                assert_eq!(sealed.end.place.offset as usize, at);
                disk.write_pages(&sealed.file, sealed.offset, &sealed.bytes).unwrap();
                assert!(crate::disk::read_all(&disk, &file).unwrap() == wanted, "round {round} at {at}");
                spare = sealed.bytes;
            }
        }
    }
}
