//! Without any one of its rules the protocol breaks a law.

use stateright::{Checker, HasDiscoveries, Model};

use crate::{
    broken::Broken,
    laws::Law,
    protocol::Protocol,
    scenarios::{self, Scenario},
};

/// Explores a scenario without a rule until this law is broken. Depth first, for any trace will do; `spawn_bfs` gives a short
/// one to read.
fn breaks(law: Law, scenario: Scenario, without: Broken) {
    let found = HasDiscoveries::AnyOf([law.name()].into());
    let checker = Protocol::new(scenario, Some(without)).checker().finish_when(found).spawn_dfs().join();
    checker.assert_any_discovery(law.name());
}

/// One test for each way to leave a rule out.
macro_rules! breaks {
    ($($name:ident: $law:ident in $scenario:ident without $rule:ident;)+) => {
        $(
            #[test]
            fn $name() {
                breaks(Law::$law, scenarios::$scenario(), Broken::$rule);
            }
        )+
    };
}

breaks! {
    a_deleted_entry_lets_a_late_fill_in: NoAcceptAfterRevoke in check_and_revoke without DeleteForTombstone;
    a_plain_set_overwrites_a_tombstone: NoAcceptAfterRevoke in check_and_revoke without FillWithoutNx;
    a_fill_reaches_a_server_that_forgot_the_tombstone: NoAcceptAfterRevoke in check_and_revoke without FillOnAnyConnection;
    an_entry_comes_back_from_a_snapshot: NoAcceptAfterRevoke in check_and_revoke without BelieveRestoredEntries;
    an_entry_comes_back_by_failing_over_and_back: NoAcceptAfterRevoke in check_and_revoke without IdentifyByProcess;
    an_evicted_tombstone_lets_a_late_fill_in: NoAcceptAfterRevoke in check_and_revoke without EvictTombstones;
    an_entry_survives_a_revocation_without_tombstones: NoAcceptAfterRevoke in check_and_revoke without SucceedWithoutTombstones;
    a_deposed_primary_misses_a_revocation: NoAcceptAfterRevoke in check_and_revoke without DeposedPrimaryAnswers;
    a_refresh_slips_between_sweep_and_mark: NoAcceptAfterRevoke in refresh_and_revoke without SweepBeforeCommit;
    a_session_that_a_deposed_primary_does_not_know_outlives_its_revocation: NoAcceptAfterRevoke in revoke_at_a_deposed_primary without BelieveAbsence;
    an_entry_outlives_the_revocation_of_an_expired_token: NoAcceptAfterRevoke in expiry without PassOverLeeway;
    an_entry_outlives_the_record_that_was_removed_early: NoRevival in expiry without PurgeWithoutMargin;
    an_entry_dated_late_outlives_its_lease: NoAcceptAfterRevoke in local_caches without DateAfterCheck;
    an_entry_survives_a_revocation_on_its_own_node: NoAcceptAfterRevoke in local_caches without ForgetNothing;
    two_refreshes_that_look_first_both_win: OneChild in refresh_and_revoke without RotateUnconditionally;
    two_refreshes_that_answer_first_both_answer: OneChild in refresh_and_revoke without HandOutBeforeCommit;
    a_retry_mints_a_second_child: OneChild in refresh_and_revoke without SecondChild;
    a_stolen_token_is_answered_for_ever: TheftEndsTheSession in refresh_and_revoke without GraceEnds;
    a_thief_who_is_only_refused_ends_nothing: TheftEndsTheSession in refresh_and_revoke without ReuseOnlyRefused;
    a_thief_of_an_older_token_ends_nothing: TheftEndsTheSession in refresh_beside_a_deposed_primary without OnlyThePreviousIsPunished;
    an_owner_who_was_given_nothing_is_punished_for_coming_late: TheftEndsTheSession in retry_after_the_window without TakeCommitForDelivery;
    of_two_retries_after_an_outage_the_second_is_punished: TheftEndsTheSession in refresh_and_fail_over without WindowFromNote;
    the_same_after_a_failover: TheftEndsTheSession in refresh_and_fail_over without TakeCommitForDelivery;
    a_late_note_closes_the_window_on_the_next_pair: TheftEndsTheSession in retry_after_the_window without NoteUnconditionally;
    a_punishment_that_was_cut_short_leaves_an_access_token: NoAcceptAfterRevoke in refresh_and_revoke without RefuseUnfinished;
    a_token_that_was_revoked_by_halves_leaves_its_session: TheftEndsTheSession in retry_and_revoke_token without RefuseRevokedToken;
    a_lost_race_is_punished: TheftEndsTheSession in refresh_and_revoke without PunishLostRace;
    an_old_read_is_punished: TheftEndsTheSession in refresh_beside_a_deposed_primary without PunishUnconditionally;
    a_pair_is_repeated_whose_commit_is_lost: OneChild in refresh_and_fail_over without RepeatUnconfirmed;
    the_holder_of_a_lost_pair_is_taken_for_a_thief: TheftEndsTheSession in refresh_and_fail_over without RepeatUnconfirmed;
    a_sign_in_outlives_a_revocation_of_all: RevokeAllIsAFence in sign_in_and_revoke_all without SignInWithoutFence;
    a_fence_that_was_lost_is_raised_to_the_same_height: RevokeAllIsAFence in sign_in_and_fail_over without FenceReadLocally;
    who_signed_in_since_is_signed_out_by_a_revocation_that_broke_off: TheftEndsTheSession in resumed_revoke_all without ResumeFromTheFence;
    the_old_password_opens_a_session_after_the_change: RevokeAllIsAFence in change_of_password without FenceReadAfterPassword;
    the_session_of_whoever_changes_the_password_ends: TheftEndsTheSession in change_of_password without SpareNobody;
    the_session_that_is_spared_is_left_without_tokens: FailClosed in change_of_password without SweepTheSpared;
    an_access_token_takes_its_session_along: TheftEndsTheSession in revoke_access_token without TokenEndsSession;
    a_tombstone_is_forgotten_before_the_record_is_made: NoAcceptAfterRevoke in revoke_access_token without BuryBeforeRecord;
    a_single_use_token_that_is_looked_at_first_is_used_twice: UsedOnce in consume without ConsumeCheckThenSet;
    an_outage_lets_a_revoked_token_through: NoAcceptAfterRevoke in outage without FailOpen;
    an_outage_refuses_a_good_token: FailClosed in outage without FailureIsAbsence;
    an_outage_refuses_a_good_refresh_token: FailClosed in outage without FailureIsInvalidGrant;
}
