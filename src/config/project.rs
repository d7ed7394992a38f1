//! What a project says, checked.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use eventyard_event::{Limits, Name};
use eventyard_functions::{EgressRule, WasmProgram};
use eventyard_rules::{RetryOverrides, Rule, Settings, Target, TargetTo, Text};
use ipnet::IpNet;

use super::AlertKind;
use crate::retry::RetryPolicy;

/// Reads one variable of the environment; a parameter, so that tests need not change their own.
pub type EnvReader = Arc<Env>;

/// What an [`EnvReader`] shares: the value of a variable, `None` where it is not set.
pub type Env = dyn Fn(&str) -> Option<String> + Send + Sync;

/// A checked project. Plain data: nothing in it is connected or running.
#[derive(Clone, Debug, Default)]
pub struct Project {
    /// The project's folder.
    pub folder: PathBuf,
    /// `[server]`.
    pub server: Server,
    /// `[store]`.
    pub store: StoreSettings,
    /// `[limits]`.
    pub limits: LimitSettings,
    /// `[defaults] retry`.
    pub defaults: RetryOverrides,
    /// `[source.NAME]`, by name.
    pub sources: Vec<SourceDef>,
    /// `[function.NAME]`, by name.
    pub functions: Vec<FunctionDef>,
    /// `[sink.NAME]`, by name.
    pub sinks: Vec<SinkDef>,
    /// `[channel.NAME]`, by name.
    pub channels: Vec<ChannelDef>,
    /// `[[rule]]`, in the order of files and of lines in them.
    pub rules: Vec<Rule>,
    /// A hash of everything above but `folder`: two projects with the same hash behave the same. Secrets take
    /// part; what is shown of it tells nothing about them.
    pub hash: [u8; 16],
    /// The text of each file that was read, by its path within the folder: what is kept as the last good one.
    pub files: Vec<(String, String)>,
    /// The files beyond those that were read: secrets, tests' events. Editing one is editing the project.
    pub named_files: Vec<PathBuf>,
}

/// `[server]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Server {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Where set, calls need it.
    pub token: Option<Text>,
    /// Off loopback one is required.
    pub tls: Option<Tls>,
    /// How long attempts in flight may still take when told to stop.
    pub grace: Duration,
    /// Networks that targets may reach though they are link-local or come from a template, an event or the API.
    pub egress_allow: Vec<IpNet>,
}

impl Default for Server {
    fn default() -> Server {
        Server {
            listen: SocketAddr::from(([127, 0, 0, 1], 8484)),
            token: None,
            tls: None,
            grace: Duration::from_secs(8),
            egress_allow: Vec::new(),
        }
    }
}

/// `[server] tls`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tls {
    /// `{ cert = "…", key = "…" }`.
    Files {
        /// PEM.
        cert: PathBuf,
        /// PEM.
        key: PathBuf,
    },
    /// `"proxy"`: something in front ends TLS.
    Proxy,
}

/// `[store]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreSettings {
    /// Where it is; absolute.
    pub dir: PathBuf,
    /// How long settled events are kept.
    pub retention: Duration,
    /// How many bytes of them at most.
    pub retention_bytes: u64,
}

impl Default for StoreSettings {
    fn default() -> StoreSettings {
        StoreSettings {
            dir: PathBuf::from("data"),
            retention: Duration::from_secs(7 * 24 * 3600),
            retention_bytes: 1024 * 1024 * 1024,
        }
    }
}

/// `[limits]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitSettings {
    /// `event`, in bytes.
    pub event_bytes_max: usize,
    /// `batch`: events.
    pub batch_events_max: usize,
    /// `pending`: deliveries.
    pub pending: u64,
}

impl Default for LimitSettings {
    fn default() -> LimitSettings {
        LimitSettings { event_bytes_max: 1024 * 1024, batch_events_max: 10_000, pending: 5_000_000 }
    }
}

impl LimitSettings {
    /// What an event and a batch may have.
    #[must_use]
    pub fn of_events(&self) -> Limits {
        Limits { event_bytes_max: self.event_bytes_max, batch_events_max: self.batch_events_max, ..Limits::default() }
    }
}

/// `[source.NAME]`.
#[derive(Clone, Debug, PartialEq)]
pub struct SourceDef {
    /// Its name.
    pub name: Name,
    /// Its namespace.
    pub namespace: Name,
    /// For people.
    pub description: String,
    /// Whether it runs.
    pub enabled: bool,
    /// Its kind, which the registry of connectors knows.
    pub kind: String,
    /// Given to each of its events.
    pub tags: Vec<String>,
    /// What its connector is built from.
    pub settings: Settings,
}

/// `[function.NAME]`.
#[derive(Clone, Debug, PartialEq)]
pub struct FunctionDef {
    /// Its name.
    pub name: Name,
    /// Its namespace.
    pub namespace: Name,
    /// For people.
    pub description: String,
    /// Whether it may be called.
    pub enabled: bool,
    /// The longest it may run.
    pub timeout: Duration,
    /// How it runs.
    pub runtime: Runtime,
}

