//! Tests of the embedded store only. The conformance suite tests the laws.

mod crash;
mod creation;
mod disk;
mod files;
mod groups;
mod panics;
mod values;
mod version_1;

use std::{sync::mpsc, time::Duration};

use chrono::{DateTime, TimeDelta};

use super::{EmbeddedStore, error::EmbeddedError, tables::Tables};
use crate::{
    claims::Scope,
    clock::Timestamp,
    id::{SessionId, Subject, TokenId},
    store::{Admission, Pair, Payload, Session, StoreError, TokenKind, TokenRecord, TokenStatus, TokenStore},
};

fn now() -> Timestamp {
    DateTime::from_timestamp_millis(1_800_000_000_123).unwrap()
}

/// Returns a session that ends in an hour, and the records of its pair.
fn login(user: impl Into<Subject>) -> (Session, Vec<TokenRecord>) {
    let user = user.into();
    let current = Pair {
        access_id: TokenId::generate(),
        refresh_id: TokenId::generate(),
        issued_at: now(),
        access_expires_at: now() + TimeDelta::minutes(1),
        refresh_expires_at: now() + TimeDelta::hours(1),
        payload: Payload::of_pair(&Scope::empty(), "{}".to_owned()).signed_with("kid"),
    };
    let session = Session {
        session_id: SessionId::generate(),
        user_id: user.clone(),
        created_at: now(),
        last_used_at: now(),
        ends_at: now() + TimeDelta::days(1),
        revoked: false,
        current,
        previous: None,
        payload: Payload::of_session("client".to_owned(), None),
    };
    let record = |token_id, kind, expires_at| TokenRecord {
        token_id,
        user_id: user.clone(),
        session_id: session.session_id,
        kind,
        issued_at: now(),
        expires_at,
        jwt_token: None,
    };
    let tokens = vec![
        record(session.current.access_id, TokenKind::Access, session.current.access_expires_at),
        record(session.current.refresh_id, TokenKind::Refresh, session.current.refresh_expires_at),
    ];
    (session, tokens)
}

/// Opens a new session of a new user, and returns it with its access token's id.
async fn sign_in(store: &EmbeddedStore) -> Result<(SessionId, TokenId), StoreError> {
    let (session, tokens) = login(Subject::generate());
    let ids = (session.session_id, tokens[0].token_id);
    let admission = store.open_session(session, tokens, 0).await?;
    assert_eq!(admission, Admission::Admitted);
    Ok(ids)
}

async fn is_active(store: &EmbeddedStore, id: TokenId) -> bool {
    matches!(store.token_status(id).await.unwrap(), TokenStatus::Active(_))
}

/// Returns an operation that blocks the writer's thread, a signal that it has begun, and a sender
/// that releases it.
fn block_writer()
-> (impl FnMut(&mut Tables<'_>) -> Result<(), EmbeddedError> + Send + 'static, mpsc::Receiver<()>, mpsc::Sender<()>) {
    let (reached, has_reached) = mpsc::channel();
    let (release, released) = mpsc::channel();
    let operation = move |_: &mut Tables<'_>| {
        let _ = reached.send(());
        let _ = released.recv_timeout(Duration::from_secs(30));
        Ok(())
    };
    (operation, has_reached, release)
}
