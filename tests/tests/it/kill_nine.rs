//! An embedded node is killed in the middle of writes: what it acknowledged is kept.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, Ordering},
};

use http::StatusCode;
use tests::client::{Client, Tokens};
use tokio::{sync::Semaphore, task::JoinSet};

use crate::fleet::{Fleet, PASSWORD, username};

const KILLS: u32 = 20;
const WRITERS: usize = 4;

/// What was acknowledged. What was under way at the kill may have been recorded and may not: nobody can know.
#[derive(Debug, Default)]
struct Acknowledged {
    /// The newest pair of each session that was not logged out, as far as was acknowledged.
    live: Vec<Tokens>,
    /// Every pair of the sessions that were.
    dead: Vec<Tokens>,
}

/// What the writers and the killer share.
#[derive(Debug)]
struct Writing {
    stop: AtomicBool,
    acknowledged: Mutex<Acknowledged>,
    /// A permit for each session in `acknowledged`.
    count: Semaphore,
}

/// Opens sessions, refreshes and ends them until the node is gone.
async fn write(client: Client, name: String, writing: Arc<Writing>) {
    let Writing { stop, acknowledged, count } = &*writing;
    let mut turn = 0;
    while !stop.load(Ordering::Relaxed) {
        turn += 1;
        let Ok(login) = client.login(&name, PASSWORD).await else { return };
        let mut pairs = vec![login.tokens()];
        for _ in 0..turn % 3 {
            match client.refresh(&pairs[pairs.len() - 1].refresh).await {
                Ok(answer) => pairs.push(answer.tokens()),
                // It may have been refreshed and may not; the last acknowledged pair is good either way.
                Err(_) => break,
            }
        }
        let last = pairs[pairs.len() - 1].clone();
        if turn % 2 == 0 {
            acknowledged.lock().unwrap().live.push(last);
            count.add_permits(1);
            continue;
        }
        match client.logout(&last.access).await {
            Ok(answer) => {
                assert_eq!(answer.status, StatusCode::NO_CONTENT);
                acknowledged.lock().unwrap().dead.extend(pairs);
                count.add_permits(1);
            }
            // It may have been logged out and may not.
            Err(_) => return,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_acknowledged_is_lost_in_twenty_kills() {
    let args = ["--local-cache", "0", "--refresh-grace", "10m"];
    let mut fleet = Fleet::embedded(&args).await;
    let name = username();
    let (client, _) = fleet.clients();
    assert_eq!(client.register(&name, PASSWORD).await.unwrap().status, StatusCode::CREATED);
    let (mut live, mut dead) = (0, 0);
    for kill in 0..KILLS {
        let (client, _) = fleet.clients();
        let writing = Arc::new(Writing {
            stop: AtomicBool::new(false),
            acknowledged: Mutex::default(),
            count: Semaphore::new(0),
        });
        let mut writers = JoinSet::new();
        for _ in 0..WRITERS {
            writers.spawn(write(client.clone(), name.clone(), Arc::clone(&writing)));
        }
        // The others are in the middle of something when one has its answer, and not always of the same.
        writing.count.acquire_many(8 + kill % 7).await.unwrap().forget();
        fleet.nodes[0].kill9();
        writing.stop.store(true, Ordering::Relaxed);
        writers.join_all().await;

        fleet.nodes[0].restart().await;
        let (client, _) = fleet.clients();
        let acknowledged = Arc::into_inner(writing).unwrap().acknowledged.into_inner().unwrap();
        for pair in &acknowledged.live {
            let me = client.me(&pair.access).await.unwrap();
            assert_eq!(me.status, StatusCode::OK, "kill {kill}: an acknowledged session is lost: {me:?}");
            let refreshed = client.refresh(&pair.refresh).await.unwrap();
            assert_eq!(refreshed.status, StatusCode::OK, "kill {kill}: an acknowledged pair is lost: {refreshed:?}");
        }
        for pair in &acknowledged.dead {
            let me = client.me(&pair.access).await.unwrap();
            assert_eq!(me.status, StatusCode::UNAUTHORIZED, "kill {kill}: an acknowledged logout is lost");
            assert_eq!(client.refresh(&pair.refresh).await.unwrap().error(), "invalid_grant", "kill {kill}");
        }
        live += acknowledged.live.len();
        dead += acknowledged.dead.len();
    }
    let kills = KILLS as usize;
    assert!(live >= kills && dead >= kills, "there was something to lose: {live} live, {dead} dead");
}
