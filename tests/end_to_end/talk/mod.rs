//! A handler that talks: no customer hears anything twice, none misses a word, whatever happens to server and WeCom.

use std::collections::BTreeMap;
use std::time::Duration;

use rand::RngExt as _;
use tokio::time::{Instant, sleep, timeout};
use wecom_kf::id::{ExternalUserid, OpenKfid};
use wecom_kf::simulator::{Customer, Dial, Fault, Faults};

use crate::crashes::{dice, rounds};
use crate::stage::{Pace, Stage};

mod parrot;

/// Far longer than anything takes.
const PATIENCE: Duration = Duration::from_secs(120);
/// Customers who talk at the same time.
const CUSTOMERS: usize = 24;

/// Waits until `it_is_so`.
async fn until(it_is_so: impl Fn() -> bool) {
    let so = async {
        while !it_is_so() {
            sleep(Duration::from_millis(2)).await;
        }
    };
    timeout(PATIENCE, so).await.expect("it is never so");
}

/// A customer who says the next thing once the last was answered.
struct Chat {
    account: OpenKfid,
    customer: ExternalUserid,
    /// Everything they should have read by now.
    expected: Vec<String>,
}

impl Chat {
    fn customer<'a>(&self, stage: &'a Stage) -> Customer<'a> {
        stage.wecom.customer(&self.account, &self.customer)
    }

    /// Comes in.
    fn begin(stage: &Stage, account: &OpenKfid, number: usize) -> Self {
        let chat = Self {
            account: account.clone(),
            customer: ExternalUserid::new(format!("wmTalker{number}")),
            expected: vec![parrot::WELCOME.to_owned()],
        };
        chat.customer(stage).enters().unwrap();
        chat
    }

    /// Says the next thing if everything was answered. Whether it was.
    fn go_on(&mut self, stage: &Stage) -> bool {
        let customer = self.customer(stage);
        let answered = customer.saw().len() >= self.expected.len();
        if answered {
            let text = format!("{} {}", self.customer, self.expected.len());
            customer.writes(&text).unwrap();
            self.expected.extend(parrot::answers(&text));
        }
        answered
    }
}

/// What goes wrong: with calls that take effect and those that do not, with tokens and limits.
fn faults() -> Faults {
    let often = [
        Fault::CallLost,
        Fault::Latency,
        Fault::Http5xx,
        Fault::ResetBeforeBody,
        Fault::ResetInBody,
        Fault::TruncatedJson,
        Fault::Html,
        Fault::Busy,
        Fault::ConcurrencyLimited,
    ];
    let mut faults = often
        .into_iter()
        .fold(Faults::default(), |faults, fault| {
            faults.with(fault, Dial::Chance(0.03))
        })
        .with(Fault::AccessTokenRevoked, Dial::Chance(0.01))
        .with(Fault::RateLimited, Dial::Chance(0.004));
    faults.slowness = Duration::from_millis(50);
    faults
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_while_a_handler_talks_repeats_nothing_and_leaves_nothing_unsaid() {
    let (kills, (mut dice, seed)) = (rounds(25), dice());
    let stage = Stage::with_accounts(2, Pace::Fast).await;
    stage.wecom.set_faults(faults());
    let mut server = stage.start_as(parrot::serve(&stage));
    let accounts = stage.accounts();
    let talker = |number| Chat::begin(&stage, &accounts[number % accounts.len()], number);
    let mut chats: Vec<_> = (0..CUSTOMERS).map(talker).collect();

    for _ in 0..kills {
        let end_of_life = Instant::now() + Duration::from_millis(dice.random_range(20..400));
        while Instant::now() < end_of_life {
            chats.iter_mut().for_each(|chat| {
                chat.go_on(&stage);
            });
            sleep(Duration::from_millis(2)).await;
        }
        server.kill();
        server = stage.start_as(parrot::serve(&stage));
    }
    until(|| {
        chats
            .iter()
            .all(|chat| chat.customer(&stage).saw().len() >= chat.expected.len())
    })
    .await;
    // Whatever would come twice has its chance to come, and the last life its orderly end.
    assert!(server.stop().success());
    stage.wecom.quiet().await;

    let counts = stage.wecom.counts();
    let happened: BTreeMap<_, _> = counts
        .faults
        .iter()
        .map(|(fault, times)| (fault.name(), times))
        .collect();
    let repeats = counts.refused.get(&95033).copied().unwrap_or(0);
    let wrong = chats
        .iter()
        .filter(|chat| chat.customer(&stage).read() != chat.expected);
    let wrong: Vec<_> = wrong
        .map(|chat| (chat.customer(&stage).read(), &chat.expected))
        .collect();
    println!(
        "{kills} kill -9 while {CUSTOMERS} customers talked, seed {seed}: {} messages to customers, {repeats} repeats \
         refused by WeCom, {} customers heard something twice, not at all or out of order; faults {happened:?}",
        counts.replies,
        wrong.len(),
    );
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(repeats > 0, "nothing was ever sent again: this has tried nothing");
    for fault in faults().dials.keys() {
        let times = happened.get(fault.name()).copied().copied().unwrap_or(0);
        assert!(times > 0 || *fault == Fault::RateLimited, "{fault} never happened");
    }
}
