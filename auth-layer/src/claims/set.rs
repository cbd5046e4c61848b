//! The claims set (RFC 7519 §4, RFC 9068 §2.2).

use std::{borrow::Cow, fmt, ops::Deref, sync::Arc};

use chrono::{TimeZone, Utc};
use http::Extensions;
use serde::{Serialize, Serializer, de::DeserializeOwned};

use super::{Audiences, Confirmation, DenialKeys, Scope, custom::CustomPayload, names::READ};
use crate::{
    clock::Timestamp,
    fault::TokenFault,
    id::{Login, SessionId, Subject, TextId, Token, TokenId},
    json::{Datum, Fields, fields},
    keys::VerifyingKey,
    kind::TokenKind,
    layer_context::{LayerContext, MissingLayer},
};

/// The largest accepted NumericDate: the end of the year 9999.
pub(super) const LAST_SECOND: i64 = 253_402_300_799;

/// The claims of a token whose signature and record have been checked.
///
/// Only a check creates them, so holding them proves that the token was good. Cloning copies one or
/// two pointers.
///
/// ```
/// use auth_layer::Claims;
///
/// async fn me(claims: Claims) -> String {
///     format!("{} until {}", claims.sub, claims.exp)
/// }
/// ```
#[derive(Clone)]
pub struct Claims {
    checked: Arc<Checked>,
    /// The layer that let the request in, if it is not the one that checked the token first.
    other_layer: Option<LayerContext>,
}

/// The result of one check.
struct Checked {
    set: ClaimSet,
    kind: TokenKind,
    /// What another issuer's token is denied by; `None` for a token that has a record.
    denial_keys: Option<Arc<DenialKeys>>,
    custom: CustomPayload,
    signature: VerifiedSignature,
    /// The number of the [`Audiences`] that the token was read for.
    audiences: u64,
    /// The layer that checked the token first. Its later requests need not count references to it.
    first_layer: LayerContext,
    /// The later one of `nbf` and `iat`.
    valid_from: Option<Timestamp>,
    /// The memory of all this, in bytes, roughly. Types parsed from custom claims are not included.
    bytes: usize,
}

/// The verdict that a signature is right.
pub(crate) struct VerifiedSignature {
    /// The key that verified it.
    pub(crate) key: VerifyingKey,
    /// The number of the key set in which that key was found.
    pub(crate) key_set: u64,
    /// The number of the issuer whose settings the token met.
    pub(crate) issuer: u64,
}

/// The registered claims of [`Claims`].
///
/// Claims that another issuer's token may lack are optional. Tokens of an
/// [`Authority`](crate::Authority) have all of them except `acr`, `amr` and `cnf`.
///
/// ```
/// # use auth_layer::Claims;
/// fn summary(claims: &Claims) -> String {
///     let client = claims.client_id.as_deref().unwrap_or("an unknown client");
///     format!("{} with {client} until {}, for {}", claims.sub, claims.exp, claims.scope)
/// }
/// ```
#[derive(Debug, Serialize)]
#[non_exhaustive]
pub struct ClaimSet {
    /// The issuer (RFC 7519 §4.1.1).
    pub iss: String,
    /// The user (RFC 7519 §4.1.2).
    pub sub: Subject,
    /// The audiences of the token (RFC 7519 §4.1.3).
    pub aud: Vec<String>,
    /// When the token expires (RFC 7519 §4.1.4).
    #[serde(with = "chrono::serde::ts_seconds")]
    pub exp: Timestamp,
    /// When the token was issued (RFC 7519 §4.1.6).
    #[serde(with = "chrono::serde::ts_seconds_option", skip_serializing_if = "Option::is_none")]
    pub iat: Option<Timestamp>,
    /// The token's id (RFC 7519 §4.1.7).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jti: Option<TextId<Token>>,
    /// The OAuth client that the token was issued to (RFC 8693 §4.3).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    /// The session of the token (OpenID Connect Front-Channel Logout §3).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sid: Option<TextId<Login>>,
    /// What the token may be used for (RFC 8693 §4.2).
    pub scope: Scope,
    /// When the user's credentials were checked (OpenID Connect Core §2).
    #[serde(with = "chrono::serde::ts_seconds_option", skip_serializing_if = "Option::is_none")]
    pub auth_time: Option<Timestamp>,
    /// How strongly the user was authenticated (OpenID Connect Core §2).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub acr: Option<String>,
    /// The methods by which the user was authenticated (RFC 8176).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub amr: Vec<String>,
    /// The key that the token is bound to (RFC 9449 §6.1).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cnf: Option<Confirmation>,
}

