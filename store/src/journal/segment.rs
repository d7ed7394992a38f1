//! One file of the journal.
//!
//! A segment is made whole before it is used: its header and zeros to its full length, written and synced. A
//! commit then changes no length and no block map, so its sync is one write of data. It is numbered when it is
//! made; frames say by themselves in which order they were written.

use std::io;
use std::path::{Path, PathBuf};

use crate::codec::{Fields, Put};
use crate::disk::{AnyDisk, AnyFile, Disk, OpenHow};

/// Bytes before the first frame; a whole block, so that writing a frame never rewrites the header.
pub(crate) const SEGMENT_HEADER_BYTES: usize = 4096;

/// The version of the journal's layout. A newer one is refused.
pub(crate) const JOURNAL_VERSION: u16 = 1;

const MAGIC: &[u8; 8] = b"EYjournl";
const ENDING: &str = ".seg";
const UNFINISHED: &str = ".new";

/// Zeros are written in parts of this size, each synced, so that a commit's sync never waits behind the whole.
const PART_BYTES: usize = 512 * 1024;

/// The file name of a segment.
pub(crate) fn segment_name(number: u32) -> String {
    format!("{number:010}{ENDING}")
}

/// The same within the data folder; for reports.
pub(crate) fn segment_file(number: u32) -> String {
    format!("journal/{}", segment_name(number))
}

/// The number that a file name stands for, where it is a segment's.
pub(crate) fn segment_number(name: &str) -> Option<u32> {
    let number: u32 = name.strip_suffix(ENDING)?.parse().ok()?;
    (number > 0 && segment_name(number) == name).then_some(number)
}

/// Whether a file is a segment that was not finished.
pub(crate) fn is_unfinished(name: &str) -> bool {
    name.strip_suffix(UNFINISHED).is_some_and(|rest| segment_number(rest).is_some())
}

/// The header of a segment.
pub(crate) fn segment_header(journal: [u8; 16], number: u32) -> Vec<u8> {
    let mut out = Vec::with_capacity(SEGMENT_HEADER_BYTES);
    out.extend_from_slice(MAGIC);
    out.put_u16(JOURNAL_VERSION);
    out.extend_from_slice(&journal);
    out.put_u32(number);
    let sum = crc32fast::hash(&out);
    out.put_u32(sum);
    out.resize(SEGMENT_HEADER_BYTES, 0);
    out
}

/// What the header of a segment says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Header {
    /// The journal that it belongs to.
    Of([u8; 16]),
    /// It was written by a newer program.
    Newer(u16),
    /// It cannot be read.
    Damaged,
}

/// Reads the header of the segment `number`.
pub(crate) fn read_header(bytes: &[u8], number: u32) -> Header {
    let mut fields = Fields::new(bytes);
    let mut read = || {
        let magic = fields.raw(8, "magic").ok()?;
        let version = fields.u16("version").ok()?;
        let (journal, found) = (fields.hash("journal").ok()?, fields.u32("number").ok()?);
        let sum = fields.u32("checksum").ok()?;
        Some((magic == MAGIC && sum == crc32fast::hash(bytes.get(..30)?), version, journal, found))
    };
    match read() {
        // The version is looked at only behind a right checksum: a flipped byte is damage, not the future.
        Some((true, version, ..)) if version > JOURNAL_VERSION => Header::Newer(version),
        Some((true, JOURNAL_VERSION, journal, found)) if found == number => Header::Of(journal),
        _ => Header::Damaged,
    }
}

/// Makes a segment and all of its zeros durable, under its own name. `behind` is an older one which the system need not
/// keep in memory: it is let go piece by piece, for all at once takes some milliseconds of a processor.
///
/// # Errors
/// Whatever the disk reports; what was begun is removed again as far as that is possible.
pub(crate) fn make_segment(
    disk: &AnyDisk,
    folder: &Path,
    journal: [u8; 16],
    number: u32,
    bytes: usize,
    behind: Option<&AnyFile>,
) -> io::Result<AnyFile> {
    let name = segment_name(number);
    let unfinished = folder.join(format!("{name}{UNFINISHED}"));
    let made = fill(disk, &unfinished, &segment_header(journal, number), bytes, behind).and_then(|file| {
        disk.rename(&unfinished, &folder.join(&name))?;
        let names = disk.open(folder, OpenHow::Folder)?;
        disk.sync(&names)?;
        Ok(file)
    });
    if made.is_err() {
        // The space that it took is given back; where even that fails, the next open removes it.
        let _ = disk.remove(&unfinished);
    }
    made
}

fn fill(disk: &AnyDisk, path: &Path, header: &[u8], bytes: usize, behind: Option<&AnyFile>) -> io::Result<AnyFile> {
    let file = match disk.open(path, OpenHow::Create) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            disk.remove(path)?;
            disk.open(path, OpenHow::Create)?
        }
        other => other?,
    };
    disk.write(&file, 0, header)?;
    let mut at = header.len();
    while at < bytes {
        let part = (bytes - at).min(PART_BYTES);
        disk.write_zeros(&file, at as u64, part)?;
        disk.sync(&file)?;
        if let Some(behind) = behind {
            disk.let_go(behind, at as u64, part);
        }
        at += part;
    }
    disk.sync(&file)?;
    Ok(file)
}

/// A segment as it was found in the folder.
#[derive(Clone, Debug)]
pub(crate) struct FoundSegment {
    pub(crate) number: u32,
    pub(crate) path: PathBuf,
    pub(crate) bytes: usize,
}

/// The segments in a folder, by number, and the files that were never finished.
pub(crate) fn list_segments(disk: &AnyDisk, folder: &Path) -> io::Result<(Vec<FoundSegment>, Vec<PathBuf>)> {
    let mut found = Vec::new();
    let mut unfinished = Vec::new();
    for listed in disk.list(folder)? {
        let path = folder.join(&listed.name);
        if let Some(number) = segment_number(&listed.name) {
            let bytes = usize::try_from(listed.bytes).unwrap_or(usize::MAX);
            found.push(FoundSegment { number, path, bytes });
        } else if is_unfinished(&listed.name) {
            unfinished.push(path);
        }
    }
    found.sort_by_key(|segment| segment.number);
    Ok((found, unfinished))
}
