//! One walk over the journal: every frame is taken apart, and the state is built twice, from the journal alone
//! and from the index with the journal behind it, as the next start would build it.

use bytes::Bytes;

use super::copy::Copied;
use super::{Compared, Ground, Progress, VerifyProgress, VerifyReport};
use crate::checkpoint::{Found, Meta};
use crate::dedupe::{Dedupe, Place as DedupePlace, dedupe_folder};
use crate::disk::AnyDisk;
use crate::journal::{
    FrameRead, Item, ItemError, Place, event_payload, read_envelope, read_item, segment_file, split_item,
};
use crate::local::{Rebuild, find_checkpoint, index_folder};
use crate::owner::within;
use crate::state::{Names, State};
use crate::{Damage, place_count};

/// What the walk has found.
pub(super) struct Walked {
    /// From the journal alone.
    pub(super) alone: Rebuild,
    /// From the index and what came after it; `None` where there is no index that can be used.
    pub(super) with_index: Option<(Meta, Rebuild)>,
    /// The seen ids that should be in files.
    pub(super) marks: Marks,
    /// What is wrong with the index and the files of seen ids before anything is compared.
    pub(super) beside: Vec<Damage>,
    /// Outcomes whose event cannot be read, and those that lack an earlier one of their delivery.
    pub(super) orphans: Consequence,
    pub(super) gaps: Consequence,
}

/// What follows from damage elsewhere: how often, and where it shows first.
#[derive(Default)]
pub(super) struct Consequence {
    pub(super) count: u64,
    pub(super) first: Place,
}

impl Consequence {
    fn note(&mut self, place: Place) {
        if self.count == 0 {
            self.first = place;
        }
        self.count += 1;
    }

    /// Says it, where it happened at all.
    pub(super) fn damage(&self, what: &str) -> Option<Damage> {
        let (file, offset) = (segment_file(self.first.segment), u64::from(self.first.offset));
        (self.count > 0).then(|| Damage { file, offset, bytes: 0, what: format!("{} {what}", self.count) })
    }
}

/// Seen ids, held against their files.
#[derive(Default)]
pub(super) struct Marks {
    /// The files; `None` where they cannot be used.
    pub(super) files: Option<Dedupe>,
    pub(super) checked_count: u64,
    pub(super) missing_count: u64,
    /// Those of which a file says something else.
    pub(super) wrong_count: u64,
}

pub(super) struct Walk<'a> {
    ground: &'a Ground<'a>,
    report: &'a mut VerifyReport,
    progress: Progress<'a>,
    walked: Walked,
    /// Bytes of the segments before each; by the order of their numbers.
    before: Vec<(u32, u64)>,
}

