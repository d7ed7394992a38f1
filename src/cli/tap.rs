//! `eventyard events tap`: what passes, as it passes.
//!
//! The broker streams server-sent events; this reads them line by line. What cannot be understood (a newer broker may
//! tell more) is passed over.

use eventyard::fate::Fate;
use serde_json::{Value, json};

use super::Context;
use super::broker::BrokerArgs;
use super::exit::{Failure, Outcome};
use super::narrate::Narrator;
use super::screen::complain;

/// The longest line that is read: a fate has at most a few KiB, and a report of a project's mistakes more.
const LINE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Follow what passes: accepted, matched, attempted, delivered, retried, dead
#[derive(clap::Args, Debug)]
#[command(
    after_help = "What passes is sampled: at most 500 lines a second, and whoever reads too slowly loses the oldest; \
    either way you are told how many. The record is in `eventyard events list`.\n\n\
    Examples:\n  eventyard events tap\n  eventyard events tap --rule big-orders --count 10\n  \
    eventyard events tap --type order.created --json"
)]
pub(crate) struct TapArgs {
    /// Only what has to do with this rule
    #[arg(long, value_name = "NAME")]
    rule: Option<String>,
    /// Only events of this source, by its name in the project
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
    /// Only events of this type
    #[arg(long = "type", value_name = "TYPE")]
    ty: Option<String>,
    /// At most so many lines a second (1 to 500)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=500))]
    rate: Option<u32>,
    /// End after so many
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// Print one JSON object a line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    broker: BrokerArgs,
}

pub(crate) async fn run(args: &TapArgs, context: &Context) -> Outcome {
    let filters = [("rule", &args.rule), ("source", &args.source), ("type", &args.ty)];
    let mut query: Vec<(&str, String)> =
        filters.into_iter().filter_map(|(key, value)| Some((key, value.clone()?))).collect();
    query.extend(args.rate.map(|rate| ("rate", rate.to_string())));
    let broker = args.broker.client()?;
    let mut stream = broker.stream(&["api", "v1", "live"], &query).await?;
    if !args.json {
        complain("following; end with Ctrl-C");
    }
    let mut teller = Teller { narrator: Narrator::new(context.screen), args, told: 0 };
    let mut lines = Lines::default();
    while let Some(chunk) = stream.next().await? {
        for (word, data) in lines.take(&chunk)? {
            if !teller.tell(&word, &data, context)? {
                return Ok(());
            }
        }
    }
    Err(Failure::failed("the broker ended the connection\n  help: `eventyard status` says whether it still runs"))
}

struct Teller<'a> {
    narrator: Narrator,
    args: &'a TapArgs,
    told: u64,
}

impl Teller<'_> {
    /// Prints one event of the stream. `false` when that was the last.
    fn tell(&mut self, word: &str, data: &str, context: &Context) -> Outcome<bool> {
        let Ok(value) = serde_json::from_str::<Value>(data) else { return Ok(true) };
        let count = |key: &str| value.get(key).and_then(Value::as_u64).unwrap_or(0);
        match word {
            "end" => {
                if !self.args.json {
                    complain("the broker stops");
                }
                return Ok(false);
            }
            "left_out" | "lost" if self.args.json => context.screen.json_line(&json!({ word: count(word) }))?,
            "left_out" => context.screen.line(context.screen.dim(format!("… {} more were left out", count(word))))?,
            "lost" => {
                let said = format!("… {} were lost because they were not read in time", count(word));
                context.screen.line(context.screen.warm(said))?;
            }
            _ => {
                if self.args.json {
                    context.screen.json_line(&value)?;
                } else if let Ok(fate) = serde_json::from_value::<Fate>(value) {
                    for line in self.narrator.tell(&fate, context.clocks.now()) {
                        context.screen.line(line)?;
                    }
                }
                self.told += 1;
            }
        }
        Ok(self.args.count.is_none_or(|count| self.told < count))
    }
}

/// Puts the events of a stream together from whatever pieces they come in.
#[derive(Default)]
struct Lines {
    unread: Vec<u8>,
    word: String,
    data: String,
}

impl Lines {
    /// The events that are whole with this piece, each with its word and its data.
    fn take(&mut self, piece: &[u8]) -> Outcome<Vec<(String, String)>> {
        self.unread.extend_from_slice(piece);
        if self.unread.len() > LINE_BYTES_MAX {
            return Err(Failure::failed("what the broker streams is no line; is it an eventyard broker?"));
        }
        let mut whole = Vec::new();
        while let Some(at) = self.unread.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.unread.drain(..=at).collect();
            let line = String::from_utf8_lossy(&line);
            let line = line.trim_end_matches(['\r', '\n']);
            if let Some(word) = line.strip_prefix("event: ") {
                word.clone_into(&mut self.word);
            } else if let Some(data) = line.strip_prefix("data: ") {
                data.clone_into(&mut self.data);
            } else if line.is_empty() && !self.data.is_empty() {
                whole.push((std::mem::take(&mut self.word), std::mem::take(&mut self.data)));
            }
        }
        Ok(whole)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_put_together_from_whatever_pieces_they_come_in() {
        let stream =
            b": following\n\nevent: dead\ndata: {\"a\":1}\n\n: still here\n\nevent: lost\ndata: {\"lost\":2}\n\n";
        for size in [1, 7, stream.len()] {
            let mut lines = Lines::default();
            let found: Vec<_> = stream.chunks(size).flat_map(|piece| lines.take(piece).unwrap()).collect();
            let wanted = [("dead", "{\"a\":1}"), ("lost", "{\"lost\":2}")];
            assert_eq!(found, wanted.map(|(word, data)| (word.to_owned(), data.to_owned())), "{size}");
        }
    }
}
