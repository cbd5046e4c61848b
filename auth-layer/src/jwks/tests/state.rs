use proptest::prelude::*;

use super::*;

fn state() -> State {
    State::new(Limits::default())
}

/// Returns a state whose keys were fetched at a time.
fn fetched_at(now: Duration, kid: &str, max_age: Option<Duration>) -> State {
    let mut state = state();
    assert!(state.begin(now));
    assert!(!state.succeed(keys([kid]), max_age), "there was no outage");
    state
}

fn current(state: &State, now: Duration) -> Option<Vec<String>> {
    state.current(now).as_ref().map(kids)
}

fn just_before(time: Duration) -> Duration {
    time.saturating_sub(Duration::from_nanos(1))
}

fn answer(answer: Option<Result<VerifyingKeys, KeysUnavailable>>) -> Option<Result<Vec<String>, KeysUnavailable>> {
    answer.map(|answer| answer.as_ref().map(kids).map_err(|error| *error))
}

#[test]
fn jwks_are_fetched_at_the_start_and_every_5_minutes() {
    let mut state = state();
    assert_eq!(state.pause(SECOND), Duration::ZERO);
    assert!(state.begin(SECOND));
    assert!(!state.begin(HOUR), "one at a time");
    state.succeed(keys(["a"]), None);
    assert_eq!(state.pause(2 * SECOND), 299 * SECOND);
    assert!(!state.begin(just_before(301 * SECOND)));
    assert!(state.begin(301 * SECOND));
}

#[test]
fn jwks_max_age_brings_the_next_fetch_forward_to_10_seconds_at_least() {
    for (max_age, pause) in [(0, 10), (9, 10), (15, 15), (300, 300), (86_400, 300), (u64::MAX, 300)] {
        let mut state = fetched_at(SECOND, "a", Some(Duration::from_secs(max_age)));
        assert_eq!(state.pause(SECOND), pause * SECOND, "{max_age}");
        assert!(!state.begin(pause * SECOND) && state.begin((1 + pause) * SECOND), "{max_age}");
    }
}

#[test]
fn jwks_unknown_kid_fetches_at_once_if_the_last_fetch_began_10_seconds_ago() {
    let mut state = fetched_at(SECOND, "a", None);
    assert!(!state.is_due(11 * SECOND), "nobody asked");
    assert_eq!(answer(state.ask(11 * SECOND)), None, "a fetch will tell");
    assert!(state.is_due(11 * SECOND) && state.begin(11 * SECOND));
    state.succeed(keys(["a", "b"]), None);
    assert_eq!(kids(&state.fresh(12 * SECOND).unwrap()), ["a", "b"]);
    assert!(!state.begin(21 * SECOND), "the question was answered");
}

#[test]
fn jwks_unknown_kid_shares_the_fetch_in_flight() {
    let mut state = fetched_at(SECOND, "a", None);
    assert_eq!(answer(state.ask(11 * SECOND)), None);
    assert!(state.begin(11 * SECOND));
    assert_eq!(answer(state.ask(12 * SECOND)), None);
    state.succeed(keys(["a"]), None);
    assert!(!state.begin(21 * SECOND), "the one that asked meanwhile has an answer too");
}

#[test]
fn jwks_unknown_kid_is_unknown_within_10_seconds_of_a_success() {
    let mut state = fetched_at(SECOND, "a", None);
    for _ in 0..1_000 {
        assert_eq!(answer(state.ask(just_before(11 * SECOND))), Some(Ok(vec!["a".to_owned()])));
    }
    assert!(!state.is_due(11 * SECOND), "an answered question causes no fetch");
    assert_eq!(state.fresh(11 * SECOND).unwrap_err(), KeysUnavailable, "then a fetch decides");
}

#[test]
fn jwks_unknown_kid_is_unavailable_after_a_failure_until_a_fetch_succeeds() {
    let mut state = fetched_at(SECOND, "a", None);
    assert_eq!(answer(state.ask(11 * SECOND)), None);
    assert!(state.begin(11 * SECOND));
    state.fail();
    assert_eq!(state.fresh(11 * SECOND).unwrap_err(), KeysUnavailable);
    assert_eq!(answer(state.ask(20 * SECOND)), Some(Err(KeysUnavailable)));
    assert_eq!(current(&state, 20 * SECOND).unwrap(), ["a"], "known kids are served");
    assert_eq!(answer(state.ask(21 * SECOND)), None, "and the next fetch may succeed");
    assert!(state.begin(21 * SECOND));
    assert!(state.succeed(keys(["a"]), None), "the outage is over");
    assert_eq!(answer(state.ask(22 * SECOND)), Some(Ok(vec!["a".to_owned()])));
}

