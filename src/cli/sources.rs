//! `eventyard sources`: where events come from.

use clap::Subcommand;
use serde_json::{Value, json};

use super::broker::BrokerArgs;
use super::exit::{Failure, Outcome};
use super::screen::{items, text};
use super::{Context, JsonArgs, Reserved, next, send, timeline};

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
    #[command(hide = true)]
    Pause(Reserved),
    #[command(hide = true)]
    Resume(Reserved),
    #[command(hide = true)]
    Seek(Reserved),
}

#[derive(clap::Args, Debug)]
pub(crate) struct ListArgs {
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
        SourcesCommand::Pause(_) => Err(Failure::NotInThisVersion("sources pause")),
        SourcesCommand::Resume(_) => Err(Failure::NotInThisVersion("sources resume")),
        SourcesCommand::Seek(_) => Err(Failure::NotInThisVersion("sources seek")),
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

async fn fire(args: &NameArgs, context: &Context) -> Outcome {
    let broker = args.broker.client()?;
    let answer = broker.send(reqwest::Method::POST, &["api", "v1", "sources", &args.name, "fire"], &json!({})).await?;
    if args.json.json {
        return Ok(context.screen.json(&answer)?);
    }
    let receipt = items(&answer, "accepted").first().unwrap_or(&answer);
    Ok(send::print_receipt(context, receipt)?)
}
