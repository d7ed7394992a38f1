use std::collections::BTreeSet;
use std::time::Duration;

use eventyard_event::Timestamp;
use proptest::prelude::*;

use super::{CATCH_UP_MAX, CatchUp, LATE_MAX, Schedule, Step, TimerState};

const DAY: Duration = Duration::from_secs(86_400);

fn at(text: &str) -> Timestamp {
    Timestamp::parse(text).unwrap()
}

fn schedule(text: &str) -> Schedule {
    Schedule::parse(text, "UTC").unwrap()
}

fn fired(step: Step) -> Vec<Timestamp> {
    match step {
        Step::Fire { instants, .. } => instants,
        _ => Vec::new(),
    }
}

#[test]
fn after_a_stop_catch_up_says_what_fires() {
    let hourly = schedule("@hourly");
    let (handled, now) = (at("2026-11-21T00:30:00Z"), at("2026-11-21T05:10:00Z"));
    let step = |catch_up| TimerState::new(handled, now, catch_up, DAY).step(&hourly, now);
    assert_eq!(step(CatchUp::Skip), Step::Miss { through: at("2026-11-21T05:00:00Z") });
    assert_eq!(fired(step(CatchUp::Latest)), [at("2026-11-21T05:00:00Z")]);
    assert_eq!(fired(step(CatchUp::All)).len(), 5);
}

#[test]
fn what_lies_before_the_window_is_never_caught_up() {
    let hourly = schedule("@hourly");
    let (handled, now) = (at("2026-11-01T00:30:00Z"), at("2026-11-21T05:10:00Z"));
    let window = Duration::from_secs(2 * 3600);
    let all = TimerState::new(handled, now, CatchUp::All, window).step(&hourly, now);
    assert_eq!(fired(all), [at("2026-11-21T04:00:00Z"), at("2026-11-21T05:00:00Z")]);
    let narrow = Duration::from_secs(60);
    let none = TimerState::new(handled, now, CatchUp::All, narrow).step(&hourly, now);
    assert_eq!(none, Step::Miss { through: at("2026-11-21T05:00:00Z") });
}

#[test]
fn a_clock_that_jumps_ahead_makes_no_burst() {
    let minutely = schedule("* * * * *");
    let began = at("2026-11-21T12:00:30Z");
    let jumped = began.plus(10 * DAY);
    for (catch_up, most) in [(CatchUp::Skip, 1), (CatchUp::Latest, 1), (CatchUp::All, CATCH_UP_MAX)] {
        let mut state = TimerState::new(began, began, catch_up, DAY);
        let step = state.step(&minutely, jumped);
        let Step::Fire { instants, through } = step else { panic!("{step:?}") };
        assert!(instants.len() <= most);
        state.handle(through);
        assert_eq!(state.step(&minutely, jumped), Step::Wait(through.plus(Duration::from_secs(60))));
    }
}

#[test]
fn a_clock_that_is_set_back_fires_nothing_twice() {
    let minutely = schedule("* * * * *");
    let began = at("2026-11-21T12:00:30Z");
    let mut state = TimerState::new(began, began, CatchUp::All, DAY);
    let now = at("2026-11-21T12:01:00Z");
    assert_eq!(fired(state.step(&minutely, now)), [now]);
    state.handle(now);
    let an_hour_back = now.minus(Duration::from_secs(3600));
    assert_eq!(state.step(&minutely, an_hour_back), Step::Wait(at("2026-11-21T12:02:00Z")));
    state.handle(an_hour_back);
    assert_eq!(state.handled(), now);
}

#[test]
fn a_running_timer_that_is_a_little_late_fires_under_skip() {
    let minutely = schedule("* * * * *");
    let began = at("2026-11-21T12:00:30Z");
    let state = TimerState::new(began, began, CatchUp::Skip, DAY);
    assert_eq!(fired(state.step(&minutely, at("2026-11-21T12:01:20Z"))), [at("2026-11-21T12:01:00Z")]);
    let hourly = schedule("@hourly");
    let late = at("2026-11-21T13:01:01Z");
    assert_eq!(fired(state.step(&hourly, late)), []);
}

