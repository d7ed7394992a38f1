//! What the connectors promise, one file for each part.

mod http_sink;
mod http_source;
mod reference;
mod registry;
mod scripted;
mod supervisor;
mod timer;
