//! Just enough of AMQP 0.9.1: publish to a quorum queue, and count the broker's confirms.

use std::collections::BTreeSet;
use std::io::{BufReader, Read, Write};
use std::net::TcpStream;

use super::Confirms;
use crate::Failure;
use crate::event::{EVENT_BYTES, event};

const QUEUE: &str = "eventyard-bench";

const METHOD: u8 = 1;
const HEADER: u8 = 2;
const BODY: u8 = 3;
const HEARTBEAT: u8 = 8;
const FRAME_END: u8 = 0xce;

/// Class and method, as the specification numbers them.
type Method = (u16, u16);
const START: Method = (10, 10);
const START_OK: Method = (10, 11);
const TUNE: Method = (10, 30);
const TUNE_OK: Method = (10, 31);
const OPEN: Method = (10, 40);
const OPEN_OK: Method = (10, 41);
const CHANNEL_OPEN: Method = (20, 10);
const CHANNEL_OPEN_OK: Method = (20, 11);
const DECLARE: Method = (50, 10);
const DECLARE_OK: Method = (50, 11);
const DELETE: Method = (50, 40);
const DELETE_OK: Method = (50, 41);
const PUBLISH: Method = (60, 40);
const ACK: Method = (60, 80);
const SELECT: Method = (85, 10);
const SELECT_OK: Method = (85, 11);

/// Where a tune's heartbeat stands behind its two other numbers.
const TUNE_HEARTBEAT_AT: usize = 6;

/// A connection with an empty queue behind it.
pub(super) struct Amqp {
    reader: BufReader<TcpStream>,
    writer: TcpStream,
    message: Vec<u8>,
    /// How many messages were confirmed; they are numbered from 1.
    confirmed: u64,
    /// Those beyond the first gap that were confirmed alone: confirms need not come in order.
    alone: BTreeSet<u64>,
}

impl Amqp {
    /// As guest, in the virtual host `/`.
    pub(super) fn connect(address: &str) -> Result<Amqp, Failure> {
        let writer = TcpStream::connect(address)?;
        writer.set_nodelay(true)?;
        let reader = BufReader::with_capacity(64 * 1024, writer.try_clone()?);
        let mut amqp = Amqp { reader, writer, message: message()?, confirmed: 0, alone: BTreeSet::new() };
        amqp.writer.write_all(b"AMQP\0\0\x09\x01")?;
        amqp.wait(START)?;
        let mut login = vec![0; 4];
        short(&mut login, "PLAIN")?;
        long(&mut login, "\0guest\0guest")?;
        short(&mut login, "en_US")?;
        amqp.say(0, START_OK, &login)?;
        let mut tune = amqp.wait(TUNE)?;
        tune.truncate(TUNE_HEARTBEAT_AT);
        // No heartbeats: we send all the time.
        tune.extend([0, 0]);
        amqp.say(0, TUNE_OK, &tune)?;
        let mut host = Vec::new();
        short(&mut host, "/")?;
        host.extend([0, 0]);
        amqp.say(0, OPEN, &host)?;
        amqp.wait(OPEN_OK)?;
        amqp.say(1, CHANNEL_OPEN, &[0])?;
        amqp.wait(CHANNEL_OPEN_OK)?;

        let mut queue = vec![0, 0];
        short(&mut queue, QUEUE)?;
        let mut delete = queue.clone();
        delete.push(0);
        // It may be there from an earlier run; deleting what is not there is no error either.
        amqp.say(1, DELETE, &delete)?;
        amqp.wait(DELETE_OK)?;
        let durable = 0b10;
        queue.push(durable);
        let mut arguments = Vec::new();
        short(&mut arguments, "x-queue-type")?;
        arguments.push(b'S');
        long(&mut arguments, "quorum")?;
        queue.extend(u32::try_from(arguments.len())?.to_be_bytes());
        queue.extend(arguments);
        amqp.say(1, DECLARE, &queue)?;
        amqp.wait(DECLARE_OK)?;
        amqp.say(1, SELECT, &[0])?;
        amqp.wait(SELECT_OK)?;
        Ok(amqp)
    }

    fn say(&mut self, channel: u16, what: Method, arguments: &[u8]) -> Result<(), Failure> {
        Ok(self.writer.write_all(&method(channel, what, arguments)?)?)
    }

