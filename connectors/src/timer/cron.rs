//! Reads the fields of a cron expression, and says in words which of them does not read.
//!
//! croner does the reading; its errors name no field, so a field that fails is found by trying each alone.

use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};

use crate::spec::{ConfigError, nearest};

/// A field: its name, and what may stand there.
type FieldName = (&'static str, &'static str);

const SECOND: FieldName = ("second", "0-59");
const MINUTE: FieldName = ("minute", "0-59");
const HOUR: FieldName = ("hour", "0-23");
const DAY: FieldName = ("day of the month", "1-31, L for the last, 15W for the weekday nearest to the 15th");
const MONTH: FieldName = ("month", "1-12 or JAN-DEC");
const WEEKDAY: FieldName =
    ("day of the week", "0-7 or SUN-SAT (0 and 7 are Sunday), FRI#2 for the second, FRIL for the last");
const YEAR: FieldName = ("year", "1970-5000");
const WEEKDAY_AWS: FieldName =
    ("day of the week", "1-7 or SUN-SAT (1 is Sunday), 6#2 for the second Friday, 6L for the last");

/// What each `@name` stands for.
const NICKNAMES: &[(&str, &str)] = &[
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
    ("@monthly", "0 0 1 * *"),
    ("@weekly", "0 0 * * 0"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@hourly", "0 * * * *"),
];

/// Reads five, six or seven fields.
pub(super) fn fields(text: &str) -> Result<Cron, ConfigError> {
    let fields: Vec<&str> = text.split_whitespace().collect();
    let names: &[FieldName] = match fields.len() {
        5 => &[MINUTE, HOUR, DAY, MONTH, WEEKDAY],
        6 => &[SECOND, MINUTE, HOUR, DAY, MONTH, WEEKDAY],
        7 => &[SECOND, MINUTE, HOUR, DAY, MONTH, WEEKDAY, YEAR],
        count => {
            let fields = if count == 1 { "field" } else { "fields" };
            let message = format!("`{}` has {count} {fields}, and a schedule has 5, 6 or 7", text.escape_default());
            return Err(error(message).help(
                "5 are minute, hour, day of the month, month, day of the week; 6 have seconds first; 7 the year last; \
                 or write @daily, @every 5m, rate(5 minutes), at(2027-01-01T00:00:00)",
            ));
        }
    };
    // `0/15` is not crontab's; where seconds come first, the schedule was never a crontab's, and everybody there
    // writes it.
    let parser =
        CronParser::builder().seconds(Seconds::Optional).year(Year::Optional).sloppy_ranges(fields.len() > 5).build();
    parse(&parser, &fields, names)
}

/// Reads `@daily` and its like.
pub(super) fn nickname(text: &str) -> Result<Cron, ConfigError> {
    match NICKNAMES.iter().find(|(name, _)| *name == text) {
        Some((_, meaning)) => fields(meaning),
        None => {
            let names = || NICKNAMES.iter().map(|(name, _)| *name).chain(["@every"]);
            let known = names().collect::<Vec<_>>().join(", ");
            let error = error(format!("there is no schedule `{}`", text.escape_default()));
            Err(match nearest(text, names()) {
                Some(near) => error.help(format!("did you mean `{near}`? There are {known}")),
                None => error.help(format!("there are {known} (with a duration: @every 5m)")),
            })
        }
    }
}

/// Reads what stands in `cron(…)`: minute, hour, day of the month, month, day of the week, year, as EventBridge has
/// them; 1 is Sunday, and one of the two days must be `?`.
pub(super) fn eventbridge(inner: &str) -> Result<Cron, ConfigError> {
    let fields: Vec<&str> = inner.split_whitespace().collect();
    let [minute, hour, day, month, weekday, year] = fields.as_slice() else {
        let message = format!("cron({}) has {} fields, and cron(…) has 6", inner.escape_default(), fields.len());
        return Err(error(message).help("they are minute, hour, day of the month, month, day of the week, year"));
    };
    if (*day == "?") == (*weekday == "?") {
        let message = format!("in cron({}), exactly one of the two days must be `?`", inner.escape_default());
        return Err(error(message).help("put `?` where the day of the month stands, or the day of the week"));
    }
    let parser = CronParser::builder()
        .seconds(Seconds::Required)
        .year(Year::Required)
        .alternative_weekdays(true)
        .sloppy_ranges(true)
        .build();
    let fields = ["0", *minute, *hour, *day, *month, *weekday, *year];
    // Zero would be taken for a day before the first.
    let counts_from_zero = weekday.split([',', '-']).any(|one| one == "0" || one.starts_with("0#") || one == "0L");
    if counts_from_zero {
        return Err(wrong_field(weekday, WEEKDAY_AWS));
    }
    parse(&parser, &fields, &[SECOND, MINUTE, HOUR, DAY, MONTH, WEEKDAY_AWS, YEAR])
}

fn parse(parser: &CronParser, fields: &[&str], names: &[FieldName]) -> Result<Cron, ConfigError> {
    let whole = fields.join(" ");
    let cause = match parser.parse(&whole) {
        Ok(cron) => return Ok(cron),
        Err(cause) => cause,
    };
    for (at, (field, name)) in fields.iter().zip(names).enumerate() {
        let alone: Vec<&str> = (0..fields.len()).map(|place| if place == at { *field } else { "*" }).collect();
        if parser.parse(&alone.join(" ")).is_err() {
            return Err(wrong_field(field, *name));
        }
    }
    Err(error(format!("`{}` is no schedule: {cause}", whole.escape_default())))
}

fn wrong_field(field: &str, (name, values): FieldName) -> ConfigError {
    error(format!("`{}` is no {name}", field.escape_default()))
        .help(format!("the {name} is {values}; also *, a list 1,2, a range 1-5, a step */2"))
}

pub(super) fn error(message: impl Into<String>) -> ConfigError {
    ConfigError::at("schedule", "bad_schedule", message)
}
