use eventyard_event::Timestamp;
use proptest::prelude::*;

use super::Schedule;

fn at(text: &str) -> Timestamp {
    Timestamp::parse(text).unwrap()
}

fn parse(text: &str, zone: &str) -> Schedule {
    Schedule::parse(text, zone).unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// The next `count` instants after `from`, as the zone shows them.
fn shown(text: &str, zone: &str, from: &str, count: usize) -> Vec<String> {
    let schedule = parse(text, zone);
    schedule.upcoming(at(from)).take(count).map(|instant| schedule.show(instant)).collect()
}

#[test]
fn every_form_of_the_manual_is_read() {
    for (text, first) in [
        ("30 2 * * *", "2026-11-22T02:30:00+00:00"),
        ("15 30 2 * * *", "2026-11-22T02:30:15+00:00"),
        ("15 30 2 1 1 * 2027", "2027-01-01T02:30:15+00:00"),
        ("@yearly", "2027-01-01T00:00:00+00:00"),
        ("@annually", "2027-01-01T00:00:00+00:00"),
        ("@monthly", "2026-12-01T00:00:00+00:00"),
        ("@weekly", "2026-11-22T00:00:00+00:00"),
        ("@daily", "2026-11-22T00:00:00+00:00"),
        ("@midnight", "2026-11-22T00:00:00+00:00"),
        ("@hourly", "2026-11-21T13:00:00+00:00"),
        ("@every 5m", "2026-11-21T12:05:00+00:00"),
        ("@every 1h30m", "2026-11-21T13:30:00+00:00"),
        ("rate(5 minutes)", "2026-11-21T12:05:00+00:00"),
        ("rate(1 hour)", "2026-11-21T13:00:00+00:00"),
        ("at(2027-01-01T00:00:00)", "2027-01-01T00:00:00+00:00"),
        ("cron(0 10 ? * MON *)", "2026-11-23T10:00:00+00:00"),
        ("cron(0/15 * * * ? *)", "2026-11-21T12:15:00+00:00"),
    ] {
        // Saturday noon and a second.
        assert_eq!(shown(text, "UTC", "2026-11-21T12:00:01Z", 1), [first], "{text}");
    }
}

#[test]
fn eventbridge_counts_sunday_as_one() {
    // 2026-11-22 is a Sunday.
    assert_eq!(shown("cron(0 10 ? * 1 *)", "UTC", "2026-11-21T12:00:00Z", 1), ["2026-11-22T10:00:00+00:00"]);
    assert_eq!(shown("cron(0 10 ? * 7 *)", "UTC", "2026-11-21T12:00:00Z", 1), ["2026-11-28T10:00:00+00:00"]);
    assert_eq!(shown("cron(0 10 ? * 2-6 *)", "UTC", "2026-11-21T12:00:00Z", 1), ["2026-11-23T10:00:00+00:00"]);
    assert_eq!(shown("cron(0 10 ? * 6L *)", "UTC", "2026-11-21T12:00:00Z", 1), ["2026-11-27T10:00:00+00:00"]);
    assert_eq!(shown("cron(0 10 ? * 3#2 *)", "UTC", "2026-11-21T12:00:00Z", 1), ["2026-12-08T10:00:00+00:00"]);
    assert_eq!(shown("cron(0 10 L * ? *)", "UTC", "2026-11-21T12:00:00Z", 1), ["2026-11-30T10:00:00+00:00"]);
    assert_eq!(shown("cron(0 10 15W * ? *)", "UTC", "2026-11-01T12:00:00Z", 1), ["2026-11-16T10:00:00+00:00"]);
    assert_eq!(shown("cron(0 10 ? * MON-FRI 2028)", "UTC", "2026-11-21T12:00:00Z", 1), ["2028-01-03T10:00:00+00:00"]);
    // In the other forms Sunday is 0 and 7.
    assert_eq!(shown("0 10 * * 0", "UTC", "2026-11-21T12:00:00Z", 1), ["2026-11-22T10:00:00+00:00"]);
    assert_eq!(shown("0 10 * * 7", "UTC", "2026-11-21T12:00:00Z", 1), ["2026-11-22T10:00:00+00:00"]);
    assert_eq!(shown("0 10 * * 1", "UTC", "2026-11-21T12:00:00Z", 1), ["2026-11-23T10:00:00+00:00"]);
}

#[test]
fn a_time_that_the_day_lacks_fires_at_the_next_one_that_exists() {
    for text in ["30 2 * * *", "0 30 2 * * *", "0 30 2 * * * *", "15,30 2 * * *", "*/20 2 * * *", "cron(30 2 * * ? *)"]
    {
        assert_eq!(shown(text, "Europe/Berlin", "2026-03-28T12:00:00Z", 1), ["2026-03-29T03:00:00+02:00"], "{text}");
    }
    assert_eq!(
        shown("30 2 * * *", "Europe/Berlin", "2026-03-28T00:00:00Z", 3),
        ["2026-03-28T02:30:00+01:00", "2026-03-29T03:00:00+02:00", "2026-03-30T02:30:00+02:00"]
    );
    assert_eq!(
        shown("at(2026-03-29T02:30:00)", "Europe/Berlin", "2026-03-28T00:00:00Z", 1),
        ["2026-03-29T03:00:00+02:00"]
    );
    // Where midnight is what is lacking, and where a whole day is.
    assert_eq!(shown("@daily", "America/Santiago", "2026-09-05T12:00:00Z", 1), ["2026-09-06T01:00:00-03:00"]);
    assert_eq!(
        shown("0 12 * * *", "Pacific/Apia", "2011-12-29T22:30:00Z", 2),
        ["2011-12-31T00:00:00+14:00", "2011-12-31T12:00:00+14:00"]
    );
}

#[test]
fn times_that_meet_on_one_instant_fire_once() {
    assert_eq!(
        shown("30 2,3 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z", 2),
        ["2026-03-29T03:00:00+02:00", "2026-03-29T03:30:00+02:00"]
    );
    assert_eq!(
        shown("0 * * * *", "Europe/Berlin", "2026-03-29T00:00:00Z", 2),
        ["2026-03-29T03:00:00+02:00", "2026-03-29T04:00:00+02:00"]
    );
}

#[test]
fn a_time_that_comes_twice_fires_once() {
    for text in ["30 2 * * *", "0 30 2 * * *", "0 30 2 * * * *", "cron(30 2 * * ? *)"] {
        assert_eq!(
            shown(text, "Europe/Berlin", "2026-10-24T12:00:00Z", 2),
            ["2026-10-25T02:30:00+02:00", "2026-10-26T02:30:00+01:00"],
            "{text}"
        );
    }
    assert_eq!(
        shown("*/30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z", 3),
        ["2026-10-25T02:00:00+02:00", "2026-10-25T02:30:00+02:00", "2026-10-26T02:00:00+01:00"]
    );
    assert_eq!(
        shown("*/30 * * * *", "Europe/Berlin", "2026-10-25T00:00:00Z", 3),
        ["2026-10-25T02:30:00+02:00", "2026-10-25T03:00:00+01:00", "2026-10-25T03:30:00+01:00"]
    );
    assert_eq!(
        shown("at(2026-10-25T02:30:00)", "Europe/Berlin", "2026-10-24T00:00:00Z", 2),
        ["2026-10-25T02:30:00+02:00"]
    );
    // Asked from within the repeated hour, it goes on after it.
    assert_eq!(shown("* * * * *", "Europe/Berlin", "2026-10-25T01:10:00Z", 1), ["2026-10-25T03:00:00+01:00"]);
}

#[test]
fn intervals_know_nothing_of_clocks_that_change() {
    for text in ["@every 30m", "rate(30 minutes)"] {
        assert_eq!(
            shown(text, "Europe/Berlin", "2026-10-25T00:00:00Z", 4),
            [
                "2026-10-25T02:30:00+02:00",
                "2026-10-25T02:00:00+01:00",
                "2026-10-25T02:30:00+01:00",
                "2026-10-25T03:00:00+01:00"
            ],
            "{text}"
        );
    }
}

#[test]
fn a_zone_in_the_schedule_overrides_the_projects() {
    let schedule = parse("CRON_TZ=America/New_York 30 2 * * *", "Europe/Berlin");
    assert_eq!(schedule.zone_name(), "America/New_York");
    let first = schedule.next_after(at("2026-11-21T12:00:00Z")).unwrap();
    assert_eq!(schedule.show(first), "2026-11-22T02:30:00-05:00");
}

#[test]
fn what_is_no_schedule_is_refused_with_a_hint() {
    for (text, said, hint) in [
        ("61 * * * *", "`61` is no minute", "0-59"),
        ("* 25 * * *", "`25` is no hour", "0-23"),
        ("0 0 32 * *", "`32` is no day of the month", "1-31"),
        ("0 0 * FOO *", "`FOO` is no month", "JAN-DEC"),
        ("0 0 * * 8", "`8` is no day of the week", "0-7"),
        ("0 61 * * * *", "`61` is no minute", "0-59"),
        ("30 2 * *", "has 4 fields", "minute, hour"),
        ("* * * * * * * *", "has 8 fields", "minute, hour"),
        ("nonsense", "has 1 field,", "@daily"),
        ("", "empty", "@daily"),
        ("@yearlyy", "no schedule `@yearlyy`", "did you mean `@yearly`?"),
        ("@evry 5m", "no schedule `@evry 5m`", "did you mean `@every`?"),
        ("@every", "no interval", "@every 5m"),
        ("@every 5", "no interval", "@every 5m"),
        ("@every 0s", "no interval", "of a second at least"),
        ("@every 250ms", "no interval", "of a second at least"),
        ("@every -5m", "no interval", "@every 5m"),
        ("@every 99999999999999999999h", "no interval", "@every 5m"),
        ("rate(5 minute)", "no interval", "rate(5 minutes)"),
        ("rate(1 minutes)", "no interval", "rate(1 minute)"),
        ("rate(0 minutes)", "no interval", "rate(1 minute)"),
        ("rate(5 weeks)", "no interval", "rate(7 days)"),
        ("rate(5 minutes", "not closed", ""),
        ("at(2027-01-01)", "no time", "at(2027-01-01T00:00:00)"),
        ("at(2027-02-30T00:00:00)", "no time", "at("),
        ("at(2027-01-01T00:00:00Z)", "no time", "without an offset"),
        ("cron(0 10 * * MON *)", "exactly one of the two days", "put `?`"),
        ("cron(0 10 ? * ? *)", "exactly one of the two days", "put `?`"),
        ("cron(0 10 ? * MON)", "has 5 fields", "year"),
        ("cron(0 10 ? * 0 *)", "`0` is no day of the week", "1 is Sunday"),
        ("cron(0 10 ? * 8 *)", "`8` is no day of the week", "1 is Sunday"),
        ("every(5m)", "no schedule `every(…)`", "cron(…), rate(…) and at(…)"),
    ] {
        let error = Schedule::parse(text, "UTC").expect_err(text);
        let shown = error.to_string();
        assert_eq!(error.path, ["schedule"], "{text}");
        assert!(shown.contains(said) && shown.contains(hint), "{text}: {shown}");
    }
}

#[test]
fn an_unknown_zone_is_refused_with_the_nearest_name() {
    let error = Schedule::parse("@daily", "Europe/Berln").unwrap_err();
    assert_eq!((error.path.as_slice(), error.code), (["timezone".to_owned()].as_slice(), "unknown_timezone"));
    assert!(error.to_string().contains("`Europe/Berlin`"), "{error}");
    let error = Schedule::parse("@daily", "Mars/Base").unwrap_err();
    assert!(error.to_string().contains("no time zone `Mars/Base`"), "{error}");
    let error = Schedule::parse("CRON_TZ=Mars/Base @daily", "UTC").unwrap_err();
    assert_eq!(error.path, ["schedule"]);
}

#[test]
fn a_date_that_never_comes_gives_no_instant() {
    for never in ["0 0 30 2 *", "0 0 0 1 1 * 2020", "at(2020-01-01T00:00:00)", "0 0 31 4,6,9,11 *"] {
        assert_eq!(parse(never, "Europe/Berlin").next_after(at("2026-11-21T12:00:00Z")), None, "{never}");
    }
    assert_eq!(shown("0 0 29 2 *", "UTC", "2026-11-21T12:00:00Z", 1), ["2028-02-29T00:00:00+00:00"]);
}

#[test]
fn the_far_ends_of_time_give_nothing_and_do_not_panic() {
    for text in ["30 2 * * *", "@every 5m", "at(2027-01-01T00:00:00)"] {
        let schedule = parse(text, "Europe/Berlin");
        for far in [i64::MIN, i64::MIN + 1, -1, i64::MAX - 1, i64::MAX] {
            let _ = schedule.next_after(Timestamp::from_millis(far));
            let _ = schedule.show(Timestamp::from_millis(far));
        }
        assert_eq!(schedule.next_after(Timestamp::from_millis(i64::MAX)), None);
    }
}

#[test]
fn the_newest_are_found_without_walking_through_all() {
    let schedule = parse("* * * * * *", "UTC");
    let until = at("2026-11-21T12:00:00Z");
    // A hundred thousand years of seconds would not come to an end.
    let newest = schedule.newest(Timestamp::from_millis(-1_000_000_000_000_000), until, 3);
    assert_eq!(newest, [at("2026-11-21T11:59:58Z"), at("2026-11-21T11:59:59Z"), until]);
    let yearly = parse("@yearly", "UTC").newest(at("2020-06-01T00:00:00Z"), until, 100);
    assert_eq!(yearly.len(), 6);
    assert_eq!(schedule.newest(until, until, 5), []);
    assert_eq!(schedule.newest(until, at("2026-11-20T00:00:00Z"), 5), []);
}

#[test]
fn a_schedule_says_itself_in_words() {
    assert!(parse("30 2 * * *", "Europe/Berlin").describe().contains("02:30"));
    assert!(parse("30 2 * * *", "Europe/Berlin").describe().contains("Europe/Berlin"));
    assert!(parse("@every 90m", "UTC").describe().contains("1h"), "{}", parse("@every 90m", "UTC").describe());
    assert!(parse("at(2027-01-01T00:00:00)", "UTC").describe().contains("2027-01-01T00:00:00+00:00"));
}

/// The rule said in another way: walk every minute that the clock shows between two days, map each to when the clock
/// first shows it or jumps over it, and keep what the fields say.
fn oracle(zone: &str, hours: &[i8], minutes: &[i8], from: Timestamp, until: Timestamp) -> Vec<Timestamp> {
    let zone = jiff::tz::TimeZone::get(zone).unwrap();
    let mut shown = zone.to_datetime(from.to_jiff()).date().yesterday().unwrap().at(0, 0, 0, 0);
    let end = zone.to_datetime(until.to_jiff()).date().tomorrow().unwrap().at(0, 0, 0, 0);
    let mut instants = std::collections::BTreeSet::new();
    // All instants, minute by minute, with what the clock shows: the slow and obvious way to find the first.
    while shown < end {
        if hours.contains(&shown.hour()) && minutes.contains(&shown.minute()) {
            let noon_before = shown.date().at(0, 0, 0, 0).to_zoned(jiff::tz::TimeZone::UTC).unwrap().timestamp();
            let mut probe = noon_before.as_second() - 20 * 3600;
            loop {
                let clock = zone.to_datetime(jiff::Timestamp::from_second(probe).unwrap());
                if clock >= shown {
                    break;
                }
                probe += 60;
            }
            instants.insert(Timestamp::from_millis(probe * 1000));
        }
        shown = shown.checked_add(jiff::SignedDuration::from_secs(60)).unwrap();
    }
    instants.into_iter().filter(|at| *at > from && *at <= until).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Around days on which clocks change, and others, the schedule and the slow walk agree.
    #[test]
    fn instants_are_those_of_the_slow_walk(
        (zone, day) in prop::sample::select(vec![
            ("Europe/Berlin", "2026-03-29"), ("Europe/Berlin", "2026-10-25"), ("Europe/Berlin", "2026-11-21"),
            ("America/New_York", "2026-03-08"), ("America/New_York", "2026-11-01"),
            ("Australia/Lord_Howe", "2026-04-05"), ("Australia/Lord_Howe", "2026-10-04"),
            ("America/Santiago", "2026-09-06"), ("America/Santiago", "2026-04-05"),
        ]),
        hours in prop::collection::btree_set(0_i8..24, 1..5),
        minutes in prop::collection::btree_set(0_i8..60, 1..4),
        offset_minutes in 0_i64..2880,
    ) {
        let (hours, minutes): (Vec<i8>, Vec<i8>) = (hours.into_iter().collect(), minutes.into_iter().collect());
        let join = |numbers: &[i8]| numbers.iter().map(i8::to_string).collect::<Vec<_>>().join(",");
        let schedule = parse(&format!("{} {} * * *", join(&minutes), join(&hours)), zone);
        let middle = at(&format!("{day}T00:00:00Z")).as_millis();
        let from = Timestamp::from_millis(middle + (offset_minutes - 1440) * 60_000);
        let until = Timestamp::from_millis(from.as_millis() + 36 * 3_600_000);
        let found: Vec<Timestamp> = schedule.upcoming(from).take_while(|at| *at <= until).collect();
        prop_assert_eq!(&found, &oracle(zone, &hours, &minutes, from, until));
        let newest = schedule.newest(from, until, 3);
        prop_assert_eq!(newest.as_slice(), &found[found.len().saturating_sub(3)..]);
    }
}
