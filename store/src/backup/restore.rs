//! Putting a backup in place of a data folder.

use std::fs;
use std::path::{Path, PathBuf};

use eventyard_event::Timestamp;

use super::{CopyError, Progress, Unfinished, copy_content, is_vacant, read, sync_folder};
use crate::disk::{AnyDisk, RealDisk, unless_gone};
use crate::journal::journal_folder;
use crate::local::io_error;
use crate::{VerifyError, VerifyReport, lock};

/// Names that may be in a folder that is empty otherwise. The last is what a file system keeps at its root.
const NO_CONTENT: [&str; 3] = ["lock", UNFINISHED, "lost+found"];

/// The copy's name, within the folder that it is for, until it is whole and read back.
const UNFINISHED: &str = "restore.unfinished";

/// What a folder is called in which the old content was set aside.
const OLD: &str = "before-restore-";

/// A backup that was restored.
#[derive(Clone, Debug)]
pub struct RestoreReport {
    /// What the folder holds, read back from it.
    pub copy: VerifyReport,
    /// Where its old content stands, if it had any.
    pub old: Option<PathBuf>,
}

/// Copies the backup `from` into the data folder `dir` and reads it back. `dir` must not exist or be empty, unless
/// `force`: then what is in it is moved to a folder within it, once the copy is whole. Blocks.
///
/// # Errors
/// [`CopyError`]: among others where a process has one of the folders, where the backup is damaged, and where there
/// is no room for the copy. The folder holds what it held then.
pub fn restore(
    from: &Path,
    dir: &Path,
    force: bool,
    now: Timestamp,
    progress: Progress<'_>,
) -> Result<RestoreReport, CopyError> {
    if !journal_folder(from).is_dir() {
        return Err(VerifyError::Missing { dir: from.to_owned() }.into());
    }
    let vacant = is_vacant(dir, &NO_CONTENT)?;
    if !vacant && !force {
        return Err(CopyError::Exists { dir: dir.to_owned() });
    }
    let disk = AnyDisk::Real(RealDisk);
    let _from_lock = lock::share(from)?;
    let wanted = read(&disk, from, now, progress)?;
    if let Some(first) = wanted.damages.first() {
        let (count, first) = (wanted.damage_count, first.to_string());
        return Err(CopyError::Damaged { dir: from.to_owned(), count, first });
    }

    fs::create_dir_all(dir).map_err(io_error(dir))?;
    let _lock = lock::take(dir)?;
    let unfinished = dir.join(UNFINISHED);
    // Of a restore that was cut off.
    unless_gone(fs::remove_dir_all(&unfinished)).map_err(io_error(&unfinished))?;
    let unfinished = Unfinished::make(&unfinished)?;
    copy_content(&disk, from, &unfinished.0, false, progress)?;
    let copy = read(&disk, &unfinished.0, now, progress)?;
    if copy.frame_count != wanted.frame_count || !copy.is_sound() {
        return Err(CopyError::Differs { dir: dir.to_owned() });
    }

    // From here on nothing is written and nothing read: names change.
    let old = if vacant { None } else { Some(set_aside(dir, now)?) };
    put_in_place(&unfinished.0, dir)?;
    Ok(RestoreReport { copy, old })
}

/// Moves all that is in a folder into a folder of its own there: it may be a disk's root, which has no other name.
fn set_aside(dir: &Path, now: Timestamp) -> Result<PathBuf, CopyError> {
    let old = dir.join(format!("{OLD}{}", now.as_millis()));
    fs::create_dir(&old).map_err(io_error(&old))?;
    for entry in entries(dir)? {
        let name = entry.file_name();
        let stays =
            NO_CONTENT.iter().any(|other| name == *other) || name.to_str().is_some_and(|name| name.starts_with(OLD));
        if !stays {
            fs::rename(entry.path(), old.join(&name)).map_err(io_error(&entry.path()))?;
        }
    }
    sync_folder(&old)?;
    sync_folder(dir)?;
    Ok(old)
}

/// Moves all that is in a whole copy to where it belongs, durably; the journal last, for it makes the folder a store.
fn put_in_place(copy: &Path, dir: &Path) -> Result<(), CopyError> {
    let journal = journal_folder(dir);
    for entry in entries(copy)? {
        let to = dir.join(entry.file_name());
        if to != journal {
            fs::rename(entry.path(), &to).map_err(io_error(&to))?;
        }
    }
    sync_folder(dir)?;
    fs::rename(journal_folder(copy), &journal).map_err(io_error(&journal))?;
    sync_folder(dir)?;
    Ok(())
}

fn entries(dir: &Path) -> Result<Vec<fs::DirEntry>, crate::OpenError> {
    fs::read_dir(dir).and_then(Iterator::collect).map_err(io_error(dir))
}
