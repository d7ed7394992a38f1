//! `eventyard rules match`: which rules match each of many events, one JSON line in, one out.
//!
//! One thread reads blocks of whole lines, several match them, and one writes the answers in the order of the blocks.
//! A line is never copied: an event's data is a slice of the block that it came in.

use std::io::{self, Read, Write as _};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use bytes::{Bytes, BytesMut};
use eventyard_event::{Envelope, Timestamp};
use eventyard_rules::RuleSet;
use serde::Serialize;
use serde_json::{Value, json};

use super::super::exit::{Failure, Outcome};
use super::super::project::{Arrival, FromArgs, ProjectArgs, load_or_report};
use super::super::{Context, screen};

/// The longest line that is read: the default limit of an event, and room for white space around it.
const LINE_BYTES_MAX: usize = 1024 * 1024 + 4096;

/// How much is read at once.
const READ_BYTES: usize = 256 * 1024;

/// How many threads match at most. Reading and writing keep up with about as many.
const THREADS_MAX: usize = 8;

/// How many blocks wait for each of them, and how many answers.
const BLOCKS_WAITING_MAX: usize = 2;

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
    let matching = Matching { rules: &rules, arrival: &arrival, now: context.clocks.now() };
    let threads = thread::available_parallelism().map_or(1, usize::from).min(THREADS_MAX);
    let bad_count = thread::scope(|scope| {
        let (mut blocks, mut answers) = (Vec::new(), Vec::new());
        for _ in 0..threads {
            let (block_to, block_from) = sync_channel(BLOCKS_WAITING_MAX);
            let (answer_to, answer_from) = sync_channel(BLOCKS_WAITING_MAX);
            let matching = &matching;
            scope.spawn(move || matching.answer_all(&block_from, &answer_to));
            blocks.push(block_to);
            answers.push(answer_from);
        }
        let writing = scope.spawn(move || write(&answers));
        let read = read(io::stdin().lock(), &blocks);
        drop(blocks);
        let written = writing.join().unwrap_or_else(|_| Err(io::Error::other("writing the answers broke off")));
        // Where nobody reads the answers any more, that is what ended the reading.
        written.and_then(|bad_count| read.map(|()| bad_count))
    })?;
    match bad_count {
        0 => Ok(()),
        1 => Err(Failure::failed("1 line holds no event")),
        count => Err(Failure::failed(format!("{count} lines hold no event"))),
    }
}

/// Some of what was read.
struct Block {
    /// The number of its first line.
    first_line: u64,
    text: Text,
}

enum Text {
    /// Whole lines; the last one may lack its end.
    Lines(Bytes),
    /// One that is longer than any may be.
    TooLong,
}

/// What is written for a block.
struct Answer {
    text: Vec<u8>,
    /// How many of its lines hold no event.
    bad_count: u64,
}

impl Answer {
    /// Says what is wrong with a line.
    fn refuse(&mut self, line: u64, error: Value) {
        self.bad_count += 1;
        self.text.extend_from_slice(json!({ "line": line, "error": error }).to_string().as_bytes());
        self.text.push(b'\n');
    }
}

/// Reads blocks of whole lines, as soon as there are any: whoever sends one line and waits gets its answer. Gives them
/// to the threads in turn, until the end or until nobody takes them any more.
fn read(mut input: impl Read, blocks: &[SyncSender<Block>]) -> io::Result<()> {
    let mut takers = blocks.iter().cycle();
    let mut first_line = 1;
    let mut give = |text, lines: u64| {
        let block = Block { first_line, text };
        first_line += lines;
        takers.next().is_some_and(|taker| taker.send(block).is_ok())
    };
    let mut buffer = BytesMut::new();
    // Inside of a line that is too long, whose rest is passed over.
    let mut skips = false;
    loop {
        let held = buffer.len();
        buffer.resize(held + READ_BYTES, 0);
        let count = loop {
            match input.read(buffer.get_mut(held..).unwrap_or_default()) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => break other?,
            }
        };
        buffer.truncate(held + count);
        if count == 0 {
            if !skips && !buffer.is_empty() {
                give(Text::Lines(buffer.freeze()), 1);
            }
            return Ok(());
        }
        if skips {
            let Some(end) = buffer.iter().position(|&byte| byte == b'\n') else {
                buffer.clear();
                continue;
            };
            let _ = buffer.split_to(end + 1);
            skips = false;
        }
        if let Some(end) = buffer.iter().rposition(|&byte| byte == b'\n') {
            let lines = buffer.split_to(end + 1).freeze();
            let count = count_lines(&lines);
            if !give(Text::Lines(lines), count) {
                return Ok(());
            }
        }
        if buffer.len() > LINE_BYTES_MAX {
            buffer.clear();
            skips = true;
            if !give(Text::TooLong, 1) {
                return Ok(());
            }
        }
    }
}

