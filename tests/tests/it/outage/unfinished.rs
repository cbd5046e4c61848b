//! MongoDB hangs or dies in the middle of a revocation. The caller is told "unavailable" and need
//! not ask again.

use super::*;

/// The fault of MongoDB.
#[derive(Clone, Copy, Debug)]
enum Outage {
    Frozen,
    Killed,
}

/// Revokes one session and all sessions during the outage. Both must end after it.
async fn revoke_during(outage: Outage) {
    let (mut mongodb, redis) = (MongoServer::start().await, RedisServer::start(&[]).await);
    let fleet = Fleet::on_servers(2, &mongodb, Some(&redis), &["--local-cache", "0"]).await;
    let nodes = <[Client; 2]>::from(fleet.clients());
    let name = username();
    let [session, all] =
        [nodes[0].sign_up(&name, PASSWORD).await.unwrap(), nodes[0].sign_up(&username(), PASSWORD).await.unwrap()];
    let bystander = nodes[0].login(&name, PASSWORD).await.unwrap().tokens();
    // Redis holds all of them as active, so the logouts reach MongoDB.
    for pair in [&session, &all, &bystander] {
        assert_eq!(nodes[1].me(&pair.access).await.unwrap().status, StatusCode::OK);
    }
    match outage {
        Outage::Frozen => mongodb.pause(),
        Outage::Killed => mongodb.kill(),
    }
    let (one, other) = tokio::join!(nodes[0].logout(&session.access), nodes[1].logout_all(&all.access));
    for logout in [one.unwrap(), other.unwrap()] {
        assert_eq!(logout.status, StatusCode::SERVICE_UNAVAILABLE, "{outage:?}: {logout:?}");
    }
    match outage {
        Outage::Frozen => mongodb.resume(),
        Outage::Killed => mongodb.restart().await,
    }
    let begun = Instant::now();
    for pair in [&session, &all] {
        for node in &nodes {
            while node.me(&pair.access).await.unwrap().status != StatusCode::UNAUTHORIZED {
                assert!(
                    begun.elapsed() < RECOVERY,
                    "{outage:?}: a token is accepted {RECOVERY:?} after the store's return"
                );
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
        assert_eq!(nodes[0].refresh(&pair.refresh).await.unwrap().error(), "invalid_grant", "{outage:?}");
    }
    assert_eq!(nodes[0].me(&bystander.access).await.unwrap().status, StatusCode::OK, "{outage:?}: another session");
}

#[tokio::test(flavor = "multi_thread")]
async fn revoke_that_meets_a_frozen_mongodb_is_finished_after_it() {
    revoke_during(Outage::Frozen).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn revoke_that_meets_a_dead_mongodb_is_finished_after_it() {
    revoke_during(Outage::Killed).await;
}
