//! Promises about WebAssembly functions: what is taken, what a call may do, and how each end is told.
//!
//! Small modules are written here as text. Those made by compilers (C, Go) are built by `./test` into
//! `target/wasm-modules`; tests that need them say so and skip where they are missing.
#![cfg(feature = "wasm")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bytes::Bytes;
use eventyard_event::Name;
use eventyard_functions::{
    Executor, Invocation, InvocationError, InvocationResult, WasmConfig, WasmError, WasmExecutor, WasmHost, WasmKind,
    WasmLimits,
};

/// Longer than any call here needs, shorter than anybody would wait for a test.
const TIMEOUT: Duration = Duration::from_secs(30);

fn text(wat: &str) -> Bytes {
    Bytes::from(wat::parse_str(wat).unwrap_or_else(|error| panic!("{error}\n{wat}")))
}

fn name() -> Name {
    Name::new("filter").unwrap()
}

fn config(host: &WasmHost, module: Bytes) -> WasmConfig {
    let program = host.load(module).unwrap_or_else(|error| panic!("{error}"));
    WasmConfig::new(name(), program, TIMEOUT)
}

fn invocation(payload: impl Into<Bytes>) -> Invocation {
    Invocation {
        id: "0199.0".to_owned(),
        attempt: 1,
        function: name(),
        payload: payload.into(),
        content_type: "application/cloudevents+json".to_owned(),
        timeout: TIMEOUT,
        environment: vec![("EVENTYARD_EVENT".into(), "0199".into())],
        headers: vec![("ce-type".into(), "order.created".into())],
    }
}

async fn call(config: WasmConfig, payload: impl Into<Bytes>) -> Result<InvocationResult, InvocationError> {
    WasmExecutor::new(config).invoke(invocation(payload)).await
}

async fn run(wat: &str) -> Result<InvocationResult, InvocationError> {
    call(config(&WasmHost::new(None), text(wat)), "{}").await
}

fn refused(wat: &str) -> WasmError {
    refused_bytes(text(wat))
}

fn refused_bytes(bytes: Bytes) -> WasmError {
    WasmHost::new(None).load(bytes).expect_err("it is refused")
}

