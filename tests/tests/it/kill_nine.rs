//! An embedded node is killed in the middle of writes: what it acknowledged is kept.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use http::StatusCode;
use tests::client::{Client, Tokens};
use tokio::task::JoinSet;

use crate::fleet::{Fleet, PASSWORD, username};

const KILLS: usize = 20;
const WRITERS: usize = 4;

/// What was acknowledged, and what nobody can know.
#[derive(Debug, Default)]
struct Acknowledged {
    /// The newest pair of each session that was not logged out, as far as was acknowledged.
    live: Vec<Tokens>,
    /// Every pair of the sessions that were.
    dead: Vec<Tokens>,
}

/// Opens sessions, refreshes and ends them until the node is gone.
async fn write(client: Client, name: String, stop: Arc<AtomicBool>, acknowledged: Arc<Mutex<Acknowledged>>) {
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
            continue;
        }
        match client.logout(&last.access).await {
            Ok(answer) => {
                assert_eq!(answer.status, StatusCode::NO_CONTENT);
                acknowledged.lock().unwrap().dead.extend(pairs);
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
        let acknowledged = Arc::new(Mutex::new(Acknowledged::default()));
        let stop = Arc::new(AtomicBool::new(false));
        let mut writers = JoinSet::new();
        for _ in 0..WRITERS {
            writers.spawn(write(client.clone(), name.clone(), Arc::clone(&stop), Arc::clone(&acknowledged)));
        }
        // Not always at the same point of whatever it is doing.
        tokio::time::sleep(Duration::from_millis(250 + 37 * kill as u64 % 100)).await;
        fleet.nodes[0].kill9();
        stop.store(true, Ordering::Relaxed);
        writers.join_all().await;

        fleet.nodes[0].restart().await;
        let (client, _) = fleet.clients();
        let acknowledged = Arc::into_inner(acknowledged).unwrap().into_inner().unwrap();
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
    assert!(live > KILLS && dead > KILLS, "there was something to lose: {live} live, {dead} dead");
}
