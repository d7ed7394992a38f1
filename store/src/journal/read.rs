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

    /// The bytes of an item whose length is known; checked.
    pub(crate) fn read(&self, place: Place, bytes: u32) -> Result<(ItemKind, Bytes), ReadError> {
        let read = self
            .file(place.segment)
            .and_then(|file| read_exact(&self.disk, &file, u64::from(place.offset), bytes as usize));
        let found = Bytes::from(read.map_err(|error| io_error(place, &error))?);
        let item = record::split_item(&found).map_err(|error| damaged(place, error))?;
        Ok((item.kind, found.slice(record::ITEM_HEADER_BYTES..item.bytes())))
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

fn io_error(place: Place, error: &std::io::Error) -> ReadError {
    ReadError::Io { file: segment_file(place.segment), offset: place.offset, error: error.to_string() }
}

fn damaged(place: Place, error: ItemError) -> ReadError {
    ReadError::Damaged { file: segment_file(place.segment), offset: place.offset, error }
}
