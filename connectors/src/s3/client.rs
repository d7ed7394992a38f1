//! The client of one bucket.

use std::sync::OnceLock;
use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{
    BehaviorVersion, Region, RequestChecksumCalculation, ResponseChecksumValidation, StalledStreamProtectionConfig,
};
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::{Builder, tls};
use serde_json::Value;
use url::Url;

use super::credentials;
use super::failure::Failure;
use super::settings::StoreConfig;
use crate::spec::{ConfigError, read_checked};

/// How long a connection may take to stand.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a store may be silent within a request before it is given up.
const READ_TIMEOUT: Duration = Duration::from_secs(30);

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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

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
