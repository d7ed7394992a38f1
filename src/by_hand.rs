//! What a person does with one delivery: try it at once, or end it.
//!
//! Both are moves of the store, durable when they are answered. A delivery that is being attempted is left alone:
//! its target may have done what it was asked already, and only the attempt can say so. Whoever wants to be sure to
//! come between two attempts pauses the target first.

use eventyard_event::DeliveryId;
use eventyard_store::{DeliveryState, DeliveryView, StoreError};

use crate::broker::Broker;
use crate::fate::{Fate, OfDelivery};
use crate::split::ElementOf;
use crate::telemetry::metrics::TargetLabel;

/// Why nothing was done.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ByHandError {
    /// There is no such delivery.
    #[error("there is no delivery {0}")]
    Unknown(DeliveryId),
    /// It is being attempted.
    #[error("the delivery {0} is being attempted")]
    InFlight(DeliveryId),
    /// It is a dead letter.
    #[error("the delivery {0} is a dead letter")]
    Dead(DeliveryId),
    /// It is delivered or cancelled.
    #[error("the delivery {delivery} has ended: it is {state}")]
    Ended {
        /// Which one.
        delivery: DeliveryId,
        /// `delivered` or `cancelled`.
        state: &'static str,
    },
    /// The store could not do it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Broker {
    /// Makes a delivery that waits for its time due at once; one that is due already stays as it is. Its budget of
    /// attempts stays as it is too. Durable on return; the delivery as it is then.
    ///
    /// # Errors
    /// [`ByHandError`] for one that is in flight, dead or ended.
    pub async fn retry_now(&self, id: DeliveryId) -> Result<DeliveryView, ByHandError> {
        let now = self.clocks().steady_now();
        let view = self.delivery_by_hand(id).await?;
        let rests = matches!(view.state, DeliveryState::Pending | DeliveryState::Waiting);
        if rests && view.next_attempt_at.is_some_and(|at| at <= now) {
            return Ok(view);
        }
        let done = self.store().hasten(vec![id], now, self.clocks().now()).await?;
        let view = self.delivery_by_hand(id).await?;
        if done.is_empty() { Err(refusal(&view)) } else { Ok(view) }
    }

    /// Ends a delivery that is pending or waiting: it is never attempted again, and the next one of its key may go.
    /// Durable on return; the delivery as it is then.
    ///
    /// # Errors
    /// [`ByHandError`] for one that is in flight, dead or ended.
    pub async fn cancel(&self, id: DeliveryId) -> Result<DeliveryView, ByHandError> {
        let done = self.store().cancel(vec![id], self.clocks().now()).await?;
        let Some(event) = self.store().event(id.event).await? else { return Err(ByHandError::Unknown(id)) };
        let view = event.deliveries.into_iter().find(|delivery| delivery.id == id);
        let view = view.ok_or(ByHandError::Unknown(id))?;
        if done.is_empty() {
            return Err(refusal(&view));
        }
        let label = TargetLabel::of(&view.queue, "cancelled");
        self.metrics().deliveries_settled.get_or_create(&label).inc();
        tracing::info!(delivery = %id, target_name = %view.queue.target, "a delivery was cancelled by hand");
        let of = OfDelivery {
            delivery: id,
            source_name: view.source_name.clone(),
            ty: event.envelope.event.ty.clone(),
            rule: view.queue.rule.clone(),
            target: view.queue.target.clone(),
            element: ElementOf::new(view.element.as_ref()),
        };
        self.tell(Fate::Cancelled { of });
        Ok(view)
    }

    async fn delivery_by_hand(&self, id: DeliveryId) -> Result<DeliveryView, ByHandError> {
        self.store().delivery(id).await?.ok_or(ByHandError::Unknown(id))
    }
}

/// Why a delivery was passed over, from where it stands now.
fn refusal(view: &DeliveryView) -> ByHandError {
    match view.state {
        DeliveryState::Dead => ByHandError::Dead(view.id),
        DeliveryState::Delivered => ByHandError::Ended { delivery: view.id, state: "delivered" },
        DeliveryState::Cancelled => ByHandError::Ended { delivery: view.id, state: "cancelled" },
        // One that rests by now was in flight, or being moved by somebody else, a moment ago.
        DeliveryState::InFlight | DeliveryState::Pending | DeliveryState::Waiting => ByHandError::InFlight(view.id),
    }
}
