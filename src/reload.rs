//! Another project in force, without a restart: compiled off to the side, its tests run, swapped whole.
//!
//! Three things ask for it: a change of the files (once they have been unchanged for [`QUIET`]), SIGHUP, and the
//! API. A project that does not load changes nothing: the one in force stays, and the log, `/readyz`, a metric
//! and an alert say so. The last good one is kept in the data folder, for a restart while the files are broken.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use eventyard_rules::Report;
use notify::Watcher;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::broker::{Broker, Note};
use crate::callees::{self, BuildError, Built};
use crate::config::{self, AlertKind, EnvReader, Project, Surroundings};
use crate::fate::Fate;
use crate::telemetry::metrics::ResultLabel;

/// Files must be unchanged for this long before they are read: an editor that writes in two steps is waited for.
pub const QUIET: Duration = Duration::from_millis(500);

/// The files are looked at this often even where no change was reported: some file systems report none.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// The code of the warning in `/readyz` while changed files are refused.
const REFUSED: &str = "rules_refused";

/// Where a project comes from, and what it takes to make it run.
pub struct Origins {
    /// The project's folder.
    pub folder: PathBuf,
    /// Where the store and the last good project are.
    pub data: PathBuf,
    /// Reads the environment, for `{ env = … }`.
    pub env: EnvReader,
    /// Our own binary, which commands are started through.
    pub shim: PathBuf,
    /// One reload at a time.
    pub(crate) turn: tokio::sync::Mutex<()>,
}

impl Origins {
    /// Where a project comes from.
    #[must_use]
    pub fn new(folder: PathBuf, data: PathBuf, env: EnvReader, shim: PathBuf) -> Origins {
        Origins { folder, data, env, shim, turn: tokio::sync::Mutex::new(()) }
    }
}

/// A reload that was taken.
#[derive(Clone, Debug)]
pub struct ReloadReport {
    /// Whether anything is different now.
    pub changed: bool,
    /// The hash of the rules in force.
    pub hash: String,
    /// Settings that differ and take effect only after a restart.
    pub restart_needed: Vec<String>,
    /// What is legal but probably wrong.
    pub warnings: Report,
}

/// A reload that was refused; the project in force stays.
#[derive(Debug, thiserror::Error)]
pub enum ReloadRefused {
    /// The files have mistakes, or one of their tests fails.
    #[error("the project does not load; the one before stays in force")]
    Mistakes(Report),
    /// Something that the files name cannot be built.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// Loading broke off; a mistake of ours.
    #[error("loading the project broke off: {0}")]
    Failed(String),
    /// This broker was not started from a folder.
    #[error("this broker was not started from a project folder")]
    NoFolder,
}

impl Broker {
    /// Reads the project's files again and puts them in force, all or nothing.
    ///
    /// # Errors
    /// [`ReloadRefused`]; nothing has changed.
    pub async fn reload(self: &Arc<Self>) -> Result<ReloadReport, ReloadRefused> {
        let origins = Arc::clone(self.origins().ok_or(ReloadRefused::NoFolder)?);
        let _turn = origins.turn.lock().await;
        let (loading, now) = (Arc::clone(&origins), self.clocks().now());
        // Reading files and compiling rules would hold up everything else on this thread.
        let loaded = tokio::task::spawn_blocking(move || {
            let around = Surroundings { env: loading.env.as_ref(), now };
            let (project, warnings) = config::load_at(&loading.folder, &around).map_err(ReloadRefused::Mistakes)?;
            let built = callees::build(project, &loading.shim, now)?;
            Ok::<_, ReloadRefused>((built, warnings))
        })
        .await;
        let result = |result| self.metrics().reloads.get_or_create(&ResultLabel { result }).inc();
        match loaded {
            Ok(Ok((built, warnings))) => {
                self.clear_refusal();
                let before = self.in_force();
                let restart_needed = before.project.restart_needed(&built.in_force.project);
                let changed = before.project.hash != built.in_force.project.hash;
                let hash = built.in_force.hash();
                result(if changed { "accepted" } else { "unchanged" });
                if changed {
                    self.adopt(&origins, built);
                }
                self.warn_of_restart(&restart_needed);
                Ok(ReloadReport { changed, hash, restart_needed, warnings })
            }
            Ok(Err(refused)) => {
                result("refused");
                self.refuse(&refused).await;
                Err(refused)
            }
            Err(panicked) => {
                result("refused");
                let refused = ReloadRefused::Failed(panicked.to_string());
                self.refuse(&refused).await;
                Err(refused)
            }
        }
    }

    fn adopt(self: &Arc<Self>, origins: &Origins, built: Built) {
        tracing::info!(rules = built.in_force.rules.rules().len(), "another project is in force");
        keep_last_good(&origins.data, &built.in_force.project);
        self.put_in_force(built.in_force);
        self.run_sources(built.sources);
    }

