//! What can be done with dead letters: look them up by a selection, replay them, give them up for good.

use std::time::Duration;

use eventyard_event::{DeliveryId, Name, Timestamp};
use eventyard_store::{DeadLetter, DeadLetterFilter, PageRequest, StoreError};

use crate::broker::Broker;
use crate::undecodable;

/// How many dead letters are moved in one call of the store: each is a frame of its own, and callers in between
/// should not wait for a million of them.
const AT_ONCE_MAX: usize = 500;

/// How many dead letters are read in one call of the store. Each comes with its event, so a page of them may take so
/// many times `[limits] event`.
const PAGE_MAX: usize = 100;

/// Which dead letters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selection {
    /// These.
    Ids(Vec<DeliveryId>),
    /// All of one rule.
    Rule(Name),
    /// All.
    All,
}

/// What became of a replay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replay {
    /// Dead letters that are pending again.
    pub replayed: u64,
    /// Those that were passed over because no delivery died: a source could not decode what came.
    pub undecodable: u64,
}

/// What a selection names and is dead.
#[derive(Default)]
struct Selected {
    deliveries: Vec<DeliveryId>,
    /// What sources could not decode.
    undecodable: Vec<DeliveryId>,
}

impl Selected {
    fn add(&mut self, letter: &DeadLetter) {
        let among = match undecodable::shown(letter) {
            None => &mut self.deliveries,
            Some(_) => &mut self.undecodable,
        };
        among.push(letter.delivery.id);
    }
}

impl Broker {
    /// Makes dead letters pending again, each with a fresh budget; spread over time where `rate_per_second` is
    /// given. Returns how many were replayed, or would be by `dry_run`. What is not dead (any more) is passed
    /// over, so a second call finds nothing. So is what a source could not decode, which is counted.
    ///
    /// # Errors
    /// What the store says; those before it are replayed.
    pub async fn replay(
        &self,
        which: Selection,
        rate_per_second: Option<u32>,
        dry_run: bool,
    ) -> Result<Replay, StoreError> {
        let Selected { deliveries: letters, undecodable } = self.select(which).await?;
        let passed_over = as_count(undecodable.len());
        if dry_run {
            return Ok(Replay { replayed: as_count(letters.len()), undecodable: passed_over });
        }
        let began = self.clocks().steady_now();
        let mut replayed = 0;
        for (chunk_number, chunk) in letters.chunks(AT_ONCE_MAX).enumerate() {
            let due = |index: usize| turn(began, chunk_number * AT_ONCE_MAX + index, rate_per_second);
            let at_times = chunk.iter().enumerate().map(|(index, id)| (*id, due(index))).collect();
            replayed += as_count(self.store().replay(at_times, self.clocks().now()).await?.len());
        }
        Ok(Replay { replayed, undecodable: passed_over })
    }

    /// Gives dead letters up for good. Returns how many, or how many it would be by `dry_run`.
    ///
    /// # Errors
    /// What the store says; those before it are gone.
    pub async fn purge(&self, which: Selection, dry_run: bool) -> Result<u64, StoreError> {
        let Selected { deliveries: mut letters, undecodable } = self.select(which).await?;
        letters.extend(undecodable);
        letters.sort_unstable();
        if dry_run {
            return Ok(as_count(letters.len()));
        }
        let mut purged = 0;
        for chunk in letters.chunks(AT_ONCE_MAX) {
            purged += as_count(self.store().purge(chunk.to_vec(), self.clocks().now()).await?.len());
        }
        Ok(purged)
    }

    /// The ids that a selection names and that are dead, oldest first, each once.
    async fn select(&self, which: Selection) -> Result<Selected, StoreError> {
        let mut selected = Selected::default();
        let rule = match which {
            Selection::Ids(mut ids) => {
                ids.sort_unstable();
                ids.dedup();
                for id in ids {
                    if let Some(letter) = self.store().dead_letter(id).await? {
                        selected.add(&letter);
                    }
                }
                return Ok(selected);
            }
            Selection::Rule(rule) => Some(rule),
            Selection::All => None,
        };
        let filter = DeadLetterFilter { rule, ..DeadLetterFilter::default() };
        let mut cursor = None;
        loop {
            let request = PageRequest { limit: PAGE_MAX, cursor };
            let page = self.store().dead_letters(filter.clone(), request).await?;
            page.items.iter().for_each(|letter| selected.add(letter));
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
        }
        selected.deliveries.reverse();
        Ok(selected)
    }
}

/// When the `index`-th of a throttled replay is due.
fn turn(began: Timestamp, index: usize, rate_per_second: Option<u32>) -> Timestamp {
    let Some(rate) = rate_per_second.filter(|rate| *rate > 0) else { return began };
    let millis = as_count(index).saturating_mul(1000) / u64::from(rate);
    began.plus(Duration::from_millis(millis))
}

fn as_count(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_throttled_replay_is_spread_evenly() {
        let due: Vec<i64> = (0..5).map(|n| turn(Timestamp::EPOCH, n, Some(2)).as_millis()).collect();
        assert_eq!(due, [0, 500, 1000, 1500, 2000]);
        assert_eq!(turn(Timestamp::EPOCH, 7, None), Timestamp::EPOCH);
    }
}
