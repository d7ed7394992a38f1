//! `eventyard rules test`: the tests that stand beside the rules.

use eventyard::config::codes;

use super::super::exit::{Failure, Outcome};
use super::super::project::{self, ProjectArgs, no_such};
use super::super::screen::{complain, errors_coloured};
use super::super::{Context, JsonArgs};

/// Run the tests that stand beside the rules
#[derive(clap::Args, Debug)]
#[command(after_help = "The same tests run whenever the project is loaded: one that fails keeps it from taking \
    effect.\n\nExamples:\n  eventyard rules test\n  eventyard rules test big-orders --project shop")]
pub(crate) struct TestArgs {
    /// Only the tests of this rule
    rule: Option<String>,
    #[command(flatten)]
    json: JsonArgs,
    #[command(flatten)]
    project: ProjectArgs,
}

pub(crate) fn run(args: &TestArgs, context: &Context) -> Outcome {
    let screen = context.screen;
    let project = match project::load(&args.project.project, context) {
        Ok((project, _warnings)) => project,
        Err(report) => {
            if args.json.json {
                screen.json(&report.to_json())?;
            } else {
                complain(report.render(errors_coloured()).trim_end());
            }
            // Tests that fail are a failure, anything else is a project that cannot be tested.
            let only_tests = report.diagnostics().iter().all(|found| found.code == codes::RULE_TEST_FAILED);
            return Err(Failure::Reported(if only_tests { 1 } else { 2 }));
        }
    };
    if let Some(rule) = &args.rule
        && !project.rules.iter().any(|known| known.name.as_str() == rule)
    {
        return Err(no_such("rule", rule, project.rules.iter().map(|rule| rule.name.as_str())));
    }
    let asked = project.rules.iter().filter(|rule| args.rule.as_deref().is_none_or(|name| name == rule.name.as_str()));
    let mut passed = Vec::new();
    for rule in asked {
        for test in &rule.tests {
            passed.push(serde_json::json!({ "rule": rule.name, "test": test.name, "passed": true }));
            if !args.json.json {
                screen.line(format!(
                    "{} {}: {}",
                    screen.good("✓"),
                    rule.name,
                    super::super::screen::shown(&test.name)
                ))?;
            }
        }
    }
    if args.json.json {
        return Ok(screen.json(&serde_json::json!({ "items": passed }))?);
    }
    let said = match passed.len() {
        0 => "no tests; a [[rule.test]] below a rule makes one".to_owned(),
        1 => "1 test passed".to_owned(),
        count => format!("{count} tests passed"),
    };
    Ok(screen.line(said)?)
}
