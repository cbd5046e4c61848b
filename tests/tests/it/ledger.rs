//! What MongoDB holds of a user, independent of the nodes' answers.

use bson::{Bson, Document, Uuid, doc};
use futures_util::TryStreamExt;
use mongodb::{Client, Database};
use tests::client::{Tokens, payload};

use crate::fleet::Fleet;

/// Reads MongoDB directly: sessions, tokens and epochs of a user.
#[derive(Clone)]
pub(crate) struct Ledger(Database);

/// What is recorded as revoked of a session.
#[derive(Debug)]
pub(crate) struct RecordedRevocation {
    /// Whether the session itself is revoked.
    pub(crate) session: bool,
    /// The number of its tokens that are revoked.
    pub(crate) tokens: u64,
}

impl RecordedRevocation {
    /// Returns whether everything that was recorded earlier is still there.
    pub(crate) fn includes(&self, earlier: &Self) -> bool {
        self.session >= earlier.session && self.tokens >= earlier.tokens
    }
}

/// Returns the identifier in this claim of the access token.
fn id(tokens: &Tokens, claim: &str) -> Uuid {
    Uuid::parse_str(payload(&tokens.access)[claim].as_str().unwrap()).unwrap()
}

impl Ledger {
    /// Opens the database of a fleet.
    pub(crate) async fn of(fleet: &Fleet) -> Self {
        let database = fleet.database.as_ref().unwrap();
        Self::open(&database.uri, &database.name).await
    }

    /// Opens a database.
    pub(crate) async fn open(uri: &str, database: &str) -> Self {
        Self(Client::with_uri_str(uri).await.unwrap().database(database))
    }

    /// Returns the epoch of the user of these tokens: how often everything was revoked.
    pub(crate) async fn user_epoch(&self, tokens: &Tokens) -> i64 {
        let subjects = self.0.collection::<Document>("subjects");
        let subject = subjects.find_one(doc! { "_id": id(tokens, "sub") }).await.unwrap().unwrap();
        subject.get_i64("epoch").unwrap()
    }

    /// Returns the epoch in which this session was opened.
    pub(crate) async fn session_epoch(&self, tokens: &Tokens) -> i64 {
        let sessions = self.0.collection::<Document>("sessions");
        let session = sessions.find_one(doc! { "_id": id(tokens, "sid") }).await.unwrap().unwrap();
        session.get_i64("epoch").unwrap()
    }

    /// Returns the user's sessions that are not revoked, with the epoch in which each was
    /// opened. Skips pending sessions, which nobody was told of.
    pub(crate) async fn live_sessions(&self, tokens: &Tokens) -> Vec<(Uuid, i64)> {
        let sessions = self.0.collection::<Document>("sessions");
        let live = doc! { "user_id": id(tokens, "sub"), "revoked": { "$ne": true }, "pending": { "$ne": true } };
        let found: Vec<Document> = sessions.find(live).await.unwrap().try_collect().await.unwrap();
        let session = |document: &Document| match &document["_id"] {
            Bson::Binary(binary) => (binary.to_uuid().unwrap(), document.get_i64("epoch").unwrap()),
            other => panic!("{other:?} is no UUID"),
        };
        found.iter().map(session).collect()
    }

    /// Returns the number of tokens of this session that are not revoked. Of refresh tokens only
    /// the newest is marked, so the others are not counted.
    pub(crate) async fn live_tokens(&self, tokens: &Tokens) -> u64 {
        let sid = id(tokens, "sid");
        let session = self.0.collection::<Document>("sessions").find_one(doc! { "_id": sid }).await.unwrap();
        let newest = session.map(|session| session.get_document("current").unwrap()["refresh_id"].clone());
        let decisive = [doc! { "kind": { "$ne": "refresh" } }, doc! { "_id": newest }];
        let live = doc! { "session_id": sid, "revoked": { "$ne": true }, "$or": decisive };
        self.0.collection::<Document>("tokens").count_documents(live).await.unwrap()
    }

    /// Returns what is recorded as revoked of this session.
    pub(crate) async fn recorded_revocation(&self, tokens: &Tokens) -> RecordedRevocation {
        let id = id(tokens, "sid");
        let (sessions, records) = (self.0.collection::<Document>("sessions"), self.0.collection::<Document>("tokens"));
        let session = sessions.find_one(doc! { "_id": id, "revoked": true }).await.unwrap().is_some();
        let tokens = records.count_documents(doc! { "session_id": id, "revoked": true }).await.unwrap();
        RecordedRevocation { session, tokens }
    }

    /// Returns the number of revocations that are marked as unfinished.
    pub(crate) async fn count_unfinished(&self) -> u64 {
        let marked = doc! { "unfinished.tried": { "$exists": true } };
        let mut count = 0;
        for collection in ["tokens", "sessions", "subjects"] {
            count += self.0.collection::<Document>(collection).count_documents(marked.clone()).await.unwrap();
        }
        count
    }

    /// Returns whether this session is the only live one of its user.
    pub(crate) async fn is_only_live_session(&self, tokens: &Tokens) -> bool {
        let live = self.live_sessions(tokens).await;
        live.iter().map(|(session, _)| *session).eq([id(tokens, "sid")])
    }
}
