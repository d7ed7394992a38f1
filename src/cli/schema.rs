//! `eventyard schema`: what may stand in a project's files, for editors and other programs.

use clap::ValueEnum;
use eventyard::schema::{File, document};

use super::Context;
use super::exit::Outcome;

/// Print the JSON Schema of a project's files
#[derive(clap::Args, Debug)]
#[command(
    after_help = "Examples:\n  eventyard schema > eventyard.schema.json\n  eventyard schema rules > rules/rules.schema.json\n\n\
    An editor that knows TOML (taplo, Even Better TOML) goes by it where the file's first line says so:\n  \
    #:schema ./eventyard.schema.json"
)]
pub(crate) struct SchemaArgs {
    /// Which files: `eventyard.toml`, or those in `rules/`
    #[arg(value_name = "FILE", value_enum, default_value_t = Which::Eventyard)]
    file: Which,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Which {
    Eventyard,
    Rules,
}

pub(crate) fn run(args: &SchemaArgs, context: &Context) -> Outcome {
    Ok(context.screen.line(text(match args.file {
        Which::Eventyard => File::Main,
        Which::Rules => File::Rules,
    }))?)
}

/// The schema as it stands in a file.
pub(crate) fn text(file: File) -> String {
    format!("{:#}", document(file))
}
