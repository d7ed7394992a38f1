//! A project with a mistake does not start, and the answer says where the mistake is and what was meant.

use std::path::Path;

use super::support::{Ended, free_port, project, run};

const MAIN: &str = "[sink.s]\nkind = \"discard\"\n";
const RULE: &str = "[[rule]]\nname = \"a\"\npattern = { type = [\"x\"] }\ntarget = { sink = \"s\" }\n";

/// Neither `check` nor `run` takes the project, and both say the same; nothing is left behind.
fn refused(folder: &Path) -> String {
    let checked = run(&["check"], folder);
    assert_eq!(checked.code, 2, "{}{}", checked.stdout, checked.stderr);
    let started = run(&["run", "--listen", "127.0.0.1:0"], folder);
    assert_eq!(started.code, 2, "{}{}", started.stdout, started.stderr);
    assert!(started.stderr.contains(checked.stdout.trim_end()), "run says less than check:\n{}", started.stderr);
    assert!(!folder.join("data").exists(), "a project that does not load has no data folder");
    checked.stdout
}

fn all_in(text: &str, wanted: &[&str]) {
    for wanted in wanted {
        assert!(text.contains(wanted), "`{wanted}` is missing:\n{text}");
    }
}

/// Row R1.
#[test]
fn an_unknown_key_is_refused_with_its_place_and_the_key_that_was_meant() {
    let rules = RULE.replace("target =", "taget =");
    let folder = project(&[("eventyard.toml", MAIN), ("rules/a.toml", &rules)]);
    let said = refused(folder.path());
    all_in(&said, &["error[unknown_key]", "rules/a.toml:4:1", "did you mean `target`?", "the keys of [[rule]] are"]);
}

/// Row R2.
#[test]
fn a_wrong_type_is_refused_with_what_belongs_there() {
    let rules = RULE.replace("\"a\"", "5");
    let folder = project(&[("eventyard.toml", MAIN), ("rules/a.toml", &rules)]);
    all_in(&refused(folder.path()), &["error[wrong_type]", "rules/a.toml:2:8", "`name` takes", "not a whole number"]);
}

/// Row R2.
#[test]
fn a_target_that_is_missing_or_calls_what_is_not_there_is_refused() {
    let none = RULE.replace("target = { sink = \"s\" }\n", "");
    let folder = project(&[("eventyard.toml", MAIN), ("rules/a.toml", &none)]);
    all_in(&refused(folder.path()), &["error[rule_without_target]", "rules/a.toml:1:1", "add [[rule.target]]"]);

    let main = MAIN.replace("sink.s", "sink.warehouse");
    let folder = project(&[("eventyard.toml", &main), ("rules/a.toml", &RULE.replace("\"s\"", "\"warehous\""))]);
    all_in(&refused(folder.path()), &["error[unknown_target]", "rules/a.toml:4:19", "did you mean `warehouse`?"]);
}

/// Row R2.
#[test]
fn one_name_in_two_files_is_refused_with_both_places() {
    let folder = project(&[("eventyard.toml", MAIN), ("rules/a.toml", RULE), ("rules/b.toml", &format!("\n{RULE}"))]);
    let said = refused(folder.path());
    all_in(
        &said,
        &["error[rule_duplicate]", "rules/b.toml:3:8", "the second one", "rules/a.toml:2:8", "the first one"],
    );
}

fn timer(schedule: &str, more: &str) -> String {
    format!("{MAIN}[source.t]\nkind = \"timer\"\nschedule = \"{schedule}\"\n{more}")
}

/// Row R9.
#[test]
fn a_schedule_that_does_not_read_is_refused_with_the_part_that_is_wrong() {
    for (schedule, wanted) in [
        ("61 * * * *", "`61` is no minute"),
        ("30 2 * *", "has 4 fields, and a schedule has 5, 6 or 7"),
        ("@yearlyy", "did you mean `@yearly`?"),
        ("@every 5", "write whole numbers with units"),
    ] {
        let folder = project(&[("eventyard.toml", &timer(schedule, ""))]);
        all_in(&refused(folder.path()), &["error[bad_schedule]", "eventyard.toml:5:12", wanted]);
    }
}

/// Row R12.
#[test]
fn a_zone_that_does_not_exist_is_refused_with_the_nearest_that_does() {
    let folder = project(&[("eventyard.toml", &timer("@daily", "timezone = \"Mars/Base\"\n"))]);
    all_in(&refused(folder.path()), &["error[unknown_timezone]", "eventyard.toml:6:12", "no time zone `Mars/Base`"]);
    let folder = project(&[("eventyard.toml", &timer("@daily", "timezone = \"Europe/Berln\"\n"))]);
    all_in(&refused(folder.path()), &["`Europe/Berlin`"]);
    let folder = project(&[("eventyard.toml", &timer("CRON_TZ=Mars/Base 30 2 * * *", ""))]);
    all_in(&refused(folder.path()), &["error[unknown_timezone]", "eventyard.toml:5:12"]);
}