/// How many lines end in a text. So few at once that a byte can count them: the compiler makes vectors of that.
fn count_lines(text: &[u8]) -> u64 {
    let in_few = |few: &[u8]| few.iter().map(|&byte| u8::from(byte == b'\n')).sum::<u8>();
    text.chunks(usize::from(u8::MAX)).map(|few| u64::from(in_few(few))).sum()
}

/// Writes the answers in the order of their blocks; gives how many lines hold no event.
fn write(answers: &[Receiver<Answer>]) -> io::Result<u64> {
    let mut output = io::stdout().lock();
    let mut bad_count = 0;
    // The threads are given blocks in turn, and each one's answers come in order.
    for answer in answers.iter().cycle().map_while(|answers| answers.recv().ok()) {
        output.write_all(&answer.text)?;
        output.flush()?;
        bad_count += answer.bad_count;
    }
    Ok(bad_count)
}

/// What matching needs.
struct Matching<'p> {
    rules: &'p RuleSet,
    arrival: &'p Arrival,
    now: Timestamp,
}

/// The answer to a line.
#[derive(Serialize)]
struct Matched<'m> {
    id: &'m str,
    rules: Vec<&'m str>,
}

impl Matching<'_> {
    /// Answers one block after the other, until there are no more or nobody asks any more.
    fn answer_all(&self, blocks: &Receiver<Block>, answers: &SyncSender<Answer>) {
        let mut envelope = self.arrival.empty(self.now);
        for block in blocks {
            if answers.send(self.answer(&block, &mut envelope)).is_err() {
                return;
            }
        }
    }

    fn answer(&self, block: &Block, envelope: &mut Envelope) -> Answer {
        let mut answer = Answer { text: Vec::new(), bad_count: 0 };
        match &block.text {
            Text::TooLong => answer.refuse(block.first_line, too_long()),
            Text::Lines(lines) => {
                let mut answer_line = |answer: &mut Answer, number: u64, line: &str| {
                    if let Err(error) = self.answer_line(lines, line, envelope, &mut answer.text) {
                        answer.refuse(number, error);
                    }
                };
                // A block that ends with a line's end has nothing behind it.
                let text = lines.strip_suffix(b"\n").unwrap_or(lines);
                if let Ok(text) = std::str::from_utf8(text) {
                    let numbered = (block.first_line..).zip(text.split('\n'));
                    numbered.for_each(|(number, line)| answer_line(&mut answer, number, line));
                    return answer;
                }
                for (number, line) in (block.first_line..).zip(text.split(|&byte| byte == b'\n')) {
                    match std::str::from_utf8(line) {
                        Ok(line) => answer_line(&mut answer, number, line),
                        Err(_) => answer.refuse(number, not_utf8()),
                    }
                }
            }
        }
        answer
    }

    /// Writes which rules match the event of a line of `block`, and nothing for a blank one. The error is what is wrong
    /// with it.
    fn answer_line(&self, block: &Bytes, line: &str, envelope: &mut Envelope, out: &mut Vec<u8>) -> Result<(), Value> {
        if line.len() > LINE_BYTES_MAX {
            return Err(too_long());
        }
        let text = line.trim();
        if text.is_empty() {
            return Ok(());
        }
        if let Err(error) = self.arrival.fill(&block.slice_ref(text.as_bytes()), envelope) {
            return Err(json!({ "code": error.code(), "message": screen::shown(&error.to_string()) }));
        }
        let rules = self.rules.matches(envelope).iter().map(|rule| rule.name.as_str()).collect();
        let written = out.len();
        if let Err(error) = serde_json::to_writer(&mut *out, &Matched { id: &envelope.event.id, rules }) {
            out.truncate(written);
            return Err(json!({ "code": "json_invalid", "message": error.to_string() }));
        }
        out.push(b'\n');
        Ok(())
    }
}

fn not_utf8() -> Value {
    json!({ "code": "json_invalid", "message": "the line is not UTF-8" })
}

fn too_long() -> Value {
    json!({ "code": "body_too_large", "message": format!("the line is longer than {LINE_BYTES_MAX} bytes") })
}
