//! Another project in force, without a restart: compiled off to the side, its tests run, swapped whole.
//!
//! Three things ask for it: a change of the files (once they have been unchanged for [`QUIET`]), SIGHUP, and the
//! API. A project that does not load changes nothing: the one in force stays, and the log, `/readyz`, a metric
//! and an alert say so. The last good one is kept in the data folder, for a restart while the files are broken.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use eventyard_rules::Report;
use notify::Watcher;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::broker::{Broker, Note};
use crate::callees::{self, BuildError, Built};
use crate::config::{self, AlertKind, Project, Surroundings, is_rules_file};
use crate::fate::Fate;
use crate::home::ProjectHome;
use crate::telemetry::metrics::ResultLabel;

/// Files must be unchanged for this long before they are read: an editor that writes in two steps is waited for.
pub const QUIET: Duration = Duration::from_millis(500);

/// The files are looked at this often even where no change was reported: some file systems report none.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// The code of the warning in `/readyz` while changed files are refused.
const REFUSED: &str = "rules_refused";

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
    /// Reads the project's files again and puts them in force, all or nothing. Where somebody else's reading was waited
    /// for and the files are what they were before it, what came of that is the answer.
    ///
    /// # Errors
    /// [`ReloadRefused`]; nothing has changed.
    pub async fn reload(self: &Arc<Self>) -> Result<ReloadReport, ReloadRefused> {
        let home = Arc::clone(self.home().ok_or(ReloadRefused::NoFolder)?);
        let read_before = home.last_read().map(|last| last.number);
        let _turn = home.turn.lock().await;
        let seen = self.look(&home);
        if let Some(last) = home.last_read()
            && Some(last.number) != read_before
            && last.seen == seen
            && let Some(report) = last.report
        {
            return Ok(report);
        }
        let read = self.read_and_adopt(&home).await;
        home.set_last_read(seen, read.as_ref().ok().cloned());
        read
    }

    /// What can be seen now of the files that the project has and names.
    fn look(&self, home: &ProjectHome) -> Fingerprint {
        Fingerprint::of(&home.folder).with(&[home.named_files(), self.in_force().project.named_files.clone()].concat())
    }

    async fn read_and_adopt(self: &Arc<Self>, home: &Arc<ProjectHome>) -> Result<ReloadReport, ReloadRefused> {
        let (loading, now, before) = (Arc::clone(home), self.clocks().now(), self.in_force());
        // Reading files and compiling rules would hold up everything else on this thread; so would giving back what a
        // project of many rules takes.
        let loaded = tokio::task::spawn_blocking(move || {
            let around = Surroundings { env: loading.env.as_ref(), now };
            let (loaded, named_files) = config::load_watched(&loading.folder, &around, &loading.wasm);
            loading.set_named_files(named_files);
            let (project, warnings) = loaded.map_err(ReloadRefused::Mistakes)?;
            let restart_needed = before.project.restart_needed(&project);
            // What is in force was made of the same: nothing is made of it once more.
            let changed = before.project.hash != project.hash;
            let built = if changed { Some(callees::build(project, &loading.shim, now)?) } else { None };
            let hash = built.as_ref().map_or_else(|| before.hash(), |built| built.in_force.hash());
            Ok::<_, ReloadRefused>((built, ReloadReport { changed, hash, restart_needed, warnings }))
        })
        .await;
        let result = |result| self.metrics().reloads.get_or_create(&ResultLabel { result }).inc();
        match loaded {
            Ok(Ok((built, report))) => {
                self.clear_refusal();
                result(if report.changed { "accepted" } else { "unchanged" });
                if let Some(built) = built {
                    self.adopt(home, built).await;
                }
                self.warn_of_restart(&report.restart_needed);
                Ok(report)
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

    async fn adopt(self: &Arc<Self>, home: &Arc<ProjectHome>, built: Built) {
        tracing::info!(rules = built.in_force.rules.rules().len(), "another project is in force");
        let (before, project) = (self.in_force(), Arc::clone(&built.in_force.project));
        self.put_in_force(built.in_force);
        self.run_sources(built.sources);
        let home = Arc::clone(home);
        let kept = tokio::task::spawn_blocking(move || {
            // Dropped here, where that may take its time; mostly nobody else has it any more.
            drop(before);
            keep_last_good(&home.data, &project);
        });
        // A panic in it has been said, and is no reason not to run the project.
        let _ = kept.await;
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
            ReloadRefused::Mistakes(report) => (report.render(false), report.headline()),
            other => (other.to_string(), other.to_string()),
        };
        self.metrics().project_stale.set(1);
        let message = format!(
            "the project's files are refused, and the last good project stays in force: {first}; `eventyard check` shows \
             all"
        );
        tracing::error!("{message}");
        let is_news = self.warn(Note { code: REFUSED, message: message.clone() });
        self.tell(Fate::Refused { report: text.clone() });
        if !is_news {
            // Asked for once more with nothing mended: people have been told.
            return;
        }
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

/// Watches the project's files and reloads after each change. `begun` is what was seen of them before they were read
/// for the project in force. Runs until `stop`.
pub async fn watch(broker: Arc<Broker>, begun: Fingerprint, stop: CancellationToken) {
    let Some(home) = broker.home().map(Arc::clone) else { return };
    let changed = Arc::new(Notify::new());
    // The watcher only wakes us; what has changed is decided by looking. It ends when it is dropped.
    let mut watcher = watcher(&home.folder, Arc::clone(&changed));
    if let Err(error) = &watcher {
        tracing::warn!(%error, "changes of files are not reported here; they are looked at every {LOOK_AGAIN:?}");
    }
    let look = || broker.look(&home);
    let mut tried = begun.with(&broker.in_force().project.named_files).without(&home.named_files());
    loop {
        let mut seen = look();
        if seen == tried {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = changed.notified() => {}
                () = tokio::time::sleep(LOOK_AGAIN) => {}
            }
            continue;
        }
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = tokio::time::sleep(QUIET) => {}
            }
            let again = look();
            if again == seen {
                break;
            }
            seen = again;
        }
        if let Ok(watcher) = &mut watcher {
            // The folder may be another one now, which nobody watches yet.
            let _ = watch_rules(watcher, &home.folder);
        }
        // Somebody may have had these very files read before they had been quiet for long.
        if home.last_read().is_none_or(|last| last.seen != seen) {
            // A refusal has been told everywhere already.
            let _ = broker.reload().await;
        }
        tried = seen.without(&home.named_files());
    }
}

