//! Whatever becomes of a project's files under a running broker, the last good project stays in force, and it is
//! said everywhere that the files are refused: in `/readyz`, in the metrics, and as an event.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::support::{Broker, Ended, eventyard, free_port, run};
use super::wire::{Answer, request};

/// Files are waited for until they have been unchanged for half a second; machines under test are slow.
const DEADLINE: Duration = Duration::from_secs(30);

const LOOK_EVERY: Duration = Duration::from_millis(20);

/// What a broker of this small project may come to have in memory, whatever its files weigh.
const MEMORY_BYTES_MAX: u64 = 256 * 1024 * 1024;

const ORDERS: &str = "\
[[rule]]
name = \"orders\"
pattern = { type = [\"order.created\"] }
target = { sink = \"nowhere\" }
";

/// A project whose rule `orders` is in a file of its own, for spoiling.
struct Project {
    folder: TempDir,
    port: u16,
    runtime: Runtime,
}

impl Project {
    fn new() -> Project {
        let project =
            Project { folder: tempfile::tempdir().unwrap(), port: free_port(), runtime: Runtime::new().unwrap() };
        fs::create_dir(project.path().join("rules")).unwrap();
        project.mend();
        project
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn rules(&self) -> PathBuf {
        self.path().join("rules/orders.toml")
    }

    fn main(&self) -> PathBuf {
        self.path().join("eventyard.toml")
    }

    /// Both files as they should be, whatever stands there.
    fn mend(&self) {
        let rules = self.path().join("rules");
        remove(&self.main());
        if !rules.is_dir() {
            remove(&rules);
            fs::create_dir(rules).unwrap();
        }
        remove(&self.rules());
        let main = format!(
            "[server]\nlisten = \"127.0.0.1:{}\"\n\n[sink.nowhere]\nkind = \"discard\"\n\n[[rule]]\nname = \"refusals\"\n\
             pattern = {{ type = [\"eventyard.rules_refused\"] }}\ntarget = {{ sink = \"nowhere\" }}\n",
            self.port
        );
        fs::write(self.main(), main).unwrap();
        fs::write(self.rules(), ORDERS).unwrap();
    }

    /// Runs a client command against the broker, which the project's files may no longer name.
    fn ask(&self, arguments: &[&str]) -> Ended {
        let url = format!("http://127.0.0.1:{}", self.port);
        run(&[arguments, &["--url", &url]].concat(), self.path())
    }

    fn get(&self, path: &str) -> Answer {
        let address = SocketAddr::from(([127, 0, 0, 1], self.port));
        self.runtime.block_on(request(address, &format!("GET {path} HTTP/1.1"), ""))
    }

    /// What `/readyz` warns of. It stays 200 throughout.
    fn warnings(&self) -> Vec<(String, String)> {
        let ready = self.get("/readyz");
        assert_eq!(ready.status, 200, "{ready:?}");
        let text = |note: &Value, key: &str| note[key].as_str().unwrap().to_owned();
        let json = ready.json();
        json["warnings"].as_array().unwrap().iter().map(|note| (text(note, "code"), text(note, "message"))).collect()
    }

    /// Waits until the files are refused; what `/readyz` says of it.
    fn refused(&self, what: &str) -> String {
        self.until(what, || self.warnings().into_iter().find(|(code, _)| code == "rules_refused")).1
    }

    /// Waits until the files are taken again.
    fn taken(&self, what: &str) {
        self.until(what, || self.warnings().is_empty().then_some(()));
        assert_eq!(self.metric("eventyard_project_stale"), 0, "{what}");
    }

    fn until<T>(&self, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
        let began = Instant::now();
        loop {
            if let Some(seen) = look() {
                return seen;
            }
            assert!(began.elapsed() < DEADLINE, "{what}: it never came to that; readyz says {:?}", self.warnings());
            // Between two looks, so that looking takes nothing from the broker.
            self.runtime.block_on(async { tokio::time::sleep(LOOK_EVERY).await });
        }
    }

    fn metric(&self, name: &str) -> u64 {
        let text = self.get("/metrics").body;
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.map_or(0, |value| value.trim().parse().unwrap())
    }

    fn refusals_counted(&self) -> u64 {
        self.metric("eventyard_reloads_total{result=\"refused\"}")
    }

    /// How many refusals were announced as events, each of them to the rule that asks for them.
    fn refusals_announced(&self) -> usize {
        let listed = self.ask(&["events", "list", "--type", "eventyard.rules_refused", "--limit", "1000", "--json"]);
        let json: Value = serde_json::from_str(&listed.stdout).unwrap_or_else(|_| panic!("{}", listed.stderr));
        json["items"].as_array().unwrap().len()
    }

    /// The rules that take an order.
    fn order(&self) -> Vec<String> {
        let sent = self.ask(&["events", "send", "--type", "order.created", "--json"]);
        let json: Value =
            serde_json::from_str(&sent.stdout).unwrap_or_else(|_| panic!("{}{}", sent.stdout, sent.stderr));
        let rules = json["accepted"][0]["rules"].as_array().unwrap();
        rules.iter().map(|rule| rule.as_str().unwrap().to_owned()).collect()
    }

    fn in_force(&self, what: &str) {
        assert_eq!(self.order(), ["orders"], "{what}: the last good rules are not in force");
    }
}

/// Removes whatever stands there.
fn remove(path: &Path) {
    let Ok(metadata) = fs::symlink_metadata(path) else { return };
    if metadata.is_dir() { fs::remove_dir_all(path).unwrap() } else { fs::remove_file(path).unwrap() }
}

/// A way to spoil a file: its name, what is done, and a part of what `check` says then.
type Spoiling = (&'static str, fn(&Path), &'static str);

const SPOILINGS: [Spoiling; 8] = [
    ("garbage", |path| fs::write(path, b"\x00\xff\xfe{{{{[[[[\n".repeat(1000)).unwrap(), "not UTF-8"),
    ("text that is no TOML", |path| fs::write(path, "rules: yes\n  - please\n").unwrap(), "not valid TOML"),
    ("half-written", |path| fs::write(path, &ORDERS[..ORDERS.len() - 10]).unwrap(), "not valid TOML"),
    ("a misspelt key", |path| fs::write(path, ORDERS.replace("target", "taget")).unwrap(), "did you mean `target`?"),
    (
        "a folder",
        |path| {
            remove(path);
            fs::create_dir(path).unwrap();
        },
        "a folder, not a file",
    ),
    (
        "1 GiB",
        |path| {
            remove(path);
            fs::File::create(path).unwrap().set_len(1 << 30).unwrap();
        },
        "over the limit",
    ),
    (
        "a link to itself",
        |path| {
            remove(path);
            symlink(path.file_name().unwrap(), path).unwrap();
        },
        "leads to itself",
    ),
    (
        "a device",
        |path| {
            remove(path);
            symlink("/dev/zero", path).unwrap();
        },
        "a device, not a file",
    ),
];

const EMPTY: Spoiling = ("0 bytes", |path| fs::write(path, "").unwrap(), "empty");

/// Spoils a file of a running broker in each way, and mends it again.
fn survives(project: &Project, file: &Path, spoilings: &[Spoiling]) {
    let mut broker = Broker::start("run", project.path());
    project.in_force("at first");
    for (count, (what, spoil, said)) in (1..).zip(spoilings) {
        spoil(file);
        let warning = project.refused(what);
        let name = file.strip_prefix(project.path()).unwrap().to_str().unwrap();
        assert!(warning.contains(name), "{what}: the file is not named: {warning}");
        project.in_force(what);
        assert_eq!(project.metric("eventyard_project_stale"), 1, "{what}");
        assert_eq!(project.refusals_counted(), count, "{what}");
        assert_eq!(project.refusals_announced(), usize::try_from(count).unwrap(), "{what}");
        let checked = run(&["check"], project.path());
        assert!(checked.code == 2 && checked.stdout.contains(said), "{what}:\n{}", checked.stdout);
        project.mend();
        project.taken(what);
    }
    project.in_force("in the end");
    let peak = broker.memory_peak().unwrap_or(0);
    assert!(peak < MEMORY_BYTES_MAX, "{peak} bytes");
    assert_eq!(broker.terminate(), Some(0));
}

/// Row R13.
#[test]
fn a_rules_file_spoiled_in_any_way_changes_nothing() {
    let project = Project::new();
    survives(&project, &project.rules(), &[&SPOILINGS[..], &[EMPTY]].concat());
}

/// Row R13, of the main file.
#[test]
fn the_main_file_spoiled_in_any_way_changes_nothing() {
    let project = Project::new();
    let deleted: Spoiling = ("deleted", remove, "there is no eventyard.toml here");
    let [garbage, .., half_written, _, a_folder, one_gib, a_link, _] = SPOILINGS;
    survives(&project, &project.main(), &[garbage, half_written, a_folder, one_gib, a_link, deleted]);
}

/// Row R13: deleted.
#[test]
fn a_deleted_rules_file_takes_its_rules_with_it() {
    let project = Project::new();
    let _broker = Broker::start("run", project.path());
    project.in_force("at first");
    remove(&project.rules());
    project.until("the file deleted", || project.order().is_empty().then_some(()));
    assert_eq!(project.warnings(), []);
    assert_eq!(project.refusals_counted(), 0);
    project.mend();
    project.until("the file there again", || (project.order() == ["orders"]).then_some(()));

    // The whole folder of rules, and a file in its place.
    remove(&project.path().join("rules"));
    project.until("the folder deleted", || project.order().is_empty().then_some(()));
    project.mend();
    project.until("the folder there again", || (project.order() == ["orders"]).then_some(()));
    remove(&project.path().join("rules"));
    fs::write(project.path().join("rules"), ORDERS).unwrap();
    project.refused("a file in place of the folder");
    project.in_force("a file in place of the folder");
}

/// Row R13: not readable.
#[test]
fn a_rules_file_that_may_not_be_read_changes_nothing() {
    let project = Project::new();
    let mut command = eventyard(&["run"], project.path());
    fs::set_permissions(project.rules(), fs::Permissions::from_mode(0o000)).unwrap();
    if fs::read(project.rules()).is_ok() {
        // Root may read every file, but for a root that has given that up.
        let Some(bound) = without_reading_everything(project.path()) else {
            println!("skipped: this user may read every file, and there is no setpriv to give that up");
            return;
        };
        command = bound;
    }
    project.mend();
    let _broker = Broker::spawn(&mut command);
    project.in_force("at first");
    fs::set_permissions(project.rules(), fs::Permissions::from_mode(0o000)).unwrap();
    let warning = project.refused("not readable");
    assert!(warning.contains("rules/orders.toml"), "{warning}");
    project.in_force("not readable");
    fs::set_permissions(project.rules(), fs::Permissions::from_mode(0o600)).unwrap();
    project.taken("readable again");
}

/// `eventyard run` by a root that is bound by the permissions of files; `None` where that cannot be had.
fn without_reading_everything(folder: &Path) -> Option<Command> {
    let mut bound = Command::new("setpriv");
    bound
        .args(["--bounding-set", "-dac_override,-dac_read_search", "--inh-caps", "-dac_override,-dac_read_search"])
        .current_dir(folder);
    let mut tried = Command::new("setpriv");
    tried.args(bound.get_args()).args(["cat", "rules/orders.toml"]).current_dir(folder);
    let tried = tried.output().ok()?;
    if tried.status.success() || !String::from_utf8_lossy(&tried.stderr).contains("rules/orders.toml") {
        return None;
    }
    bound.arg(env!("CARGO_BIN_EXE_eventyard")).arg("run");
    Some(bound)
}

#[test]
fn asking_for_a_reload_says_where_the_mistake_is() {
    let project = Project::new();
    let _broker = Broker::start("run", project.path());
    fs::write(project.rules(), ORDERS.replace("target", "taget")).unwrap();
    let asked = project.ask(&["reload"]);
    assert_eq!(asked.code, 2, "{}", asked.stdout);
    for wanted in ["error[unknown_key]", "rules/orders.toml:4:1", "did you mean `target`?", "stays in force"] {
        assert!(asked.stderr.contains(wanted), "`{wanted}` is missing:\n{}", asked.stderr);
    }
    let warning = project.refused("a misspelt key");
    for wanted in ["rules/orders.toml:4:1", "unknown key `taget`", "did you mean `target`?", "eventyard check"] {
        assert!(warning.contains(wanted), "`{wanted}` is missing: {warning}");
    }
    project.in_force("a misspelt key");
    project.mend();
    project.taken("mended");
}

/// Starts the broker with its standard error in a file.
fn start_listening_to_errors(project: &Project) -> (Broker, PathBuf) {
    let errors = project.path().join("errors.log");
    let file = fs::File::create(&errors).unwrap();
    let broker = Broker::spawn(eventyard(&["run"], project.path()).stderr(Stdio::from(file)));
    (broker, errors)
}

/// Row R13: a restart.
#[test]
fn a_restart_while_the_files_are_spoiled_goes_on_with_the_last_good_project() {
    let project = Project::new();
    assert_eq!(Broker::start("run", project.path()).terminate(), Some(0));
    let spoiled = [(project.rules(), SPOILINGS[3]), (project.rules(), EMPTY), (project.main(), SPOILINGS[0])];
    for (count, (file, (what, spoil, said))) in (1..).zip(spoiled) {
        spoil(&file);
        let (mut broker, errors) = start_listening_to_errors(&project);
        project.in_force(what);
        project.refused(what);
        assert_eq!(project.metric("eventyard_project_stale"), 1, "{what}");
        assert_eq!(project.refusals_announced(), count, "{what}");
        let errors = fs::read_to_string(errors).unwrap();
        for wanted in [said, "the last good"] {
            assert!(errors.contains(wanted), "{what}: `{wanted}` is missing:\n{errors}");
        }
        project.mend();
        project.taken(what);
        assert_eq!(broker.terminate(), Some(0));
    }
}

#[test]
fn a_secret_that_was_missing_is_enough_once_it_is_there() {
    let project = Project::new();
    let mut broker = Broker::start("run", project.path());
    let verify = "verify = { kind = \"api_key\", secret = { file = \"secrets/hook\" } }";
    let source = format!("\n[source.hook]\nkind = \"http\"\npath = \"/hook\"\n{verify}\n");
    let last_good = project.path().join("data/last-good.json");
    let without_secret = fs::read(&last_good).unwrap();
    let main = fs::read_to_string(project.main()).unwrap();
    fs::write(project.main(), main + &source).unwrap();
    let told = project.refused("a missing secret");
    assert!(told.contains("`secrets/hook` does not exist"), "{told}");
    fs::create_dir(project.path().join("secrets")).unwrap();
    let secret = project.path().join("secrets/hook");
    fs::write(&secret, "hunter2-hunter2").unwrap();
    project.taken("the secret is there");

    // The same after a restart that found it missing and goes on with the last good project.
    fs::rename(&secret, project.path().join("elsewhere")).unwrap();
    project.refused("the secret is gone");
    assert_eq!(broker.terminate(), Some(0));
    fs::write(&last_good, without_secret).unwrap();
    let mut broker = Broker::start("run", project.path());
    project.refused("the secret is still gone");
    fs::rename(project.path().join("elsewhere"), &secret).unwrap();
    project.taken("the secret is back");
    assert_eq!(broker.terminate(), Some(0));
}

/// Row R13: exit 2 where there never was a good one.
#[test]
fn without_a_last_good_project_spoiled_files_do_not_start() {
    for (what, spoil, said) in SPOILINGS {
        let project = Project::new();
        spoil(&project.rules());
        let ended = run(&["run"], project.path());
        assert!(ended.code == 2 && ended.stderr.contains(said), "{what}: {}{}", ended.code, ended.stderr);
        assert!(!project.path().join("data").exists(), "{what}");
    }
    // Nor with a copy that cannot be read.
    let project = Project::new();
    assert_eq!(Broker::start("run", project.path()).terminate(), Some(0));
    fs::write(project.path().join("data/last-good.json"), "{").unwrap();
    EMPTY.1(&project.rules());
    let ended = run(&["run"], project.path());
    assert_eq!(ended.code, 2, "{}", ended.stderr);
    assert!(ended.stderr.contains("last_good_damaged") && ended.stderr.contains("empty"), "{}", ended.stderr);
}
