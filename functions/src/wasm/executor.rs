//! Calls of one function.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;
use tokio::time::error::Elapsed;

use super::call::Record;
use super::compile::Code;
use super::outbound::Outbound;
use super::{WasmConfig, command, http, lane};
use crate::{Executor, Invocation, InvocationError, InvocationResult};

/// Runs a compiled module, each call in an instance of its own. It keeps nothing between calls but connections.
pub struct WasmExecutor {
    config: Arc<WasmConfig>,
    outbound: Arc<Outbound>,
}

impl WasmExecutor {
    /// An executor of the function that `config` describes. Nothing is started.
    #[must_use]
    pub fn new(config: WasmConfig) -> WasmExecutor {
        let outbound = Arc::new(Outbound::new(config.egress_allow.clone()));
        WasmExecutor { config: Arc::new(config), outbound }
    }
}

impl std::fmt::Debug for WasmExecutor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WasmExecutor").field("config", &self.config).finish_non_exhaustive()
    }
}

#[async_trait]
impl Executor for WasmExecutor {
    async fn invoke(&self, invocation: Invocation) -> Result<InvocationResult, InvocationError> {
        let compiled = self.config.program.compiled();
        let runtime = &compiled.runtime;
        let place = runtime.place().await?;
        let timeout = invocation.timeout.min(self.config.timeout);
        let record = Arc::new(Record::new(self.config.output_bytes_max));
        let started = Instant::now();
        let (config, kept) = (Arc::clone(&self.config), Arc::clone(&record));
        let call = match &compiled.code {
            Code::Command(program) => {
                let call = command::run(Arc::clone(runtime), program.clone(), config, invocation, kept);
                within(place, timeout, call)
            }
            Code::Http(program) => {
                let outbound = Arc::clone(&self.outbound);
                let call = http::run(Arc::clone(runtime), program.clone(), config, outbound, invocation, kept);
                within(place, timeout, call)
            }
        };
        match lane::run(call, &record, &compiled.long).await {
            Some(Ok(Ok(()))) => {
                let (answer, truncated) = record.take_answer();
                Ok(InvocationResult { answer, truncated, stderr_tail: record.take_stderr(), took: started.elapsed() })
            }
            Some(Ok(Err(error))) => Err(error),
            Some(Err(_)) => Err(InvocationError::Timeout { timeout, stderr_tail: record.take_stderr() }),
            None => {
                let problem = "the call broke off; the broker's log says why".to_owned();
                Err(InvocationError::Runtime { problem, stderr_tail: record.take_stderr() })
            }
        }
    }

    async fn close(&self) {}
}

/// A call of either kind, as it goes to a thread of its own: what it ended with, or that its time was over.
type Call = Pin<Box<dyn Future<Output = Result<Result<(), InvocationError>, Elapsed>> + Send>>;

/// A call with its time and its place, which is free when the call's instance is gone, wherever that is dropped.
fn within(
    place: OwnedSemaphorePermit,
    timeout: Duration,
    call: impl Future<Output = Result<(), InvocationError>> + Send + 'static,
) -> Call {
    Box::pin(async move {
        let _place = place;
        tokio::time::timeout(timeout, call).await
    })
}
