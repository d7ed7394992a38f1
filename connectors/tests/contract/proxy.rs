//! A connection that can be cut or swallowed: a small proxy on loopback.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// What comes is passed on.
    Open,
    /// What comes is taken and goes nowhere; nobody is told.
    Swallows,
    /// Connections end at once.
    Shut,
}

/// Passes connections on to a server, as long as it is told to.
pub(crate) struct Proxy {
    address: SocketAddr,
    way: Arc<watch::Sender<Way>>,
    /// Counts up to end the connections there are.
    cuts: Arc<watch::Sender<u64>>,
    task: tokio::task::JoinHandle<()>,
}

impl Proxy {
    pub(crate) async fn start(to: SocketAddr) -> Proxy {
        Proxy::start_at("127.0.0.1:0".parse().unwrap(), to).await
    }

    /// Where the server tells its clients to come.
    pub(crate) async fn start_at(at: SocketAddr, to: SocketAddr) -> Proxy {
        let listener = TcpListener::bind(at).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (way, cuts) = (Arc::new(watch::channel(Way::Open).0), Arc::new(watch::channel(0).0));
        let (ways, cut) = (way.subscribe(), cuts.subscribe());
        let task = tokio::spawn(async move {
            while let Ok((from, _)) = listener.accept().await {
                tokio::spawn(pass(from, to, ways.clone(), cut.clone()));
            }
        });
        Proxy { address, way, cuts, task }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends the connections there are; new ones are passed on.
    pub(crate) fn cut(&self) {
        self.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// Takes what comes and passes nothing on, in both directions.
    pub(crate) fn swallow(&self) {
        self.way.send_replace(Way::Swallows);
    }

    /// Ends the connections there are, and new ones at once.
    pub(crate) fn shut(&self) {
        self.way.send_replace(Way::Shut);
        self.cut();
    }

    /// Passes on again.
    pub(crate) fn open(&self) {
        self.way.send_replace(Way::Open);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
        self.cut();
    }
}

async fn pass(from: TcpStream, to: SocketAddr, ways: watch::Receiver<Way>, mut cut: watch::Receiver<u64>) {
    cut.mark_unchanged();
    if *ways.borrow() == Way::Shut {
        return;
    }
    let Ok(server) = TcpStream::connect(to).await else { return };
    let ((from_read, from_write), (server_read, server_write)) = (from.into_split(), server.into_split());
    tokio::select! {
        () = carry(from_read, server_write, ways.clone()) => {}
        () = carry(server_read, from_write, ways) => {}
        _ = cut.changed() => {}
    }
}

async fn carry(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    ways: watch::Receiver<Way>,
) {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let Ok(count @ 1..) = from.read(&mut buffer).await else { return };
        if *ways.borrow() == Way::Open && to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}
