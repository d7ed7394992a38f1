//! `eventyard rules match`: which rules match each of many events, one JSON line in, one out.
//!
//! Several threads take turns at reading: each reads a block, hands the reading on with what stands behind the block's last
//! whole line, and matches while the next one reads. So an event is matched by the processor in whose cache it lies. Answers
//! are written in the order of the turns, each by whoever completes what can be written: nobody is woken up for it. A line is
//! never copied: nearly all events are checked and matched where they stand in their block ([`InPlace`]), of the others the
//! data is a slice of it; and a block's room is used again.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::ops::Range;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::{mem, thread};

use bytes::{Bytes, BytesMut};
use eventyard_event::{Data, Envelope, Timestamp, json as event_json};
use eventyard_rules::{InPlace, Rule, RuleSet};
use memchr::{memchr, memrchr};
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

/// Room that is made for the number of a line.
const NUMBER_BYTES_EXPECTED: usize = 8;

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
    let bad_count = matching.answer_all(io::stdin(), io::stdout(), threads)?;
    match bad_count {
        0 => Ok(()),
        1 => Err(Failure::failed("1 line holds no event")),
        count => Err(Failure::failed(format!("{count} lines hold no event"))),
    }
}

/// Where the reading is. It goes from thread to thread.
struct Reading<R> {
    input: R,
    /// The number of the next block.
    number: u64,
    /// The beginning of the next line, where it has been read already.
    begun: Vec<u8>,
    /// Inside of a line that is too long, whose rest is passed over.
    skips: bool,
}

/// Some of what was read.
struct Block {
    /// How many blocks were read before.
    number: u64,
    /// Nobody else keeps any of it but slices of `lines`, which are gone when its answer is.
    room: Bytes,
    text: Text,
}

enum Text {
    /// Whole lines; the last one may lack its end.
    Lines(Bytes),
    /// One that is longer than any may be.
    TooLong,
}

/// What is written for a block.
#[derive(Default)]
struct Answer {
    text: Vec<u8>,
    /// How many lines the block has.
    lines: u64,
    /// Which of them hold no event: where in the text the line's number belongs, and how many lines of the block stand before
    /// it. How many stand before the block, only who writes it knows.
    bad: Vec<(usize, u64)>,
}

impl Answer {
    /// Says what is wrong with a line, which is counted next.
    fn refuse(&mut self, error: &Value) {
        self.text.extend_from_slice(b"{\"line\":");
        self.bad.push((self.text.len(), self.lines));
        self.text.extend_from_slice(format!(",\"error\":{error}}}\n").as_bytes());
    }

    /// Its text with the numbers of bad lines, where so many lines were answered before.
    fn numbered(&self, lines: u64) -> Vec<u8> {
        let mut text = Vec::with_capacity(self.text.len() + self.bad.len() * NUMBER_BYTES_EXPECTED);
        let mut from = 0;
        for (place, before) in &self.bad {
            text.extend_from_slice(self.text.get(from..*place).unwrap_or_default());
            text.extend_from_slice((lines + before + 1).to_string().as_bytes());
            from = *place;
        }
        text.extend_from_slice(self.text.get(from..).unwrap_or_default());
        text
    }

    /// Forgets all but its room.
    fn clear(&mut self) {
        self.text.clear();
        self.bad.clear();
        self.lines = 0;
    }
}

/// Where the writing is.
struct Writing<W> {
    output: W,
    /// The number of the block whose answer is written next.
    next: u64,
    /// The answers to later ones: of each thread one at most, for it reads only in its turn.
    waiting: BTreeMap<u64, io::Result<Answer>>,
    /// How many lines were answered.
    lines: u64,
    /// How many of them hold no event.
    bad_count: u64,
    /// Why nothing more is written.
    failed: Option<io::Error>,
}

impl<W: io::Write> Writing<W> {
    fn of(output: W) -> Writing<W> {
        Writing { output, next: 0, waiting: BTreeMap::new(), lines: 0, bad_count: 0, failed: None }
    }

