//! Form, header, key and signature.

use std::collections::HashSet;

use http::HeaderMap;

use super::*;

#[test]
fn dpop_proof_by_either_algorithm_is_accepted() {
    for algorithm in ALGORITHMS {
        let key = SigningKey::generate_for(algorithm).unwrap();
        let proof = verify_header(&key, &header(&key)).unwrap();
        // The default `kid` of a key is its RFC 7638 thumbprint.
        assert_eq!(proof.thumbprint().to_string(), key.kid());
    }
}

#[test]
fn dpop_proof_with_a_wrong_signature_is_refused() {
    for algorithm in ALGORITHMS {
        let (key, other) = (SigningKey::generate_for(algorithm).unwrap(), SigningKey::generate_for(algorithm).unwrap());
        assert_eq!(fault(verify_header(&other, &header(&key))), Some(ProofFault::Signature));
        let text = signed(&key, &header(&key).to_string(), &payload().to_string());
        let (input, _) = text.rsplit_once('.').unwrap();
        for signature in [&[0; 64][..], &[0; 63], &[0; 1]] {
            assert_eq!(fault(verify(&assemble(input.into(), signature))), Some(ProofFault::Signature));
        }
        assert_eq!(fault(verify(&format!("{input}."))), Some(ProofFault::Malformed));
    }
}

#[test]
fn dpop_proof_is_three_parts_of_canonical_base64url() {
    let key = key();
    let text = signed(&key, &header(&key).to_string(), &payload().to_string());
    let parts: Vec<&str> = text.split('.').collect();
    let [header, payload, signature] = parts[..] else { panic!("three parts") };
    for text in [
        String::new(),
        "..".into(),
        format!("{header}.{payload}"),
        format!("{text}.{signature}"),
        format!("{text}="),
        format!(" {text}"),
        format!("{text}, {text}"),
        format!("{header}.{payload}.{signature}AAA"),
        // The unused bits of the last character are set.
        format!("{header}.{payload}.{}B", &signature[..85]),
        format!("é{text}"),
        format!(".{payload}.{signature}"),
        format!("{header}..{signature}"),
    ] {
        assert_eq!(fault(verify(&text)), Some(ProofFault::Malformed), "{text}");
    }
}

#[test]
fn dpop_proof_of_8_kib_is_accepted_and_a_longer_one_refused() {
    let key = key();
    let header = header(&key).to_string();
    let text = |padding| {
        let payload = with(payload(), "padding", Some("a".repeat(padding).into()));
        signed(&key, &header, &payload.to_string())
    };
    let lengths = (5_700..6_000).map(text).filter(|text| {
        let result = verify(text);
        let expected = (text.len() > MAX_PROOF_BYTES).then_some(ProofFault::Oversized);
        assert_eq!(result.err(), expected, "{}", text.len());
        text.len().abs_diff(MAX_PROOF_BYTES) <= 2
    });
    assert!(lengths.count() >= 2, "the lengths are on both sides of the limit");
}

#[test]
fn dpop_type_is_a_media_type() {
    let key = key();
    let verify = |typ: Option<Value>| fault(verify_header(&key, &with(header(&key), "typ", typ)));
    for typ in ["dpop+jwt", "DPOP+JWT", "application/dpop+jwt"] {
        assert_eq!(verify(Some(typ.into())), None, "{typ}");
    }
    for typ in ["at+jwt", "JWT", "", "dpop", "dpop+jwt ", "text/dpop+jwt"] {
        assert_eq!(verify(Some(typ.into())), Some(ProofFault::Type), "{typ}");
    }
    for typ in [None, Some(Value::Null), Some(json!(["dpop+jwt"]))] {
        assert_eq!(verify(typ), Some(ProofFault::Type));
    }
}

#[test]
fn dpop_algorithm_must_be_one_of_ours_and_the_keys() {
    for algorithm in ALGORITHMS {
        let key = SigningKey::generate_for(algorithm).unwrap();
        let other = ALGORITHMS.into_iter().find(|other| *other != algorithm).unwrap().as_str();
        let names = ["none", "None", "", "HS256", "RS256", "PS256", "ES384", "es256", "eddsa", other];
        for alg in names.map(|name| Some(name.into())).into_iter().chain([None, Some(json!(1)), Some(json!([other]))]) {
            let header = with(header(&key), "alg", alg);
            assert_eq!(fault(verify_header(&key, &header)), Some(ProofFault::Algorithm), "{header}");
        }
    }
}