/// A command whose `_start` is `body`, with what most need: writing, exiting, a memory of one page.
fn command(body: &str) -> String {
    format!(
        r#"(module
             (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
             (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
             (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
             (import "wasi_snapshot_preview1" "fd_prestat_get" (func $prestat (param i32 i32) (result i32)))
             (import "wasi_snapshot_preview1" "path_open"
               (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
             (import "wasi_snapshot_preview1" "sock_accept" (func $accept (param i32 i32 i32) (result i32)))
             (memory (export "memory") 2)
             (table $table 1 funcref)
             (data (i32.const 64) "hello\n")
             ;; Eight bytes at 0 say where a piece lies and how long it is.
             (func $say (param $fd i32) (param $at i32) (param $length i32)
               (i32.store (i32.const 0) (local.get $at))
               (i32.store (i32.const 4) (local.get $length))
               (drop (call $write (local.get $fd) (i32.const 0) (i32.const 1) (i32.const 8))))
             (func $recurse (param i32) (result i32)
               (i32.add (call $recurse (local.get 0)) (i32.load (local.get 0))))
             (func $named-place (param i32) (result i32) (i32.div_u (i32.const 1) (local.get 0)))
             (func (export "_start") {body}))"#
    )
}

/// A module of `target/wasm-modules`, where `./test` has built it.
#[expect(clippy::print_stdout, reason = "a test that is skipped says why")]
fn built(file: &str) -> Option<Bytes> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/wasm-modules").join(file);
    let bytes = std::fs::read(&path).ok();
    if bytes.is_none() {
        println!("SKIPPED: {file} is not built; `./test` builds it with clang and Go into target/wasm-modules");
    }
    bytes.map(Bytes::from)
}

fn component(file: &str, replace: &[(&str, &str)]) -> Bytes {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/modules").join(file);
    let mut wat = std::fs::read_to_string(path).unwrap();
    for (from, to) in replace {
        wat = wat.replace(from, to);
    }
    text(&wat)
}

fn answering(status: u16) -> Bytes {
    component("answer.wat", &[("STATUS", &status.to_string()), ("BEFORE", ""), ("AFTER", "")])
}

// ---- what a call is

#[tokio::test]
async fn standard_output_is_the_answer_and_standard_error_the_log() {
    let body =
        "(call $say (i32.const 1) (i32.const 64) (i32.const 6)) (call $say (i32.const 2) (i32.const 64) (i32.const 5))";
    let result = run(&command(body)).await.unwrap();
    assert_eq!((result.answer.as_ref(), result.truncated), (&b"hello\n"[..], false));
    assert_eq!(result.stderr_tail, "hello");
}

#[tokio::test]
async fn standard_input_is_the_payload_and_ends() {
    // Reads 16 bytes at a time to 128 and says them again until nothing comes.
    let body = "(local $length i32)
        (loop $again
          (i32.store (i32.const 0) (i32.const 128))
          (i32.store (i32.const 4) (i32.const 16))
          (drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))
          (local.set $length (i32.load (i32.const 8)))
          (call $say (i32.const 1) (i32.const 128) (local.get $length))
          (br_if $again (local.get $length)))";
    let payload = r#"{"specversion":"1.0","data":{"amount":5}}"#;
    let result = call(config(&WasmHost::new(None), text(&command(body))), payload).await.unwrap();
    assert_eq!(result.answer, payload.as_bytes());
}

#[tokio::test]
async fn the_exit_status_is_the_outcome() {
    assert!(run(&command("(call $exit (i32.const 0)) unreachable")).await.is_ok());
    for status in [1, 75] {
        let error = run(&command(&format!("(call $exit (i32.const {status}))"))).await.unwrap_err();
        assert_eq!((error.code(), error.retryable()), (format!("exit_{status}").into(), true));
    }
}

#[tokio::test]
async fn each_call_begins_anew() {
    let host = WasmHost::new(None);
    let count = "(i32.store8 (i32.const 64) (i32.add (i32.load8_u (i32.const 64)) (i32.const 1)))
        (call $say (i32.const 1) (i32.const 64) (i32.const 1))";
    let executor = WasmExecutor::new(config(&host, text(&command(count))));
    for _ in 0..5 {
        assert_eq!(executor.invoke(invocation("")).await.unwrap().answer, "i", "one more than the h of hello");
    }
}

// ---- what must not be

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn endless_loops_time_out_and_hold_up_nobody() {
    let host = WasmHost::new(None);
    let endless =
        WasmConfig { timeout: Duration::from_millis(1500), ..config(&host, text(&command("(loop $l (br $l))"))) };
    let endless = std::sync::Arc::new(WasmExecutor::new(endless));
    let loops: Vec<_> = (0..8)
        .map(|_| {
            let endless = std::sync::Arc::clone(&endless);
            tokio::spawn(async move { endless.invoke(invocation("")).await })
        })
        .collect();
    // Meanwhile other functions and everything else on these threads go on.
    let short =
        WasmExecutor::new(config(&host, text(&command("(call $say (i32.const 1) (i32.const 64) (i32.const 6))"))));
    let begun = Instant::now();
    let mut calls = 0;
    while begun.elapsed() < Duration::from_millis(1000) {
        assert!(short.invoke(invocation("")).await.is_ok());
        tokio::time::sleep(Duration::from_millis(1)).await;
        calls += 1;
    }
    assert!(calls > 20, "only {calls} calls of another function in a second");
    for ended in loops {
        let error = ended.await.unwrap().unwrap_err();
        assert_eq!((error.code(), error.retryable()), ("function_timeout".into(), true), "{error}");
    }
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
}

#[tokio::test(flavor = "current_thread")]
async fn an_endless_loop_cannot_hold_even_the_only_thread() {
    let host = WasmHost::new(None);
    let endless =
        WasmConfig { timeout: Duration::from_millis(300), ..config(&host, text(&command("(loop $l (br $l))"))) };
    let executor = WasmExecutor::new(endless);
    let (ended, ()) = tokio::join!(executor.invoke(invocation("")), tokio::time::sleep(Duration::from_millis(10)));
    assert_eq!(ended.unwrap_err().code(), "function_timeout");
    // What it said before is kept.
    let noisy = text(&command("(call $say (i32.const 2) (i32.const 64) (i32.const 5)) (loop $l (br $l))"));
    let noisy = WasmConfig { timeout: Duration::from_millis(100), ..config(&host, noisy) };
    assert_eq!(call(noisy, "").await.unwrap_err().stderr_tail(), "hello");
}

#[tokio::test]
async fn a_call_that_nobody_waits_for_ends() {
    let host = WasmHost::new(None);
    let executor = WasmExecutor::new(config(&host, text(&command("(loop $l (br $l))"))));
    // More calls than there are places: were the dropped ones still there, the last could not begin.
    for _ in 0..80 {
        let dropped = tokio::time::timeout(Duration::from_millis(5), executor.invoke(invocation(""))).await;
        assert!(dropped.is_err());
    }
    let short = WasmExecutor::new(config(&host, text(&command(""))));
    assert!(tokio::time::timeout(Duration::from_secs(10), short.invoke(invocation(""))).await.unwrap().is_ok());
}

#[tokio::test]
async fn memory_is_refused_beyond_the_limit_and_the_reason_is_named() {
    // 65,535 more pages are 4 GiB; a grown table of 10 million elements is 80 MB.
    let greedy = "(if (i32.eq (memory.grow (i32.const 65533)) (i32.const -1)) (then unreachable))";
    let error = run(&command(greedy)).await.unwrap_err();
    assert_eq!(error.code(), "function_memory", "{error}");
    assert!(error.to_string().contains("`memory` at 64MiB"), "{error}");
    assert!(error.retryable());

    let table =
        "(if (i32.eq (table.grow $table (ref.null func) (i32.const 10000000)) (i32.const -1)) (then unreachable))";
    let error = run(&command(table)).await.unwrap_err();
    assert_eq!(error.code(), "function_memory", "{error}");

    // In steps, as allocators do.
    let steps = "(loop $l (br_if $l (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))) unreachable";
    let error = run(&command(steps)).await.unwrap_err();
    assert_eq!(error.code(), "function_memory", "{error}");
}

#[tokio::test]
async fn a_function_may_get_over_a_refusal_of_memory() {
    let modest = "(drop (memory.grow (i32.const 60000))) (call $say (i32.const 1) (i32.const 64) (i32.const 6))";
    assert_eq!(run(&command(modest)).await.unwrap().answer, "hello\n");
    // And all of what it was promised is there.
    let all = "(if (i32.eq (memory.grow (i32.const 1022)) (i32.const -1)) (then unreachable))
        (i32.store (i32.const 67108860) (i32.const 1))";
    run(&command(all)).await.unwrap();
}

#[test]
fn ten_thousand_instances_are_refused_when_loaded() {
    let instances = "(core instance (instantiate $m))".repeat(10_000);
    let error = refused(&format!("(component (core module $m) {instances})"));
    assert_eq!(error.code(), "function_bad_module", "{error}");
}

#[tokio::test]
async fn traps_are_named() {
    let cases = [
        ("unreachable", "unreachable"),
        ("(drop (call $named-place (i32.const 0)))", "integer_divide_by_zero"),
        ("(drop (call $recurse (i32.const 0)))", "stack_overflow"),
        ("(drop (i32.load (i32.const 0x7fffffff)))", "memory_out_of_bounds"),
        ("(call_indirect (i32.const 0))", "indirect_call_to_null"),
        ("(call_indirect (i32.const 99))", "table_out_of_bounds"),
        ("(drop (i32.trunc_f32_s (f32.const nan)))", "invalid_conversion_to_integer"),
    ];
    for (body, trap) in cases {
        let error = run(&command(body)).await.unwrap_err();
        assert_eq!(error.code(), "function_trap", "{body}: {error}");
        assert!(error.to_string().contains(trap), "{body}: {error}");
        assert!(error.retryable(), "{body}");
    }
    let error = run(&command("(drop (call $named-place (i32.const 0)))")).await.unwrap_err();
    assert!(error.to_string().contains("in `named-place`"), "{error}");
}

#[test]
fn what_is_no_function_is_refused_when_loaded() {
    let cases = [
        (r#"(module (memory (export "memory") 1))"#, "exports no `_start`"),
        (r#"(module (func (export "_start") (param i32)))"#, "takes arguments or gives results"),
        (r#"(module (func (export "_start") (result i32) i32.const 0))"#, "takes arguments or gives results"),
        (r#"(module (global (export "_start") i32 (i32.const 0)))"#, "is no function"),
        (r#"(module (func (export "_initialize")))"#, "is a library"),
        (r#"(module (import "env" "host" (func)) (func (export "_start")))"#, "env::host"),
        (
            r#"(module (import "wasi_snapshot_preview1" "fd_write" (func)) (memory (export "memory") 1) (func (export "_start")))"#,
            "fd_write",
        ),
        (
            r#"(module (import "wasi_snapshot_preview1" "proc_exit" (func (param i32))) (func (export "_start")))"#,
            "no memory",
        ),
        ("(component)", "exports nothing"),
        (
            r#"(component (core module $m (func (export "f"))) (core instance $i (instantiate $m))
               (func $f (canon lift (core func $i "f"))) (export "run" (func $f)))"#,
            "it exports run",
        ),
        (
            r#"(component (core module $m (func (export "f"))) (core instance $i (instantiate $m))
               (func $f (canon lift (core func $i "f"))) (instance $h (export "handle" (func $f)))
               (export "wasi:http/incoming-handler@0.2.0" (instance $h)))"#,
            "`handle` is another one",
        ),
        (
            r#"(component (import "acme:db/store@1.0.0" (instance $db (export "get" (func))))
               (core func $get (canon lower (func $db "get")))
               (core module $m (import "db" "get" (func)) (func (export "f")))
               (core instance $i (instantiate $m (with "db" (instance (export "get" (func $get))))))
               (func $f (canon lift (core func $i "f"))) (instance $h (export "handle" (func $f)))
               (export "wasi:http/incoming-handler@0.2.0" (instance $h)))"#,
            "acme:db/store",
        ),
    ];
    for (wat, reason) in cases {
        let error = refused(wat);
        assert_eq!(error.code(), "function_bad_module", "{wat}: {error}");
        assert!(error.to_string().contains(reason), "{wat}: {error}");
        assert!(!error.help().is_empty());
    }
}

#[test]
fn what_is_not_webassembly_is_refused_when_loaded() {
    let broken = {
        let mut bytes = text(&command("")).to_vec();
        bytes.truncate(bytes.len() - 3);
        bytes
    };
    let bad_body = text(r#"(module (func (export "_start") i32.const 1 drop))"#);
    let bad_body: Vec<u8> = bad_body.iter().map(|&byte| if byte == 0x1a { 0x6a } else { byte }).collect();
    for (bytes, reason) in [
        (Vec::new(), "empty"),
        (b"\x7fELF....".to_vec(), "does not begin"),
        (b"#!/bin/sh\n".to_vec(), "does not begin"),
        (b"(module)".to_vec(), "text form"),
        (b"\0asm".to_vec(), ""),
        (b"\0asm\x07\0\0\0".to_vec(), ""),
        (broken, ""),
        (bad_body, ""),
    ] {
        let error = refused_bytes(Bytes::from(bytes.clone()));
        assert_eq!(error.code(), "function_bad_module", "{bytes:?}: {error}");
        assert!(error.to_string().contains(reason), "{bytes:?}: {error}");
    }
}

/// A module with so many empty functions, written byte by byte: a text of it would take longer to read.
fn many_functions(count: u32) -> Bytes {
    fn number(mut value: u32) -> Vec<u8> {
        let mut bytes = Vec::new();
        loop {
            let byte = u8::try_from(value & 0x7f).unwrap();
            value >>= 7;
            bytes.push(if value > 0 { byte | 0x80 } else { byte });
            if value == 0 {
                return bytes;
            }
        }
    }
    let section = |id: u8, body: Vec<u8>| [vec![id], number(u32::try_from(body.len()).unwrap()), body].concat();
    let repeated = |each: &[u8]| [number(count), each.repeat(usize::try_from(count).unwrap())].concat();
    let export = [&[1, 6][..], b"_start", &[0, 0]].concat();
    let parts = [
        b"\0asm\x01\0\0\0".to_vec(),
        section(1, vec![1, 0x60, 0, 0]),
        section(3, repeated(&[0])),
        section(7, export),
        section(10, repeated(&[2, 0, 0x0b])),
    ];
    Bytes::from(parts.concat())
}

#[test]
fn a_module_that_is_too_much_for_the_compiler_is_refused() {
    let begun = Instant::now();
    let large = [b"\0asm\x01\0\0\0".as_slice(), &vec![0; 100 * 1024 * 1024]].concat();
    let error = refused_bytes(Bytes::from(large));
    assert_eq!(error.code(), "function_module_limit");
    assert!(error.to_string().contains("module_bytes_max"), "{error}");

    let error = refused_bytes(many_functions(1_000_000));
    assert_eq!(error.code(), "function_module_limit");
    assert!(error.to_string().contains("functions_max"), "{error}");
    assert!(begun.elapsed() < Duration::from_secs(10), "neither was compiled: {:?}", begun.elapsed());

    // What the figures do not show, time does.
    let limits = WasmLimits { compile_time_max: Duration::from_millis(1), ..WasmLimits::default() };
    let error = WasmHost::new(None).with_limits(limits).load(many_functions(5_000)).unwrap_err();
    assert_eq!(error.code(), "function_module_limit");
    assert!(error.to_string().contains("compile_time_max"), "{error}");
    // And an ordinary one is loaded by the same process meanwhile.
    assert!(WasmHost::new(None).load(text(&command(""))).is_ok());
}

#[tokio::test]
async fn an_answer_without_end_is_cut_and_says_so() {
    // 64 KiB, 4,096 times: 256 MiB.
    let body = "(local $left i32) (local.set $left (i32.const 4096))
        (loop $again
          (call $say (i32.const 1) (i32.const 64) (i32.const 65536))
          (call $say (i32.const 2) (i32.const 64) (i32.const 6))
          (br_if $again (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))";
    let config = WasmConfig { output_bytes_max: 1000, ..config(&WasmHost::new(None), text(&command(body))) };
    let result = call(config, "").await.unwrap();
    assert_eq!((result.answer.len(), result.truncated), (1000, true));
    assert!(result.answer.starts_with(b"hello\n"));
    assert!(
        result.stderr_tail.ends_with("hello\n") && result.stderr_tail.len() <= 4096,
        "{}",
        result.stderr_tail.len()
    );
}

#[tokio::test]
async fn no_folder_and_no_socket_is_there() {
    // 8 is EBADF: there is no such descriptor, for any of the first few.
    let body = "(local $fd i32) (local.set $fd (i32.const 3))
        (loop $again
          (if (i32.ne (call $prestat (local.get $fd) (i32.const 128)) (i32.const 8)) (then (call $exit (i32.const 41))))
          (if (i32.ne (call $open (local.get $fd) (i32.const 0) (i32.const 64) (i32.const 5) (i32.const 0)
                (i64.const 0) (i64.const 0) (i32.const 0) (i32.const 128)) (i32.const 8)) (then (call $exit (i32.const 42))))
          (if (i32.eqz (call $accept (local.get $fd) (i32.const 0) (i32.const 128))) (then (call $exit (i32.const 43))))
          (local.set $fd (i32.add (local.get $fd) (i32.const 1)))
          (br_if $again (i32.lt_u (local.get $fd) (i32.const 32))))";
    run(&command(body)).await.unwrap();
}

#[tokio::test]
async fn a_c_program_sees_its_input_its_environment_and_nothing_else() {
    let Some(module) = built("probe.wasm") else { return };
    let config = WasmConfig {
        environment: vec![("LEVEL".into(), "3".into())],
        arguments: vec!["--strict".into()],
        ..config(&WasmHost::new(None), module)
    };
    let result = call(config, "").await.unwrap();
    let mut seen: Vec<_> = std::str::from_utf8(&result.answer).unwrap().lines().collect();
    seen.sort_unstable();
    let wanted = [
        "argument --strict",
        "argument filter",
        "clock",
        "random",
        "variable EVENTYARD_ATTEMPT=1",
        "variable EVENTYARD_CONTENT_TYPE=application/cloudevents+json",
        "variable EVENTYARD_DELIVERY=0199.0",
        "variable EVENTYARD_EVENT=0199",
        "variable EVENTYARD_FUNCTION=filter",
        "variable LEVEL=3",
    ];
    assert_eq!(seen, wanted);
    assert_eq!(result.stderr_tail, "done\n");
}

#[tokio::test]
async fn programs_of_compilers_run() {
    for file in ["echo.wasm", "echo-go.wasm"] {
        let Some(module) = built(file) else { continue };
        let host = WasmHost::new(None);
        let config = config(&host, module);
        assert_eq!(config.program.kind(), WasmKind::Command);
        let payload = "x".repeat(300_000);
        let result = call(config, payload.clone()).await.unwrap_or_else(|error| panic!("{file}: {error}"));
        assert_eq!(result.answer, payload.as_bytes(), "{file}");
    }
}

// ---- components

#[tokio::test]
async fn a_components_status_decides_as_an_http_targets_does() {
    let host = WasmHost::new(None);
    for (status, retryable) in [
        (200, None),
        (204, None),
        (301, Some(false)),
        (404, Some(false)),
        (408, Some(true)),
        (429, Some(true)),
        (503, Some(true)),
    ] {
        let config = config(&host, answering(status));
        assert_eq!(config.program.kind(), WasmKind::Http);
        match (call(config, "{}").await, retryable) {
            (Ok(_), None) => {}
            (Err(error), Some(retryable)) => {
                assert_eq!((error.code(), error.retryable()), (format!("http_{status}").into(), retryable), "{error}");
            }
            (ended, _) => panic!("{status}: {ended:?}"),
        }
    }
}

#[tokio::test]
async fn a_component_that_traps_loops_or_says_nothing_fails() {
    let host = WasmHost::new(None);
    let with =
        |before: &str, after: &str| component("answer.wat", &[("STATUS", "200"), ("BEFORE", before), ("AFTER", after)]);
    let traps = call(config(&host, with("unreachable", "")), "").await.unwrap_err();
    assert_eq!(traps.code(), "function_trap", "{traps}");
    let late = call(config(&host, with("", "unreachable")), "").await.unwrap_err();
    assert_eq!(late.code(), "function_trap", "a call has ended when its code has: {late}");
    let silent = call(config(&host, with("(return)", "")), "").await.unwrap_err();
    assert_eq!((silent.code(), silent.retryable()), ("function_no_answer".into(), true), "{silent}");
    let endless = WasmConfig { timeout: Duration::from_millis(200), ..config(&host, with("(loop $l (br $l))", "")) };
    assert_eq!(call(endless, "").await.unwrap_err().code(), "function_timeout");
}

/// A server that answers everything with 204, and how often it was asked.
async fn server() -> (std::net::SocketAddr, std::sync::Arc<std::sync::atomic::AtomicUsize>) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let asked = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let count = std::sync::Arc::clone(&asked);
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            tokio::spawn(async move {
                let mut request = [0; 4096];
                let _ = stream.read(&mut request).await;
                let _ = stream.write_all(b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n").await;
            });
        }
    });
    (address, asked)
}

fn calling(authority: &str) -> Bytes {
    component("call.wat", &[("\"AUTHORITY\"", &format!("\"{authority}\"")), ("LENGTH", &authority.len().to_string())])
}

#[tokio::test]
async fn a_component_calls_out_only_where_it_may() {
    let (address, asked) = server().await;
    let host = WasmHost::new(None);
    let outcome = async |authority: &str, allow: &[&str]| {
        let egress_allow = allow.iter().map(|rule| rule.parse().unwrap()).collect();
        call(WasmConfig { egress_allow, ..config(&host, calling(authority)) }, "").await
    };
    let (port, authority) = (address.port(), address.to_string());
    let refused = outcome(&authority, &[]).await.unwrap_err();
    assert_eq!(refused.code(), "http_502");
    assert!(refused.stderr_tail().contains("was refused: no rule of `egress_allow`"), "{}", refused.stderr_tail());
    for allow in ["10.0.0.0/8", "localhost", "127.0.0.1:1"] {
        assert_eq!(outcome(&authority, &[allow]).await.unwrap_err().code(), "http_502", "{allow}");
    }
    // A name that stands for an address in no network of the list.
    assert_eq!(outcome(&format!("localhost:{port}"), &["10.0.0.0/8"]).await.unwrap_err().code(), "http_502");
    assert_eq!(asked.load(std::sync::atomic::Ordering::Relaxed), 0, "nothing was called");

    for (authority, allow) in [
        (authority.as_str(), "127.0.0.0/8"),
        (authority.as_str(), authority.as_str()),
        (&format!("localhost:{port}"), "localhost"),
    ] {
        let answered = outcome(authority, &[allow]).await;
        assert!(answered.is_ok(), "{authority} {allow}: {answered:?}");
    }
    assert_eq!(asked.load(std::sync::atomic::Ordering::Relaxed), 3);
}

// ---- compiled once

/// The one file of code in a cache.
fn code_files(folder: &Path) -> Vec<PathBuf> {
    let compilers = std::fs::read_dir(folder.join("code/modules")).unwrap();
    let files = compilers.flat_map(|compiler| std::fs::read_dir(compiler.unwrap().path()).unwrap());
    files.map(|file| file.unwrap().path()).filter(|file| file.extension().is_none()).collect()
}

#[tokio::test]
async fn a_module_is_compiled_once_for_all_starts() {
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("compiled");
    let module = text(&command("(call $say (i32.const 1) (i32.const 64) (i32.const 6))"));
    for (start, hits) in [("the first", 0), ("the second", 1), ("the third", 1)] {
        let host = WasmHost::new(Some(cache.clone()));
        let program = host.load(module.clone()).unwrap();
        assert_eq!(host.cache_hits(), hits, "{start} start");
        assert_eq!(code_files(&cache).len(), 1);
        // Again in the same process: not even looked for.
        assert_eq!(host.load(module.clone()).unwrap(), program);
        assert_eq!(host.cache_hits(), hits);
        let config = WasmConfig::new(name(), program, TIMEOUT);
        assert_eq!(call(config, "").await.unwrap().answer, "hello\n");
    }
    use std::os::unix::fs::PermissionsExt as _;
    assert_eq!(
        std::fs::metadata(&cache).unwrap().permissions().mode() & 0o777,
        0o700,
        "code is nobody else's to write"
    );
}

#[tokio::test]
async fn damaged_code_is_never_run() {
    let folder = tempfile::tempdir().unwrap();
    let module = text(&command("(call $say (i32.const 1) (i32.const 64) (i32.const 6))"));
    let load = || {
        let host = WasmHost::new(Some(folder.path().to_owned()));
        let program = host.load(module.clone()).unwrap();
        (host.cache_hits(), program)
    };
    assert_eq!(load().0, 0);
    type Damage = fn(&Path);
    let damages: [(&str, Damage); 3] = [
        ("a flipped byte", |code| {
            let mut bytes = std::fs::read(code).unwrap();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 0x10;
            std::fs::write(code, bytes).unwrap();
        }),
        ("a cut end", |code| {
            let bytes = std::fs::read(code).unwrap();
            std::fs::write(code, &bytes[..bytes.len() / 2]).unwrap();
        }),
        ("no sum, as a crash leaves it", |code| {
            let sums = code.ancestors().nth(4).unwrap().join("sums");
            std::fs::remove_dir_all(sums).unwrap();
        }),
    ];
    for (what, damage) in damages {
        damage(&code_files(folder.path())[0]);
        let (hits, program) = load();
        assert_eq!(hits, 0, "{what}: it was made again");
        let config = WasmConfig::new(name(), program, TIMEOUT);
        assert_eq!(call(config, "").await.unwrap().answer, "hello\n", "{what}");
        assert_eq!(load().0, 1, "{what}: and kept again");
    }
}

#[test]
fn a_cache_that_cannot_be_used_is_no_reason_not_to_run() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("compiled");
    std::fs::write(&file, "").unwrap();
    assert!(WasmHost::new(Some(file)).load(text(&command(""))).is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_calls_than_places_wait_their_turn() {
    let host = WasmHost::new(None);
    let executor = std::sync::Arc::new(WasmExecutor::new(config(&host, answering(200))));
    let calls = (0..500).map(|_| {
        let executor = std::sync::Arc::clone(&executor);
        tokio::spawn(async move { executor.invoke(invocation("{}")).await })
    });
    for ended in calls.collect::<Vec<_>>() {
        ended.await.unwrap().unwrap();
    }
}
