//! Ends the server in every ugly way, takes its disk away, and looks at what is left.
//!
//! Each test prints one line. Chance is seeded and the seed printed: `WECOM_KF_CRASH_SEED` throws the same dice again,
//! though not the threads. `WECOM_KF_CRASH_ROUNDS` makes every series as long as you have time for.

use std::collections::HashMap;
use std::time::Duration;

use rand::rngs::SmallRng;
use rusqlite::{Connection, OpenFlags};
use wecom_kf::id::{Msgid, OpenKfid};
use wecom_kf::simulator::{Faults, Received};

use crate::dice;
use crate::receiver::Receiver;
use crate::stage::Stage;

mod disk;
mod full_disk;
mod kill;
mod power_cut;
mod stop;

/// Customers of each account: few, so that each is in the middle of something whenever the end comes.
const CUSTOMERS: usize = 20;

/// Deliveries that one crash may repeat (claim C3). A handler has at most 1,999 outcomes that wait to be written and 32
/// attempts in hand when it starts no more; and as many outcomes may be on their way into the store.
const BOUND: usize = 2 * (1_999 + 32);

/// Length of a series: `in_ci`, unless whoever runs it says otherwise.
pub(crate) fn rounds(in_ci: usize) -> usize {
    dice::rounds("WECOM_KF_CRASH_ROUNDS", in_ci)
}

/// Dice, and their seed.
pub(crate) fn dice() -> (SmallRng, u64) {
    dice::dice("WECOM_KF_CRASH_SEED")
}

/// Everything goes wrong now and then at WeCom and on the way to it.
fn all_faults() -> Faults {
    let mut faults = Faults::all(0.02);
    faults.slowness = Duration::from_millis(50);
    faults
}

/// Where in the receiver's book each life of the server ended.
#[derive(Default)]
struct Lives(Vec<usize>);

/// What the ends of lives cost.
struct Toll {
    /// Deliveries that came again in a later life.
    repeated: usize,
    /// Most of them that one end has cost.
    worst: usize,
    /// Deliveries that came again within a life, which nothing excuses.
    within_a_life: usize,
}

impl Lives {
    /// The server is dead. Returns when everything it sent is in the book.
    async fn ended(&mut self, receiver: &Receiver) {
        receiver.deserted().await;
        self.0.push(receiver.received().len());
    }

    fn toll(&self, received: &[Received]) -> Toll {
        let mut last_seen: HashMap<(&OpenKfid, &Msgid), usize> = HashMap::new();
        let mut by_life = vec![0; self.0.len() + 1];
        let mut within_a_life = 0;
        for (place, item) in received.iter().enumerate() {
            let life = self.0.partition_point(|end| *end <= place);
            match last_seen.insert((&item.open_kfid, &item.msgid), life) {
                Some(before) if before == life => within_a_life += 1,
                // It is the end of the life in which it was seen last that forgot it.
                Some(before) => by_life[before] += 1,
                None => {}
            }
        }
        Toll {
            repeated: by_life.iter().sum(),
            worst: by_life.into_iter().max().unwrap_or(0),
            within_a_life,
        }
    }
}

/// A look into the store of a server that is not running.
fn look_into(stage: &Stage) -> Connection {
    Connection::open_with_flags(stage.database(), OpenFlags::SQLITE_OPEN_READ_WRITE).expect("the store is there")
}

/// Messages stored more than once.
fn double_rows(stage: &Stage) -> i64 {
    let store = look_into(stage);
    let healthy: String = store
        .query_row("PRAGMA integrity_check", [], |row| row.get(0))
        .expect("it can be checked");
    assert_eq!(healthy, "ok");
    let double = "SELECT coalesce(sum(n - 1), 0) FROM (SELECT count(*) AS n FROM message GROUP BY account_id, msgid)";
    store
        .query_row(double, [], |row| row.get(0))
        .expect("rows can be counted")
}
