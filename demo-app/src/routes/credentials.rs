//! Checking a username and a password.

use std::{net::IpAddr, time::Duration};

use auth_layer::{SignIn, UserId};
use secrecy::SecretString;
use tokio::time::Instant;

use crate::{
    error::ApiError,
    password::{HashError, Verdict},
    state::AppState,
    users::User,
};

/// How long a refusal takes at least: longer than an argon2id hash of ours, or one of bcrypt at the costs that are in use.
pub(crate) const FAILURE_FLOOR: Duration = Duration::from_millis(400);

/// How long a try waits for others of its account or address.
const PATIENCE: Duration = Duration::from_millis(1_500);

/// A user whose password was right, with the sign-in that began before it was read.
pub(super) struct Known {
    pub(super) user: User,
    pub(super) sign_in: SignIn,
}

/// Checks a username and a password from this address.
///
/// Unknown user, wrong password and disabled user have one answer. Each costs the same reads and one hash, and comes no sooner than
/// [`FAILURE_FLOOR`], which covers that hashes brought along take longer or shorter than ours.
pub(super) async fn check(
    state: &AppState,
    username: &str,
    password: &SecretString,
    address: IpAddr,
) -> Result<Known, ApiError> {
    let begun = Instant::now();
    let checked = counted(state, username, password, address).await;
    if matches!(checked, Err(ApiError::InvalidCredentials)) {
        tokio::time::sleep_until(begun + FAILURE_FLOOR).await;
    }
    checked
}

/// The same, as soon as it is known. A try is counted before anything is read, and stays counted if the password was wrong.
async fn counted(
    state: &AppState,
    username: &str,
    password: &SecretString,
    address: IpAddr,
) -> Result<Known, ApiError> {
    let now = || state.started.elapsed();
    let limited = match &state.rate_limit {
        Some(limit) => {
            let begun = tokio::time::timeout(PATIENCE, limit.begin(username, address, now)).await;
            Some(begun.map_err(|_| HashError::Busy)?.map_err(ApiError::RateLimited)?)
        }
        None => None,
    };
    let user = state.users.by_name(username).await?;
    // Where there is no such user the fence of nobody is read, and the name again, as for everybody else.
    let id = user.map_or_else(UserId::generate, |user| user.user_id);
    let sign_in = state.authority.begin_sign_in(id).await?;
    // Read again: a password changed before the fence was read must not open a session after it.
    let user = state.users.by_name(username).await?.filter(|again| again.user_id == id);
    let verdict = state.passwords.verify(password, user.as_ref().map(|user| user.password_hash.as_str())).await?;
    match user {
        Some(user) if verdict != Verdict::Wrong && !sign_in.is_disabled() => {
            drop(limited);
            if verdict == Verdict::RightAndOutdated {
                upgrade(state, &user, password).await;
            }
            Ok(Known { user, sign_in })
        }
        _ => {
            if let Some(limited) = limited {
                limited.wrong(now());
            }
            Err(ApiError::InvalidCredentials)
        }
    }
}

/// Hashes a password anew whose hash is weaker than today's. A sign-in does not fail over it, and a password changed meanwhile
/// stays as it is.
async fn upgrade(state: &AppState, user: &User, password: &SecretString) {
    let upgraded = async {
        let hash = state.passwords.hash(password).await.ok()?;
        state.users.replace_hash(user, hash).await.ok()
    };
    match upgraded.await {
        Some(_) => tracing::info!(user_id = %user.user_id, "a password hash was brought up to date"),
        None => tracing::warn!(user_id = %user.user_id, "a password hash could not be brought up to date"),
    }
}
