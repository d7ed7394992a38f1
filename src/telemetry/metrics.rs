//! Every metric, in one list. Prometheus text is made from it, and nothing is measured under a name that is
//! not here.

use std::sync::atomic::{AtomicI64, AtomicU64};

use eventyard_store::QueueKey;
use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

/// The bounds of the attempt-duration histogram, in seconds: from a discard to a long script.
const ATTEMPT_SECONDS: [f64; 12] = [0.001, 0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0];
/// The bounds of the commit-duration histogram, in seconds: around one sync of a disk.
const COMMIT_SECONDS: [f64; 10] = [0.0001, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.1, 0.5, 2.5];

/// Which source.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct SourceLabel {
    /// `[source.NAME]`.
    pub source: String,
}

/// Which stable code.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct CodeLabel {
    /// The code of the error or reason.
    pub code: String,
}

/// Which target, and how something ended there. Rules and targets come from the project's files, so the number
/// of label sets is bounded by them.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct TargetLabel {
    /// The rule; empty for an alert.
    pub rule: String,
    /// The target's or channel's name.
    pub target: String,
    /// `delivered`, `retry`, `dead_letter`; for attempts `succeeded`, `retryable`, `permanent`, `interrupted`.
    pub outcome: &'static str,
}

/// Which queue.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct QueueLabel {
    /// The rule; empty for an alert.
    pub rule: String,
    /// The target's or channel's name.
    pub target: String,
}

impl QueueLabel {
    /// The label of a queue.
    #[must_use]
    pub fn of(queue: &QueueKey) -> QueueLabel {
        let rule = queue.rule.as_ref().map(ToString::to_string).unwrap_or_default();
        QueueLabel { rule, target: queue.target.to_string() }
    }
}

impl TargetLabel {
    /// The label of something that ended so in a queue.
    #[must_use]
    pub fn of(queue: &QueueKey, outcome: &'static str) -> TargetLabel {
        let QueueLabel { rule, target } = QueueLabel::of(queue);
        TargetLabel { rule, target, outcome }
    }
}

/// Which source, and what a sender that would wait was told.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ReplyLabel {
    /// `[source.NAME]`.
    pub source: String,
    /// `answered`, the word of a [`NoReply`](crate::reply::NoReply), or `gone` where nobody waits any more to be told.
    pub outcome: &'static str,
}

/// Whether a reload was taken.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ResultLabel {
    /// `accepted`, `unchanged` or `refused`.
    pub result: &'static str,
}

/// All metrics of one broker. Not global: two brokers in one process do not mix.
pub struct Metrics {
    registry: Registry,
    /// Events that are on disk.
    pub events_accepted: Family<SourceLabel, Counter>,
    /// Events answered as duplicates.
    pub events_duplicate: Family<SourceLabel, Counter>,
    /// What sources could not decode.
    pub events_undecodable: Family<SourceLabel, Counter>,
    /// Events that a source's filter left out.
    pub events_filtered: Family<SourceLabel, Counter>,
    /// Accepted events that no rule matched.
    pub events_unmatched: Counter,
    /// Requests refused by intake.
    pub events_refused: Family<CodeLabel, Counter>,
    /// Events that were acknowledged and are gone. Stays 0.
    pub events_lost: Counter,
    /// See its help.
    pub when_errors: Counter,
    /// Requests of sources with `reply = "sync"`, by what their senders were told.
    pub replies: Family<ReplyLabel, Counter>,
    /// Requests that wait for a target's answer.
    pub replies_waiting: Gauge,
    /// Attempts by target and outcome.
    pub attempts: Family<TargetLabel, Counter>,
    /// How long attempts take.
    pub attempt_duration: Histogram,
    /// Settlements by target and verdict.
    pub deliveries_settled: Family<TargetLabel, Counter>,
    /// Deaths that made no announcement because they were of an announcement.
    pub alerts_dead: Counter,
    /// Unsettled deliveries by queue.
    pub backlog: Family<QueueLabel, Gauge>,
    /// Unsettled deliveries.
    pub deliveries_unsettled: Gauge,
    /// Attempts that run now.
    pub deliveries_in_flight: Gauge,
    /// Dead letters.
    pub dead_letters: Gauge,
    /// How long a commit waits for its sync.
    pub commit_duration: Histogram,
    /// Journal bytes on disk.
    pub store_journal_bytes: Gauge,
    /// Syncs since start.
    pub store_syncs: Counter<u64, AtomicU64>,
    /// 1 while the store takes events.
    pub store_accepting: Gauge<i64, AtomicI64>,
    /// Reloads by result.
    pub reloads: Family<ResultLabel, Counter>,
    /// 1 while the files on disk differ from the project in force because they were refused.
    pub project_stale: Gauge,
    /// Rules in force.
    pub rules: Gauge,
    /// 1 for each source that a person holds; absent for the others.
    pub source_paused: Family<SourceLabel, Gauge>,
    /// 1 for each target that a person holds; absent for the others.
    pub target_paused: Family<QueueLabel, Gauge>,
    /// How many events wait on the other side, of each source that can tell.
    source_lag: Family<SourceLabel, Gauge>,
    /// Errors of sources by source.
    pub source_errors: Family<SourceLabel, Counter>,
}

