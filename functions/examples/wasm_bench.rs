//! What a WebAssembly function costs:
//! `cargo run --release -p eventyard-functions --example wasm_bench [ROUNDS] [MODULE.wasm]`.
//!
//! Prints the time of one call of a small WASI echo with 1 KiB of input: a whole call of a [`WasmExecutor`], with its
//! place, its clock, its limits, its time-out and its environment, beside wasmtime's own: an instance from its pool and
//! the call, blocking and asynchronous, with pipes in memory and nothing else. All three in turn within each round.
//! MODULE.wasm is called instead of the built-in echo where it is given.

#![expect(clippy::print_stdout, reason = "a bench prints what it measured")]

use std::error::Error;
use std::time::{Duration, Instant};

use bytes::Bytes;
use eventyard_event::Name;
use eventyard_functions::{Executor, Invocation, WasmConfig, WasmExecutor, WasmHost};
use wasmtime::{
    Config, Engine, InstanceAllocationStrategy, InstancePre, Linker, Module, PoolingAllocationConfig, Store,
};
use wasmtime_wasi::WasiCtxBuilder;
use wasmtime_wasi::p1::{self, WasiP1Ctx};
use wasmtime_wasi::p2::pipe::{MemoryInputPipe, MemoryOutputPipe};

const ROUNDS_DEFAULT: usize = 20_000;
const PAYLOAD_BYTES: usize = 1024;

/// Reads up to 4 KiB and writes them.
const ECHO: &str = r#"(module
  (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "\00\01\00\00\00\10\00\00")
  (func (export "_start")
    (drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))
    (i32.store (i32.const 4) (i32.load (i32.const 8)))
    (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))"#;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let rounds = arguments.next().map_or(Ok(ROUNDS_DEFAULT), |rounds| rounds.parse())?;
    let module = match arguments.next() {
        Some(path) => std::fs::read(path)?,
        None => wat::parse_str(ECHO)?,
    };
    let payload = Bytes::from(vec![b'x'; PAYLOAD_BYTES]);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;

    let program = WasmHost::new(None).load(Bytes::from(module.clone()))?;
    let name = Name::new("bench")?;
    let executor = WasmExecutor::new(WasmConfig::new(name.clone(), program, Duration::from_secs(10)));
    let invocation = Invocation {
        id: "bench-0".to_owned(),
        attempt: 1,
        function: name,
        payload: payload.clone(),
        content_type: "application/json".to_owned(),
        timeout: Duration::from_secs(10),
        environment: Vec::new(),
        headers: Vec::new(),
    };
    let blocking = Own::new(&module, false)?;
    let asynchronous = Own::new(&module, true)?;

    let mut times: [Vec<Duration>; 3] = Default::default();
    for _ in 0..rounds {
        let [sync, own, ours] = &mut times;
        let begun = Instant::now();
        let answer = blocking.call(&payload)?;
        sync.push(begun.elapsed());
        assert_eq!(answer, payload);
        // Within the runtime, so that none of the three pays for entering it.
        let (own_took, ours_took, same) = runtime.block_on(async {
            let begun = Instant::now();
            let answer = asynchronous.call_async(&payload).await?;
            let own_took = begun.elapsed();
            let begun = Instant::now();
            let result = executor.invoke(invocation.clone()).await?;
            Ok::<_, Box<dyn Error>>((own_took, begun.elapsed(), answer == payload && result.answer == payload))
        })?;
        assert!(same, "an echo answers with its input");
        own.push(own_took);
        ours.push(ours_took);
    }
    times.iter_mut().for_each(|times| times.sort_unstable());
    let [sync, own, ours] = &times;
    println!("{rounds} rounds each, {PAYLOAD_BYTES} bytes in and out, a module of {} bytes", module.len());
    println!(
        "{:>6} {:>20} {:>20} {:>12} {:>14} {:>12}",
        "", "wasmtime, blocking", "wasmtime, async", "ours", "ours/blocking", "ours/async"
    );
    for percent in [10, 50, 90, 99] {
        let at = |times: &[Duration]| times.get((times.len() - 1) * percent / 100).copied().unwrap_or_default();
        let (sync, own, ours) = (at(sync), at(own), at(ours));
        let ratio = |base: Duration| ours.as_secs_f64() / base.as_secs_f64();
        println!(
            "{:>6} {sync:>20.2?} {own:>20.2?} {ours:>12.2?} {:>14.2} {:>12.2}",
            format!("p{percent}"),
            ratio(sync),
            ratio(own)
        );
    }
    Ok(())
}

/// wasmtime as it is used by somebody who wants nothing but speed.
struct Own {
    engine: Engine,
    program: InstancePre<WasiP1Ctx>,
}

impl Own {
    fn new(module: &[u8], asynchronous: bool) -> Result<Own, Box<dyn Error>> {
        let mut pool = PoolingAllocationConfig::new();
        pool.linear_memory_keep_resident(256 * 1024).table_keep_resident(64 * 1024);
        let mut config = Config::new();
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
        let engine = Engine::new(&config)?;
        let mut linker = Linker::new(&engine);
        if asynchronous {
            p1::add_to_linker_async(&mut linker, |state| state)?;
        } else {
            p1::add_to_linker_sync(&mut linker, |state| state)?;
        }
        let program = linker.instantiate_pre(&Module::from_binary(&engine, module)?)?;
        Ok(Own { engine, program })
    }

    fn store(&self, payload: &Bytes) -> (Store<WasiP1Ctx>, MemoryOutputPipe) {
        let output = MemoryOutputPipe::new(1024 * 1024);
        let stdin = MemoryInputPipe::new(payload.clone());
        let wasi = WasiCtxBuilder::new().stdin(stdin).stdout(output.clone()).build_p1();
        (Store::new(&self.engine, wasi), output)
    }

    fn call(&self, payload: &Bytes) -> Result<Bytes, Box<dyn Error>> {
        let (mut store, output) = self.store(payload);
        let instance = self.program.instantiate(&mut store)?;
        instance.get_typed_func::<(), ()>(&mut store, "_start")?.call(&mut store, ())?;
        drop(store);
        Ok(output.contents())
    }

    async fn call_async(&self, payload: &Bytes) -> Result<Bytes, Box<dyn Error>> {
        let (mut store, output) = self.store(payload);
        let instance = self.program.instantiate_async(&mut store).await?;
        instance.get_typed_func::<(), ()>(&mut store, "_start")?.call_async(&mut store, ()).await?;
        drop(store);
        Ok(output.contents())
    }
}
