use base64::Engine;
use serde_json::{Value, json};

use super::*;

/// RFC 8037 appendix A.1.
const ED25519: &str = r#"{"kty":"OKP","crv":"Ed25519","d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A",
    "x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;

/// RFC 7515 appendix A.1.1.
const HMAC: &str = r#"{"kty":"oct","kid":"a",
    "k":"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"}"#;

/// RFC 7515 appendix A.3.1.
const P256: &str = r#"{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
    "y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0","d":"jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI"}"#;

/// RFC 7638 §3.1.
const RSA: &str = r#"{"kty":"RSA","alg":"RS256","e":"AQAB","n":"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw"}"#;

/// 1024 bits, made for this test.
const WEAK_RSA: &str = "-----BEGIN PRIVATE KEY-----
MIICdgIBADANBgkqhkiG9w0BAQEFAASCAmAwggJcAgEAAoGBAMURoaKTbju0BQK4
35NaHEfxRdqw9RoEhm1qjy7zBGcww6E9nRPI+WDXs1BYWHihrqHqbfTKn6POWrUs
E4RuVDEr/enKlnerUrehDP0Z3qOfOpTGEkJsmdaDnUFvb7c8HRbAsJuszDeR2CxX
XCyskTL/qrOdHRFvf0ALEUnKVZ1zAgMBAAECgYAWuUq/GWr7nW16e+Dj998M+KhK
aF9K6byqf0AVdNZMI9ZbEGS9dE41OYomuJkzB8nAR+z37ilsVQ4ml/eELMiuUtuq
xxhu9EMgC8Lbo8vOCGL/io49hh4cb9Mb2xsbJWTsMjPI7eUQRmhCHHRqqmITYbTR
G2yQpEmQNwHoezrAaQJBAPS88tM5zoImD+tIdxxrfbp1xjrxCk/Yd21u3c4CtCgc
PUeG+Phqqvskg578/s/P6DAAohQa/CfNnNsrcv2ZF/0CQQDOIyHlISxN/qzUQlvT
h8AXEsqhBV7arQbxnFPE9oFzu/W4tuS9UxQThC5wIWtalC1yvG9/q2R8oouxGKLl
se4vAkADu/5YisFD6yDDDlAC9wDsH2/u5k6p+TuZR9/KjPACzKuCs+SIpdgGDQCV
JHce5KU+VkQi2maOlOyXy4ntpLBhAkBfAWg0z2Y5CEClj3P8+Rr6R2nmbrA5/vct
Ugx1wdsF+UIWAQ1JiMm++PPiMDTnSVXtBJYq9FZa7xuM4rrpPGl3AkEApiqamSfE
vWXj4+0+b0BYlINZr8TP8lQQv1dqojX6VCHYzougN3gpsq3GNJTul6eunX4ONwAs
rAiAk7TN0sfqlQ==
-----END PRIVATE KEY-----";

fn with(jwk: &str, change: impl FnOnce(&mut Value)) -> String {
    let mut jwk: Value = serde_json::from_str(jwk).unwrap();
    change(&mut jwk);
    jwk.to_string()
}

fn without_d(jwk: &str) -> String {
    with(jwk, |jwk| {
        jwk.as_object_mut().unwrap().remove("d");
    })
}

fn refused(result: Result<impl std::fmt::Debug, KeyError>) -> KeyError {
    result.unwrap_err()
}

fn pem_body(pem: &str) -> Vec<u8> {
    let text: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    base64::engine::general_purpose::STANDARD.decode(text).unwrap()
}

fn base64url(text: &str) -> Vec<u8> {
    base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(text).unwrap()
}

fn one_of_each() -> Vec<SigningKey> {
    let generated = [Algorithm::EdDsa, Algorithm::Es256, Algorithm::Rs256, Algorithm::Ps256];
    let mut keys = generated.map(|algorithm| SigningKey::generate_for(algorithm).unwrap()).to_vec();
    keys.push(SigningKey::from_secret("hmac", &[7; 32]).unwrap());
    keys
}

