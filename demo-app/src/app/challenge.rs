//! Completes the challenges of this service, whether a layer refuses or a handler.
//!
//! Handlers refuse sign-ins and refreshes, and tokens that a layer has let in. They know neither
//! where the metadata is nor whether proofs are taken.

use std::sync::LazyLock;

use auth_layer::{dpop::ALGORITHMS, keys::Algorithm};
use axum::response::Response;
use http::{
    HeaderMap, HeaderValue,
    header::{AUTHORIZATION, WWW_AUTHENTICATE},
};

use crate::{error::REALM, oauth::OAuth};

static REALM_PARAMETER: LazyLock<String> = LazyLock::new(|| format!(r#" realm="{REALM}""#));
static ALGORITHMS_PARAMETER: LazyLock<String> =
    LazyLock::new(|| format!(r#", algs="{}""#, ALGORITHMS.map(Algorithm::as_str).join(" ")));

/// Makes a challenge name the protected resource's metadata, and ask for a proof where a layer does.
pub(super) fn complete(mut response: Response, oauth: &OAuth, asks_for_proof: bool) -> Response {
    if let Some(challenge) = response.headers_mut().get_mut(WWW_AUTHENTICATE)
        && let Some(complete) = completed(challenge, oauth, asks_for_proof)
    {
        *challenge = complete;
    }
    response
}

/// Returns whether the challenge for a request is for the scheme `DPoP`, in place of `Bearer`.
pub(super) fn asks_for_proof(oauth: &OAuth, headers: &HeaderMap) -> bool {
    let names_dpop = |value: &HeaderValue| {
        let scheme = value.as_bytes().split(|byte| *byte == b' ').next();
        scheme.is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"dpop"))
    };
    oauth
        .proofs
        .as_ref()
        .is_some_and(|proofs| proofs.is_required() || headers.get(AUTHORIZATION).is_some_and(names_dpop))
}

/// Every challenge here begins with a scheme and our realm, and a layer's with its `algs`.
fn completed(challenge: &HeaderValue, oauth: &OAuth, asks_for_proof: bool) -> Option<HeaderValue> {
    let (realm, algorithms) = (REALM_PARAMETER.as_str(), ALGORITHMS_PARAMETER.as_str());
    let (scheme, parameters) = challenge.to_str().ok()?.split_once(realm)?;
    let parameters = parameters.strip_prefix(algorithms).unwrap_or(parameters);
    //= RFC 9449 §7.1
    let (scheme, algorithms) = match scheme {
        "Bearer" if asks_for_proof => ("DPoP", algorithms),
        "DPoP" => (scheme, algorithms),
        _ => (scheme, ""),
    };
    //= RFC 9728 §5.1
    let metadata = oauth.resource_metadata.as_ref().map(|url| format!(r#", resource_metadata="{}""#, url.as_str()));
    HeaderValue::try_from([scheme, realm, algorithms, &metadata.unwrap_or_default(), parameters].concat()).ok()
}
