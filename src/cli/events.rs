//! `eventyard events`: what came in.

use std::collections::BTreeMap;

use clap::Subcommand;
use serde_json::Value;

use super::broker::BrokerArgs;
use super::exit::{Failure, Outcome};
use super::screen::{items, shown, shown_lines, text};
use super::{Context, JsonArgs, PageArgs, Reserved, more, send, tap, timeline, times};

/// Events: send some, and see what came in
#[derive(Subcommand, Debug)]
pub(crate) enum EventsCommand {
    Send(send::SendArgs),
    /// List events, newest first
    #[command(after_help = "Examples:\n  \
        eventyard events list\n  \
        eventyard events list --since 30m --type order.created\n  \
        eventyard events list --rule big-orders --state dead")]
    List(ListArgs),
    /// Show one event: its data, the rules that matched, each delivery with each attempt
    #[command(after_help = "Example:\n  eventyard events show 01993b1e-7c55-7d2a-9a50-3c1f6f0e9d11")]
    Show(ShowArgs),
    Tap(tap::TapArgs),
    #[command(hide = true)]
    Replay(Reserved),
}

#[derive(clap::Args, Debug)]
pub(crate) struct ListArgs {
    /// Only those received since: RFC 3339, or how long ago (30m, 6h, 2d)
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Only those received before
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Only those of this source, by its name in the project
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
    /// Only those of this type
    #[arg(long = "type", value_name = "TYPE")]
    ty: Option<String>,
    /// Only those that this rule matched
    #[arg(long, value_name = "NAME")]
    rule: Option<String>,
    /// Only those with a delivery in this state
    #[arg(long, value_parser = timeline::STATES)]
    state: Option<String>,
    #[command(flatten)]
    page: PageArgs,
    #[command(flatten)]
    json: JsonArgs,
    #[command(flatten)]
    broker: BrokerArgs,
}

#[derive(clap::Args, Debug)]
pub(crate) struct ShowArgs {
    /// Our id of the event, as `events send` and `events list` print it
    id: String,
    #[command(flatten)]
    json: JsonArgs,
    #[command(flatten)]
    broker: BrokerArgs,
}

pub(crate) async fn run(command: &EventsCommand, context: &Context) -> Outcome {
    match command {
        EventsCommand::Send(args) => send::run(args, context).await,
        EventsCommand::List(args) => list(args, context).await,
        EventsCommand::Show(args) => show(args, context).await,
        EventsCommand::Tap(args) => tap::run(args, context).await,
        EventsCommand::Replay(_) => Err(Failure::NotInThisVersion("events replay")),
    }
}

async fn list(args: &ListArgs, context: &Context) -> Outcome {
    let now = context.clocks.now();
    let mut query = Vec::new();
    for (key, time) in [("since", &args.since), ("until", &args.until)] {
        if let Some(time) = time {
            query.push((key, times::instant(time, now).map_err(Failure::usage)?.to_string()));
        }
    }
    let filters = [("source", &args.source), ("type", &args.ty), ("rule", &args.rule), ("state", &args.state)];
    query.extend(filters.into_iter().filter_map(|(key, value)| Some((key, value.clone()?))));
    args.page.query(&mut query);
    let answer = args.broker.client()?.get(&["api", "v1", "events"], &query).await?;
    if args.json.json {
        return Ok(context.screen.json(&answer)?);
    }
    let row = |event: &Value| {
        let cloudevent = timeline::cloudevent(event);
        vec![
            text(event, "event"),
            text(cloudevent, "type"),
            text(cloudevent, "subject"),
            text(event, "source_name"),
            summary(event),
            times::field(event, "received_at", now),
        ]
    };
    let found = items(&answer, "items");
    let head = ["EVENT", "TYPE", "SUBJECT", "SOURCE", "DELIVERIES", "RECEIVED"];
    context.screen.table(&head, found.iter().map(row).collect(), "no events")?;
    more(context, &answer, "eventyard events list").map_err(Failure::from)
}

/// How the deliveries of an event stand, in a few words: `2 delivered, 1 waiting`.
fn summary(event: &Value) -> String {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for delivery in items(event, "deliveries") {
        *counts.entry(text(delivery, "state")).or_default() += 1;
    }
    if counts.is_empty() {
        return "no rule matched".to_owned();
    }
    counts.into_iter().map(|(state, count)| format!("{count} {state}")).collect::<Vec<_>>().join(", ")
}

async fn show(args: &ShowArgs, context: &Context) -> Outcome {
    let event = args.broker.client()?.get(&["api", "v1", "events", &args.id], &[]).await?;
    if args.json.json {
        return Ok(context.screen.json(&event)?);
    }
    let screen = context.screen;
    let cloudevent = timeline::cloudevent(&event);
    screen.line(screen.bold(format!("event {}", text(&event, "event"))))?;
    screen.line(format!(
        "  received {} by {}, {} bytes of data",
        times::field(&event, "received_at", context.clocks.now()),
        text(&event, "source_name"),
        text(&event, "data_bytes")
    ))?;
    match event.get("hop_count").and_then(Value::as_u64) {
        None | Some(0) => {}
        Some(1) => screen.line("  hops     passed on once before it came here")?,
        Some(count) => screen.line(format!("  hops     passed on {count} times before it came here"))?,
    }
    screen.line(format!("  type     {}", text(cloudevent, "type")))?;
    screen.line(format!("  sender   id {} of {}", text(cloudevent, "id"), text(cloudevent, "source")))?;
    match event.get("hint").and_then(Value::as_str) {
        Some(hint) => screen.line(format!("  rules    {}", screen.warm(shown(hint))))?,
        None => screen.line(format!("  rules    {}", text(&event, "rules")))?,
    }
    timeline::deliveries(context, &event, "  ")?;
    screen.line("the event:")?;
    screen.line(shown_lines(&format!("{cloudevent:#}")))?;
    let id = shown(&args.id);
    Ok(screen.line(screen.dim(format!("why each rule matched or not: eventyard explain {id}")))?)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_deliveries_of_an_event_in_a_few_words() {
        let event = json!({ "deliveries": [{ "state": "delivered" }, { "state": "dead" }, { "state": "delivered" }] });
        assert_eq!(summary(&event), "1 dead, 2 delivered");
        assert_eq!(summary(&json!({ "deliveries": [] })), "no rule matched");
    }
}
