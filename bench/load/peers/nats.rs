//! Just enough of NATS: publish with a reply subject, and count the acknowledgements of JetStream.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;

use super::Confirms;
use crate::Failure;
use crate::event::{EVENT_BYTES, event};

const STREAM: &str = "eventyard-bench";
const INBOX: &str = "_INBOX.eventyard";
/// The name of our only subscription.
const SUBSCRIPTION: &str = "1";

/// A connection with an empty stream behind it.
pub(super) struct Nats {
    reader: BufReader<TcpStream>,
    writer: TcpStream,
    message: Vec<u8>,
}

impl Nats {
    pub(super) fn connect(address: &str) -> Result<Nats, Failure> {
        let address = address.trim_start_matches("nats://");
        let writer = TcpStream::connect(address)?;
        writer.set_nodelay(true)?;
        let mut reader = BufReader::with_capacity(64 * 1024, writer.try_clone()?);
        let mut info = String::new();
        reader.read_line(&mut info)?;
        if !info.starts_with("INFO ") {
            return Err(format!("no NATS: {info}").into());
        }
        let mut message = format!("PUB {STREAM} {INBOX}.ack {EVENT_BYTES}\r\n{}\r\n", event()).into_bytes();
        message.shrink_to_fit();
        let mut nats = Nats { reader, writer, message };
        let hello = "CONNECT {\"verbose\":false,\"pedantic\":false,\"lang\":\"raw\",\"version\":\"0\",\"protocol\":1}";
        nats.writer.write_all(format!("{hello}\r\nSUB {INBOX}.> {SUBSCRIPTION}\r\n").as_bytes())?;
        // It may be there from an earlier run.
        nats.ask(&format!("$JS.API.STREAM.DELETE.{STREAM}"), "")?;
        let settings = format!(
            "{{\"name\":\"{STREAM}\",\"subjects\":[\"{STREAM}\"],\"storage\":\"file\",\"retention\":\"limits\",\
             \"num_replicas\":1}}"
        );
        let made = nats.ask(&format!("$JS.API.STREAM.CREATE.{STREAM}"), &settings)?;
        if made.contains("\"error\"") {
            return Err(made.into());
        }
        Ok(nats)
    }

    fn ask(&mut self, subject: &str, body: &str) -> Result<String, Failure> {
        self.writer.write_all(format!("PUB {subject} {INBOX}.api {}\r\n{body}\r\n", body.len()).as_bytes())?;
        self.answer()
    }

    /// The next message to our inbox.
    fn answer(&mut self) -> Result<String, Failure> {
        loop {
            let mut line = String::new();
            if self.reader.read_line(&mut line)? == 0 {
                return Err("the connection was closed".into());
            }
            let mut words = line.split_whitespace();
            match words.next() {
                Some("MSG") => {
                    let length: usize = words.last().ok_or("no length")?.parse()?;
                    let mut body = vec![0; length + 2];
                    self.reader.read_exact(&mut body)?;
                    body.truncate(length);
                    return Ok(String::from_utf8(body)?);
                }
                Some("PING") => self.writer.write_all(b"PONG\r\n")?,
                Some("-ERR") => return Err(line.into()),
                _ => {}
            }
        }
    }
}

impl Confirms for Nats {
    fn send(&mut self, count: usize) -> Result<(), Failure> {
        Ok(self.writer.write_all(&self.message.repeat(count))?)
    }

    fn confirmed(&mut self) -> Result<usize, Failure> {
        let mut count = 0;
        loop {
            let answer = self.answer()?;
            if !answer.contains("\"seq\"") {
                return Err(answer.into());
            }
            count += 1;
            if self.reader.buffer().is_empty() {
                return Ok(count);
            }
        }
    }
}
