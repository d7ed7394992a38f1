//! A data folder that somebody or something has spoiled, and the real program on it: it says what is damaged, loses
//! nothing else, and is ready; or it refuses, says why, and leaves everything as it is.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Seek as _, Write as _};
use std::path::Path;
use std::time::{Duration, Instant};

use crate::disk_ground::{Client, Ground, Load, Mounted, get, lacks, nothing_is_lost, skip, stored, until};
use crate::support::{Broker, eventyard, run};

/// After damage the broker is ready, says so within this time of being asked, and takes events.
fn is_well(broker: &Broker) {
    let asked = Instant::now();
    assert_eq!(get(broker, "/readyz").status, 200);
    assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());
    let id = format!("after it {}", fastrand::u64(..));
    assert_eq!(Client::connect(broker.address()).unwrap().post(&id, 10).unwrap().status, 202);
}

/// A folder with so many events of so many bytes, one after another, and their ids in order; killed or stopped.
fn used(count: usize, bytes: usize, killed: bool) -> (Ground, Vec<String>) {
    let ground = Ground::new();
    let mut broker = ground.start();
    let mut client = Client::connect(broker.address()).unwrap();
    let mut ids = Vec::new();
    for number in 0..count {
        let said = client.post(&format!("event-{number:04}."), bytes).unwrap();
        assert_eq!(said.status, 202, "{said:?}");
        ids.push(said.json()["accepted"][0]["event"].as_str().unwrap().to_owned());
    }
    until("all is delivered", || (get(&broker, "/api/v1/status").json()["stats"]["unsettled"] == 0).then_some(()));
    if killed {
        broker.kill();
    } else {
        assert_eq!(broker.terminate(), Some(0));
    }
    (ground, ids)
}

fn change(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    change(&mut bytes);
    fs::write(path, bytes).unwrap();
}

fn find(bytes: &[u8], wanted: &str) -> usize {
    bytes.windows(wanted.len()).position(|window| window == wanted.as_bytes()).unwrap()
}

fn set(ids: &[String]) -> BTreeSet<String> {
    ids.iter().cloned().collect()
}

#[test]
fn a_second_process_on_the_folder_is_refused_with_the_first_ones_pid() {
    let ground = Ground::new();
    let mut first = ground.start();
    let second = run(&["run"], ground.path());
    assert_eq!(second.code, 1, "{}", second.stderr);
    let said = format!("in use by process {}", first.pid());
    assert!(second.stderr.contains(&said), "{}", second.stderr);
    is_well(&first);
    assert_eq!(first.terminate(), Some(0));
}

#[test]
fn a_start_right_behind_a_kill_waits_for_the_one_that_is_dying() {
    let ground = Ground::new();
    let mut brokers = vec![ground.start()];
    for _ in 0..3 {
        // Nobody waits until the system has taken it apart.
        brokers[brokers.len() - 1].signal(rustix::process::Signal::KILL);
        brokers.push(ground.start());
    }
    // One that takes its time: it is told that it is waited for.
    let mut last = brokers.remove(brokers.len() - 1);
    let ends = std::thread::spawn({
        let (log, said) = (ground.log_path(), format!("in use by process {}; it gets 2 s to end", last.pid()));
        move || {
            let seen = until("the wait is told", || {
                fs::read_to_string(&log).ok().filter(|log| log.contains(&said) || log.contains("store_locked"))
            });
            assert!(seen.contains(&said), "{seen}");
            last.kill();
        }
    });
    let mut next = ground.start();
    ends.join().unwrap();
    is_well(&next);
    assert_eq!(next.terminate(), Some(0));
}

#[test]
fn a_flipped_byte_costs_one_event_which_is_named_and_set_aside() {
    let (ground, ids) = used(20, 100, true);
    change(&ground.segment(1), |bytes| {
        let at = find(bytes, "event-0007.");
        bytes[at + 6] ^= 1;
    });
    let mut broker = ground.start();
    is_well(&broker);
    let lost: Vec<_> = set(&ids).difference(&stored(&broker)).cloned().collect();
    assert_eq!(lost, [ids[7].clone()]);
    let log = ground.log();
    assert!(log.contains("\"ERROR\"") && log.contains("journal/0000000001.seg at "), "{log}");
    let aside: Vec<_> = fs::read_dir(ground.data().join("quarantine")).unwrap().map(|it| it.unwrap().path()).collect();
    let [aside] = &aside[..] else { panic!("{aside:?}") };
    assert!(aside.to_str().unwrap().contains("journal-0000000001.seg-"), "{aside:?}");
    assert_eq!(broker.terminate(), Some(0));
}

