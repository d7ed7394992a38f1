//! The program: parse the arguments, run the command, turn its error into an exit code; nothing else.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
