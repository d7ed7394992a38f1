//! What passes, as it passes: server-sent events for whoever follows.
//!
//! A client that follows costs the journey nothing: news is left for it in a ring of bounded length
//! ([`FATES_WAITING_MAX`](crate::fate::FATES_WAITING_MAX)), and one that reads too slowly loses the oldest and is told
//! how many. So that a broker at full load does not drown who only wants to look, each client gets so many lines a
//! second and is told how many more there were.
//!
//! ```text
//! event: delivered
//! data: {"at":"2026-11-21T12:00:00.000Z","fate":"delivered","delivery":"…",…}
//!
//! event: left_out
//! data: {"left_out":1200}
//! ```

use std::convert::Infallible;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderValue, Uri, header};
use axum::response::Response;
use bytes::Bytes;
use eventyard_event::{Name, Timestamp};
use serde::Serialize;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::Instant;

use super::problem::Problem;
use super::query::{Query, bad};
use super::{Api, codes};
use crate::fate::Fate;

/// How many clients may follow at a time. Each holds a connection and makes every fate be put together.
pub(super) const TAPS_MAX: usize = 16;

/// The most lines a second for one client, and how many it gets where it does not say: more than anybody reads, and
/// less than a thousandth of what the machine writes.
const LINES_PER_SECOND_MAX: u32 = 500;

/// A line that says nothing comes at least this often, so that either side sees when the other has gone.
const STILL_HERE_EVERY: Duration = Duration::from_secs(15);

/// How long a client whose place is taken is asked to wait.
const RETRY_AFTER: Duration = Duration::from_secs(10);

/// `GET /api/v1/live`.
pub(super) async fn follow(State(api): State<Api>, uri: Uri) -> Result<Response, Problem> {
    let query = Query::read(&uri, &["rule", "source", "type", "rate"])?;
    let rate = match query.text("rate") {
        None => LINES_PER_SECOND_MAX,
        Some(text) => match text.parse::<u32>() {
            Ok(rate) if rate > 0 => rate.min(LINES_PER_SECOND_MAX),
            _ => return Err(bad("rate", text, &format!("a number from 1 to {LINES_PER_SECOND_MAX} belongs here"))),
        },
    };
    let wanted =
        Wanted { rule: query.name("rule")?, source: query.name("source")?, ty: query.text("type").map(str::to_owned) };
    let place = std::sync::Arc::clone(&api.taps).try_acquire_owned().map_err(|_| {
        let detail = format!("{TAPS_MAX} clients follow what passes already");
        Problem::new(&codes::TOO_MANY_TAPS, detail).retry_after(RETRY_AFTER)
    })?;
    let tap =
        Tap { news: api.broker.fates(), wanted, pace: Pace::new(rate), still: true, ended: false, api, _place: place };
    let body = futures_util::stream::unfold(tap, |mut tap| async {
        let line = tap.next().await?;
        Some((Ok::<Bytes, Infallible>(line), tap))
    });
    let mut response = Response::new(Body::from_stream(body));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream; charset=utf-8"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// What a client wants to see.
struct Wanted {
    rule: Option<Name>,
    source: Option<Name>,
    ty: Option<String>,
}

impl Wanted {
    fn fits(&self, fate: &Fate) -> bool {
        self.rule.as_ref().is_none_or(|rule| fate.is_of_rule(rule))
            && self.source.as_ref().is_none_or(|source| fate.is_of_source(source))
            && self.ty.as_ref().is_none_or(|ty| fate.is_of_type(ty))
    }
}

/// One client that follows.
struct Tap {
    api: Api,
    news: Receiver<Fate>,
    wanted: Wanted,
    pace: Pace,
    /// Nothing was sent yet: the head of the answer goes out with the first bytes.
    still: bool,
    ended: bool,
    _place: OwnedSemaphorePermit,
}

impl Tap {
    /// The next lines; `None` once it has ended.
    async fn next(&mut self) -> Option<Bytes> {
        if self.ended {
            return None;
        }
        if std::mem::take(&mut self.still) {
            return Some(Bytes::from_static(b": following\n\n"));
        }
        let quiet_until = Instant::now() + STILL_HERE_EVERY;
        loop {
            let wake = self.pace.owes_until().unwrap_or(quiet_until).min(quiet_until);
            tokio::select! {
                biased;
                () = self.api.stop.cancelled() => {
                    self.ended = true;
                    return Some(line("end", &serde_json::json!({ "why": "the broker stops" })));
                }
                () = tokio::time::sleep_until(wake) => {
                    return Some(match self.pace.settle(Instant::now()) {
                        0 => Bytes::from_static(b": still here\n\n"),
                        left_out => line("left_out", &serde_json::json!({ "left_out": left_out })),
                    });
                }
                fate = self.news.recv() => match fate {
                    Ok(fate) => {
                        if self.wanted.fits(&fate) && self.pace.allows(Instant::now()) {
                            let told = Told { at: self.api.broker.clocks().now(), fate: &fate };
                            return Some(line(fate.word(), &told));
                        }
                    }
                    Err(RecvError::Lagged(lost)) => return Some(line("lost", &serde_json::json!({ "lost": lost }))),
                    Err(RecvError::Closed) => return None,
                }
            }
        }
    }
}

/// A fate with its time.
#[derive(Serialize)]
struct Told<'f> {
    at: Timestamp,
    #[serde(flatten)]
    fate: &'f Fate,
}