    fn warn_of_restart(&self, settings: &[String]) {
        if settings.is_empty() {
            self.clear_warning("restart_needed");
        } else {
            let message = format!("a restart is needed for the changes of {}", settings.join(", "));
            self.warn(Note { code: "restart_needed", message });
        }
    }

    fn clear_refusal(&self) {
        self.metrics().project_stale.set(0);
        self.clear_warning(REFUSED);
    }

    /// Says everywhere that changed files are refused.
    pub(crate) async fn refuse(&self, refused: &ReloadRefused) {
        let (text, first) = match refused {
            ReloadRefused::Mistakes(report) => (report.render(false), first_message(report)),
            other => (other.to_string(), other.to_string()),
        };
        self.metrics().project_stale.set(1);
        let message = format!("changed files are refused, the project before stays in force: {first}; eventyard check");
        tracing::error!("{message}");
        self.warn(Note { code: REFUSED, message: message.clone() });
        self.tell(Fate::Refused { report: text.clone() });
        let data = serde_json::json!({
            "alert": AlertKind::RulesRefused.word(),
            "text": message,
            "reason": { "code": REFUSED, "message": text },
            "commands": { "show": "eventyard check" },
        });
        if let Err(error) = self.announce(AlertKind::RulesRefused, "project", &data).await {
            tracing::error!(%error, "that changed files are refused could not be announced");
        }
    }
}

/// Keeps a project for a restart while the files are broken. Failing to is no reason not to run it.
pub(crate) fn keep_last_good(data: &Path, project: &Project) {
    if let Err(error) = config::last_good::keep(data, project) {
        tracing::error!(%error, "the project could not be kept as the last good one");
    }
}

fn first_message(report: &Report) -> String {
    report.diagnostics().first().map(|first| first.message.clone()).unwrap_or_default()
}

/// Watches the project's files and reloads after each change. Runs until `stop`.
pub async fn watch(broker: Arc<Broker>, stop: CancellationToken) {
    let Some(origins) = broker.origins().map(Arc::clone) else { return };
    let changed = Arc::new(Notify::new());
    // The watcher only wakes us; what has changed is decided by looking. It ends when it is dropped.
    let watcher = watcher(&origins.folder, Arc::clone(&changed));
    if let Err(error) = &watcher {
        tracing::warn!(%error, "changes of files are not reported here; they are looked at every {LOOK_AGAIN:?}");
    }
    let mut tried = fingerprint(&origins.folder);
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = changed.notified() => {}
            () = tokio::time::sleep(LOOK_AGAIN) => {}
        }
        let mut seen = fingerprint(&origins.folder);
        if seen == tried {
            continue;
        }
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = tokio::time::sleep(QUIET) => {}
            }
            let again = fingerprint(&origins.folder);
            if again == seen {
                break;
            }
            seen = again;
        }
        tried = seen;
        // A refusal has been told everywhere already.
        let _ = broker.reload().await;
    }
}

fn watcher(folder: &Path, changed: Arc<Notify>) -> notify::Result<notify::RecommendedWatcher> {
    let mut watcher = notify::recommended_watcher(move |_event| changed.notify_one())?;
    watcher.watch(folder, notify::RecursiveMode::NonRecursive)?;
    let rules = folder.join("rules");
    if rules.is_dir() {
        watcher.watch(&rules, notify::RecursiveMode::NonRecursive)?;
    }
    Ok(watcher)
}

/// What can be seen of a project's files without reading them: which there are, how long, and when changed.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Fingerprint(Vec<(PathBuf, Option<(u64, SystemTime)>)>);

fn fingerprint(folder: &Path) -> Fingerprint {
    let mut paths = vec![folder.join("eventyard.toml")];
    if let Ok(entries) = std::fs::read_dir(folder.join("rules")) {
        paths.extend(entries.filter_map(|entry| entry.ok().map(|entry| entry.path())));
    }
    paths.sort();
    let look = |path: PathBuf| {
        let seen = std::fs::metadata(&path).ok();
        let seen = seen.map(|meta| (meta.len(), meta.modified().unwrap_or(SystemTime::UNIX_EPOCH)));
        (path, seen)
    };
    Fingerprint(paths.into_iter().map(look).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_sees_content_coming_going_and_changing() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("eventyard.toml"), "").unwrap();
        let empty = fingerprint(folder.path());
        assert_eq!(empty, fingerprint(folder.path()));

        std::fs::create_dir(folder.path().join("rules")).unwrap();
        let rule = folder.path().join("rules/a.toml");
        std::fs::write(&rule, "x").unwrap();
        let one = fingerprint(folder.path());
        assert_ne!(empty, one);

        std::fs::write(&rule, "xy").unwrap();
        assert_ne!(one, fingerprint(folder.path()));
        std::fs::remove_file(&rule).unwrap();
        assert_eq!(empty, fingerprint(folder.path()));
    }
}
