//! What the journal asks of a disk: eight calls and a hint, so that recovery itself can be tested on a disk that forgets.
//!
//! [`RealDisk`] does them on a file system, [`SimulatedDisk`] in memory, with everything that a real one may do
//! to us: lose what was not synced, keep a part of it, fail, be slow, be full, and stop at any call.
//!
//! Folders are files too: opening one makes it where it is missing, and syncing one makes durable which names
//! stand in it. Nothing else is asked of a disk; a lock against a second process is taken beside it.

use std::io;
use std::path::Path;

mod pages;
mod real;
mod simulated;

pub(crate) use pages::{PAGE_BYTES, Pages};
pub use real::{RealDisk, RealFile};
pub use simulated::{CallKind, Crash, DiskFaults, SimulatedDisk, SimulatedFile};

/// How a file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenHow {
    /// An existing file, to be read only.
    Read,
    /// An existing file, to be read and written.
    Write,
    /// A file that does not exist yet, to be read and written.
    Create,
    /// A folder, to be synced. Made where it is missing, with those above it.
    Folder,
}

/// One name in a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The last part of its path.
    pub name: String,
    /// Its length.
    pub bytes: u64,
    /// Whether it is a folder itself.
    pub folder: bool,
}

/// The calls. All block until they are done; calls from several threads at once are allowed, but no two
/// write the same bytes.
pub trait Disk: Clone + Send + Sync + 'static {
    /// An open file. Clones share it; it is closed with the last one.
    type File: Clone + Send + Sync + 'static;

    /// Opens a file or a folder.
    ///
    /// # Errors
    /// `NotFound` and `AlreadyExists` as [`OpenHow`] says; whatever the system reports otherwise.
    fn open(&self, path: &Path, how: OpenHow) -> io::Result<Self::File>;

    /// Reads from `offset` on, as much as is there; less than asked for means the end of the file.
    ///
    /// # Errors
    /// Whatever the system reports.
    fn read(&self, file: &Self::File, offset: u64, into: &mut [u8]) -> io::Result<usize>;

    /// Writes all of `bytes` at `offset`. They are lost by a power cut until [`Disk::sync`] has returned; not
    /// by the death of the process.
    ///
    /// # Errors
    /// `StorageFull` where there is no space; whatever the system reports otherwise. A part may be written.
    fn write(&self, file: &Self::File, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// As [`Disk::write`] of whole pages that will mostly not be read soon, and that begin at a page of memory. The same
    /// pages may have been written before; who reads the file meanwhile may see either. Where the bytes are none such, or
    /// the disk knows no better, they are written as others are.
    ///
    /// # Errors
    /// As [`Disk::write`].
    fn write_pages(&self, file: &Self::File, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.write(file, offset, bytes)
    }

    /// As [`Disk::write`] of so many zeros that will not be read soon. Nobody else may use the file meanwhile.
    ///
    /// # Errors
    /// As [`Disk::write`].
    fn write_zeros(&self, file: &Self::File, offset: u64, bytes: usize) -> io::Result<()>;

    /// Makes durable what was written to a file, or which names stand in a folder.
    ///
    /// # Errors
    /// Whatever the system reports. What was written before may then be lost, and a second call proves nothing.
    fn sync(&self, file: &Self::File) -> io::Result<()>;

    /// Tells the system that it need not keep in memory what it has of a part of a file. A hint: nothing else changes.
    fn let_go(&self, _file: &Self::File, _offset: u64, _bytes: usize) {}

    /// The names in a folder, sorted.
    ///
    /// # Errors
    /// `NotFound` where it is missing.
    fn list(&self, folder: &Path) -> io::Result<Vec<Listed>>;

    /// Gives a file another name, in place of what had that name. Durable when the folder is synced.
    ///
    /// # Errors
    /// `NotFound` where it is missing.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file. Durable when the folder is synced.
    ///
    /// # Errors
    /// `NotFound` where it is missing.
    fn remove(&self, path: &Path) -> io::Result<()>;
}

/// Reads exactly `bytes` bytes.
///
/// # Errors
/// `UnexpectedEof` where the file ends before; else as [`Disk::read`].
pub(crate) fn read_exact<D: Disk>(disk: &D, file: &D::File, offset: u64, bytes: usize) -> io::Result<Vec<u8>> {
    let mut into = vec![0; bytes];
    let mut done = 0;
    while done < bytes {
        let rest = into.get_mut(done..).unwrap_or_default();
        let count = disk.read(file, offset + done as u64, rest)?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        done += count;
    }
    Ok(into)
}

/// Reads a file to its end.
///
/// # Errors
/// As [`Disk::read`].
pub(crate) fn read_all<D: Disk>(disk: &D, file: &D::File) -> io::Result<Vec<u8>> {
    const PART_BYTES: usize = 256 * 1024;
    let mut found = Vec::new();
    loop {
        let at = found.len();
        found.resize(at + PART_BYTES, 0);
        let count = disk.read(file, at as u64, found.get_mut(at..).unwrap_or_default())?;
        found.truncate(at + count);
        if count == 0 {
            return Ok(found);
        }
    }
}

