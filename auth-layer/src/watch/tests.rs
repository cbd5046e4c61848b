use std::{
    collections::HashSet,
    pin::pin,
    task::{Context, Poll, Waker},
};

use super::*;
use crate::{
    claims::{DenialKey, DenialKeys},
    clock::{ManualClock, later},
    id::TokenId,
};

const SECOND: Duration = Duration::from_secs(1);
const RULES: StreamRules = StreamRules { interval: SECOND, outage_limit: Duration::from_secs(15) };
/// By then the last stream of an outage has ended.
const OVER: Duration = Duration::from_secs(21);

struct Fixture {
    watches: Arc<Watches>,
    clock: ManualClock,
}

impl Fixture {
    fn new() -> Self {
        let clock = ManualClock::starting_at(Timestamp::UNIX_EPOCH);
        Self { watches: Arc::new(Watches::new(Arc::new(clock.clone()))), clock }
    }

    fn watch(&self, watched: &Watched) -> Revoked {
        self.watches.watch(watched.clone(), RULES).0
    }

    /// Returns the questions that are due. A scheduler would have stopped if there is no stream.
    fn questions(&self) -> Vec<Question> {
        self.watches.turn().map(|turn| turn.questions).unwrap_or_default()
    }

    /// Returns the one question that is due.
    fn question(&self) -> Question {
        let mut questions = self.questions();
        assert_eq!(questions.len(), 1);
        questions.remove(0)
    }

    /// Whether the scheduler was woken since the last call.
    fn is_woken(&self) -> bool {
        is_ready(self.watches.until_due()).is_some()
    }

    /// Lets a time pass in small steps, answering each question like this. Returns the questions.
    fn pass(&self, time: Duration, mut answer: impl FnMut(Question)) -> usize {
        let mut asked = 0;
        let end = self.clock.monotonic() + time;
        while self.clock.monotonic() < end {
            self.clock.advance(Duration::from_millis(10));
            for question in self.questions() {
                asked += 1;
                answer(question);
            }
        }
        asked
    }
}

/// Returns a token that lives for this long, with a session of its own.
fn watched(life: Duration) -> Watched {
    Watched {
        token: Some(WatchedToken::Recorded(TokenId::generate())),
        session: Some(SessionId::generate()),
        user: Some(Uuid::new_v4()),
        expires_at: later(Timestamp::UNIX_EPOCH, life),
    }
}

/// Returns another token of the same session.
fn renewed(watched: &Watched) -> Watched {
    Watched { token: Some(WatchedToken::Recorded(TokenId::generate())), ..watched.clone() }
}

/// Returns the id that news of the token's end name.
fn id_of(watched: &Watched) -> Uuid {
    match watched.token.as_ref().unwrap() {
        WatchedToken::Recorded(id) => (*id).into(),
        WatchedToken::Foreign(keys) => keys.token.tag(),
    }
}

/// Returns the keys of a token of another issuer's session.
fn denial_keys(token: &str, session: Option<&str>) -> DenialKeys {
    let issuer = "https://idp";
    DenialKeys {
        token: DenialKey::of_token(issuer, token),
        session: session.map(|session| DenialKey::of_session(issuer, session)),
        subject: DenialKey::of_subject(issuer, "ada"),
        issued_at: None,
    }
}

/// Returns a token of another issuer that lives for this long.
fn foreign(keys: DenialKeys, life: Duration) -> Watched {
    Watched {
        token: Some(WatchedToken::Foreign(Arc::new(keys))),
        session: None,
        user: None,
        expires_at: later(Timestamp::UNIX_EPOCH, life),
    }
}

fn lives(question: Question) {
    let session = question.session().map(|_| SessionState::Live([TokenId::generate(), TokenId::generate()]));
    question.answer(Answer { dead_tokens: Vec::new(), session });
}

fn is_dead(question: Question) {
    let dead_tokens = question.tokens().to_vec();
    let session = question.session().map(|_| SessionState::Ended(StreamEnd::Revoked));
    question.answer(Answer { dead_tokens, session });
}

/// Returns how the stream has ended, if it has.
fn ended(stream: &mut Revoked) -> Option<StreamEnd> {
    is_ready(stream)
}

/// Returns what a future completes with, if it has.
fn is_ready<F: Future>(future: F) -> Option<F::Output> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}

const HOUR: Duration = Duration::from_hours(1);

