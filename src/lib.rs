//! eventyard: takes events from anywhere, decides by rules who must hear of them, keeps them on disk until that
//! has happened, and runs the functions that answer them.
//!
//! This file is the table of contents, in the order in which an event passes through; the blank lines between
//! modules keep it so (the formatter sorts modules that touch). ARCHITECTURE.md has the bird's-eye view.

// Read once.

/// The machine's clocks, and a test's.
pub mod clock;

/// A project is a folder, checked before anything starts.
pub mod config;

// What becomes of an outcome.

/// What an outcome means for a delivery: a pure decision.
pub mod retry;

// Beside the journey.

/// What happens to events, as it happens.
pub mod fate;

/// Metrics and logs.
pub mod telemetry;

// What people see.

/// The listener: connections, limits, bodies.
pub mod server;

/// What a client sees over HTTP.
pub mod api;
