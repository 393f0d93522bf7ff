//! The rules every store keeps, as functions over any store, and what the SQLite one promises beyond them.
//!
//! A new backend implements [`bench::Bench`] and adds a line to `run_on!`.

#![expect(clippy::unwrap_used, reason = "a rule whose steps fail has failed")]

mod accounts;
mod bench;
mod dead_letters;
mod deliveries;
mod leases;
mod model;
mod moving;
mod pages;
mod postgres;
mod replies;
mod retention;
mod sqlite;
mod tokens;

/// Makes a test of every rule, on a fresh bench each.
macro_rules! contract {
    ($bench:ty: $($part:ident { $($rule:ident,)+ })+) => {$(
        mod $part {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $rule() {
                    crate::$part::$rule(&<$bench>::default()).await;
                }
            )+
        }
    )+};
}

/// Runs the whole contract on a kind of store.
macro_rules! run_on {
    ($($backend:ident: $bench:ty;)+) => {$(
        mod $backend {
            mod contract {
                contract! { $bench:
                    pages {
                        a_page_and_its_cursor_become_durable_together,
                        a_page_over_another_cursor_changes_nothing,
                        an_older_claim_cannot_commit,
                        a_page_without_a_next_cursor_leaves_the_cursor,
                        a_page_that_fails_half_way_changes_nothing,
                        a_message_is_stored_once_however_often_it_comes,
                        a_message_with_another_body_does_not_replace_the_first,
                        no_id_and_no_type_that_can_come_holds_up_a_page,
                        the_same_msgid_on_two_accounts_is_two_messages,
                        history_is_stored_without_being_owed,
                        numbers_grow_and_are_never_given_twice,
                        concurrent_commits_are_all_durable,
                        only_shards_that_got_work_are_news,
                    }
                    accounts {
                        the_first_pull_lasts_until_one_reaches_the_end,
                        a_wake_up_does_not_begin_the_first_pull,
                        wake_ups_are_numbered_one_by_one_per_account,
                        a_wake_up_outlives_the_process_until_it_is_answered,
                        a_pull_answers_only_wake_ups_known_when_it_began,
                        a_reset_cursor_starts_over_without_a_new_first_pull,
                        a_reset_under_an_old_claim_changes_nothing,
                        a_store_that_takes_writes_passes_its_check,
                    }
                    deliveries {
                        handlers_keep_their_ids,
                        a_new_handler_gets_only_what_is_stored_later,
                        pending_comes_in_order_behind_each_position,
                        pending_tells_what_was_stored,
                        urgent_ones_come_with_what_their_customers_are_owed_before,
                        urgent_ones_are_read_for_so_many_customers_of_each_shard,
                        a_customer_who_is_owed_too_much_before_is_left_out_of_the_urgent,
                        what_is_done_is_no_longer_owed,
                        a_retry_is_owed_later_also_after_a_restart,
                        naming_what_is_not_owed_changes_nothing,
                        backlog_counts_handlers_no_longer_configured,
                        what_is_owed_to_one_handler_can_be_forgotten_step_by_step,
                    }
                    dead_letters {
                        a_dead_letter_tells_what_was_given_up_and_why,
                        dead_letters_come_oldest_death_first,
                        dead_letters_are_selected_by_handler_and_number,
                        a_replayed_letter_is_owed_afresh,
                        another_process_sees_that_letters_were_replayed,
                        a_dropped_letter_is_gone_and_its_message_stays,
                    }
                    replies {
                        a_reply_is_found_by_what_it_answers_and_by_its_own_id,
                        a_reply_is_remembered_once_as_it_was_first,
                        replies_are_told_in_the_order_of_acceptance,
                        a_reply_belongs_to_its_customer_alone,
                        a_reply_outlives_the_process_and_the_message_it_answers,
                        only_old_replies_are_forgotten_and_no_more_than_asked,
                        a_reply_of_nobody_is_refused,
                    }
                    retention {
                        only_old_messages_are_pruned_and_no_more_than_asked,
                        what_is_owed_or_dead_is_kept,
                        one_message_from_a_clock_that_was_ahead_does_not_keep_the_others,
                        a_pruned_message_counts_as_new,
                        a_message_within_its_retention_is_known_however_often_one_prunes,
                        a_body_goes_before_its_message_which_is_known_all_the_same,
                        what_is_owed_or_dead_keeps_its_body,
                    }
                }

                #[test]
                fn any_sequence_of_operations_agrees_with_the_model() {
                    crate::model::any_sequence_of_operations_agrees_with_the_model::<$bench>();
                }
            }
        }
    )+};
}

