//! Who runs the owner: a thread on a real disk, a task on the simulated one.

use std::fs::File;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use tokio::sync::watch;

use crate::StoreError;
use crate::disk::SimulatedDisk;
use crate::owner::Owner;
use crate::shared::Shared;

enum Runner {
    Thread { owner: Option<JoinHandle<()>>, ahead: Option<JoinHandle<()>> },
    Task(tokio::task::AbortHandle),
}

/// A running owner; dropped with the last clone of its store.
pub(crate) struct Running {
    shared: Arc<Shared>,
    runner: Mutex<Runner>,
    /// Turns true when the owner has ended.
    ended: watch::Receiver<bool>,
}

impl Running {
    /// Runs the owner in a thread, and beside it one that makes segments ahead.
    pub(crate) fn thread(mut owner: Owner, lock: Option<File>) -> std::io::Result<Running> {
        let shared = Arc::clone(&owner.shared);
        let (done, ended) = watch::channel(false);
        let ahead = {
            let ahead = Arc::clone(&shared.ahead);
            std::thread::Builder::new().name("store-segments".to_owned()).spawn(move || ahead.run())?
        };
        let owner = std::thread::Builder::new().name("store-journal".to_owned()).spawn(move || {
            while owner.has_more() || owner.shared.inbox.wait() {
                if let Err(error) = owner.batch() {
                    owner.poison(error);
                    break;
                }
            }
            owner.shared.ahead.close();
            // Held until nothing is written any more, so that no other process writes beside this one.
            drop(lock);
            done.send_replace(true);
        })?;
        let runner = Mutex::new(Runner::Thread { owner: Some(owner), ahead: Some(ahead) });
        Ok(Running { shared, runner, ended })
    }

    /// Runs the owner in a task, which waits out the disk's slowness.
    pub(crate) fn task(mut owner: Owner, disk: SimulatedDisk) -> Running {
        let shared = Arc::clone(&owner.shared);
        let (done, ended) = watch::channel(false);
        let task = tokio::spawn(async move {
            while owner.has_more() || owner.shared.inbox.wait_async().await {
                if let Err(error) = one_batch_slowly(&mut owner, &disk).await {
                    owner.poison(error);
                    break;
                }
            }
            owner.shared.ahead.close();
            done.send_replace(true);
        });
        Running { shared, runner: Mutex::new(Runner::Task(task.abort_handle())), ended }
    }

    pub(crate) async fn close(&self, shared: &Shared) -> Result<(), StoreError> {
        shared.inbox.close(StoreError::Closed);
        let mut ended = self.ended.clone();
        // An owner that is gone has ended too.
        drop(ended.wait_for(|ended| *ended).await);
        shared.changed.notify_one();
        match shared.health() {
            crate::Health::Poisoned(error) => Err(StoreError::Poisoned(error)),
            _ => Ok(()),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.shared.inbox.close(StoreError::Closed);
        match self.runner.get_mut().unwrap_or_else(PoisonError::into_inner) {
            Runner::Task(task) => task.abort(),
            Runner::Thread { owner, ahead } => {
                // It writes what was handed to it and ends; nobody waits for more than that.
                for thread in [owner.take(), ahead.take()].into_iter().flatten() {
                    drop(thread.join());
                }
            }
        }
    }
}

async fn one_batch_slowly(owner: &mut Owner, disk: &SimulatedDisk) -> Result<(), String> {
    // Space may have come, and there is no thread that would find out.
    owner.shared.ahead.make_one();
    if owner.gather()? {
        wait(disk).await;
        if owner.write()? {
            wait(disk).await;
            owner.after_write();
            owner.sync()?;
            wait(disk).await;
        }
        owner.after_write();
        owner.finish();
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
