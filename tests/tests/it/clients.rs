//! Client libraries of other languages, against a running node.

mod authlib;
mod browser;
mod docs;
mod grpcio;
mod jose;
mod mcp;
mod oauth4webapi;
mod openid_client;
mod page;
mod pyjwt;
mod requests_oauthlib;
mod schemathesis;

use auth_layer::keys::{Algorithm, SigningKey};
use http::StatusCode;
use serde_json::{Value, json};
use tempfile::TempDir;
use tests::{
    client::{Client, Tokens},
    node::{Node, run_command},
};

use crate::fleet::{NODE, PASSWORD, username};

/// Where the clients have codes sent. Scripts choose the port (RFC 8252 §7.3).
const REGISTERED_URI: &str = "http://127.0.0.1/callback";
const REDIRECT_URI: &str = "http://127.0.0.1:49152/callback";

/// A node on the embedded store whose issuer is its URL. It has a user, a public client `desktop`
/// and a confidential client `backend`.
pub(crate) struct Service {
    pub(crate) node: Node,
    pub(crate) username: String,
    clients: [Value; 2],
    _data: TempDir,
}

impl Service {
    /// Starts it with these arguments in addition.
    pub(crate) async fn start(args: &[&str]) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), args).await
    }

    /// Starts it with this signing key.
    async fn signing_with(pem: &str) -> Self {
        let data = tempfile::tempdir().unwrap();
        let keys = data.path().join("keys");
        std::fs::create_dir(&keys).unwrap();
        std::fs::write(keys.join("key.pem"), pem).unwrap();
        Self::start_in(data, &[]).await
    }

    async fn start_in(data: TempDir, args: &[&str]) -> Self {
        let path = data.path().to_str().unwrap();
        // An operator registers the clients before the node has the store.
        let create = async |name: &str, kind: &[&str]| {
            let words = ["clients", "create", name, "--redirect-uri", REGISTERED_URI, "--json", "--data-dir", path];
            run_command(NODE, &[&words, kind].concat(), &[], "").await.json()
        };
        let clients = [create("desktop", &["--public"]).await, create("backend", &[]).await];
        let own = ["--data-dir", path, "--rate-limit", "off"];
        let node = Node::start_as_issuer(NODE, &[&own, args].concat(), &[("NODE_PASSWORDS", "cheap")]).await;
        let username = username();
        let registered = Client::new(node.url()).register(&username, PASSWORD).await.unwrap();
        assert_eq!(registered.status, StatusCode::CREATED, "{registered:?}");
        Self { node, username, clients, _data: data }
    }

    /// Signs the user in, at `/auth/login`.
    pub(crate) async fn tokens(&self) -> Tokens {
        Client::new(self.node.url()).login(&self.username, PASSWORD).await.unwrap().tokens()
    }

    /// Returns the input of a script, with these members in addition.
    pub(crate) fn input(&self, more: Value) -> Value {
        let [public, confidential] = &self.clients;
        let mut input = json!({
            "issuer": self.node.url(),
            "audience": "demo-app",
            "username": self.username,
            "password": PASSWORD,
            "redirect_uri": REDIRECT_URI,
            "public": { "client_id": public["client_id"] },
            "confidential": {
                "client_id": confidential["client_id"],
                "client_secret": confidential["client_secret"],
            },
        });
        let (Value::Object(members), Value::Object(more)) = (&mut input, more) else { panic!("both are objects") };
        members.extend(more);
        input
    }
}

/// Returns a new key of this algorithm, as PKCS #8 PEM.
fn private_key(algorithm: Algorithm) -> String {
    let key = SigningKey::generate_for(algorithm).unwrap();
    String::from_utf8(key.to_pkcs8_pem().unwrap().as_bytes().to_vec()).unwrap()
}
