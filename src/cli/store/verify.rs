//! `eventyard store verify`: is all on disk as it was written?

use std::path::{Path, PathBuf};

use eventyard_store::{Compared, VerifyReport, verify};
use serde_json::{Value, json};

use crate::cli::exit::{Failure, Outcome};
use crate::cli::screen::Screen;
use crate::cli::{Context, JsonArgs};

use super::words::{Meter, contents, counted, damage_json, data_folder, refused};

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
    let folder = data_folder(&args.dir, "verify", context)?;
    let mut meter = Meter::new();
    let verified = verify(&folder, context.clocks.now(), &mut |progress| {
        meter.show("reading the journal", progress.read_bytes, progress.total_bytes);
    });
    meter.clear();
    let report = verified.map_err(|error| refused(&error, error.code()))?;
    if args.json.json {
        context.screen.json(&to_json(&report, &folder))?;
    } else {
        print(&report, &folder, context.screen)?;
    }
    if report.is_sound() { Ok(()) } else { Err(Failure::reported()) }
}

fn print(report: &VerifyReport, folder: &Path, screen: Screen) -> Outcome {
    let verdict = if report.is_sound() && report.known.is_empty() {
        screen.good("sound")
    } else if report.is_sound() {
        screen.good(format!("sound but for {} known before", counted(report.known.len() as u64, "place")))
    } else {
        screen.bad(format!("damaged in {}", counted(report.damage_count, "place")))
    };
    screen.line(format!("{verdict}: {}", folder.display()))?;
    screen.line(format!("  {}", contents(report)))?;
    screen.line(format!("  index: {}", compared(&report.index, "open events and positions")))?;
    screen.line(format!("  seen ids: {}", compared(&report.seen_ids, "ids")))?;
    if let Some(torn) = &report.torn {
        screen.line(format!("  a last write was not finished, which is harmless: {torn}"))?;
    }
    for damage in &report.known {
        screen.line(format!("{} {damage}", screen.dim("known, and copied to `quarantine` as far as it is there:")))?;
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
        screen.line(screen.dim("what to do: eventyard store repair, and eventyard errors store_damaged"))?;
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
        "torn": report.torn.as_ref().map(damage_json),
        "known": report.known.iter().map(damage_json).collect::<Vec<_>>(),
        "damage_count": report.damage_count,
        "damages": report.damages.iter().map(damage_json).collect::<Vec<_>>(),
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
