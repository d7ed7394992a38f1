//! `eventyard rules test`: the tests that stand beside the rules.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

use eventyard::config::{self, Project, Surroundings};
use eventyard_rules::RuleExplanation;
use notify::Watcher as _;
use serde_json::{Value, json};

use super::super::exit::{Failure, Outcome};
use super::super::explain::print_field;
use super::super::project::{ProjectArgs, no_such};
use super::super::screen::{complain, errors_coloured, items, shown};
use super::super::{Context, JsonArgs};

/// How long `--watch` waits for more changes, so that what an editor writes in several steps is one change.
const SETTLE: Duration = Duration::from_millis(100);

/// Run the tests that stand beside the rules
#[derive(clap::Args, Debug)]
#[command(after_help = "The same tests run whenever the project is loaded: one that fails keeps it from taking \
    effect. Exit code 1 when a test fails, 2 when the project does not load.\n\nExamples:\n  \
    eventyard rules test\n  eventyard rules test big-orders --project shop\n  \
    eventyard rules test --junit tests.xml\n  eventyard rules test --watch")]
pub(crate) struct TestArgs {
    /// Only the tests of this rule
    rule: Option<String>,
    /// Also write what came of them to this file, in the XML of JUnit that build servers read
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Run them again whenever a file of the project changes, until stopped
    #[arg(long)]
    watch: bool,
    #[command(flatten)]
    json: JsonArgs,
    #[command(flatten)]
    project: ProjectArgs,
}

/// What came of one test.
struct Ran {
    rule: String,
    test: String,
    /// What it expected.
    matches: bool,
    /// What is wrong and why, where it fails.
    failed: Option<(String, RuleExplanation)>,
}

pub(crate) fn run(args: &TestArgs, context: &Context) -> Outcome {
    if !args.watch {
        return run_once(args, context);
    }
    let (changed, changes) = mpsc::channel();
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        // Reading the files makes events too.
        if event.as_ref().is_ok_and(|event| !event.kind.is_access()) {
            let _ = changed.send(());
        }
    })
    .map_err(|error| Failure::Failed(error.into()))?;
    let folder = &args.project.project;
    watcher.watch(folder, notify::RecursiveMode::NonRecursive).map_err(|error| Failure::Failed(error.into()))?;
    let rules = folder.join("rules");
    if rules.is_dir() {
        watcher.watch(&rules, notify::RecursiveMode::Recursive).map_err(|error| Failure::Failed(error.into()))?;
    }
    loop {
        match run_once(args, context) {
            // What is wrong has been said; it may be right after the next change.
            Ok(()) | Err(Failure::Reported(_)) => {}
            Err(other) => return Err(other),
        }
        if !args.json.json {
            context.screen.line(context.screen.dim("waiting for a change"))?;
        }
        if changes.recv().is_err() {
            return Ok(());
        }
        while changes.recv_timeout(SETTLE).is_ok() {}
    }
}

fn run_once(args: &TestArgs, context: &Context) -> Outcome {
    let screen = context.screen;
    let around = Surroundings { env: &|name| std::env::var(name).ok(), now: context.clocks.now() };
    let project = match config::load_to_test(&args.project.project, &around) {
        Ok((project, _warnings)) => project,
        Err(report) => {
            if args.json.json {
                screen.json(&report.to_json())?;
            } else {
                complain(report.render(errors_coloured()).trim_end());
            }
            return Err(Failure::Reported(2));
        }
    };
    if let Some(rule) = &args.rule
        && !project.rules.iter().any(|known| known.name.as_str() == rule)
    {
        return Err(no_such("rule", rule, project.rules.iter().map(|rule| rule.name.as_str())));
    }
    let ran = ran(&project, args.rule.as_deref());
    if let Some(file) = &args.junit {
        write_junit(file, &ran)?;
    }
    let failed = ran.iter().filter(|one| one.failed.is_some()).count();
    if args.json.json {
        let shown: Vec<Value> = ran.iter().map(as_json).collect();
        screen.json(&json!({ "items": shown }))?;
    } else {
        ran.iter().try_for_each(|one| print(one, context))?;
        screen.line(summary(ran.len(), failed))?;
    }
    if failed > 0 { Err(Failure::reported()) } else { Ok(()) }
}

