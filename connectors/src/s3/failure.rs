//! What the failures of a store mean.

use std::time::Duration;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use eventyard_event::with_causes;

use super::text::cut;
use crate::sink::{RETRY_AFTER_MAX, SendError};
use crate::source::SourceError;
use crate::tls::is_refused;

/// How much of what a store says of an error is kept, in bytes.
const SAID_BYTES_MAX: usize = 300;

/// A request that did not do what it should.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    /// A stable word.
    pub(super) code: &'static str,
    /// What happened, without secrets.
    pub(super) message: String,
    /// Whether another try may help.
    pub(super) retryable: bool,
    /// When the store says to come back.
    pub(super) retry_after: Option<Duration>,
}

impl Failure {
    pub(super) fn passing(code: &'static str, message: impl Into<String>) -> Failure {
        Failure { code, message: message.into(), retryable: true, retry_after: None }
    }

    pub(super) fn lasting(code: &'static str, message: impl Into<String>) -> Failure {
        Failure { retryable: false, ..Failure::passing(code, message) }
    }

    /// Too long without an answer.
    pub(super) fn timeout(limit: Duration) -> Failure {
        Failure::passing("timeout", format!("no complete answer within {} ms", limit.as_millis()))
    }

    /// From what the client says; `doing` is what was asked, such as `PutObject`.
    pub(super) fn of<E>(doing: &str, error: SdkError<E, HttpResponse>) -> Failure
    where
        E: std::error::Error + ProvideErrorMetadata + 'static,
    {
        match &error {
            _ if are_missing(&error) => {
                Failure::passing("auth", format!("{doing}: there are no credentials: {}", causes(&error)))
            }
            SdkError::ServiceError(context) => {
                let raw = context.raw();
                let said = Said {
                    status: raw.status().as_u16(),
                    code: context.err().code().unwrap_or_default(),
                    message: context.err().message().unwrap_or_default(),
                    retry_after: raw.headers().get("retry-after"),
                };
                said.failure(doing)
            }
            SdkError::TimeoutError(_) => Failure::passing("timeout", format!("{doing}: no answer in time")),
            SdkError::DispatchFailure(failure) if failure.is_timeout() => {
                Failure::passing("timeout", format!("{doing}: no answer in time"))
            }
            SdkError::DispatchFailure(_) if is_refused(&error) => {
                Failure::passing("tls", format!("{doing}: TLS with the store failed: {}", causes(&error)))
            }
            SdkError::DispatchFailure(_) => {
                Failure::passing("connect", format!("{doing}: no connection to the store: {}", causes(&error)))
            }
            SdkError::ResponseError(_) => Failure::passing(
                "response_broken",
                format!("{doing}: the store's answer broke off: {}", causes(&error)),
            ),
            _ => Failure::lasting("request", format!("{doing}: the request cannot be made: {}", causes(&error))),
        }
    }

    /// For a source: every failure is tried again, for whoever runs the store may mend it.
    pub(super) fn of_source(self) -> SourceError {
        SourceError::Failed { code: self.code, message: self.message }
    }

    /// For a sink.
    pub(super) fn of_send(self) -> SendError {
        let base = if self.retryable {
            SendError::retryable(self.code, self.message)
        } else {
            SendError::permanent(self.code, self.message)
        };
        SendError { retry_after: self.retry_after, ..base }
    }
}

/// The client's own text of an error is one general word; its causes say what happened.
fn causes(error: &(dyn std::error::Error + 'static)) -> String {
    let text = error.source().map_or_else(|| error.to_string(), with_causes);
    cut(&text, SAID_BYTES_MAX).to_owned()
}

/// What a store answered instead of what it was asked for.
struct Said<'a> {
    status: u16,
    /// The store's word, such as `AccessDenied`; empty where the answer had no body (HEAD).
    code: &'a str,
    message: &'a str,
    retry_after: Option<&'a str>,
}

impl Said<'_> {
    fn failure(&self, doing: &str) -> Failure {
        let said = [self.code, self.message].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(": ");
        let said = cut(&said, SAID_BYTES_MAX);
        let status = self.status;
        let message = |what: &str| {
            if said.is_empty() {
                format!("{doing}: {what} (HTTP {status})")
            } else {
                format!("{doing}: {what} (HTTP {status}, {said})")
            }
        };
        let (code, what, retryable) = match (status, self.code) {
            // A clock that is off is set right one day; the key is good.
            (_, "RequestTimeTooSkewed") => ("clock_skew", "the store's clock and ours differ too much", true),
            (
                _,
                "InvalidAccessKeyId"
                | "SignatureDoesNotMatch"
                | "InvalidToken"
                | "ExpiredToken"
                | "TokenRefreshRequired",
            )
            | (401, _) => ("auth", "the store does not believe our credentials", true),
            (403, _) => ("forbidden", "the store does not let us", false),
            (_, "NoSuchBucket") => ("no_such_bucket", "there is no such bucket", false),
            (404, _) => ("object_gone", "there is no such object", false),
            (301 | 307 | 308, _) | (_, "AuthorizationHeaderMalformed" | "PermanentRedirect") => {
                ("wrong_region", "the bucket is in another region, or at another endpoint", false)
            }
            (503, _) | (_, "SlowDown" | "TooManyRequests") | (429, _) => {
                ("slow_down", "the store asks us to slow down", true)
            }
            // Some stores say so with 400.
            (_, "RequestTimeout") | (408 | 425, _) => ("timeout", "the store waited too long for our request", true),
            (409, _) => ("conflict", "something else is being done to the same object or bucket", true),
            (500.., _) => ("http_status", "the store failed", true),
            _ => ("http_status", "the store refused", false),
        };
        let asked = self.retry_after.filter(|_| retryable).and_then(|text| text.trim().parse().ok());
        let retry_after = asked.map(|seconds| Duration::from_secs(seconds).min(RETRY_AFTER_MAX));
        Failure { code, message: message(what), retryable, retry_after }
    }
}

/// Whether a request failed because nobody said who we are.
fn are_missing(error: &(dyn std::error::Error + 'static)) -> bool {
    std::iter::successors(Some(error), |error| error.source()).any(|error| error.is::<CredentialsError>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_tried_again_is_told_from_what_may_not() {
        let judged = |status, code| {
            let said = Said { status, code, message: "", retry_after: Some("7") };
            let failure = said.failure("PutObject");
            (failure.code, failure.retryable, failure.retry_after.map(|wait| wait.as_secs()))
        };
        assert_eq!(judged(403, "AccessDenied"), ("forbidden", false, None));
        assert_eq!(judged(403, ""), ("forbidden", false, None));
        assert_eq!(judged(403, "SignatureDoesNotMatch"), ("auth", true, Some(7)));
        assert_eq!(judged(403, "InvalidAccessKeyId"), ("auth", true, Some(7)));
        assert_eq!(judged(403, "RequestTimeTooSkewed"), ("clock_skew", true, Some(7)));
        assert_eq!(judged(404, "NoSuchBucket"), ("no_such_bucket", false, None));
        assert_eq!(judged(404, "NoSuchKey"), ("object_gone", false, None));
        assert_eq!(judged(503, "SlowDown"), ("slow_down", true, Some(7)));
        assert_eq!(judged(500, "InternalError"), ("http_status", true, Some(7)));
        assert_eq!(judged(400, "RequestTimeout"), ("timeout", true, Some(7)));
        assert_eq!(judged(400, "EntityTooLarge"), ("http_status", false, None));
        assert_eq!(judged(301, "PermanentRedirect"), ("wrong_region", false, None));
    }
}