#[test]
fn stream_is_asked_about_at_once_and_then_within_each_interval() {
    let fixture = Fixture::new();
    let watched = watched(HOUR);
    let _stream = fixture.watch(&watched);
    let question = fixture.question();
    assert_eq!((question.tokens(), question.session()), (&[watched.token.clone().unwrap()][..], None));
    assert!(fixture.questions().is_empty(), "one question at a time");
    lives(question);
    let mut last = fixture.clock.monotonic();
    for _ in 0..100 {
        while fixture.pass(Duration::from_millis(10), lives) == 0 {}
        let now = fixture.clock.monotonic();
        assert!((last + SECOND / 2..=last + SECOND).contains(&now), "asked at {now:?}, before at {last:?}");
        last = now;
    }
}

#[test]
fn streams_of_one_session_share_one_question() {
    let fixture = Fixture::new();
    let watched = watched(HOUR);
    let mut streams: Vec<_> = (0..1_000).map(|_| fixture.watch(&watched)).collect();
    lives(fixture.question());
    assert!(fixture.pass(10 * SECOND, lives) <= 12);
    assert!(streams.iter_mut().all(|stream| ended(stream).is_none()));
    fixture.pass(SECOND, is_dead);
    assert!(streams.iter_mut().all(|stream| ended(stream) == Some(StreamEnd::Revoked)));
    assert!(streams.iter_mut().all(|stream| ended(stream) == Some(StreamEnd::Revoked)), "the same again");
    assert!(fixture.watches.turn().is_none(), "the scheduler stops");
}

#[test]
fn stream_that_is_dropped_leaves_nothing() {
    let fixture = Fixture::new();
    let first = watched(HOUR);
    let mut streams: Vec<_> =
        (0..100).map(|at| fixture.watch(&if at % 2 == 0 { first.clone() } else { renewed(&first) })).collect();
    streams.extend((0..100).map(|_| fixture.watch(&watched(Duration::ZERO)).until_expiry()));
    fixture.pass(3 * SECOND, lives);
    assert_eq!(fixture.watches.len(), 100, "the others have expired");
    let in_flight = {
        fixture.clock.advance(SECOND);
        fixture.question()
    };
    drop(streams);
    assert!(fixture.watches.state().holds_nothing());
    drop(in_flight);
    assert!(fixture.watches.state().holds_nothing());
    assert!(fixture.watches.turn().is_none());
}

#[test]
fn stream_depends_on_its_session_once_its_token_has_expired() {
    let fixture = Fixture::new();
    let watched = watched(10 * SECOND);
    let mut stream = fixture.watch(&watched);
    fixture.pass(Duration::from_millis(9_980), |question| {
        assert_eq!((question.tokens().len(), question.session()), (1, None));
        lives(question);
    });
    fixture.pass(2 * SECOND, lives);
    fixture.pass(10 * SECOND, |question| {
        assert_eq!((question.tokens().len(), question.session()), (0, watched.session));
        lives(question);
    });
    assert_eq!(ended(&mut stream), None);
    fixture.pass(SECOND, |question| {
        question.answer(Answer { session: Some(SessionState::Ended(StreamEnd::Expired)), ..Answer::default() });
    });
    assert_eq!(ended(&mut stream), Some(StreamEnd::Expired));
}

#[test]
fn stream_of_a_token_without_a_session_ends_at_its_expiry() {
    let fixture = Fixture::new();
    let mut stream = fixture.watch(&Watched { session: None, ..watched(10 * SECOND) });
    fixture.pass(9 * SECOND, lives);
    assert_eq!(ended(&mut stream), None);
    fixture.pass(2 * SECOND, lives);
    assert_eq!(ended(&mut stream), Some(StreamEnd::Expired));
    let mut unknown = fixture.watch(&Watched { session: None, token: None, ..watched(HOUR) });
    assert_eq!(ended(&mut unknown), Some(StreamEnd::Unavailable), "there is nothing to ask about");
}

#[test]
fn stream_ends_alone_if_only_its_token_is_revoked() {
    let fixture = Fixture::new();
    let first = watched(HOUR);
    let second = renewed(&first);
    let [mut one, mut two] = [&first, &second].map(|watched| fixture.watch(watched));
    let question = fixture.question();
    assert_eq!(question.tokens(), [first.token.clone().unwrap(), second.token.clone().unwrap()]);
    question.answer(Answer { dead_tokens: vec![first.token.clone().unwrap()], session: None });
    assert_eq!((ended(&mut one), ended(&mut two)), (Some(StreamEnd::Revoked), None));
}

