//! One process, in order.
//!
//! Start: configuration, store opened and recovered, rules compiled, dispatch, sources, server, ready.
//! Stop: sources, intake, attempts in flight up to the grace time, store.
//! Nothing is taken before the store has been recovered, and nothing is taken that could not be kept.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use eventyard_event::Timestamp;
use eventyard_functions::WasmHost;
use eventyard_rules::Report;
use eventyard_store::{Health, LocalStore, OpenError, OpenReport, OpenWatcher, Options, StoreError};
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::broker::Broker;
use crate::callees::{self, BuildError, Built};
use crate::clock::Clocks;
use crate::config::{self, EnvReader, Project, Surroundings};
use crate::dispatch::dispatch;
use crate::home::ProjectHome;
use crate::pauses::PauseError;
use crate::reload::{self, Fingerprint, ReloadRefused, keep_last_good};
use crate::server::{self, ServerError, ServerSettings};

/// How long attempts that were cut off have to write that they were.
const CUT_OFF: Duration = Duration::from_secs(2);

/// How often the store's health is looked at.
const HEALTH_EVERY: Duration = Duration::from_millis(100);

/// How often the log says how far opening the store has come.
const LOG_OPENING_EVERY_MS: i64 = 3000;

/// Where compiled functions are kept, in the data folder.
const COMPILED_FOLDER: &str = "compiled";

/// What to run.
pub struct RunOptions {
    /// The project's folder.
    pub folder: PathBuf,
    /// Instead of `[store] dir`.
    pub data: Option<PathBuf>,
    /// Instead of `[server] listen`.
    pub listen: Option<SocketAddr>,
    /// Whether changes of files are taken while running.
    pub watch: bool,
    /// Reads the environment, for `{ env = … }`.
    pub env: EnvReader,
    /// Our own binary, which commands are started through.
    pub shim: PathBuf,
    /// Is told how far opening the store has come; where it is `None`, the log says it every few seconds.
    pub opening: Option<OpenWatcher>,
}

