//! The fixture of these tests: authorities over one counting store, and good tokens to forge
//! from.

use std::{sync::Arc, time::Duration};

use auth_layer::{
    Authority, Grant, IssuedPair, UserId,
    clock::{Clock, ManualClock, Timestamp},
    store::TokenKind,
    trust::CheckOrder,
};
use chrono::{DateTime, TimeDelta};

use crate::{
    counting_store::CountingStore,
    forge::{KEYS, TokenDraft},
};

/// The issuer of all tokens.
pub(crate) const ISSUER: &str = "https://issuer.example";
/// The audience of all tokens.
pub(crate) const AUDIENCE: &str = "api";

/// The default leeway of [`Authority`].
pub(crate) const LEEWAY: TimeDelta = TimeDelta::seconds(30);

/// Two authorities that differ in the order of checking, on one store, with one clock that stands
/// still.
pub(crate) struct Fixture {
    pub(crate) store: Arc<CountingStore>,
    clock: ManualClock,
    pub(crate) record_first: Authority,
    pub(crate) signature_first: Authority,
}

/// Good tokens of one kind and one session, one for each algorithm, and other tokens that a
/// forger may have.
pub(crate) struct GoodTokens {
    pub(crate) kind: TokenKind,
    pub(crate) now: Timestamp,
    pub(crate) eddsa: TokenDraft,
    pub(crate) es256: TokenDraft,
    pub(crate) rs256: TokenDraft,
    pub(crate) ps256: TokenDraft,
    pub(crate) hs256: TokenDraft,
    /// A token of the same kind of another user.
    pub(crate) other: TokenDraft,
    /// The session's tokens of the two other kinds.
    pub(crate) siblings: Vec<TokenDraft>,
    /// A token that has just expired, leeway included, and one with a second left.
    pub(crate) expired: TokenDraft,
    pub(crate) expiring: TokenDraft,
}

impl Fixture {
    /// Creates the store and both authorities.
    pub(crate) fn new() -> Self {
        let clock = ManualClock::starting_at(DateTime::from_timestamp(1_800_000_000, 0).unwrap());
        let store = Arc::<CountingStore>::default();
        let made = |order| authority(&store, &clock, order);
        Self {
            record_first: made(CheckOrder::RecordFirst),
            signature_first: made(CheckOrder::SignatureFirst),
            store: Arc::clone(&store),
            clock,
        }
    }

    /// Returns both authorities, each with its order of checking.
    pub(crate) fn authorities(&self) -> [(&'static str, &Authority); 2] {
        [("record first", &self.record_first), ("signature first", &self.signature_first)]
    }

    /// Issues good tokens of this kind.
    pub(crate) async fn good(&self, kind: TokenKind) -> GoodTokens {
        let now = self.clock.now();
        let [access, refresh, single_use] =
            issue(&self.record_first).await.map(|token| TokenDraft::of(&token, &KEYS.eddsa));
        let (draft, siblings) = match kind {
            TokenKind::Access => (access, vec![refresh, single_use]),
            TokenKind::Refresh => (refresh, vec![access, single_use]),
            TokenKind::SingleUse => (single_use, vec![access, refresh]),
            other => panic!("{other} is new"),
        };
        let ttl = TimeDelta::seconds(draft.number("exp") - draft.number("iat"));
        let issued_at = now - ttl - LEEWAY;
        GoodTokens {
            kind,
            now,
            es256: draft.clone().signed_by(&KEYS.es256),
            rs256: draft.clone().signed_by(&KEYS.rs256),
            ps256: draft.clone().signed_by(&KEYS.ps256),
            hs256: draft.clone().signed_by(&KEYS.hs256),
            eddsa: draft,
            other: self.issued_at(kind, now).await,
            siblings,
            expired: self.issued_at(kind, issued_at).await,
            expiring: self.issued_at(kind, issued_at + TimeDelta::seconds(1)).await,
        }
    }

    /// Issues a good token of this kind at this time.
    async fn issued_at(&self, kind: TokenKind, now: Timestamp) -> TokenDraft {
        let then = authority(&self.store, &ManualClock::starting_at(now), CheckOrder::RecordFirst);
        let [access, refresh, single_use] = issue(&then).await;
        let token = match kind {
            TokenKind::Access => access,
            TokenKind::Refresh => refresh,
            TokenKind::SingleUse => single_use,
            other => panic!("{other} is new"),
        };
        TokenDraft::of(&token, &KEYS.eddsa)
    }
}

/// Builds an authority on this store.
fn authority(store: &Arc<CountingStore>, clock: &ManualClock, order: CheckOrder) -> Authority {
    let builder = Authority::builder(ISSUER, Arc::clone(store)).audience(AUDIENCE).keys(KEYS.ring());
    // A warm cache must accept nothing that a cold one refuses.
    builder
        .clock(clock.clone())
        .check_order(order)
        // The corpus is a flood, and each of its cases must reach the store.
        .forged_lookups(u32::MAX)
        // Writes are counted, and a purge would add writes of its own.
        .purge_every(Duration::ZERO)
        .local_cache(Duration::from_secs(1))
        .build()
        .unwrap()
}

/// Opens a session of a new user. Returns its access, refresh and single-use token.
pub(crate) async fn issue(authority: &Authority) -> [String; 3] {
    let pair = sign_in(authority).await;
    let claims = authority.verify(&pair.access_token).await.unwrap();
    let single_use = authority.issue_single_use(&claims).await.unwrap();
    [pair.access_token, pair.refresh_token, single_use.token]
}

/// Signs a new user in.
async fn sign_in(authority: &Authority) -> IssuedPair {
    let sign_in = authority.begin_sign_in(UserId::generate()).await.unwrap();
    authority.sign_in(sign_in, Grant::new("web").scope("profile mail".parse().unwrap())).await.unwrap()
}
