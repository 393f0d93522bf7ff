//! What is found when everything is compared: one line for each series of rounds.

use std::fmt;

use wecom_kf::simulator::{Ledger, Received};

use crate::book::Attempt;
use crate::moment::Moment;
use crate::overlap::{Overlaps, overlaps};
use crate::tenure::{Tenures, stale_commits};
use crate::trouble::{Kind, Trouble};
use crate::witness::Entry;

/// Attempts that one replica makes at once, by its config.
pub(crate) const CONCURRENCY: usize = 8;

/// Deliveries that one blow to one replica may repeat. A handler has at most 1,999 outcomes that wait to be written and
/// its attempts in hand when it starts no more; and as many outcomes may be on their way into the store.
const BOUND: u64 = 2 * (1_999 + CONCURRENCY as u64);

/// Everything there is to compare.
pub(crate) struct Evidence<'a> {
    /// What WeCom's customers said, and how WeCom was called.
    pub(crate) ledger: &'a Ledger,
    /// What arrived.
    pub(crate) attempts: &'a [Attempt],
    /// What was answered with a 2xx, in that order.
    pub(crate) taken: &'a [Received],
    /// What the database saw.
    pub(crate) log: &'a [Entry],
    pub(crate) troubles: &'a [Trouble],
    /// Messages stored more than once.
    pub(crate) double_rows: u64,
    /// Deliveries given up.
    pub(crate) dead: u64,
}

/// All that was found. Shown, it is one line.
pub(crate) struct Verdict {
    /// Said, and neither received nor given up.
    pub(crate) lost: u64,
    pub(crate) double_rows: u64,
    /// Received for the first time after a later message of the same customer.
    pub(crate) order_violations: u64,
    /// Pages, retries and burials recorded by somebody other than the holder of the lease.
    pub(crate) stale_commits: u64,
    pub(crate) overlaps: Overlaps,
    /// Received again.
    pub(crate) dup_deliveries: u64,
    /// Most of them that the blows excuse.
    pub(crate) bound: u64,
    /// From the death of a replica until another had what it held, shortest first.
    pub(crate) takeovers: Vec<Moment>,
    pub(crate) gettoken: u64,
    /// Received, but never said; or filed under another customer.
    pub(crate) stray: u64,
    /// Pulls of one account that ran at once, by WeCom's clock.
    pub(crate) pulls_at_once: u64,
}

impl Verdict {
    /// Compares everything.
    pub(crate) fn of(evidence: &Evidence<'_>) -> Self {
        let Evidence {
            ledger,
            attempts,
            taken,
            log,
            troubles,
            double_rows,
            dead,
        } = evidence;
        let (received, tenures) = (ledger.verdict(taken), Tenures::of(log));
        let deaths = troubles.iter().filter(|trouble| trouble.kind == Kind::Killed);
        let takeovers = deaths.flat_map(|death| death.lives.iter().map(|life| (*life, death.began)));
        let mut takeovers: Vec<Moment> = takeovers
            .flat_map(|(life, died)| tenures.takeovers(life, died))
            .collect();
        takeovers.sort_unstable();
        let blows: usize = troubles.iter().map(|trouble| trouble.lives.len()).sum();
        Self {
            lost: received.lost.saturating_sub(*dead),
            double_rows: *double_rows,
            order_violations: received.order,
            stale_commits: stale_commits(log),
            overlaps: overlaps(attempts, &tenures, troubles),
            dup_deliveries: received.double,
            bound: blows as u64 * BOUND,
            takeovers,
            gettoken: ledger.counts.gettoken,
            stray: received.stray,
            pulls_at_once: received.overlap,
        }
    }

    /// The longest of the quickest 99 in 100.
    pub(crate) fn takeover_p99(&self) -> Option<Moment> {
        let rank = (self.takeovers.len() * 99).div_ceil(100);
        self.takeovers.get(rank.checked_sub(1)?).copied()
    }

