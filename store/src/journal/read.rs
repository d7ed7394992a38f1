//! Reading single items back, by whoever needs them and while the journal is being written.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;

use super::record::{self, Item, ItemError, ItemKind, Place};
use super::segment::{segment_file, segment_name};
use crate::disk::{AnyDisk, AnyFile, Disk, OpenHow, read_exact};

/// Files that are kept open. Beyond it all are closed, and opened again when they are needed.
const OPEN_MAX: usize = 64;

/// Bytes that are read together at most: enough that a call costs little beside what it reads, and so few that an item
/// which is held for long holds not much of its neighbours'.
const RUN_BYTES_MAX: u32 = 128 * 1024;
/// Bytes between two items that are read for nothing, rather than with two calls.
const GAP_BYTES_MAX: u32 = 1024;

/// Read at once where the length is not known: most settlements are shorter.
const GUESS_BYTES: usize = 512;

/// Why an item could not be read.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum ReadError {
    #[error("{file} at {offset}: {error}")]
    Io { file: String, offset: u32, error: String },
    #[error("{file} at {offset}: {error}")]
    Damaged { file: String, offset: u32, error: ItemError },
}

impl From<ReadError> for crate::StoreError {
    fn from(error: ReadError) -> crate::StoreError {
        match error {
            ReadError::Io { .. } => crate::StoreError::Io(error.to_string()),
            ReadError::Damaged { .. } => crate::StoreError::Corrupt(error.to_string()),
        }
    }
}

/// The segments' files, opened when they are first read.
pub(crate) struct SegmentFiles {
    disk: AnyDisk,
    folder: PathBuf,
    open: Mutex<BTreeMap<u32, AnyFile>>,
}

impl SegmentFiles {
    pub(crate) fn new(disk: AnyDisk, folder: PathBuf) -> SegmentFiles {
        SegmentFiles { disk, folder, open: Mutex::new(BTreeMap::new()) }
    }

    pub(crate) fn put(&self, number: u32, file: AnyFile) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.len() >= OPEN_MAX {
            open.clear();
        }
        open.insert(number, file);
    }

    /// Forgets a file that goes away; whoever reads it at this moment still can.
    pub(crate) fn close(&self, number: u32) {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).remove(&number);
    }

    fn file(&self, number: u32) -> std::io::Result<AnyFile> {
        if let Some(file) = self.open.lock().unwrap_or_else(PoisonError::into_inner).get(&number) {
            return Ok(file.clone());
        }
        let file = self.disk.open(&self.folder.join(segment_name(number)), OpenHow::Read)?;
        self.put(number, file.clone());
        Ok(file)
    }

    /// As [`SegmentFiles::read`] of each, in that order; those that follow each other are read with one call.
    pub(crate) fn read_each(&self, items: &[(Place, u32)]) -> Vec<Result<(ItemKind, Bytes), ReadError>> {
        let mut read = Vec::with_capacity(items.len());
        let mut rest = items;
        while let Some((first, _)) = rest.first() {
            let (count, bytes) = run(rest);
            let (items, others) = rest.split_at(count);
            rest = others;
            let whole = if count > 1 { self.bytes(*first, bytes).ok().map(Bytes::from) } else { None };
            match whole {
                Some(whole) => read.extend(items.iter().map(|(place, bytes)| {
                    let from = (place.offset - first.offset) as usize;
                    checked(*place, &whole.slice(from..from + *bytes as usize))
                })),
                // Alone, or each by itself, so that the trouble of one is not that of the others.
                None => read.extend(items.iter().map(|(place, bytes)| self.read(*place, *bytes))),
            }
        }
        read
    }

    fn bytes(&self, place: Place, bytes: u32) -> std::io::Result<Vec<u8>> {
        let file = self.file(place.segment)?;
        read_exact(&self.disk, &file, u64::from(place.offset), bytes as usize)
    }

    /// The bytes of an item whose length is known; checked.
    pub(crate) fn read(&self, place: Place, bytes: u32) -> Result<(ItemKind, Bytes), ReadError> {
        let found = self.bytes(place, bytes).map_err(|error| io_error(place, &error))?;
        checked(place, &Bytes::from(found))
    }

    /// An item whose length is not known.
    pub(crate) fn read_item(&self, place: Place) -> Result<Item, ReadError> {
        let file = self.file(place.segment).map_err(|error| io_error(place, &error))?;
        let mut head = vec![0; GUESS_BYTES];
        let count =
            self.disk.read(&file, u64::from(place.offset), &mut head).map_err(|error| io_error(place, &error))?;
        head.truncate(count);
        let bytes = record::item_bytes(&head).map_err(|error| damaged(place, error))?;
        if bytes > head.len() {
            // A length that lies is found out by the end of the file, before memory is reserved for it.
            let last = u64::from(place.offset) + bytes as u64 - 1;
            let there = self.disk.read(&file, last, &mut [0]).map_err(|error| io_error(place, &error))?;
            if there == 0 {
                return Err(damaged(place, ItemError::Short));
            }
            head = read_exact(&self.disk, &file, u64::from(place.offset), bytes)
                .map_err(|error| io_error(place, &error))?;
        }
        record::split_item(&head)
            .and_then(|item| record::read_item(item).map_err(ItemError::from))
            .map_err(|error| damaged(place, error))
    }
}

/// How many of the first items are read together, and the bytes from the first one's beginning to the last one's end.
fn run(items: &[(Place, u32)]) -> (usize, u32) {
    let Some(((first, bytes), others)) = items.split_first() else { return (0, 0) };
    let (mut count, mut run_bytes) = (1, *bytes);
    for (place, bytes) in others {
        let gap = place.offset.checked_sub(first.offset.saturating_add(run_bytes));
        let Some(gap) = gap.filter(|gap| *gap <= GAP_BYTES_MAX && place.segment == first.segment) else { break };
        let longer = run_bytes.saturating_add(gap).saturating_add(*bytes);
        if longer > RUN_BYTES_MAX {
            break;
        }
        (count, run_bytes) = (count + 1, longer);
    }
    (count, run_bytes)
}

fn checked(place: Place, bytes: &Bytes) -> Result<(ItemKind, Bytes), ReadError> {
    let item = record::split_item(bytes).map_err(|error| damaged(place, error))?;
    Ok((item.kind, bytes.slice(record::ITEM_HEADER_BYTES..item.bytes())))
}

fn io_error(place: Place, error: &std::io::Error) -> ReadError {
    ReadError::Io { file: segment_file(place.segment), offset: place.offset, error: error.to_string() }
}

fn damaged(place: Place, error: ItemError) -> ReadError {
    ReadError::Damaged { file: segment_file(place.segment), offset: place.offset, error }
}
