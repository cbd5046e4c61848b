//! The laws hold in every state of every scenario.

use std::ops::BitOr;

use stateright::{Checker, Model};

use crate::{
    protocol::{self, Protocol},
    scenarios::{self, Scenario},
};

/// Explores a scenario to its end. The laws must hold in every state, the expected events must
/// happen, and processes must have died at every possible point.
fn assert_laws_hold(scenario: Scenario) {
    let (min_states, crash_points) = (scenario.min_states, scenario.crash_points);
    let checker = Protocol::new(scenario, None).checker().spawn_bfs().join();
    checker.assert_properties();
    assert!(checker.is_done(), "not all was explored");
    let states = checker.unique_state_count();
    assert!(states >= min_states, "the scenario shrank to {states} states, from {min_states} at least");
    assert_eq!(
        checker.model().crash_points().count_ones(),
        crash_points,
        "points at which processes died, of {states} states"
    );
}

/// The count of a scenario does not say which points they are, nor that each point is in some
/// scenario.
#[test]
fn crash_comes_between_any_two_steps_of_each_operation() {
    let scenarios = [
        scenarios::refresh_and_revoke(),
        scenarios::refresh_and_revoke_token(),
        scenarios::retry_after_the_window(),
        scenarios::password_change(),
        scenarios::sign_in_and_disable(),
        scenarios::consume(),
        scenarios::deny_and_fail_over(),
    ];
    let died = scenarios.map(|scenario| {
        let checker = Protocol::new(scenario, None).checker().spawn_bfs().join();
        checker.model().crash_points()
    });
    let missing: Vec<u32> = (0..u64::BITS)
        .filter(|point| (protocol::points_between_steps() & !died.into_iter().fold(0, u64::bitor)) >> point & 1 == 1)
        .collect();
    assert!(missing.is_empty(), "no process died at {missing:?}");
}

#[test]
fn check_refuses_after_a_revocation_with_any_fault_of_redis() {
    assert_laws_hold(scenarios::check_and_revoke());
}

#[test]
fn cache_outlives_a_revocation_by_its_lease_on_other_nodes_only() {
    assert_laws_hold(scenarios::local_caches());
}

#[test]
fn outage_makes_a_call_unavailable_and_neither_accepted_nor_refused() {
    assert_laws_hold(scenarios::outage());
}

#[test]
fn refresh_run_twice_gets_one_child_and_a_revocation_covers_it() {
    assert_laws_hold(scenarios::refresh_and_revoke());
}

#[test]
fn revoke_all_that_broke_off_is_finished_and_spares_later_sign_ins() {
    assert_laws_hold(scenarios::resumed_revoke_all());
}

#[test]
fn revoke_session_that_broke_off_is_finished_beside_a_refresh() {
    assert_laws_hold(scenarios::resumed_revoke_session());
}

#[test]
fn revoke_of_a_refresh_token_ends_its_descendants() {
    assert_laws_hold(scenarios::refresh_and_revoke_token());
}

#[test]
fn revoke_of_a_token_that_broke_off_ends_its_session_when_it_is_presented() {
    assert_laws_hold(scenarios::retry_and_revoke_token());
}

#[test]
fn refresh_that_delivered_nothing_returns_the_pair_however_late() {
    assert_laws_hold(scenarios::retry_after_the_window());
}

#[test]
fn failover_makes_no_second_child_and_no_false_reuse() {
    assert_laws_hold(scenarios::refresh_and_fail_over());
}

#[test]
fn refresh_beside_a_deposed_primary_is_no_false_reuse() {
    assert_laws_hold(scenarios::refresh_beside_a_deposed_primary());
}

#[test]
fn revoke_at_a_deposed_primary_holds_or_fails() {
    assert_laws_hold(scenarios::revoke_at_a_deposed_primary());
}

#[test]
fn revoke_all_ends_everything_issued_before_it() {
    assert_laws_hold(scenarios::sign_in_and_revoke_all());
}

#[test]
fn sign_in_begun_before_a_revoke_all_is_refused_through_failovers() {
    assert_laws_hold(scenarios::sign_in_and_fail_over());
}

#[test]
fn password_change_ends_the_other_sessions_and_spares_its_own() {
    assert_laws_hold(scenarios::password_change());
}

#[test]
fn revoke_of_an_access_token_spares_its_session() {
    assert_laws_hold(scenarios::revoke_access_token());
}

#[test]
fn disabled_user_gets_no_session() {
    assert_laws_hold(scenarios::sign_in_and_disable());
}

#[test]
fn single_use_token_is_accepted_once_through_failovers() {
    assert_laws_hold(scenarios::consume());
}

#[test]
fn purge_never_revives_a_token_revoked_near_its_expiry() {
    assert_laws_hold(scenarios::expiry());
}

#[test]
fn denial_is_found_with_any_fault_of_redis_and_the_later_one_stays() {
    assert_laws_hold(scenarios::deny_and_check());
}

#[test]
fn denial_that_was_acknowledged_survives_failovers_and_crashes() {
    assert_laws_hold(scenarios::deny_and_fail_over());
}

#[test]
fn denial_that_is_over_by_a_clock_ahead_holds_on_other_nodes() {
    assert_laws_hold(scenarios::deny_with_a_clock_ahead());
}

/// The slow group.
mod slow {
    use super::*;

    #[test]
    #[ignore = "slow: 3.7 million states"]
    fn everything_at_once_keeps_the_laws() {
        assert_laws_hold(scenarios::everything());
    }
}