/// Why it could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The machine's clock stands before 1970. HTTP has no such dates: hyper ends in a panic at the first connection, even
    /// where it is told to send none, and so does sled when it opens the index. So it is said at once.
    #[error("the machine's clock says {now}, which is before 1970; set it and start again")]
    Clock {
        /// What it says.
        now: Timestamp,
    },
    /// The files have mistakes, and there is no last good project.
    #[error("the project does not load")]
    Project(Box<Report>),
    /// Something that the files name cannot be built.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// What is paused cannot be read back.
    #[error("failed to read what is paused")]
    Pauses(#[source] PauseError),
    /// The store does not open.
    #[error("failed to open the store")]
    Store(#[source] OpenError),
    /// The address is taken, or not ours.
    #[error("failed to listen on {address}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// Certificate or key cannot be used.
    #[error("failed to set up the server")]
    Server(#[source] ServerError),
}

/// A broker that runs.
pub struct Running {
    /// The broker.
    pub broker: Arc<Broker>,
    /// Where it listens.
    pub address: SocketAddr,
    /// What was found when the store was opened.
    pub opened: OpenReport,
    /// What is legal in the project but probably wrong.
    pub warnings: Report,
    /// Why the folder's files were refused, where the last good project runs instead.
    pub refused: Option<Report>,
    grace: Duration,
    stop_server: CancellationToken,
    stop_dispatch: CancellationToken,
    attempts: TaskTracker,
    server: JoinHandle<()>,
    dispatch: JoinHandle<()>,
    watching: Option<JoinHandle<()>>,
}

/// Starts everything, in order; returns when events are taken. Deliveries run on the threads of `deliveries`, and all
/// else on those of the caller: whoever sends as fast as it goes keeps the latter busy, and what he sent is to be
/// delivered meanwhile. On the same threads each step of a delivery would wait for its turn among all that is taken in.
///
/// # Errors
/// [`StartError`]; nothing is left running.
pub async fn start(options: RunOptions, deliveries: &Handle) -> Result<Running, StartError> {
    let clocks = Clocks::machine();
    if clocks.now() < Timestamp::EPOCH {
        return Err(StartError::Clock { now: clocks.now() });
    }
    eventyard_connectors::http::install_crypto();

    // Before the files are read, so that no change of them is missed however long the store takes to recover.
    let begun = Fingerprint::of(&options.folder);
    let around = Surroundings { env: options.env.as_ref(), now: clocks.now() };
    // Compiled functions lie in the data folder, and the files that may name another one are still to be read.
    let compiled = options
        .data
        .clone()
        .unwrap_or_else(|| config::last_good::data_folder(&options.folder, options.env.as_ref()))
        .join(COMPILED_FOLDER);
    let wasm = Arc::new(WasmHost::new(Some(compiled)));
    let Loaded { project, warnings, refused, named_files } = load(&options, &around, &wasm)?;
    let data = options.data.clone().unwrap_or_else(|| project.store.dir.clone());
    let listen = options.listen.unwrap_or(project.server.listen);
    let grace = project.server.grace;
    let settings = ServerSettings::of(&project.server).map_err(StartError::Server)?;

    let (store, opened) = open_store(&data, &project, &clocks, options.opening.clone()).await?;
    log_opened(&opened);
    let Built { in_force, sources } = callees::build(project, &options.shim, clocks.now())?;
    let listener = TcpListener::bind(listen).await.map_err(|source| StartError::Listen { address: listen, source })?;
    let address = listener.local_addr().map_err(|source| StartError::Listen { address: listen, source })?;

    let broker = Arc::new(Broker::new(Arc::new(store), clocks, in_force, fastrand::u64(..)));
    broker.load_pauses().await.map_err(StartError::Pauses)?;
    let home = ProjectHome::new(options.folder, data.clone(), options.env, options.shim, wasm);
    home.set_named_files(named_files);
    broker.set_home(home);
    match &refused {
        None => keep_last_good(&data, &broker.in_force().project),
        Some(report) => broker.refuse(&ReloadRefused::Mistakes(report.clone())).await,
    }

    let (stop_dispatch, stop_server) = (CancellationToken::new(), CancellationToken::new());
    let attempts = TaskTracker::new();
    let dispatch = deliveries.spawn(dispatch(Arc::clone(&broker), attempts.clone(), stop_dispatch.clone()));
    broker.set_accepting(true);
    broker.run_sources(sources);
    let server = tokio::spawn(server::serve(listener, Arc::clone(&broker), settings, stop_server.clone()));
    let watching = options.watch.then(|| tokio::spawn(reload::watch(Arc::clone(&broker), begun, stop_server.clone())));

    tracing::info!(%address, rules = broker.in_force().rules.rules().len(), "ready");
    Ok(Running {
        broker,
        address,
        opened,
        warnings,
        refused,
        grace,
        stop_server,
        stop_dispatch,
        attempts,
        server,
        dispatch,
        watching,
    })
}

impl Running {
    /// Stops everything, in order. Attempts in flight get the grace time; those cut off are interrupted, not
    /// counted, and tried again after the next start.
    ///
    /// # Errors
    /// What the store says of its last sync; what was acknowledged before is safe all the same.
    pub async fn stop(self) -> Result<(), StoreError> {
        let deadline = tokio::time::Instant::now() + self.grace;
        self.broker.sources().stop().await;
        self.stop_server.cancel();
        self.stop_dispatch.cancel();
        // Requests in flight are still answered: intake is closed only after the server.
        ended("server", self.server).await;
        self.broker.set_accepting(false);
        if let Some(watching) = self.watching {
            ended("watching of files", watching).await;
        }
        ended("dispatch", self.dispatch).await;
        self.attempts.close();
        if tokio::time::timeout_at(deadline, self.attempts.wait()).await.is_err() {
            tracing::warn!(
                attempts = self.broker.store().stats().in_flight,
                "the grace time is over; attempts in flight are interrupted"
            );
            self.broker.cut_off();
            if tokio::time::timeout(CUT_OFF, self.attempts.wait()).await.is_err() {
                tracing::error!(
                    attempts = self.broker.store().stats().in_flight,
                    "attempts did not end; the next start finds them interrupted"
                );
            }
        }
        self.broker.store().close().await
    }

    /// Returns when the store cannot be written to any more, with the reason. The process should then end: it
    /// can take nothing and attempt nothing.
    pub async fn failed(&self) -> String {
        loop {
            if let Health::Poisoned(reason) = self.broker.store().health() {
                return reason;
            }
            tokio::time::sleep(HEALTH_EVERY).await;
        }
    }
}

async fn ended(what: &str, task: JoinHandle<()>) {
    if let Err(error) = task.await {
        tracing::error!(%error, "the {what} ended in a panic");
    }
}

/// A project to start with.
struct Loaded {
    project: Project,
    warnings: Report,
    /// Why the folder's files were refused, where this is the last good project instead.
    refused: Option<Report>,
    /// The files beyond its own that the folder's project names, loaded or not.
    named_files: Vec<PathBuf>,
}

fn load(options: &RunOptions, around: &Surroundings<'_>, wasm: &WasmHost) -> Result<Loaded, StartError> {
    let (loaded, named_files) = config::load_watched(&options.folder, around, wasm);
    let report = match loaded {
        Ok((project, warnings)) => return Ok(Loaded { project, warnings, refused: None, named_files }),
        Err(report) => report,
    };
    match config::last_good::load_with(&options.folder, options.data.as_deref(), around.env, wasm) {
        Some((project, warnings)) => Ok(Loaded { project, warnings, refused: Some(report), named_files }),
        None => Err(StartError::Project(Box::new(report))),
    }
}

async fn open_store(
    data: &Path,
    project: &Project,
    clocks: &Clocks,
    watcher: Option<OpenWatcher>,
) -> Result<(LocalStore, OpenReport), StartError> {
    let options = Options {
        watcher: Some(watcher.unwrap_or_else(|| log_opening(clocks))),
        retention: project.store.retention,
        retention_bytes: project.store.retention_bytes,
        backoff_max: project.backoff_max().max(Options::default().backoff_max),
        ..Options::default()
    };
    let (data, clock) = (data.to_owned(), Arc::clone(&clocks.steady));
    let opening = tokio::task::spawn_blocking(move || LocalStore::open(&data, options, clock));
    match opening.await {
        Ok(opened) => opened.map_err(StartError::Store),
        Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
    }
}

/// Says in the log how far opening the store has come, where it takes long.
fn log_opening(clocks: &Clocks) -> OpenWatcher {
    let (clock, said) = (Arc::clone(&clocks.steady), AtomicI64::new(clocks.steady_now().as_millis()));
    OpenWatcher::new(move |progress| {
        let now = clock().as_millis();
        if now - said.load(Ordering::Relaxed) < LOG_OPENING_EVERY_MS {
            return;
        }
        said.store(now, Ordering::Relaxed);
        let percent = progress.read_bytes * 100 / progress.total_bytes.max(1);
        if progress.rebuilding {
            tracing::info!(percent, bytes = progress.total_bytes, "the index is being rebuilt from the journal");
        } else {
            tracing::info!(percent, bytes = progress.total_bytes, "the store is being recovered");
        }
    })
}

fn log_opened(opened: &OpenReport) {
    for damage in &opened.damages {
        tracing::error!(%damage, "something in the data folder cannot be read; see `eventyard store verify`");
    }
    if let Some(why) = &opened.rebuilt {
        tracing::warn!(%why, "the index was rebuilt from the journal");
    }
    if let Some(torn) = &opened.torn {
        tracing::info!(%torn, "the end of the journal was cut where a write had not been finished");
    }
    tracing::info!(
        frames = opened.frames_read,
        open = opened.open_events,
        interrupted = opened.interrupted,
        "the store is recovered"
    );
}
