//! `eventyard run` and `eventyard dev`: the broker itself, its signals, and its end.

use std::io::{self, IsTerminal as _, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use eventyard::fate::Fate;
use eventyard::run::{RunOptions, Running, StartError, start};
use eventyard::telemetry::logs::{self, LogFormat};
use eventyard_store::OpenWatcher;
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

use super::Context;
use super::exit::{Failure, Outcome};
use super::narrate::Narrator;
use super::screen::{complain, errors_coloured};

/// How long the process goes on after the journal could not be written: long enough for `/readyz` and the log to
/// be read by whatever watches it, then it ends so that it is started anew.
const POISONED_GRACE: Duration = Duration::from_secs(5);

/// How long threads that still block may hold up the end of the process.
const THREADS_GRACE: Duration = Duration::from_secs(2);

/// What `run` and `dev` have in common.
#[derive(clap::Args, Debug)]
pub(crate) struct ServeArgs {
    /// The project's folder
    #[arg(value_name = "DIR", default_value = ".")]
    dir: PathBuf,
    /// Where to listen, instead of `[server] listen`
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// What to log: a level (warn, info, debug), or MODULE=LEVEL with commas [default: info, warn for dev]
    #[arg(long, env = "EVENTYARD_LOG", value_name = "FILTER")]
    log: Option<String>,
    /// How log lines look; by itself text on a terminal, JSON otherwise
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<Format>,
}

#[derive(clap::ValueEnum, Clone, Copy, Debug)]
enum Format {
    Text,
    Json,
}

impl ServeArgs {
    fn begin_logs(&self, default: &str) -> Outcome {
        let format = match self.log_format {
            None => LogFormat::Automatic,
            Some(Format::Text) => LogFormat::Text,
            Some(Format::Json) => LogFormat::Json,
        };
        let filter = self.log.as_deref().unwrap_or(default);
        logs::begin(format, filter).map_err(|error| Failure::Usage(error.into()))
    }

    fn options(&self, data: Option<PathBuf>) -> Outcome<RunOptions> {
        // Not `current_exe()`: this stays the running program when its file is replaced by a newer one.
        let shim = PathBuf::from("/proc/self/exe");
        if !shim.exists() {
            return Err(Failure::failed("the program cannot find itself in /proc, and functions need it".to_owned()));
        }
        Ok(RunOptions {
            folder: self.dir.clone(),
            data,
            listen: self.listen,
            watch: true,
            env: Arc::new(|name: &str| std::env::var(name).ok()),
            shim,
            opening: meter(),
        })
    }
}

/// A line on a terminal that says how far opening the store has come; nothing elsewhere, where the log says it.
fn meter() -> Option<OpenWatcher> {
    /// What is read in a moment needs no line.
    const LONG_BYTES: u64 = 128 * 1024 * 1024;
    if !io::stderr().is_terminal() {
        return None;
    }
    Some(OpenWatcher::new(|progress| {
        if progress.total_bytes < LONG_BYTES {
            return;
        }
        let what = if progress.rebuilding { "rebuilding the index" } else { "recovering the store" };
        let (mib, percent) = (progress.total_bytes >> 20, progress.read_bytes * 100 / progress.total_bytes);
        // Behind the last piece comes the log's next line, in its place. Where standard error is gone, nobody looks.
        let _ = write!(io::stderr().lock(), "\r\u{1b}[K{what}: {percent} % of {mib} MiB\r");
    }))
}

/// Serve a project
#[derive(clap::Args, Debug)]
#[command(after_help = "SIGTERM and SIGINT stop in order, a second SIGINT ends at once, SIGHUP reloads. Files that \
    change are\ntaken by themselves.\n\n\
    Examples:\n  eventyard run shop\n  eventyard run shop --log warn,eventyard::dispatch=debug")]
pub(crate) struct RunArgs {
    #[command(flatten)]
    serve: ServeArgs,
}

/// Run a project with a throw-away store, and tell each event's fate
#[derive(clap::Args, Debug)]
#[command(after_help = "The store is new and thrown away at the end. Files that change are taken by themselves.\n\n\
    Example:\n  eventyard dev shop")]
pub(crate) struct DevArgs {
    #[command(flatten)]
    serve: ServeArgs,
}

pub(crate) fn run(args: &RunArgs, context: &Context) -> Outcome {
    args.serve.begin_logs("info")?;
    serve(args.serve.options(None)?, &args.serve.dir, context, false)
}

pub(crate) fn dev(args: &DevArgs, context: &Context) -> Outcome {
    args.serve.begin_logs("warn")?;
    let data = ThrowAway::new(context)?;
    serve(args.serve.options(Some(data.0.clone()))?, &args.serve.dir, context, true)
}

fn serve(options: RunOptions, folder: &Path, context: &Context, telling: bool) -> Outcome {
    if let Err(error) = eventyard_functions::adopt_orphans() {
        tracing::warn!(%error, "processes that a function leaves behind will not be ended");
    }
    let (taking, delivering) = (threads("taking")?, threads("delivering")?);
    let outcome = taking.block_on(async {
        let mut signals = Signals::listen()?;
        let running = tokio::select! {
            biased;
            started = start(options, delivering.handle()) => started.map_err(|error| refused(error, folder))?,
            () = signals.stop() => return Ok(()),
        };
        greet(&running, context, telling)?;
        let fates = telling.then(|| tell_all(running.broker.fates(), context.clone()));
        let outcome = until_told(running, &mut signals).await;
        if let Some(fates) = fates {
            fates.abort();
        }
        outcome
    });
    taking.shutdown_timeout(THREADS_GRACE);
    delivering.shutdown_timeout(THREADS_GRACE);
    outcome
}

/// As many threads as there are processors, for one half of the journey.
fn threads(name: &str) -> io::Result<Runtime> {
    Builder::new_multi_thread().thread_name(name).enable_all().build()
}

/// A broker that did not start: mistakes of the project are shown as `check` shows them.
fn refused(error: StartError, folder: &Path) -> Failure {
    match error {
        StartError::Project(report) => {
            complain(report.render(errors_coloured()).trim_end());
            complain(format!("error: the project in {} does not load", folder.display()));
            Failure::Reported(2)
        }
        error => Failure::Failed(error.into()),
    }
}

fn greet(running: &Running, context: &Context, telling: bool) -> Outcome {
    let screen = context.screen;
    if let Some(report) = &running.refused {
        complain(report.render(errors_coloured()).trim_end());
        complain(
            "warning: the project does not load, so the last good one runs; it is replaced as soon as the files are mended",
        );
    } else if !running.warnings.is_empty() {
        complain(running.warnings.render(errors_coloured()).trim_end());
    }
    screen.line(format!("{} on http://{}", screen.good("ready"), running.address))?;
    if telling {
        screen.line(screen.dim("  eventyard events send --type order.created --data '{\"amount\": 1500}'"))?;
        screen.line(screen.dim("  the store is thrown away at the end; Ctrl-C stops"))?;
    }
    Ok(())
}

/// Runs until a signal or the store ends it.
async fn until_told(running: Running, signals: &mut Signals) -> Outcome {
    loop {
        tokio::select! {
            biased;
            told = signals.next() => match told {
                Told::Stop => break,
                // A refusal has been told everywhere already; a success is worth a line.
                Told::Reload => if let Ok(report) = running.broker.reload().await {
                    tracing::info!(changed = report.changed, hash = %report.hash, "the project was read again");
                },
            },
            reason = running.failed() => {
                tracing::error!(%reason, "the journal cannot be written any more; the broker ends");
                // Nothing is accepted and nothing attempted any more, so there is nothing to stop in order.
                tokio::time::sleep(POISONED_GRACE).await;
                return Err(Failure::failed(format!(
                    "the journal cannot be written any more: {reason}\n  more: eventyard errors store_poisoned"
                )));
            }
        }
    }
    tracing::info!("stopping: sources first, then what is under way, then the store");
    tokio::select! {
        biased;
        stopped = running.stop() => stopped.context("the store did not close well").map_err(Failure::Failed),
        () = signals.interrupted_again() => Err(Failure::failed("ended at once, as a second interrupt asked for")),
    }
}

/// What a signal says.
enum Told {
    Stop,
    Reload,
}

/// The signals that mean something to a broker.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
    reload: Signal,
}

