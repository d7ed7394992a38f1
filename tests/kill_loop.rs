//! `kill -9` in a loop over the real program under load: whatever was answered 202 is accounted for at the end.
//!
//! Each round starts `eventyard run` on the same data folder while clients post and targets answer, fail, drag,
//! hang or drop the connection; at a random instant it is killed. Every second round the targets refuse
//! everything, so that work has piled up by then; some rounds end during start-up, and some while the project is
//! read again, now and then with files that no longer load. After the last kill nothing fails any more,
//! everything settles, and three books are held against each other: what the clients sent and were told
//! ([`clients`]), what the targets saw ([`target`]), and what the broker says happened ([`account`]).
//!
//!     EVENTYARD_KILL_ROUNDS=200 cargo test --locked --test main kill_loop -- --nocapture
//!
//! `EVENTYARD_KILL_SEED` repeats the choices of an earlier run, though not its scheduling.

mod account;
mod clients;
mod process;
mod project;
mod target;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use eventyard::clock::Clocks;
use eventyard_store::{LocalStore, Options, Store as _};
use tokio::sync::watch;

use self::clients::{Clients, Ledger};
use self::process::{Process, Run};
use self::target::{Mood, Target};

/// Nothing that is waited for takes longer, however slow the machine.
const DEADLINE: Duration = Duration::from_secs(60);

/// Rounds unless `EVENTYARD_KILL_ROUNDS` says otherwise.
const ROUNDS: u32 = 30;

/// What one round ends with.
#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    /// Killed once so many events have been acknowledged in it.
    Acknowledged(usize),
    /// Killed once the targets have been called so many times in it.
    Called(usize),
    /// Killed before it is ready, at this share of the time that starting took before.
    Starting(f64),
    /// Killed while the project is read again; then perhaps the files are spoiled.
    Reloading { spoiled: bool },
}

fn end_of(round: u32, random: &mut fastrand::Rng) -> End {
    match round % 10 {
        4 | 9 => End::Starting(random.f64()),
        6 => End::Reloading { spoiled: false },
        2 => End::Reloading { spoiled: true },
        _ if random.bool() => End::Acknowledged(random.usize(1..120)),
        _ => End::Called(random.usize(1..120)),
    }
}

/// A number from the environment.
fn setting(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is no number: {text}")))
}

/// A folder that stays for those who look into a failure.
struct Folder(Option<tempfile::TempDir>);

impl Folder {
    fn path(&self) -> &Path {
        self.0.as_ref().unwrap().path()
    }
}

impl Drop for Folder {
    #[expect(clippy::print_stdout, reason = "a test that has failed says where to look")]
    fn drop(&mut self) {
        if std::thread::panicking()
            && let Some(folder) = self.0.take()
        {
            println!("the project, its data and a log of each run are kept in {}", folder.keep().display());
        }
    }
}

/// Everything of one loop.
struct Loop {
    folder: PathBuf,
    target: Target,
    ledger: Arc<Ledger>,
    runs: watch::Sender<Option<Run>>,
    random: fastrand::Rng,
    /// The runs so far.
    count: u32,
    /// How long the last start took.
    start_took: Duration,
    /// Kills that came before the broker was ready.
    killed_early: u32,
}

impl Loop {
    fn launch(&mut self) -> Process {
        self.count += 1;
        Process::launch(&self.folder, self.count, self.target.address)
    }

    /// Starts and lets the clients in.
    async fn start(&mut self) -> Process {
        let began = Instant::now();
        let mut process = self.launch();
        let url = process.ready().await;
        self.start_took = began.elapsed();
        self.runs.send_replace(Some(Run { number: self.count, url }));
        process
    }

