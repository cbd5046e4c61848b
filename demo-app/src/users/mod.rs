//! The users who may sign in.

mod embedded;
mod file;
mod mongodb;
#[cfg(test)]
mod recording;
mod summary;

use std::error::Error;

use auth_layer::{Scope, SessionId, Subject, UserId};
use chrono::{DateTime, SubsecRound, Utc};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

#[cfg(test)]
pub(crate) use self::recording::{CallLog, RecordingUsers};
pub(crate) use self::{embedded::EmbeddedUsers, file::UserFileError, mongodb::MongoUsers, summary::UserSummary};

/// A user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct User {
    pub(crate) user_id: UserId,
    /// The name as registered; unique regardless of case.
    pub(crate) username: String,
    pub(crate) password_hash: String,
    pub(crate) role: Role,
    pub(crate) created_at: DateTime<Utc>,
    /// The session that last changed the password. It may repeat that request.
    pub(crate) password_changed_in: Option<SessionId>,
}

impl User {
    /// Creates a user with a new id, as of now.
    pub(crate) fn new(username: String, password_hash: String, role: Role) -> Self {
        Self {
            user_id: UserId::generate(),
            username,
            password_hash,
            role,
            created_at: Utc::now().trunc_subsecs(3),
            password_changed_in: None,
        }
    }
}

/// A user's role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Role {
    /// May have the scope `profile`.
    User,
    /// May have the scope `admin`, too.
    Admin,
}

impl Role {
    /// Returns the role's name, as it is stored.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Admin => "admin",
        }
    }

    /// Returns the scopes that a sign-in may ask for.
    pub(crate) fn scopes(self) -> &'static [&'static str] {
        match self {
            Self::User => &["profile"],
            Self::Admin => &["profile", "admin"],
        }
    }

    /// Returns [`scopes`](Self::scopes) as one scope.
    pub(crate) fn scope(self) -> Scope {
        // The names are scope tokens.
        self.scopes().join(" ").parse().unwrap_or_default()
    }

    /// Returns whether a sign-in may ask for this scope.
    pub(crate) fn may_have(self, scope: &Scope) -> bool {
        scope.iter().all(|token| self.scopes().contains(&token))
    }
}

/// The result of adding a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AddOutcome {
    Added,
    /// There is a user with this name or this id.
    Taken,
}

/// The users could not be read or written.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub(crate) struct UsersError {
    what: &'static str,
    #[source]
    source: Option<Box<dyn Error + Send + Sync>>,
    /// Whether a retry is useless because a setting is wrong.
    refused: bool,
}

impl UsersError {
    /// Makes an error for a wrong setting, which `what` describes in one sentence.
    fn refused(what: &'static str) -> Self {
        Self { what, source: None, refused: true }
    }

    /// Returns whether another process has the file open.
    pub(crate) fn is_in_use(&self) -> bool {
        let fault = self.source.as_ref().and_then(|source| source.downcast_ref::<UserFileError>());
        matches!(fault, Some(UserFileError::Database(redb::Error::DatabaseAlreadyOpen)))
    }

    /// Returns whether a retry is useless.
    pub(crate) fn is_refused(&self) -> bool {
        self.refused
    }

    fn new(what: &'static str, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { what, source: Some(source.into()), refused: false }
    }
}

/// The store of users.
#[derive(Clone, Debug)]
pub(crate) enum Users {
    Embedded(EmbeddedUsers),
    Mongo(MongoUsers),
    #[cfg(test)]
    Recording(RecordingUsers),
}

impl Users {
    /// Adds a user, unless the name or the id is taken.
    pub(crate) async fn add(&self, user: User) -> Result<AddOutcome, UsersError> {
        match self {
            Self::Embedded(users) => users.add(user).await,
            Self::Mongo(users) => users.add(user).await,
            #[cfg(test)]
            Self::Recording(users) => users.add(user).await,
        }
    }

    /// Returns the user of this name, regardless of case.
    pub(crate) async fn by_name(&self, username: &str) -> Result<Option<User>, UsersError> {
        match self {
            Self::Embedded(users) => users.by_name(username).await,
            Self::Mongo(users) => users.by_name(username).await,
            #[cfg(test)]
            Self::Recording(users) => users.by_name(username).await,
        }
    }

    /// Returns the user of a token's subject. Users have UUIDs, so another subject has no user.
    pub(crate) async fn by_subject(&self, subject: &Subject) -> Result<Option<User>, UsersError> {
        let Some(id) = subject.id() else { return Ok(None) };
        match self {
            Self::Embedded(users) => users.by_id(id).await,
            Self::Mongo(users) => users.by_id(id).await,
            #[cfg(test)]
            Self::Recording(users) => users.by_id(id).await,
        }
    }

    /// Lists up to `limit` users by name, in the order of lower-case ASCII. With `after`, those
    /// whose names come after this one.
    pub(crate) async fn list(&self, after: Option<&str>, limit: u32) -> Result<Vec<User>, UsersError> {
        match self {
            Self::Embedded(users) => users.list(after, limit).await,
            Self::Mongo(users) => users.list(after, limit).await,
            #[cfg(test)]
            Self::Recording(users) => users.list(after, limit).await,
        }
    }

    /// Sets a user's role; false if there is no such user.
    pub(crate) async fn set_role(&self, user: &User, role: Role) -> Result<bool, UsersError> {
        match self {
            Self::Embedded(users) => users.set_role(user, role).await,
            Self::Mongo(users) => users.set_role(user.user_id, role).await,
            #[cfg(test)]
            Self::Recording(users) => users.set_role(user, role).await,
        }
    }

    /// Returns the kind of store that has the users, and the tokens.
    pub(crate) fn store_name(&self) -> &'static str {
        if matches!(self, Self::Mongo(_)) { "mongodb" } else { "embedded" }
    }

    /// Succeeds if users can be read.
    pub(crate) async fn ping(&self) -> Result<(), UsersError> {
        // No user has the empty name, and looking for it costs as much as any lookup.
        self.by_name("").await.map(drop)
    }

    /// Returns whether there is no user.
    pub(crate) async fn is_empty(&self) -> Result<bool, UsersError> {
        match self {
            Self::Embedded(users) => users.is_empty().await,
            Self::Mongo(users) => users.is_empty().await,
            #[cfg(test)]
            Self::Recording(users) => users.is_empty().await,
        }
    }

    /// Replaces a user's password hash; false if it has changed since it was read. `changed_in` is
    /// the session that changed the password, and `None` for a mere upgrade.
    pub(crate) async fn replace_hash(
        &self,
        user: &User,
        new: String,
        changed_in: Option<SessionId>,
    ) -> Result<bool, UsersError> {
        match self {
            Self::Embedded(users) => users.replace_hash(user, new, changed_in).await,
            Self::Mongo(users) => users.replace_hash(user, new, changed_in).await,
            #[cfg(test)]
            Self::Recording(users) => users.replace_hash(user, new, changed_in).await,
        }
    }
}

/// Folds names that differ only in case to one.
fn folded(username: &str) -> String {
    username.to_ascii_lowercase()
}

/// Checks the rule for usernames.
pub(crate) fn check_username(username: &str) -> Result<(), &'static str> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    if (3..=64).contains(&username.len()) && username.bytes().all(allowed) {
        Ok(())
    } else {
        Err("must be 3 to 64 letters (a-z, A-Z), digits, dots, underscores or hyphens")
    }
}
