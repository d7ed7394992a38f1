//! What the tests of failing disks share: a project whose data folder may be anywhere, senders that write down
//! what was acknowledged to them, disks made of files, and strace to fail a call.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::{Broker, eventyard, run};

/// Nothing that is waited for takes longer, however slow the machine.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// How often something is looked at that nobody tells.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Set where everything is there that these tests need: then none of them may be skipped. `./test` sets it.
const REQUIRED: &str = "EVENTYARD_DISK_TESTS";

/// Says why a test did not run; fails where it has to run.
#[expect(clippy::print_stdout, reason = "a test that is skipped says so")]
pub(crate) fn skip(why: impl std::fmt::Display) {
    assert!(std::env::var_os(REQUIRED).is_none(), "{REQUIRED} is set, and this cannot run: {why}");
    println!("skipped: {why}");
}

/// Looks until it sees something.
#[expect(clippy::disallowed_methods, reason = "between two looks, so that looking takes nothing from the broker")]
pub(crate) fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(began.elapsed() < DEADLINE, "it never came to that: {what}");
        std::thread::sleep(LOOK_EVERY);
    }
}

/// A project with its data folder.
pub(crate) struct Ground {
    folder: tempfile::TempDir,
    data: PathBuf,
}

impl Ground {
    pub(crate) fn new() -> Ground {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        Ground::with(folder, data)
    }

    /// With its data elsewhere.
    pub(crate) fn on(data: PathBuf) -> Ground {
        Ground::with(tempfile::tempdir().unwrap(), data)
    }

    fn with(folder: tempfile::TempDir, data: PathBuf) -> Ground {
        let project = format!(
            "[server]\nlisten = \"127.0.0.1:0\"\n\n[store]\ndir = {data:?}\n\n[sink.nowhere]\nkind = \"discard\"\n\n\
             [[rule]]\nname = \"load\"\npattern = {{ type = [\"load\"] }}\ntarget = {{ sink = \"nowhere\" }}\n"
        );
        fs::write(folder.path().join("eventyard.toml"), project).unwrap();
        Ground { folder, data }
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn data(&self) -> &Path {
        &self.data
    }

    pub(crate) fn segment(&self, number: u32) -> PathBuf {
        self.data.join(format!("journal/{number:010}.seg"))
    }

    /// Starts the broker, with its log in a file.
    pub(crate) fn start(&self) -> Broker {
        let log = fs::File::create(self.log_path()).unwrap();
        Broker::spawn(eventyard(&["run"], self.path()).stderr(Stdio::from(log)))
    }

    pub(crate) fn log_path(&self) -> PathBuf {
        self.path().join("run.log")
    }

    /// What the broker that was started last has logged.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.log_path()).unwrap()
    }

    /// `eventyard store verify` says that everything is as it was written.
    pub(crate) fn is_sound(&self) {
        let verified = run(&["store", "verify"], self.path());
        assert_eq!(verified.code, 0, "{}{}", verified.stdout, verified.stderr);
    }
}

/// An answer of the broker.
#[derive(Clone, Debug)]
pub(crate) struct Said {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Said {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The stable code of a problem.
    pub(crate) fn code(&self) -> String {
        self.json()["code"].as_str().unwrap_or_default().to_owned()
    }

    pub(crate) fn says_when_to_come_back(&self) -> bool {
        self.head.to_ascii_lowercase().contains("\r\nretry-after: ")
    }
}

/// One connection. Its errors are the caller's: a broker that dies closes it.
pub(crate) struct Client {
    stream: BufReader<TcpStream>,
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> io::Result<Client> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(DEADLINE))?;
        Ok(Client { stream: BufReader::new(stream) })
    }

    /// Sends an event of the type `load` with some data.
    pub(crate) fn post(&mut self, id: &str, bytes: usize) -> io::Result<Said> {
        let body = format!(
            "{{\"specversion\":\"1.0\",\"id\":\"{id}\",\"source\":\"/load\",\"type\":\"load\",\"data\":\"{}\"}}",
            "x".repeat(bytes)
        );
        let head = format!(
            "POST /events HTTP/1.1\r\nhost: test\r\ncontent-type: application/cloudevents+json\r\n\
             content-length: {}\r\n\r\n",
            body.len()
        );
        self.ask((head + &body).as_bytes())
    }

    pub(crate) fn get(&mut self, path: &str) -> io::Result<Said> {
        self.ask(format!("GET {path} HTTP/1.1\r\nhost: test\r\n\r\n").as_bytes())
    }

    fn ask(&mut self, bytes: &[u8]) -> io::Result<Said> {
        self.stream.get_mut().write_all(bytes)?;
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if self.stream.read_line(&mut head)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        let lower = head.to_ascii_lowercase();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let length = lower.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap().parse().unwrap();
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body)?;
        Ok(Said { status, head, body: String::from_utf8(body).unwrap() })
    }
}

