//! Which deliveries can be taken, and when: each queue stands in one table under the time of its next one.

use eventyard_event::Timestamp;

use super::{NONE, Queued, Standing, State};

impl State {
    /// Makes a delivery that is first in its lane, or in none, stand in its queue.
    pub(super) fn offer(&mut self, slot: u32) {
        let Some(entry) = self.deliveries.get(slot) else { return };
        let rests = matches!(entry.standing, Standing::Pending | Standing::Waiting) && entry.queued == Queued::No;
        // What is being cancelled or hastened must not be taken meanwhile.
        let ready = rests && !entry.moving;
        if !ready {
            return;
        }
        let number = entry.queue;
        let now = self.now;
        self.queue_mut(number);
        if let Some(queue) = self.queues.get_mut(number as usize) {
            queue.push(&mut self.deliveries, slot, now);
        }
        self.relist(number);
    }

    pub(super) fn offer_in_lane(&mut self, slot: u32) {
        match self.deliveries.get(slot).map(|entry| entry.lane) {
            Some(NONE) => self.offer(slot),
            Some(lane) => self.lane_moved(lane),
            None => {}
        }
    }

    pub(super) fn withdraw(&mut self, slot: u32) {
        let queued = self.deliveries.get(slot).filter(|entry| entry.queued != Queued::No);
        let Some(number) = queued.map(|entry| entry.queue) else { return };
        if let Some(queue) = self.queues.get_mut(number as usize) {
            queue.remove(&mut self.deliveries, slot);
        }
        self.relist(number);
    }

    /// Puts a queue under the right time in the table of queues.
    pub(super) fn relist(&mut self, number: u32) {
        let Some(queue) = self.queues.get_mut(number as usize) else { return };
        let next = queue.next_time(&self.deliveries);
        if queue.listed == next {
            return;
        }
        if let Some(before) = queue.listed {
            self.times.remove(&(before, number));
        }
        if let Some(next) = next {
            self.times.insert((next, number));
        }
        queue.listed = next;
    }

    /// The queues that have eligible deliveries, with how many.
    pub(crate) fn ready(&mut self, now: Timestamp) -> Vec<(u32, usize)> {
        self.now = self.now.max(now.as_millis());
        let due: Vec<u32> = self.times.range(..=(now.as_millis(), u32::MAX)).map(|(_, queue)| *queue).collect();
        let mut found = Vec::with_capacity(due.len());
        for number in due {
            if let Some(queue) = self.queues.get_mut(number as usize) {
                queue.promote(&mut self.deliveries, now.as_millis());
                let count = queue.eligible_count(&self.deliveries, now.as_millis());
                if count > 0 {
                    found.push((number, count));
                }
            }
            self.relist(number);
        }
        found
    }

    /// When the next one becomes due that was not at the last call of [`State::ready`].
    pub(crate) fn next_due(&self) -> Option<Timestamp> {
        let listed = self.times.range((self.now, u32::MAX)..).next().map(|(due, _)| *due);
        let behind = self
            .times
            .range(..=(self.now, u32::MAX))
            .filter_map(|(_, queue)| self.queues.get(*queue as usize)?.next_due_after(&self.deliveries, self.now))
            .min();
        match (listed, behind) {
            (Some(a), Some(b)) => Some(Timestamp::from_millis(a.min(b))),
            (a, b) => a.or(b).map(Timestamp::from_millis),
        }
    }

    /// How many deliveries wait for their time.
    pub(crate) fn waiting_count(&self) -> u64 {
        self.queues.iter().map(|queue| queue.later_count() as u64).sum()
    }

    /// Due times are the wall clock's; one that lies further ahead than the longest pause was written while the
    /// clock was wrong.
    pub(crate) fn clamp_due(&mut self, latest: Timestamp) {
        let late: Vec<u32> = self
            .deliveries
            .iter()
            .filter(|(_, entry)| entry.standing.unsettled() && entry.due > latest.as_millis())
            .map(|(slot, _)| slot)
            .collect();
        for slot in late {
            let queued = self.deliveries.get(slot).is_some_and(|entry| entry.queued != Queued::No);
            if queued {
                self.withdraw(slot);
            }
            if let Some(entry) = self.deliveries.get_mut(slot) {
                entry.due = latest.as_millis();
            }
            if queued {
                self.offer(slot);
            }
        }
    }
}
