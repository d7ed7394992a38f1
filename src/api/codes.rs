//! Every code that an answer over HTTP may carry, in one list.
//!
//! A code is a word that people script against: it is never renamed and never reused. Each has a status, a
//! line that says what it means, and the one thing to do about it; `docs/errors/CODE.md` tells the longer story, and
//! `eventyard errors CODE` shows it.

/// One code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Code {
    /// The word.
    pub word: &'static str,
    /// The HTTP status that it comes with.
    pub status: u16,
    /// What it means, as one sentence.
    pub summary: &'static str,
    /// What to do, as one sentence, where the answer itself knows nothing better.
    pub fix: &'static str,
}

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $word:literal $status:literal $summary:literal; $fix:literal)+) => {
        $(
            #[doc = $summary]
            pub const $name: Code = Code {
                word: $word, status: $status, summary: $summary, fix: $fix,
            };
        )+
        /// All codes of the HTTP interface, in the order of this file.
        pub const CODES: &[Code] = &[$($name),+];
    };
}

/// The code with this word.
#[must_use]
pub fn find(word: &str) -> Option<&'static Code> {
    CODES.iter().find(|code| code.word == word)
}

codes! {
    // What is sent as an event and is none.
    CE_MISSING_ATTRIBUTE = "ce_missing_attribute" 400
        "A required CloudEvents attribute is missing.";
        "add the attribute: every event needs `specversion`, `id`, `source` and `type`"
    CE_SPECVERSION = "ce_specversion" 400
        "The event's `specversion` is not `1.0`.";
        "send `specversion` as `1.0`"
    CE_ATTRIBUTE = "ce_attribute" 400
        "A CloudEvents attribute has a name or a value that the specification does not allow.";
        "correct the attribute that `detail` names"
    CE_SHAPE = "ce_shape" 400
        "The JSON is well-formed but no CloudEvent, or no batch of them.";
        "send one JSON object for `application/cloudevents+json`, an array of them for \
         `application/cloudevents-batch+json`"
    CE_DATA = "ce_data" 400
        "The event's data cannot be read.";
        "send either `data` or `data_base64`, the latter as standard base64"
    CE_LIMIT = "ce_limit" 400
        "The event is over a limit that `detail` names.";
        "make the part that `detail` names smaller"
    JSON_INVALID = "json_invalid" 400
        "The body is not valid JSON.";
        "mend the JSON at the line and column that `detail` names"
    CONTENT_TYPE = "content_type" 415
        "The content type carries no CloudEvent.";
        "send `application/cloudevents+json`, `application/cloudevents-batch+json`, or `ce-` headers with any body"

    // What is wrong with a request, whatever it says.
    BODY_TOO_LARGE = "body_too_large" 413
        "The body, or one event of a batch, is over a limit.";
        "send less at a time, or raise the limit that `detail` names in `[limits]`"
    BATCH_TOO_LARGE = "batch_too_large" 413
        "The events of one request, with their deliveries, are more than the journal writes at once.";
        "send fewer events in a request"
    BODY_TIMEOUT = "body_timeout" 408
        "The body did not come in time.";
        "send the body without pauses; nothing of it was taken, so send the request again"
    BODY_INCOMPLETE = "body_incomplete" 400
        "The body broke off, or is not framed as HTTP has it.";
        "send the request again; nothing of it was taken"
    CONTENT_ENCODING = "content_encoding" 415
        "The body is compressed.";
        "send it uncompressed"
    UNAUTHORIZED = "unauthorized" 401
        "The call needs the project's token.";
        "send `Authorization: Bearer` with the value of `[server] token`; the commands take it from EVENTYARD_TOKEN"
    STALE = "stale" 401
        "The signature is right, and its time is too far from ours.";
        "check both clocks; sign a new request rather than sending an old one again"
    PRESET_BODY = "preset_body" 400
        "A member of the body that the source's preset needs is missing or holds no word.";
        "send what the preset's sender sends, or leave `preset` out of the source"
    PRESET_HEADER = "preset_header" 400
        "A header that the source's preset needs is missing or holds no word.";
        "send what the preset's sender sends, or leave `preset` out of the source"
    URI_TOO_LONG = "uri_too_long" 414
        "The path or the query is too long.";
        "send what is long in the body"
    NOT_HTTP = "not_http" 400
        "What was sent is no request of HTTP/1.1.";
        "send HTTP/1.1, with each header on a line of its own; HTTP/2 is not spoken, and TLS only where `[server] tls` is set"
    HEAD_TOO_LARGE = "head_too_large" 431
        "The request has more than 100 header fields, or they are larger than 64 KiB in all.";
        "send fewer or smaller headers"
    NOT_FOUND = "not_found" 404
        "There is nothing of that name or at that path.";
        "check the name that `where` shows"
    METHOD_NOT_ALLOWED = "method_not_allowed" 405
        "The path exists, but not with this method.";
        "use one of the methods in the `Allow` header"
    NOT_IN_THIS_VERSION = "not_in_this_version" 404
        "The path is reserved for a part that this version does not have.";
        "use a version that has it; `eventyard --version` shows which one this is"
    BAD_PARAMETER = "bad_parameter" 400
        "A parameter of the path or the query has a value that cannot be read.";
        "correct the parameter that `where` names"
    UNKNOWN_PARAMETER = "unknown_parameter" 400
        "The query has a parameter that this call does not know.";
        "remove or correct the parameter that `where` names"
    BAD_CURSOR = "bad_cursor" 400
        "The cursor is none that this broker gave out.";
        "leave `cursor` out to start again from the first page"
    BAD_REQUEST = "bad_request" 400
        "The JSON body of the call has the wrong shape.";
        "correct the field that `where` names"

    // What the broker cannot do now, and can again.
    BACKLOG_FULL = "backlog_full" 503
        "As many deliveries are waiting as `[limits] pending` allows.";
        "send the same event again, with the same id, after the time in Retry-After"
    NO_SPACE = "no_space" 507
        "The disk has no room for more events.";
        "make room on the disk that holds the data folder, then send the same event again"
    STORE_POISONED = "store_poisoned" 503
        "The journal cannot be written any more.";
        "see the log for what the disk said; the broker ends and, restarted, recovers what was acknowledged"
    STOPPING = "stopping" 503
        "The broker is about to stop.";
        "send the same event again after the time in Retry-After"
    BUSY = "busy" 503
        "More requests wait than the broker takes at a time.";
        "send the same event again, with the same id, after the time in Retry-After"
    SOURCE_PAUSED = "source_paused" 503
        "Somebody holds the source.";
        "send the same event again, with the same id, when the source goes on: `eventyard sources resume`"
    TOO_MANY_CONNECTIONS = "too_many_connections" 503
        "As many connections are open as the broker takes.";
        "close connections that idle, then try again"

    // What is asked of the API and cannot be done.
    RULES_REFUSED = "rules_refused" 422
        "The project does not load, so the last good one stays in force.";
        "run `eventyard check` in the project's folder: it shows every mistake with its line"
    CANNOT_FIRE = "cannot_fire" 409
        "The source cannot be fired by hand.";
        "fire a `timer` source that is enabled"
    CANNOT_SEEK = "cannot_seek" 409
        "The source cannot go on from there.";
        "see the page of the source's kind: it says where such a source can go on from"
    SEEK_FAILED = "seek_failed" 503
        "The source could not go on from there now.";
        "see what is wrong with `eventyard sources list`, and try again when the source runs"
    CHANNEL_FAILED = "channel_failed" 502
        "The channel did not take the test message.";
        "check the channel's address and secrets; `detail` is what it said"
    DELIVERY_IN_FLIGHT = "delivery_in_flight" 409
        "The delivery is being attempted, and only the attempt can say what became of it.";
        "wait until the attempt has ended, then try again; pause the target first to be sure that no other begins"
    DELIVERY_DEAD = "delivery_dead" 409
        "The delivery is a dead letter.";
        "replay the dead letter, or purge it"
    DELIVERY_ENDED = "delivery_ended" 409
        "The delivery has ended: it is delivered or cancelled.";
        "send the event again if it should be delivered once more"
    TOO_MANY_PAUSES = "too_many_pauses" 409
        "As many sources and targets are paused as can be.";
        "resume some, or disable in the project's files what should stand still for long"
    TOO_MANY_TAPS = "too_many_taps" 503
        "As many clients follow the broker as may.";
        "end one of them: each `eventyard events tap` is one"
    INTERNAL = "internal" 500
        "eventyard made a mistake.";
        "look for the error in the log and report it"
    STORE_READ_FAILED = "store_read_failed" 500
        "The data folder could not be read.";
        "run `eventyard store verify` while the broker is stopped"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_distinct_words_with_a_summary_and_a_fix() {
        let mut words = std::collections::BTreeSet::new();
        for code in CODES {
            assert!(words.insert(code.word), "{} stands twice", code.word);
            assert!(code.word.chars().all(|c| c.is_ascii_lowercase() || c == '_'), "{}", code.word);
            assert!((400..600).contains(&code.status), "{}", code.word);
            assert!(code.summary.ends_with('.') && !code.fix.ends_with('.'), "{}", code.word);
        }
    }
}
