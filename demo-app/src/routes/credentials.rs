//! Checks a user's password.

use std::{net::IpAddr, time::Duration};

use auth_layer::{SignIn, Subject, UserId};
use tokio::time::Instant;
use tracing::Instrument;

use super::signed_in::SignedIn;
use crate::{
    error::ApiError,
    password::{HashError, Password, Verdict},
    rate_limit::Try,
    state::AppState,
    users::{User, Users, UsersError},
};

/// The minimum time of a refusal: longer than our argon2id hash or bcrypt at usual costs.
pub(crate) const FAILURE_FLOOR: Duration = Duration::from_millis(400);

/// The longest wait for other tries of the account or address.
const PATIENCE: Duration = Duration::from_millis(1_500);

/// A user whose password was right, and the sign-in that began before the check.
pub(super) struct Known {
    pub(super) user: User,
    pub(super) sign_in: SignIn,
}

/// The account whose password is checked.
#[derive(Clone, Copy)]
enum Account<'a> {
    Named(&'a str),
    Of(&'a Subject),
}

impl Account<'_> {
    async fn read(self, users: &Users) -> Result<Option<User>, UsersError> {
        match self {
            Self::Named(username) => users.by_name(username).await,
            Self::Of(subject) => users.by_subject(subject).await,
        }
    }
}

/// Checks a username and a password from this address.
///
/// Unknown user, wrong password and disabled user get one answer, after the same reads and one
/// hash. It takes at least [`FAILURE_FLOOR`], which hides that imported hashes take longer or
/// shorter than ours.
pub(super) async fn check(
    state: &AppState,
    username: &str,
    password: &Password,
    address: IpAddr,
) -> Result<Known, ApiError> {
    not_too_soon(async {
        // Counted before anything is read.
        let attempt = begin_try(state, username, address).await?;
        let account = Account::Named(username);
        let user = account.read(&state.users).await?;
        decide(state, account, user, password, attempt).await
    })
    .await
}

/// Checks the current password of a signed-in user, under the limit of that user's sign-ins.
pub(super) async fn check_current(
    state: &AppState,
    caller: &SignedIn,
    password: &Password,
    address: IpAddr,
) -> Result<Known, ApiError> {
    not_too_soon(async {
        // The name in the token may belong to another user by now; the id does not.
        let account = Account::Of(&caller.claims.sub);
        let user = account.read(&state.users).await?;
        let username = user.as_ref().map_or(&caller.identity.username, |user| &user.username);
        let attempt = begin_try(state, username, address).await?;
        decide(state, account, user, password, attempt).await
    })
    .await
}

async fn not_too_soon(checking: impl Future<Output = Result<Known, ApiError>>) -> Result<Known, ApiError> {
    let begun = Instant::now();
    let checked = checking.await;
    if matches!(checked, Err(ApiError::InvalidCredentials)) {
        tokio::time::sleep_until(begun + FAILURE_FLOOR).await;
    }
    checked
}

async fn begin_try(state: &AppState, username: &str, address: IpAddr) -> Result<Option<Try>, ApiError> {
    let Some(limit) = &state.rate_limit else { return Ok(None) };
    let beginning = limit.begin(username, address, || state.started.elapsed());
    let begun = tokio::time::timeout(PATIENCE, beginning).await.map_err(|_| HashError::Busy)?;
    Ok(Some(begun.map_err(ApiError::RateLimited)?))
}

/// Decides about an account that was read as `user`.
async fn decide(
    state: &AppState,
    account: Account<'_>,
    user: Option<User>,
    password: &Password,
    attempt: Option<Try>,
) -> Result<Known, ApiError> {
    // Without a user, a random id's fence and the account are read, as for a real user.
    let id = user.map_or_else(UserId::generate, |user| user.user_id);
    let sign_in = state.authority.begin_sign_in(id).await?;
    // Read again: a password changed before the fence was read must not open a session.
    let user = account.read(&state.users).await?;
    let user = user.filter(|again| again.user_id == id && !sign_in.is_disabled());
    let held = user.as_ref().map(|user| (user.user_id, user.password_hash.as_str()));
    let verdict = state.passwords.verify(password, held, attempt).await?;
    match user {
        Some(user) if verdict != Verdict::Wrong => {
            if verdict == Verdict::RightAndOutdated {
                upgrade(state, &user, password).await;
            }
            Ok(Known { user, sign_in })
        }
        _ => Err(ApiError::InvalidCredentials),
    }
}

/// Replaces an outdated hash. A failure does not fail the sign-in, and a password changed meanwhile
/// stays. It runs to its end even if the client disconnects.
async fn upgrade(state: &AppState, user: &User, password: &Password) {
    let (state, user, password) = (state.clone(), user.clone(), password.clone());
    let upgrading = async move {
        let upgraded = async {
            let hash = state.passwords.hash(password.normalized()).await.ok()?;
            state.users.replace_hash(&user, hash, None).await.ok()
        };
        match upgraded.await {
            Some(_) => tracing::info!(user_id = %user.user_id, "a password hash was brought up to date"),
            None => tracing::warn!(user_id = %user.user_id, "a password hash could not be brought up to date"),
        }
    };
    if let Err(error) = tokio::spawn(upgrading.in_current_span()).await {
        tracing::error!(%error, "the renewal of a password hash broke off");
    }
}
