//! Who may sign in.

mod embedded;
mod file;
mod mongodb;
#[cfg(test)]
mod watched;

use std::error::Error;

use auth_layer::{Scope, SessionId, Subject, UserId};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

#[cfg(test)]
pub(crate) use self::watched::{Asked, WatchedUsers};
pub(crate) use self::{embedded::EmbeddedUsers, mongodb::MongoUsers};

/// A user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct User {
    pub(crate) user_id: UserId,
    /// As it was registered; unique without regard to case.
    pub(crate) username: String,
    pub(crate) password_hash: String,
    pub(crate) role: Role,
    pub(crate) created_at: DateTime<Utc>,
    /// The session in which the password was last changed. It may repeat that request.
    pub(crate) password_changed_in: Option<SessionId>,
}

/// What a user may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Role {
    User,
    Admin,
}

impl Role {
    /// What a sign-in may ask for.
    pub(crate) fn scopes(self) -> &'static [&'static str] {
        match self {
            Self::User => &["profile"],
            Self::Admin => &["profile", "admin"],
        }
    }

    /// Whether a sign-in may ask for this.
    pub(crate) fn may_have(self, scope: &Scope) -> bool {
        scope.iter().all(|token| self.scopes().contains(&token))
    }
}

/// Whether a user was added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Added {
    Yes,
    NameTaken,
}

/// The users could not be read or written.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub(crate) struct UsersError {
    what: &'static str,
    #[source]
    source: Option<Box<dyn Error + Send + Sync>>,
    /// Whether waiting will not help: it lies in the settings.
    refused: bool,
}

impl UsersError {
    /// `what` says in one sentence what is set up wrongly.
    fn refused(what: &'static str) -> Self {
        Self { what, source: None, refused: true }
    }

    /// Whether another process has the file open.
    pub(crate) fn is_in_use(&self) -> bool {
        let fault = self.source.as_ref().and_then(|source| source.downcast_ref::<file::Fault>());
        matches!(fault, Some(file::Fault::Database(redb::Error::DatabaseAlreadyOpen)))
    }

    /// Whether waiting will not help.
    pub(crate) fn is_refused(&self) -> bool {
        self.refused
    }

    fn new(what: &'static str, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { what, source: Some(source.into()), refused: false }
    }
}

/// Where users are kept.
#[derive(Clone, Debug)]
pub(crate) enum Users {
    Embedded(EmbeddedUsers),
    Mongo(MongoUsers),
    #[cfg(test)]
    Watched(WatchedUsers),
}

impl Users {
    /// Adds a user, unless another has the name.
    pub(crate) async fn add(&self, user: User) -> Result<Added, UsersError> {
        match self {
            Self::Embedded(users) => users.add(user).await,
            Self::Mongo(users) => users.add(user).await,
            #[cfg(test)]
            Self::Watched(users) => users.add(user).await,
        }
    }

    /// The user of this name, in whatever case.
    pub(crate) async fn by_name(&self, username: &str) -> Result<Option<User>, UsersError> {
        match self {
            Self::Embedded(users) => users.by_name(username).await,
            Self::Mongo(users) => users.by_name(username).await,
            #[cfg(test)]
            Self::Watched(users) => users.by_name(username).await,
        }
    }

    /// The user whom a token is about. Users here have UUIDs: a subject that is none is nobody's.
    pub(crate) async fn by_subject(&self, subject: &Subject) -> Result<Option<User>, UsersError> {
        let Some(id) = subject.id() else { return Ok(None) };
        match self {
            Self::Embedded(users) => users.by_id(id).await,
            Self::Mongo(users) => users.by_id(id).await,
            #[cfg(test)]
            Self::Watched(users) => users.by_id(id).await,
        }
    }

    /// Succeeds when users can be read.
    pub(crate) async fn ping(&self) -> Result<(), UsersError> {
        // No user has this name; to look for it takes what to look for any does.
        self.by_name("").await.map(drop)
    }

    /// Whether there is no user.
    pub(crate) async fn is_empty(&self) -> Result<bool, UsersError> {
        match self {
            Self::Embedded(users) => users.is_empty().await,
            Self::Mongo(users) => users.is_empty().await,
            #[cfg(test)]
            Self::Watched(users) => users.is_empty().await,
        }
    }

    /// Replaces a user's password hash, if it still is the one that was read; false where it is
    /// not. Where the password is another as well, `changed_in` is the session in which it was
    /// changed.
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
            Self::Watched(users) => users.replace_hash(user, new, changed_in).await,
        }
    }
}

/// Names that differ in case only are one.
fn folded(username: &str) -> String {
    username.to_ascii_lowercase()
}

/// The rule for usernames.
pub(crate) fn check_username(username: &str) -> Result<(), &'static str> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    if (3..=64).contains(&username.len()) && username.bytes().all(allowed) {
        Ok(())
    } else {
        Err("must be 3 to 64 letters (a-z, A-Z), digits, dots, underscores or hyphens")
    }
}
