use std::fmt;

use super::{
    super::{
        client::Client,
        form::{Form, FormError},
        pkce::CodeChallenge,
        server::AuthorizationServer,
    },
    AuthorizationError, AuthorizationErrorKind, AuthorizationRequest, PageError,
    response::Destination,
};
use crate::{claims::Scope, keys::Thumbprint};

/// The query of an authorization request. Only its client is known.
///
/// Look the client up, then [check](Self::check) the request:
///
/// ```
/// use auth_layer::oauth::{
///     AuthorizationError, AuthorizationQuery, AuthorizationServer, Client, PageError, Secret,
/// };
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let server = AuthorizationServer::new("https://auth.example")?;
/// let client = Client::public("spa")?.redirect_uri("https://app.example/callback".parse()?);
///
/// let query = "response_type=code&client_id=spa&state=af0ifjsldkj\
///     &redirect_uri=https%3A%2F%2Fapp.example%2Fcallback&code_challenge_method=S256\
///     &code_challenge=E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
/// let query = AuthorizationQuery::parse(query)?;
/// assert_eq!(query.client_id(), "spa");
/// let request = query.check(&server, Some(&client))?;
///
/// // … sign the user in here …
/// let response = request.grant(&Secret::from("SplxlOBeZQQYbYS6WxSbIA"));
/// assert_eq!(
///     response.location(),
///     "https://app.example/callback?code=SplxlOBeZQQYbYS6WxSbIA&state=af0ifjsldkj\
///      &iss=https%3A%2F%2Fauth.example",
/// );
///
/// // An unknown client never gets a redirect.
/// let query = AuthorizationQuery::parse("client_id=other&redirect_uri=https://evil.example")?;
/// let refused = query.check(&server, None);
/// assert!(matches!(refused, Err(AuthorizationError::Page(PageError::ClientUnknown))));
/// # Ok(())
/// # }
/// ```
pub struct AuthorizationQuery<'q> {
    client_id: String,
    form: Form<'q>,
}

impl<'q> AuthorizationQuery<'q> {
    /// Reads the query of a request's URL, or the body of a POST. Unknown parameters are ignored.
    ///
    /// # Errors
    ///
    /// [`PageError`] unless the query is UTF-8 with one `client_id`.
    pub fn parse(query: &'q str) -> Result<Self, PageError> {
        const NAMES: [&str; 9] = [
            "client_id",
            "redirect_uri",
            "state",
            "response_type",
            "response_mode",
            "scope",
            "code_challenge",
            "code_challenge_method",
            "dpop_jkt",
        ];
        let mut form = Form::read(query.as_bytes(), &NAMES).map_err(|_| PageError::Encoding)?;
        //= RFC 6749 §4.1.2.1
        let client_id = form.take("client_id").map_err(|_| PageError::ClientRepeated)?;
        Ok(Self { client_id: client_id.ok_or(PageError::ClientMissing)?, form })
    }

    /// Returns the identifier of the client to look up.
    pub fn client_id(&self) -> &str {
        &self.client_id
    }

    /// Checks the request of the client that has this identifier, or of nobody.
    ///
    /// # Errors
    ///
    /// [`AuthorizationError::Page`] for an unknown client or redirect URI; for any other fault
    /// [`AuthorizationError::Redirect`].
    pub fn check(
        mut self,
        server: &AuthorizationServer,
        client: Option<&Client>,
    ) -> Result<AuthorizationRequest, AuthorizationError> {
        // Another client than the one that was named would get this one's codes.
        let client = client.filter(|client| client.id() == self.client_id).ok_or(PageError::ClientUnknown)?;
        let (redirect_uri, is_uri_sent) = self.redirect_uri(client)?;
        let mut destination = Destination { redirect_uri, state: None, issuer: server.issuer().to_owned() };
        // From here on the client hears of errors. A repeated `state` is no state.
        let state = self.form.take("state").map_err(Fault::from);
        destination.state = state.clone().unwrap_or_default();
        let checked = state.and_then(|_| self.rest(server, client));
        //= RFC 6749 §4.1.2.1
        let Rest { challenge, scope, is_scope_sent, audiences, key } =
            checked.map_err(|Fault(kind, description)| {
                AuthorizationError::Redirect(Box::new(destination.error(kind, description)))
            })?;
        let client_id = self.client_id;
        Ok(AuthorizationRequest {
            client_id,
            destination,
            is_uri_sent,
            challenge,
            scope,
            is_scope_sent,
            audiences,
            key,
        })
    }

