//! Commits that are done with, to be filled in again by the thread that gets them back.
//!
//! A frame's body is longer than what an allocator keeps at hand for each thread, and it is encoded by one
//! thread and done with in another: asked for anew each time, bodies and what stands beside them cost more than
//! everything that is put into them. So they come back with the answer and wait here for the next commit.

use std::cell::RefCell;

use crate::owner::CommitWork;

/// What one thread keeps: as many as it is likely to have on their way at once.
const KEPT_MAX: usize = 256;
/// Longer bodies are rare, and are given back at once; so a thread keeps little more than 4 MiB.
const KEPT_BYTES_MAX: usize = 16 * 1024;
/// As with bodies: room for more events in one commit is rarely asked for.
const KEPT_PARTS_MAX: usize = 4;

thread_local! {
    #[expect(clippy::vec_box, reason = "the boxes are what is kept")]
    static KEPT: RefCell<Vec<Box<CommitWork>>> = const { RefCell::new(Vec::new()) };
}

/// An empty one.
pub(super) fn take() -> Box<CommitWork> {
    KEPT.with_borrow_mut(Vec::pop).unwrap_or_default()
}

/// Keeps one for the next commit.
pub(super) fn keep(mut work: Box<CommitWork>) {
    if work.body.capacity() > KEPT_BYTES_MAX || work.parts.capacity() > KEPT_PARTS_MAX {
        return;
    }
    let CommitWork { body, checksum, parts, position, looked_up, admitted, reply, spent } = &mut *work;
    body.clear();
    *checksum = 0;
    parts.clear();
    *position = None;
    *looked_up = None;
    admitted.clear();
    *reply = None;
    *spent = None;
    KEPT.with_borrow_mut(|kept| {
        if kept.len() < KEPT_MAX {
            kept.push(work);
        }
    });
}
