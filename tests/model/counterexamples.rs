//! With any one mutation the protocol breaks a law.

use stateright::{Checker, HasDiscoveries, Model};

use crate::{
    laws::Law,
    mutation::Mutation,
    protocol::Protocol,
    scenarios::{self, Scenario},
};

/// Explores a mutated scenario until this law is broken. Searches depth first, because any
/// trace will do; `spawn_bfs` finds a short one to read.
fn assert_law_breaks(law: Law, scenario: Scenario, mutation: Mutation) {
    let found = HasDiscoveries::AnyOf([law.name()].into());
    let checker = Protocol::new(scenario, Some(mutation)).checker().finish_when(found).spawn_dfs().join();
    checker.assert_any_discovery(law.name());
}

/// Makes one test for each mutation and law.
macro_rules! breaks {
    ($($name:ident: $law:ident in $scenario:ident with $mutation:ident;)+) => {
        $(
            #[test]
            fn $name() {
                assert_law_breaks(Law::$law, scenarios::$scenario(), Mutation::$mutation);
            }
        )+
    };
}

breaks! {
    redis_without_tombstones_lets_a_late_fill_in: NoAcceptAfterRevoke in check_and_revoke with DeleteInsteadOfTombstone;
    redis_fill_without_nx_overwrites_a_tombstone: NoAcceptAfterRevoke in check_and_revoke with FillWithoutNx;
    redis_fill_on_any_connection_reaches_a_server_without_the_tombstone: NoAcceptAfterRevoke in check_and_revoke with FillOnAnyConnection;
    redis_entry_comes_back_from_a_snapshot: NoAcceptAfterRevoke in check_and_revoke with BelieveRestoredEntries;
    redis_entry_comes_back_by_failing_over_and_back: NoAcceptAfterRevoke in check_and_revoke with IdentifyByProcess;
    redis_that_evicts_a_tombstone_lets_a_late_fill_in: NoAcceptAfterRevoke in check_and_revoke with EvictTombstones;
    redis_entry_survives_a_revocation_without_tombstones: NoAcceptAfterRevoke in check_and_revoke with SucceedWithoutTombstones;
    check_at_a_deposed_primary_misses_a_revocation: NoAcceptAfterRevoke in check_and_revoke with DeposedPrimaryAnswers;
    refresh_slips_between_sweep_and_mark: NoAcceptAfterRevoke in refresh_and_revoke with SweepBeforeCommit;
    revoke_of_a_session_unknown_to_a_deposed_primary_is_lost: NoAcceptAfterRevoke in revoke_at_a_deposed_primary with BelieveAbsence;
    redis_entry_outlives_the_revocation_of_an_expired_token: NoAcceptAfterRevoke in expiry with SkipTokensInLeeway;
    purge_without_a_margin_leaves_an_entry_without_its_record: NoRevival in expiry with PurgeWithoutMargin;
    cache_entry_dated_late_outlives_its_lease: NoAcceptAfterRevoke in local_caches with DateEntryAfterCheck;
    cache_entry_survives_a_revocation_on_its_own_node: NoAcceptAfterRevoke in local_caches with KeepOwnCacheEntries;
    refresh_that_looks_first_wins_twice: OneChild in refresh_and_revoke with RotateUnconditionally;
    refresh_that_answers_before_the_commit_answers_twice: OneChild in refresh_and_revoke with DeliverBeforeCommit;
    refresh_retry_makes_a_second_child: OneChild in refresh_and_revoke with SecondChild;
    reuse_of_a_stolen_token_is_answered_for_ever: TheftEndsTheSession in refresh_and_revoke with WindowNeverCloses;
    reuse_that_is_only_refused_ends_no_session: TheftEndsTheSession in refresh_and_revoke with ReuseOnlyRefused;
    reuse_of_an_older_token_ends_no_session: TheftEndsTheSession in refresh_beside_a_deposed_primary with IgnoreReuseOfOlderToken;
    reuse_is_falsely_found_in_a_late_retry_that_was_given_nothing: TheftEndsTheSession in retry_after_the_window with CommitCountsAsDelivery;
    reuse_is_falsely_found_in_the_second_retry_after_an_outage: TheftEndsTheSession in refresh_and_fail_over with WindowStartsAtRotation;
    reuse_is_falsely_found_in_a_late_retry_after_a_failover: TheftEndsTheSession in refresh_and_fail_over with CommitCountsAsDelivery;
    refresh_delivery_mark_that_is_late_closes_the_window_on_the_next_pair: TheftEndsTheSession in retry_after_the_window with MarkDeliveredUnconditionally;
    reuse_that_broke_off_leaves_an_access_token: NoAcceptAfterRevoke in refresh_and_revoke with LeaveRevocationUnfinished;
    revoke_of_a_token_that_broke_off_leaves_its_session: TheftEndsTheSession in retry_and_revoke_token with RefuseRevokedTokenAlone;
    reuse_is_falsely_found_in_a_lost_race: TheftEndsTheSession in refresh_and_revoke with LostRaceIsReuse;
    reuse_is_falsely_found_in_a_stale_read: TheftEndsTheSession in refresh_beside_a_deposed_primary with RevokeForReuseUnconditionally;
    refresh_repeats_a_pair_whose_commit_is_lost: OneChild in refresh_and_fail_over with RepeatUnconfirmedPair;
    reuse_is_falsely_found_in_the_holder_of_a_lost_pair: TheftEndsTheSession in refresh_and_fail_over with RepeatUnconfirmedPair;
    sign_in_outlives_a_revoke_all: RevokeAllIsAFence in sign_in_and_revoke_all with SignInWithoutFence;
    sign_in_meets_a_fence_that_was_lost_and_raised_to_the_same_epoch: RevokeAllIsAFence in sign_in_and_fail_over with ReadFenceLocally;
    revoke_all_that_broke_off_ends_later_sign_ins: TheftEndsTheSession in resumed_revoke_all with ResumeRaisesFence;
    password_that_was_changed_opens_a_session: RevokeAllIsAFence in password_change with ReadFenceAfterPassword;
    password_change_ends_its_own_session: TheftEndsTheSession in password_change with RevokeOwnSession;
    password_change_leaves_the_spared_session_without_tokens: FailClosed in password_change with SweepSparedSession;
    revoke_of_an_access_token_ends_its_session: TheftEndsTheSession in revoke_access_token with TokenEndsSession;
    revoke_that_puts_the_tombstone_first_loses_it_before_the_record: NoAcceptAfterRevoke in revoke_access_token with TombstoneBeforeRecord;
    single_use_token_that_is_looked_at_first_is_accepted_twice: UsedOnce in consume with ReadThenConsume;
    denial_that_records_an_earlier_time_reopens_the_later: DeniedIsDenied in deny_and_check with RecordLastDenial;
    denial_that_puts_an_earlier_time_reopens_the_later: DeniedIsDenied in deny_and_check with PutLastDenial;
    denial_that_puts_its_own_time_hides_one_that_redis_lost: DeniedIsDenied in deny_and_check with PutDenialWithoutReading;
    denial_on_any_server_hides_one_that_redis_lost: DeniedIsDenied in deny_and_check with PutDenialOnAnyServer;
    denial_whose_entry_ends_early_lets_a_late_fill_in: DeniedIsDenied in deny_and_check with EndDenialEntriesEarly;
    denial_without_an_entry_leaves_the_one_that_is_there: DeniedIsDenied in deny_and_check with SucceedWithoutTombstones;
    denial_is_replaced_by_a_fill_without_nx: DeniedIsDenied in deny_and_check with FillWithoutNx;
    denial_meets_a_fill_on_any_connection: DeniedIsDenied in deny_and_check with FillOnAnyConnection;
    denial_comes_undone_by_a_snapshot: DeniedIsDenied in deny_and_check with BelieveRestoredEntries;
    denial_at_a_deposed_primary_is_missed: DeniedIsDenied in deny_and_check with DeposedPrimaryAnswers;
    denial_that_is_over_by_one_clock_is_over_for_all: DeniedIsDenied in deny_with_a_clock_ahead with FillByOwnClock;
    outage_lets_a_denied_token_through: DeniedIsDenied in deny_and_fail_over with FailOpen;
    outage_lets_a_revoked_token_through: NoAcceptAfterRevoke in outage with FailOpen;
    outage_refuses_a_good_token: FailClosed in outage with FailureIsAbsence;
    outage_refuses_a_good_refresh_token: FailClosed in outage with FailureIsInvalidGrant;
}
