//! The documents of `sessions`.

use std::{collections::BTreeMap, time::Duration};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use bson::{Binary, DateTime, RawDocument, Uuid, spec::BinarySubtype};
use serde::{Deserialize, Serialize};

use super::{Mark, Unreadable, UserKey, date, id, uuid};
use crate::{
    clock::{Timestamp, earlier},
    id::SessionId,
    store::{Pair, Payload, Retired, Session, StoreError, StoreErrorKind, member},
};

/// A session.
///
/// Fields from before payloads existed are still fields, so that nodes of both versions read each
/// other's documents. All other members of a payload are in `payload`. Older nodes leave it alone
/// here, and lose it in `current` when they rotate.
#[derive(Clone, Serialize, Deserialize)]
pub(in crate::store::mongodb) struct SessionDocument {
    #[serde(rename = "_id")]
    session_id: Uuid,
    user_id: UserKey,
    client_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_agent: Option<String>,
    created_at: DateTime,
    last_used_at: DateTime,
    ends_at: DateTime,
    revoked: bool,
    current: PairDocument,
    #[serde(skip_serializing_if = "Option::is_none")]
    previous: Option<RetiredDocument>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    payload: BTreeMap<String, String>,
    /// The user's epoch at sign-in. `revoke_user` spares sessions of the epoch that it raised.
    #[serde(skip_serializing_if = "Option::is_none")]
    epoch: Option<i64>,
    /// Present until the sign-in is committed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pending: Option<bool>,
    /// Not stored: milliseconds since `previous` was retired, as computed by the server.
    #[serde(skip_serializing, default)]
    retired_for: Option<i64>,
}

/// Reads a session from the raw document.
pub(in crate::store::mongodb) fn read_session(document: &RawDocument) -> Result<SessionDocument, Unreadable> {
    bson::deserialize_from_slice(document.as_bytes()).map_err(|_| Unreadable::of("a field"))
}

/// A session that a revocation ends.
#[derive(Debug, Deserialize)]
pub(in crate::store::mongodb) struct MarkedSession {
    #[serde(rename = "_id")]
    pub(in crate::store::mongodb) id: Uuid,
    revoked: Option<bool>,
    /// `None` if there is no such session. Tokens may still name it.
    current: Option<CurrentDocument>,
    pub(in crate::store::mongodb) unfinished: Option<Mark>,
}

#[derive(Debug, Deserialize)]
struct CurrentDocument {
    refresh_id: Uuid,
}

impl MarkedSession {
    /// Returns a session that is not recorded.
    pub(in crate::store::mongodb) fn unknown(session: SessionId) -> Self {
        Self { id: uuid(session), revoked: None, current: None, unfinished: None }
    }

    pub(in crate::store::mongodb) fn is_known(&self) -> bool {
        self.current.is_some()
    }

    pub(in crate::store::mongodb) fn was_active(&self) -> bool {
        self.is_known() && self.revoked != Some(true)
    }

    pub(in crate::store::mongodb) fn session_id(&self) -> SessionId {
        id(self.id)
    }

    /// Returns its newest refresh token.
    pub(in crate::store::mongodb) fn refresh_id(&self) -> Option<Uuid> {
        self.current.as_ref().map(|current| current.refresh_id)
    }
}

/// A session's newest pair.
#[derive(Clone, Serialize, Deserialize)]
pub(in crate::store::mongodb) struct PairDocument {
    access_id: Uuid,
    refresh_id: Uuid,
    issued_at: DateTime,
    access_expires_at: DateTime,
    refresh_expires_at: DateTime,
    scope: String,
    custom: String,
    kid: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    sealed_signatures: Option<Binary>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    payload: BTreeMap<String, String>,
}

/// The refresh token that the newest pair replaced.
#[derive(Clone, Serialize, Deserialize)]
struct RetiredDocument {
    refresh_id: Uuid,
    at: DateTime,
    /// Absent means true: nothing shows that the pair was not delivered.
    #[serde(default = "delivered")]
    delivered: bool,
}

fn delivered() -> bool {
    true
}