#[test]
fn an_event_that_was_lost_is_taken_when_it_is_sent_again_without_a_repair() {
    // Stopped in peace, so that every id stands in the files of seen ids.
    let (ground, ids) = used(20, 100, false);
    change(&ground.segment(1), |bytes| {
        let at = find(bytes, "event-0007.");
        bytes[at + 6] ^= 1;
    });
    fs::remove_dir_all(ground.data().join("index")).unwrap();
    let mut broker = ground.start();
    let mut client = Client::connect(broker.address()).unwrap();
    for (number, id) in ids.iter().enumerate() {
        let said = client.post(&format!("event-{number:04}."), 100).unwrap();
        assert_eq!(said.status, 202, "{said:?}");
        let first = &said.json()["accepted"][0];
        assert_eq!(first["duplicate"], number != 7, "{said:?}");
        assert_eq!(first["event"] == **id, number != 7, "{said:?}");
        assert!(stored(&broker).contains(first["event"].as_str().unwrap()), "a 202 of what is not there: {said:?}");
    }
    assert_eq!(broker.terminate(), Some(0));
}

#[test]
fn a_cut_tail_is_cut_at_the_last_good_record() {
    for shortened in [false, true] {
        let (ground, ids) = used(20, 100, true);
        // The last event's frame and what was written behind it.
        let path = ground.segment(1);
        let at = find(&fs::read(&path).unwrap(), "event-0019.");
        if shortened {
            fs::File::options().write(true).open(&path).unwrap().set_len(at as u64).unwrap();
        } else {
            change(&path, |bytes| bytes[at..].fill(0));
        }
        let mut broker = ground.start();
        is_well(&broker);
        let lost: Vec<_> = set(&ids).difference(&stored(&broker)).cloned().collect();
        assert_eq!(lost, [ids[19].clone()], "shortened: {shortened}");
        assert!(ground.log().contains("was cut where a write had not been finished"), "{}", ground.log());
        assert_eq!(broker.terminate(), Some(0));
        ground.is_sound();
    }
}

#[test]
fn a_missing_segment_costs_its_events_and_the_rest_is_served() {
    for with_index in [true, false] {
        // The first file is full after 4 MiB.
        let (ground, ids) = used(12, 500_000, false);
        fs::remove_file(ground.segment(1)).unwrap();
        if !with_index {
            fs::remove_dir_all(ground.data().join("index")).unwrap();
        }
        let mut broker = ground.start();
        is_well(&broker);
        let there = stored(&broker);
        assert!(there.contains(&ids[11]), "with index: {with_index}");
        assert!(!there.contains(&ids[0]), "with index: {with_index}");
        assert_eq!(broker.terminate(), Some(0));
    }
}

#[test]
fn an_index_of_garbage_is_made_again_and_nothing_is_lost() {
    for garbage in [vec![0xa5; 9000], Vec::new()] {
        let (ground, ids) = used(20, 100, false);
        let mut spoiled = 0;
        for entry in fs::read_dir(ground.data().join("index")).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() {
                fs::write(path, &garbage).unwrap();
                spoiled += 1;
            }
        }
        assert!(spoiled > 0);
        let mut broker = ground.start();
        nothing_is_lost(&broker, &set(&ids));
        assert_eq!(broker.terminate(), Some(0));
        ground.is_sound();
    }
}

