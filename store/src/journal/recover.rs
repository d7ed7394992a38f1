//! Reading the journal back.
//!
//! Power may go at any time, so the last batch may be there in part: its sectors reach the disk in no order. What
//! was synced before may not be missing. A frame that cannot be read is therefore judged by what follows it:
//! a valid frame whose batch began after the unreadable one proves that the unreadable one had been synced, so
//! it is *damage*, which is set aside, named, and passed over; without such a proof it is a *torn tail*, which is
//! cut: overwritten with zeros, so that no part of it can be taken for a frame later.

use std::io;
use std::path::{Path, PathBuf};

use super::frame::{FRAME_ALIGNMENT, Found, FrameHeader, find_frame, frame_bytes, salt};
use super::record::{ITEM_VERSION, ItemError, Place};
use super::segment::{
    FoundSegment, Header, JOURNAL_VERSION, SEGMENT_HEADER_BYTES, list_segments, read_header, segment_file,
};
use super::{End, FRAME_HEADER_BYTES};
use crate::Damage;
use crate::disk::{AnyDisk, AnyFile, Disk, OpenHow, read_exact};

/// Why the journal cannot be read at all.
#[derive(Debug)]
pub(crate) enum RecoverError {
    Io { path: PathBuf, error: io::Error },
    Newer { file: String, found: u16, known: u16 },
}

/// The segments of a journal.
pub(crate) struct Survey {
    pub(crate) segments: Vec<FoundSegment>,
    /// From the headers; `None` where there is no segment, or none with a header that can be read.
    pub(crate) journal: Option<[u8; 16]>,
    pub(crate) damages: Vec<Damage>,
    /// Segments that were being made when the process ended.
    pub(crate) unfinished: Vec<PathBuf>,
}

/// Lists the segments and reads their headers. Changes nothing.
pub(crate) fn survey(disk: &AnyDisk, folder: &Path) -> Result<Survey, RecoverError> {
    let at = |path: &Path| {
        let path = path.to_owned();
        move |error| RecoverError::Io { path, error }
    };
    let (segments, unfinished) = list_segments(disk, folder).map_err(at(folder))?;
    let mut survey = Survey { segments, journal: None, damages: Vec::new(), unfinished };
    let mut before: Option<u32> = None;
    for segment in &survey.segments {
        if let Some(before) = before
            && segment.number != before + 1
        {
            let what = if segment.number == before + 2 {
                format!("segment {} is missing", before + 1)
            } else {
                format!("segments {} to {} are missing", before + 1, segment.number - 1)
            };
            survey.damages.push(Damage { file: segment_file(before + 1), offset: 0, bytes: 0, what });
        }
        before = Some(segment.number);
        let file = disk.open(&segment.path, OpenHow::Read).map_err(at(&segment.path))?;
        let mut head = vec![0; SEGMENT_HEADER_BYTES.min(segment.bytes)];
        disk.read(&file, 0, &mut head).map_err(at(&segment.path))?;
        let wrong = match read_header(&head, segment.number) {
            Header::Newer(found) => {
                return Err(RecoverError::Newer { file: segment_file(segment.number), found, known: JOURNAL_VERSION });
            }
            Header::Of(journal) if survey.journal.is_none_or(|known| known == journal) => {
                survey.journal = Some(journal);
                continue;
            }
            Header::Of(_) => "the segment belongs to another journal",
            Header::Damaged => "the segment's header cannot be read",
        };
        survey.damages.push(Damage {
            file: segment_file(segment.number),
            offset: 0,
            bytes: SEGMENT_HEADER_BYTES as u64,
            what: wrong.to_owned(),
        });
    }
    Ok(survey)
}

/// One frame, as it is handed on.
pub(crate) struct FrameRead<'a> {
    pub(crate) sequence: u64,
    /// Where the body begins.
    pub(crate) place: Place,
    pub(crate) body: &'a [u8],
}

