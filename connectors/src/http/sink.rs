//! Sends a delivery as one HTTP request.
//!
//! | answer | outcome |
//! |---|---|
//! | 2xx | sent |
//! | 3xx | permanent, `redirect_refused`: where a redirect leads is the target's word, not the operator's |
//! | 408, 425, 429, 5xx | retryable; `Retry-After` is passed on |
//! | any other | permanent |
//! | no connection, a time-out, an answer that breaks off | retryable |
//!
//! Of an answer's body 64 KiB are read; the status decides also where there was more.

use std::net::IpAddr;

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use eventyard_event::http::write_binary;
use eventyard_event::{hops, json};
use http::header::{AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use serde_json::Value;
use url::{Host, Url};

use super::answer::{broke_off, not_answered, read_body, response_head};
use super::client::HttpClient;
use super::config::{AuthConfig, OAuth2Config, SignConfig, TargetConfig};
use super::egress;
use super::oauth2::ClientCredentials;
use super::retry_after::retry_after;
use super::verify::{Key, checked, header_name, standard_webhooks_key, standard_webhooks_signed};
use crate::sink::{PayloadForm, SendError, SendRequest, Sent, Sink};
use crate::spec::{ConfigError, read_checked};

/// Headers that are the broker's or the connection's; the project may not set them.
const HEADERS_TAKEN: &[&str] = &[
    "connection",
    "content-length",
    "eventyard-attempt",
    hops::HEADER,
    "expect",
    "host",
    "keep-alive",
    "te",
    "traceparent",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "webhook-id",
    "webhook-signature",
    "webhook-timestamp",
];

/// How many access tokens one attempt shows to a target that refuses them: the one that was kept, and a new one.
const TOKENS_TRIED_MAX: u32 = 2;

/// The header of signatures, of which a receiver believes one.
const SIGNATURE: &str = "webhook-signature";

/// An address that deliveries are sent to: a rule's `http` target, a sink of kind `http`, a channel of kind
/// `webhook`.
#[derive(Debug)]
pub struct HttpSink {
    client: HttpClient,
    url: Url,
    method: Method,
    /// The project's headers and the authentication; those of one delivery are added to a copy.
    headers: HeaderMap,
    structured: bool,
    oauth2: Option<ClientCredentials>,
    /// Each of these signs.
    keys: Vec<Key>,
}

impl HttpSink {
    /// Makes a sink from its table (held against [`TARGET_FIELDS`](super::TARGET_FIELDS)); connects to nothing.
    ///
    /// # Errors
    /// Everything that will not do, each with the key it stands at. No error repeats a header's value.
    pub fn build(table: &Value, client: &HttpClient) -> Result<HttpSink, Vec<ConfigError>> {
        let config: TargetConfig = read_checked(table)?;
        let mut errors = Vec::new();
        let url = check_url(&config.url, "url", client).map_err(|error| errors.push(error)).ok();
        let headers = headers(&config).map_err(|found| errors.extend(found)).ok();
        let method = Method::from_bytes(config.method.as_bytes())
            .map_err(|_| errors.push(ConfigError::at("method", "bad_value", "this is no method")))
            .ok();
        let keys = keys(config.sign.as_ref()).map_err(|found| errors.extend(found)).ok();
        let structured = config.format == "structured";
        let oauth2 = match config.auth {
            Some(AuthConfig::Oauth2(config)) => oauth2(config, client).map_err(|found| errors.extend(found)).ok(),
            _ => None,
        };
        match (url, headers, method, keys) {
            (Some(url), Some(headers), Some(method), Some(keys)) if errors.is_empty() => {
                Ok(HttpSink { client: client.clone(), url, method, headers, structured, oauth2, keys })
            }
            _ => Err(errors),
        }
    }

    /// Where it sends to, without the query (which may hold a key); for people.
    #[must_use]
    pub fn address(&self) -> String {
        let mut url = self.url.clone();
        url.set_query(None);
        url.to_string()
    }

    fn request(&self, request: &SendRequest) -> Result<(HeaderMap, Bytes), SendError> {
        let payload = &request.payload;
        let mut headers = self.headers.clone();
        let mut content_type = payload.content_type.clone();
        let mut body = payload.body.clone();
        match payload.form {
            PayloadForm::Raw if self.structured => {
                content_type = Some(json::STRUCTURED.into());
                body = Bytes::from(request.event.structured_json());
            }
            PayloadForm::Raw => {
                let (attributes, _) = write_binary(&request.event.event);
                for (name, value) in attributes.iter().filter(|(name, _)| name.starts_with("ce-")) {
                    set(&mut headers, name, value)?;
                }
            }
            PayloadForm::Structured => {
                content_type.get_or_insert_with(|| json::STRUCTURED.into());
            }
            PayloadForm::Shaped => {}
        }
        if let Some(content_type) = content_type
            && !headers.contains_key(CONTENT_TYPE)
        {
            set(&mut headers, "content-type", &content_type)?;
        }
        set(&mut headers, "webhook-id", &request.delivery)?;
        let signed_at = request.at.as_millis().div_euclid(1000).to_string();
        set(&mut headers, "webhook-timestamp", &signed_at)?;
        set(&mut headers, "eventyard-attempt", &request.attempt.to_string())?;
        set(&mut headers, hops::HEADER, &request.hops().to_string())?;
        if let Some(traceparent) = &request.traceparent {
            set(&mut headers, "traceparent", traceparent)?;
        }
        // A body under GET means nothing to HTTP, and some servers refuse it.
        if self.method == Method::GET {
            headers.remove(CONTENT_TYPE);
            body = Bytes::new();
        }
        if !self.keys.is_empty() {
            let pieces = standard_webhooks_signed(&request.delivery, &signed_at, &body);
            let signatures = self.keys.iter().map(|key| format!("v1,{}", STANDARD.encode(key.hmac_sha256(&pieces))));
            set(&mut headers, SIGNATURE, &signatures.collect::<Vec<_>>().join(" "))?;
        }
        Ok((headers, body))
    }

    /// Sends the request; with the token of now, and where a kept one is refused once more with a new one: it may have
    /// been taken back since.
    async fn exchange(&self, mut headers: HeaderMap, body: Bytes) -> Result<reqwest::Response, SendError> {
        let Some(oauth2) = &self.oauth2 else { return self.send_once(headers, body).await };
        let mut tried = 0;
        loop {
            let held = oauth2.token().await?;
            headers.insert(AUTHORIZATION, held.header.clone());
            let response = self.send_once(headers.clone(), body.clone()).await?;
            tried += 1;
            if response.status() != StatusCode::UNAUTHORIZED {
                return Ok(response);
            }
            oauth2.distrust(&held).await;
            if !held.was_kept || tried == TOKENS_TRIED_MAX {
                return Ok(response);
            }
        }
    }

    async fn send_once(&self, headers: HeaderMap, body: Bytes) -> Result<reqwest::Response, SendError> {
        let client = self.client.for_scheme(self.url.scheme())?;
        let call = client.request(self.method.clone(), self.url.clone()).headers(headers);
        let call = if body.is_empty() { call } else { call.body(body) };
        call.send().await.map_err(|error| not_answered(&error))
    }

    async fn call(&self, request: &SendRequest) -> Result<Sent, SendError> {
        let (headers, body) = self.request(request)?;
        let response = self.exchange(headers, body).await?;
        let (status, headers) = (response.status(), response.headers().clone());
        let (body, truncated) = read_body(response).await.map_err(|error| SendError {
            response_head: response_head(status, &headers, &[]),
            ..broke_off(status, &error)
        })?;
        let sent = judge(status, &headers, body, request)?;
        Ok(Sent { truncated, ..sent })
    }
}

#[async_trait]
impl Sink for HttpSink {
    async fn send(&self, request: SendRequest) -> Result<Sent, SendError> {
        // One deadline over all of it: the name, the connection, the answer and its body, however slowly it drips.
        match tokio::time::timeout(request.timeout, self.call(&request)).await {
            Ok(result) => result,
            Err(_) => {
                let millis = request.timeout.as_millis();
                Err(SendError::retryable("timeout", format!("no complete answer within {millis} ms")))
            }
        }
    }

    fn carries_hops(&self) -> bool {
        true
    }
}

fn judge(status: StatusCode, headers: &HeaderMap, body: Bytes, request: &SendRequest) -> Result<Sent, SendError> {
    let head = response_head(status, headers, &body);
    let code = format!("http_{}", status.as_u16());
    if status.is_success() {
        let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let status = Some(status.as_u16());
        return Ok(Sent { code: code.into(), response_head: head, status, content_type, body, truncated: false });
    }
    let answer = format!("the target answered {status}");
    if status.is_redirection() {
        let message = format!("{answer}, and redirects are not followed; write the address it leads to");
        return Err(SendError { response_head: head, ..SendError::permanent("redirect_refused", message) });
    }
    let retryable = status.is_server_error() || matches!(status.as_u16(), 408 | 425 | 429);
    let asked = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok());
    let retry_after = asked.filter(|_| retryable).and_then(|text| retry_after(text, request.at));
    Err(SendError { code, message: answer, response_head: head, retryable, retry_after })
}

