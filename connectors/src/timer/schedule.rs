//! When a timer fires.
//!
//! A schedule is one of three things: wall-clock times that a cron expression matches, a fixed interval, or one
//! wall-clock time.
//!
//! **Days on which clocks change.** A wall-clock time that the day lacks fires at the next one that exists: 02:30
//! on the night that goes from 02:00 to 03:00 fires at 03:00, and so does 02:15, and both together are one firing.
//! A time that comes twice fires once, the first time. This holds for every cron form alike, wildcards included:
//! `*/30 * * * *` is silent in the repeated hour. What must come at even intervals is written as `@every 30m` or
//! `rate(30 minutes)`, which count elapsed time and know nothing of zones, or has `timezone = "UTC"`.
//!
//! **Intervals** count from 1970-01-01T00:00:00Z, not from the start of the program: so the coming instants follow
//! from the project's files alone, and a restart moves none.

use std::time::Duration;

use croner::Cron;
use eventyard_event::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{SignedDuration, Zoned};

use super::cron::{self, error};
use crate::spec::ConfigError;

/// When a timer fires. Pure: no clock, and the same instants each time.
#[derive(Clone, Debug)]
pub struct Schedule {
    text: String,
    zone: TimeZone,
    zone_name: String,
    kind: Kind,
}

#[derive(Clone, Debug)]
enum Kind {
    Cron(Box<Cron>),
    Every { millis: i64 },
    At(Timestamp),
}

impl Schedule {
    /// Reads a schedule; `zone_name` is the project's `timezone`, which a `CRON_TZ=` in the text overrides.
    ///
    /// # Errors
    /// What does not read, at `schedule` or at `timezone`, with the nearest thing that does.
    pub fn parse(text: &str, zone_name: &str) -> Result<Schedule, ConfigError> {
        let text = text.trim();
        let (zone_name, rest, zone_key) = match text.strip_prefix("CRON_TZ=") {
            Some(prefixed) => {
                let (name, rest) = prefixed.split_once(char::is_whitespace).unwrap_or((prefixed, ""));
                (name, rest.trim_start(), "schedule")
            }
            None => (zone_name, text, "timezone"),
        };
        let zone = zone(zone_name)
            .map_err(|(message, help)| ConfigError::at(zone_key, "unknown_timezone", message).help(help))?;
        let kind = kind(rest, &zone)?;
        Ok(Schedule { text: text.to_owned(), zone, zone_name: zone_name.to_owned(), kind })
    }

    /// The schedule as it was written, `CRON_TZ=` included.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The zone whose clocks it reads.
    #[must_use]
    pub fn zone_name(&self) -> &str {
        &self.zone_name
    }

    /// The first instant after `after`; `None` where there is none until the year 5000.
    #[must_use]
    pub fn next_after(&self, after: Timestamp) -> Option<Timestamp> {
        match &self.kind {
            Kind::At(at) => (*at > after).then_some(*at),
            Kind::Every { millis } => {
                let now = after.as_millis();
                now.checked_sub(now.rem_euclid(*millis))?.checked_add(*millis).map(Timestamp::from_millis)
            }
            Kind::Cron(cron) => self.next_of_cron(cron, after),
        }
    }

