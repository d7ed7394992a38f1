//! `eventyard store verify`: is all on disk as it was written?

use std::io::{self, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};

use eventyard_store::{Compared, Damage, VerifyProgress, VerifyReport, verify};
use serde_json::{Value, json};

use crate::cli::exit::{Failure, Outcome};
use crate::cli::screen::Screen;
use crate::cli::{Context, JsonArgs, project};

/// Lost events that the text for people names; `--json` names more.
const LOST_SHOWN_MAX: usize = 10;

/// Read the journal from end to end, change nothing, and say what is damaged
#[derive(clap::Args, Debug)]
#[command(
    after_help = "No broker may run on the folder meanwhile. Exit code 1 when something is damaged: file, place and what it\n\
    costs are named. A last write that was not finished is no damage, for it was never acknowledged.\n\n\
    Examples:\n  eventyard store verify shop\n  eventyard store verify /var/lib/eventyard --json"
)]
pub(crate) struct VerifyArgs {
    /// The project's folder, or the data folder itself
    #[arg(value_name = "DIR", default_value = ".")]
    dir: PathBuf,
    #[command(flatten)]
    json: JsonArgs,
}

pub(crate) fn run(args: &VerifyArgs, context: &Context) -> Outcome {
    let folder = data_folder(&args.dir, context)?;
    let mut meter = Meter::new();
    let verified = verify(&folder, context.clocks.now(), &mut |progress| meter.show(progress));
    meter.clear();
    let report = verified.map_err(|error| {
        Failure::failed(format!("{error} [{code}]\n  more: eventyard errors {code}", code = error.code()))
    })?;
    if args.json.json {
        context.screen.json(&to_json(&report, &folder))?;
    } else {
        print(&report, &folder, context.screen)?;
    }
    if report.is_sound() { Ok(()) } else { Err(Failure::reported()) }
}

/// A folder with a project names its data folder; else it is the data folder.
fn data_folder(dir: &Path, context: &Context) -> Outcome<PathBuf> {
    if dir.join("eventyard.toml").exists() {
        return Ok(project::load_or_report(dir, context)?.store.dir);
    }
    if dir.join("journal").is_dir() {
        return Ok(dir.to_owned());
    }
    Err(Failure::usage(format!(
        "{} is neither a project's folder (it has no eventyard.toml) nor a data folder (it has no folder `journal`)\n  \
         help: eventyard store verify DIR",
        dir.display()
    )))
}

fn print(report: &VerifyReport, folder: &Path, screen: Screen) -> Outcome {
    let verdict = if report.is_sound() {
        screen.good("sound")
    } else {
        screen.bad(format!("damaged in {}", counted(report.damage_count, "place")))
    };
    screen.line(format!("{verdict}: {}", folder.display()))?;
    screen.line(format!(
        "  {} in {} of {}: {}, {}, of which {} not ended and {} dead",
        counted(report.frame_count, "frame"),
        counted(report.segment_count, "file"),
        size(report.journal_bytes),
        counted(report.event_count, "event"),
        counted_by(report.delivery_count, "delivery", "deliveries"),
        report.unsettled_count,
        report.dead_count,
    ))?;
    screen.line(format!("  index: {}", compared(&report.index, "open events and positions")))?;
    screen.line(format!("  seen ids: {}", compared(&report.seen_ids, "ids")))?;
    if let Some(torn) = &report.torn {
        screen.line(format!("  a last write was not finished, which is harmless: {torn}"))?;
    }
    for damage in &report.damages {
        screen.line(format!("{} {damage}", screen.bad("damage:")))?;
    }
    let unnamed = report.damage_count - report.damages.len() as u64;
    if unnamed > 0 {
        screen.line(format!("and {unnamed} more"))?;
    }
    if !report.lost_events.is_empty() {
        let shown: Vec<String> = report.lost_events.iter().take(LOST_SHOWN_MAX).map(ToString::to_string).collect();
        let more = report.lost_events.len() - shown.len();
        let more = if more > 0 { format!(" and {more} more (--json)") } else { String::new() };
        screen.line(format!("{} at least {}{more}", screen.bad("cannot be served:"), shown.join(", ")))?;
    }
    if !report.is_sound() {
        screen.line(screen.dim("what to do: eventyard errors store_damaged"))?;
    }
    Ok(())
}

fn compared(found: &Compared, what: &str) -> String {
    match found {
        Compared::Absent => "none; the next start makes it from the journal".to_owned(),
        Compared::Unfinished => "unfinished; the next start makes it from the journal".to_owned(),
        Compared::Agrees { entry_count } => format!("as the journal says ({entry_count} {what})"),
        Compared::Damaged => "damaged".to_owned(),
        Compared::NotCompared(why) => format!("not compared: {why}"),
    }
}

fn to_json(report: &VerifyReport, folder: &Path) -> Value {
    let damage = |damage: &Damage| json!({ "file": damage.file, "offset": damage.offset, "bytes": damage.bytes, "what": damage.what });
    json!({
        "sound": report.is_sound(),
        "dir": folder.display().to_string(),
        "files": report.segment_count,
        "bytes": report.journal_bytes,
        "frames": report.frame_count,
        "items": report.item_count,
        "events": report.event_count,
        "deliveries": report.delivery_count,
        "unsettled": report.unsettled_count,
        "dead_letters": report.dead_count,
        "torn": report.torn.as_ref().map(damage),
        "damage_count": report.damage_count,
        "damages": report.damages.iter().map(damage).collect::<Vec<_>>(),
        "lost_events": report.lost_events.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "index": compared_json(&report.index),
        "seen_ids": compared_json(&report.seen_ids),
    })
}

fn compared_json(found: &Compared) -> Value {
    match found {
        Compared::Absent => json!({ "state": "absent" }),
        Compared::Unfinished => json!({ "state": "unfinished" }),
        Compared::Agrees { entry_count } => json!({ "state": "agrees", "entries": entry_count }),
        Compared::Damaged => json!({ "state": "damaged" }),
        Compared::NotCompared(why) => json!({ "state": "not_compared", "why": why }),
    }
}

fn counted(count: u64, word: &str) -> String {
    counted_by(count, word, &format!("{word}s"))
}

fn counted_by(count: u64, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

/// A length in the largest unit that leaves a whole number before the point.
fn size(bytes: u64) -> String {
    let units = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    match units.into_iter().find(|(unit, _)| bytes >= *unit) {
        Some((unit, name)) => format!("{}.{} {name}", bytes / unit, bytes % unit * 10 / unit),
        None => format!("{bytes} B"),
    }
}

/// A line on a terminal that says how far it is; nothing elsewhere.
struct Meter {
    wanted: bool,
    shown: Option<u64>,
}

impl Meter {
    fn new() -> Meter {
        Meter { wanted: io::stderr().is_terminal(), shown: None }
    }

    fn show(&mut self, progress: VerifyProgress) {
        let percent = progress.read_bytes.saturating_mul(100) / progress.total_bytes.max(1);
        if self.wanted && self.shown != Some(percent) {
            self.shown = Some(percent);
            let total = size(progress.total_bytes);
            // Where standard error is gone, nobody looks.
            let _ = write!(io::stderr().lock(), "\r\u{1b}[Kreading the journal: {percent} % of {total}");
        }
    }

    fn clear(&mut self) {
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
