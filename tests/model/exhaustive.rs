//! The laws hold in every state of every scenario.

use std::ops::BitOr;

use stateright::{Checker, Model};

use crate::{
    protocol::{self, Protocol},
    scenarios::{self, Scenario},
};

/// Explores a scenario to its end: the laws hold in every state, what must happen some time does, and processes have died
/// wherever they can.
fn holds(scenario: Scenario) {
    let (at_least, crash_points) = (scenario.at_least, scenario.crash_points);
    let checker = Protocol::new(scenario, None).checker().spawn_bfs().join();
    checker.assert_properties();
    assert!(checker.is_done(), "not all was explored");
    let states = checker.unique_state_count();
    assert!(states >= at_least, "the scenario shrank to {states} states, from {at_least} at least");
    assert_eq!(
        checker.model().crash_points().count_ones(),
        crash_points,
        "points at which processes died, of {states} states"
    );
}

/// A count per scenario does not say which points they are, nor that each has its scenario.
#[test]
fn processes_die_between_any_two_steps_of_each_operation() {
    let scenarios = [
        scenarios::refresh_and_revoke(),
        scenarios::refresh_and_revoke_token(),
        scenarios::retry_after_the_window(),
        scenarios::change_of_password(),
        scenarios::sign_in_and_disable(),
        scenarios::consume(),
    ];
    let died = scenarios.map(|scenario| {
        let checker = Protocol::new(scenario, None).checker().spawn_bfs().join();
        checker.model().crash_points()
    });
    let nowhere: Vec<u32> = (0..u64::BITS)
        .filter(|point| (protocol::between_steps() & !died.into_iter().fold(0, u64::bitor)) >> point & 1 == 1)
        .collect();
    assert!(nowhere.is_empty(), "no process died at {nowhere:?}");
}

#[test]
fn no_check_accepts_after_a_revocation_whatever_becomes_of_redis() {
    holds(scenarios::check_and_revoke());
}

#[test]
fn caches_in_the_nodes_outlive_a_revocation_by_their_lease_at_most_and_not_at_all_where_it_was_made() {
    holds(scenarios::local_caches());
}

#[test]
fn without_caches_and_store_a_call_is_unavailable_and_neither_accepted_nor_refused() {
    holds(scenarios::outage());
}

#[test]
fn two_refreshes_get_one_child_and_a_revocation_beside_them_covers_it_whoever_dies() {
    holds(scenarios::refresh_and_revoke());
}

#[test]
fn revocation_of_all_that_broke_off_is_finished_and_spares_who_signed_in_since() {
    holds(scenarios::resumed_revoke_all());
}

#[test]
fn revocation_of_a_session_that_broke_off_is_finished_beside_a_refresh() {
    holds(scenarios::resumed_session());
}

#[test]
fn with_a_refresh_token_die_the_tokens_that_descend_from_it() {
    holds(scenarios::refresh_and_revoke_token());
}

#[test]
fn a_token_that_was_revoked_by_halves_takes_its_session_along_when_it_comes_again() {
    holds(scenarios::retry_and_revoke_token());
}

#[test]
fn whoever_was_given_nothing_gets_the_pair_however_late() {
    holds(scenarios::retry_after_the_window());
}

#[test]
fn a_failover_neither_makes_a_second_child_nor_a_thief_of_anyone() {
    holds(scenarios::refresh_and_fail_over());
}

#[test]
fn what_a_deposed_primary_says_makes_a_thief_of_nobody() {
    holds(scenarios::refresh_beside_a_deposed_primary());
}

#[test]
fn what_a_deposed_primary_does_not_know_is_revoked_or_the_caller_is_told_that_it_is_not() {
    holds(scenarios::revoke_at_a_deposed_primary());
}

#[test]
fn nothing_issued_before_a_revocation_of_all_survives_it() {
    holds(scenarios::sign_in_and_revoke_all());
}

#[test]
fn a_sign_in_that_began_before_a_revocation_of_all_is_refused_whatever_a_failover_loses() {
    holds(scenarios::sign_in_and_fail_over());
}

#[test]
fn a_change_of_password_ends_what_the_old_one_opened_and_spares_the_session_it_comes_from() {
    holds(scenarios::change_of_password());
}

#[test]
fn an_access_token_dies_alone() {
    holds(scenarios::revoke_access_token());
}

#[test]
fn a_disabled_user_gets_no_session() {
    holds(scenarios::sign_in_and_disable());
}

#[test]
fn a_single_use_token_is_used_once_whatever_a_failover_loses() {
    holds(scenarios::consume());
}

#[test]
fn a_token_on_its_way_to_expiry_is_revoked_like_any_other_and_never_comes_back() {
    holds(scenarios::expiry());
}

/// The slow group.
mod slow {
    use super::*;

    #[test]
    #[ignore = "slow: 3.7 million states"]
    fn all_of_it_at_once() {
        holds(scenarios::everything());
    }
}
