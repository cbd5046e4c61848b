//! The demo behind TLS of its own.

use std::{fs, net::SocketAddr, path::Path, sync::Arc, time::Duration};

use demo_app::grpc::pb::{WhoAmIRequest, identity_client::IdentityClient};
use http::StatusCode;
use hyper_util::rt::TokioIo;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::{
    ClientConfig, ProtocolVersion, RootCertStore, SupportedProtocolVersion,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, ServerName},
    version::{TLS12, TLS13},
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tests::{
    client::{raw_status, send_raw},
    node::{Node, run_command},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::sleep,
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tonic::{Request, transport::Endpoint};

use crate::fleet::{NODE, PASSWORD, node, username};

/// A certificate authority, and the files of the certificates that it has issued.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
    directory: TempDir,
}

impl Authority {
    /// Creates one, with the files of a first certificate.
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap().der().clone();
        let directory = tempfile::tempdir().unwrap();
        let authority = Self { issuer: Issuer::new(params, key), certificate, directory };
        authority.renew();
        authority
    }

    fn params() -> CertificateParams {
        CertificateParams::new(["127.0.0.1".to_owned()]).unwrap()
    }

    /// Replaces the files by those of another certificate, and returns it.
    fn renew(&self) -> CertificateDer<'static> {
        self.renew_with(&Self::params())
    }

    /// Replaces the files by those of a certificate that expires when this year begins.
    pub(crate) fn renew_until(&self, year: i32) {
        let mut params = Self::params();
        params.not_after = date_time_ymd(year, 1, 1);
        self.renew_with(&params);
    }

    fn renew_with(&self, params: &CertificateParams) -> CertificateDer<'static> {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        for (name, pem) in [("tls.crt", certificate.pem()), ("tls.key", key.serialize_pem())] {
            fs::write(self.path(name), pem).unwrap();
        }
        fs::set_permissions(self.path("tls.key"), std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        certificate.der().clone()
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.directory.path().join(name)
    }

    /// Returns the flags that name the files.
    fn flags(&self) -> Vec<String> {
        let path = |name| self.path(name).display().to_string();
        vec!["--tls-cert".into(), path("tls.crt"), "--tls-key".into(), path("tls.key")]
    }

    /// Starts a node that serves with the files.
    pub(crate) async fn node(&self, flags: &[&str]) -> Node {
        let own = self.flags();
        let args: Vec<&str> = own.iter().map(String::as_str).chain(flags.iter().copied()).collect();
        node(&args, &[]).await
    }
}

fn address(node: &Node) -> SocketAddr {
    node.url().strip_prefix("https://").expect("it prints an https URL").parse().unwrap()
}

/// A connection by HTTP/1.1 over TLS.
struct Connection(TlsStream<TcpStream>);

struct Answer {
    status: StatusCode,
    /// The status line and the headers.
    head: String,
    body: Value,
}

async fn connect(
    node: &Node,
    trusted: &CertificateDer<'static>,
    version: &'static SupportedProtocolVersion,
    protocol: &str,
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.clone()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
    let config = config.with_protocol_versions(&[version]).unwrap();
    let mut config = config.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![protocol.into()];
    let stream = TcpStream::connect(address(node)).await?;
    let name = ServerName::try_from("127.0.0.1").unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, stream).await
}

impl Connection {
    async fn open(node: &Node, authority: &Authority) -> Self {
        Self(connect(node, &authority.certificate, &TLS13, "http/1.1").await.unwrap())
    }

    fn certificate(&self) -> CertificateDer<'_> {
        self.0.get_ref().1.peer_certificates().unwrap()[0].clone()
    }

    /// Sends a request, with these lines among its headers, and reads the answer.
    async fn send(&mut self, line: &str, headers: &[&str], body: Option<Value>) -> Answer {
        let body = body.map(|body| body.to_string()).unwrap_or_default();
        let mut request = format!("{line} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {}\r\n", body.len());
        if !body.is_empty() {
            request += "Content-Type: application/json\r\n";
        }
        for header in headers {
            request += header;
            request += "\r\n";
        }
        self.0.write_all(format!("{request}\r\n{body}").as_bytes()).await.unwrap();

        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(self.0.read_u8().await.expect("an answer comes"));
        }
        let status = raw_status(&head).expect("it is HTTP");
        let mut answer = Answer { status, head: String::from_utf8(head).unwrap(), body: Value::Null };
        let length = answer.headers("content-length").next().map_or(0, |length| length.parse().unwrap());
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).await.unwrap();
        answer.body = serde_json::from_slice(&body).unwrap_or_default();
        answer
    }
}

