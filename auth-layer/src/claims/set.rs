//! The claims set (RFC 7519 §4, RFC 9068 §2.2), registered claims typed and custom ones generic.

use std::{borrow::Cow, ops::Deref, sync::Arc};

use chrono::{TimeZone, Utc};
use serde::{Deserialize, Serialize, Serializer, de::DeserializeOwned};
use serde_json::{Map, Value};

use super::{
    Scope,
    json::{Datum, Fields, fields, members},
};
use crate::{
    clock::Timestamp,
    id::{SessionId, TokenId, UserId},
    store::{ActiveToken, TokenKind},
};

/// The names that custom claims may not take.
const REGISTERED: [&str; 11] = ["iss", "sub", "aud", "exp", "nbf", "iat", "jti", "client_id", "sid", "scope", "cnf"];

/// The largest NumericDate that we take: the end of the year 9999.
const LAST_SECOND: i64 = 253_402_300_799;

/// The claims of a token whose signature and record have been checked.
///
/// Only a check makes one, so that to hold it is to know that the token was good. Cloning it copies one pointer.
#[derive(Debug)]
pub struct Claims<C = NoCustomClaims>(Arc<ClaimSet<C>>);

/// What [`Claims`] hold.
#[derive(Debug, Serialize)]
#[non_exhaustive]
pub struct ClaimSet<C = NoCustomClaims> {
    /// Who issued the token (RFC 7519 §4.1.1).
    pub iss: String,
    /// The user (RFC 7519 §4.1.2).
    pub sub: UserId,
    /// For whom the token is meant (RFC 7519 §4.1.3); one of these is us.
    pub aud: Vec<String>,
    /// When it expires (RFC 7519 §4.1.4).
    #[serde(with = "chrono::serde::ts_seconds")]
    pub exp: Timestamp,
    /// When it was issued (RFC 7519 §4.1.6).
    #[serde(with = "chrono::serde::ts_seconds")]
    pub iat: Timestamp,
    /// The token id (RFC 7519 §4.1.7).
    pub jti: TokenId,
    /// The OAuth client that it was issued to (RFC 8693 §4.3).
    pub client_id: String,
    /// The session that it belongs to (OpenID Connect Front-Channel Logout §3).
    pub sid: SessionId,
    /// What it may be used for (RFC 8693 §4.2).
    pub scope: Scope,
    /// The application's own claims.
    #[serde(flatten)]
    pub custom: C,
}

impl<C> Claims<C> {
    /// What a token of this kind with these claims says that its record must say as well.
    pub(crate) fn says(&self, kind: TokenKind) -> ActiveToken {
        ActiveToken { user_id: self.sub, session_id: self.sid, kind, expires_at: self.exp }
    }

    /// Only `authority` calls this, once everything has been checked.
    pub(crate) fn checked(set: ClaimSet<C>) -> Self {
        Self(Arc::new(set))
    }
}

impl<C> Clone for Claims<C> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<C> Deref for Claims<C> {
    type Target = ClaimSet<C>;

    fn deref(&self) -> &ClaimSet<C> {
        &self.0
    }
}

impl<C: Serialize> Serialize for Claims<C> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

/// A type of custom claims: anything that serde reads and writes as a JSON object. Implemented for every such type.
pub trait CustomClaims: Serialize + DeserializeOwned + Send + Sync + 'static {}

impl<C: Serialize + DeserializeOwned + Send + Sync + 'static> CustomClaims for C {}

/// No custom claims. Reading it ignores whatever else a token says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NoCustomClaims {}

