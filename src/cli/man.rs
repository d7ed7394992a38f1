//! `eventyard man`: the manual pages, made from the same texts as `--help`.

use std::fs;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::CommandFactory as _;
use clap_mangen::Man;

use super::exit::Outcome;
use super::{Arguments, Context};

/// Print the manual page, or write one for each command
#[derive(clap::Args, Debug)]
#[command(
    after_help = "Examples:\n  eventyard man | man -l -\n  eventyard man --dir ~/.local/share/man/man1\n  man eventyard-events-send"
)]
pub(crate) struct ManArgs {
    /// Write a page for each command into this folder, over those that are there; made where it does not exist
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

pub(crate) fn run(args: &ManArgs, context: &Context) -> Outcome {
    // Gives each command its full name, such as `eventyard-events-send`, which is its page's.
    let mut command = Arguments::command().disable_help_subcommand(true);
    command.build();
    let Some(dir) = &args.dir else { return Ok(context.screen.line(page(&command)?.trim_end())?) };
    let mut pages = Vec::new();
    collect(&command, &mut pages)?;
    fs::create_dir_all(dir).with_context(|| format!("{} cannot be made", dir.display()))?;
    for (name, page) in &pages {
        let path = dir.join(name);
        fs::write(&path, page).with_context(|| format!("{} cannot be written", path.display()))?;
    }
    Ok(context.screen.line(format!("{} {} pages in {}", context.screen.good("wrote"), pages.len(), dir.display()))?)
}

/// The pages of a command and of those below it, each with the name of its file.
fn collect(command: &clap::Command, pages: &mut Vec<(String, String)>) -> Outcome {
    if command.is_hide_set() {
        return Ok(());
    }
    pages.push((Man::new(command.clone()).get_filename(), page(command)?));
    command.get_subcommands().try_for_each(|inner| collect(inner, pages))
}

fn page(command: &clap::Command) -> Outcome<String> {
    let mut page = Vec::new();
    Man::new(command.clone()).manual("eventyard").render(&mut page)?;
    Ok(String::from_utf8_lossy(&page).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_that_shows_in_the_help_has_a_page() {
        let mut command = Arguments::command().disable_help_subcommand(true);
        command.build();
        let mut pages = Vec::new();
        collect(&command, &mut pages).unwrap();
        let page = |name: &str| pages.iter().find(|(file, _)| file == name).map(|(_, page)| page.as_str());
        for name in ["eventyard.1", "eventyard-events.1", "eventyard-events-send.1", "eventyard-dead-letters-replay.1"]
        {
            let page = page(name).unwrap_or_else(|| panic!("no {name}"));
            for section in [".SH NAME", ".SH SYNOPSIS", ".SH DESCRIPTION", ".SH OPTIONS"] {
                assert!(page.contains(section), "{name} has no {section}");
            }
        }
        assert!(page("eventyard-functions.1").is_none(), "a command of a later version has no page");
    }
}