    /// Returns the redirect URI, and whether the request names it.
    fn redirect_uri(&mut self, client: &Client) -> Result<(String, bool), PageError> {
        let sent = self.form.take("redirect_uri").map_err(|_| PageError::RedirectUriRepeated)?;
        match (sent, client.redirect_uris()) {
            //= RFC 6749 §3.1.2.3
            (Some(sent), registered) if registered.iter().any(|uri| uri.matches(&sent)) => Ok((sent, true)),
            //= RFC 6749 §3.1.2.4
            (Some(_), _) => Err(PageError::RedirectUriUnknown),
            //= RFC 6749 §3.1.2.3
            (None, [only]) => Ok((only.as_str().to_owned(), false)),
            (None, _) => Err(PageError::RedirectUriMissing),
        }
    }

    /// Checks all but client, redirect URI and state.
    fn rest(&mut self, server: &AuthorizationServer, client: &Client) -> Result<Rest, Fault> {
        let form = &mut self.form;
        form.each_once()?;
        //= RFC 6749 §3.1.1
        match form.take("response_type")?.as_deref() {
            Some("code") => {}
            Some(_) => return Err(Fault(AuthorizationErrorKind::UnsupportedResponseType, None)),
            None => return Err(Fault::request("response_type is missing")),
        }
        if form.take("response_mode")?.is_some_and(|mode| mode != "query") {
            return Err(Fault::request("response_mode must be query"));
        }
        let (method, challenge) = (form.take("code_challenge_method")?, form.take("code_challenge")?);
        //= RFC 7636 §4.4.1
        let challenge = CodeChallenge::parse(method.as_deref(), challenge.as_deref())
            .map_err(|error| Fault::request(error.description()))?;
        //= RFC 6749 §3.3
        let scope = form.take("scope")?.map(|text| text.parse::<Scope>()).transpose();
        let is_scope_sent = matches!(scope, Ok(Some(_)));
        let scope = scope.ok().and_then(|scope| client.scope_for(scope.as_ref()).ok());
        let scope = scope.ok_or(Fault(AuthorizationErrorKind::InvalidScope, None))?;
        //= RFC 8707 §2
        let audiences = server.audiences_for(&form.take_resources()?);
        let audiences = audiences.map_err(|_| Fault(AuthorizationErrorKind::InvalidTarget, None))?;
        //= RFC 9449 §10
        let key = form.take("dpop_jkt")?.map(|text| text.parse()).transpose();
        let key = key.map_err(|_| Fault::request("dpop_jkt is not a JWK thumbprint"))?;
        Ok(Rest { challenge, scope, is_scope_sent, audiences, key })
    }
}

/// What is read of a request after its client, redirect URI and state.
struct Rest {
    challenge: CodeChallenge,
    scope: Scope,
    is_scope_sent: bool,
    audiences: Vec<String>,
    key: Option<Thumbprint>,
}

/// An error for the client, with a description of its own or none.
#[derive(Clone)]
struct Fault(AuthorizationErrorKind, Option<&'static str>);

impl Fault {
    fn request(description: &'static str) -> Self {
        Self(AuthorizationErrorKind::InvalidRequest, Some(description))
    }
}

impl From<FormError> for Fault {
    fn from(error: FormError) -> Self {
        match error {
            FormError::TooManyResources => Self(AuthorizationErrorKind::InvalidTarget, None),
            FormError::Encoding | FormError::Repeated(_) => Self::request("A parameter comes more than once"),
        }
    }
}

impl fmt::Debug for AuthorizationQuery<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthorizationQuery").field("client_id", &self.client_id).finish_non_exhaustive()
    }
}
