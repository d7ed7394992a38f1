//! The broker under test: the release binary as a process of its own.

use std::fs::{File, read_to_string};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::{Failure, machine};

/// How long a broker may take to start, however much it has to recover.
const START_MAX: Duration = Duration::from_secs(300);
/// How often it is asked whether it is ready: a start is known to within so much.
const ASK_EVERY: Duration = Duration::from_millis(1);
/// How long it may take to stop.
const STOP_MAX: Duration = Duration::from_secs(60);

/// A broker that runs; killed when dropped.
pub(crate) struct Broker {
    child: Child,
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// From the start of the process to its first 200 on `/readyz`.
    pub(crate) ready_after: Duration,
    log: PathBuf,
}

impl Broker {
    /// Starts `binary` on the project in `folder`, and returns when it takes events.
    pub(crate) fn start(binary: &Path, folder: &Path) -> Result<Broker, Failure> {
        let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        let log = folder.join("log");
        let began = Instant::now();
        let child = Command::new(binary)
            .arg("run")
            .arg(folder)
            .args(["--listen", &address.to_string()])
            .stdin(Stdio::null())
            .stdout(File::create(&log)?)
            .stderr(File::options().append(true).create(true).open(&log)?)
            .spawn()?;
        let mut broker = Broker { child, address, ready_after: Duration::ZERO, log };
        loop {
            if matches!(broker.call("GET", "/readyz"), Ok((200, _))) {
                broker.ready_after = began.elapsed();
                return Ok(broker);
            }
            if broker.child.try_wait()?.is_some() || began.elapsed() > START_MAX {
                return Err(format!("the broker did not start: {}", read_to_string(&broker.log)?).into());
            }
            pause(ASK_EVERY);
        }
    }

    /// One request on a connection of its own: status and body.
    pub(crate) fn call(&self, method: &str, path: &str) -> Result<(u16, String), Failure> {
        let mut stream = TcpStream::connect(self.address)?;
        let head = format!("{method} {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n", self.address);
        stream.write_all(format!("{head}content-length: 0\r\n\r\n").as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let status = answer.split(' ').nth(1).ok_or("no status")?.parse()?;
        Ok((status, answer.split_once("\r\n\r\n").map_or("", |(_, body)| body).to_owned()))
    }

    /// A count of `GET /api/v1/status`.
    pub(crate) fn stat(&self, name: &str) -> Result<u64, Failure> {
        let (_, body) = self.call("GET", "/api/v1/status")?;
        let status: serde_json::Value = serde_json::from_str(&body)?;
        status["stats"][name].as_u64().ok_or_else(|| format!("no `{name}` in {body}").into())
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Processor time so far, in seconds, those of ended children apart.
    pub(crate) fn processor_seconds(&self) -> f64 {
        machine::processor_seconds_of(&self.pid().to_string())
    }

    /// Resident memory now, and the most it ever was, in MB (10^6 bytes).
    pub(crate) fn resident_mb(&self) -> (f64, f64) {
        let status = read_to_string(format!("/proc/{}/status", self.pid())).unwrap_or_default();
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
            line.split_whitespace().next().and_then(|kib| kib.parse::<f64>().ok()).unwrap_or_default() * 1024.0 / 1e6
        };
        (field("VmRSS:"), field("VmHWM:"))
    }

    /// `kill -9`.
    pub(crate) fn kill(mut self) -> Result<(), Failure> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// SIGTERM, and waits for its end; what the log says beyond `info` is an error.
    pub(crate) fn stop(mut self) -> Result<(), Failure> {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
        let began = Instant::now();
        while self.child.try_wait()?.is_none() {
            if began.elapsed() > STOP_MAX {
                return Err("the broker did not stop".into());
            }
            pause(ASK_EVERY);
        }
        let log = read_to_string(&self.log)?;
        match log.lines().find(|line| line.contains("\"ERROR\"") || line.contains(" ERROR ")) {
            Some(line) => Err(format!("the broker said: {line}").into()),
            None => Ok(()),
        }
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits.
#[expect(clippy::disallowed_methods, reason = "there is no runtime in this program")]
pub(crate) fn pause(time: Duration) {
    std::thread::sleep(time);
}
