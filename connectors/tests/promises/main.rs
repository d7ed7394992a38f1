//! What the connectors promise, one file for each part.
#![expect(clippy::unwrap_used, reason = "a test that fails may panic")]

mod file_sink;
mod http_presets;
mod http_sink;
mod http_sink_auth;
mod http_source;
mod reference;
mod registry;
mod scripted;
mod supervisor;
mod timer;