impl Default for Metrics {
    fn default() -> Metrics {
        Metrics::new()
    }
}

impl Metrics {
    /// All at zero.
    #[must_use]
    pub fn new() -> Metrics {
        let mut registry = Registry::with_prefix("eventyard");
        macro_rules! register {
            ($name:literal, $help:literal, $metric:expr) => {{
                let metric = $metric;
                registry.register($name, $help, metric.clone());
                metric
            }};
            ($name:literal, $help:literal, $unit:expr, $metric:expr) => {{
                let metric = $metric;
                registry.register_with_unit($name, $help, $unit, metric.clone());
                metric
            }};
        }
        let attempt_duration = Histogram::new(ATTEMPT_SECONDS);
        let commit_duration = Histogram::new(COMMIT_SECONDS);
        Metrics {
            events_accepted: register!("events_accepted", "Events that are on disk", Family::default()),
            events_duplicate: register!("events_duplicate", "Events answered as duplicates", Family::default()),
            events_undecodable: register!(
                "events_undecodable",
                "What sources could not decode; each is a dead letter",
                Family::default()
            ),
            events_filtered: register!("events_filtered", "Events that a source's filter left out", Family::default()),
            events_unmatched: register!("events_unmatched", "Events that no rule matched", Counter::default()),
            events_refused: register!("events_refused", "Requests refused by intake", Family::default()),
            when_errors: register!(
                "when_errors",
                "Rules that did not match an event because their `when` could not be evaluated",
                Counter::default()
            ),
            events_lost: register!("events_lost", "Acknowledged events that are gone", Counter::default()),
            replies: register!("replies", "Requests that ask for an answer, by what came of it", Family::default()),
            replies_waiting: register!("replies_waiting", "Requests that wait for a target's answer", Gauge::default()),
            attempts: register!("attempts", "Attempts by target and outcome", Family::default()),
            attempt_duration: register!("attempt_duration", "How long attempts take", Unit::Seconds, attempt_duration),
            deliveries_settled: register!("deliveries_settled", "Settlements by target and verdict", Family::default()),
            alerts_dead: register!("alerts_dead", "Announcements and alerts that were given up", Counter::default()),
            backlog: register!("backlog", "Unsettled deliveries by target", Family::default()),
            deliveries_unsettled: register!("deliveries_unsettled", "Unsettled deliveries", Gauge::default()),
            deliveries_in_flight: register!("deliveries_in_flight", "Deliveries being attempted", Gauge::default()),
            dead_letters: register!("dead_letters", "Dead letters", Gauge::default()),
            commit_duration: register!("commit_duration", "How long a commit takes", Unit::Seconds, commit_duration),
            store_journal_bytes: register!("store_journal", "Journal on disk", Unit::Bytes, Gauge::default()),
            store_syncs: register!("store_syncs", "Syncs of the journal", Counter::default()),
            store_accepting: register!("store_accepting", "1 while the store takes events", Gauge::default()),
            reloads: register!("reloads", "Reloads by result", Family::default()),
            project_stale: register!("project_stale", "1 while changed files are refused", Gauge::default()),
            rules: register!("rules", "Rules in force", Gauge::default()),
            source_paused: register!("source_paused", "1 for each source that is paused", Family::default()),
            target_paused: register!("target_paused", "1 for each target that is paused", Family::default()),
            source_lag: register!("source_lag", "Events that wait on the other side", Family::default()),
            source_errors: register!("source_errors", "Errors of sources", Family::default()),
            registry,
        }
    }

    /// What the sources that run say of how many events wait for them; those of others are forgotten.
    pub fn note_lags(&self, lags: impl IntoIterator<Item = (String, u64)>) {
        self.source_lag.clear();
        for (source, lag) in lags {
            let label = SourceLabel { source };
            self.source_lag.get_or_create(&label).set(i64::try_from(lag).unwrap_or(i64::MAX));
        }
    }

    /// Prometheus text (OpenMetrics 1.0), with what the store counts brought up to date first.
    #[must_use]
    pub fn render(&self, store: &dyn eventyard_store::Store) -> String {
        let stats = store.stats();
        let gauge = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        self.deliveries_unsettled.set(gauge(stats.unsettled));
        self.deliveries_in_flight.set(gauge(stats.in_flight));
        self.dead_letters.set(gauge(stats.dead));
        self.store_journal_bytes.set(gauge(stats.journal_bytes));
        self.store_syncs.inc_by(stats.syncs.saturating_sub(self.store_syncs.get()));
        self.store_accepting.set(i64::from(store.health() == eventyard_store::Health::Good));
        self.backlog.clear();
        for (queue, count) in store.backlog() {
            self.backlog.get_or_create(&QueueLabel::of(&queue)).set(gauge(count));
        }
        let mut out = String::new();
        // Writing to a String cannot fail.
        let _ = text::encode(&mut out, &self.registry);
        out
    }
}
