mod fake_issuer;
mod fetch;
mod remote;
mod state;
mod tls;
mod urls;

use serde_json::{Value, json};

use self::fake_issuer::{FakeIssuer, Reply};
use super::*;
use crate::keys::{KeyError, SigningKey, VerifyingKey};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_mins(1);
const HOUR: Duration = Duration::from_hours(1);

/// Longer than anything takes that is not meant to hang.
const LONG: Duration = MINUTE;

/// Creates keys with these `kid`s.
fn keys<const N: usize>(kids: [&str; N]) -> VerifyingKeys {
    let key = |kid| SigningKey::generate()?.verifying_key().with_kid(kid);
    VerifyingKeys::new(kids.map(|kid| key(kid).unwrap())).unwrap()
}

fn kids(keys: &VerifyingKeys) -> Vec<String> {
    keys.iter().map(|key| key.kid().to_owned()).collect()
}

/// Returns the JWK set of these keys.
fn key_set(keys: &VerifyingKeys) -> String {
    json!({ "keys": keys.iter().map(VerifyingKey::to_jwk).collect::<Vec<_>>() }).to_string()
}

fn read_key_set(body: &[u8]) -> Result<VerifyingKeys, KeyError> {
    let set: Value = serde_json::from_slice(body).map_err(|_| KeyError::Jwk("no JSON"))?;
    let keys = set["keys"].as_array().ok_or(KeyError::Jwk("no keys"))?;
    keys.iter().try_fold(VerifyingKeys::default(), |keys, jwk| keys.with(VerifyingKey::from_jwk(&jwk.to_string())?))
}

/// Returns the text of an error and its causes.
fn chain(error: &(dyn Error + 'static)) -> String {
    let chain = std::iter::successors(Some(error), |&error| error.source());
    chain.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
