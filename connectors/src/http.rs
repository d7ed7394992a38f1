//! HTTP, inwards and outwards.

mod config;
mod path;

pub use config::{CHANNEL_SPEC, SINK_SPEC, SOURCE_SPEC, TARGET_FIELDS, VERIFY};
pub use path::{PATH_BYTES_MAX, PathTemplate};
