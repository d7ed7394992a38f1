//! Where calls run.
//!
//! A call begins on the thread that asks for it: most are over in some microseconds, and changing threads would cost
//! more than that. When it is interrupted by the engine's clock for the first time it moves to threads of its own,
//! whose priority is lower than the broker's. There calls that compute take turns, one tick each. So a function that
//! never ends takes at most a tick of a broker's thread, and after that only what the broker leaves.
//!
//! A function whose last call moved begins there at once.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;

use super::call::Record;

/// How much lower the priority is (nice): a processor that both want goes to the broker four times as often.
const NICE: i32 = 6;

type Call<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// None where the system refused the threads. Then calls stay where they began, and still give way at every tick.
static LANE: LazyLock<Option<tokio::runtime::Runtime>> = LazyLock::new(|| {
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let built = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .thread_name("wasm")
        .on_thread_start(|| {
            if let Err(error) = rustix::process::nice(NICE) {
                tracing::debug!(%error, "the priority of a thread for functions could not be lowered");
            }
        })
        .enable_all()
        .build();
    built.map_err(|error| tracing::error!(%error, "no threads for functions could be started")).ok()
});

/// Runs a call to its end. `long` is what is remembered of the function: whether its last call moved.
/// Cancellation: dropping this drops the call at its next tick.
pub(super) async fn run<T: Send + 'static>(mut call: Call<T>, record: &Record, long: &AtomicBool) -> Option<T> {
    if !long.load(Ordering::Relaxed) {
        let begun = poll_fn(|cx| match call.as_mut().poll(cx) {
            Poll::Ready(ended) => Poll::Ready(Some(ended)),
            Poll::Pending if record.ticks() > 0 => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        });
        if let Some(ended) = begun.await {
            return Some(ended);
        }
        long.store(true, Ordering::Relaxed);
    }
    let ended = match LANE.as_ref() {
        Some(lane) => Moved(lane.spawn(call)).await,
        None => Some(call.await),
    };
    if record.ticks() == 0 {
        long.store(false, Ordering::Relaxed);
    }
    ended
}

/// A call on the threads of functions; dropping it ends the call.
struct Moved<T>(tokio::task::JoinHandle<T>);

impl<T> Future for Moved<T> {
    /// None where the call broke off: a mistake of ours.
    type Output = Option<T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut std::task::Context<'_>) -> Poll<Option<T>> {
        Pin::new(&mut self.0).poll(cx).map(|ended| {
            ended.map_err(|error| tracing::error!(%error, "a call of a WebAssembly function broke off")).ok()
        })
    }
}

impl<T> Drop for Moved<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}