impl Claims {
    /// Returns the claims that a layer left in a request's extensions.
    ///
    /// `None` if the layer let the request pass without credentials.
    ///
    /// # Errors
    ///
    /// [`MissingLayer`] if no layer is in front.
    ///
    /// ```
    /// # use auth_layer::Claims;
    /// # use http::Request;
    /// // In a tower service that has no extractors.
    /// fn greeting<B>(request: &Request<B>) -> String {
    ///     match Claims::from_extensions(request.extensions()) {
    ///         Ok(Some(claims)) => format!("hello, {}", claims.sub),
    ///         Ok(None) => "hello, guest".into(),
    ///         Err(missing) => missing.to_string(),
    ///     }
    /// }
    /// ```
    pub fn from_extensions(extensions: &Extensions) -> Result<Option<Self>, MissingLayer> {
        MissingLayer::find_extension(extensions)
    }

    /// Returns the session, for [`Authority::revoke_session`](crate::Authority::revoke_session).
    ///
    /// `None` for another issuer's token.
    pub fn session_id(&self) -> Option<SessionId> {
        self.sid.as_ref().filter(|_| self.is_recorded()).and_then(TextId::id)
    }

    /// Returns the token id, for [`Authority::revoke_token`](crate::Authority::revoke_token).
    ///
    /// `None` for another issuer's token.
    pub fn token_id(&self) -> Option<TokenId> {
        self.jti.as_ref().filter(|_| self.is_recorded()).and_then(TextId::id)
    }

    /// Whether the token has a record in the store. Other issuers' tokens have none.
    pub(crate) fn is_recorded(&self) -> bool {
        self.checked.denial_keys.is_none()
    }

    /// Returns what another issuer's token is denied by; `None` for a token that has a record.
    pub(crate) fn denial_keys(&self) -> Option<&Arc<DenialKeys>> {
        self.checked.denial_keys.as_ref()
    }

    /// Puts checked claims together.
    #[expect(clippy::too_many_arguments, reason = "each is a part of the result, and two places call it")]
    pub(super) fn checked(
        set: ClaimSet,
        kind: TokenKind,
        denial_keys: Option<DenialKeys>,
        custom: CustomPayload,
        signature: VerifiedSignature,
        audiences: u64,
        first_layer: LayerContext,
        valid_from: Option<Timestamp>,
    ) -> Self {
        let keys = denial_keys.map_or(0, |_| size_of::<DenialKeys>());
        let bytes = size_of::<Checked>() + set.bytes() + custom.text_bytes() + keys;
        let denial_keys = denial_keys.map(Arc::new);
        let checked = Checked { set, kind, denial_keys, custom, signature, audiences, first_layer, valid_from, bytes };
        Self { checked: Arc::new(checked), other_layer: None }
    }

