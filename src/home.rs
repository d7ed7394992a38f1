//! Where a project comes from, so that it can be read again.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use eventyard_functions::WasmHost;

use crate::config::EnvReader;
use crate::reload::{Fingerprint, ReloadReport};

/// Where a project comes from, and what it takes to make it run.
pub struct ProjectHome {
    /// The project's folder.
    pub folder: PathBuf,
    /// Where the store and the last good project are.
    pub data: PathBuf,
    /// Reads the environment, for `{ env = … }`.
    pub env: EnvReader,
    /// Our own binary, which commands are started through.
    pub shim: PathBuf,
    /// Compiles WebAssembly modules, and keeps what they share.
    pub wasm: Arc<WasmHost>,
    /// The files beyond its own that the project named when it was last read, whether it loaded or not. Watched: one
    /// that was missing may be all that is wrong.
    named_files: Mutex<Vec<PathBuf>>,
    /// One reload at a time.
    pub(crate) turn: tokio::sync::Mutex<()>,
    /// What came of the newest one.
    last_read: Mutex<Option<LastRead>>,
}

/// What came of reading the project's files.
#[derive(Clone)]
pub(crate) struct LastRead {
    /// How many times they had been read then, this time included.
    pub(crate) number: u64,
    /// What was seen of them before.
    pub(crate) seen: Fingerprint,
    /// What those who asked were told; `None` where the files were refused.
    pub(crate) report: Option<ReloadReport>,
}

impl ProjectHome {
    /// Where a project comes from.
    #[must_use]
    pub fn new(folder: PathBuf, data: PathBuf, env: EnvReader, shim: PathBuf, wasm: Arc<WasmHost>) -> ProjectHome {
        let (named_files, last_read) = (Mutex::default(), Mutex::default());
        ProjectHome { folder, data, env, shim, wasm, named_files, turn: tokio::sync::Mutex::new(()), last_read }
    }

    /// The files that the project named when it was last read.
    pub(crate) fn named_files(&self) -> Vec<PathBuf> {
        self.named_files.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What came of reading the files last, since the broker has run.
    pub(crate) fn last_read(&self) -> Option<LastRead> {
        self.last_read.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set_last_read(&self, seen: Fingerprint, report: Option<ReloadReport>) {
        let mut last = self.last_read.lock().unwrap_or_else(PoisonError::into_inner);
        let number = last.as_ref().map_or(0, |last| last.number) + 1;
        *last = Some(LastRead { number, seen, report });
    }

    pub(crate) fn set_named_files(&self, files: Vec<PathBuf>) {
        *self.named_files.lock().unwrap_or_else(PoisonError::into_inner) = files;
    }
}