impl Signals {
    fn listen() -> Outcome<Signals> {
        Ok(Signals {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            reload: signal(SignalKind::hangup())?,
        })
    }

    /// What the broker is told next.
    async fn next(&mut self) -> Told {
        tokio::select! {
            biased;
            _ = self.terminate.recv() => Told::Stop,
            _ = self.interrupt.recv() => Told::Stop,
            _ = self.reload.recv() => Told::Reload,
        }
    }

    /// Returns when the broker is told to stop; for the time in which there is nothing to reload.
    async fn stop(&mut self) {
        while !matches!(self.next().await, Told::Stop) {}
    }

    /// Returns when somebody does not want to wait for an orderly stop.
    async fn interrupted_again(&mut self) {
        self.interrupt.recv().await;
    }
}

/// Prints fates until the broker is gone.
fn tell_all(mut fates: Receiver<Fate>, context: Context) -> tokio::task::JoinHandle<()> {
    tokio::spawn(async move {
        let mut narrator = Narrator::new(context.screen);
        loop {
            match fates.recv().await {
                Ok(fate) => {
                    for line in narrator.tell(&fate, context.clocks.now()) {
                        if context.screen.line(line).is_err() {
                            return;
                        }
                    }
                }
                Err(RecvError::Lagged(count)) => {
                    let said = context.screen.dim(format!("… {count} more than could be shown"));
                    let _ = context.screen.line(said);
                }
                Err(RecvError::Closed) => return,
            }
        }
    })
}

/// A folder that goes away with its value.
struct ThrowAway(PathBuf);

impl ThrowAway {
    fn new(context: &Context) -> Outcome<ThrowAway> {
        use std::os::unix::fs::DirBuilderExt as _;
        let name = format!(
            "eventyard-dev-{}-{}-{:08x}",
            std::process::id(),
            context.clocks.now().as_millis(),
            fastrand::u32(..)
        );
        let path = std::env::temp_dir().join(name);
        // Not recursive: a folder of that name that somebody else has put there is an error.
        std::fs::DirBuilder::new()
            .mode(0o700)
            .create(&path)
            .with_context(|| format!("the throw-away store {} cannot be made", path.display()))?;
        Ok(ThrowAway(path))
    }
}

impl Drop for ThrowAway {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            complain(format!("warning: {} could not be removed: {error}", self.0.display()));
        }
    }
}
