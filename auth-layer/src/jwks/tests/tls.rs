use rcgen::CertifiedKey;
use reqwest::Certificate;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    sync::OnceCell,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{ServerConfig, crypto::aws_lc_rs, pki_types::PrivatePkcs8KeyDer},
};
use url::Url;

use super::{
    super::http::{Http, builder},
    *,
};

/// Starts a server that answers one request over TLS. Returns its URL and certificate.
async fn serve_once() -> (Url, Certificate) {
    let CertifiedKey { cert, signing_key } = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let key = PrivatePkcs8KeyDer::from(signing_key.serialize_der());
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key.into())
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}/keys", listener.local_addr().unwrap()).parse().unwrap();
    tokio::spawn(async move {
        let (socket, _) = listener.accept().await.unwrap();
        // The client may refuse the certificate.
        let Ok(mut socket) = TlsAcceptor::from(Arc::new(config)).accept(socket).await else { return };
        let mut request = [0; 4_096];
        let _ = socket.read(&mut request).await.unwrap();
        socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nkeys").await.unwrap();
        socket.shutdown().await.unwrap();
    });
    (url, Certificate::from_der(cert.der()).unwrap())
}

/// Returns a client that trusts this certificate alone.
fn trusting(certificate: Option<Certificate>) -> Http {
    let client = builder().https_only(true).no_proxy().tls_certs_only(certificate).build().unwrap();
    Http { tls: OnceCell::new_with(Some(client)), ..Http::default() }
}

#[tokio::test]
async fn jwks_are_fetched_over_tls() {
    let (url, certificate) = serve_once().await;
    assert_eq!(trusting(Some(certificate)).get(url).await.unwrap().bytes, b"keys");
}

#[tokio::test]
async fn jwks_of_a_server_with_an_unknown_certificate_are_not_fetched() {
    let (url, _) = serve_once().await;
    let fault = chain(&trusting(None).get(url).await.unwrap_err());
    assert!(fault.starts_with("the request failed: ") && fault.contains("UnknownIssuer"), "{fault}");
}
