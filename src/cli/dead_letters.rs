//! `eventyard dead-letters`: what was given up, and what becomes of it.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use clap::Subcommand;
use reqwest::Method;
use serde_json::{Map, Value, json};

use super::broker::BrokerArgs;
use super::exit::{Failure, Outcome};
use super::screen::{items, rule, shown, shown_lines, target, text};
use super::{Context, JsonArgs, PageArgs, Reserved, more, times};

/// How much of what could not be decoded is put on a screen; all that is kept stands in the JSON.
const RAW_SHOWN_BYTES_MAX: usize = 1024;

/// Dead letters: deliveries that were given up
#[derive(Subcommand, Debug)]
pub(crate) enum DeadLettersCommand {
    /// List dead letters, newest first
    #[command(after_help = "Examples:\n  \
        eventyard dead-letters list\n  \
        eventyard dlq list --rule big-orders --since 6h")]
    List(ListArgs),
    /// Show one dead letter: the event whole, each attempt, and why it was given up
    #[command(after_help = "Example:\n  eventyard dead-letters show 01993b1e-7c55-7d2a-9a50-3c1f6f0e9d11-0")]
    Show(ShowArgs),
    /// Make dead letters pending again, with a fresh budget of attempts
    #[command(after_help = "Examples:\n  \
        eventyard dead-letters replay 01993b1e-7c55-7d2a-9a50-3c1f6f0e9d11-0\n  \
        eventyard dlq replay --rule big-orders --rate 50\n  \
        eventyard dlq replay --all --dry-run")]
    Replay(ReplayArgs),
    /// Give dead letters up for good
    #[command(after_help = "Examples:\n  \
        eventyard dead-letters purge 01993b1e-7c55-7d2a-9a50-3c1f6f0e9d11-0\n  \
        eventyard dlq purge --rule big-orders --dry-run")]
    Purge(PurgeArgs),
    #[command(hide = true)]
    Edit(Reserved),
}

#[derive(clap::Args, Debug)]
pub(crate) struct ListArgs {
    /// Only those of this rule
    #[arg(long, value_name = "NAME")]
    rule: Option<String>,
    /// Only those to this target
    #[arg(long, value_name = "NAME")]
    target: Option<String>,
    /// Only those that died since: RFC 3339, or how long ago (30m, 6h, 2d)
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    #[command(flatten)]
    page: PageArgs,
    #[command(flatten)]
    json: JsonArgs,
    #[command(flatten)]
    broker: BrokerArgs,
}

#[derive(clap::Args, Debug)]
pub(crate) struct ShowArgs {
    /// The dead letter's id
    id: String,
    #[command(flatten)]
    json: JsonArgs,
    #[command(flatten)]
    broker: BrokerArgs,
}

/// Which dead letters; exactly one way of saying it.
#[derive(clap::Args, Debug)]
#[group(required = true, multiple = false)]
pub(crate) struct Selection {
    /// The dead letters' ids
    #[arg(value_name = "ID")]
    ids: Vec<String>,
    /// All of this rule
    #[arg(long, value_name = "NAME")]
    rule: Option<String>,
    /// All there are
    #[arg(long)]
    all: bool,
}

#[derive(clap::Args, Debug)]
pub(crate) struct ReplayArgs {
    #[command(flatten)]
    which: Selection,
    /// How many a second at most, so that a target that just recovered is not run over
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    rate: Option<u32>,
    /// Only say how many it would be
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    json: JsonArgs,
    #[command(flatten)]
    broker: BrokerArgs,
}

#[derive(clap::Args, Debug)]
pub(crate) struct PurgeArgs {
    #[command(flatten)]
    which: Selection,
    /// Only say how many it would be
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    json: JsonArgs,
    #[command(flatten)]
    broker: BrokerArgs,
}

impl Selection {
    fn body(&self) -> Map<String, Value> {
        let mut body = Map::new();
        if self.all {
            body.insert("all".to_owned(), json!(true));
        } else if let Some(rule) = &self.rule {
            body.insert("rule".to_owned(), json!(rule));
        } else {
            body.insert("ids".to_owned(), json!(self.ids));
        }
        body
    }
}

pub(crate) async fn run(command: &DeadLettersCommand, context: &Context) -> Outcome {
    match command {
        DeadLettersCommand::List(args) => list(args, context).await,
        DeadLettersCommand::Show(args) => show(args, context).await,
        DeadLettersCommand::Replay(args) => replay(args, context).await,
        DeadLettersCommand::Purge(args) => purge(args, context).await,
        DeadLettersCommand::Edit(_) => Err(Failure::NotInThisVersion("dead-letters edit")),
    }
}

async fn list(args: &ListArgs, context: &Context) -> Outcome {
    let now = context.clocks.now();
    let mut query = Vec::new();
    query.extend(args.rule.iter().map(|rule| ("rule", rule.clone())));
    query.extend(args.target.iter().map(|target| ("target", target.clone())));
    if let Some(since) = &args.since {
        query.push(("since", times::instant(since, now).map_err(Failure::usage)?.to_string()));
    }
    args.page.query(&mut query);
    let answer = args.broker.client()?.get(&["api", "v1", "dead-letters"], &query).await?;
    if args.json.json {
        return Ok(context.screen.json(&answer)?);
    }
    let row = |letter: &Value| {
        let reason = letter.get("reason").unwrap_or(&Value::Null);
        vec![
            text(letter, "id"),
            rule(letter),
            target(letter),
            text(letter, "attempts"),
            times::field(letter, "dead_at", now),
            format!("{}: {}", text(reason, "code"), text(reason, "message")),
        ]
    };
    let found = items(&answer, "items");
    let head = ["DEAD LETTER", "RULE", "TARGET", "ATTEMPTS", "DIED", "REASON"];
    context.screen.table(&head, found.iter().map(row).collect(), "no dead letters")?;
    more(context, &answer, "eventyard dead-letters list")?;
    if let Some(id) = found.first().and_then(|letter| letter.get("id")).and_then(Value::as_str) {
        let id = shown(id);
        context.screen.line(context.screen.dim(format!("look at one:  eventyard dead-letters show {id}")))?;
        context.screen.line(context.screen.dim(format!("try it again: eventyard dead-letters replay {id}")))?;
    }
    Ok(())
}

