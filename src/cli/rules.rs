//! `eventyard rules`: what decides who hears of an event.

mod matching;
mod testing;

use clap::Subcommand;
use serde_json::Value;

use super::broker::BrokerArgs;
use super::exit::{Failure, Outcome};
use super::screen::{items, text};
use super::{Context, JsonArgs, ListArgs, Reserved, timeline};

/// Rules: what decides who hears of an event
#[derive(Subcommand, Debug)]
pub(crate) enum RulesCommand {
    /// List the rules that are in force
    #[command(after_help = "Example:\n  eventyard rules list")]
    List(ListArgs),
    /// Show one rule
    #[command(after_help = "Example:\n  eventyard rules show big-orders")]
    Show(ShowArgs),
    Test(testing::TestArgs),
    Match(matching::MatchArgs),
    #[command(hide = true)]
    Backtest(Reserved),
}

#[derive(clap::Args, Debug)]
pub(crate) struct ShowArgs {
    /// The rule's name
    name: String,
    #[command(flatten)]
    json: JsonArgs,
    #[command(flatten)]
    broker: BrokerArgs,
}

pub(crate) fn run(command: &RulesCommand, context: &Context) -> Outcome {
    match command {
        RulesCommand::List(args) => super::client(list(args, context)),
        RulesCommand::Show(args) => super::client(show(args, context)),
        RulesCommand::Test(args) => testing::run(args, context),
        RulesCommand::Match(args) => matching::run(args, context),
        RulesCommand::Backtest(_) => Err(Failure::NotInThisVersion("rules backtest")),
    }
}

async fn list(args: &ListArgs, context: &Context) -> Outcome {
    let answer = args.broker.client()?.get(&["api", "v1", "rules"], &[]).await?;
    if args.json.json {
        return Ok(context.screen.json(&answer)?);
    }
    let row = |rule: &Value| {
        let targets = items(rule, "targets").iter().map(|target| text(target, "name")).collect::<Vec<_>>().join(", ");
        vec![text(rule, "name"), text(rule, "state"), text(rule, "from"), targets, text(rule, "description")]
    };
    let rows = items(&answer, "items").iter().map(row).collect();
    let none = "no rules; a file rules/NAME.toml makes some";
    Ok(context.screen.table(&["RULE", "STATE", "FROM", "TARGETS", "DESCRIPTION"], rows, none)?)
}

async fn show(args: &ShowArgs, context: &Context) -> Outcome {
    let rule = args.broker.client()?.get(&["api", "v1", "rules", &args.name], &[]).await?;
    if args.json.json {
        return Ok(context.screen.json(&rule)?);
    }
    Ok(timeline::fields(context, &rule)?)
}