/// Row R9.
#[test]
fn a_schedule_that_never_fires_is_a_warning() {
    for never in ["0 0 30 2 *", "at(2020-01-01T00:00:00)"] {
        let listen = format!("[server]\nlisten = \"127.0.0.1:{}\"\n", free_port());
        let folder = project(&[("eventyard.toml", &format!("{listen}{}", timer(never, "")))]);
        let folder = folder.path();
        let checked = run(&["check"], folder);
        assert_eq!(checked.code, 0, "{}", checked.stdout);
        all_in(&checked.stdout, &["warning[never_fires]", "eventyard.toml:7:12", "will never fire"]);
        assert_eq!(run(&["check", "--deny-warnings"], folder).code, 1);
        let next = run(&["sources", "next", "t"], folder);
        assert_eq!((next.code, next.stdout.as_str()), (1, ""), "{}", next.stderr);
    }
}

/// A timer's coming instants after a time.
fn next(schedule: &str, after: &str, count: &str) -> Ended {
    let folder = project(&[("eventyard.toml", &timer(schedule, "timezone = \"Europe/Berlin\"\n"))]);
    run(&["sources", "next", "t", "--after", after, "--count", count], folder.path())
}

/// Row R10.
#[test]
fn a_time_that_a_day_lacks_fires_once_at_the_next_that_exists() {
    for schedule in ["30 2 * * *", "0 30 2 * * *", "cron(30 2 * * ? *)", "CRON_TZ=Europe/Berlin 30 2 * * *"] {
        let instants = next(schedule, "2027-03-27T12:00:00Z", "2").stdout;
        assert_eq!(instants, "2027-03-28T03:00:00+02:00\n2027-03-29T02:30:00+02:00\n", "{schedule}");
    }
}

/// Row R10.
#[test]
fn a_time_that_comes_twice_fires_once() {
    for schedule in ["30 2 * * *", "0 30 2 * * *", "cron(30 2 * * ? *)", "CRON_TZ=Europe/Berlin 30 2 * * *"] {
        let instants = next(schedule, "2027-10-30T12:00:00Z", "2").stdout;
        assert_eq!(instants, "2027-10-31T02:30:00+02:00\n2027-11-01T02:30:00+01:00\n", "{schedule}");
    }
}

#[test]
fn the_mistakes_that_are_made_first_are_answered_with_what_to_write() {
    let rule = |from: &str, to: &str| (MAIN.to_owned(), RULE.replace(from, to));
    let main = |more: &str| (format!("{MAIN}{more}"), RULE.to_owned());
    for ((main, rules), wanted) in [
        (rule("\"a\"", "a"), "put the text into straight quotes"),
        (rule("\"a\"", "\u{201c}a\u{201d}"), "put the text into straight quotes"),
        (rule("name = \"a\"", "name: a"), "with an equals sign"),
        (rule("[[rule]]", "[rule]"), "write [[rule]], with two brackets"),
        (rule("[[rule]]", "[[rules]]"), "did you mean `rule`?"),
        (rule("[\"x\"]", "\"x\""), "write type = [\"x\"]"),
        (rule("type", "detail-type"), "write `type`"),
        (rule("{ sink = \"s\" }", "\"s\""), "write target = { function = \"NAME\" }"),
        (rule("sink = \"s\"", "http = \"http://127.0.0.1/\""), "write http = { url = "),
        (rule("sink = \"s\"", "sink = \"s\", timeout = 30"), "timeout = \"30s\""),
        (rule("sink = \"s\"", "sink = \"s\", retry = 3"), "write retry = { attempts = 5 }"),
        (rule("\"a\"", "\"Big Orders\""), "`big-orders` would be one"),
        (rule("target =", "from = \"events\"\ntarget ="), "write from = [\"events\"]"),
        (main("[sink.s]\nkind = \"discard\"\n"), "give one another name"),
        (main("[function.f]\nruntime = \"command\"\ncommand = \"sh\"\n"), "write command = [\"sh\"]"),
        (main("[source.h]\nkind = \"http\"\npath = \"x\"\n"), "write `/x`"),
        (main("[source.h]\npath = \"/x\"\n"), "kind = one of http, timer"),
        (main("[server]\nlisten = \"8484\"\n"), "write an address and a port"),
        (main("[server]\ntoken = { file = \"token\" }\n"), "starts at the project folder"),
        (main("[limits]\nevent = 65536\n"), "event = \"65536B\""),
    ] {
        let folder = project(&[("eventyard.toml", &main), ("rules/a.toml", &rules)]);
        let checked = run(&["check"], folder.path());
        assert!(checked.code == 2 && checked.stdout.contains(wanted), "`{wanted}` is missing:\n{}", checked.stdout);
    }
}
