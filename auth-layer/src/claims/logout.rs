//! The claims of a logout token.

use super::{
    foreign::numeric_date,
    set::{optional, parsed, required, text_or_texts},
};
use crate::{
    clock::Timestamp,
    fault::TokenFault,
    id::{Login, Subject, TextId, Token},
    json::{Fields, fields},
};

/// The claims of a logout token (OpenID Connect Back-Channel Logout 1.0 §2.4).
///
/// `sub`, `sid` or both say who is logged out.
#[derive(Debug)]
pub(crate) struct LogoutClaims {
    pub(crate) aud: Vec<String>,
    pub(crate) issued_at: Timestamp,
    pub(crate) exp: Timestamp,
    pub(crate) id: TextId<Token>,
    pub(crate) subject: Option<Subject>,
    pub(crate) session: Option<TextId<Login>>,
}

impl LogoutClaims {
    /// Reads the claims of a payload.
    pub(crate) fn read(payload: &[u8]) -> Result<Self, TokenFault> {
        let names = ["aud", "iat", "exp", "jti", "sub", "sid"];
        let Fields { values: [aud, iat, exp, jti, sub, sid], .. } =
            fields(payload, &names).ok_or(TokenFault::Malformed)?;
        let claims = Self {
            aud: required("aud", aud, text_or_texts)?,
            issued_at: numeric_date(payload, "iat", iat)?.ok_or(TokenFault::Claim("iat"))?,
            exp: numeric_date(payload, "exp", exp)?.ok_or(TokenFault::Claim("exp"))?,
            id: required("jti", jti, parsed)?,
            subject: optional("sub", sub, parsed)?,
            session: optional("sid", sid, parsed)?,
        };
        let names_someone = claims.subject.is_some() || claims.session.is_some();
        if names_someone { Ok(claims) } else { Err(TokenFault::Claim("sub")) }
    }
}
