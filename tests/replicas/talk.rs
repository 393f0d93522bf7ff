//! Customers who do not stop talking while replicas come and go.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::task::JoinHandle;
use tokio::time::sleep;
use wecom_kf::id::OpenKfid;
use wecom_kf::simulator::samples::{self, Chatter};
use wecom_kf::simulator::{Bells, Simulator};

/// Customers of each account: few, so that each is in the middle of something whenever something happens.
const CUSTOMERS: usize = 20;
/// Most messages that are said at once on one account.
const BREATH: usize = 6;
/// Longest silence.
const PAUSE: Duration = Duration::from_millis(300);

/// Goes on until it is stopped or dropped.
pub(crate) struct Talk {
    talking: JoinHandle<()>,
}

impl Talk {
    /// Lets customers of every one of `accounts` talk. What they say, and when, depends on `seed`.
    pub(crate) fn begin(wecom: Arc<Simulator>, accounts: &[OpenKfid], seed: u64) -> Self {
        let mut chatters: Vec<(OpenKfid, Chatter)> = (0_u64..)
            .zip(accounts)
            .map(|(n, account)| {
                (
                    account.clone(),
                    Chatter::new(seed ^ n, samples::customers(n, CUSTOMERS)),
                )
            })
            .collect();
        let mut dice = SmallRng::seed_from_u64(seed);
        let talking = tokio::spawn(async move {
            loop {
                for (account, chatter) in &mut chatters {
                    let count = dice.random_range(0..=BREATH);
                    let bells = Bells::Every(NonZeroUsize::new(dice.random_range(1..=BREATH)).expect("one at least"));
                    let said = wecom.say_many(account, chatter.by_ref().take(count), bells);
                    said.expect("the account exists");
                }
                sleep(PAUSE.mul_f64(dice.random())).await;
            }
        });
        Self { talking }
    }

    /// Everybody falls silent.
    pub(crate) async fn end(self) {
        self.talking.abort();
        // Nothing is being said any more once it has ended.
        while !self.talking.is_finished() {
            tokio::task::yield_now().await;
        }
    }
}

impl Drop for Talk {
    fn drop(&mut self) {
        self.talking.abort();
    }
}
