//! The protocol as a model, explored to its last state.
mod broken;
mod laws;
mod process;
mod protocol;
mod scenarios;
mod set;
mod state;
mod step;
mod world;

use stateright::{Checker, HasDiscoveries, Model};

use self::{broken::Broken, laws::Law, protocol::Protocol, scenarios::Scenario};

/// Explores a scenario to its end: the laws hold in every state, and what must happen some time does.
fn holds(scenario: Scenario) {
    let (at_least, crash_points) = (scenario.at_least, scenario.crash_points);
    let checker = Protocol::new(scenario, None).checker().spawn_bfs().join();
    eprintln!("{} {} {}", checker.unique_state_count(), checker.max_depth(), checker.model().crash_points());
    checker.assert_properties();
    assert!(checker.is_done());
    assert!(checker.unique_state_count() >= at_least, "only {} states", checker.unique_state_count());
    assert!(checker.model().crash_points() >= crash_points, "{} crash points", checker.model().crash_points());
}

/// Explores a scenario without one rule until this law is broken.
fn breaks(scenario: Scenario, without: Broken, law: Law) {
    let protocol = Protocol::new(scenario, Some(without));
    let found = HasDiscoveries::AnyOf([law.name()].into());
    let checker = protocol.checker().finish_when(found).spawn_bfs().join();
    let path = checker.assert_any_discovery(law.name());
    let actions = path.into_actions();
    eprintln!("{without:?}: {} {actions:?}", checker.unique_state_count());
}

macro_rules! laws_hold {
    ($($name:ident)*) => { $(#[test] fn $name() { holds(scenarios::$name()); })* };
}

laws_hold! { check_and_revoke local_caches outage refresh_and_revoke refresh_and_fail_over sign_in_and_revoke_all sign_in_and_fail_over sign_in_and_disable consume expiry }

macro_rules! rules_count {
    ($($name:ident: $scenario:ident $rule:ident $law:ident)*) => { $(#[test] fn $name() { breaks(scenarios::$scenario(), Broken::$rule, Law::$law); })* };
}
rules_count! {
 b1: check_and_revoke DeleteForTombstone NoAcceptAfterRevoke
 b2: check_and_revoke FillWithoutNx NoAcceptAfterRevoke
 b3: check_and_revoke FillOnAnyConnection NoAcceptAfterRevoke
 b4: check_and_revoke BelieveRestoredEntries NoAcceptAfterRevoke
 b5: check_and_revoke EvictTombstones NoAcceptAfterRevoke
 b6: check_and_revoke SucceedWithoutTombstones NoAcceptAfterRevoke
 b7: refresh_and_revoke SweepBeforeCommit NoAcceptAfterRevoke
 b8: expiry PassOverLeeway NoAcceptAfterRevoke
 b9b: expiry PurgeWithoutMargin NoRevival
 b10: local_caches DateAfterCheck NoAcceptAfterRevoke
 b11: local_caches ForgetNothing NoAcceptAfterRevoke
 b12: refresh_and_revoke RotateUnconditionally OneChild
 b13: refresh_and_revoke HandOutBeforeCommit OneChild
 b14: refresh_and_revoke SecondChild OneChild
 b15: refresh_and_revoke PunishLostRace OnlyTheftEndsASession
 b16: refresh_and_fail_over RepeatUnconfirmed OneChild
 b16b: refresh_and_fail_over RepeatUnconfirmed OnlyTheftEndsASession
 b17: sign_in_and_revoke_all SignInWithoutFence RevokeAllIsAFence
 b18: sign_in_and_fail_over FenceReadLocally RevokeAllIsAFence
 b19: consume ConsumeCheckThenSet UsedOnce
 b20: outage FailOpen NoAcceptAfterRevoke
 b21: outage FailureIsAbsence FailClosed
 b22: check_and_revoke DeposedPrimaryAnswers NoAcceptAfterRevoke
}
#[test]
#[ignore = "big"]
fn everything() { holds(scenarios::everything()); }
