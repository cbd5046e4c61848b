//! The keys were made for these tests by openssl.

use super::*;
use crate::keys::{SigningKey, VerifyingKey};

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

const P521: &str = "-----BEGIN PRIVATE KEY-----
MIHuAgEAMBAGByqGSM49AgEGBSuBBAAjBIHWMIHTAgEBBEIAL3deQ1IrA9v6XUei
02GmeOHXELXrXckvxHMXLOuC52vphFhVMK/a2oHtBwFwI5CRtb16YzFfnx3jW+Lt
xkD27u+hgYkDgYYABAGgVzggaoO2JuvTpue5XWxhr+5duor7DpgBgA5xmuEhxGoz
1lKwNRiiOnVHCHdoC6J4qXJKIvu2cglJcDWr7eGtzAFOZq5di5marbK/ZmL1sTnf
CRrciIWYcH6bFaFRVhAhpO8jZttTCaP/POgIJJAwBCENoNsshdghun2+yqd+8WzG
QQ==
-----END PRIVATE KEY-----
";

const SECP256K1: &str = "-----BEGIN PRIVATE KEY-----
MIGEAgEAMBAGByqGSM49AgEGBSuBBAAKBG0wawIBAQQgX8yBEWXnbJCkanv7tspp
YwKEbBisQyIegOIl8shpYpGhRANCAASOyMplHAJYuJRFfwXfQqGkI/H5bJI996X+
cg9KD0epKTvz12deAIexdyz2lELEd7IjPT2lIT5JaYVZgB4krvy9
-----END PRIVATE KEY-----
";

const BRAINPOOL: &str = "-----BEGIN PRIVATE KEY-----
MIGIAgEAMBQGByqGSM49AgEGCSskAwMCCAEBBwRtMGsCAQEEIIRstLscM83gRbM4
96AuxD2VQ7t7ueX+ZfawJNwSNFJcoUQDQgAEjLhc49OSWKycgGPSZkVGPAsyqG8w
AchTXDrANGYvrBBTcaOtYA5kOX72KrgFI+e1ijhy53nwrqvh9zUe8gQOjw==
-----END PRIVATE KEY-----
";

const X448: &str = "-----BEGIN PRIVATE KEY-----
MEYCAQAwBQYDK2VvBDoEOIBYRnDj7nSL/4fJcBIW7GEN6xXWaEAGFuezlFfE9e3O
PQRcPkdTPQIeVT2mP3diSbPl9lvImo2u
-----END PRIVATE KEY-----
";

const RSA_PSS: &str = "-----BEGIN PRIVATE KEY-----
MIIBUgIBADALBgkqhkiG9w0BAQoEggE+MIIBOgIBAAJBAND5xdA+NZ97SMj/BTxs
Zx706hXXT6BI2gxgqs8MaX9cSys2tT9irkXrTMSHUeaNCh9xbbh/iNU51dnxRgRu
RosCAwEAAQJBAMyPMuudebAbZiwaNm3nTyomY93tXaxwo8Dp/0mdxMc9NBGSpkRw
eEgF6wM+xymE1WptnfVw3645cQZduDfagMECIQDrks5sXjyZhKSV/wrDO7ho2oaF
wuK7OOFKGwx5uQ5sjQIhAOMYjl7xVt/SnkUVtHJpyPtcuI9juUJUQbDwKGMdK1V3
AiAhe51Rc9eDLoJCO5zpAP0GEkFak8esOrpy0QNl7bKqJQIgAfNtDa2/FE8n4uoL
0cvM2TPzte+iYMp+gfmeLzPJ8oMCIGQUnGzMrND/78D7dtb2BxrxEFbgQ8PtDm9s
ESGr4Snd
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

const P256_PUBLIC: &str = "-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE1NeVo0AeVcom3i8ZTELV0Lb/ox7+
kwWHRG0pE2NED+7uKq09aiQ6kThEER60Gel/z0vsSkMUzSoKj7Q/FXNBlg==
-----END PUBLIC KEY-----
";

const P384_PUBLIC: &str = "-----BEGIN PUBLIC KEY-----
MHYwEAYHKoZIzj0CAQYFK4EEACIDYgAEUlVM17uDfJXy8U2+xMrb9vYrGjJQHlm1
g8+42V8FgWkk+MnJECHOTIMJxQ3hRzVuBzDExLioFXUOGqndKuN1hRDoumBu+eUu
3lQZiMbgbYmisH20vFKc1+2eX/RTUK5F
-----END PUBLIC KEY-----
";

const RSA_PUBLIC: &str = "-----BEGIN PUBLIC KEY-----
MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAvxaVUyalJW+T8huQeqvO
QKeYuNT6uaFj3U7upoUurLhoS7gWf97VNLL30iabdFEGxArk+FDDA5yaUvUTsT7r
YkAWRG6G284ONngYRq2IR1DVNvye8zj3RRc5Z8RdXrO0c0GkxKJYsPOyPJB75U96
Xmimh+cq7hTGs5ynEmXD1pVc7qve3VTwEJXJ+NterDiJNd5zMdHugfZ2VCF6t9PY
kUX0gme6BWnQxaEv3UOlxubbIM2wwVifnuSaGdlQb18sAQdf36Yeb6dzEWnk4Frs
fM+N6tuy0BfhlPFwZLCbIHzMAnoizPqk1LcYD7XNCPH5EACOJCwc8bG1r9LSPnCa
/wIDAQAB
-----END PUBLIC KEY-----
";

