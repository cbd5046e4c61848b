//! An embedded node is killed in the middle of writes and keeps what it acknowledged.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use futures_util::future::join_all;
use http::StatusCode;
use serde_json::json;
use tests::client::{Client, Tokens};
use tokio::{sync::Semaphore, task::JoinSet};

use crate::fleet::{Fleet, PASSWORD, username};

/// The number of clients that open and end sessions.
const WRITERS: usize = 4;
/// The number of clients that register users.
const REGISTRARS: usize = 2;

/// What was acknowledged. A write in progress at the kill may or may not have been recorded.
#[derive(Debug, Default)]
struct Acknowledged {
    /// The newest acknowledged pair of each session that was not logged out.
    live: Vec<Tokens>,
    /// Every pair of the sessions that were logged out.
    dead: Vec<Tokens>,
    /// Single-use tokens that were accepted.
    spent: Vec<String>,
    /// Single-use tokens that were issued and never presented.
    unspent: Vec<String>,
    /// The registered users, by name.
    accounts: HashMap<String, Account>,
}

/// A user whose registration was acknowledged.
#[derive(Clone, Debug)]
struct Account {
    /// Each acknowledged password, the current one last.
    passwords: Vec<String>,
    /// A password whose change was requested and not acknowledged. It may or may not have been
    /// made.
    asked: Option<String>,
    /// Sessions that an acknowledged change ended.
    ended: Vec<Tokens>,
}

/// What the writers and the killer share.
#[derive(Debug)]
struct SharedState {
    stop: AtomicBool,
    acknowledged: Mutex<Acknowledged>,
    /// A permit for each session in `acknowledged`.
    count: Semaphore,
    /// A permit for each change of password in `acknowledged`.
    changes: Semaphore,
}

/// Issues two single-use tokens and uses one. Returns `None` if the node is gone.
async fn issue_and_spend(client: &Client, access: &str, acknowledged: &Mutex<Acknowledged>) -> Option<()> {
    let issue = async || {
        let issued = client.post("/auth/single-use", Some(access), None).await.ok()?;
        assert_eq!(issued.status, StatusCode::CREATED);
        Some(issued.json()["access_token"].as_str().unwrap().to_owned())
    };
    let (token, unspent) = (issue().await?, issue().await?);
    acknowledged.lock().unwrap().unspent.push(unspent);
    // Without an answer the token may or may not have been used.
    assert_eq!(spend(client, &token).await.ok()?, StatusCode::OK);
    acknowledged.lock().unwrap().spent.push(token);
    Some(())
}

/// Uses a single-use token.
async fn spend(client: &Client, token: &str) -> reqwest::Result<StatusCode> {
    Ok(client.post("/demo/single-use", Some(token), None).await?.status)
}

/// Opens sessions, refreshes and ends them until the node is gone. Uses single-use tokens of those
/// that stay.
async fn write_sessions(client: Client, name: String, shared: Arc<SharedState>) {
    let SharedState { stop, acknowledged, count, .. } = &*shared;
    let mut turn = 0;
    while !stop.load(Ordering::Relaxed) {
        turn += 1;
        let Ok(login) = client.login(&name, PASSWORD).await else { return };
        let mut pairs = vec![login.tokens()];
        for _ in 0..turn % 3 {
            match client.refresh(&pairs[pairs.len() - 1].refresh).await {
                Ok(answer) => pairs.push(answer.tokens()),
                // The pair may or may not have been refreshed. The last acknowledged pair is good
                // in both cases.
                Err(_) => break,
            }
        }
        let last = pairs[pairs.len() - 1].clone();
        if turn % 2 == 0 {
            acknowledged.lock().unwrap().live.push(last.clone());
            count.add_permits(1);
            if issue_and_spend(&client, &last.access, acknowledged).await.is_none() {
                return;
            }
            continue;
        }
        match client.logout(&last.access).await {
            Ok(answer) => {
                assert_eq!(answer.status, StatusCode::NO_CONTENT);
                acknowledged.lock().unwrap().dead.extend(pairs);
                count.add_permits(1);
            }
            // The session may or may not have been logged out.
            Err(_) => return,
        }
    }
}

