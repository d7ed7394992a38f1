//! Where a project comes from, so that it can be read again.

use std::path::PathBuf;

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
    /// One reload at a time.
    pub(crate) turn: tokio::sync::Mutex<()>,
}

impl ProjectHome {
    /// Where a project comes from.
    #[must_use]
    pub fn new(folder: PathBuf, data: PathBuf, env: EnvReader, shim: PathBuf) -> ProjectHome {
        ProjectHome { folder, data, env, shim, turn: tokio::sync::Mutex::new(()) }
    }
}