/// One question on a connection of its own.
pub(crate) fn get(broker: &Broker, path: &str) -> Said {
    Client::connect(broker.address()).unwrap().get(path).unwrap()
}

/// What is known of a running load.
#[derive(Default)]
struct Told {
    /// Our ids of what was acknowledged.
    acknowledged: Vec<String>,
    /// Answers that were no acknowledgement.
    refused: Vec<Said>,
}

/// Senders at work, each on a connection of its own, until one is refused or the broker is gone.
pub(crate) struct Load {
    told: Arc<(Mutex<Told>, Condvar)>,
    stop: Arc<AtomicBool>,
    senders: Vec<JoinHandle<()>>,
}

impl Load {
    /// Begins, with events of so many bytes of data.
    pub(crate) fn start(broker: &Broker, senders: usize, bytes: usize) -> Load {
        let told = Arc::new((Mutex::new(Told::default()), Condvar::new()));
        let stop = Arc::new(AtomicBool::new(false));
        let run = fastrand::u32(..);
        let sender = |number| {
            let (told, stop, address) = (Arc::clone(&told), Arc::clone(&stop), broker.address());
            std::thread::spawn(move || {
                let Ok(mut client) = Client::connect(address) else { return };
                for count in 0u64.. {
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                    let Ok(said) = client.post(&format!("{run}-{number}-{count}"), bytes) else { return };
                    let (lock, changed) = &*told;
                    let mut told = lock.lock().unwrap();
                    changed.notify_all();
                    if said.status != 202 {
                        told.refused.push(said);
                        return;
                    }
                    told.acknowledged.push(said.json()["accepted"][0]["event"].as_str().unwrap().to_owned());
                }
            })
        };
        let senders = (0..senders).map(sender).collect();
        Load { told, stop, senders }
    }

    fn wait(&self, what: &str, enough: impl Fn(&Told) -> bool) -> std::sync::MutexGuard<'_, Told> {
        let (lock, changed) = &*self.told;
        let (told, timeout) = changed.wait_timeout_while(lock.lock().unwrap(), DEADLINE, |told| !enough(told)).unwrap();
        assert!(!timeout.timed_out(), "{what}: {} acknowledged, {:?}", told.acknowledged.len(), told.refused);
        told
    }

    /// Waits until so many are acknowledged.
    pub(crate) fn acknowledged(&self, count: usize) {
        drop(self.wait("the broker stopped taking events", |told| told.acknowledged.len() >= count));
    }

    /// Waits for a refusal.
    pub(crate) fn refused(&self) -> Said {
        self.wait("nothing was refused", |told| !told.refused.is_empty()).refused[0].clone()
    }

    /// What is acknowledged by now.
    pub(crate) fn so_far(&self) -> BTreeSet<String> {
        self.told.0.lock().unwrap().acknowledged.iter().cloned().collect()
    }

    /// Stops the senders. What was acknowledged, all of it.
    pub(crate) fn end(mut self) -> BTreeSet<String> {
        self.stop.store(true, Ordering::Relaxed);
        self.senders.drain(..).for_each(|sender| sender.join().unwrap());
        self.so_far()
    }
}

/// Our ids of all events that a broker has.
pub(crate) fn stored(broker: &Broker) -> BTreeSet<String> {
    let mut client = Client::connect(broker.address()).unwrap();
    let mut ids = BTreeSet::new();
    let mut cursor = String::new();
    loop {
        let page = client.get(&format!("/api/v1/events?limit=1000&cursor={cursor}")).unwrap().json();
        let id = |item: &Value| item["event"].as_str().unwrap().to_owned();
        ids.extend(page["items"].as_array().unwrap().iter().map(id));
        match page["next"].as_str() {
            Some(next) => cursor = next.to_owned(),
            None => return ids,
        }
    }
}

/// What was acknowledged is there, all of it, and the broker takes more.
pub(crate) fn nothing_is_lost(broker: &Broker, acknowledged: &BTreeSet<String>) {
    let stored = stored(broker);
    let lost: Vec<_> = acknowledged.difference(&stored).collect();
    assert!(lost.is_empty(), "of {} acknowledged events {} are lost: {lost:?}", acknowledged.len(), lost.len());
    let mut client = Client::connect(broker.address()).unwrap();
    assert_eq!(client.get("/readyz").unwrap().status, 200);
    assert_eq!(client.post("one more", 10).unwrap().status, 202);
}

