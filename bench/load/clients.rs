//! The clients: one thread, epoll, and sockets that are kept open.
//!
//! An HTTP library would cost as much as the broker, on the same processors. These know only what they need: a
//! request is bytes made once whose ids are overwritten, and of an answer they read the status and its length. What
//! is left is two system calls a request and the kernel's own work.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::epoll;
use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec};

use crate::Failure;
use crate::event::Template;
use crate::latency::Latencies;

/// How often the clock is looked at when requests are due at fixed times. What is late by less is counted as late.
const TICK: Duration = Duration::from_micros(200);
/// The mark of the clock among the sockets.
const CLOCK: u64 = u64::MAX;
/// How long answers may take to come when nothing more is sent.
const LAST_ANSWERS: Duration = Duration::from_secs(30);
/// The room for one read of an answer; an answer to a batch comes in several.
const READ_BYTES: usize = 64 * 1024;

/// When requests are sent.
#[derive(Clone, Copy)]
pub(crate) enum Pace {
    /// Each client sends when its last request was answered, for so long.
    Closed(Duration),
    /// The same, until so many events are sent.
    Count(u64),
    /// So many requests a second, at fixed times, for so long.
    Open(f64, Duration),
}

/// What was sent and answered.
pub(crate) struct Sent {
    /// Events that were answered 202.
    pub(crate) events: u64,
    /// From the first request to the last answer.
    pub(crate) took: Duration,
    /// From the time when a request was due to its answer.
    pub(crate) latencies: Latencies,
}

struct Client {
    stream: TcpStream,
    request: Template,
    /// Bytes of the request that are sent.
    sent: usize,
    answer: Answer,
    due: Instant,
}

/// What is known of the answer that comes.
#[derive(Default)]
struct Answer {
    head: Vec<u8>,
    /// Bytes of the body that have not come, once the head has.
    missing: Option<usize>,
}

/// The clients and what they wait for.
pub(crate) struct Clients {
    epoll: OwnedFd,
    clock: OwnedFd,
    clients: Vec<Client>,
    /// Who sends next: each in turn, for a connection that is silent for long is closed.
    idle: VecDeque<usize>,
    next_id: u64,
}