    /// The instants after `from`, in order.
    pub fn upcoming(&self, from: Timestamp) -> impl Iterator<Item = Timestamp> + '_ {
        std::iter::successors(self.next_after(from), |last| self.next_after(*last))
    }

    /// The `count` newest instants after `after` and not after `until`, in order.
    ///
    /// Costs about as many steps as it gives, however much time lies between: it looks at a span before `until`
    /// that doubles until enough are found.
    #[must_use]
    pub fn newest(&self, after: Timestamp, until: Timestamp, count: usize) -> Vec<Timestamp> {
        let whole = until.since(after);
        let mut span = Duration::from_secs(60);
        loop {
            let from = if span >= whole { after } else { until.minus(span) };
            let found: Vec<Timestamp> = self.upcoming(from).take_while(|at| *at <= until).collect();
            if found.len() >= count || span >= whole {
                let surplus = found.len().saturating_sub(count);
                return found.get(surplus..).unwrap_or_default().to_vec();
            }
            span = span.saturating_mul(2);
        }
    }

    /// An instant as the schedule's zone shows it: RFC 3339 with the offset.
    #[must_use]
    pub fn show(&self, at: Timestamp) -> String {
        at.to_jiff().to_zoned(self.zone.clone()).strftime("%Y-%m-%dT%H:%M:%S%:z").to_string()
    }

    /// The schedule in words.
    #[must_use]
    pub fn describe(&self) -> String {
        match &self.kind {
            Kind::Cron(cron) => format!("{} ({})", cron.describe().trim_end_matches('.'), self.zone_name),
            Kind::Every { millis } => {
                let every = SignedDuration::from_millis(*millis);
                format!("Every {every:#}")
            }
            Kind::At(at) => format!("Once, at {}", self.show(*at)),
        }
    }

    /// Walks the wall clock, free of zones, and asks the zone when each time is.
    fn next_of_cron(&self, cron: &Cron, after: Timestamp) -> Option<Timestamp> {
        let now = after.to_jiff();
        let (mut from, mut inclusive) = match self.end_of_repeat(now) {
            // All that the clock shows again until then has fired.
            Some(end) => (end, true),
            None => (self.zone.to_datetime(now), false),
        };
        loop {
            let walker = from.to_zoned(TimeZone::UTC).ok()?;
            let found: Zoned = cron.find_next_occurrence(&walker, inclusive).ok()?;
            let at = Timestamp::from(self.instant(found.datetime())?);
            if at > after {
                return Some(at);
            }
            (from, inclusive) = (found.datetime(), false);
        }
    }

    /// When the clock shows this time: the first of two, or where the day lacks it, when the clock jumps over it.
    fn instant(&self, shown: DateTime) -> Option<jiff::Timestamp> {
        instant(&self.zone, shown)
    }

    /// Where the clock shows at `now` what it has shown before: the time that it shows when that is over.
    fn end_of_repeat(&self, now: jiff::Timestamp) -> Option<DateTime> {
        let inclusive = now.checked_add(SignedDuration::from_nanos(1)).ok()?;
        let change = self.zone.preceding(inclusive).next()?;
        let before = self.zone.to_offset(change.timestamp().checked_sub(SignedDuration::from_secs(1)).ok()?);
        let gone_back_seconds = i64::from(before.seconds()) - i64::from(change.offset().seconds());
        let since = now.duration_since(change.timestamp());
        (since < SignedDuration::from_secs(gone_back_seconds)).then(|| before.to_datetime(change.timestamp()))
    }
}

fn instant(zone: &TimeZone, shown: DateTime) -> Option<jiff::Timestamp> {
    match zone.to_ambiguous_timestamp(shown).offset() {
        AmbiguousOffset::Unambiguous { offset } => offset.to_timestamp(shown).ok(),
        AmbiguousOffset::Fold { before, .. } => before.to_timestamp(shown).ok(),
        AmbiguousOffset::Gap { after, .. } => {
            // Read with the later offset, a time within the gap lies before the change.
            let before_change = after.to_timestamp(shown).ok()?.checked_sub(SignedDuration::from_nanos(1)).ok()?;
            zone.following(before_change).next().map(|change| change.timestamp())
        }
    }
}

fn kind(text: &str, zone: &TimeZone) -> Result<Kind, ConfigError> {
    if text.is_empty() {
        return Err(error("the schedule is empty").help("write 30 2 * * *, @daily or @every 5m"));
    }
    if let Some(duration) = text.strip_prefix("@every").filter(|rest| rest.is_empty() || rest.starts_with(' ')) {
        return every(duration.trim());
    }
    if text.starts_with('@') {
        return cron::nickname(text).map(|cron| Kind::Cron(Box::new(cron)));
    }
    if let Some((word, inner)) = text.split_once('(') {
        let Some(inner) = inner.strip_suffix(')') else {
            return Err(error(format!("in `{}`, the bracket is not closed", text.escape_default())));
        };
        return match word {
            "cron" => cron::eventbridge(inner).map(|cron| Kind::Cron(Box::new(cron))),
            "rate" => rate(inner.trim()),
            "at" => at(inner.trim(), zone),
            _ => {
                let message = format!("there is no schedule `{}(…)`", word.escape_default());
                Err(error(message).help("there are cron(…), rate(…) and at(…)"))
            }
        };
    }
    cron::fields(text).map(|cron| Kind::Cron(Box::new(cron)))
}

