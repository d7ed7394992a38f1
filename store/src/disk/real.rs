//! The calls on a file system.

use std::fs::File;
use std::io::{self, IoSlice};
use std::num::NonZero;
use std::ops::Deref;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use rustix::fs::{Advice, Mode, OFlags, fadvise, open};

use super::pages::{PAGE_BYTES, Pages};
use super::{Disk, Listed, OpenHow};

/// How many zeros stand in memory; one call writes them many times over.
const ZEROS_BYTES: usize = 16 * PAGE_BYTES;
/// How often one call writes them at most; systems take 1024.
const ZEROS_TIMES_MAX: usize = 64;

/// The machine's own file system.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealDisk;

/// An open file or folder.
#[derive(Clone, Debug)]
pub struct RealFile(Arc<Opened>);

#[derive(Debug)]
struct Opened {
    file: File,
    /// The same file opened once more, for writes that pass by the page cache; none where that cannot be. Opened by the
    /// first of them: it can neither read what is not a page nor write it.
    direct: OnceLock<Option<File>>,
}

impl Deref for Opened {
    type Target = File;

    fn deref(&self) -> &File {
        &self.file
    }
}

impl Opened {
    fn direct(&self) -> Option<&File> {
        let open = || {
            // By its number: its name may be another one by now.
            let path = format!("/proc/self/fd/{}", self.file.as_raw_fd());
            open(path, OFlags::WRONLY | OFlags::DIRECT | OFlags::CLOEXEC, Mode::empty()).ok().map(File::from)
        };
        self.direct.get_or_init(open).as_ref()
    }
}

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
        Ok(RealFile(Arc::new(Opened { file, direct: OnceLock::new() })))
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

    // Each page that is new in the cache costs more than all the rest of a commit, where memory is the host's.
    fn write_pages(&self, file: &RealFile, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let whole = |at: u64| at.is_multiple_of(PAGE_BYTES as u64);
        let from_pages = bytes.as_ptr().addr().is_multiple_of(PAGE_BYTES);
        let Some(direct) = file.0.direct().filter(|_| from_pages && whole(offset) && whole(bytes.len() as u64)) else {
            return self.write(file, offset, bytes);
        };
        match direct.write_all_at(bytes, offset) {
            // The file system knows how, but not for these bytes.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => self.write(file, offset, bytes),
            other => other,
        }
    }

    fn write_zeros(&self, file: &RealFile, offset: u64, bytes: usize) -> io::Result<()> {
        let mut zeros = Pages::default();
        zeros.fill_up(ZEROS_BYTES);
        // Nobody reads zeros, and each of their pages would cost a copy and push out one that is read.
        if let Some(direct) = file.0.direct() {
            match put_zeros(direct, &zeros, offset, bytes) {
                // The file system knows how, but not for these bytes.
                Err(error) if error.kind() == io::ErrorKind::InvalidInput => {}
                other => return other,
            }
        }
        put_zeros(&file.0, &zeros, offset, bytes)
    }

    fn sync(&self, file: &RealFile) -> io::Result<()> {
        // fdatasync: data and what is needed to find it again (the length), not the times.
        file.0.sync_data()
    }

    fn let_go(&self, file: &RealFile, offset: u64, bytes: usize) {
        // Of none would mean of all. A file system that does not know the hint keeps the pages.
        if let Some(bytes) = NonZero::new(bytes as u64) {
            let _ = fadvise(&file.0.file, offset, Some(bytes), Advice::DontNeed);
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
    fn pages_are_written_and_read_by_one_file_whether_or_not_the_file_system_has_a_way_past_its_cache() {
        let memory = Path::new("/dev/shm");
        let at_hand = tempfile::tempdir().unwrap();
        let in_memory = memory.is_dir().then(|| tempfile::tempdir_in(memory).unwrap());
        for dir in std::iter::once(&at_hand).chain(&in_memory) {
            let disk = RealDisk;
            let file = disk.open(&dir.path().join("new"), OpenHow::Create).unwrap();
            disk.write_zeros(&file, 0, 64 * PAGE_BYTES).unwrap();
            disk.rename(&dir.path().join("new"), &dir.path().join("file")).unwrap();
            let mut wanted = vec![0; 64 * PAGE_BYTES];
            let mut random = fastrand::Rng::with_seed(1);
            // Pages, many of them, the same pages again, and what is none in the file or in memory.
            for (at, bytes, of_pages) in [
                (0, PAGE_BYTES, true),
                (PAGE_BYTES, 60 * PAGE_BYTES, true),
                (0, 3 * PAGE_BYTES, true),
                (PAGE_BYTES, PAGE_BYTES, false),
                (PAGE_BYTES + 1, PAGE_BYTES, true),
                (7, 12, true),
                (0, PAGE_BYTES, true),
            ] {
                let before = usize::from(!of_pages);
                let mut fresh = Pages::default();
                fresh.with_room(before + bytes).extend(std::iter::repeat_with(|| random.u8(..)).take(before + bytes));
                let fresh = &fresh[before..];
                disk.write_pages(&file, at as u64, fresh).unwrap();
                wanted[at..at + bytes].copy_from_slice(fresh);
                assert!(crate::disk::read_all(&disk, &file).unwrap() == wanted, "{at} {bytes}");
            }
            disk.sync(&file).unwrap();
        }
    }

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
