//! A disk that fails while the real program runs on it: calls on the store's files are failed by strace.
//!
//! An error on the live segment is final: nothing more is acknowledged, `/readyz` says so, and the process ends
//! with 1 for whoever started it to start it again. What was acknowledged is there then. No space is met only
//! where a segment is made; that is a 507, and it passes by itself.

use std::time::{Duration, Instant};

use crate::disk_ground::{Client, Ground, Load, Strace, get, nothing_is_lost, until};

/// Fails one call on the live segment, and sees the process to its end and the next one to its start.
fn a_failed_call_is_final(call: &str, error: &str) {
    let ground = Ground::new();
    let mut broker = ground.start();
    let load = Load::start(&broker, 8, 300);
    load.acknowledged(50);
    let live = ground.segment(1);
    // One call, while there are others before and after it: the disk is well again, and is not believed.
    let (trace, inject) = (format!("trace={call}"), format!("inject={call}:error={error}:when=5"));
    let arguments = ["-e", &trace, "-e", &inject, "-P", live.to_str().unwrap()];
    let Some(strace) = Strace::attach(broker.pid(), ground.path(), &arguments) else { return };

    let refused = load.refused();
    let began = Instant::now();
    assert_eq!((refused.status, refused.code().as_str()), (503, "store_poisoned"), "{refused:?}");
    assert!(refused.says_when_to_come_back(), "{refused:?}");
    let ready = get(&broker, "/readyz");
    assert_eq!(ready.status, 503, "{ready:?}");
    assert_eq!(ready.json()["reasons"][0]["code"], "store_poisoned", "{ready:?}");
    for _ in 0..3 {
        let again = Client::connect(broker.address()).unwrap().post("again", 10).unwrap();
        assert_eq!((again.status, again.code().as_str()), (503, "store_poisoned"), "{again:?}");
    }
    let acknowledged = load.end();
    assert_eq!(broker.ended(), Some(1));
    let took = began.elapsed();
    assert!((Duration::from_secs(4)..Duration::from_secs(20)).contains(&took), "it ended after {took:?}");
    let traced = strace.end();
    assert!(traced.contains("(INJECTED)"), "{traced}");
    let log = ground.log();
    assert!(log.contains("journal/0000000001.seg") && log.contains("cannot be written any more"), "{log}");

    let mut broker = ground.start();
    nothing_is_lost(&broker, &acknowledged);
    assert_eq!(broker.terminate(), Some(0));
    ground.is_sound();
}

#[test]
fn a_sync_that_fails_ends_the_program_and_loses_nothing_acknowledged() {
    a_failed_call_is_final("fdatasync", "EIO");
}

#[test]
fn a_write_that_fails_ends_the_program_and_loses_nothing_acknowledged() {
    a_failed_call_is_final("pwrite64", "EIO");
}

#[test]
fn no_space_on_a_file_that_has_all_of_its_space_is_a_failing_disk() {
    a_failed_call_is_final("pwrite64", "ENOSPC");
}

#[test]
fn no_space_told_by_a_sync_is_a_failing_disk() {
    a_failed_call_is_final("fdatasync", "ENOSPC");
}

#[test]
fn no_space_for_a_segment_is_a_507_that_passes_by_itself() {
    let ground = Ground::new();
    let mut broker = ground.start();
    // The next two are made when it starts; the fourth is the first that is made while it runs.
    until("two segments made ahead", || ground.segment(3).exists().then_some(()));
    let mut fourth = ground.segment(4).into_os_string();
    fourth.push(".new");
    let inject = "inject=pwrite64:error=ENOSPC";
    let arguments = ["-e", "trace=pwrite64", "-e", inject, "-P", fourth.to_str().unwrap()];
    let Some(strace) = Strace::attach(broker.pid(), ground.path(), &arguments) else { return };
    let load = Load::start(&broker, 2, 900_000);
    let refused = load.refused();
    assert_eq!((refused.status, refused.code().as_str()), (507, "no_space"), "{refused:?}");
    assert!(refused.says_when_to_come_back(), "{refused:?}");
    assert_eq!(get(&broker, "/readyz").json()["reasons"][0]["code"], "no_space");
    let mut acknowledged = load.end();
    assert!(acknowledged.len() > 60, "the live segments were used to their end: {}", acknowledged.len());

    // Space returns.
    drop(strace);
    until("events are taken again", || {
        let said = Client::connect(broker.address()).unwrap().post("first after it", 900_000).unwrap();
        assert!(matches!(said.status, 202 | 507), "{said:?}");
        (said.status == 202).then(|| {
            acknowledged.insert(said.json()["accepted"][0]["event"].as_str().unwrap().to_owned());
        })
    });
    assert_eq!(get(&broker, "/readyz").status, 200);
    broker.kill();
    let mut broker = ground.start();
    nothing_is_lost(&broker, &acknowledged);
    assert_eq!(broker.terminate(), Some(0));
    ground.is_sound();
}
