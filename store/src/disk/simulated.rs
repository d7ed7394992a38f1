//! A disk in memory that forgets, fails, fills up and stops, all by one seed.
//!
//! What is written is seen at once by whoever reads, as it is through a page cache, and becomes durable with a
//! sync. At a power cut each unsynced write is kept whole, lost, or kept in some of its sectors, in no order;
//! of the unsynced changes of names the first few are kept, as a journalling file system does. At the death of
//! the process alone nothing is lost, but what was not synced still is not: a power cut later may take it.
//! After a failed sync what it should have made durable is lost at the next power cut, however often it is
//! synced again: that is what Linux does.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::{Disk, Listed, OpenHow};

mod pairs;

const SECTOR_BYTES: usize = 512;

/// How the machine stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crash {
    /// What was not synced may be lost.
    PowerCut,
    /// Only the process ends; what was written is still there.
    ProcessDeath,
}

/// The calls, by name; zeros are written as anything else is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallKind {
    /// [`Disk::open`].
    Open,
    /// [`Disk::read`].
    Read,
    /// [`Disk::write`].
    Write,
    /// [`Disk::sync`].
    Sync,
    /// [`Disk::list`].
    List,
    /// [`Disk::rename`].
    Rename,
    /// [`Disk::remove`].
    Remove,
}

/// What goes wrong.
#[derive(Clone, Debug, Default)]
pub struct DiskFaults {
    /// The machine stops in the middle of the call with this number; they count from 1 and over restarts.
    pub crash_at: Option<u64>,
    /// From the call with this number on, the first of this kind fails with this error.
    pub fail: Option<(u64, CallKind, io::ErrorKind)>,
    /// The bytes of all files together; a write beyond it finds no space.
    pub capacity_bytes: Option<u64>,
    /// The longest that a write or a sync takes; each takes a random part of it.
    pub slowness_max: Duration,
}

/// A write that is not durable yet.
struct Unsynced {
    offset: usize,
    bytes: Vec<u8>,
}

#[derive(Default)]
struct FileData {
    /// As it is seen.
    seen: Vec<u8>,
    /// As it would be found after a power cut that loses all it can.
    durable: Vec<u8>,
    unsynced: Vec<Unsynced>,
}

/// A change of names that is not durable yet.
enum NameChange {
    Put(PathBuf, u64),
    Remove(PathBuf),
}

struct Inner {
    random: fastrand::Rng,
    /// Counts the restarts; handles of an earlier life are dead.
    life: u64,
    crashed: bool,
    calls: u64,
    faults: DiskFaults,
    slowness: Duration,
    names: BTreeMap<PathBuf, u64>,
    durable_names: BTreeMap<PathBuf, u64>,
    name_changes: Vec<NameChange>,
    files: BTreeMap<u64, FileData>,
    next_file: u64,
    pairs: pairs::Pairs,
}

/// The disk. Clones are the same disk.
#[derive(Clone)]
pub struct SimulatedDisk {
    inner: Arc<Mutex<Inner>>,
    life: u64,
}

/// An open file or folder of a [`SimulatedDisk`].
#[derive(Clone, Debug)]
pub struct SimulatedFile {
    life: u64,
    what: Opened,
}

#[derive(Clone, Debug)]
enum Opened {
    File(u64),
    Folder(PathBuf),
}

impl SimulatedDisk {
    /// An empty disk. The same seed and the same calls give the same losses.
    #[must_use]
    pub fn new(seed: u64) -> SimulatedDisk {
        let inner = Inner {
            random: fastrand::Rng::with_seed(seed),
            life: 0,
            crashed: false,
            calls: 0,
            faults: DiskFaults::default(),
            slowness: Duration::ZERO,
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            name_changes: Vec::new(),
            files: BTreeMap::new(),
            next_file: 0,
            pairs: pairs::Pairs::default(),
        };
        SimulatedDisk { inner: Arc::new(Mutex::new(inner)), life: 0 }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says what goes wrong from now on.
    pub fn set_faults(&self, faults: DiskFaults) {
        self.lock().faults = faults;
    }

    /// How many calls were made so far.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.lock().calls
    }

