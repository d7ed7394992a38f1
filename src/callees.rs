//! From a checked project to what its names stand for: executors, sinks, sources.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use eventyard_connectors::http::HttpClient;
use eventyard_connectors::registry::{self, BuiltSource};
use eventyard_connectors::sink::Sink;
use eventyard_connectors::source::INSTANCES_MAX;
use eventyard_connectors::spec::ConfigError;
use eventyard_event::{Name, Timestamp};
use eventyard_functions::{CommandConfig, CommandExecutor, Executor, WasmConfig, WasmExecutor};
use eventyard_rules::{TargetTo, Text};
use eventyard_store::QueueKey;

use crate::config::{FunctionDef, Project, Runtime, source_filter};
use crate::in_force::{Callees, Feed, HttpMount, InForce};
use crate::intake::Maker;
use crate::origin::Origin;
use crate::sources::Declared;

/// A project that is ready to be put in force.
pub struct Built {
    /// What is put in force.
    pub in_force: InForce,
    /// The sources to be kept going.
    pub sources: Vec<Declared>,
}

/// A name that could not be made to stand for anything, although its settings were checked.
#[derive(Debug, thiserror::Error)]
#[error("[{role}.{name}] cannot be built: {message}")]
pub struct BuildError {
    role: &'static str,
    name: String,
    message: String,
}

impl BuildError {
    fn new(role: &'static str, name: &str, errors: &[ConfigError]) -> BuildError {
        let messages: Vec<String> = errors.iter().map(ToString::to_string).collect();
        BuildError { role, name: name.to_owned(), message: messages.join("; ") }
    }
}

/// Builds everything that a project names; connects to nothing. `shim` is our own binary, `now` the wall clock.
///
/// # Errors
/// [`BuildError`] for the first name that does not stand for anything.
pub fn build(project: Project, shim: &Path, now: Timestamp) -> Result<Built, BuildError> {
    let client = HttpClient::new(project.server.egress_allow.clone());
    let callees = Callees {
        functions: functions(&project, shim)?,
        sinks: sinks(&project, &client)?,
        channels: channels(&project, &client)?,
        http: http_targets(&project, &client)?,
    };
    let Sources { mounts, declared, feeds } = sources(&project, now)?;
    let named = |source: &crate::config::SourceDef| {
        let objects = registry::build_objects(&source.kind, &source.name, source.settings.reveal())?;
        Some((source.name.clone(), objects))
    };
    let objects = project.sources.iter().filter(|source| source.enabled).filter_map(named).collect();
    let mut in_force = InForce::new(Arc::new(project), &callees);
    in_force.http_sources = mounts;
    in_force.objects = objects;
    in_force.feeds = feeds;
    Ok(Built { in_force, sources: declared })
}

fn functions(project: &Project, shim: &Path) -> Result<HashMap<Name, Arc<dyn Executor>>, BuildError> {
    let enabled = project.functions.iter().filter(|function| function.enabled);
    enabled.map(|function| Ok((function.name.clone(), executor(project, function, shim)?))).collect()
}

fn executor(project: &Project, function: &FunctionDef, shim: &Path) -> Result<Arc<dyn Executor>, BuildError> {
    let revealed = |variables: &[(String, Text)]| {
        variables.iter().map(|(name, value)| (name.clone(), value.reveal().to_owned())).collect()
    };
    match &function.runtime {
        Runtime::Command(command) => {
            let config = CommandConfig {
                environment: revealed(&command.environment),
                ..CommandConfig::new(command.command.clone(), project.folder.clone(), function.timeout)
            };
            Ok(Arc::new(CommandExecutor::new(function.name.clone(), config, shim.to_owned())))
        }
        Runtime::Wasm(wasm) => {
            // A project whose package did not compile is refused long before.
            let not_compiled = || BuildError {
                role: "function",
                name: function.name.to_string(),
                message: format!("`{}` is not compiled", wasm.package),
            };
            let program = wasm.program.clone().ok_or_else(not_compiled)?;
            let config = WasmConfig {
                memory_bytes_max: usize::try_from(wasm.memory_bytes).unwrap_or(usize::MAX),
                environment: revealed(&wasm.environment),
                arguments: wasm.arguments.clone(),
                egress_allow: wasm.egress_allow.clone(),
                ..WasmConfig::new(function.name.clone(), program, function.timeout)
            };
            Ok(Arc::new(WasmExecutor::new(config)))
        }
    }
}

