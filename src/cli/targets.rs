//! `eventyard targets`: whom the rules call.

use clap::Subcommand;
use reqwest::Method;
use serde_json::{Value, json};

use super::broker::BrokerArgs;
use super::draft::{self, Draft, Overrides};
use super::exit::{Failure, Outcome};
use super::screen::{items, rule, shown, text};
use super::{Context, JsonArgs, ListArgs, times};

/// Targets: whom the rules call
#[derive(Subcommand, Debug)]
pub(crate) enum TargetsCommand {
    /// List the targets, what waits for each, and what its newest attempt said where that failed
    #[command(after_help = "Example:\n  eventyard targets list")]
    List(ListArgs),
    /// Hold a target: its deliveries wait and use up no attempts, until it is resumed
    #[command(after_help = "What is being attempted is let finish. The pause outlives restarts and reloads.\n\n\
        Example:\n  eventyard targets pause big-orders/warehouse")]
    Pause(NameArgs),
    /// Let a target go on, in order
    #[command(after_help = "Example:\n  eventyard targets resume big-orders/warehouse")]
    Resume(NameArgs),
    /// Call a target once, now, and say what came of it; nothing is kept
    #[command(after_help = "Exit code 1 when the target did not take it.\n\n\
        Examples:\n  eventyard targets test big-orders/warehouse\n  \
        eventyard targets test big-orders/warehouse --file event.json")]
    Test(TestArgs),
}

#[derive(clap::Args, Debug)]
pub(crate) struct NameArgs {
    /// The target: its rule and its name, as `targets list` shows them
    #[arg(value_name = "RULE/TARGET", value_parser = rule_and_target)]
    target: (String, String),
    #[command(flatten)]
    json: JsonArgs,
    #[command(flatten)]
    broker: BrokerArgs,
}

#[derive(clap::Args, Debug)]
pub(crate) struct TestArgs {
    /// The target: its rule and its name, as `targets list` shows them
    #[arg(value_name = "RULE/TARGET", value_parser = rule_and_target)]
    target: (String, String),
    /// The event to send, `-` for standard input; without it, one is made
    #[arg(long, value_name = "FILE")]
    file: Option<String>,
    #[command(flatten)]
    json: JsonArgs,
    #[command(flatten)]
    broker: BrokerArgs,
}

fn rule_and_target(text: &str) -> Result<(String, String), String> {
    match text.split_once('/') {
        Some((rule, target)) if !rule.is_empty() && !target.is_empty() => Ok((rule.to_owned(), target.to_owned())),
        _ => Err("write the rule and the target with a slash between them: big-orders/warehouse".to_owned()),
    }
}

pub(crate) async fn run(command: &TargetsCommand, context: &Context) -> Outcome {
    match command {
        TargetsCommand::List(args) => list(args, context).await,
        TargetsCommand::Pause(args) => hold(args, "pause", context).await,
        TargetsCommand::Resume(args) => hold(args, "resume", context).await,
        TargetsCommand::Test(args) => test(args, context).await,
    }
}

async fn list(args: &ListArgs, context: &Context) -> Outcome {
    let answer = args.broker.client()?.get(&["api", "v1", "targets"], &[]).await?;
    if args.json.json {
        return Ok(context.screen.json(&answer)?);
    }
    table(context, &answer)
}

/// The table of `targets list` and of `status`.
pub(crate) fn table(context: &Context, targets: &Value) -> Outcome {
    let row = |target: &Value| {
        let mut cells = vec![rule(target)];
        cells.extend(["target", "kind", "to"].map(|key| text(target, key)));
        cells.push(state(target));
        cells.extend(["pending", "last_error"].map(|key| text(target, key)));
        cells
    };
    let rows = items(targets, "items").iter().map(row).collect();
    let head = ["RULE", "TARGET", "KIND", "TO", "STATE", "PENDING", "LAST ERROR"];
    Ok(context.screen.table(&head, rows, "no targets")?)
}