#[test]
fn jwks_are_kept_for_24_hours_while_the_issuer_is_away() {
    let mut state = fetched_at(SECOND, "a", None);
    let end = 24 * HOUR + SECOND;
    let last = just_before(end);
    for minute in 10..24 * 60 {
        assert_eq!(answer(state.ask(minute * MINUTE)), None);
        assert!(state.begin(minute * MINUTE));
        state.fail();
    }
    assert_eq!(current(&state, last).unwrap(), ["a"]);
    assert!(!state.expire(last));
    assert!(state.pause(last) <= Duration::from_nanos(1), "the task wakes for it");
    assert_eq!(current(&state, end), None, "without the task, too");
    assert!(state.expire(end));
    assert!(!state.expire(end), "told once");
    assert!(state.begin(25 * HOUR));
    assert!(state.succeed(keys(["b"]), None));
    assert_eq!(current(&state, 25 * HOUR).unwrap(), ["b"]);
}

#[test]
fn jwks_key_that_the_issuer_dropped_is_gone_with_the_next_fetch() {
    let mut state = fetched_at(SECOND, "a", None);
    assert!(state.begin(301 * SECOND));
    state.succeed(keys(["b"]), None);
    assert_eq!(current(&state, 301 * SECOND).unwrap(), ["b"]);
}

#[test]
fn jwks_fetch_that_failed_is_tried_again_after_pauses_that_double_up_to_5_minutes() {
    let (mut state, mut now) = (state(), SECOND);
    for (failures, pause) in [10, 20, 40, 80, 160, 300, 300].into_iter().enumerate() {
        assert!(state.begin(now));
        assert_eq!(state.fail(), failures == 0, "one outage");
        assert_eq!(state.pause(now), pause * SECOND);
        now += pause * SECOND;
    }
    for _ in 0..100 {
        assert!(state.begin(now));
        state.fail();
        assert_eq!(state.pause(now), 300 * SECOND, "also after so many that the doubling overflows");
        now += 300 * SECOND;
    }
    assert!(state.begin(now));
    assert!(state.succeed(keys(["a"]), None));
    assert!(state.begin(now + 5 * MINUTE));
    assert!(state.fail(), "another outage");
    assert_eq!(state.pause(now + 5 * MINUTE), 10 * SECOND);
}

#[test]
fn jwks_fetch_that_was_abandoned_is_no_outage_and_no_answer() {
    let mut state = fetched_at(SECOND, "a", None);
    assert_eq!(answer(state.ask(11 * SECOND)), None);
    assert!(state.begin(11 * SECOND));
    state.abandon();
    assert_eq!(state.fresh(11 * SECOND).unwrap_err(), KeysUnavailable);
    assert_eq!(state.pause(11 * SECOND), 10 * SECOND);
    assert!(state.begin(21 * SECOND));
    assert!(state.fail(), "the outage begins here");
}

/// What may happen to a state.
#[derive(Clone, Copy, Debug)]
enum Step {
    Wait(u64),
    Ask,
    Turn,
    Succeed(Option<u64>),
    Fail,
    Abandon,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0_u64..400_000).prop_map(Step::Wait),
        (0_u64..20_000).prop_map(Step::Wait),
        Just(Step::Ask),
        Just(Step::Turn),
        proptest::option::of(0_u64..1_000).prop_map(Step::Succeed),
        Just(Step::Fail),
        Just(Step::Abandon),
    ]
}

proptest! {
    /// The answers and the times are those that the last fetch allows, in any order of events.
    #[test]
    fn jwks_fetches_are_10_seconds_apart_and_answers_follow_from_the_last(
        steps in proptest::collection::vec(step(), 1..200),
    ) {
        let set = keys(["a"]);
        let (mut state, mut now) = (state(), SECOND);
        let (mut begun, mut in_flight, mut asked, mut succeeded) = (None, false, false, None);
        for step in steps {
            match step {
                Step::Wait(millis) => now += Duration::from_millis(millis),
                Step::Ask => match state.ask(now) {
                    Some(answer) => {
                        let is_fresh = succeeded.is_some_and(|at| now < at + 10 * SECOND);
                        prop_assert!(!in_flight);
                        prop_assert_eq!(answer.is_ok(), is_fresh);
                    }
                    None => asked = true,
                },
                Step::Turn => {
                    let may = !in_flight && begun.is_none_or(|begun| now >= begun + 10 * SECOND);
                    let must = may && (asked || begun.is_none_or(|begun| now >= begun + 5 * MINUTE));
                    let begins = state.begin(now);
                    prop_assert!(may || !begins);
                    prop_assert!(begins || !must);
                    if begins {
                        (begun, in_flight, asked) = (Some(now), true, false);
                    } else if !in_flight {
                        prop_assert!(state.pause(now) > Duration::ZERO, "the task sleeps");
                    }
                }
                _ if !in_flight => {}
                Step::Succeed(max_age) => {
                    state.succeed(set.clone(), max_age.map(Duration::from_secs));
                    (in_flight, succeeded, asked) = (false, begun, false);
                }
                Step::Fail => {
                    state.fail();
                    (in_flight, succeeded, asked) = (false, None, false);
                }
                Step::Abandon => {
                    state.abandon();
                    (in_flight, succeeded, asked) = (false, None, false);
                }
            }
        }
    }
}