    /// Returns the application's own claims, read as a `T`.
    ///
    /// The first call for a type parses them. Later calls reuse the result, also in later requests
    /// while the in-process cache holds the token.
    ///
    /// # Errors
    ///
    /// [`TokenFault::CustomClaims`] if they do not read as a `T`.
    ///
    /// ```
    /// # use auth_layer::{Claims, TokenFault};
    /// #[derive(serde::Deserialize)]
    /// struct Tenant {
    ///     tenant: u64,
    /// }
    ///
    /// fn tenant(claims: &Claims) -> Result<u64, TokenFault> {
    ///     Ok(claims.custom::<Tenant>()?.tenant)
    /// }
    /// ```
    pub fn custom<T: DeserializeOwned + Send + Sync + 'static>(&self) -> Result<Arc<T>, TokenFault> {
        self.checked.custom.read().ok_or(TokenFault::CustomClaims)
    }

    /// Returns the `T` that is kept beside the claims, as long as the in-process cache holds them.
    /// The first call makes it, and says what it takes on the heap, in bytes.
    #[cfg(feature = "axum")]
    pub(crate) fn keep<T: Send + Sync + 'static>(&self, make: impl FnOnce() -> Option<(T, usize)>) -> Option<Arc<T>> {
        self.checked.custom.keep(make)
    }

    /// Returns the custom claims as the text of a JSON object.
    pub(crate) fn custom_json(&self) -> String {
        let members = self.checked.custom.members();
        members.and_then(|members| serde_json::to_string(&members).ok()).unwrap_or_else(|| "{}".into())
    }

    /// Returns the kind of the token.
    pub(crate) fn kind(&self) -> TokenKind {
        self.checked.kind
    }

    /// Returns when the token becomes valid, if it says so.
    pub(crate) fn valid_from(&self) -> Option<Timestamp> {
        self.checked.valid_from
    }

    /// Whether the token is for one of these audiences.
    #[inline]
    pub(crate) fn is_for(&self, audiences: &Audiences) -> bool {
        self.checked.audiences == audiences.number() || audiences.include_any(&self.aud)
    }

    /// Returns the verdict on the signature.
    pub(crate) fn signature(&self) -> &VerifiedSignature {
        &self.checked.signature
    }

    /// Replaces the layer that let the request in.
    #[inline]
    pub(crate) fn with_layer(self, layer: &LayerContext) -> Self {
        let is_other = !self.checked.first_layer.is(layer);
        Self { other_layer: is_other.then(|| layer.clone()), ..self }
    }

    /// Returns the layer that let the request in; outside a layer, the settings of the check.
    pub(crate) fn layer(&self) -> &LayerContext {
        self.other_layer.as_ref().unwrap_or(&self.checked.first_layer)
    }

    /// Returns the memory of the claims, in bytes, roughly. Parsed custom claims are not included.
    pub(crate) fn bytes(&self) -> usize {
        self.checked.bytes
    }

    /// Returns the memory of the parsed custom claims and of what else is kept, in bytes, roughly.
    pub(crate) fn read_bytes(&self) -> u32 {
        self.checked.custom.read_bytes()
    }
}

impl Deref for Claims {
    type Target = ClaimSet;

    fn deref(&self) -> &ClaimSet {
        &self.checked.set
    }
}

impl fmt::Debug for Claims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.checked.set.fmt(f)
    }
}

impl Serialize for Claims {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Whole<'a> {
            #[serde(flatten)]
            set: &'a ClaimSet,
            #[serde(flatten)]
            custom: serde_json::Map<String, serde_json::Value>,
        }
        let custom = self.checked.custom.members().unwrap_or_default();
        Whole { set: &self.checked.set, custom }.serialize(serializer)
    }
}

/// The registered claims of a recorded token, read and not verified yet.
#[derive(Debug)]
pub(crate) struct RegisteredClaims {
    pub(crate) iss: String,
    pub(crate) sub: Subject,
    pub(crate) aud: Vec<String>,
    pub(crate) exp: Timestamp,
    pub(crate) nbf: Option<Timestamp>,
    pub(crate) iat: Timestamp,
    pub(crate) jti: TokenId,
    pub(crate) client_id: String,
    pub(crate) sid: SessionId,
    pub(crate) scope: Scope,
    pub(crate) auth_time: Option<Timestamp>,
    pub(crate) acr: Option<String>,
    pub(crate) amr: Vec<String>,
    pub(crate) cnf: Option<Confirmation>,
}

impl RegisteredClaims {
    /// Reads the registered claims of a payload. Also returns whether it has custom claims.
    ///
    /// # Errors
    ///
    /// [`TokenFault::Malformed`] if the payload is not a JSON object without duplicate members,
    /// [`TokenFault::Claim`] if a claim is missing or of the wrong type.
    pub(crate) fn read(payload: &[u8]) -> Result<(Self, bool), TokenFault> {
        let Fields { values, has_others } = fields(payload, &READ).ok_or(TokenFault::Malformed)?;
        let [iss, sub, aud, exp, nbf, iat, jti, client_id, sid, scope, auth_time, acr, amr, cnf] = values;
        let claims = Self {
            iss: required("iss", iss, text)?,
            sub: required("sub", sub, parsed)?,
            aud: required("aud", aud, text_or_texts)?,
            exp: required("exp", exp, numeric_date)?,
            nbf: optional("nbf", nbf, numeric_date)?,
            iat: required("iat", iat, numeric_date)?,
            jti: required("jti", jti, parsed)?,
            client_id: required("client_id", client_id, text)?,
            sid: required("sid", sid, parsed)?,
            scope: optional("scope", scope, parsed)?.unwrap_or_default(),
            auth_time: optional("auth_time", auth_time, numeric_date)?,
            acr: optional("acr", acr, text)?,
            amr: optional("amr", amr, texts)?.unwrap_or_default(),
            //= RFC 9449 §6.1
            cnf: cnf.map(|_| Confirmation::read(payload).ok_or(TokenFault::Claim("cnf"))).transpose()?,
        };
        Ok((claims, has_others))
    }

