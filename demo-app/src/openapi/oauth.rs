//! The operations of the authorization server.

use auth_layer::oauth::TokenErrorKind;
use http::StatusCode;
use serde_json::json;

use super::{
    OAUTH,
    endpoint::{Endpoint, Method, endpoints},
    operation::{Operation, rate_limited},
    schemas::{
        IntrospectionResponse, SignInForm, TokenForm, TokenLookupForm, TokenResponse, claims_example, matching, one_of,
        text,
    },
    session::tokens,
};
use crate::{
    error::ApiError,
    oauth::{AUTHORIZE, INTROSPECT, REVOKE, TOKEN},
};

endpoints! {
    OAUTH_ENDPOINTS;

    SHOW_SIGN_IN = Get AUTHORIZE => authorize;
    SUBMIT_SIGN_IN = Post AUTHORIZE => submit_sign_in;
    ISSUE_TOKEN = Post TOKEN => issue_token;
    REVOKE_TOKEN = Post REVOKE => revoke_token;
    INTROSPECT_TOKEN = Post INTROSPECT => introspect_token;
}

fn authorize() -> Operation {
    authorization_request("Shows the sign-in page (RFC 6749 §4.1.1)")
        .detail("For browsers. All clients use PKCE (RFC 7636). The page always asks for the password.")
        .answers_text("text/html", "The sign-in page")
        .with_header("Set-Cookie", "Binds the page's form to the browser")
        .answers_empty(
            StatusCode::SEE_OTHER,
            "The request cannot be granted: `error`, `state` and `iss` for the client (RFC 6749 §4.1.2.1)",
        )
        .with_header("Location", "The redirect URI with the error")
}

fn submit_sign_in() -> Operation {
    authorization_request("Takes the form of the sign-in page")
        .detail("For the page itself. The query is that of the page.")
        .form::<SignInForm>([(
            "sign in",
            json!({ "username": "ada", "password": "correct horse", "csrf_token": "Yb3v…" }),
        )])
        .answers_empty(
            StatusCode::SEE_OTHER,
            "Back to the client, with `code` or `error`, and with `state` and `iss` (RFC 6749 §4.1.2, RFC 9207)",
        )
        .with_header("Location", "The redirect URI with the answer")
        .fails([ApiError::InvalidCredentials, ApiError::Csrf, ApiError::UnsupportedMediaType, rate_limited()])
}

/// Begins an operation that takes an authorization request. Its errors are for the user, because a
/// redirect is not safe.
fn authorization_request(summary: &str) -> Operation {
    Operation::new(OAUTH, summary)
        .required_query("response_type", one_of(&["code"]), "What is asked for")
        .required_query("client_id", text(), "The client")
        .required_query("code_challenge", matching("^[A-Za-z0-9_-]{43}$"), "The code challenge (RFC 7636 §4.2)")
        .required_query("code_challenge_method", one_of(&["S256"]), "How the challenge was made")
        .query("redirect_uri", text(), "One of the client's; required if the client has several")
        .query("state", text(), "Comes back to the client as it is")
        .query("scope", text(), "What is asked for; what the client may have if it is left out")
        .query("resource", text(), "The audience of the token (RFC 8707)")
        .fails_with_pages()
        .fails([ApiError::InvalidRequest("The client or its redirect URI is unknown, or the request is malformed")])
}

fn issue_token() -> Operation {
    Operation::new(OAUTH, "Issues tokens for a grant (RFC 6749 §3.2)")
        .client()
        .proof("Binds the tokens to the proof's key (RFC 9449).")
        .form::<TokenForm>([
            (
                "code",
                json!({
                    "grant_type": "authorization_code",
                    "client_id": "shop",
                    "code": "Yb3v…",
                    "redirect_uri": "http://127.0.0.1:8080/cb",
                    "code_verifier": "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",
                }),
            ),
            (
                "refresh token",
                json!({ "grant_type": "refresh_token", "client_id": "shop", "refresh_token": "eyJ0eXAi…" }),
            ),
            ("client credentials", json!({ "grant_type": "client_credentials", "scope": "profile" })),
        ])
        .answers::<TokenResponse>(StatusCode::OK, "The tokens", tokens(true))
        .fails(
            [
                TokenErrorKind::InvalidRequest,
                TokenErrorKind::InvalidGrant,
                TokenErrorKind::UnauthorizedClient,
                TokenErrorKind::UnsupportedGrantType,
                TokenErrorKind::InvalidScope,
                TokenErrorKind::InvalidTarget,
            ]
            .map(ApiError::from),
        )
        .fails([rate_limited()])
}

fn revoke_token() -> Operation {
    Operation::new(OAUTH, "Revokes a token of the client (RFC 7009)")
        .detail(
            "A refresh token takes its session with it. A token that is unknown or already revoked gets the same \
             answer. A proof is not needed, but one that is sent must be good.",
        )
        .client()
        .proof("A proof of possession (RFC 9449).")
        .form::<TokenLookupForm>([("revoke", json!({ "token": "eyJ0eXAi…", "client_id": "shop" }))])
        .answers_empty(StatusCode::OK, "The token is not accepted any more")
        .fails([TokenErrorKind::InvalidRequest.into(), TokenErrorKind::InvalidGrant.into(), rate_limited()])
}

fn introspect_token() -> Operation {
    let mut active = claims_example();
    active["active"] = true.into();
    active["token_type"] = "Bearer".into();
    Operation::new(OAUTH, "Says whether a token is good, and what it says (RFC 7662)")
        .detail("A client may ask about any access token, and about its own refresh tokens.")
        .confidential_client()
        .form::<TokenLookupForm>([("introspect", json!({ "token": "eyJ0eXAi…" }))])
        .answers::<IntrospectionResponse>(StatusCode::OK, "What the token says", active)
        .fails([TokenErrorKind::InvalidRequest.into(), rate_limited()])
}