    async fn round(&mut self, round: u32, end: End) {
        let backlog = round % 2 == 1;
        self.target.set_mood(if backlog { Mood::Down } else { Mood::Fickle });
        if let End::Starting(share) = end {
            let mut process = self.launch();
            // The instant of the fault itself: nothing is waited for.
            let at = self.start_took.mul_f64(share);
            let ready = tokio::time::timeout(at, process.ready()).await.is_ok();
            process.kill().await;
            self.killed_early += u32::from(!ready);
            return;
        }
        let (acknowledged, called) = (self.ledger.acknowledged_count(), self.target.call_count());
        let mut process = self.start().await;
        match end {
            End::Called(count) if !backlog => self.target.called(called + count).await,
            End::Called(count) | End::Acknowledged(count) => self.ledger.acknowledged(acknowledged + count).await,
            End::Reloading { spoiled } => {
                self.ledger.acknowledged(acknowledged + 20).await;
                project::write_rules(&self.folder, round);
                let url = self.runs.borrow().as_ref().unwrap().url.clone();
                let reloading = tokio::spawn(clients::reload(url));
                if spoiled {
                    reloading.await.unwrap();
                    project::spoil_rules(&self.folder);
                }
            }
            End::Starting(_) => unreachable!("handled above"),
        }
        // A little later, so that the kill does not always follow an answer.
        tokio::time::sleep(Duration::from_micros(self.random.u64(0..20_000))).await;
        process.kill().await;
        self.runs.send_replace(None);
    }
}

/// After an orderly stop the journal reads from end to end, and nothing in it is open.
fn nothing_is_damaged(folder: &Path) {
    let clock = Clocks::machine().steady;
    let (store, found) = LocalStore::open(&folder.join("data"), Options::default(), clock).unwrap();
    assert!(found.damages.is_empty() && found.torn.is_none() && found.rebuilt.is_none(), "{found:?}");
    assert_eq!(found.interrupted, 0);
    assert_eq!(store.stats().unsettled, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_acknowledged_is_lost_however_often_the_broker_is_killed() {
    let rounds = setting("EVENTYARD_KILL_ROUNDS").map_or(ROUNDS, |rounds| u32::try_from(rounds).unwrap());
    let seed = setting("EVENTYARD_KILL_SEED").unwrap_or_else(|| fastrand::u64(..));
    println!("kill loop: EVENTYARD_KILL_SEED={seed} EVENTYARD_KILL_ROUNDS={rounds}");
    let began = Instant::now();
    eventyard_connectors::http::install_crypto();

    let folder = Folder(Some(tempfile::tempdir().unwrap()));
    let target = Target::start(seed).await;
    project::write(folder.path());
    let (runs, _) = watch::channel(None);
    let ledger = Arc::new(Ledger::default());
    let clients = Clients::start(seed, &ledger, &runs);
    let mut all = Loop {
        folder: folder.path().to_owned(),
        target,
        ledger: Arc::clone(&ledger),
        runs,
        random: fastrand::Rng::with_seed(seed),
        count: 0,
        start_took: Duration::from_millis(100),
        killed_early: 0,
    };

    for round in 0..rounds {
        let end = end_of(round, &mut all.random);
        all.round(round, end).await;
    }

    // No more faults: what the clients owe is sent, and everything comes to its end.
    all.target.set_mood(Mood::Good);
    project::write_rules(folder.path(), rounds);
    clients.finish();
    let mut process = all.start().await;
    clients.ended().await;
    let url = all.runs.borrow().as_ref().unwrap().url.clone();
    account::settled(&url).await;
    let books = account::Books {
        url: &url,
        last_run: all.count,
        sent: ledger.take(),
        calls: all.target.calls(),
        commands: project::commands_run(folder.path()),
    };
    let figures = books.check().await;
    assert_eq!(process.terminate().await, Some(0));
    nothing_is_damaged(folder.path());
    process::no_run_complained(folder.path(), all.count);

    println!(
        "kill loop: {rounds} rounds, {} runs, {} of them killed before they were ready, in {:.1} s; {figures}",
        all.count,
        all.killed_early,
        began.elapsed().as_secs_f64()
    );
}
