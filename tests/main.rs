//! All integration tests in one binary, one file for each promise.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed, and says where")]

mod alert_groups;
mod architecture;
mod certificate;
#[cfg(all(feature = "amqp", feature = "kafka", feature = "nats"))]
mod circles;
mod cli_broker;
mod cli_project;
mod cli_samples;
mod cli_store;
mod cli_usage;
mod clock_jumps;
mod completions;
#[cfg(all(feature = "amqp", feature = "kafka", feature = "nats", feature = "s3"))]
mod credentials;
mod disk_faults;
mod disk_full;
mod disk_ground;
mod disk_order;
mod disk_spoiled;
mod error_pages;
#[cfg(all(feature = "amqp", feature = "kafka", feature = "nats"))]
mod fan_out;
mod free_port;
mod github_ci;
mod holding;
mod http_access;
mod http_api;
mod http_broker;
mod http_events;
mod http_server;
mod http_sources;
mod http_tls;
#[cfg(feature = "kafka")]
mod kafka;
mod kill_loop;
mod openapi;
mod power_cut;
mod readme;
#[cfg(all(feature = "amqp", feature = "kafka", feature = "nats", feature = "s3"))]
mod refused;
mod reload;
mod reply;
mod rule_files;
mod rule_refusals;
#[cfg(feature = "s3")]
mod s3;
mod schema;
mod scripted_store;
#[cfg(feature = "kafka")]
mod servers;
mod simulation;
mod slow_calls;
mod sources;
mod split;
mod spoiled_files;
mod store_commands;
mod support;
#[cfg(all(feature = "amqp", feature = "kafka", feature = "nats", feature = "s3"))]
mod tls_names;
mod transform;
#[cfg(feature = "wasm")]
mod wasm;
#[cfg(not(feature = "wasm"))]
mod wasm_left_out;
mod wire;
mod wire_access;
mod wire_broker;
mod wire_cloudevents;
mod wire_hostile;
mod wire_json;
mod wire_limits;
mod wire_reply;
mod wire_webhooks;
