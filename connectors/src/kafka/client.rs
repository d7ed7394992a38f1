//! What both directions share: the way to the cluster, where librdkafka's log goes, and what its errors mean.

use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use super::settings::{Cluster, Mechanism};
use crate::spec::ConfigError;

/// How long librdkafka waits for an answer before it takes a connection for dead, in milliseconds: what lets go of one
/// through which nothing comes any more. Long enough for a broker that pauses to collect its garbage.
const ANSWER_WAIT_MS: u32 = 20_000;
/// The longest pause between two of librdkafka's own attempts at a connection, in milliseconds.
const RECONNECT_WAIT_MAX_MS: u32 = 5_000;

/// Settings of librdkafka that a project may make by their own names. What our promises rest on is not among them, nor
/// what names a file to load as code or holds a secret.
const OPTIONS: &[&str] = &[
    "batch.size",
    "broker.address.family",
    "check.crcs",
    "client.dns.lookup",
    "client.id",
    "client.rack",
    "compression.level",
    "connections.max.idle.ms",
    "fetch.error.backoff.ms",
    "fetch.max.bytes",
    "fetch.message.max.bytes",
    "fetch.min.bytes",
    "fetch.queue.backoff.ms",
    "fetch.wait.max.ms",
    "group.instance.id",
    "heartbeat.interval.ms",
    "isolation.level",
    "linger.ms",
    "max.poll.interval.ms",
    "message.max.bytes",
    "message.timeout.ms",
    "metadata.max.age.ms",
    "partition.assignment.strategy",
    "partitioner",
    "queue.buffering.max.kbytes",
    "queue.buffering.max.messages",
    "queued.max.messages.kbytes",
    "queued.min.messages",
    "receive.message.max.bytes",
    "reconnect.backoff.max.ms",
    "reconnect.backoff.ms",
    "request.timeout.ms",
    "retry.backoff.max.ms",
    "retry.backoff.ms",
    "session.timeout.ms",
    "socket.connection.setup.timeout.ms",
    "socket.keepalive.enable",
    "socket.nagle.disable",
    "socket.receive.buffer.bytes",
    "socket.send.buffer.bytes",
    "socket.timeout.ms",
    "sticky.partitioning.linger.ms",
    "topic.metadata.refresh.interval.ms",
];

/// The settings that reach a cluster, `options` not among them: those come last ([`add_options`]).
pub(super) fn reach(cluster: &Cluster) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", cluster.brokers.join(","))
        .set("client.id", "eventyard")
        .set("socket.timeout.ms", ANSWER_WAIT_MS.to_string())
        .set("socket.keepalive.enable", "true")
        .set("reconnect.backoff.max.ms", RECONNECT_WAIT_MAX_MS.to_string())
        // It announces errors of connections that were merely idle for long.
        .set("log.connection.close", "false")
        .set_log_level(RDKafkaLogLevel::Info);
    let protocol = match (&cluster.tls, &cluster.sasl) {
        (None, None) => "plaintext",
        (None, Some(_)) => "sasl_plaintext",
        (Some(_), None) => "ssl",
        (Some(_), Some(_)) => "sasl_ssl",
    };
    config.set("security.protocol", protocol);
    if let Some(sasl) = &cluster.sasl {
        config
            .set("sasl.mechanism", sasl.mechanism.word())
            .set("sasl.username", &sasl.username)
            .set("sasl.password", sasl.password.expose());
    }
    if let Some(tls) = &cluster.tls {
        let files = [
            ("ssl.ca.location", &tls.ca),
            ("ssl.certificate.location", &tls.certificate),
            ("ssl.key.location", &tls.key),
        ];
        for (name, file) in files {
            if let Some(file) = file {
                config.set(name, file);
            }
        }
        if let Some(password) = &tls.password {
            config.set("ssl.key.password", password.expose());
        }
    }
    config
}

/// Adds what the project sets by librdkafka's own names.
pub(super) fn add_options(config: &mut ClientConfig, cluster: &Cluster) {
    for (name, value) in &cluster.options {
        config.set(name, value);
    }
}

/// Checks what a table's shape cannot say; connects to nothing. `config` holds all settings, the options among them.
pub(super) fn check(cluster: &Cluster, config: &ClientConfig) -> Vec<ConfigError> {
    let mut errors = Vec::new();
    if cluster.brokers.is_empty() {
        errors.push(ConfigError::at("brokers", "bad_value", "there must be one address at least"));
    }
    for broker in &cluster.brokers {
        let port = broker.rsplit_once(':').and_then(|(host, port)| (!host.is_empty()).then(|| port.parse::<u16>()));
        if !matches!(port, Some(Ok(_))) || broker.contains(',') || broker.contains('/') {
            errors.push(
                ConfigError::at(
                    "brokers",
                    "bad_value",
                    format!("`{}` is no address of a broker", broker.escape_debug()),
                )
                .help("write host and port, such as \"127.0.0.1:9092\""),
            );
        }
    }
    if !cfg!(feature = "kafka-tls") {
        let left_out = |key: &str, what: &str| {
            ConfigError::at(
                key,
                "not_built",
                format!("this eventyard was built without the feature `kafka-tls`, which {what} needs"),
            )
            .help("build it with `--features kafka-tls`; that takes OpenSSL's headers, libssl-dev and pkg-config")
        };
        if cluster.tls.is_some() {
            errors.push(left_out("tls", "TLS"));
        }
        if let Some(sasl) = &cluster.sasl
            && sasl.mechanism != Mechanism::Plain
        {
            errors.push(left_out("mechanism", sasl.mechanism.word()).within("sasl"));
        }
    }
    for name in cluster.options.keys().filter(|name| !OPTIONS.contains(&name.as_str())) {
        let near = crate::spec::nearest(name, OPTIONS.iter().copied());
        let help = near.map_or_else(
            || "keys of its own say the rest; see the page of this kind".to_owned(),
            |near| format!("did you mean `{near}`?"),
        );
        let message = format!("`{}` may not be set here", name.escape_debug());
        errors.push(ConfigError::at(name, "unknown_key", message).within("options").help(help));
    }
    if errors.is_empty()
        && let Err(error) = config.create_native_config()
    {
        errors.push(refused_setting(cluster, &error));
    }
    errors
}

