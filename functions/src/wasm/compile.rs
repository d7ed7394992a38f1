//! From a file's bytes to a program that can be called.

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

use bytes::Bytes;
use rayon::{ThreadPool, ThreadPoolBuilder};
use sha2::{Digest, Sha256};
use wasmparser::{Encoding, Parser, Payload};
use wasmtime::component::Component;
use wasmtime::{InstancePre, Module, ResourcesRequired};
use wasmtime_wasi_http::p2::bindings::ProxyPre;

use super::cache::CodeCache;
use super::command::CommandState;
use super::engine::Runtime;
use super::http::HttpState;
use super::{WasmError, WasmKind, WasmLimits, command, http};

/// How many files that took too long may still be compiled in the background. Compiling cannot be broken off.
const OVERDUE_MAX: usize = 4;

/// The stack of a thread that compiles: some of the compiler's steps are recursive.
const COMPILER_STACK_BYTES: usize = 16 * 1024 * 1024;

/// How much lower than the broker's the priority of compiling is (nice).
const COMPILER_NICE: i32 = 5;

/// A page of WebAssembly's memory.
const PAGE_BYTES: u64 = 64 * 1024;

/// Compiles modules, and holds what they share. One for a broker; making it costs nothing, and the engine is set up
/// when the first module comes.
pub struct WasmHost {
    cache_folder: Option<PathBuf>,
    limits: WasmLimits,
    runtime: OnceLock<Result<Set, String>>,
    /// What is compiled and still in use, so that a reload compiles only what is new.
    loaded: Mutex<HashMap<[u8; 32], Weak<Compiled>>>,
    compiling: Arc<AtomicUsize>,
}

#[derive(Clone)]
struct Set {
    runtime: Arc<Runtime>,
    cache: Option<Arc<CodeCache>>,
}

impl WasmHost {
    /// A host that keeps compiled code in `cache_folder`, an absolute path; `None` keeps nothing.
    #[must_use]
    pub fn new(cache_folder: Option<PathBuf>) -> WasmHost {
        WasmHost {
            cache_folder,
            limits: WasmLimits::default(),
            runtime: OnceLock::new(),
            loaded: Mutex::default(),
            compiling: Arc::default(),
        }
    }

    /// The same with other limits.
    #[must_use]
    pub fn with_limits(self, limits: WasmLimits) -> WasmHost {
        WasmHost { limits, ..self }
    }

    /// The most bytes that [`WasmHost::load`] looks at.
    #[must_use]
    pub fn module_bytes_max(&self) -> usize {
        self.limits.module_bytes_max
    }

    /// How many modules came compiled from the cache on disk.
    #[must_use]
    pub fn cache_hits(&self) -> usize {
        let set = self.runtime.get().and_then(|set| set.as_ref().ok());
        set.and_then(|set| set.runtime.cache.as_ref()).map_or(0, wasmtime::Cache::cache_hits)
    }

    /// Compiles a file, or finds it compiled, and holds it against what a function must be. Blocks, for at most
    /// [`WasmLimits::compile_time_max`].
    ///
    /// # Errors
    /// [`WasmError`]; nothing is kept of the file then.
    pub fn load(&self, bytes: Bytes) -> Result<WasmProgram, WasmError> {
        let kind = self.look(&bytes)?;
        let digest: [u8; 32] = Sha256::digest(&bytes).into();
        if let Some(compiled) = self.loaded().get(&digest).and_then(Weak::upgrade) {
            return Ok(WasmProgram(compiled));
        }
        let set = self.set()?;
        let compiled = Arc::new(self.compile(set, bytes, kind, digest)?);
        let mut loaded = self.loaded();
        loaded.retain(|_, known| known.strong_count() > 0);
        loaded.insert(digest, Arc::downgrade(&compiled));
        Ok(WasmProgram(compiled))
    }

