//! What becomes of wake-ups, whoever recorded them.

use std::pin::pin;
use std::task::{Context, Waker};

use super::*;

fn board() -> (WakeUps, OpenKfid) {
    (WakeUps::new(AppName::new("main").unwrap()), OpenKfid::from("wk1"))
}

#[test]
fn a_thousand_callbacks_for_one_account_are_one_wake_up_with_the_newest_token() {
    let (board, wk1) = board();
    for n in 0..1000 {
        board.wake(wk1.clone(), Some(CallbackToken::new(format!("ENC{n}"))), UnixMillis(n));
    }
    assert_eq!(board.take_awake(), BTreeSet::from([wk1.clone()]));
    assert!(board.take_awake().is_empty());
    assert_eq!(board.take_unsaved().len(), 1);
    assert!(board.take_unsaved().is_empty());
    assert_eq!(board.token(&wk1, UnixMillis(999)).unwrap().expose(), "ENC999");
}

#[test]
fn a_token_is_used_for_nine_and_a_half_minutes_unless_it_is_refused() {
    let (board, wk1) = board();
    let token = CallbackToken::new("ENC1");
    board.wake(wk1.clone(), Some(token.clone()), UnixMillis(0));
    assert!(board.token(&wk1, UnixMillis(569_999)).is_some());
    assert!(board.token(&wk1, UnixMillis(570_000)).is_none());
    board.token_refused(&wk1, &CallbackToken::new("another"));
    assert!(board.token(&wk1, UnixMillis(1)).is_some());
    board.token_refused(&wk1, &token);
    assert!(board.token(&wk1, UnixMillis(1)).is_none());
}

#[test]
fn a_pull_answers_only_wake_ups_that_were_saved_before_it_began() {
    let (board, wk1) = board();
    board.wake(wk1.clone(), None, UnixMillis(1));
    let unsaved = board.take_unsaved();
    assert_eq!(board.number(&wk1), 0, "not known yet");
    board.saved(&[unsaved[0].account.clone()], &[7]);
    assert_eq!(board.number(&wk1), 7);
}

fn number(number: u64) -> UnansweredWakeUp {
    UnansweredWakeUp {
        number,
        token: None,
        at: UnixMillis(0),
    }
}

/// One wake-up that came here and was written down as the number `saved`, while the store told of `heard`.
fn woken_again_after(saved: u64, heard_meanwhile: &[u64], heard_later: &[u64]) -> bool {
    let (board, wk1) = board();
    board.take_up(&wk1, 5);
    board.wake(wk1.clone(), None, UnixMillis(1));
    assert_eq!(board.take_awake().len(), 1);
    let unsaved = board.take_unsaved();
    heard_meanwhile
        .iter()
        .for_each(|heard| board.hear(&wk1, number(*heard)));
    assert!(board.take_awake().is_empty(), "it may be ours");
    board.saved(&[unsaved[0].account.clone()], &[saved]);
    heard_later.iter().for_each(|heard| board.hear(&wk1, number(*heard)));
    !board.take_awake().is_empty()
}

#[test]
fn a_wake_up_of_our_own_is_not_acted_on_again_when_the_store_tells_of_it() {
    assert!(!woken_again_after(6, &[], &[]));
    assert!(!woken_again_after(6, &[6], &[6]));
    assert!(!woken_again_after(6, &[5], &[6, 6]));
}

#[test]
fn a_wake_up_that_somebody_else_recorded_is_acted_on_before_or_after_ours() {
    assert!(woken_again_after(7, &[], &[]), "a gap");
    assert!(woken_again_after(6, &[7], &[]));
    assert!(woken_again_after(6, &[], &[7]));
}

#[test]
fn a_wake_up_that_the_store_tells_of_is_acted_on_once_and_only_by_the_owner() {
    let (board, wk1) = board();
    board.know(&wk1);
    board.hear(&wk1, number(3));
    assert!(board.take_awake().is_empty(), "somebody else pulls it");
    board.take_up(&wk1, 3);
    let of_the_last_owner = UnansweredWakeUp {
        token: Some(CallbackToken::new("ENC3")),
        ..number(3)
    };
    board.hear(&wk1, of_the_last_owner);
    assert!(board.take_awake().is_empty(), "it was taken up with that");
    assert!(board.token(&wk1, UnixMillis(0)).is_none());
    let with_token = UnansweredWakeUp {
        token: Some(CallbackToken::new("ENC4")),
        ..number(4)
    };
    board.hear(&wk1, with_token);
    board.hear(&wk1, number(4));
    assert_eq!(board.take_awake().len(), 1);
    assert_eq!(board.token(&wk1, UnixMillis(0)).unwrap().expose(), "ENC4");
    board.hear(&wk1, number(4));
    assert!(board.take_awake().is_empty());
    assert_eq!(board.number(&wk1), 4, "a page asked for from now on answers it");
    board.let_go(&wk1);
    board.hear(&wk1, number(5));
    assert!(board.take_awake().is_empty());
}

#[test]
fn a_later_wake_up_without_a_token_makes_the_saved_token_no_younger() {
    let (board, wk1) = board();
    board.wake(wk1.clone(), Some(CallbackToken::new("ENC1")), UnixMillis(1));
    board.wake(wk1, None, UnixMillis(500_000));
    let unsaved = board.take_unsaved();
    assert_eq!(unsaved[0].token.as_ref().unwrap().expose(), "ENC1");
    assert_eq!(unsaved[0].at, UnixMillis(1));
}

#[test]
fn what_the_store_did_not_take_is_saved_again() {
    let (board, wk1) = board();
    board.wake(wk1, None, UnixMillis(1));
    let unsaved = board.take_unsaved();
    board.not_saved(unsaved);
    assert_eq!(board.take_unsaved().len(), 1);
}

#[test]
fn a_callback_that_names_no_account_wakes_all_without_its_token() {
    let (board, wk1) = board();
    board.know(&wk1);
    board.wake_all(UnixMillis(1));
    assert_eq!(board.take_awake(), BTreeSet::from([wk1.clone()]));
    assert!(board.take_awake().is_empty());
    assert!(board.token(&wk1, UnixMillis(1)).is_none());
}

#[test]
fn a_callback_whose_forerunner_is_being_saved_is_told_of_again() {
    let (board, wk1) = board();
    let told_of = |callback: &dyn Fn()| {
        let changed = pin!(board.changed());
        callback();
        changed.poll(&mut Context::from_waker(Waker::noop())).is_ready()
    };
    let wake = || board.wake(wk1.clone(), None, UnixMillis(1));
    assert!(told_of(&wake));
    assert!(!told_of(&wake), "whoever is to look has not looked yet");
    // Who pulls has not looked at it yet, who saves has.
    let _being_saved = board.take_unsaved();
    assert!(told_of(&wake));
    assert_eq!(board.take_unsaved().len(), 1);
}