/// Runs the tests of all rules, or of one, in the order of the files.
fn ran(project: &Project, rule: Option<&str>) -> Vec<Ran> {
    let mut failures = config::failing_tests(project);
    let asked = project.rules.iter().filter(|known| rule.is_none_or(|name| name == known.name.as_str()));
    let tests = asked.flat_map(|rule| rule.tests.iter().map(move |test| (rule, test)));
    let came = tests.map(|(rule, test)| {
        let at = failures.iter().position(|failure| std::ptr::eq(failure.test, test));
        Ran {
            rule: rule.name.to_string(),
            test: test.name.clone(),
            matches: test.matches,
            failed: at.map(|at| failures.remove(at)).map(|failure| (failure.verdict(), failure.explanation)),
        }
    });
    came.collect()
}

fn summary(count: usize, failed: usize) -> String {
    match (count, failed) {
        (0, _) => "no tests; a [[rule.test]] below a rule makes one".to_owned(),
        (1, 0) => "1 test passed".to_owned(),
        (count, 0) => format!("{count} tests passed"),
        (count, failed) => format!("{failed} of {count} tests failed"),
    }
}

fn print(one: &Ran, context: &Context) -> Outcome {
    let screen = context.screen;
    let name = format!("{}: {}", one.rule, shown(&one.test));
    let Some((verdict, explanation)) = &one.failed else {
        return Ok(screen.line(format!("{} {name}", screen.good("✓")))?);
    };
    screen.line(format!("{} {name}: {}", screen.bad("✗"), shown(verdict)))?;
    let explanation = serde_json::to_value(explanation).map_err(|error| Failure::Failed(error.into()))?;
    items(&explanation, "fields").iter().try_for_each(|field| print_field(field, context))
}

fn as_json(one: &Ran) -> Value {
    let mut shown = json!({ "rule": one.rule, "test": one.test, "passed": one.failed.is_none() });
    if let Some((verdict, explanation)) = &one.failed {
        shown["matches"] = one.matches.into();
        shown["verdict"] = verdict.as_str().into();
        shown["explanation"] = serde_json::to_value(explanation).unwrap_or_default();
    }
    shown
}

/// Writes a file as JUnit's: one suite, a case for each test, named by its rule.
fn write_junit(file: &Path, ran: &[Ran]) -> Outcome {
    let failed = ran.iter().filter(|one| one.failed.is_some()).count();
    let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let count = ran.len();
    let _ =
        writeln!(xml, "<testsuites>\n<testsuite name=\"rules\" tests=\"{count}\" failures=\"{failed}\" errors=\"0\">");
    for one in ran {
        let _ = write!(xml, "<testcase classname=\"{}\" name=\"{}\"", escaped(&one.rule), escaped(&one.test));
        let Some((verdict, explanation)) = &one.failed else {
            xml.push_str("/>\n");
            continue;
        };
        let _ = write!(xml, ">\n<failure message=\"{}\">", escaped(verdict));
        for field in &explanation.fields {
            let mark = if field.ok { "✓" } else { "✗" };
            let found = field.found.as_deref().unwrap_or("nothing");
            let note = field.note.as_deref().map(|note| format!(" ({note})")).unwrap_or_default();
            let line = format!("{mark} {}: wanted {}, found {found}{note}", field.path, field.wanted);
            let _ = writeln!(xml, "{}", escaped(&line));
        }
        xml.push_str("</failure>\n</testcase>\n");
    }
    xml.push_str("</testsuite>\n</testsuites>\n");
    std::fs::write(file, xml).map_err(|error| Failure::failed(format!("{} cannot be written: {error}", file.display())))
}

/// A text in XML; characters that XML has no place for are left out.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '"' => out.push_str("&quot;"),
            '\n' | '\t' => out.push(c),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => {}
            c => out.push(c),
        }
    }
    out
}
