//! What MongoDB holds of a user, independent of the nodes' answers.

use bson::{Bson, Document, Uuid, doc};
use futures_util::TryStreamExt;
use mongodb::{Client, Database};
use tests::client::{Tokens, payload};

use crate::fleet::Fleet;

#[derive(Clone)]
pub(crate) struct Books(Database);

/// What is recorded as revoked of a session.
#[derive(Debug)]
pub(crate) struct Revoked {
    /// Whether the session itself is revoked.
    pub(crate) session: bool,
    /// The number of its tokens that are revoked.
    pub(crate) tokens: u64,
}

impl Revoked {
    /// Returns whether everything that was recorded earlier is still there.
    pub(crate) fn holds(&self, earlier: &Self) -> bool {
        self.session >= earlier.session && self.tokens >= earlier.tokens
    }
}

/// Returns the identifier in this claim of the access token.
fn id(tokens: &Tokens, claim: &str) -> Uuid {
    Uuid::parse_str(payload(&tokens.access)[claim].as_str().unwrap()).unwrap()
}

impl Books {
    pub(crate) async fn of(fleet: &Fleet) -> Self {
        let database = fleet.database.as_ref().unwrap();
        Self::at(&database.uri, &database.name).await
    }

    pub(crate) async fn at(uri: &str, database: &str) -> Self {
        Self(Client::with_uri_str(uri).await.unwrap().database(database))
    }

    /// Returns the fence of the user of these tokens: how often everything was revoked.
    pub(crate) async fn fence(&self, tokens: &Tokens) -> i64 {
        let subjects = self.0.collection::<Document>("subjects");
        let subject = subjects.find_one(doc! { "_id": id(tokens, "sub") }).await.unwrap().unwrap();
        subject.get_i64("epoch").unwrap()
    }

    /// Returns the fence under which this session was opened.
    pub(crate) async fn opened_under(&self, tokens: &Tokens) -> i64 {
        let sessions = self.0.collection::<Document>("sessions");
        let session = sessions.find_one(doc! { "_id": id(tokens, "sid") }).await.unwrap().unwrap();
        session.get_i64("epoch").unwrap()
    }

    /// Returns the user's sessions that are not revoked, with the fence under which each was
    /// opened. Skips pending sessions, which nobody was told of.
    pub(crate) async fn living_sessions(&self, tokens: &Tokens) -> Vec<(Uuid, i64)> {
        let sessions = self.0.collection::<Document>("sessions");
        let living = doc! { "user_id": id(tokens, "sub"), "revoked": { "$ne": true }, "pending": { "$ne": true } };
        let found: Vec<Document> = sessions.find(living).await.unwrap().try_collect().await.unwrap();
        let session = |document: &Document| match &document["_id"] {
            Bson::Binary(binary) => (binary.to_uuid().unwrap(), document.get_i64("epoch").unwrap()),
            other => panic!("{other:?} is no UUID"),
        };
        found.iter().map(session).collect()
    }

    /// Returns the number of tokens of this session that are not revoked. Of refresh tokens only
    /// the newest is marked, so the others are not counted.
    pub(crate) async fn living_tokens(&self, tokens: &Tokens) -> u64 {
        let sid = id(tokens, "sid");
        let session = self.0.collection::<Document>("sessions").find_one(doc! { "_id": sid }).await.unwrap();
        let newest = session.map(|session| session.get_document("current").unwrap()["refresh_id"].clone());
        let decisive = [doc! { "kind": { "$ne": "refresh" } }, doc! { "_id": newest }];
        let living = doc! { "session_id": sid, "revoked": { "$ne": true }, "$or": decisive };
        self.0.collection::<Document>("tokens").count_documents(living).await.unwrap()
    }

    pub(crate) async fn revoked(&self, tokens: &Tokens) -> Revoked {
        let id = id(tokens, "sid");
        let (sessions, records) = (self.0.collection::<Document>("sessions"), self.0.collection::<Document>("tokens"));
        let session = sessions.find_one(doc! { "_id": id, "revoked": true }).await.unwrap().is_some();
        let tokens = records.count_documents(doc! { "session_id": id, "revoked": true }).await.unwrap();
        Revoked { session, tokens }
    }

    /// Returns the number of revocations that are marked as unfinished.
    pub(crate) async fn unfinished(&self) -> u64 {
        let marked = doc! { "unfinished.tried": { "$exists": true } };
        let mut unfinished = 0;
        for collection in ["tokens", "sessions", "subjects"] {
            unfinished += self.0.collection::<Document>(collection).count_documents(marked.clone()).await.unwrap();
        }
        unfinished
    }

    /// Returns whether this session is the only live one of its user.
    pub(crate) async fn is_alone(&self, tokens: &Tokens) -> bool {
        let living = self.living_sessions(tokens).await;
        living.iter().map(|(session, _)| *session).eq([id(tokens, "sid")])
    }
}