    /// The next method; its number and its arguments.
    fn hear(&mut self) -> Result<(Method, Vec<u8>), Failure> {
        loop {
            let mut head = [0; 7];
            self.reader.read_exact(&mut head)?;
            let [kind, _, _, length @ ..] = head;
            let mut payload = vec![0; usize::try_from(u32::from_be_bytes(length))? + 1];
            self.reader.read_exact(&mut payload)?;
            payload.pop();
            match (kind, payload.as_slice()) {
                (METHOD, [a, b, c, d, arguments @ ..]) => {
                    let what = (u16::from_be_bytes([*a, *b]), u16::from_be_bytes([*c, *d]));
                    return Ok((what, arguments.to_vec()));
                }
                (HEARTBEAT, _) => {}
                _ => return Err("a frame that is no method".into()),
            }
        }
    }

    fn wait(&mut self, wanted: Method) -> Result<Vec<u8>, Failure> {
        let (what, arguments) = self.hear()?;
        if what == wanted {
            return Ok(arguments);
        }
        Err(format!("{what:?} instead of {wanted:?}: {}", String::from_utf8_lossy(&arguments)).into())
    }
}

impl Confirms for Amqp {
    fn send(&mut self, count: usize) -> Result<(), Failure> {
        Ok(self.writer.write_all(&self.message.repeat(count))?)
    }

    fn confirmed(&mut self) -> Result<usize, Failure> {
        let mut count = 0;
        loop {
            let ack = self.wait(ACK)?;
            let (tag, multiple) = ack.split_first_chunk().ok_or("a confirm without a number")?;
            let tag = u64::from_be_bytes(*tag);
            let before = self.confirmed + self.alone.len() as u64;
            if multiple.first().is_some_and(|bits| bits & 1 == 1) {
                // All up to this one.
                self.confirmed = self.confirmed.max(tag);
                self.alone = self.alone.split_off(&(self.confirmed + 1));
            } else {
                self.alone.insert(tag);
            }
            while self.alone.remove(&(self.confirmed + 1)) {
                self.confirmed += 1;
            }
            count += usize::try_from(self.confirmed + self.alone.len() as u64 - before)?;
            if self.reader.buffer().is_empty() {
                return Ok(count);
            }
        }
    }
}

/// A message: what to do, its properties, its bytes.
fn message() -> Result<Vec<u8>, Failure> {
    let mut publish = vec![0, 0];
    short(&mut publish, "")?;
    short(&mut publish, QUEUE)?;
    publish.push(0);
    let mut properties = Vec::new();
    properties.extend(PUBLISH.0.to_be_bytes());
    properties.extend([0, 0]);
    properties.extend((EVENT_BYTES as u64).to_be_bytes());
    let delivery_mode: u16 = 1 << 12;
    let persistent = 2;
    properties.extend(delivery_mode.to_be_bytes());
    properties.push(persistent);
    let mut message = method(1, PUBLISH, &publish)?;
    frame(&mut message, HEADER, 1, &properties)?;
    frame(&mut message, BODY, 1, event().as_bytes())?;
    Ok(message)
}

fn method(channel: u16, (class, number): Method, arguments: &[u8]) -> Result<Vec<u8>, Failure> {
    let mut payload = Vec::with_capacity(4 + arguments.len());
    payload.extend(class.to_be_bytes());
    payload.extend(number.to_be_bytes());
    payload.extend(arguments);
    let mut framed = Vec::new();
    frame(&mut framed, METHOD, channel, &payload)?;
    Ok(framed)
}

fn frame(into: &mut Vec<u8>, kind: u8, channel: u16, payload: &[u8]) -> Result<(), Failure> {
    into.push(kind);
    into.extend(channel.to_be_bytes());
    into.extend(u32::try_from(payload.len())?.to_be_bytes());
    into.extend(payload);
    into.push(FRAME_END);
    Ok(())
}

fn short(into: &mut Vec<u8>, text: &str) -> Result<(), Failure> {
    into.push(u8::try_from(text.len())?);
    into.extend(text.as_bytes());
    Ok(())
}

fn long(into: &mut Vec<u8>, text: &str) -> Result<(), Failure> {
    into.extend(u32::try_from(text.len())?.to_be_bytes());
    into.extend(text.as_bytes());
    Ok(())
}