    /// Takes the answer to a block, and writes all that can be written; an answer that was written leaves its room. Gives
    /// whether to go on.
    fn take(&mut self, number: u64, answer: io::Result<&mut Answer>) -> bool {
        if number > self.next {
            self.waiting.insert(number, answer.map(mem::take));
            return self.failed.is_none();
        }
        let mut written = answer.and_then(|answer| self.write(answer));
        while written.is_ok()
            && let Some(answer) = self.waiting.remove(&self.next)
        {
            written = answer.and_then(|answer| self.write(&answer));
        }
        if let Err(error) = written {
            self.failed.get_or_insert(error);
        }
        self.failed.is_none()
    }

    fn write(&mut self, answer: &Answer) -> io::Result<()> {
        if answer.bad.is_empty() {
            self.output.write_all(&answer.text)?;
        } else {
            self.output.write_all(&answer.numbered(self.lines))?;
        }
        self.output.flush()?;
        self.next += 1;
        self.lines += answer.lines;
        self.bad_count += answer.bad.len() as u64;
        Ok(())
    }
}

impl<R: Read> Reading<R> {
    fn of(input: R) -> Reading<R> {
        Reading { input, number: 0, begun: Vec::new(), skips: false }
    }

    /// Reads a block of whole lines into `room`, as soon as there are any: whoever sends one line and waits gets its answer.
    /// None at the end. What is in `room` means nothing; that it is there saves making it again.
    fn next(&mut self, mut room: BytesMut) -> io::Result<Option<Block>> {
        let mut held = self.begun.len();
        // Longer than a block where a line is.
        room.resize(room.len().max(held + READ_BYTES), 0);
        room.get_mut(..held).unwrap_or_default().copy_from_slice(&self.begun);
        self.begun.clear();
        loop {
            if room.len() < held + READ_BYTES {
                room.resize(held + READ_BYTES, 0);
            }
            let count = read_some(&mut self.input, room.get_mut(held..).unwrap_or_default())?;
            if count == 0 {
                return Ok((held > 0).then(|| self.block(room.freeze(), 0..held, Text::Lines)));
            }
            let filled = held + count;
            let read = room.get(..filled).unwrap_or_default();
            let mut from = 0;
            if self.skips {
                // Nothing is held of such a line.
                let Some(end) = memchr(b'\n', read) else { continue };
                from = end + 1;
                self.skips = false;
            }
            // In what was held there is none.
            let new = from.max(held);
            if let Some(end) = memrchr(b'\n', read.get(new..).unwrap_or_default()) {
                let end = new + end + 1;
                self.begun.extend_from_slice(read.get(end..).unwrap_or_default());
                return Ok(Some(self.block(room.freeze(), from..end, Text::Lines)));
            }
            if filled - from > LINE_BYTES_MAX {
                self.skips = true;
                return Ok(Some(self.block(room.freeze(), 0..0, |_| Text::TooLong)));
            }
            if from > 0 {
                room.copy_within(from..filled, 0);
            }
            held = filled - from;
        }
    }

    /// What stands at `place` as a block.
    fn block(&mut self, room: Bytes, place: Range<usize>, text: impl FnOnce(Bytes) -> Text) -> Block {
        let number = self.number;
        self.number += 1;
        let text = text(room.slice(place));
        Block { number, room, text }
    }
}

fn read_some(input: &mut impl Read, to: &mut [u8]) -> io::Result<usize> {
    loop {
        match input.read(to) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

/// What a thread matches with.
struct Matcher<'r> {
    /// By it, events are matched in the block that they came in.
    in_place: Option<InPlace<'r>>,
    /// Where others are put, one after the other.
    envelope: Envelope,
}

/// What matching needs.
struct Matching<'p> {
    rules: &'p RuleSet,
    arrival: &'p Arrival,
    now: Timestamp,
}

