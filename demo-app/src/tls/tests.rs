use std::{fs, path::Path, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use chrono::{DateTime, TimeZone, Utc};
use clap::Parser;
use rcgen::{
    BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PKCS_RSA_SHA256,
    SignatureAlgorithm, date_time_ymd,
};
use x509_parser::der_parser::der::parse_der;

use super::*;
use crate::{config::Config, logging::tests::capture_log};

/// A self-signed certificate and its key, in PEM.
struct Made {
    certificate: String,
    key: String,
}

/// Certificates that are always valid.
fn params() -> CertificateParams {
    CertificateParams::new(["auth.example", "127.0.0.1", "::1"].map(ToOwned::to_owned)).unwrap()
}

fn make_with(params: &CertificateParams, algorithm: &'static SignatureAlgorithm) -> Made {
    let key = KeyPair::generate_for(algorithm).unwrap();
    Made { certificate: params.self_signed(&key).unwrap().pem(), key: key.serialize_pem() }
}

fn make() -> Made {
    make_with(&params(), &PKCS_ECDSA_P384_SHA384)
}

/// Returns a certificate to serve with.
pub(crate) fn self_signed() -> CurrentCertificate {
    let Made { certificate, key } = make();
    CurrentCertificate::new(&load(&certificate, &key).unwrap())
}

/// Makes a certificate of 2026.
fn make_of_2026() -> Made {
    let mut params = params();
    (params.not_before, params.not_after) = (date_time_ymd(2026, 1, 1), date_time_ymd(2027, 1, 1));
    make_with(&params, &PKCS_ECDSA_P384_SHA384)
}

fn pem(label: &str, der: &[u8]) -> String {
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", STANDARD.encode(der))
}

fn files(directory: &Path) -> TlsFiles {
    let [certificate, key] = ["tls.crt", "tls.key"].map(|name| directory.join(name).display().to_string());
    let config = Config::parse_from(["demo-app", "--tls-cert", &certificate, "--tls-key", &key]);
    TlsFiles::of(&config).unwrap().unwrap()
}

fn write(directory: &Path, certificate: &str, key: &str) {
    fs::write(directory.join("tls.crt"), certificate).unwrap();
    fs::write(directory.join("tls.key"), key).unwrap();
    #[cfg(unix)]
    fs::set_permissions(directory.join("tls.key"), std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
}

/// Loads what these files would hold.
fn load(certificate: &str, key: &str) -> Result<ServerCertificate, TlsError> {
    let directory = tempfile::tempdir().unwrap();
    write(directory.path(), certificate, key);
    files(directory.path()).load()
}

fn at(year: i32, month: u32, day: u32) -> DateTime<Utc> {
    Utc.with_ymd_and_hms(year, month, day, 12, 0, 0).unwrap()
}

#[test]
fn tls_flags_need_each_other() {
    let of = |flags: &[&str]| TlsFiles::of(&Config::parse_from(["demo-app"].iter().chain(flags)));
    assert!(of(&[]).unwrap().is_none());
    assert!(matches!(of(&["--tls-cert", "a"]).unwrap_err(), TlsError::KeyNotSet));
    assert!(matches!(of(&["--tls-key", "a"]).unwrap_err(), TlsError::CertificateNotSet));
}

#[test]
fn tls_keys_of_each_kind_and_form_are_loaded() {
    for (algorithm, label) in [
        (&PKCS_ECDSA_P384_SHA384, Some("EC PRIVATE KEY")),
        (&PKCS_RSA_SHA256, Some("RSA PRIVATE KEY")),
        (&PKCS_ED25519, None),
    ] {
        let Made { certificate, key } = make_with(&params(), algorithm);
        load(&certificate, &key).unwrap();
        // Both in one file, as HAProxy has them.
        let both = format!("{key}{certificate}");
        load(&both, &both).unwrap();
        let Some(label) = label else { continue };
        // PKCS#8 wraps the older form (RFC 5958 §2).
        let der = x509_parser::pem::parse_x509_pem(key.as_bytes()).unwrap().1.contents;
        let (_, pkcs8) = parse_der(&der).unwrap();
        let older = pem(label, pkcs8.as_sequence().unwrap()[2].as_slice().unwrap());
        load(&certificate, &older).unwrap_or_else(|error| panic!("{label}: {error}"));
    }
}

#[test]
fn tls_chain_is_loaded_whole_with_the_servers_certificate_first() {
    let mut authority = CertificateParams::new([]).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let root = authority.self_signed(&key).unwrap().pem();
    let issuer = Issuer::new(authority, key);
    let key = KeyPair::generate().unwrap();
    let leaf = params().signed_by(&key, &issuer).unwrap().pem();
    let key = key.serialize_pem();
    assert_eq!(load(&format!("{leaf}{root}"), &key).unwrap().chain_length(), 2);
    assert!(matches!(load(&format!("{root}{leaf}"), &key).unwrap_err(), TlsError::Mismatch { .. }));
}

#[test]
fn tls_files_that_cannot_be_used_are_named_and_not_quoted() {
    let (one, other) = (make(), make());
    let rsa_1024 = pem("PRIVATE KEY", b"s3cret");
    let unfinished = "-----BEGIN PRIVATE KEY-----\ns3cret\n";
    let cases = [
        (&*one.certificate, &*other.key, "`--tls-key", "is not the key of"),
        ("", &one.key, "`--tls-cert", "holds no certificate"),
        (&one.key, &one.key, "`--tls-cert", "holds no certificate"),
        (&pem("CERTIFICATE", b"s3cret"), &one.key, "`--tls-cert", "certificate 1 of the file"),
        (&format!("{}{}", one.certificate, pem("CERTIFICATE", b"s3cret")), &one.key, "`--tls-cert", "certificate 2"),
        ("-----BEGIN CERTIFICATE-----\n?s3cret\n-----END CERTIFICATE-----\n", &one.key, "`--tls-cert", "not base64"),
        (&one.certificate, "", "`--tls-key", "holds no private key"),
        (&one.certificate, &pem("ENCRYPTED PRIVATE KEY", b"s3cret"), "`--tls-key", "without a passphrase"),
        (&one.certificate, &rsa_1024, "`--tls-key", "a key that TLS cannot use"),
        (&one.certificate, unfinished, "`--tls-key", "no END line"),
    ];
    for (certificate, key, flag, expected) in cases {
        let error = load(certificate, key).unwrap_err();
        let text = crate::logging::error_text(&error);
        assert!(text.starts_with(flag) && text.contains(expected), "{expected}: {text}");
        assert!(!text.contains("s3cret") && !text.contains("czNjcmV0"), "{text}");
    }
    let directory = tempfile::tempdir().unwrap();
    let text = files(directory.path()).load().unwrap_err().to_string();
    assert!(text.contains("--tls-cert") && text.contains("cannot be read"), "{text}");
}

#[test]
fn tls_certificate_ends_soon_and_covers_its_names() {
    let Made { certificate, key } = make_of_2026();
    let certificate = load(&certificate, &key).unwrap();
    for (now, expected) in [
        (at(2025, 12, 31), Validity::NotYet),
        (at(2026, 1, 1), Validity::Valid),
        (at(2026, 12, 17), Validity::Valid),
        (at(2026, 12, 18), Validity::EndsSoon),
        (at(2027, 1, 1), Validity::Expired),
    ] {
        assert_eq!(certificate.validity(now), expected, "{now}");
    }
    for (url, expected) in [
        ("https://auth.example", true),
        ("https://auth.example:8443/tenant", true),
        ("https://127.0.0.1:3000", true),
        ("https://[::1]:3000", true),
        ("https://auth.example.org", false),
        ("https://127.0.0.2", false),
        ("https://localhost", false),
    ] {
        assert_eq!(certificate.covers(url), expected, "{url}");
    }
}

#[test]
fn tls_warnings_come_once_until_something_changes() {
    let directory = tempfile::tempdir().unwrap();
    let Made { certificate, key } = make_of_2026();
    write(directory.path(), &certificate, &key);
    let files = files(directory.path());
    let mut warnings = Warnings::default();
    let mut lines_at = |now, mode| {
        #[cfg(unix)]
        fs::set_permissions(directory.path().join("tls.key"), std::os::unix::fs::PermissionsExt::from_mode(mode))
            .unwrap();
        let certificate = files.load().unwrap();
        capture_log(|| (0..2).for_each(|_| warnings.report(&certificate, &files, now)))
    };
    let cases = [
        (at(2026, 6, 1), 0o600, None),
        (at(2026, 6, 1), 0o640, None),
        (at(2026, 6, 1), 0o644, cfg!(unix).then_some("chmod o-r")),
        (at(2026, 12, 20), 0o644, Some("ends within 14 days")),
        (at(2027, 6, 1), 0o600, Some("has expired")),
        (at(2026, 6, 1), 0o600, None),
        (at(2025, 6, 1), 0o600, Some("not valid yet")),
    ];
    for (now, mode, expected) in cases {
        let lines = lines_at(now, mode);
        assert_eq!(lines.len(), expected.iter().len(), "{now} {mode:o}: {lines:?}");
        assert!(expected.is_none_or(|expected| lines[0].contains(expected)), "{lines:?}");
    }
}

#[test]
fn tls_files_that_have_not_changed_are_not_parsed_again() {
    let directory = tempfile::tempdir().unwrap();
    let (one, other) = (make(), make());
    write(directory.path(), &one.certificate, &one.key);
    let mut loaded = LoadedFiles::new(files(directory.path())).unwrap();
    // Each parse makes another key of the same bytes.
    let mut is_parsed = || {
        let before = Arc::clone(loaded.certificate().certified_key());
        loaded.reload();
        !Arc::ptr_eq(&before, loaded.certificate().certified_key())
    };
    assert!(!is_parsed());
    write(directory.path(), &one.certificate, &one.key);
    assert!(!is_parsed(), "written again, and the same");
    write(directory.path(), &other.certificate, &other.key);
    assert!(is_parsed() && !is_parsed());
    fs::remove_file(directory.path().join("tls.key")).unwrap();
    assert!(!is_parsed());
    write(directory.path(), &other.certificate, &other.key);
    assert!(is_parsed() && !is_parsed(), "back after a failed read");
}

/// The time in which a change is seen.
const SEEN: Duration = Duration::from_secs(5);

#[cfg(unix)]
#[test]
fn tls_follow_takes_new_certificates_and_keeps_the_old_one_beside_bad_files() {
    use std::os::unix::fs::symlink;

    let directory = tempfile::tempdir().unwrap();
    // As Kubernetes mounts a secret: `tls.crt` is `..data/tls.crt`, and `..data` is turned.
    let path = directory.path();
    let turn_to = |name: &str, made: &Made| {
        fs::create_dir(path.join(name)).unwrap();
        write(&path.join(name), &made.certificate, &made.key);
        symlink(name, path.join("..new")).unwrap();
        fs::rename(path.join("..new"), path.join("..data")).unwrap();
    };
    let [first, second, third] = [make(), make(), make()];
    turn_to("1", &first);
    for name in ["tls.crt", "tls.key"] {
        symlink(Path::new("..data").join(name), path.join(name)).unwrap();
    }
    let files = files(path);
    let certificate = |made: &Made| load(&made.certificate, &made.key).unwrap().certified_key().cert.clone();

    let lines = capture_log(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let current = CurrentCertificate::new(&files.load().unwrap());
            let loaded = LoadedFiles::new(files.clone()).unwrap();
            tokio::spawn(follow(loaded, current.clone(), Warnings::default()));
            let serves = async |made: &Made| {
                tokio::time::sleep(SEEN).await;
                current.0.load().cert == certificate(made)
            };
            assert!(serves(&first).await);
            turn_to("2", &second);
            assert!(serves(&second).await);
            // Half of a change, a file that is gone, and the other half.
            fs::write(path.join("2/tls.crt"), &third.certificate).unwrap();
            assert!(serves(&second).await);
            fs::remove_file(path.join("2/tls.key")).unwrap();
            assert!(serves(&second).await && serves(&second).await);
            write(&path.join("2"), &third.certificate, &third.key);
            assert!(serves(&third).await);
        });
    });
    let expected = [
        ("the certificate changed", "valid_until=4096-01-01"),
        // The next problem is counted as its repeat.
        ("the loaded certificate stays in use", "is not the key of"),
        ("can be used again", ""),
        ("the certificate changed", ""),
    ];
    assert_eq!(lines.len(), expected.len(), "{lines:#?}");
    for (line, (message, detail)) in lines.iter().zip(expected) {
        assert!(line.contains(message) && line.contains(detail), "{message} {detail}: {line}");
    }
}