/// `@every 1h30m`: whole numbers with units, one after another.
fn every(text: &str) -> Result<Kind, ConfigError> {
    let refused = || {
        let message = format!("`@every {}` is no interval", text.escape_default());
        error(message).help("write whole numbers with units, of a second at least: @every 90s, @every 5m, @every 1h30m")
    };
    let mut millis: i64 = 0;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (count, tail) = rest.split_at_checked(digits).ok_or_else(refused)?;
        let letters = tail.bytes().take_while(u8::is_ascii_alphabetic).count();
        let (unit, tail) = tail.split_at_checked(letters).ok_or_else(refused)?;
        let unit_millis = match unit {
            "s" => 1000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return Err(refused()),
        };
        let count: i64 = count.parse().map_err(|_| refused())?;
        millis = count.checked_mul(unit_millis).and_then(|more| millis.checked_add(more)).ok_or_else(refused)?;
        rest = tail;
    }
    interval(millis).ok_or_else(refused)
}

/// `rate(5 minutes)`, as EventBridge has it.
fn rate(text: &str) -> Result<Kind, ConfigError> {
    let refused = || {
        let message = format!("`rate({})` is no interval", text.escape_default());
        error(message)
            .help("write rate(1 minute), rate(5 minutes), rate(1 hour), rate(2 hours), rate(1 day) or rate(7 days)")
    };
    let (count, unit) = text.split_once(char::is_whitespace).ok_or_else(refused)?;
    if !count.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(refused());
    }
    let count: i64 = count.parse().map_err(|_| refused())?;
    let unit_millis: i64 = match (unit.trim(), count) {
        ("minute", 1) | ("minutes", 2..) => 60_000,
        ("hour", 1) | ("hours", 2..) => 3_600_000,
        ("day", 1) | ("days", 2..) => 86_400_000,
        _ => return Err(refused()),
    };
    count.checked_mul(unit_millis).and_then(interval).ok_or_else(refused)
}

/// An interval from a second to a hundred years: beyond that it is a mistake, and arithmetic stays far from its ends.
fn interval(millis: i64) -> Option<Kind> {
    const MAX_MILLIS: i64 = 100 * 366 * 86_400_000;
    (1000..=MAX_MILLIS).contains(&millis).then_some(Kind::Every { millis })
}

/// `at(2027-01-01T00:00:00)`, in the schedule's zone.
fn at(text: &str, zone: &TimeZone) -> Result<Kind, ConfigError> {
    let refused = || {
        let message = format!("`at({})` is no time", text.escape_default());
        error(message).help("write at(2027-01-01T00:00:00), without an offset: `timezone` says which clock it is")
    };
    let exact = text.len() == "2027-01-01T00:00:00".len() && text.as_bytes().get(10) == Some(&b'T');
    let shown: DateTime = text.parse().ok().filter(|_| exact).ok_or_else(refused)?;
    instant(zone, shown).map(|at| Kind::At(at.into())).ok_or_else(refused)
}

fn zone(name: &str) -> Result<TimeZone, (String, String)> {
    TimeZone::get(name).map_err(|_| {
        let nearest = jiff::tz::db()
            .available()
            .map(|known| known.to_string())
            .max_by(|a, b| strsim::jaro_winkler(name, a).total_cmp(&strsim::jaro_winkler(name, b)));
        let message = format!("there is no time zone `{}`", name.escape_default());
        let help = match nearest {
            Some(near) => {
                format!("the nearest name is `{near}`; names are those of the IANA database, such as Europe/Berlin")
            }
            None => "names are those of the IANA database, such as Europe/Berlin".to_owned(),
        };
        (message, help)
    })
}
