//! The program: parse the arguments, run the command, turn its error into an exit code; nothing else.

mod cli;

use std::process::ExitCode;

/// An event's memory is taken by the thread that reads it and given back by the one that ends it; libc's allocator
/// spends a sixth of the broker's time on that.
#[cfg(feature = "jemalloc")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    // Before anything else, and before any thread: called so, this is not the broker but the small program that
    // restricts itself and then becomes a function's command.
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().is_some_and(|first| first == eventyard_functions::EXEC_SUBCOMMAND) {
        return eventyard_functions::exec_shim(arguments);
    }
    cli::main()
}