/// Runs the rules for those who share a store.
macro_rules! share_on {
    ($($backend:ident: $bench:ty;)+) => {$(
        mod $backend {
            contract! { $bench:
                leases {
                    a_take_over_raises_the_fence_and_a_renewal_keeps_it,
                    what_ran_out_and_nobody_took_is_held_again,
                    a_late_owner_can_neither_claim_nor_commit,
                    nobody_claims_an_unknown_account_under_a_fence_it_never_had,
                    a_late_owner_can_neither_put_off_nor_bury_but_what_is_done_counts,
                    replicas_that_take_at_once_never_hold_the_same_right,
                    what_is_given_back_is_free_at_once,
                    a_replica_counts_from_its_first_renewal_until_it_leaves,
                    whoever_asks_is_told_what_nobody_does,
                    a_clock_goes_by_the_stores,
                    only_the_holder_is_told_of_a_wake_up,
                    no_clock_but_the_stores_ends_a_lease,
                    a_reader_skips_nothing_whoever_commits,
                }
            }
        }
    )+};
}

mod on {
    run_on! {
        sqlite: crate::sqlite::SqliteBench;
        postgres: crate::postgres::bench::PostgresBench;
    }

    mod shared {
        contract! { crate::postgres::bench::PostgresBench:
            tokens {
                one_asker_at_a_time_has_the_right,
                whoever_has_the_right_may_ask_again,
                a_token_is_found_by_others_and_is_as_old_as_it_is,
                the_token_to_replace_is_not_offered_again,
                a_refused_token_is_offered_to_nobody,
                a_right_ends_by_itself,
                a_token_ends_with_its_life,
                a_right_that_was_given_up_is_free_at_once,
                a_refusal_holds_for_all_until_it_is_over,
                a_token_that_works_is_offered_although_its_renewal_was_refused,
                apps_do_not_meet,
                a_token_outlives_the_process_and_debug_does_not_show_it,
                three_clients_ask_wecom_once_for_each_token_that_is_revoked,
                three_clients_ask_wecom_no_more_than_one_would,
            }
        }
    }
}

mod shared_on {
    share_on! {
        postgres: crate::postgres::bench::PostgresBench;
    }
}

/// What hands each call to another server connection may be in between.
mod through_pgbouncer {
    contract! { crate::postgres::bench::PooledBench:
        pages {
            a_page_and_its_cursor_become_durable_together,
            a_page_that_fails_half_way_changes_nothing,
            a_message_with_another_body_does_not_replace_the_first,
            concurrent_commits_are_all_durable,
            only_shards_that_got_work_are_news,
        }
        accounts {
            wake_ups_are_numbered_one_by_one_per_account,
            a_store_that_takes_writes_passes_its_check,
        }
        deliveries {
            handlers_keep_their_ids,
            urgent_ones_come_with_what_their_customers_are_owed_before,
            naming_what_is_not_owed_changes_nothing,
        }
        dead_letters {
            a_replayed_letter_is_owed_afresh,
            another_process_sees_that_letters_were_replayed,
        }
        retention {
            only_old_messages_are_pruned_and_no_more_than_asked,
        }
        leases {
            a_take_over_raises_the_fence_and_a_renewal_keeps_it,
            a_late_owner_can_neither_claim_nor_commit,
            a_late_owner_can_neither_put_off_nor_bury_but_what_is_done_counts,
            replicas_that_take_at_once_never_hold_the_same_right,
            a_reader_skips_nothing_whoever_commits,
        }
    }
}
