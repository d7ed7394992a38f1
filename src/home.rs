//! Where a project comes from, so that it can be read again.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use crate::config::EnvReader;

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
    /// The files beyond its own that the project named when it was last read, whether it loaded or not. Watched: one
    /// that was missing may be all that is wrong.
    named_files: Mutex<Vec<PathBuf>>,
    /// One reload at a time.
    pub(crate) turn: tokio::sync::Mutex<()>,
}

impl ProjectHome {
    /// Where a project comes from.
    #[must_use]
    pub fn new(folder: PathBuf, data: PathBuf, env: EnvReader, shim: PathBuf) -> ProjectHome {
        ProjectHome { folder, data, env, shim, named_files: Mutex::default(), turn: tokio::sync::Mutex::new(()) }
    }

    /// The files that the project named when it was last read.
    pub(crate) fn named_files(&self) -> Vec<PathBuf> {
        self.named_files.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set_named_files(&self, files: Vec<PathBuf>) {
        *self.named_files.lock().unwrap_or_else(PoisonError::into_inner) = files;
    }
}
