//! The command line.
//!
//! There are three kinds of commands. `run` and `dev` *are* the broker. The client commands (`events`,
//! `deliveries`, `status` …) talk to one that runs, over its HTTP API and nothing else. The others (`check`,
//! `rules test`, `rules match`, `sources next`, `store`, `init`, `errors`) work from a project's files alone and
//! connect to nothing, or (`schema`, `completions`, `man`) from the program itself.
//!
//! Results go to standard output, everything about the command itself to standard error. The exit code is 0
//! when it was done, 1 when the thing failed, 2 when usage or configuration is wrong. Every error and every
//! list of failures ends with the command that goes on from there.

mod broker;
mod channels;
mod check;
mod completions;
mod dead_letters;
mod deliveries;
mod draft;
mod errors;
mod events;
mod exit;
mod explain;
mod init;
mod man;
mod narrate;
mod next;
mod project;
mod reload;
mod rules;
mod sample;
mod schema;
mod screen;
mod send;
mod serve;
mod sources;
mod status;
mod store;
mod tap;
mod targets;
mod timeline;
mod times;

use std::ffi::OsString;
use std::future::Future;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use eventyard::clock::Clocks;

use broker::BrokerArgs;
use exit::{Failure, Outcome};
use screen::{Screen, complain};

/// What every `--help` of the program begins with.
#[derive(Parser, Debug)]
#[command(
    name = "eventyard",
    version,
    about = "An event-driven trigger and message-routing broker: one program, rules in TOML, nothing lost",
    propagate_version = true,
    disable_help_subcommand = false,
    after_help = "Begin with:\n  \
        eventyard init shop          make a project that runs\n  \
        eventyard dev shop           run it and watch each event's fate\n  \
        eventyard events send --type order.created --data '{\"amount\": 5}'\n\n\
        Exit codes: 0 done; 1 the thing failed; 2 usage or configuration is wrong."
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    Init(init::InitArgs),
    Dev(serve::DevArgs),
    Run(serve::RunArgs),
    Check(check::CheckArgs),
    Reload(reload::ReloadArgs),
    Explain(explain::ExplainArgs),
    #[command(subcommand, alias = "event")]
    Events(events::EventsCommand),
    #[command(subcommand, alias = "rule")]
    Rules(rules::RulesCommand),
    #[command(subcommand, alias = "source")]
    Sources(sources::SourcesCommand),
    #[command(subcommand, alias = "delivery")]
    Deliveries(deliveries::DeliveriesCommand),
    #[command(subcommand, alias = "dead-letter", visible_alias = "dlq")]
    DeadLetters(dead_letters::DeadLettersCommand),
    #[command(subcommand, alias = "channel")]
    Channels(channels::ChannelsCommand),
    #[command(subcommand, alias = "target")]
    Targets(targets::TargetsCommand),
    Status(status::StatusArgs),
    #[command(subcommand)]
    Store(store::StoreCommand),
    #[command(alias = "error")]
    Errors(errors::ErrorsArgs),
    Schema(schema::SchemaArgs),
    Completions(completions::CompletionsArgs),
    Man(man::ManArgs),

    // What the contract names and this version does not have.
    #[command(hide = true, alias = "function")]
    Functions(Reserved),
    #[command(hide = true)]
    Top(Reserved),
}

/// The arguments of a command that this version does not have: whatever they are, the answer is the same.
#[derive(clap::Args, Debug)]
#[command(disable_help_flag = true)]
struct Reserved {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    _rest: Vec<OsString>,
}

/// `--json`, for every command that prints a table.
#[derive(clap::Args, Debug)]
struct JsonArgs {
    /// Print JSON for programs instead of text for people
    #[arg(long)]
    json: bool,
}

/// A list that comes whole.
#[derive(clap::Args, Debug)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    json: JsonArgs,
    #[command(flatten)]
    broker: BrokerArgs,
}

/// Which page of a list.
#[derive(clap::Args, Debug)]
struct PageArgs {
    /// How many at most (1 to 1000)
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    limit: u32,
    /// Go on from an earlier list: the cursor that stood below it
    #[arg(long, value_name = "CURSOR")]
    cursor: Option<String>,
}

impl PageArgs {
    /// The two query parameters.
    fn query(&self, query: &mut Vec<(&'static str, String)>) {
        query.push(("limit", self.limit.to_string()));
        query.extend(self.cursor.iter().map(|cursor| ("cursor", cursor.clone())));
    }
}

/// What every command is given: where to print, and the time.
#[derive(Clone)]
struct Context {
    screen: Screen,
    clocks: Clocks,
}

/// The whole program.
pub(crate) fn main() -> ExitCode {
    // One TLS stack in the whole program. An error means that it is installed already, which is what we want.
    let _ = rustls::crypto::ring::default_provider().install_default();
    // Prints usage errors and ends with 2 by itself; help and version with 0.
    let arguments = Arguments::parse();
    let context = Context { screen: Screen::detect(), clocks: Clocks::machine() };
    match run(arguments.command, &context) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if let Some(text) = failure.text() {
                complain(format!("error: {text}"));
            }
            ExitCode::from(&failure)
        }
    }
}

