//! The engine: one for each host, with its pool, its clock and its places.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::Thread;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use wasmtime::component::Linker as ComponentLinker;
use wasmtime::{Cache, Config, Engine, EngineWeak, InstanceAllocationStrategy, Linker, PoolingAllocationConfig};

use super::command::CommandState;
use super::http::HttpState;
use super::limits::{CORE_INSTANCES_MAX, MEMORIES_MAX, TABLE_ELEMENTS_MAX, TABLES_MAX};
use super::{WasmConfig, WasmError};
use crate::InvocationError;

/// How many calls run at once, of all functions together. Each may hold its function's `memory`, and a place of the
/// pool is 4 GiB of address space (not of memory) for each memory.
pub(super) const CALLS_MAX: usize = 64;

/// How long a call waits for a place.
const WAIT_MAX: Duration = Duration::from_secs(30);

/// How long code runs before it is looked at: whether its time is up, and whether others wait.
pub(super) const TICK: Duration = Duration::from_millis(1);

/// After so many ticks without a call the clock stops, so that an idle broker sleeps.
const IDLE_TICKS: u32 = 200;

/// What a place that is free keeps of its last call's memory, set to zero instead of given back: a small function's
/// next call then costs no page faults. At most `PLACES_WARM` of them for each module.
const MEMORY_KEPT_BYTES: usize = 256 * 1024;
const TABLE_KEPT_BYTES: usize = 64 * 1024;

/// How many places stay warm for modules that are not called now.
const PLACES_WARM: u32 = 16;

/// The stack of WebAssembly code; going over it is the trap `stack_overflow`.
const STACK_BYTES: usize = 512 * 1024;

/// The stack that a call is given: the above, and room for the broker's own part of the call.
const FIBER_STACK_BYTES: usize = 1024 * 1024;

/// What all modules of a host share.
pub(super) struct Runtime {
    pub(super) engine: Engine,
    pub(super) commands: Linker<CommandState>,
    pub(super) components: ComponentLinker<HttpState>,
    pub(super) cache: Option<Cache>,
    places: Arc<Semaphore>,
    ticker: Ticker,
}

impl Runtime {
    pub(super) fn new(cache: Option<Cache>) -> Result<Runtime, WasmError> {
        let unavailable = |error: wasmtime::Error| WasmError::Engine { problem: format!("{error:#}") };
        let engine = Engine::new(&config(cache.clone())).map_err(unavailable)?;
        let mut commands = Linker::new(&engine);
        wasmtime_wasi::p1::add_to_linker_async(&mut commands, |state: &mut CommandState| &mut state.wasi)
            .map_err(unavailable)?;
        let mut components = ComponentLinker::new(&engine);
        wasmtime_wasi::p2::add_to_linker_async(&mut components).map_err(unavailable)?;
        wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut components).map_err(unavailable)?;
        let ticker = Ticker::start(engine.weak())
            .map_err(|error| WasmError::Engine { problem: format!("no thread can be started: {error}") })?;
        Ok(Runtime { engine, commands, components, cache, places: Arc::new(Semaphore::new(CALLS_MAX)), ticker })
    }

    /// Waits for a place, at most [`WAIT_MAX`]. First come, first served.
    pub(super) async fn place(&self) -> Result<OwnedSemaphorePermit, InvocationError> {
        if let Ok(place) = Arc::clone(&self.places).try_acquire_owned() {
            return Ok(place);
        }
        let begun = Instant::now();
        match tokio::time::timeout(WAIT_MAX, Arc::clone(&self.places).acquire_owned()).await {
            Ok(Ok(place)) => Ok(place),
            _ => Err(InvocationError::Busy { waited: begun.elapsed(), calls_max: CALLS_MAX }),
        }
    }

    /// Says that code is about to run: the clock goes until the guard is dropped.
    pub(super) fn running(self: &Arc<Self>) -> Running {
        self.ticker.begin();
        Running(Arc::clone(self))
    }
}

/// While this lives, the epoch moves on.
pub(super) struct Running(Arc<Runtime>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.ticker.shared.running.fetch_sub(1, Ordering::SeqCst);
    }
}

fn config(cache: Option<Cache>) -> Config {
    let calls = u32::try_from(CALLS_MAX).unwrap_or(u32::MAX);
    let mut pool = PoolingAllocationConfig::new();
    pool.total_stacks(calls)
        .total_component_instances(calls)
        .total_core_instances(calls * CORE_INSTANCES_MAX)
        .total_memories(calls * MEMORIES_MAX)
        .total_tables(calls * TABLES_MAX)
        .max_core_instances_per_component(CORE_INSTANCES_MAX)
        .max_memories_per_component(MEMORIES_MAX)
        .max_tables_per_component(TABLES_MAX)
        .max_memories_per_module(1)
        .max_tables_per_module(TABLES_MAX)
        .table_elements(TABLE_ELEMENTS_MAX)
        .max_memory_size(usize::try_from(WasmConfig::MEMORY_BYTES_MAX).unwrap_or(usize::MAX))
        .linear_memory_keep_resident(MEMORY_KEPT_BYTES)
        .table_keep_resident(TABLE_KEPT_BYTES)
        .max_unused_warm_slots(PLACES_WARM);
    let mut config = Config::new();
    config
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool))
        .epoch_interruption(true)
        .max_wasm_stack(STACK_BYTES)
        .async_stack_size(FIBER_STACK_BYTES)
        .cache(cache);
    config
}

/// The thread that moves the engine's epoch on, while there is anybody to see it.
struct Ticker {
    shared: Arc<TickerShared>,
    thread: Thread,
}

#[derive(Default)]
struct TickerShared {
    /// Calls in progress.
    running: AtomicUsize,
    /// The thread sleeps until it is woken. Set by it before it looks at `running` a last time.
    parked: AtomicBool,
    stopped: AtomicBool,
}

impl Ticker {
    fn start(engine: EngineWeak) -> io::Result<Ticker> {
        let shared = Arc::new(TickerShared::default());
        let of_thread = Arc::clone(&shared);
        let started = std::thread::Builder::new().name("wasm-ticks".to_owned());
        let handle = started.spawn(move || tick(&of_thread, &engine))?;
        Ok(Ticker { shared, thread: handle.thread().clone() })
    }

    fn begin(&self) {
        // Both orders are the strictest there are: either the thread sees the call, or the call sees that it sleeps.
        self.shared.running.fetch_add(1, Ordering::SeqCst);
        if self.shared.parked.load(Ordering::SeqCst) {
            self.thread.unpark();
        }
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        self.thread.unpark();
    }
}

fn tick(shared: &TickerShared, engine: &EngineWeak) {
    let mut idle = 0;
    while !shared.stopped.load(Ordering::SeqCst) {
        if shared.running.load(Ordering::SeqCst) > 0 {
            idle = 0;
        } else {
            idle += 1;
        }
        if idle > IDLE_TICKS {
            shared.parked.store(true, Ordering::SeqCst);
            if shared.running.load(Ordering::SeqCst) == 0 && !shared.stopped.load(Ordering::SeqCst) {
                std::thread::park();
            }
            shared.parked.store(false, Ordering::SeqCst);
            idle = 0;
        }
        std::thread::park_timeout(TICK);
        match engine.upgrade() {
            Some(engine) => engine.increment_epoch(),
            None => return,
        }
    }
}
