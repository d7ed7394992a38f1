//! What is sent: CloudEvents of 1,024 bytes in structured mode, and requests of them that differ in their ids alone.

use std::net::SocketAddr;

/// The bytes of one event, attributes and data.
pub(crate) const EVENT_BYTES: usize = 1024;

/// Digits of an event's number in its id.
const DIGITS: usize = 12;
const ID_BEGINS: &str = "\"id\":\"";

/// A request that is sent again and again; each time its events get the next ids.
#[derive(Clone)]
pub(crate) struct Template {
    /// Head and body.
    pub(crate) bytes: Vec<u8>,
    /// Where the ids' digits stand.
    ids: Vec<usize>,
}

impl Template {
    /// `POST /events` with so many events: one alone in structured mode, several as a batch.
    pub(crate) fn new(to: SocketAddr, events: usize) -> Template {
        let one = event();
        let (kind, body) = if events == 1 {
            ("application/cloudevents+json", one)
        } else {
            ("application/cloudevents-batch+json", format!("[{}]", vec![one; events].join(",")))
        };
        let length = body.len();
        let text = format!(
            "POST /events HTTP/1.1\r\nhost: {to}\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\n\r\n{body}"
        );
        let unnumbered = format!("{ID_BEGINS}{}", "0".repeat(DIGITS));
        let ids = text.match_indices(&unnumbered).map(|(at, _)| at + ID_BEGINS.len()).collect();
        Template { bytes: text.into_bytes(), ids }
    }

    /// How many events it holds.
    pub(crate) fn event_count(&self) -> usize {
        self.ids.len()
    }

    /// Numbers its events from `next` on.
    pub(crate) fn number(&mut self, next: &mut u64) {
        for &at in &self.ids {
            let mut rest = *next;
            *next += 1;
            for place in (at..at + DIGITS).rev() {
                if let Some(byte) = self.bytes.get_mut(place) {
                    *byte = b'0' + u8::try_from(rest % 10).unwrap_or(0);
                }
                rest /= 10;
            }
        }
    }
}

/// One event that the rule wants, filled up with text to its length.
pub(crate) fn event() -> String {
    let begin = format!(
        "{{\"specversion\":\"1.0\",{ID_BEGINS}{}\",\"source\":\"/shops/eu/7\",\"type\":\"order.created\",\
         \"time\":\"2026-11-21T11:30:45Z\",\"subject\":\"orders/4711\",\"datacontenttype\":\"application/json\",\
         \"data\":{{\"amount\":1250,\"currency\":\"EUR\",\"customer\":{{\"id\":\"c-829\",\"tier\":\"gold\"}},\
         \"lines\":[{{\"sku\":\"a-17\",\"count\":2,\"price\":450.5}},{{\"sku\":\"b-03\",\"count\":1,\"price\":349}}],\
         \"paid\":true,\"note\":\"",
        "0".repeat(DIGITS)
    );
    let end = "\"}}";
    let missing = EVENT_BYTES.saturating_sub(begin.len() + end.len());
    let words = "please ring twice and leave the parcel at the door of the neighbour ";
    format!("{begin}{}{end}", words.chars().cycle().take(missing).collect::<String>())
}
