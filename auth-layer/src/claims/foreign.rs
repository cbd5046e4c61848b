//! The claims of another issuer's token, as each mints them.

use chrono::{TimeZone, Utc};

use super::{
    ClaimSet, Claims, Confirmation, CustomPayload, DenialKeys, Scope, VerifiedSignature,
    set::{LAST_SECOND, optional, parsed, required, text, text_or_texts, texts},
};
use crate::{
    clock::Timestamp,
    fault::TokenFault,
    json::{Datum, Fields, fields, member_number},
    kind::TokenKind,
    layer_context::LayerContext,
};

/// The claims that are read. Some have several names; of those the first that is there counts.
///
/// | claim | names |
/// | --- | --- |
/// | token id | `jti`; `uti` (Entra) |
/// | session | `sid`; `origin_jti` (Cognito) |
/// | client | `client_id`; `azp` (Keycloak, Auth0, Entra, Google); `cid` (Okta); `appid` (Entra) |
/// | scope | `scope`; `scp` (Entra, Okta) |
const NAMES: [&str; 20] = [
    "iss",
    "sub",
    "aud",
    "exp",
    "nbf",
    "iat",
    "jti",
    "uti",
    "sid",
    "origin_jti",
    "client_id",
    "azp",
    "cid",
    "appid",
    "scope",
    "scp",
    "auth_time",
    "acr",
    "amr",
    "cnf",
];

/// The names of the claim that names the client.
pub(crate) const CLIENT_CLAIMS: [&str; 4] = ["client_id", "azp", "cid", "appid"];

/// The claims of a token of another issuer, read and not verified yet.
pub(crate) struct ForeignClaims {
    pub(crate) set: ClaimSet,
    pub(crate) nbf: Option<Timestamp>,
}

impl ForeignClaims {
    /// Reads the claims of a payload.
    ///
    /// `iss`, `sub` and `exp` are required. Claims on which a decision depends must have the right
    /// type. `auth_time`, `acr` and `amr` of another type count as absent: some issuers have forms
    /// of their own, and a demand for them fails then.
    ///
    /// # Errors
    ///
    /// As [`RegisteredClaims::read`](super::RegisteredClaims::read).
    pub(crate) fn read(payload: &[u8]) -> Result<Self, TokenFault> {
        let Fields { values, .. } = fields(payload, &NAMES).ok_or(TokenFault::Malformed)?;
        let [iss, sub, aud, exp, nbf, iat, jti, uti, sid, origin_jti, values @ ..] = values;
        let [client_id, azp, cid, appid, scope, scp, auth_time, acr, amr, cnf] = values;
        let date = |name: &'static str, value: Option<Datum<'_>>| numeric_date(payload, name, value);
        let set = ClaimSet {
            iss: required("iss", iss, text)?,
            sub: required("sub", sub, parsed)?,
            aud: optional("aud", aud, text_or_texts)?.unwrap_or_default(),
            exp: date("exp", exp)?.ok_or(TokenFault::Claim("exp"))?,
            iat: date("iat", iat)?,
            jti: optional("jti", jti.or(uti), parsed)?,
            client_id: optional("client_id", client_id.or(azp).or(cid).or(appid), text)?,
            sid: optional("sid", sid.or(origin_jti), parsed)?,
            scope: optional("scope", scope.or(scp), scope_of)?.unwrap_or_default(),
            auth_time: date("auth_time", auth_time).unwrap_or_default(),
            acr: acr.and_then(text),
            amr: amr.and_then(texts).unwrap_or_default(),
            //= RFC 9449 §6.1
            cnf: cnf.map(|_| Confirmation::read(payload).ok_or(TokenFault::Claim("cnf"))).transpose()?,
        };
        Ok(Self { set, nbf: date("nbf", nbf)? })
    }

    /// Turns them into checked claims. Only `jwt` calls this, after verifying the signature.
    pub(crate) fn into_claims(
        self,
        denial_keys: DenialKeys,
        custom: CustomPayload,
        signature: VerifiedSignature,
        audiences: u64,
        first_layer: LayerContext,
    ) -> Claims {
        let valid_from = self.set.iat.max(self.nbf);
        let keys = Some(denial_keys);
        Claims::checked(self.set, TokenKind::Access, keys, custom, signature, audiences, first_layer, valid_from)
    }
}

/// Reads a scope: a text, or an array with a token in each text.
fn scope_of(value: Datum<'_>) -> Option<Scope> {
    match value {
        Datum::Text(text) => text.parse().ok(),
        Datum::Texts(tokens) if tokens.iter().any(|token| token.contains(' ')) => None,
        Datum::Texts(tokens) => tokens.join(" ").parse().ok(),
        Datum::Integer(_) | Datum::Other => None,
    }
}

