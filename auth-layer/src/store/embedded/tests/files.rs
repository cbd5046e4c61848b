use std::collections::BTreeMap;

use chrono::TimeDelta;
use redb::ReadableTableMetadata;

use super::{
    super::{
        OpenError,
        file::CommitMode,
        tables::{ExpiryRow, Tables},
    },
    EmbeddedStore, is_active, login, now, sign_in,
};
use crate::{
    id::{SessionId, Subject, TokenId},
    store::{
        Admission, Rotated, Rotation, Session, StoreError, StoreErrorKind, TokenKind, TokenRecord, TokenStatus,
        TokenStore, UserFence,
    },
};

#[tokio::test]
async fn embedded_file_keeps_records_when_it_is_reopened() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tokens.redb");
    let store = EmbeddedStore::open(&path).unwrap();
    let user = Subject::generate();
    let (session, mut tokens) = login(user.clone());
    tokens[0].jwt_token = Some("a.b.c".to_owned());
    let _ = store.open_session(session.clone(), tokens.clone(), 0).await.unwrap();
    let (revoked, access) = sign_in(&store).await.unwrap();
    let _ = store.revoke_session(revoked, now()).await.unwrap();
    let _ = store.set_user_disabled(user.clone(), false, now()).await.unwrap();
    let fenced = [Subject::generate(), Subject::from(7_u64)];
    for user in &fenced {
        let _ = store.set_user_disabled(user.clone(), true, now()).await.unwrap();
    }
    drop(store);

    let store = EmbeddedStore::open(&path).unwrap();
    assert_eq!(store.sessions(user, now()).await.unwrap(), [session]);
    for token in &tokens {
        assert_eq!(store.token_status(token.token_id).await.unwrap(), TokenStatus::Active(token.into()));
        let stored = store.file.read(|tables| tables.token(token.token_id)).unwrap().unwrap();
        assert_eq!(stored.record, *token);
    }
    assert_eq!(store.token_status(access).await.unwrap(), TokenStatus::Revoked);
    for user in fenced {
        assert_eq!(store.user_fence(user).await.unwrap(), UserFence { epoch: 1, disabled: true });
    }
}

#[tokio::test]
async fn embedded_file_has_one_store_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tokens.redb");
    let store = EmbeddedStore::open(&path).unwrap();
    assert!(matches!(EmbeddedStore::open(&path), Err(OpenError::InUse)));
    let (_, access) = sign_in(&store).await.unwrap();
    drop(store);
    let store = EmbeddedStore::open(&path).unwrap();
    assert!(is_active(&store, access).await, "the refused opening did no harm");
}

#[cfg(unix)]
#[test]
fn embedded_file_is_created_for_its_owner_only() {
    use std::os::unix::fs::PermissionsExt;

    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tokens.redb");
    let _store = EmbeddedStore::open(&path).unwrap();
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn embedded_file_that_is_no_database_is_refused() {
    let failure = |path| match EmbeddedStore::open(path) {
        Err(OpenError::Failed(error)) => error.kind(),
        other => panic!("{other:?}"),
    };
    let dir = tempfile::tempdir().unwrap();
    let text = dir.path().join("notes.txt");
    std::fs::write(&text, "not a database, and longer than a header would be ".repeat(1_000)).unwrap();
    let before = std::fs::read(&text).unwrap();
    assert_eq!(failure(text.clone()), StoreErrorKind::Corrupt);
    assert_eq!(std::fs::read(&text).unwrap(), before, "somebody else's file is left as it was");
    assert_eq!(failure(dir.path().join("absent/tokens.redb")), StoreErrorKind::Unavailable);
}

/// Counts the rows of each table.
fn rows(store: &EmbeddedStore) -> BTreeMap<&'static str, u64> {
    let count = store.file.write(CommitMode::Durable, |tables| {
        Ok(BTreeMap::from([
            ("tokens", tables.tokens.len()?),
            ("sessions", tables.sessions.len()?),
            ("session_tokens", tables.session_tokens.len()?),
            ("user_sessions", tables.user_sessions.len()?),
            ("text_user_sessions", tables.text_user_sessions.len()?),
            ("expiry", tables.expiry.len()?),
        ]))
    });
    count.unwrap()
}

