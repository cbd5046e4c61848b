//! The keys were made for these tests by openssl.

use super::*;
use crate::keys::SigningKey;

const P384: &str = "-----BEGIN PRIVATE KEY-----
MIG2AgEAMBAGByqGSM49AgEGBSuBBAAiBIGeMIGbAgEBBDAhFHxHqoDu6NsTH+w5
RoUTFGgKIEIFNiE9rWd2Ha88QvX3ttyKeEMTGj4hmzlgEw+hZANiAAT/M1UglBJB
S+VbwcQMdEbI8yl4PVatbg22IKmAwQg6B5277vG1WKiWWkW0+ogGe6ci0KU65mTN
0JG1xbaAtuKtotfHY6/AtitPa/1upNcMnkqdc91CZ0xv1JeMflH4SUE=
-----END PRIVATE KEY-----
";

const SEC1: &str = "-----BEGIN EC PARAMETERS-----
BggqhkjOPQMBBw==
-----END EC PARAMETERS-----
-----BEGIN EC PRIVATE KEY-----
MHcCAQEEIO4DiUNykvjUb3hvLKAEHA1UD81EZFtkDDnVG9aoM1NKoAoGCCqGSM49
AwEHoUQDQgAENY2c4S067SDCUWYZz4wGJTZ5kdCdrO346xNB0IFEMqYbJuxfwh0S
ipgMb1WAvDdmTfkBpN1WHh5vfZ1qIKqRMQ==
-----END EC PRIVATE KEY-----
";

const ENCRYPTED_PKCS8: &str = "-----BEGIN ENCRYPTED PRIVATE KEY-----
MIGbMFcGCSqGSIb3DQEFDTBKMCkGCSqGSIb3DQEFDDAcBAhIqFI/AeSFewICCAAw
DAYIKoZIhvcNAgkFADAdBglghkgBZQMEASoEEE78DKcW0VCYi9w694Ca984EQFLK
Ilkm6C3XcvF3j5t44D7snqccD8qjvgHDzu9XL8RE+OG3fNMeG47kv6egHDj/01mm
yRYCya4vriUNJOY3V0E=
-----END ENCRYPTED PRIVATE KEY-----
";

const ENCRYPTED_SEC1: &str = "-----BEGIN EC PRIVATE KEY-----
Proc-Type: 4,ENCRYPTED
DEK-Info: AES-128-CBC,A3645CFA99D9F41D5552CB230E3C1CFB

GNwtADx9Q5Cfc3JVK2xkPxy8s1qgJ7OoT6kDUwejXWAMzdbQI0bCmxClTNNkcvfw
BepYurxOv5sy8eLxoUne0O05blfxZEgq9rYa1zJ0/ghKsf0IdKtF+RJ2QdYdhXCr
JT5P37ftRD1SAqwH21GT3jHU1TPZMpjr5SX7ExsJsQ4=
-----END EC PRIVATE KEY-----
";

const ED25519: &str = "-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEIFyG98yzkjRSRijBwbqZUV/WUgtk7mvqsdTDrA+ZSBVt
-----END PRIVATE KEY-----
";

const ED448: &str = "-----BEGIN PRIVATE KEY-----
MEcCAQAwBQYDK2VxBDsEOS65t5ClGfsnTOHNgR8q8xgML6zZU1Zuw2hKYGx0MrCR
+XeIfOkS4O/BccDaQOd04J7chq6M51NqZA==
-----END PRIVATE KEY-----
";

const X25519: &str = "-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VuBCIEINh7f+Dn+8y5RVN8jWuUGmapTk6hhBaahJtEetfFb1V+
-----END PRIVATE KEY-----
";

const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----
MIIBLDCB36ADAgECAhRj5g6LlTfnUDFMOLMQntxK60qFHjAFBgMrZXAwDDEKMAgG
A1UEAwwBeDAeFw0yNjExMjkwMTM3MzdaFw0yNjExMzAwMTM3MzdaMAwxCjAIBgNV
BAMMAXgwKjAFBgMrZXADIQBcJ8DT9ciq87qia8xT7WTjQy2fwvKvbxrXhbV1HV3A
F6NTMFEwHQYDVR0OBBYEFJ4hGxj5iarJWNkyuZGRdbVsFsBdMB8GA1UdIwQYMBaA
FJ4hGxj5iarJWNkyuZGRdbVsFsBdMA8GA1UdEwEB/wQFMAMBAf8wBQYDK2VwA0EA
j5emSWOlFxUmokuPPphIEMQ1AvYr3CJCbN0/uKVPN2NqtxmnzjXD1r+WuvQ6DVKO
O8zkuRo7vbTr/kwu4zRPAA==
-----END CERTIFICATE-----
";