#[test]
fn stream_with_a_new_token_of_a_watched_session_is_asked_about_at_once() {
    let fixture = Fixture::new();
    let first = watched(HOUR);
    let _one = fixture.watch(&first);
    let early = fixture.question();
    let second = renewed(&first);
    let mut two = fixture.watch(&second);
    lives(early);
    let question = fixture.question();
    assert!(question.tokens().contains(second.token.as_ref().unwrap()));
    is_dead(question);
    assert_eq!(ended(&mut two), Some(StreamEnd::Revoked));
}

#[test]
fn stream_of_a_used_up_token_of_a_watched_session_is_asked_about_at_once() {
    let fixture = Fixture::new();
    let first = watched(HOUR);
    let _one = fixture.watch(&first);
    lives(fixture.question());
    let mut two = fixture.watch(&Watched { token: None, ..first.clone() });
    let question = fixture.question();
    assert_eq!(question.session(), first.session);
    is_dead(question);
    assert_eq!(ended(&mut two), Some(StreamEnd::Revoked));
}

#[test]
fn stream_until_expiry_ends_with_its_token() {
    let fixture = Fixture::new();
    let watched = watched(10 * SECOND);
    let [mut lasting, strict] = [(); 2].map(|()| fixture.watch(&watched));
    let mut strict = strict.until_expiry();
    fixture.pass(9 * SECOND + Duration::from_millis(900), lives);
    assert_eq!(ended(&mut strict), None);
    fixture.pass(Duration::from_millis(100), lives);
    assert_eq!(ended(&mut strict), Some(StreamEnd::Expired));
    fixture.pass(10 * SECOND, lives);
    assert_eq!(ended(&mut lasting), None);
    let mut late = fixture.watch(&watched).until_expiry();
    fixture.questions();
    assert_eq!(ended(&mut late), Some(StreamEnd::Expired));
}

#[test]
fn stream_is_asked_about_at_once_when_news_name_its_token_session_user_or_current_pair() {
    let fixture = Fixture::new();
    let watched = watched(SECOND);
    let _stream = fixture.watch(&watched);
    let pair = [TokenId::generate(), TokenId::generate()];
    let session = Some(SessionState::Live(pair));
    lives(fixture.question());
    fixture.clock.advance(SECOND);
    fixture.question().answer(Answer { dead_tokens: Vec::new(), session });
    let ids = [id_of(&watched), watched.session.unwrap().into(), watched.user.unwrap()];
    for id in ids.into_iter().chain(pair.map(Uuid::from)) {
        fixture.watches.wake(Uuid::new_v4());
        assert!(fixture.questions().is_empty());
        fixture.watches.wake(id);
        fixture.question().answer(Answer { dead_tokens: Vec::new(), session });
    }
    let next = [TokenId::generate(), TokenId::generate()];
    fixture.watches.wake(watched.user.unwrap());
    fixture.question().answer(Answer { dead_tokens: Vec::new(), session: Some(SessionState::Live(next)) });
    fixture.watches.wake(pair[0].into());
    assert!(fixture.questions().is_empty(), "a refresh replaced the pair");
    fixture.watches.wake(next[1].into());
    fixture.question();
}

#[test]
fn stream_with_a_shorter_interval_is_asked_about_more_often_from_then_on() {
    let fixture = Fixture::new();
    let watched = watched(HOUR);
    let (_slow, _) = fixture.watches.watch(watched.clone(), StreamRules { interval: 100 * SECOND, ..RULES });
    lives(fixture.question());
    assert_eq!(fixture.pass(10 * SECOND, lives), 0);
    let _fast = fixture.watch(&watched);
    assert_eq!(fixture.pass(SECOND, lives), 1);
    assert!(fixture.pass(10 * SECOND, lives) >= 10);
}

#[test]
fn news_during_a_question_make_it_asked_again() {
    let fixture = Fixture::new();
    let watched = watched(HOUR);
    let mut stream = fixture.watch(&watched);
    let early = fixture.question();
    fixture.watches.wake(watched.session.unwrap().into());
    assert!(fixture.questions().is_empty());
    assert!(fixture.is_woken() && !fixture.is_woken());
    // It had read the record before the revocation.
    lives(early);
    assert!(fixture.is_woken(), "the scheduler would sleep");
    is_dead(fixture.question());
    assert_eq!(ended(&mut stream), Some(StreamEnd::Revoked));
}