#[tokio::test]
async fn embedded_purge_leaves_no_row_behind() {
    let dir = tempfile::tempdir().unwrap();
    let store = EmbeddedStore::open(dir.path().join("tokens.redb")).unwrap();
    for user in [Subject::generate(), Subject::generate(), "auth0|7".parse().unwrap()] {
        let (session, tokens) = login(user);
        let id = session.session_id;
        let rotation = |parent, minutes| {
            let (child, _) = login(session.user_id.clone());
            let mut child = child.current;
            child.refresh_expires_at = now() + TimeDelta::minutes(minutes);
            let record = |token_id, kind, expires_at| TokenRecord { token_id, kind, expires_at, ..tokens[0].clone() };
            let tokens = vec![
                record(child.access_id, TokenKind::Access, child.access_expires_at),
                record(child.refresh_id, TokenKind::Refresh, child.refresh_expires_at),
            ];
            Rotation { session_id: id, parent, child, tokens, now: now() }
        };
        let _ = store.open_session(session.clone(), tokens.clone(), 0).await.unwrap();
        let longer = rotation(session.current.refresh_id, 90);
        let shorter = rotation(longer.child.refresh_id, 30);
        let _ = store.rotate(longer).await.unwrap();
        let _ = store.rotate(shorter).await.unwrap();
        let single = TokenRecord {
            token_id: TokenId::generate(),
            kind: TokenKind::SingleUse,
            expires_at: now() + TimeDelta::minutes(2),
            ..tokens[0].clone()
        };
        let _ = store.record_token(single).await.unwrap();
    }
    // Of a session's seven tokens three are refresh tokens, which its end finds in the session, if at
    // all.
    let expected = [
        ("tokens", 21),
        ("sessions", 3),
        ("session_tokens", 12),
        ("user_sessions", 2),
        ("text_user_sessions", 1),
        ("expiry", 24),
    ];
    assert_eq!(rows(&store), expected.into());

    // Its newest refresh token expires after half an hour, but an older one lives for an hour and a
    // half.
    let purged = store.purge_expired(now() + TimeDelta::minutes(61)).await.unwrap();
    assert_eq!((purged.tokens, purged.sessions), (18, 0), "a session is kept while any token of it lives");
    let purged = store.purge_expired(now() + TimeDelta::minutes(91)).await.unwrap();
    assert_eq!((purged.tokens, purged.sessions), (3, 0), "a refreshed session is kept a sixteenth longer");
    let purged = store.purge_expired(now() + TimeDelta::minutes(96)).await.unwrap();
    assert_eq!((purged.tokens, purged.sessions), (0, 3));
    assert!(rows(&store).values().all(|count| *count == 0), "{:?}", rows(&store));
}

/// Returns a client's session, whose only token ends with it.
fn client_token() -> (Session, TokenRecord) {
    let (mut session, tokens) = login("backend".parse::<Subject>().unwrap());
    session.ends_at = session.current.access_expires_at;
    session.current.refresh_expires_at = session.current.access_expires_at;
    (session, tokens[0].clone())
}

/// Checks that the end of the session revokes these access tokens, and that a purge leaves no row.
async fn ends_and_is_purged(store: &EmbeddedStore, session: SessionId, mut access: Vec<TokenId>) {
    let revoked = store.revoke_session(session, now()).await.unwrap();
    let mut found: Vec<_> = revoked.access_tokens.iter().map(|(id, _)| *id).collect();
    access.sort();
    found.sort();
    assert_eq!(found, access);
    for id in access {
        assert_eq!(store.token_status(id).await.unwrap(), TokenStatus::Revoked);
    }
    let recorded = rows(store)["tokens"];
    let purged = store.purge_expired(now() + TimeDelta::hours(2)).await.unwrap();
    assert_eq!((purged.tokens, purged.sessions), (recorded, 1));
    assert!(rows(store).values().all(|count| *count == 0), "{:?}", rows(store));
}

#[tokio::test]
async fn embedded_token_that_ends_with_its_session_is_purged_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let store = EmbeddedStore::open(dir.path().join("tokens.redb")).unwrap();
    let (session, record) = client_token();
    let (id, access) = (session.session_id, record.token_id);
    assert_eq!(store.open_session(session, vec![record], 0).await.unwrap(), Admission::Admitted);
    let expected = [
        ("tokens", 1),
        ("sessions", 1),
        ("session_tokens", 1),
        ("user_sessions", 0),
        ("text_user_sessions", 1),
        ("expiry", 1),
    ];
    assert_eq!(rows(&store), expected.into());
    ends_and_is_purged(&store, id, vec![access]).await;
}