/// librdkafka's own refusal of a setting, without the value, which may be a secret.
fn refused_setting(cluster: &Cluster, error: &KafkaError) -> ConfigError {
    let KafkaError::ClientConfig(_, problem, name, _) = error else {
        return ConfigError::at("options", "bad_value", format!("librdkafka refuses these settings: {error}"));
    };
    if cluster.options.contains_key(name) {
        return ConfigError::at(name, "bad_value", format!("librdkafka refuses it: {problem}")).within("options");
    }
    ConfigError::at("brokers", "bad_value", format!("librdkafka refuses its setting `{name}`"))
}

/// A warning where a password would cross a network as it is.
pub(super) fn warnings(cluster: &Cluster) -> Vec<ConfigError> {
    let is_loopback = |broker: &String| {
        let host = broker.rsplit_once(':').map_or(broker.as_str(), |(host, _)| host);
        host == "localhost"
            || host.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
    };
    let bare = cluster.tls.is_none() && cluster.sasl.as_ref().is_some_and(|sasl| sasl.mechanism == Mechanism::Plain);
    if bare && !cluster.brokers.iter().all(is_loopback) {
        let message = "the password crosses the network as it is";
        return vec![ConfigError::at("sasl", "password_in_clear", message).help("add `tls = {}`")];
    }
    Vec::new()
}

/// Passes a line of librdkafka's log on. None of them holds a password.
pub(super) fn log(level: RDKafkaLogLevel, name: &str, facility: &str, message: &str) {
    match level {
        RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical | RDKafkaLogLevel::Error => {
            tracing::warn!(name, facility, message, "librdkafka reports an error");
        }
        RDKafkaLogLevel::Warning | RDKafkaLogLevel::Notice => {
            tracing::info!(name, facility, message, "librdkafka warns");
        }
        RDKafkaLogLevel::Info | RDKafkaLogLevel::Debug => tracing::debug!(name, facility, message, "librdkafka says"),
    }
}

/// What librdkafka says of an error.
pub(super) fn words(error: &KafkaError, reason: &str) -> String {
    let words = if reason.is_empty() { error.to_string() } else { reason.to_owned() };
    // OpenSSL has looked at the name, too, and which of the two it was does not come through.
    if words.contains("certificate verify failed") {
        return format!("{words}; or it is for another name than the broker's address has");
    }
    words
}

/// What an error of librdkafka means to whoever keeps a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// The credentials are wrong.
    Auth,
    /// The broker's certificate is not trusted, or is for another name; or it does not like ours.
    Tls,
    /// The credentials are good, and not enough.
    Denied,
    /// No broker can be reached at this moment; it goes on trying by itself.
    Unreachable,
    /// There is no such topic or partition.
    NoTopic,
    /// It mends itself, or concerns one request alone.
    Passing,
}

impl Meaning {
    pub(super) fn of(code: RDKafkaErrorCode) -> Meaning {
        match code {
            RDKafkaErrorCode::Authentication
            | RDKafkaErrorCode::SaslAuthenticationFailed
            | RDKafkaErrorCode::UnsupportedSASLMechanism
            | RDKafkaErrorCode::IllegalSASLState => Meaning::Auth,
            RDKafkaErrorCode::SSL => Meaning::Tls,
            RDKafkaErrorCode::TopicAuthorizationFailed
            | RDKafkaErrorCode::GroupAuthorizationFailed
            | RDKafkaErrorCode::ClusterAuthorizationFailed => Meaning::Denied,
            RDKafkaErrorCode::AllBrokersDown => Meaning::Unreachable,
            RDKafkaErrorCode::UnknownTopicOrPartition
            | RDKafkaErrorCode::UnknownTopic
            | RDKafkaErrorCode::UnknownPartition => Meaning::NoTopic,
            _ => Meaning::Passing,
        }
    }

    /// The stable word.
    pub(super) fn word(self) -> &'static str {
        match self {
            Meaning::Auth => "auth",
            Meaning::Tls => "tls",
            Meaning::Denied => "denied",
            Meaning::Unreachable => "connect",
            Meaning::NoTopic => "topic_missing",
            Meaning::Passing => "kafka",
        }
    }
}
