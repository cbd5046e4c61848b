//! The claims: types, method, time, token and key.

use super::*;

#[test]
fn dpop_required_claims_must_be_there_and_of_their_type() {
    assert_eq!(fault(verify_payload(&payload())), None);
    for name in ["jti", "htm", "htu", "iat"] {
        for value in [None, Some(Value::Null), Some(json!({})), Some(json!(["a"])), Some(json!(true))] {
            let payload = with(payload(), name, value);
            assert_eq!(fault(verify_payload(&payload)), Some(ProofFault::Claim(name)), "{payload}");
        }
    }
    for name in ["jti", "htm", "htu", "ath", "nonce"] {
        for value in [json!(1), json!(null), json!([])] {
            let payload = with(payload(), name, Some(value));
            assert_eq!(fault(verify_payload(&payload)), Some(ProofFault::Claim(name)), "{payload}");
        }
    }
    for name in ["iat", "exp", "nbf"] {
        for value in [json!("1700000000"), json!(null), json!(i64::MAX), json!(u64::MAX), json!(-1e300)] {
            let payload = with(payload(), name, Some(value));
            assert_eq!(fault(verify_payload(&payload)), Some(ProofFault::Claim(name)), "{payload}");
        }
    }
}

#[test]
fn dpop_payload_must_be_an_object() {
    let key = key();
    for payload in ["", "[]", "null", "1", "\"a\"", "{", "{}{}", "\u{feff}{}"] {
        let text = signed(&key, &header(&key).to_string(), payload);
        assert_eq!(fault(verify(&text)), Some(ProofFault::Malformed), "{payload}");
    }
}

#[test]
fn dpop_jti_has_1_to_256_characters() {
    let verify = |jti: String| fault(verify_payload(&with(payload(), "jti", Some(jti.into()))));
    assert_eq!(verify("a".into()), None);
    assert_eq!(verify("é".repeat(256)), None);
    assert_eq!(verify("a".repeat(257)), Some(ProofFault::Claim("jti")));
    assert_eq!(verify(String::new()), Some(ProofFault::Claim("jti")));
}

#[test]
fn dpop_method_is_compared_with_case() {
    let origin = origin();
    let key = key();
    let verify = |htm: &str, method: &Method| {
        let payload = with(payload(), "htm", Some(htm.into()));
        let text = signed(&key, &header(&key).to_string(), &payload.to_string());
        fault(ProofCheck::new(method, &origin, PATH, at(NOW)).verify(&text))
    };
    let purge = Method::from_bytes(b"PURGE").unwrap();
    assert_eq!((verify("POST", &Method::POST), verify("PURGE", &purge)), (None, None));
    for htm in ["POST", "get", "GET ", ""] {
        assert_eq!(verify(htm, &Method::GET), Some(ProofFault::Method), "{htm}");
    }
}

/// Verifies a proof with this payload at this moment, in milliseconds after [`NOW`].
fn verify_at(payload: &Value, millis: i64) -> Option<ProofFault> {
    let key = key();
    let text = signed(&key, &header(&key).to_string(), &payload.to_string());
    let now = Timestamp::from_timestamp_millis(NOW * 1_000 + millis).unwrap();
    fault(ProofCheck::new(&Method::GET, &origin(), PATH, now).verify(&text))
}

#[test]
fn dpop_proof_is_accepted_from_60_s_before_to_30_s_after_its_iat() {
    for (millis, expected) in [
        (-3_600_000, Some(ProofFault::NotYetValid)),
        (-60_001, Some(ProofFault::NotYetValid)),
        (-60_000, None),
        (0, None),
        (30_000, None),
        (30_001, Some(ProofFault::Expired)),
        (3_600_000, Some(ProofFault::Expired)),
    ] {
        assert_eq!(verify_at(&payload(), millis), expected, "{millis}");
    }
}

