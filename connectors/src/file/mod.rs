//! Files as a sink: one line of JSON for each event, synced before it counts as delivered.
//!
//! The smallest connector there is, and the example of `docs/adding-a-connector.md`: what it can be told is in
//! [`config`], what it does in [`sink`], what people read in `sink.md`.

mod config;
mod sink;

pub use config::SINK_SPEC;
pub use sink::FileSink;