const PKCS1_PUBLIC: &str = "-----BEGIN RSA PUBLIC KEY-----
MIIBCgKCAQEAvxaVUyalJW+T8huQeqvOQKeYuNT6uaFj3U7upoUurLhoS7gWf97V
NLL30iabdFEGxArk+FDDA5yaUvUTsT7rYkAWRG6G284ONngYRq2IR1DVNvye8zj3
RRc5Z8RdXrO0c0GkxKJYsPOyPJB75U96Xmimh+cq7hTGs5ynEmXD1pVc7qve3VTw
EJXJ+NterDiJNd5zMdHugfZ2VCF6t9PYkUX0gme6BWnQxaEv3UOlxubbIM2wwVif
nuSaGdlQb18sAQdf36Yeb6dzEWnk4FrsfM+N6tuy0BfhlPFwZLCbIHzMAnoizPqk
1LcYD7XNCPH5EACOJCwc8bG1r9LSPnCa/wIDAQAB
-----END RSA PUBLIC KEY-----
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
        (X448, "an X25519 or X448 key"),
        (P521, "a P-521 key"),
        (SECP256K1, "a secp256k1 key"),
        (BRAINPOOL, "an EC key of another curve"),
        (RSA_PSS, "an RSA key for PSS alone"),
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
    let read = PrivatePem::read(pkcs8.as_bytes()).unwrap();
    let body = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, read.pkcs1().unwrap());
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

#[test]
fn pem_of_a_public_key_is_read_for_its_own_algorithms_only() {
    use Algorithm::{EdDsa, Es256, Ps256, Rs256};

    let serves = [
        (PUBLIC, &[EdDsa][..]),
        (P256_PUBLIC, &[Es256]),
        (RSA_PUBLIC, &[Rs256, Ps256]),
        (PKCS1_PUBLIC, &[Rs256, Ps256]),
        (P384_PUBLIC, &[]),
        // A certificate's dates would not be checked.
        (CERTIFICATE, &[]),
        ("rubbish", &[]),
    ];
    for (pem, served) in serves {
        for algorithm in [EdDsa, Es256, Rs256, Ps256] {
            match VerifyingKey::from_pem(algorithm, pem.as_bytes()) {
                Ok(key) => assert!(served.contains(&algorithm), "{algorithm} {key:?}"),
                Err(error) => {
                    assert_eq!(error, KeyError::Pem(algorithm));
                    assert!(!served.contains(&algorithm), "{algorithm} {pem}");
                }
            }
        }
    }
    let error = VerifyingKey::from_pem(Algorithm::Hs256, PUBLIC.as_bytes()).unwrap_err();
    assert_eq!(error, KeyError::Form(Algorithm::Hs256));
}

#[test]
fn pem_of_a_public_key_gives_the_kid_of_its_private_key() {
    let key = SigningKey::from_pem(Algorithm::EdDsa, ED25519.as_bytes()).unwrap();
    let text = format!("of the test\r\n{CERTIFICATE}{}", PUBLIC.replace('\n', "\r\n"));
    assert_eq!(VerifyingKey::from_pem(Algorithm::EdDsa, text.as_bytes()).unwrap().kid(), key.kid());

    let kid = |pem: &str| VerifyingKey::from_pem(Algorithm::Rs256, pem.as_bytes()).unwrap().kid().to_owned();
    assert_eq!(kid(RSA_PUBLIC), kid(PKCS1_PUBLIC));
}

#[test]
fn pem_of_a_public_key_under_the_wrong_label_or_damaged_is_refused() {
    let relabelled = |pem: &str, from: &str, to: &str| pem.replace(&format!(" {from}-"), &format!(" {to}-"));
    let cases = [
        (Algorithm::Rs256, relabelled(PKCS1_PUBLIC, "RSA PUBLIC KEY", "PUBLIC KEY")),
        (Algorithm::EdDsa, relabelled(PUBLIC, "PUBLIC KEY", "RSA PUBLIC KEY")),
        (Algorithm::EdDsa, PUBLIC.replace("MCowBQ", "MCswBQ")),
        (Algorithm::EdDsa, PUBLIC.replace("MCowBQ", "!!!!!!")),
        (Algorithm::Rs256, PKCS1_PUBLIC.replace("MIIBCgKC", "MIIBCwKC")),
        (Algorithm::Es256, P256_PUBLIC.lines().take(2).collect::<Vec<_>>().join("\n")),
    ];
    for (algorithm, pem) in cases {
        let error = VerifyingKey::from_pem(algorithm, pem.as_bytes()).unwrap_err();
        assert_eq!(error, KeyError::Pem(algorithm), "{pem}");
    }
}