impl<'a> Walk<'a> {
    /// Reads the index and the heads of the files of seen ids.
    pub(super) fn begin(ground: &'a Ground<'a>, report: &'a mut VerifyReport, progress: Progress<'a>) -> Walk<'a> {
        let mut total = 0;
        let mut before = Vec::with_capacity(ground.segments.len());
        for segment in &ground.segments {
            before.push((segment.number, total));
            total += segment.bytes as u64;
        }
        let mut beside = Vec::new();
        let with_index = read_index(ground, report, &mut beside);
        let marks = Marks { files: read_seen_ids(ground, report, &mut beside), ..Marks::default() };
        let walked = Walked {
            alone: Rebuild::default(),
            with_index,
            marks,
            beside,
            orphans: Consequence::default(),
            gaps: Consequence::default(),
        };
        Walk { ground, report, progress, walked, before }
    }

    /// The last frame that the index has seen.
    pub(super) fn known(&self) -> u64 {
        self.walked.with_index.as_ref().map_or(0, |(meta, _)| meta.end.sequence)
    }

    pub(super) fn end(self) -> Walked {
        self.walked
    }

    /// Looks at one frame. What cannot be understood is an error, and damage; the walk goes on behind it.
    pub(super) fn frame(&mut self, frame: &FrameRead<'_>) -> Result<(), ItemError> {
        let begins = self.before.partition_point(|(number, _)| *number < frame.place.segment);
        let begins = self.before.get(begins).map_or(0, |(_, bytes)| *bytes);
        let read_bytes = begins + u64::from(frame.place.offset) + frame.body.len() as u64;
        (self.progress)(VerifyProgress { read_bytes, total_bytes: self.report.journal_bytes });

        let understood = self.items(frame);
        let applied = self.walked.alone.apply(frame);
        self.walked.alone.dedupe.forget_newest();
        if let Some((meta, rebuild)) = &mut self.walked.with_index
            && frame.sequence > meta.end.sequence
        {
            // The same frame gave the same error a moment ago.
            let _ = rebuild.apply(frame);
            rebuild.dedupe.forget_newest();
        }
        understood.and(applied)
    }

    fn items(&mut self, frame: &FrameRead<'_>) -> Result<(), ItemError> {
        self.walked.alone.catalog.table_events();
        let mut at = 0;
        let mut before = None;
        while let Some(rest) = frame.body.get(at..).filter(|rest| !rest.is_empty()) {
            let raw = split_item(rest)?;
            let item = read_item(raw)?;
            self.report.item_count += 1;
            let (head, anew) = match &item {
                Item::Event(head) => (Some(head), true),
                // Counted where its first item stands, as long as that is there.
                Item::Kept(kept) => (Some(&kept.0), self.walked.alone.catalog.find_event(kept.0.id).is_none()),
                _ => (None, false),
            };
            if let Some(head) = head {
                if let Some(payload) = event_payload(raw.kind, &Bytes::copy_from_slice(raw.payload))? {
                    let envelope = read_envelope(&payload)?;
                    debug_assert_eq!(envelope.id, head.id, "both are read from the head");
                }
                if anew {
                    self.report.event_count += 1;
                    self.report.delivery_count += place_count(&head.deliveries) as u64;
                }
                self.mark(frame.sequence, head);
            }
            // A dead letter from the start: its settlement stands right behind its event, and begins its history.
            let born_dead = matches!(
                &item,
                Item::Settlement(record) if before == Some(record.delivery.event) && record.previous.is_none()
            );
            before = head.map(|head| head.id).or(before.filter(|_| born_dead));
            if !born_dead {
                self.hangs_together(frame, at, &item);
            }
            at += raw.bytes();
        }
        Ok(())
    }

    /// Whether the deliveries of an outcome are there, and their history hangs together.
    fn hangs_together(&mut self, frame: &FrameRead<'_>, at_in_body: usize, item: &Item) {
        let state = &self.walked.alone.state;
        let deliveries: Vec<_> = match item {
            Item::Event(_) | Item::Position(_) | Item::Kept(_) | Item::KeptPosition(..) | Item::Forget(_) => return,
            Item::Begin(begins) => begins.iter().map(|begin| begin.delivery).collect(),
            Item::Settlement(record) => vec![record.delivery],
            Item::Replay { letters, .. } => letters.iter().map(|(delivery, _)| *delivery).collect(),
            Item::Purge { letters, .. } => letters.iter().map(|(delivery, _)| *delivery).collect(),
            Item::Hasten { hastened, .. } => hastened.iter().map(|(delivery, _)| *delivery).collect(),
        };
        let unknown: Vec<_> =
            deliveries.into_iter().filter(|delivery| state.find_delivery(*delivery).is_none()).collect();
        let torn_history = match item {
            Item::Settlement(record) => state.find_delivery(record.delivery).is_some_and(|(_, found)| {
                // What was on its way while its event was copied points to where the history stood before.
                let copied = state.find(record.delivery.event).is_some_and(|(_, event)| event.item.place == found.last);
                !copied && (found.last != record.previous || found.first != record.first)
            }),
            _ => false,
        };
        let place = within(frame.place, at_in_body);
        // Outcomes of events that are gone by the retention stand there for as long as their own segment does. Those
        // events came before the record that says so, which may stand behind their outcomes.
        let unknown: Vec<_> = unknown.into_iter().filter(|_| !self.ground.front_is_gone()).collect();
        unknown.iter().for_each(|_| self.walked.orphans.note(place));
        if torn_history {
            self.walked.gaps.note(place);
        }
        unknown.iter().for_each(|delivery| self.report.lost(delivery.event));
    }

    /// Holds a seen id against the files, where it should be in one by now.
    fn mark(&mut self, sequence: u64, head: &crate::journal::EventHead) {
        let Some(mark) = head.dedupe.filter(|mark| mark.expires_at > self.ground.now) else { return };
        let saved = self.walked.with_index.as_ref().is_some_and(|(meta, _)| sequence <= meta.end.sequence);
        let marks = &mut self.walked.marks;
        let Some(files) = marks.files.as_ref().filter(|_| saved) else { return };
        marks.checked_count += 1;
        match files.find_in_files(self.ground.disk, &mark.hash) {
            Ok(None) => marks.missing_count += 1,
            // One that came after this one had expired stands in its place.
            Ok(Some((event, expires_at)))
                if expires_at > mark.expires_at || expires_at == mark.expires_at && event == head.id => {}
            Ok(Some(_)) | Err(_) => marks.wrong_count += 1,
        }
    }
}

