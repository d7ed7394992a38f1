//! Every code that an answer over HTTP may carry, in one list.
//!
//! A code is a word that people script against: it is never renamed and never reused. Each has a status, a
//! line that says what it means, the one thing to do about it, and a page that `eventyard errors CODE` shows.

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
    /// The longer story, as Markdown paragraphs.
    pub page: &'static str,
}

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $word:literal $status:literal $summary:literal; $fix:literal; $page:literal)+) => {
        $(
            #[doc = $summary]
            pub const $name: Code = Code {
                word: $word, status: $status, summary: $summary, fix: $fix, page: $page,
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
        "add the attribute: every event needs `specversion`, `id`, `source` and `type`";
        "Every CloudEvent has `specversion` (always `1.0`), `id`, `source` and `type`. In the binary form they \
         are the headers `ce-specversion`, `ce-id`, `ce-source` and `ce-type`; in the structured form they stand \
         at the top of the JSON object.\n\nA sender that knows nothing of CloudEvents is better served by an \
         `http` source, which wraps any body as an event."
    CE_SPECVERSION = "ce_specversion" 400
        "The event's `specversion` is not `1.0`.";
        "send `specversion` as `1.0`";
        "eventyard speaks CloudEvents 1.0. Versions 0.3 and earlier named their attributes differently, so they \
         are refused instead of guessed at."
    CE_ATTRIBUTE = "ce_attribute" 400
        "A CloudEvents attribute has a name or a value that the specification does not allow.";
        "correct the attribute that `detail` names";
        "`id`, `source`, `type` and `subject` may not be empty; `source` is a URI-reference; `time` is RFC 3339; \
         the name of an extension has only lower-case letters and digits; no value holds control characters."
    CE_SHAPE = "ce_shape" 400
        "The JSON is well-formed but no CloudEvent, or no batch of them.";
        "send one JSON object for `application/cloudevents+json`, an array of them for \
         `application/cloudevents-batch+json`";
        "The structured form of a CloudEvent is a JSON object with the attributes at its top and the payload \
         below `data`. A batch is an array of such objects and has a content type of its own."
    CE_DATA = "ce_data" 400
        "The event's data cannot be read.";
        "send either `data` or `data_base64`, the latter as standard base64";
        "An event has one payload: `data` for JSON and text, `data_base64` for anything else. Both at once leave \
         open which of them counts."
    CE_LIMIT = "ce_limit" 400
        "The event is over a limit that `detail` names.";
        "make the part that `detail` names smaller";
        "Attributes are copied into headers, logs and indexes, so each has at most 4 KiB and an event at most 64 \
         extensions; JSON may be nested 127 deep. What is large belongs into `data`, or into a store with its \
         address in the event."
    JSON_INVALID = "json_invalid" 400
        "The body is not valid JSON.";
        "mend the JSON at the line and column that `detail` names";
        "JSON has no comments, no trailing commas, no single quotes, no `NaN` and no byte order mark, and is \
         UTF-8. Nothing of the request was taken."
    CONTENT_TYPE = "content_type" 415
        "The content type carries no CloudEvent.";
        "send `application/cloudevents+json`, `application/cloudevents-batch+json`, or `ce-` headers with any body";
        "`POST /events` reads three forms of CloudEvents: structured, batched and binary. Which one it is shows \
         in the content type and in the `ce-` headers.\n\nTo take bodies that are no CloudEvents, declare an \
         `http` source with a path of its own."

    // What is wrong with a request, whatever it says.
    BODY_TOO_LARGE = "body_too_large" 413
        "The body, or one event of a batch, is over a limit.";
        "send less at a time, or raise the limit that `detail` names in `[limits]`";
        "`[limits] event` (1 MiB unless the project says otherwise) bounds one event, attributes and data \
         together; `[limits] batch` bounds how many come in one request; a whole batch has at most 64 MiB. A body \
         that announces a larger length is refused before it is read, and the connection is closed."
    BODY_TIMEOUT = "body_timeout" 408
        "The body did not come in time.";
        "send the body without pauses; nothing of it was taken, so send the request again";
        "A body has 10 seconds, and as many more as its bytes need at 16 KiB a second. The connection is closed."
    BODY_INCOMPLETE = "body_incomplete" 400
        "The body broke off, or is not framed as HTTP has it.";
        "send the request again; nothing of it was taken";
        "The connection ended before the body did, or the chunks of a chunked body are malformed."
    CONTENT_ENCODING = "content_encoding" 415
        "The body is compressed.";
        "send it uncompressed";
        "Bodies are kept as the bytes that came, and signatures are checked over them, so nothing is inflated on \
         the way in."
    UNAUTHORIZED = "unauthorized" 401
        "The call needs the project's token.";
        "send `Authorization: Bearer` with the value of `[server] token`; the commands take it from EVENTYARD_TOKEN";
        "Where `[server] token` is set, every call needs it but `/healthz`, `/readyz` and the paths of `http` \
         sources. It is taken from the `Authorization` header alone, never from the query string."
    NOT_FOUND = "not_found" 404
        "There is nothing of that name or at that path.";
        "check the name that `where` shows";
        "The path is neither one of eventyard's own nor that of an enabled `http` source, or the thing that it \
         names does not exist (any more). Settled events are kept for `[store] retention`."
    METHOD_NOT_ALLOWED = "method_not_allowed" 405
        "The path exists, but not with this method.";
        "use one of the methods in the `Allow` header";
        "An `http` source takes POST unless its `methods` say otherwise."
    NOT_IN_THIS_VERSION = "not_in_this_version" 404
        "The path is reserved for a part that this version does not have.";
        "use a version that has it; `eventyard --version` shows which one this is";
        "Some paths and configuration keys are promised to parts that are still to come, so that nothing else \
         takes their place."
    BAD_PARAMETER = "bad_parameter" 400
        "A parameter of the path or the query has a value that cannot be read.";
        "correct the parameter that `where` names";
        "Times are RFC 3339 (`2026-11-21T12:00:00Z`), durations a number and a unit (`30s`), ids as they stand in \
         answers, names as they stand in the project."
    UNKNOWN_PARAMETER = "unknown_parameter" 400
        "The query has a parameter that this call does not know.";
        "remove or correct the parameter that `where` names";
        "A filter that is misspelt and ignored would answer another question than the one that was asked."
    BAD_CURSOR = "bad_cursor" 400
        "The cursor is none that this broker gave out.";
        "leave `cursor` out to start again from the first page";
        "A cursor is the `next` of the page before, unchanged. It stays good while things change, but not from \
         one data folder to another."
    BAD_REQUEST = "bad_request" 400
        "The JSON body of the call has the wrong shape.";
        "correct the field that `where` names";
        "Each call takes the fields that its documentation lists and no others, so that a misspelt one does not \
         go unnoticed."

    // What the broker cannot do now, and can again.
    BACKLOG_FULL = "backlog_full" 503
        "As many deliveries are waiting as `[limits] pending` allows.";
        "send the same event again, with the same id, after the time in Retry-After";
        "Nothing of the request was taken. The targets are slower than the sources, or one of them is down: \
         `eventyard status` shows the backlog of each."
    NO_SPACE = "no_space" 507
        "The disk has no room for more events.";
        "make room on the disk that holds the data folder, then send the same event again";
        "Nothing of the request was taken. Intake resumes by itself when there is room; what was accepted before \
         goes on being delivered, for its outcomes have reserved room."
    STORE_FAILED = "store_failed" 503
        "The journal cannot be written any more.";
        "see the log for what the disk said; the broker ends and, restarted, recovers what was acknowledged";
        "A failed write or sync is never tried again, because the kernel may have dropped the very pages in \
         question. Whether the request's events are on disk is unknown: send them again with the same ids, and \
         duplicates are recognised."
    STOPPING = "stopping" 503
        "The broker is about to stop.";
        "send the same event again after the time in Retry-After";
        "Nothing of the request was taken. Sources are closed first when the broker is told to stop."
    BUSY = "busy" 503
        "More requests wait than the broker takes at a time.";
        "send the same event again, with the same id, after the time in Retry-After";
        "Nothing of the request was taken. The queue in front of the journal, or the memory for bodies, is \
         bounded, so that a flood slows its senders down instead of filling the machine."
    TOO_MANY_CONNECTIONS = "too_many_connections" 503
        "As many connections are open as the broker takes.";
        "close connections that idle, then try again";
        "At most 4,096 connections, and at most half of the file descriptors that the process may open. Idle \
         connections are closed after 10 seconds."

    // What is asked of the API and cannot be done.
    RULES_REFUSED = "rules_refused" 422
        "The project does not load, so the last good one stays in force.";
        "run `eventyard check` in the project's folder: it shows every mistake with its line";
        "A project is loaded whole or not at all. The answer's `diagnostics` are those of `eventyard check`."
    CANNOT_FIRE = "cannot_fire" 409
        "The source cannot be fired by hand.";
        "fire a `timer` source that is enabled";
        "Only timers can be fired by hand; other sources have events only when somebody sends one."
    CHANNEL_FAILED = "channel_failed" 502
        "The channel did not take the test message.";
        "check the channel's address and secrets; `detail` is what it said";
        "A test message is sent once, at once, and is not retried."
    INTERNAL = "internal" 500
        "eventyard made a mistake.";
        "look for the error in the log and report it";
        "The request may or may not have been carried out. Events may be sent again with the same id: duplicates \
         are recognised."
    STORE_READ_FAILED = "store_read_failed" 500
        "The data folder could not be read.";
        "run `eventyard store verify` while the broker is stopped";
        "A read failed or what was read is damaged; the log names file and offset."
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_distinct_words_with_a_summary_a_fix_and_a_page() {
        let mut words = std::collections::BTreeSet::new();
        for code in CODES {
            assert!(words.insert(code.word), "{} stands twice", code.word);
            assert!(code.word.chars().all(|c| c.is_ascii_lowercase() || c == '_'), "{}", code.word);
            assert!((400..600).contains(&code.status), "{}", code.word);
            assert!(code.summary.ends_with('.') && !code.fix.ends_with('.') && !code.page.is_empty(), "{}", code.word);
        }
    }
}
