//! One file of seen ids.
//!
//! ```text
//! magic journal:16 first:u64 count:u64 expires_at:i64
//! count × (hash:16 event:16 expires_at:i64), sorted by hash
//! filter, fences, checksum of all but the entries:u32
//! ```

use std::io;
use std::path::PathBuf;

use eventyard_event::{EventId, Timestamp};

use super::Place;
use crate::codec::{DecodeError, Fields, Put};
use crate::disk::{AnyDisk, AnyFile, Disk, OpenHow, put_whole, read_exact, unless_gone};

const MAGIC: &[u8; 8] = b"EYseen_1";
const HEADER_BYTES: usize = 48;
const ENTRY_BYTES: usize = 40;
/// Entries between two fences; read at once.
const BLOCK_ENTRIES: usize = 64;
/// Filter bits for each entry: one lookup in a hundred reads a block for nothing.
const FILTER_BITS: usize = 10;
const PROBES: u64 = 5;

/// One seen id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) hash: [u8; 16],
    pub(crate) event: EventId,
    pub(crate) expires_at: Timestamp,
}

/// A file, with its filter and fences in memory.
pub(crate) struct Bucket {
    pub(crate) number: u64,
    /// The number of the oldest file that was merged into it: what it is sorted by in time.
    pub(crate) first: u64,
    pub(crate) count: usize,
    /// When the last of its ids expires.
    pub(crate) expires_at: Timestamp,
    /// It was there when the store was opened, or one was that was merged into it.
    pub(crate) from_before: bool,
    file: AnyFile,
    filter: Vec<u64>,
    /// The beginning of the hash of every [`BLOCK_ENTRIES`]th entry.
    fences: Vec<u64>,
}

fn name_of(number: u64) -> String {
    format!("{number:012}.ids")
}

pub(super) fn number_of(name: &str) -> Option<u64> {
    let number = name.strip_suffix(".ids")?.parse().ok()?;
    (name_of(number) == name).then_some(number)
}

/// The two halves of a hash. The first half, read as the bytes stand, sorts as the hash does.
fn halves(hash: &[u8; 16]) -> (u64, u64) {
    let whole = u128::from_be_bytes(*hash);
    let high = u64::try_from(whole >> 64).unwrap_or(0);
    let low = u64::try_from(whole & u128::from(u64::MAX)).unwrap_or(0);
    (high, low)
}

/// Which bits of a filter stand for a hash.
fn bits(hash: &[u8; 16], words: usize) -> impl Iterator<Item = (usize, u64)> {
    let (high, low) = halves(hash);
    let count = (words as u64 * 64).max(1);
    (0..PROBES).map(move |probe| {
        let bit = high.wrapping_add(low.wrapping_mul(probe * 2 + 1)) % count;
        (usize::try_from(bit / 64).unwrap_or(0), 1 << (bit % 64))
    })
}

fn damaged(error: &DecodeError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error.to_string())
}

fn read_entry(fields: &mut Fields<'_>) -> Result<Entry, DecodeError> {
    Ok(Entry { hash: fields.hash("hash")?, event: fields.event_id("event")?, expires_at: fields.time("expires_at")? })
}

impl Bucket {
    fn path(place: &Place<'_>, number: u64) -> PathBuf {
        place.folder.join(name_of(number))
    }

    /// Writes a file and makes it durable.
    pub(super) fn write(place: &Place<'_>, number: u64, first: u64, mut entries: Vec<Entry>) -> io::Result<Bucket> {
        entries.sort_unstable_by_key(|entry| entry.hash);
        let expires_at = entries.iter().map(|entry| entry.expires_at).max().unwrap_or(Timestamp::EPOCH);
        let mut filter = vec![0u64; (entries.len() * FILTER_BITS).div_ceil(64)];
        let mut out = MAGIC.to_vec();
        out.extend_from_slice(&place.journal);
        out.put_u64(first);
        out.put_u64(entries.len() as u64);
        out.put_time(expires_at);
        for entry in &entries {
            out.extend_from_slice(&entry.hash);
            out.put_event_id(entry.event);
            out.put_time(entry.expires_at);
            for (word, bit) in bits(&entry.hash, filter.len()) {
                if let Some(word) = filter.get_mut(word) {
                    *word |= bit;
                }
            }
        }
        let fences: Vec<u64> = entries.iter().step_by(BLOCK_ENTRIES).map(|entry| halves(&entry.hash).0).collect();
        let tail = out.len();
        filter.iter().chain(&fences).for_each(|word| out.put_u64(*word));
        let mut sum = crc32fast::Hasher::new();
        sum.update(out.get(..HEADER_BYTES).unwrap_or_default());
        sum.update(out.get(tail..).unwrap_or_default());
        out.put_u32(sum.finalize());

        let path = Bucket::path(place, number);
        let file = put_whole(place.disk, &path.with_extension("new"), &path, &out)?;
        Ok(Bucket { number, first, count: entries.len(), expires_at, from_before: false, file, filter, fences })
    }

