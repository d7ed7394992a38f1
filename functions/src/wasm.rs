//! `runtime = "wasm"`: WebAssembly inside the broker.
//!
//! Two kinds of file are taken ([`WasmKind`]): a command module of WASI 0.1, which reads its standard input, writes
//! its answer to its standard output and exits; and a component that exports `wasi:http/incoming-handler` of WASI
//! 0.2, which is given the payload as an HTTP request and answers with a status. Both are compiled when the project
//! loads ([`WasmHost::load`]), never when they are called, and every call gets an instance of its own.
//!
//! # What a function can reach
//! Its input, its environment, clocks and random numbers. No folder, no socket, nothing of another call. A component
//! may call out over HTTP where `egress_allow` names the host or the network ([`EgressRule`]).
//!
//! # How it is kept within bounds
//! - Time: a call that outlasts one tick of the engine's epoch is moved off the broker's threads to threads of its
//!   own with a lower priority (`lane`), gives way to others at every tick, and is dropped when its time is up. Short
//!   calls, the common ones, never change threads.
//! - Memory: the function's `memory`, and fixed limits for tables and instances (`limits`).
//! - Output: an answer and a tail of standard error, as for commands; the rest is dropped while it is written.
//! - How many at once: a bounded wait for a place in the pool (`engine`), which is not part of the time-out.
//! - Compiling: limits for bytes, functions and time ([`WasmLimits`]), on threads of its own with a lower priority.
//!
//! # What is kept on disk
//! Compiled code, by the digest of the module, the compiler's version and its settings, in the data folder (`cache`).
//! It can be lost and is made again.

#[cfg(not(feature = "wasm"))]
mod absent;
#[cfg(feature = "wasm")]
mod cache;
#[cfg(feature = "wasm")]
mod call;
#[cfg(feature = "wasm")]
mod command;
#[cfg(feature = "wasm")]
mod compile;
mod egress;
#[cfg(feature = "wasm")]
mod engine;
#[cfg(feature = "wasm")]
mod executor;
#[cfg(feature = "wasm")]
mod http;
#[cfg(feature = "wasm")]
mod lane;
#[cfg(feature = "wasm")]
mod limits;
#[cfg(feature = "wasm")]
mod outbound;
#[cfg(feature = "wasm")]
mod stdio;

use std::time::Duration;

use eventyard_event::Name;

use crate::OUTPUT_BYTES_MAX;

#[cfg(not(feature = "wasm"))]
pub use self::absent::{WasmExecutor, WasmHost, WasmProgram};
#[cfg(feature = "wasm")]
pub use self::compile::{WasmHost, WasmProgram};
pub use self::egress::EgressRule;
#[cfg(feature = "wasm")]
pub use self::executor::WasmExecutor;

/// What a compiled file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WasmKind {
    /// A WASI 0.1 command module: standard input, standard output, exit status.
    Command,
    /// A WASI 0.2 component that exports `wasi:http/incoming-handler`.
    Http,
}

/// What compiling may cost.
#[derive(Clone, Copy, Debug)]
pub struct WasmLimits {
    /// The largest file. A component that carries a JavaScript engine has 18 MB.
    pub module_bytes_max: usize,
    /// The most functions in a file, nested modules included. A component that carries a JavaScript engine has some
    /// twenty thousand; a file made to keep the compiler busy has a million.
    pub functions_max: u32,
    /// How long compiling one file may take.
    pub compile_time_max: Duration,
}

impl Default for WasmLimits {
    fn default() -> WasmLimits {
        WasmLimits {
            module_bytes_max: 64 * 1024 * 1024,
            functions_max: 200_000,
            compile_time_max: Duration::from_secs(60),
        }
    }
}

/// How one module is run. The fields are `[function.NAME]`'s.
#[derive(Clone, Debug)]
pub struct WasmConfig {
    /// The function's name: the first of its arguments, and the host that a component is called as.
    pub name: Name,
    /// The compiled module.
    pub program: WasmProgram,
    /// The most memory of one call.
    pub memory_bytes_max: usize,
    /// The longest that one call may run.
    pub timeout: Duration,
    /// Variables of the function's own. They replace none of those that the broker sets for each call, which begin
    /// `EVENTYARD_`.
    pub environment: Vec<(String, String)>,
    /// The arguments after the name.
    pub arguments: Vec<String>,
    /// Where a component may call.
    pub egress_allow: Vec<EgressRule>,
    /// The longest answer; what comes after is dropped, and the result says so.
    pub output_bytes_max: usize,
}

impl WasmConfig {
    /// The memory of one call, unless a configuration says otherwise.
    pub const MEMORY_BYTES: u64 = 64 * 1024 * 1024;

    /// The most memory that a configuration can give: what 32-bit WebAssembly can address.
    pub const MEMORY_BYTES_MAX: u64 = 4 * 1024 * 1024 * 1024;

    /// A configuration that says only what must be said.
    #[must_use]
    pub fn new(name: Name, program: WasmProgram, timeout: Duration) -> WasmConfig {
        WasmConfig {
            name,
            program,
            memory_bytes_max: usize::try_from(Self::MEMORY_BYTES).unwrap_or(usize::MAX),
            timeout,
            environment: Vec::new(),
            arguments: Vec::new(),
            egress_allow: Vec::new(),
            output_bytes_max: OUTPUT_BYTES_MAX,
        }
    }
}

/// Why a file is no function.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WasmError {
    /// The file is not WebAssembly, or is broken.
    #[error("the file is no WebAssembly: {problem}")]
    NotWasm {
        /// What is wrong.
        problem: String,
    },
    /// It is WebAssembly, and no function of ours.
    #[error("the module cannot be a function: {problem}")]
    NotAFunction {
        /// What is missing or too much.
        problem: String,
        /// What to do.
        help: &'static str,
    },
    /// Over a limit of [`WasmLimits`].
    #[error("the module is over the limit {limit}: {problem}")]
    TooLarge {
        /// The limit's name.
        limit: &'static str,
        /// What is too much, with the figures.
        problem: String,
    },
    /// Modules that took too long are still being compiled.
    #[error("{compiling} modules that took too long are still being compiled")]
    CompilerBusy {
        /// How many.
        compiling: usize,
    },
    /// The runtime cannot be set up on this machine.
    #[error("WebAssembly cannot be run on this machine: {problem}")]
    Engine {
        /// What the runtime says.
        problem: String,
    },
    /// This build has no WebAssembly.
    #[error("this eventyard was built without the feature `wasm`")]
    NotBuilt,
}

impl WasmError {
    /// The stable code of this error.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            WasmError::NotWasm { .. } | WasmError::NotAFunction { .. } => "function_bad_module",
            WasmError::TooLarge { .. } | WasmError::CompilerBusy { .. } => "function_module_limit",
            WasmError::Engine { .. } => "wasm_unavailable",
            WasmError::NotBuilt => "not_built",
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn help(&self) -> &'static str {
        match self {
            WasmError::NotWasm { .. } => "name the compiled file, such as functions/filter.wasm",
            WasmError::NotAFunction { help, .. } => help,
            WasmError::TooLarge { .. } => "make it smaller: compile with optimisation, leave out what is not used",
            WasmError::CompilerBusy { .. } => "mend the module that takes too long, and load the project again later",
            WasmError::Engine { .. } => "let the process reserve address space: no `ulimit -v`, no `LimitAS=`",
            WasmError::NotBuilt => "build it with `--features wasm`, or with `--features full`",
        }
    }
}
