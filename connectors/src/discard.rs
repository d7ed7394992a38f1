//! The sink that succeeds and forgets, for trials and measurements.

use async_trait::async_trait;

use crate::sink::{SendError, SendRequest, Sent, Sink};
use crate::spec::{ConnectorSpec, Role};

/// As many at once as there may be in all: none of them is ever under way.
const SENDS_MAX: usize = 1024;

/// What `kind = "discard"` takes: nothing.
pub const SPEC: ConnectorSpec = ConnectorSpec {
    kind: "discard",
    role: Role::Sink,
    summary: "Succeeds at once and forgets, for trials and measurements.",
    fields: &[],
    example: "[sink.nowhere]\nkind = \"discard\"\n",
    guide: "",
};

/// Succeeds and forgets.
#[derive(Clone, Copy, Debug, Default)]
pub struct DiscardSink;

#[async_trait]
impl Sink for DiscardSink {
    async fn send(&self, _request: SendRequest) -> Result<Sent, SendError> {
        Ok(Sent { code: "discarded".to_owned(), ..Sent::default() })
    }

    fn concurrency(&self) -> Option<usize> {
        Some(SENDS_MAX)
    }
}
