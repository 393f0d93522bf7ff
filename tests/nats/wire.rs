//! A wire to the broker that breaks when a confirmation comes over it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy};
use tokio::net::{TcpListener, TcpStream};

/// Stands in every confirmation, and in nothing else that the broker sends us.
const CONFIRMATION: &[u8] = b"\"seq\":";

pub(crate) struct Wire {
    pub(crate) address: SocketAddr,
    breaks: Arc<AtomicU64>,
}

impl Wire {
    /// Leads to `broker`, until the runtime ends. Breaks the next `breaks` times that a confirmation would come through.
    pub(crate) async fn to(broker: SocketAddr, breaks: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let breaks = Arc::new(AtomicU64::new(breaks));
        let left = Arc::clone(&breaks);
        tokio::spawn(async move {
            while let Ok((guest, _)) = listener.accept().await {
                tokio::spawn(pass(guest, broker, Arc::clone(&left)));
            }
        });
        Self { address, breaks }
    }

    /// How many times it is still going to break.
    pub(crate) fn breaks_left(&self) -> u64 {
        self.breaks.load(Ordering::SeqCst)
    }
}

async fn pass(guest: TcpStream, broker: SocketAddr, breaks: Arc<AtomicU64>) {
    let host = TcpStream::connect(broker).await.unwrap();
    let (mut from_guest, mut to_guest) = guest.into_split();
    let (mut from_host, mut to_host) = host.into_split();
    let there = copy(&mut from_guest, &mut to_host);
    let back = async {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(read @ 1..) = from_host.read(&mut buffer).await {
            let confirms = buffer[..read]
                .windows(CONFIRMATION.len())
                .any(|bytes| bytes == CONFIRMATION);
            let one_less = |left: u64| left.checked_sub(1);
            if confirms
                && breaks
                    .fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less)
                    .is_ok()
            {
                return;
            }
            if to_guest.write_all(&buffer[..read]).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        _ = there => {}
        () = back => {}
    }
}
