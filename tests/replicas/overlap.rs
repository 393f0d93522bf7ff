//! Attempts for one customer that ran at once, by the receiver's clock, and what excuses them.
//!
//! A message may be handed out twice where a lease ran out in the middle of an attempt: nobody can call back what is in
//! hand. Exactly this is excused, and counted apart:
//!
//! * [`Overlaps::in_hand`]: the sender held the shard when the attempt began, and another took it before the end, because
//!   the lease had run out. One that gave the shard back had no business to have an attempt in hand.
//! * [`Overlaps::woken`]: the sender was stopped (`SIGSTOP`) between its last look at its lease and the first byte it
//!   sent. What it had in hand then arrives when it wakes, and not later than [`YAWN`] after. That is at most as many
//!   attempts as the handler makes at once.
//!
//! Everything else is a fault.

use std::collections::{HashMap, HashSet};

use wecom_kf::id::{AccountKey, AppName, ExternalUserid, OpenKfid};
use wecom_kf::simulator::Received;
use wecom_kf::store::Lane;

use crate::book::Attempt;
use crate::moment::Moment;
use crate::tenure::{Loss, Tenures};
use crate::trouble::{Kind, Trouble};
use crate::witness::Thing;

/// How long after waking a process may still be sending what it had in hand.
const YAWN: Moment = Moment::from_secs(2);

/// Pairs of attempts that overlapped.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Overlaps {
    /// Without an excuse.
    pub(crate) bare: u64,
    /// Because a lease ran out in the middle of an attempt.
    pub(crate) in_hand: u64,
    /// Because a process slept in the middle of an attempt.
    pub(crate) woken: u64,
    /// Most attempts that one process brought back from one sleep.
    pub(crate) most_woken: usize,
    /// The first one without an excuse, for people.
    pub(crate) example: Option<String>,
}

/// Why two attempts were allowed to overlap.
enum Excuse {
    InHand,
    /// The attempt at this place came out of the sleep of this number.
    Woken {
        sleep: usize,
        place: usize,
    },
}

struct Court<'a> {
    tenures: &'a Tenures,
    troubles: &'a [Trouble],
}

/// Compares all `attempts` with each other.
pub(crate) fn overlaps(attempts: &[Attempt], tenures: &Tenures, troubles: &[Trouble]) -> Overlaps {
    let court = Court { tenures, troubles };
    let mut found = Overlaps::default();
    let mut brought_back: HashMap<usize, HashSet<usize>> = HashMap::new();
    let mut open: HashMap<(&OpenKfid, &ExternalUserid), Vec<usize>> = HashMap::new();
    // They are in the order of their beginnings.
    for (place, later) in attempts.iter().enumerate() {
        // Events that concern no customer have no order to keep.
        let Some(customer) = &later.received.external_userid else {
            continue;
        };
        let open = open.entry((&later.received.open_kfid, customer)).or_default();
        open.retain(|earlier| attempts[*earlier].ended > later.began);
        for earlier in open.iter().copied() {
            match court.excuse((earlier, &attempts[earlier]), (place, later)) {
                Some(Excuse::InHand) => found.in_hand += 1,
                Some(Excuse::Woken { sleep, place }) => {
                    found.woken += 1;
                    brought_back.entry(sleep).or_default().insert(place);
                }
                None => {
                    found.bare += 1;
                    let example = || court.story(&attempts[earlier], later);
                    found.example.get_or_insert_with(example);
                }
            }
        }
        open.push(place);
    }
    found.most_woken = brought_back.values().map(HashSet::len).max().unwrap_or(0);
    found
}

impl Court<'_> {
    fn excuse(&self, earlier: (usize, &Attempt), later: (usize, &Attempt)) -> Option<Excuse> {
        if earlier.1.life == later.1.life {
            return None;
        }
        let woken = [later, earlier].into_iter().find_map(|(place, attempt)| {
            let sleep = self.sleep_before(attempt)?;
            Some(Excuse::Woken { sleep, place })
        });
        woken.or_else(|| self.was_lost(earlier.1, later.1.began).then_some(Excuse::InHand))
    }

    /// Whether `attempt` began under a lease that was taken from its sender up to `then`.
    fn was_lost(&self, attempt: &Attempt, then: Moment) -> bool {
        let shard = shard_of(&attempt.received);
        self.tenures.holder(&shard, attempt.began) == Some(attempt.life)
            && self.tenures.loss(&shard, attempt.life, attempt.began, then) == Some(Loss::Taken)
    }

    /// The sleep out of which `attempt` came, if its sender lost the lease in its sleep.
    fn sleep_before(&self, attempt: &Attempt) -> Option<usize> {
        let shard = shard_of(&attempt.received);
        self.troubles.iter().position(|trouble| {
            trouble.kind == Kind::Paused
                && trouble.lives.contains(&attempt.life)
                && attempt.began >= trouble.began
                && attempt.began <= trouble.ended.saturating_add(YAWN)
                && self.tenures.holder(&shard, trouble.began) == Some(attempt.life)
                && self.tenures.loss(&shard, attempt.life, trouble.began, attempt.began) == Some(Loss::Taken)
        })
    }

    fn story(&self, earlier: &Attempt, later: &Attempt) -> String {
        let shard = shard_of(&earlier.received);
        let side = |attempt: &Attempt| {
            format!(
                "{} by {} from {:.3?} to {:.3?} ({:?}), the holder then {:?}",
                attempt.received.msgid,
                attempt.life,
                attempt.began,
                attempt.ended,
                attempt.end,
                self.tenures.holder(&shard, attempt.began).map(|life| life.to_string()),
            )
        };
        format!("{shard:?}: {}; {}", side(earlier), side(later))
    }
}

