//! Paused: the other node runs a whole call in the middle of one on the first node.
//!
//! If either may win, the law must hold for both outcomes.

use std::{sync::Arc, time::Duration};

use auth_layer::{
    Authority, Grant, RefreshError, UserId,
    clock::ManualClock,
    keys::{Keyring, SigningKey},
    store::TokenStore,
};
use chrono::Utc;

use super::*;
use crate::fleet::{PATIENCE, patient_store};

#[tokio::test(flavor = "multi_thread")]
async fn check_meets_a_revocation_at_each_step() {
    let stage = Stage::set().await;
    for end in [End::Logout, End::LogoutAll, End::Delete, End::Password, End::Reuse] {
        let mut steps = Steps::at_least(3);
        while steps.go_on() {
            let subject = stage.subject().await;
            let ending = end.prepare(&stage, &subject).await;
            let (client, access) = (stage.first(), subject.session.access.clone());
            let checking = async move { client.me(&access).await.unwrap().status };
            let Some(check) = stage.stopped_after(&mut steps, checking).await else { continue };
            ending.run(&stage, &subject).await;
            stage.relay.release();
            let when = format!("a check that met {end:?} after {:?}", stage.relay.seen());
            let status = check.await.unwrap();
            assert!(matches!(status, StatusCode::OK | StatusCode::UNAUTHORIZED), "{when}: {status}");
            stage.dead(&[&subject.session], &when).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn refresh_meets_a_revocation_at_each_step() {
    let stage = Stage::set().await;
    for end in [End::Logout, End::LogoutAll, End::Delete, End::Password] {
        let mut steps = Steps::at_least(4);
        while steps.go_on() {
            let subject = stage.subject().await;
            let ending = end.prepare(&stage, &subject).await;
            let (client, token) = (stage.first(), subject.session.refresh.clone());
            let refreshing = async move { client.refresh(&token).await.unwrap() };
            let Some(refresh) = stage.stopped_after(&mut steps, refreshing).await else { continue };
            ending.run(&stage, &subject).await;
            stage.relay.release();
            let when = format!("a refresh that met {end:?} after {:?}", stage.relay.seen());
            let answer = refresh.await.unwrap();
            let child = pair(&answer);
            assert!(child.is_some() || answer.error() == "invalid_grant", "{when}: {answer:?}");
            stage
                .dead(&[Some(&subject.session), child.as_ref()].into_iter().flatten().collect::<Vec<_>>(), &when)
                .await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn refresh_meets_its_twin_at_each_step() {
    let stage = Stage::set().await;
    let mut steps = Steps::at_least(4);
    while steps.go_on() {
        let subject = stage.subject().await;
        let (client, token) = (stage.first(), subject.session.refresh.clone());
        let refreshing = async move { client.refresh(&token).await.unwrap() };
        let Some(refresh) = stage.stopped_after(&mut steps, refreshing).await else { continue };
        let twin = stage.second().refresh(&subject.session.refresh).await.unwrap().tokens();
        stage.relay.release();
        let when = format!("a refresh that met its twin after {:?}", stage.relay.seen());
        let answer = refresh.await.unwrap();
        assert_eq!(answer.status, StatusCode::OK, "{when}: {answer:?}");
        let child = answer.tokens();
        assert_eq!((child.access, child.refresh), (twin.access.clone(), twin.refresh.clone()), "{when}: one child");
        stage.alive(&twin, &when).await;
    }
}

/// The first answer was lost, and its owner asks again while somebody presents the child. If the
/// child came later, the retry gets the same pair. If it came first, the retry is the reuse of a
/// retired token.
#[tokio::test(flavor = "multi_thread")]
async fn refresh_retry_meets_the_use_of_the_child_at_each_step() {
    let stage = Stage::set().await;
    let (mut repeated, mut punished) = (0, 0);
    let mut steps = Steps::at_least(3);
    while steps.go_on() {
        let subject = stage.subject().await;
        let child = stage.second().refresh(&subject.session.refresh).await.unwrap().tokens();
        let (client, token) = (stage.first(), subject.session.refresh.clone());
        let retrying = async move { client.refresh(&token).await.unwrap() };
        let Some(retry) = stage.stopped_after(&mut steps, retrying).await else { continue };
        let grandchild = stage.second().refresh(&child.refresh).await.unwrap().tokens();
        stage.relay.release();
        let when = format!("a retry that met the use of the child after {:?}", stage.relay.seen());
        let answer = retry.await.unwrap();
        if let Some(again) = pair(&answer) {
            repeated += 1;
            assert_eq!((again.access, again.refresh), (child.access, child.refresh), "{when}: one child");
            stage.alive(&grandchild, &when).await;
        } else {
            punished += 1;
            assert_eq!(answer.error(), "invalid_grant", "{when}");
            stage.dead(&[&subject.session, &child, &grandchild], &when).await;
        }
    }
    // The last stops come after the write that decides. Those before it deliver nothing on what
    // they have read.
    assert!(repeated > 0 && punished > 0, "each comes first somewhere: {repeated} repeated, {punished} punished");
}

#[tokio::test(flavor = "multi_thread")]
async fn reuse_meets_a_refresh_at_each_step() {
    let stage = Stage::set().await;
    let mut steps = Steps::at_least(8);
    while steps.go_on() {
        let subject = stage.subject().await;
        let second = stage.second();
        let child = second.refresh(&subject.session.refresh).await.unwrap().tokens();
        let current = second.refresh(&child.refresh).await.unwrap().tokens();
        let (client, token) = (stage.first(), subject.session.refresh.clone());
        let reusing = async move { client.refresh(&token).await.unwrap() };
        let Some(reuse) = stage.stopped_after(&mut steps, reusing).await else { continue };
        let newest = pair(&second.refresh(&current.refresh).await.unwrap());
        stage.relay.release();
        let when = format!("a reuse that met a refresh after {:?}", stage.relay.seen());
        assert_eq!(reuse.await.unwrap().error(), "invalid_grant", "{when}");
        let all = [Some(&subject.session), Some(&child), Some(&current), newest.as_ref()];
        stage.dead(&all.into_iter().flatten().collect::<Vec<_>>(), &when).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn revoke_meets_a_refresh_and_a_check_at_each_step() {
    let stage = Stage::set().await;
    for (end, least) in [(End::Logout, 7), (End::LogoutAll, 11), (End::Delete, 8), (End::Password, 14)] {
        let mut steps = Steps::at_least(least);
        while steps.go_on() {
            let subject = stage.subject().await;
            let ending = end.prepare(&stage, &subject).await;
            let (client, tokens) = (stage.first(), ending.tokens(&subject));
            let Some(running) = stage.stopped_after(&mut steps, end.send(client, tokens, ending.path.clone())).await
            else {
                continue;
            };
            // The check fills the shared cache, if it may.
            let second = stage.second();
            second.me(&subject.session.access).await.unwrap();
            let child = pair(&second.refresh(&subject.session.refresh).await.unwrap());
            if let Some(child) = &child {
                second.me(&child.access).await.unwrap();
            }
            stage.relay.release();
            let when = format!("{end:?} that met a refresh after {:?}", stage.relay.seen());
            let answer = running.await.unwrap();
            // The request came with a token of the refreshed session, or of another. The token was
            // good when the request began.
            assert_eq!(answer.status, StatusCode::NO_CONTENT, "{when}: {answer:?}");
            stage
                .dead(&[Some(&subject.session), child.as_ref()].into_iter().flatten().collect::<Vec<_>>(), &when)
                .await;
        }
    }
}

/// A session that a purge found expired may have been refreshed before the purge removes it.
#[tokio::test(flavor = "multi_thread")]
async fn purge_meets_a_refresh_at_each_step() {
    const MINUTE: Duration = Duration::from_mins(1);

    let stage = Stage::set().await;
    let purger = patient_store(&stage.relayed, "purge").await;
    let store = Arc::new(patient_store(&stage.servers.0.uri(), "purge").await);
    let (key, now) = (SigningKey::generate().unwrap(), Utc::now());
    let authority = |lifetime: Duration| -> Authority {
        Authority::builder("https://issuer", Arc::clone(&store))
            .audience("api")
            .keys(Keyring::new(key.clone()))
            .clock(ManualClock::starting_at(now - 3 * MINUTE))
            .access_ttl(lifetime.min(15 * MINUTE))
            .refresh_ttl(lifetime)
            .deadline(PATIENCE)
            .build()
            .unwrap()
    };
    // What the first authority opens expires before the bound. What the second makes of it does
    // not.
    let (opening, refreshing, bound) = (authority(MINUTE), authority(60 * MINUTE), now - MINUTE);
    let (mut went_on, mut went) = (0, 0);
    let mut steps = Steps::at_least(4);
    while steps.go_on() {
        let sign_in = opening.begin_sign_in(UserId::generate()).await.unwrap();
        let parent = opening.sign_in(sign_in, Grant::new("web")).await.unwrap();
        let purging = {
            let purger = purger.clone();
            async move { purger.purge_expired(bound).await.unwrap() }
        };
        let Some(purge) = stage.stopped_after(&mut steps, purging).await else { continue };
        let child = refreshing.refresh(&parent.refresh_token).await;
        stage.relay.release();
        let when = format!("a purge that met a refresh after {:?}", stage.relay.seen());
        purge.await.unwrap();
        match child {
            Ok(child) => {
                went_on += 1;
                refreshing.verify(&child.access_token).await.expect(&when);
                refreshing.refresh(&child.refresh_token).await.expect(&when);
            }
            Err(RefreshError::InvalidGrant(_)) => {
                went += 1;
                assert_eq!(refreshing.session(parent.session_id).await.unwrap(), None, "{when}");
            }
            Err(error) => panic!("{when}: {error:?}"),
        }
    }
    assert!(went_on > 0 && went > 0, "each comes first somewhere: {went_on} went on, {went} are gone");
}

#[tokio::test(flavor = "multi_thread")]
async fn sign_in_meets_a_revoke_all_at_each_step() {
    let stage = Stage::set().await;
    let books = stage.books().await;
    let mut steps = Steps::at_least(7);
    while steps.go_on() {
        let subject = stage.subject().await;
        let (client, name) = (stage.first(), subject.name.clone());
        let signing_in = async move { client.login(&name, PASSWORD).await.unwrap() };
        let Some(sign_in) = stage.stopped_after(&mut steps, signing_in).await else { continue };
        let all = stage.second().logout_all(&subject.other.access).await.unwrap();
        assert_eq!(all.status, StatusCode::NO_CONTENT, "{all:?}");
        stage.relay.release();
        let when = format!("a sign-in that met a revoke-all after {:?}", stage.relay.seen());
        let answer = sign_in.await.unwrap();
        assert_eq!(answer.status, StatusCode::OK, "{when}: the password is right: {answer:?}");
        let opened = answer.tokens();
        stage.dead(&[&subject.session, &subject.other], &when).await;
        // The session survives if it was opened under the fence that the revoke-all raised, and not
        // otherwise.
        let under_the_fence = books.opened_under(&opened).await == books.fence(&opened).await;
        assert_eq!(stage.whole(&opened, &when).await, under_the_fence, "{when}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sign_in_with_the_old_password_meets_its_change_at_each_step() {
    let stage = Stage::set().await;
    let mut steps = Steps::at_least(7);
    while steps.go_on() {
        let subject = stage.subject().await;
        let (client, name) = (stage.first(), subject.name.clone());
        let signing_in = async move { client.login(&name, PASSWORD).await.unwrap() };
        let Some(sign_in) = stage.stopped_after(&mut steps, signing_in).await else { continue };
        let changed = change_password(&stage.second(), &subject.other.access).await;
        assert_eq!(changed.status, StatusCode::NO_CONTENT, "{changed:?}");
        stage.relay.release();
        let when = format!("a sign-in that met a change of password after {:?}", stage.relay.seen());
        let answer = sign_in.await.unwrap();
        match pair(&answer) {
            // The sign-in was answered before the change, and its session did not survive it.
            Some(opened) => stage.dead(&[&opened, &subject.session], &when).await,
            None => assert_eq!(answer.error(), "invalid_credentials", "{when}"),
        }
        stage.alive(&subject.other, &when).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn password_change_meets_a_sign_in_with_the_old_one_at_each_step() {
    let stage = Stage::set().await;
    let mut steps = Steps::at_least(14);
    while steps.go_on() {
        let subject = stage.subject().await;
        let (client, access) = (stage.first(), subject.other.access.clone());
        let changing = async move { change_password(&client, &access).await };
        let Some(change) = stage.stopped_after(&mut steps, changing).await else { continue };
        let opened = pair(&stage.second().login(&subject.name, PASSWORD).await.unwrap());
        stage.relay.release();
        let when = format!("a change of password that met a sign-in after {:?}", stage.relay.seen());
        let answer = change.await.unwrap();
        assert_eq!(answer.status, StatusCode::NO_CONTENT, "{when}: {answer:?}");
        let gone = [Some(&subject.session), opened.as_ref()];
        stage.dead(&gone.into_iter().flatten().collect::<Vec<_>>(), &when).await;
        stage.alive(&subject.other, &when).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn single_use_token_meets_its_twin_or_a_revocation_at_each_step() {
    let stage = Stage::set().await;
    let mut steps = Steps::at_least(1);
    while steps.go_on() {
        let subject = stage.subject().await;
        let token = single_use(&stage.second(), &subject.session.access).await;
        let (client, copy) = (stage.first(), token.clone());
        let Some(first) = stage.stopped_after(&mut steps, async move { spend(&client, &copy).await }).await else {
            continue;
        };
        let second = spend(&stage.second(), &token).await;
        stage.relay.release();
        let both = [first.await.unwrap(), second];
        assert_eq!(both.iter().filter(|status| **status == StatusCode::OK).count(), 1, "used once: {both:?}");
        assert!(both.contains(&StatusCode::UNAUTHORIZED), "and refused once: {both:?}");
    }
    let mut steps = Steps::at_least(5);
    while steps.go_on() {
        let subject = stage.subject().await;
        let (client, access) = (stage.first(), subject.session.access.clone());
        let issuing = async move { client.post("/auth/single-use", Some(&access), None).await.unwrap() };
        let Some(issue) = stage.stopped_after(&mut steps, issuing).await else { continue };
        let logout = stage.second().logout(&subject.session.access).await.unwrap();
        assert_eq!(logout.status, StatusCode::NO_CONTENT);
        stage.relay.release();
        let answer = issue.await.unwrap();
        if answer.status == StatusCode::CREATED {
            let token = answer.json()["access_token"].as_str().unwrap().to_owned();
            for node in [stage.first(), stage.second()] {
                assert_eq!(spend(&node, &token).await, StatusCode::UNAUTHORIZED, "a dead session's token");
            }
        } else {
            assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{answer:?}");
        }
    }
}

/// A way to end a session.
#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    /// Its own logout.
    Logout,
    /// A logout everywhere, from another session.
    LogoutAll,
    /// Its deletion from another session.
    Delete,
    /// A change of password in another session.
    Password,
    /// The reuse of a retired refresh token.
    Reuse,
}

/// A prepared way to end a session.
struct Ending {
    end: End,
    path: String,
    retired: Vec<String>,
}

impl End {
    async fn prepare(self, stage: &Stage, subject: &Subject) -> Ending {
        let second = stage.second();
        let mut retired = Vec::new();
        if self == Self::Reuse {
            let child = second.refresh(&subject.session.refresh).await.unwrap().tokens();
            second.refresh(&child.refresh).await.unwrap().tokens();
            retired.push(subject.session.refresh.clone());
        }
        Ending { end: self, path: session_path(&subject.session.access), retired }
    }

    async fn send(self, client: Client, access: String, path: String) -> Answer {
        match self {
            Self::Logout => client.logout(&access).await.unwrap(),
            Self::LogoutAll => client.logout_all(&access).await.unwrap(),
            Self::Delete => client.delete(&path, &access).await.unwrap(),
            Self::Password => change_password(&client, &access).await,
            Self::Reuse => client.refresh(&access).await.unwrap(),
        }
    }
}

impl Ending {
    /// Returns the token that the request comes with.
    fn tokens(&self, subject: &Subject) -> String {
        match (self.end, self.retired.first()) {
            (_, Some(retired)) => retired.clone(),
            (End::Logout, _) => subject.session.access.clone(),
            _ => subject.other.access.clone(),
        }
    }

    /// Ends the session on the second node.
    async fn run(&self, stage: &Stage, subject: &Subject) {
        let answer = self.end.send(stage.second(), self.tokens(subject), self.path.clone()).await;
        let done = if self.end == End::Reuse { StatusCode::UNAUTHORIZED } else { StatusCode::NO_CONTENT };
        assert_eq!(answer.status, done, "{:?}: {answer:?}", self.end);
    }
}