fn watcher(folder: &Path, changed: Arc<Notify>) -> notify::Result<notify::RecommendedWatcher> {
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        // Looking at the files is reported too; to look because of that would never end.
        if !event.is_ok_and(|event| event.kind.is_access()) {
            changed.notify_one();
        }
    })?;
    watcher.watch(folder, notify::RecursiveMode::NonRecursive)?;
    watch_rules(&mut watcher, folder)?;
    Ok(watcher)
}

fn watch_rules(watcher: &mut notify::RecommendedWatcher, folder: &Path) -> notify::Result<()> {
    let rules = folder.join("rules");
    if rules.is_dir() { watcher.watch(&rules, notify::RecursiveMode::NonRecursive) } else { Ok(()) }
}

/// What can be seen of a project's files without reading them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fingerprint(BTreeMap<PathBuf, Option<Seen>>);

/// What can be seen of one file. A file that is replaced has another number, and one that may no longer be read
/// another time of change, though neither its length nor its time of modification need differ.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    file_number: u64,
    length: u64,
    modified_ns: (i64, i64),
    changed_ns: (i64, i64),
}

impl Seen {
    fn of(path: &Path) -> Option<Seen> {
        std::fs::metadata(path).ok().map(|meta| Seen {
            file_number: meta.ino(),
            length: meta.len(),
            modified_ns: (meta.mtime(), meta.mtime_nsec()),
            changed_ns: (meta.ctime(), meta.ctime_nsec()),
        })
    }
}

