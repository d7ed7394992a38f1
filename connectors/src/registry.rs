//! Which kinds there are: one plain `match` for each role.
//!
//! To add a connector, see `docs/adding-a-connector.md`.

use std::sync::Arc;

use eventyard_event::{Name, Timestamp};
use serde_json::Value;

#[cfg(feature = "amqp")]
use crate::amqp::{AmqpSink, AmqpSource};
use crate::discard::{self, DiscardSink};
use crate::http::{HttpClient, HttpSink, HttpSource};
#[cfg(feature = "kafka")]
use crate::kafka::{KafkaSink, KafkaSource};
use crate::objects::Objects;
use crate::reader::Reader;
#[cfg(feature = "s3")]
use crate::s3::{S3Sink, S3Source, Way};
use crate::sink::Sink;
use crate::source::Source;
use crate::spec::{ConfigError, ConnectorSpec, Role};
use crate::timer::TimerSource;
use crate::{amqp, file, http, kafka, nats, s3, timer};

/// Every kind of source, in the order of the manual.
const SOURCES: &[ConnectorSpec] =
    &[http::SOURCE_SPEC, timer::SPEC, kafka::SOURCE_SPEC, amqp::SOURCE_SPEC, nats::SOURCE_SPEC, s3::SOURCE_SPEC];

/// Every kind of sink.
const SINKS: &[ConnectorSpec] = &[
    http::SINK_SPEC,
    discard::SPEC,
    file::SINK_SPEC,
    kafka::SINK_SPEC,
    amqp::SINK_SPEC,
    nats::SINK_SPEC,
    s3::SINK_SPEC,
];

/// Every kind of channel.
const CHANNELS: &[ConnectorSpec] = &[http::CHANNEL_SPEC];

/// Kinds that have a name and no code yet.
const SOURCES_RESERVED: &[&str] = &["sqs", "pulsar", "rocketmq", "mqtt", "redis", "file"];
const SINKS_RESERVED: &[&str] = &["sqs", "pulsar", "rocketmq", "mqtt", "redis"];
const CHANNELS_RESERVED: &[&str] = &["mail", "sms", "wecom", "dingtalk", "feishu", "slack"];

/// Kinds whose client is behind a feature of the same name, and whether it was built in. Their keys, pages and examples
/// are always there.
const FEATURES: &[(&str, bool)] = &[
    ("amqp", cfg!(feature = "amqp")),
    ("kafka", cfg!(feature = "kafka")),
    ("nats", cfg!(feature = "nats")),
    ("s3", cfg!(feature = "s3")),
];

/// A source as the project describes it, not yet connected.
pub enum BuiltSource {
    /// Mounted on the broker's server.
    Http(Arc<HttpSource>),
    /// Driven by [`supervise`](crate::supervise::supervise).
    Polled(Box<dyn Source>),
    /// Mounted on the broker's server, and what comes there is read before it is taken.
    Read {
        /// What decides about a request.
        http: Arc<HttpSource>,
        /// What makes events of its body.
        reader: Arc<dyn Reader>,
    },
    /// Made of what another source takes.
    From {
        /// That source.
        source: Name,
        /// What makes events of each of its messages.
        reader: Arc<dyn Reader>,
    },
}

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

