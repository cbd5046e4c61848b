//! Accounts: register, who am I, change the password.

use std::net::SocketAddr;

use auth_layer::{SessionId, UserId};
use axum::{
    Json,
    extract::{ConnectInfo, State},
};
use chrono::{SubsecRound, Utc};
use http::StatusCode;
use secrecy::SecretString;
use serde::Serialize;

use super::credentials;
use crate::{
    body::Fields,
    error::ApiError,
    password::Verdict,
    state::{AppClaims, AppState},
    users::{Added, Role, User, check_password, check_username},
};

/// How often a change of password begins again whose hash was replaced by another meanwhile.
const CHANGES: usize = 2;

#[derive(Serialize)]
pub(crate) struct Registered {
    user_id: UserId,
    username: String,
}

pub(crate) async fn register(
    State(state): State<AppState>,
    mut body: Fields,
) -> Result<(StatusCode, Json<Registered>), ApiError> {
    let username = body.checked_text("username", check_username);
    let password: SecretString = body.checked_text("password", check_password).into();
    body.finish()?;
    if state.users.by_name(&username).await?.is_some() {
        return Err(ApiError::UsernameTaken);
    }
    let user = User {
        user_id: UserId::generate(),
        username: username.clone(),
        password_hash: state.passwords.hash(&password).await?,
        role: Role::User,
        created_at: Utc::now().trunc_subsecs(3),
    };
    let user_id = user.user_id;
    match state.users.add(user).await? {
        Added::Yes => Ok((StatusCode::CREATED, Json(Registered { user_id, username }))),
        Added::NameTaken => Err(ApiError::UsernameTaken),
    }
}

#[derive(Serialize)]
pub(crate) struct Me {
    user_id: UserId,
    username: String,
    claims: AppClaims,
}

/// The name is a claim: the answer costs no look at the users.
pub(crate) async fn me(claims: AppClaims) -> Json<Me> {
    Json(Me { user_id: claims.sub, username: claims.custom.username.clone(), claims })
}

/// Changes the password and ends all the user's other sessions.
///
/// The new hash is written first and the sessions end after it. Where they could not be ended the answer is 503, and the same
/// request can be sent again: that its `new_password` is the password already, and its `current_password` is not, tells that the
/// change was made and the sessions are still to be ended.
pub(crate) async fn change_password(
    State(state): State<AppState>,
    ConnectInfo(address): ConnectInfo<SocketAddr>,
    claims: AppClaims,
    mut body: Fields,
) -> Result<StatusCode, ApiError> {
    let current: SecretString = body.text("current_password").into();
    let new: SecretString = body.checked_text("new_password", check_password).into();
    body.finish()?;
    let username = &claims.custom.username;
    for _ in 0..CHANGES {
        let known = match credentials::check(&state, username, &current, address.ip()).await {
            Err(ApiError::InvalidCredentials) if is_done(&state, username, &new).await? => {
                state.authority.revoke_user(claims.sub, Some(claims.sid)).await?;
                return Ok(StatusCode::NO_CONTENT);
            }
            checked => checked?,
        };
        let hash = state.passwords.hash(&new).await?;
        if replace(&state, known.user, hash, claims.sid).await? {
            return Ok(StatusCode::NO_CONTENT);
        }
        // Somebody changed it since we looked, so the current password is no longer the current one. An upgrade of its hash
        // looks the same: then the second look finds it right.
    }
    Err(ApiError::unavailable())
}

/// Replaces the hash and ends the other sessions; false where the hash is another by now. Both are done although whoever asked goes
/// away in between: sessions must not live on that the user believes ended.
async fn replace(state: &AppState, user: User, hash: String, but: SessionId) -> Result<bool, ApiError> {
    let state = state.clone();
    let done = tokio::spawn(async move {
        let replaced = state.users.replace_hash(&user, hash).await?;
        if replaced {
            state.authority.revoke_user(user.user_id, Some(but)).await?;
        }
        Ok(replaced)
    });
    done.await.unwrap_or_else(|error| {
        tracing::error!(%error, "a change of password broke off");
        Err(ApiError::Internal)
    })
}

/// Whether the new password is the user's already.
async fn is_done(state: &AppState, username: &str, new: &SecretString) -> Result<bool, ApiError> {
    let user = state.users.by_name(username).await?;
    let hash = user.as_ref().map(|user| user.password_hash.as_str());
    Ok(state.passwords.verify(new, hash).await? != Verdict::Wrong)
}
