//! `eventyard status`: is it well, and what is it doing?

use serde_json::{Value, json};

use super::broker::BrokerArgs;
use super::exit::{Failure, Outcome};
use super::screen::{items, text};
use super::{Context, JsonArgs, targets};

/// Say whether the broker is well and what it has to do
#[derive(clap::Args, Debug)]
#[command(after_help = "Exit code 1 when the broker is not ready, so that scripts can ask.\n\n\
    Examples:\n  eventyard status\n  eventyard status --json")]
pub(crate) struct StatusArgs {
    #[command(flatten)]
    json: JsonArgs,
    #[command(flatten)]
    broker: BrokerArgs,
}

pub(crate) async fn run(args: &StatusArgs, context: &Context) -> Outcome {
    let broker = args.broker.client()?;
    let status = broker.get(&["api", "v1", "status"], &[]).await?;
    let sources = broker.get(&["api", "v1", "sources"], &[]).await?;
    let targets = broker.get(&["api", "v1", "targets"], &[]).await?;
    let readiness = status.get("readiness").unwrap_or(&Value::Null);
    let ready = readiness.get("ready").and_then(Value::as_bool) == Some(true);
    if args.json.json {
        context.screen.json(&json!({
            "status": status, "sources": sources.get("items"), "targets": targets.get("items"),
        }))?;
    } else {
        head(context, ready, &status, readiness)?;
        tables(context, &sources, &targets)?;
        if count(&status, "dead") > 0 {
            context.screen.line("\nthe dead letters: eventyard dead-letters list")?;
        }
    }
    if ready { Ok(()) } else { Err(Failure::reported()) }
}

/// A number of the store's.
fn count(status: &Value, key: &str) -> u64 {
    status.get("stats").and_then(|stats| stats.get(key)).and_then(Value::as_u64).unwrap_or(0)
}

fn head(context: &Context, ready: bool, status: &Value, readiness: &Value) -> Outcome {
    let screen = context.screen;
    let said = if ready { screen.good("ready") } else { screen.bad("not ready") };
    screen.line(format!("{said}: eventyard {}, snapshot {}", text(status, "version"), text(status, "hash")))?;
    for note in items(readiness, "reasons") {
        screen.line(format!("  {} {} [{}]", screen.bad("reason:"), text(note, "message"), text(note, "code")))?;
    }
    for note in items(readiness, "warnings") {
        screen.line(format!("  {} {} [{}]", screen.warm("warning:"), text(note, "message"), text(note, "code")))?;
    }
    let dead = match count(status, "dead") {
        0 => "0 dead letters".to_owned(),
        1 => screen.bad("1 dead letter"),
        dead => screen.bad(format!("{dead} dead letters")),
    };
    let numbers = format!(
        "  {} events kept, {} deliveries under way ({} of them wait for their time), ",
        count(status, "events"),
        count(status, "unsettled"),
        count(status, "waiting")
    );
    screen.line(format!("{numbers}{dead}"))?;
    let paused = |key: &str, one: &str| match status.get(key).and_then(Value::as_u64).unwrap_or(0) {
        0 => None,
        1 => Some(format!("1 {one}")),
        many => Some(format!("{many} {one}s")),
    };
    let paused: Vec<String> =
        [paused("paused_sources", "source"), paused("paused_targets", "target")].into_iter().flatten().collect();
    if !paused.is_empty() {
        screen.line(format!("  {} {}", screen.warm("paused:"), paused.join(", ")))?;
    }
    Ok(())
}

fn tables(context: &Context, sources: &Value, of_targets: &Value) -> Outcome {
    let screen = context.screen;
    let row = |source: &Value| ["name", "kind", "state", "lag", "last_error"].map(|key| text(source, key)).to_vec();
    screen.line("")?;
    let rows = items(sources, "items").iter().map(row).collect();
    let none = "no sources; POST /events is always there";
    screen.table(&["SOURCE", "KIND", "STATE", "LAG", "LAST ERROR"], rows, none)?;
    screen.line("")?;
    targets::table(context, of_targets)
}
