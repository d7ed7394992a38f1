//! Ports for the servers of tests, of this crate and of its connectors.

use std::sync::atomic::{AtomicU32, Ordering};

/// A port that nobody listens on and no other test of this process is given, and neither is the one after it, which some
/// servers take too. Of those that the system does not give to connections that go out: one of these might be taken from
/// then until the server starts that it is for.
pub(crate) fn free_port() -> u16 {
    const FIRST: u16 = 20_000;
    const PAIRS: u32 = 6_000;
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let is_free = |port: u16| std::net::TcpListener::bind(("127.0.0.1", port)).is_ok();
    // Two checkouts that are tested at once begin elsewhere.
    let begin = std::process::id().wrapping_mul(97);
    loop {
        let pair = begin.wrapping_add(COUNT.fetch_add(1, Ordering::Relaxed)) % PAIRS;
        let port = FIRST + 2 * u16::try_from(pair).unwrap();
        if is_free(port) && is_free(port + 1) {
            return port;
        }
    }
}
