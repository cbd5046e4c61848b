//! Reserved keys and one-time records in MongoDB: their documents, and answers that are lost.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use auth_layer::{
    SessionId,
    store::{
        HashedKey, Payload, Redeemed, StoreErrorKind, TokenStore,
        mongodb::{MongoOptions, MongoStore},
    },
};
use bson::{Binary, Bson, DateTime, Document, Uuid, doc, spec::BinarySubtype};
use chrono::{TimeDelta, Utc};
use futures_util::TryStreamExt;
use tests::{
    relay::{Protocol, Relay},
    servers::{self, MongoServer},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use crate::fleet::store_in;

/// Returns a key that no store knows.
fn new_key() -> HashedKey {
    HashedKey::of("used once", SessionId::generate().as_bytes())
}

/// Returns a payload with a member that no version knows.
fn payload() -> Payload {
    [("client_id", "web"), ("later", "$a.b"), ("crit", "later")].into_iter().collect()
}

/// Returns all documents of a collection.
async fn documents(store: &MongoStore, collection: &str) -> Vec<Document> {
    store.database().collection::<Document>(collection).find(doc! {}).await.unwrap().try_collect().await.unwrap()
}

#[tokio::test]
async fn mongodb_documents_of_keys_have_the_documented_fields() {
    let database = servers::mongodb().await;
    let store = store_in(&database).await;
    let (key, by, now) = (new_key(), SessionId::generate(), Utc::now());
    let expires_at = now + TimeDelta::minutes(1);
    assert!(store.reserve(key, expires_at, now).await.unwrap());
    store.put_one_time(key, payload(), expires_at).await.unwrap();

    let id = Bson::from(Binary { subtype: BinarySubtype::Generic, bytes: key.as_bytes().to_vec() });
    let date = DateTime::from_chrono(expires_at);
    assert_eq!(documents(&store, "reserved_keys").await, [doc! { "_id": id.clone(), "expires_at": date }]);
    let members = doc! { "client_id": "web", "crit": "later", "later": "$a.b" };
    let mut record = documents(&store, "one_time_records").await.remove(0);
    assert_eq!(record.remove("_id"), Some(id.clone()));
    assert_eq!(record.remove("expires_at"), Some(date.into()));
    assert_eq!(record, doc! { "payload": members.clone() });

    for _ in 0..2 {
        let _ = store.redeem(key, by, now).await.unwrap();
        let record = documents(&store, "one_time_records").await.remove(0);
        assert_eq!((record.len(), &record["payload"]), (5, &Bson::from(members.clone())));
        assert_eq!(record["redeemed_by"], Bson::from(Uuid::from_bytes(*by.as_bytes())));
        assert_eq!(record["redeemed_at"], Bson::from(DateTime::from_chrono(now)));
    }
    assert!(store.is_empty().await.unwrap(), "no session, no token and no user");
}

/// The answer to the caller is lost, but the write is not.
#[tokio::test(flavor = "multi_thread")]
async fn mongodb_call_whose_answer_is_lost_uses_the_key_up() {
    let server = MongoServer::start().await;
    let direct = MongoStore::connect(&server.uri(), "auth", MongoOptions::default()).await.unwrap();
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, server.port()));
    let (relay, at) = Relay::start(&[(Protocol::MongoDb, address)]).await.unwrap();
    let relayed = format!("mongodb://{}/?directConnection=true", at[0]);
    let options = MongoOptions::default().with_operation_timeout(Duration::from_millis(500));
    let behind = MongoStore::connect(&relayed, "auth", options).await.unwrap();

    let (key, now) = (new_key(), Utc::now());
    let expires_at = now + TimeDelta::minutes(1);
    let [lost, next] = [SessionId::generate(), SessionId::generate()];
    direct.put_one_time(key, payload(), expires_at).await.unwrap();
    relay.stop_after(1);
    let (redeemed, ()) = tokio::join!(behind.redeem(key, lost, now), relay.until_stopped());
    assert_eq!(redeemed.unwrap_err().kind(), StoreErrorKind::Unavailable);
    assert_eq!(direct.redeem(key, next, now).await.unwrap(), Redeemed::Again(lost));
    relay.release();
    assert_eq!(behind.redeem(key, lost, now).await.unwrap(), Redeemed::Again(lost));

    relay.stop_after(1);
    let (reserved, ()) = tokio::join!(behind.reserve(key, expires_at, now), relay.until_stopped());
    assert_eq!(reserved.unwrap_err().kind(), StoreErrorKind::Unavailable);
    assert!(!direct.reserve(key, expires_at, now).await.unwrap());
    relay.release();
    assert!(!behind.reserve(key, expires_at, now).await.unwrap());
}

/// The driver repeats a command whose connection broke. The server knows it and repeats its answer.
#[tokio::test(flavor = "multi_thread")]
async fn mongodb_command_that_the_driver_repeats_has_the_answer_of_the_first_try() {
    let server = MongoServer::start().await;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, server.port()));
    let (relayed, broken) = breaking_relay(address).await;
    let uri = format!("mongodb://{relayed}/?directConnection=true");
    let store = MongoStore::connect(&uri, "auth", MongoOptions::default()).await.unwrap();
    let now = Utc::now();
    let expires_at = now + TimeDelta::minutes(1);
    for key in [new_key(), new_key()] {
        let (first, next) = (SessionId::generate(), SessionId::generate());
        broken.store(false, Ordering::SeqCst);
        store.put_one_time(key, payload(), expires_at).await.unwrap();
        assert!(broken.swap(false, Ordering::SeqCst), "a connection broke");
        assert_eq!(store.redeem(key, first, now).await.unwrap(), Redeemed::First(payload()));
        assert!(broken.swap(false, Ordering::SeqCst), "a connection broke");
        assert_eq!(store.redeem(key, next, now).await.unwrap(), Redeemed::Again(first));
        broken.store(false, Ordering::SeqCst);
        assert!(store.reserve(key, expires_at, now).await.unwrap());
        assert!(broken.swap(false, Ordering::SeqCst), "a connection broke");
        assert!(!store.reserve(key, expires_at, now).await.unwrap());
    }
}

/// Relays to the server. It breaks one connection after a write has reached the server and before
/// the answer, and sets the flag. While the flag is set, it breaks no other.
async fn breaking_relay(server: SocketAddr) -> (SocketAddr, Arc<AtomicBool>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let broken = Arc::new(AtomicBool::new(true));
    let flag = Arc::clone(&broken);
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            tokio::spawn(forward(client, server, Arc::clone(&flag)));
        }
    });
    (address, broken)
}

/// Forwards one connection until it ends or breaks.
async fn forward(mut client: TcpStream, server: SocketAddr, broken: Arc<AtomicBool>) {
    let mut server = TcpStream::connect(server).await.unwrap();
    let (mut request, mut answer) = ([0; 16 * 1024], [0; 16 * 1024]);
    let mut breaks = false;
    loop {
        tokio::select! {
            Ok(read @ 1..) = client.read(&mut request) => {
                let is_write = [&b"\x02update\0"[..], b"\x02findAndModify\0"]
                    .iter()
                    .any(|name| request[..read].windows(name.len()).any(|window| window == *name));
                breaks |= is_write && !broken.swap(true, Ordering::SeqCst);
                if server.write_all(&request[..read]).await.is_err() { return }
            }
            Ok(read @ 1..) = server.read(&mut answer) => {
                if breaks || client.write_all(&answer[..read]).await.is_err() { return }
            }
            else => return,
        }
    }
}
