//! The thread beside the owner: batches that are durable are applied and answered here, in order, while the
//! owner writes and syncs the next one. Without it the disk waits while memory is written, and memory waits while
//! the disk is.
//!
//! The owner hands nothing over that the next batch depends on: ids are remembered when they are gathered. A thread
//! that is woken costs some microseconds, so a batch that nobody comes after is finished by the owner itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;

use super::Batch;
use crate::shared::Shared;

/// Batches that wait for the thread. Whenever it does not get a processor for a while, the owner goes on for so
/// many syncs; with one it waited for the thread as often as for the disk. With all of them waiting, memory is
/// slower than the disk, and the owner waits.
const WAITING_MAX: usize = 4;

/// The thread. Dropped, it does what it was given and ends.
pub(super) struct Beside {
    /// None only while it is dropped.
    batches: Option<SyncSender<Batch>>,
    /// Batches that were handed over and are not finished.
    unfinished: Arc<AtomicUsize>,
    thread: Option<JoinHandle<()>>,
}

impl Beside {
    pub(super) fn start(shared: Arc<Shared>) -> std::io::Result<Beside> {
        let (batches, given) = sync_channel::<Batch>(WAITING_MAX);
        let unfinished = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&unfinished);
        let thread = std::thread::Builder::new().name("store-answers".to_owned()).spawn(move || {
            for mut batch in given {
                batch.apply(&shared);
                batch.answer();
                counted.fetch_sub(1, Ordering::Release);
            }
        })?;
        Ok(Beside { batches: Some(batches), unfinished, thread: Some(thread) })
    }

    /// Whether everything that was handed over is applied and answered.
    pub(super) fn is_idle(&self) -> bool {
        self.unfinished.load(Ordering::Acquire) == 0
    }

    pub(super) fn hand_over(&self, batch: Batch) -> Result<(), String> {
        self.unfinished.fetch_add(1, Ordering::Relaxed);
        if self.batches.as_ref().is_some_and(|batches| batches.send(batch).is_ok()) {
            return Ok(());
        }
        // It ends only when it is dropped, or by a fault in this crate; whoever waits for the batch finds its
        // answer gone.
        Err("the thread that applies what is written is gone".to_owned())
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        drop(self.batches.take());
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}
