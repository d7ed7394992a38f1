//! Events from their commit to the end of their deliveries, many at once, as a broker passes on what a topic brings.

use std::time::Duration;

use eventyard_event::Timestamp;
use eventyard_store::{
    Admission, AttemptOutcome, AttemptRecord, Begin, Commit, LocalStore, SettleError, Settlement, Store, StoreError,
    Verdict,
};

use crate::commits::queue;

/// Events of one commit, and deliveries that are begun and settled together.
pub(crate) const EVENTS: u64 = 64;

const LEASE: Duration = Duration::from_secs(60);

/// Commits some events, and lets as many deliveries be taken, begun and settled: these, or those of another writer.
pub(crate) async fn live(store: &LocalStore, admissions: Vec<Admission>) -> Result<(), StoreError> {
    let count = admissions.len();
    let now = admissions.last().map_or(Timestamp::default(), |last| last.envelope.received_at);
    store.commit(Commit { admissions, position: None }).await?;
    let taken = store.take(&queue(), count, now.plus(LEASE), LEASE).await?;
    let begin = |delivery| Begin { delivery, at: now, backoff_if_interrupted: Duration::from_secs(5) };
    done(store.begin(taken.iter().map(|taken| begin(taken.delivery)).collect()).await)?;
    let settlements = taken.iter().map(|taken| Settlement {
        delivery: taken.delivery,
        attempt: Some(AttemptRecord {
            number: 1,
            began_at: now,
            ended_at: now,
            outcome: AttemptOutcome::Succeeded,
            code: String::new(),
            message: String::new(),
            response: "204 No Content".to_owned(),
        }),
        verdict: Verdict::Delivered,
        at: now,
        emits: Vec::new(),
    });
    done(store.settle(settlements.collect()).await)
}

fn done(results: Vec<Result<(), SettleError>>) -> Result<(), StoreError> {
    let refused = |error| StoreError::Corrupt(format!("{error}"));
    results.into_iter().collect::<Result<(), _>>().map_err(refused)
}
