//! eventyard: takes events from anywhere, decides by rules who must hear of them, keeps them on disk until that
//! has happened, and runs the functions that answer them.
//!
//! This file is the table of contents, in the order in which an event passes through; the blank lines between
//! modules keep it so (the formatter sorts modules that touch). ARCHITECTURE.md has the bird's-eye view.

// Read once.

// The machine's clocks, and a test's.
pub mod clock;

// A project is a folder, checked before anything starts.
pub mod config;

// What may stand in its files, for editors.
pub mod schema;

// Where that folder is, so that it can be read again.
pub mod home;

// The compiled rules and whom their targets call: one immutable snapshot.
pub mod in_force;

// From a checked project to what its names stand for.
pub mod callees;

// What the parts of the journey share.
pub mod broker;

// The journey of an event.

// Whom events come from.
pub mod origin;

// The sources that are kept going.
pub mod sources;

// What a person holds.
pub mod pauses;

// What a person does with one delivery.
pub mod by_hand;

// A call of a target that is kept nowhere.
pub mod trial;

// Takes events from any source; returns when they are on disk.
pub mod intake;

// What a source could not decode.
mod undecodable;

// Which deliveries an event makes: a pure function.
pub mod route;

// Lists of which each element is delivered alone.
pub mod split;

// Senders that wait for a target's answer.
pub mod reply;

// Which deliveries are attempted next.
pub mod dispatch;

// One attempt of one delivery.
pub mod attempt;

// What targets would receive of the events of rules' tests.
mod payloads;

// Takes the project's secrets out of what targets answered.
pub mod secrets;

// What an outcome means for a delivery: a pure decision.
pub mod retry;

// Turns an outcome into delivered, retry or dead letter.
pub mod settle;

// Replays dead letters, or gives them up for good.
pub mod dead_letter;

// Tells people, and the broker's own events.
pub mod alert;

// Beside the journey.

// What happens to events, as it happens.
pub mod fate;

// Metrics and logs.
pub mod telemetry;

// One process.

// Another project in force, without a restart.
pub mod reload;

// Start and stop, in order.
pub mod run;

// What people see.

// The listener: connections, limits, bodies.
pub mod server;

// What a client sees over HTTP.
pub mod api;
