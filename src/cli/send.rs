//! `eventyard events send`: an event is typed, sent, and followed to its end where that is wanted.

use std::io;
use std::time::Duration;

use eventyard_event::{EventId, Name};
use serde_json::{Value, json};

use super::broker::{BrokerArgs, BrokerClient};
use super::draft::{self, Draft, Overrides};
use super::exit::{Failure, Outcome};
use super::sample::{self, Addressed, Wanted};
use super::screen::{items, shown, text};
use super::{Context, JsonArgs, project, timeline, times};

/// How many events go in one request: below the default limit of a batch, and few enough that a refusal tells
/// something.
const BATCH_EVENTS_MAX: u32 = 500;

/// How many accepted events are listed one by one.
const LISTED_MAX: usize = 20;

/// How many accepted events `--wait` follows: each costs a call for each look.
const FOLLOWED_MAX: u32 = 100;

/// How much is shown of what a known sender is answered that is no receipt.
const ANSWER_CHARS_MAX: usize = 1000;

/// How often `--wait` looks.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Send an event, or a batch of them
#[derive(clap::Args, Debug)]
#[command(
    after_help = "What an event lacks is filled in: `id`, `source` (/cli) and `specversion`. So a file without an\n\
    `id` is a new event each time; one with an `id` is a duplicate the second time.\n\n\
    Examples:\n  \
    eventyard events send --type order.created --data '{\"amount\": 1500}'\n  \
    eventyard events send --type order.created --data @order.json --subject eu/berlin\n  \
    eventyard events send event.json --wait\n  \
    eventyard events send github.push --sign --wait\n  \
    produce | eventyard events send -\n  \
    eventyard events send --type ping --count 1000"
)]
pub(crate) struct SendArgs {
    /// A file with an event, or a batch of them, in CloudEvents JSON; `-` reads standard input; or what a known sender
    /// tells, such as `github.push`, sent to the source with that preset
    #[arg(value_name = "EVENT", conflicts_with = "file")]
    event: Option<String>,
    /// The same, as a flag
    #[arg(long, value_name = "EVENT.json")]
    file: Option<String>,
    /// What kind of thing happened
    #[arg(long = "type", value_name = "TYPE")]
    ty: Option<String>,
    /// Who says so, a URI-reference [default: /cli]
    #[arg(long, value_name = "URI")]
    source: Option<String>,
    /// What it happened to
    #[arg(long, value_name = "TEXT")]
    subject: Option<String>,
    /// The sender's id; the same id from the same source is taken once
    #[arg(long, value_name = "ID")]
    id: Option<String>,
    /// The payload: JSON, @FILE with JSON, or @- for standard input
    #[arg(long, value_name = "JSON")]
    data: Option<String>,
    /// How many to send, each with an id of its own
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    count: u32,
    /// Prove the sender of a `github.push` and the like with the source's secret, from the project's files
    #[arg(long, requires = "event")]
    sign: bool,
    /// The source that a `github.push` and the like is sent to, where several wait for it
    #[arg(long, value_name = "SOURCE", requires = "event")]
    to: Option<Name>,
    /// List what can be sent as a known sender's
    #[arg(long, exclusive = true)]
    samples: bool,
    /// Follow each delivery to its end; exit code 1 when one is dead
    #[arg(long)]
    wait: bool,
    /// How long --wait waits at most
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = times::duration, requires = "wait")]
    timeout: Duration,
    #[command(flatten)]
    json: JsonArgs,
    #[command(flatten)]
    broker: BrokerArgs,
}