/// What was read, and where the journal goes on.
pub(crate) struct Recovered {
    /// The last frame, and the place behind it; `None` where there is no frame.
    pub(crate) end: Option<End>,
    pub(crate) damages: Vec<Damage>,
    /// What is to be cut off the end.
    pub(crate) torn: Option<Damage>,
    /// The files that were read, to be synced before anything is served.
    pub(crate) read: Vec<AnyFile>,
    pub(crate) frames: u64,
    /// The last batch: its number and where it begins.
    batch: Option<(u64, Place)>,
    /// What cannot be read behind the last frame of the segment before the one that is being read.
    left_bytes: u64,
    last: Option<Last>,
}

/// The segment that the journal goes on in.
struct Last {
    path: PathBuf,
    number: u32,
    bytes: Vec<u8>,
    /// Where its last frame ends.
    end: usize,
}

/// What is read, and what is known of it beforehand.
#[derive(Clone, Copy)]
pub(crate) struct Segments<'a> {
    pub(crate) all: &'a [FoundSegment],
    pub(crate) journal: [u8; 16],
    /// The last frame that is known to have been synced, from elsewhere; 0 where nothing is.
    pub(crate) known: u64,
}

/// Reads all frames of the segments from `from` on and hands each to `each`, in order. Changes nothing; before
/// anything more is written, [`Recovered::mend`] has to be called.
pub(crate) fn recover(
    disk: &AnyDisk,
    Segments { all, journal, known }: Segments<'_>,
    from: u32,
    each: &mut dyn FnMut(FrameRead<'_>) -> Result<(), ItemError>,
) -> Result<Recovered, RecoverError> {
    let mut recovered = Recovered {
        end: None,
        damages: Vec::new(),
        torn: None,
        read: Vec::new(),
        frames: 0,
        batch: None,
        left_bytes: 0,
        last: None,
    };
    let segments: Vec<&FoundSegment> = all.iter().filter(|segment| segment.number >= from).collect();
    let used = last_used(disk, &segments, journal)?;
    for (index, segment) in segments.iter().enumerate().take(used.map_or(0, |used| used + 1)) {
        let fail = |error| RecoverError::Io { path: segment.path.clone(), error };
        let file = disk.open(&segment.path, OpenHow::Read).map_err(fail)?;
        let bytes = read_exact(disk, &file, 0, segment.bytes).map_err(fail)?;
        let scan = Scan { bytes: &bytes, salt: salt(journal, segment.number), number: segment.number, known };
        // What comes before a segment that holds frames was synced before its first one was written.
        let synced = used.is_some_and(|used| index < used);
        let end = scan.read(synced, &mut recovered, each)?;
        recovered.left_bytes = used_bytes(bytes.get(end..).unwrap_or_default()) as u64;
        if !synced {
            recovered.judge_tail(segment.number, end, known);
            recovered.last = Some(Last { path: segment.path.clone(), number: segment.number, bytes, end });
        }
        recovered.read.push(file);
    }
    Ok(recovered)
}

impl Recovered {
    /// Says what stands behind the journal's end.
    fn judge_tail(&mut self, number: u32, end: usize, known: u64) {
        let reached = self.end.map_or(0, |end| end.sequence);
        let tail = |what| Damage { file: segment_file(number), offset: end as u64, bytes: self.left_bytes, what };
        if reached < known {
            let what = match known - reached {
                1 => format!("the frame {known}, the last that was synced, cannot be read"),
                _ => format!("the frames {} to {known}, which were synced, cannot be read", reached + 1),
            };
            self.damages.push(tail(what));
        } else if self.left_bytes > 0 {
            self.torn = Some(tail("the last batch was not written to its end; it was never acknowledged".to_owned()));
        }
    }

    /// Makes the end of the journal fit to be written on.
    pub(crate) fn mend(&mut self, disk: &AnyDisk) -> Result<(), RecoverError> {
        let Some(Last { path, number, bytes, end }) = self.last.take() else { return Ok(()) };
        let fail = |error| RecoverError::Io { path: path.clone(), error };
        let file = disk.open(&path, OpenHow::Write).map_err(fail)?;
        if let Some((_, begin)) = self.batch.filter(|(_, begin)| begin.segment == number) {
            // Nothing proves that the last batch was ever synced; its sync may even have failed, and then the
            // cache calls pages clean that never reached the disk. Written again, they are dirty again, and
            // the sync that follows means what it says.
            let begin = begin.offset as usize;
            disk.write(&file, begin as u64, bytes.get(begin..end).unwrap_or_default()).map_err(fail)?;
        }
        if self.left_bytes > 0 {
            zero(disk, &file, &bytes, end).map_err(fail)?;
        }
        Ok(())
    }
}

/// The last segment that holds a valid frame anywhere.
fn last_used(disk: &AnyDisk, segments: &[&FoundSegment], journal: [u8; 16]) -> Result<Option<usize>, RecoverError> {
    for (index, segment) in segments.iter().enumerate().rev() {
        let fail = |error| RecoverError::Io { path: segment.path.clone(), error };
        let file = disk.open(&segment.path, OpenHow::Read).map_err(fail)?;
        let bytes = read_exact(disk, &file, 0, segment.bytes).map_err(fail)?;
        let scan = Scan { bytes: &bytes, salt: salt(journal, segment.number), number: segment.number, known: 0 };
        if scan.find_from(SEGMENT_HEADER_BYTES, 0)?.is_some() {
            return Ok(Some(index));
        }
    }
    // No frame at all: the first segment may still hold the torn beginnings of one.
    Ok(if segments.is_empty() { None } else { Some(0) })
}

/// The length up to the last byte that is not zero.
pub(crate) fn used_bytes(bytes: &[u8]) -> usize {
    const PART: usize = 4096;
    const ZERO: [u8; PART] = [0; PART];
    let parts = bytes.chunks(PART).rposition(|part| ZERO.get(..part.len()) != Some(part));
    let Some(at) = parts.map(|part| part * PART) else { return 0 };
    let part = bytes.get(at..).unwrap_or_default();
    at + part.iter().take(PART).rposition(|byte| *byte != 0).map_or(0, |last| last + 1)
}

/// Overwrites what is not zero yet.
fn zero(disk: &AnyDisk, file: &AnyFile, bytes: &[u8], from: usize) -> io::Result<()> {
    const PART: usize = 64 * 1024;
    let zeros = vec![0; PART];
    let mut at = from;
    while let Some(part) = bytes.get(at..bytes.len().min(at + PART)).filter(|part| !part.is_empty()) {
        if part.iter().any(|byte| *byte != 0) {
            disk.write(file, at as u64, zeros.get(..part.len()).unwrap_or(&zeros))?;
        }
        at += part.len();
    }
    disk.sync(file)
}

/// One segment's bytes.
struct Scan<'a> {
    bytes: &'a [u8],
    salt: u32,
    number: u32,
    known: u64,
}

