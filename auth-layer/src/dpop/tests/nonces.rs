//! Nonces over time, keys and rotation.

use super::*;
use crate::keys::{KeyError, Keyring};

/// The start of a slot.
const START: i64 = 1_700_000_040;

#[test]
fn dpop_nonce_is_accepted_in_its_slot_and_the_next() {
    let nonces = Nonces::from(&Keyring::new(key()));
    assert_eq!(START % 60, 0);
    for (made, used, accepted) in [
        (START, START, true),
        (START, START + 59, true),
        (START, START + 60, true),
        (START, START + 119, true),
        (START, START + 120, false),
        (START + 59, START + 119, true),
        (START + 59, START + 120, false),
        (START + 60, START + 59, false),
        (-1, -1, true),
        (-1, 59, true),
        (-1, 60, false),
    ] {
        let nonce = nonces.current(at(made));
        assert_eq!(nonces.accepts(nonce.as_str(), at(used)), accepted, "{made} {used}");
    }
}

#[test]
fn dpop_nonces_of_one_key_agree_and_of_another_do_not() {
    let (secret, other) = ([1; 32], [2; 32]);
    let nonces = |secret: &[u8]| Nonces::from_secret(secret).unwrap();
    let nonce = nonces(&secret).current(at(START));
    assert_eq!(nonce.as_str(), nonces(&secret).current(at(START + 59)).as_str());
    assert!(nonces(&secret).accepts(nonce.as_str(), at(START)));
    assert!(!nonces(&other).accepts(nonce.as_str(), at(START)));
    assert_eq!(Nonces::from_secret(&[1; 31]).unwrap_err(), KeyError::ShortSecret(31));
}

#[test]
fn dpop_nonce_survives_the_rotation_of_its_key() {
    for algorithm in [Algorithm::EdDsa, Algorithm::Es256] {
        let (old, new) = (SigningKey::generate_for(algorithm).unwrap(), key());
        let before = Nonces::from(&Keyring::new(old.clone()));
        let after = Nonces::from(&Keyring::new(new.clone()).with_retired(old.clone()).unwrap());
        let published = Nonces::from(&Keyring::new(old).with_retired(new).unwrap());
        assert!(after.accepts(before.current(at(START)).as_str(), at(START)));
        assert!(published.accepts(after.current(at(START)).as_str(), at(START)));
        assert!(!before.accepts(after.current(at(START)).as_str(), at(START)));
    }
    let shared = || Nonces::from(&Keyring::new(SigningKey::from_secret("shared", &[3; 32]).unwrap()));
    assert!(shared().accepts(shared().current(at(START)).as_str(), at(START)));
}

#[test]
fn dpop_nonce_has_the_syntax_of_the_rfc() {
    let nonces = Nonces::from_secret(&[7; 32]).unwrap();
    for minute in 0..200 {
        let nonce = nonces.current(at(START + 60 * minute));
        assert_eq!(nonce.as_str().len(), 24);
        // NQCHAR of RFC 6749 appendix A.
        assert!(nonce.as_str().bytes().all(|byte| matches!(byte, b'!' | b'#'..=b'[' | b']'..=b'~')));
        assert_eq!(nonce.to_header_value(), nonce.as_str());
    }
    for other in ["", "a", " ", &"A".repeat(24), "é"] {
        assert!(!nonces.accepts(other, at(START)), "{other}");
    }
}

#[test]
fn dpop_nonce_is_demanded_where_the_check_has_nonces() {
    let origin = origin();
    let nonces = Nonces::from_secret(&[7; 32]).unwrap();
    let key = key();
    let text = |nonce: Option<&str>| {
        let payload = with(payload(), "nonce", nonce.map(Value::from));
        signed(&key, &header(&key).to_string(), &payload.to_string())
    };
    let check = ProofCheck::new(&Method::GET, &origin, PATH, at(NOW));
    let demanding = check.nonces(&nonces);
    let [current, before, stale] = [0, 60, 120].map(|ago| nonces.current(at(NOW - ago)));
    for nonce in [&current, &before] {
        assert_eq!(fault(demanding.verify(&text(Some(nonce.as_str())))), None);
    }
    for nonce in [None, Some(""), Some("another"), Some(stale.as_str())] {
        assert_eq!(fault(demanding.verify(&text(nonce))), Some(ProofFault::Nonce), "{nonce:?}");
        assert_eq!(fault(check.verify(&text(nonce))), None, "{nonce:?}");
    }
    // A proof that is wrong otherwise gets no nonce: a new one would not help.
    let late = ProofCheck::new(&Method::GET, &origin, PATH, at(NOW + 60)).nonces(&nonces);
    assert_eq!(fault(late.verify(&text(None))), Some(ProofFault::Expired));
}
