//! Checking a username and a password.

use std::net::IpAddr;

use auth_layer::SignIn;
use secrecy::SecretString;

use crate::{error::ApiError, password::Verdict, state::AppState, users::User};

/// A user whose password was right, with the sign-in that began before it was read.
pub(super) struct Known {
    pub(super) user: User,
    pub(super) sign_in: SignIn,
}

/// Checks a username and a password from this address.
///
/// Unknown user, wrong password and disabled user have one answer, and each costs one hash.
pub(super) async fn check(
    state: &AppState,
    username: &str,
    password: &SecretString,
    address: IpAddr,
) -> Result<Known, ApiError> {
    let now = || state.started.elapsed();
    if let Some(limit) = &state.rate_limit
        && let Some(wait) = limit.wait(username, address, now())
    {
        return Err(ApiError::RateLimited(wait));
    }
    let known = match state.users.by_name(username).await? {
        Some(user) => {
            let sign_in = state.authority.begin_sign_in(user.user_id).await?;
            // Read again: a password changed before the fence was read must not open a session after it.
            let user = state.users.by_name(username).await?.filter(|again| again.user_id == user.user_id);
            user.map(|user| Known { user, sign_in })
        }
        None => None,
    };
    let hash = known.as_ref().map(|known| known.user.password_hash.as_str());
    let verdict = state.passwords.verify(password, hash).await?;
    match known {
        Some(known) if verdict != Verdict::Wrong && !known.sign_in.is_disabled() => {
            if verdict == Verdict::RightAndOutdated {
                upgrade(state, &known.user, password).await;
            }
            Ok(known)
        }
        _ => {
            if let Some(limit) = &state.rate_limit {
                limit.count(username, address, now());
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
