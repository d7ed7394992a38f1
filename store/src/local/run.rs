//! Who runs the owner: a thread on a real disk, a task on the simulated one. Beside the owner, segments are
//! made ahead and checkpoints are written; on the simulated disk the one task does all of it in turn.

use std::fs::File;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::watch;

use crate::checkpoint::Checkpointer;
use crate::disk::{Disk, OpenHow, SimulatedDisk};
use crate::journal::segment_name;
use crate::owner::Owner;
use crate::retention::{Did, Retention};
use crate::shared::Shared;
use crate::{Health, StoreError};

/// How often it is looked whether a checkpoint is due and whether the journal is still there.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Steps of the retention between two looks whether a checkpoint is due.
const RETENTION_STEPS: usize = 500;
/// The pause after each: so it takes a small part of the disk's time.
const RETENTION_PAUSE: Duration = Duration::from_millis(2);

/// A checkpoint rests so many times as long as it has worked: it takes a part of the processors and of the disk's time for
/// some seconds, and not all of it for half a second.
const REST_FACTOR: u32 = 3;
/// The longest rest; a disk that takes long is not to make a checkpoint endless.
const REST_MAX: Duration = Duration::from_millis(100);

enum Runner {
    /// The owner ends the others.
    Threads {
        owner: Option<JoinHandle<()>>,
        stop: Arc<Stop>,
    },
    Task(tokio::task::AbortHandle),
}

/// Tells the thread that writes checkpoints to end.
#[derive(Default)]
struct Stop {
    stopped: Mutex<bool>,
    changed: Condvar,
}

impl Stop {
    fn stop(&self) {
        *self.stopped.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.changed.notify_all();
    }