    /// Whether the machine stopped at [`DiskFaults::crash_at`].
    #[must_use]
    pub fn crashed(&self) -> bool {
        self.lock().crashed
    }

    /// Stops the machine, where it has not stopped yet, and gives the disk as it is found afterwards. Handles to
    /// the disk as it was before only give errors.
    #[must_use]
    pub fn restart(&self, crash: Crash) -> SimulatedDisk {
        let mut inner = self.lock();
        if crash == Crash::PowerCut {
            inner.cut_power();
        }
        inner.life += 1;
        inner.crashed = false;
        inner.faults.crash_at = None;
        inner.slowness = Duration::ZERO;
        SimulatedDisk { inner: Arc::clone(&self.inner), life: inner.life }
    }

    /// How long the calls since the last asking would have taken.
    #[must_use]
    pub fn take_slowness(&self) -> Duration {
        std::mem::take(&mut self.lock().slowness)
    }

    /// 16 random bytes.
    pub(crate) fn new_id(&self) -> [u8; 16] {
        let mut inner = self.lock();
        std::array::from_fn(|_| inner.random.u8(..))
    }

    /// A file's bytes, without a call; for tests that damage them.
    #[must_use]
    pub fn peek(&self, path: &Path) -> Option<Vec<u8>> {
        let inner = self.lock();
        Some(inner.files.get(inner.names.get(path)?)?.seen.clone())
    }

    /// Puts a file's bytes in place, durably and without a call; for tests that damage them.
    pub fn poke(&self, path: &Path, bytes: Vec<u8>) {
        let mut inner = self.lock();
        let id = match inner.names.get(path) {
            Some(id) => *id,
            None => inner.new_file(path),
        };
        inner.durable_names.insert(path.to_owned(), id);
        inner.files.insert(id, FileData { seen: bytes.clone(), durable: bytes, unsynced: Vec::new() });
    }

    /// Removes a file, durably and without a call; for tests that damage them.
    pub fn pluck(&self, path: &Path) {
        let mut inner = self.lock();
        inner.names.remove(path);
        inner.durable_names.remove(path);
    }

    /// All files, by path.
    #[must_use]
    pub fn paths(&self) -> Vec<PathBuf> {
        self.lock().names.keys().cloned().collect()
    }

    /// Counts a call, and makes go wrong what is to go wrong with it.
    fn call(&self, kind: CallKind) -> io::Result<(MutexGuard<'_, Inner>, bool)> {
        let mut inner = self.lock();
        if inner.crashed || inner.life != self.life {
            return Err(io::Error::other("the machine has stopped"));
        }
        inner.calls += 1;
        let stops = inner.faults.crash_at.is_some_and(|at| inner.calls >= at);
        if let Some((from, failing, error)) = inner.faults.fail
            && inner.calls >= from
            && failing == kind
            && !stops
        {
            inner.faults.fail = None;
            return Err(inner.fail(kind, error));
        }
        if matches!(kind, CallKind::Write | CallKind::Sync) && !inner.faults.slowness_max.is_zero() {
            let part = inner.random.f64();
            let took = inner.faults.slowness_max.mul_f64(part);
            inner.slowness += took;
        }
        if stops && !matches!(kind, CallKind::Write | CallKind::Sync) {
            inner.crashed = true;
            return Err(io::Error::other("the machine stops"));
        }
        Ok((inner, stops))
    }
}

impl Inner {
    fn new_file(&mut self, path: &Path) -> u64 {
        let id = self.next_file;
        self.next_file += 1;
        self.files.insert(id, FileData::default());
        self.names.insert(path.to_owned(), id);
        id
    }

    fn fail(&mut self, _kind: CallKind, error: io::ErrorKind) -> io::Error {
        io::Error::new(error, "the simulated disk fails this call")
    }

    fn used_bytes(&self) -> u64 {
        self.names.values().filter_map(|id| self.files.get(id)).map(|file| file.seen.len() as u64).sum()
    }

