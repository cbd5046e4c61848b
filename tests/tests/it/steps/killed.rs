//! Killed: the process dies (SIGKILL) after each of its steps, and starts again.
//!
//! An unacknowledged step may or may not have happened. In both cases each law holds, and asking
//! again is safe.

use super::*;

impl Stage {
    /// Runs `doing` on the first node, kills it after the next step and starts it again without
    /// stops. Returns `false` if `doing` was over before.
    async fn killed_after<T>(&mut self, steps: &mut Steps, doing: T) -> bool
    where
        T: Future<Output: Send + 'static> + Send + 'static,
    {
        let died = self.dies_after(steps, doing).await;
        if died {
            self.first.restart().await;
        }
        died
    }

    /// Runs `doing` on the first node and kills it after the next step. The node does not start
    /// again. Returns `false` if `doing` was over before.
    async fn dies_after<T>(&mut self, steps: &mut Steps, doing: T) -> bool
    where
        T: Future<Output: Send + 'static> + Send + 'static,
    {
        let Some(doing) = self.stopped_after(steps, doing).await else { return false };
        self.first.kill9();
        self.relay.release();
        doing.await.unwrap();
        true
    }

    fn when(&self, what: &str) -> String {
        format!("{what}, killed after {:?}", self.relay.seen())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sign_in_survives_a_kill_at_each_step() {
    let mut stage = Stage::set().await;
    let mut steps = Steps::at_least(7);
    while steps.go_on() {
        let subject = stage.subject().await;
        let (client, name) = (stage.first(), subject.name.clone());
        if !stage.killed_after(&mut steps, async move { client.login(&name, PASSWORD).await }).await {
            continue;
        }
        let when = stage.when("a sign-in");
        let again = stage.first().login(&subject.name, PASSWORD).await.unwrap().tokens();
        for pair in [&again, &subject.session] {
            stage.alive(pair, &when).await;
        }
        // What was left behind is no obstacle, and ends with the rest.
        let last = stage.second().login(&subject.name, PASSWORD).await.unwrap().tokens();
        assert_eq!(stage.first().logout_all(&last.access).await.unwrap().status, StatusCode::NO_CONTENT, "{when}");
        stage.dead(&[&again, &subject.session, &subject.other, &last], &when).await;
        let fresh = stage.first().login(&subject.name, PASSWORD).await.unwrap().tokens();
        let listed = stage.second().get("/auth/sessions", Some(&fresh.access)).await.unwrap().json();
        assert_eq!(listed.as_array().unwrap().len(), 1, "{when}: nothing else is left: {listed}");
    }
}

/// The owner asks again and gets the one child, and the session goes on.
#[tokio::test(flavor = "multi_thread")]
async fn refresh_survives_a_kill_at_each_step() {
    let mut stage = Stage::set().await;
    let mut steps = Steps::at_least(4);
    while steps.go_on() {
        let subject = stage.subject().await;
        let (client, token) = (stage.first(), subject.session.refresh.clone());
        if !stage.killed_after(&mut steps, async move { client.refresh(&token).await }).await {
            continue;
        }
        let when = stage.when("a refresh");
        let retried = stage.second().refresh(&subject.session.refresh).await.unwrap();
        assert_eq!(retried.status, StatusCode::OK, "{when}: {retried:?}");
        let again = stage.first().refresh(&subject.session.refresh).await.unwrap().tokens();
        let child = retried.tokens();
        assert_eq!((&again.access, &again.refresh), (&child.access, &child.refresh), "{when}: one child");
        stage.alive(&child, &when).await;
    }
}

/// The window is over before the owner comes back. Without an answer the retry is no reuse.
#[tokio::test(flavor = "multi_thread")]
async fn refresh_retried_after_the_window_survives_a_kill_at_each_step() {
    let mut stage = Stage::with(&["--refresh-grace", "1ms"]).await;
    let mut steps = Steps::at_least(4);
    while steps.go_on() {
        let subject = stage.subject().await;
        let (client, token) = (stage.first(), subject.session.refresh.clone());
        if !stage.killed_after(&mut steps, async move { client.refresh(&token).await }).await {
            continue;
        }
        // The second update is the delivery mark, which runs beside the answer.
        if stage.relay.seen().iter().filter(|step| *step == "update").count() > 1 {
            continue;
        }
        let when = stage.when("a refresh");
        let retried = stage.second().refresh(&subject.session.refresh).await.unwrap();
        assert_eq!(retried.status, StatusCode::OK, "{when}: {retried:?}");
        stage.alive(&retried.tokens(), &when).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn revoke_session_survives_a_kill_at_each_step() {
    let mut stage = Stage::set().await;
    let books = stage.books().await;
    let mut steps = Steps::at_least(6);
    while steps.go_on() {
        let subject = stage.subject().await;
        let child = stage.second().refresh(&subject.session.refresh).await.unwrap().tokens();
        // The shared cache holds both access tokens as active when the node dies.
        stage.second().me(&subject.session.access).await.unwrap();
        stage.second().me(&child.access).await.unwrap();
        let (client, access) = (stage.first(), child.access.clone());
        if !stage.dies_after(&mut steps, async move { client.logout(&access).await }).await {
            continue;
        }
        let when = stage.when("a logout");
        let recorded = books.revoked(&child).await;
        stage.first.restart().await;
        let kept = books.revoked(&child).await;
        assert!(kept.holds(&recorded), "{when}: {recorded:?} was recorded, and {kept:?} is left of it");
        for node in [stage.first(), stage.second()] {
            let listed = node.get("/auth/sessions", Some(&subject.other.access)).await.unwrap().json();
            let sessions = listed.as_array().unwrap().len();
            assert_eq!(sessions, if kept.session { 1 } else { 2 }, "{when}: {listed}");
        }
        // From another session, because the one being ended may already be refused. Its owner can
        // always see it ended.
        let deleted = stage.second().delete(&session_path(&child.access), &subject.other.access).await.unwrap();
        assert_eq!(deleted.status, StatusCode::NO_CONTENT, "{when}: {deleted:?}");
        stage.dead(&[&subject.session, &child], &when).await;
        stage.alive(&subject.other, &when).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn revoke_all_survives_a_kill_at_each_step() {
    let mut stage = Stage::set().await;
    let books = stage.books().await;
    let mut steps = Steps::at_least(9);
    while steps.go_on() {
        let subject = stage.subject().await;
        for pair in [&subject.session, &subject.other] {
            stage.second().me(&pair.access).await.unwrap();
        }
        let (client, access) = (stage.first(), subject.session.access.clone());
        if !stage.dies_after(&mut steps, async move { client.logout_all(&access).await }).await {
            continue;
        }
        let when = stage.when("a revoke-all");
        let read = async || {
            let (session, other) = (books.revoked(&subject.session).await, books.revoked(&subject.other).await);
            (books.fence(&subject.session).await, session, other)
        };
        let recorded = read().await;
        stage.first.restart().await;
        let kept = read().await;
        assert_eq!(kept.0, recorded.0, "{when}: the fence moved");
        assert!(kept.1.holds(&recorded.1) && kept.2.holds(&recorded.2), "{when}: {kept:?} is left of {recorded:?}");
        let fresh = stage.second().login(&subject.name, PASSWORD).await.unwrap().tokens();
        assert_eq!(stage.first().logout_all(&fresh.access).await.unwrap().status, StatusCode::NO_CONTENT, "{when}");
        stage.dead(&[&subject.session, &subject.other, &fresh], &when).await;
    }
}

/// One of the two passwords is good, never both and never neither, and the request can be sent
/// again.
#[tokio::test(flavor = "multi_thread")]
async fn password_change_survives_a_kill_at_each_step() {
    let mut stage = Stage::set().await;
    let mut steps = Steps::at_least(14);
    while steps.go_on() {
        let subject = stage.subject().await;
        stage.second().me(&subject.session.access).await.unwrap();
        let (client, access) = (stage.first(), subject.other.access.clone());
        if !stage.killed_after(&mut steps, async move { try_change_password(&client, &access).await }).await {
            continue;
        }
        let when = stage.when("a change of password");
        let old = stage.second().login(&subject.name, PASSWORD).await.unwrap();
        let new = stage.second().login(&subject.name, NEW_PASSWORD).await.unwrap();
        assert_ne!(old.status, new.status, "{when}: {old:?}, {new:?}");
        let retried = change_password(&stage.second(), &subject.other.access).await;
        assert_eq!(retried.status, StatusCode::NO_CONTENT, "{when}: {retried:?}");
        let opened = [Some(&subject.session), pair(&old).as_ref(), pair(&new).as_ref()]
            .into_iter()
            .flatten()
            .cloned()
            .collect::<Vec<_>>();
        stage.dead(&opened.iter().collect::<Vec<_>>(), &when).await;
        assert_eq!(stage.first().login(&subject.name, PASSWORD).await.unwrap().error(), "invalid_credentials");
        stage.alive(&subject.other, &when).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn reuse_survives_a_kill_at_each_step() {
    let mut stage = Stage::set().await;
    let mut steps = Steps::at_least(8);
    while steps.go_on() {
        let subject = stage.subject().await;
        let child = stage.second().refresh(&subject.session.refresh).await.unwrap().tokens();
        let current = stage.second().refresh(&child.refresh).await.unwrap().tokens();
        stage.second().me(&current.access).await.unwrap();
        let (client, token) = (stage.first(), subject.session.refresh.clone());
        if !stage.killed_after(&mut steps, async move { client.refresh(&token).await }).await {
            continue;
        }
        let when = stage.when("a punishment");
        let again = stage.second().refresh(&subject.session.refresh).await.unwrap();
        assert_eq!(again.error(), "invalid_grant", "{when}: {again:?}");
        stage.dead(&[&subject.session, &child, &current], &when).await;
        stage.alive(&subject.other, &when).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn single_use_issue_and_use_survive_a_kill_at_each_step() {
    let mut stage = Stage::set().await;
    let mut steps = Steps::at_least(5);
    while steps.go_on() {
        let subject = stage.subject().await;
        let (client, access) = (stage.first(), subject.session.access.clone());
        if !stage
            .killed_after(&mut steps, async move { client.post("/auth/single-use", Some(&access), None).await })
            .await
        {
            continue;
        }
        let token = single_use(&stage.first(), &subject.session.access).await;
        let uses = [spend(&stage.second(), &token).await, spend(&stage.first(), &token).await];
        assert_eq!(uses, [StatusCode::OK, StatusCode::UNAUTHORIZED], "{}", stage.when("the issue of another token"));
    }
    // The check leaves the token as it is. The handler uses it up.
    let mut steps = Steps::at_least(2);
    while steps.go_on() {
        let subject = stage.subject().await;
        let token = single_use(&stage.first(), &subject.session.access).await;
        let (client, copy) = (stage.first(), token.clone());
        if !stage
            .killed_after(&mut steps, async move { client.post("/demo/single-use", Some(&copy), None).await })
            .await
        {
            continue;
        }
        // A use that was recorded and whose answer was lost is a use: the token is accepted at most
        // once.
        let first = if stage.relay.seen().iter().any(|step| step == "update") {
            StatusCode::UNAUTHORIZED
        } else {
            StatusCode::OK
        };
        let uses = [spend(&stage.second(), &token).await, spend(&stage.first(), &token).await];
        assert_eq!(uses, [first, StatusCode::UNAUTHORIZED], "{}", stage.when("the use of a token"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn registration_survives_a_kill_at_each_step() {
    let mut stage = Stage::set().await;
    let mut steps = Steps::at_least(2);
    while steps.go_on() {
        let (client, name) = (stage.first(), username());
        let copy = name.clone();
        if !stage.killed_after(&mut steps, async move { client.register(&copy, PASSWORD).await }).await {
            continue;
        }
        let again = stage.first().register(&name, PASSWORD).await.unwrap();
        let when = stage.when("a registration");
        assert!(again.status == StatusCode::CREATED || again.error() == "username_taken", "{when}: {again:?}");
        let opened = stage.second().login(&name, PASSWORD).await.unwrap().tokens();
        stage.alive(&opened, &when).await;
    }
}
