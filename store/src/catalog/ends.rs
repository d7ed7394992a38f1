//! Which deliveries ended in a segment that still grows.
//!
//! Every delivery ends once, and hardly anybody asks for one so soon: an end is only put behind the others, and some
//! thousands are put in order together. A tree that had a place for each cost more than twice as much.

use eventyard_event::DeliveryId;

use super::Ended;
use crate::state::id_key;

/// Ends of one run: few enough that they are put in order in a fraction of a millisecond, which happens under the
/// catalogue's lock, and so many that the runs of a segment, all of which a search looks into, are some dozens.
const RUN_ENDS: usize = 4096;

/// Ends by delivery. Where one delivery has ended more than once, the last end counts.
#[derive(Debug, Default)]
pub(super) struct Ends {
    /// Oldest first. All are full and in the order of their deliveries, but for the last, which is as they came.
    runs: Vec<Vec<(DeliveryId, Ended)>>,
}

impl Ends {
    pub(super) fn add(&mut self, delivery: DeliveryId, ended: Ended) {
        let run = match self.runs.last_mut() {
            Some(run) if run.len() < RUN_ENDS => run,
            _ => self.runs.push_mut(Vec::with_capacity(RUN_ENDS)),
        };
        run.push((delivery, ended));
        if run.len() == RUN_ENDS {
            // Stable: of several ends of one delivery the last one stays behind the others.
            run.sort_by_key(order);
        }
    }

    pub(super) fn get(&self, delivery: DeliveryId) -> Option<Ended> {
        let of_it = |(other, _): &&(DeliveryId, Ended)| *other == delivery;
        let found = self.runs.iter().rev().find_map(|run| {
            if run.len() < RUN_ENDS {
                return run.iter().rev().find(of_it);
            }
            let behind = run.partition_point(|(other, _)| *other <= delivery);
            run.get(behind.checked_sub(1)?).filter(of_it)
        });
        found.map(|(_, ended)| *ended)
    }

    /// One end for each delivery, in the order of the deliveries.
    pub(super) fn in_order(&self) -> Vec<(DeliveryId, Ended)> {
        let mut all = self.runs.concat();
        // Stable, as in a run; and quick, where most of it is in order already.
        all.sort_by_key(order);
        all.dedup_by(|later, earlier| {
            let same = later.0 == earlier.0;
            if same {
                *earlier = *later;
            }
            same
        });
        all
    }
}

/// A delivery in the order of its id: two numbers are compared sooner than as many bytes.
fn order((delivery, _): &(DeliveryId, Ended)) -> (u128, u32) {
    (id_key(delivery.event), delivery.place)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use eventyard_event::{EventId, Timestamp};

    use super::*;
    use crate::journal::Place;

    #[test]
    fn they_say_what_a_map_says_and_the_last_end_counts() {
        let mut random = fastrand::Rng::with_seed(5);
        let (mut ends, mut map) = (Ends::default(), BTreeMap::new());
        assert_eq!(ends.in_order(), Vec::new());
        let some = |random: &mut fastrand::Rng| {
            EventId::new(Timestamp::from_millis(random.i64(..6000)), [7; 10]).delivery(random.u32(..2))
        };
        for step in 0..u32::try_from(5 * RUN_ENDS).unwrap() {
            let delivery = some(&mut random);
            let ended = Ended { cancelled: random.bool(), last: Place { segment: 1, offset: step } };
            ends.add(delivery, ended);
            map.insert(delivery, ended);
            let other = some(&mut random);
            for asked in [delivery, other] {
                assert_eq!(ends.get(asked), map.get(&asked).copied(), "step {step}");
            }
            if step as usize % (RUN_ENDS / 2) == 5 {
                assert!(ends.in_order().into_iter().eq(map.clone()), "step {step}");
            }
        }
        assert!(ends.runs.len() >= 5);
        assert!(ends.in_order().into_iter().eq(map));
    }
}
