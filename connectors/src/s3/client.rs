//! The client of one bucket, and what its failures mean.

use std::sync::OnceLock;
use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{
    BehaviorVersion, Region, RequestChecksumCalculation, ResponseChecksumValidation, StalledStreamProtectionConfig,
};
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::{Builder, tls};
use eventyard_event::with_causes;
use serde_json::Value;
use url::Url;

use super::credentials;
use super::settings::StoreConfig;
use super::text::cut;
use crate::sink::{RETRY_AFTER_MAX, SendError};
use crate::source::SourceError;
use crate::spec::{ConfigError, read_checked};
use crate::tls::is_refused;

/// How long a connection may take to stand.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a store may be silent within a request before it is given up.
const READ_TIMEOUT: Duration = Duration::from_secs(30);

/// How much of what a store says of an error is kept, in bytes.
const SAID_BYTES_MAX: usize = 300;

/// A bucket, and the client for it, made when it is first needed.
pub(super) struct Bucket {
    config: StoreConfig,
    client: OnceLock<Client>,
}

impl std::fmt::Debug for Bucket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bucket").field("config", &self.config).finish_non_exhaustive()
    }
}

/// Where the project names no region.
fn region_of_environment() -> Option<String> {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    variable("AWS_REGION").or_else(|| variable("AWS_DEFAULT_REGION"))
}

impl Bucket {
    /// From a table that was held against its fields; connects to nothing.
    pub(super) fn build(table: &Value) -> Result<Bucket, Vec<ConfigError>> {
        let config: StoreConfig = read_checked(table)?;
        let mut errors = Vec::new();
        if let Some(endpoint) = &config.endpoint {
            let good = Url::parse(endpoint).is_ok_and(|url| {
                matches!(url.scheme(), "http" | "https") && url.host().is_some() && url.query().is_none()
            });
            if !good {
                let error = ConfigError::at("endpoint", "bad_url", "this is no address of a store");
                errors.push(error.help("write http://HOST:PORT or https://HOST"));
            }
        }
        if !is_bucket_name(&config.bucket) {
            let message = format!("`{}` is no bucket's name", config.bucket.escape_default());
            errors.push(ConfigError::at("bucket", "bad_value", message).help("3 to 63 of a-z, 0-9, `-`, `_` and `.`"));
        }
        match (&config.access_key_id, &config.secret_access_key) {
            (Some(_), None) => errors.push(lacks("secret_access_key", "access_key_id")),
            (None, Some(_)) => errors.push(lacks("access_key_id", "secret_access_key")),
            (None, None) if config.session_token.is_some() => errors.push(lacks("access_key_id", "session_token")),
            (Some(_), Some(_)) if config.credentials.is_some() => {
                let message = "`credentials` says where to look for what stands here already";
                errors.push(ConfigError::at("credentials", "conflict", message).help("leave it out"));
            }
            _ => {}
        }
        if errors.is_empty() { Ok(Bucket { config, client: OnceLock::new() }) } else { Err(errors) }
    }

    /// The bucket's name.
    pub(super) fn name(&self) -> &str {
        &self.config.bucket
    }

    /// Where the store answers, for people and to tell stores apart.
    pub(super) fn endpoint(&self) -> &str {
        self.config.endpoint.as_deref().unwrap_or("aws")
    }

    /// The client.
    ///
    /// # Errors
    /// Where there are no keys, and no role is asked for.
    pub(super) fn client(&self) -> Result<&Client, Failure> {
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        let built = self.make()?;
        Ok(self.client.get_or_init(|| built))
    }

    fn make(&self) -> Result<Client, Failure> {
        let region = self.config.region.clone().or_else(region_of_environment);
        let region = Region::new(region.unwrap_or_else(|| "us-east-1".to_owned()));
        let https = || Builder::new().tls_provider(tls::Provider::Rustls(CryptoMode::Ring)).build_https();
        let credentials = credentials::provider(&self.config, &region, https)?;
        let endpoint = self.config.endpoint.as_deref();
        let mut config = aws_sdk_s3::Config::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .region(region)
            .credentials_provider(credentials)
            .force_path_style(self.config.path_style.unwrap_or(endpoint.is_some()))
            // The supervisor and the broker do this, and people see it.
            .retry_config(RetryConfig::disabled())
            .timeout_config(
                TimeoutConfig::builder().connect_timeout(CONNECT_TIMEOUT).read_timeout(READ_TIMEOUT).build(),
            )
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            // Not every store that speaks S3 knows AWS's newer checksums.
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
            .response_checksum_validation(ResponseChecksumValidation::WhenRequired);
        if let Some(endpoint) = endpoint {
            config = config.endpoint_url(endpoint.trim_end_matches('/'));
        }
        // Without TLS no certificates are read, which some machines do not have.
        let plain = endpoint.is_some_and(|endpoint| endpoint.starts_with("http://"));
        let http = if plain { Builder::new().build_http() } else { https() };
        Ok(Client::from_conf(config.http_client(http).build()))
    }
}

fn lacks(missing: &str, given: &str) -> ConfigError {
    ConfigError {
        path: Vec::new(),
        code: "missing_key",
        message: format!("`{given}` stands here without `{missing}`"),
        help: Some("give both, or neither and set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY".to_owned()),
    }
}

/// What AWS allows, and the capitals and underscores that older buckets and other stores have.
fn is_bucket_name(name: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    (3..=63).contains(&name.len()) && name.bytes().all(inner) && !name.contains("..") && !name.starts_with(['.', '-'])
}

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
            _ if credentials::are_missing(&error) => {
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

#[cfg(test)]
mod tests {
    use serde_json::json;

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

    #[test]
    fn a_bucket_is_checked_before_anything_is_called() {
        let codes = |table: Value| match Bucket::build(&table) {
            Ok(_) => Vec::new(),
            Err(errors) => errors.into_iter().map(|error| error.code).collect(),
        };
        assert!(codes(json!({ "bucket": "photos" })).is_empty());
        assert_eq!(codes(json!({ "bucket": "a/b", "endpoint": "127.0.0.1:9000" })), ["bad_url", "bad_value"]);
        assert_eq!(codes(json!({ "bucket": "photos", "access_key_id": "x" })), ["missing_key"]);
        assert_eq!(codes(json!({ "bucket": "photos", "secret_access_key": "x" })), ["missing_key"]);
        let bucket = Bucket::build(&json!({ "bucket": "photos", "access_key_id": "x", "secret_access_key": "hidden" }));
        assert!(!format!("{bucket:?}").contains("hidden"));
    }
}