/// JSON has no line breaks of its own, so one `data` line is enough.
fn line(word: &str, data: &impl Serialize) -> Bytes {
    let data = serde_json::to_string(data).unwrap_or_else(|_| "{}".to_owned());
    Bytes::from(format!("event: {word}\ndata: {data}\n\n"))
}

/// So many lines in each second, and a count of the rest.
struct Pace {
    rate: u32,
    /// When the present second began.
    began: Option<Instant>,
    sent: u32,
    left_out: u64,
}

impl Pace {
    fn new(rate: u32) -> Pace {
        Pace { rate, began: None, sent: 0, left_out: 0 }
    }

    /// Whether another line may go now; one that may not is counted.
    fn allows(&mut self, now: Instant) -> bool {
        let is_over = self.began.is_none_or(|began| now.duration_since(began) >= Duration::from_secs(1));
        // What was left out is told before the next second begins.
        if is_over && self.left_out == 0 {
            (self.began, self.sent) = (Some(now), 0);
        }
        if self.sent < self.rate {
            self.sent += 1;
            return true;
        }
        self.left_out += 1;
        false
    }

    /// When what was left out is to be told; `None` where nothing was.
    fn owes_until(&self) -> Option<Instant> {
        self.began.filter(|_| self.left_out > 0).map(|began| began + Duration::from_secs(1))
    }

    /// How many were left out in the second that is over.
    fn settle(&mut self, now: Instant) -> u64 {
        if self.owes_until().is_some_and(|at| now >= at) {
            self.began = None;
            std::mem::take(&mut self.left_out)
        } else {
            0
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn each_second_has_so_many_lines_and_the_rest_is_counted() {
        let mut pace = Pace::new(2);
        let allowed = |pace: &mut Pace| (0..5).filter(|_| pace.allows(Instant::now())).count();
        assert_eq!(allowed(&mut pace), 2);
        assert_eq!(pace.settle(Instant::now()), 0, "the second is not over");
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(allowed(&mut pace), 0, "what was left out is told first");
        assert_eq!(pace.settle(Instant::now()), 8);
        assert_eq!((pace.owes_until(), allowed(&mut pace)), (None, 2));
        tokio::time::advance(Duration::from_secs(7)).await;
        assert_eq!((pace.settle(Instant::now()), allowed(&mut pace)), (3, 2));
    }

    #[test]
    fn a_line_is_one_line() {
        let text = line("dead", &serde_json::json!({ "message": "a\nb" }));
        assert_eq!(text, "event: dead\ndata: {\"message\":\"a\\nb\"}\n\n");
    }
}
