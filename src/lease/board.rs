//! What is held, as the tender tells the engines.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::Holdings;

/// Tells every engine in the order in which they began to listen, because each has a channel of its own. Of those who wait
/// for one `watch`, tokio draws lots whom to wake first; it would depend on that which leases go back together, and no
/// run could be repeated.
#[derive(Debug)]
pub(super) struct Board(Mutex<Told>);

#[derive(Debug)]
struct Told {
    holdings: Holdings,
    listeners: Vec<watch::Sender<Holdings>>,
}

impl Board {
    /// One that tells of `holdings`.
    pub(super) fn of(holdings: Holdings) -> Self {
        Self(Mutex::new(Told {
            holdings,
            listeners: Vec::new(),
        }))
    }

    /// What is held, now and after every change.
    pub(super) fn listen(&self) -> watch::Receiver<Holdings> {
        let mut told = self.told();
        let (sender, receiver) = watch::channel(told.holdings.clone());
        told.listeners.push(sender);
        receiver
    }

    /// Tells everybody who still listens.
    pub(super) fn tell(&self, holdings: Holdings) {
        let mut told = self.told();
        told.listeners
            .retain(|listener| listener.send(holdings.clone()).is_ok());
        told.holdings = holdings;
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::task::{JoinSet, yield_now};

    use super::*;

    #[tokio::test]
    async fn engines_are_told_in_the_order_in_which_they_began_to_listen() {
        let (board, told) = (Board::of(Holdings::default()), Arc::new(Mutex::new(Vec::new())));
        let mut engines = JoinSet::new();
        for n in 0..8 {
            let (mut holdings, told) = (board.listen(), Arc::clone(&told));
            engines.spawn(async move {
                holdings.changed().await.unwrap();
                assert!(holdings.borrow().is_everything());
                told.lock().unwrap().push(n);
            });
        }
        yield_now().await;
        board.tell(Holdings::everything());
        engines.join_all().await;
        assert_eq!(*told.lock().unwrap(), Vec::from_iter(0..8));
        assert!(board.listen().borrow().is_everything(), "who comes later is told, too");
    }

    #[test]
    fn an_engine_that_ended_is_forgotten() {
        let board = Board::of(Holdings::default());
        drop(board.listen());
        board.tell(Holdings::default());
        assert!(board.told().listeners.is_empty());
    }
}
