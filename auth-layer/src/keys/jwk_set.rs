//! Reads a JWK set (RFC 7517 §5).

use serde::Deserialize;
use serde_json::{Map, Value};

use super::{
    Algorithm, KeyError, VerifyingKey, VerifyingKeys,
    jwk::{Jwk, KeyUse},
};
use crate::json::fields;

#[derive(Deserialize)]
struct JwkSet {
    keys: Vec<Value>,
}

/// Reads the keys of a JWK set that verify with one of these algorithms.
///
/// Other keys are left out, as RFC 7517 §5 says: of other types, for encryption, or broken. Of two
/// keys with one `kid` the first is kept. An RSA key without `alg` gets the first RSA algorithm of
/// the list.
///
/// # Errors
///
/// [`KeyError::Set`] if the text is not a JWK set, or no key is left.
pub(crate) fn read_jwk_set(json: &[u8], algorithms: &[Algorithm]) -> Result<VerifyingKeys, KeyError> {
    // Refuses duplicate members, at every depth.
    fields(json, &[]).ok_or(KeyError::Set("it is not a JSON object without duplicate members"))?;
    let set: JwkSet = serde_json::from_slice(json).map_err(|_| KeyError::Set("it has no array `keys`"))?;
    let unnamed = algorithms.iter().copied().find(|one| matches!(one, Algorithm::Rs256 | Algorithm::Ps256));
    let mut keys = VerifyingKeys::default();
    for jwk in set.keys {
        let Value::Object(members) = jwk else { continue };
        match read_key(members, unnamed) {
            Ok(key) if !algorithms.contains(&key.algorithm()) => {
                tracing::debug!(kid = key.kid(), algorithm = %key.algorithm(), "a key of a JWK set is for another algorithm");
            }
            Ok(key) => match keys.clone().with(key) {
                Ok(more) => keys = more,
                Err(error) => tracing::debug!(%error, "a key of a JWK set is left out"),
            },
            Err(error) => tracing::debug!(%error, "a key of a JWK set is left out"),
        }
    }
    if keys.is_empty() { Err(KeyError::Set("it has none")) } else { Ok(keys) }
}

fn read_key(members: Map<String, Value>, unnamed: Option<Algorithm>) -> Result<VerifyingKey, KeyError> {
    VerifyingKey::of_jwk(Jwk::from_members(members, KeyUse::Verify, unnamed)?)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::keys::SigningKey;

    const PUBLIC: [Algorithm; 4] = [Algorithm::EdDsa, Algorithm::Es256, Algorithm::Rs256, Algorithm::Ps256];

    fn jwk(algorithm: Algorithm, kid: &str) -> Value {
        let key = SigningKey::generate_for(algorithm).unwrap().verifying_key();
        key.with_kid(kid).unwrap().to_jwk().unwrap()
    }

    fn without(mut jwk: Value, name: &str) -> Value {
        jwk.as_object_mut().unwrap().remove(name);
        jwk
    }

    fn read(keys: &[Value], algorithms: &[Algorithm]) -> Result<Vec<(String, Algorithm)>, KeyError> {
        let keys = read_jwk_set(json!({ "keys": keys }).to_string().as_bytes(), algorithms)?;
        Ok(keys.iter().map(|key| (key.kid().to_owned(), key.algorithm())).collect())
    }

    #[test]
    fn jwk_set_without_alg_binds_rsa_keys_to_the_first_rsa_algorithm_that_is_allowed() {
        let entra = without(jwk(Algorithm::Rs256, "entra"), "alg");
        let read = |algorithms: &[Algorithm]| read(std::slice::from_ref(&entra), algorithms);
        assert_eq!(read(&PUBLIC), Ok(vec![("entra".into(), Algorithm::Rs256)]));
        assert_eq!(read(&[Algorithm::Ps256, Algorithm::Rs256]), Ok(vec![("entra".into(), Algorithm::Ps256)]));
        assert!(matches!(read(&[Algorithm::Es256]), Err(KeyError::Set(_))));
    }

    #[test]
    fn jwk_set_leaves_out_keys_that_do_not_verify_or_are_not_allowed() {
        let mut encryption = jwk(Algorithm::Rs256, "encryption");
        encryption["use"] = "enc".into();
        let mut other = jwk(Algorithm::Rs256, "other");
        other["alg"] = "RS512".into();
        let mut broken = jwk(Algorithm::Es256, "broken");
        broken["y"] = broken["x"].clone();
        let secret = json!({ "kty": "oct", "k": "QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUE", "kid": "secret" });
        let keys = [
            encryption,
            other,
            broken,
            secret.clone(),
            json!(null),
            json!({ "kty": "EC", "crv": "P-521" }),
            jwk(Algorithm::EdDsa, "good"),
            jwk(Algorithm::EdDsa, "good"),
            without(without(jwk(Algorithm::Es256, "no-alg"), "alg"), "use"),
        ];
        let good = vec![("good".into(), Algorithm::EdDsa), ("no-alg".into(), Algorithm::Es256)];
        assert_eq!(read(&keys, &PUBLIC), Ok(good));
        assert_eq!(read(&[secret], &[Algorithm::Hs256]), Ok(vec![("secret".into(), Algorithm::Hs256)]));
    }

    #[test]
    fn jwk_set_with_a_private_key_does_not_take_it() {
        let mut leaked = jwk(Algorithm::EdDsa, "leaked");
        leaked["d"] = leaked["x"].clone();
        assert!(matches!(read(&[leaked], &PUBLIC), Err(KeyError::Set(_))));
    }

    #[test]
    fn jwk_set_that_is_none_or_empty_is_an_error() {
        for text in ["", "<html>", "[]", "{}", r#"{"keys":{}}"#, r#"{"keys":[],"keys":[]}"#, r#"{"keys":[]}"#] {
            assert!(matches!(read_jwk_set(text.as_bytes(), &PUBLIC), Err(KeyError::Set(_))), "{text}");
        }
    }
}
