//! Attempts that our own death cut off: each becomes an entry of its delivery's history and waits, written
//! before anything is served.

use eventyard_event::Timestamp;
use tokio::sync::oneshot;

use super::{Outcome, OutcomeWork, Owner, Settled, Work};
use crate::journal::{SettlementRecord, body_checksum, put_settlement};
use crate::state::Turn;
use crate::{AttemptOutcome, AttemptRecord, StoreError, Verdict};

impl Owner {
    /// Ends all that begun before this process did. Returns how many there were.
    ///
    /// # Errors
    /// A text where the journal cannot be written. That there is no space is no error: then they wait all the
    /// same, and are written down when they are found at the next start.
    pub(crate) fn interrupt(&mut self, now: Timestamp) -> Result<u64, String> {
        let mut answers = Vec::new();
        {
            let state = self.shared.state();
            let mut leases: Vec<_> = state.leases.iter().collect();
            // In the same order at every start.
            leases.sort_unstable_by_key(|(slot, _)| **slot);
            for (slot, lease) in leases {
                let Some(delivery) = state.deliveries.get(*slot) else { continue };
                let Some(id) = state.delivery_id(delivery) else { continue };
                let Some((began_at, backoff_ms)) = lease.begun else { continue };
                let retry_at =
                    now.plus(std::time::Duration::from_millis(backoff_ms).min(self.shared.options.backoff_max));
                let mut counts = delivery.counts;
                counts.tries = counts.tries.saturating_add(1);
                let attempt = AttemptRecord {
                    number: counts.tries,
                    began_at,
                    ended_at: now,
                    outcome: AttemptOutcome::Interrupted,
                    code: "interrupted".to_owned(),
                    message: "the broker stopped during the attempt".to_owned(),
                    response: String::new(),
                };
                let record = SettlementRecord {
                    delivery: id,
                    at: now,
                    counts,
                    previous: delivery.last,
                    first: delivery.first,
                    verdict: Verdict::Retry { at: retry_at, counted: false },
                    attempt: Some(attempt),
                };
                let mut body = Vec::new();
                put_settlement(&mut body, &record);
                let checksum = body_checksum(&body);
                let turn = Turn::Retry { at: retry_at };
                let settled = vec![Settled { delivery: id, slot: *slot, at_in_body: 0, counts, turn }];
                let outcome = Outcome::Settle { settled, emits: Vec::new() };
                let (reply, answer) = oneshot::channel();
                self.gatherer().push(Work::Outcome(OutcomeWork { body, checksum, outcome: Box::new(outcome), reply }));
                answers.push((id, retry_at, answer));
            }
        }
        while self.has_more() {
            self.batch()?;
        }
        let count = answers.len() as u64;
        for (id, retry_at, mut answer) in answers {
            if let Ok(Err(StoreError::Full)) = answer.try_recv() {
                self.shared.state().set_aside(id, retry_at);
            }
        }
        Ok(count)
    }
}
