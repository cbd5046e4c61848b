//! Tests of the ordinary run, for longer.

use std::sync::Arc;

use auth_layer::store::conformance::{self, Users};

use tests::servers;

use crate::{conformance::mongodb_behind_redis, failover, fleet::store_in, kill_nine, races, rotation};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "slow: over a minute"]
async fn sign_in_never_slips_under_a_revoke_all_in_a_thousand_rounds() {
    races::sign_in_beside_revoke_all(1_000).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "slow: half a minute"]
async fn embedded_node_loses_nothing_acknowledged_in_twenty_kills() {
    kill_nine::embedded_node_loses_nothing_acknowledged(20).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "slow: half a minute"]
async fn conformance_holds_for_mongodb_behind_redis_with_uuids() {
    conformance::laws(&Arc::new(mongodb_behind_redis().await), Users::Uuids).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "slow: over a minute"]
async fn conformance_holds_for_mongodb_with_texts() {
    let database = servers::mongodb().await;
    conformance::laws(&Arc::new(store_in(&database).await), Users::Texts).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "slow: some minutes"]
async fn failover_breaks_no_law_in_five_losses_of_each_kind() {
    failover::lose_primaries(5).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "slow: half a minute, both cores, and a build with --release"]
async fn keys_rotation_under_a_thousand_requests_a_second() {
    let is_optimised = !cfg!(debug_assertions);
    assert!(is_optimised, "run it with --release: two nodes do not answer this many otherwise");
    rotation::keys_rotate_under_traffic(1_000, 900, 32).await;
}
