//! What is left in places that no frame is read from: intact parts of damaged frames, and what stands in
//! segments that were made ahead.

use crate::disk::{Disk, OpenHow, read_exact};
use crate::journal::{
    End, FRAME_HEADER_BYTES, Item, SEGMENT_HEADER_BYTES, find_frame_head, items_of_damaged, segment_file,
};
use crate::local::io_error;
use crate::{Damage, OpenError};

use super::{Ground, VerifyReport};

/// Names the events of a damaged place whose own checksum is right: they are there and are not served, because
/// what else stood in their frame is not.
pub(super) fn name_what_is_left(ground: &Ground<'_>, damage: &Damage, report: &mut VerifyReport) {
    let Some(segment) = ground.segments.iter().find(|segment| segment_file(segment.number) == damage.file) else {
        return;
    };
    let Ok(bytes) = usize::try_from(damage.bytes) else { return };
    // What cannot even be read is reported already, and holds nothing to name.
    let Ok(found) = ground
        .disk
        .open(&segment.path, OpenHow::Read)
        .and_then(|file| read_exact(ground.disk, &file, damage.offset, bytes))
    else {
        return;
    };
    let mut at = 0;
    while let Some(rest) = found.get(at..).filter(|rest| rest.len() >= FRAME_HEADER_BYTES) {
        let Some(frame_bytes) = find_frame_head(ground.journal, segment.number, rest) else {
            at += crate::journal::FRAME_ALIGNMENT;
            continue;
        };
        let body = rest.get(FRAME_HEADER_BYTES..frame_bytes.min(rest.len())).unwrap_or_default();
        for item in items_of_damaged(body) {
            if let Item::Event(head) = item {
                report.lost(head.id);
            }
        }
        at += frame_bytes;
    }
}

/// Reads the segments behind the end of the journal: nothing but zeros may stand there, or the beginnings of a
/// write that was not finished.
pub(super) fn look_at_what_is_ahead(
    ground: &Ground<'_>,
    end: Option<End>,
    report: &mut VerifyReport,
) -> Result<(), OpenError> {
    let live = end.map_or(0, |end| end.place.segment);
    for segment in ground.segments.iter().filter(|segment| segment.number > live) {
        let fail = io_error(&segment.path);
        let file = ground.disk.open(&segment.path, OpenHow::Read).map_err(&fail)?;
        let bytes = read_exact(ground.disk, &file, 0, segment.bytes).map_err(&fail)?;
        let rest = bytes.get(SEGMENT_HEADER_BYTES..).unwrap_or_default();
        if report.torn.is_none() && rest.iter().any(|byte| *byte != 0) {
            report.torn = Some(Damage {
                file: segment_file(segment.number),
                offset: SEGMENT_HEADER_BYTES as u64,
                bytes: rest.len() as u64,
                what: "a write was not finished; it was never acknowledged".to_owned(),
            });
        }
    }
    Ok(())
}
