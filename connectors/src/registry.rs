//! Which kinds there are: one plain `match` for each role.
//!
//! To add a connector: make its folder with `mod.rs config.rs source.rs sink.rs`, declare its
//! [`ConnectorSpec`](crate::spec::ConnectorSpec) beside its code, add it to the lists here, take its name out of
//! the reserved ones, and run the tests with `EVENTYARD_BLESS=1` so that its reference page is written.

use crate::discard;
use crate::http;
use crate::spec::{ConfigError, ConnectorSpec, Role};

/// Every kind of source, in the order of the manual.
const SOURCES: &[ConnectorSpec] = &[http::SOURCE_SPEC];

/// Every kind of sink.
const SINKS: &[ConnectorSpec] = &[http::SINK_SPEC, discard::SPEC];

/// Every kind of channel.
const CHANNELS: &[ConnectorSpec] = &[http::CHANNEL_SPEC];

/// Kinds that have a name and no code yet.
const SOURCES_RESERVED: &[&str] =
    &["kafka", "amqp", "nats", "s3", "sqs", "pulsar", "rocketmq", "mqtt", "redis", "file"];
const SINKS_RESERVED: &[&str] = &["kafka", "amqp", "nats", "s3", "sqs", "pulsar", "rocketmq", "mqtt", "redis"];
const CHANNELS_RESERVED: &[&str] = &["mail", "sms", "wecom", "dingtalk", "feishu", "slack"];

/// Everything there is of a role.
#[must_use]
pub fn specs(role: Role) -> &'static [ConnectorSpec] {
    match role {
        Role::Source => SOURCES,
        Role::Sink => SINKS,
        Role::Channel => CHANNELS,
    }
}

/// Kinds of a role that are known and not in this version.
#[must_use]
pub fn reserved_kinds(role: Role) -> &'static [&'static str] {
    match role {
        Role::Source => SOURCES_RESERVED,
        Role::Sink => SINKS_RESERVED,
        Role::Channel => CHANNELS_RESERVED,
    }
}

/// What a kind of a role takes.
///
/// # Errors
/// One error at `kind`: `unknown_kind` with the nearest name and all that exist, or `not_in_this_version`.
pub fn spec(role: Role, kind: &str) -> Result<&'static ConnectorSpec, ConfigError> {
    if let Some(spec) = specs(role).iter().find(|spec| spec.kind == kind) {
        return Ok(spec);
    }
    let role_word = role.as_str();
    let kinds: Vec<&str> = specs(role).iter().map(|spec| spec.kind).collect();
    let known = format!("the kinds of {role_word} are {}", kinds.join(", "));
    if reserved_kinds(role).contains(&kind) {
        let message = format!("the {role_word} kind `{kind}` is not in this version");
        return Err(ConfigError::at("kind", "not_in_this_version", message).help(known));
    }
    let error = ConfigError::at("kind", "unknown_kind", format!("there is no {role_word} kind `{kind}`"));
    Err(match crate::spec::nearest(kind, kinds.iter().copied()) {
        Some(near) => error.help(format!("did you mean `{near}`? {known}")),
        None => error.help(known),
    })
}