    /// Waits; `false` when it is time to end.
    fn wait(&self, time: Duration) -> bool {
        let stopped = self.stopped.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.changed.wait_timeout_while(stopped, time, |stopped| !*stopped);
        !*waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

/// A running owner; dropped with the last clone of its store.
pub(crate) struct Running {
    shared: Arc<Shared>,
    runner: Mutex<Runner>,
    /// Turns true when the owner has ended.
    ended: watch::Receiver<bool>,
}

impl Running {
    /// Runs the owner in a thread, and beside it those that make segments ahead and write checkpoints.
    pub(crate) fn threads(
        mut owner: Owner,
        checkpointer: Checkpointer,
        lock: Option<File>,
    ) -> std::io::Result<Running> {
        let shared = Arc::clone(&owner.shared);
        let (done, ended) = watch::channel(false);
        let stop = Arc::new(Stop::default());
        let checkpointer = Arc::new(Mutex::new(checkpointer));
        let ahead = {
            let ahead = Arc::clone(&shared.ahead);
            ahead.begin_thread();
            std::thread::Builder::new().name("store-segments".to_owned()).spawn(move || ahead.run())?
        };
        let saver = {
            let (shared, stop, checkpointer) = (Arc::clone(&shared), Arc::clone(&stop), Arc::clone(&checkpointer));
            let builder = std::thread::Builder::new().name("store-index".to_owned());
            builder.spawn(move || keep_saving(&shared, &stop, &checkpointer))?
        };
        let stops = Arc::clone(&stop);
        owner.begin_beside()?;
        let builder = std::thread::Builder::new().name("store-journal".to_owned());
        let owner = builder.spawn(move || {
            let mut sound = true;
            while sound && owner.wait() {
                // Whoever looks after the folder may have found that it is gone.
                let done = match owner.shared.health() {
                    Health::Poisoned(error) => Err(error),
                    _ => owner.batch(),
                };
                if let Err(error) = done {
                    owner.poison(error);
                    sound = false;
                }
            }
            owner.end_beside();
            sound &= !matches!(owner.shared.health(), Health::Poisoned(_));
            owner.shared.ahead.close();
            stops.stop();
            // A segment that is still being made would take its name in the folder after the next process has
            // begun to use it, and the index can be opened by one at a time.
            for other in [ahead, saver] {
                drop(other.join());
            }
            if sound && owner.shared.closing.load(Ordering::Acquire) {
                save(&owner.shared, &mut checkpointer.lock().unwrap_or_else(PoisonError::into_inner));
            }
            // Held until nothing is written any more and all is closed, so that no other process writes beside
            // this one.
            drop(checkpointer);
            drop(lock);
            done.send_replace(true);
        })?;
        let runner = Mutex::new(Runner::Threads { owner: Some(owner), stop });
        Ok(Running { shared, runner, ended })
    }

    /// Runs the owner in a task, which waits out the disk's slowness.
    pub(crate) fn task(mut owner: Owner, mut checkpointer: Checkpointer, disk: SimulatedDisk) -> Running {
        let shared = Arc::clone(&owner.shared);
        let (done, ended) = watch::channel(false);
        let task = tokio::spawn(async move {
            let mut sound = true;
            let mut retention = Retention::default();
            loop {
                // A copy that it hands over is in the next batch.
                retention.step(&owner.shared);
                wait(&disk).await;
                let woken = match tokio::time::timeout(owner.shared.options.checkpoint_every, owner.wait_async()).await
                {
                    Ok(more) => more,
                    Err(_) => {
                        save(&owner.shared, &mut checkpointer);
                        continue;
                    }
                };
                if !woken {
                    break;
                }
                let mut done = one_batch_slowly(&mut owner, &mut checkpointer, &disk).await;
                if owner.checkpoint_due() {
                    // A checkpoint waits until all that is gathered is durable, and nobody else would make it so.
                    while done.is_ok() && owner.has_more() {
                        done = owner.batch();
                    }
                }
                if let Err(error) = done {
                    owner.poison(error);
                    sound = false;
                    break;
                }
                if owner.checkpoint_due() {
                    save(&owner.shared, &mut checkpointer);
                    wait(&disk).await;
                }
            }
            retention.let_go(&owner.shared);
            owner.shared.ahead.close();
            if sound && owner.shared.closing.load(Ordering::Acquire) {
                save(&owner.shared, &mut checkpointer);
            }
            done.send_replace(true);
        });
        Running { shared, runner: Mutex::new(Runner::Task(task.abort_handle())), ended }
    }

    pub(crate) async fn close(&self, shared: &Shared) -> Result<(), StoreError> {
        shared.closing.store(true, Ordering::Release);
        if let Runner::Threads { stop, .. } = &*self.runner.lock().unwrap_or_else(PoisonError::into_inner) {
            stop.stop();
        }
        shared.inbox.close(StoreError::Closed);
        let mut ended = self.ended.clone();
        // An owner that is gone has ended too.
        drop(ended.wait_for(|ended| *ended).await);
        shared.changed.notify_one();
        match shared.health() {
            Health::Poisoned(error) => Err(StoreError::Poisoned(error)),
            _ => Ok(()),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.shared.inbox.close(StoreError::Closed);
        match self.runner.get_mut().unwrap_or_else(PoisonError::into_inner) {
            Runner::Task(task) => task.abort(),
            Runner::Threads { owner, stop } => {
                stop.stop();
                // The owner writes what was handed to it and ends; nobody waits for more than that.
                if let Some(owner) = owner.take() {
                    drop(owner.join());
                }
            }
        }
    }
}

/// Writes a checkpoint. That it cannot be written is a warning: the journal has everything.
fn save(shared: &Shared, checkpointer: &mut Checkpointer) {
    save_in_pieces(shared, checkpointer, &mut |_| ());
}

/// The same, with a rest after each piece: `rest` is told how long the piece took.
fn save_in_pieces(shared: &Shared, checkpointer: &mut Checkpointer, rest: &mut dyn FnMut(Duration)) {
    if shared.unsaved_bytes.swap(0, Ordering::Relaxed) == 0 && !shared.options.faults.checkpoint_ahead_of_sync {
        return;
    }
    if let Err(error) = checkpointer.run(shared, rest) {
        tracing::warn!(%error, "the index could not be written; the journal has everything, and it is tried again");
    }
}

/// What the checkpoint's thread does.
fn keep_saving(shared: &Shared, stop: &Stop, checkpointer: &Mutex<Checkpointer>) {
    let mut waited = Duration::ZERO;
    let mut retention = Retention::default();
    while stop.wait(LOOK_EVERY) {
        waited += LOOK_EVERY;
        if matches!(shared.health(), Health::Poisoned(_)) {
            break;
        }
        look_after(shared);
        let mut steps = 0;
        while steps < RETENTION_STEPS && retention.step(shared) == Did::Something {
            steps += 1;
            if !stop.wait(RETENTION_PAUSE) {
                break;
            }
        }
        let unsaved = shared.unsaved_bytes.load(Ordering::Relaxed);
        if unsaved >= shared.options.checkpoint_bytes || unsaved > 0 && waited >= shared.options.checkpoint_every {
            let mut rest = |worked: Duration| {
                // Where the next one is due before this one is through, the index would fall behind the journal.
                if shared.unsaved_bytes.load(Ordering::Relaxed) < shared.options.checkpoint_bytes {
                    stop.wait((worked * REST_FACTOR).min(REST_MAX));
                }
            };
            save_in_pieces(shared, &mut checkpointer.lock().unwrap_or_else(PoisonError::into_inner), &mut rest);
            waited = Duration::ZERO;
        }
    }
    retention.let_go(shared);
}

/// A folder that is deleted under us goes on taking writes into nowhere: it is found out here.
fn look_after(shared: &Shared) {
    let live = shared.folders.journal.join(segment_name(shared.end().place.segment));
    if let Err(error) = shared.disk.open(&live, OpenHow::Read)
        && error.kind() == std::io::ErrorKind::NotFound
    {
        let error = format!("{} is gone; was the data folder deleted?", live.display());
        tracing::error!(%error, "the journal has vanished; nothing is accepted until a restart");
        // Closed first: who sees the poison must not find the inbox open.
        shared.inbox.close(StoreError::Poisoned(error.clone()));
        shared.poison(error);
    }
}

async fn one_batch_slowly(
    owner: &mut Owner,
    checkpointer: &mut Checkpointer,
    disk: &SimulatedDisk,
) -> Result<(), String> {
    // Space may have come, and there is no thread that would find out.
    owner.shared.ahead.make_one();
    if owner.gather()? {
        wait(disk).await;
        if owner.write()? {
            wait(disk).await;
            owner.after_write();
            if owner.shared.options.faults.checkpoint_ahead_of_sync {
                owner.apply_early();
                save(&owner.shared, checkpointer);
                wait(disk).await;
            }
            owner.sync()?;
            wait(disk).await;
        }
        owner.after_write();
        owner.finish()?;
    }
    Ok(())
}

/// Waits as long as the simulated disk's last calls would have taken.
async fn wait(disk: &SimulatedDisk) {
    let slowness = disk.take_slowness();
    if !slowness.is_zero() {
        tokio::time::sleep(slowness).await;
    }
}
