//! Command modules of WASI 0.1.

use std::sync::Arc;

use wasmtime::{ExternType, InstancePre, Module};
use wasmtime_wasi::I32Exit;
use wasmtime_wasi::p1::WasiP1Ctx;

use super::call::{self, Record};
use super::engine::Runtime;
use super::limits::Limits;
use super::{WasmConfig, WasmError};
use crate::{Invocation, InvocationError};

/// Where a command begins.
const START: &str = "_start";

/// What code of one call has.
pub(super) struct CommandState {
    pub(super) wasi: WasiP1Ctx,
    limits: Limits,
}

/// Holds a module against what a command must be, and prepares its instances.
pub(super) fn prepare(runtime: &Runtime, module: &Module) -> Result<InstancePre<CommandState>, WasmError> {
    const HELP: &str = "compile a WASI 0.1 command: clang --target=wasm32-wasi, or GOOS=wasip1 GOARCH=wasm go build";
    let refuse = |problem: String| WasmError::NotAFunction { problem, help: HELP };
    match module.get_export(START) {
        Some(ExternType::Func(start)) if start.params().len() == 0 && start.results().len() == 0 => {}
        Some(ExternType::Func(_)) => {
            return Err(refuse(format!("its `{START}` takes arguments or gives results; a command's does neither")));
        }
        Some(_) => return Err(refuse(format!("its export `{START}` is no function"))),
        None if module.get_export("_initialize").is_some() => {
            return Err(refuse(format!("it is a library (it exports `_initialize`), not a command (`{START}`)")));
        }
        None => return Err(refuse(format!("it exports no `{START}`, where a command begins"))),
    }
    let uses_wasi = module.imports().any(|import| import.module() == "wasi_snapshot_preview1");
    if uses_wasi && !matches!(module.get_export("memory"), Some(ExternType::Memory(_))) {
        return Err(refuse("it uses WASI and exports no memory named `memory`, through which WASI works".to_owned()));
    }
    runtime.commands.instantiate_pre(module).map_err(|error| {
        refuse(format!("{error:#}; a command may import what `wasi_snapshot_preview1` has, and nothing else"))
    })
}

/// Runs one call; the answer is in the record.
pub(super) async fn run(
    runtime: Arc<Runtime>,
    program: InstancePre<CommandState>,
    config: Arc<WasmConfig>,
    invocation: Invocation,
    record: Arc<Record>,
) -> Result<(), InvocationError> {
    let wasi = call::wasi(&config, &invocation, &record, invocation.payload.clone()).build_p1();
    let limits = Limits::new(config.memory_bytes_max, Arc::clone(&record));
    let _running = runtime.running();
    let mut store =
        call::store(&runtime, CommandState { wasi, limits }, |state| &mut state.limits, Arc::clone(&record));
    let ended = async {
        let instance = program.instantiate_async(&mut store).await?;
        let start = instance.get_typed_func::<(), ()>(&mut store, START)?;
        start.call_async(&mut store, ()).await
    };
    match ended.await {
        Ok(()) => Ok(()),
        Err(error) if matches!(error.downcast_ref::<I32Exit>(), Some(I32Exit(0))) => Ok(()),
        Err(error) => Err(call::failure(&error, &record)),
    }
}
