//! `eventyard store backup`: a copy of the data folder, from a running broker or not.

use std::path::PathBuf;

use eventyard_store::{CopyProgress, backup};
use serde_json::json;

use crate::cli::exit::{Failure, Outcome};
use crate::cli::{Context, JsonArgs};

use super::words::{Meter, contents, contents_json, damage_json, data_folder, refused};

/// Copy what the store holds to another folder, while a broker runs or not
#[derive(clap::Args, Debug)]
#[command(
    after_help = "What was acknowledged before the command began is in the copy, which is read back before it gets its name.\n\
    The copy is a data folder itself: `store verify` reads it, and `store restore` puts it in place.\n\n\
    Examples:\n  eventyard store backup /mnt/backups/shop-monday\n  eventyard store backup /mnt/backups/shop-monday shop --json"
)]
pub(crate) struct BackupArgs {
    /// The folder to make; it must not exist or be empty
    #[arg(value_name = "TO")]
    to: PathBuf,
    /// The project's folder, or the data folder itself
    #[arg(value_name = "DIR", default_value = ".")]
    dir: PathBuf,
    #[command(flatten)]
    json: JsonArgs,
}

pub(crate) fn run(args: &BackupArgs, context: &Context) -> Outcome {
    let folder = data_folder(&args.dir, "backup TO", context)?;
    let mut meter = Meter::new();
    let made = backup(&folder, &args.to, context.clocks.now(), &mut copying(&mut meter));
    meter.clear();
    let report = made.map_err(|error| refused(&error, error.code()))?;
    let (screen, copy) = (context.screen, &report.copy);
    if args.json.json {
        screen.json(&json!({
            "dir": folder.display().to_string(),
            "backup": args.to.display().to_string(),
            "running": report.running.is_some(),
            "sound": copy.is_sound(),
            "holds": contents_json(copy),
            "damages": copy.damages.iter().map(damage_json).collect::<Vec<_>>(),
        }))?;
    } else {
        let by = match report.running {
            Some(Some(pid)) => format!(", while process {pid} was running on it"),
            Some(None) => ", while a process was running on it".to_owned(),
            None => String::new(),
        };
        screen.line(format!("{}: {} is in {}{by}", screen.good("copied"), folder.display(), args.to.display()))?;
        screen.line(format!("  {}", contents(copy)))?;
        for damage in &copy.damages {
            screen.line(format!("{} {damage}", screen.bad("damage that was copied along:")))?;
        }
    }
    if copy.is_sound() { Ok(()) } else { Err(Failure::reported()) }
}

/// Shows how far a copy is.
pub(super) fn copying(meter: &mut Meter) -> impl FnMut(CopyProgress) {
    |progress| match progress {
        CopyProgress::Copying { done_bytes, total_bytes } => meter.show("copying the journal", done_bytes, total_bytes),
        CopyProgress::Reading { done_bytes, total_bytes } => meter.show("reading the copy", done_bytes, total_bytes),
    }
}
