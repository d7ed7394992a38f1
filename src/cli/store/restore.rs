//! `eventyard store restore`: a backup is put in place.

use std::path::PathBuf;

use eventyard_store::restore;
use serde_json::json;

use crate::cli::exit::Outcome;
use crate::cli::{Context, JsonArgs, project};

use super::backup::copying;
use super::words::{Meter, contents, contents_json, refused};

/// Put a backup in the place of a data folder
#[derive(clap::Args, Debug)]
#[command(
    after_help = "No broker may run on the folder. The backup is read from end to end before, and what was written after. A\n\
    broker that starts on it delivers what had not ended when the backup was made, once more where it has ended since.\n\n\
    Examples:\n  eventyard store restore /mnt/backups/shop-monday shop\n  eventyard store restore /mnt/backups/shop-monday shop --force"
)]
pub(crate) struct RestoreArgs {
    /// A folder that `store backup` made
    #[arg(value_name = "FROM")]
    from: PathBuf,
    /// The project's folder, or the data folder itself
    #[arg(value_name = "DIR", default_value = ".")]
    dir: PathBuf,
    /// Where the data folder is not empty, set aside what is in it
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    json: JsonArgs,
}

pub(crate) fn run(args: &RestoreArgs, context: &Context) -> Outcome {
    let folder = match args.dir.join("eventyard.toml").exists() {
        true => project::load_or_report(&args.dir, context)?.store.dir,
        false => args.dir.clone(),
    };
    let mut meter = Meter::new();
    let restored = restore(&args.from, &folder, args.force, context.clocks.now(), &mut copying(&mut meter));
    meter.clear();
    let report = restored.map_err(|error| refused(&error, error.code()))?;
    let screen = context.screen;
    if args.json.json {
        screen.json(&json!({
            "dir": folder.display().to_string(),
            "backup": args.from.display().to_string(),
            "holds": contents_json(&report.copy),
            "old": report.old.as_ref().map(|old| old.display().to_string()),
        }))?;
        return Ok(());
    }
    screen.line(format!("{}: {}", screen.good("restored"), folder.display()))?;
    screen.line(format!("  {}", contents(&report.copy)))?;
    if let Some(old) = &report.old {
        screen.line(format!("  what was there before stands in {}; remove it when it is not needed", old.display()))?;
    }
    Ok(())
}
