//! Processes that left their call's group and outlived it.
//!
//! A command may start a daemon: a process in a session of its own, whose parent ends. No signal to the group
//! reaches it. Where the broker has adopted orphans ([`adopt_orphans`]), such a process becomes a child of the
//! broker instead of the system's first process, is recognised by the call's name in its environment, killed
//! when the call is over, and reaped, so that no zombies pile up.

use std::sync::atomic::{AtomicBool, Ordering};
use std::{fs, io};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions};

use super::CALL_VARIABLE;

static ADOPTING: AtomicBool = AtomicBool::new(false);

/// Makes this program the parent of every process that a command leaves behind, and lets it kill and reap them
/// once their call is over. To be called once, by a program that starts processes through this crate alone: any
/// other child of the program would be reaped too, and its own starter would never learn how it ended.
///
/// # Errors
/// Where the system refuses; then processes that a command leaves behind live on.
pub fn adopt_orphans() -> io::Result<()> {
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    ADOPTING.store(true, Ordering::Relaxed);
    Ok(())
}

/// Looks at every child of this program that is `known` to nobody: reaps it where it has ended, and kills it
/// where its call is not `running`. True where a killed one has still to be reaped.
pub(super) fn sweep(known: impl Fn(Pid) -> bool, running: impl Fn(&str) -> bool) -> bool {
    if !ADOPTING.load(Ordering::Relaxed) {
        return false;
    }
    let mut left = false;
    for pid in children().into_iter().filter(|&pid| !known(pid)) {
        let ended = rustix::process::waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOHANG);
        if !matches!(ended, Ok(None)) {
            continue;
        }
        if call_of(pid).is_some_and(|call| !running(&call)) {
            let _ = rustix::process::kill_process(pid, Signal::KILL);
            left = true;
        }
    }
    left
}

/// The children of every thread of this program. None where the system does not list them.
fn children() -> Vec<Pid> {
    let Ok(threads) = fs::read_dir("/proc/self/task") else { return Vec::new() };
    let lists = threads.flatten().filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    lists.flat_map(|list| list.split_whitespace().filter_map(parse_pid).collect::<Vec<_>>()).collect()
}

fn parse_pid(text: &str) -> Option<Pid> {
    text.parse().ok().and_then(Pid::from_raw)
}

/// The call that a process belongs to, where its environment can be read and says so.
fn call_of(pid: Pid) -> Option<String> {
    let environment = fs::read(format!("/proc/{}/environ", pid.as_raw_nonzero())).ok()?;
    environment.split(|&byte| byte == 0).find_map(|variable| {
        let value = variable.strip_prefix(CALL_VARIABLE.as_bytes())?.strip_prefix(b"=")?;
        String::from_utf8(value.to_vec()).ok()
    })
}
