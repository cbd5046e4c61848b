//! Users in MongoDB.

use std::time::Duration;

use auth_layer::{SessionId, UserId};
use bson::{Bson, doc};
use futures_util::TryStreamExt;
use mongodb::{
    Collection, Database, IndexModel,
    error::{ErrorKind, WriteFailure},
    options::{CommitQuorum, IndexOptions, ReadPreference, SelectionCriteria, WriteConcern},
};
use serde::{Deserialize, Deserializer, Serialize};

use super::{AddOutcome, Role, User, UsersError, folded};

/// The time limit of an operation.
const TIMEOUT: Duration = Duration::from_secs(2);

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
        let majority = WriteConcern::builder().w(mongodb::options::Acknowledgment::Majority).journal(true).build();
        let options = mongodb::options::CollectionOptions::builder()
            .write_concern(majority)
            .selection_criteria(SelectionCriteria::ReadPreference(ReadPreference::Primary))
            .build();
        let users = database.collection_with_options("users", options);
        refuse_foreign_documents(users.clone_with_type()).await?;
        let unique = IndexOptions::builder().unique(true).build();
        let index = IndexModel::builder().keys(doc! { "username_folded": 1 }).options(unique).build();
        let indexed: Collection<UserDocument> = users.clone();
        run_within(INDEX_TIMEOUT, async move {
            // A database user without the right to create indexes can start if the index exists.
            if !has_unique_index(&indexed).await? {
                // The default quorum is every voting member: one that is down would block the start
                // of all nodes.
                indexed.create_index(index).commit_quorum(CommitQuorum::Majority).await?;
            }
            Ok(())
        })
        .await?;
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
                Err(error) if is_duplicate(&error) => Ok(AddOutcome::NameTaken),
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

    pub(super) async fn is_empty(&self) -> Result<bool, UsersError> {
        let users = self.0.clone_with_type::<bson::Document>();
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
async fn refuse_foreign_documents(users: Collection<bson::Document>) -> Result<(), UsersError> {
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

/// The server's codes for a missing collection and for a missing permission.
const NAMESPACE_NOT_FOUND: i32 = 26;
const UNAUTHORIZED: i32 = 13;

/// Returns false too if listing is forbidden: creating the index then reports what is missing.
async fn has_unique_index(users: &Collection<UserDocument>) -> mongodb::error::Result<bool> {
    let listed = async { users.list_indexes().await?.try_collect::<Vec<IndexModel>>().await };
    let indexes = match listed.await {
        Err(error) if matches!(code(&error), Some(NAMESPACE_NOT_FOUND | UNAUTHORIZED)) => return Ok(false),
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

/// Returns the code of a refused command.
fn code(error: &mongodb::error::Error) -> Option<i32> {
    match &*error.kind {
        ErrorKind::Command(command) => Some(command.code),
        _ => None,
    }
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
    run_within(TIMEOUT, operation).await
}

/// Runs in a task: the driver's futures must not be dropped, so a late one continues.
async fn run_within<T: Send + 'static>(
    limit: Duration,
    operation: impl Future<Output = mongodb::error::Result<T>> + Send + 'static,
) -> Result<T, UsersError> {
    const WHAT: &str = "the collection `users` cannot be read or written";
    match tokio::time::timeout(limit, tokio::spawn(operation)).await {
        Ok(Ok(done)) => done.map_err(|error| match refusal(&error) {
            Some(refusal) => UsersError::refused(refusal),
            None => UsersError::new(WHAT, error),
        }),
        Ok(Err(error)) => Err(UsersError::new(WHAT, error)),
        Err(error) => Err(UsersError::new(WHAT, error)),
    }
}

/// Describes an error that a retry cannot fix, in one sentence.
fn refusal(error: &mongodb::error::Error) -> Option<&'static str> {
    match code(error)? {
        UNAUTHORIZED => Some(
            "MongoDB denies access to the collection `users` or its index on `username_folded`; grant the user of \
             `--mongodb-uri` the role readWrite",
        ),
        // A duplicate name; then an index with other options or another name.
        11_000 => Some(
            "the collection `users` holds a username twice; remove one of the documents with the same `username_folded`",
        ),
        85 | 86 => Some("the collection `users` has an index on `username_folded` that is not unique; drop that index"),
        _ => None,
    }
}

fn is_duplicate(error: &mongodb::error::Error) -> bool {
    matches!(&*error.kind, ErrorKind::Write(WriteFailure::WriteError(error)) if error.code == 11000)
}