#[test]
fn news_gap_makes_all_questions_come_soon_and_not_at_once() {
    let fixture = Fixture::new();
    let rules = StreamRules { interval: 100 * SECOND, ..RULES };
    let streams: Vec<_> = (0..100).map(|_| fixture.watches.watch(watched(HOUR), rules)).collect();
    fixture.questions().into_iter().for_each(lives);
    assert_eq!(fixture.pass(10 * SECOND, lives), 0);
    fixture.watches.wake_all();
    let at_once = fixture.questions();
    assert!(at_once.len() < 20);
    let soon = at_once.len() + fixture.pass(SECOND, lives);
    assert_eq!(soon, streams.len());
}

#[test]
fn questions_of_many_streams_are_bounded_and_spread() {
    let fixture = Fixture::new();
    let streams: Vec<_> = (0..1_000).map(|_| fixture.watch(&watched(HOUR))).collect();
    let first = fixture.questions();
    assert_eq!(first.len(), 256);
    assert!(fixture.questions().is_empty());
    first.into_iter().for_each(lives);
    for _ in 0..3 {
        fixture.questions().into_iter().for_each(lives);
    }
    assert!(fixture.questions().is_empty(), "each was asked about once");
    // All have begun at once. After a while their questions come evenly.
    fixture.pass(30 * SECOND, lives);
    let mut most = 0;
    let mut all = 0;
    for _ in 0..900 {
        let now = fixture.pass(Duration::from_millis(10), lives);
        (most, all) = (most.max(now), all + now);
    }
    assert!((9_000..11_000).contains(&all), "{all} in nine seconds");
    assert!(most < 100, "{most} of {all} in a hundredth of a second");
    drop(streams);
}

#[test]
fn stream_of_unknown_state_ends_after_the_limit_and_the_ends_are_spread() {
    let fixture = Fixture::new();
    let mut streams: Vec<_> = (0..200).map(|_| fixture.watch(&watched(HOUR))).collect();
    fixture.pass(3 * SECOND, lives);
    let down = fixture.clock.monotonic();
    let mut ends = Vec::new();
    while fixture.clock.monotonic() < down + OVER {
        fixture.pass(SECOND / 10, drop);
        let past = fixture.clock.monotonic().saturating_sub(down);
        let before = streams.len();
        streams.retain_mut(|stream| match ended(stream) {
            Some(end) => {
                assert_eq!(end, StreamEnd::Unavailable);
                false
            }
            None => true,
        });
        ends.extend(std::iter::repeat_n(past, before - streams.len()));
    }
    assert!(streams.is_empty());
    assert!(ends.iter().all(|end| *end >= RULES.outage_limit), "{ends:?}");
    let distinct: HashSet<_> = ends.iter().map(Duration::as_secs).collect();
    assert!(distinct.len() >= 5, "they end over five seconds: {distinct:?}");
}

#[test]
fn stream_of_unknown_state_goes_on_if_the_store_is_back_before_the_limit() {
    let fixture = Fixture::new();
    let mut streams: Vec<_> = (0..200).map(|_| fixture.watch(&watched(HOUR))).collect();
    for _ in 0..3 {
        fixture.pass(3 * SECOND, lives);
        fixture.pass(14 * SECOND, drop);
    }
    fixture.pass(SECOND, lives);
    assert!(streams.iter_mut().all(|stream| ended(stream).is_none()));
}

#[test]
fn stream_ends_when_the_store_hangs() {
    let fixture = Fixture::new();
    let mut streams: Vec<_> = (0..1_000).map(|_| fixture.watch(&watched(HOUR))).collect();
    let mut unanswered = Vec::new();
    fixture.pass(OVER, |question| unanswered.push(question));
    assert_eq!(unanswered.len(), 256, "most were never asked about");
    assert!(streams.iter_mut().all(|stream| ended(stream) == Some(StreamEnd::Unavailable)));
}

#[test]
fn scheduler_is_woken_when_an_answer_makes_room_for_another_question() {
    let fixture = Fixture::new();
    let _streams: Vec<_> = (0..257).map(|_| fixture.watch(&watched(HOUR))).collect();
    let mut questions = fixture.questions();
    assert_eq!(questions.len(), 256);
    assert!(fixture.is_woken() && !fixture.is_woken());
    lives(questions.remove(0));
    assert!(fixture.is_woken());
    lives(fixture.question());
}

