//! A project is a folder: `eventyard.toml` and `rules/*.toml`, read and checked before anything starts, with every
//! mistake of every file in one report.
//!
//! The steps, each in a file of its own: [`folder`] reads the files within limits, [`load`](mod@load) takes each
//! table apart with the readers of `eventyard-rules`, and `check` holds what the files say about each other. A
//! project is loaded whole or not at all; what comes out is plain data ([`project`]). What loads is kept in the
//! data folder ([`last_good`]), so that a restart does not fail because of a mistake that was made meanwhile.
//!
//! Secrets: what comes from the environment or a file, and the value of every key called secret, token or
//! password, lives in a [`Text`](eventyard_rules::Text) or in [`Settings`](eventyard_rules::Settings) and never
//! shows; reports mask it; and the data folder gets the files' texts as they were written, references unresolved.
//! (A secret that somebody wrote into the file itself is part of that text, and the copy is readable by the owner
//! alone.)
//!
//! Nothing here connects to anything, starts anything or reads the machine's clock. WebAssembly modules are compiled
//! here, so that what cannot be a function is a mistake like any other.

mod alert_kind;

mod block;

mod channels;

mod check;

pub mod codes;

mod connector;

mod cycle;

mod doubtful;

pub mod folder;

mod functions;

pub(crate) mod keys;

pub mod last_good;

pub mod load;

pub mod project;

mod reply;

mod resolve;

mod server;

mod sinks;

mod sources;

#[cfg(test)]
mod tests;

pub use alert_kind::AlertKind;
pub(crate) use folder::is_rules_file;
pub use load::{Surroundings, failing_tests, load, load_at, load_files, load_to_test, load_watched};
pub use project::{
    ChannelDef, CommandDef, Env, EnvReader, FunctionDef, LimitSettings, Project, Runtime, Server, SinkDef, SourceDef,
    StoreSettings, Tls, WasmDef,
};
pub(crate) use sources::source_filter;