/// Reads a NumericDate, if it is there. Its fraction is dropped (RFC 7519 §2).
#[expect(clippy::needless_pass_by_value, reason = "like the other readers")]
pub(super) fn numeric_date(
    payload: &[u8],
    name: &'static str,
    value: Option<Datum<'_>>,
) -> Result<Option<Timestamp>, TokenFault> {
    let seconds = match value {
        None => return Ok(None),
        Some(Datum::Integer(seconds)) => Some(seconds),
        #[expect(clippy::cast_possible_truncation, reason = "it drops the fraction, and saturates")]
        Some(Datum::Other) => {
            member_number(payload, name).filter(|seconds| *seconds >= 0.0).map(|seconds| seconds as i64)
        }
        Some(Datum::Text(_) | Datum::Texts(_)) => None,
    };
    let seconds = seconds.filter(|seconds| (0..=LAST_SECOND).contains(seconds));
    let date = seconds.and_then(|seconds| Utc.timestamp_opt(seconds, 0).single());
    date.map(Some).ok_or(TokenFault::Claim(name))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(mut more: Value) -> Result<ForeignClaims, TokenFault> {
        let mut payload = json!({ "iss": "https://idp", "sub": "7", "exp": 1_800_000_000 });
        payload.as_object_mut().unwrap().append(more.as_object_mut().unwrap());
        ForeignClaims::read(payload.to_string().as_bytes())
    }

    fn set(more: Value) -> ClaimSet {
        read(more).unwrap().set
    }

    #[test]
    fn foreign_claims_may_lack_all_but_issuer_subject_and_expiry() {
        let ForeignClaims { set, nbf } = read(json!({})).unwrap();
        assert_eq!(
            (set.iss.as_str(), set.sub.to_string(), set.exp.timestamp()),
            ("https://idp", "7".into(), 1_800_000_000)
        );
        assert!(set.aud.is_empty() && set.scope.is_empty() && set.amr.is_empty() && nbf.is_none() && set.iat.is_none());
        assert!(set.jti.is_none() && set.sid.is_none() && set.client_id.is_none() && set.cnf.is_none());
        for name in ["iss", "sub", "exp"] {
            let mut payload = json!({ "iss": "https://idp", "sub": "7", "exp": 1_800_000_000 });
            payload.as_object_mut().unwrap().remove(name);
            let fault = ForeignClaims::read(payload.to_string().as_bytes()).err();
            assert_eq!(fault, Some(TokenFault::Claim(name)));
        }
    }

    #[test]
    fn foreign_claims_are_found_under_each_name() {
        for (name, value) in [("jti", "a"), ("uti", "b")] {
            assert_eq!(set(json!({ name: value })).jti.unwrap(), value);
        }
        for (name, value) in [("sid", "a"), ("origin_jti", "b")] {
            assert_eq!(set(json!({ name: value })).sid.unwrap(), value);
        }
        for name in CLIENT_CLAIMS {
            assert_eq!(set(json!({ name: "web" })).client_id.unwrap(), "web");
        }
        let several =
            set(json!({ "uti": "no", "jti": "yes", "azp": "no", "client_id": "yes", "scp": "no", "scope": "yes" }));
        assert_eq!((several.jti.unwrap().to_string(), several.client_id.unwrap()), ("yes".into(), "yes".into()));
        assert_eq!(several.scope.to_string(), "yes");
    }

    #[test]
    fn foreign_scope_is_a_text_or_an_array() {
        for scope in [json!("a b"), json!(["a", "b"])] {
            for name in ["scope", "scp"] {
                assert_eq!(set(json!({ name: scope })).scope.to_string(), "a b");
            }
        }
        assert!(set(json!({ "scope": "" })).scope.is_empty() && set(json!({ "scp": [] })).scope.is_empty());
        for scope in [json!(["a b"]), json!(["a", 1]), json!(1), json!({}), json!(" a")] {
            assert_eq!(read(json!({ "scope": scope })).err(), Some(TokenFault::Claim("scope")), "{scope}");
        }
    }

    #[test]
    fn foreign_dates_may_have_a_fraction_that_is_dropped() {
        let claims = read(json!({ "iat": 1_700_000_000.9, "nbf": 1_700_000_001 })).unwrap();
        assert_eq!(
            (claims.set.iat.unwrap().timestamp(), claims.nbf.unwrap().timestamp()),
            (1_700_000_000, 1_700_000_001)
        );
        for date in
            [json!(-1), json!(-0.5), json!(253_402_300_800_i64), json!(1e300), json!("1"), json!(null), json!([1])]
        {
            assert_eq!(read(json!({ "iat": date })).err(), Some(TokenFault::Claim("iat")), "{date}");
        }
    }

    #[test]
    fn foreign_claims_that_decide_must_have_the_right_type_and_others_are_left_out() {
        for (name, value) in [("jti", json!(7)), ("sid", json!({})), ("azp", json!(["web"])), ("aud", json!(7))] {
            assert!(matches!(read(json!({ name: value })), Err(TokenFault::Claim(_))), "{name}");
        }
        assert_eq!(read(json!({ "cnf": { "x5t#S256": "x" } })).err(), Some(TokenFault::Claim("cnf")));
        let amr = json!([{ "method": "password" }]);
        let set = set(json!({ "amr": amr, "acr": 1, "auth_time": "yesterday" }));
        assert!(set.amr.is_empty() && set.acr.is_none() && set.auth_time.is_none());
    }
}