    /// Opens a file of so many bytes; reads all of it but the entries.
    pub(super) fn open(place: &Place<'_>, number: u64, bytes: u64) -> io::Result<Bucket> {
        let file = place.disk.open(&Bucket::path(place, number), OpenHow::Read)?;
        let head = read_exact(place.disk, &file, 0, HEADER_BYTES)?;
        let mut fields = Fields::new(&head);
        let mut read = || {
            let ours = fields.raw(8, "magic")? == MAGIC && fields.hash("journal")? == place.journal;
            let (first, count) = (fields.u64("first")?, fields.u64("count")?);
            let expires_at = fields.time("expires_at")?;
            let count = usize::try_from(count).ok().filter(|count| *count as u64 <= bytes / ENTRY_BYTES as u64);
            Ok(ours.then_some((first, count.ok_or(DecodeError("count"))?, expires_at)))
        };
        let (first, count, expires_at) =
            read().map_err(|error| damaged(&error))?.ok_or_else(|| damaged(&DecodeError("magic")))?;
        let (words, blocks) = ((count * FILTER_BITS).div_ceil(64), count.div_ceil(BLOCK_ENTRIES));
        let tail_bytes = (words + blocks) * 8 + 4;
        let tail_at = (HEADER_BYTES + count * ENTRY_BYTES) as u64;
        if tail_at + tail_bytes as u64 != bytes {
            return Err(damaged(&DecodeError("length")));
        }
        let tail = read_exact(place.disk, &file, tail_at, tail_bytes)?;
        let (tail, sum) = tail.split_last_chunk::<4>().ok_or_else(|| damaged(&DecodeError("checksum")))?;
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&head);
        hasher.update(tail);
        if hasher.finalize() != u32::from_le_bytes(*sum) {
            return Err(damaged(&DecodeError("checksum")));
        }
        place.disk.sync(&file)?;
        let mut numbers = tail.as_chunks::<8>().0.iter().map(|word| u64::from_le_bytes(*word));
        let filter = numbers.by_ref().take(words).collect();
        Ok(Bucket { number, first, count, expires_at, from_before: true, file, filter, fences: numbers.collect() })
    }

    /// Looks an id up.
    pub(super) fn find(&self, disk: &AnyDisk, hash: &[u8; 16]) -> io::Result<Option<(EventId, Timestamp)>> {
        let absent =
            bits(hash, self.filter.len()).any(|(word, bit)| self.filter.get(word).is_none_or(|word| word & bit == 0));
        if absent {
            return Ok(None);
        }
        // Two hashes may share a fence's beginning, so the block before is where the first of them stands.
        let wanted = halves(hash).0;
        let from = self.fences.partition_point(|fence| *fence < wanted).saturating_sub(1);
        let to = self.fences.partition_point(|fence| *fence <= wanted);
        let from_entry = from * BLOCK_ENTRIES;
        let entries = (to * BLOCK_ENTRIES).min(self.count).saturating_sub(from_entry);
        let at = (HEADER_BYTES + from_entry * ENTRY_BYTES) as u64;
        let bytes = read_exact(disk, &self.file, at, entries * ENTRY_BYTES)?;
        let mut fields = Fields::new(&bytes);
        for _ in 0..entries {
            let entry = read_entry(&mut fields).map_err(|error| damaged(&error))?;
            if entry.hash == *hash {
                return Ok(Some((entry.event, entry.expires_at)));
            }
        }
        Ok(None)
    }

    /// All entries, sorted by hash.
    pub(super) fn read(&self, disk: &AnyDisk) -> io::Result<Vec<Entry>> {
        let bytes = read_exact(disk, &self.file, HEADER_BYTES as u64, self.count * ENTRY_BYTES)?;
        let mut fields = Fields::new(&bytes);
        (0..self.count).map(|_| read_entry(&mut fields).map_err(|error| damaged(&error))).collect()
    }

    /// Removes the file; what is open of it stays readable.
    pub(super) fn remove(&self, place: &Place<'_>) -> io::Result<()> {
        unless_gone(place.disk.remove(&Bucket::path(place, self.number)))
    }
}