    /// Fails unless nothing was lost, doubled without excuse, disordered, committed or begun without the right to it.
    pub(crate) fn assert_flawless(&self) {
        let flaws = [
            self.lost,
            self.double_rows,
            self.order_violations,
            self.stale_commits,
            self.overlaps.bare,
            self.stray,
        ];
        assert_eq!(
            flaws,
            [0; 6],
            "{self}\n{}",
            self.overlaps.example.as_deref().unwrap_or("")
        );
        assert!(self.dup_deliveries <= self.bound, "{self}");
        let brought_back = self.overlaps.most_woken;
        assert!(
            brought_back <= CONCURRENCY,
            "one sleep brought {brought_back} attempts back: {self}"
        );
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            lost,
            double_rows,
            order_violations,
            stale_commits,
            overlaps,
            dup_deliveries,
            bound,
            gettoken,
            stray,
            pulls_at_once,
            ..
        } = self;
        write!(
            f,
            "lost={lost} double_rows={double_rows} order_violations={order_violations} stale_commits={stale_commits} \
             overlap={} dup_deliveries={dup_deliveries} bound={bound} takeover_p99=",
            overlaps.bare
        )?;
        match self.takeover_p99() {
            Some(p99) => write!(f, "{:.2}s", p99.as_secs_f64())?,
            None => f.write_str("none")?,
        }
        write!(
            f,
            " gettoken={gettoken} in_hand={} woken={} pulls_at_once={pulls_at_once}",
            overlaps.in_hand, overlaps.woken
        )?;
        match stray {
            0 => Ok(()),
            _ => write!(f, " stray={stray}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use wecom_kf::id::{ExternalUserid, Msgid};
    use wecom_kf::simulator::{Draft, Settings, Simulator};

    use super::*;
    use crate::life::Life;
    use crate::witness::{Deed, Thing};

    const A: Life = Life { replica: 0, number: 0 };
    const B: Life = Life { replica: 1, number: 0 };

    /// What a customer said, three things in order, and what arrives when all is well.
    async fn said() -> (Ledger, Vec<Received>) {
        let settings = Settings::default();
        let account = settings.accounts[0].open_kfid.clone();
        let wecom = Simulator::start(settings).await.unwrap();
        let customer = ExternalUserid::from("wm1");
        let received = ["1", "2", "3"].map(|text| {
            let msgid: Msgid = wecom.say(&account, Draft::text(&customer, text)).unwrap();
            Received {
                open_kfid: account.clone(),
                msgid,
                external_userid: Some(customer.clone()),
            }
        });
        (wecom.ledger(), received.into())
    }

    fn judge(ledger: &Ledger, taken: &[Received], log: &[Entry], troubles: &[Trouble], dead: u64) -> Verdict {
        Verdict::of(&Evidence {
            ledger,
            attempts: &[],
            taken,
            log,
            troubles,
            double_rows: 0,
            dead,
        })
    }

    #[tokio::test]
    async fn what_is_neither_received_nor_given_up_is_lost() {
        let (ledger, all) = said().await;
        judge(&ledger, &all, &[], &[], 0).assert_flawless();
        assert_eq!(judge(&ledger, &all[..2], &[], &[], 0).lost, 1);
        assert_eq!(judge(&ledger, &all[..2], &[], &[], 1).lost, 0);
    }

    #[tokio::test]
    #[should_panic(expected = "dup_deliveries=1 bound=0")]
    async fn a_repetition_that_no_blow_excuses_is_a_flaw() {
        let (ledger, mut taken) = said().await;
        taken.push(taken[2].clone());
        judge(&ledger, &taken, &[], &[], 0).assert_flawless();
    }

    #[tokio::test]
    #[should_panic(expected = "order_violations=1")]
    async fn a_message_after_a_later_one_is_a_flaw() {
        let (ledger, mut taken) = said().await;
        taken.swap(1, 2);
        judge(&ledger, &taken, &[], &[], 0).assert_flawless();
    }

    #[tokio::test]
    async fn a_death_is_excused_within_its_bound_and_followed_by_a_takeover() {
        let (ledger, mut taken) = said().await;
        taken.push(taken[2].clone());
        let entry = |secs, who, shard| Entry {
            at: Moment::from_secs(secs),
            who: Some(who),
            thing: Thing::Shard(shard),
            deed: Deed::Took,
        };
        let log = [
            entry(1, A, 1),
            entry(1, A, 2),
            entry(1, B, 3),
            entry(8, B, 1),
            entry(9, B, 2),
        ];
        let death = Trouble {
            kind: Kind::Killed,
            lives: vec![A],
            began: Moment::from_secs(5),
            ended: Moment::MAX,
        };
        let verdict = judge(&ledger, &taken, &log, &[death], 0);
        verdict.assert_flawless();
        assert_eq!(verdict.takeovers, [3, 4].map(Moment::from_secs));
        let line = verdict.to_string();
        assert!(
            line.contains("dup_deliveries=1 bound=4014 takeover_p99=4.00s"),
            "{line}"
        );
    }
}
