//! `rediss://`: a Redis behind TLS, with a certificate of our own authority.

use std::{net::Ipv4Addr, path::PathBuf, sync::Arc};

use http::StatusCode;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::{ServerConfig, crypto::aws_lc_rs, pki_types::PrivateKeyDer};
use tests::{
    client::Client,
    servers::{self, RedisServer},
};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tokio_rustls::TlsAcceptor;

use super::refused_start;
use crate::fleet::{PASSWORD, node, username};

/// Terminates TLS in front of a Redis.
struct TlsProxy {
    port: u16,
    authority: PathBuf,
    _directory: tempfile::TempDir,
    _relays: JoinSet<()>,
}

impl TlsProxy {
    /// Starts it in front of this server, with a new certificate authority.
    async fn start(redis: &RedisServer) -> Self {
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let authority = params.self_signed(&key).unwrap();
        let issuer = Issuer::new(params, key);
        let key = KeyPair::generate().unwrap();
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let leaf = CertificateParams::new(names).unwrap().signed_by(&key, &issuer).unwrap();
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("authority.pem");
        std::fs::write(&file, authority.pem()).unwrap();

        let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![leaf.der().clone()], PrivateKeyDer::Pkcs8(key.serialize_der().into()))
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = redis.port();
        let mut relays = JoinSet::new();
        relays.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                connections.spawn(async move {
                    // A client that does not trust the certificate breaks off.
                    let Ok(mut client) = acceptor.accept(client).await else { return };
                    let mut server = TcpStream::connect((Ipv4Addr::LOCALHOST, server)).await.unwrap();
                    let _ = copy_bidirectional(&mut client, &mut server).await;
                });
            }
        });
        Self { port, authority: file, _directory: directory, _relays: relays }
    }
}

#[tokio::test]
async fn settings_rediss_connects_only_to_a_server_whose_authority_is_trusted() {
    let redis = RedisServer::start(&[]).await;
    let proxy = TlsProxy::start(&redis).await;
    let database = servers::mongodb().await;
    let common = [("MONGODB_URI", &*database.uri), ("MONGODB_DATABASE", &database.name)];
    let authority = proxy.authority.to_str().unwrap();
    let keys = tempfile::tempdir().unwrap();
    let args = ["--keys-dir", keys.path().to_str().unwrap()];
    for host in ["localhost", "127.0.0.1"] {
        let url = format!("rediss://{host}:{}", proxy.port);
        let env = [&common[..], &[("REDIS_URL", &url), ("SSL_CERT_FILE", authority)]].concat();
        let node = node(&args, &env).await;
        let client = Client::new(node.url());
        let tokens = client.sign_up(&username(), PASSWORD).await.unwrap();
        assert_eq!(client.get("/readyz", None).await.unwrap().json()["cache"], "up");
        assert_eq!(client.logout(&tokens.access).await.unwrap().status, StatusCode::NO_CONTENT);
        assert_eq!(client.me(&tokens.access).await.unwrap().status, StatusCode::UNAUTHORIZED);
        node.log().until("news of revocations from Redis", 1).await;
    }
    assert_ne!(redis.command(&["DBSIZE"]), ":0", "it went through this server");

    let url = format!("rediss://localhost:{}", proxy.port);
    let other = TlsProxy::start(&redis).await;
    let other = other.authority.to_str().unwrap();
    let line = refused_start(&[], &[&common[..], &[("REDIS_URL", &url), ("SSL_CERT_FILE", other)]].concat()).await;
    assert!(line.contains("certificate that is not trusted") && line.contains("SSL_CERT_FILE"), "{line}");
    let line =
        refused_start(&[], &[&common[..], &[("REDIS_URL", &url), ("SSL_CERT_FILE", "/no/such/file")]].concat()).await;
    assert!(line.contains("/no/such/file") && line.contains("check the URL's host and SSL_CERT_FILE"), "{line}");
}
