//! No input panics, and no changed proof passes.

use proptest::prelude::*;

use super::*;

fn config() -> ProptestConfig {
    ProptestConfig { failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn dpop_garbage_is_refused(text in prop_oneof![any::<String>(), "[A-Za-z0-9_-]{0,40}\\.[A-Za-z0-9_-]{0,40}\\.[A-Za-z0-9_-]{0,90}"]) {
        prop_assert!(verify(&text).is_err());
    }

    #[test]
    fn dpop_signed_garbage_is_refused(header in any::<String>(), payload in any::<String>()) {
        prop_assert!(verify(&signed(&key(), &header, &payload)).is_err());
    }

    #[test]
    fn dpop_proof_with_a_byte_changed_is_refused(at in any::<prop::sample::Index>(), byte in 0x21..=0x7E_u8) {
        let key = key();
        let text = signed(&key, &header(&key).to_string(), &payload().to_string());
        let mut changed = text.clone().into_bytes();
        changed[at.index(text.len())] = byte;
        let changed = String::from_utf8(changed).unwrap();
        prop_assert_eq!(verify(&changed).is_ok(), changed == text);
    }

    #[test]
    fn dpop_any_htu_is_read(htu in any::<String>(), path in any::<String>()) {
        let origin = origin();
        prop_assert!(!origin.has(&path, &htu) || htu.starts_with("http"));
        let with_user = format!("https://api.example@{htu}");
        prop_assert!(!origin.has(&path, &with_user));
    }

    #[test]
    fn dpop_normal_path_is_the_normal_form_of_itself(path in "(/(\\.|\\.\\.|%2[eEfF]|%[0-9a-fA-F]{2}|[a-z~]){0,4}){0,6}") {
        let uri = format!("https://api.example{path}");
        prop_assert!(origin().has(&path, &uri));
        let upper = path.replace("%2e", "%2E").replace("%2f", "%2F");
        prop_assert!(origin().has(&upper, &uri));
    }

    #[test]
    fn dpop_any_iat_is_read(iat in prop_oneof![any::<i64>().prop_map(Value::from), any::<f64>().prop_map(Value::from)]) {
        let result = verify_payload(&with(payload(), "iat", Some(iat)));
        prop_assert!(result.is_err() || result.unwrap().replay_until() > at(NOW));
    }
}
