//! The first promise, observed: the 202 leaves the process after `fdatasync` of the journal has returned, seen
//! from outside, by the system calls in their order.

use crate::disk_ground::{Client, Ground, Strace, until};

/// Where a call that holds all of `wanted` was begun, and where it had returned: numbers of lines. strace writes a
/// call on two lines where another thread's call comes in between.
fn call(trace: &[&str], from: usize, name: &str, wanted: &[&str]) -> Option<(usize, usize)> {
    let begins = |line: &str| line.contains(&format!(" {name}(")) && wanted.iter().all(|part| line.contains(part));
    let begun = from + trace.iter().skip(from).position(|line| begins(line))?;
    if !trace[begun].contains("<unfinished ...>") {
        return Some((begun, begun));
    }
    let thread = trace[begun].split(' ').next()?;
    let resumed =
        |line: &&str| line.split(' ').next() == Some(thread) && line.contains(&format!("<... {name} resumed>"));
    Some((begun, begun + trace.iter().skip(begun).position(resumed)?))
}

#[test]
fn a_202_leaves_after_the_sync_of_the_journal_has_returned() {
    let ground = Ground::new();
    let mut broker = ground.start();
    let mut client = Client::connect(broker.address()).unwrap();
    // Settled and idle before it is looked at.
    assert_eq!(client.post("before", 10).unwrap().status, 202);
    let calls = "trace=pwrite64,fdatasync,write,writev,sendto,sendmsg";
    // With the names of files, and enough of what is written to know it again.
    let Some(strace) = Strace::attach(broker.pid(), ground.path(), &["-y", "-s", "4096", "-e", calls]) else { return };
    let said = client.post("the-one-that-is-watched", 10).unwrap();
    assert_eq!(said.status, 202);
    // What strace has seen last, it writes last.
    let trace = until("the answer is in the trace", || {
        assert_eq!(client.get("/healthz").unwrap().status, 200);
        Some(strace.so_far()).filter(|trace| trace.contains("HTTP/1.1 202"))
    });
    let lines: Vec<&str> = trace.lines().collect();

    let segment = "journal/0000000001.seg>";
    let written = call(&lines, 0, "pwrite64", &[segment, "the-one-that-is-watched"]);
    let (_, written) = written.unwrap_or_else(|| panic!("the event was not written:\n{trace}"));
    let synced = call(&lines, written + 1, "fdatasync", &[segment]);
    let (_, synced) = synced.unwrap_or_else(|| panic!("what was written was not synced:\n{trace}"));
    assert!(lines[synced].ends_with("= 0"), "{}", lines[synced]);
    let answers = ["write", "writev", "sendto", "sendmsg"];
    let answered = answers.iter().filter_map(|name| call(&lines, 0, name, &["HTTP/1.1 202"])).min();
    let (answered, _) = answered.unwrap_or_else(|| panic!("no 202 was written:\n{trace}"));
    assert!(answered > synced, "the 202 left before the sync had returned:\n{trace}");
    assert_eq!(broker.terminate(), Some(0));
}
