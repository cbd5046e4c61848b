//! Sessions of a later version of the library, which keeps more about them.

use std::sync::Arc;

use auth_layer::store::{
    Admission, Payload, Session, StoreDecorator, StoreError, StoreErrorKind, TokenRecord, TokenStatus, TokenStore,
};

use super::*;

/// A store that opens every session with members that this version does not know.
struct LaterVersion {
    store: MemoryStore,
    of_session: &'static [(&'static str, &'static str)],
    of_pair: &'static [(&'static str, &'static str)],
}

fn with(payload: &Payload, members: &[(&str, &str)]) -> Payload {
    let known = payload.iter().map(|(name, text)| (name.as_str(), text.as_str()));
    known.chain(members.iter().copied()).collect()
}

impl StoreDecorator for LaterVersion {
    type Inner = MemoryStore;

    fn inner(&self) -> &MemoryStore {
        &self.store
    }

    async fn open_session(
        &self,
        mut session: Session,
        tokens: Vec<TokenRecord>,
        epoch: u64,
    ) -> Result<Admission, StoreError> {
        session.payload = with(&session.payload, self.of_session);
        session.current.payload = with(&session.current.payload, self.of_pair);
        self.store.open_session(session, tokens, epoch).await
    }
}

fn authority_on(store: impl TokenStore, keys: Keyring) -> Authority {
    Authority::builder("https://issuer", store).audience("api").keys(keys).clock(clock()).build().unwrap()
}

async fn opened(
    of_session: &'static [(&'static str, &'static str)],
    of_pair: &'static [(&'static str, &'static str)],
) -> (Arc<LaterVersion>, Authority, IssuedPair) {
    let store = Arc::new(LaterVersion { store: MemoryStore::new(), of_session, of_pair });
    let keys = Keyring::new(SigningKey::generate_for(auth_layer::keys::Algorithm::Es256).unwrap());
    let authority = authority_on(Arc::clone(&store), keys);
    let pair = sign_in(&authority, UserId::generate()).await;
    (store, authority, pair)
}

#[tokio::test]
async fn payload_members_of_a_later_version_survive_every_refresh() {
    let (store, authority, mut pair) =
        opened(&[("acr", "2"), ("crit", "client_id")], &[("cnf", "jkt"), ("crit", "kid scope")]).await;
    for turn in 1..=3 {
        let next = authority.refresh(&pair.refresh_token).await.unwrap();
        assert_eq!(authority.refresh(&pair.refresh_token).await.unwrap(), next, "the same pair, byte for byte");
        pair = next;
        let session = authority.session(pair.session_id).await.unwrap().unwrap();
        let member = |payload: &Payload, name: &str| payload.get(name).map(str::to_owned);
        assert_eq!(
            (member(&session.payload, "acr"), member(&session.payload, "crit")),
            (Some("2".into()), Some("client_id".into()))
        );
        let current = &session.current.payload;
        assert_eq!(
            (member(current, "cnf"), member(current, "crit")),
            (Some("jkt".into()), Some("kid scope".into())),
            "{turn}"
        );
    }
    drop(store);
}

#[tokio::test]
async fn payload_that_must_be_understood_and_is_not_makes_the_call_unavailable() {
    for (of_session, of_pair) in [
        (&[("crit", "cnf"), ("cnf", "jkt")][..], &[][..]),
        (&[("crit", "client_id later")], &[]),
        (&[], &[("crit", "cnf"), ("cnf", "jkt")]),
    ] {
        let (store, authority, pair) = opened(of_session, of_pair).await;
        let claims = authority.verify(&pair.access_token).await.unwrap();
        let before = store.store.session(pair.session_id, chrono::Utc::now()).await.unwrap();
        for _ in 0..2 {
            match authority.refresh(&pair.refresh_token).await {
                Err(RefreshError::Unavailable(error)) => {
                    assert_eq!(error.kind(), StoreErrorKind::Corrupt);
                    assert!(error.to_string().contains("update this node"), "{error}");
                }
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(
            store.store.session(pair.session_id, chrono::Utc::now()).await.unwrap(),
            before,
            "nothing was written"
        );
        assert!(matches!(store.store.token_status(claims.token_id().unwrap()).await.unwrap(), TokenStatus::Active(_)));
        // A revocation needs no understanding of the payload.
        authority.revoke_session(pair.session_id).await.unwrap();
        assert_eq!(fault(&authority, &pair.access_token).await, TokenFault::Revoked);
    }
}

#[tokio::test]
async fn payload_that_a_store_lost_makes_the_call_unavailable() {
    struct LosesMember(MemoryStore, &'static str);

    impl StoreDecorator for LosesMember {
        type Inner = MemoryStore;

        fn inner(&self) -> &MemoryStore {
            &self.0
        }

        async fn open_session(
            &self,
            mut session: Session,
            tokens: Vec<TokenRecord>,
            epoch: u64,
        ) -> Result<Admission, StoreError> {
            let keep = |payload: &Payload| {
                let kept = payload.iter().filter(|(name, _)| *name != self.1);
                kept.map(|(name, text)| (name.clone(), text.clone())).collect()
            };
            session.payload = keep(&session.payload);
            session.current.payload = keep(&session.current.payload);
            self.0.open_session(session, tokens, epoch).await
        }
    }

    for name in ["client_id", "scope", "custom", "kid"] {
        let keys = Keyring::new(SigningKey::generate().unwrap());
        let store = LosesMember(MemoryStore::new(), name);
        let authority = authority_on(store, keys);
        let pair = sign_in(&authority, UserId::generate()).await;
        let refused = authority.refresh(&pair.refresh_token).await;
        assert!(matches!(&refused, Err(RefreshError::Unavailable(_))), "without {name}: {refused:?}");
    }
}
