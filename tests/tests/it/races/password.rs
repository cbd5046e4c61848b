//! A change of password beside streams of everything else, which begin before it is sent and end after it has returned: whatever
//! they do comes before it, in the middle of it and after it.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use http::StatusCode;
use serde_json::json;
use tests::client::{Answer, Client, Tokens};
use tokio::sync::Semaphore;

use super::{alive, books::Books, pair, said};
use crate::fleet::{PASSWORD, username};

const NEW_PASSWORD: &str = "battery staple";

/// How often each was granted that was asked for after the change had been sent, over all rounds; and how often one was refused
/// before the change had returned.
#[derive(Debug, Default)]
pub(super) struct Beside {
    logins: AtomicUsize,
    refreshes: AtomicUsize,
    single_uses: AtomicUsize,
    refused: AtomicUsize,
}

impl Beside {
    pub(super) fn has_everything(&self) -> bool {
        let counts = [&self.logins, &self.refreshes, &self.single_uses, &self.refused];
        counts.iter().all(|count| count.load(Ordering::Relaxed) > 0)
    }
}

/// How far the change has come.
struct Change {
    /// A permit for each stream to which something was granted.
    flowing: Semaphore,
    sent: AtomicBool,
    over: AtomicBool,
    beside: Arc<Beside>,
}

/// When a stream asks for something.
struct Asked {
    sent: bool,
    over: bool,
}

impl Change {
    fn now(&self) -> Asked {
        Asked { sent: self.sent.load(Ordering::SeqCst), over: self.over.load(Ordering::SeqCst) }
    }

    fn granted(&self, asked: &Asked, first: bool, count: &AtomicUsize) {
        count.fetch_add(usize::from(asked.sent), Ordering::Relaxed);
        self.flowing.add_permits(usize::from(first));
    }

    fn refused(&self) {
        let early = !self.over.load(Ordering::SeqCst);
        self.beside.refused.fetch_add(usize::from(early), Ordering::Relaxed);
    }

    /// Signs in with the old password, on both nodes in turns, until that was tried once after the change.
    async fn logins(&self, nodes: [&Client; 2], name: &str) -> Vec<Tokens> {
        let mut opened = Vec::new();
        for turn in 0.. {
            let asked = self.now();
            let answer = nodes[turn % 2].login(name, PASSWORD).await.unwrap();
            match answer.status {
                StatusCode::OK => {
                    self.granted(&asked, opened.is_empty(), &self.beside.logins);
                    opened.push(answer.tokens());
                }
                StatusCode::SERVICE_UNAVAILABLE => {}
                _ => {
                    assert_eq!(answer.error(), "invalid_credentials", "{answer:?}");
                    self.refused();
                }
            }
            if asked.over {
                assert_ne!(answer.status, StatusCode::OK, "the old password is good after it was changed");
                break;
            }
        }
        opened
    }

    /// Refreshes the newest pair of a session, until that was tried once after the change. Answers all pairs.
    async fn refreshes(&self, nodes: [&Client; 2], first: Tokens) -> Vec<Tokens> {
        let mut pairs = vec![first];
        for turn in 0.. {
            let asked = self.now();
            let answer = nodes[turn % 2].refresh(&pairs[pairs.len() - 1].refresh).await.unwrap();
            match answer.status {
                StatusCode::OK => {
                    self.granted(&asked, pairs.len() == 1, &self.beside.refreshes);
                    pairs.push(answer.tokens());
                }
                StatusCode::SERVICE_UNAVAILABLE => {}
                _ => {
                    assert_eq!(answer.error(), "invalid_grant", "{answer:?}");
                    self.refused();
                }
            }
            if asked.over {
                break;
            }
        }
        pairs
    }

    /// Has single-use tokens issued, until that was tried once after the change.
    async fn single_uses(&self, nodes: [&Client; 2], access: &str) -> Vec<String> {
        let mut issued = Vec::new();
        for turn in 0.. {
            let asked = self.now();
            let answer = single_use(nodes[turn % 2], access).await;
            match answer.status {
                StatusCode::CREATED => {
                    self.granted(&asked, issued.is_empty(), &self.beside.single_uses);
                    issued.push(token(&answer));
                }
                StatusCode::SERVICE_UNAVAILABLE => {}
                _ => {
                    assert_eq!(answer.error(), "invalid_token", "{answer:?}");
                    self.refused();
                }
            }
            if asked.over {
                break;
            }
        }
        issued
    }
}

async fn single_use(node: &Client, access: &str) -> Answer {
    node.post("/auth/single-use", Some(access), None).await.unwrap()
}

fn token(issued: &Answer) -> String {
    issued.json()["access_token"].as_str().unwrap().to_owned()
}

async fn spend(node: &Client, token: &str) -> Answer {
    node.post("/demo/single-use", Some(token), None).await.unwrap()
}

/// `None` where the change itself was unavailable.
pub(super) async fn round(one: Client, other: Client, books: Books, beside: Arc<Beside>) -> Option<()> {
    let name = username();
    let own = one.sign_up(&name, PASSWORD).await.unwrap();
    let own_once = token(&single_use(&one, &own.access).await);
    let refreshed = other.login(&name, PASSWORD).await.unwrap().tokens();
    let issuing = one.login(&name, PASSWORD).await.unwrap().tokens();

    let (flowing, sent, over) = (Semaphore::new(0), AtomicBool::new(false), AtomicBool::new(false));
    let change = Change { flowing, sent, over, beside };
    let changing = async {
        let streams = change.flowing.acquire_many(3).await;
        drop(streams.unwrap());
        let body = json!({ "current_password": PASSWORD, "new_password": NEW_PASSWORD });
        change.sent.store(true, Ordering::SeqCst);
        let changed = one.hasty().post("/auth/password", Some(&own.access), Some(&body)).await;
        change.over.store(true, Ordering::SeqCst);
        changed
    };
    let nodes = [&other, &one];
    let (changed, opened, pairs, singles) = tokio::join!(
        changing,
        change.logins(nodes, &name),
        change.refreshes(nodes, refreshed),
        change.single_uses(nodes, &issuing.access),
    );
    let changed = said(changed)?;
    assert_eq!(changed.status, StatusCode::NO_CONTENT, "{changed:?}");

    assert!(books.is_alone(&own).await, "another session lives");
    // The newest refresh token first: one that was used before would be refused in a living session as well, and end it.
    let gone = || opened.iter().chain(pairs.iter().rev()).chain([&issuing]).zip([&one, &other].into_iter().cycle());
    for (pair, node) in gone() {
        let me = node.me(&pair.access).await.unwrap();
        assert_eq!((me.status, me.error().as_str()), (StatusCode::UNAUTHORIZED, "invalid_token"), "{me:?}");
    }
    for (pair, node) in gone() {
        let refreshed = node.refresh(&pair.refresh).await.unwrap();
        assert_eq!(refreshed.error(), "invalid_grant", "{refreshed:?}");
    }
    for (token, node) in singles.iter().zip([&one, &other].into_iter().cycle()) {
        let used = spend(node, token).await;
        assert_eq!((used.status, used.error().as_str()), (StatusCode::UNAUTHORIZED, "invalid_token"), "{used:?}");
    }

    // What belongs to the session that made the change is spared.
    assert_eq!(spend(&other, &own_once).await.status, StatusCode::OK);
    alive([&one, &other], &own).await;
    let fresh = other.login(&name, NEW_PASSWORD).await.unwrap();
    alive([&other, &one], &pair(&fresh).expect("the new password is good")).await;
    Some(())
}