impl SessionDocument {
    /// Creates the document of a session whose sign-in is not yet committed.
    ///
    /// Fails if its payloads lack a member that every document has.
    pub(in crate::store::mongodb) fn new_pending(session: Session, epoch: i64) -> Result<Self, StoreError> {
        let mut payload = session.payload;
        Ok(Self {
            session_id: uuid(session.session_id),
            user_id: UserKey(session.user_id),
            client_id: payload.take(member::CLIENT_ID).ok_or_else(incomplete)?,
            user_agent: payload.take(member::USER_AGENT),
            created_at: date(session.created_at),
            last_used_at: date(session.last_used_at),
            ends_at: date(session.ends_at),
            revoked: session.revoked,
            current: session.current.try_into()?,
            previous: session.previous.map(RetiredDocument::from),
            payload: payload.into_map(),
            epoch: Some(epoch),
            pending: Some(true),
            retired_for: None,
        })
    }

    /// Converts to a session. `previous` was retired as long before `now` as the server says.
    pub(in crate::store::mongodb) fn into_session(self, now: Timestamp) -> Session {
        let age = self.retired_for.map(|millis| Duration::from_millis(u64::try_from(millis).unwrap_or(0)));
        let mut session = Session::from(self);
        if let (Some(previous), Some(age)) = (&mut session.previous, age) {
            previous.at = earlier(now, age);
        }
        session
    }
}

impl From<SessionDocument> for Session {
    fn from(document: SessionDocument) -> Self {
        let mut payload = Payload::from(document.payload);
        payload.set(member::CLIENT_ID, Some(document.client_id));
        payload.set(member::USER_AGENT, document.user_agent);
        Self {
            session_id: id(document.session_id),
            user_id: document.user_id.0,
            created_at: document.created_at.to_chrono(),
            last_used_at: document.last_used_at.to_chrono(),
            ends_at: document.ends_at.to_chrono(),
            revoked: document.revoked,
            current: document.current.into(),
            previous: document.previous.map(|previous| Retired {
                refresh_id: id(previous.refresh_id),
                at: previous.at.to_chrono(),
                delivered: previous.delivered,
            }),
            payload,
        }
    }
}

impl TryFrom<Pair> for PairDocument {
    type Error = StoreError;

    fn try_from(pair: Pair) -> Result<Self, StoreError> {
        let mut payload = pair.payload;
        let sealed = match payload.take(member::SEALED_SIGNATURES) {
            Some(sealed) => Some(URL_SAFE_NO_PAD.decode(sealed).map_err(|error| incomplete().with_source(error))?),
            None => None,
        };
        Ok(Self {
            access_id: uuid(pair.access_id),
            refresh_id: uuid(pair.refresh_id),
            issued_at: date(pair.issued_at),
            access_expires_at: date(pair.access_expires_at),
            refresh_expires_at: date(pair.refresh_expires_at),
            scope: payload.take(member::SCOPE).ok_or_else(incomplete)?,
            custom: payload.take(member::CUSTOM).ok_or_else(incomplete)?,
            kid: payload.take(member::KID).ok_or_else(incomplete)?,
            sealed_signatures: sealed.map(|bytes| Binary { subtype: BinarySubtype::Generic, bytes }),
            payload: payload.into_map(),
        })
    }
}

/// Nodes of an earlier version cannot read a document without these members.
fn incomplete() -> StoreError {
    StoreError::new(StoreErrorKind::Corrupt, "a payload lacks what this library writes into each")
}

impl From<PairDocument> for Pair {
    fn from(document: PairDocument) -> Self {
        let mut payload = Payload::from(document.payload);
        payload.set(member::SCOPE, Some(document.scope));
        payload.set(member::CUSTOM, Some(document.custom));
        payload.set(member::KID, Some(document.kid));
        let sealed = document.sealed_signatures.map(|binary| URL_SAFE_NO_PAD.encode(binary.bytes));
        payload.set(member::SEALED_SIGNATURES, sealed);
        Self {
            access_id: id(document.access_id),
            refresh_id: id(document.refresh_id),
            issued_at: document.issued_at.to_chrono(),
            access_expires_at: document.access_expires_at.to_chrono(),
            refresh_expires_at: document.refresh_expires_at.to_chrono(),
            payload,
        }
    }
}

impl From<Retired> for RetiredDocument {
    fn from(retired: Retired) -> Self {
        Self { refresh_id: uuid(retired.refresh_id), at: date(retired.at), delivered: retired.delivered }
    }
}
