//! The credentials that the API takes.

use utoipa::openapi::security::{
    ApiKey, ApiKeyValue, AuthorizationCode, ClientCredentials, Flow, HttpAuthScheme, HttpBuilder, OAuth2, Scopes,
    SecurityRequirement, SecurityScheme,
};

use crate::{
    cookies,
    oauth::{AUTHORIZE, TOKEN},
    users::Role,
};

const BEARER: &str = "bearer";
const DPOP: &str = "dpop";
const COOKIE: &str = "cookie";
const REFRESH_COOKIE: &str = "refresh_cookie";
const CLIENT: &str = "client";
const OAUTH: &str = "oauth2";

/// Returns the ways to send an access token with these scopes.
pub(super) fn access_token(scopes: &[&str]) -> Vec<SecurityRequirement> {
    vec![one(BEARER), SecurityRequirement::new(OAUTH, scopes.iter().copied()), one(DPOP), one(COOKIE)]
}

/// Returns the ways to send a single-use token.
pub(super) fn single_use_token() -> Vec<SecurityRequirement> {
    vec![one(BEARER), one(DPOP)]
}

/// Returns the ways in which a session's refresh token comes: in the body, or in the cookie.
pub(super) fn refresh_token() -> Vec<SecurityRequirement> {
    vec![SecurityRequirement::default(), one(REFRESH_COOKIE)]
}

/// Returns the ways in which a client authenticates outside the form.
pub(super) fn client() -> Vec<SecurityRequirement> {
    vec![one(CLIENT), SecurityRequirement::default()]
}

/// Returns the way in which a confidential client authenticates.
pub(super) fn confidential_client() -> Vec<SecurityRequirement> {
    vec![one(CLIENT)]
}

fn one(name: &str) -> SecurityRequirement {
    SecurityRequirement::new(name, [""; 0])
}

/// Returns all schemes, by name. `below` makes a URL of a path.
pub(super) fn schemes(below: impl Fn(&str) -> String) -> [(&'static str, SecurityScheme); 6] {
    let bearer = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .bearer_format("JWT")
        .description(Some("A token alone (RFC 6750). Where DPoP is required, none is taken."));
    let client = HttpBuilder::new()
        .scheme(HttpAuthScheme::Basic)
        .description(Some("A confidential client's `client_id` and `client_secret`, form-encoded (RFC 6749 §2.3.1)."));
    let dpop = "The proof of possession beside `Authorization: DPoP …` (RFC 9449), where DPoP is on.";
    let access = "The access token of a browser's session, from `POST /auth/login?transport=cookie`.";
    let refresh = "The refresh token of a browser's session.";
    let flows = [
        Flow::AuthorizationCode(AuthorizationCode::with_refresh_url(
            below(AUTHORIZE),
            below(TOKEN),
            scopes(),
            below(TOKEN),
        )),
        Flow::ClientCredentials(ClientCredentials::new(below(TOKEN), scopes())),
    ];
    [
        (BEARER, SecurityScheme::Http(bearer.build())),
        (DPOP, SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::with_description("DPoP", dpop)))),
        (COOKIE, SecurityScheme::ApiKey(ApiKey::Cookie(ApiKeyValue::with_description(cookies::ACCESS, access)))),
        (
            REFRESH_COOKIE,
            SecurityScheme::ApiKey(ApiKey::Cookie(ApiKeyValue::with_description(cookies::REFRESH, refresh))),
        ),
        (CLIENT, SecurityScheme::Http(client.build())),
        (OAUTH, SecurityScheme::OAuth2(OAuth2::new(flows))),
    ]
}

/// Returns the scopes with what they allow. An administrator may have all of them.
fn scopes() -> Scopes {
    Role::Admin.scopes().iter().map(|scope| (*scope, scope_text(scope))).collect()
}

fn scope_text(scope: &str) -> &'static str {
    match scope {
        "profile" => "See the username and the id of the account",
        "admin" => "Administer this service",
        _ => "",
    }
}
