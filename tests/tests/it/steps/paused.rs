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
    let nodes = SteppedNodes::start().await;
    for revocation in
        [Revocation::Logout, Revocation::LogoutAll, Revocation::Delete, Revocation::Password, Revocation::Reuse]
    {
        let mut steps = StepWalk::at_least(3);
        while steps.has_next() {
            let user = nodes.new_user().await;
            let prepared = revocation.prepare(&nodes, &user).await;
            let (client, access) = (nodes.first(), user.session.access.clone());
            let checking = async move { client.me(&access).await.unwrap().status };
            let Some(check) = nodes.stop_after_next_step(&mut steps, checking).await else { continue };
            prepared.run(&nodes, &user).await;
            nodes.relay.release();
            let when = format!("a check that met {revocation:?} after {:?}", nodes.relay.steps());
            let status = check.await.unwrap();
            assert!(matches!(status, StatusCode::OK | StatusCode::UNAUTHORIZED), "{when}: {status}");
            nodes.assert_refused(&[&user.session], &when).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn refresh_meets_a_revocation_at_each_step() {
    let nodes = SteppedNodes::start().await;
    for revocation in [Revocation::Logout, Revocation::LogoutAll, Revocation::Delete, Revocation::Password] {
        let mut steps = StepWalk::at_least(4);
        while steps.has_next() {
            let user = nodes.new_user().await;
            let prepared = revocation.prepare(&nodes, &user).await;
            let (client, token) = (nodes.first(), user.session.refresh.clone());
            let refreshing = async move { client.refresh(&token).await.unwrap() };
            let Some(refresh) = nodes.stop_after_next_step(&mut steps, refreshing).await else { continue };
            prepared.run(&nodes, &user).await;
            nodes.relay.release();
            let when = format!("a refresh that met {revocation:?} after {:?}", nodes.relay.steps());
            let answer = refresh.await.unwrap();
            let child = issued_pair(&answer);
            assert!(child.is_some() || answer.error() == "invalid_grant", "{when}: {answer:?}");
            nodes
                .assert_refused(&[Some(&user.session), child.as_ref()].into_iter().flatten().collect::<Vec<_>>(), &when)
                .await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn refresh_meets_its_twin_at_each_step() {
    let nodes = SteppedNodes::start().await;
    let mut steps = StepWalk::at_least(4);
    while steps.has_next() {
        let user = nodes.new_user().await;
        let (client, token) = (nodes.first(), user.session.refresh.clone());
        let refreshing = async move { client.refresh(&token).await.unwrap() };
        let Some(refresh) = nodes.stop_after_next_step(&mut steps, refreshing).await else { continue };
        let twin = nodes.second().refresh(&user.session.refresh).await.unwrap().tokens();
        nodes.relay.release();
        let when = format!("a refresh that met its twin after {:?}", nodes.relay.steps());
        let answer = refresh.await.unwrap();
        assert_eq!(answer.status, StatusCode::OK, "{when}: {answer:?}");
        let child = answer.tokens();
        assert_eq!((child.access, child.refresh), (twin.access.clone(), twin.refresh.clone()), "{when}: one child");
        nodes.assert_live(&twin, &when).await;
    }
}

/// The first answer was lost, and its owner asks again while somebody presents the child. If the
/// child came later, the retry gets the same pair. If it came first, the retry is the reuse of a
/// retired token.
#[tokio::test(flavor = "multi_thread")]
async fn refresh_retry_meets_the_use_of_the_child_at_each_step() {
    let nodes = SteppedNodes::start().await;
    let (mut repeated, mut revoked) = (0, 0);
    let mut steps = StepWalk::at_least(3);
    while steps.has_next() {
        let user = nodes.new_user().await;
        let child = nodes.second().refresh(&user.session.refresh).await.unwrap().tokens();
        let (client, token) = (nodes.first(), user.session.refresh.clone());
        let retrying = async move { client.refresh(&token).await.unwrap() };
        let Some(retry) = nodes.stop_after_next_step(&mut steps, retrying).await else { continue };
        let grandchild = nodes.second().refresh(&child.refresh).await.unwrap().tokens();
        nodes.relay.release();
        let when = format!("a retry that met the use of the child after {:?}", nodes.relay.steps());
        let answer = retry.await.unwrap();
        if let Some(again) = issued_pair(&answer) {
            repeated += 1;
            assert_eq!((again.access, again.refresh), (child.access, child.refresh), "{when}: one child");
            nodes.assert_live(&grandchild, &when).await;
        } else {
            revoked += 1;
            assert_eq!(answer.error(), "invalid_grant", "{when}");
            nodes.assert_refused(&[&user.session, &child, &grandchild], &when).await;
        }
    }
    // The last stops come after the write that decides. Those before it deliver nothing on what
    // they have read.
    assert!(repeated > 0 && revoked > 0, "each comes first somewhere: {repeated} repeated, {revoked} revoked");
}

#[tokio::test(flavor = "multi_thread")]
async fn reuse_meets_a_refresh_at_each_step() {
    let nodes = SteppedNodes::start().await;
    let mut steps = StepWalk::at_least(8);
    while steps.has_next() {
        let user = nodes.new_user().await;
        let second = nodes.second();
        let child = second.refresh(&user.session.refresh).await.unwrap().tokens();
        let current = second.refresh(&child.refresh).await.unwrap().tokens();
        let (client, token) = (nodes.first(), user.session.refresh.clone());
        let reusing = async move { client.refresh(&token).await.unwrap() };
        let Some(reuse) = nodes.stop_after_next_step(&mut steps, reusing).await else { continue };
        let newest = issued_pair(&second.refresh(&current.refresh).await.unwrap());
        nodes.relay.release();
        let when = format!("a reuse that met a refresh after {:?}", nodes.relay.steps());
        assert_eq!(reuse.await.unwrap().error(), "invalid_grant", "{when}");
        let all = [Some(&user.session), Some(&child), Some(&current), newest.as_ref()];
        nodes.assert_refused(&all.into_iter().flatten().collect::<Vec<_>>(), &when).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn revoke_meets_a_refresh_and_a_check_at_each_step() {
    let nodes = SteppedNodes::start().await;
    for (revocation, least) in
        [(Revocation::Logout, 7), (Revocation::LogoutAll, 11), (Revocation::Delete, 8), (Revocation::Password, 14)]
    {
        let mut steps = StepWalk::at_least(least);
        while steps.has_next() {
            let user = nodes.new_user().await;
            let prepared = revocation.prepare(&nodes, &user).await;
            let (client, tokens) = (nodes.first(), prepared.credential(&user));
            let Some(running) =
                nodes.stop_after_next_step(&mut steps, revocation.send(client, tokens, prepared.path.clone())).await
            else {
                continue;
            };
            // The check fills the shared cache, if it may.
            let second = nodes.second();
            second.me(&user.session.access).await.unwrap();
            let child = issued_pair(&second.refresh(&user.session.refresh).await.unwrap());
            if let Some(child) = &child {
                second.me(&child.access).await.unwrap();
            }
            nodes.relay.release();
            let when = format!("{revocation:?} that met a refresh after {:?}", nodes.relay.steps());
            let answer = running.await.unwrap();
            // The request came with a token of the refreshed session, or of another. The token was
            // good when the request began.
            assert_eq!(answer.status, StatusCode::NO_CONTENT, "{when}: {answer:?}");
            nodes
                .assert_refused(&[Some(&user.session), child.as_ref()].into_iter().flatten().collect::<Vec<_>>(), &when)
                .await;
        }
    }
}

/// A session that a purge found expired may have been refreshed before the purge removes it.
#[tokio::test(flavor = "multi_thread")]
async fn purge_meets_a_refresh_at_each_step() {
    const MINUTE: Duration = Duration::from_mins(1);

    let nodes = SteppedNodes::start().await;
    let purger = patient_store(&nodes.relayed, "purge").await;
    let store = Arc::new(patient_store(&nodes.servers.0.uri(), "purge").await);
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
    let (mut refreshed, mut removed) = (0, 0);
    let mut steps = StepWalk::at_least(4);
    while steps.has_next() {
        let sign_in = opening.begin_sign_in(UserId::generate()).await.unwrap();
        let parent = opening.sign_in(sign_in, Grant::new("web")).await.unwrap();
        let purging = {
            let purger = purger.clone();
            async move { purger.purge_expired(bound).await.unwrap() }
        };
        let Some(purge) = nodes.stop_after_next_step(&mut steps, purging).await else { continue };
        let child = refreshing.refresh(&parent.refresh_token).await;
        nodes.relay.release();
        let when = format!("a purge that met a refresh after {:?}", nodes.relay.steps());
        purge.await.unwrap();
        match child {
            Ok(child) => {
                refreshed += 1;
                refreshing.verify(&child.access_token).await.expect(&when);
                refreshing.refresh(&child.refresh_token).await.expect(&when);
            }
            Err(RefreshError::InvalidGrant(_)) => {
                removed += 1;
                assert_eq!(refreshing.session(parent.session_id).await.unwrap(), None, "{when}");
            }
            Err(error) => panic!("{when}: {error:?}"),
        }
    }
    assert!(refreshed > 0 && removed > 0, "each comes first somewhere: {refreshed} went on, {removed} are gone");
}

#[tokio::test(flavor = "multi_thread")]
async fn sign_in_meets_a_revoke_all_at_each_step() {
    let nodes = SteppedNodes::start().await;
    let ledger = nodes.ledger().await;
    let mut steps = StepWalk::at_least(7);
    while steps.has_next() {
        let user = nodes.new_user().await;
        let (client, name) = (nodes.first(), user.name.clone());
        let signing_in = async move { client.login(&name, PASSWORD).await.unwrap() };
        let Some(sign_in) = nodes.stop_after_next_step(&mut steps, signing_in).await else { continue };
        let all = nodes.second().logout_all(&user.other.access).await.unwrap();
        assert_eq!(all.status, StatusCode::NO_CONTENT, "{all:?}");
        nodes.relay.release();
        let when = format!("a sign-in that met a revoke-all after {:?}", nodes.relay.steps());
        let answer = sign_in.await.unwrap();
        assert_eq!(answer.status, StatusCode::OK, "{when}: the password is right: {answer:?}");
        let opened = answer.tokens();
        nodes.assert_refused(&[&user.session, &user.other], &when).await;
        // The session survives if it was opened under the fence that the revoke-all raised, and not
        // otherwise.
        let under_the_fence = ledger.session_epoch(&opened).await == ledger.user_epoch(&opened).await;
        assert_eq!(nodes.assert_live_or_refused(&opened, &when).await, under_the_fence, "{when}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sign_in_with_the_old_password_meets_its_change_at_each_step() {
    let nodes = SteppedNodes::start().await;
    let mut steps = StepWalk::at_least(7);
    while steps.has_next() {
        let user = nodes.new_user().await;
        let (client, name) = (nodes.first(), user.name.clone());
        let signing_in = async move { client.login(&name, PASSWORD).await.unwrap() };
        let Some(sign_in) = nodes.stop_after_next_step(&mut steps, signing_in).await else { continue };
        let changed = change_password(&nodes.second(), &user.other.access).await;
        assert_eq!(changed.status, StatusCode::NO_CONTENT, "{changed:?}");
        nodes.relay.release();
        let when = format!("a sign-in that met a change of password after {:?}", nodes.relay.steps());
        let answer = sign_in.await.unwrap();
        match issued_pair(&answer) {
            // The sign-in was answered before the change, and its session did not survive it.
            Some(opened) => nodes.assert_refused(&[&opened, &user.session], &when).await,
            None => assert_eq!(answer.error(), "invalid_credentials", "{when}"),
        }
        nodes.assert_live(&user.other, &when).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn password_change_meets_a_sign_in_with_the_old_one_at_each_step() {
    let nodes = SteppedNodes::start().await;
    let mut steps = StepWalk::at_least(14);
    while steps.has_next() {
        let user = nodes.new_user().await;
        let (client, access) = (nodes.first(), user.other.access.clone());
        let changing = async move { change_password(&client, &access).await };
        let Some(change) = nodes.stop_after_next_step(&mut steps, changing).await else { continue };
        let opened = issued_pair(&nodes.second().login(&user.name, PASSWORD).await.unwrap());
        nodes.relay.release();
        let when = format!("a change of password that met a sign-in after {:?}", nodes.relay.steps());
        let answer = change.await.unwrap();
        assert_eq!(answer.status, StatusCode::NO_CONTENT, "{when}: {answer:?}");
        let gone = [Some(&user.session), opened.as_ref()];
        nodes.assert_refused(&gone.into_iter().flatten().collect::<Vec<_>>(), &when).await;
        nodes.assert_live(&user.other, &when).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn single_use_token_meets_its_twin_or_a_revocation_at_each_step() {
    let nodes = SteppedNodes::start().await;
    let mut steps = StepWalk::at_least(1);
    while steps.has_next() {
        let user = nodes.new_user().await;
        let token = single_use(&nodes.second(), &user.session.access).await;
        let (client, copy) = (nodes.first(), token.clone());
        let Some(first) = nodes.stop_after_next_step(&mut steps, async move { spend(&client, &copy).await }).await
        else {
            continue;
        };
        let second = spend(&nodes.second(), &token).await;
        nodes.relay.release();
        let both = [first.await.unwrap(), second];
        assert_eq!(both.iter().filter(|status| **status == StatusCode::OK).count(), 1, "used once: {both:?}");
        assert!(both.contains(&StatusCode::UNAUTHORIZED), "and refused once: {both:?}");
    }
    let mut steps = StepWalk::at_least(5);
    while steps.has_next() {
        let user = nodes.new_user().await;
        let (client, access) = (nodes.first(), user.session.access.clone());
        let issuing = async move { client.post("/auth/single-use", Some(&access), None).await.unwrap() };
        let Some(issue) = nodes.stop_after_next_step(&mut steps, issuing).await else { continue };
        let logout = nodes.second().logout(&user.session.access).await.unwrap();
        assert_eq!(logout.status, StatusCode::NO_CONTENT);
        nodes.relay.release();
        let answer = issue.await.unwrap();
        if answer.status == StatusCode::CREATED {
            let token = answer.json()["access_token"].as_str().unwrap().to_owned();
            for node in [nodes.first(), nodes.second()] {
                assert_eq!(spend(&node, &token).await, StatusCode::UNAUTHORIZED, "a dead session's token");
            }
        } else {
            assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{answer:?}");
        }
    }
}

/// A way to end a session.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Revocation {
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
struct PreparedRevocation {
    revocation: Revocation,
    path: String,
    retired: Vec<String>,
}

impl Revocation {
    /// Makes the tokens that the revocation needs.
    async fn prepare(self, nodes: &SteppedNodes, user: &TestUser) -> PreparedRevocation {
        let second = nodes.second();
        let mut retired = Vec::new();
        if self == Self::Reuse {
            let child = second.refresh(&user.session.refresh).await.unwrap().tokens();
            second.refresh(&child.refresh).await.unwrap().tokens();
            retired.push(user.session.refresh.clone());
        }
        PreparedRevocation { revocation: self, path: session_path(&user.session.access), retired }
    }

    /// Sends the request that ends the session.
    async fn send(self, client: Client, access: String, path: String) -> Response {
        match self {
            Self::Logout => client.logout(&access).await.unwrap(),
            Self::LogoutAll => client.logout_all(&access).await.unwrap(),
            Self::Delete => client.delete(&path, &access).await.unwrap(),
            Self::Password => change_password(&client, &access).await,
            Self::Reuse => client.refresh(&access).await.unwrap(),
        }
    }
}

impl PreparedRevocation {
    /// Returns the token that the request comes with.
    fn credential(&self, user: &TestUser) -> String {
        match (self.revocation, self.retired.first()) {
            (_, Some(retired)) => retired.clone(),
            (Revocation::Logout, _) => user.session.access.clone(),
            _ => user.other.access.clone(),
        }
    }

    /// Ends the session on the second node.
    async fn run(&self, nodes: &SteppedNodes, user: &TestUser) {
        let answer = self.revocation.send(nodes.second(), self.credential(user), self.path.clone()).await;
        let done = if self.revocation == Revocation::Reuse { StatusCode::UNAUTHORIZED } else { StatusCode::NO_CONTENT };
        assert_eq!(answer.status, done, "{:?}: {answer:?}", self.revocation);
    }
}
