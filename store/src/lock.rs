//! One process for each data folder: a lock on the file `lock`, which ends with the process however that ends.
//!
//! The file also holds the process's id, for the message to whoever comes second.

use std::fs::{File, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use crate::local::io_error;
use crate::{OpenError, options};

/// How long the folder may still be held by an owner that is dying, or dead already. What was killed with `kill -9` is there,
/// with its locks, until the system has taken its memory apart, and that it is doomed cannot be seen from outside. And a
/// process that the owner was just starting holds the lock from its birth until it runs a program of its own. Who comes
/// second because the first one runs waits as long, and is refused then.
const LEFTOVER_TIME: Duration = Duration::from_secs(2);

/// A wait that is longer than this is told.
const SILENT_TIME: Duration = Duration::from_millis(250);

/// How often it is looked meanwhile.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Who holds the folder, where that is known.
fn owner(mut file: &File) -> Option<u32> {
    let mut text = String::new();
    // The text is for people; where it cannot be read, the refusal stands all the same. A reader of the folder
    // leaves the id of the last writer in place, so an id without a process is not named.
    file.read_to_string(&mut text).ok().and_then(|_| text.trim().parse().ok()).filter(|pid| is_alive(*pid))
}

fn refused(dir: &Path, file: &File) -> OpenError {
    OpenError::Locked { dir: dir.to_owned(), pid: owner(file) }
}

pub(crate) fn is_alive(pid: u32) -> bool {
    let pid = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw);
    pid.is_some_and(|pid| rustix::process::test_kill_process(pid) != Err(rustix::io::Errno::SRCH))
}

#[expect(clippy::disallowed_methods, reason = "opening is blocking, and nothing tells when another's lock ends")]
fn wait(time: Duration) {
    std::thread::sleep(time);
}

/// Takes the folder for this process alone, until the file is closed. Blocks for up to [`LEFTOVER_TIME`] where it is
/// held.
pub(crate) fn take(dir: &Path) -> Result<File, OpenError> {
    let path = dir.join("lock");
    let fail = io_error(&path);
    let mut file = File::options().read(true).write(true).create(true).truncate(false).open(&path).map_err(&fail)?;
    let began = Instant::now();
    let mut told = false;
    while let Err(refusal) = file.try_lock() {
        match refusal {
            TryLockError::WouldBlock => {
                let waited = began.elapsed();
                if waited >= LEFTOVER_TIME {
                    return Err(refused(dir, &file));
                }
                if waited >= SILENT_TIME && !std::mem::replace(&mut told, true) {
                    let owner = options::owner(owner(&file));
                    let most = LEFTOVER_TIME.as_secs();
                    tracing::info!("the data folder is in use by {owner}; it gets {most} s to end, if it is about to");
                }
                wait(LOOK_EVERY);
            }
            TryLockError::Error(error) => return Err(fail(error)),
        }
        file.rewind().map_err(&fail)?;
    }
    file.set_len(0).map_err(&fail)?;
    file.rewind().map_err(&fail)?;
    file.write_all(format!("{}\n", std::process::id()).as_bytes()).map_err(&fail)?;
    Ok(file)
}

/// Waits, for up to [`LEFTOVER_TIME`], until nobody holds this file any more. For one below a folder that is ours already: who
/// holds it can only be a process that a dead owner, or we ourselves, were just starting.
pub(crate) fn wait_until_free(path: &Path) {
    let Ok(file) = File::open(path) else { return };
    let until = Instant::now() + LEFTOVER_TIME;
    while matches!(file.try_lock(), Err(TryLockError::WouldBlock)) && Instant::now() < until {
        wait(LOOK_EVERY);
    }
}

/// Keeps writers out of the folder until the file is closed, and changes nothing in it. `None` where there is no
/// such file: then no store was ever opened here, or this is a copy of one.
pub(crate) fn share(dir: &Path) -> Result<Option<File>, OpenError> {
    let path = dir.join("lock");
    let fail = io_error(&path);
    let file = match File::open(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(&fail)?,
    };
    match file.try_lock_shared() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Err(refused(dir, &file)),
        Err(TryLockError::Error(error)) => Err(fail(error)),
    }
}
