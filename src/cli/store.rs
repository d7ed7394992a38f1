//! `eventyard store`: the journal on disk.

use clap::Subcommand;

use super::Context;
use super::exit::Outcome;

mod backup;
mod repair;
mod restore;
mod verify;
mod words;

/// The store: what is on disk
#[derive(Subcommand, Debug)]
pub(crate) enum StoreCommand {
    Verify(verify::VerifyArgs),
    Repair(repair::RepairArgs),
    Backup(backup::BackupArgs),
    Restore(restore::RestoreArgs),
}

pub(crate) fn run(command: &StoreCommand, context: &Context) -> Outcome {
    match command {
        StoreCommand::Verify(args) => verify::run(args, context),
        StoreCommand::Repair(args) => super::client(repair::run(args, context)),
        StoreCommand::Backup(args) => backup::run(args, context),
        StoreCommand::Restore(args) => restore::run(args, context),
    }
}
