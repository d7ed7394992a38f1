//! Patterns × events by libFuzzer: each line but the last is a pattern, the last is the event. `run.sh` builds and runs
//! it.
#![no_main]

use std::cell::RefCell;

use eventyard_rules::Memory;
use libfuzzer_sys::fuzz_target;

#[path = "../tests/agree/mod.rs"]
mod agree;

use agree::Rules;

/// More patterns than this find nothing that fewer do not, and take time.
const PATTERNS_MAX: usize = 8;

thread_local! {
    static MEMORY: RefCell<Memory> = RefCell::default();
}

fuzz_target!(|bytes: &[u8]| {
    let mut lines: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').collect();
    let event = lines.pop().unwrap_or_default();
    lines.truncate(PATTERNS_MAX);
    let rules = Rules::read(lines.into_iter().map(|line| String::from_utf8_lossy(line).into_owned()).collect());
    MEMORY.with_borrow_mut(|memory| {
        for claimed_unique in [false, true] {
            rules.agree(event, claimed_unique, memory);
        }
    });
});