/// Makes a source from what [`normalise`](crate::spec::normalise) gave; connects to nothing. `now` serves the
/// warnings alone, which come with the source.
///
/// # Errors
/// Everything that a table's shape cannot say: a schedule that does not read, a verify that lacks its secret.
pub fn build_source(
    kind: &str,
    name: &Name,
    value: &Value,
    now: Timestamp,
) -> Result<(BuiltSource, Vec<ConfigError>), Vec<ConfigError>> {
    check_built_in(Role::Source, kind)?;
    match kind {
        "http" => {
            let (source, warnings) = HttpSource::build(name, value)?;
            Ok((BuiltSource::Http(Arc::new(source)), warnings))
        }
        "timer" => {
            let (source, warnings) = TimerSource::build(name, value, now)?;
            Ok((BuiltSource::Polled(Box::new(source)), warnings))
        }
        #[cfg(feature = "amqp")]
        "amqp" => {
            let (source, warnings) = AmqpSource::build(name, value)?;
            Ok((BuiltSource::Polled(Box::new(source)), warnings))
        }
        #[cfg(feature = "kafka")]
        "kafka" => {
            let (source, warnings) = KafkaSource::build(name, value)?;
            Ok((BuiltSource::Polled(Box::new(source)), warnings))
        }
        #[cfg(feature = "s3")]
        "s3" => {
            let built = match S3Source::build(name, value)?.way {
                Way::Polling(source) => BuiltSource::Polled(source),
                Way::Webhook { http, reader } => BuiltSource::Read { http: Arc::new(*http), reader: Arc::new(reader) },
                Way::From { source, reader } => BuiltSource::From { source, reader: Arc::new(reader) },
            };
            Ok((built, Vec::new()))
        }
        #[cfg(feature = "nats")]
        "nats" => Ok((BuiltSource::Polled(Box::new(nats::NatsSource::build(name, value)?)), Vec::new())),
        _ => Err(vec![absent(Role::Source, kind)]),
    }
}

/// Where the bytes are that the events of a source only name; `None` where its events name none, and where the source
/// cannot be built.
#[must_use]
pub fn build_objects(kind: &str, name: &Name, value: &Value) -> Option<Arc<dyn Objects>> {
    match (kind, name, value) {
        #[cfg(feature = "s3")]
        ("s3", name, value) => S3Source::build(name, value).ok().map(|source| source.objects as Arc<dyn Objects>),
        _ => None,
    }
}

/// Makes a sink from what [`normalise`](crate::spec::normalise) gave; connects to nothing.
///
/// # Errors
/// Everything that a table's shape cannot say, such as an address that may not be called.
pub fn build_sink(kind: &str, value: &Value, client: &HttpClient) -> Result<Arc<dyn Sink>, Vec<ConfigError>> {
    check_built_in(Role::Sink, kind)?;
    match kind {
        "http" => Ok(Arc::new(HttpSink::build(value, client)?)),
        "discard" => Ok(Arc::new(DiscardSink)),
        "file" => Ok(Arc::new(file::FileSink::build(value)?)),
        #[cfg(feature = "amqp")]
        "amqp" => Ok(Arc::new(AmqpSink::build(value)?)),
        #[cfg(feature = "kafka")]
        "kafka" => Ok(Arc::new(KafkaSink::build(value)?)),
        #[cfg(feature = "s3")]
        "s3" => Ok(Arc::new(S3Sink::build(value)?)),
        #[cfg(feature = "nats")]
        "nats" => Ok(Arc::new(nats::NatsSink::build(value)?)),
        _ => Err(vec![absent(Role::Sink, kind)]),
    }
}

/// Makes a channel from what [`normalise`](crate::spec::normalise) gave; connects to nothing.
///
/// # Errors
/// As for [`build_sink`].
pub fn build_channel(kind: &str, value: &Value, client: &HttpClient) -> Result<Arc<dyn Sink>, Vec<ConfigError>> {
    match kind {
        "webhook" => Ok(Arc::new(HttpSink::build(value, client)?)),
        _ => Err(vec![absent(Role::Channel, kind)]),
    }
}

/// A kind that is known and was left out of this build.
fn check_built_in(role: Role, kind: &str) -> Result<(), Vec<ConfigError>> {
    let left_out = FEATURES.iter().any(|(feature, built_in)| *feature == kind && !built_in);
    if !left_out || spec(role, kind).is_err() {
        return Ok(());
    }
    let message = format!("this eventyard was built without the feature `{kind}`, which the {} needs", role.as_str());
    let help = format!("build it with `--features {kind}`, or with `--features full`");
    Err(vec![ConfigError::at("kind", "not_built", message).help(help)])
}

fn absent(role: Role, kind: &str) -> ConfigError {
    match spec(role, kind) {
        Err(error) => error,
        Ok(_) => {
            ConfigError::at("kind", "unknown_kind", format!("the {} kind `{kind}` cannot be built", role.as_str()))
        }
    }
}
