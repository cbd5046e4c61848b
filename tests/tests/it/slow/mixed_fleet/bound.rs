//! Sessions that are bound to a key, beside a version that knows no keys.
//!
//! The landed version takes a bound token as bearer token and refreshes it without a proof. But the
//! next pair is bound as well, so this version goes on to demand proofs.

use auth_layer::clock::SystemClock;

use super::*;
use crate::prover::{ORIGIN, Prover};

/// Makes this version take proofs. The landed one has no such setting.
const TAKES_PROOFS: [(&str, &str); 1] = [("DEMO_DPOP", "optional")];

/// Starts a node of the landed version, and one of this version that takes proofs.
async fn fleet() -> Fleet {
    let programs = [NodeProgram::at(landed::demo_app().await), NodeProgram::full_hashes().with_env(&TAKES_PROOFS)];
    Fleet::of_programs(&programs, true, &[&STRICT[..], &["--issuer", ORIGIN]].concat(), None).await
}

/// A client that has a key and talks to a node that takes proofs.
struct BoundClient {
    prover: Prover,
    node: Client,
}

impl BoundClient {
    fn new(node: &Client) -> Self {
        Self { prover: Prover::new(&SystemClock::new()), node: node.clone() }
    }

    /// Sends a request with a proof, and with a bound access token if there is one.
    async fn send(&self, method: Method, path: &str, access: Option<&str>, body: Option<&Value>) -> Response {
        let request = self.node.request(method.clone(), path).header("dpop", self.prover.text(&method, path, access));
        let request = access
            .iter()
            .fold(request, |request, token| request.header(header::AUTHORIZATION, format!("DPoP {token}")));
        let request = body.iter().fold(request, reqwest::RequestBuilder::json);
        Response::read(request.send().await.unwrap()).await.unwrap()
    }

    async fn login(&self, name: &str) -> Tokens {
        let body = json!({ "username": name, "password": PASSWORD });
        self.send(Method::POST, "/auth/login", None, Some(&body)).await.tokens()
    }

    async fn refresh(&self, refresh: &str) -> Response {
        self.send(Method::POST, "/auth/refresh", None, Some(&json!({ "refresh_token": refresh }))).await
    }

    /// Fails unless this token is bound to the key, and good with a proof alone.
    async fn assert_bound(&self, access: &str) {
        assert_eq!(payload(access)["cnf"], json!({ "jkt": self.prover.proof().thumbprint() }));
        assert_eq!(self.send(Method::GET, "/me", Some(access), None).await.status, StatusCode::OK);
        let bearer = self.node.me(access).await.unwrap();
        assert_eq!((bearer.status, bearer.error()), (StatusCode::UNAUTHORIZED, "invalid_token".to_owned()));
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "slow: builds the landed version"]
async fn mixed_fleet_keeps_the_key_of_bound_sessions() {
    let fleet = fleet().await;
    let (landed, current) = fleet.clients();
    let name = username();
    landed.register(&name, PASSWORD).await.unwrap();
    // One session is bound from the start. The other is opened on the landed node, and bound later.
    let bound = BoundClient::new(&current);
    let from_start = bound.login(&name).await;
    bound.assert_bound(&from_start.access).await;
    let plain = landed.login(&name, PASSWORD).await.unwrap().tokens();
    let later = bound.refresh(&plain.refresh).await.tokens();
    for opened in [from_start, later] {
        let mut pair = opened;
        for turn in 0..4 {
            bound.assert_bound(&pair.access).await;
            assert_accepted(&landed, &pair.access).await;
            let plain = current.refresh(&pair.refresh).await.unwrap();
            assert_eq!((plain.status.as_u16(), plain.error()), (400, "invalid_dpop_proof".to_owned()), "{turn}");
            // Both nodes have the same next pair, whichever made it.
            let next = if turn % 2 == 0 {
                let next = landed.refresh(&pair.refresh).await.unwrap();
                [next, bound.refresh(&pair.refresh).await]
            } else {
                let next = bound.refresh(&pair.refresh).await;
                [next, landed.refresh(&pair.refresh).await.unwrap()]
            };
            pair = races::single_pair(&next);
        }
        bound.assert_bound(&pair.access).await;
    }
    assert_reuses(&fleet, 0).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "slow: builds the landed version"]
async fn mixed_fleet_serves_a_user_with_bound_sessions() {
    let fleet = fleet().await;
    let (landed, current) = fleet.clients();
    let name = username();
    landed.register(&name, PASSWORD).await.unwrap();
    let bound = BoundClient::new(&current);
    let [mut phone, laptop] = [bound.login(&name).await, bound.login(&name).await];
    let plain = landed.login(&name, PASSWORD).await.unwrap().tokens();
    phone = landed.refresh(&phone.refresh).await.unwrap().tokens();

    // Each list has all sessions, whoever asks.
    let lists = join_all([&landed, &current].map(|node| list_sessions(node, &plain.access))).await;
    assert_eq!(lists[0], lists[1]);
    assert_eq!(lists[0].len(), 3);
    assert_eq!(list_sessions(&landed, &phone.access).await.len(), 3);
    let listed = bound.send(Method::GET, "/auth/sessions", Some(&phone.access), None).await.json();
    let ids: BTreeSet<&str> =
        listed.as_array().unwrap().iter().map(|one| one["session_id"].as_str().unwrap()).collect();
    assert_eq!(ids, lists[0].keys().map(String::as_str).collect::<BTreeSet<_>>());

    // This version's single-use tokens have the key of their session, the landed version's have
    // none. Each is good once.
    let of_landed = single_use(&landed, &phone.access).await;
    let of_current = bound.send(Method::POST, "/auth/single-use", Some(&phone.access), None).await;
    let of_current = of_current.json()["access_token"].as_str().unwrap().to_owned();
    assert_eq!(
        (&payload(&of_landed)["cnf"], &payload(&of_current)["cnf"]),
        (&Value::Null, &payload(&phone.access)["cnf"])
    );
    assert_eq!(spend(&current, &of_current).await, StatusCode::UNAUTHORIZED, "it is bound");
    assert_eq!(spend(&landed, &of_current).await, StatusCode::OK);
    assert_eq!(spend(&current, &of_landed).await, StatusCode::OK);
    let with_proof = bound.send(Method::POST, "/demo/single-use", Some(&of_current), None).await;
    assert_eq!((with_proof.status, with_proof.error()), (StatusCode::UNAUTHORIZED, "invalid_token".to_owned()));
    assert_eq!(spend(&landed, &of_landed).await, StatusCode::UNAUTHORIZED);

    // A session that ends on either node has ended on both.
    let logout = bound.send(Method::POST, "/auth/logout", Some(&phone.access), None).await;
    assert_eq!(logout.status, StatusCode::NO_CONTENT, "{logout:?}");
    assert_eq!(landed.logout(&laptop.access).await.unwrap().status, StatusCode::NO_CONTENT);
    for ended in [&phone, &laptop] {
        let with_proof = bound.send(Method::GET, "/me", Some(&ended.access), None).await;
        assert_eq!(with_proof.error(), "invalid_token");
        assert_eq!(landed.me(&ended.access).await.unwrap().error(), "invalid_token");
        assert_eq!(bound.refresh(&ended.refresh).await.error(), "invalid_grant");
        assert_eq!(landed.refresh(&ended.refresh).await.unwrap().error(), "invalid_grant");
    }
    for node in [&landed, &current] {
        assert_accepted(node, &plain.access).await;
        assert_eq!(list_sessions(node, &plain.access).await.len(), 1);
    }
    assert_reuses(&fleet, 0).await;
}
