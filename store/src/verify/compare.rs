//! What stands beside the journal, held against it.

use super::walk::{Marks, Walked};
use super::{Compared, Ground, VerifyReport};
use crate::catalog::PartFound;
use crate::journal::{Counts, End, Place, segment_name};
use crate::local::{Rebuild, io_error};
use crate::options::DEDUPE_MAX;
use crate::state::{DeliverySlot, EventSlot, NONE, Standing};
use crate::{AfterDead, Damage, OpenError, QueueKey, SnapshotHash};

/// Differences of one kind that are named; the rest are counted.
const NAMED_MAX: usize = 3;

/// Holds everything against the journal.
pub(super) fn all(
    ground: &Ground<'_>,
    walked: Walked,
    end: Option<End>,
    report: &mut VerifyReport,
) -> Result<(), OpenError> {
    let Walked { mut alone, with_index, marks, beside, orphans, gaps } = walked;
    let follow = [
        orphans.damage("outcomes of deliveries whose event cannot be read"),
        gaps.damage("outcomes of deliveries of which an earlier outcome cannot be read"),
    ];
    // What was lost is known, and so is what follows from it; anything that is lost since is damage by itself.
    let follow = follow.into_iter().flatten();
    if ground.known.is_empty() {
        follow.for_each(|damage| report.damaged(damage));
    } else {
        report.known.extend(follow);
    }
    beside.into_iter().for_each(|damage| report.damaged(damage));
    report.unsettled_count = alone.state.tally.unsettled;
    report.dead_count = alone.state.tally.dead;
    catalogues(ground, &alone, report)?;
    seen_ids(&marks, with_index.is_some(), report);
    let Some((meta, with_index)) = with_index else { return Ok(()) };
    if meta.end.sequence > end.map_or(0, |end| end.sequence) {
        // The journal's damage is named already; the index is made again, for it stands where the journal is not.
        report.index = Compared::Damaged;
    }
    alone.catalog.table_events();
    index(&alone, &with_index, report);
    Ok(())
}

fn catalogues(ground: &Ground<'_>, alone: &Rebuild, report: &mut VerifyReport) -> Result<(), OpenError> {
    // The lists of segments that are about to go do so first.
    let needed = alone.state.forgotten.before;
    for segment in ground.segments.iter().filter(|segment| segment.number >= needed) {
        let found = alone
            .catalog
            .compare_part(ground.disk, &ground.folder, ground.journal, segment.number)
            .map_err(io_error(&ground.folder))?;
        let what = match found {
            PartFound::Absent | PartFound::Same => continue,
            PartFound::Unreadable => "the list of the segment's events cannot be read; the next start makes it again",
            PartFound::Differs { lost } => {
                lost.into_iter().for_each(|event| report.lost(event));
                "the list of the segment's events is not what the segment holds"
            }
        };
        let file = format!("journal/{}", segment_name(segment.number).replace(".seg", ".cat"));
        report.damaged(Damage { file, offset: 0, bytes: 0, what: what.to_owned() });
    }
    Ok(())
}

fn seen_ids(marks: &Marks, saved: bool, report: &mut VerifyReport) {
    let Some(files) = &marks.files else { return };
    let damage = |what| Damage { file: "dedupe".to_owned(), offset: 0, bytes: 0, what };
    // Beyond the limit the oldest are forgotten early, and are missing rightly.
    let room = (DEDUPE_MAX as u64).saturating_sub(files.count_in_files() as u64);
    let missing = if marks.missing_count <= room { marks.missing_count } else { 0 };
    if missing + marks.wrong_count > 0 {
        report.seen_ids = Compared::Damaged;
        report.damaged(damage(format!(
            "of {} seen ids {missing} are missing and {} are wrong; a repeat of those may be delivered again",
            marks.checked_count, marks.wrong_count
        )));
    } else if saved {
        report.seen_ids = Compared::Agrees { entry_count: marks.checked_count };
    }
}

fn index(alone: &Rebuild, with_index: &Rebuild, report: &mut VerifyReport) {
    let mut differences = 0u64;
    let mut named = Vec::new();
    let mut differs = |what: String| {
        differences += 1;
        if named.len() < NAMED_MAX {
            named.push(what);
        }
    };
    for (_, event) in alone.state.events.iter() {
        match with_index.state.find(event.id) {
            None => differs(format!("it lacks the event {}", event.id)),
            Some((_, other)) if !same(alone, event, with_index, other) => {
                differs(format!("it has the event {} otherwise", event.id));
            }
            Some(_) => {}
        }
    }
    for (_, event) in with_index.state.events.iter() {
        if alone.state.find(event.id).is_none() {
            differs(format!("it has the event {} as open", event.id));
            if alone.catalog.find_event(event.id).is_none() {
                report.lost(event.id);
            }
        }
    }
    for (key, position) in &alone.state.positions {
        if with_index.state.positions.get(key) != Some(position) {
            differs(format!("it has another position of the source {}", key.1));
        }
    }
    if differences > 0 {
        report.index = Compared::Damaged;
        let what = format!("the index differs from the journal in {differences} places: {}", named.join("; "));
        report.damaged(Damage { file: "index".to_owned(), offset: 0, bytes: 0, what });
    } else if report.index == Compared::Absent {
        let entry_count = with_index.state.open_count() + with_index.state.positions.len() as u64;
        report.index = Compared::Agrees { entry_count };
    }
}

/// What must be alike of a delivery. Numbers of queues and the like are each process's own.
#[derive(PartialEq)]
struct Essence<'a> {
    queue: Option<&'a QueueKey>,
    snapshot: Option<SnapshotHash>,
    lane: Option<(&'a [u8], AfterDead)>,
    counts: Counts,
    order: u64,
    budget_began: i64,
    history: (Place, Place),
}

fn essence<'a>(of: &'a Rebuild, delivery: &DeliverySlot) -> Essence<'a> {
    let key = if delivery.lane == NONE { None } else { of.state.lane_key(delivery.lane) };
    Essence {
        queue: of.names.queue(delivery.queue).map(AsRef::as_ref),
        snapshot: of.names.snapshot(delivery.snapshot),
        lane: key.map(|key| (key, delivery.after_dead)),
        counts: delivery.counts,
        order: delivery.order,
        budget_began: delivery.budget_began,
        history: (delivery.last, delivery.first),
    }
}

fn same(alone: &Rebuild, event: &EventSlot, with_index: &Rebuild, other: &EventSlot) -> bool {
    let pairs = event.deliveries.iter().zip(other.deliveries.iter());
    event.item == other.item
        && event.deliveries.len() == other.deliveries.len()
        && pairs.into_iter().all(|(a, b)| {
            let (Some(a), Some(b)) = (alone.state.deliveries.get(*a), with_index.state.deliveries.get(*b)) else {
                return false;
            };
            same_standing(a, b) && essence(alone, a) == essence(with_index, b)
        })
}

/// Whether a delivery stands where the journal says. A lease without a begin is never written, so an index may
/// have as pending what waits; a due time too far ahead is brought nearer when the store is opened; and an
/// attempt that was cut off while there was no space waits in the index before the journal can say so.
fn same_standing(journal: &DeliverySlot, index: &DeliverySlot) -> bool {
    use Standing::{Leased, Pending, Waiting};
    match (journal.standing, index.standing) {
        (Pending | Waiting, Pending | Waiting) => index.due <= journal.due,
        (Leased, Pending | Waiting) => true,
        (a, b) => a == b && (a.unsettled() || journal.due == index.due),
    }
}
