//! `eventyard rules match`: which rules match each of many events, one JSON line in, one out.

use std::io::{self, BufRead as _, BufReader, BufWriter, Read as _, Write as _};

use eventyard_rules::RuleSet;
use serde::Serialize;
use serde_json::{Value, json};

use super::super::exit::{Failure, Outcome};
use super::super::project::{Arrival, FromArgs, ProjectArgs, load_or_report};
use super::super::{Context, screen};

/// The longest line that is read: the default limit of an event, and room for white space around it.
const LINE_BYTES_MAX: usize = 1024 * 1024 + 4096;

/// How much is read and written at once.
const BUFFER_BYTES: usize = 256 * 1024;

/// Read events from standard input, one a line, and write which rules match each
#[derive(clap::Args, Debug)]
#[command(
    after_help = "A line that holds no event gets an error in its place and does not stop the rest; the exit code \
    is then 1.\n\n\
    Examples:\n  \
    eventyard rules match < events.ndjson\n  \
    eventyard rules match --project shop --from github < payloads.ndjson"
)]
pub(crate) struct MatchArgs {
    #[command(flatten)]
    from: FromArgs,
    #[command(flatten)]
    project: ProjectArgs,
}

pub(crate) fn run(args: &MatchArgs, context: &Context) -> Outcome {
    let project = load_or_report(&args.project.project, context)?;
    let arrival = args.from.arrival(&project)?;
    let rules = RuleSet::compile(project.rules);
    let mut input = BufReader::with_capacity(BUFFER_BYTES, io::stdin().lock());
    let mut output = BufWriter::with_capacity(BUFFER_BYTES, io::stdout().lock());
    let mut bad_count: u64 = 0;
    let mut line = Vec::new();
    for number in 1_u64.. {
        // Whoever sends one line and waits gets its answer; where more has come already, answers are gathered.
        if input.buffer().is_empty() {
            output.flush()?;
        }
        line.clear();
        let limit = u64::try_from(LINE_BYTES_MAX).unwrap_or(u64::MAX);
        if input.by_ref().take(limit + 1).read_until(b'\n', &mut line)? == 0 {
            break;
        }
        let wrong = if line.len() > LINE_BYTES_MAX && line.last() != Some(&b'\n') {
            input.skip_until(b'\n')?;
            let message = format!("the line is longer than {LINE_BYTES_MAX} bytes");
            Some(json!({ "code": "body_too_large", "message": message }))
        } else {
            answer(&line, &rules, &arrival, context, &mut output)?
        };
        if let Some(error) = wrong {
            bad_count += 1;
            writeln!(output, "{}", json!({ "line": number, "error": error }))?;
        }
    }
    output.flush()?;
    match bad_count {
        0 => Ok(()),
        1 => Err(Failure::failed("1 line holds no event")),
        count => Err(Failure::failed(format!("{count} lines hold no event"))),
    }
}

/// The answer to a line.
#[derive(Serialize)]
struct Matched<'m> {
    id: &'m str,
    rules: Vec<&'m str>,
}

/// Writes which rules match the event of a line, and nothing for a blank one; gives what is wrong with the line.
fn answer(
    line: &[u8],
    rules: &RuleSet,
    arrival: &Arrival,
    context: &Context,
    output: &mut impl io::Write,
) -> io::Result<Option<Value>> {
    let Ok(text) = std::str::from_utf8(line) else {
        return Ok(Some(json!({ "code": "json_invalid", "message": "the line is not UTF-8" })));
    };
    let text = text.trim();
    if text.is_empty() {
        return Ok(None);
    }
    let envelope = match arrival.envelope(text, context) {
        Ok(envelope) => envelope,
        Err(error) => {
            return Ok(Some(json!({ "code": error.code(), "message": screen::shown(&error.to_string()) })));
        }
    };
    let rules = rules.matches(&envelope).iter().map(|rule| rule.name.as_str()).collect();
    serde_json::to_writer(&mut *output, &Matched { id: &envelope.event.id, rules })?;
    writeln!(output)?;
    Ok(None)
}