async fn show(args: &ShowArgs, context: &Context) -> Outcome {
    let letter = args.broker.client()?.get(&["api", "v1", "dead-letters", &args.id], &[]).await?;
    if args.json.json {
        return Ok(context.screen.json(&letter)?);
    }
    let screen = context.screen;
    let now = context.clocks.now();
    let reason = letter.get("reason").unwrap_or(&Value::Null);
    screen.line(screen.bold(format!("dead letter {}", text(&letter, "id"))))?;
    screen.line(format!("  rule     {}", rule(&letter)))?;
    screen.line(format!("  target   {}", target(&letter)))?;
    screen.line(format!("  event    {}", text(&letter, "event")))?;
    screen.line(format!("  died     {}", times::field(&letter, "dead_at", now)))?;
    screen.line(format!("  reason   {} [{}]", screen.bad(text(reason, "message")), text(reason, "code")))?;
    if let Some(at) = letter.get("at").filter(|at| !at.is_null()) {
        screen.line(format!("  came at  {}", shown(&at.to_string())))?;
    }
    let of_source = letter.get("kind").and_then(Value::as_str) == Some("source");
    if of_source {
        let raw = letter.get("raw").and_then(Value::as_str).and_then(|raw| BASE64_STANDARD.decode(raw).ok());
        let raw = raw.unwrap_or_default();
        screen.line(format!("  bytes    {}, of which {} are kept", text(&letter, "size"), raw.len()))?;
        screen.line("what came:")?;
        let head = raw.get(..RAW_SHOWN_BYTES_MAX).unwrap_or(&raw);
        screen.line(shown_lines(&String::from_utf8_lossy(head)))?;
    }
    super::timeline::attempts(context, &letter, "  ")?;
    if of_source {
        // The event is but what came, and that is shown already.
    } else if let Some(cloudevent) = letter.get("cloudevent").filter(|event| !event.is_null()) {
        screen.line("the event:")?;
        screen.line(shown_lines(&format!("{cloudevent:#}")))?;
    }
    let id = text(&letter, "id");
    let code = text(reason, "code");
    screen.line(screen.dim(format!("what it means: eventyard errors {code}")))?;
    let again = if of_source { "read it anew:  " } else { "try it again:  " };
    screen.line(screen.dim(format!("{again}{}", text(&letter, "replay"))))?;
    Ok(screen.line(screen.dim(format!("give it up:    eventyard dead-letters purge {id}")))?)
}

async fn replay(args: &ReplayArgs, context: &Context) -> Outcome {
    let mut body = args.which.body();
    body.extend(args.rate.map(|rate| ("rate".to_owned(), json!(rate))));
    if args.dry_run {
        body.insert("dry_run".to_owned(), json!(true));
    }
    let broker = args.broker.client()?;
    let answer = broker.send(Method::POST, &["api", "v1", "dead-letters", "replay"], &Value::Object(body)).await?;
    if args.json.json {
        return Ok(context.screen.json(&answer)?);
    }
    let count = answer.get("replayed").and_then(Value::as_u64).unwrap_or(0);
    let verb = if args.dry_run { "would be pending again" } else { "pending again" };
    context.screen.line(format!("{} {verb}", letters(count)))?;
    let undecodable = answer.get("undecodable").and_then(Value::as_u64).unwrap_or(0);
    if undecodable > 0 {
        let why = "of what a source could not decode; it is read anew by: eventyard sources seek NAME --to …";
        context.screen.line(format!("passed over {} {why}", letters(undecodable)))?;
    }
    if count == 0 {
        context.screen.line(context.screen.dim("what there is: eventyard dead-letters list"))?;
    } else if !args.dry_run {
        context.screen.line(context.screen.dim("how it goes: eventyard deliveries list"))?;
    }
    Ok(())
}

async fn purge(args: &PurgeArgs, context: &Context) -> Outcome {
    let mut body = args.which.body();
    if args.dry_run {
        body.insert("dry_run".to_owned(), json!(true));
    }
    let broker = args.broker.client()?;
    let answer = broker.send(Method::DELETE, &["api", "v1", "dead-letters"], &Value::Object(body)).await?;
    if args.json.json {
        return Ok(context.screen.json(&answer)?);
    }
    let count = answer.get("purged").and_then(Value::as_u64).unwrap_or(0);
    let verb = if args.dry_run { "would be given up for good" } else { "given up for good" };
    Ok(context.screen.line(format!("{} {verb}", letters(count)))?)
}

fn letters(count: u64) -> String {
    if count == 1 { "1 dead letter".to_owned() } else { format!("{count} dead letters") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_selection_says_which_in_exactly_one_way() {
        let by_rule = Selection { ids: Vec::new(), rule: Some("r".to_owned()), all: false };
        assert_eq!(Value::Object(by_rule.body()), json!({ "rule": "r" }));
        let all = Selection { ids: Vec::new(), rule: None, all: true };
        assert_eq!(Value::Object(all.body()), json!({ "all": true }));
        let ids = Selection { ids: vec!["a".to_owned()], rule: None, all: false };
        assert_eq!(Value::Object(ids.body()), json!({ "ids": ["a"] }));
    }
}
