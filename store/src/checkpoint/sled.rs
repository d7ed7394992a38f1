//! The checkpoint's pairs in sled.
//!
//! sled's own `flush` is not enough: on Linux it asks for the data to be written out and not for the disk's
//! cache to be emptied, so it is followed by an fdatasync of our own on sled's file. sled may also fail to open,
//! or panic, on a folder that a hard stop has left; both are answered by beginning anew.

use std::fs::File;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use super::{Batch, EachPair};
use crate::disk::unless_gone;
use crate::lock;

/// What sled may keep in memory. The index is in memory already; nothing is read from here but at the start.
const CACHE_BYTES: u64 = 8 * 1024 * 1024;

/// A sled database in a folder.
pub(crate) struct SledPairs {
    folder: PathBuf,
    db: Option<sled::Db>,
}

impl SledPairs {
    /// Opens what is in a folder, or makes it.
    ///
    /// # Errors
    /// A text where sled cannot open it. The value can still be made to begin anew.
    pub(crate) fn open(folder: &Path) -> (SledPairs, Result<(), String>) {
        let mut pairs = SledPairs { folder: folder.to_owned(), db: None };
        let opened = pairs.reopen();
        (pairs, opened)
    }

    pub(super) fn reopen(&mut self) -> Result<(), String> {
        // sled would not wait, and the index would be rebuilt for nothing.
        lock::wait_until_free(&self.folder.join("db"));
        // A configuration alone is enough for a panic, where the clock stands before 1970.
        let config = || sled::Config::new().path(&self.folder).flush_every_ms(None).cache_capacity(CACHE_BYTES);
        self.db = Some(guard(|| config().open())?);
        self.sync_name().map_err(|error| error.to_string())
    }

    fn db(&self) -> Result<&sled::Db, String> {
        self.db.as_ref().ok_or_else(|| "the index is not open".to_owned())
    }

    pub(super) fn apply(&self, batch: Batch) -> Result<(), String> {
        let db = self.db()?;
        let mut changes = sled::Batch::default();
        for (key, value) in batch {
            match value {
                Some(value) => changes.insert(key, value),
                None => changes.remove(key),
            }
        }
        guard(|| db.apply_batch(changes))
    }

    pub(super) fn sync(&self) -> Result<(), String> {
        let db = self.db()?;
        guard(|| db.flush())?;
        File::open(self.folder.join("db")).and_then(|file| file.sync_data()).map_err(|error| error.to_string())?;
        File::open(&self.folder).and_then(|folder| folder.sync_all()).map_err(|error| error.to_string())
    }

    pub(super) fn each(&self, each: &mut EachPair<'_>) -> Result<(), String> {
        let db = self.db()?;
        let mut pairs = db.iter();
        while let Some(pair) = guard(|| pairs.next().transpose())? {
            each(&pair.0, &pair.1)?;
        }
        Ok(())
    }

    /// Moves the folder aside, in place of one that was moved there before.
    pub(super) fn set_aside(&mut self) -> Result<(), String> {
        self.db = None;
        let aside = self.folder.with_extension("aside");
        let moved = unless_gone(std::fs::remove_dir_all(&aside))
            .and_then(|()| unless_gone(std::fs::rename(&self.folder, &aside)))
            .and_then(|()| self.sync_name());
        moved.map_err(|error| error.to_string())
    }

    /// Makes durable which folder has the index's name.
    fn sync_name(&self) -> io::Result<()> {
        match self.folder.parent() {
            Some(above) => File::open(above)?.sync_all(),
            None => Ok(()),
        }
    }
}

/// Turns sled's errors into text, and its panics into errors.
fn guard<T>(call: impl FnOnce() -> sled::Result<T>) -> Result<T, String> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("sled panicked".to_owned()),
    }
}
