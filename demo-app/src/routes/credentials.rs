//! Checks a user's password, and signs the user in.

use std::{net::IpAddr, time::Duration};

use auth_layer::{
    Grant, IssuedPair, Scope, SignIn, SignInError, Subject, UserId,
    dpop::{Proof, ProofFault},
};
use http::{HeaderMap, header};
use tokio::time::Instant;
use tracing::Instrument;

use super::signed_in::SignedIn;
use crate::{
    error::ApiError,
    password::{HashError, Password, PasswordCheck},
    rate_limit::Attempt,
    state::{AppState, Identity},
    users::{User, Users, UsersError},
};

/// The minimum time of a refusal: longer than our argon2id hash or bcrypt at usual costs.
pub(crate) const FAILURE_FLOOR: Duration = Duration::from_millis(400);

/// The longest wait for other attempts of the account or address.
const ATTEMPT_TIMEOUT: Duration = Duration::from_millis(1_500);

/// The maximum length of a stored `User-Agent`, in characters.
const MAX_USER_AGENT_LENGTH: usize = 256;

/// How often a sign-in that a revocation overtook is tried.
const MAX_SIGN_IN_ATTEMPTS: usize = 3;

/// A user whose password was right, and the sign-in that began before the check.
pub(super) struct VerifiedUser {
    pub(super) user: User,
    pub(super) sign_in: SignIn,
}

/// The account whose password is checked.
#[derive(Clone, Copy)]
enum AccountRef<'a> {
    Username(&'a str),
    Subject(&'a Subject),
}

impl AccountRef<'_> {
    async fn read(self, users: &Users) -> Result<Option<User>, UsersError> {
        match self {
            Self::Username(username) => users.by_name(username).await,
            Self::Subject(subject) => users.by_subject(subject).await,
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
) -> Result<VerifiedUser, ApiError> {
    with_failure_floor(async {
        // Counted before anything is read.
        let attempt = begin_attempt(state, username, address).await?;
        let account = AccountRef::Username(username);
        let user = account.read(&state.users).await?;
        verify_account(state, account, user, password, attempt).await
    })
    .await
}

/// Signs in the user of this name and password, with what `grant` returns.
///
/// Begins again if a revocation of all comes in between, perhaps for a new password.
pub(super) async fn sign_in(
    state: &AppState,
    (username, password): (&str, &Password),
    address: IpAddr,
    proof: Option<&Proof>,
    grant: impl Fn(&User) -> Result<Grant, ApiError>,
) -> Result<IssuedPair, ApiError> {
    for attempt in 0..MAX_SIGN_IN_ATTEMPTS {
        let VerifiedUser { user, sign_in } = check(state, username, password, address).await?;
        let grant = proof.into_iter().fold(grant(&user)?, Grant::bound_to);
        match state.authority.sign_in(sign_in, grant).await {
            Err(SignInError::Fenced) => {}
            // The attempt before used the proof up, and the client must make another.
            Err(SignInError::Proof(ProofFault::Replayed)) if attempt > 0 => break,
            signed_in => return Ok(signed_in?),
        }
    }
    Err(ApiError::unavailable())
}

/// Returns what a session of this user is opened with, from the device of this request.
pub(super) fn grant(user: &User, client_id: &str, scope: Scope, headers: &HeaderMap) -> Result<Grant, ApiError> {
    let grant = Grant::new(client_id).scope(scope).custom(&Identity { username: user.username.clone() });
    let grant = grant.map_err(SignInError::from)?;
    let Some(user_agent) = headers.get(header::USER_AGENT) else { return Ok(grant) };
    let user_agent = String::from_utf8_lossy(user_agent.as_bytes());
    Ok(grant.user_agent(user_agent.chars().take(MAX_USER_AGENT_LENGTH).collect::<String>()))
}

/// Checks the current password of a signed-in user, under the limit of that user's sign-ins.
pub(super) async fn check_current(
    state: &AppState,
    caller: &SignedIn,
    password: &Password,
    address: IpAddr,
) -> Result<VerifiedUser, ApiError> {
    with_failure_floor(async {
        // The name in the token may belong to another user by now; the id does not.
        let account = AccountRef::Subject(&caller.claims.sub);
        let user = account.read(&state.users).await?;
        let username = user.as_ref().map_or(&caller.identity.username, |user| &user.username);
        let attempt = begin_attempt(state, username, address).await?;
        verify_account(state, account, user, password, attempt).await
    })
    .await
}

async fn with_failure_floor(
    checking: impl Future<Output = Result<VerifiedUser, ApiError>>,
) -> Result<VerifiedUser, ApiError> {
    let begun = Instant::now();
    let checked = checking.await;
    if matches!(checked, Err(ApiError::InvalidCredentials)) {
        tokio::time::sleep_until(begun + FAILURE_FLOOR).await;
    }
    checked
}

async fn begin_attempt(state: &AppState, username: &str, address: IpAddr) -> Result<Option<Attempt>, ApiError> {
    let Some(limit) = &state.rate_limit else { return Ok(None) };
    let beginning = limit.begin(username, address, || state.started.elapsed());
    let begun = tokio::time::timeout(ATTEMPT_TIMEOUT, beginning).await.map_err(|_| HashError::Busy)?;
    Ok(Some(begun.map_err(ApiError::RateLimited)?))
}

/// Decides about an account that was read as `user`.
async fn verify_account(
    state: &AppState,
    account: AccountRef<'_>,
    user: Option<User>,
    password: &Password,
    attempt: Option<Attempt>,
) -> Result<VerifiedUser, ApiError> {
    // Without a user, a random id's fence and the account are read, as for a real user.
    let id = user.map_or_else(UserId::generate, |user| user.user_id);
    let sign_in = state.authority.begin_sign_in(id).await?;
    // Read again: a password changed before the fence was read must not open a session.
    let user = account.read(&state.users).await?;
    let user = user.filter(|again| again.user_id == id && !sign_in.is_disabled());
    let stored_hash = user.as_ref().map(|user| (user.user_id, user.password_hash.as_str()));
    let check = state.passwords.verify(password, stored_hash, attempt).await?;
    match user {
        Some(user) if check != PasswordCheck::Wrong => {
            if check == PasswordCheck::RightAndOutdated {
                upgrade_hash(state, &user, password).await;
            }
            Ok(VerifiedUser { user, sign_in })
        }
        _ => Err(ApiError::InvalidCredentials),
    }
}

/// Replaces an outdated hash. A failure does not fail the sign-in, and a password changed meanwhile
/// stays. It runs to its end even if the client disconnects.
async fn upgrade_hash(state: &AppState, user: &User, password: &Password) {
    let (state, user, password) = (state.clone(), user.clone(), password.clone());
    let upgrading = async move {
        let upgraded = async {
            let hash = state.passwords.hash(password.normalized()).await.ok()?;
            state.users.replace_hash(&user, hash, None).await.ok()
        };
        match upgraded.await {
            Some(true) => tracing::info!(user_id = %user.user_id, "an outdated password hash was replaced"),
            Some(false) => tracing::info!(
                user_id = %user.user_id,
                "an outdated password hash was not replaced: it changed meanwhile"
            ),
            None => tracing::warn!(
                user_id = %user.user_id,
                "replacing an outdated password hash failed; the next sign-in retries"
            ),
        }
    };
    if let Err(error) = tokio::spawn(upgrading.in_current_span()).await {
        tracing::error!(%error, "the task that replaces a password hash failed");
    }
}
