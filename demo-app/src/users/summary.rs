//! What an administrator sees of users.

use auth_layer::{Authority, SignInError, UserId};
use futures_util::future::try_join_all;
use serde::Serialize;
use utoipa::ToSchema;

use super::{Role, User};
use crate::text::rfc3339;

/// A user, without the password hash.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct UserSummary {
    #[schema(value_type = String, format = Uuid)]
    pub(crate) user_id: UserId,
    pub(crate) username: String,
    pub(crate) role: Role,
    /// Whether sign-ins are refused.
    pub(crate) disabled: bool,
    #[schema(format = DateTime)]
    pub(crate) created_at: String,
}

impl UserSummary {
    /// Describes users. The token store says who is disabled.
    pub(crate) async fn of_all(authority: &Authority, users: Vec<User>) -> Result<Vec<Self>, SignInError> {
        try_join_all(users.into_iter().map(|user| Self::of(authority, user))).await
    }

    /// Describes a user.
    pub(crate) async fn of(authority: &Authority, user: User) -> Result<Self, SignInError> {
        let disabled = authority.begin_sign_in(user.user_id).await?.is_disabled();
        let User { user_id, username, role, created_at, .. } = user;
        Ok(Self { user_id, username, role, disabled, created_at: rfc3339(created_at) })
    }
}
