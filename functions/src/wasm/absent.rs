//! What stands in for WebAssembly where the feature `wasm` is off: no program can be made, so none can be run.

use std::convert::Infallible;
use std::path::PathBuf;

use async_trait::async_trait;
use bytes::Bytes;

use super::{WasmConfig, WasmError, WasmKind, WasmLimits};
use crate::{Executor, Invocation, InvocationError, InvocationResult};

/// Refuses every module.
#[derive(Debug)]
pub struct WasmHost(());

impl WasmHost {
    /// As with the feature; nothing is done with the folder.
    #[must_use]
    pub fn new(_cache_folder: Option<PathBuf>) -> WasmHost {
        WasmHost(())
    }

    /// As with the feature.
    #[must_use]
    pub fn with_limits(self, _limits: WasmLimits) -> WasmHost {
        self
    }

    /// The most bytes that [`WasmHost::load`] looks at.
    #[must_use]
    pub fn module_bytes_max(&self) -> usize {
        WasmLimits::default().module_bytes_max
    }

    /// Always [`WasmError::NotBuilt`].
    ///
    /// # Errors
    /// See above.
    pub fn load(&self, _bytes: Bytes) -> Result<WasmProgram, WasmError> {
        Err(WasmError::NotBuilt)
    }
}

/// There is none.
#[derive(Clone, Debug, PartialEq)]
pub struct WasmProgram(Infallible);

impl WasmProgram {
    /// What it is.
    #[must_use]
    pub fn kind(&self) -> WasmKind {
        match self.0 {}
    }

    /// The memory that it needs to begin.
    #[must_use]
    pub fn memory_bytes_min(&self) -> u64 {
        match self.0 {}
    }

    /// The digest of the file that it was compiled from.
    #[must_use]
    pub fn digest(&self) -> &[u8; 32] {
        match self.0 {}
    }
}

/// There is none.
#[derive(Debug)]
pub struct WasmExecutor(WasmProgram);

impl WasmExecutor {
    /// As with the feature.
    #[must_use]
    pub fn new(config: WasmConfig) -> WasmExecutor {
        WasmExecutor(config.program)
    }
}

#[async_trait]
impl Executor for WasmExecutor {
    async fn invoke(&self, _invocation: Invocation) -> Result<InvocationResult, InvocationError> {
        match self.0.0 {}
    }

    async fn close(&self) {}
}
