//! Handlers for accounts: register, `/me`, change the password.

use std::net::{IpAddr, SocketAddr};

use auth_layer::{Claims, SessionId, Subject, UserId};
use axum::{
    Json,
    extract::{ConnectInfo, State},
};
use garde::Validate;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use tracing::Instrument;
use utoipa::ToSchema;

use super::{credentials, signed_in::SignedIn};
use crate::{
    audit::{Audit, Event},
    body::{JsonBody, rule},
    error::ApiError,
    openapi,
    password::{Password, check_password},
    state::AppState,
    users::{AddOutcome, Role, User, check_username},
};

/// How often a change of password is tried when the hash was replaced meanwhile.
const MAX_CHANGE_ATTEMPTS: usize = 2;

#[derive(Debug, Deserialize, Validate, ToSchema)]
pub(crate) struct RegisterRequest {
    #[garde(custom(rule(check_username)))]
    #[schema(min_length = 3, max_length = 64, pattern = "^[A-Za-z0-9._-]+$")]
    username: String,
    #[garde(custom(rule(check_password)))]
    #[schema(value_type = String, format = Password, min_length = 8, max_length = 256)]
    password: Password,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct RegisterResponse {
    #[schema(value_type = String, format = Uuid)]
    user_id: UserId,
    username: String,
}

pub(crate) async fn register(
    State(state): State<AppState>,
    ConnectInfo(address): ConnectInfo<SocketAddr>,
    JsonBody(request): JsonBody<RegisterRequest>,
) -> Result<(StatusCode, Json<RegisterResponse>), ApiError> {
    let audit = Audit::begin(Event::Registration).address(address.ip()).claimed(&request.username);
    match add_user(&state, address.ip(), request).await {
        Ok(registered) => {
            audit.user(registered.user_id).granted();
            Ok((StatusCode::CREATED, Json(registered)))
        }
        Err(error) => {
            audit.conclude_error(&error);
            Err(error)
        }
    }
}

async fn add_user(
    state: &AppState,
    address: IpAddr,
    RegisterRequest { username, password }: RegisterRequest,
) -> Result<RegisterResponse, ApiError> {
    if let Some(limit) = &state.rate_limit {
        limit.count_registration(address, state.started.elapsed()).map_err(ApiError::RateLimited)?;
    }
    if state.users.by_name(&username).await?.is_some() {
        return Err(ApiError::UsernameTaken);
    }
    let hash = state.passwords.hash_for_registration(password.normalized()).await?;
    let user = User::new(username.clone(), hash, Role::User);
    let user_id = user.user_id;
    match state.users.add(user).await? {
        AddOutcome::Added => Ok(RegisterResponse { user_id, username }),
        AddOutcome::Taken => Err(ApiError::UsernameTaken),
    }
}

#[derive(Serialize, ToSchema)]
pub(crate) struct MeResponse {
    #[schema(value_type = String, format = Uuid)]
    user_id: Subject,
    username: String,
    #[schema(value_type = openapi::TokenClaims)]
    claims: Claims,
}

/// Returns the caller. The name is a claim, so no user is read.
pub(crate) async fn me(SignedIn { identity, claims, .. }: SignedIn) -> Json<MeResponse> {
    Json(MeResponse { user_id: claims.sub.clone(), username: identity.username.clone(), claims })
}

#[derive(Debug, Deserialize, Validate, ToSchema)]
pub(crate) struct ChangePasswordRequest {
    #[garde(skip)]
    #[schema(value_type = String, format = Password)]
    current_password: Password,
    #[garde(custom(rule(check_password)))]
    #[schema(value_type = String, format = Password, min_length = 8, max_length = 256)]
    new_password: Password,
}

/// Changes the password and ends the user's other sessions.
///
/// The new hash is written first, then the sessions end. If they could not be ended the answer is
/// 503, and the same session can repeat the request: see [`is_repeated_change`].
pub(crate) async fn change_password(
    State(state): State<AppState>,
    ConnectInfo(address): ConnectInfo<SocketAddr>,
    caller: SignedIn,
    JsonBody(request): JsonBody<ChangePasswordRequest>,
) -> Result<StatusCode, ApiError> {
    let mut audit = caller.audit(Event::PasswordChange, address.ip());
    for _ in 0..MAX_CHANGE_ATTEMPTS {
        match prepare_change(&state, &caller, &request, address.ip()).await {
            Ok(Change::Repeated) => {
                let ended = state.authority.revoke_user(&caller.claims.sub, Some(caller.session_id)).await;
                return audit.conclude(ended.map(|()| StatusCode::NO_CONTENT).map_err(ApiError::from));
            }
            Ok(Change::New { user, hash }) => {
                match replace_password(&state, *user, hash, caller.session_id, audit).await? {
                    None => return Ok(StatusCode::NO_CONTENT),
                    // The hash changed since it was read. A new password makes the current one wrong;
                    // after a mere upgrade of the hash, the second round finds it right.
                    Some(again) => audit = again,
                }
            }
            Err(error) => return audit.conclude(Err(error)),
        }
    }
    audit.conclude(Err(ApiError::unavailable()))
}

/// What a change of password still has to do.
enum Change {
    /// The hash is to be replaced.
    New { user: Box<User>, hash: String },
    /// This session has changed it before. The other sessions may not all have ended.
    Repeated,
}

async fn prepare_change(
    state: &AppState,
    caller: &SignedIn,
    ChangePasswordRequest { current_password: current, new_password: new }: &ChangePasswordRequest,
    address: IpAddr,
) -> Result<Change, ApiError> {
    let verified = match credentials::check_current(state, caller, current, address).await {
        Err(ApiError::InvalidCredentials) if is_repeated_change(state, caller, new, address).await? => {
            return Ok(Change::Repeated);
        }
        checked => checked?,
    };
    let hash = state.passwords.hash(new.normalized()).await?;
    Ok(Change::New { user: Box::new(verified.user), hash })
}

/// Replaces the hash, ends the other sessions and writes the audit event. Gives `audit` back if the
/// hash has changed.
///
/// All happens even if the client disconnects: sessions must not survive that the user believes
/// ended.
async fn replace_password(
    state: &AppState,
    user: User,
    hash: String,
    session: SessionId,
    audit: Audit,
) -> Result<Option<Audit>, ApiError> {
    let state = state.clone();
    let replacing = async move {
        let replaced = async {
            let replaced = state.users.replace_hash(&user, hash, Some(session)).await?;
            if replaced {
                state.authority.revoke_user(user.user_id, Some(session)).await?;
            }
            Ok::<_, ApiError>(replaced)
        };
        match replaced.await {
            Ok(false) => Ok(Some(audit)),
            done => audit.conclude(done).map(|_| None),
        }
    };
    tokio::spawn(replacing.in_current_span()).await.unwrap_or_else(|error| {
        tracing::error!(%error, "the task that changes a password failed; answered 500");
        Err(ApiError::Internal)
    })
}

/// Returns whether this session made the same change before and perhaps failed to end the other
/// sessions.
///
/// The new password is checked, as an attempt, only in the session that last changed the password.
/// For all others a wrong current password reveals nothing about the new one.
async fn is_repeated_change(
    state: &AppState,
    caller: &SignedIn,
    new: &Password,
    address: IpAddr,
) -> Result<bool, ApiError> {
    let user = state.users.by_subject(&caller.claims.sub).await?;
    if user.is_none_or(|user| user.password_changed_in != Some(caller.session_id)) {
        return Ok(false);
    }
    match credentials::check_current(state, caller, new, address).await {
        Ok(_) => Ok(true),
        // The refused password is the current one.
        Err(ApiError::InvalidCredentials | ApiError::RateLimited(_)) => Ok(false),
        Err(error) => Err(error),
    }
}