fn run(command: Command, context: &Context) -> Outcome {
    match command {
        Command::Init(args) => init::run(&args, context),
        Command::Dev(args) => serve::dev(&args, context),
        Command::Run(args) => serve::run(&args, context),
        Command::Check(args) => check::run(&args, context),
        Command::Explain(args) => explain::run(&args, context),
        Command::Store(command) => store::run(&command, context),
        Command::Errors(args) => errors::run(&args, context),
        Command::Schema(args) => schema::run(&args, context),
        Command::Completions(args) => completions::run(&args, context),
        Command::Man(args) => man::run(&args, context),
        Command::Reload(args) => client(reload::run(&args, context)),
        Command::Events(command) => client(events::run(&command, context)),
        Command::Rules(command) => rules::run(&command, context),
        Command::Sources(command) => sources::run(&command, context),
        Command::Deliveries(command) => client(deliveries::run(&command, context)),
        Command::DeadLetters(command) => client(dead_letters::run(&command, context)),
        Command::Channels(command) => client(channels::run(&command, context)),
        Command::Status(args) => client(status::run(&args, context)),
        Command::Targets(command) => client(targets::run(&command, context)),
        Command::Functions(_) => Err(Failure::NotInThisVersion("functions")),
        Command::Top(_) => Err(Failure::NotInThisVersion("top")),
    }
}

/// Runs a client command: one thread is plenty for one call after another.
fn client<T>(command: impl Future<Output = Outcome<T>>) -> Outcome<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(command)
}

/// The last line of a list that goes on.
fn more(context: &Context, answer: &serde_json::Value, command: &str) -> std::io::Result<()> {
    match answer.get("next").and_then(serde_json::Value::as_str) {
        Some(cursor) => {
            context.screen.line(context.screen.dim(format!("more: {command} --cursor {}", screen::shown(cursor))))
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_arguments_are_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn singular_names_work_and_are_hidden() {
        let command = Arguments::command();
        for (singular, plural) in [
            ("event", "events"),
            ("rule", "rules"),
            ("source", "sources"),
            ("delivery", "deliveries"),
            ("dead-letter", "dead-letters"),
            ("dlq", "dead-letters"),
            ("channel", "channels"),
            ("target", "targets"),
            ("function", "functions"),
        ] {
            assert_eq!(command.find_subcommand(singular).unwrap().get_name(), plural);
        }
        let visible: Vec<_> = command.get_subcommands().flat_map(|command| command.get_visible_aliases()).collect();
        assert_eq!(visible, ["dlq"]);
    }

    #[test]
    fn reserved_commands_are_hidden_and_say_so() {
        for line in [
            ["eventyard", "functions", "deploy"],
            ["eventyard", "top", "x"],
            ["eventyard", "events", "replay"],
            ["eventyard", "rules", "backtest"],
            ["eventyard", "dlq", "edit"],
            ["eventyard", "channels", "silence"],
        ] {
            let arguments = Arguments::try_parse_from(line).unwrap();
            let context = Context { screen: Screen::detect(), clocks: Clocks::machine() };
            let failure = run(arguments.command, &context).unwrap_err();
            assert!(matches!(failure, Failure::NotInThisVersion(_)), "{line:?}");
            assert_eq!(failure.code(), 2);
        }
        let help = Arguments::command().render_long_help().to_string();
        for word in ["functions", "backtest"] {
            assert!(!help.contains(word), "{word} stands in the help");
        }
    }

    /// Calls `look` with each command that does something, and how it is called.
    fn each_command(look: &mut dyn FnMut(&clap::Command, &str)) {
        fn visit(command: &clap::Command, path: &str, look: &mut dyn FnMut(&clap::Command, &str)) {
            let path = format!("{path} {}", command.get_name());
            if command.is_hide_set() || command.get_name() == "help" {
                return;
            }
            if command.has_subcommands() {
                command.get_subcommands().for_each(|inner| visit(inner, &path, look));
            } else {
                look(command, path.trim_start());
            }
        }
        visit(&Arguments::command(), "", look);
    }

    #[test]
    fn every_command_says_what_it_does_and_shows_an_example() {
        each_command(&mut |command, path| {
            assert!(command.get_about().is_some(), "{path} does not say what it does");
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.contains("eventyard "), "{path} has no example in its help");
        });
    }

    #[test]
    fn the_reference_has_every_command_and_every_flag() {
        let reference = include_str!("../docs/commands.md");
        each_command(&mut |command, path| {
            assert!(reference.contains(&format!("`{path}")), "docs/commands.md does not have `{path}");
            for flag in command.get_arguments().filter(|flag| !flag.is_hide_set()).filter_map(|flag| flag.get_long()) {
                let known = matches!(flag, "help" | "version") || reference.contains(&format!("--{flag}"));
                assert!(known, "docs/commands.md does not have --{flag} of {path}");
            }
        });
    }
}
