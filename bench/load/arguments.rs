//! What the program was asked to do.

use std::path::PathBuf;

use crate::cases::Case;
use crate::peers::Peer;

/// Seconds that clients send in one case.
const SECONDS: f64 = 10.0;
/// Clients that each wait for their answer.
const CONNECTIONS: usize = 64;
/// Deliveries of the case `pending`.
const PENDING: u64 = 1_000_000;

/// How the program is called.
pub(crate) const USAGE: &str = "usage: load [CASE…] [--seconds N] [--connections N] [--pending N] [--dir FOLDER] \
     [--binary PATH] [--perf FOLDER]
cases: accept accept-batch settle settle-batch latency latency-batch latency-settle latency-settle-batch start pending
       peers, with --nats HOST:PORT,PID and --amqp HOST:PORT,PID (bench/peers.sh starts them)
FOLDER of --dir must be on the disk in question (a tmpfs proves nothing); target/load where none is given
--perf writes a profile of the broker for each case that sends (`perf report -i FOLDER/CASE.data`)";

/// What to measure, and on what.
pub(crate) struct Asked {
    pub(crate) cases: Vec<Case>,
    pub(crate) seconds: f64,
    pub(crate) connections: usize,
    pub(crate) pending: u64,
    pub(crate) dir: PathBuf,
    pub(crate) binary: PathBuf,
    pub(crate) perf: Option<PathBuf>,
    pub(crate) nats: Option<Peer>,
    pub(crate) amqp: Option<Peer>,
}

/// Reads the command line.
pub(crate) fn read(all: &[String]) -> Result<Asked, String> {
    let mut asked = Asked {
        cases: Vec::new(),
        seconds: SECONDS,
        connections: CONNECTIONS,
        pending: PENDING,
        dir: PathBuf::from("target/load"),
        binary: beside_this().unwrap_or_default(),
        perf: None,
        nats: None,
        amqp: None,
    };
    let mut words = all.iter();
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or_else(|| format!("{word} wants a value"));
        match word.as_str() {
            "--seconds" => asked.seconds = number(word, value()?)?,
            "--connections" => asked.connections = number(word, value()?)?,
            "--pending" => asked.pending = number(word, value()?)?,
            "--dir" => asked.dir = value()?.into(),
            "--binary" => asked.binary = value()?.into(),
            "--perf" => asked.perf = Some(value()?.into()),
            "--nats" => asked.nats = Some(peer(word, value()?)?),
            "--amqp" => asked.amqp = Some(peer(word, value()?)?),
            name => asked.cases.push(Case::find(name).ok_or_else(|| format!("there is no case `{name}`"))?),
        }
    }
    if asked.cases.is_empty() {
        asked.cases = Case::ALL.to_vec();
    }
    if asked.connections == 0 || asked.seconds <= 0.0 {
        return Err("nothing is measured with no clients or no time".to_owned());
    }
    match asked.binary.canonicalize() {
        Ok(binary) => asked.binary = binary,
        Err(_) => return Err(format!("no broker at {}: `cargo build --release`", asked.binary.display())),
    }
    Ok(asked)
}

fn number<T: std::str::FromStr>(name: &str, text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("{name} wants a number, not `{text}`"))
}

fn peer(name: &str, text: &str) -> Result<Peer, String> {
    let (address, pid) = text.split_once(',').ok_or_else(|| format!("{name} wants HOST:PORT,PID"))?;
    Ok(Peer { address: address.to_owned(), pid: pid.to_owned() })
}

/// `target/release/eventyard`, where this is `target/release/load`.
fn beside_this() -> Option<PathBuf> {
    Some(std::env::current_exe().ok()?.parent()?.join("eventyard"))
}
