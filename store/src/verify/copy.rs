//! A copy of the index, to be opened in its place.

use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// Folders within folders that a copy follows; sled makes one.
const DEPTH_MAX: usize = 4;

/// A folder that goes away with its value.
pub(super) struct Copied(PathBuf);

impl Copied {
    /// Copies a folder into the system's temporary folder, for this user's eyes only.
    pub(super) fn of(folder: &Path) -> io::Result<Copied> {
        let name = format!("eventyard-verify-{}-{:016x}", std::process::id(), fastrand::u64(..));
        let copied = Copied(std::env::temp_dir().join(name));
        // Not recursive: a folder of that name that somebody else has put there is an error.
        std::fs::DirBuilder::new().mode(0o700).create(&copied.0)?;
        copy(folder, &copied.0.join("index"), DEPTH_MAX)?;
        Ok(copied)
    }

    /// The folder that the copy stands in.
    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

fn copy(from: &Path, to: &Path, depth: usize) -> io::Result<()> {
    std::fs::create_dir(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let (kind, to) = (entry.file_type()?, to.join(entry.file_name()));
        if kind.is_file() {
            std::fs::copy(entry.path(), to)?;
        } else if kind.is_dir() && depth > 0 {
            copy(&entry.path(), &to, depth - 1)?;
        }
    }
    Ok(())
}

impl Drop for Copied {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            tracing::warn!(folder = %self.0.display(), %error, "a temporary copy of the index could not be removed");
        }
    }
}
