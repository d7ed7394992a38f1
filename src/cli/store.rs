//! `eventyard store`: the journal on disk.

use clap::Subcommand;

use super::exit::{Failure, Outcome};
use super::{Context, Reserved};

mod verify;

/// The store: what is on disk
#[derive(Subcommand, Debug)]
pub(crate) enum StoreCommand {
    Verify(verify::VerifyArgs),
    #[command(hide = true)]
    Repair(Reserved),
    #[command(hide = true)]
    Backup(Reserved),
    #[command(hide = true)]
    Restore(Reserved),
}

pub(crate) fn run(command: &StoreCommand, context: &Context) -> Outcome {
    match command {
        StoreCommand::Verify(args) => verify::run(args, context),
        StoreCommand::Repair(_) => Err(Failure::NotInThisVersion("store repair")),
        StoreCommand::Backup(_) => Err(Failure::NotInThisVersion("store backup")),
        StoreCommand::Restore(_) => Err(Failure::NotInThisVersion("store restore")),
    }
}
