//! `eventyard check`: is the project right?

use std::path::PathBuf;

use eventyard::config::Project;
use eventyard_rules::Report;

use super::exit::{Failure, Outcome};
use super::{Context, JsonArgs, project};

/// Load everything, connect to nothing, and report every mistake
#[derive(clap::Args, Debug)]
#[command(
    after_help = "Exit code 2 when the project does not load, 1 when it does and --deny-warnings met a warning.\n\n\
    Examples:\n  eventyard check\n  eventyard check shop --deny-warnings"
)]
pub(crate) struct CheckArgs {
    /// The project's folder
    #[arg(value_name = "DIR", default_value = ".")]
    dir: PathBuf,
    /// A warning is a failure
    #[arg(long)]
    deny_warnings: bool,
    #[arg(long, hide = true)]
    connect: bool,
    #[command(flatten)]
    json: JsonArgs,
}

pub(crate) fn run(args: &CheckArgs, context: &Context) -> Outcome {
    if args.connect {
        return Err(Failure::NotInThisVersion("check --connect"));
    }
    let loaded = project::load(&args.dir, context);
    let report = match &loaded {
        Ok((_, report)) | Err(report) => report,
    };
    if args.json.json {
        context.screen.json(&report.to_json())?;
    } else {
        print(report, loaded.as_ref().ok().map(|(project, _)| project), context)?;
    }
    match loaded {
        Err(_) => Err(Failure::Reported(2)),
        Ok((_, report)) if args.deny_warnings && report.warning_count() > 0 => Err(Failure::reported()),
        Ok(_) => Ok(()),
    }
}

/// The report is what was asked for, so it goes to standard output.
fn print(report: &Report, project: Option<&Project>, context: &Context) -> Outcome {
    let screen = context.screen;
    if !report.is_empty() {
        screen.line(report.render(screen.coloured()).trim_end())?;
    }
    let Some(project) = project else { return Ok(()) };
    let tests: usize = project.rules.iter().map(|rule| rule.tests.len()).sum();
    let parts = [
        (project.rules.len(), "rule"),
        (tests, "test"),
        (project.sources.len(), "source"),
        (project.functions.len(), "function"),
        (project.sinks.len(), "sink"),
        (project.channels.len(), "channel"),
    ];
    let parts: Vec<_> = parts.into_iter().filter(|(count, _)| *count > 0).map(counted).collect();
    let parts = if parts.is_empty() { "an empty project".to_owned() } else { parts.join(", ") };
    Ok(screen.line(format!("{}: {parts}", screen.good("good")))?)
}

fn counted((count, word): (usize, &str)) -> String {
    if count == 1 { format!("1 {word}") } else { format!("{count} {word}s") }
}