#[test]
fn dpop_algorithm_of_an_ed25519_key_has_two_names() {
    for (algorithm, expected) in [(Algorithm::EdDsa, None), (Algorithm::Es256, Some(ProofFault::Algorithm))] {
        let key = SigningKey::generate_for(algorithm).unwrap();
        let header = with(header(&key), "alg", Some("Ed25519".into()));
        assert_eq!(fault(verify_header(&key, &header)), expected, "{algorithm:?}");
    }
}

#[test]
fn dpop_key_must_be_public_and_for_a_supported_algorithm() {
    let key = SigningKey::generate_for(Algorithm::Es256).unwrap();
    let rsa = json!({ "kty": "RSA", "n": "0vx7agoebGcQSuuPiLJXZptN9nndrQmb", "e": "AQAB" });
    for jwk in [
        rsa,
        json!({ "kty": "oct" }),
        json!({ "kty": "EC", "crv": "P-384", "x": "AA", "y": "AA" }),
        json!({ "kty": "OKP", "crv": "X25519", "x": "AA" }),
        json!({}),
        json!("a key"),
        json!([jwk(&key)]),
        Value::Null,
        with(jwk(&key), "kty", None),
        with(jwk(&key), "crv", Some(json!(256))),
        with(jwk(&key), "x", None),
        with(jwk(&key), "y", None),
        with(jwk(&key), "x", Some(json!(1))),
        with(jwk(&key), "x", Some("AAAA".into())),
        with(jwk(&key), "x", Some(format!("{}=", jwk(&key)["x"].as_str().unwrap()).into())),
        // Not a point of the curve.
        with(jwk(&key), "y", jwk(&key).get("x").cloned()),
    ] {
        let header = with(header(&key), "jwk", Some(jwk));
        assert_eq!(fault(verify_header(&key, &header)), Some(ProofFault::Key), "{header}");
    }
    assert_eq!(fault(verify_header(&key, &with(header(&key), "jwk", None))), Some(ProofFault::Key));
}

#[test]
fn dpop_private_or_symmetric_key_is_refused() {
    for algorithm in ALGORITHMS {
        let key = SigningKey::generate_for(algorithm).unwrap();
        for name in ["d", "p", "q", "dp", "dq", "qi", "oth", "k"] {
            for value in [json!("AA"), json!(""), json!(null), json!([])] {
                let header = with(header(&key), "jwk", Some(with(jwk(&key), name, Some(value))));
                assert_eq!(fault(verify_header(&key, &header)), Some(ProofFault::PrivateKey), "{header}");
            }
        }
    }
    let key = key();
    let header = with(header(&key), "jwk", Some(json!({ "kty": "oct", "k": "AA" })));
    assert_eq!(fault(verify_header(&key, &header)), Some(ProofFault::PrivateKey));
}

#[test]
fn dpop_members_that_a_key_does_not_need_are_ignored() {
    let key = key();
    let thumbprint = verify_header(&key, &header(&key)).unwrap().thumbprint();
    let exported =
        [("key_ops", json!(["verify"])), ("ext", json!(true)), ("kid", json!("a b")), ("alg", json!("ES512"))];
    let jwk = exported.into_iter().fold(jwk(&key), |jwk, (name, value)| with(jwk, name, Some(value)));
    let header = with(with(header(&key), "jwk", Some(jwk)), "kid", Some("1".into()));
    assert_eq!(verify_header(&key, &header).unwrap().thumbprint(), thumbprint);
}

#[test]
fn dpop_header_that_asks_for_more_is_refused() {
    let key = key();
    for name in ["crit", "jku", "x5c", "x5u", "b64", "enc", "zip"] {
        for value in [json!([]), json!(null), json!("a")] {
            let header = with(header(&key), name, Some(value));
            assert_eq!(fault(verify_header(&key, &header)), Some(ProofFault::Header), "{header}");
        }
    }
}

#[test]
fn dpop_duplicate_members_are_refused_at_every_depth() {
    let key = key();
    let (header, payload) = (header(&key).to_string(), payload().to_string());
    let headers = [
        header.replace("\"typ\"", "\"typ\":\"dpop+jwt\",\"typ\""),
        header.replace("\"alg\"", "\"\\u0061lg\":\"EdDSA\",\"alg\""),
        header.replace("\"kty\"", "\"kty\":\"OKP\",\"kty\""),
        header.replace("\"typ\"", "\"jwk\":{},\"typ\""),
        header.replace("\"typ\"", "\"a\":[{\"b\":1,\"b\":1}],\"typ\""),
    ];
    for header in headers {
        assert_eq!(fault(verify(&signed(&key, &header, &payload))), Some(ProofFault::Malformed), "{header}");
    }
    for member in ["\"jti\":\"b\"", "\"htu\":\"b\"", "\"a\":1,\"a\":1", "\"a\":{\"b\":{},\"b\":{}}"] {
        let payload = payload.replacen('{', &format!("{{{member},"), 1);
        assert_eq!(fault(verify(&signed(&key, &header, &payload))), Some(ProofFault::Malformed), "{payload}");
    }
}