impl Answer {
    fn text(&self, name: &str) -> String {
        self.body[name].as_str().unwrap_or_else(|| panic!("no {name}: {} {}", self.head, self.body)).to_owned()
    }

    fn headers(&self, name: &str) -> impl Iterator<Item = &str> {
        let pairs = self.head.lines().filter_map(|line| line.split_once(": "));
        pairs.filter(move |(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// Returns the cookies that it sets, as a request sends them.
    fn cookies(&self) -> String {
        let set = self.headers("set-cookie").inspect(|cookie| assert!(cookie.contains("; Secure"), "{cookie}"));
        set.map(|cookie| cookie.split(';').next().unwrap()).collect::<Vec<_>>().join("; ")
    }
}

#[tokio::test]
async fn tls_node_serves_http_and_grpc_and_sends_hsts() {
    let authority = Authority::new();
    let mut node = authority.node(&["--issuer", "https://127.0.0.1"]).await;
    assert!(!node.log().contains("WARN"), "{}", node.log().tail());
    let mut connection = Connection::open(&node, &authority).await;
    assert_eq!(connection.0.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
    let user = json!({ "username": username(), "password": PASSWORD });
    let registered = connection.send("POST /auth/register", &[], Some(user.clone())).await;
    let login = connection.send("POST /auth/login", &[], Some(user)).await;
    let bearer = format!("Authorization: Bearer {}", login.text("access_token"));
    let me = connection.send("GET /me", &[&bearer], None).await;
    let refused = connection.send("GET /me", &[], None).await;
    let missing = connection.send("GET /nowhere", &[], None).await;
    let statuses = [&registered, &login, &me, &refused, &missing].map(|answer| {
        assert_eq!(answer.headers("strict-transport-security").collect::<Vec<_>>(), ["max-age=31536000"]);
        answer.status.as_u16()
    });
    assert_eq!(statuses, [201, 200, 200, 401, 404]);

    let older = connect(&node, &authority.certificate, &TLS12, "http/1.1").await.unwrap();
    assert_eq!(older.get_ref().1.protocol_version(), Some(ProtocolVersion::TLSv1_2));
    assert_eq!(Connection(older).send("GET /healthz", &[], None).await.status, StatusCode::OK);
    let stranger = Authority::new();
    let error = connect(&node, &stranger.certificate, &TLS13, "http/1.1").await.unwrap_err();
    assert!(error.to_string().contains("invalid peer certificate"), "{error}");

    let stream = connect(&node, &authority.certificate, &TLS13, "h2").await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let mut stream = Some(TokioIo::new(stream));
    let channel = Endpoint::from_static("https://127.0.0.1")
        .connect_with_connector(tower::service_fn(move |_| std::future::ready(stream.take().ok_or("used"))))
        .await
        .unwrap();
    let mut request = Request::new(WhoAmIRequest {});
    request.metadata_mut().insert("authorization", bearer["Authorization: ".len()..].parse().unwrap());
    let who = IdentityClient::new(channel).who_am_i(request).await.unwrap().into_inner();
    assert_eq!(who.user_id, me.text("user_id"));
    assert!(node.terminate().await.success(), "with an idle connection open");
}

#[tokio::test]
async fn tls_node_signs_browsers_in_by_cookies() {
    let authority = Authority::new();
    let node = authority.node(&["--issuer", "https://auth.example"]).await;
    let mut connection = Connection::open(&node, &authority).await;
    let user = json!({ "username": username(), "password": PASSWORD });
    connection.send("POST /auth/register", &[], Some(user.clone())).await;
    let sign_in = "POST /auth/login?transport=cookie";
    let foreign = connection.send(sign_in, &["Origin: https://evil.example"], Some(user.clone())).await;
    assert_eq!((foreign.status, foreign.text("error").as_str()), (StatusCode::FORBIDDEN, "csrf"));
    // The host that the browser asked, and the issuer.
    for origin in ["Origin: https://127.0.0.1", "Origin: https://auth.example"] {
        let login = connection.send(sign_in, &[origin], Some(user.clone())).await;
        let cookies = format!("Cookie: {}", login.cookies());
        let me = connection.send("GET /me", &[&cookies], None).await;
        assert_eq!((me.status, cookies.matches("__Host-").count()), (StatusCode::OK, 2), "{cookies}");
    }
}

#[tokio::test]
async fn tls_port_answers_plain_http_with_a_sentence() {
    let authority = Authority::new();
    let node = authority.node(&[]).await;
    node.log().until("`--issuer` is plain http, and `--tls-cert` is set", 1).await;
    let request = b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n";
    let answer = send_raw(address(&node), request, Duration::from_secs(10)).await.unwrap();
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("https://"), "{answer}");
    assert!(!answer.to_lowercase().contains("strict-transport-security"), "{answer}");
}

/// Waits until new connections get this certificate.
async fn until_served(node: &Node, authority: &Authority, certificate: &CertificateDer<'_>) {
    for _ in 0..200 {
        if Connection::open(node, authority).await.certificate() == *certificate {
            return;
        }
        sleep(Duration::from_millis(50)).await;
    }
    panic!("not served within 10 s:\n{}", node.log().tail());
}

#[tokio::test]
async fn tls_node_takes_a_new_certificate_under_open_connections() {
    let authority = Authority::new();
    let node = authority.node(&[]).await;
    let mut before = Connection::open(&node, &authority).await;
    let first = before.certificate().into_owned();
    let second = authority.renew();
    assert_ne!(first, second);
    until_served(&node, &authority, &second).await;
    assert_eq!(before.send("GET /healthz", &[], None).await.status, StatusCode::OK);

    let key = fs::read(authority.path("tls.key")).unwrap();
    fs::write(authority.path("tls.key"), "nothing").unwrap();
    node.log().until("the loaded certificate stays in use", 1).await;
    assert_eq!(Connection::open(&node, &authority).await.certificate(), second);
    fs::write(authority.path("tls.key"), key).unwrap();
    node.log().until("the certificate and its key can be used again", 1).await;
    let third = authority.renew();
    until_served(&node, &authority, &third).await;
    assert_eq!(before.send("GET /healthz", &[], None).await.status, StatusCode::OK);
    assert_eq!(before.certificate(), first);
}

/// Runs `doctor` with these flags and returns its exit code and what it says of TLS and settings.
async fn doctor(authority: &Authority, issuer: &str) -> (Option<i32>, Vec<String>) {
    let data = tempfile::tempdir().unwrap();
    let own = authority.flags();
    let mut args = vec!["doctor", "--json", "--issuer", issuer, "--data-dir", path(data.path())];
    args.extend(own.iter().map(String::as_str));
    let output = run_command(NODE, &args, &[], "").await;
    let report: Value = serde_json::from_str(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output}"));
    let findings = report["findings"].as_array().unwrap().iter().filter(|finding| finding["check"] == "TLS");
    let line =
        |finding: &Value| format!("{} {}", finding["outcome"].as_str().unwrap(), finding["text"].as_str().unwrap());
    (output.code, findings.map(line).collect())
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[tokio::test]
async fn doctor_tells_what_is_wrong_with_the_certificate() {
    const ISSUER: &str = "https://127.0.0.1:3000";
    let authority = Authority::new();
    let (code, found) = doctor(&authority, ISSUER).await;
    assert!(code == Some(0) && found.len() == 1 && found[0].starts_with("ok "), "{found:?}");
    let (code, found) = doctor(&authority, "https://auth.example").await;
    assert!(code == Some(0) && found.len() == 2, "{found:?}");
    assert!(found[1].starts_with("warning ") && found[1].contains("auth.example"), "{found:?}");

    authority.renew_until(2020);
    let (code, found) = doctor(&authority, ISSUER).await;
    assert!(code == Some(1) && found[0].starts_with("failure ") && found[0].contains("2020-01-01"), "{found:?}");

    authority.renew();
    fs::set_permissions(authority.path("tls.key"), std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    let (code, found) = doctor(&authority, ISSUER).await;
    assert!(code == Some(1) && found[1].starts_with("failure ") && found[1].contains("chmod o-r"), "{found:?}");

    fs::remove_file(authority.path("tls.key")).unwrap();
    let (code, found) = doctor(&authority, ISSUER).await;
    assert!(code == Some(1) && found.len() == 1, "{found:?}");
    assert!(found[0].starts_with("failure `--tls-key") && found[0].contains("cannot be read"), "{found:?}");
}
