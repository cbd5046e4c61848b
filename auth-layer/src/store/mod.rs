//! Where tokens are recorded, and the laws a store keeps.
//!
//! A [`TokenStore`] is asked for whole operations, not for rows: it opens a session, rotates its pair, revokes, consumes.
//! Each backend decides an operation by its own best means. An implementation keeps these laws:
//!
//! 1. **Durable.** An operation that returned success survives the crash of any process, and with a replicated backend the
//!    loss of a minority of its members. [`note_delivered`](TokenStore::note_delivered) alone need not.
//! 2. **Linear.** Each operation takes effect at one moment between its call and its return. In particular
//!    [`token_status`](TokenStore::token_status), called after a revocation returned, sees it.
//! 3. **One winner.** Of any number of concurrent [`rotate`](TokenStore::rotate) calls for one parent one is
//!    [`Rotated::Committed`]; of any number of [`consume`](TokenStore::consume) calls for one token one is
//!    [`Consumed::Accepted`].
//! 4. **Fence.** [`open_session`](TokenStore::open_session) under an epoch that has passed, or for a disabled user, is
//!    [`Admission::Fenced`]. What was admitted before a revocation is found by it, whatever ran beside it.
//! 5. **No revival.** `revoked` flips once. Nothing sets it back, and nothing removes a record before the moment that
//!    [`purge_expired`](TokenStore::purge_expired) is given.
//! 6. **Absence is not failure.** "There is no such record" is an `Ok`; a store that could not look is a [`StoreError`].
//! 7. **All or nothing, or harmless.** An operation that fails half-way leaves either no trace or
//!    records of tokens that nobody holds, and calling it again is safe. A revocation that is
//!    recorded and breaks off is answered by [`resume`](TokenStore::resume), on any node.
//! 8. **The session decides.** A refresh token dies with its session: of those that a rotation
//!    retired the records need not be marked, so that ending a session costs what its live tokens
//!    cost.
//! 9. **One text, one user.** Two [`Subject`](crate::Subject)s are one user exactly when their texts
//!    are equal, code point by code point.
//!
//! `store::conformance` (feature `conformance`) holds them as plain functions to run on a store of your own.
//!
//! # Writing a store
//!
//! `examples/sqlite_store.rs` is a whole store in SQLite, written to be read. Of the [`TokenStore`]'s methods those without a
//! default body are to be written. Where the backend has transactions, run each as one transaction that excludes other
//! writers of the same session and of the same user; then the laws hold by themselves. Without transactions, decide each
//! operation by one conditional write, as the MongoDB store does.
//!
//! **What a store decides on, and what it only keeps.** A store decides on identifiers, times, `revoked`, `current`,
//! `previous` and the fence. It reads nothing else: a [`Payload`] is written and given back as it is. A store that reads a
//! record before it writes can ask [`Session::is_current`], [`Session::note_delivered`] and [`ActiveToken::is_usable`].
//!
//! **Records as text.** A [`Session`] and a [`TokenRecord`] can each be kept as one JSON text (serde), beside the columns
//! that the store looks up or decides by. Members have the names of the fields; identifiers are their texts, kinds their
//! words; times are whole milliseconds since 1970. Later versions read what this one wrote. Use a column of plain text:
//! types that parse JSON may refuse some texts (PostgreSQL's `jsonb` refuses U+0000). Keep the parser's errors out of logs,
//! since they may quote the text.
//!
//! **Users.** A [`Subject`](crate::Subject) is text of 1 to 255 characters. Compare it by its bytes: no collation that
//! ignores case, accents, Unicode normal forms or blanks at the end, and no text that ends at U+0000. Where the backend has
//! a type for UUIDs, a canonical UUID ([`as_uuid`](crate::id::TextId::as_uuid)) may be kept as one; then no other text may
//! be read back as that UUID.
//!
//! **Times.** A [`Timestamp`](crate::clock::Timestamp) is kept to the millisecond at least. What is finer is cut off, not
//! rounded: a stored expiry is never later than the one that was given. An [`Authority`](crate::Authority) gives whole
//! milliseconds.
//!
//! **What is kept, and for how long.**
//!
//! | record | until |
//! | --- | --- |
//! | a token, revoked, used or retired too | [`purge_expired`](TokenStore::purge_expired) is given a time after its `expires_at` |
//! | a session, revoked too | the same for its `current.refresh_expires_at`, and no token that a revocation must find through it is left |
//! | a user's fence | for ever: a fence that is forgotten admits sign-ins from before a revocation |
//!
//! **What a repeated call answers.** Any operation may come again, since its answer may have been lost on the way.
//!
//! | operation | called again with the same arguments |
//! | --- | --- |
//! | [`open_session`](TokenStore::open_session) | `Admitted` while the session lives and its fence stands; changes nothing |
//! | [`rotate`](TokenStore::rotate) | `Lost`: the parent is not current any more. The child stays current and its tokens active |
//! | [`confirm`](TokenStore::confirm) | the same answer, until the session moves on |
//! | [`note_delivered`](TokenStore::note_delivered) | success; [`Retired::at`] stays as the first call left it |
//! | [`record_token`](TokenStore::record_token) | `Admitted` while the session lives; a record that is there stays as it is |
//! | [`consume`](TokenStore::consume) | `Refused` |
//! | [`revoke_token`](TokenStore::revoke_token), [`revoke_session`](TokenStore::revoke_session), [`punish`](TokenStore::punish) | names the same access tokens, and counts 0 sessions |
//! | [`revoke_user`](TokenStore::revoke_user), [`set_user_disabled`](TokenStore::set_user_disabled) to true | the same, and raises the fence once more |
//! | [`set_user_disabled`](TokenStore::set_user_disabled) to false, [`settle`](TokenStore::settle), [`purge_expired`](TokenStore::purge_expired) | success; nothing is left to do |
//!
//! **What races.** These pairs run at once, on one node and on several, and each must be decided in one place.
//!
//! | calls | what must hold |
//! | --- | --- |
//! | `rotate`, `rotate` of one parent | one commits |
//! | `rotate`, any revocation | the rotation is `Lost`, or the revocation finds the child |
//! | `rotate`, `note_delivered` | the note is never of the next pair |
//! | `rotate`, `punish` | one of the two does nothing |
//! | `rotate`, `purge_expired` | a session that went on stays |
//! | `open_session`, `revoke_user` or `set_user_disabled` | the sign-in is `Fenced`, or the revocation finds it |
//! | `revoke_user`, `revoke_user` of one user | the fence rises twice: a sign-in that began between the two is `Fenced` |
//! | `record_token`, any revocation | the token is `Fenced`, or the revocation finds it |
//! | `consume`, `consume` of one token | one is accepted |
//! | `token_status`, any revocation | once the revocation has returned, no check answers `Active` |
//!
//! **Ties.** Where two sessions have the same time, the one with the greater `session_id` counts as the later one.
//!
//! # Stores that wrap a store
//!
//! A [`StoreDecorator`] changes some operations of another store, and hands on all others: [`Cached`](crate::cache::Cached)
//! is one, and so is a test double. A [`DynStore`] is a store whose type is chosen at run time.

mod delegate;
mod erased;
mod error;
#[cfg(any(feature = "mongodb", feature = "redis"))]
mod feed;
mod memory;
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
pub use erased::DynStore;
pub(crate) use erased::{Answer, ErasedStore, Question, Standing, within};
pub use error::{StoreError, StoreErrorKind};
#[cfg(any(feature = "mongodb", feature = "redis"))]
pub(crate) use feed::{Feed, Listeners};
pub use memory::MemoryStore;
pub use outcome::{Admission, Consumed, Purged, Resumed, Revocation, Revoked, Rotated, Rotation, UserFence};
pub use payload::Payload;
#[cfg(any(feature = "mongodb", feature = "embedded"))]
pub(crate) use payload::member;
pub use record::{ActiveToken, TokenRecord, TokenStatus};
pub use session::{Pair, Retired, Session, Verdict};
pub use token_store::TokenStore;

pub use crate::{
    kind::TokenKind,
    local::{LocalCache, RevocationListener},
};
