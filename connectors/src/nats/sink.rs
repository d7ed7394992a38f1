//! Publishes, and waits for what there is to wait for.

use std::time::Duration;

use async_nats::connection::State;
use async_nats::jetstream::context::{Context, PublishErrorKind};
use async_nats::jetstream::{self, ErrorCode};
use async_nats::{Client, HeaderMap};
use async_trait::async_trait;
use bytes::Bytes;
use eventyard_event::hops;
use eventyard_event::http::write_binary;
use serde_json::Value;
use tokio::sync::Mutex;

use super::client::Connecting;
use super::config::SinkConfig;
use crate::sink::{PayloadForm, SendError, SendRequest, Sent, Sink};
use crate::spec::{ConfigError, read_checked};

/// How many sends at once: each waits for the server, so more of them carry more.
const SENDS_MAX: usize = 512;

/// Publishes to a subject.
pub struct NatsSink {
    connecting: Connecting,
    config: SinkConfig,
    /// A tokio Mutex: held while the first of many sends connects, so that the others do not as well. The client itself
    /// connects again when it has lost its server.
    connection: Mutex<Option<Connection>>,
}

#[derive(Clone)]
struct Connection {
    client: Client,
    context: Context,
}

impl NatsSink {
    /// # Errors
    /// What the table's shape cannot say.
    pub fn build(value: &Value) -> Result<NatsSink, Vec<ConfigError>> {
        let config: SinkConfig = read_checked(value)?;
        if !is_subject(&config.subject) {
            let message = format!("`{}` is no subject to publish to", config.subject.escape_debug());
            return Err(vec![
                ConfigError::at("subject", "bad_value", message)
                    .help("write words with dots between them, without spaces, * and >"),
            ]);
        }
        Ok(NatsSink { connecting: Connecting::build(value)?, config, connection: Mutex::new(None) })
    }

    async fn connection(&self) -> Result<Connection, SendError> {
        let mut connection = self.connection.lock().await;
        if let Some(connection) = connection.as_ref() {
            if connection.client.connection_state() == State::Disconnected {
                return Err(SendError::retryable("connection_lost", "the connection to the server is lost"));
            }
            return Ok(connection.clone());
        }
        let connected = self.connecting.connect("sink").await;
        let (client, _) = connected.map_err(|refused| SendError::retryable(refused.code, refused.message))?;
        let made = Connection { context: jetstream::new(client.clone()), client };
        *connection = Some(made.clone());
        Ok(made)
    }

    async fn publish(&self, request: &SendRequest) -> Result<Sent, SendError> {
        let Connection { client, context } = self.connection().await?;
        let (headers, body) = message(request);
        let line = |name: &str, value: &str| name.len() + value.len() + ": \r\n".len();
        let lines = headers.iter().flat_map(|(name, values)| values.iter().map(move |value| (name, value)));
        let head: usize = lines.map(|(name, value)| line(name.as_ref(), value.as_str())).sum();
        let bytes = "NATS/1.0\r\n\r\n".len() + head + body.len();
        let max = client.max_payload();
        if max > 0 && bytes > max {
            let message = format!("the message has {bytes} bytes, headers included, and the server takes {max}");
            return Err(SendError::permanent("too_large", message));
        }
        if !self.config.jetstream {
            let lost = |error: &dyn std::fmt::Display| SendError::retryable("connection_lost", error.to_string());
            client
                .publish_with_headers(self.config.subject.clone(), headers, body)
                .await
                .map_err(|error| lost(&error))?;
            client.flush().await.map_err(|error| lost(&error))?;
            return Ok(Sent { code: "published".into(), ..Sent::default() });
        }
        let acked = async { context.publish_with_headers(self.config.subject.clone(), headers, body).await?.await };
        let ack = acked.await.map_err(|error| refused(&error))?;
        let code = if ack.duplicate { "duplicate" } else { "stored" };
        let response_head = format!("{}/{}", ack.stream, ack.sequence);
        Ok(Sent { code: code.into(), response_head, ..Sent::default() })
    }
}

#[async_trait]
impl Sink for NatsSink {
    async fn connect(&self) -> Result<(), SendError> {
        self.connection().await.map(drop)
    }

    async fn send(&self, request: SendRequest) -> Result<Sent, SendError> {
        let timeout: Duration = request.timeout;
        tokio::time::timeout(timeout, self.publish(&request)).await.unwrap_or_else(|_| {
            Err(SendError::retryable("timeout", format!("the server has not confirmed within {timeout:?}")))
        })
    }

    fn carries_hops(&self) -> bool {
        true
    }

    fn concurrency(&self) -> Option<usize> {
        Some(SENDS_MAX)
    }

    async fn close(&self) {
        self.connection.lock().await.take();
    }
}

/// What goes to the server.
fn message(request: &SendRequest) -> (HeaderMap, Bytes) {
    let mut headers = HeaderMap::new();
    let payload = &request.payload;
    let content_type = payload.content_type.as_deref();
    if payload.form == PayloadForm::Raw {
        // Beside the attributes it gives the type of the event's data; the payload has one of its own.
        for (name, value) in write_binary(&request.event.event).0.iter().filter(|(name, _)| name != "content-type") {
            headers.insert(name.as_str(), value.as_str());
        }
    }
    if let Some(content_type) = content_type.filter(|text| text.bytes().all(|byte| matches!(byte, b' '..=b'~'))) {
        headers.insert("content-type", content_type);
    }
    headers.insert(async_nats::header::NATS_MESSAGE_ID, request.delivery.as_str());
    headers.insert(hops::HEADER, request.hops().to_string());
    if let Some(traceparent) = &request.traceparent {
        headers.insert("traceparent", traceparent.as_str());
    }
    (headers, payload.body.clone())
}

fn refused(error: &jetstream::context::PublishError) -> SendError {
    let message = eventyard_event::with_causes(error);
    let said = std::error::Error::source(error).and_then(|source| source.downcast_ref::<jetstream::Error>());
    match (error.kind(), said.map(jetstream::Error::error_code)) {
        (PublishErrorKind::StreamNotFound, _) => {
            SendError::retryable("no_stream", "no stream takes this subject, or the server has no JetStream")
        }
        (PublishErrorKind::TimedOut, _) => SendError::retryable("timeout", message),
        (PublishErrorKind::BrokenPipe, _) => SendError::retryable("connection_lost", message),
        (PublishErrorKind::MaxPayloadExceeded, _) => SendError::permanent("too_large", message),
        (
            _,
            Some(
                ErrorCode::STREAM_STORE_FAILED
                | ErrorCode::INSUFFICIENT_RESOURCES
                | ErrorCode::STORAGE_RESOURCES_EXCEEDED,
            ),
        ) => SendError::retryable("stream_full", message),
        (_, Some(ErrorCode::STREAM_MESSAGE_EXCEEDS_MAXIMUM)) => SendError::permanent("too_large", message),
        _ => SendError::retryable("refused", message),
    }
}

fn is_subject(subject: &str) -> bool {
    let word = |word: &str| {
        !word.is_empty() && word != "*" && word != ">" && word.chars().all(|c| !c.is_whitespace() && !c.is_control())
    };
    subject.split('.').all(word)
}