#[test]
fn a_data_folder_that_is_deleted_under_the_broker_ends_it() {
    let ground = Ground::new();
    let mut broker = ground.start();
    let load = Load::start(&broker, 2, 100);
    load.acknowledged(20);
    fs::remove_dir_all(ground.data()).unwrap();
    let began = Instant::now();
    let refused = load.refused();
    assert_eq!((refused.status, refused.code().as_str()), (503, "store_poisoned"), "{refused:?}");
    assert!(began.elapsed() < Duration::from_secs(5), "found after {:?}", began.elapsed());
    assert_eq!(get(&broker, "/readyz").status, 503);
    drop(load.end());
    assert_eq!(broker.ended(), Some(1));
    assert!(ground.log().contains("was the data folder deleted?"), "{}", ground.log());
    // There is nothing to go on with, and a new store begins.
    let mut broker = ground.start();
    is_well(&broker);
    assert_eq!(broker.terminate(), Some(0));
}

#[test]
fn data_of_a_newer_version_is_refused_and_left_as_it_is() {
    let (ground, _) = used(3, 100, false);
    let path = ground.segment(1);
    let mut file = fs::File::options().write(true).open(&path).unwrap();
    // The version, and the sum that makes it one and not damage.
    let mut head = fs::read(&path).unwrap()[..30].to_vec();
    head[8..10].copy_from_slice(&7u16.to_le_bytes());
    let sum = crc32(&head).to_le_bytes();
    file.rewind().unwrap();
    file.write_all(&head).unwrap();
    file.write_all(&sum).unwrap();
    let before = fs::read(&path).unwrap();

    let refused = run(&["run"], ground.path());
    assert_eq!(refused.code, 1, "{}", refused.stderr);
    for wanted in ["journal/0000000001.seg has format version 7", "up to 1", "a newer eventyard"] {
        assert!(refused.stderr.contains(wanted), "`{wanted}` is missing: {}", refused.stderr);
    }
    assert!(fs::read(&path).unwrap() == before, "it is left as it is");
}

/// The sum that the header of a segment has.
fn crc32(bytes: &[u8]) -> u32 {
    let step = |sum: u32, byte: &u8| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| if sum & 1 == 1 { sum >> 1 ^ 0xedb8_8320 } else { sum >> 1 })
    };
    !bytes.iter().fold(u32::MAX, step)
}

#[test]
fn a_read_only_disk_is_refused_with_its_name() {
    if let Some(why) = lacks(&["losetup", "mkfs.ext4"]) {
        return skip(why);
    }
    let images = tempfile::tempdir().unwrap();
    let disk = match Mounted::make(&images.path().join("disk"), "ext4", 200 << 20, "noatime") {
        Ok(disk) => disk,
        Err(why) => return skip(why),
    };
    let ground = Ground::on(disk.path().join("data"));
    let mut broker = ground.start();
    let load = Load::start(&broker, 2, 100);
    load.acknowledged(10);
    let acknowledged = load.end();
    assert_eq!(broker.terminate(), Some(0));

    assert!(disk.remount("ro"));
    let refused = run(&["run"], ground.path());
    assert_eq!(refused.code, 1, "{}", refused.stderr);
    let data = ground.data().to_str().unwrap();
    assert!(refused.stderr.contains("Read-only file system") && refused.stderr.contains(data), "{}", refused.stderr);
    ground.is_sound();

    assert!(disk.remount("rw"));
    let mut broker = ground.start();
    nothing_is_lost(&broker, &acknowledged);
    assert_eq!(broker.terminate(), Some(0));
}

#[test]
fn a_clock_before_1970_is_refused_before_anything_is_touched() {
    let place = |folder: &str| Path::new("/usr/lib").join(folder).join("faketime/libfaketime.so.1");
    let folders = ["x86_64-linux-gnu", "aarch64-linux-gnu", ""];
    let Some(library) = folders.map(place).into_iter().find(|library| library.exists()) else {
        return skip("there is no libfaketime here");
    };
    let (ground, ids) = used(3, 100, true);
    let before = fs::read(ground.segment(1)).unwrap();
    let early = eventyard(&["run"], ground.path())
        .env("LD_PRELOAD", library)
        .env("FAKETIME", "@1969-06-01 00:00:00")
        .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&early.stderr);
    assert_eq!(early.status.code(), Some(1), "{said}");
    assert!(said.contains("clock says 1969-06-01") && said.contains("set it"), "{said}");
    assert!(fs::read(ground.segment(1)).unwrap() == before);
    let mut broker = ground.start();
    nothing_is_lost(&broker, &set(&ids));
    assert_eq!(broker.terminate(), Some(0));
}
