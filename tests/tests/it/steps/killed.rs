//! Killed: the process dies (SIGKILL) after each of its steps, and starts again.
//!
//! An unacknowledged step may or may not have happened. In both cases each law holds, and asking
//! again is safe.

use super::*;

impl SteppedNodes {
    /// Runs `doing` on the first node, kills it after the next step and starts it again without
    /// stops. Returns `false` if `doing` was over before.
    async fn kill_after_next_step<T>(&mut self, steps: &mut StepWalk, doing: T) -> bool
    where
        T: Future<Output: Send + 'static> + Send + 'static,
    {
        let died = self.kill_for_good_after_next_step(steps, doing).await;
        if died {
            self.first.restart().await;
        }
        died
    }

    /// Runs `doing` on the first node and kills it after the next step. The node does not start
    /// again. Returns `false` if `doing` was over before.
    async fn kill_for_good_after_next_step<T>(&mut self, steps: &mut StepWalk, doing: T) -> bool
    where
        T: Future<Output: Send + 'static> + Send + 'static,
    {
        let Some(doing) = self.stop_after_next_step(steps, doing).await else { return false };
        self.first.kill();
        self.relay.release();
        doing.await.unwrap();
        true
    }

    /// Says in an error message after which steps `what` was killed.
    fn describe(&self, what: &str) -> String {
        format!("{what}, killed after {:?}", self.relay.steps())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sign_in_survives_a_kill_at_each_step() {
    let mut nodes = SteppedNodes::start().await;
    let mut steps = StepWalk::at_least(7);
    while steps.has_next() {
        let user = nodes.new_user().await;
        let (client, name) = (nodes.first(), user.name.clone());
        if !nodes.kill_after_next_step(&mut steps, async move { client.login(&name, PASSWORD).await }).await {
            continue;
        }
        let when = nodes.describe("a sign-in");
        let again = nodes.first().login(&user.name, PASSWORD).await.unwrap().tokens();
        for pair in [&again, &user.session] {
            nodes.assert_live(pair, &when).await;
        }
        // What was left behind is no obstacle, and ends with the rest.
        let last = nodes.second().login(&user.name, PASSWORD).await.unwrap().tokens();
        assert_eq!(nodes.first().logout_all(&last.access).await.unwrap().status, StatusCode::NO_CONTENT, "{when}");
        nodes.assert_refused(&[&again, &user.session, &user.other, &last], &when).await;
        let fresh = nodes.first().login(&user.name, PASSWORD).await.unwrap().tokens();
        let listed = nodes.second().get("/auth/sessions", Some(&fresh.access)).await.unwrap().json();
        assert_eq!(listed.as_array().unwrap().len(), 1, "{when}: nothing else is left: {listed}");
    }
}

/// The owner asks again and gets the one child, and the session goes on.
#[tokio::test(flavor = "multi_thread")]
async fn refresh_survives_a_kill_at_each_step() {
    let mut nodes = SteppedNodes::start().await;
    let mut steps = StepWalk::at_least(4);
    while steps.has_next() {
        let user = nodes.new_user().await;
        let (client, token) = (nodes.first(), user.session.refresh.clone());
        if !nodes.kill_after_next_step(&mut steps, async move { client.refresh(&token).await }).await {
            continue;
        }
        let when = nodes.describe("a refresh");
        let retried = nodes.second().refresh(&user.session.refresh).await.unwrap();
        assert_eq!(retried.status, StatusCode::OK, "{when}: {retried:?}");
        let again = nodes.first().refresh(&user.session.refresh).await.unwrap().tokens();
        let child = retried.tokens();
        assert_eq!((&again.access, &again.refresh), (&child.access, &child.refresh), "{when}: one child");
        nodes.assert_live(&child, &when).await;
    }
}

/// The window is over before the owner comes back. Without an answer the retry is no reuse.
#[tokio::test(flavor = "multi_thread")]
async fn refresh_retried_after_the_window_survives_a_kill_at_each_step() {
    let mut nodes = SteppedNodes::start_with(&["--refresh-grace", "1ms"]).await;
    let mut steps = StepWalk::at_least(4);
    while steps.has_next() {
        let user = nodes.new_user().await;
        let (client, token) = (nodes.first(), user.session.refresh.clone());
        if !nodes.kill_after_next_step(&mut steps, async move { client.refresh(&token).await }).await {
            continue;
        }
        // The second update is the delivery mark, which runs beside the answer.
        if nodes.relay.steps().iter().filter(|step| *step == "update").count() > 1 {
            continue;
        }
        let when = nodes.describe("a refresh");
        let retried = nodes.second().refresh(&user.session.refresh).await.unwrap();
        assert_eq!(retried.status, StatusCode::OK, "{when}: {retried:?}");
        nodes.assert_live(&retried.tokens(), &when).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn revoke_session_survives_a_kill_at_each_step() {
    let mut nodes = SteppedNodes::start().await;
    let ledger = nodes.ledger().await;
    let mut steps = StepWalk::at_least(6);
    while steps.has_next() {
        let user = nodes.new_user().await;
        let child = nodes.second().refresh(&user.session.refresh).await.unwrap().tokens();
        // The shared cache holds both access tokens as active when the node dies.
        nodes.second().me(&user.session.access).await.unwrap();
        nodes.second().me(&child.access).await.unwrap();
        let (client, access) = (nodes.first(), child.access.clone());
        if !nodes.kill_for_good_after_next_step(&mut steps, async move { client.logout(&access).await }).await {
            continue;
        }
        let when = nodes.describe("a logout");
        let recorded = ledger.recorded_revocation(&child).await;
        nodes.first.restart().await;
        let kept = ledger.recorded_revocation(&child).await;
        assert!(kept.includes(&recorded), "{when}: {recorded:?} was recorded, and {kept:?} is left of it");
        for node in [nodes.first(), nodes.second()] {
            let listed = node.get("/auth/sessions", Some(&user.other.access)).await.unwrap().json();
            let sessions = listed.as_array().unwrap().len();
            assert_eq!(sessions, if kept.session { 1 } else { 2 }, "{when}: {listed}");
        }
        // From another session, because the one being ended may already be refused. Its owner can
        // always see it ended.
        let deleted = nodes.second().delete(&session_path(&child.access), &user.other.access).await.unwrap();
        assert_eq!(deleted.status, StatusCode::NO_CONTENT, "{when}: {deleted:?}");
        nodes.assert_refused(&[&user.session, &child], &when).await;
        nodes.assert_live(&user.other, &when).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn revoke_all_survives_a_kill_at_each_step() {
    let mut nodes = SteppedNodes::start().await;
    let ledger = nodes.ledger().await;
    let mut steps = StepWalk::at_least(9);
    while steps.has_next() {
        let user = nodes.new_user().await;
        for pair in [&user.session, &user.other] {
            nodes.second().me(&pair.access).await.unwrap();
        }
        let (client, access) = (nodes.first(), user.session.access.clone());
        if !nodes.kill_for_good_after_next_step(&mut steps, async move { client.logout_all(&access).await }).await {
            continue;
        }
        let when = nodes.describe("a revoke-all");
        let read = async || {
            let (session, other) =
                (ledger.recorded_revocation(&user.session).await, ledger.recorded_revocation(&user.other).await);
            (ledger.user_epoch(&user.session).await, session, other)
        };
        let recorded = read().await;
        nodes.first.restart().await;
        let kept = read().await;
        assert_eq!(kept.0, recorded.0, "{when}: the fence moved");
        assert!(
            kept.1.includes(&recorded.1) && kept.2.includes(&recorded.2),
            "{when}: {kept:?} is left of {recorded:?}"
        );
        let fresh = nodes.second().login(&user.name, PASSWORD).await.unwrap().tokens();
        assert_eq!(nodes.first().logout_all(&fresh.access).await.unwrap().status, StatusCode::NO_CONTENT, "{when}");
        nodes.assert_refused(&[&user.session, &user.other, &fresh], &when).await;
    }
}

/// One of the two passwords is good, never both and never neither, and the request can be sent
/// again.
#[tokio::test(flavor = "multi_thread")]
async fn password_change_survives_a_kill_at_each_step() {
    let mut nodes = SteppedNodes::start().await;
    let mut steps = StepWalk::at_least(14);
    while steps.has_next() {
        let user = nodes.new_user().await;
        nodes.second().me(&user.session.access).await.unwrap();
        let (client, access) = (nodes.first(), user.other.access.clone());
        if !nodes.kill_after_next_step(&mut steps, async move { try_change_password(&client, &access).await }).await {
            continue;
        }
        let when = nodes.describe("a change of password");
        let old = nodes.second().login(&user.name, PASSWORD).await.unwrap();
        let new = nodes.second().login(&user.name, NEW_PASSWORD).await.unwrap();
        assert_ne!(old.status, new.status, "{when}: {old:?}, {new:?}");
        let retried = change_password(&nodes.second(), &user.other.access).await;
        assert_eq!(retried.status, StatusCode::NO_CONTENT, "{when}: {retried:?}");
        let opened = [Some(&user.session), issued_pair(&old).as_ref(), issued_pair(&new).as_ref()]
            .into_iter()
            .flatten()
            .cloned()
            .collect::<Vec<_>>();
        nodes.assert_refused(&opened.iter().collect::<Vec<_>>(), &when).await;
        assert_eq!(nodes.first().login(&user.name, PASSWORD).await.unwrap().error(), "invalid_credentials");
        nodes.assert_live(&user.other, &when).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn reuse_survives_a_kill_at_each_step() {
    let mut nodes = SteppedNodes::start().await;
    let mut steps = StepWalk::at_least(8);
    while steps.has_next() {
        let user = nodes.new_user().await;
        let child = nodes.second().refresh(&user.session.refresh).await.unwrap().tokens();
        let current = nodes.second().refresh(&child.refresh).await.unwrap().tokens();
        nodes.second().me(&current.access).await.unwrap();
        let (client, token) = (nodes.first(), user.session.refresh.clone());
        if !nodes.kill_after_next_step(&mut steps, async move { client.refresh(&token).await }).await {
            continue;
        }
        let when = nodes.describe("a reuse");
        let again = nodes.second().refresh(&user.session.refresh).await.unwrap();
        assert_eq!(again.error(), "invalid_grant", "{when}: {again:?}");
        nodes.assert_refused(&[&user.session, &child, &current], &when).await;
        nodes.assert_live(&user.other, &when).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn single_use_issue_and_use_survive_a_kill_at_each_step() {
    let mut nodes = SteppedNodes::start().await;
    let mut steps = StepWalk::at_least(5);
    while steps.has_next() {
        let user = nodes.new_user().await;
        let (client, access) = (nodes.first(), user.session.access.clone());
        if !nodes
            .kill_after_next_step(&mut steps, async move { client.post("/auth/single-use", Some(&access), None).await })
            .await
        {
            continue;
        }
        let token = single_use(&nodes.first(), &user.session.access).await;
        let tries = [spend(&nodes.second(), &token).await, spend(&nodes.first(), &token).await];
        assert_eq!(
            tries,
            [StatusCode::OK, StatusCode::UNAUTHORIZED],
            "{}",
            nodes.describe("the issue of another token")
        );
    }
    // The check leaves the token as it is. The handler uses it up.
    let mut steps = StepWalk::at_least(2);
    while steps.has_next() {
        let user = nodes.new_user().await;
        let token = single_use(&nodes.first(), &user.session.access).await;
        let (client, copy) = (nodes.first(), token.clone());
        if !nodes
            .kill_after_next_step(&mut steps, async move { client.post("/demo/single-use", Some(&copy), None).await })
            .await
        {
            continue;
        }
        // A use that was recorded and whose answer was lost is a use: the token is accepted at most
        // once.
        let first = if nodes.relay.steps().iter().any(|step| step == "update") {
            StatusCode::UNAUTHORIZED
        } else {
            StatusCode::OK
        };
        let tries = [spend(&nodes.second(), &token).await, spend(&nodes.first(), &token).await];
        assert_eq!(tries, [first, StatusCode::UNAUTHORIZED], "{}", nodes.describe("the use of a token"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn registration_survives_a_kill_at_each_step() {
    let mut nodes = SteppedNodes::start().await;
    let mut steps = StepWalk::at_least(2);
    while steps.has_next() {
        let (client, name) = (nodes.first(), username());
        let copy = name.clone();
        if !nodes.kill_after_next_step(&mut steps, async move { client.register(&copy, PASSWORD).await }).await {
            continue;
        }
        let again = nodes.first().register(&name, PASSWORD).await.unwrap();
        let when = nodes.describe("a registration");
        assert!(again.status == StatusCode::CREATED || again.error() == "username_taken", "{when}: {again:?}");
        let opened = nodes.second().login(&name, PASSWORD).await.unwrap().tokens();
        nodes.assert_live(&opened, &when).await;
    }
}
