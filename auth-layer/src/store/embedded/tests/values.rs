use chrono::{DateTime, Utc};

use super::{
    super::{
        codec::{StoredSession, StoredToken, decode_fence, encode_fence},
        file::CommitMode,
        tables::{ExpiryRow, first_expiry_key},
    },
    EmbeddedStore, is_active, login, now, sign_in,
};
use crate::{
    clock::Timestamp,
    id::{Subject, TokenId},
    store::{Retired, StoreErrorKind, TokenStore, UserFence},
};

/// Returns every value that is a prefix of `value`, has bytes after its end, or has another
/// version.
fn damaged(value: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    let parts = (0..value.len()).map(|length| value[..length].to_vec());
    let longer = [value, &[0]].concat();
    let mut newer = value.to_vec();
    newer[0] += 1;
    parts.chain([longer, newer])
}

#[test]
fn embedded_values_round_trip_and_damaged_ones_are_refused() {
    for user in [Subject::generate(), "auth0|\u{e9}".parse().unwrap()] {
        assert_round_trip_or_refusal(user);
    }
}

fn assert_round_trip_or_refusal(user: Subject) {
    let (mut session, mut tokens) = login(user);
    tokens[0].jwt_token = Some("a.b.c".to_owned());
    tokens[1].expires_at = DateTime::<Utc>::MAX_UTC.min(DateTime::from_timestamp_micros(i64::MAX).unwrap_or_default());
    for record in tokens {
        let id = record.token_id;
        let token = StoredToken { record, revoked: true };
        let value = token.encode();
        assert_eq!(StoredToken::decode(id, &value), Some(token));
        assert!(damaged(&value).all(|value| StoredToken::decode(id, &value).is_none()));
    }

    session.payload = [("client_id", "web"), ("later", ""), ("user_agent", "\u{0}")].into_iter().collect();
    session.current.set_sealed_signatures(&[0; 100]);
    for delivered in [false, true] {
        session.previous = Some(Retired { refresh_id: TokenId::generate(), at: now(), delivered });
        let id = session.session_id;
        let session = StoredSession { session: session.clone(), kept_until: now() };
        let value = session.encode();
        assert_eq!(StoredSession::decode(id, &value), Some(session));
        assert!(damaged(&value).all(|value| StoredSession::decode(id, &value).is_none()));
    }

    let fence = UserFence { epoch: u64::MAX, disabled: true };
    assert_eq!(decode_fence(&encode_fence(fence)), Some(fence));
    assert!(damaged(&encode_fence(fence)).all(|value| decode_fence(&value).is_none()));
}

#[test]
fn embedded_expiry_rows_are_ordered_by_time() {
    let moments = [Timestamp::MIN_UTC, DateTime::from_timestamp_micros(-1).unwrap(), DateTime::UNIX_EPOCH, now()];
    let id = TokenId::from_uuid(uuid::Uuid::max());
    let session = crate::id::SessionId::generate();
    for pair in moments.windows(2) {
        let (key, _) = ExpiryRow::Token(id, session).encode(pair[0]);
        assert!(key >= first_expiry_key(pair[0]), "what expires at the bound is kept");
        assert!(key < first_expiry_key(pair[1]), "what expires before the bound goes");
    }
}

#[tokio::test]
async fn embedded_value_that_is_unreadable_fails_only_the_operations_that_read_it() {
    let dir = tempfile::tempdir().unwrap();
    let store = EmbeddedStore::open(dir.path().join("tokens.redb")).unwrap();
    let (session, access) = sign_in(&store).await.unwrap();
    let (_, other) = sign_in(&store).await.unwrap();
    let truncated = store.file.write(CommitMode::Durable, |tables| {
        tables.tokens.insert(access.as_bytes(), [1, 0, 0].as_slice())?;
        Ok(())
    });
    truncated.unwrap();

    let read = store.token_status(access).await.unwrap_err();
    assert_eq!(read.kind(), StoreErrorKind::Corrupt, "{read:?}");
    let (operation, reached, release) = super::block_writer();
    let (blocked, corrupt, fine, ()) = tokio::join!(
        store.writer.run(operation),
        store.revoke_session(session, now()),
        store.revoke_token(other, now()),
        // All are queued when this one is polled, so the last two share a transaction.
        async {
            reached.recv().unwrap();
            drop(release);
        },
    );
    blocked.unwrap();
    assert_eq!(corrupt.unwrap_err().kind(), StoreErrorKind::Corrupt);
    assert_eq!(fine.unwrap().access_tokens.len(), 1);
    assert!(!is_active(&store, other).await);
    let session = store.file.read(|tables| tables.session(session)).unwrap().unwrap();
    assert!(!session.session.revoked, "what failed left nothing half-done");
}
