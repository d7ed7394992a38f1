//! `eventyard sources next`: a timer's coming instants.

use eventyard_connectors::timer::schedule_of;
use eventyard_event::Name;
use serde_json::json;

use super::exit::{Failure, Outcome};
use super::project::{ProjectArgs, load_or_report, no_such};
use super::{Context, JsonArgs, times};

/// Say when a timer fires next, from the project's files alone
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:\n  \
    eventyard sources next nightly\n  \
    eventyard sources next nightly --count 3 --after 2026-03-28T00:00:00Z")]
pub(crate) struct NextArgs {
    /// The timer's name
    name: Name,
    /// How many instants
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=1000))]
    count: u16,
    /// Begin after this time instead of now: RFC 3339, or how long ago
    #[arg(long, value_name = "TIME")]
    after: Option<String>,
    #[command(flatten)]
    json: JsonArgs,
    #[command(flatten)]
    project: ProjectArgs,
}

pub(crate) fn run(args: &NextArgs, context: &Context) -> Outcome {
    let project = load_or_report(&args.project.project, context)?;
    let timers = || project.sources.iter().filter(|source| source.kind == "timer");
    let Some(source) = project.sources.iter().find(|source| source.name == args.name) else {
        return Err(no_such("timer", args.name.as_str(), timers().map(|source| source.name.as_str())));
    };
    if source.kind != "timer" {
        return Err(Failure::usage(format!(
            "`{}` is a source of kind `{}`, and only timers know when they fire next",
            source.name, source.kind
        )));
    }
    let schedule = schedule_of(source.settings.reveal()).map_err(|errors| {
        let said: Vec<_> = errors.iter().map(ToString::to_string).collect();
        Failure::usage(format!("the schedule of `{}` does not read: {}", source.name, said.join("; ")))
    })?;
    let now = context.clocks.now();
    let after = match &args.after {
        Some(text) => times::instant(text, now).map_err(Failure::usage)?,
        None => now,
    };
    let instants: Vec<_> = schedule.upcoming(after).take(usize::from(args.count)).map(|at| schedule.show(at)).collect();
    if args.json.json {
        return Ok(context.screen.json(&json!({ "items": instants }))?);
    }
    if instants.is_empty() {
        return Err(Failure::failed(format!("`{}` never fires again after {after}", source.name)));
    }
    for instant in instants {
        context.screen.line(instant)?;
    }
    Ok(())
}
