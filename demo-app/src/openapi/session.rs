//! The operations on sessions and single-use tokens.

use http::StatusCode;
use serde_json::{Value, json};

use super::{
    SESSIONS, SINGLE_USE,
    endpoint::{Endpoint, Method, endpoints},
    operation::{Operation, rate_limited},
    schemas::{TokenResponse, USER_ID, one_of, uuid},
};
use crate::{
    error::ApiError,
    routes::{
        session::{CookieResponse, LoginRequest, RefreshRequest, SessionResponse},
        single_use::SpendResponse,
    },
};

endpoints! {
    SESSION_ENDPOINTS;

    LOGIN = Post "/auth/login" => login;
    REFRESH = Post "/auth/refresh" => refresh;
    LOGOUT = Post "/auth/logout" => logout;
    LOGOUT_ALL = Post "/auth/logout-all" => logout_all;
    LIST_SESSIONS = Get "/auth/sessions" => list_sessions;
    END_SESSION = Delete "/auth/sessions/{session_id}" => end_session;
    ISSUE_SINGLE_USE = Post "/auth/single-use" => issue_single_use;
    SPEND_SINGLE_USE = Post "/demo/single-use" => spend_single_use;
    EVENTS = Get "/demo/events" => events;
}

const SET_COOKIE: (&str, &str) =
    ("Set-Cookie", "With cookies: `__Host-access` and `__Host-refresh`, both HttpOnly, Secure and SameSite=Lax");
const CLEARED_COOKIE: (&str, &str) = ("Set-Cookie", "Removes the cookies, if the request carries them");

fn login() -> Operation {
    Operation::new(SESSIONS, "Signs a user in")
        .detail(
            "The tokens are in the body, or with `transport=cookie` in two cookies. An unknown user and a wrong \
             password get one answer, no sooner than after 400 ms.",
        )
        .query("transport", one_of(&["cookie"]), "Puts the tokens into cookies, for a page of this service")
        .proof("Binds the tokens to the proof's key (RFC 9449). It excludes cookies.")
        .json::<LoginRequest>(json!({ "username": "ada", "password": "correct horse", "scope": "profile" }))
        .answers_either::<TokenResponse, CookieResponse>(
            "The user is signed in",
            [("tokens", tokens(true)), ("cookies", csrf_token())],
        )
        .with_header(SET_COOKIE.0, SET_COOKIE.1)
        .fails([
            ApiError::InvalidCredentials,
            ApiError::InvalidScope,
            ApiError::InvalidRequest("The query's `transport` must be `cookie`, or be left out"),
            rate_limited(),
        ])
}

fn refresh() -> Operation {
    Operation::new(SESSIONS, "Exchanges a refresh token for the next pair")
        .detail(
            "A repeat within the grace window (10 s by default) gets the same pair. Any other second use ends the \
             session.",
        )
        .refresh_token()
        .proof("The proof by the key that the refresh token is bound to (RFC 9449).")
        .json::<RefreshRequest>(json!({ "refresh_token": "eyJ0eXAi…" }))
        .optional_body("With cookies, there must be none.")
        .answers_either::<TokenResponse, CookieResponse>(
            "The next pair",
            [("tokens", tokens(true)), ("cookies", csrf_token())],
        )
        .with_header(SET_COOKIE.0, SET_COOKIE.1)
        .fails([ApiError::InvalidRequest("The request has our cookies, so it must have no body")])
}

fn logout() -> Operation {
    Operation::new(SESSIONS, "Ends the session of the token")
        .first_party_token()
        .answers_empty(StatusCode::NO_CONTENT, "No token of the session is accepted any more")
        .with_header(CLEARED_COOKIE.0, CLEARED_COOKIE.1)
}

fn logout_all() -> Operation {
    Operation::new(SESSIONS, "Ends all sessions of the user")
        .first_party_token()
        .answers_empty(StatusCode::NO_CONTENT, "No token of the user is accepted any more")
        .with_header(CLEARED_COOKIE.0, CLEARED_COOKIE.1)
}

fn list_sessions() -> Operation {
    Operation::new(SESSIONS, "Lists the user's sessions").first_party_token().answers_list::<SessionResponse>(
        "The sessions",
        json!([{
            "session_id": USER_ID,
            "created_at": "2026-11-30T09:00:00.000Z",
            "last_used_at": "2026-11-30T09:10:00.000Z",
            "expires_at": "2026-12-30T09:10:00.000Z",
            "user_agent": "curl/8.5.0",
            "current": true,
        }]),
    )
}

fn end_session() -> Operation {
    Operation::new(SESSIONS, "Ends a session of the user")
        .detail("A session that has ended is ended again, so a request may be repeated after a 503.")
        .first_party_token()
        .in_path("session_id", uuid(), "The session")
        .answers_empty(StatusCode::NO_CONTENT, "No token of the session is accepted any more")
        .with_header(CLEARED_COOKIE.0, CLEARED_COOKIE.1)
        .fails([ApiError::NotFound])
}

fn issue_single_use() -> Operation {
    Operation::new(SINGLE_USE, "Issues a token for one request").first_party_token().answers::<TokenResponse>(
        StatusCode::CREATED,
        "The token, good for at most a minute",
        tokens(false),
    )
}

fn spend_single_use() -> Operation {
    Operation::new(SINGLE_USE, "Spends a single-use token")
        .detail("The first request succeeds; all others get 401, on each node.")
        .single_use_token()
        .answers::<SpendResponse>(
            StatusCode::OK,
            "The token is spent",
            json!({ "user_id": USER_ID, "username": "ada" }),
        )
        .fails([ApiError::NotAUser])
}

fn events() -> Operation {
    Operation::new(SESSIONS, "Streams events until the session ends")
        .detail(
            "Server-sent events: `tick` with the `time` each second, and at last `end` with a `reason`: `revoked`, \
             `expired`, `unavailable` or `stopping`. A user may have 100 streams open on a node.",
        )
        .access_token(&[])
        .answers_text("text/event-stream", "The events")
        .fails([ApiError::NotAUser, ApiError::TooManyStreams])
}

/// An example of a token response.
pub(super) fn tokens(with_refresh_token: bool) -> Value {
    let mut tokens =
        json!({ "access_token": "eyJ0eXAi…", "token_type": "Bearer", "expires_in": 900, "scope": "profile" });
    if with_refresh_token {
        tokens["refresh_token"] = "eyJ0eXAi…".into();
    } else {
        tokens["expires_in"] = 60.into();
    }
    tokens
}

fn csrf_token() -> Value {
    json!({ "csrf_token": "q1vB…", "expires_in": 900 })
}