    fn cut_power(&mut self) {
        let kept = if self.name_changes.is_empty() { 0 } else { self.random.usize(..=self.name_changes.len()) };
        for change in self.name_changes.drain(..).take(kept) {
            match change {
                NameChange::Put(path, id) => {
                    // A rename puts the new name and removes the old in one step.
                    self.durable_names.retain(|_, other| *other != id);
                    self.durable_names.insert(path, id);
                }
                NameChange::Remove(path) => {
                    self.durable_names.remove(&path);
                }
            }
        }
        self.names = self.durable_names.clone();
        for file in self.files.values_mut() {
            file.lose(&mut self.random);
        }
        let named: std::collections::BTreeSet<u64> = self.names.values().copied().collect();
        self.files.retain(|id, _| named.contains(id));
        self.pairs.cut_power(&mut self.random);
    }
}

impl FileData {
    /// Keeps what happens to be kept of what was not synced.
    fn lose(&mut self, random: &mut fastrand::Rng) {
        if self.unsynced.is_empty() {
            if self.seen != self.durable {
                self.seen.clone_from(&self.durable);
            }
            return;
        }
        let fate = random.u8(..4);
        for write in self.unsynced.drain(..) {
            for (index, sector) in write.bytes.chunks(SECTOR_BYTES).enumerate() {
                let keep = match fate {
                    0 => false,
                    1 => true,
                    _ => random.bool(),
                };
                if keep {
                    put(&mut self.durable, write.offset + index * SECTOR_BYTES, sector);
                }
            }
        }
        self.seen.clone_from(&self.durable);
    }
}

/// Writes at an offset, with zeros where there was nothing.
fn put(into: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    let end = offset + bytes.len();
    if into.len() < end {
        // Not `resize`, which goes byte by byte where nothing is optimised.
        into.extend_from_slice(&vec![0; end - into.len()]);
    }
    if let Some(target) = into.get_mut(offset..end) {
        target.copy_from_slice(bytes);
    }
}

fn missing() -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, "there is no such file")
}

impl Disk for SimulatedDisk {
    type File = SimulatedFile;

    fn open(&self, path: &Path, how: OpenHow) -> io::Result<SimulatedFile> {
        let (mut inner, _) = self.call(CallKind::Open)?;
        let what = match (how, inner.names.get(path).copied()) {
            (OpenHow::Folder, _) => Opened::Folder(path.to_owned()),
            (OpenHow::Create, Some(_)) => return Err(io::ErrorKind::AlreadyExists.into()),
            (OpenHow::Create, None) => {
                let id = inner.new_file(path);
                inner.name_changes.push(NameChange::Put(path.to_owned(), id));
                Opened::File(id)
            }
            (OpenHow::Read | OpenHow::Write, Some(id)) => Opened::File(id),
            (OpenHow::Read | OpenHow::Write, None) => return Err(missing()),
        };
        Ok(SimulatedFile { life: self.life, what })
    }

    fn read(&self, file: &SimulatedFile, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        let (inner, _) = self.call(CallKind::Read)?;
        let Opened::File(id) = &file.what else { return Err(io::ErrorKind::IsADirectory.into()) };
        if file.life != self.life {
            return Err(missing());
        }
        let seen = &inner.files.get(id).ok_or_else(missing)?.seen;
        let offset = usize::try_from(offset).unwrap_or(usize::MAX);
        let from = seen.get(offset..).unwrap_or_default();
        let count = from.len().min(into.len());
        if let (Some(to), Some(from)) = (into.get_mut(..count), from.get(..count)) {
            to.copy_from_slice(from);
        }
        Ok(count)
    }

