//! Takes events from any source: limits, routing, commit. Only what has returned from here may be acknowledged.
//!
//! Authentication and decoding happen before (in the source or the server), because they differ; from here on
//! every event is treated alike.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use eventyard_connectors::source::{Incoming, Undecodable};
use eventyard_event::{Envelope, EventId, Name, Text, Timestamp, format_text, hops};
use eventyard_rules::{Memory, PatternSet};
use eventyard_store::{Admission, Admitted, Commit, Dedupe, NewPosition, Reason, StoreError};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::broker::Broker;
use crate::fate::Fate;
use crate::in_force::InForce;
use crate::origin::Origin;
use crate::reply::{Awaited, NoReply};
use crate::route::{Routed, route};
use crate::telemetry::metrics::{CodeLabel, SourceLabel};
use crate::undecodable;

/// How long a client is asked to wait when it should come back.
const RETRY_AFTER_BUSY: Duration = Duration::from_secs(1);
/// How long a client is asked to wait when a person may have to act.
const RETRY_AFTER_FULL: Duration = Duration::from_secs(10);

/// What a source is told of an event once it is on disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Receipt {
    /// Our id; the first one's where this is a duplicate.
    pub event: EventId,
    /// CloudEvents `id`.
    #[schemars(with = "String")]
    pub id: Text,
    /// CloudEvents `source`.
    #[schemars(with = "String")]
    pub source: Text,
    /// The same event was taken before; nothing more happens for this one.
    pub duplicate: bool,
    /// The rules that matched. Empty for a duplicate: what was matched then is the first one's, as the API shows it.
    pub rules: Vec<Name>,
    /// What to do when no rule matched.
    pub hint: Option<String>,
}

/// Why events were not taken. None of them is on disk, and the sender should try again with the same ids.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IntakeError {
    /// `[limits] pending` is met.
    #[error("{0} deliveries are pending, and no more events are taken until some have ended")]
    BacklogFull(u64),
    /// There is no space.
    #[error("there is no space left for events")]
    NoSpace,
    /// The store cannot be written to any more; the program ends.
    #[error("the store cannot be written to any more")]
    Poisoned,
    /// The broker is starting or stopping.
    #[error("the broker is starting or stopping")]
    Stopping,
    /// More waits to be written than can be.
    #[error("more events are waiting to be written than can be")]
    Busy,
    /// The events with their deliveries are over a limit of the store.
    #[error("{what} is over the limit of {max}")]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// The limit.
        max: usize,
    },
}

impl IntakeError {
    /// The stable code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            IntakeError::BacklogFull(_) => "backlog_full",
            IntakeError::NoSpace => "no_space",
            IntakeError::Poisoned => "store_poisoned",
            IntakeError::Stopping => "stopping",
            IntakeError::Busy => "busy",
            IntakeError::TooLarge { .. } => "batch_too_large",
        }
    }

    /// How long to wait before the next try; `None` where trying again cannot help.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            IntakeError::Busy | IntakeError::Stopping => Some(RETRY_AFTER_BUSY),
            IntakeError::BacklogFull(_) | IntakeError::NoSpace | IntakeError::Poisoned => Some(RETRY_AFTER_FULL),
            IntakeError::TooLarge { .. } => None,
        }
    }
}

impl From<StoreError> for IntakeError {
    fn from(error: StoreError) -> IntakeError {
        match error {
            StoreError::Full => IntakeError::NoSpace,
            StoreError::Busy => IntakeError::Busy,
            StoreError::Closed => IntakeError::Stopping,
            StoreError::TooLarge { what, max } => IntakeError::TooLarge { what, max },
            _ => IntakeError::Poisoned,
        }
    }
}

impl Broker {
    /// Takes a batch whole or not at all; returns when it is durable. One receipt for each event, in order.
    ///
    /// Cancellation: a caller that goes away does not undo a commit that has begun.
    ///
    /// # Errors
    /// [`IntakeError`]: nothing of the batch is on disk.
    pub async fn admit(&self, origin: &Origin, events: Vec<Incoming>) -> Result<Vec<Receipt>, IntakeError> {
        self.admit_read(origin, Read { events, ..Read::default() }).await
    }

    /// [`Broker::admit`] of what a source read that is asked by others: with its position, and with what could not be
    /// decoded, all in the same frame.
    ///
    /// # Errors
    /// [`IntakeError`]: nothing of it is on disk.
    pub async fn admit_read(&self, origin: &Origin, mut read: Read) -> Result<Vec<Receipt>, IntakeError> {
        let taken = self.take_in(origin, &mut read, Wants::Receipts).await;
        self.count_refused(&taken);
        taken.map(|(receipts, _)| receipts)
    }

