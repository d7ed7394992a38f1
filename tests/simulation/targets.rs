//! Targets that do what the seed says: succeed, fail, hang, or do what they were asked and then say they failed.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use eventyard::clock::Clocks;
use eventyard_connectors::sink::{Ends, SendEach, SendError, SendRequest, Sent, Sink};
use eventyard_event::{DeliveryId, Envelope};
use eventyard_functions::{Executor, Invocation, InvocationError, InvocationResult};
use eventyard_store::{DeliveryState, Store};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

use super::ledger::Ledger;

/// What a target does when it is called.
#[derive(Clone, Copy, Debug)]
enum Behaviour {
    Succeed,
    Fail,
    FailForGood,
    /// Answers long after its time-out.
    Hang,
}

/// A scripted target. One of them stands for a function, a sink or a channel.
pub(super) struct Scripted {
    pub(super) name: &'static str,
    /// How many calls at once its rule allows.
    pub(super) limit: usize,
    pub(super) ledger: Ledger,
    pub(super) clocks: Clocks,
    /// The store of this life; set once it is open.
    pub(super) store: Arc<Mutex<Option<Arc<dyn Store>>>>,
}

/// Leaves the count of running calls right when a call is dropped.
struct Running<'s>(&'s Scripted);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.ledger.lock().call_ends(self.0.name);
    }
}

impl Scripted {
    async fn call(&self, delivery: &str, attempt: u32, envelope: Option<&Envelope>) -> Behaviour {
        let delivery: DeliveryId = delivery.parse().unwrap();
        let (behaviour, pause) = {
            let mut ledger = self.ledger.lock();
            ledger.call_begins(self.name, self.limit, delivery, attempt, self.clocks.steady_now());
            let behaviour = match (ledger.faulty, ledger.random.u32(0..100)) {
                (false, _) | (true, 0..60) => Behaviour::Succeed,
                (true, 60..85) => Behaviour::Fail,
                (true, 85..92) => Behaviour::FailForGood,
                (true, _) => Behaviour::Hang,
            };
            (behaviour, Duration::from_millis(ledger.random.u64(0..300)))
        };
        let running = Running(self);
        if let Some(envelope) = envelope {
            self.check_order(envelope, delivery).await;
        }
        let pause = if matches!(behaviour, Behaviour::Hang) { Duration::from_secs(3600) } else { pause };
        tokio::time::sleep(pause).await;
        drop(running);
        behaviour
    }

    /// With `order_by`, the event ahead of the same key has ended, and that is on disk. Each client sends the
    /// events of a key one after another and counts them in their ids.
    async fn check_order(&self, envelope: &Envelope, delivery: DeliveryId) {
        let Some((key, number)) = envelope.event.id.rsplit_once('#') else { return };
        let number: u64 = number.parse().unwrap();
        let ahead = (number > 0).then(|| format!("{key}#{}", number - 1));
        let ahead = ahead.and_then(|id| self.ledger.lock().acknowledged.get(&id).copied());
        let Some(ahead) = ahead else { return };
        let store = self.store.lock().unwrap().clone();
        let Some(store) = store else { return };
        let Ok(Some(view)) = store.delivery(ahead.delivery(delivery.place)).await else { return };
        // A key that goes on after a dead letter may have one under way when that is replayed.
        let may_overtake = self.name != "held" && self.ledger.lock().once_dead.contains(&view.id);
        let ended = match view.state {
            DeliveryState::Delivered | DeliveryState::Cancelled => true,
            DeliveryState::Dead => self.name != "held",
            DeliveryState::Pending | DeliveryState::InFlight | DeliveryState::Waiting => false,
        };
        if !ended && !may_overtake {
            self.ledger.violation(format!("{delivery} is attempted while {ahead} ahead of it is {:?}", view.state));
        }
    }

    /// A delivery of a list's element carries that element, whatever has become of the rule since.
    fn check_element(&self, envelope: &Envelope, delivery: &str) {
        let id = &envelope.event.id;
        let Some((of, number)) = id.rsplit_once('#').filter(|_| self.name == "split") else { return };
        let delivery: DeliveryId = delivery.parse().unwrap();
        let (number, count) = (number.parse::<u32>().unwrap(), of.rsplit('-').next().unwrap());
        let said = envelope.event.extensions.get("elementcount").map(|found| format!("{found:?}"));
        let right = delivery.place + 1 == number
            && envelope.event.data.bytes() == number.to_string().as_bytes()
            && said == Some(format!("Integer({count})"));
        if !right {
            self.ledger
                .violation(format!("{delivery} is of element {number} of {count}, and carries {:?}", envelope.event));
        }
    }

    fn note_alert(&self, envelope: &Envelope) {
        if self.name == "people" {
            self.ledger.lock().alerted.insert(envelope.event.id.to_string());
        }
    }
}

#[async_trait]
impl Sink for Scripted {
    async fn send(&self, request: SendRequest) -> Result<Sent, SendError> {
        self.note_alert(&request.event);
        self.check_element(&request.event, &request.delivery);
        match self.call(&request.delivery, request.attempt, Some(&request.event)).await {
            Behaviour::Succeed => Ok(Sent::default()),
            Behaviour::Fail => Err(SendError::retryable("http_503", "not now")),
            Behaviour::FailForGood => Err(SendError::permanent("http_400", "never")),
            Behaviour::Hang => Err(SendError::retryable("timeout", "too late")),
        }
    }

    fn many(&self) -> Option<&dyn SendEach> {
        matches!(self.name, "fan" | "split").then_some(self)
    }
}

#[async_trait]
impl SendEach for Scripted {
    async fn send_each(&self, requests: Vec<SendRequest>, ends: &Arc<Ends>) {
        let send = |(place, request)| async move { ends.end(place, self.send(request).await) };
        requests.into_iter().enumerate().map(send).collect::<FuturesUnordered<_>>().collect::<()>().await;
    }
}

#[async_trait]
impl Executor for Scripted {
    async fn invoke(&self, invocation: Invocation) -> Result<InvocationResult, InvocationError> {
        let (timeout, stderr_tail) = (invocation.timeout, String::new());
        let call = self.call(&invocation.id, invocation.attempt, None);
        match tokio::time::timeout(timeout, call).await {
            Ok(Behaviour::Succeed) => {
                Ok(InvocationResult { answer: Bytes::new(), truncated: false, stderr_tail, took: Duration::ZERO })
            }
            Ok(Behaviour::Fail | Behaviour::FailForGood) => Err(InvocationError::Exit { status: 3, stderr_tail }),
            Ok(Behaviour::Hang) | Err(_) => Err(InvocationError::Timeout { timeout, stderr_tail }),
        }
    }

    async fn close(&self) {}
}
