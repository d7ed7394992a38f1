//! The eight calls on a file system.

use std::fs::File;
use std::io::{self, IoSlice};
use std::num::NonZero;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{Advice, OFlags, fadvise, fcntl_getfl, fcntl_setfl};

use super::{Disk, Listed, OpenHow};

/// What a write past the page cache begins and ends at, in the file and in memory: the page of most machines and the
/// block of most disks. Where more is asked for, zeros are written by way of the page cache.
const DIRECT_ALIGNMENT: usize = 4096;
/// How many zeros stand in memory; one call writes them many times over.
const ZEROS_BYTES: usize = 16 * DIRECT_ALIGNMENT;
/// How often one call writes them at most; systems take 1024.
const ZEROS_TIMES_MAX: usize = 64;

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

    fn write_zeros(&self, file: &RealFile, offset: u64, bytes: usize) -> io::Result<()> {
        let memory = vec![0; ZEROS_BYTES + DIRECT_ALIGNMENT];
        let aligned = memory.as_ptr().align_offset(DIRECT_ALIGNMENT);
        let zeros = memory.get(aligned..).and_then(|aligned| aligned.get(..ZEROS_BYTES)).unwrap_or(&memory);
        // Past the page cache, where the file system knows how: nobody reads zeros, and each of their pages would cost a
        // copy and push out one that is read.
        let flags = fcntl_getfl(&file.0)?;
        if fcntl_setfl(&file.0, flags | OFlags::DIRECT).is_ok() {
            let written = put_zeros(&file.0, zeros, offset, bytes);
            fcntl_setfl(&file.0, flags)?;
            // It knew how, but not for these bytes.
            match written {
                Err(error) if error.kind() == io::ErrorKind::InvalidInput => {}
                other => return other,
            }
        }
        put_zeros(&file.0, zeros, offset, bytes)
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

/// Writes `bytes` zeros, `zeros` as often as needed.
fn put_zeros(file: &File, zeros: &[u8], offset: u64, bytes: usize) -> io::Result<()> {
    let mut done = 0;
    while done < bytes {
        let parts = (done..bytes).step_by(ZEROS_BYTES).take(ZEROS_TIMES_MAX);
        let part = |from: usize| IoSlice::new(zeros.get(..bytes - from).unwrap_or(zeros));
        let parts: Vec<IoSlice<'_>> = parts.map(part).collect();
        match rustix::io::pwritev(file, &parts, offset + done as u64) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => done += count,
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeros_are_written_whether_or_not_they_fit_the_pages_and_other_bytes_after_them() {
        let dir = tempfile::tempdir().unwrap();
        let disk = RealDisk;
        // More than one call writes; and what no write past the cache may begin or end at.
        for (name, offset, bytes) in [("whole", 4096, ZEROS_BYTES * (ZEROS_TIMES_MAX + 1)), ("odd", 100, 10_001)] {
            let file = disk.open(&dir.path().join(name), OpenHow::Create).unwrap();
            disk.write(&file, 0, &vec![b'x'; offset + bytes / 2]).unwrap();
            disk.write_zeros(&file, offset as u64, bytes).unwrap();
            disk.write(&file, offset as u64 + 7, b"abc").unwrap();
            disk.sync(&file).unwrap();
            let mut wanted = vec![b'x'; offset];
            wanted.resize(offset + bytes, 0);
            wanted[offset + 7..offset + 10].copy_from_slice(b"abc");
            assert!(crate::disk::read_all(&disk, &file).unwrap() == wanted, "{name}");
        }
    }
}
