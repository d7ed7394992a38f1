//! The sink that succeeds and forgets, for trials and measurements.

use std::sync::Arc;

use async_trait::async_trait;

use crate::sink::{Ends, SendEach, SendError, SendRequest, Sent, Sink};
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
        Ok(discarded())
    }

    fn many(&self) -> Option<&dyn SendEach> {
        Some(self)
    }

    fn concurrency(&self) -> Option<usize> {
        Some(SENDS_MAX)
    }
}

#[async_trait]
impl SendEach for DiscardSink {
    async fn send_each(&self, requests: Vec<SendRequest>, ends: &Arc<Ends>) {
        (0..requests.len()).for_each(|place| ends.end(place, Ok(discarded())));
    }
}

fn discarded() -> Sent {
    Sent { code: "discarded".into(), ..Sent::default() }
}