    fn write(&self, file: &SimulatedFile, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let (mut inner, stops) = self.call(CallKind::Write)?;
        let Opened::File(id) = &file.what else { return Err(io::ErrorKind::IsADirectory.into()) };
        let offset = usize::try_from(offset).unwrap_or(usize::MAX);
        let used = inner.faults.capacity_bytes.map(|capacity| (capacity, inner.used_bytes()));
        let part = if stops { inner.random.usize(..=bytes.len()) } else { bytes.len() };
        inner.crashed |= stops;
        let data = inner.files.get_mut(id).filter(|_| file.life == self.life).ok_or_else(missing)?;
        let grows = (offset + bytes.len()).saturating_sub(data.seen.len()) as u64;
        if grows > 0 && used.is_some_and(|(capacity, used)| used + grows > capacity) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let bytes = bytes.get(..part).unwrap_or_default();
        put(&mut data.seen, offset, bytes);
        data.unsynced.push(Unsynced { offset, bytes: bytes.to_vec() });
        if stops { Err(io::Error::other("the machine stops")) } else { Ok(()) }
    }

    fn write_zeros(&self, file: &SimulatedFile, offset: u64, bytes: usize) -> io::Result<()> {
        self.write(file, offset, &vec![0; bytes])
    }

    fn sync(&self, file: &SimulatedFile) -> io::Result<()> {
        let failing = {
            let inner = self.lock();
            inner.faults.fail.filter(|(from, kind, _)| *kind == CallKind::Sync && inner.calls + 1 >= *from).is_some()
        };
        let called = self.call(CallKind::Sync);
        let (mut inner, stops) = match called {
            Ok(called) => called,
            Err(error) => {
                if failing && let Opened::File(id) = &file.what {
                    let mut inner = self.lock();
                    if let Some(data) = inner.files.get_mut(id) {
                        data.unsynced.clear();
                    }
                }
                return Err(error);
            }
        };
        // A sync that the power is cut in may have done its work.
        let done = !stops || inner.random.bool();
        inner.crashed |= stops;
        if file.life != self.life {
            return Err(missing());
        }
        if done {
            match &file.what {
                Opened::File(id) => {
                    let data = inner.files.get_mut(id).ok_or_else(missing)?;
                    for write in data.unsynced.drain(..) {
                        put(&mut data.durable, write.offset, &write.bytes);
                    }
                }
                Opened::Folder(folder) => inner.sync_folder(folder),
            }
        }
        if stops { Err(io::Error::other("the machine stops")) } else { Ok(()) }
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<Listed>> {
        let (inner, _) = self.call(CallKind::List)?;
        let mut found: BTreeMap<String, Listed> = BTreeMap::new();
        for (path, id) in &inner.names {
            let Ok(rest) = path.strip_prefix(folder) else { continue };
            let mut parts = rest.components();
            let Some(first) = parts.next().and_then(|part| part.as_os_str().to_str()) else { continue };
            let deeper = parts.next().is_some();
            let bytes = inner.files.get(id).filter(|_| !deeper).map_or(0, |file| file.seen.len() as u64);
            found.insert(first.to_owned(), Listed { name: first.to_owned(), bytes, folder: deeper });
        }
        Ok(found.into_values().collect())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let (mut inner, _) = self.call(CallKind::Rename)?;
        let id = inner.names.remove(from).ok_or_else(missing)?;
        inner.names.insert(to.to_owned(), id);
        inner.name_changes.push(NameChange::Put(to.to_owned(), id));
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let (mut inner, _) = self.call(CallKind::Remove)?;
        inner.names.remove(path).ok_or_else(missing)?;
        inner.name_changes.push(NameChange::Remove(path.to_owned()));
        Ok(())
    }
}

impl Inner {
    /// Makes durable which names stand in one folder.
    fn sync_folder(&mut self, folder: &Path) {
        let mut rest = Vec::new();
        for change in std::mem::take(&mut self.name_changes) {
            let path = match &change {
                NameChange::Put(path, _) | NameChange::Remove(path) => path,
            };
            if path.parent() != Some(folder) {
                rest.push(change);
                continue;
            }
            match change {
                NameChange::Put(path, id) => {
                    self.durable_names.retain(|_, other| *other != id);
                    self.durable_names.insert(path, id);
                }
                NameChange::Remove(path) => {
                    self.durable_names.remove(&path);
                }
            }
        }
        self.name_changes = rest;
    }
}