impl Scan<'_> {
    fn frame_at(&self, at: usize) -> Result<Option<FrameHeader>, RecoverError> {
        match find_frame(self.salt, self.bytes.get(at..).unwrap_or_default()) {
            Found::Frame(header) => Ok(Some(header)),
            Found::Nothing => Ok(None),
            Found::Newer(version) => Err(RecoverError::Newer {
                file: segment_file(self.number),
                found: u16::from(version),
                known: u16::from(super::frame::FRAME_VERSION),
            }),
        }
    }

    /// The first frame at or behind `at` that is younger than `after`.
    fn find_from(&self, at: usize, after: u64) -> Result<Option<(usize, FrameHeader)>, RecoverError> {
        const ZERO: [u8; 4096] = [0; 4096];
        let mut at = at.next_multiple_of(FRAME_ALIGNMENT);
        while at + FRAME_HEADER_BYTES <= self.bytes.len() {
            if self.bytes.get(at..at + ZERO.len()).is_some_and(|part| part == ZERO) {
                at += ZERO.len();
                continue;
            }
            if let Some(header) = self.frame_at(at)?
                && header.sequence > after
            {
                return Ok(Some((at, header)));
            }
            at += FRAME_ALIGNMENT;
        }
        Ok(None)
    }

    /// Whether any frame from `at` on was written after `sequence` had been synced.
    fn proves(&self, at: usize, sequence: u64) -> Result<bool, RecoverError> {
        let mut at = at;
        while let Some((found, header)) = self.find_from(at, sequence)? {
            if header.batch > sequence {
                return Ok(true);
            }
            at = found + frame_bytes(header.body_bytes);
        }
        Ok(false)
    }

    /// Reads the segment. `synced` where all of it is known to have been synced. Returns where it ends.
    fn read(
        &self,
        synced: bool,
        recovered: &mut Recovered,
        each: &mut dyn FnMut(FrameRead<'_>) -> Result<(), ItemError>,
    ) -> Result<usize, RecoverError> {
        let mut at = SEGMENT_HEADER_BYTES;
        loop {
            let last = recovered.end.map(|end| end.sequence);
            let batch = recovered.batch.map_or(0, |(batch, _)| batch);
            let expected =
                |header: &FrameHeader| last.is_none_or(|last| header.sequence == last + 1) && header.batch >= batch;
            if let Some(header) = self.frame_at(at)?.filter(expected) {
                self.hand_on(at, header, recovered, each)?;
                at += frame_bytes(header.body_bytes);
                continue;
            }
            let Some((found, header)) = self.find_from(at, last.unwrap_or(0))? else { return Ok(at) };
            let missing = last.map_or(header.sequence.saturating_sub(1), |last| last + 1);
            if !synced && missing > self.known && !self.proves(found, missing)? {
                return Ok(at);
            }
            // Where nothing stands between this segment's header and the frame, what is missing stood before it:
            // in a segment that is gone or holds no frame any more, or at the end of the last one that does.
            let (segment, offset, bytes) = match recovered.end.filter(|_| found == SEGMENT_HEADER_BYTES) {
                None => (self.number, at, (found - at) as u64),
                Some(End { place, .. }) if place.segment + 1 == self.number => {
                    (place.segment, place.offset as usize, recovered.left_bytes)
                }
                Some(End { place, .. }) => (place.segment + 1, SEGMENT_HEADER_BYTES, 0),
            };
            recovered.damages.push(Damage {
                file: segment_file(segment),
                offset: offset as u64,
                bytes,
                what: match header.sequence - missing {
                    0 | 1 => format!("the frame {missing} cannot be read"),
                    _ => format!("the frames {missing} to {} cannot be read", header.sequence - 1),
                },
            });
            self.hand_on(found, header, recovered, each)?;
            at = found + frame_bytes(header.body_bytes);
        }
    }

    fn hand_on(
        &self,
        at: usize,
        header: FrameHeader,
        recovered: &mut Recovered,
        each: &mut dyn FnMut(FrameRead<'_>) -> Result<(), ItemError>,
    ) -> Result<(), RecoverError> {
        let body_at = at + FRAME_HEADER_BYTES;
        let body = self.bytes.get(body_at..body_at + header.body_bytes).unwrap_or_default();
        let place = |offset: usize| Place { segment: self.number, offset: u32::try_from(offset).unwrap_or(u32::MAX) };
        recovered.end = Some(End { sequence: header.sequence, place: place(at + frame_bytes(header.body_bytes)) });
        if recovered.batch.is_none_or(|(batch, _)| batch < header.batch) {
            recovered.batch = Some((header.batch, place(at)));
        }
        recovered.frames += 1;
        match each(FrameRead { sequence: header.sequence, place: place(body_at), body }) {
            Ok(()) => Ok(()),
            Err(ItemError::Newer { found }) => Err(RecoverError::Newer {
                file: segment_file(self.number),
                found: u16::from(found),
                known: u16::from(ITEM_VERSION),
            }),
            Err(error) => {
                // The frame's sum is right, so this was written so: a fault of ours, kept from spreading.
                recovered.damages.push(Damage {
                    file: segment_file(self.number),
                    offset: at as u64,
                    bytes: frame_bytes(header.body_bytes) as u64,
                    what: format!("the frame {} holds what cannot be understood: {error}", header.sequence),
                });
                Ok(())
            }
        }
    }
}