/// A target that is gone may be paused too.
fn state(target: &Value) -> String {
    let state = text(target, "state");
    let is_paused = target.get("paused_since").is_some_and(Value::is_string);
    if is_paused && state != "paused" { format!("{state}, paused") } else { state }
}

async fn hold(args: &NameArgs, what: &str, context: &Context) -> Outcome {
    let (rule, target) = &args.target;
    let path = ["api", "v1", "targets", rule, target, what];
    let answer = args.broker.client()?.send(Method::POST, &path, &json!({})).await?;
    if args.json.json {
        return Ok(context.screen.json(&answer)?);
    }
    let (name, pending) = (shown(&format!("{rule}/{target}")), text(&answer, "pending"));
    let now = context.clocks.now();
    context.screen.line(if what == "pause" {
        let since = times::field(&answer, "paused_since", now);
        format!("{} {name} since {since}; {pending} deliveries wait for it", context.screen.warm("paused"))
    } else {
        format!("{} {name}; {pending} deliveries go on", context.screen.good("resumed"))
    })?;
    if what == "pause" {
        context.screen.line(context.screen.dim(format!("to go on: eventyard targets resume {name}")))?;
    }
    Ok(())
}

async fn test(args: &TestArgs, context: &Context) -> Outcome {
    let (rule, target) = &args.target;
    let body = match &args.file {
        None => "{}".to_owned(),
        Some(file) => {
            let Draft::Event(attributes) = draft::parse(&draft::read(file)?, file)? else {
                return Err(Failure::usage("the file holds a batch; a target is tried with one event"));
            };
            let mut fresh = || format!("test-{}", context.clocks.now());
            let event = draft::complete(&attributes, &Overrides::default(), None, &mut fresh)?;
            // Put together as text, so that each number keeps its spelling.
            format!("{{\"cloudevent\":{event}}}")
        }
    };
    let path = ["api", "v1", "targets", rule, target, "test"];
    let answer = args.broker.client()?.post_bytes(&path, "application/json", body.into_bytes()).await?;
    let succeeded = answer.get("outcome").and_then(Value::as_str) == Some("succeeded");
    if args.json.json {
        context.screen.json(&answer)?;
    } else {
        say(context, &answer, &shown(&format!("{rule}/{target}")), succeeded)?;
    }
    if succeeded { Ok(()) } else { Err(Failure::reported()) }
}

fn say(context: &Context, answer: &Value, name: &str, succeeded: bool) -> std::io::Result<()> {
    let screen = context.screen;
    let took = text(answer, "took_ms");
    if succeeded {
        screen.line(format!("{} {name} took it in {took} ms; nothing was kept", screen.good("succeeded")))?;
    } else {
        let reason = answer.get("reason").unwrap_or(&Value::Null);
        let kind = match answer.get("outcome").and_then(Value::as_str) {
            Some("permanent") => "failed for good",
            Some("interrupted") => "interrupted",
            _ => "failed",
        };
        let (message, code) = (text(reason, "message"), text(reason, "code"));
        screen.line(format!("{} {name} after {took} ms: {message} [{code}]", screen.bad(kind)))?;
    }
    let given = answer.get("given").and_then(Value::as_str).unwrap_or_default();
    for (place, line) in given.lines().enumerate() {
        screen.line(format!("  {} {}", if place == 0 { "given" } else { "     " }, shown(line)))?;
    }
    for ty in items(answer, "would_make") {
        let ty = ty.as_str().map(shown).unwrap_or_default();
        screen.line(format!("  would have made an event of the type {ty}"))?;
    }
    let said = answer.get("response").and_then(Value::as_str).unwrap_or_default();
    said.lines().try_for_each(|line| screen.line(screen.dim(format!("  │ {}", shown(line)))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_a_rule_and_a_name() {
        assert_eq!(rule_and_target("a/b").unwrap(), ("a".to_owned(), "b".to_owned()));
        for bad in ["a", "/b", "a/", ""] {
            assert!(rule_and_target(bad).is_err(), "{bad}");
        }
    }
}
