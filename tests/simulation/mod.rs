//! The whole broker under paused time with one seed: its own code from intake to settle, the real journal on a
//! simulated disk, scripted targets. Power cuts, process deaths, failing and slow syncs, a disk that fills up,
//! failing, ambiguous and hanging targets, reloads, replays, pauses and cancellations; and after each seed, what must hold whatever
//! happened.
//!
//! `EVENTYARD_SEEDS=N` runs N seeds (200 without it), `EVENTYARD_SEED=S` runs one again and prints its trace.

mod ledger;
mod life;
mod targets;

use std::panic::{AssertUnwindSafe, catch_unwind};

use eventyard_store::PlantedFaults;

use life::{Outcome, simulate};

const SEEDS_IN_CI: u64 = 200;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{variable} is no number")))
}

/// Simulates one seed; a panic of the broker is a violation like any other.
fn run(seed: u64, faults: PlantedFaults) -> Outcome {
    match catch_unwind(AssertUnwindSafe(|| simulate(seed, faults))) {
        Ok(outcome) => outcome,
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            Outcome::broken(format!("a panic: {}", text.unwrap_or_default()))
        }
    }
}

#[test]
fn whatever_happens_nothing_acknowledged_is_lost_and_nothing_is_done_twice_without_a_cause() {
    if let Some(seed) = number("EVENTYARD_SEED") {
        let outcome = run(seed, PlantedFaults::default());
        outcome.trace.iter().for_each(|line| println!("{line}"));
        assert!(outcome.violations.is_empty(), "seed {seed}: {:#?}", outcome.violations);
        return;
    }
    let seeds = number("EVENTYARD_SEEDS").unwrap_or(SEEDS_IN_CI);
    let (mut events, mut calls, mut lives, mut deaths, mut pauses, mut cancelled) = (0, 0, 0, 0, 0, 0);
    for seed in 0..seeds {
        let outcome = run(seed, PlantedFaults::default());
        assert!(
            outcome.violations.is_empty(),
            "seed {seed}: {:#?}\nto see it again: EVENTYARD_SEED={seed} cargo test --test main simulation -- --nocapture",
            outcome.violations
        );
        events += outcome.acknowledged;
        calls += outcome.calls;
        lives += outcome.lives;
        deaths += outcome.deaths;
        pauses += outcome.pauses;
        cancelled += outcome.cancelled;
    }
    println!(
        "{seeds} seeds: {lives} lives, {events} events acknowledged, {calls} targets called, {deaths} dead letters, \
         {pauses} targets paused, {cancelled} deliveries cancelled"
    );
    // A simulation in which nothing happens proves nothing.
    assert!(events > seeds * 10 && calls > seeds * 10 && lives > seeds * 2 && deaths > seeds / 4);
    assert!(pauses > seeds && cancelled > seeds / 4);
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    for seed in [1, 7, 42] {
        let (first, second) = (run(seed, PlantedFaults::default()), run(seed, PlantedFaults::default()));
        let differ = first.trace.iter().zip(&second.trace).position(|(a, b)| a != b);
        assert_eq!(differ.map(|at| (&first.trace[at], &second.trace[at])), None, "seed {seed}");
        assert_eq!(first.trace_hash, second.trace_hash, "seed {seed}");
    }
}

/// How many seeds may pass before a planted fault is found.
const SEEDS_TO_FIND: u64 = 200;

#[expect(clippy::print_stdout, reason = "shows with which seed it was found")]
fn is_found(faults: PlantedFaults) {
    for seed in 0..SEEDS_TO_FIND {
        let outcome = run(seed, faults);
        if let Some(violation) = outcome.violations.first() {
            println!("found with seed {seed}: {violation}");
            return;
        }
    }
    panic!("{faults:?} was not found in {SEEDS_TO_FIND} seeds");
}

#[test]
fn an_answer_before_the_sync_is_found() {
    is_found(PlantedFaults { answer_before_sync: true, ..PlantedFaults::default() });
}

#[test]
fn an_attempt_without_its_begin_is_found() {
    is_found(PlantedFaults { settle_without_begin: true, ..PlantedFaults::default() });
}

#[test]
fn a_checkpoint_ahead_of_the_sync_is_found() {
    is_found(PlantedFaults { checkpoint_ahead_of_sync: true, ..PlantedFaults::default() });
}
