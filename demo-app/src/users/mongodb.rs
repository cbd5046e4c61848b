//! Users in MongoDB.

use std::time::Duration;

use auth_layer::{SessionId, UserId};
use bson::{Bson, Document, doc};
use futures_util::TryStreamExt;
use mongodb::{
    Collection, Database, IndexModel,
    options::{CommitQuorum, IndexOptions},
};
use serde::{Deserialize, Deserializer, Serialize};

use super::{AddOutcome, Role, User, UsersError, folded};
use crate::mongo::{self, DUPLICATE_KEY, MongoError, NAMESPACE_NOT_FOUND, UNAUTHORIZED};

/// The time limit of the index: a large collection may build it for the first time.
const INDEX_TIMEOUT: Duration = Duration::from_mins(1);

/// The collection `users`. A unique index on the folded name keeps names unique.
#[derive(Clone, Debug)]
pub(crate) struct MongoUsers(Collection<UserDocument>);

#[derive(Debug, Serialize, Deserialize)]
struct UserDocument {
    #[serde(rename = "_id")]
    id: bson::Uuid,
    username: String,
    username_folded: String,
    #[serde(default, deserialize_with = "string_or_empty")]
    password_hash: String,
    role: Role,
    created_at: bson::DateTime,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    password_changed_in: Option<bson::Uuid>,
}

/// Reads a hash that is not a text as "": its user exists and cannot sign in.
fn string_or_empty<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Ok(match Bson::deserialize(deserializer)? {
        Bson::String(text) => text,
        _ => String::new(),
    })
}

impl MongoUsers {
    pub(crate) async fn open(database: &Database) -> Result<Self, UsersError> {
        let users = mongo::collection(database, "users");
        refuse_foreign_documents(users.clone_with_type()).await?;
        let unique = IndexOptions::builder().unique(true).build();
        let index = IndexModel::builder().keys(doc! { "username_folded": 1 }).options(unique).build();
        let collection: Collection<UserDocument> = users.clone();
        let indexing = mongo::run_within(INDEX_TIMEOUT, async move {
            // A database user without the right to create indexes can start if the index exists.
            if !has_unique_index(&collection).await? {
                // The default quorum is every voting member: one that is down would block the start
                // of all nodes.
                collection.create_index(index).commit_quorum(CommitQuorum::Majority).await?;
            }
            Ok(())
        });
        indexing.await.map_err(users_error)?;
        Ok(Self(users))
    }

    pub(super) async fn add(&self, user: User) -> Result<AddOutcome, UsersError> {
        let users = self.0.clone();
        let document = UserDocument {
            id: user.user_id.into_bson(),
            username_folded: folded(&user.username),
            username: user.username,
            password_hash: user.password_hash,
            role: user.role,
            created_at: user.created_at.into(),
            password_changed_in: user.password_changed_in.map(IntoBson::into_bson),
        };
        run(async move {
            match users.insert_one(document).await {
                Ok(_) => Ok(AddOutcome::Added),
                Err(error) if mongo::is_duplicate(&error) => Ok(AddOutcome::Taken),
                Err(error) => Err(error),
            }
        })
        .await
    }

    pub(super) async fn by_name(&self, username: &str) -> Result<Option<User>, UsersError> {
        let (users, name) = (self.0.clone(), folded(username));
        let found = run(async move { users.find_one(doc! { "username_folded": name }).await }).await?;
        Ok(found.map(User::from))
    }

    pub(super) async fn list(&self, after: Option<&str>, limit: u32) -> Result<Vec<User>, UsersError> {
        let users = self.0.clone();
        let filter = after.map_or_else(Document::new, |after| doc! { "username_folded": { "$gt": folded(after) } });
        let by_name = doc! { "username_folded": 1 };
        let listing = async move { users.find(filter).sort(by_name).limit(limit.into()).await?.try_collect().await };
        let listed: Vec<UserDocument> = run(listing).await?;
        Ok(listed.into_iter().map(User::from).collect())
    }

    pub(super) async fn set_role(&self, id: UserId, role: Role) -> Result<bool, UsersError> {
        let (users, id) = (self.0.clone(), id.into_bson());
        let change = doc! { "$set": { "role": role.as_str() } };
        let changed = run(async move { users.update_one(doc! { "_id": id }, change).await }).await?;
        Ok(changed.matched_count == 1)
    }

    pub(super) async fn is_empty(&self) -> Result<bool, UsersError> {
        let users = self.0.clone_with_type::<Document>();
        Ok(run(async move { users.find_one(doc! {}).await }).await?.is_none())
    }

