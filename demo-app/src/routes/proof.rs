//! Proofs of possession at the endpoints that issue tokens (RFC 9449 §5).

use auth_layer::dpop::{NONCE_HEADER, Proof, ProofFault};
use axum::{
    extract::{FromRequestParts, State},
    response::Response,
};
use http::request::Parts;

use crate::{error::ApiError, state::AppState};

/// The proof of a request; `None` if it has none and needs none, or if `--dpop` is off.
pub(crate) struct SentProof(pub(crate) Option<Proof>);

impl FromRequestParts<AppState> for SentProof {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, ApiError> {
        Ok(Self(read(state, parts)?))
    }
}

/// Verifies the proof of a request that issues tokens.
pub(super) fn read(state: &AppState, request: &Parts) -> Result<Option<Proof>, ProofFault> {
    let Some(proofs) = &state.oauth.proofs else { return Ok(None) };
    //= RFC 9449 §5
    proofs.read(&request.method, request.uri.path(), &request.headers, state.clock.now())
}

/// Verifies the proof of a request that issues nothing, if it has one.
pub(super) fn check_if_sent(state: &AppState, request: &Parts) -> Result<(), ProofFault> {
    match read(state, request) {
        Err(ProofFault::Missing) => Ok(()),
        read => read.map(drop),
    }
}

/// Adds the nonce for the next proof to a response, where nonces are demanded.
pub(crate) async fn offer_nonce(State(state): State<AppState>, mut response: Response) -> Response {
    let nonce = state.oauth.proofs.as_ref().and_then(|proofs| proofs.nonce(state.clock.now()));
    //= RFC 9449 §8.2
    if let Some(nonce) = nonce {
        response.headers_mut().insert(NONCE_HEADER, nonce.to_header_value());
    }
    response
}
