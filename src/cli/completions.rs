//! `eventyard completions`: what a shell needs to complete our commands, made from the commands themselves.

use clap::CommandFactory as _;
use clap_complete::Shell;

use super::exit::Outcome;
use super::{Arguments, Context};

/// Print what a shell needs to complete commands and flags
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:\n  \
    eventyard completions bash > ~/.local/share/bash-completion/completions/eventyard\n  \
    eventyard completions zsh > ~/.zfunc/_eventyard         with fpath+=~/.zfunc before compinit\n  \
    eventyard completions fish > ~/.config/fish/completions/eventyard.fish")]
pub(crate) struct CompletionsArgs {
    /// Which shell
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

pub(crate) fn run(args: &CompletionsArgs, context: &Context) -> Outcome {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Arguments::command(), "eventyard", &mut script);
    Ok(context.screen.line(String::from_utf8_lossy(&script).trim_end())?)
}
