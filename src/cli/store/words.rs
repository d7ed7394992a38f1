//! What the store's commands have in common: which folder, how counts and lengths are written, and how far it is.

use std::io::{self, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};

use eventyard_store::{Damage, VerifyReport};
use serde_json::{Value, json};

use crate::cli::exit::{Failure, Outcome};
use crate::cli::{Context, project};

/// A folder with a project names its data folder; else it is the data folder.
pub(super) fn data_folder(dir: &Path, command: &str, context: &Context) -> Outcome<PathBuf> {
    if dir.join("eventyard.toml").exists() {
        return Ok(project::load_or_report(dir, context)?.store.dir);
    }
    if dir.join("journal").is_dir() {
        return Ok(dir.to_owned());
    }
    Err(Failure::usage(format!(
        "{} is neither a project's folder (it has no eventyard.toml) nor a data folder (it has no folder `journal`)\n  \
         help: eventyard store {command} DIR",
        dir.display()
    )))
}

/// An error of the store, with its code.
pub(super) fn refused(error: impl std::fmt::Display, code: &str) -> Failure {
    Failure::failed(format!("{error} [{code}]\n  more: eventyard errors {code}"))
}

/// What a journal holds, in one line.
pub(super) fn contents(report: &VerifyReport) -> String {
    format!(
        "{} in {} of {}: {}, {}, of which {} not ended and {} dead",
        counted(report.frame_count, "frame"),
        counted(report.segment_count, "file"),
        size(report.journal_bytes),
        counted(report.event_count, "event"),
        counted_by(report.delivery_count, "delivery", "deliveries"),
        report.unsettled_count,
        report.dead_count,
    )
}

/// The same for programs.
pub(super) fn contents_json(report: &VerifyReport) -> Value {
    json!({
        "files": report.segment_count,
        "bytes": report.journal_bytes,
        "frames": report.frame_count,
        "events": report.event_count,
        "deliveries": report.delivery_count,
        "unsettled": report.unsettled_count,
        "dead_letters": report.dead_count,
    })
}

pub(super) fn damage_json(damage: &Damage) -> Value {
    json!({ "file": damage.file, "offset": damage.offset, "bytes": damage.bytes, "what": damage.what })
}

pub(super) fn counted(count: u64, word: &str) -> String {
    counted_by(count, word, &format!("{word}s"))
}

pub(super) fn counted_by(count: u64, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

/// A length in the largest unit that leaves a whole number before the point.
pub(super) fn size(bytes: u64) -> String {
    let units = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    match units.into_iter().find(|(unit, _)| bytes >= *unit) {
        Some((unit, name)) => format!("{}.{} {name}", bytes / unit, bytes % unit * 10 / unit),
        None => format!("{bytes} B"),
    }
}

/// A line on a terminal that says how far it is; nothing elsewhere.
pub(super) struct Meter {
    wanted: bool,
    shown: Option<(&'static str, u64)>,
}

impl Meter {
    pub(super) fn new() -> Meter {
        Meter { wanted: io::stderr().is_terminal(), shown: None }
    }

    pub(super) fn show(&mut self, what: &'static str, done_bytes: u64, total_bytes: u64) {
        let percent = done_bytes.saturating_mul(100) / total_bytes.max(1);
        if self.wanted && self.shown != Some((what, percent)) {
            self.shown = Some((what, percent));
            // Where standard error is gone, nobody looks.
            let _ = write!(io::stderr().lock(), "\r\u{1b}[K{what}: {percent} % of {}", size(total_bytes));
        }
    }

    pub(super) fn clear(&mut self) {
        if self.shown.take().is_some() {
            let _ = write!(io::stderr().lock(), "\r\u{1b}[K");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_written_for_people() {
        let text = |bytes| size(bytes);
        assert_eq!([text(0), text(1023), text(1024)], ["0 B", "1023 B", "1.0 KiB"]);
        assert_eq!([text(4 * 1024 * 1024), text(3 << 29)], ["4.0 MiB", "1.5 GiB"]);
    }
}
