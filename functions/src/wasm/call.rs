//! One call: what it leaves behind, and what its end means.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use bytes::Bytes;
use wasmtime::{Store, Trap, UpdateDeadline, WasmBacktrace};
use wasmtime_wasi::{I32Exit, WasiCtxBuilder};

use super::limits::{Limits, RANDOM_BYTES_MAX};
use super::stdio::{Kept, Stdin};
use super::{WasmConfig, engine::Runtime};
use crate::output::{Answer, Tail};
use crate::{Invocation, InvocationError, STDERR_TAIL_BYTES_MAX};

/// What is known of a call from outside, while it runs and after it was dropped.
pub(super) struct Record {
    answer: Mutex<Answer>,
    stderr: Mutex<Tail>,
    refused: OnceLock<String>,
    ticks: AtomicU32,
}

impl Record {
    pub(super) fn new(output_bytes_max: usize) -> Record {
        Record {
            answer: Mutex::new(Answer::new(output_bytes_max)),
            stderr: Mutex::new(Tail::new(STDERR_TAIL_BYTES_MAX)),
            refused: OnceLock::new(),
            ticks: AtomicU32::new(0),
        }
    }

    pub(super) fn answer(&self) -> MutexGuard<'_, Answer> {
        self.answer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn stderr(&self) -> MutexGuard<'_, Tail> {
        self.stderr.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes down the first refusal.
    pub(super) fn refuse(&self, wanted: impl FnOnce() -> String) {
        self.refused.get_or_init(wanted);
    }

    /// A line of the broker's own among what the function wrote.
    pub(super) fn note(&self, line: &str) {
        self.stderr().push(format!("eventyard: {line}\n").as_bytes());
    }

    /// How often the clock interrupted it.
    pub(super) fn ticks(&self) -> u32 {
        self.ticks.load(Ordering::Relaxed)
    }

    /// The answer so far, and whether there was more of it. Leaves nothing.
    pub(super) fn take_answer(&self) -> (Bytes, bool) {
        std::mem::replace(&mut *self.answer(), Answer::new(0)).into_bytes()
    }

    /// The end of standard error so far. Leaves nothing.
    pub(super) fn take_stderr(&self) -> String {
        std::mem::replace(&mut *self.stderr(), Tail::new(0)).into_text()
    }
}

/// A store for one call. Its clock counts from now.
pub(super) fn store<T: 'static>(
    runtime: &Runtime,
    state: T,
    limits: impl Fn(&mut T) -> &mut Limits + Send + Sync + 'static,
    record: Arc<Record>,
) -> Store<T> {
    let mut store = Store::new(&runtime.engine, state);
    store.limiter(move |state| limits(state));
    store.epoch_deadline_callback(move |_| {
        record.ticks.fetch_add(1, Ordering::Relaxed);
        // Gives way to whoever else waits on this thread, and is looked at: the time-out and dropping take effect.
        Ok(UpdateDeadline::YieldCustom(1, Box::pin(tokio::task::yield_now())))
    });
    store.set_epoch_deadline(1);
    store
}

/// What code sees of the world.
pub(super) fn wasi(config: &WasmConfig, invocation: &Invocation, record: &Arc<Record>, stdin: Bytes) -> WasiCtxBuilder {
    let mut wasi = WasiCtxBuilder::new();
    wasi.stdin(Stdin::new(stdin))
        .stdout(Kept::answer(Arc::clone(record)))
        .stderr(Kept::stderr(Arc::clone(record)))
        .arg(config.name.as_str())
        .args(&config.arguments)
        .envs(&config.environment)
        .envs(&invocation.environment)
        .env("EVENTYARD_FUNCTION", config.name.as_str())
        .env("EVENTYARD_DELIVERY", &invocation.id)
        .env("EVENTYARD_ATTEMPT", invocation.attempt.to_string())
        .env("EVENTYARD_CONTENT_TYPE", &invocation.content_type)
        .max_random_size(RANDOM_BYTES_MAX)
        // No address passes the check that a context begins with; this says it once more.
        .allow_tcp(false)
        .allow_udp(false)
        .allow_ip_name_lookup(false);
    wasi
}

/// What an error of running code means.
pub(super) fn failure(error: &wasmtime::Error, record: &Record) -> InvocationError {
    let stderr_tail = record.take_stderr();
    if let Some(wanted) = record.refused.get() {
        return InvocationError::Memory { wanted: wanted.clone(), stderr_tail };
    }
    if let Some(I32Exit(status)) = error.downcast_ref::<I32Exit>() {
        return InvocationError::Exit { status: *status, stderr_tail };
    }
    if let Some(&trap) = error.downcast_ref::<Trap>() {
        let place = error
            .downcast_ref::<WasmBacktrace>()
            .and_then(|trace| trace.frames().first()?.func_name().map(str::to_owned));
        return InvocationError::Trap { trap: trap_word(trap), place, stderr_tail };
    }
    InvocationError::Runtime { problem: format!("{error:#}"), stderr_tail }
}

/// A trap's name in the words of the WebAssembly specification.
fn trap_word(trap: Trap) -> &'static str {
    match trap {
        Trap::StackOverflow => "stack_overflow",
        Trap::MemoryOutOfBounds => "memory_out_of_bounds",
        Trap::HeapMisaligned => "unaligned_atomic",
        Trap::TableOutOfBounds => "table_out_of_bounds",
        Trap::IndirectCallToNull => "indirect_call_to_null",
        Trap::BadSignature => "indirect_call_type_mismatch",
        Trap::IntegerOverflow => "integer_overflow",
        Trap::IntegerDivisionByZero => "integer_divide_by_zero",
        Trap::BadConversionToInteger => "invalid_conversion_to_integer",
        Trap::UnreachableCodeReached => "unreachable",
        Trap::NullReference => "null_reference",
        Trap::ArrayOutOfBounds => "array_out_of_bounds",
        Trap::AllocationTooLarge => "allocation_too_large",
        Trap::CastFailure => "cast_failure",
        Trap::CannotEnterComponent => "cannot_enter_component",
        Trap::CannotLeaveComponent => "cannot_leave_component",
        Trap::StringOutOfBounds => "string_out_of_bounds",
        Trap::ListOutOfBounds => "list_out_of_bounds",
        Trap::InvalidDiscriminant => "invalid_discriminant",
        Trap::InvalidChar => "invalid_char",
        Trap::UnalignedPointer => "unaligned_pointer",
        _ => "trap",
    }
}