    /// [`Broker::admit_read`] of what a polled source read, which needs no receipts and offers it again where it is not
    /// taken: `read` is empty when it is on disk.
    ///
    /// # Errors
    /// [`IntakeError`]: nothing of it is on disk, and all of it is in `read` again but what was made for other sources.
    pub async fn admit_polled(&self, origin: &Origin, read: &mut Read) -> Result<(), IntakeError> {
        let taken = self.take_in(origin, read, Wants::WhatIsNotTaken).await;
        self.count_refused(&taken);
        taken.map(|_| ())
    }

    /// [`Broker::admit`] of events of which the sender waits for an answer; returns when they are durable, with the
    /// place at which it can wait, or why there is none. `waiting_max` is how many may wait at once.
    ///
    /// # Errors
    /// [`IntakeError`]: nothing is on disk.
    pub async fn admit_for_reply(
        &self,
        origin: &Origin,
        events: Vec<Incoming>,
        waiting_max: usize,
    ) -> Result<(Vec<Receipt>, Result<Awaited, NoReply>), IntakeError> {
        let mut read = Read { events, ..Read::default() };
        let taken = self.take_in(origin, &mut read, Wants::Answer { waiting_max }).await;
        self.count_refused(&taken);
        taken
    }

    fn count_refused<T>(&self, taken: &Result<T, IntakeError>) {
        if let Err(error) = taken {
            let label = CodeLabel { code: error.code().into() };
            self.metrics().events_refused.get_or_create(&label).inc();
        }
    }

    async fn take_in(&self, origin: &Origin, read: &mut Read, wants: Wants) -> Result<TakenIn, IntakeError> {
        if !self.accepting() {
            return Err(IntakeError::Stopping);
        }
        let in_force = self.in_force();
        let limit = in_force.project.limits.pending;
        if self.store().stats().unsettled >= limit {
            return Err(IntakeError::BacklogFull(limit));
        }
        let Read { events, made, undecodable, position, filter } = std::mem::take(read);
        if events.is_empty() && made.is_empty() && undecodable.is_empty() && position.is_none() {
            return Ok((Vec::new(), Err(NoReply::NoTarget)));
        }
        // What is taken together is taken at one time.
        let (now, due_at) = (self.clocks().now(), self.clocks().steady_now());
        let mut awaited = Err(if events.len() > 1 { NoReply::Batch } else { NoReply::NoTarget });
        let waiting_max = match wants {
            Wants::Answer { waiting_max } if events.len() == 1 => Some(waiting_max),
            _ => None,
        };
        let (makers, made): (Vec<Arc<Maker>>, Vec<Incoming>) = made.into_iter().unzip();
        let (mut memory, mut filtered) = (Memory::default(), BTreeMap::new());
        let gives_back = wants == Wants::WhatIsNotTaken;
        let (mut elements, mut passed_over) = (0u64, Vec::new());
        let is_told = self.has_listeners();
        let mut drafts = Vec::with_capacity(events.len() + made.len());
        let mut admissions = Vec::with_capacity(events.len() + made.len() + undecodable.len() * 2);
        let own = events.into_iter().map(|incoming| (origin, filter.as_ref(), incoming));
        let made = makers.iter().zip(made).map(|(maker, event)| (&maker.origin, maker.filter.as_ref(), event));
        for (origin, filter, incoming) in own.chain(made) {
            let window = incoming.dedupe;
            let dedupe = window.filter(|_| !incoming.event.id.is_empty()).map(|window| Dedupe { window });
            let envelope = self.envelope(origin, incoming, now);
            if filter.is_some_and(|filter| filter.matches(&envelope, &mut memory).is_empty()) {
                *filtered.entry(&origin.source_name).or_insert(0) += 1;
                if gives_back {
                    passed_over.push((origin, envelope, window));
                }
                continue;
            }
            let Routed { rules, deliveries, reply, split, unevaluated } = route(&in_force, &envelope, due_at);
            elements = elements.saturating_add(split as u64);
            self.metrics().when_errors.inc_by(u64::from(unevaluated));
            if let (Some(waiting_max), Some(place)) = (waiting_max, reply) {
                // Before the commit: the attempt may begin before that has returned.
                awaited = self.replies().expect(envelope.id.delivery(place), waiting_max);
            }
            let envelope = Arc::new(envelope);
            drafts.push(Draft::new(is_told, &in_force, origin, &envelope, window, rules));
            admissions.push(Admission { envelope, deliveries, dedupe, dead: None });
        }
        let kept = gives_back.then(|| (undecodable.clone(), position.clone()));
        let mut letters = Vec::with_capacity(undecodable.len());
        for undecodable in undecodable {
            let [letter, alert] = undecodable::admissions(self, origin, undecodable);
            letters.extend(letter.dead.clone().map(|reason| (Arc::clone(&letter.envelope), reason)));
            admissions.extend([letter, alert]);
        }

        let admitted = match self.commit(elements, limit, Commit { admissions, position }).await {
            Ok(admitted) => admitted,
            Err(error) => {
                if let Some((undecodable, position)) = kept {
                    let drafted = drafts.into_iter();
                    let drafted = drafted.map(|one| (one.origin, Arc::unwrap_or_clone(one.envelope), one.dedupe));
                    let own = drafted.chain(passed_over).filter(|(of, ..)| std::ptr::eq(*of, origin));
                    let events = own.map(|(_, envelope, dedupe)| offered(envelope, dedupe)).collect();
                    *read = Read { events, made: Vec::new(), undecodable, position, filter };
                }
                return Err(error);
            }
        };

        if admitted.iter().any(|admitted| admitted.duplicate) && awaited.as_ref().err() != Some(&NoReply::Batch) {
            awaited = Err(NoReply::Duplicate);
        }
        for (source, count) in filtered {
            let label = SourceLabel { source: source.to_string() };
            self.metrics().events_filtered.get_or_create(&label).inc_by(count);
        }
        let mut admitted = admitted;
        let of_letters = admitted.split_off(drafts.len());
        self.count_undecodable(origin, &letters, &of_letters);
        let mut rest = &*admitted;
        for of_one in drafts.chunk_by(|one, next| std::ptr::eq(one.origin, next.origin)) {
            let (admitted, others) = rest.split_at(of_one.len().min(rest.len()));
            rest = others;
            self.count_taken(of_one, admitted);
        }
        for (draft, admitted) in drafts.iter_mut().zip(&admitted) {
            if admitted.duplicate {
                // What this body would have matched says nothing of the event that the receipt names.
                draft.rules.clear();
            }
            self.tell_accepted(draft, *admitted);
        }
        if gives_back {
            return Ok((Vec::new(), awaited));
        }
        let receipts = drafts.into_iter().zip(admitted).map(|(draft, admitted)| draft.receipt(admitted)).collect();
        Ok((receipts, awaited))
    }

