//! `eventyard deliveries`: each event on its way to each target.

use clap::Subcommand;
use serde_json::{Value, json};

use super::broker::BrokerArgs;
use super::exit::{Failure, Outcome};
use super::screen::{complain, items, rule, target, text};
use super::{Context, JsonArgs, PageArgs, more, timeline, times};

/// Deliveries: each event on its way to each target
#[derive(Subcommand, Debug)]
pub(crate) enum DeliveriesCommand {
    /// List deliveries, newest event first
    #[command(after_help = "Examples:\n  \
        eventyard deliveries list\n  \
        eventyard deliveries list --state waiting --rule big-orders")]
    List(ListArgs),
    /// Show one delivery: each attempt, and what comes next
    #[command(after_help = "Example:\n  eventyard deliveries show 01993b1e-7c55-7d2a-9a50-3c1f6f0e9d11-0")]
    Show(ShowArgs),
    /// Make deliveries that wait for their time due at once
    #[command(after_help = "A dead letter is replayed instead: eventyard dead-letters replay ID.\n\n\
        Example:\n  eventyard deliveries retry 01993b1e-7c55-7d2a-9a50-3c1f6f0e9d11-0")]
    Retry(IdsArgs),
    /// End deliveries that are pending or waiting: they are never attempted again
    #[command(
        after_help = "One that is being attempted is left alone. To come between two attempts, pause its target \
        first.\n\nExample:\n  eventyard deliveries cancel 01993b1e-7c55-7d2a-9a50-3c1f6f0e9d11-0"
    )]
    Cancel(IdsArgs),
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

#[derive(clap::Args, Debug)]
pub(crate) struct ShowArgs {
    /// The delivery's id, as `deliveries list` and `events show` print it
    id: String,
    #[command(flatten)]
    json: JsonArgs,
    #[command(flatten)]
    broker: BrokerArgs,
}

#[derive(clap::Args, Debug)]
pub(crate) struct IdsArgs {
    /// The deliveries' ids, as `deliveries list` and `events show` print them
    #[arg(required = true, value_name = "ID")]
    ids: Vec<String>,
    #[command(flatten)]
    json: JsonArgs,
    #[command(flatten)]
    broker: BrokerArgs,
}

pub(crate) async fn run(command: &DeliveriesCommand, context: &Context) -> Outcome {
    match command {
        DeliveriesCommand::List(args) => list(args, context).await,
        DeliveriesCommand::Show(args) => show(args, context).await,
        DeliveriesCommand::Retry(args) => move_each(args, "retry", context).await,
        DeliveriesCommand::Cancel(args) => move_each(args, "cancel", context).await,
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
            target(delivery),
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

async fn show(args: &ShowArgs, context: &Context) -> Outcome {
    let delivery = args.broker.client()?.get(&["api", "v1", "deliveries", &args.id], &[]).await?;
    if args.json.json {
        return Ok(context.screen.json(&delivery)?);
    }
    timeline::whole(context, &delivery, "")?;
    let event = text(&delivery, "event");
    Ok(context.screen.line(context.screen.dim(format!("the event: eventyard events show {event}")))?)
}

/// Asks for one after another; what is refused does not keep the others from being done.
async fn move_each(args: &IdsArgs, what: &str, context: &Context) -> Outcome {
    let broker = args.broker.client()?;
    let (mut done, mut refused) = (Vec::new(), 0);
    for id in &args.ids {
        let path = ["api", "v1", "deliveries", id, what];
        match broker.send(reqwest::Method::POST, &path, &json!({})).await {
            Ok(delivery) => {
                if !args.json.json {
                    say(context, &delivery, what)?;
                }
                done.push(delivery);
            }
            Err(failure) => {
                refused += 1;
                match failure.text() {
                    Some(text) => complain(format!("error: {text}")),
                    None => return Err(failure),
                }
            }
        }
    }
    if args.json.json {
        context.screen.json(&json!({ "items": done }))?;
    }
    if refused == 0 { Ok(()) } else { Err(Failure::reported()) }
}

fn say(context: &Context, delivery: &Value, what: &str) -> std::io::Result<()> {
    let (screen, id) = (context.screen, text(delivery, "id"));
    if what == "cancel" {
        return screen.line(format!("{} {id}: never attempted again", screen.warm("cancelled")));
    }
    let waits = delivery.get("waits_for").filter(|waits| waits.is_object());
    let still = waits.filter(|waits| !matches!(waits.get("what").and_then(Value::as_str), Some("turn" | "time")));
    let still = still.map(|waits| format!("; {}", text(waits, "message"))).unwrap_or_default();
    screen.line(format!("{} {id}{still}", screen.good("due now")))
}
