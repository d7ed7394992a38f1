//! `eventyard sources`: where events come from.

use clap::Subcommand;
use serde_json::{Value, json};

use super::broker::BrokerArgs;
use super::exit::Outcome;
use super::screen::{items, shown, text};
use super::{Context, JsonArgs, ListArgs, next, send, timeline, times};

/// Sources: where events come from
#[derive(Subcommand, Debug)]
pub(crate) enum SourcesCommand {
    /// List the sources, their state and last error
    #[command(after_help = "Example:\n  eventyard sources list")]
    List(ListArgs),
    /// Show one source
    #[command(after_help = "Example:\n  eventyard sources show github")]
    Show(NameArgs),
    /// Let a timer fire now, once, beside its schedule
    #[command(after_help = "Example:\n  eventyard sources fire nightly")]
    Fire(NameArgs),
    Next(next::NextArgs),
    /// Hold a source: an http source answers 503, a timer does not fire
    #[command(after_help = "The pause outlives restarts and reloads.\n\nExample:\n  eventyard sources pause github")]
    Pause(NameArgs),
    /// Let a source go on; a timer treats what it missed as its `catch_up` says
    #[command(after_help = "Example:\n  eventyard sources resume github")]
    Resume(NameArgs),
    /// Let a source go on from another place: see events again, or leave some out
    #[command(
        after_help = "Where to is `earliest`, `latest`, a time (RFC 3339, or how long ago: 30m, 6h, 2d), or a place \
        in the words of the system: an offset, a sequence. The page of the source's kind says what it knows.\n\n\
        Example:\n  eventyard sources seek orders --to 6h"
    )]
    Seek(SeekArgs),
}

#[derive(clap::Args, Debug)]
pub(crate) struct SeekArgs {
    /// The source's name
    name: String,
    /// Where to go on
    #[arg(long, value_name = "PLACE")]
    to: String,
    #[command(flatten)]
    json: JsonArgs,
    #[command(flatten)]
    broker: BrokerArgs,
}

#[derive(clap::Args, Debug)]
pub(crate) struct NameArgs {
    /// The source's name
    name: String,
    #[command(flatten)]
    json: JsonArgs,
    #[command(flatten)]
    broker: BrokerArgs,
}

pub(crate) fn run(command: &SourcesCommand, context: &Context) -> Outcome {
    match command {
        SourcesCommand::List(args) => super::client(list(args, context)),
        SourcesCommand::Show(args) => super::client(show(args, context)),
        SourcesCommand::Fire(args) => super::client(fire(args, context)),
        SourcesCommand::Next(args) => next::run(args, context),
        SourcesCommand::Pause(args) => super::client(hold(args, "pause", context)),
        SourcesCommand::Resume(args) => super::client(hold(args, "resume", context)),
        SourcesCommand::Seek(args) => super::client(seek(args, context)),
    }
}

async fn list(args: &ListArgs, context: &Context) -> Outcome {
    let answer = args.broker.client()?.get(&["api", "v1", "sources"], &[]).await?;
    if args.json.json {
        return Ok(context.screen.json(&answer)?);
    }
    let row = |source: &Value| ["name", "kind", "state", "lag", "last_error"].map(|key| text(source, key)).to_vec();
    let rows = items(&answer, "items").iter().map(row).collect();
    let none = "no sources; POST /events is always there, a [source.NAME] block makes more";
    Ok(context.screen.table(&["SOURCE", "KIND", "STATE", "LAG", "LAST ERROR"], rows, none)?)
}

async fn show(args: &NameArgs, context: &Context) -> Outcome {
    let source = args.broker.client()?.get(&["api", "v1", "sources", &args.name], &[]).await?;
    if args.json.json {
        return Ok(context.screen.json(&source)?);
    }
    Ok(timeline::fields(context, &source)?)
}

async fn hold(args: &NameArgs, what: &str, context: &Context) -> Outcome {
    let path = ["api", "v1", "sources", &args.name, what];
    let answer = args.broker.client()?.send(reqwest::Method::POST, &path, &json!({})).await?;
    if args.json.json {
        return Ok(context.screen.json(&answer)?);
    }
    let name = text(&answer, "name");
    if what == "resume" {
        let said = context.screen.good("resumed");
        return Ok(context.screen.line(format!("{said} {name}: {}", text(&answer, "state")))?);
    }
    let since = times::field(&answer, "paused_since", context.clocks.now());
    context.screen.line(format!("{} {name} since {since}", context.screen.warm("paused")))?;
    Ok(context.screen.line(context.screen.dim(format!("to go on: eventyard sources resume {name}")))?)
}

async fn seek(args: &SeekArgs, context: &Context) -> Outcome {
    // A plain number is a place, not a time.
    let to = match times::duration(&args.to) {
        Ok(ago) => context.clocks.now().minus(ago).to_string(),
        Err(_) => args.to.clone(),
    };
    let path = ["api", "v1", "sources", &args.name, "seek"];
    let answer = args.broker.client()?.send(reqwest::Method::POST, &path, &json!({ "to": to })).await?;
    if args.json.json {
        return Ok(context.screen.json(&answer)?);
    }
    let said = format!("{} goes on from {}", text(&answer, "name"), shown(&to));
    Ok(context.screen.line(format!("{} {said}", context.screen.good("done:")))?)
}

async fn fire(args: &NameArgs, context: &Context) -> Outcome {
    let broker = args.broker.client()?;
    let answer = broker.send(reqwest::Method::POST, &["api", "v1", "sources", &args.name, "fire"], &json!({})).await?;
    if args.json.json {
        return Ok(context.screen.json(&answer)?);
    }
    let receipt = items(&answer, "accepted").first().unwrap_or(&answer);
    Ok(send::print_receipt(context, receipt)?)
}
