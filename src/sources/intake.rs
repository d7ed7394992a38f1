//! What a polled source brings, on its way to the broker's intake.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use eventyard_connectors::reader::NotRead;
use eventyard_connectors::source::{Batch, INSTANCES_MAX, Incoming, Intake, IntakeError as Refusal};
use eventyard_event::Name;
use eventyard_rules::PatternSet;
use eventyard_store::{DeliveryState, NewPosition, SavedPosition};
use futures_util::StreamExt;
use sha2::{Digest, Sha256};

use crate::broker::Broker;
use crate::in_force::Feed;
use crate::intake::{IntakeError, Maker, Read};
use crate::origin::Origin;

/// So many deliveries that wait, of events of a usual size, the store has in memory.
const IN_MEMORY: u64 = 8_000;
/// How long a source is held back for each event while more than that wait: one target that is slow, or down for days,
/// keeps no source below 40,000 events a second.
const HELD_BACK_EACH: Duration = Duration::from_micros(25);
/// How often a source that is held back looks whether it may go on. What would be held back for less is not held back.
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// The broker as one source sees it.
pub(super) struct SourceIntake {
    pub(super) broker: Arc<Broker>,
    pub(super) origin: Origin,
    pub(super) instance: u32,
    /// Which of its events are taken; `None` for all.
    pub(super) filter: Option<Arc<PatternSet>>,
}