/// Registers users and changes their passwords until the node is gone.
async fn register_users(client: Client, shared: Arc<SharedState>) {
    let SharedState { stop, acknowledged, changes, .. } = &*shared;
    while !stop.load(Ordering::Relaxed) {
        let name = username();
        let note = |account: &Account| acknowledged.lock().unwrap().accounts.insert(name.clone(), account.clone());
        // An unacknowledged registration may have been made. Nobody asks for its name again.
        let Ok(answer) = client.register(&name, PASSWORD).await else { return };
        assert_eq!(answer.status, StatusCode::CREATED);
        let mut account = Account { passwords: vec![PASSWORD.to_owned()], asked: None, ended: Vec::new() };
        note(&account);
        let Ok(mine) = client.login(&name, PASSWORD).await else { return };
        let mine = mine.tokens().access;
        for turn in 0..2 {
            let (current, new) = (account.passwords[turn].clone(), format!("battery staple {turn}"));
            let Ok(other) = client.login(&name, &current).await else { return };
            account.asked = Some(new.clone());
            note(&account);
            let change = json!({ "current_password": current, "new_password": new });
            let Ok(answer) = client.post("/auth/password", Some(&mine), Some(&change)).await else { return };
            assert_eq!(answer.status, StatusCode::NO_CONTENT);
            account.passwords.extend(account.asked.take());
            account.ended.push(other.tokens());
            note(&account);
            changes.add_permits(1);
        }
    }
}

/// Fails unless the name is taken, the last acknowledged password is the current one, and the
/// sessions that a change ended are over.
async fn check_account(client: &Client, name: &str, account: &Account) {
    assert_eq!(client.register(name, PASSWORD).await.unwrap().error(), "username_taken", "a registration is lost");
    let status = async |password: &str| client.login(name, password).await.unwrap().status;
    let (current, former) = account.passwords.split_last().expect("it was registered with one");
    if status(current).await != StatusCode::OK {
        let asked = account.asked.as_deref().expect("an acknowledged password is lost");
        assert_eq!(status(asked).await, StatusCode::OK, "an acknowledged password is lost, and none is in its place");
    }
    for password in former {
        assert_eq!(status(password).await, StatusCode::UNAUTHORIZED, "an acknowledged change of password is lost");
    }
    for pair in &account.ended {
        let me = client.me(&pair.access).await.unwrap();
        assert_eq!(me.status, StatusCode::UNAUTHORIZED, "a session outlived a change of password");
        assert_eq!(client.refresh(&pair.refresh).await.unwrap().error(), "invalid_grant");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn embedded_node_loses_nothing_acknowledged_when_it_is_killed() {
    embedded_node_loses_nothing_acknowledged(8).await;
}

/// Kills a node under writes this often. Nothing that was acknowledged may be lost.
pub(crate) async fn embedded_node_loses_nothing_acknowledged(kills: u32) {
    let args = ["--local-cache", "0", "--refresh-grace", "10m", "--rate-limit", "off"];
    let mut fleet = Fleet::embedded(&args).await;
    let name = username();
    let (client, _) = fleet.clients();
    assert_eq!(client.register(&name, PASSWORD).await.unwrap().status, StatusCode::CREATED);
    let (mut live, mut dead, mut spent, mut changed) = (0, 0, 0, 0);
    for kill in 0..kills {
        let (client, _) = fleet.clients();
        let shared = Arc::new(SharedState {
            stop: AtomicBool::new(false),
            acknowledged: Mutex::default(),
            count: Semaphore::new(0),
            changes: Semaphore::new(0),
        });
        let mut writers = JoinSet::new();
        for _ in 0..WRITERS {
            writers.spawn(write_sessions(client.clone(), name.clone(), Arc::clone(&shared)));
        }
        for _ in 0..REGISTRARS {
            writers.spawn(register_users(client.clone(), Arc::clone(&shared)));
        }
        // When one writer has its answer, the others are in the middle of something, and not always
        // of the same.
        shared.changes.acquire_many(1 + kill % 2).await.unwrap().forget();
        shared.count.acquire_many(8 + kill % 7).await.unwrap().forget();
        fleet.nodes[0].kill();
        shared.stop.store(true, Ordering::Relaxed);
        writers.join_all().await;

        fleet.nodes[0].restart().await;
        let (client, _) = fleet.clients();
        let acknowledged = Arc::into_inner(shared).unwrap().acknowledged.into_inner().unwrap();
        for token in &acknowledged.spent {
            let again = spend(&client, token).await.unwrap();
            assert_eq!(again, StatusCode::UNAUTHORIZED, "kill {kill}: an acknowledged use is lost");
        }
        for token in &acknowledged.unspent {
            let uses = [spend(&client, token).await.unwrap(), spend(&client, token).await.unwrap()];
            assert_eq!(uses, [StatusCode::OK, StatusCode::UNAUTHORIZED], "kill {kill}: an acknowledged issue is lost");
        }
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
        join_all(acknowledged.accounts.iter().map(|(name, account)| check_account(&client, name, account))).await;
        changed += acknowledged.accounts.values().map(|account| account.passwords.len() - 1).sum::<usize>();
        live += acknowledged.live.len();
        dead += acknowledged.dead.len();
        spent += acknowledged.spent.len();
    }
    let least = [live, dead, spent, changed].into_iter().min().unwrap();
    let at_stake = format!("{live} live, {dead} dead, {spent} single-use tokens used, {changed} passwords changed");
    assert!(least >= kills as usize, "there was something to lose: {at_stake}");
}