#[test]
fn keys_of_ed25519_match_the_example_of_rfc_8037() {
    let key = SigningKey::from_jwk(ED25519).unwrap();
    assert_eq!(key.kid(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
    let message = b"eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc";
    let signature = base64url("hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg");
    assert_eq!(key.sign(message).unwrap(), signature);
    assert!(VerifyingKey::from_jwk(&without_d(ED25519)).unwrap().verify(message, &signature));
}

#[test]
fn keys_of_hs256_and_es256_verify_the_examples_of_rfc_7515() {
    let payload = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
    let message = format!("eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.{payload}");
    let signature = base64url("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk");
    assert!(VerifyingKey::from_jwk(HMAC).unwrap().verify(message.as_bytes(), &signature));
    assert_eq!(SigningKey::from_jwk(HMAC).unwrap().sign(message.as_bytes()).unwrap(), signature);

    let message = format!("eyJhbGciOiJFUzI1NiJ9.{payload}");
    let signature = base64url("DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q");
    assert!(VerifyingKey::from_jwk(&without_d(P256)).unwrap().verify(message.as_bytes(), &signature));
}

#[test]
fn keys_of_rsa_have_the_thumbprint_of_rfc_7638() {
    let key = VerifyingKey::from_jwk(RSA).unwrap();
    assert_eq!(key.kid(), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
}

#[test]
fn thumbprint_differs_exactly_where_key_material_or_algorithm_does() {
    let mut keys = one_of_each();
    keys.push(SigningKey::from_secret("hmac", &[7; 33]).unwrap());
    let rsa = keys[2].to_pkcs8_pem().unwrap();
    keys.push(SigningKey::from_pem(Algorithm::Ps256, rsa.as_bytes()).unwrap());
    assert_eq!(keys[2].kid(), keys[6].kid(), "one RSA key, for two algorithms");
    for (i, one) in keys.iter().enumerate() {
        for (j, other) in keys.iter().enumerate() {
            let same = one.verifying_key().thumbprint() == other.verifying_key().thumbprint();
            assert_eq!(same, i == j, "{one:?} {other:?}");
        }
        let verifying = one.verifying_key();
        let again = match (one.to_pkcs8_pem(), verifying.to_jwk()) {
            (Some(pem), Some(jwk)) => {
                let read = VerifyingKey::from_jwk(&jwk.to_string()).unwrap();
                assert_eq!(read.thumbprint(), verifying.thumbprint());
                SigningKey::from_pem(one.algorithm(), pem.as_bytes()).unwrap()
            }
            _ => SigningKey::from_secret("hmac", &[7; 33][..if i == 4 { 32 } else { 33 }]).unwrap(),
        };
        let renamed = again.with_kid("another").unwrap();
        assert_eq!(renamed.verifying_key().thumbprint(), verifying.thumbprint(), "{one:?}");
    }
}

/// The values were made with Python's hashlib.
#[test]
fn thumbprint_stays_the_same_in_every_version() {
    let text = |key: &VerifyingKey| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(key.thumbprint());
    let key = VerifyingKey::from_jwk(&without_d(ED25519)).unwrap();
    assert_eq!(text(&key), "RMHIlz1iXgvN-hsjIJryBjKQnRvKNk3-twf_jOZhgIQ");
    let key = VerifyingKey::from_jwk(HMAC).unwrap();
    assert_eq!(text(&key), "4L2EG51bDyHNb8E965uGXK0C8y2B7uaHspTy0zYzkck");
    assert!(!format!("{key:?}").contains(&text(&key)[..8]));
}

#[test]
fn verifying_keys_contain_others_when_each_kid_has_the_same_key() {
    let secret = |byte| VerifyingKeys::from(VerifyingKey::from_secret("hmac", &[byte; 32]).unwrap());
    let both = secret(7).with(VerifyingKey::from_jwk(RSA).unwrap()).unwrap();
    assert!(both.contains_all(&secret(7)), "the same secret, loaded again");
    assert!(!secret(7).contains_all(&both));
    assert!(!both.contains_all(&secret(8)));
    let ps256 = VerifyingKey::from_jwk(&with(RSA, |jwk| jwk["alg"] = "PS256".into())).unwrap();
    assert!(!both.contains_all(&secret(7).with(ps256).unwrap()));
}

#[test]
fn keys_come_back_the_same_from_pem_and_jwk() {
    for key in one_of_each() {
        let algorithm = key.algorithm();
        let Some(pem) = key.to_pkcs8_pem() else {
            assert_eq!(algorithm, Algorithm::Hs256);
            assert_eq!(key.verifying_key().to_jwk(), None, "a secret is never published");
            continue;
        };
        let again = SigningKey::from_pem(algorithm, pem.as_bytes()).unwrap();
        assert_eq!(again.kid(), key.kid());
        let public = key.verifying_key().to_jwk().unwrap();
        assert_eq!(public["kid"], key.kid());
        assert!(public.get("d").is_none());
        let public = VerifyingKey::from_jwk(&public.to_string()).unwrap();
        let signature = again.sign(b"message").unwrap();
        assert!(public.verify(b"message", &signature), "{algorithm}");
        assert!(!public.verify(b"massage", &signature), "{algorithm}");
        let repeats = again.sign(b"message").unwrap() == signature;
        assert_eq!(repeats, algorithm.is_deterministic(), "{algorithm}");
    }
    let key = SigningKey::from_jwk(P256).unwrap();
    assert!(key.verifying_key().verify(b"m", &key.sign(b"m").unwrap()));
}

#[test]
fn keys_verify_no_signature_of_another_key_and_no_rubbish() {
    let keys = one_of_each();
    for (i, signer) in keys.iter().enumerate() {
        let signature = signer.sign(b"message").unwrap();
        for (j, other) in keys.iter().enumerate() {
            assert_eq!(other.verifying_key().verify(b"message", &signature), i == j);
        }
        let verifying = signer.verifying_key();
        for length in [0, 1, 31, 32, 63, 64, 65, 256, 384, 512, 4096] {
            assert!(!verifying.verify(b"message", &vec![0; length]));
        }
        assert!(!verifying.verify(b"message", &signature[1..]));
        assert!(!verifying.verify(b"message", &[&signature[..], &[0]].concat()));
    }
}

/// False decides nothing, so only a wrong `true` would do harm.
#[test]
fn keyring_knows_signatures_of_its_own_ed25519_keys() {
    let [own, retired, other] = [(); 3].map(|()| SigningKey::generate().unwrap());
    let ring = Keyring::new(own.clone()).with_retired(retired.clone()).unwrap();
    for key in [&own, &retired] {
        let (public, signature) = (key.verifying_key(), key.sign(b"message").unwrap());
        assert!(ring.has_signed(&public, b"message", &signature));
        assert!(!ring.has_signed(&public, b"massage", &signature));
        assert!(!ring.has_signed(&other.verifying_key(), b"message", &signature));
        for length in [0, 63, 64, 65] {
            assert!(!ring.has_signed(&public, b"message", &vec![0; length]));
        }
    }
    // Two keys with one `kid`, as while the keys are being replaced.
    let renamed = other.with_kid(own.kid()).unwrap();
    let signature = own.sign(b"message").unwrap();
    assert!(!ring.has_signed(&renamed.verifying_key(), b"message", &signature));
    let checks = Keyring::new(renamed).with_verifying(retired.verifying_key()).unwrap();
    assert!(!checks.has_signed(&retired.verifying_key(), b"message", &retired.sign(b"message").unwrap()));
    for key in one_of_each().into_iter().filter(|key| key.algorithm() != Algorithm::EdDsa) {
        let signature = key.sign(b"message").unwrap();
        assert!(!Keyring::new(key.clone()).has_signed(&key.verifying_key(), b"message", &signature));
    }
}

#[test]
fn keys_open_only_what_they_sealed() {
    let keys = one_of_each();
    for key in &keys {
        let sealed = key.seal(b"context", b"plain").unwrap();
        assert_eq!(key.unseal(b"context", &sealed).unwrap(), b"plain");
        assert_ne!(key.seal(b"context", b"plain").unwrap(), sealed);
        assert_eq!(key.unseal(b"another", &sealed), None);
        assert_eq!(key.unseal(b"context", &sealed[..sealed.len() - 1]), None);
        assert_eq!(key.unseal(b"context", b""), None);
        for other in keys.iter().filter(|other| other.kid() != key.kid()) {
            assert_eq!(other.unseal(b"context", &sealed), None);
        }
    }
    // Another node has loaded the same key from its file.
    let key = &keys[1];
    let loaded = SigningKey::from_pem(key.algorithm(), key.to_pkcs8_pem().unwrap().as_bytes()).unwrap();
    assert_eq!(loaded.unseal(b"", &key.seal(b"", b"plain").unwrap()).unwrap(), b"plain");
}

#[test]
fn keys_that_are_weak_are_refused() {
    assert_eq!(refused(SigningKey::from_secret("a", &[7; 31])), KeyError::ShortSecret(31));
    assert_eq!(refused(VerifyingKey::from_secret("a", b"")), KeyError::ShortSecret(0));
    let pem = b"-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\n-----END";
    assert_eq!(refused(SigningKey::from_secret("a", pem)), KeyError::SecretIsPem);
    let short = with(RSA, |jwk| {
        let n = jwk["n"].as_str().unwrap()[..172].to_owned();
        jwk["n"] = n.into();
    });
    assert!(matches!(refused(VerifyingKey::from_jwk(&short)), KeyError::RsaBits(1032)));
}

#[test]
fn keys_of_rsa_that_are_too_small_are_refused_in_any_form() {
    let pkcs8 = aws_lc_rs::rsa::KeyPair::from_pkcs8(&pem_body(WEAK_RSA)).unwrap_err();
    assert!(pkcs8.to_string().contains("Small"), "{pkcs8}: the key is good except for its size");
    // PKCS #8 ends with the PKCS #1 form.
    let pkcs1 = format!(
        "-----BEGIN RSA PRIVATE KEY-----\n{}\n-----END RSA PRIVATE KEY-----\n",
        base64::engine::general_purpose::STANDARD.encode(&pem_body(WEAK_RSA)[26..])
    );
    for algorithm in [Algorithm::Rs256, Algorithm::Ps256] {
        for pem in [WEAK_RSA, &pkcs1] {
            assert_eq!(refused(SigningKey::from_pem(algorithm, pem.as_bytes())), KeyError::RsaBits(1024));
        }
    }
    let jwk = with(RSA, |jwk| {
        let n = jwk["n"].as_str().unwrap()[..172].to_owned();
        jwk["n"] = n.into();
        for private in ["d", "p", "q", "dp", "dq", "qi"] {
            jwk[private] = "AQAB".into();
        }
    });
    assert_eq!(refused(SigningKey::from_jwk(&jwk)), KeyError::RsaBits(1032));
    let cut = WEAK_RSA.replace("MIICdgIB", "MIICdwIB");
    assert_eq!(refused(SigningKey::from_pem(Algorithm::Rs256, cut.as_bytes())), KeyError::Pem(Algorithm::Rs256));
}

#[test]
fn keys_meant_for_another_use_are_refused() {
    assert_eq!(refused(SigningKey::from_jwk(&with(ED25519, |jwk| jwk["use"] = "enc".into()))), KeyError::Use("use"));
    let verifies = with(ED25519, |jwk| jwk["key_ops"] = json!(["verify"]));
    assert_eq!(refused(SigningKey::from_jwk(&verifies)), KeyError::Use("key_ops"));
    assert!(VerifyingKey::from_jwk(&without_d(&verifies)).is_ok());
    assert_eq!(
        refused(VerifyingKey::from_jwk(&with(RSA, |jwk| jwk["key_ops"] = json!(["encrypt"])))),
        KeyError::Use("key_ops")
    );
}

#[test]
fn keys_with_mismatched_parts_are_refused() {
    let set = |jwk: &str, name: &str, value: Value| with(jwk, |jwk| jwk[name] = value);
    for (jwk, alg) in [(ED25519, "ES256"), (P256, "EdDSA"), (P256, "ES384"), (RSA, "HS256"), (HMAC, "RS256")] {
        assert_eq!(refused(SigningKey::from_jwk(&set(jwk, "alg", alg.into()))), KeyError::AlgorithmMismatch, "{alg}");
    }
    let other_x = "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU";
    assert_eq!(refused(SigningKey::from_jwk(&set(ED25519, "x", other_x.into()))), KeyError::Inconsistent);
    assert_eq!(
        refused(SigningKey::from_jwk(&set(P256, "x", other_x.replace('f', "g").into()))),
        KeyError::Inconsistent
    );
    assert_eq!(
        refused(VerifyingKey::from_jwk(&without_d(&set(P256, "y", other_x.into())))),
        KeyError::Inconsistent,
        "no point of the curve"
    );
    let spki = "MCowBQYDK2VwAyEA11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
    assert!(matches!(refused(VerifyingKey::from_jwk(&without_d(&set(ED25519, "x", spki.into())))), KeyError::Jwk(_)));
    let unnamed = with(RSA, |jwk| {
        jwk.as_object_mut().unwrap().remove("alg");
    });
    assert!(matches!(refused(VerifyingKey::from_jwk(&unnamed)), KeyError::Jwk(_)));
    assert!(matches!(refused(SigningKey::from_jwk(&set(P256, "crv", "P-384".into()))), KeyError::Jwk(_)));
    assert!(matches!(refused(SigningKey::from_jwk(&set(ED25519, "kid", 7.into()))), KeyError::Jwk(_)));
    assert!(matches!(refused(SigningKey::from_jwk(&ED25519.replace("\"d\"", "\"x\""))), KeyError::Jwk(_)), "twice x");
}

#[test]
fn keys_that_are_private_are_not_taken_for_public_ones() {
    assert_eq!(refused(SigningKey::from_jwk(&without_d(ED25519))), KeyError::PublicKey);
    assert_eq!(refused(VerifyingKey::from_jwk(ED25519)), KeyError::PrivateKey);
    let public = b"-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\n-----END PUBLIC KEY-----\n";
    assert!(VerifyingKey::from_pem(Algorithm::EdDsa, public).is_ok());
    assert_eq!(refused(SigningKey::from_pem(Algorithm::EdDsa, public)), KeyError::PublicKey);
    for key in one_of_each() {
        let Some(pem) = key.to_pkcs8_pem() else { continue };
        assert_eq!(refused(VerifyingKey::from_pem(key.algorithm(), pem.as_bytes())), KeyError::PrivateKey);
        let (other, wrong) = if key.algorithm() == Algorithm::EdDsa {
            (Algorithm::Es256, Algorithm::Es256)
        } else {
            (Algorithm::EdDsa, Algorithm::EdDsa)
        };
        assert_eq!(refused(SigningKey::from_pem(other, pem.as_bytes())), KeyError::Pem(wrong));
    }
    assert_eq!(refused(SigningKey::from_pem(Algorithm::Hs256, public)), KeyError::Form(Algorithm::Hs256));
    assert_eq!(refused(SigningKey::from_pem(Algorithm::EdDsa, b"rubbish")), KeyError::Pem(Algorithm::EdDsa));
}

#[test]
fn keyring_has_each_kid_once_and_names_the_signing_key() {
    let (first, second) = (SigningKey::generate().unwrap(), SigningKey::generate().unwrap());
    let ring = Keyring::new(first.clone()).with_retired(second.clone()).unwrap();
    assert_eq!(ring.signing().kid(), first.kid());
    assert_eq!(ring.signing_key(second.kid()).unwrap().kid(), second.kid());
    assert!(ring.verifying().get(second.kid()).is_some());
    assert!(ring.verifying().get("").is_none());
    assert_eq!(refused(ring.clone().with_verifying(first.verifying_key())), KeyError::DuplicateKid);
    let third = VerifyingKey::from_jwk(RSA).unwrap();
    let kid = third.kid().to_owned();
    let ring = ring.with_verifying(third).unwrap();
    assert!(ring.verifying().get(&kid).is_some());
    assert!(ring.signing_key(&kid).is_none(), "it only verifies");
    assert_eq!(ring.verifying_keys().count(), 3);
    for kid in ["", "a b", "é", &"a".repeat(129)] {
        assert_eq!(refused(first.clone().with_kid(kid)), KeyError::Kid, "{kid:?}");
    }
    assert_eq!(refused(SigningKey::from_jwk(&HMAC.replace(r#""kid":"a","#, ""))), KeyError::Kid);
}

#[test]
fn keys_are_in_no_debug_output() {
    let key = SigningKey::from_jwk(HMAC).unwrap();
    let shown = format!("{key:?} {:?} {:?}", key.verifying_key(), Keyring::new(key.clone()));
    assert!(!shown.contains("AyM1"), "{shown}");
    assert!(shown.contains("HS256") || shown.contains("Hs256"), "{shown}");
}
