//! Records tokens and sessions. Defines the store trait and the laws that each store keeps.
//!
//! A [`TokenStore`] offers whole operations, not rows: it opens a session, rotates its pair,
//! revokes, consumes. Each backend decides an operation in the way that suits it best. An
//! implementation keeps these laws:
//!
//! 1. **Durable.** An operation that returned success survives the crash of any process. With a
//!    replicated backend it also survives the loss of a minority of the members. The one exception
//!    is [`note_delivered`].
//! 2. **Linear.** Each operation takes effect at one moment between its call and its return. In
//!    particular, a [`token_status`] that is called after a revocation returned sees the
//!    revocation, and [`denials`] called after a [`deny`] returned finds it.
//! 3. **One winner.** Of all concurrent [`rotate`] calls for one parent, one is
//!    [`Rotated::Committed`]. Of all [`consume`] calls for one token, one is
//!    [`Consumed::Accepted`]. Of all [`redeem`] calls for one record, one is [`Redeemed::First`].
//!    Of all [`reserve`] calls for one key, one returns true while its reservation lives.
//! 4. **Fence.** [`open_session`] is [`Admission::Fenced`] under an epoch that has passed, or for a
//!    disabled user. A revocation finds everything that was admitted before it.
//! 5. **No revival.** `revoked` flips once and never back. `redeemed_by` is set once. The times of a
//!    denial only grow. No record is removed before the time that [`purge_expired`] is given.
//! 6. **Absence is not failure.** "There is no such record" is an `Ok`. A store that could not look
//!    returns a [`StoreError`].
//! 7. **All or nothing, or harmless.** An operation that fails half-way leaves no trace, or only
//!    records of tokens that nobody holds. Calling it again is safe. A revocation that was recorded
//!    and then broke off is returned by [`resume`], on any node.
//! 8. **The session decides.** A refresh token ends with its session. The records of retired
//!    refresh tokens need not be marked, so the cost of ending a session depends on its live tokens
//!    only.
//! 9. **One text, one user.** Two [`Subject`](crate::Subject)s are the same user exactly when their
//!    texts are equal, code point by code point.
//!
//! `store::conformance` (feature `conformance`) has these laws as plain functions. Run them on a
//! store of your own.
//!
//! # Writing a store
//!
//! `examples/sqlite_store.rs` is a complete store in SQLite, written as a model. Implement the
//! methods of [`TokenStore`] that have no default body.
//!
//! - If the backend has transactions, run each operation as one transaction that excludes other
//!   writers of the same session and of the same user. The laws then hold by themselves.
//! - If it has none, decide each operation by one conditional write, as the MongoDB store does.
//!
//! **What a store decides on, and what it only keeps.** A store decides on identifiers, times,
//! `revoked`, `current`, `previous` and the fence. It writes a [`Payload`] and returns it
//! unchanged. Only [`sessions_of_client`] looks into one. A store that reads a record before it
//! writes can use [`Session::is_current`], [`Session::is_live`], [`Session::note_delivered`],
//! [`ActiveToken::is_usable`] and [`OneTimeRecord::redeem`].
//!
//! **Records as text.** A [`Session`], a [`TokenRecord`] and a [`OneTimeRecord`] can each be kept
//! as one JSON text (serde). Beside it, keep the columns that the store looks up or decides by.
//!
//! - Members have the names of the fields. Identifiers and kinds are strings, times are whole
//!   milliseconds since 1970. Later versions read what this version wrote.
//! - Use a column of plain text. Types that parse JSON may refuse some texts: PostgreSQL's `jsonb`
//!   refuses U+0000.
//! - Keep the parser's errors out of logs, because they may quote the text.
//!
//! **Users.** A [`Subject`](crate::Subject) is text of 1 to 255 characters. Compare it by its
//! bytes. Use no collation that ignores case, accents, Unicode normal forms or trailing blanks, and
//! no string type that ends at U+0000. A backend with a UUID type may keep a canonical UUID
//! ([`as_uuid`](crate::id::TextId::as_uuid)) in it. No other text may then be read back as that
//! UUID.
//!
//! **Keys.** A [`HashedKey`] is 32 bytes of any value. Reservations, one-time records and denials
//! are apart: two of the same key do not meet.
//!
//! **Times.** Keep a [`Timestamp`](crate::clock::Timestamp) to the millisecond at least. Truncate
//! what is finer, do not round it: a stored expiry is never later than the one that was given. An
//! [`Authority`](crate::Authority) gives whole milliseconds.
//!
//! **How long a record is kept.**
//!
//! | record | kept until |
//! | --- | --- |
//! | a token, also revoked, used or retired | [`purge_expired`] gets a time past its `expires_at` |
//! | a session, also revoked | the same for `current.refresh_expires_at`, and no token needs it |
//! | a reservation, a one-time record, also a redeemed one | the same for its `expires_at` |
//! | a denial | the same for its `expires_at` |
//! | a user's fence | forever |
//!
//! A session stays while a revocation must still find a token through it. A fence that was removed
//! would admit sign-ins from before a revocation.
//!
//! **What a repeated call returns.** Any operation may be called again, because its answer may have
//! been lost on the network.
//!
//! | operation | called again with the same arguments |
//! | --- | --- |
//! | [`open_session`] | `Admitted` while the session lives and its fence stands; no change |
//! | [`rotate`] | `Lost`; the child stays current and its tokens stay active |
//! | [`confirm`] | the same answer, until the session moves on |
//! | [`note_delivered`] | success; [`Retired::at`] stays as the first call set it |
//! | [`record_token`] | `Admitted` while the session lives; an existing record stays as it is |
//! | [`consume`] | `Refused` |
//! | [`reserve`] | false, until the reservation expires |
//! | [`put_one_time`] | success; an existing record stays as it is |
//! | [`redeem`] | `Again` with the session of the first call, until the record expires |
//! | [`open_and_redeem`] | the same |
//! | [`deny`] | success, no change |
//! | [`revoke_token`], [`revoke_session`], [`revoke_for_reuse`] | the same access tokens, 0 sessions |
//! | [`revoke_user`] | the same, and the fence rises once more |
//! | [`set_user_disabled`] to true | the same, and the fence rises once more |
//! | [`set_user_disabled`] to false | success, no change |
//! | [`settle`], [`purge_expired`] | success, no change |
//!
//! **Races.** These pairs run at the same time, on one node and on several. Decide each in one
//! place.
//!
//! | calls | what must hold |
//! | --- | --- |
//! | `rotate`, `rotate` of one parent | one commits |
//! | `rotate`, any revocation | the rotation is `Lost`, or the revocation finds the child |
//! | `rotate`, `note_delivered` | the note never applies to the next pair |
//! | `rotate`, `revoke_for_reuse` | one of the two does nothing |
//! | `rotate`, `purge_expired` | a session that was refreshed stays |
//! | `open_session`, `revoke_user` | the sign-in is `Fenced`, or the revocation finds it |
//! | `open_session`, `set_user_disabled` | the same |
//! | `open_and_redeem`, either of these | the same |
//! | `revoke_user`, `revoke_user` of one user | the fence rises twice |
//! | `record_token`, any revocation | the token is `Fenced`, or the revocation finds it |
//! | `consume`, `consume` of one token | one is accepted |
//! | `reserve`, `reserve` of one key, free or expired | one returns true |
//! | `redeem`, `redeem` of one record | one is `First`, the others name its session |
//! | `open_and_redeem`, `open_and_redeem` of one record | the same |
//! | `deny`, `deny` of one key | of each time, the latest stays |
//! | `denials`, `deny` | the denial is found once `deny` has returned |
//! | `token_status`, any revocation | no `Active` once the revocation has returned |
//!
//! **Ties.** If two sessions have the same time, the one with the greater `session_id` is the later
//! one. At the moment of its `expires_at`, a token, a reservation, a one-time record or a denial has
//! expired.
//!
//! # Stores that wrap a store
//!
//! A [`StoreDecorator`] changes some operations of another store and forwards all others.
//! [`Cached`](crate::cache::Cached) is one, and so is a test double. A [`DynStore`] is a store
//! whose type is chosen at run time.
//!
//! [`confirm`]: TokenStore::confirm
//! [`consume`]: TokenStore::consume
//! [`denials`]: TokenStore::denials
//! [`deny`]: TokenStore::deny
//! [`note_delivered`]: TokenStore::note_delivered
//! [`open_and_redeem`]: TokenStore::open_and_redeem
//! [`open_session`]: TokenStore::open_session
//! [`revoke_for_reuse`]: TokenStore::revoke_for_reuse
//! [`purge_expired`]: TokenStore::purge_expired
//! [`put_one_time`]: TokenStore::put_one_time
//! [`record_token`]: TokenStore::record_token
//! [`redeem`]: TokenStore::redeem
//! [`reserve`]: TokenStore::reserve
//! [`resume`]: TokenStore::resume
//! [`revoke_session`]: TokenStore::revoke_session
//! [`sessions_of_client`]: TokenStore::sessions_of_client
//! [`revoke_token`]: TokenStore::revoke_token
//! [`revoke_user`]: TokenStore::revoke_user
//! [`rotate`]: TokenStore::rotate
//! [`set_user_disabled`]: TokenStore::set_user_disabled
//! [`settle`]: TokenStore::settle
//! [`token_status`]: TokenStore::token_status

