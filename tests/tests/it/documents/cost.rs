//! The cost of ending a session, counted by MongoDB's profiler.

use auth_layer::{SessionId, store::TokenStore};
use bson::{DateTime, Uuid};
use mongodb::options::InsertManyOptions;
use tests::servers;

use super::*;
use crate::fleet::store_in;

/// The number of retired refresh tokens: a month in which a client refreshed every nine minutes.
const RETIRED: usize = 5_000;

/// Returns the number of documents read since the profiler was switched on.
async fn documents_examined(database: &Database) -> i64 {
    let entries = database.collection::<Document>("system.profile");
    let ours = doc! { "ns": { "$regex": "\\.(tokens|sessions|subjects)$" } };
    let found: Vec<Document> = entries.find(ours).await.unwrap().try_collect().await.unwrap();
    let count = |entry: &Document| entry.get("docsExamined").and_then(Bson::as_i32).map_or(0, i64::from);
    assert!(!found.is_empty(), "the profiler is on");
    found.iter().map(count).sum()
}

/// Adds records of refresh tokens that this session retired.
async fn insert_retired_tokens(database: &Database, refresh: &Document) {
    let records = (0..RETIRED).map(|_| {
        let mut record = refresh.clone();
        record.insert("_id", Uuid::new());
        record
    });
    let tokens = database.collection::<Document>("tokens");
    tokens.insert_many(records).with_options(InsertManyOptions::builder().ordered(false).build()).await.unwrap();
}

/// Adds sessions of this user that ended long ago and have not expired yet.
async fn insert_ended_sessions(database: &Database, session: &Document) {
    let sessions = (0..RETIRED).map(|_| {
        let mut ended = session.clone();
        ended.insert("_id", Uuid::new());
        ended.insert("revoked", true);
        ended
    });
    database.collection::<Document>("sessions").insert_many(sessions).await.unwrap();
}

#[tokio::test]
async fn revoke_reads_the_live_tokens_and_not_the_retired_ones() {
    for all in [false, true] {
        let fleet = Fleet::on_shared_servers(1, false, &["--local-cache", "0"]).await;
        let (client, _) = fleet.clients();
        let tokens = client.sign_up(&username(), PASSWORD).await.unwrap();
        let database = database(&fleet).await;
        let one = async |collection: &str, query: Document| {
            database.collection::<Document>(collection).find_one(query).await.unwrap().unwrap()
        };
        let refresh = one("tokens", doc! { "kind": "refresh" }).await;
        assert!(refresh.get_datetime("expires_at").unwrap() > &DateTime::now(), "it has not expired");
        insert_retired_tokens(&database, &refresh).await;
        insert_ended_sessions(&database, &one("sessions", doc! {}).await).await;

        database.run_command(doc! { "profile": 2 }).await.unwrap();
        let ended = if all { client.logout_all(&tokens.access).await } else { client.logout(&tokens.access).await };
        assert_eq!(ended.unwrap().status, StatusCode::NO_CONTENT);
        database.run_command(doc! { "profile": 0 }).await.unwrap();
        let examined = documents_examined(&database).await;
        assert!(
            (1..=25).contains(&examined),
            "revoke-all: {all}: {examined} documents of {RETIRED} and more were read"
        );

        let me = client.me(&tokens.access).await.unwrap();
        assert_eq!(me.status, StatusCode::UNAUTHORIZED);
        assert_eq!(client.refresh(&tokens.refresh).await.unwrap().error(), "invalid_grant");
    }
}

/// More sessions than one query looks through.
#[tokio::test]
async fn sessions_of_a_client_are_found_among_many_of_another() {
    const OTHERS: u64 = 20_050;

    let guard = servers::mongodb().await;
    let store = store_in(&guard).await;
    let session = |id: u64, client: &str| {
        let expires_at = DateTime::from_millis(DateTime::now().timestamp_millis() + 3_600_000);
        doc! {
            "_id": Uuid::from_bytes(u128::from(id).to_be_bytes()),
            "user_id": Uuid::new(),
            "client_id": client,
            "revoked": false,
            "current": { "refresh_expires_at": expires_at },
        }
    };
    let others = (0..OTHERS).map(|number| session(2 * number, "other"));
    let rare = [21, 2 * 20_000 + 1, 2 * OTHERS + 1];
    let sessions = others.chain(rare.iter().map(|id| session(*id, "rare")));
    store.database().collection::<Document>("sessions").insert_many(sessions).await.unwrap();
    let ids = rare.map(|id| SessionId::from(uuid::Uuid::from_u128(id.into())));
    let page = async |after: Option<SessionId>, limit| {
        store.sessions_of_client("rare".to_owned(), after, limit, chrono::Utc::now()).await.unwrap()
    };
    assert_eq!(page(None, 10).await, ids);
    assert_eq!(page(None, 2).await, ids[..2]);
    assert_eq!(page(Some(ids[1]), 2).await, ids[2..]);
    assert_eq!(page(Some(ids[2]), 2).await, []);
}
