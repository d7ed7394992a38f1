//! `eventyard store repair`: what `verify` finds is mended, as far as it can be.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use eventyard_store::{Repair, RepairError, RepairReport, RepairStep, VerifyProgress};
use serde_json::{Value, json};

use crate::cli::exit::{Failure, Outcome};
use crate::cli::{Context, JsonArgs};

use super::words::{Meter, contents, contents_json, counted, damage_json, data_folder, refused};

/// Mend a data folder on which no broker runs
#[derive(clap::Args, Debug)]
#[command(
    after_help = "Says what is wrong and what it would do, and asks before it does it. What cannot be read is copied to\n\
    `quarantine` in the data folder, with file and place in the name; index and lists are moved there and made\n\
    again; only files that were never finished are removed. Exit code 1 when something is left to do.\n\n\
    Examples:\n  eventyard store repair shop --dry-run\n  eventyard store repair /var/lib/eventyard --yes --json"
)]
pub(crate) struct RepairArgs {
    /// The project's folder, or the data folder itself
    #[arg(value_name = "DIR", default_value = ".")]
    dir: PathBuf,
    /// Say what would be done and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Do it without asking
    #[arg(long, conflicts_with = "dry_run")]
    yes: bool,
    #[command(flatten)]
    json: JsonArgs,
}

pub(crate) async fn run(args: &RepairArgs, context: &Context) -> Outcome {
    let folder = data_folder(&args.dir, "repair", context)?;
    let mut meter = Meter::new();
    let begun = Repair::begin(&folder, context.clocks.now(), &mut reading(&mut meter));
    meter.clear();
    let repair = begun.map_err(|error: RepairError| refused(&error, error.code()))?;
    if repair.steps().is_empty() {
        return nothing_to_do(args, &repair, &folder, context);
    }
    if args.dry_run || !args.json.json {
        show_plan(args, &repair, &folder, context)?;
    }
    if args.dry_run {
        return Err(Failure::reported());
    }
    if !args.yes && !is_wanted(args.json.json)? {
        return Err(Failure::failed("nothing was changed"));
    }
    let now = Arc::clone(&context.clocks.steady);
    let done = repair.run(now, &mut reading(&mut meter)).await;
    meter.clear();
    let report = done.map_err(|error: RepairError| refused(&error, error.code()))?;
    if args.json.json {
        context.screen.json(&to_json(&report, &folder))?;
    } else {
        show_done(&report, context)?;
    }
    if report.after.is_sound() { Ok(()) } else { Err(Failure::reported()) }
}

fn reading(meter: &mut Meter) -> impl FnMut(VerifyProgress) {
    |progress| meter.show("reading the journal", progress.read_bytes, progress.total_bytes)
}

fn nothing_to_do(args: &RepairArgs, repair: &Repair, folder: &Path, context: &Context) -> Outcome {
    let found = repair.found();
    if args.json.json {
        let known: Vec<_> = found.known.iter().map(damage_json).collect();
        let dir = folder.display().to_string();
        context.screen.json(&json!({ "dir": dir, "sound": true, "steps": [], "known": known }))?;
        return Ok(());
    }
    context.screen.line(format!("{}: {}", context.screen.good("nothing to repair"), folder.display()))?;
    context.screen.line(format!("  {}", contents(found)))?;
    Ok(())
}

fn show_plan(args: &RepairArgs, repair: &Repair, folder: &Path, context: &Context) -> Outcome {
    let (screen, found) = (context.screen, repair.found());
    if args.json.json {
        let dir = folder.display().to_string();
        let steps: Vec<_> = repair.steps().iter().map(step_json).collect();
        screen.json(&json!({ "dir": dir, "sound": found.is_sound(), "dry_run": true, "steps": steps }))?;
        return Ok(());
    }
    let verdict = match found.damage_count {
        0 => screen.good("sound but for files that were never finished"),
        count => screen.bad(format!("damaged in {}", counted(count, "place"))),
    };
    screen.line(format!("{verdict}: {}", folder.display()))?;
    for damage in &found.damages {
        screen.line(format!("  {damage}"))?;
    }
    screen.line("what is done about it:")?;
    for step in repair.steps() {
        screen.line(format!("  {}", said(step)))?;
    }
    Ok(())
}

/// Asks, where somebody is there to answer.
fn is_wanted(json: bool) -> Outcome<bool> {
    if json || !io::stdin().is_terminal() {
        return Err(Failure::usage("nobody is there to be asked\n  help: add --yes to repair, --dry-run to look"));
    }
    let mut error = io::stderr().lock();
    write!(error, "repair it? [y/N] ")?;
    error.flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

fn said(step: &RepairStep) -> String {
    match step {
        RepairStep::Copy(damage) => {
            format!("copy {} at {} to `quarantine`, and note the place as known", damage.file, damage.offset)
        }
        RepairStep::Header { file } => format!("copy the header of {file} to `quarantine`, and write it anew"),
        RepairStep::Move { file } => format!("move {file} to `quarantine`"),
        RepairStep::Remove { file } => format!("remove {file}, which was never finished"),
        RepairStep::Note(damage) => format!("note as known: {damage}"),
        RepairStep::Rebuild => "make index, lists and seen ids again from the journal".to_owned(),
    }
}

fn show_done(report: &RepairReport, context: &Context) -> Outcome {
    let (screen, after) = (context.screen, &report.after);
    let verdict = if after.is_sound() { screen.good("repaired") } else { screen.bad("not all could be repaired") };
    screen.line(format!("{verdict}: {}", contents(after)))?;
    for damage in &after.known {
        screen.line(format!("  known from now on: {damage}"))?;
    }
    for damage in &after.damages {
        screen.line(format!("  {} {damage}", screen.bad("left:")))?;
    }
    let unnamed = after.damage_count.saturating_sub(after.damages.len() as u64);
    if unnamed > 0 {
        screen.line(format!("  {} {}: repair it again", screen.bad("left:"), counted(unnamed, "more place")))?;
    }
    if let Some(aside) = &report.aside {
        screen.line(format!("  what was moved stands in {}", aside.display()))?;
    }
    for (file, count) in &report.saved_events {
        let events = counted(*count as u64, "event");
        screen.line(format!(
            "  {events} of the damaged places can be sent again: eventyard events send {}",
            file.display()
        ))?;
    }
    Ok(())
}

fn step_json(step: &RepairStep) -> Value {
    match step {
        RepairStep::Copy(damage) => json!({ "step": "copy", "damage": damage_json(damage) }),
        RepairStep::Header { file } => json!({ "step": "header", "file": file }),
        RepairStep::Move { file } => json!({ "step": "move", "file": file }),
        RepairStep::Remove { file } => json!({ "step": "remove", "file": file }),
        RepairStep::Note(damage) => json!({ "step": "note", "damage": damage_json(damage) }),
        RepairStep::Rebuild => json!({ "step": "rebuild" }),
    }
}

fn to_json(report: &RepairReport, folder: &Path) -> Value {
    json!({
        "dir": folder.display().to_string(),
        "sound": report.after.is_sound(),
        "steps": report.steps.iter().map(step_json).collect::<Vec<_>>(),
        "known": report.after.known.iter().map(damage_json).collect::<Vec<_>>(),
        "left": report.after.damages.iter().map(damage_json).collect::<Vec<_>>(),
        "lost_events": report.before.lost_events.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "aside": report.aside.as_ref().map(|aside| aside.display().to_string()),
        "saved_events": report.saved_events.iter().map(|(file, count)| {
            json!({ "file": file.display().to_string(), "count": count })
        }).collect::<Vec<_>>(),
        "holds": contents_json(&report.after),
    })
}
