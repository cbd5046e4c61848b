//! Tokens of another issuer that are bound to a key (RFC 9449 §7.1).

use auth_layer::dpop::{PROOF_HEADER, ProofFault, ProofPolicy};
use http::Method;

use super::*;
use crate::prover::{ORIGIN, Prover};

/// A trust in `THEIRS` whose layer takes proofs, and a client with a bound token of theirs.
struct Setup {
    node: Node,
    policy: Policy,
    prover: Prover,
    token: String,
}

impl Setup {
    fn new() -> Self {
        let (clock, minter) = (clock(), Minter::ed25519("k1"));
        let node = Node::new(&clock, theirs(&minter));
        let policy = Policy::builder().dpop(ProofPolicy::new(ORIGIN.parse().unwrap())).build();
        let prover = Prover::new(&clock);
        let mut claims = claims(&clock);
        claims["cnf"] = json!({ "jkt": prover.proof().thumbprint().to_string() });
        Self { token: minter.mint(access(), &claims), node, policy, prover }
    }

    async fn check(&self, proof: &str) -> Result<Claims, AuthError> {
        let request = Request::get("/orders").header("authorization", format!("DPoP {}", self.token));
        let request = request.header(PROOF_HEADER, proof).body(()).unwrap();
        match self.node.trust.authenticate(&self.policy, &request).await? {
            Authenticated::Claims(claims) => Ok(claims),
            other => panic!("{other:?}"),
        }
    }

    fn proof_of(&self, prover: &Prover) -> String {
        prover.text(&Method::GET, "/orders", Some(&self.token))
    }
}

#[tokio::test]
async fn dpop_takes_a_bound_token_of_another_issuer_with_a_proof_of_its_key_once() {
    let setup = Setup::new();
    // The second time the token comes from the in-process cache.
    for _ in 0..2 {
        let proof = setup.proof_of(&setup.prover);
        assert_eq!(setup.check(&proof).await.unwrap().sub.to_string(), "ada");
        let replayed = setup.check(&proof).await;
        assert!(matches!(replayed, Err(AuthError::InvalidProof(ProofFault::Replayed))), "{replayed:?}");

        let of_another_key = setup.check(&setup.proof_of(&Prover::new(&clock()))).await;
        assert_eq!(fault(of_another_key), TokenFault::Binding);
        assert_eq!(fault(check(&setup.node.trust, &setup.policy, &setup.token).await), TokenFault::Binding);
    }
    assert_eq!(setup.node.store.questions(), 1, "the lease covers the second check");
}

#[tokio::test]
async fn dpop_denied_token_of_another_issuer_is_refused_with_its_proof_too() {
    let setup = Setup::new();
    let claims = setup.check(&setup.proof_of(&setup.prover)).await.unwrap();
    setup.node.trust.deny(&claims).await.unwrap();
    assert_eq!(fault(setup.check(&setup.proof_of(&setup.prover)).await), TokenFault::Revoked);
}