/// Runs a program that must succeed.
pub(crate) fn must(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Why programs that are needed cannot be used.
pub(crate) fn lacks(programs: &[&str]) -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("only root may mount a disk or trace a process that is not its own child".to_owned());
    }
    let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin";
    let missing = |program: &&&str| !path.split(':').any(|folder| Path::new(folder).join(program).exists());
    programs.iter().find(missing).map(|program| format!("there is no {program} here"))
}

/// A file that is a disk, mounted; unmounted with its value.
pub(crate) struct Mounted {
    at: tempfile::TempDir,
    device: String,
}

impl Mounted {
    /// Makes a file system in a file of so many bytes and mounts it; `Err` where this system does not allow it.
    pub(crate) fn make(image: &Path, kind: &str, bytes: u64, options: &str) -> Result<Mounted, String> {
        fs::File::create(image).unwrap().set_len(bytes).unwrap();
        let mut make = Command::new(format!("/usr/sbin/mkfs.{kind}"));
        // Not smaller than any loop device's own.
        make.args(if kind == "ext4" { &["-q", "-b", "4096"][..] } else { &["-q"] });
        must(make.arg(image));
        Mounted::mount(image, kind, options)
    }

    /// Mounts the file system in a file, with the loop device writing through to it.
    pub(crate) fn mount(image: &Path, kind: &str, options: &str) -> Result<Mounted, String> {
        let attach = |direct: &str| {
            let mut command = Command::new("/usr/sbin/losetup");
            let output = command
                .args(["--find", "--show", "--sector-size", "512", direct])
                .arg(image)
                .output()
                .map_err(|e| e.to_string())?;
            match output.status.success() {
                true => Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned()),
                false => Err(format!("no loop device: {}", String::from_utf8_lossy(&output.stderr).trim())),
            }
        };
        let device = attach("--direct-io=on")?;
        let at = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount").args(["-t", kind, "-o", options, &device]).arg(at.path()).output();
        let output = mounted.map_err(|error| error.to_string())?;
        // Whatever happens next, the device goes with the value.
        let mounted = Mounted { at, device };
        match output.status.success() {
            true => Ok(mounted),
            false => Err(format!("mount: {}", String::from_utf8_lossy(&output.stderr).trim())),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        self.at.path()
    }

    /// Mounts it again with other options.
    pub(crate) fn remount(&self, options: &str) -> bool {
        let mut mount = Command::new("mount");
        mount.args(["-o", &format!("remount,{options}")]).arg(self.path());
        mount.output().unwrap().status.success()
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // A broker that was killed a moment ago may still be on its way out.
        let unmounted = |lazily: bool| {
            let mut unmount = Command::new("umount");
            if lazily {
                unmount.arg("--lazy");
            }
            unmount.arg(self.at.path()).output().is_ok_and(|output| output.status.success())
        };
        let _ = unmounted(false) || unmounted(true);
        let _ = Command::new("/usr/sbin/losetup").args(["--detach", &self.device]).output();
    }
}

/// strace on a running process; it goes on untraced when the value goes.
pub(crate) struct Strace {
    child: Child,
    log: PathBuf,
}

impl Strace {
    /// Attaches to a process and all of its threads; `None`, with the reason said, where that is not to be had.
    pub(crate) fn attach(pid: u32, folder: &Path, arguments: &[&str]) -> Option<Strace> {
        if let Some(why) = lacks(&["strace"]) {
            skip(why);
            return None;
        }
        let log = folder.join("strace.log");
        let mut child = Command::new("strace")
            .args(["-f", "-o"])
            .arg(&log)
            .args(arguments)
            .args(["-p", &pid.to_string()])
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = String::new();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        while !said.contains(" attached") {
            if stderr.read_line(&mut said).unwrap() == 0 {
                let _ = child.wait();
                skip(format!("strace cannot attach: {}", said.trim()));
                return None;
            }
        }
        // Read on, so that strace never waits for a reader.
        std::thread::spawn(move || io::copy(&mut stderr, &mut io::sink()));
        Some(Strace { child, log })
    }

    /// What was traced so far. A call is there when the next one of the same thread is.
    pub(crate) fn so_far(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap()).into_owned()
    }

    /// Detaches; what was traced.
    pub(crate) fn end(mut self) -> String {
        self.detach();
        self.so_far()
    }

    fn detach(&mut self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::INT);
        }
        let _ = self.child.wait();
    }
}

impl Drop for Strace {
    fn drop(&mut self) {
        self.detach();
    }
}