#[test]
fn dpop_iat_may_have_a_fraction() {
    for iat in [json!(1_700_000_000.0), json!(1_700_000_000.999)] {
        let payload = with(payload(), "iat", Some(iat));
        assert_eq!(verify_at(&payload, 30_000), None, "{payload}");
        assert_eq!(verify_at(&payload, 30_001), Some(ProofFault::Expired), "{payload}");
    }
}

#[test]
fn dpop_iat_at_the_ends_of_time_is_refused() {
    for (iat, expected) in [
        (Timestamp::MIN_UTC.timestamp(), ProofFault::Expired),
        (0, ProofFault::Expired),
        (-1, ProofFault::Expired),
        (Timestamp::MAX_UTC.timestamp(), ProofFault::NotYetValid),
        (Timestamp::MAX_UTC.timestamp() + 1, ProofFault::Claim("iat")),
        (Timestamp::MIN_UTC.timestamp() - 1, ProofFault::Claim("iat")),
    ] {
        assert_eq!(verify_at(&with(payload(), "iat", Some(iat.into())), 0), Some(expected), "{iat}");
    }
}

#[test]
fn dpop_exp_and_nbf_narrow_the_window() {
    let with_exp = |exp: i64| with(payload(), "exp", Some((NOW + exp).into()));
    assert_eq!(verify_at(&with_exp(300), 30_000), None);
    assert_eq!(verify_at(&with_exp(300), 30_001), Some(ProofFault::Expired));
    assert_eq!(verify_at(&with_exp(-10), 20_000), None);
    assert_eq!(verify_at(&with_exp(-10), 20_001), Some(ProofFault::Expired));

    let with_nbf = |nbf: i64| with(payload(), "nbf", Some((NOW + nbf).into()));
    assert_eq!(verify_at(&with_nbf(-300), -60_000), None);
    assert_eq!(verify_at(&with_nbf(80), 19_999), Some(ProofFault::NotYetValid));
    assert_eq!(verify_at(&with_nbf(80), 20_000), None);
}

#[test]
fn dpop_proof_is_remembered_for_as_long_as_it_is_accepted() {
    let proof = verify_payload(&payload()).unwrap();
    assert_eq!(proof.replay_until(), at(NOW + 31));
    assert_eq!(verify_at(&payload(), 31_000), Some(ProofFault::Expired));
}

#[test]
fn dpop_ath_must_be_the_hash_of_the_token() {
    let origin = origin();
    let key = key();
    let check = ProofCheck::new(&Method::GET, &origin, PATH, at(NOW));
    let text = |ath: Option<&str>| {
        let payload = with(payload(), "ath", ath.map(Value::from));
        signed(&key, &header(&key).to_string(), &payload.to_string())
    };
    let hash = URL_SAFE_NO_PAD.encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, b"token"));
    assert_eq!(fault(check.access_token("token").verify(&text(Some(&hash)))), None);
    for ath in [None, Some(""), Some("token"), Some(&hash[1..]), Some(&format!("{hash}="))] {
        let result = check.access_token("token").verify(&text(ath));
        assert_eq!(fault(result), Some(ProofFault::AccessToken), "{ath:?}");
    }
    assert_eq!(fault(check.access_token("tokens").verify(&text(Some(&hash)))), Some(ProofFault::AccessToken));
    // Without a token there is nothing to compare.
    assert_eq!(fault(check.verify(&text(Some("any")))), None);
}

#[test]
fn dpop_proof_by_another_key_than_the_tokens_is_refused() {
    let origin = origin();
    let [key, other] = [key(), key()];
    let thumbprint = |key: &SigningKey| key.kid().parse::<Thumbprint>().unwrap();
    let text = signed(&key, &header(&key).to_string(), &payload().to_string());
    let check = ProofCheck::new(&Method::GET, &origin, PATH, at(NOW));
    assert_eq!(fault(check.bound_to(thumbprint(&key)).verify(&text)), None);
    assert_eq!(fault(check.bound_to(thumbprint(&other)).verify(&text)), Some(ProofFault::Binding));
}