#[test]
fn a_schedule_without_another_instant_is_finished() {
    let once = schedule("at(2026-11-21T12:00:00)");
    let began = at("2026-11-21T11:00:00Z");
    let mut state = TimerState::new(began, began, CatchUp::Latest, DAY);
    assert_eq!(state.step(&once, began), Step::Wait(at("2026-11-21T12:00:00Z")));
    let now = at("2026-11-21T12:00:00Z");
    assert_eq!(fired(state.step(&once, now)), [now]);
    state.handle(now);
    assert_eq!(state.step(&once, now), Step::Finished);
}

/// What happens to a timer between two looks at the clock.
#[derive(Clone, Copy, Debug)]
enum Happening {
    /// The clock moves by so many seconds, ahead or back.
    Clock(i64),
    /// The program stops and starts again; what was committed is all that it knows.
    Restart,
}

fn happenings() -> impl Strategy<Value = Vec<Happening>> {
    let one = prop_oneof![
        6 => (0_i64..90).prop_map(Happening::Clock),
        2 => (-7200_i64..7200).prop_map(Happening::Clock),
        1 => (-900_000_i64..900_000).prop_map(Happening::Clock),
        1 => Just(Happening::Restart),
    ];
    prop::collection::vec(one, 1..60)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever the clock does and however often the program restarts: each instant fires once at most, only
    /// instants of the schedule fire, never ahead of the clock, in order, and what `catch_up` allows.
    #[test]
    fn no_instant_fires_twice_or_early(
        events in happenings(),
        catch_up in prop::sample::select(vec![CatchUp::Skip, CatchUp::Latest, CatchUp::All]),
        text in prop::sample::select(vec!["* * * * *", "*/7 * * * *", "@hourly", "@every 90s", "30 2 * * *"]),
        window_seconds in 0_u64..200_000,
    ) {
        let schedule = schedule(text);
        let window = Duration::from_secs(window_seconds);
        let mut now = at("2026-11-21T12:00:30Z");
        let mut committed = now;
        let mut began = now;
        let mut fired = BTreeSet::new();
        let mut state = TimerState::new(committed, began, catch_up, window);
        for event in events {
            match event {
                Happening::Clock(seconds) => now = Timestamp::from_millis(now.as_millis() + seconds * 1000),
                Happening::Restart => {
                    began = now;
                    state = TimerState::new(committed, began, catch_up, window);
                }
            }
            // The brute-force view of what is due: every instant of the schedule after what was handled.
            let due: BTreeSet<Timestamp> = schedule.upcoming(state.handled()).take_while(|at| *at <= now).collect();
            match state.step(&schedule, now) {
                Step::Wait(until) => {
                    prop_assert!(due.is_empty());
                    prop_assert!(until > now && schedule.next_after(state.handled()) == Some(until));
                }
                Step::Finished => prop_assert!(false, "these schedules never end"),
                Step::Miss { through } => {
                    prop_assert_eq!(due.last(), Some(&through));
                    let newest_is_new = through > began && now.since(through) <= LATE_MAX;
                    let may_catch_up = catch_up != CatchUp::Skip && now.since(through) <= window;
                    prop_assert!(!newest_is_new && !may_catch_up);
                    state.handle(through);
                }
                Step::Fire { instants, through } => {
                    prop_assert_eq!(due.last(), Some(&through));
                    let most = if catch_up == CatchUp::All { CATCH_UP_MAX } else { 1 };
                    prop_assert!(instants.len() <= most);
                    prop_assert!(instants.is_sorted());
                    for instant in &instants {
                        prop_assert!(due.contains(instant) && *instant <= now);
                        prop_assert!(fired.insert(*instant), "{} fired twice", instant);
                    }
                    if catch_up == CatchUp::All {
                        let wanted = due.iter().rev().take(CATCH_UP_MAX).filter(|at| now.since(**at) <= window).count();
                        prop_assert!(instants.len() >= wanted);
                    }
                    state.handle(through);
                    committed = through;
                }
            }
        }
    }
}