/// Sets a header of one delivery. A value that no header can hold (a line break above all) fails for good.
fn set(headers: &mut HeaderMap, name: &str, value: &str) -> Result<(), SendError> {
    let refused = || {
        SendError::permanent("header_invalid", format!("the value for the header {name} is not allowed in a header"))
    };
    let header = HeaderName::from_bytes(name.as_bytes()).map_err(|_| refused())?;
    headers.insert(header, HeaderValue::from_str(value).map_err(|_| refused())?);
    Ok(())
}

/// Where an address says whom it calls, before it is known to be one.
fn authority(text: &str) -> &str {
    let after_scheme = text.split_once(':').map_or(text, |(_, rest)| rest).trim_start_matches(['/', '\\']);
    after_scheme.split(['/', '\\', '?', '#']).next().unwrap_or_default()
}

/// An address that may be called, as the project writes it at `key`.
fn check_url(text: &str, key: &str, client: &HttpClient) -> Result<Url, ConfigError> {
    let at = |code, message: &str, help: &str| ConfigError::at(key, code, message).help(help);
    // The parser drops line breaks and tabs without a word; an address that has some is no honest mistake.
    if text.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err(at("bad_url", "the address holds spaces or line breaks", "percent-encode what belongs there"));
    }
    // Whoever sends an event must not say which machine is called.
    if authority(text).contains(['{', '}', '<', '>']) {
        let message = "the host of an address cannot come from an event";
        return Err(at("bad_url", message, "write the host out, and make one rule for each"));
    }
    let url = Url::parse(text).map_err(|error| {
        at("bad_url", &format!("this is no address: {error}"), "write it like https://example.com/path")
    })?;
    if !matches!(url.scheme(), "http" | "https") {
        let message = format!("`{}:` cannot be called", url.scheme());
        return Err(at("bad_url", &message, "use http or https"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        let help = "write auth = { kind = \"basic\", username = \"…\", password = { env = \"…\" } }";
        return Err(at("bad_url", "a user or password may not stand in an address, where logs would show it", help));
    }
    let literal = match url.host() {
        Some(Host::Ipv4(address)) => Some(IpAddr::V4(address)),
        Some(Host::Ipv6(address)) => Some(IpAddr::V6(address)),
        Some(Host::Domain(_)) => None,
        None => return Err(at("bad_url", "the address names no host", "write it like https://example.com/path")),
    };
    if let Some(address) = literal {
        egress::check(address, client.allowed()).map_err(|blocked| {
            at(
                "egress_blocked",
                &blocked.to_string(),
                "add its network to `egress_allow` under `[server]` if it is meant",
            )
        })?;
    }
    Ok(url)
}

fn headers(config: &TargetConfig) -> Result<HeaderMap, Vec<ConfigError>> {
    let mut headers = HeaderMap::new();
    let mut errors = Vec::new();
    for (name, value) in &config.headers {
        let refused = |message: String| ConfigError::at(name, "bad_value", message).within("headers");
        let Ok(header) = HeaderName::from_bytes(name.as_bytes()) else {
            errors.push(refused(format!("`{}` is no header's name", name.escape_default())));
            continue;
        };
        if HEADERS_TAKEN.contains(&header.as_str()) || header.as_str().starts_with("ce-") {
            errors.push(refused(format!("the header `{header}` is set by the broker")));
            continue;
        }
        match HeaderValue::from_str(value.expose()) {
            Ok(value) => {
                headers.insert(header, value);
            }
            Err(_) => {
                errors.push(refused("a header's value may not hold line breaks or control characters".to_owned()))
            }
        }
    }
    if let Some(AuthConfig::Oauth2(_)) = &config.auth {
        if headers.contains_key(AUTHORIZATION) {
            errors.push(auth_conflict(&AUTHORIZATION));
        }
    } else if let Some(auth) = &config.auth {
        match auth_header(auth) {
            Ok((name, value)) if !headers.contains_key(&name) => {
                headers.insert(name, value);
            }
            Ok((name, _)) => errors.push(auth_conflict(&name)),
            Err(found) => errors.extend(found.into_iter().map(|error| error.within("auth"))),
        }
    }
    if errors.is_empty() { Ok(headers) } else { Err(errors) }
}

fn auth_conflict(name: &HeaderName) -> ConfigError {
    ConfigError::at("auth", "conflict", format!("the header `{name}` stands under `headers` too"))
        .help("leave out one of the two")
}

/// What signs, by `sign`.
fn keys(sign: Option<&SignConfig>) -> Result<Vec<Key>, Vec<ConfigError>> {
    let Some(SignConfig::StandardWebhooks { secret }) = sign else { return Ok(Vec::new()) };
    checked(secret, "secret")
        .and_then(|texts| texts.into_iter().map(standard_webhooks_key).collect())
        .map_err(|errors| errors.into_iter().map(|error| error.within("sign")).collect())
}

/// Where tokens come from, by `auth = { kind = "oauth2" }`.
fn oauth2(config: OAuth2Config, client: &HttpClient) -> Result<ClientCredentials, Vec<ConfigError>> {
    let token_url = check_url(&config.token_url, "token_url", client).map_err(|error| vec![error.within("auth")])?;
    if config.client_secret.expose().is_empty() {
        return Err(vec![secret_empty("client_secret").within("auth")]);
    }
    let in_body = config.credentials == "body";
    let OAuth2Config { client_id, client_secret, scope, audience, .. } = config;
    Ok(ClientCredentials::new(client, token_url, client_id, client_secret, in_body, scope, audience))
}

fn secret_empty(key: &str) -> ConfigError {
    ConfigError::at(key, "secret_empty", "an empty secret proves nothing")
        .help("where it comes from the environment, see that the variable is set")
}

fn auth_header(auth: &AuthConfig) -> Result<(HeaderName, HeaderValue), Vec<ConfigError>> {
    let (name, key, secret, text) = match auth {
        AuthConfig::Bearer { token } => (AUTHORIZATION, "token", token, format!("Bearer {}", token.expose())),
        AuthConfig::Basic { username, password } => {
            if username.contains(':') {
                return Err(vec![ConfigError::at("username", "bad_value", "a user's name may not hold `:`")]);
            }
            let pair = STANDARD.encode(format!("{username}:{}", password.expose()));
            (AUTHORIZATION, "password", password, format!("Basic {pair}"))
        }
        AuthConfig::ApiKey { header, secret } => {
            (header_name(header, "header")?, "secret", secret, secret.expose().to_owned())
        }
        AuthConfig::Oauth2(_) => return Err(Vec::new()),
    };
    if secret.expose().is_empty() {
        return Err(vec![secret_empty(key)]);
    }
    let mut value = HeaderValue::from_str(&text)
        .map_err(|_| vec![ConfigError::at(key, "bad_value", "a secret sent in a header may not hold line breaks")])?;
    value.set_sensitive(true);
    Ok((name, value))
}
