//! A node dies in the middle of a revocation and does not come back, and nobody asks a second time.

use std::time::{Duration, Instant};

use super::*;

/// Law 1: a revocation that was recorded is finished within this time.
const BOUND: Duration = Duration::from_secs(15);

/// The call that the node dies in.
#[derive(Clone, Copy, Debug)]
enum InterruptedCall {
    /// A logout.
    Logout,
    /// A logout everywhere.
    LogoutAll,
    /// A retired refresh token is presented once more.
    Reuse,
}

impl SteppedNodes {
    /// Stops the first node after the step that records the end of the session, and kills it for
    /// good.
    async fn kill_once_recorded(&mut self, call: InterruptedCall) -> (TestUser, Tokens) {
        let ledger = self.ledger().await;
        for step in 1.. {
            let user = self.new_user().await;
            let child = self.second().refresh(&user.session.refresh).await.unwrap().tokens();
            // The shared cache holds all access tokens as active.
            for pair in [&user.session, &child, &user.other] {
                self.second().me(&pair.access).await.unwrap();
            }
            let fence = ledger.user_epoch(&child).await;
            let (client, access, retired) = (self.first(), child.access.clone(), user.session.refresh.clone());
            self.relay.stop_after(step);
            let doing = tokio::spawn(async move {
                match call {
                    InterruptedCall::Logout => client.logout(&access).await,
                    InterruptedCall::LogoutAll => client.logout_all(&access).await,
                    InterruptedCall::Reuse => client.refresh(&retired).await,
                }
            });
            self.relay.until_stopped().await;
            if ledger.recorded_revocation(&child).await.session || ledger.user_epoch(&child).await > fence {
                self.first.kill();
                self.relay.release();
                let _ = doing.await.unwrap();
                return (user, child);
            }
            self.relay.release();
            doing.await.unwrap().unwrap();
        }
        unreachable!("there are steps enough")
    }

    /// Waits until the other node refuses these access tokens.
    async fn until_refused(&self, pairs: &[&Tokens], when: &str) {
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
    assert_logout_is_finished([NodeProgram::cheap_hashes(); 2]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn revoke_of_a_user_is_finished_by_another_node() {
    assert_logout_of_all_is_finished([NodeProgram::cheap_hashes(); 2]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn revoke_for_reuse_is_finished_by_another_node() {
    assert_revoke_for_reuse_is_finished([NodeProgram::cheap_hashes(); 2]).await;
}

/// The first program dies, and the second finishes the logout.
pub(crate) async fn assert_logout_is_finished(programs: [NodeProgram<'_>; 2]) {
    let mut nodes = SteppedNodes::start_programs(programs, &LONG_GRACE).await;
    let (user, child) = nodes.kill_once_recorded(InterruptedCall::Logout).await;
    nodes.until_refused(&[&child, &user.session], "a logout").await;
    assert_eq!(nodes.second().me(&user.other.access).await.unwrap().status, StatusCode::OK, "another session");
    nodes.until_all_finished().await;
}

/// The first program dies, and the second finishes the logout of all sessions.
pub(crate) async fn assert_logout_of_all_is_finished(programs: [NodeProgram<'_>; 2]) {
    let mut nodes = SteppedNodes::start_programs(programs, &LONG_GRACE).await;
    let (user, child) = nodes.kill_once_recorded(InterruptedCall::LogoutAll).await;
    let later = nodes.second().login(&user.name, PASSWORD).await.unwrap().tokens();
    nodes.until_refused(&[&child, &user.session, &user.other], "a revoke-all").await;
    // The fence is raised once, so later sign-ins are not ended.
    nodes.until_all_finished().await;
    assert_eq!(nodes.second().me(&later.access).await.unwrap().status, StatusCode::OK, "a later session");
}

/// The first program dies, and the second finishes the revocation for reuse.
pub(crate) async fn assert_revoke_for_reuse_is_finished(programs: [NodeProgram<'_>; 2]) {
    // Without a window every second presentation is reuse.
    let mut nodes = SteppedNodes::start_programs(programs, &["--refresh-grace", "0"]).await;
    let (user, child) = nodes.kill_once_recorded(InterruptedCall::Reuse).await;
    nodes.until_refused(&[&child, &user.session], "a reuse").await;
    nodes.until_all_finished().await;
}

impl SteppedNodes {
    /// Waits until no revocation is marked as unfinished. A finished one must not be taken up for
    /// ever.
    async fn until_all_finished(&self) {
        let (ledger, begun) = (self.ledger().await, Instant::now());
        while ledger.count_unfinished().await > 0 {
            assert!(begun.elapsed() < BOUND, "a revocation is still unfinished");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}