impl Fingerprint {
    /// What is seen of a folder's project now: its main file and its rules files.
    #[must_use]
    pub fn of(folder: &Path) -> Fingerprint {
        let rules = folder.join("rules");
        // Not the times of a folder, which change with every file that an editor leaves in it for a moment; but
        // whether it is one.
        let kind = std::fs::metadata(&rules).ok().filter(|meta| !meta.is_dir()).and_then(|_| Seen::of(&rules));
        let mut paths = vec![folder.join("eventyard.toml")];
        if let Ok(entries) = std::fs::read_dir(&rules) {
            paths.extend(entries.filter_map(Result::ok).map(|entry| entry.path()).filter(|path| is_rules_file(path)));
        }
        let seen = paths.into_iter().map(|path| {
            let seen = Seen::of(&path);
            (path, seen)
        });
        Fingerprint(seen.chain([(rules, kind)]).collect())
    }

    /// The same with the files that the project in force names: those of secrets, and of its tests' events.
    #[must_use]
    pub fn with(mut self, named: &[PathBuf]) -> Fingerprint {
        self.0.extend(named.iter().map(|path| (path.clone(), Seen::of(path))));
        self
    }

    /// The same, those of these files that it does not know taken for missing. A project has just been read that
    /// names them; whether they were there then nobody has looked. One that is there is read once more, and one that
    /// appears is not missed.
    fn without(mut self, named: &[PathBuf]) -> Fingerprint {
        for path in named {
            self.0.entry(path.clone()).or_insert(None);
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_sees_content_coming_going_and_changing() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("eventyard.toml"), "").unwrap();
        let empty = Fingerprint::of(folder.path());
        assert_eq!(empty, Fingerprint::of(folder.path()));

        std::fs::create_dir(folder.path().join("rules")).unwrap();
        let rule = folder.path().join("rules/a.toml");
        std::fs::write(&rule, "x").unwrap();
        let one = Fingerprint::of(folder.path());
        assert_ne!(empty, one);

        std::fs::write(&rule, "xy").unwrap();
        assert_ne!(one, Fingerprint::of(folder.path()));
        std::fs::remove_file(&rule).unwrap();
        assert_eq!(empty, Fingerprint::of(folder.path()));
    }

    #[test]
    fn a_fingerprint_sees_what_leaves_length_and_time_as_they_were() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let main = folder.path().join("eventyard.toml");
        std::fs::write(&main, "one").unwrap();
        let before = Fingerprint::of(folder.path());
        std::fs::set_permissions(&main, std::fs::Permissions::from_mode(0o000)).unwrap();
        let unreadable = Fingerprint::of(folder.path());
        assert_ne!(before, unreadable, "it may not be read any more");

        let modified = std::fs::metadata(&main).unwrap().modified().unwrap();
        let other = folder.path().join("other");
        std::fs::write(&other, "two").unwrap();
        std::fs::File::options().write(true).open(&other).unwrap().set_modified(modified).unwrap();
        std::fs::rename(&other, &main).unwrap();
        assert_ne!(unreadable, Fingerprint::of(folder.path()), "another file with the same length and time");
    }

    #[test]
    fn a_fingerprint_sees_the_files_that_a_project_names_and_not_what_editors_leave() {
        let folder = tempfile::tempdir().unwrap();
        let secret = folder.path().join("secret.txt");
        std::fs::create_dir(folder.path().join("rules")).unwrap();
        let look = || Fingerprint::of(folder.path()).with(std::slice::from_ref(&secret));
        let before = look();
        std::fs::write(&secret, "hunter2").unwrap();
        let with_secret = look();
        assert_ne!(before, with_secret);
        for left in [".a.toml.swp", ".#a.toml", "a.toml~", "4913", "notes.txt"] {
            std::fs::write(folder.path().join("rules").join(left), "x").unwrap();
        }
        assert_eq!(with_secret, look());
        std::fs::remove_dir_all(folder.path().join("rules")).unwrap();
        std::fs::write(folder.path().join("rules"), "x").unwrap();
        assert_ne!(with_secret, look(), "a file in place of the folder");
    }
}