fn read_index(ground: &Ground<'_>, report: &mut VerifyReport, beside: &mut Vec<Damage>) -> Option<(Meta, Rebuild)> {
    let found = match ground.disk {
        AnyDisk::Simulated(_) => find_checkpoint(ground.disk, ground.dir).1,
        AnyDisk::Real(_) => {
            let folder = index_folder(ground.dir);
            if !folder.is_dir() {
                return None;
            }
            match Copied::of(&folder) {
                Ok(copied) => {
                    let (pairs, found) = find_checkpoint(ground.disk, copied.path());
                    // sled is closed before its files go.
                    drop(pairs);
                    found
                }
                Err(error) => {
                    report.index = Compared::NotCompared(format!("copying it to the temporary folder failed: {error}"));
                    return None;
                }
            }
        }
    };
    let unusable = match found {
        Ok(Found::Nothing) => return None,
        Ok(Found::Unfinished) => {
            report.index = Compared::Unfinished;
            return None;
        }
        Ok(Found::Checkpoint(loaded)) if loaded.meta.journal == ground.journal => {
            let crate::checkpoint::Loaded { meta, names, state } = *loaded;
            return Some((meta, rebuild_from(names, state, meta.end.sequence)));
        }
        Ok(Found::Checkpoint(_)) => "the index belongs to another journal".to_owned(),
        Err(error) => format!("the index cannot be read: {error}"),
    };
    report.index = Compared::Damaged;
    let what = format!("{unusable}; nothing is lost by it, the next start makes it again from the journal");
    beside.push(Damage { file: "index".to_owned(), offset: 0, bytes: 0, what });
    None
}

fn rebuild_from(names: Names, state: State, held: u64) -> Rebuild {
    Rebuild { names, state, held, ..Rebuild::default() }
}

fn read_seen_ids(ground: &Ground<'_>, report: &mut VerifyReport, beside: &mut Vec<Damage>) -> Option<Dedupe> {
    let folder = dedupe_folder(ground.dir);
    match Dedupe::open(&DedupePlace { disk: ground.disk, folder: &folder, journal: ground.journal }) {
        Ok(files) => Some(files),
        Err(error) => {
            report.seen_ids = Compared::Damaged;
            let what = format!("{error}; the next start makes the files of seen ids again from the journal");
            beside.push(Damage { file: "dedupe".to_owned(), offset: 0, bytes: 0, what });
            None
        }
    }
}
