//! `eventyard channels`: the ways in which the broker tells people.

use clap::Subcommand;
use serde_json::{Value, json};

use super::broker::BrokerArgs;
use super::exit::{Failure, Outcome};
use super::screen::{items, text};
use super::{Context, JsonArgs, ListArgs, Reserved};

/// The channels: ways to tell people
#[derive(Subcommand, Debug)]
pub(crate) enum ChannelsCommand {
    /// List the channels and what each listens to
    #[command(after_help = "Example:\n  eventyard channels list")]
    List(ListArgs),
    /// Send a trial message through a channel and say how it went
    #[command(after_help = "Example:\n  eventyard channels test oncall")]
    Test(TestArgs),
    #[command(hide = true)]
    Silence(Reserved),
}

#[derive(clap::Args, Debug)]
pub(crate) struct TestArgs {
    /// The channel's name
    name: String,
    #[command(flatten)]
    json: JsonArgs,
    #[command(flatten)]
    broker: BrokerArgs,
}

pub(crate) async fn run(command: &ChannelsCommand, context: &Context) -> Outcome {
    match command {
        ChannelsCommand::List(args) => list(args, context).await,
        ChannelsCommand::Test(args) => {
            let path = ["api", "v1", "channels", &args.name, "test"];
            let answer = args.broker.client()?.send(reqwest::Method::POST, &path, &json!({})).await?;
            if args.json.json {
                return Ok(context.screen.json(&answer)?);
            }
            let said = context.screen.good("delivered");
            Ok(context.screen.line(format!("{said}: the channel `{}` took the trial message", args.name))?)
        }
        ChannelsCommand::Silence(_) => Err(Failure::NotInThisVersion("channels silence")),
    }
}

async fn list(args: &ListArgs, context: &Context) -> Outcome {
    let answer = args.broker.client()?.get(&["api", "v1", "channels"], &[]).await?;
    if args.json.json {
        return Ok(context.screen.json(&answer)?);
    }
    let row = |channel: &Value| ["name", "kind", "alerts", "state", "pending"].map(|key| text(channel, key)).into();
    let rows = items(&answer, "items").iter().map(row).collect();
    let none = "no channels; a [channel.NAME] block in eventyard.toml makes one";
    Ok(context.screen.table(&["CHANNEL", "KIND", "ALERTS", "STATE", "PENDING"], rows, none)?)
}
