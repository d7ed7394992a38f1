//! `eventyard reload`: the running broker reads its project again, all or nothing.

use eventyard_rules::diagnostic::RENDERED_MAX;
use serde_json::{Value, json};

use super::broker::BrokerArgs;
use super::exit::Outcome;
use super::screen::{items, shown, text};
use super::{Context, JsonArgs};

/// Make the running broker read its project again: all of it or nothing
#[derive(clap::Args, Debug)]
#[command(
    after_help = "The broker reloads by itself when files change; this is for when you want to know the result.\n\
    A project that does not load changes nothing: the last good one stays in force, and the exit code is 2.\n\n\
    Example:\n  eventyard reload"
)]
pub(crate) struct ReloadArgs {
    #[command(flatten)]
    json: JsonArgs,
    #[command(flatten)]
    broker: BrokerArgs,
}

pub(crate) async fn run(args: &ReloadArgs, context: &Context) -> Outcome {
    let broker = args.broker.client()?;
    let answer = broker.send(reqwest::Method::POST, &["api", "v1", "reload"], &json!({})).await.map_err(|failure| {
        // The project does not load: that is configuration, and trying again without a change is no use.
        if failure.has_code("rules_refused") { failure.into_usage() } else { failure }
    })?;
    if args.json.json {
        return Ok(context.screen.json(&answer)?);
    }
    let changed = answer.get("changed").and_then(Value::as_bool).unwrap_or(true);
    let what = if changed { "the project was read again and is in force" } else { "nothing has changed" };
    context.screen.line(format!("{} (snapshot {})", context.screen.good(what), text(&answer, "hash")))?;
    let warnings = items(&answer, "warnings");
    for warning in warnings.iter().take(RENDERED_MAX) {
        let said = warning.get("message").and_then(Value::as_str).map_or_else(|| shown(&warning.to_string()), shown);
        context.screen.line(format!("{} {said}", context.screen.warm("warning:")))?;
    }
    if let Some(more) = warnings.len().checked_sub(RENDERED_MAX).filter(|more| *more > 0) {
        context.screen.line(format!("… and {more} more; `eventyard reload --json` has them all"))?;
    }
    for block in items(&answer, "restart_needed") {
        let block = block.as_str().map(shown).unwrap_or_default();
        context
            .screen
            .line(format!("{} {block} takes effect at the next start", context.screen.warm("restart needed:")))?;
    }
    Ok(())
}