impl Clients {
    /// Connects so many.
    pub(crate) fn connect(to: SocketAddr, count: usize, events_a_request: usize) -> Result<Clients, Failure> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let clock = rustix::time::timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK)?;
        epoll::add(&epoll, &clock, epoll::EventData::new_u64(CLOCK), epoll::EventFlags::IN)?;
        let template = Template::new(to, events_a_request);
        let mut clients = Vec::with_capacity(count);
        for place in 0..count {
            let stream = TcpStream::connect(to)?;
            stream.set_nodelay(true)?;
            stream.set_nonblocking(true)?;
            let flags = epoll::EventFlags::IN | epoll::EventFlags::OUT | epoll::EventFlags::ET;
            epoll::add(&epoll, &stream, epoll::EventData::new_u64(place as u64), flags)?;
            let request = template.clone();
            let sent = request.bytes.len();
            clients.push(Client { stream, request, sent, answer: Answer::default(), due: Instant::now() });
        }
        Ok(Clients { epoll, clock, idle: (0..count).collect(), clients, next_id: 0 })
    }

    /// Sends at a pace and waits for the last answer.
    ///
    /// # Errors
    /// Any answer but 202, and a connection that ends.
    pub(crate) fn send(&mut self, pace: Pace) -> Result<Sent, Failure> {
        let events_a_request = self.clients.first().map_or(1, |client| client.request.event_count()) as u64;
        if matches!(pace, Pace::Open(..)) {
            self.tick(TICK)?;
        }
        let began = Instant::now();
        let mut sent_count = 0_u64;
        let mut latencies = Latencies::default();
        let mut room = Vec::with_capacity(self.clients.len() + 1);
        let mut into = vec![0; READ_BYTES];
        let mut last_answer = began;
        loop {
            let now = Instant::now();
            let due = |sent_count: u64| -> Option<Instant> {
                match pace {
                    Pace::Closed(time) => (now - began < time).then_some(now),
                    Pace::Count(events) => (sent_count * events_a_request < events).then_some(now),
                    Pace::Open(rate, time) => {
                        let at = Duration::from_secs_f64(sent_count as f64 / rate);
                        (at < time).then(|| began + at)
                    }
                }
            };
            let mut finished = false;
            while let Some(place) = self.idle.front().copied() {
                match due(sent_count) {
                    Some(at) if at <= now => {
                        self.idle.pop_front();
                        self.begin(place, at)?;
                        sent_count += 1;
                    }
                    Some(_) => break,
                    None => {
                        finished = true;
                        break;
                    }
                }
            }
            if finished && self.idle.len() == self.clients.len() {
                break;
            }
            if now - last_answer > LAST_ANSWERS {
                return Err("the broker does not answer any more".into());
            }
            epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut room), None)?;
            for event in room.drain(..) {
                let mark = event.data.u64();
                if mark == CLOCK {
                    let mut ticks = [0; 8];
                    let _ = rustix::io::read(&self.clock, &mut ticks);
                    continue;
                }
                let place = usize::try_from(mark)?;
                let Some(client) = self.clients.get_mut(place) else { continue };
                client.go_on()?;
                if client.read(&mut into)? {
                    last_answer = Instant::now();
                    latencies.add(last_answer - client.due);
                    self.idle.push_back(place);
                }
            }
        }
        self.tick(Duration::ZERO)?;
        let events = latencies.count() as u64 * events_a_request;
        Ok(Sent { events, took: last_answer - began, latencies })
    }

    fn begin(&mut self, place: usize, due: Instant) -> Result<(), Failure> {
        let Some(client) = self.clients.get_mut(place) else { return Ok(()) };
        client.request.number(&mut self.next_id);
        client.sent = 0;
        client.due = due;
        client.go_on()
    }

    /// Sets how often the clock wakes us; never for zero.
    fn tick(&self, every: Duration) -> Result<(), Failure> {
        let every = Timespec { tv_sec: 0, tv_nsec: i64::from(every.subsec_nanos()) };
        let spec = Itimerspec { it_interval: every, it_value: every };
        rustix::time::timerfd_settime(&self.clock, TimerfdTimerFlags::empty(), &spec)?;
        Ok(())
    }
}

impl Client {
    /// Sends what the socket takes of the rest.
    fn go_on(&mut self) -> Result<(), Failure> {
        while let Some(rest) = self.request.bytes.get(self.sent..).filter(|rest| !rest.is_empty()) {
            #[expect(clippy::disallowed_methods, reason = "the rest goes when the socket takes more")]
            match self.stream.write(rest) {
                Ok(count) => self.sent += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Reads what has come; true where the answer is whole.
    fn read(&mut self, into: &mut [u8]) -> Result<bool, Failure> {
        loop {
            let count = match self.stream.read(into) {
                Ok(0) => return Err("the broker closed a connection".into()),
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error.into()),
            };
            if self.answer.take(into.get(..count).unwrap_or_default())? {
                return Ok(true);
            }
            // Less than there was room for: the socket is empty, and epoll says when it no longer is.
            if count < into.len() {
                return Ok(false);
            }
        }
    }
}

impl Answer {
    /// Takes the next bytes; true where they end it.
    fn take(&mut self, bytes: &[u8]) -> Result<bool, Failure> {
        let missing = match self.missing {
            Some(missing) => missing.checked_sub(bytes.len()),
            None => {
                self.head.extend_from_slice(bytes);
                let Some(end) = self.head.windows(4).position(|four| four == b"\r\n\r\n") else { return Ok(false) };
                let head = std::str::from_utf8(self.head.get(..end).unwrap_or_default())?;
                if !head.starts_with("HTTP/1.1 202") {
                    return Err(format!("not taken: {}", String::from_utf8_lossy(&self.head)).into());
                }
                let length = head.split("content-length: ").nth(1).and_then(|rest| rest.split('\r').next());
                let length: usize = length.ok_or("an answer without its length")?.parse()?;
                let missing = (end + 4 + length).checked_sub(self.head.len());
                self.head.clear();
                missing
            }
        };
        match missing {
            Some(0) => self.missing = None,
            Some(more) => self.missing = Some(more),
            None => return Err("more came than the answer's length".into()),
        }
        Ok(self.missing.is_none())
    }
}