/// Custom claims that cannot be put into a token.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CustomClaimsError {
    /// They are not a JSON object.
    #[error("custom claims must serialise to a JSON object")]
    NotAnObject,
    /// One of them has the name of a registered claim.
    #[error("a custom claim is named {0:?}, which is a registered claim")]
    Registered(&'static str),
    /// They cannot be written as JSON.
    #[error("custom claims cannot be written as JSON")]
    Json(#[source] serde_json::Error),
}

/// The text of the JSON object that these custom claims are. The same claims give the same text.
pub(crate) fn custom_text<C: Serialize>(custom: &C) -> Result<String, CustomClaimsError> {
    let Value::Object(members) = serde_json::to_value(custom).map_err(CustomClaimsError::Json)? else {
        return Err(CustomClaimsError::NotAnObject);
    };
    if let Some(name) = REGISTERED.iter().find(|name| members.contains_key(**name)) {
        return Err(CustomClaimsError::Registered(name));
    }
    serde_json::to_string(&members).map_err(CustomClaimsError::Json)
}

/// The claims that are read from a payload before the signature is verified.
const READ: [&str; 10] = ["iss", "sub", "aud", "exp", "nbf", "iat", "jti", "client_id", "sid", "scope"];

/// The registered claims, as read from a payload that nobody vouches for yet.
#[derive(Debug)]
pub(crate) struct RegisteredClaims {
    pub(crate) iss: String,
    pub(crate) sub: UserId,
    pub(crate) aud: Vec<String>,
    pub(crate) exp: Timestamp,
    pub(crate) nbf: Option<Timestamp>,
    pub(crate) iat: Timestamp,
    pub(crate) jti: TokenId,
    pub(crate) client_id: String,
    pub(crate) sid: SessionId,
    pub(crate) scope: Scope,
}

/// What a payload says.
pub(crate) enum Payload {
    /// It is not a JSON object without duplicate members.
    Malformed,
    /// A registered claim is missing or of the wrong type.
    Incomplete,
    /// Its registered claims, and whether it has custom ones.
    Claims(RegisteredClaims, bool),
}

impl Payload {
    /// Reads the registered claims of a payload.
    pub(crate) fn read(payload: &[u8]) -> Self {
        let Some(Fields { values, has_others }) = fields(payload, &READ) else { return Self::Malformed };
        match RegisteredClaims::from_values(values) {
            Some(claims) => Self::Claims(claims, has_others),
            None => Self::Incomplete,
        }
    }
}

impl RegisteredClaims {
    fn from_values(values: [Option<Datum<'_>>; READ.len()]) -> Option<Self> {
        let [iss, sub, aud, exp, nbf, iat, jti, client_id, sid, scope] = values;
        let aud = match aud? {
            Datum::Text(one) => vec![one.into_owned()],
            Datum::Texts(many) => many.into_iter().map(Cow::into_owned).collect(),
            Datum::Integer(_) | Datum::Other => return None,
        };
        Some(Self {
            iss: iss?.text()?.into_owned(),
            sub: sub?.text()?.parse().ok()?,
            aud,
            exp: moment(&exp?)?,
            nbf: match nbf {
                Some(nbf) => Some(moment(&nbf)?),
                None => None,
            },
            iat: moment(&iat?)?,
            jti: jti?.text()?.parse().ok()?,
            client_id: client_id?.text()?.into_owned(),
            sid: sid?.text()?.parse().ok()?,
            scope: match scope {
                Some(scope) => scope.text()?.parse().ok()?,
                None => Scope::empty(),
            },
        })
    }

    /// What a token of this kind with these claims says that its record must say as well.
    pub(crate) fn says(&self, kind: TokenKind) -> ActiveToken {
        ActiveToken { user_id: self.sub, session_id: self.sid, kind, expires_at: self.exp }
    }

    /// How much memory they take beside their own size, in bytes, roughly.
    pub(crate) fn bytes(&self) -> usize {
        let aud: usize = self.aud.iter().map(|aud| size_of::<String>() + aud.len()).sum();
        self.iss.len() + aud + self.client_id.len() + self.scope.bytes()
    }

    /// With the custom claims of its payload the claims set; `None` where those are not a `C`. A
    /// token without custom claims needs no payload.
    pub(crate) fn with_custom<C: DeserializeOwned>(self, payload: Option<&[u8]>) -> Option<ClaimSet<C>> {
        let mut custom = match payload {
            Some(payload) => members(payload)?,
            None => Map::new(),
        };
        custom.retain(|name, _| !READ.contains(&name.as_str()));
        Some(ClaimSet {
            custom: serde_json::from_value(Value::Object(custom)).ok()?,
            iss: self.iss,
            sub: self.sub,
            aud: self.aud,
            exp: self.exp,
            iat: self.iat,
            jti: self.jti,
            client_id: self.client_id,
            sid: self.sid,
            scope: self.scope,
        })
    }
}

/// A NumericDate. RFC 7519 §2 allows fractions; we issue none and take none.
fn moment(value: &Datum<'_>) -> Option<Timestamp> {
    match *value {
        Datum::Integer(seconds @ 0..=LAST_SECOND) => Utc.timestamp_opt(seconds, 0).single(),
        _ => None,
    }
}
