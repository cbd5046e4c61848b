//! The authorization endpoint (RFC 6749 §3.1): the sign-in page and its form.
//!
//! The form's action has the request's query again, so each step checks the request from scratch
//! and nothing is kept in between. The page always asks for the password.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use auth_layer::{
    Grant, Scope, UserId,
    oauth::{
        AuthorizationError, AuthorizationErrorKind, AuthorizationQuery, AuthorizationRequest, AuthorizationResponse,
        Client, PageError, Secret,
    },
};
use axum::{
    extract::{ConnectInfo, RawQuery, State},
    response::{IntoResponse, Response},
};
use http::{HeaderMap, StatusCode, header::SET_COOKIE};

use super::{FormCookie, form_token::FormToken};
use crate::{
    audit::{Audit, Event},
    body::{RawBody, has_type},
    clients::ClientsError,
    error::ApiError,
    pages::{ErrorPage, SignInPage},
    password::Password,
    routes::credentials::{self, VerifiedUser},
    state::AppState,
};

/// A request that cannot be granted: an error for the client, or a page for the user.
pub(crate) enum Refused {
    Redirect(AuthorizationResponse),
    Page(ErrorPage),
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        match self {
            Self::Redirect(response) => response.into_response(),
            Self::Page(page) => page.into_response(),
        }
    }
}

/// Shows the sign-in page.
pub(crate) async fn show(
    State(state): State<AppState>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    let attempt = Attempt::read(&state, query.as_deref(), &headers).await?;
    attempt.page(StatusCode::OK, "", None)
}

/// Answers the page's form with a code, or with the page again.
pub(crate) async fn submit(
    State(state): State<AppState>,
    ConnectInfo(address): ConnectInfo<SocketAddr>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Result<RawBody, ApiError>,
) -> Result<Response, Refused> {
    let RawBody(body) = body?;
    if !has_type(&headers, "application/x-www-form-urlencoded") {
        return Err(ErrorPage::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "The form has another content type.").into());
    }
    let form = SignInForm::read(&body);
    let attempt = Attempt::read(&state, query.as_deref(), &headers).await?;
    //= RFC 6749 §10.12
    if !attempt.cookie().goes_with(&headers, &form.csrf_token) {
        return Err(ErrorPage::csrf().into());
    }
    if form.is_cancelled {
        return Ok(attempt.request.refuse(AuthorizationErrorKind::AccessDenied).into_response());
    }
    match attempt.sign_in(&form, address.ip()).await {
        Ok(response) => Ok(response.into_response()),
        Err(error @ (ApiError::InvalidCredentials | ApiError::RateLimited(_))) => attempt.page_again(&form, error),
        Err(error) => Err(error.into()),
    }
}

/// An authorization request that has passed the checks of the protocol, from a browser.
struct Attempt<'a> {
    state: &'a AppState,
    query: &'a str,
    headers: &'a HeaderMap,
    client: Arc<Client>,
    request: AuthorizationRequest,
}

impl<'a> Attempt<'a> {
    async fn read(state: &'a AppState, query: Option<&'a str>, headers: &'a HeaderMap) -> Result<Self, Refused> {
        let query = query.unwrap_or_default();
        let parsed = AuthorizationQuery::parse(query)?;
        let client = state.clients.find(parsed.client_id()).await?.ok_or(PageError::ClientUnknown)?;
        let request = parsed.check(&state.oauth.server, Some(&client))?;
        Ok(Self { state, query, headers, client, request })
    }

    fn cookie(&self) -> FormCookie {
        self.state.oauth.form_cookie
    }

    /// Returns the sign-in page, with what went wrong.
    fn page(&self, status: StatusCode, username: &str, problem: Option<&str>) -> Result<Response, Refused> {
        let token = FormToken::of(self.headers, self.cookie()).map_err(|_| ApiError::Internal)?;
        let page = SignInPage {
            client: self.client.name(),
            scope: self.request.scope(),
            redirect_uri: self.request.redirect_uri(),
            query: self.query,
            csrf_token: token.value(),
            username,
            problem,
        };
        let mut response = page.respond(status, &self.request.form_action());
        let cookie = token.set_cookie(self.cookie()).map_err(|_| ApiError::Internal)?;
        response.headers_mut().insert(SET_COOKIE, cookie);
        Ok(response)
    }

