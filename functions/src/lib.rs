//! From an event to the code that answers it.
//!
//! A *function* is code of the project's owner that is given an event and gives an answer. An [`Invocation`] is
//! one call of it; an [`Executor`] is a way to make calls, chosen by the function's `runtime`. This crate makes
//! one call and says how it ended, as an [`InvocationResult`] or an [`InvocationError`]. Whether to call again
//! is decided elsewhere: nothing here retries.
//!
//! # What stands here
//! - `runtime = "command"` ([`CommandExecutor`]): one process for each call. The event comes on its standard
//!   input, what it writes to its standard output is the answer, its exit status is the outcome.
//! - `runtime = "wasm"` ([`WasmExecutor`]): a WebAssembly module, compiled when the project loads and run inside
//!   the broker, each call in an instance of its own that can reach nothing but what it is given.
//! - The *shim* ([`exec_shim`]): our own binary, called again as `eventyard __exec …`, which prepares the process
//!   and then becomes the command. Doing that between fork and exec in the broker itself would need a real
//!   fork, and a fork of a broker with a large heap costs a hundred times what a spawn of the small shim does.
//!
//! # What has its place here and is not built yet
//! - Persistent workers that speak the Lambda Runtime API, in pools that grow and shrink: `worker.rs`,
//!   `pool.rs`, `scaling.rs`, `runtime_api.rs`, each behind the same [`Executor`].
//! - Packages, versions and aliases: `package.rs`, `version.rs`, `alias.rs`. They decide which executor an
//!   invocation goes to, and no executor knows of them.
//!
//! # What is deliberately absent
//! The store, connectors, rules; any decision about retries; `pre_exec`, `uid()` and `gid()`, which would turn
//! every spawn into a fork.

mod command;
mod executor;
mod invocation;
mod output;
mod shim;
mod wasm;

pub use command::{CommandConfig, CommandExecutor, INHERITED, OUTPUT_BYTES_MAX, TERM_GRACE, adopt_orphans};
pub use executor::Executor;
pub use invocation::{Invocation, InvocationError, InvocationResult, STDERR_TAIL_BYTES_MAX};
pub use shim::{EXEC_SUBCOMMAND, exec_shim};
pub use wasm::{EgressRule, WasmConfig, WasmError, WasmExecutor, WasmHost, WasmKind, WasmLimits, WasmProgram};
