//! `eventyard explain`: why rules match an event, or do not.

use eventyard_event::EventId;
use eventyard_rules::RuleSet;
use serde_json::{Value, json};

use super::broker::BrokerArgs;
use super::exit::{Failure, Outcome};
use super::project::{FromArgs, load_or_report, no_such};
use super::screen::{items, shown, text};
use super::{Context, JsonArgs, draft};

/// Up to so many rules are all shown field by field; of more, only those that match and the nearest one.
const RULES_IN_FULL_MAX: usize = 8;

/// Say why each rule matches an event, or does not
#[derive(clap::Args, Debug)]
#[command(after_help = "An event in a file is held against the project's files, without a broker; a stored one is \
    explained by\nthe running broker.\n\n\
    Examples:\n  \
    eventyard explain event.json\n  \
    eventyard explain event.json big-orders\n  \
    eventyard explain 01993b1e-7c55-7d2a-9a50-3c1f6f0e9d11")]
pub(crate) struct ExplainArgs {
    /// A file with an event, `-` for standard input, or the id of a stored event
    event: String,
    /// Only this rule
    rule: Option<String>,
    #[command(flatten)]
    from: FromArgs,
    #[command(flatten)]
    json: JsonArgs,
    #[command(flatten)]
    broker: BrokerArgs,
}

pub(crate) fn run(args: &ExplainArgs, context: &Context) -> Outcome {
    // A file may be called anything, so one that is there wins over an id.
    let stored = args.event.parse::<EventId>().ok().filter(|_| !std::path::Path::new(&args.event).exists());
    let answer = match stored {
        Some(event) => super::client(ask(args, event))?,
        None => offline(args, context)?,
    };
    if args.json.json {
        return Ok(context.screen.json(&answer)?);
    }
    print(&answer, args, context)
}

async fn ask(args: &ExplainArgs, event: EventId) -> Outcome<Value> {
    let mut body = json!({ "event": event });
    if let Some(rule) = &args.rule {
        body["rule"] = json!(rule);
    }
    args.broker.client()?.send(reqwest::Method::POST, &["api", "v1", "explain"], &body).await
}

fn offline(args: &ExplainArgs, context: &Context) -> Outcome<Value> {
    let text = draft::read(&args.event)?;
    let what = if args.event == "-" { "standard input" } else { &args.event };
    let project = load_or_report(args.broker.project(), context)?;
    let arrival = args.from.arrival(&project)?;
    let json = text.trim_start_matches('\u{feff}');
    let envelope = arrival
        .envelope(json, context)
        .map_err(|error| Failure::usage(format!("{what} holds no event: {error} [{}]", error.code())))?;
    if let Some(rule) = &args.rule
        && !project.rules.iter().any(|known| known.name.as_str() == rule)
    {
        return Err(no_such("rule", rule, project.rules.iter().map(|rule| rule.name.as_str())));
    }
    let rules = RuleSet::compile(project.rules);
    let explanation = rules.explain(&envelope, args.rule.as_deref());
    serde_json::to_value(explanation).map_err(|error| Failure::Failed(error.into()))
}

fn print(answer: &Value, args: &ExplainArgs, context: &Context) -> Outcome {
    let screen = context.screen;
    let rules = items(answer, "rules");
    if rules.is_empty() {
        return Ok(screen.line("there are no rules that could match")?);
    }
    let nearest = answer.get("nearest").and_then(Value::as_str);
    let all = rules.len() <= RULES_IN_FULL_MAX;
    for rule in rules {
        let matched = rule.get("matched").and_then(Value::as_bool) == Some(true);
        let name = text(rule, "rule");
        let verdict = if matched { screen.good("matches") } else { screen.bad("does not match") };
        screen.line(format!("{} {verdict}", screen.bold(&name)))?;
        if all || matched || nearest == rule.get("rule").and_then(Value::as_str) {
            for field in items(rule, "fields") {
                print_field(field, context)?;
            }
            if let Some(split) = rule.get("split").filter(|split| split.is_object()) {
                screen.line(format!("  {}", split_line(split)))?;
            }
        }
    }
    if let Some(nearest) = nearest.filter(|_| rules.len() > 1) {
        screen.line(format!("\nno rule matches; nearest is {}", screen.bold(shown(nearest))))?;
    }
    if !all && args.rule.is_none() {
        let event = shown(&args.event);
        screen.line(screen.dim(format!("field by field: eventyard explain {event} RULE")))?;
    }
    Ok(())
}

/// What becomes of an event at a rule that splits it.
fn split_line(split: &Value) -> String {
    let path = text(split, "path");
    match (split.get("problem").and_then(Value::as_str), split.get("elements").and_then(Value::as_u64)) {
        (Some(problem), _) => format!("split {path}: a dead letter for each target: {}", shown(problem)),
        (None, Some(0)) => format!("split {path}: the list is empty, so nothing is delivered"),
        (None, Some(1)) => format!("split {path}: 1 element, delivered alone to each target"),
        (None, count) => format!("split {path}: {} elements, each delivered alone to each target", count.unwrap_or(0)),
    }
}

/// One field: what was wanted, what was found, and why that will not do.
pub(super) fn print_field(field: &Value, context: &Context) -> Outcome {
    let screen = context.screen;
    let ok = field.get("ok").and_then(Value::as_bool) == Some(true);
    let mark = if ok { screen.good("✓") } else { screen.bad("✗") };
    let found = match field.get("found") {
        None | Some(Value::Null) => "nothing".to_owned(),
        Some(_) => text(field, "found"),
    };
    screen.line(format!("  {mark} {}: wanted {}, found {found}", text(field, "path"), text(field, "wanted")))?;
    match field.get("note").and_then(Value::as_str) {
        Some(note) => Ok(screen.line(format!("      {}", screen.warm(shown(note))))?),
        None => Ok(()),
    }
}