    fn loaded(&self) -> std::sync::MutexGuard<'_, HashMap<[u8; 32], Weak<Compiled>>> {
        self.loaded.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self) -> Result<Set, WasmError> {
        let made = self.runtime.get_or_init(|| {
            let cache = self.cache_folder.as_deref().and_then(CodeCache::open).map(Arc::new);
            let runtime = Runtime::new(cache.as_ref().map(|cache| cache.engine_cache()));
            let runtime = Arc::new(runtime.map_err(|error| match error {
                WasmError::Engine { problem } => problem,
                other => other.to_string(),
            })?);
            Ok(Set { runtime, cache })
        });
        made.clone().map_err(|problem| WasmError::Engine { problem })
    }

    /// What can be said of a file without compiling it.
    fn look(&self, bytes: &[u8]) -> Result<WasmKind, WasmError> {
        let limits = &self.limits;
        if bytes.len() > limits.module_bytes_max {
            let problem = format!("it has {} bytes, and {} are allowed", bytes.len(), limits.module_bytes_max);
            return Err(WasmError::TooLarge { limit: "module_bytes_max", problem });
        }
        if !bytes.starts_with(b"\0asm") {
            let problem = match bytes.iter().find(|byte| !byte.is_ascii_whitespace()) {
                None => "it is empty".to_owned(),
                Some(b'(' | b';') => "it is WebAssembly's text form; compile it, for instance with wat2wasm".to_owned(),
                Some(_) => "it does not begin with the bytes `\\0asm`".to_owned(),
            };
            return Err(WasmError::NotWasm { problem });
        }
        let mut kind = None;
        let mut functions = 0_u32;
        for payload in Parser::new(0).parse_all(bytes) {
            match payload.map_err(|error| WasmError::NotWasm { problem: error.to_string() })? {
                Payload::Version { encoding, .. } => {
                    kind = kind.or(Some(match encoding {
                        Encoding::Module => WasmKind::Command,
                        Encoding::Component => WasmKind::Http,
                    }));
                }
                Payload::CodeSectionStart { count, .. } => functions = functions.saturating_add(count),
                _ => {}
            }
        }
        if functions > limits.functions_max {
            let problem = format!("it has {functions} functions, and {} are allowed", limits.functions_max);
            return Err(WasmError::TooLarge { limit: "functions_max", problem });
        }
        kind.ok_or_else(|| WasmError::NotWasm { problem: "it says neither module nor component".to_owned() })
    }

    /// Compiles on threads of its own, so that a file that takes too long is refused, though not broken off.
    fn compile(&self, set: Set, bytes: Bytes, kind: WasmKind, digest: [u8; 32]) -> Result<Compiled, WasmError> {
        let overdue = self.compiling.load(Ordering::Relaxed);
        if overdue >= OVERDUE_MAX {
            return Err(WasmError::CompilerBusy { compiling: overdue });
        }
        let compiling = Arc::clone(&self.compiling);
        compiling.fetch_add(1, Ordering::Relaxed);
        let (done, waiting) = sync_channel(1);
        let thread = std::thread::Builder::new().name("wasm-compile".to_owned());
        let started = thread.spawn(move || {
            let made =
                compilers().and_then(|compilers| compilers.install(|| Compiled::make(set, &bytes, kind, digest)));
            compiling.fetch_sub(1, Ordering::Relaxed);
            // Where nobody waits any more, what was made goes; the cache on disk has it.
            drop(done.send(made));
        });
        if let Err(error) = started {
            self.compiling.fetch_sub(1, Ordering::Relaxed);
            return Err(WasmError::Engine { problem: format!("no thread can be started: {error}") });
        }
        let time = self.limits.compile_time_max;
        match waiting.recv_timeout(time) {
            Ok(made) => made,
            Err(RecvTimeoutError::Timeout) => {
                let problem = format!("it was not compiled after {time:?}");
                Err(WasmError::TooLarge { limit: "compile_time_max", problem })
            }
            Err(RecvTimeoutError::Disconnected) => {
                self.compiling.fetch_sub(1, Ordering::Relaxed);
                Err(WasmError::NotWasm { problem: "the compiler broke off".to_owned() })
            }
        }
    }
}

