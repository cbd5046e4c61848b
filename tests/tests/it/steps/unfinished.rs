//! A node dies in the middle of a revocation and does not come back, and nobody asks a second time.

use std::time::{Duration, Instant};

use super::*;

/// Law 1: a revocation that was recorded is finished within this time.
const BOUND: Duration = Duration::from_secs(15);

/// A way to end sessions.
#[derive(Clone, Copy, Debug)]
enum Ending {
    Logout,
    LogoutAll,
    /// A retired refresh token is presented once more.
    Reuse,
}

impl Stage {
    /// Stops the first node after the step that records the end of the session, and kills it for
    /// good.
    async fn dies_once_recorded(&mut self, ending: Ending) -> (Subject, Tokens) {
        let books = self.books().await;
        for step in 1.. {
            let subject = self.subject().await;
            let child = self.second().refresh(&subject.session.refresh).await.unwrap().tokens();
            // The shared cache holds all access tokens as active.
            for pair in [&subject.session, &child, &subject.other] {
                self.second().me(&pair.access).await.unwrap();
            }
            let fence = books.fence(&child).await;
            let (client, access, retired) = (self.first(), child.access.clone(), subject.session.refresh.clone());
            self.relay.stop_after(step);
            let doing = tokio::spawn(async move {
                match ending {
                    Ending::Logout => client.logout(&access).await,
                    Ending::LogoutAll => client.logout_all(&access).await,
                    Ending::Reuse => client.refresh(&retired).await,
                }
            });
            self.relay.reached().await;
            if books.revoked(&child).await.session || books.fence(&child).await > fence {
                self.first.kill9();
                self.relay.release();
                let _ = doing.await.unwrap();
                return (subject, child);
            }
            self.relay.release();
            doing.await.unwrap().unwrap();
        }
        unreachable!("there are steps enough")
    }

    /// Waits until the other node refuses these access tokens.
    async fn until_dead(&self, pairs: &[&Tokens], when: &str) {
        let begun = Instant::now();
        for pair in pairs {
            while self.second().me(&pair.access).await.unwrap().status != StatusCode::UNAUTHORIZED {
                assert!(begun.elapsed() < BOUND, "{when}: an access token is accepted after {BOUND:?}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn revoke_of_a_session_is_finished_by_another_node() {
    logout_is_finished([Program::quick(); 2]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn revoke_of_a_user_is_finished_by_another_node() {
    logout_of_all_is_finished([Program::quick(); 2]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn revoke_for_reuse_is_finished_by_another_node() {
    end_for_reuse_is_finished([Program::quick(); 2]).await;
}

/// The first program dies, and the second finishes the logout.
pub(crate) async fn logout_is_finished(programs: [Program<'_>; 2]) {
    let mut stage = Stage::of(programs, &LONG_GRACE).await;
    let (subject, child) = stage.dies_once_recorded(Ending::Logout).await;
    stage.until_dead(&[&child, &subject.session], "a logout").await;
    assert_eq!(stage.second().me(&subject.other.access).await.unwrap().status, StatusCode::OK, "another session");
    stage.is_settled().await;
}

/// The first program dies, and the second finishes the logout of all sessions.
pub(crate) async fn logout_of_all_is_finished(programs: [Program<'_>; 2]) {
    let mut stage = Stage::of(programs, &LONG_GRACE).await;
    let (subject, child) = stage.dies_once_recorded(Ending::LogoutAll).await;
    let later = stage.second().login(&subject.name, PASSWORD).await.unwrap().tokens();
    stage.until_dead(&[&child, &subject.session, &subject.other], "a revoke-all").await;
    // The fence is raised once, so later sign-ins are not ended.
    stage.is_settled().await;
    assert_eq!(stage.second().me(&later.access).await.unwrap().status, StatusCode::OK, "a later session");
}

/// The first program dies, and the second finishes the revocation for reuse.
pub(crate) async fn end_for_reuse_is_finished(programs: [Program<'_>; 2]) {
    // Without a window every second presentation is reuse.
    let mut stage = Stage::of(programs, &["--refresh-grace", "0"]).await;
    let (subject, child) = stage.dies_once_recorded(Ending::Reuse).await;
    stage.until_dead(&[&child, &subject.session], "a reuse").await;
    stage.is_settled().await;
}

impl Stage {
    /// Waits until no revocation is marked as unfinished. A finished one must not be taken up for
    /// ever.
    async fn is_settled(&self) {
        let (books, begun) = (self.books().await, Instant::now());
        while books.unfinished().await > 0 {
            assert!(begun.elapsed() < BOUND, "a revocation is still unfinished");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}
