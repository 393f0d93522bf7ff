//! What may happen to a store.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::{ACCOUNTS, HANDLERS};

#[derive(Clone, Debug)]
pub(super) enum Operation {
    WakeUp {
        account: usize,
        token: Option<u8>,
    },
    Claim {
        account: usize,
    },
    Commit {
        account: usize,
        claim: Which,
        messages: Vec<Draft>,
        ends: Option<u64>,
        moves: bool,
    },
    ResetCursor {
        account: usize,
        claim: Which,
    },
    Finish(Vec<(usize, usize, Fate)>),
    Replay(Selection),
    Drop(Selection),
    Prune {
        before: i64,
        limit: usize,
    },
    Reopen,
    Crash,
}

/// Which of an account's claims is used.
#[derive(Clone, Copy, Debug)]
pub(super) enum Which {
    Current,
    Earlier,
}

#[derive(Clone, Debug)]
pub(super) struct Draft {
    pub(super) msgid: u8,
    pub(super) send_time: u64,
    pub(super) body: u8,
    pub(super) customer: usize,
    pub(super) urgent: bool,
    pub(super) owed_to: BTreeSet<usize>,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Fate {
    Done,
    Retry(u32),
    Dead,
}

/// Handler, and message by its place among those known.
pub(super) type Selection = (Option<usize>, Option<usize>);

pub(super) fn operation() -> impl Strategy<Value = Operation> {
    let an_account = 0..ACCOUNTS.len();
    let a_handler = 0..HANDLERS.len();
    let which = prop_oneof![3 => Just(Which::Current), 1 => Just(Which::Earlier)];
    let draft = (
        0..12u8,
        0..2u64,
        prop_oneof![6 => Just(0), 1 => Just(1u8)],
        0..4usize,
        prop::bool::weighted(0.2),
        prop::collection::btree_set(a_handler.clone(), 0..=2),
    )
        .prop_map(|(msgid, send_time, body, customer, urgent, owed_to)| Draft {
            msgid,
            send_time,
            body,
            customer,
            urgent,
            owed_to,
        });
    let fate = prop_oneof![
        2 => Just(Fate::Done),
        1 => (1..5u32).prop_map(Fate::Retry),
        2 => Just(Fate::Dead),
    ];
    let selection = (prop::option::of(a_handler.clone()), prop::option::of(0..12usize));
    prop_oneof![
        2 => (an_account.clone(), prop::option::of(any::<u8>()))
            .prop_map(|(account, token)| Operation::WakeUp { account, token }),
        2 => an_account.clone().prop_map(|account| Operation::Claim { account }),
        8 => (
            an_account.clone(),
            which.clone(),
            prop::collection::vec(draft, 0..6),
            prop::option::of(0..4u64),
            prop::bool::weighted(0.8),
        )
            .prop_map(|(account, claim, messages, ends, moves)| Operation::Commit {
                account,
                claim,
                messages,
                ends,
                moves
            }),
        1 => (an_account, which).prop_map(|(account, claim)| Operation::ResetCursor { account, claim }),
        6 => prop::collection::vec((a_handler, 0..12usize, fate), 0..6).prop_map(Operation::Finish),
        1 => selection.clone().prop_map(Operation::Replay),
        1 => selection.prop_map(Operation::Drop),
        2 => (0..40i64, 0..4usize).prop_map(|(before, limit)| Operation::Prune { before, limit }),
        1 => Just(Operation::Reopen),
        1 => Just(Operation::Crash),
    ]
}
