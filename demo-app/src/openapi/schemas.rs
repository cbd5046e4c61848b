//! The schemas that operations share: those of bodies that the library reads and writes.

use serde_json::{Value, json};
use utoipa::{
    ToSchema,
    openapi::{
        ObjectBuilder, Ref, RefOr, Schema,
        schema::{KnownFormat, SchemaFormat, Type},
    },
};

/// The schemas of named types.
#[derive(Default)]
pub(super) struct Schemas(pub(super) Vec<(String, RefOr<Schema>)>);

impl Schemas {
    /// Adds the schema of a type, with those that it refers to, and returns a reference to it.
    pub(super) fn refer_to<T: ToSchema>(&mut self) -> RefOr<Schema> {
        T::schemas(&mut self.0);
        self.0.push((T::name().into_owned(), T::schema()));
        Ref::from_schema_name(T::name()).into()
    }
}

/// The id of a user, for examples.
pub(super) const USER_ID: &str = "0198c5a2-7d3e-7c11-9f0a-3b5c2d1e4f60";

/// Any text.
pub(super) fn text() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String)
}

/// One of these texts.
pub(super) fn one_of(values: &[&str]) -> ObjectBuilder {
    text().enum_values(Some(values.iter().copied()))
}

/// A text of this form.
pub(super) fn matching(pattern: &str) -> ObjectBuilder {
    text().pattern(Some(pattern))
}

/// A UUID.
pub(super) fn uuid() -> ObjectBuilder {
    text().format(Some(SchemaFormat::KnownFormat(KnownFormat::Uuid)))
}

/// A whole number within these bounds.
pub(super) fn integer(minimum: u32, maximum: u32) -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(minimum)).maximum(Some(maximum))
}

/// A token response (RFC 6749 §5.1).
#[derive(ToSchema)]
#[expect(dead_code, reason = "the library writes it")]
pub(super) struct TokenResponse {
    access_token: String,
    token_type: TokenType,
    /// The lifetime of the access token, in seconds.
    expires_in: u64,
    /// Absent for single-use tokens, and for tokens that a client gets in its own name.
    #[schema(nullable = false)]
    refresh_token: Option<String>,
    /// What was granted: tokens with a space between.
    scope: String,
}

/// How a token is presented: alone, or with a proof of possession (RFC 9449).
#[derive(ToSchema)]
#[expect(dead_code, reason = "the library writes it")]
pub(super) enum TokenType {
    Bearer,
    #[serde(rename = "DPoP")]
    Dpop,
}

/// The claims of a token (RFC 9068 §2.2).
#[derive(ToSchema)]
#[expect(dead_code, reason = "the library writes them")]
pub(crate) struct TokenClaims {
    /// The issuer.
    iss: String,
    /// The user's id; a client's, if the token is its own.
    sub: String,
    aud: Vec<String>,
    /// When the token expires, in seconds since 1970.
    exp: i64,
    iat: i64,
    /// The token's id.
    #[schema(format = Uuid)]
    jti: String,
    client_id: String,
    /// The session.
    #[schema(format = Uuid)]
    sid: String,
    scope: String,
    /// When the user signed in.
    auth_time: i64,
    #[schema(nullable = false)]
    cnf: Option<Confirmation>,
    /// The user's name; absent from a client's own token.
    #[schema(nullable = false)]
    username: Option<String>,
}

/// The key that a token is bound to (RFC 7800 §3.1).
#[derive(ToSchema)]
#[expect(dead_code, reason = "the library writes it")]
pub(super) struct Confirmation {
    /// The key's thumbprint (RFC 9449 §6.1).
    jkt: String,
}

/// An example of the claims of an access token.
pub(super) fn claims_example() -> Value {
    json!({
        "iss": "http://127.0.0.1:3000",
        "sub": USER_ID,
        "aud": ["demo-app"],
        "exp": 1_796_029_200,
        "iat": 1_796_028_300,
        "jti": "0198c5a2-8a10-7b20-8c30-5d6e7f809102",
        "client_id": "demo-app",
        "sid": "0198c5a2-8a10-7b20-8c30-5d6e7f809101",
        "scope": "profile",
        "auth_time": 1_796_028_300,
        "username": "ada",
    })
}

/// What a token says (RFC 7662 §2.2). Of an inactive token, `active` alone.
#[derive(ToSchema)]
#[expect(dead_code, reason = "the library writes it")]
pub(super) struct IntrospectionResponse {
    /// Whether the token is good.
    active: bool,
    /// Absent from a refresh token.
    #[schema(nullable = false)]
    token_type: Option<TokenType>,
    #[schema(nullable = false)]
    iss: Option<String>,
    #[schema(nullable = false)]
    sub: Option<String>,
    #[schema(nullable = false)]
    aud: Option<Vec<String>>,
    #[schema(nullable = false)]
    exp: Option<i64>,
    #[schema(nullable = false)]
    iat: Option<i64>,
    #[schema(nullable = false, format = Uuid)]
    jti: Option<String>,
    #[schema(nullable = false)]
    client_id: Option<String>,
    #[schema(nullable = false, format = Uuid)]
    sid: Option<String>,
    #[schema(nullable = false)]
    scope: Option<String>,
    #[schema(nullable = false)]
    auth_time: Option<i64>,
    #[schema(nullable = false)]
    cnf: Option<Confirmation>,
    #[schema(nullable = false)]
    username: Option<String>,
}

/// A request to the token endpoint (RFC 6749 §4).
#[derive(ToSchema)]
#[expect(dead_code, reason = "the library reads it")]
pub(super) struct TokenForm {
    #[serde(flatten)]
    grant: GrantForm,
    #[serde(flatten)]
    client: ClientFields,
    /// The audiences of the token, which may be named more than once (RFC 8707).
    #[schema(nullable = false)]
    resource: Option<Vec<String>>,
}