impl Matching<'_> {
    /// Answers all lines, on as many threads; gives how many hold no event.
    fn answer_all(&self, input: impl Read + Send, output: impl io::Write + Send, threads: usize) -> io::Result<u64> {
        let writing = Mutex::new(Writing::of(output));
        thread::scope(|scope| {
            let (hand_to_first, mut taken) = sync_channel(1);
            for place in 1..=threads {
                // The last one hands the reading to the first.
                let (hand_on, taken_next) = sync_channel(1);
                let hand_on = if place < threads { hand_on } else { hand_to_first.clone() };
                let mine = mem::replace(&mut taken, taken_next);
                let writing = &writing;
                scope.spawn(move || self.take_turns(&mine, &hand_on, writing));
            }
            // It is taken, for the first thread waits for it.
            let _ = hand_to_first.send(Reading::of(input));
        });
        let Writing { bad_count, failed, .. } = writing.into_inner().unwrap_or_else(PoisonError::into_inner);
        failed.map_or(Ok(bad_count), Err)
    }

    /// Reads and answers a block whenever it is this thread's turn, until there are no more or nobody asks any more. A thread
    /// that ends takes the next one with it, which then waits in vain.
    fn take_turns<R: Read>(
        &self,
        taken: &Receiver<Reading<R>>,
        hand_on: &SyncSender<Reading<R>>,
        writing: &Mutex<Writing<impl io::Write>>,
    ) {
        let mut matcher =
            Matcher { in_place: self.arrival.in_place(self.rules, self.now), envelope: self.arrival.empty(self.now) };
        let mut room = BytesMut::new();
        let mut answer = Answer::default();
        let writing = || writing.lock().unwrap_or_else(PoisonError::into_inner);
        for mut reading in taken {
            let block = match reading.next(room) {
                Ok(Some(block)) => block,
                Ok(None) => return,
                Err(error) => {
                    writing().take(reading.number, Err(error));
                    return;
                }
            };
            let goes_on = hand_on.send(reading).is_ok();
            answer.clear();
            self.answer(&block, &mut matcher, &mut answer);
            if !writing().take(block.number, Ok(&mut answer)) || !goes_on {
                return;
            }
            let Block { room: used, text, .. } = block;
            drop(text);
            matcher.envelope.event.data = Data::None;
            room = used.try_into_mut().unwrap_or_default();
        }
    }

    /// Answers a block.
    fn answer(&self, block: &Block, matcher: &mut Matcher<'_>, answer: &mut Answer) {
        match &block.text {
            Text::TooLong => {
                answer.refuse(&too_long());
                answer.lines += 1;
            }
            Text::Lines(lines) => {
                // Mostly all of it is UTF-8; where it is not, each line is asked.
                let text = event_json::text(lines);
                let mut start = 0;
                while start < lines.len() {
                    let rest = match text {
                        Some(text) => text.get(start..),
                        None => lines.get(start..line_end(lines, start)).and_then(event_json::text),
                    };
                    let length = rest.and_then(|rest| answer_known_line(rest, matcher, &mut answer.text));
                    let end = length.map_or_else(|| line_end(lines, start), |length| start + length);
                    if length.is_none()
                        && let Err(error) = self.answer_line(lines, start..end, matcher, &mut answer.text)
                    {
                        answer.refuse(&error);
                    }
                    answer.lines += 1;
                    start = end + 1;
                }
            }
        }
    }

    /// Writes which rules match the event of a line of `block`, and nothing for a blank one. The error is what is wrong
    /// with it.
    fn answer_line(
        &self,
        block: &Bytes,
        line: Range<usize>,
        matcher: &mut Matcher<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), Value> {
        if line.len() > LINE_BYTES_MAX {
            return Err(too_long());
        }
        let line = block.get(line).unwrap_or_default();
        // Mostly there is no space around the event, and whether it is UTF-8 is found out with all else.
        let text = if line.starts_with(b"{") && line.ends_with(b"}") {
            line
        } else {
            std::str::from_utf8(line).map_err(|_| not_utf8())?.trim().as_bytes()
        };
        if text.is_empty() {
            return Ok(());
        }
        let Matcher { in_place, envelope } = matcher;
        if let Some((id, rules)) = in_place.as_mut().and_then(|in_place| in_place.matches(text)) {
            answer_event(|out| out.extend_from_slice(id.as_bytes()), rules, out);
            return Ok(());
        }
        if let Err(error) = self.arrival.fill(&block.slice_ref(text), envelope) {
            let is_text = std::str::from_utf8(text).is_ok();
            let said = || json!({ "code": error.code(), "message": screen::shown(&error.to_string()) });
            return Err(if is_text { said() } else { not_utf8() });
        }
        let id = &*envelope.event.id;
        answer_event(|out| out.extend_from_slice(json!(id).to_string().as_bytes()), self.rules.matches(envelope), out);
        Ok(())
    }
}

/// Where the line that begins at a place ends.
fn line_end(lines: &[u8], start: usize) -> usize {
    let length = lines.get(start..).and_then(|rest| memchr(b'\n', rest));
    length.map_or(lines.len(), |length| start + length)
}