/// Shard whose holder alone may hand `received` out.
pub(crate) fn shard_of(received: &Received) -> Thing {
    let app = AppName::new("main").expect("a name");
    let account = AccountKey::new(app, received.open_kfid.clone());
    let party = received.external_userid.as_ref().map_or("", ExternalUserid::as_str);
    Thing::Shard(Lane::of(&account, party).shard().number())
}

#[cfg(test)]
mod tests {
    use wecom_kf::id::Msgid;

    use super::*;
    use crate::book::End;
    use crate::life::Life;
    use crate::witness::{Deed, Entry};

    const A: Life = Life { replica: 0, number: 0 };
    const B: Life = Life { replica: 1, number: 0 };

    fn secs(secs: f64) -> Moment {
        Moment::from_secs_f64(secs)
    }

    /// An attempt at a message of the one customer there is.
    fn attempt(life: Life, began: f64, ended: f64) -> Attempt {
        Attempt {
            life,
            received: Received {
                open_kfid: OpenKfid::from("wk1"),
                msgid: Msgid::from("m1"),
                external_userid: Some(ExternalUserid::from("wm1")),
            },
            webhook_id: "id".to_owned(),
            began: secs(began),
            ended: secs(ended),
            end: End::Taken,
        }
    }

    /// Compares `attempts`, after `deeds` concerning the customer's shard and the sleeps of A.
    fn judge(attempts: &[Attempt], deeds: &[(f64, Life, Deed)], sleeps: &[(f64, f64)]) -> Overlaps {
        let thing = shard_of(&attempts[0].received);
        let log: Vec<Entry> = deeds
            .iter()
            .map(|(at, who, deed)| Entry {
                at: secs(*at),
                who: Some(*who),
                thing: thing.clone(),
                deed: *deed,
            })
            .collect();
        let sleep = |(began, ended): &(f64, f64)| Trouble {
            kind: Kind::Paused,
            lives: vec![A],
            began: secs(*began),
            ended: secs(*ended),
        };
        let troubles: Vec<Trouble> = sleeps.iter().map(sleep).collect();
        overlaps(attempts, &Tenures::of(&log), &troubles)
    }

    fn counts(overlaps: &Overlaps) -> [u64; 3] {
        [overlaps.bare, overlaps.in_hand, overlaps.woken]
    }

    #[test]
    fn one_after_the_other_is_no_overlap() {
        let attempts = [attempt(A, 1.0, 2.0), attempt(B, 2.0, 3.0), attempt(A, 3.5, 4.0)];
        assert_eq!(judge(&attempts, &[], &[]), Overlaps::default());
    }

    #[test]
    fn a_process_beside_itself_is_never_excused() {
        let attempts = [attempt(A, 1.0, 3.0), attempt(A, 2.0, 4.0)];
        let deeds = [(0.0, A, Deed::Took), (1.5, B, Deed::Took), (1.7, A, Deed::Took)];
        assert_eq!(counts(&judge(&attempts, &deeds, &[(1.2, 1.8)])), [1, 0, 0]);
    }

    #[test]
    fn what_was_in_hand_when_the_lease_ran_out_is_excused() {
        let attempts = [attempt(A, 1.0, 5.0), attempt(B, 4.0, 6.0)];
        let deeds = [(0.0, A, Deed::Took), (3.5, B, Deed::Took)];
        assert_eq!(counts(&judge(&attempts, &deeds, &[])), [0, 1, 0]);
    }

    #[test]
    fn a_shard_given_back_with_an_attempt_in_hand_is_a_fault() {
        let attempts = [attempt(A, 1.0, 5.0), attempt(B, 4.0, 6.0)];
        let deeds = [(0.0, A, Deed::Took), (3.0, A, Deed::GaveBack), (3.5, B, Deed::Took)];
        let found = judge(&attempts, &deeds, &[]);
        assert_eq!(counts(&found), [1, 0, 0]);
        assert!(found.example.unwrap().contains("m1"));
    }

    #[test]
    fn an_attempt_without_a_lease_is_a_fault() {
        let attempts = [attempt(A, 1.0, 5.0), attempt(B, 4.0, 6.0)];
        assert_eq!(counts(&judge(&attempts, &[(0.0, A, Deed::Took)], &[])), [1, 0, 0]);
        // It began after the lease had been taken from it.
        let attempts = [attempt(B, 4.0, 6.0), attempt(A, 5.0, 7.0)];
        let deeds = [(0.0, A, Deed::Took), (3.5, B, Deed::Took)];
        assert_eq!(counts(&judge(&attempts, &deeds, &[])), [1, 0, 0]);
    }

    #[test]
    fn what_a_process_brings_back_from_its_sleep_is_excused_and_counted() {
        let attempts = [attempt(B, 4.0, 7.0), attempt(A, 5.1, 8.0), attempt(A, 9.0, 9.5)];
        let deeds = [(0.0, A, Deed::Took), (3.5, B, Deed::Took)];
        let found = judge(&attempts, &deeds, &[(1.0, 5.0)]);
        assert_eq!((counts(&found), found.most_woken), ([0, 0, 1], 1));
        // The same without a sleep, and long after it.
        assert_eq!(counts(&judge(&attempts, &deeds, &[])), [1, 0, 0]);
        assert_eq!(counts(&judge(&attempts, &deeds, &[(1.0, 2.0)])), [1, 0, 0]);
    }

    #[test]
    fn customers_do_not_wait_for_each_other() {
        let mut other = attempt(B, 1.5, 3.0);
        other.received.external_userid = Some(ExternalUserid::from("wm2"));
        let mut nobody = attempt(B, 1.6, 3.0);
        nobody.received.external_userid = None;
        assert_eq!(
            judge(&[attempt(A, 1.0, 2.0), other, nobody], &[], &[]),
            Overlaps::default()
        );
    }
}
