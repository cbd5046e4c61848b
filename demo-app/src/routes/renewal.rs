//! Refreshes sessions with the role and the name that the user has by now.

use std::{error::Error, net::IpAddr};

use auth_layer::{
    GrantFault, IssuedPair, RefreshError, TokenFault,
    authority::{RefreshRequest, Renewal},
    claims::CustomClaimsError,
    oauth::Client,
    store::{Session, StoreError},
};

use crate::{
    audit::{Audit, Event},
    state::{AppState, Identity},
    users::UsersError,
};

/// Why there is no next pair.
#[derive(Debug, thiserror::Error)]
enum RenewalError {
    #[error("the user cannot be read")]
    Users(#[from] UsersError),
    #[error("the user is gone, or nothing of the session's scope is left")]
    NothingLeft,
    #[error("the name cannot be put into a token")]
    Claims(#[from] CustomClaimsError),
}

/// Exchanges a refresh token of this client.
///
/// The next pair has the user's present name. Scope that the user's role or the client may no
/// longer have is gone for good.
///
/// A refusal is an audit event. `request` must be for `token`; `address` is where it came from.
pub(super) async fn refresh(
    state: &AppState,
    client: &Client,
    token: &str,
    request: RefreshRequest<'_>,
    address: IpAddr,
) -> Result<IssuedPair, RefreshError> {
    let request = request.client(client.id());
    let refreshed = match state.authority.refresh_with(request, |session| renew(state, client, session)).await {
        Err(RefreshError::Claims(cause)) => Err(refresh_error(cause)),
        refreshed => refreshed,
    };
    if let Err(error) = &refreshed {
        audit_refusal(state, token, address, error);
    }
    refreshed
}

async fn renew(state: &AppState, client: &Client, session: Session) -> Result<Renewal, RenewalError> {
    let user = state.users.by_subject(&session.user_id).await?.ok_or(RenewalError::NothingLeft)?;
    // Without a request, a client has all that it may have.
    let of_client = client.scope_for(None).unwrap_or_default();
    let most = user.role.scope().intersection(&of_client);
    if session.scope().intersection(&most).is_empty() {
        return Err(RenewalError::NothingLeft);
    }
    Ok(Renewal::new().custom(&Identity { username: user.username })?.at_most(most))
}

/// Tells an outage and the end of a session from a defect.
fn refresh_error(cause: Box<dyn Error + Send + Sync>) -> RefreshError {
    match cause.downcast::<RenewalError>().map(|error| *error) {
        Ok(RenewalError::Users(error)) => {
            RefreshError::Unavailable(StoreError::unavailable("the user of a session cannot be read", error))
        }
        Ok(RenewalError::NothingLeft) => RefreshError::InvalidGrant(GrantFault::SessionOver),
        Ok(RenewalError::Claims(error)) => RefreshError::Claims(error.into()),
        Err(cause) => RefreshError::Claims(cause),
    }
}

/// Writes the audit event of a refusal. An outage refuses nothing.
fn audit_refusal(state: &AppState, token: &str, address: IpAddr, error: &RefreshError) {
    let (event, reason, is_signed) = match error {
        RefreshError::InvalidGrant(GrantFault::Reused) => (Event::RefreshReuse, GrantFault::Reused.to_string(), true),
        RefreshError::InvalidGrant(GrantFault::Token(fault)) => {
            let is_signed = matches!(fault, TokenFault::Unknown | TokenFault::Revoked | TokenFault::Mismatch);
            (Event::Refresh, fault.to_string(), is_signed)
        }
        RefreshError::InvalidGrant(fault) => (Event::Refresh, fault.to_string(), true),
        RefreshError::Proof(fault) => (Event::Refresh, fault.to_string(), true),
        RefreshError::Scope | RefreshError::Target => (Event::Refresh, error.to_string(), true),
        _ => return,
    };
    // What a forged token says is nobody's word.
    let owner = is_signed.then(|| state.authority.owner_of(token)).flatten();
    let audit = Audit::begin(event).address(address);
    let audit = match owner {
        Some(owner) => audit.user(&owner.user_id).session(owner.session_id).client(&owner.client_id),
        None => audit,
    };
    audit.refused(reason);
}
