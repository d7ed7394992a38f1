//! Power cuts, as far as software makes them.
//!
//! The broker's data stands on ext4 in a file, mounted with a long commit interval so that nothing reaches the
//! file but what was synced. While it takes events the file is cloned in one instant (XFS does that): the clone is
//! what a disk would hold had the power gone then, the page cache lost with everything in it. ext4 is repaired by
//! its own tools, a broker opens the folder, and every event that had been acknowledged before the cut is there.
//!
//! What this cannot show: a disk that says it has written and has not.
//!
//!     EVENTYARD_POWER_CUTS=100 cargo test --locked --test main power_cut -- --nocapture

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::disk_ground::{Ground, Load, Mounted, lacks, must, nothing_is_lost, skip};

const MIB: u64 = 1024 * 1024;

/// Cuts unless `EVENTYARD_POWER_CUTS` says otherwise.
const CUTS: u32 = 4;

/// Long enough that no commit of the file system's own comes in a round.
const OPTIONS: &str = "noatime,commit=600";

fn cuts() -> u32 {
    let text = std::env::var("EVENTYARD_POWER_CUTS").ok();
    text.map_or(CUTS, |text| text.parse().unwrap_or_else(|_| panic!("EVENTYARD_POWER_CUTS is no number: {text}")))
}

fn clone(from: &Path, to: &Path) {
    must(Command::new("cp").arg("--reflink=always").arg(from).arg(to));
}

/// What came back after one cut.
struct Cut {
    acknowledged: usize,
    torn: bool,
}

fn cut_once(host: &Path, ground: &Ground, image: &Path, random: &mut fastrand::Rng, round: u32) -> Cut {
    let cut = host.join(format!("cut-{round}"));
    let mut broker = ground.start();
    let load = Load::start(&broker, 6, random.usize(10..3000));
    load.acknowledged(random.usize(1..300));
    // A little later, so that the cut does not always follow an answer.
    wait(Duration::from_micros(random.u64(0..20_000)));
    let acknowledged = load.so_far();
    clone(image, &cut);
    broker.kill();
    drop(load.end());

    // 1: it was repaired, which is what a journal of a file system is for.
    let repaired = Command::new("/usr/sbin/e2fsck").arg("-p").arg(&cut).output().unwrap();
    assert!(repaired.status.code().is_some_and(|code| code <= 1), "{repaired:?}");
    // Others could be mounted, so one that cannot is broken, and no reason to skip.
    let disk = Mounted::mount(&cut, "ext4", "noatime").unwrap_or_else(|why| panic!("round {round}: {why}"));
    let copy = Ground::on(disk.path().join("data"));
    let mut broker = copy.start();
    nothing_is_lost(&broker, &acknowledged);
    let log = copy.log();
    assert!(!log.contains("\"ERROR\""), "round {round}: {log}");
    assert_eq!(broker.terminate(), Some(0));
    copy.is_sound();
    let torn = log.contains("was cut where a write had not been finished");
    drop(disk);
    std::fs::remove_file(cut).unwrap();
    Cut { acknowledged: acknowledged.len(), torn }
}

#[expect(clippy::disallowed_methods, reason = "the instant of the fault itself: nothing is waited for")]
fn wait(time: Duration) {
    std::thread::sleep(time);
}

#[test]
fn what_was_acknowledged_before_a_power_cut_is_there_after_it() {
    if let Some(why) = lacks(&["losetup", "mkfs.ext4", "mkfs.xfs", "e2fsck", "debugfs"]) {
        return skip(why);
    }
    let images = tempfile::tempdir().unwrap();
    // Where files can be cloned in an instant. It holds little of what it could.
    let host = match Mounted::make(&images.path().join("host"), "xfs", 2048 * MIB, "noatime") {
        Ok(host) => host,
        Err(why) => return skip(why),
    };
    let image = host.path().join("disk");
    let disk = match Mounted::make(&image, "ext4", 400 * MIB, OPTIONS) {
        Ok(disk) => disk,
        Err(why) => return skip(why),
    };

    // The cut is one: what was not synced is gone, what was is there.
    std::fs::write(disk.path().join("unsynced"), "x").unwrap();
    clone(&image, &host.path().join("trial"));
    let found = Command::new("/usr/sbin/debugfs").args(["-R", "stat unsynced"]).arg(host.path().join("trial")).output();
    assert!(String::from_utf8_lossy(&found.unwrap().stderr).contains("File not found"), "the page cache was cut too");

    let ground = Ground::on(disk.path().join("data"));
    let mut random = fastrand::Rng::new();
    let (mut acknowledged, mut torn) = (0, 0);
    for round in 0..cuts() {
        let cut = cut_once(host.path(), &ground, &image, &mut random, round);
        acknowledged += cut.acknowledged;
        torn += u32::from(cut.torn);
    }
    tell(&format!(
        "power cuts: {}, {torn} of them within a write; {acknowledged} acknowledged events, none lost",
        cuts()
    ));
}

#[expect(clippy::print_stdout, reason = "figures of a test that is about chance")]
fn tell(text: &str) {
    println!("{text}");
}