    /// Finds a user by `_id`, which needs no index of its own.
    pub(super) async fn by_id(&self, id: UserId) -> Result<Option<User>, UsersError> {
        let (users, id) = (self.0.clone(), id.into_bson());
        let found = run(async move { users.find_one(doc! { "_id": id }).await }).await?;
        Ok(found.map(User::from))
    }

    pub(super) async fn replace_hash(
        &self,
        user: &User,
        new: String,
        changed_in: Option<SessionId>,
    ) -> Result<bool, UsersError> {
        let users = self.0.clone();
        let (id, old) = (user.user_id.into_bson(), user.password_hash.clone());
        let mut change = doc! { "password_hash": new };
        if let Some(session) = changed_in {
            change.insert("password_changed_in", session.into_bson());
        }
        let change = doc! { "$set": change };
        let done = run(async move { users.update_one(doc! { "_id": id, "password_hash": old }, change).await });
        Ok(done.await?.matched_count == 1)
    }
}

/// Fails if the collection holds other documents. Writes nothing.
///
/// Sorted by `_id`, UUIDs are adjacent: if the first and the last are UUIDs, all are.
async fn refuse_foreign_documents(users: Collection<Document>) -> Result<(), UsersError> {
    for order in [1, -1] {
        let users = users.clone();
        let found = run(async move { users.find_one(doc! {}).sort(doc! { "_id": order }).await }).await?;
        if found.is_some_and(|document| bson::deserialize_from_document::<UserDocument>(document).is_err()) {
            return Err(UsersError::refused(
                "the collection `users` holds another program's documents; use another `--mongodb-database`",
            ));
        }
    }
    Ok(())
}

/// Returns false too if listing is forbidden: creating the index then reports what is missing.
async fn has_unique_index(users: &Collection<UserDocument>) -> mongodb::error::Result<bool> {
    let listed = async { users.list_indexes().await?.try_collect::<Vec<IndexModel>>().await };
    let indexes = match listed.await {
        Err(error) if matches!(mongo::code(&error), Some(NAMESPACE_NOT_FOUND | UNAUTHORIZED)) => return Ok(false),
        listed => listed?,
    };
    Ok(indexes.iter().any(|index| {
        index.keys.keys().eq(["username_folded"])
            && index.options.as_ref().is_some_and(|options| {
                options.unique == Some(true)
                    && options.partial_filter_expression.is_none()
                    && options.sparse != Some(true)
                    && options.collation.is_none()
            })
    }))
}

trait IntoBson {
    fn into_bson(self) -> bson::Uuid;
}

impl IntoBson for UserId {
    fn into_bson(self) -> bson::Uuid {
        bson::Uuid::from_bytes(*self.as_bytes())
    }
}

impl IntoBson for SessionId {
    fn into_bson(self) -> bson::Uuid {
        bson::Uuid::from_bytes(*self.as_bytes())
    }
}

impl From<UserDocument> for User {
    fn from(document: UserDocument) -> Self {
        Self {
            user_id: uuid::Uuid::from_bytes(document.id.bytes()).into(),
            username: document.username,
            password_hash: document.password_hash,
            role: document.role,
            created_at: document.created_at.to_chrono(),
            password_changed_in: document
                .password_changed_in
                .map(|session| uuid::Uuid::from_bytes(session.bytes()).into()),
        }
    }
}

async fn run<T: Send + 'static>(
    operation: impl Future<Output = mongodb::error::Result<T>> + Send + 'static,
) -> Result<T, UsersError> {
    mongo::run(operation).await.map_err(users_error)
}

fn users_error(error: MongoError) -> UsersError {
    match refusal(&error) {
        Some(refusal) => UsersError::refused(refusal),
        None => UsersError::new("the collection `users` cannot be read or written", error.into_cause()),
    }
}

/// Describes an error that a retry cannot fix, in one sentence.
fn refusal(error: &MongoError) -> Option<&'static str> {
    match error.code()? {
        UNAUTHORIZED => Some(
            "MongoDB denies access to the collection `users` or its index on `username_folded`; grant the user of \
             `--mongodb-uri` the role readWrite",
        ),
        // Then an index with other options or another name.
        DUPLICATE_KEY => Some(
            "the collection `users` holds a username twice; remove one of the documents with the same `username_folded`",
        ),
        85 | 86 => Some("the collection `users` has an index on `username_folded` that is not unique; drop that index"),
        _ => None,
    }
}