    /// Commits what makes so many elements of lists.
    async fn commit(&self, elements: u64, limit: u64, commit: Commit) -> Result<Vec<Admitted>, IntakeError> {
        // A few events may be very many deliveries. What alone is over the limit is taken when nothing else waits.
        if elements > 0 {
            let unsettled = self.store().stats().unsettled;
            if unsettled > 0 && unsettled.saturating_add(elements) > limit {
                return Err(IntakeError::BacklogFull(limit));
            }
        }
        let began = tokio::time::Instant::now();
        let admitted = self.store().commit(commit).await?;
        self.metrics().commit_duration.observe(began.elapsed().as_secs_f64());
        Ok(admitted)
    }

    /// Counts what is on disk: all at once, for a label costs more to look up than a number to add.
    fn count_taken(&self, drafts: &[Draft<'_>], admitted: &[Admitted]) {
        let Some(first) = drafts.first() else { return };
        let metrics = self.metrics();
        let duplicates = admitted.iter().filter(|admitted| admitted.duplicate).count() as u64;
        let accepted = admitted.len() as u64 - duplicates;
        let label = SourceLabel { source: first.origin.source_name.to_string() };
        if duplicates > 0 {
            metrics.events_duplicate.get_or_create(&label).inc_by(duplicates);
        }
        if accepted > 0 {
            metrics.events_accepted.get_or_create(&label).inc_by(accepted);
        }
        let unmatched = drafts.iter().zip(admitted).filter(|(draft, admitted)| draft.is_unmatched(**admitted)).count();
        if unmatched > 0 {
            metrics.events_unmatched.inc_by(unmatched as u64);
        }
    }

    /// Counts and tells what could not be decoded; of each there are a letter and an alert.
    fn count_undecodable(&self, origin: &Origin, letters: &[(Arc<Envelope>, Reason)], admitted: &[Admitted]) {
        let fresh = letters.iter().zip(admitted.chunks(2));
        let fresh: Vec<_> = fresh.filter(|(_, made)| made.first().is_some_and(|letter| !letter.duplicate)).collect();
        let Some(((letter, reason), _)) = fresh.first() else { return };
        let label = SourceLabel { source: origin.source_name.to_string() };
        self.metrics().events_undecodable.get_or_create(&label).inc_by(fresh.len() as u64);
        let first = letter.id.delivery(0);
        tracing::warn!(
            source = %origin.source_name, count = fresh.len(), code = %reason.code, reason = %reason.message,
            "what a source has read could not be decoded; see the first with `eventyard dead-letters show {first}`"
        );
        for ((letter, reason), _) in fresh {
            undecodable::tell(self, letter, reason);
        }
    }

    /// The event as the broker keeps it.
    fn envelope(&self, origin: &Origin, incoming: Incoming, now: Timestamp) -> Envelope {
        let id = EventId::new(now, self.random_bytes());
        let mut event = incoming.event;
        if event.id.is_empty() {
            event.id = format_text!("{id}");
        }
        let hop_count = hops::take(&mut event);
        Envelope {
            id,
            namespace: origin.namespace.clone(),
            source_name: origin.source_name.clone(),
            tags: origin.tags.clone(),
            received_at: now,
            hop_count,
            keys_unique: incoming.keys_unique,
            event,
        }
    }

    /// One event is on disk: tells who listens.
    fn tell_accepted(&self, draft: &Draft<'_>, admitted: Admitted) {
        if !draft.is_told {
            return;
        }
        let (event, source_name) = (&draft.envelope.event, &draft.origin.source_name);
        self.tell(Fate::Accepted {
            event: admitted.event,
            cloudevent_id: event.id.clone(),
            ty: event.ty.clone(),
            source_name: source_name.clone(),
            rules: draft.rules.clone(),
            duplicate: admitted.duplicate,
        });
        if draft.is_unmatched(admitted) {
            let (source_name, ty, nearest) = (source_name.clone(), event.ty.clone(), draft.nearest.clone());
            self.tell(Fate::Unmatched { event: admitted.event, source_name, ty, nearest });
        }
    }
}

/// The receipts of what is on disk, and where a sender waits for its answer, or why it does not.
type TakenIn = (Vec<Receipt>, Result<Awaited, NoReply>);

/// What whoever brings events needs of them when they are on disk, or are not.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wants {
    Receipts,
    /// As well as the target's answer to the only one of them; so many may wait at once.
    Answer {
        waiting_max: usize,
    },
    /// No more than what was not taken.
    WhatIsNotTaken,
}

