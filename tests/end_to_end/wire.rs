//! The wire between the server and WeCom, which can be cut.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::timeout;

/// Far longer than anything takes.
const PATIENCE: Duration = Duration::from_secs(120);

/// What the wire does with connections.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Mood {
    /// Carries them to the other end.
    Carries,
    /// Closes them at once.
    Closes,
    /// Keeps them, and answers nothing.
    Silent,
}

/// A wire to WeCom. A change of mood ends every connection there is.
pub(crate) struct Wire {
    pub(crate) url: String,
    mood: watch::Sender<Mood>,
    /// Connections that were not carried.
    failed: Arc<watch::Sender<usize>>,
}

impl Wire {
    /// Lays a wire to `far_end`, until the runtime ends.
    pub(crate) async fn to(far_end: SocketAddr) -> Self {
        let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0)))
            .await
            .expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let (mood, moods) = watch::channel(Mood::Carries);
        let failed = Arc::new(watch::Sender::new(0));
        let fails = Arc::clone(&failed);
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let mut moods = moods.clone();
                let mood = *moods.borrow_and_update();
                if mood != Mood::Carries {
                    fails.send_modify(|failed| *failed += 1);
                }
                tokio::spawn(async move {
                    tokio::select! {
                        () = serve(near, far_end, mood) => {}
                        _ = moods.changed() => {}
                    }
                });
            }
        });
        Self { url, mood, failed }
    }

    pub(crate) fn set(&self, mood: Mood) {
        self.mood.send_replace(mood);
    }

    /// Waits until `count` more connections have failed.
    pub(crate) async fn until_failed(&self, count: usize) {
        let mut failed = self.failed.subscribe();
        let enough = *failed.borrow() + count;
        let came = timeout(PATIENCE, failed.wait_for(|failed| *failed >= enough)).await;
        assert!(came.is_ok(), "the server no longer tries");
    }
}

async fn serve(mut near: TcpStream, far_end: SocketAddr, mood: Mood) {
    match mood {
        Mood::Carries => {
            if let Ok(mut far) = TcpStream::connect(far_end).await {
                // Either end may hang up as it likes.
                let _ = copy_bidirectional(&mut near, &mut far).await;
            }
        }
        Mood::Closes => {}
        Mood::Silent => std::future::pending().await,
    }
}