#[test]
fn dpop_proof_is_found_in_its_header() {
    let mut headers = HeaderMap::new();
    assert_eq!(proof_header(&headers), Ok(None));
    headers.append("dpop", "a.b.c".parse().unwrap());
    assert_eq!(proof_header(&headers), Ok(Some("a.b.c")));
    headers.append("DPoP", "a.b.c".parse().unwrap());
    assert_eq!(proof_header(&headers), Err(ProofFault::Several));
    headers.insert("dpop", http::HeaderValue::from_bytes(b"\xff").unwrap());
    assert_eq!(proof_header(&headers), Err(ProofFault::Malformed));
}

#[test]
fn dpop_replay_key_covers_key_and_jti_alone() {
    let keys = [key(), key()];
    let origin = origin();
    let proof = |key: &SigningKey, jti: &str, method: Method| {
        let payload = with(with(payload(), "jti", Some(jti.into())), "htm", Some(method.as_str().into()));
        let text = signed(key, &header(key).to_string(), &payload.to_string());
        ProofCheck::new(&method, &origin, PATH, at(NOW)).verify(&text).unwrap().replay_key()
    };
    let get = Method::GET;
    let distinct: HashSet<_> =
        keys.iter().flat_map(|key| ["a", "b", "a\0", "é"].map(|jti| proof(key, jti, get.clone()))).collect();
    assert_eq!(distinct.len(), 8);
    assert_eq!(proof(&keys[0], "a", Method::POST), proof(&keys[0], "a", get));
}

#[test]
fn dpop_thumbprint_has_one_text() {
    let text = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I";
    let thumbprint: Thumbprint = text.parse().unwrap();
    assert_eq!(thumbprint.to_string(), text);
    let read: Thumbprint = serde_json::from_value(json!(text)).unwrap();
    assert_eq!((read, serde_json::to_value(read).unwrap()), (thumbprint, json!(text)));
    // The last one has unused bits that are set.
    for other in ["", "0Z", &text[1..], &format!("{text}="), &format!("{text}A"), &text.replace("uA4I", "uA4J")] {
        assert_eq!(other.parse::<Thumbprint>(), Err(InvalidThumbprint), "{other}");
        assert!(serde_json::from_value::<Thumbprint>(json!(other)).is_err());
    }
}

#[test]
fn dpop_debug_shows_neither_token_nor_nonce() {
    let nonces = Nonces::from_secret(&[7; 32]).unwrap();
    let nonce = nonces.current(at(NOW));
    let key = key();
    let payload = with(payload(), "nonce", Some(nonce.as_str().into()));
    let payload = with(payload, "ath", Some("bqNE9JQ2dVLgYDZSpXa6Xk3VZTGvPGqSwJLN3kFm_1Y".into()));
    let text = signed(&key, &header(&key).to_string(), &payload.to_string());
    let origin = origin();
    let check = ProofCheck::new(&Method::GET, &origin, PATH, at(NOW)).nonces(&nonces);
    let proof = check.verify(&text).unwrap();
    let check = check.access_token("a-secret-token");
    let refused = check.verify(&text).unwrap_err();
    let shown = format!("{check:?} {proof:?} {nonces:?} {nonce:?} {refused:?} {refused}");
    for secret in ["a-secret-token", nonce.as_str(), "a-jti", text.as_str()] {
        assert!(!shown.contains(secret), "{shown}");
    }
    assert!(shown.contains(&proof.thumbprint().to_string()), "{shown}");
}

#[test]
fn dpop_faults_have_the_codes_of_the_rfc() {
    assert_eq!(ProofFault::Nonce.error(), "use_dpop_nonce");
    assert_eq!(ProofFault::Binding.error(), "invalid_token");
    for fault in [ProofFault::Several, ProofFault::Signature, ProofFault::Claim("jti"), ProofFault::Replayed] {
        assert_eq!(fault.error(), "invalid_dpop_proof");
    }
    assert!(ProofFault::Claim("iat").to_string().contains("`iat`"));
}