/// Threads to compile one file on: its own, so that one that takes for ever holds up no other.
fn compilers() -> Result<ThreadPool, WasmError> {
    let threads = ThreadPoolBuilder::new()
        .thread_name(|number| format!("wasm-compile-{number}"))
        .stack_size(COMPILER_STACK_BYTES)
        .start_handler(|_| {
            if let Err(error) = rustix::process::nice(COMPILER_NICE) {
                tracing::debug!(%error, "the priority of a thread that compiles could not be lowered");
            }
        });
    threads.build().map_err(|error| WasmError::Engine { problem: format!("no threads can be started: {error}") })
}

impl fmt::Debug for WasmHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WasmHost").field("cache_folder", &self.cache_folder).finish_non_exhaustive()
    }
}

/// A compiled file. Cheap to clone; equal where the files were equal.
#[derive(Clone)]
pub struct WasmProgram(Arc<Compiled>);

impl WasmProgram {
    /// What it is.
    #[must_use]
    pub fn kind(&self) -> WasmKind {
        match self.0.code {
            Code::Command(_) => WasmKind::Command,
            Code::Http(_) => WasmKind::Http,
        }
    }

    /// The memory that it needs to begin, in bytes: the largest of its memories.
    #[must_use]
    pub fn memory_bytes_min(&self) -> u64 {
        self.0.memory_bytes_min
    }

    /// The SHA-256 of the file that it was compiled from.
    #[must_use]
    pub fn digest(&self) -> &[u8; 32] {
        &self.0.digest
    }

    pub(super) fn compiled(&self) -> &Compiled {
        &self.0
    }
}

impl PartialEq for WasmProgram {
    fn eq(&self, other: &WasmProgram) -> bool {
        self.0.digest == other.0.digest
    }
}

impl fmt::Debug for WasmProgram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digest: String = self.0.digest.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
        f.debug_struct("WasmProgram").field("kind", &self.kind()).field("digest", &digest).finish_non_exhaustive()
    }
}

/// What is made of one file.
pub(super) struct Compiled {
    pub(super) runtime: Arc<Runtime>,
    pub(super) code: Code,
    /// Whether its last call outlasted a tick.
    pub(super) long: AtomicBool,
    digest: [u8; 32],
    memory_bytes_min: u64,
}

/// With its imports looked up, so that an instance is made without looking at anything again.
pub(super) enum Code {
    Command(InstancePre<CommandState>),
    Http(ProxyPre<HttpState>),
}

impl Compiled {
    fn make(set: Set, bytes: &[u8], kind: WasmKind, digest: [u8; 32]) -> Result<Compiled, WasmError> {
        let Set { runtime, cache } = set;
        let broken = |error: wasmtime::Error| WasmError::NotWasm { problem: format!("{error:#}") };
        let (code, resources) = match kind {
            WasmKind::Command => {
                let module = Module::from_binary(&runtime.engine, bytes).map_err(broken)?;
                let resources = Some(module.resources_required());
                (Code::Command(command::prepare(&runtime, &module)?), resources)
            }
            WasmKind::Http => {
                let component = Component::from_binary(&runtime.engine, bytes).map_err(broken)?;
                let resources = component.resources_required();
                (Code::Http(http::prepare(&runtime, &component)?), resources)
            }
        };
        if let Some(cache) = cache {
            cache.seal();
        }
        let pages = |resources: ResourcesRequired| resources.max_initial_memory_size.unwrap_or(0);
        let memory_bytes_min = resources.map_or(0, pages).saturating_mul(PAGE_BYTES);
        Ok(Compiled { runtime, code, long: AtomicBool::new(false), digest, memory_bytes_min })
    }
}