    /// Returns their memory on the heap, in bytes, roughly.
    pub(crate) fn bytes(&self) -> usize {
        let lists: usize = self.aud.iter().chain(&self.amr).map(|text| size_of::<String>() + text.len()).sum();
        let rest = self.scope.bytes() + self.acr.as_ref().map_or(0, String::len);
        self.iss.len() + self.sub.bytes() + lists + self.client_id.len() + rest
    }

    /// Turns them into checked claims. Only `jwt` calls this, after verifying the signature.
    pub(crate) fn into_claims(
        self,
        kind: TokenKind,
        custom: CustomPayload,
        signature: VerifiedSignature,
        audiences: u64,
        first_layer: LayerContext,
    ) -> Claims {
        let valid_from = Some(self.iat).max(self.nbf);
        let set = ClaimSet {
            iss: self.iss,
            sub: self.sub,
            aud: self.aud,
            exp: self.exp,
            iat: Some(self.iat),
            jti: Some(self.jti.into()),
            client_id: Some(self.client_id),
            sid: Some(self.sid.into()),
            scope: self.scope,
            auth_time: self.auth_time,
            acr: self.acr,
            amr: self.amr,
            cnf: self.cnf,
        };
        Claims::checked(set, kind, None, custom, signature, audiences, first_layer, valid_from)
    }
}

impl ClaimSet {
    /// Returns the memory of the claims on the heap, in bytes, roughly.
    fn bytes(&self) -> usize {
        let lists: usize = self.aud.iter().chain(&self.amr).map(|text| size_of::<String>() + text.len()).sum();
        let ids =
            self.sub.bytes() + self.jti.as_ref().map_or(0, TextId::bytes) + self.sid.as_ref().map_or(0, TextId::bytes);
        let texts = self.acr.as_ref().map_or(0, String::len) + self.client_id.as_ref().map_or(0, String::len);
        self.iss.len() + ids + lists + texts + self.scope.bytes()
    }
}

pub(super) fn required<'t, T>(
    name: &'static str,
    value: Option<Datum<'t>>,
    read: fn(Datum<'t>) -> Option<T>,
) -> Result<T, TokenFault> {
    value.and_then(read).ok_or(TokenFault::Claim(name))
}

pub(super) fn optional<'t, T>(
    name: &'static str,
    value: Option<Datum<'t>>,
    read: fn(Datum<'t>) -> Option<T>,
) -> Result<Option<T>, TokenFault> {
    value.map(|value| read(value).ok_or(TokenFault::Claim(name))).transpose()
}

pub(super) fn text(value: Datum<'_>) -> Option<String> {
    value.text().map(Cow::into_owned)
}

pub(super) fn parsed<T: std::str::FromStr>(value: Datum<'_>) -> Option<T> {
    value.text()?.parse().ok()
}

pub(super) fn texts(value: Datum<'_>) -> Option<Vec<String>> {
    match value {
        Datum::Texts(many) => Some(many.into_iter().map(Cow::into_owned).collect()),
        Datum::Text(_) | Datum::Integer(_) | Datum::Other => None,
    }
}

/// One text stands for an array of one (RFC 7519 §4.1.3).
pub(super) fn text_or_texts(value: Datum<'_>) -> Option<Vec<String>> {
    match value {
        Datum::Text(one) => Some(vec![one.into_owned()]),
        more => texts(more),
    }
}

/// Reads a NumericDate. RFC 7519 §2 allows fractions; they are refused here.
#[expect(clippy::needless_pass_by_value, reason = "like the other readers")]
fn numeric_date(value: Datum<'_>) -> Option<Timestamp> {
    match value {
        Datum::Integer(seconds @ 0..=LAST_SECOND) => Utc.timestamp_opt(seconds, 0).single(),
        _ => None,
    }
}
