//! `eventyard status`: is it well, and what is it doing?

use serde_json::{Value, json};

use super::broker::BrokerArgs;
use super::exit::{Failure, Outcome};
use super::screen::{Screen, items, text};
use super::{Context, JsonArgs};

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
    let (ready, readiness) = broker.readiness().await?;
    let sources = broker.get(&["api", "v1", "sources"], &[]).await?;
    let targets = broker.get(&["api", "v1", "targets"], &[]).await?;
    let letters = broker.get(&["api", "v1", "dead-letters"], &[("limit", "1".to_owned())]).await?;
    if args.json.json {
        context.screen.json(&json!({
            "ready": ready, "readiness": readiness,
            "sources": sources.get("items"), "targets": targets.get("items"),
        }))?;
    } else {
        print(context, ready, &readiness, &sources, &targets)?;
        if !items(&letters, "items").is_empty() {
            let said = context.screen.bad("there are dead letters");
            context.screen.line(format!("\n{said}: eventyard dead-letters list"))?;
        }
    }
    if ready { Ok(()) } else { Err(Failure::reported()) }
}

fn print(context: &Context, ready: bool, readiness: &Value, sources: &Value, targets: &Value) -> Outcome {
    let screen = context.screen;
    screen.line(if ready { screen.good("ready") } else { screen.bad("not ready") })?;
    for (key, paint) in [("reasons", Screen::bad as fn(Screen, String) -> String), ("warnings", Screen::warm)] {
        for note in items(readiness, key) {
            let said = format!("{} [{}]", text(note, "message"), text(note, "code"));
            screen.line(format!("  {}", paint(screen, said)))?;
        }
    }
    let row = |source: &Value| ["name", "kind", "state", "lag", "last_error"].map(|key| text(source, key)).to_vec();
    screen.line("")?;
    let rows = items(sources, "items").iter().map(row).collect();
    screen.table(
        &["SOURCE", "KIND", "STATE", "LAG", "LAST ERROR"],
        rows,
        "no sources; POST /events is always there",
    )?;
    screen.line("")?;
    let row =
        |target: &Value| ["rule", "target", "state", "pending", "last_error"].map(|key| text(target, key)).to_vec();
    let rows = items(targets, "items").iter().map(row).collect();
    screen.table(&["RULE", "TARGET", "STATE", "PENDING", "LAST ERROR"], rows, "no targets")?;
    Ok(())
}
