//! Access tokens by client credentials (RFC 6749, section 4.4): asked for when first needed, kept until shortly before
//! they end, and asked for anew where a target refuses one that was kept.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, StatusCode};
use serde::Deserialize;
use tokio::sync::Mutex;
use tokio::time::Instant;
use url::Url;
use url::form_urlencoded::{Serializer, byte_serialize};

use super::answer::{not_answered, read_body};
use super::client::HttpClient;
use crate::secret::Secret;
use crate::sink::SendError;

/// How long a token is kept whose answer does not say how long it is good (RFC 6749, section 5.1, leaves that to other
/// means): short, for a refused one costs a second request anyway.
const LIFETIME_UNSAID: Duration = Duration::from_secs(300);

/// How long before its end a token is no longer sent: requests take time, and clocks differ.
const MARGIN: Duration = Duration::from_secs(30);

/// The longest that a token is kept, whatever its answer says.
const LIFETIME_MAX: Duration = Duration::from_secs(24 * 3600);

/// The longest access token, in bytes: it becomes a header of each request.
const TOKEN_BYTES_MAX: usize = 16 * 1024;

/// Where tokens come from, and the one that is held. Shared by all sends of a target.
#[derive(Debug)]
pub(super) struct ClientCredentials {
    client: HttpClient,
    token_url: Url,
    client_id: String,
    client_secret: Secret,
    in_body: bool,
    parameters: Vec<(&'static str, String)>,
    held: Mutex<Option<Held>>,
}

/// A token as the header that shows it.
#[derive(Clone, Debug)]
pub(super) struct Held {
    /// `Bearer …`, marked as sensitive.
    pub(super) header: HeaderValue,
    /// Whether it was there before this request asked.
    pub(super) was_kept: bool,
    good_until: Instant,
}

/// The token endpoint's answer, RFC 6749, section 5.1.
#[derive(Deserialize)]
struct Granted {
    access_token: String,
    #[serde(default)]
    token_type: String,
    expires_in: Option<serde_json::Number>,
}

/// The token endpoint's refusal, RFC 6749, section 5.2.
#[derive(Deserialize)]
struct RefusedGrant {
    error: String,
}

impl ClientCredentials {
    /// Asks for nothing yet. `scope` and `audience` are sent where they are there.
    pub(super) fn new(
        client: &HttpClient,
        token_url: Url,
        client_id: String,
        client_secret: Secret,
        in_body: bool,
        scope: Option<String>,
        audience: Option<String>,
    ) -> ClientCredentials {
        let parameters =
            [("scope", scope), ("audience", audience)].into_iter().filter_map(|(name, value)| Some((name, value?)));
        ClientCredentials {
            client: client.clone(),
            token_url,
            client_id,
            client_secret,
            in_body,
            parameters: parameters.collect(),
            held: Mutex::new(None),
        }
    }

    /// The token that is held, or a new one. Where several ask at once, one request is made and the others wait for it.
    ///
    /// # Errors
    /// `oauth2_unavailable`, retryable, where no answer came or a server's error; `oauth2_refused`, permanent, where the
    /// endpoint does not know us or says nothing that is a token.
    pub(super) async fn token(&self) -> Result<Held, SendError> {
        let mut held = self.held.lock().await;
        if let Some(kept) = held.as_ref().filter(|kept| Instant::now() < kept.good_until) {
            return Ok(Held { was_kept: true, ..kept.clone() });
        }
        let fetched = self.fetch().await?;
        *held = Some(fetched.clone());
        Ok(fetched)
    }

    /// Drops a token that a target has refused, unless it has been replaced already.
    pub(super) async fn distrust(&self, refused: &Held) {
        let mut held = self.held.lock().await;
        if held.as_ref().is_some_and(|kept| kept.header == refused.header) {
            *held = None;
        }
    }

    /// What is asked, RFC 6749, section 4.4.2.
    fn form(&self) -> String {
        let mut form = Serializer::new(String::new());
        form.append_pair("grant_type", "client_credentials").extend_pairs(&self.parameters);
        if self.in_body {
            form.append_pair("client_id", &self.client_id).append_pair("client_secret", self.client_secret.expose());
        }
        form.finish()
    }

    async fn fetch(&self) -> Result<Held, SendError> {
        let mut call = self.client.for_scheme(self.token_url.scheme())?.post(self.token_url.clone());
        if !self.in_body {
            // Both are form-encoded before they are joined: RFC 6749, section 2.3.1.
            let encoded = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
            let pair = format!("{}:{}", encoded(&self.client_id), encoded(self.client_secret.expose()));
            let mut value = HeaderValue::from_str(&format!("Basic {}", STANDARD.encode(pair)))
                .map_err(|_| refused("the client's id and secret make no header"))?;
            value.set_sensitive(true);
            call = call.header(AUTHORIZATION, value);
        }
        let call = call
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(ACCEPT, "application/json")
            .body(self.form());
        let response = call.send().await.map_err(|error| unavailable(&not_answered(&error)))?;
        let status = response.status();
        let (body, truncated) = read_body(response)
            .await
            .map_err(|_| SendError::retryable("oauth2_unavailable", "the token endpoint's answer broke off"))?;
        // Nothing of the body but one word is ever shown: it may hold a token.
        if !status.is_success() {
            return Err(not_granted(status, &body));
        }
        if truncated {
            return Err(refused("the token endpoint's answer is too long to be a token"));
        }
        granted(&body)
    }
}

fn granted(body: &[u8]) -> Result<Held, SendError> {
    let granted: Granted =
        serde_json::from_slice(body).map_err(|_| refused("the token endpoint's answer holds no access token"))?;
    if !granted.token_type.is_empty() && !granted.token_type.eq_ignore_ascii_case("bearer") {
        return Err(refused("the token endpoint gives tokens of another type than Bearer"));
    }
    if granted.access_token.is_empty() || granted.access_token.len() > TOKEN_BYTES_MAX {
        return Err(refused("the token endpoint's access token is empty or too long for a header"));
    }
    let mut header = HeaderValue::from_str(&format!("Bearer {}", granted.access_token))
        .map_err(|_| refused("the token endpoint's access token may not stand in a header"))?;
    header.set_sensitive(true);
    let said = granted.expires_in.and_then(|seconds| seconds.as_u64()).map(Duration::from_secs);
    let lifetime = said.unwrap_or(LIFETIME_UNSAID).min(LIFETIME_MAX);
    let good_for = lifetime.saturating_sub(MARGIN).max(lifetime / 2);
    Ok(Held { header, was_kept: false, good_until: Instant::now() + good_for })
}

fn not_granted(status: StatusCode, body: &[u8]) -> SendError {
    let word = serde_json::from_slice::<RefusedGrant>(body).map(|answer| answer.error).unwrap_or_default();
    let is_word = !word.is_empty() && word.len() <= 64 && word.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    let why = if is_word { format!("{status}, {word}") } else { status.to_string() };
    let message = format!("the token endpoint answered {why}");
    if status.is_server_error() || matches!(status.as_u16(), 408 | 425 | 429) {
        SendError::retryable("oauth2_unavailable", message)
    } else {
        SendError::permanent("oauth2_refused", message)
    }
}

fn unavailable(error: &SendError) -> SendError {
    let message = format!("no token: {}", error.message);
    // An address that may not be called is said under its own code.
    if error.retryable {
        SendError::retryable("oauth2_unavailable", message)
    } else {
        SendError::permanent(error.code.clone(), message)
    }
}

fn refused(message: &str) -> SendError {
    SendError::permanent("oauth2_refused", message)
}
