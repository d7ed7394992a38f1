//! The places that a repair has seen to: what could not be read there was copied aside, and nothing more can be
//! done about it. They stay in the journal as they are, for a journal's bytes are never made up; so a list beside
//! it says that they are known, and neither a start nor `verify` calls them damage again.
//!
//! The list can be lost: what stands in it is then found anew. It is one journal's list; where another journal has come
//! into the folder, nothing of that one is known.

use std::hash::Hasher;
use std::io;
use std::path::Path;

use eventyard_event::Timestamp;
use serde::{Deserialize, Serialize};
use siphasher::sip::SipHasher13;

use crate::Damage;
use crate::disk::{AnyDisk, Disk, OpenHow, put_whole, read_all};

/// The folder of what was set aside, within the data folder.
pub(crate) const QUARANTINE: &str = "quarantine";

/// The list's name in that folder.
pub(crate) const KNOWN_FILE: &str = "known.json";

/// The form of the list. What is written otherwise is not believed.
const VERSION: u32 = 1;

/// One place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct KnownPlace {
    file: String,
    offset: u64,
    bytes: u64,
    what: String,
    /// When it was noted.
    noted_at: Timestamp,
}

/// All of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Known {
    version: u32,
    /// Whose places they are: a hash, for a journal's id is a key and is to stand in as few files as can be.
    journal: String,
    places: Vec<KnownPlace>,
}

impl Known {
    fn of(journal: [u8; 16]) -> Known {
        let mut hasher = SipHasher13::new_with_key(&journal);
        hasher.write(KNOWN_FILE.as_bytes());
        Known { version: VERSION, journal: format!("{:016x}", hasher.finish()), places: Vec::new() }
    }

    /// Reads the list of a journal; an empty one where there is none that can be read.
    pub(crate) fn read(disk: &AnyDisk, dir: &Path, journal: [u8; 16]) -> Known {
        let path = dir.join(QUARANTINE).join(KNOWN_FILE);
        let none = Known::of(journal);
        let read = disk.open(&path, OpenHow::Read).and_then(|file| read_all(disk, &file));
        match read {
            Ok(bytes) => match serde_json::from_slice::<Known>(&bytes) {
                Ok(known) if known.version == VERSION && known.journal == none.journal => known,
                Ok(known) if known.version == VERSION => none,
                _ => {
                    tracing::warn!(file = %path.display(), "the list of known damage cannot be read; it is found anew");
                    none
                }
            },
            Err(_) => none,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Whether a damage is one of these, or a part of one: a start that does not read the whole journal sees less
    /// of a place than the repair did.
    pub(crate) fn covers(&self, damage: &Damage) -> bool {
        let end = damage.offset.saturating_add(damage.bytes);
        self.places.iter().filter(|place| place.file == damage.file).any(|place| {
            let same = place.offset == damage.offset && place.bytes == damage.bytes && place.what == damage.what;
            let within =
                damage.bytes > 0 && place.offset <= damage.offset && end <= place.offset.saturating_add(place.bytes);
            same || within
        })
    }

    /// Takes the known ones out of what was found.
    pub(crate) fn split_off(&self, damages: &mut Vec<Damage>) -> Vec<Damage> {
        let (known, new) = std::mem::take(damages).into_iter().partition(|damage| self.covers(damage));
        *damages = new;
        known
    }

    pub(super) fn add(&mut self, damages: &[Damage], noted_at: Timestamp) {
        self.places.extend(damages.iter().cloned().map(|damage| {
            let Damage { file, offset, bytes, what } = damage;
            KnownPlace { file, offset, bytes, what, noted_at }
        }));
    }

    /// Writes the list in place of the one that was there, durably.
    pub(super) fn write(&self, disk: &AnyDisk, dir: &Path) -> io::Result<()> {
        let folder = dir.join(QUARANTINE);
        let bytes = serde_json::to_vec_pretty(self).map_err(io::Error::other)?;
        put_whole(disk, &folder.join(format!("{KNOWN_FILE}.new")), &folder.join(KNOWN_FILE), &bytes).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn damage(offset: u64, bytes: u64, what: &str) -> Damage {
        Damage { file: "journal/0000000001.seg".to_owned(), offset, bytes, what: what.to_owned() }
    }

    #[test]
    fn a_part_of_a_known_place_is_known_and_what_reaches_beyond_it_is_not() {
        let mut known = Known::of([1; 16]);
        known.add(&[damage(100, 50, "the frames 3 to 4 cannot be read"), damage(4096, 0, "gone")], Timestamp::EPOCH);
        assert!(known.covers(&damage(100, 50, "otherwise said")));
        assert!(known.covers(&damage(120, 30, "the frame 4 cannot be read")));
        assert!(!known.covers(&damage(120, 31, "the frame 4 cannot be read")));
        assert!(!known.covers(&damage(99, 10, "the frame 3 cannot be read")));
        assert!(known.covers(&damage(4096, 0, "gone")));
        assert!(!known.covers(&damage(4096, 0, "something else is gone")), "without bytes, only the same is the same");
        assert!(!known.covers(&Damage { file: "journal/0000000002.seg".to_owned(), ..damage(100, 50, "") }));
    }

    #[test]
    fn the_list_of_another_journal_is_not_believed() {
        let folder = tempfile::tempdir().unwrap();
        let disk = AnyDisk::Real(crate::disk::RealDisk);
        let mut known = Known::of([1; 16]);
        known.add(&[damage(100, 50, "the frame 3 cannot be read")], Timestamp::EPOCH);
        known.write(&disk, folder.path()).unwrap();
        assert_eq!(Known::read(&disk, folder.path(), [1; 16]), known);
        assert!(Known::read(&disk, folder.path(), [2; 16]).is_empty());
    }
}
