//! The seven calls on a file system.

use std::fs::File;
use std::io;
use std::num::NonZero;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{Advice, fadvise};

use super::{Disk, Listed, OpenHow};

/// The machine's own file system.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealDisk;

/// An open file or folder.
#[derive(Clone, Debug)]
pub struct RealFile(Arc<File>);

impl Disk for RealDisk {
    type File = RealFile;

    fn open(&self, path: &Path, how: OpenHow) -> io::Result<RealFile> {
        let file = match how {
            OpenHow::Read => File::open(path)?,
            OpenHow::Write => File::options().read(true).write(true).open(path)?,
            OpenHow::Create => File::options().read(true).write(true).create_new(true).open(path)?,
            OpenHow::Folder => {
                if !path.is_dir() {
                    std::fs::create_dir_all(path)?;
                    // The new name must survive too, or all that is in the folder is lost with it.
                    if let Some(above) = path.parent().filter(|above| !above.as_os_str().is_empty()) {
                        File::open(above)?.sync_all()?;
                    }
                }
                File::open(path)?
            }
        };
        Ok(RealFile(Arc::new(file)))
    }

    fn read(&self, file: &RealFile, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        loop {
            match file.0.read_at(into, offset) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => return other,
            }
        }
    }

    fn write(&self, file: &RealFile, offset: u64, bytes: &[u8]) -> io::Result<()> {
        file.0.write_all_at(bytes, offset)
    }

    fn sync(&self, file: &RealFile) -> io::Result<()> {
        // fdatasync: data and what is needed to find it again (the length), not the times.
        file.0.sync_data()
    }

    fn let_go(&self, file: &RealFile, offset: u64, bytes: usize) {
        // Of none would mean of all. A file system that does not know the hint keeps the pages.
        if let Some(bytes) = NonZero::new(bytes as u64) {
            let _ = fadvise(&file.0, offset, Some(bytes), Advice::DontNeed);
        }
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<Listed>> {
        let mut found = Vec::new();
        for entry in std::fs::read_dir(folder)? {
            let entry = entry?;
            let meta = match entry.metadata() {
                Ok(meta) => meta,
                // Removed between the two calls.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            // A name that is not UTF-8 is none of ours.
            if let Ok(name) = entry.file_name().into_string() {
                found.push(Listed { name, bytes: meta.len(), folder: meta.is_dir() });
            }
        }
        found.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(found)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }
}
