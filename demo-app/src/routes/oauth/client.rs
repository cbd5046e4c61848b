//! Finds and authenticates the client of a request (RFC 6749 §2.3).

use std::{net::IpAddr, sync::Arc};

use auth_layer::oauth::{Client, ClientAuthentication, TokenErrorKind};

use super::error::OAuthError;
use crate::{clients::FIRST_PARTY, error::ApiError, state::AppState};

/// Returns the client that sent a request, the built-in one if it names none.
///
/// # Errors
///
/// `invalid_client` if the client is unknown or did not authenticate as it must, 429 if too many
/// secrets from this address were wrong.
pub(super) async fn authenticate(
    state: &AppState,
    address: IpAddr,
    sent: &ClientAuthentication,
) -> Result<Arc<Client>, OAuthError> {
    let built_in;
    let sent = match sent {
        ClientAuthentication::None => {
            built_in = ClientAuthentication::Public { client_id: FIRST_PARTY.to_owned() };
            &built_in
        }
        sent => sent,
    };
    let found = state.clients.find(sent.client_id().unwrap_or(FIRST_PARTY)).await?;
    let limit = state.rate_limit.as_ref().filter(|_| sent.secret().is_some());
    //= RFC 6749 §2.3.1
    if let Some(limit) = limit {
        limit.check_client_secrets(address, state.started.elapsed()).map_err(ApiError::RateLimited)?;
    }
    //= RFC 6749 §3.2.1
    if let Some(client) = found
        && client.authenticate(sent).is_ok()
    {
        return Ok(client);
    }
    if let Some(limit) = limit {
        limit.count_client_secret(address, state.started.elapsed());
    }
    Err(TokenErrorKind::InvalidClient.into())
}