    /// Returns the page after a refused sign-in. It keeps the name and not the password.
    fn page_again(&self, form: &SignInForm, error: ApiError) -> Result<Response, Refused> {
        let text = error.text();
        let (status, headers) = error.into_status_and_headers();
        let mut response = self.page(status, &form.username, Some(&text))?;
        response.headers_mut().extend(headers);
        Ok(response)
    }

    /// Signs the user in and returns the redirect to the client.
    async fn sign_in(&self, form: &SignInForm, address: IpAddr) -> Result<AuthorizationResponse, ApiError> {
        let audit = Audit::begin(Event::Authorization).address(address).client(self.request.client_id());
        let audit = audit.claimed(&form.username);
        match self.issue_code(form, address).await {
            Ok(Some((user_id, code))) => {
                audit.user(user_id).granted();
                Ok(self.request.grant(&code))
            }
            Ok(None) => {
                audit.refused("invalid_scope");
                Ok(self.request.refuse(AuthorizationErrorKind::InvalidScope))
            }
            Err(error) => {
                audit.conclude_error(&error);
                Err(error)
            }
        }
    }

    /// Checks the password and issues a code; `None` if the scope is more than the user may have.
    async fn issue_code(&self, form: &SignInForm, address: IpAddr) -> Result<Option<(UserId, Secret)>, ApiError> {
        let verified = credentials::check(self.state, &form.username, &form.password, address).await?;
        let VerifiedUser { user, sign_in } = verified;
        let Some(scope) = self.scope_for(&user.role.scope()) else { return Ok(None) };
        let grant = credentials::grant(&user, self.request.client_id(), scope, self.headers)?;
        let grant = self.request.audiences().iter().fold(grant, Grant::audience);
        let code = self.state.authority.issue_code(sign_in, grant, self.request.binding()).await?;
        Ok(Some((user.user_id, code)))
    }

    /// Returns the scope to grant to a user who may have `most`; `None` for `invalid_scope`.
    ///
    /// A request that names more than the user may have is refused, as at `/auth/login`: neither
    /// the user nor the server denies access, the client asked for too much. A request that names
    /// nothing gets what client and user both may have.
    fn scope_for(&self, most: &Scope) -> Option<Scope> {
        let asked = self.request.scope();
        //= RFC 6749 §3.3
        let granted = asked.intersection(most);
        let is_too_much = self.request.is_scope_sent() && granted != *asked;
        (!granted.is_empty() && !is_too_much).then_some(granted)
    }
}

/// What the browser sends of the sign-in page. No `Debug`: it has the password.
struct SignInForm {
    username: String,
    password: Password,
    csrf_token: Secret,
    is_cancelled: bool,
}

impl SignInForm {
    /// Reads a form. What is missing is empty, and then refused as wrong.
    fn read(body: &[u8]) -> Self {
        let mut form = Self {
            username: String::new(),
            password: Password::from(String::new()),
            csrf_token: Secret::from(""),
            is_cancelled: false,
        };
        for (name, value) in form_urlencoded::parse(body) {
            match &*name {
                "username" => form.username = value.into_owned(),
                "password" => form.password = Password::from(value.into_owned()),
                "csrf_token" => form.csrf_token = Secret::from(value.into_owned()),
                "cancel" => form.is_cancelled = true,
                _ => {}
            }
        }
        form
    }
}

impl From<AuthorizationError> for Refused {
    fn from(error: AuthorizationError) -> Self {
        match error {
            AuthorizationError::Redirect(response) => Self::Redirect(*response),
            AuthorizationError::Page(error) => error.into(),
        }
    }
}

impl From<PageError> for Refused {
    fn from(error: PageError) -> Self {
        Self::Page(ErrorPage::of_request(error))
    }
}

impl From<ErrorPage> for Refused {
    fn from(page: ErrorPage) -> Self {
        Self::Page(page)
    }
}

impl From<ApiError> for Refused {
    fn from(error: ApiError) -> Self {
        Self::Page(error.into())
    }
}

impl From<ClientsError> for Refused {
    fn from(error: ClientsError) -> Self {
        ApiError::from(error).into()
    }
}