/// Answers the first line of a text, if its event is like those before. Gives the line's length.
fn answer_known_line(text: &str, matcher: &mut Matcher<'_>, out: &mut Vec<u8>) -> Option<usize> {
    let (id, rules, length) = matcher.in_place.as_mut()?.matches_line(text)?;
    if length > LINE_BYTES_MAX {
        return None;
    }
    answer_event(|out| out.extend_from_slice(id.as_bytes()), rules, out);
    Some(length)
}

/// Writes which rules match an event.
fn answer_event<'r>(write_id: impl FnOnce(&mut Vec<u8>), rules: impl IntoIterator<Item = &'r Rule>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"id\":");
    write_id(out);
    out.extend_from_slice(b",\"rules\":[");
    for (place, rule) in rules.into_iter().enumerate() {
        // Names need no escapes.
        out.extend_from_slice(if place == 0 { b"\"" } else { b",\"" });
        out.extend_from_slice(rule.name.as_str().as_bytes());
        out.push(b'"');
    }
    out.extend_from_slice(b"]}\n");
}

fn not_utf8() -> Value {
    json!({ "code": "json_invalid", "message": "the line is not UTF-8" })
}

fn too_long() -> Value {
    json!({ "code": "body_too_large", "message": format!("the line is longer than {LINE_BYTES_MAX} bytes") })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use eventyard_rules::file::{Host, read_rules};
    use eventyard_rules::reader::{Document, Reading};

    use super::*;

    /// Gives a text in pieces of many lengths, as a pipe does, and is interrupted between them.
    struct Pieces<'t> {
        rest: &'t [u8],
        random: fastrand::Rng,
        is_interrupted: bool,
    }

    impl Read for Pieces<'_> {
        fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
            self.is_interrupted = !self.is_interrupted;
            if self.is_interrupted {
                return Err(io::ErrorKind::Interrupted.into());
            }
            let most = [1, 30, 5_000, READ_BYTES][self.random.usize(..4)];
            let count = self.random.usize(1..=most).min(self.rest.len()).min(to.len());
            let (now, rest) = self.rest.split_at(count);
            to[..count].copy_from_slice(now);
            self.rest = rest;
            Ok(count)
        }
    }

    /// A rule that matches nothing here: where there is none, no event is looked at where it stands.
    fn rules() -> RuleSet {
        let text = "[[rule]]\nname = \"r\"\npattern = { type = [\"other\"] }\ntarget = { function = \"f\" }\n";
        let (file, document) = (Arc::from("r.toml"), Document::parse(text));
        let reading = Reading::new(&file, &document, &|_| Ok(None));
        let host = Host { http_target: &|_| None, event_file: &|_| Err("there is none".to_owned()), text };
        RuleSet::compile(read_rules(&reading.root(&document), &host).into_iter().map(|read| read.rule).collect())
    }

    fn answered(text: &[u8], threads: usize, seed: u64) -> (Vec<Value>, u64) {
        let (rules, arrival) = (rules(), Arrival::by_post().unwrap());
        assert!(arrival.in_place(&rules, Timestamp::EPOCH).is_some());
        let matching = Matching { rules: &rules, arrival: &arrival, now: Timestamp::EPOCH };
        let input = Pieces { rest: text, random: fastrand::Rng::with_seed(seed), is_interrupted: false };
        let mut output = Vec::new();
        let bad_count = matching.answer_all(input, &mut output, threads).unwrap();
        let lines = output.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
        (lines.map(|line| serde_json::from_slice(line).unwrap()).collect(), bad_count)
    }

    /// A line, and what is wrong with it.
    fn line(random: &mut fastrand::Rng, number: usize) -> (Vec<u8>, Option<&'static str>) {
        let event = |space: usize| {
            // A draft lacks what is filled in, and is read otherwise.
            let rest = if number.is_multiple_of(3) { "" } else { r#","specversion":"1.0","source":"/s""# };
            format!(r#"{{"id":"{number}","type":"t","data":{{"n":{number}}}{rest}{}}}"#, " ".repeat(space)).into_bytes()
        };
        let length = event(0).len();
        // Long ones are few, for the tests' sake.
        if number.is_multiple_of(40) {
            return match number / 40 % 5 {
                0 => (event(1024 * 1024 - length), None),
                1 => (event(1024 * 1024 + 1 - length), Some("body_too_large")),
                // Space around an event is not counted as the event's, and a line has a limit of its own.
                2 => ([vec![b' '; LINE_BYTES_MAX - length], event(0)].concat(), None),
                3 => ([vec![b' '; LINE_BYTES_MAX + 1 - length], event(0)].concat(), Some("body_too_large")),
                _ => (vec![b'x'; 3 * LINE_BYTES_MAX], Some("body_too_large")),
            };
        }
        match random.u8(..40) {
            0 => (b"{ nonsense".to_vec(), Some("json_invalid")),
            1 => (b"{\"type\":\"\xff\"}".to_vec(), Some("json_invalid")),
            2 => (b"\xff".to_vec(), Some("json_invalid")),
            3 => (b"{}".to_vec(), Some("ce_missing_attribute")),
            4 => (b"[1]".to_vec(), Some("ce_shape")),
            5 => ([&event(0)[..], b"\r"].concat(), None),
            6 => ([&b"\t "[..], &event(random.usize(..9)), b"\xe2\x80\x83"].concat(), None),
            7 => (event(random.usize(..READ_BYTES)), None),
            _ => (event(random.usize(..900)), None),
        }
    }

    #[test]
    fn every_line_is_answered_in_order_however_it_comes_and_on_however_many_threads() {
        for (seed, threads) in (0..).zip([1, 2, THREADS_MAX]) {
            let mut random = fastrand::Rng::with_seed(seed);
            let (mut text, mut wanted) = (Vec::new(), Vec::new());
            for number in 1..=205 {
                if random.u8(..30) == 0 {
                    text.extend_from_slice(random.choice([&b""[..], b"  ", b"\r"]).unwrap());
                } else {
                    let (line, wrong) = line(&mut random, number);
                    text.extend_from_slice(&line);
                    wanted.push((number, wrong));
                }
                text.push(b'\n');
            }
            if random.bool() {
                // The last line's end.
                text.pop();
            }
            let (answers, bad_count) = answered(&text, threads, seed);
            assert_eq!(answers.len(), wanted.len(), "seed {seed}, {threads} threads");
            for (answer, (number, wrong)) in answers.iter().zip(&wanted) {
                match wrong {
                    Some(code) => {
                        assert_eq!((&answer["line"], &answer["error"]["code"]), (&json!(number), &json!(code)))
                    }
                    None => assert_eq!(*answer, json!({ "id": number.to_string(), "rules": [] })),
                }
            }
            assert_eq!(bad_count, wanted.iter().filter(|(_, wrong)| wrong.is_some()).count() as u64);
        }
    }

    #[test]
    fn reading_that_fails_ends_with_its_error_after_what_was_read() {
        struct Broken(usize);
        impl Read for Broken {
            fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
                self.0 += 1;
                if self.0 > 3 {
                    return Err(io::Error::other("the disk is gone"));
                }
                let line = b"{\"id\":\"1\",\"type\":\"t\"}\n";
                to[..line.len()].copy_from_slice(line);
                Ok(line.len())
            }
        }
        let (rules, arrival) = (RuleSet::default(), Arrival::by_post().unwrap());
        let matching = Matching { rules: &rules, arrival: &arrival, now: Timestamp::EPOCH };
        for threads in 1..4 {
            let mut output = Vec::new();
            let error = matching.answer_all(Broken(0), &mut output, threads).unwrap_err();
            assert_eq!(error.to_string(), "the disk is gone");
            assert_eq!(output, b"{\"id\":\"1\",\"rules\":[]}\n".repeat(3));
        }
    }

    #[test]
    fn nobody_who_takes_the_answers_ends_it() {
        /// Short lines without an end.
        struct Endless;
        impl Read for Endless {
            fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
                to.chunks_exact_mut(2).for_each(|line| line.copy_from_slice(b"x\n"));
                Ok(to.len() & !1)
            }
        }
        struct Closed;
        impl io::Write for Closed {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let (rules, arrival) = (RuleSet::default(), Arrival::by_post().unwrap());
        let matching = Matching { rules: &rules, arrival: &arrival, now: Timestamp::EPOCH };
        for threads in 1..4 {
            let ended = matching.answer_all(Endless, Closed, threads);
            assert_eq!(ended.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
        }
    }
}