/// As an older version writes it.
#[tokio::test]
async fn embedded_token_that_ends_with_its_session_may_expire_by_itself() {
    let dir = tempfile::tempdir().unwrap();
    let store = EmbeddedStore::open(dir.path().join("tokens.redb")).unwrap();
    let (session, record) = client_token();
    let (id, access) = (session.session_id, record.token_id);
    assert_eq!(store.open_session(session, vec![record.clone()], 0).await.unwrap(), Admission::Admitted);
    let (key, owner) = ExpiryRow::Token(access, id).encode(record.expires_at);
    let insert = |tables: &mut Tables<'_>| Ok(tables.expiry.insert(&key, &owner).map(drop)?);
    store.file.write(CommitMode::Durable, insert).unwrap();
    ends_and_is_purged(&store, id, vec![access]).await;
}

#[tokio::test]
async fn embedded_token_that_would_have_ended_with_its_session_expires_by_itself_when_refreshed() {
    let dir = tempfile::tempdir().unwrap();
    let store = EmbeddedStore::open(dir.path().join("tokens.redb")).unwrap();
    let (mut session, tokens) = login(Subject::generate());
    session.current.refresh_expires_at = session.current.access_expires_at;
    let (id, first, parent) = (session.session_id, tokens[0].token_id, session.current.refresh_id);
    assert_eq!(store.open_session(session, tokens.clone(), 0).await.unwrap(), Admission::Admitted);
    let (child, child_tokens) = login(tokens[0].user_id.clone());
    let of_session = |token: TokenRecord| TokenRecord { session_id: id, ..token };
    let tokens: Vec<_> = child_tokens.into_iter().map(of_session).collect();
    let second = tokens[0].token_id;
    let rotation = Rotation { session_id: id, parent, child: child.current, tokens, now: now() };
    assert_eq!(store.rotate(rotation).await.unwrap(), Rotated::Committed);
    ends_and_is_purged(&store, id, vec![first, second]).await;
}

#[tokio::test]
async fn embedded_refresh_seldom_moves_the_expiry_of_its_session() {
    let dir = tempfile::tempdir().unwrap();
    let store = EmbeddedStore::open(dir.path().join("tokens.redb")).unwrap();
    let (session, tokens) = login(Subject::generate());
    let id = session.session_id;
    let _ = store.open_session(session.clone(), tokens, 0).await.unwrap();
    let mut parent = session.current.refresh_id;
    let mut moves = std::collections::BTreeSet::new();
    // Each minute for an hour, a refresh token that lives for an hour.
    for minute in 1..=60 {
        let at = now() + TimeDelta::minutes(minute);
        let (mut child, _) = login(session.user_id.clone());
        child.current.refresh_expires_at = at + TimeDelta::minutes(60);
        let rotation = Rotation { session_id: id, parent, child: child.current.clone(), tokens: Vec::new(), now: at };
        assert_eq!(store.rotate(rotation).await.unwrap(), Rotated::Committed);
        parent = child.current.refresh_id;
        let kept_until = store.read(|tables| Ok(tables.session(id)?.map(|stored| stored.kept_until))).unwrap().unwrap();
        assert!(kept_until >= child.current.refresh_expires_at, "in minute {minute}");
        moves.insert(kept_until);
    }
    assert!((12..=20).contains(&moves.len()), "{}", moves.len());
    assert_eq!(rows(&store)["expiry"], 3, "of the session, and of its first two tokens");
}

#[tokio::test]
async fn embedded_session_opened_again_revives_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = EmbeddedStore::open(dir.path().join("tokens.redb")).unwrap();
    let (session, tokens) = login(Subject::generate());
    for _ in 0..2 {
        let admission = store.open_session(session.clone(), tokens.clone(), 0).await;
        assert_eq!(admission.map_err(|error: StoreError| error.kind()), Ok(Admission::Admitted));
    }
    let _ = store.revoke_session(session.session_id, now()).await.unwrap();
    let again = store.open_session(session.clone(), tokens.clone(), 0).await.unwrap();
    assert_eq!(again, Admission::Fenced);
    assert_eq!(store.token_status(tokens[0].token_id).await.unwrap(), TokenStatus::Revoked);
}
