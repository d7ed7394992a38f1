//! The limit: what the disk gives to a program that does nothing but write and sync.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::machine;

/// Long enough that the writes do not come back to the same blocks at once.
const FILE_BYTES: usize = 1024 * 1024 * 1024;

/// Zeros are written in parts of this size, each synced.
const PART_BYTES: usize = 4 * 1024 * 1024;

/// A file whose blocks are there: zeros were written and synced to its full length. Removed when dropped.
pub(crate) struct LimitFile {
    path: PathBuf,
    file: File,
}

/// What was measured at one batch size.
#[derive(Clone, Copy)]
pub(crate) struct Limit {
    batch: usize,
    syncs: u64,
    time: Duration,
    processor_us: f64,
}

impl Limit {
    pub(crate) fn syncs_per_second(&self) -> f64 {
        self.syncs as f64 / self.time.as_secs_f64()
    }

    pub(crate) fn events_per_second(&self) -> f64 {
        self.syncs_per_second() * self.batch as f64
    }

    /// Processor time of one event: what no program that writes so many bytes can do without.
    pub(crate) fn processor_us(&self) -> f64 {
        self.processor_us / (self.syncs * self.batch as u64).max(1) as f64
    }
}

impl LimitFile {
    pub(crate) fn make(dir: &Path) -> io::Result<LimitFile> {
        let path = dir.join(format!("store-bench-limit-{}", std::process::id()));
        let file = File::options().read(true).write(true).create_new(true).open(&path)?;
        let made = LimitFile { path, file };
        let zeros = vec![0; PART_BYTES];
        for at in (0..FILE_BYTES).step_by(PART_BYTES) {
            made.file.write_all_at(&zeros, at as u64)?;
            made.file.sync_data()?;
        }
        Ok(made)
    }

    /// Writes and syncs batches of `batch` times `bytes` bytes, one behind the other.
    pub(crate) fn measure(&self, batch: usize, bytes: usize, seconds: f64) -> io::Result<Limit> {
        let part: Vec<u8> = (0..=250u8).cycle().take(batch * bytes).collect();
        let (mut at, mut syncs) = (0, 0);
        let processor = machine::processor_seconds();
        let begun = Instant::now();
        while begun.elapsed().as_secs_f64() < seconds {
            if at + part.len() > FILE_BYTES {
                at = 0;
            }
            self.file.write_all_at(&part, at as u64)?;
            self.file.sync_data()?;
            at += part.len();
            syncs += 1;
        }
        let processor_us = (machine::processor_seconds() - processor) * 1e6;
        Ok(Limit { batch, syncs, time: begun.elapsed(), processor_us })
    }

    /// Events a second at a mean batch size that need be no whole number: on the line between its neighbours.
    pub(crate) fn measure_mean(&self, batch: f64, bytes: usize, seconds: f64) -> io::Result<f64> {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a batch has some events")]
        let below = batch.max(1.0) as usize;
        let share = (batch - below as f64).clamp(0.0, 1.0);
        let low = self.measure(below, bytes, seconds / 2.0)?.events_per_second();
        let high = self.measure(below + 1, bytes, seconds / 2.0)?.events_per_second();
        Ok(low + (high - low) * share)
    }
}

impl Drop for LimitFile {
    fn drop(&mut self) {
        // A file of a bench that stays behind is a nuisance and no more.
        drop(fs::remove_file(&self.path));
    }
}