mod delegate;
mod denial;
mod erased;
mod error;
#[cfg(any(feature = "mongodb", feature = "redis"))]
mod feed;
#[cfg(feature = "metrics")]
mod measured;
mod memory;
mod one_time;
mod outcome;
mod payload;
mod record;
mod session;
mod token_store;

#[cfg(feature = "conformance")]
pub mod conformance;
#[cfg(feature = "embedded")]
pub mod embedded;
#[cfg(feature = "mongodb")]
pub mod mongodb;

pub use delegate::StoreDecorator;
pub use denial::Denial;
pub(crate) use denial::only_live;
pub use erased::DynStore;
pub(crate) use erased::{ErasedStore, StoreFuture, StoreRequest, StoreResponse, within};
pub use error::{StoreError, StoreErrorKind};
#[cfg(any(feature = "mongodb", feature = "redis"))]
pub(crate) use feed::{Feed, Listeners};
#[cfg(feature = "metrics")]
pub use measured::MeasuredStore;
pub use memory::MemoryStore;
pub use one_time::{HashedKey, OneTimeRecord, Redeemed};
pub use outcome::{Admission, Consumed, Purged, Resumed, Revocation, Revoked, Rotated, Rotation, UserFence};
pub use payload::Payload;
#[cfg(any(feature = "mongodb", feature = "embedded"))]
pub(crate) use payload::member;
pub(crate) use payload::unreadable_payload;
pub use record::{ActiveToken, TokenRecord, TokenStatus};
pub use session::{Pair, Retired, Session, Verdict};
pub use token_store::TokenStore;

pub use crate::{
    kind::TokenKind,
    local::{LocalCache, RevocationListener},
};