fn sinks(project: &Project, client: &HttpClient) -> Result<HashMap<Name, Arc<dyn Sink>>, BuildError> {
    let build = |sink: &crate::config::SinkDef| {
        registry::build_sink(&sink.kind, sink.settings.reveal(), client)
            .map(|built| (sink.name.clone(), built))
            .map_err(|errors| BuildError::new("sink", sink.name.as_str(), &errors))
    };
    project.sinks.iter().filter(|sink| sink.enabled).map(build).collect()
}

fn channels(project: &Project, client: &HttpClient) -> Result<HashMap<Name, Arc<dyn Sink>>, BuildError> {
    let build = |channel: &crate::config::ChannelDef| {
        registry::build_channel(&channel.kind, channel.settings.reveal(), client)
            .map(|built| (channel.name.clone(), built))
            .map_err(|errors| BuildError::new("channel", channel.name.as_str(), &errors))
    };
    project.channels.iter().filter(|channel| channel.enabled).map(build).collect()
}

fn http_targets(project: &Project, client: &HttpClient) -> Result<HashMap<QueueKey, Arc<dyn Sink>>, BuildError> {
    let mut built = HashMap::new();
    for rule in &project.rules {
        for target in &rule.targets {
            let TargetTo::Http(settings) = &target.to else { continue };
            let sink = registry::build_sink("http", settings.reveal(), client)
                .map_err(|errors| BuildError::new("rule", rule.name.as_str(), &errors))?;
            built.insert(InForce::queue(rule, target), sink);
        }
    }
    Ok(built)
}

/// The sources of a project, by who looks after them.
#[derive(Default)]
struct Sources {
    /// The server.
    mounts: Vec<HttpMount>,
    /// Supervisors.
    declared: Vec<Declared>,
    /// Other sources.
    feeds: HashMap<Name, Vec<Feed>>,
}

fn sources(project: &Project, now: Timestamp) -> Result<Sources, BuildError> {
    let mut sources = Sources::default();
    for source in project.sources.iter().filter(|source| source.enabled) {
        let origin =
            Origin { namespace: source.namespace.clone(), source_name: source.name.clone(), tags: source.tags.clone() };
        let settings = source.settings.reveal();
        let failed = |errors: Vec<ConfigError>| BuildError::new("source", source.name.as_str(), &errors);
        let filter = source_filter(settings).map_err(failed)?.map(Arc::new);
        let count = settings.get("instances").and_then(serde_json::Value::as_u64).unwrap_or(1);
        let mut instances = Vec::new();
        for _ in 0..count.min(u64::from(INSTANCES_MAX)) {
            let (built, _) = registry::build_source(&source.kind, &source.name, settings, now).map_err(failed)?;
            let (origin, filter) = (origin.clone(), filter.clone());
            match built {
                BuiltSource::Http(source) => {
                    sources.mounts.push(HttpMount { origin, source, reader: None, filter });
                }
                BuiltSource::Read { http, reader } => {
                    sources.mounts.push(HttpMount { origin, source: http, reader: Some(reader), filter });
                }
                BuiltSource::From { source: from, reader } => {
                    let maker = Arc::new(Maker { origin, filter });
                    sources.feeds.entry(from).or_default().push(Feed { maker, reader });
                }
                BuiltSource::Polled(polled) => instances.push(polled),
            }
        }
        if !instances.is_empty() {
            let (kind, definition) = (source.kind.clone(), source.clone());
            sources.declared.push(Declared { origin, kind, definition, instances, filter });
        }
    }
    Ok(sources)
}
