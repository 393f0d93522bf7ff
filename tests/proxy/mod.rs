//! The wire between a replica and its database: it can be cut, fall silent in either direction or in both, heal, and
//! forget its connections.
//!
//! What is sent on a silent wire is held, as a network holds it that repeats what was not acknowledged. So a statement
//! may reach the database long after its sender has lost every right to it, and so may an answer.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// What becomes of what is sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Wire {
    /// It arrives.
    Sound,
    /// Every connection breaks with a reset, new ones at once.
    Cut,
    /// Nothing arrives, and nobody is told.
    Silent,
    /// What the database says does not arrive.
    DeafReplica,
    /// What the replica says does not arrive.
    DeafDatabase,
}

#[derive(Clone, Copy)]
enum Direction {
    ToDatabase,
    ToReplica,
}

impl Wire {
    fn carries(self, direction: Direction) -> bool {
        match direction {
            Direction::ToDatabase => matches!(self, Self::Sound | Self::DeafReplica),
            Direction::ToReplica => matches!(self, Self::Sound | Self::DeafDatabase),
        }
    }
}

#[derive(Clone, Copy)]
struct State {
    wire: Wire,
    past: Past,
    /// Address that connections to the database are made from.
    from: Ipv4Addr,
}

/// What has happened to the wire. A connection that was made before some of it carries nothing any more, even if the wire
/// has healed since.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
struct Past {
    /// How often it was cut: older connections are broken.
    cuts: u64,
    /// How often it forgot: older connections are silent.
    lapses: u64,
}

/// A running proxy. Its connections end with it.
pub(crate) struct Proxy {
    /// Where the replica finds its database.
    pub(crate) address: SocketAddr,
    state: watch::Sender<State>,
    listening: JoinHandle<()>,
}

impl Proxy {
    /// Listens on a free port of the loopback, before `database`.
    pub(crate) async fn start(database: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let (state, seen) = watch::channel(State {
            wire: Wire::Sound,
            past: Past::default(),
            from: Ipv4Addr::LOCALHOST,
        });
        let listening = tokio::spawn(listen(listener, database, seen));
        Self {
            address,
            state,
            listening,
        }
    }

    /// From now on.
    pub(crate) fn set(&self, wire: Wire) {
        self.state.send_modify(|state| {
            state.wire = wire;
            state.past.cuts += u64::from(wire == Wire::Cut);
        });
    }

    /// Nothing arrives any more on connections there are, and nobody is told, as behind a gateway that lost its table. New
    /// ones are not concerned.
    pub(crate) fn forget(&self) {
        self.state.send_modify(|state| state.past.lapses += 1);
    }

    /// Lets the database see connections that are made from now on as coming from `address` of the loopback.
    pub(crate) fn speak_from(&self, address: Ipv4Addr) {
        self.state.send_modify(|state| state.from = address);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

async fn listen(listener: TcpListener, database: SocketAddr, seen: watch::Receiver<State>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                // Out of descriptors, at worst: the next one may do.
                let Ok((replica, _)) = accepted else { continue };
                connections.spawn(connect(replica, database, seen.clone()));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Serves one connection to its end, which both sides see as the other's.
async fn connect(mut replica: TcpStream, address: SocketAddr, mut seen: watch::Receiver<State>) {
    let State { past, from, .. } = *seen.borrow_and_update();
    let cut = |state: &State| state.wire == Wire::Cut || state.past.cuts != past.cuts;
    let mut until_cut = seen.clone();
    let serve = async {
        // Not even a handshake gets through a silent wire.
        until_carried(&mut seen, past, Direction::ToDatabase).await?;
        let socket = TcpSocket::new_v4()?;
        socket.bind(SocketAddr::new(IpAddr::V4(from), 0))?;
        // Whatever ends this future early ends the connection with a reset.
        socket.set_zero_linger()?;
        let mut database = socket.connect(address).await?;
        let ((from_replica, to_replica), (from_database, to_database)) = (replica.split(), database.split());
        tokio::try_join!(
            carry(from_replica, to_database, seen.clone(), past, Direction::ToDatabase),
            carry(from_database, to_replica, seen.clone(), past, Direction::ToReplica),
        )
    };
    let orderly = tokio::select! {
        _ = until_cut.wait_for(cut) => false,
        served = serve => served.is_ok(),
    };
    if !orderly {
        // A broken connection that is closed in good order would pass for the other side's wish.
        let _ = replica.set_zero_linger();
    }
}

/// Carries bytes in one direction until they end.
async fn carry(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut seen: watch::Receiver<State>,
    past: Past,
    direction: Direction,
) -> io::Result<()> {
    let mut bytes = vec![0; 16 * 1024];
    loop {
        let count = from.read(&mut bytes).await?;
        // The wire may have fallen silent while there was nothing to read.
        until_carried(&mut seen, past, direction).await?;
        if count == 0 {
            return to.shutdown().await;
        }
        to.write_all(&bytes[..count]).await?;
    }
}

/// Waits while nothing gets through for a connection with that `past` behind it.
async fn until_carried(seen: &mut watch::Receiver<State>, past: Past, direction: Direction) -> io::Result<()> {
    let carries = |state: &State| state.past == past && state.wire.carries(direction);
    match seen.wait_for(carries).await {
        Ok(_) => Ok(()),
        Err(_) => Err(io::ErrorKind::ConnectionAborted.into()),
    }
}
