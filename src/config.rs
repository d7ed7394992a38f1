//! A project is a folder: `eventyard.toml` and `rules/*.toml`, read and checked before anything starts.

mod alert_kind;

pub mod project;

pub use alert_kind::AlertKind;
pub use project::{
    ChannelDef, CommandDef, EnvReader, FunctionDef, LimitSettings, Project, Runtime, Server, SinkDef, SourceDef,
    StoreSettings, Tls,
};