/// What the client presents.
#[derive(ToSchema)]
#[serde(tag = "grant_type", rename_all = "snake_case")]
#[expect(dead_code, reason = "the library reads it")]
pub(super) enum GrantForm {
    /// A code from the authorization endpoint (RFC 6749 §4.1.3).
    AuthorizationCode {
        code: String,
        /// Required if it was sent to the authorization endpoint.
        #[schema(nullable = false)]
        redirect_uri: Option<String>,
        /// The secret behind the code challenge (RFC 7636 §4.5).
        #[schema(min_length = 43, max_length = 128, pattern = "^[A-Za-z0-9._~-]+$")]
        code_verifier: String,
    },
    /// A refresh token (RFC 6749 §6).
    RefreshToken {
        refresh_token: String,
        #[schema(nullable = false)]
        scope: Option<String>,
    },
    /// The client's own credentials (RFC 6749 §4.4).
    ClientCredentials {
        #[schema(nullable = false)]
        scope: Option<String>,
    },
    /// A user's name and password (RFC 6749 §4.3), where `--password-grant` is on.
    Password {
        username: String,
        #[schema(format = Password)]
        password: String,
        #[schema(nullable = false)]
        scope: Option<String>,
    },
}

/// A request about a token (RFC 7009 §2.1, RFC 7662 §2.1).
#[derive(ToSchema)]
#[expect(dead_code, reason = "the library reads it")]
pub(super) struct TokenLookupForm {
    #[schema(min_length = 1)]
    token: String,
    /// Ignored: a token tells its own type.
    #[schema(nullable = false)]
    token_type_hint: Option<String>,
    #[serde(flatten)]
    client: ClientFields,
}

/// The client of a form (RFC 6749 §2.3.1). Without it, the client is `demo-app`.
#[derive(ToSchema)]
#[expect(dead_code, reason = "the library reads it")]
pub(super) struct ClientFields {
    #[schema(nullable = false)]
    client_id: Option<String>,
    /// A confidential client's secret, if it does not use HTTP Basic.
    #[schema(nullable = false, format = Password)]
    client_secret: Option<String>,
}

/// The form of the sign-in page.
#[derive(ToSchema)]
#[expect(dead_code, reason = "the handler reads it by name")]
pub(super) struct SignInForm {
    username: String,
    #[schema(format = Password)]
    password: String,
    /// The value of the page's cookie.
    csrf_token: String,
    /// Sent to go back to the client without a sign-in.
    #[schema(nullable = false)]
    cancel: Option<String>,
}

/// Public keys (RFC 7517 §5).
#[derive(ToSchema)]
#[expect(dead_code, reason = "the handler writes it")]
pub(super) struct JsonWebKeySet {
    keys: Vec<JsonWebKey>,
}

/// A public key (RFC 7517 §4). Its members depend on `kty`.
#[derive(ToSchema)]
#[expect(dead_code, reason = "the library writes it")]
pub(super) struct JsonWebKey {
    kty: KeyType,
    r#use: KeyUse,
    alg: String,
    kid: String,
    #[schema(nullable = false)]
    crv: Option<String>,
    #[schema(nullable = false)]
    x: Option<String>,
    #[schema(nullable = false)]
    y: Option<String>,
    #[schema(nullable = false)]
    n: Option<String>,
    #[schema(nullable = false)]
    e: Option<String>,
}

#[derive(ToSchema)]
#[expect(dead_code, clippy::upper_case_acronyms, reason = "as RFC 7518 §6.1 and RFC 8037 §2 name them")]
pub(super) enum KeyType {
    OKP,
    EC,
    RSA,
}

#[derive(ToSchema)]
#[serde(rename_all = "lowercase")]
#[expect(dead_code, reason = "the library writes it")]
pub(super) enum KeyUse {
    Sig,
}

/// The metadata of the authorization server (RFC 8414 §2).
#[derive(ToSchema)]
#[expect(dead_code, reason = "the library writes it")]
pub(super) struct ServerMetadata {
    issuer: String,
    authorization_endpoint: String,
    token_endpoint: String,
    revocation_endpoint: String,
    introspection_endpoint: String,
    jwks_uri: String,
    scopes_supported: Vec<String>,
    response_types_supported: Vec<String>,
    response_modes_supported: Vec<String>,
    grant_types_supported: Vec<String>,
    token_endpoint_auth_methods_supported: Vec<String>,
    revocation_endpoint_auth_methods_supported: Vec<String>,
    introspection_endpoint_auth_methods_supported: Vec<String>,
    code_challenge_methods_supported: Vec<String>,
    authorization_response_iss_parameter_supported: bool,
    /// Absent without DPoP.
    #[schema(nullable = false)]
    dpop_signing_alg_values_supported: Option<Vec<String>>,
    protected_resources: Vec<String>,
}

/// The metadata of the protected resource (RFC 9728 §2).
#[derive(ToSchema)]
#[expect(dead_code, reason = "the library writes it")]
pub(super) struct ResourceMetadata {
    resource: String,
    authorization_servers: Vec<String>,
    scopes_supported: Vec<String>,
    bearer_methods_supported: Vec<String>,
    resource_name: String,
    /// Absent without DPoP.
    #[schema(nullable = false)]
    dpop_signing_alg_values_supported: Option<Vec<String>>,
    dpop_bound_access_tokens_required: bool,
}

/// A document of OpenAPI 3.1.
#[derive(ToSchema)]
#[expect(dead_code, reason = "utoipa writes it")]
pub(super) struct Description {
    openapi: String,
}
