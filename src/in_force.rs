//! The project in force: one immutable snapshot of compiled rules and of whom their targets call.
//!
//! A reload builds a new [`InForce`] off to the side and puts it in place whole. Whoever decides something for
//! one event or one attempt reads the snapshot once. An attempt looks its target up by name in the snapshot of
//! its own moment, so a mended URL heals the retries of deliveries that were made before it was mended.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use eventyard_connectors::http::HttpSource;
use eventyard_connectors::objects::Objects;
use eventyard_connectors::reader::Reader;
use eventyard_connectors::sink::Sink;
use eventyard_event::{Envelope, Name};
use eventyard_functions::Executor;
use eventyard_rules::{AnswerEvent, EventTarget, Input, OBJECT_BYTES_MAX, PatternSet, Rule, RuleSet, TargetTo};
use eventyard_store::QueueKey;

use crate::config::{AlertKind, Project};
use crate::intake::Maker;
use crate::origin::Origin;
use crate::retry::RetryPolicy;
use crate::secrets::Secrets;

/// How many attempts of a target run at once where its rule does not say: commands cost a process each.
const FUNCTION_CONCURRENCY: usize = 8;
/// How many sends to a sink or an http target run at once where the rule does not say.
const SEND_CONCURRENCY: usize = 64;
/// How many alerts are sent at once on one channel.
const CHANNEL_CONCURRENCY: usize = 4;
/// How many settlements of targets that are gone run at once.
const GONE_CONCURRENCY: usize = 16;

/// How long one attempt may take where nobody says.
const TIMEOUT: Duration = Duration::from_secs(30);

/// A project that is loaded, checked and connected.
pub struct InForce {
    /// What the files say.
    pub project: Arc<Project>,
    /// The compiled rules.
    pub rules: RuleSet,
    /// What may not be kept of what targets answer.
    pub secrets: Secrets,
    targets: HashMap<Arc<QueueKey>, Arc<Target>>,
    /// Of each rule in its place, where the deliveries to each of its targets queue.
    queues: Vec<Box<[Arc<QueueKey>]>>,
    /// Who listens to which alerts.
    channels: Vec<Listener>,
    /// The http sources, which the server asks about each request.
    pub http_sources: Vec<HttpMount>,
    /// Where the bytes are that the events of a source only name, by the source's name.
    pub objects: HashMap<Name, Arc<dyn Objects>>,
    /// The sources that are made of what another one takes, by that one's name.
    pub feeds: HashMap<Name, Vec<Feed>>,
}

/// An http source, mounted.
#[derive(Clone)]
pub struct HttpMount {
    /// Whom its events come from.
    pub origin: Origin,
    /// What decides about a request.
    pub source: Arc<HttpSource>,
    /// What makes events of what it took, where that is not an event yet.
    pub reader: Option<Arc<dyn Reader>>,
    /// What of its events is taken; all of them where there is none.
    pub filter: Option<Arc<PatternSet>>,
}

/// A source whose events are made of what another one takes.
#[derive(Clone)]
pub struct Feed {
    /// Whom the events made come from.
    pub maker: Arc<Maker>,
    /// What makes them.
    pub reader: Arc<dyn Reader>,
}

/// A target that can be called.
pub struct Target {
    /// Whom it calls.
    pub callee: Callee,
    /// How it is retried.
    pub policy: RetryPolicy,
    /// How long one attempt may take.
    pub timeout: Duration,
    /// How many attempts may run at once.
    pub concurrency: usize,
    /// What it receives.
    pub input: Input,
    /// The most bytes of an object that it receives.
    pub object_bytes_max: u64,
    /// What becomes of its answer.
    pub answer: Option<AnswerEvent>,
    /// Whether senders may wait for its answer.
    pub reply: bool,
}

/// Whom a target calls.
pub enum Callee {
    /// A function.
    Function {
        /// `[function.NAME]`.
        name: Name,
        /// What runs it.
        executor: Arc<dyn Executor>,
    },
    /// A sink, an http target or an alert channel.
    Sink(Arc<dyn Sink>),
    /// The broker itself: the event goes round again as a new one.
    Event(EventTarget),
}

/// What the names in a project stand for. The broker asks once for each name while a project is put together;
/// the simulation gives scripted ones.
#[derive(Default)]
pub struct Callees {
    /// By `[function.NAME]`.
    pub functions: HashMap<Name, Arc<dyn Executor>>,
    /// By `[sink.NAME]`.
    pub sinks: HashMap<Name, Arc<dyn Sink>>,
    /// By `[channel.NAME]`.
    pub channels: HashMap<Name, Arc<dyn Sink>>,
    /// By namespace, rule and target, for the `http` targets.
    pub http: HashMap<QueueKey, Arc<dyn Sink>>,
}

/// An alert channel and what it listens to.
#[derive(Clone, Debug)]
pub(crate) struct Listener {
    pub(crate) queue: Arc<QueueKey>,
    pub(crate) alerts: Vec<AlertKind>,
    /// How long alerts wait for others, to be sent as one.
    pub(crate) group: Option<Duration>,
}