#[test]
fn streams_end_when_their_scheduler_is_lost() {
    let fixture = Fixture::new();
    let mut stream = fixture.watch(&watched(HOUR));
    let question = fixture.question();
    fixture.watches.abandon();
    assert_eq!(ended(&mut stream), Some(StreamEnd::Unavailable));
    lives(question);
    let (_next, needs_scheduler) = fixture.watches.watch(watched(HOUR), RULES);
    assert!(needs_scheduler);
}

#[test]
fn stream_watched_anew_is_not_held_up_by_a_question_about_the_old_one() {
    let fixture = Fixture::new();
    let watched = watched(HOUR);
    drop(fixture.watch(&watched));
    let stream = fixture.watch(&watched);
    let early = fixture.question();
    drop(stream);
    let mut stream = fixture.watch(&watched);
    let question = fixture.question();
    lives(early);
    is_dead(question);
    assert_eq!(ended(&mut stream), Some(StreamEnd::Revoked));
}

#[test]
fn streams_of_another_issuers_session_share_one_question_and_end_with_their_tokens() {
    let fixture = Fixture::new();
    let tokens = [("1", 10), ("2", 20), ("2", 20)];
    let mut streams = tokens.map(|(token, life)| fixture.watch(&foreign(denial_keys(token, Some("s")), life * SECOND)));
    let mut other = fixture.watch(&foreign(denial_keys("3", None), HOUR));
    let questions = fixture.questions();
    assert_eq!(questions.iter().map(|question| question.tokens().len()).collect::<Vec<_>>().iter().sum::<usize>(), 3);
    assert_eq!(questions.len(), 2, "a session, and a token without one");
    questions.into_iter().for_each(lives);
    fixture.pass(9 * SECOND, lives);
    assert_eq!(streams.each_mut().map(ended), [None; 3]);
    fixture.pass(2 * SECOND, lives);
    assert_eq!(streams.each_mut().map(ended), [Some(StreamEnd::Expired), None, None]);
    fixture.pass(SECOND, |question| match question.tokens() {
        [WatchedToken::Foreign(keys)] if keys.session.is_some() => is_dead(question),
        _ => lives(question),
    });
    let revoked = Some(StreamEnd::Revoked);
    assert_eq!(streams.each_mut().map(ended), [Some(StreamEnd::Expired), revoked, revoked]);
    assert_eq!(ended(&mut other), None);
    drop((streams, other));
    assert!(fixture.watches.state().holds_nothing());
}

#[test]
fn stream_of_another_issuers_token_is_asked_about_at_once_when_news_name_what_it_is_denied_by() {
    let fixture = Fixture::new();
    let keys = denial_keys("1", Some("s"));
    let _stream = fixture.watch(&foreign(keys, HOUR));
    lives(fixture.question());
    for key in keys.iter() {
        fixture.watches.wake(Uuid::new_v4());
        assert!(fixture.questions().is_empty());
        fixture.watches.wake(key.tag());
        lives(fixture.question());
    }
    // A token that is gone from the session leaves the others' ids.
    let renewed = fixture.watch(&foreign(denial_keys("2", Some("s")), HOUR));
    lives(fixture.question());
    drop(renewed);
    fixture.watches.wake(keys.subject.tag());
    lives(fixture.question());
    fixture.watches.wake(DenialKey::of_token("https://idp", "2").tag());
    assert!(fixture.questions().is_empty());
}

#[cfg(feature = "metrics")]
#[test]
fn streams_are_counted_while_they_are_open_and_by_their_ends() {
    use metrics_exporter_prometheus::PrometheusBuilder;

    let recorder = PrometheusBuilder::new().build_recorder();
    let assert_metric = |line: &str| {
        let metrics = recorder.handle().render();
        assert!(metrics.lines().any(|found| found == line), "{line}: {metrics}");
    };
    metrics::with_local_recorder(&recorder, || {
        let fixture = Fixture::new();
        let session = watched(HOUR);
        let streams = [(); 3].map(|()| fixture.watch(&session));
        drop(fixture.watch(&watched(HOUR)));
        let dropped = fixture.watch(&watched(HOUR));
        assert_metric("auth_streams_open 4");
        fixture
            .questions()
            .into_iter()
            .filter(|question| question.tokens() == [session.token.clone().unwrap()])
            .for_each(is_dead);
        assert_metric("auth_streams_open 1");
        assert_metric("auth_streams_ended_total{reason=\"revoked\"} 3");
        drop(streams);
        assert_metric("auth_streams_open 1");
        drop(dropped);
        assert_metric("auth_streams_open 0");
    });
}
