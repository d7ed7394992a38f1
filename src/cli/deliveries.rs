//! `eventyard deliveries`: each event on its way to each target.

use clap::Subcommand;
use serde_json::Value;

use super::broker::BrokerArgs;
use super::exit::{Failure, Outcome};
use super::screen::{items, rule, text};
use super::{Context, JsonArgs, PageArgs, Reserved, more, times};

/// Deliveries: each event on its way to each target
#[derive(Subcommand, Debug)]
pub(crate) enum DeliveriesCommand {
    /// List deliveries, newest event first
    #[command(after_help = "Examples:\n  \
        eventyard deliveries list\n  \
        eventyard deliveries list --state waiting --rule big-orders")]
    List(ListArgs),
    #[command(hide = true)]
    Retry(Reserved),
    #[command(hide = true)]
    Cancel(Reserved),
}

#[derive(clap::Args, Debug)]
pub(crate) struct ListArgs {
    /// Only those in this state
    #[arg(long, value_parser = super::timeline::STATES)]
    state: Option<String>,
    /// Only those of this rule
    #[arg(long, value_name = "NAME")]
    rule: Option<String>,
    #[command(flatten)]
    page: PageArgs,
    #[command(flatten)]
    json: JsonArgs,
    #[command(flatten)]
    broker: BrokerArgs,
}

pub(crate) async fn run(command: &DeliveriesCommand, context: &Context) -> Outcome {
    match command {
        DeliveriesCommand::List(args) => list(args, context).await,
        DeliveriesCommand::Retry(_) => Err(Failure::NotInThisVersion("deliveries retry")),
        DeliveriesCommand::Cancel(_) => Err(Failure::NotInThisVersion("deliveries cancel")),
    }
}

async fn list(args: &ListArgs, context: &Context) -> Outcome {
    let mut query = Vec::new();
    query.extend(args.state.iter().map(|state| ("state", state.clone())));
    query.extend(args.rule.iter().map(|rule| ("rule", rule.clone())));
    args.page.query(&mut query);
    let answer = args.broker.client()?.get(&["api", "v1", "deliveries"], &query).await?;
    if args.json.json {
        return Ok(context.screen.json(&answer)?);
    }
    let now = context.clocks.now();
    let row = |delivery: &Value| {
        vec![
            text(delivery, "id"),
            rule(delivery),
            text(delivery, "target"),
            text(delivery, "state"),
            text(delivery, "attempts"),
            times::field(delivery, "next_attempt_at", now),
            times::field(delivery, "created_at", now),
        ]
    };
    let found = items(&answer, "items");
    let head = ["DELIVERY", "RULE", "TARGET", "STATE", "ATTEMPTS", "NEXT ATTEMPT", "CREATED"];
    context.screen.table(&head, found.iter().map(row).collect(), "no deliveries")?;
    more(context, &answer, "eventyard deliveries list")?;
    if let Some(event) = found.first().and_then(|delivery| delivery.get("event")).and_then(Value::as_str) {
        let event = super::screen::shown(event);
        context.screen.line(context.screen.dim(format!("each attempt: eventyard events show {event}")))?;
    }
    Ok(())
}