/// A source whose events are made of what another one takes.
#[derive(Clone, Debug)]
pub struct Maker {
    /// Whom its events come from.
    pub origin: Origin,
    /// What of them is taken; all of them where there is none.
    pub filter: Option<Arc<PatternSet>>,
}

/// What a source has read.
#[derive(Clone, Debug, Default)]
pub struct Read {
    /// The events, in order.
    pub events: Vec<Incoming>,
    /// Events that were made for other sources of what this one took, instead of its own.
    pub made: Vec<(Arc<Maker>, Incoming)>,
    /// What came with them and is none.
    pub undecodable: Vec<Undecodable>,
    /// How far the source has come.
    pub position: Option<NewPosition>,
    /// Which of the events are taken; `None` for all. The others are counted and have no receipt.
    pub filter: Option<Arc<PatternSet>>,
}

/// What is known of one event while it is on its way to disk.
struct Draft<'o> {
    origin: &'o Origin,
    envelope: Arc<Envelope>,
    dedupe: Option<Duration>,
    rules: Vec<Name>,
    /// Somebody listens to fates.
    is_told: bool,
    /// The rule that came closest; only where none matched and somebody listens, for it costs an explanation of
    /// every rule.
    nearest: Option<Name>,
}

impl<'o> Draft<'o> {
    fn new(
        is_told: bool,
        in_force: &InForce,
        origin: &'o Origin,
        envelope: &Arc<Envelope>,
        dedupe: Option<Duration>,
        rules: Vec<Name>,
    ) -> Draft<'o> {
        let nearest = (is_told && rules.is_empty()).then(|| in_force.nearest_rule(envelope)).flatten();
        Draft { origin, envelope: Arc::clone(envelope), dedupe, rules, is_told, nearest }
    }

    /// Whether no rule wanted it, as it turned out.
    fn is_unmatched(&self, admitted: Admitted) -> bool {
        self.rules.is_empty() && !admitted.duplicate
    }

    fn receipt(self, admitted: Admitted) -> Receipt {
        let hint =
            self.is_unmatched(admitted).then(|| format!("no rule matched; eventyard explain {}", admitted.event));
        let event = &self.envelope.event;
        Receipt {
            event: admitted.event,
            id: event.id.clone(),
            source: event.source.clone(),
            duplicate: admitted.duplicate,
            rules: self.rules,
            hint,
        }
    }
}

/// An event as it was offered.
fn offered(envelope: Envelope, dedupe: Option<Duration>) -> Incoming {
    let Envelope { id, mut event, keys_unique, .. } = envelope;
    if event.id == id.to_string() {
        event.id.clear();
    }
    Incoming { event, keys_unique, dedupe }
}
