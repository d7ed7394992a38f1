//! A small disk that is really full, and has room again: a file system in a file.

use std::collections::BTreeSet;
use std::fs;

use crate::disk_ground::{Client, Ground, Load, Mounted, get, lacks, nothing_is_lost, skip, until};

const MIB: u64 = 1024 * 1024;

/// Room for the first segment and the next one, and not for the reserve.
const ROOM: u64 = 90 * MIB;

#[test]
fn a_full_disk_answers_507_goes_on_with_what_it_has_and_recovers_by_itself() {
    if let Some(why) = lacks(&["losetup", "mkfs.ext4"]) {
        return skip(why);
    }
    let images = tempfile::tempdir().unwrap();
    let disk = match Mounted::make(&images.path().join("disk"), "ext4", 256 * MIB, "noatime") {
        Ok(disk) => disk,
        Err(why) => return skip(why),
    };
    let ballast = disk.path().join("ballast");
    let free = rustix::fs::statvfs(disk.path()).unwrap();
    let taken = free.f_bavail * free.f_frsize - ROOM;
    let file = fs::File::create(&ballast).unwrap();
    rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, taken).unwrap();
    drop(file);

    let ground = Ground::on(disk.path().join("data"));
    let mut broker = ground.start();
    let load = Load::start(&broker, 2, 200_000);
    let refused = load.refused();
    assert_eq!((refused.status, refused.code().as_str()), (507, "no_space"), "{refused:?}");
    assert!(refused.says_when_to_come_back(), "{refused:?}");
    let mut acknowledged = load.end();
    assert!(acknowledged.len() > 10, "the first segment was used: {}", acknowledged.len());
    let ready = get(&broker, "/readyz");
    assert_eq!((ready.status, &ready.json()["reasons"][0]["code"]), (503, &"no_space".into()));
    all_is_settled(&broker, "what was accepted goes on while there is no space");

    // A start on the full disk finds everything.
    broker.kill();
    let mut broker = ground.start();
    has(&broker, &acknowledged);
    until("it is full again", || refused_for_space(&broker, &mut acknowledged).then_some(()));

    fs::remove_file(&ballast).unwrap();
    until("events are taken again", || (!refused_for_space(&broker, &mut acknowledged)).then_some(()));
    assert_eq!(get(&broker, "/readyz").status, 200);
    all_is_settled(&broker, "what came after it");
    assert_eq!(broker.terminate(), Some(0));
    let mut broker = ground.start();
    nothing_is_lost(&broker, &acknowledged);
    assert_eq!(broker.terminate(), Some(0));
    ground.is_sound();
}

fn has(broker: &crate::support::Broker, acknowledged: &BTreeSet<String>) {
    let stored = crate::disk_ground::stored(broker);
    assert!(acknowledged.is_subset(&stored), "{:?}", acknowledged.difference(&stored));
}

fn all_is_settled(broker: &crate::support::Broker, what: &str) {
    until(what, || (get(broker, "/api/v1/status").json()["stats"]["unsettled"] == 0).then_some(()));
}

/// Sends one large event; whether it was refused for want of space.
fn refused_for_space(broker: &crate::support::Broker, acknowledged: &mut BTreeSet<String>) -> bool {
    let id = format!("probe-{}", fastrand::u64(..));
    let said = Client::connect(broker.address()).unwrap().post(&id, 900_000).unwrap();
    match said.status {
        507 => true,
        202 => {
            acknowledged.insert(said.json()["accepted"][0]["event"].as_str().unwrap().to_owned());
            false
        }
        _ => panic!("{said:?}"),
    }
}