const PUBLIC: &str = "-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEAXCfA0/XIqvO6omvMU+1k40Mtn8Lyr28a14W1dR1dwBc=
-----END PUBLIC KEY-----
";

fn refused(pem: &str) -> String {
    SigningKey::from_pkcs8_pem(pem.as_bytes()).unwrap_err().to_string()
}

#[test]
fn pem_error_says_what_the_text_holds_and_what_is_wanted() {
    let cut = ED25519.replace("MC4CAQAw", "MC8CAQAw");
    let no_base64 = ED25519.replace("MC4CAQAw", "!!!!!!!!");
    let cases = [
        (P384, "a P-384 key"),
        (SEC1, "an EC key in SEC1 form"),
        (ENCRYPTED_PKCS8, "an encrypted key"),
        (ENCRYPTED_SEC1, "an EC key in SEC1 form"),
        (ED448, "an Ed448 key"),
        (X25519, "an X25519 or X448 key"),
        (CERTIFICATE, "a certificate"),
        (cut.as_str(), "a damaged key"),
        (no_base64.as_str(), "a damaged key"),
        ("", "no PEM"),
        ("rubbish", "no PEM"),
    ];
    for (pem, holds) in cases {
        let error = refused(pem);
        assert!(error.starts_with(&format!("the PEM holds {holds}")), "{error}");
        assert!(error.contains("PKCS#8") && error.contains("Ed25519, P-256 or RSA"), "{error}");
    }
    assert_eq!(refused(PUBLIC), KeyError::PublicKey.to_string());
}

#[test]
fn pem_with_a_second_private_key_is_refused_by_both_readers() {
    let other = SigningKey::generate_for(Algorithm::Es256).unwrap().to_pkcs8_pem().unwrap();
    for second in [ED25519, other.as_str(), SEC1, ENCRYPTED_PKCS8] {
        let both = format!("{ED25519}{second}");
        assert!(refused(&both).contains("more than one private key"), "{}", refused(&both));
        let named = SigningKey::from_pem(Algorithm::EdDsa, both.as_bytes()).unwrap_err();
        assert!(matches!(named, KeyError::PemHolds(_)), "{named}");
    }
}

#[test]
fn pem_of_a_key_may_hold_its_certificate_and_public_key_and_words() {
    let text = format!("of the test\r\n{}{CERTIFICATE}{PUBLIC}", ED25519.replace('\n', "\r\n"));
    let key = SigningKey::from_pkcs8_pem(text.as_bytes()).unwrap();
    assert_eq!(key.kid(), SigningKey::from_pem(Algorithm::EdDsa, ED25519.as_bytes()).unwrap().kid());
}

#[test]
fn pem_in_pkcs1_is_taken_for_an_rsa_algorithm_and_named_where_pkcs8_is_wanted() {
    let made = SigningKey::generate_for(Algorithm::Rs256).unwrap();
    let pkcs8 = made.to_pkcs8_pem().unwrap();
    let der = PrivatePem::read(pkcs8.as_bytes()).unwrap().der;
    let body = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, private_key(&der).unwrap());
    let pkcs1 = format!("-----BEGIN RSA PRIVATE KEY-----\n{body}\n-----END RSA PRIVATE KEY-----\n");
    for algorithm in [Algorithm::Rs256, Algorithm::Ps256] {
        assert_eq!(SigningKey::from_pem(algorithm, pkcs1.as_bytes()).unwrap().kid(), made.kid());
    }
    assert!(refused(&pkcs1).contains("an RSA key in PKCS#1 form"), "{}", refused(&pkcs1));
    let error = SigningKey::from_pem(Algorithm::Es256, pkcs1.as_bytes()).unwrap_err();
    assert_eq!(error, KeyError::Pem(Algorithm::Es256));
}

#[test]
fn pem_of_pkcs8_brings_its_algorithm() {
    for algorithm in [Algorithm::EdDsa, Algorithm::Es256, Algorithm::Rs256] {
        let made = SigningKey::generate_for(algorithm).unwrap();
        let read = SigningKey::from_pkcs8_pem(made.to_pkcs8_pem().unwrap().as_bytes()).unwrap();
        assert_eq!((read.kid(), read.algorithm()), (made.kid(), algorithm));
    }
}
