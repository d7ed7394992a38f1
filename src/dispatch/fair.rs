//! Which queues are served next: a pure decision.
//!
//! Slots go round: one to each namespace in turn, and within a namespace one to each queue in turn, until the
//! slots are gone or nobody wants more. Where the last round ended is remembered in a [`Turn`], so that with
//! fewer slots than queues everybody is served after finitely many rounds.

use std::collections::BTreeMap;

use eventyard_event::Name;
use eventyard_store::QueueKey;

/// A queue that has work and room for it.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'a> {
    /// Which one.
    pub queue: &'a QueueKey,
    /// How many it could start now.
    pub wanted: usize,
}

/// Whose turn it was last.
#[derive(Clone, Debug, Default)]
pub struct Turn {
    namespace: Option<Name>,
    queues: BTreeMap<Name, QueueKey>,
}

/// Shares out `slots`. The answer names each queue at most once, with a count of at least 1.
#[must_use]
pub fn choose(candidates: &[Candidate<'_>], slots: usize, turn: &mut Turn) -> Vec<(QueueKey, usize)> {
    let mut by_namespace: BTreeMap<&Name, Vec<Candidate<'_>>> = BTreeMap::new();
    for candidate in candidates.iter().filter(|candidate| candidate.wanted > 0) {
        by_namespace.entry(&candidate.queue.namespace).or_default().push(*candidate);
    }
    turn.queues.retain(|namespace, _| by_namespace.contains_key(namespace));

    let mut rings: Vec<Ring<'_>> = by_namespace.into_values().map(|queues| Ring::after(queues, turn)).collect();
    let first = rings.iter().position(|ring| Some(ring.namespace()) > turn.namespace.as_ref()).unwrap_or(0);
    rings.rotate_left(first);

    let mut left = slots;
    let mut last = None;
    while left > 0 {
        let before = left;
        for ring in &mut rings {
            if left == 0 {
                break;
            }
            if ring.give_one() {
                left -= 1;
                last = Some(ring.namespace());
            }
        }
        if left == before {
            break;
        }
    }
    if let Some(namespace) = last {
        turn.namespace = Some(namespace.clone());
    }
    for served in rings.iter().filter_map(|ring| ring.served) {
        turn.queues.insert(served.namespace.clone(), served.clone());
    }
    rings.into_iter().flat_map(Ring::given).collect()
}

/// The queues of one namespace, in the order of their turns.
struct Ring<'a> {
    queues: Vec<(Candidate<'a>, usize)>,
    next: usize,
    /// The queue that was given one last.
    served: Option<&'a QueueKey>,
}

impl<'a> Ring<'a> {
    /// `queues` is not empty.
    fn after(mut queues: Vec<Candidate<'a>>, turn: &Turn) -> Ring<'a> {
        queues.sort_by_key(|candidate| candidate.queue);
        let last = queues.first().and_then(|candidate| turn.queues.get(&candidate.queue.namespace));
        let first = last.map_or(0, |last| queues.partition_point(|candidate| candidate.queue <= last));
        let first = first % queues.len().max(1);
        queues.rotate_left(first);
        Ring { queues: queues.into_iter().map(|candidate| (candidate, 0)).collect(), next: 0, served: None }
    }

    fn namespace(&self) -> &'a Name {
        &self.queues[0].0.queue.namespace
    }

    /// Gives a slot to the next queue that wants one; false where none does.
    fn give_one(&mut self) -> bool {
        for _ in 0..self.queues.len() {
            let at = self.next;
            self.next = (self.next + 1) % self.queues.len();
            let (candidate, given) = &mut self.queues[at];
            if *given < candidate.wanted {
                *given += 1;
                self.served = Some(candidate.queue);
                return true;
            }
        }
        false
    }

    fn given(self) -> impl Iterator<Item = (QueueKey, usize)> {
        self.queues
            .into_iter()
            .filter(|(_, given)| *given > 0)
            .map(|(candidate, given)| (candidate.queue.clone(), given))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    fn queue(namespace: &str, target: usize) -> QueueKey {
        QueueKey {
            namespace: Name::new(namespace).unwrap(),
            rule: Name::new("r").ok(),
            target: Name::new(&format!("t{target:03}")).unwrap(),
        }
    }

    #[test]
    fn a_busy_queue_leaves_room_for_a_quiet_one() {
        let (busy, quiet) = (queue("a", 0), queue("a", 1));
        let candidates = [Candidate { queue: &busy, wanted: 1000 }, Candidate { queue: &quiet, wanted: 1 }];
        let chosen: HashMap<_, _> = choose(&candidates, 10, &mut Turn::default()).into_iter().collect();
        assert_eq!((chosen[&busy], chosen[&quiet]), (9, 1));
    }

    #[test]
    fn a_namespace_with_many_queues_gets_no_more_than_one_with_few() {
        let many: Vec<QueueKey> = (0..50).map(|n| queue("many", n)).collect();
        let few = queue("few", 0);
        let mut candidates: Vec<_> = many.iter().map(|queue| Candidate { queue, wanted: 100 }).collect();
        candidates.push(Candidate { queue: &few, wanted: 100 });
        let chosen: HashMap<_, _> = choose(&candidates, 20, &mut Turn::default()).into_iter().collect();
        assert_eq!(chosen[&few], 10);
    }

    proptest! {
        #[test]
        fn nobody_gets_too_much_and_nothing_is_left_lying(
            wants in prop::collection::vec((0_usize..4, 0_usize..20), 0..40), slots in 0_usize..200,
        ) {
            let queues: Vec<(QueueKey, usize)> =
                wants.iter().enumerate().map(|(n, (namespace, wanted))| (queue(&format!("n{namespace}"), n), *wanted)).collect();
            let candidates: Vec<_> = queues.iter().map(|(queue, wanted)| Candidate { queue, wanted: *wanted }).collect();
            let chosen: HashMap<_, _> = choose(&candidates, slots, &mut Turn::default()).into_iter().collect();
            let total: usize = chosen.values().sum();
            let wanted: usize = queues.iter().map(|(_, wanted)| wanted).sum();
            prop_assert_eq!(total, slots.min(wanted));
            for (queue, wanted) in &queues {
                let given = chosen.get(queue).copied().unwrap_or(0);
                prop_assert!(given <= *wanted);
                // Whoever of the same namespace wanted more did not fall more than one behind.
                for (other, other_wanted) in queues.iter().filter(|(other, _)| other.namespace == queue.namespace) {
                    let other_given = chosen.get(other).copied().unwrap_or(0);
                    prop_assert!(given >= *wanted || given + 1 >= other_given, "{queue:?} {given}, {other:?} {other_given} of {other_wanted}");
                }
            }
        }

        #[test]
        fn with_one_slot_at_a_time_everybody_is_served(namespaces in 1_usize..4, each in 1_usize..8) {
            let queues: Vec<QueueKey> =
                (0..namespaces).flat_map(|n| (0..each).map(move |q| queue(&format!("n{n}"), q))).collect();
            let mut turn = Turn::default();
            let mut served: HashMap<QueueKey, usize> = HashMap::new();
            for _ in 0..queues.len() * 3 {
                let candidates: Vec<_> = queues.iter().map(|queue| Candidate { queue, wanted: 5 }).collect();
                for (queue, count) in choose(&candidates, 1, &mut turn) {
                    *served.entry(queue).or_default() += count;
                }
            }
            prop_assert!(queues.iter().all(|queue| served.get(queue) == Some(&3)), "{served:?}");
        }
    }
}
