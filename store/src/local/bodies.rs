//! Buffers that commits are encoded into, used again by the thread that encodes.
//!
//! A frame's body is longer than what an allocator keeps at hand for each thread, and it is encoded by one
//! thread and done with in another: asked for anew each time, bodies cost more than everything that is put into
//! them. So they come back with the answer and wait here for the next commit.

use std::cell::RefCell;

/// Buffers that one thread keeps: as many as it is likely to have on their way at once.
const KEPT_MAX: usize = 256;
/// Longer ones are rare, and are given back at once; so a thread keeps 4 MiB at most.
const KEPT_BYTES_MAX: usize = 16 * 1024;

thread_local! {
    static KEPT: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// An empty buffer with room for `bytes`.
pub(super) fn take(bytes: usize) -> Vec<u8> {
    let mut body = KEPT.with_borrow_mut(Vec::pop).unwrap_or_default();
    body.reserve(bytes);
    body
}

/// Keeps a buffer for the next one.
pub(super) fn keep(mut body: Vec<u8>) {
    if body.capacity() <= KEPT_BYTES_MAX {
        body.clear();
        KEPT.with_borrow_mut(|kept| {
            if kept.len() < KEPT_MAX {
                kept.push(body);
            }
        });
    }
}