/// Puts a file in the place of what has its name, durably. It is written at `unfinished`, in the same folder, and has
/// its name once it is whole and synced, so that a half-written one never has it.
///
/// # Errors
/// As [`Disk::open`], [`Disk::write`], [`Disk::sync`] and [`Disk::rename`].
pub(crate) fn put_whole<D: Disk>(disk: &D, unfinished: &Path, path: &Path, bytes: &[u8]) -> io::Result<D::File> {
    let names = disk.open(path.parent().unwrap_or(Path::new("/")), OpenHow::Folder)?;
    // Of a write that was cut off.
    unless_gone(disk.remove(unfinished))?;
    let file = disk.open(unfinished, OpenHow::Create)?;
    disk.write(&file, 0, bytes)?;
    disk.sync(&file)?;
    disk.rename(unfinished, path)?;
    disk.sync(&names)?;
    Ok(file)
}

/// What came of a removal: that nothing was there is as good.
pub(crate) fn unless_gone(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// The one disk type that the rest of the crate is written on, so that [`LocalStore`](crate::LocalStore) is one
/// type whatever it stands on.
#[derive(Clone)]
pub(crate) enum AnyDisk {
    Real(RealDisk),
    Simulated(SimulatedDisk),
}

/// A file of an [`AnyDisk`].
#[derive(Clone)]
pub(crate) enum AnyFile {
    Real(RealFile),
    Simulated(SimulatedFile),
}

/// A file of one disk was handed to another: a fault in this crate, answered as an error all the same.
fn mixed<T>() -> io::Result<T> {
    Err(io::Error::new(io::ErrorKind::InvalidInput, "a file of another disk"))
}

impl Disk for AnyDisk {
    type File = AnyFile;

    fn open(&self, path: &Path, how: OpenHow) -> io::Result<AnyFile> {
        match self {
            AnyDisk::Real(disk) => disk.open(path, how).map(AnyFile::Real),
            AnyDisk::Simulated(disk) => disk.open(path, how).map(AnyFile::Simulated),
        }
    }

    fn read(&self, file: &AnyFile, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        match (self, file) {
            (AnyDisk::Real(disk), AnyFile::Real(file)) => disk.read(file, offset, into),
            (AnyDisk::Simulated(disk), AnyFile::Simulated(file)) => disk.read(file, offset, into),
            _ => mixed(),
        }
    }

    fn write(&self, file: &AnyFile, offset: u64, bytes: &[u8]) -> io::Result<()> {
        match (self, file) {
            (AnyDisk::Real(disk), AnyFile::Real(file)) => disk.write(file, offset, bytes),
            (AnyDisk::Simulated(disk), AnyFile::Simulated(file)) => disk.write(file, offset, bytes),
            _ => mixed(),
        }
    }

    fn write_pages(&self, file: &AnyFile, offset: u64, bytes: &[u8]) -> io::Result<()> {
        match (self, file) {
            (AnyDisk::Real(disk), AnyFile::Real(file)) => disk.write_pages(file, offset, bytes),
            _ => self.write(file, offset, bytes),
        }
    }

    fn write_zeros(&self, file: &AnyFile, offset: u64, bytes: usize) -> io::Result<()> {
        match (self, file) {
            (AnyDisk::Real(disk), AnyFile::Real(file)) => disk.write_zeros(file, offset, bytes),
            (AnyDisk::Simulated(disk), AnyFile::Simulated(file)) => disk.write_zeros(file, offset, bytes),
            _ => mixed(),
        }
    }

    fn sync(&self, file: &AnyFile) -> io::Result<()> {
        match (self, file) {
            (AnyDisk::Real(disk), AnyFile::Real(file)) => disk.sync(file),
            (AnyDisk::Simulated(disk), AnyFile::Simulated(file)) => disk.sync(file),
            _ => mixed(),
        }
    }

    fn let_go(&self, file: &AnyFile, offset: u64, bytes: usize) {
        if let (AnyDisk::Real(disk), AnyFile::Real(file)) = (self, file) {
            disk.let_go(file, offset, bytes);
        }
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<Listed>> {
        match self {
            AnyDisk::Real(disk) => disk.list(folder),
            AnyDisk::Simulated(disk) => disk.list(folder),
        }
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        match self {
            AnyDisk::Real(disk) => disk.rename(from, to),
            AnyDisk::Simulated(disk) => disk.rename(from, to),
        }
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        match self {
            AnyDisk::Real(disk) => disk.remove(path),
            AnyDisk::Simulated(disk) => disk.remove(path),
        }
    }
}
