//! What comes back of a request that we make: the answer, within limits, or why there is none.

use bytes::{Bytes, BytesMut};
use eventyard_event::with_causes;
use http::{HeaderMap, StatusCode};

use super::egress::EgressBlocked;
use crate::sink::{RESPONSE_BODY_BYTES_MAX, RESPONSE_HEAD_BYTES_MAX, SendError};
use crate::tls;

/// Reads up to [`RESPONSE_BODY_BYTES_MAX`]; what comes after it is not waited for. True where something came after it.
pub(super) async fn read_body(mut response: reqwest::Response) -> Result<(Bytes, bool), reqwest::Error> {
    let mut body = BytesMut::new();
    while let Some(chunk) = response.chunk().await? {
        let room = RESPONSE_BODY_BYTES_MAX.saturating_sub(body.len());
        if chunk.len() > room {
            body.extend_from_slice(chunk.get(..room).unwrap_or(&chunk));
            return Ok((body.freeze(), true));
        }
        body.extend_from_slice(&chunk);
    }
    Ok((body.freeze(), false))
}

/// What it means that nothing was answered.
pub(super) fn not_answered(error: &reqwest::Error) -> SendError {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(inner) = cause {
        if let Some(blocked) = inner.downcast_ref::<EgressBlocked>() {
            return SendError::permanent("egress_blocked", blocked.to_string());
        }
        cause = inner.source();
    }
    // The URL stays out of it: its query may hold a key.
    let causes = std::error::Error::source(error).map(with_causes).unwrap_or_default();
    if tls::is_refused(error) {
        SendError::retryable("tls", format!("TLS with the target failed: {causes}"))
    } else if error.is_connect() {
        SendError::retryable("connect", format!("no connection to the target: {causes}"))
    } else {
        SendError::retryable("connection_lost", format!("the connection broke before an answer came: {causes}"))
    }
}

/// What it means that an answer broke off behind its head.
pub(super) fn broke_off(status: StatusCode, error: &reqwest::Error) -> SendError {
    let causes = std::error::Error::source(error).map(with_causes).unwrap_or_default();
    SendError::retryable("response_broken", format!("the target answered {status}, and its answer broke off: {causes}"))
}

/// The status line, the headers and the beginning of the body, as text and within the cap. Cookies are left out.
pub(super) fn response_head(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> String {
    let mut text = format!("HTTP {status}\n");
    for (name, value) in headers.iter().filter(|(name, _)| *name != http::header::SET_COOKIE) {
        text.push_str(&format!("{name}: {}\n", String::from_utf8_lossy(value.as_bytes())));
        if text.len() > RESPONSE_HEAD_BYTES_MAX {
            break;
        }
    }
    text.push('\n');
    let start = body.get(..RESPONSE_HEAD_BYTES_MAX).unwrap_or(body);
    text.push_str(&String::from_utf8_lossy(start));
    let end = text.floor_char_boundary(RESPONSE_HEAD_BYTES_MAX);
    text.truncate(end);
    text
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use reqwest::dns::{Name, Resolve, Resolving};

    use super::*;
    use crate::http::install_crypto;

    /// Resolves every name to an address that may not be called.
    struct Blocked;

    impl Resolve for Blocked {
        fn resolve(&self, _name: Name) -> Resolving {
            Box::pin(async { Err(EgressBlocked([169, 254, 169, 254].into()).into()) })
        }
    }

    #[tokio::test]
    async fn a_name_that_leads_to_a_forbidden_address_fails_for_good() {
        install_crypto();
        let client = reqwest::Client::builder().dns_resolver(Arc::new(Blocked)).tls_certs_only([]).build().unwrap();
        let error = client.get("http://metadata.test/").send().await.unwrap_err();
        let error = not_answered(&error);
        assert_eq!((error.code.as_str(), error.retryable), ("egress_blocked", false));
    }
}
