//! The processes of one call: the command, and whatever it started in its process group.

use std::io;
use std::os::fd::OwnedFd;
use std::process::{Child, ExitStatus};

use rustix::process::{Pid, PidfdFlags, Signal};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::process::{ChildStderr, ChildStdin, ChildStdout};

use super::spawner;

/// The pipes of a process, each ours alone.
pub(super) struct Pipes {
    pub(super) stdin: ChildStdin,
    pub(super) stdout: ChildStdout,
    pub(super) stderr: ChildStderr,
}

/// A running process group. Dropping it kills the group.
///
/// The command's process is not reaped before the group has been killed: until then its id, which is also the
/// group's, cannot be given to anybody else, so a signal never hits a stranger.
pub(super) struct Group {
    /// None once it has been reaped or handed to the spawner for that.
    child: Option<Child>,
    leader: Pid,
    /// Becomes readable when the leader has ended. A file descriptor of the process itself, and not a signal
    /// handler, so that nothing else in the program can take the news away.
    pidfd: Option<OwnedFd>,
    ended: Option<AsyncFd<OwnedFd>>,
}

impl Group {
    /// Takes charge of a process that was just spawned as the leader of its own group.
    pub(super) fn new(mut child: Child) -> io::Result<Group> {
        let opened = i32::try_from(child.id())
            .ok()
            .and_then(Pid::from_raw)
            .ok_or_else(|| io::Error::other("the system gave a process id that is none"))
            .and_then(|leader| Ok((leader, rustix::process::pidfd_open(leader, PidfdFlags::NONBLOCK)?)));
        match opened {
            Ok((leader, pidfd)) => Ok(Group { child: Some(child), leader, pidfd: Some(pidfd), ended: None }),
            Err(error) => {
                // Without a descriptor its end would never be noticed, so it must not go on.
                let _ = child.kill();
                let _ = child.wait();
                Err(error)
            }
        }
    }

    pub(super) fn leader(&self) -> Pid {
        self.leader
    }

    /// Connects the pipes and the news of the end with the caller's runtime. Once for each group.
    pub(super) fn take_pipes(&mut self) -> io::Result<Pipes> {
        let missing = || io::Error::other("a pipe of the process is missing");
        let child = self.child.as_mut().ok_or_else(missing)?;
        let pidfd = self.pidfd.take().ok_or_else(missing)?;
        #[expect(
            deprecated,
            reason = "deprecated for types that may close their descriptor early, which an OwnedFd cannot; what \
                      replaces it is an unsafe function"
        )]
        let ended = AsyncFd::with_interest(pidfd, Interest::READABLE)?;
        self.ended = Some(ended);
        Ok(Pipes {
            stdin: ChildStdin::from_std(child.stdin.take().ok_or_else(missing)?)?,
            stdout: ChildStdout::from_std(child.stdout.take().ok_or_else(missing)?)?,
            stderr: ChildStderr::from_std(child.stderr.take().ok_or_else(missing)?)?,
        })
    }

    /// Waits until the leader has ended. May be cancelled and asked again.
    pub(super) async fn exited(&self) {
        let readable = match &self.ended {
            Some(ended) => ended.readable().await.map(|mut guard| guard.retain_ready()),
            None => Err(io::Error::other("the group's pipes were not taken")),
        };
        if let Err(error) = readable {
            // Only a runtime that is shutting down refuses to wait; then there is nobody to go on for.
            tracing::debug!(%error, "the end of a function cannot be waited for");
            self.signal(Signal::KILL);
        }
    }

    /// Sends a signal to every process of the group. To a group that is gone it is nothing.
    pub(super) fn signal(&self, signal: Signal) {
        let _ = rustix::process::kill_process_group(self.leader, signal);
    }

    /// Kills what is left of the group, reaps the leader and says how it ended. To be called after
    /// [`Group::exited`]: it blocks until the leader has ended.
    pub(super) fn end(mut self) -> io::Result<ExitStatus> {
        self.signal(Signal::KILL);
        let Some(mut child) = self.child.take() else {
            return Err(io::Error::other("the process was reaped before"));
        };
        let status = child.wait();
        spawner::gone(self.leader, None);
        status
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(child) = self.child.take() {
            self.signal(Signal::KILL);
            // Its death takes a moment, and dropping must not block.
            spawner::gone(self.leader, Some(child));
        }
    }
}
