//! A frame: what becomes durable together.
//!
//! ```text
//! frame = magic:u32 body_bytes:u32 sequence:u64 batch:u64 body_checksum:u32 version:u8 zero:[u8;7] checksum:u32
//!         body (items) padding to 8
//! ```
//!
//! `sequence` counts the frames of the journal from 1. `batch` is the sequence of the first frame of the same
//! sync: so a valid frame also says that everything before its batch was synced before it was written. This is
//! how a reader tells a torn tail from damage. `checksum` is over the header and is salted with the journal's id
//! and the segment's number: a recycled segment holds old frames, and they must not be taken for new ones.

use crate::codec::{Fields, Put};

/// Bytes before a frame's body.
pub(crate) const FRAME_HEADER_BYTES: usize = 40;

/// Frames begin at multiples of this, so that a search for one after damage need not look at every byte.
pub(crate) const FRAME_ALIGNMENT: usize = 8;

/// The version of the frame's own layout.
pub(crate) const FRAME_VERSION: u8 = 1;

const MAGIC: u32 = u32::from_le_bytes(*b"EYfr");

/// What a frame says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FrameHeader {
    pub(crate) body_bytes: usize,
    pub(crate) sequence: u64,
    pub(crate) batch: u64,
    pub(crate) body_checksum: u32,
}

/// The checksum of a body; made by whoever encodes it, away from the journal's owner.
pub(crate) fn body_checksum(body: &[u8]) -> u32 {
    crc32fast::hash(body)
}

/// What is mixed into the checksums of one segment's frames.
pub(crate) fn salt(journal: [u8; 16], segment: u32) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&journal);
    hasher.update(&segment.to_le_bytes());
    hasher.finalize()
}

/// All bytes of a frame with such a body, padding included.
pub(crate) fn frame_bytes(body_bytes: usize) -> usize {
    (FRAME_HEADER_BYTES + body_bytes).next_multiple_of(FRAME_ALIGNMENT)
}

fn header_checksum(salt: u32, fields: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(salt);
    hasher.update(fields);
    hasher.finalize()
}

/// Appends a frame to `out`, which must end at a multiple of [`FRAME_ALIGNMENT`].
pub(crate) fn put_frame(out: &mut Vec<u8>, salt: u32, header: FrameHeader, body: &[u8]) {
    let start = out.len();
    out.put_u32(MAGIC);
    out.put_u32(u32::try_from(header.body_bytes).unwrap_or(u32::MAX));
    out.put_u64(header.sequence);
    out.put_u64(header.batch);
    out.put_u32(header.body_checksum);
    out.put_u8(FRAME_VERSION);
    out.extend_from_slice(&[0; 7]);
    let sum = header_checksum(salt, out.get(start..).unwrap_or_default());
    out.put_u32(sum);
    out.extend_from_slice(body);
    out.resize(start + frame_bytes(body.len()), 0);
}

/// What stands where a frame may begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// A frame whose header and body are both right.
    Frame(FrameHeader),
    /// A header that is right, of a layout that this program does not know.
    Newer(u8),
    /// Neither.
    Nothing,
}

/// Reads the frame at the front of `bytes`.
pub(crate) fn find_frame(salt: u32, bytes: &[u8]) -> Found {
    let Some((head, rest)) = bytes.split_at_checked(FRAME_HEADER_BYTES) else { return Found::Nothing };
    if !head.starts_with(&MAGIC.to_le_bytes()) {
        return Found::Nothing;
    }
    let Some((header, version, sum)) = read_header(head) else { return Found::Nothing };
    if sum != header_checksum(salt, head.get(..FRAME_HEADER_BYTES - 4).unwrap_or_default()) {
        return Found::Nothing;
    }
    if version != FRAME_VERSION {
        return Found::Newer(version);
    }
    match rest.get(..header.body_bytes) {
        Some(body) if body_checksum(body) == header.body_checksum => Found::Frame(header),
        _ => Found::Nothing,
    }
}

/// The length of the frame whose header stands at the front of `bytes`, whatever has become of its body.
pub(crate) fn find_frame_head(journal: [u8; 16], segment: u32, bytes: &[u8]) -> Option<usize> {
    let head = bytes.get(..FRAME_HEADER_BYTES).filter(|head| head.starts_with(&MAGIC.to_le_bytes()))?;
    let (header, version, sum) = read_header(head)?;
    let right = sum == header_checksum(salt(journal, segment), head.get(..FRAME_HEADER_BYTES - 4)?);
    (right && version == FRAME_VERSION).then(|| frame_bytes(header.body_bytes))
}

fn read_header(head: &[u8]) -> Option<(FrameHeader, u8, u32)> {
    let mut fields = Fields::new(head);
    fields.u32("magic").ok()?;
    let header = FrameHeader {
        body_bytes: usize::try_from(fields.u32("body_bytes").ok()?).ok()?,
        sequence: fields.u64("sequence").ok()?,
        batch: fields.u64("batch").ok()?,
        body_checksum: fields.u32("body_checksum").ok()?,
    };
    let version = fields.u8("version").ok()?;
    fields.raw(7, "zero").ok()?;
    Some((header, version, fields.u32("checksum").ok()?))
}