impl InForce {
    /// Puts a checked project together with what its names stand for. A target whose name stands for nothing is
    /// left out: its deliveries end as `target_gone`.
    #[must_use]
    pub fn new(project: Arc<Project>, callees: &Callees) -> InForce {
        let rules = RuleSet::compile(project.rules.clone());
        let mut targets = HashMap::new();
        let of_rule = |rule: &Rule| rule.targets.iter().map(|target| Arc::new(InForce::queue(rule, target))).collect();
        let queues: Vec<Box<[Arc<QueueKey>]>> = rules.rules().iter().map(of_rule).collect();
        for (rule, queues) in project.rules.iter().zip(&queues) {
            for (target, queue) in rule.targets.iter().zip(queues) {
                let Some(callee) = callee(callees, queue, &target.to) else { continue };
                let concurrency = match (&target.to, &callee) {
                    (TargetTo::Sink(_), Callee::Sink(sink)) => sink.concurrency().unwrap_or(SEND_CONCURRENCY),
                    (TargetTo::Function { .. }, _) => FUNCTION_CONCURRENCY,
                    (TargetTo::Channel(_), _) => CHANNEL_CONCURRENCY,
                    (TargetTo::Sink(_) | TargetTo::Http(_) | TargetTo::Event(_), _) => SEND_CONCURRENCY,
                };
                let built = Target {
                    callee,
                    policy: project.retry_policy(rule, target),
                    timeout: target.timeout.unwrap_or_else(|| default_timeout(&project, &target.to)),
                    concurrency: target.concurrency.map_or(concurrency, |n| usize::try_from(n).unwrap_or(concurrency)),
                    input: target.input.clone().unwrap_or_else(|| target.to.default_input()),
                    object_bytes_max: target.object_bytes_max.unwrap_or(OBJECT_BYTES_MAX),
                    answer: target.answer.clone(),
                    reply: target.reply,
                };
                targets.insert(Arc::clone(queue), Arc::new(built));
            }
        }
        let mut channels = Vec::new();
        for channel in project.channels.iter().filter(|channel| channel.enabled) {
            let Some(sink) = callees.channels.get(&channel.name) else { continue };
            let queue = QueueKey { namespace: channel.namespace.clone(), rule: None, target: channel.name.clone() };
            let queue = Arc::new(queue);
            let target = Target {
                callee: Callee::Sink(Arc::clone(sink)),
                policy: RetryPolicy::HTTP,
                timeout: TIMEOUT,
                concurrency: CHANNEL_CONCURRENCY,
                input: Input::Event,
                object_bytes_max: OBJECT_BYTES_MAX,
                answer: None,
                reply: false,
            };
            targets.insert(Arc::clone(&queue), Arc::new(target));
            channels.push(Listener { queue, alerts: channel.alerts.clone(), group: channel.group });
        }
        let secrets = Secrets::of(&project);
        InForce {
            project,
            rules,
            secrets,
            targets,
            queues,
            channels,
            http_sources: Vec::new(),
            objects: HashMap::new(),
            feeds: HashMap::new(),
        }
    }

    /// Where the deliveries of a rule to one of its targets queue.
    #[must_use]
    pub fn queue(rule: &Rule, target: &eventyard_rules::Target) -> QueueKey {
        QueueKey { namespace: rule.namespace.clone(), rule: Some(rule.name.clone()), target: target.name.clone() }
    }

    /// Where the deliveries of a rule of [`InForce::rules`] to each of its targets queue, in their order.
    pub(crate) fn queues(&self, rule: &Rule) -> &[Arc<QueueKey>] {
        let place = self.rules.rules().element_offset(rule);
        place.and_then(|place| self.queues.get(place)).map_or(&[], |queues| queues)
    }

    /// Where the alerts of a channel queue; `None` where there is no such channel.
    #[must_use]
    pub fn channel_queue(&self, name: &Name) -> Option<&Arc<QueueKey>> {
        self.channels.iter().map(|channel| &channel.queue).find(|queue| queue.target == *name)
    }

    /// Whom the deliveries of a queue call; `None` where the rule or the target is gone.
    #[must_use]
    pub fn target(&self, queue: &QueueKey) -> Option<&Arc<Target>> {
        self.targets.get(queue)
    }

    /// How many attempts of a queue may run at once.
    #[must_use]
    pub fn concurrency(&self, queue: &QueueKey) -> usize {
        self.targets.get(queue).map_or(GONE_CONCURRENCY, |target| target.concurrency)
    }

    /// The channels that listen to a kind of alert.
    pub(crate) fn listeners(&self, kind: AlertKind) -> impl Iterator<Item = &Listener> {
        self.channels.iter().filter(move |channel| channel.alerts.contains(&kind))
    }

    /// Whether what is due in a queue is sent as one: the alerts of a channel that groups.
    pub(crate) fn is_grouped(&self, queue: &QueueKey) -> bool {
        queue.rule.is_none() && self.channels.iter().any(|channel| channel.group.is_some() && *channel.queue == *queue)
    }

    /// The hash of the compiled rules, as text.
    #[must_use]
    pub fn hash(&self) -> String {
        self.rules.hash().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The rule that came closest to matching an event.
    #[must_use]
    pub fn nearest_rule(&self, envelope: &Envelope) -> Option<Name> {
        self.rules.explain(envelope, None).nearest
    }
}

fn callee(callees: &Callees, queue: &QueueKey, to: &TargetTo) -> Option<Callee> {
    Some(match to {
        TargetTo::Function { name, .. } => {
            Callee::Function { name: name.clone(), executor: Arc::clone(callees.functions.get(name)?) }
        }
        TargetTo::Sink(name) => Callee::Sink(Arc::clone(callees.sinks.get(name)?)),
        TargetTo::Channel(name) => Callee::Sink(Arc::clone(callees.channels.get(name)?)),
        TargetTo::Http(_) => Callee::Sink(Arc::clone(callees.http.get(queue)?)),
        TargetTo::Event(event) => Callee::Event(event.clone()),
    })
}

/// How long an attempt may take where the rule does not say: as long as the function may run.
fn default_timeout(project: &Project, to: &TargetTo) -> Duration {
    let TargetTo::Function { name, .. } = to else { return TIMEOUT };
    project.functions.iter().find(|function| function.name == *name).map_or(TIMEOUT, |function| function.timeout)
}