pub(crate) async fn run(args: &SendArgs, context: &Context) -> Outcome {
    if args.wait && args.count > FOLLOWED_MAX {
        return Err(Failure::usage(format!(
            "--wait follows {FOLLOWED_MAX} events at most; leave it out or send fewer"
        )));
    }
    if args.samples {
        for name in sample::listed() {
            context.screen.line(name)?;
        }
        return Ok(());
    }
    let wanted = args.event.as_deref().and_then(Wanted::read);
    if wanted.is_none() && (args.sign || args.to.is_some()) {
        return Err(Failure::usage(
            "--sign and --to are for what a known sender tells, such as github.push\n  help: `eventyard events send \
             --samples` lists what there is",
        ));
    }
    let broker = args.broker.client()?;
    if let Some(wanted) = wanted {
        return match send_as(wanted, &broker, args, context).await? {
            Some(accepted) => tell(&broker, &accepted, args, context).await,
            None => Ok(()),
        };
    }
    let draft = draft(args)?;
    let mut accepted = Vec::new();
    match &draft {
        Draft::Batch(text) => {
            let batch = text.clone().into_bytes();
            let answer = broker.post_bytes(&["events"], "application/cloudevents-batch+json", batch).await?;
            accepted.extend_from_slice(items(&answer, "accepted"));
        }
        Draft::Event(attributes) => {
            let overrides = overrides(args)?;
            let mut sent = 0;
            while sent < args.count {
                let size = (args.count - sent).min(BATCH_EVENTS_MAX);
                let events = (sent + 1..=sent + size)
                    .map(|number| {
                        let suffix = (args.count > 1).then_some(number);
                        draft::complete(attributes, &overrides, suffix, &mut || fresh_id(context))
                    })
                    .collect::<Outcome<Vec<_>>>()?;
                let answer = post(&broker, &events).await.inspect_err(|_| {
                    if sent > 0 {
                        super::screen::complain(format!("{sent} events were accepted before this:"));
                    }
                })?;
                accepted.extend_from_slice(items(&answer, "accepted"));
                sent += size;
            }
        }
    }
    tell(&broker, &accepted, args, context).await
}

/// Sends what a known sender would. Gives what was accepted; `None` where the sender is answered something else, which
/// has been shown.
async fn send_as(
    wanted: Wanted<'_>,
    broker: &BrokerClient,
    args: &SendArgs,
    context: &Context,
) -> Outcome<Option<Vec<Value>>> {
    let own = [args.ty.is_some(), args.source.is_some(), args.subject.is_some(), args.count != 1];
    if own.contains(&true) {
        return Err(Failure::usage(
            "a known sender's event is what the sender makes it: --type, --source, --subject and --count do not go with it",
        ));
    }
    let project = project::load_or_report(args.broker.project(), context)?;
    let id = args.id.clone().unwrap_or_else(|| fresh_id(context));
    let body = args.data.as_deref().map(draft::read_data).transpose()?;
    let addressed = wanted.address(&project, args.to.as_ref(), body, &id, context.clocks.now(), args.sign)?;
    if !args.json.json {
        let Addressed { source, method, path, .. } = &addressed;
        context.screen.line(context.screen.dim(format!("{method} {path} (source {source})")))?;
    }
    let (status, body) = broker.knock(&addressed).await?;
    match serde_json::from_slice::<Value>(&body) {
        Ok(answer) if answer.get("accepted").is_some() => Ok(Some(items(&answer, "accepted").to_vec())),
        _ => {
            let text: String = String::from_utf8_lossy(&body).chars().take(ANSWER_CHARS_MAX).collect();
            let answer = json!({ "status": status.as_u16(), "answer": text });
            if args.json.json {
                context.screen.json(&answer)?;
            } else {
                context.screen.line(format!("answered {status}: {}", shown(text.trim())))?;
            }
            Ok(None)
        }
    }
}

/// Says what was accepted, and with `--wait` what became of it.
async fn tell(broker: &BrokerClient, accepted: &[Value], args: &SendArgs, context: &Context) -> Outcome {
    if !args.json.json {
        print_accepted(context, accepted)?;
    }
    let fates = if args.wait { follow(broker, args, accepted, context).await? } else { Fates::default() };
    if args.json.json {
        let mut answer = json!({ "accepted": accepted });
        if args.wait {
            answer["events"] = Value::Array(fates.events);
        }
        context.screen.json(&answer)?;
    }
    match (fates.dead, fates.unfinished) {
        (0, 0) => Ok(()),
        (_, 0) => Err(Failure::reported()),
        (_, open) => Err(Failure::failed(format!(
            "{open} deliveries have not ended after {} s\n  help: they go on without us: eventyard deliveries list",
            args.timeout.as_secs()
        ))),
    }
}