/// `[function.NAME] runtime`.
#[derive(Clone, Debug, PartialEq)]
pub enum Runtime {
    /// One process an event.
    Command(CommandDef),
    /// A WebAssembly module inside the broker.
    Wasm(WasmDef),
}

/// What a command needs.
#[derive(Clone, Debug, PartialEq)]
pub struct CommandDef {
    /// The program and its arguments.
    pub command: Vec<String>,
    /// Beside the variables that every command gets.
    pub environment: Vec<(String, Text)>,
}

/// What a WebAssembly module needs.
#[derive(Clone, Debug, PartialEq)]
pub struct WasmDef {
    /// The path of the file, relative to the project folder.
    pub package: String,
    /// What was compiled from it; `None` only in a project that is refused.
    pub program: Option<WasmProgram>,
    /// The most memory of one call, in bytes.
    pub memory_bytes: u64,
    /// Beside the variables that every call gets.
    pub environment: Vec<(String, Text)>,
    /// After the function's name.
    pub arguments: Vec<String>,
    /// Where a component may call.
    pub egress_allow: Vec<EgressRule>,
}

/// `[sink.NAME]`.
#[derive(Clone, Debug, PartialEq)]
pub struct SinkDef {
    /// Its name.
    pub name: Name,
    /// Its namespace.
    pub namespace: Name,
    /// For people.
    pub description: String,
    /// Whether it may be called.
    pub enabled: bool,
    /// Its kind, which the registry of connectors knows.
    pub kind: String,
    /// What its connector is built from.
    pub settings: Settings,
}

/// `[channel.NAME]`.
#[derive(Clone, Debug, PartialEq)]
pub struct ChannelDef {
    /// Its name.
    pub name: Name,
    /// Its namespace.
    pub namespace: Name,
    /// For people.
    pub description: String,
    /// Whether alerts are sent on it.
    pub enabled: bool,
    /// Its kind, which the registry of connectors knows.
    pub kind: String,
    /// What it listens to.
    pub alerts: Vec<AlertKind>,
    /// How long alerts wait for others, to be sent as one; `None` to send each at once.
    pub group: Option<Duration>,
    /// What its connector is built from.
    pub settings: Settings,
}

impl Project {
    /// How a target is retried: what it says, else its rule, else `[defaults]`, else what its kind does.
    #[must_use]
    pub fn retry_policy(&self, rule: &Rule, target: &Target) -> RetryPolicy {
        let kind = match target.to {
            TargetTo::Function { .. } | TargetTo::Event(_) => RetryPolicy::FUNCTION,
            TargetTo::Sink(_) | TargetTo::Channel(_) | TargetTo::Http(_) => RetryPolicy::HTTP,
        };
        let said = target.retry.or(rule.retry).or(self.defaults);
        let backoff = said.backoff.unwrap_or(kind.backoff);
        RetryPolicy {
            attempts: said.attempts.unwrap_or(kind.attempts).max(1),
            max_age: said.max_age.unwrap_or(kind.max_age),
            backoff,
            // A backoff above the kind's longest pause says that longer pauses are wanted.
            backoff_max: said.backoff_max.unwrap_or(kind.backoff_max.max(backoff)),
            jitter: said.jitter.unwrap_or(kind.jitter),
        }
    }

    /// The longest pause between attempts that any target asks for.
    #[must_use]
    pub fn backoff_max(&self) -> Duration {
        let all = self.rules.iter().flat_map(|rule| rule.targets.iter().map(move |target| (rule, target)));
        let longest = all.map(|(rule, target)| self.retry_policy(rule, target).backoff_max).max();
        longest.unwrap_or_default().max(RetryPolicy::HTTP.backoff_max)
    }

    /// What differs from `next` and takes effect only after a restart, as people write it.
    #[must_use]
    pub fn restart_needed(&self, next: &Project) -> Vec<String> {
        let (server, other) = (&self.server, &next.server);
        let (store, kept) = (&self.store, &next.store);
        let differs = [
            ("[server] listen", server.listen != other.listen),
            ("[server] token", server.token != other.token),
            ("[server] tls", server.tls != other.tls),
            ("[server] grace", server.grace != other.grace),
            ("[server] egress_allow", server.egress_allow != other.egress_allow),
            ("[store] dir", store.dir != kept.dir),
            ("[store] retention", store.retention != kept.retention),
            ("[store] retention_size", store.retention_bytes != kept.retention_bytes),
        ];
        differs.into_iter().filter(|(_, differs)| *differs).map(|(what, _)| what.to_owned()).collect()
    }

    /// The functions by name.
    #[must_use]
    pub fn functions_by_name(&self) -> HashMap<&Name, &FunctionDef> {
        self.functions.iter().map(|function| (&function.name, function)).collect()
    }
}