impl SourceIntake {
    /// Waits a little where more is waiting than is kept in memory: what is read now would be read back from the disk when
    /// its turn comes, while in the system that it comes from it is safe.
    async fn let_others_go_first(&self, events: usize) {
        let waiting = || self.broker.store().stats().unsettled;
        let Some(at_most) = held_back(events, waiting()) else { return };
        let deadline = tokio::time::Instant::now() + at_most;
        while waiting() > IN_MEMORY && tokio::time::Instant::now() < deadline && self.broker.accepting() {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    async fn saved(&self, instance: u32) -> Result<Option<SavedPosition>, Refusal> {
        let name = position_name(&self.origin.source_name, instance);
        self.broker.store().position(&self.origin.namespace, &name).await.map_err(unavailable)
    }
}

/// How long so many events may be kept waiting while so many deliveries wait; `None` for not at all.
fn held_back(events: usize, waiting: u64) -> Option<Duration> {
    let at_most = HELD_BACK_EACH.saturating_mul(u32::try_from(events).unwrap_or(u32::MAX));
    (waiting > IN_MEMORY && at_most >= LOOK_EVERY).then_some(at_most)
}

/// Under which name the position of an instance is kept. The first one's is the source's own; the others' hold a hash of
/// it, for a name may be as long as a name may be.
fn position_name(source: &Name, instance: u32) -> Name {
    if instance == 0 {
        return source.clone();
    }
    let hash = Sha256::digest(source.as_str().as_bytes());
    let head = hash.iter().take(8).fold(0u64, |head, byte| head << 8 | u64::from(*byte));
    Name::new(&format!("instance-{instance}-of-{head:016x}")).unwrap_or_else(|_| source.clone())
}

#[async_trait]
impl Intake for SourceIntake {
    async fn offer(&self, batch: &mut Batch) -> Result<(), Refusal> {
        self.let_others_go_first(batch.events.len()).await;
        let name = &self.origin.source_name;
        let in_force = self.broker.in_force();
        let feeds = in_force.feeds.get(name).map_or(&[][..], Vec::as_slice);
        // What other sources make of these events cannot be made into them again.
        let whole = (!feeds.is_empty()).then(|| batch.clone());
        let Batch { events, undecodable, position } = std::mem::take(batch);
        let position = position.map(|bytes| NewPosition {
            namespace: self.origin.namespace.clone(),
            source: position_name(name, self.instance),
            bytes,
        });
        let taken = match feed(feeds, events).await {
            Ok((events, made)) => {
                let mut read = Read { events, made, undecodable, position, filter: self.filter.clone() };
                let admitted = self.broker.admit_polled(&self.origin, &mut read).await;
                admitted.map_err(|error| (refusal(error), read))
            }
            Err(refusal) => Err((refusal, Read { undecodable, position, ..Read::default() })),
        };
        let Err((refusal, Read { events, undecodable, position, .. })) = taken else { return Ok(()) };
        let position = position.map(|position| position.bytes);
        *batch = whole.unwrap_or(Batch { events, undecodable, position });
        Err(refusal)
    }

    async fn position(&self) -> Result<Option<Vec<u8>>, Refusal> {
        Ok(self.saved(self.instance).await?.map(|saved| saved.bytes))
    }

    async fn positions(&self) -> Result<Vec<(u32, Vec<u8>)>, Refusal> {
        // All that there may ever have been: a source that has fewer now goes on where the others stopped.
        let mut positions = Vec::new();
        for instance in 0..INSTANCES_MAX {
            positions.extend(self.saved(instance).await?.map(|saved| (instance, saved.bytes)));
        }
        Ok(positions)
    }

    async fn last_settled(&self) -> Result<bool, Refusal> {
        let store = self.broker.store();
        let saved = self.saved(self.instance).await?;
        let Some(event) = saved.and_then(|saved| saved.last_event) else { return Ok(true) };
        let Some(view) = store.event(event).await.map_err(unavailable)? else { return Ok(true) };
        let open = |state| matches!(state, DeliveryState::Pending | DeliveryState::InFlight | DeliveryState::Waiting);
        Ok(!view.deliveries.iter().any(|delivery| open(delivery.state)))
    }
}

/// How many messages are read for other sources at once: a reader may have to ask about each.
const READS_AT_ONCE: usize = 16;

/// What stays a source's own, and what is made of it for the sources that are made of it.
type Fed = (Vec<Incoming>, Vec<(Arc<Maker>, Incoming)>);

/// Has the sources that are made of this one read what it took. A message that makes events for any of them is theirs;
/// every other stays what it is.
async fn feed(feeds: &[Feed], events: Vec<Incoming>) -> Result<Fed, Refusal> {
    if feeds.is_empty() {
        return Ok((events, Vec::new()));
    }
    let read = events.into_iter().map(|incoming| async move {
        let mut made = Vec::new();
        for feed in feeds {
            match feed.reader.read(incoming.event.data.bytes()).await {
                Ok(events) => made.extend(events.into_iter().map(|event| (Arc::clone(&feed.maker), event))),
                Err(NotRead::Never { .. }) => {}
                Err(NotRead::Now { code, message, retry_after }) => {
                    let message = format!(
                        "a message for the source `{}` cannot be read: {message} [{code}]",
                        feed.maker.origin.source_name
                    );
                    return Err(Refusal::Unavailable { message, retry_after });
                }
            }
        }
        Ok((incoming, made))
    });
    let (mut own, mut all_made) = (Vec::new(), Vec::new());
    let mut read = futures_util::stream::iter(read.collect::<Vec<_>>()).buffered(READS_AT_ONCE);
    while let Some(one) = read.next().await {
        let (incoming, made) = one?;
        if made.is_empty() {
            own.push(incoming);
        }
        all_made.extend(made);
    }
    drop(read);
    Ok((own, all_made))
}

fn unavailable(error: eventyard_store::StoreError) -> Refusal {
    refusal(IntakeError::from(error))
}

fn refusal(error: IntakeError) -> Refusal {
    let retry_after = error.retry_after();
    match error {
        IntakeError::BacklogFull(_) => Refusal::BacklogFull { retry_after },
        IntakeError::NoSpace => Refusal::Full { retry_after },
        IntakeError::Stopping => Refusal::Closed,
        IntakeError::TooLarge { .. } => Refusal::Refused { code: error.code().to_owned(), message: error.to_string() },
        IntakeError::Poisoned | IntakeError::Busy => Refusal::Unavailable { message: error.to_string(), retry_after },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_held_back_by_what_waits_and_never_for_long() {
        assert_eq!(held_back(1000, IN_MEMORY), None);
        assert_eq!(held_back(1000, IN_MEMORY + 1), Some(Duration::from_millis(25)));
        assert_eq!(held_back(100_000, u64::MAX), Some(Duration::from_millis(2500)));
        // One by one, as from a queue with little in it.
        assert_eq!(held_back(1, u64::MAX), None);
    }
}
