//! The contract between the broker and a way to run functions.

use async_trait::async_trait;

use crate::{Invocation, InvocationError, InvocationResult};

/// A way to run one function. One executor serves one function of the project in force; a reload makes a new
/// one and closes the old when its last call has ended.
#[async_trait]
pub trait Executor: Send + Sync {
    /// Makes one call and waits for its end.
    ///
    /// Called by an attempt, as often as there are attempts, at most as many at once as the target's
    /// `concurrency` allows; an executor sets no limit of its own on that. It makes the call at most once, and
    /// it always ends: at the latest some seconds after the invocation's `timeout`, which counts from when the
    /// code was started, not from when the call was asked for.
    ///
    /// Every error is the outcome of this one attempt: the caller writes it down under
    /// [`InvocationError::code`] and tries again if [`InvocationError::retryable`]. The executor itself stays
    /// usable after any error.
    ///
    /// Cancellation: dropping the future ends the call at once, without a grace time. Of a command, the whole
    /// process group is killed. The code may have had effects by then; the caller counts the attempt as
    /// interrupted.
    async fn invoke(&self, invocation: Invocation) -> Result<InvocationResult, InvocationError>;

    /// Gives back what is kept between calls. Called once, after the last `invoke` has ended or been dropped,
    /// when the function is gone from the project or the broker stops; `invoke` is not called afterwards.
    async fn close(&self);
}