fn draft(args: &SendArgs) -> Outcome<Draft> {
    let Some(path) = args.event.as_deref().or(args.file.as_deref()) else {
        if args.ty.is_none() {
            return Err(Failure::usage(
                "there is nothing to send\n  help: name a file, or give at least --type: \
                 eventyard events send --type order.created --data '{\"amount\": 5}'",
            ));
        }
        return Ok(Draft::Event(draft::Attributes::new()));
    };
    let what = if path == "-" { "standard input" } else { path };
    let draft = draft::parse(&draft::read(path)?, what)?;
    if matches!(draft, Draft::Batch(_)) {
        draft::refuse_for_batch(&overrides(args)?, args.count)?;
    }
    Ok(draft)
}

fn overrides(args: &SendArgs) -> Outcome<Overrides> {
    Ok(Overrides {
        ty: args.ty.clone(),
        source: args.source.clone(),
        subject: args.subject.clone(),
        id: args.id.clone(),
        data: args.data.as_deref().map(draft::read_data).transpose()?,
    })
}

async fn post(broker: &BrokerClient, events: &[String]) -> Outcome<Value> {
    match events {
        [event] => {
            broker
                .post_bytes(&["events"], "application/cloudevents+json; charset=utf-8", event.clone().into_bytes())
                .await
        }
        events => {
            let body = format!("[{}]", events.join(","));
            broker.post_bytes(&["events"], "application/cloudevents-batch+json; charset=utf-8", body.into_bytes()).await
        }
    }
}

/// An id for an event that has none: the sender's, not ours, but made the same way.
fn fresh_id(context: &Context) -> String {
    let mut random = [0; 10];
    fastrand::fill(&mut random);
    EventId::new(context.clocks.now(), random).to_string()
}

fn print_accepted(context: &Context, accepted: &[Value]) -> io::Result<()> {
    for receipt in accepted.iter().take(LISTED_MAX) {
        print_receipt(context, receipt)?;
    }
    if accepted.len() > LISTED_MAX {
        context.screen.line(format!("… and {} more; {} accepted", accepted.len() - LISTED_MAX, accepted.len()))?;
    }
    if accepted.is_empty() {
        context.screen.line("an empty batch: nothing to accept")?;
    }
    Ok(())
}

/// One accepted event: our id, and who hears of it.
pub(crate) fn print_receipt(context: &Context, receipt: &Value) -> io::Result<()> {
    let screen = context.screen;
    let duplicate = receipt.get("duplicate").and_then(Value::as_bool) == Some(true);
    let verb = if duplicate { screen.warm("duplicate") } else { screen.good("accepted") };
    let sender = format!("(id {} of {})", text(receipt, "id"), text(receipt, "source"));
    screen.line(format!("{verb} {} {}", text(receipt, "event"), screen.dim(sender)))?;
    if duplicate {
        screen.line("  it was taken before and is not delivered again")?;
    }
    match items(receipt, "rules") {
        [] => {}
        rules => {
            let names: Vec<_> = rules.iter().filter_map(Value::as_str).map(shown).collect();
            screen.line(format!("  rules: {}", names.join(", ")))?;
        }
    }
    match receipt.get("hint").and_then(Value::as_str) {
        Some(hint) => screen.line(format!("  {}", screen.warm(shown(hint)))),
        None => Ok(()),
    }
}

/// How the deliveries of the events that were sent have ended.
#[derive(Default)]
struct Fates {
    events: Vec<Value>,
    dead: usize,
    unfinished: usize,
}

/// Looks at each event until all its deliveries have ended, or the time is up.
async fn follow(broker: &BrokerClient, args: &SendArgs, accepted: &[Value], context: &Context) -> Outcome<Fates> {
    let deadline = tokio::time::Instant::now() + args.timeout;
    let mut fates = Fates::default();
    for receipt in accepted {
        let Some(id) = receipt.get("event").and_then(Value::as_str) else { continue };
        let event = loop {
            let event = broker.get(&["api", "v1", "events", id], &[]).await?;
            if timeline::unfinished(&event) == 0 || tokio::time::Instant::now() >= deadline {
                break event;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        };
        if !args.json.json {
            if accepted.len() > 1 {
                context.screen.line(format!("event {}", shown(id)))?;
            }
            timeline::deliveries(context, &event, "  ")?;
        }
        fates.dead += timeline::dead(&event);
        fates.unfinished += timeline::unfinished(&event);
        fates.events.push(event);
    }
    Ok(fates)
}
