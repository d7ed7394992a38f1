//! What one call may have of the machine.

use std::sync::Arc;

use wasmtime::ResourceLimiter;

use super::call::Record;

/// Elements of one table. Go and C# programs have some tens of thousands of functions in theirs.
pub(super) const TABLE_ELEMENTS_MAX: usize = 100_000;

/// Modules that a component may consist of. One made from a C or Rust program has four.
pub(super) const CORE_INSTANCES_MAX: u32 = 32;

/// Memories of one component.
pub(super) const MEMORIES_MAX: u32 = 4;

/// Tables of one component or module.
pub(super) const TABLES_MAX: u32 = 16;

/// Handles that a component may hold at once, of requests, bodies, streams and the like. They lie in the broker's
/// memory, not in the component's.
pub(super) const HANDLES_MAX: usize = 10_000;

/// Random bytes that may be asked for at once; they lie in the broker's memory first.
pub(super) const RANDOM_BYTES_MAX: u64 = 1024 * 1024;

/// Refuses what is too much, and writes down that it did. To a function a refusal is a failed `memory.grow`, which it
/// may get over; only where the call then fails is the refusal its reason.
pub(super) struct Limits {
    memory_bytes_max: usize,
    /// Of all memories of the call together.
    memory_bytes: usize,
    record: Arc<Record>,
}

impl Limits {
    pub(super) fn new(memory_bytes_max: usize, record: Arc<Record>) -> Limits {
        Limits { memory_bytes_max, memory_bytes: 0, record }
    }
}

impl ResourceLimiter for Limits {
    fn memory_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        let all = self.memory_bytes.saturating_sub(current).saturating_add(desired);
        if all > self.memory_bytes_max {
            let (wanted, allowed) = (in_words(all), in_words(self.memory_bytes_max));
            self.record.refuse(|| format!("{wanted} of memory, with `memory` at {allowed},"));
            return Ok(false);
        }
        self.memory_bytes = all;
        Ok(true)
    }

    fn memory_grow_failed(&mut self, error: wasmtime::Error) -> wasmtime::Result<()> {
        self.record.refuse(|| format!("more memory than there is ({error})"));
        Ok(())
    }

    fn table_growing(&mut self, _: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        let allowed = desired <= TABLE_ELEMENTS_MAX;
        if !allowed {
            let limit = format!("with the limit TABLE_ELEMENTS_MAX at {TABLE_ELEMENTS_MAX},");
            self.record.refuse(|| format!("a table of {desired} elements, {limit}"));
        }
        Ok(allowed)
    }

    fn instances(&self) -> usize {
        // A component counts as one more than the modules in it.
        usize::try_from(CORE_INSTANCES_MAX).unwrap_or(usize::MAX).saturating_add(1)
    }

    fn tables(&self) -> usize {
        usize::try_from(TABLES_MAX).unwrap_or(usize::MAX)
    }

    fn memories(&self) -> usize {
        usize::try_from(MEMORIES_MAX).unwrap_or(usize::MAX)
    }
}

/// A size as configurations write it, rounded up.
pub(super) fn in_words(bytes: usize) -> String {
    if bytes < 1024 * 1024 {
        format!("{}KiB", bytes.div_ceil(1024))
    } else {
        format!("{}MiB", bytes.div_ceil(1024 * 1024))
    }
}
