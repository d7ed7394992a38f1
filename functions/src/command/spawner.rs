//! The one thread from which every process is spawned.
//!
//! The parent-death signal that the shim asks for is sent when the *thread* that spawned a process ends, not
//! when the program does. A worker of an async runtime may end at any time, so a thread that never does spawns
//! for all. It also reaps the processes whose caller went away, and those that were orphaned (see
//! [`super::orphans`]).

use std::collections::HashMap;
use std::io;
use std::process::{Child, Command};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use rustix::process::Pid;
use tokio::sync::{Semaphore, oneshot};

use super::group::Group;
use super::orphans;

/// How many callers may wait in the thread's queue; the others wait for room in it. Spawning is one after the
/// other, at a fraction of a millisecond each, so that more would only be a longer queue.
const SPAWNS_WAITING_MAX: usize = 64;

/// How often a killed process that has not died yet is looked at again.
const REAP_EVERY: Duration = Duration::from_millis(20);

enum Request {
    Spawn {
        command: Box<Command>,
        call: String,
        reply: oneshot::Sender<io::Result<Group>>,
    },
    /// A call is over. `dying` is its process if it has been killed and not reaped.
    Gone {
        leader: Pid,
        dying: Option<Child>,
    },
}

struct Spawner {
    /// Without a bound of its own: spawns are bounded by `room`, and of each spawned process one message comes
    /// back, which must never wait or be refused.
    requests: Sender<Request>,
    room: Arc<Semaphore>,
}

/// None where the system refused the thread.
static SPAWNER: LazyLock<Option<Spawner>> = LazyLock::new(|| {
    let (requests, received) = channel();
    let thread = std::thread::Builder::new().name("spawner".to_owned());
    let started = thread.spawn(move || run(&received));
    match started {
        Ok(_) => Some(Spawner { requests, room: Arc::new(Semaphore::new(SPAWNS_WAITING_MAX)) }),
        Err(error) => {
            tracing::error!(%error, "the thread that starts functions could not be started");
            None
        }
    }
});

/// Spawns a process, as the leader of a group of its own. Cancellation: a process that was spawned for a caller
/// who has gone away is killed.
pub(super) async fn spawn(command: Command, call: String) -> io::Result<Group> {
    let absent = || io::Error::other("the thread that starts functions is not running");
    let spawner = SPAWNER.as_ref().ok_or_else(absent)?;
    let _room = spawner.room.acquire().await.map_err(|_| absent())?;
    let (reply, answered) = oneshot::channel();
    spawner.requests.send(Request::Spawn { command: Box::new(command), call, reply }).map_err(|_| absent())?;
    answered.await.map_err(|_| absent())?
}

/// Says that a group is killed; its leader, where it is not reaped, is reaped when it has died.
pub(super) fn gone(leader: Pid, dying: Option<Child>) {
    if let Some(spawner) = SPAWNER.as_ref() {
        // The thread never ends, so the send cannot fail; and without it there would be nothing to reap.
        let _ = spawner.requests.send(Request::Gone { leader, dying });
    }
}

fn run(requests: &Receiver<Request>) {
    // The calls in progress, by the id of their first process.
    let mut running: HashMap<Pid, String> = HashMap::new();
    let mut dying: Vec<(Pid, Child)> = Vec::new();
    let mut orphans_left = false;
    loop {
        let request = if dying.is_empty() && !orphans_left {
            requests.recv().map_err(|_| RecvTimeoutError::Disconnected)
        } else {
            requests.recv_timeout(REAP_EVERY)
        };
        let mut call_ended = false;
        match request {
            Ok(Request::Spawn { mut command, call, reply }) => {
                let group = command.spawn().and_then(Group::new);
                if let Ok(group) = &group {
                    running.insert(group.leader(), call);
                }
                // A caller who is gone gives the group back, and its drop kills it.
                drop(reply.send(group));
            }
            Ok(Request::Gone { leader, dying: child }) => {
                running.remove(&leader);
                dying.extend(child.map(|child| (leader, child)));
                call_ended = true;
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        dying.retain_mut(|(_, child)| matches!(child.try_wait(), Ok(None)));
        if call_ended || orphans_left {
            orphans_left = orphans::sweep(
                |pid| running.contains_key(&pid) || dying.iter().any(|(leader, _)| *leader == pid),
                |call| running.values().any(|running| running == call),
            );
        }
    }
}
