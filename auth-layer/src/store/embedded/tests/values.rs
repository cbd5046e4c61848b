use chrono::{DateTime, TimeDelta, Utc};
use redb::ReadableTableMetadata;

use super::{
    super::{
        codec::{
            StoredSession, StoredToken, decode_fence, decode_one_time, decode_reservation, encode_fence,
            encode_one_time, encode_reservation, encode_session, encode_token,
        },
        file::CommitMode,
        tables::{ExpiryRow, KeyExpiryRow, first_expiry_key, first_key_expiry_key},
    },
    EmbeddedStore, is_active, login, now, sign_in,
};
use crate::{
    clock::Timestamp,
    id::{SessionId, Subject, TokenId},
    store::{HashedKey, OneTimeRecord, Payload, Redeemed, Retired, StoreErrorKind, TokenStore, UserFence},
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
        let value = encode_token(&token.record, token.revoked);
        assert_eq!(StoredToken::decode(id, &value), Some(token));
        assert!(damaged(&value).all(|value| StoredToken::decode(id, &value).is_none()));
    }

    session.payload = [("client_id", "web"), ("later", ""), ("user_agent", "\u{0}")].into_iter().collect();
    session.current.set_sealed_signatures(&[0; 100]);
    for delivered in [false, true] {
        session.previous = Some(Retired { refresh_id: TokenId::generate(), at: now(), delivered });
        let id = session.session_id;
        let session = StoredSession { session: session.clone(), kept_until: now() };
        let value = encode_session(&session.session, session.kept_until);
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
    let session = SessionId::generate();
    for pair in moments.windows(2) {
        let (key, _) = ExpiryRow::Token(id, session).encode(pair[0]);
        assert!(key >= first_expiry_key(pair[0]), "what expires at the bound is kept");
        assert!(key < first_expiry_key(pair[1]), "what expires before the bound goes");
        let key = HashedKey::from_digest([u8::MAX; 32]);
        for row in [KeyExpiryRow::Reservation(key), KeyExpiryRow::OneTime(key)] {
            let encoded = row.encode(pair[0]);
            assert!(encoded >= first_key_expiry_key(pair[0]), "what expires at the bound is kept");
            assert!(encoded < first_key_expiry_key(pair[1]), "what expires before the bound goes");
            assert_eq!(KeyExpiryRow::decode(&encoded).unwrap(), row);
        }
    }
}

#[test]
fn embedded_values_of_keys_round_trip_and_damaged_ones_are_refused() {
    let value = encode_reservation(now());
    assert_eq!(decode_reservation(&value), Some(now()));
    assert!(damaged(&value).all(|value| decode_reservation(&value).is_none()));
    let payload: Payload = [("later", ""), ("scope", "\u{0}")].into_iter().collect();
    let value = encode_one_time(&payload, now());
    assert_eq!(decode_one_time(&value), Some(OneTimeRecord { payload, expires_at: now(), redeemed_by: None }));
    assert!(damaged(&value).all(|value| decode_one_time(&value).is_none()));
}

#[tokio::test]
async fn embedded_purge_removes_more_than_one_batch_of_keys() {
    let dir = tempfile::tempdir().unwrap();
    let store = EmbeddedStore::open(dir.path().join("tokens.redb")).unwrap();
    let keys = (0..600_u32).map(|number| HashedKey::of("test", number.to_be_bytes()));
    let written = store.file.write(CommitMode::Durable, |tables| {
        for key in keys.clone() {
            assert!(tables.reserve(key, now(), Timestamp::UNIX_EPOCH)?);
            tables.put_one_time(key, &Payload::new(), now())?;
            let redeemed = tables.redeem(key, SessionId::generate(), Timestamp::UNIX_EPOCH)?;
            assert_eq!(redeemed, Redeemed::First(Payload::new()));
        }
        Ok(())
    });
    written.unwrap();
    assert_eq!(store.purge_expired(now()).await.unwrap().keys, 0, "what expires at the bound is kept");
    assert!(store.is_empty().await.unwrap(), "no session, no token and no user");
    let after = now() + TimeDelta::microseconds(1);
    assert_eq!(store.purge_expired(after).await.unwrap().keys, 1_200);
    let left = store.file.write(CommitMode::Durable, |tables| {
        let keys = tables.keys()?;
        Ok([keys.reserved.len()?, keys.one_time.len()?, keys.redemptions.len()?, keys.expiry.len()?])
    });
    assert_eq!(left.unwrap(), [0; 4]);
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
