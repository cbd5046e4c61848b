//! The documents of `sessions`.

use std::time::Duration;

use bson::{Binary, DateTime, Uuid, spec::BinarySubtype};
use serde::{Deserialize, Serialize};

use super::{Mark, corrupt, date, id, uuid};
use crate::{
    clock::{Timestamp, earlier},
    id::SessionId,
    store::{Pair, Retired, Session, StoreError},
};

/// A session.
#[derive(Serialize, Deserialize)]
pub(in crate::store::mongodb) struct SessionDocument {
    #[serde(rename = "_id")]
    session_id: Uuid,
    user_id: Uuid,
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
    /// The user's epoch under which it was opened: a revocation of all spares the sessions of its own epoch, which were opened after it began.
    #[serde(skip_serializing_if = "Option::is_none")]
    epoch: Option<i64>,
    /// Until the sign-in is committed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pending: Option<bool>,
    /// Not stored: milliseconds since `previous` was retired, as the server has computed them.
    #[serde(skip_serializing, default)]
    retired_for: Option<i64>,
}

/// A session that is being ended, as it was before.
#[derive(Debug, Deserialize)]
pub(in crate::store::mongodb) struct EndedSession {
    #[serde(rename = "_id")]
    pub(in crate::store::mongodb) id: Uuid,
    revoked: Option<bool>,
    /// None where there is no such session: tokens may still name it.
    current: Option<CurrentDocument>,
    pub(in crate::store::mongodb) unfinished: Option<Mark>,
}

#[derive(Debug, Deserialize)]
struct CurrentDocument {
    refresh_id: Uuid,
}

impl EndedSession {
    /// One that is not recorded.
    pub(in crate::store::mongodb) fn unknown(session: SessionId) -> Self {
        Self { id: uuid(session), revoked: None, current: None, unfinished: None }
    }

    pub(in crate::store::mongodb) fn is_known(&self) -> bool {
        self.current.is_some()
    }

    pub(in crate::store::mongodb) fn was_alive(&self) -> bool {
        self.is_known() && self.revoked != Some(true)
    }

    pub(in crate::store::mongodb) fn session_id(&self) -> SessionId {
        id(self.id)
    }

    /// Its newest refresh token.
    pub(in crate::store::mongodb) fn refresh_id(&self) -> Option<Uuid> {
        self.current.as_ref().map(|current| current.refresh_id)
    }
}

/// A session's newest pair.
#[derive(Serialize, Deserialize)]
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
}

/// The refresh token that the newest pair replaced.
#[derive(Serialize, Deserialize)]
struct RetiredDocument {
    refresh_id: Uuid,
    at: DateTime,
    /// Absent is true: nothing is known to speak for its owner.
    #[serde(default = "delivered")]
    delivered: bool,
}

fn delivered() -> bool {
    true
}

impl SessionDocument {
    /// A session before its sign-in is committed.
    pub(in crate::store::mongodb) fn opening(session: Session, epoch: i64) -> Self {
        Self {
            session_id: uuid(session.session_id),
            user_id: uuid(session.user_id),
            client_id: session.client_id,
            user_agent: session.user_agent,
            created_at: date(session.created_at),
            last_used_at: date(session.last_used_at),
            ends_at: date(session.ends_at),
            revoked: session.revoked,
            current: session.current.into(),
            previous: session.previous.map(RetiredDocument::from),
            epoch: Some(epoch),
            pending: Some(true),
            retired_for: None,
        }
    }

    /// The session, its previous refresh token retired as long before `now` as the server says.
    pub(in crate::store::mongodb) fn seen_at(self, now: Timestamp) -> Result<Session, StoreError> {
        let age = self.retired_for.map(|millis| Duration::from_millis(u64::try_from(millis).unwrap_or(0)));
        let mut session = Session::try_from(self)?;
        if let (Some(previous), Some(age)) = (&mut session.previous, age) {
            previous.at = earlier(now, age);
        }
        Ok(session)
    }
}

impl TryFrom<SessionDocument> for Session {
    type Error = StoreError;

    fn try_from(document: SessionDocument) -> Result<Self, StoreError> {
        Ok(Self {
            session_id: id(document.session_id),
            user_id: id(document.user_id),
            client_id: document.client_id,
            user_agent: document.user_agent,
            created_at: document.created_at.to_chrono(),
            last_used_at: document.last_used_at.to_chrono(),
            ends_at: document.ends_at.to_chrono(),
            revoked: document.revoked,
            current: document.current.try_into()?,
            previous: document.previous.map(|previous| Retired {
                refresh_id: id(previous.refresh_id),
                at: previous.at.to_chrono(),
                delivered: previous.delivered,
            }),
        })
    }
}

impl From<Pair> for PairDocument {
    fn from(pair: Pair) -> Self {
        Self {
            access_id: uuid(pair.access_id),
            refresh_id: uuid(pair.refresh_id),
            issued_at: date(pair.issued_at),
            access_expires_at: date(pair.access_expires_at),
            refresh_expires_at: date(pair.refresh_expires_at),
            scope: pair.scope.to_string(),
            custom: pair.custom,
            kid: pair.kid,
            sealed_signatures: pair.sealed_signatures.map(|bytes| Binary { subtype: BinarySubtype::Generic, bytes }),
        }
    }
}

impl TryFrom<PairDocument> for Pair {
    type Error = StoreError;

    fn try_from(document: PairDocument) -> Result<Self, StoreError> {
        Ok(Self {
            access_id: id(document.access_id),
            refresh_id: id(document.refresh_id),
            issued_at: document.issued_at.to_chrono(),
            access_expires_at: document.access_expires_at.to_chrono(),
            refresh_expires_at: document.refresh_expires_at.to_chrono(),
            scope: document.scope.parse().map_err(|error| corrupt().with_source(error))?,
            custom: document.custom,
            kid: document.kid,
            sealed_signatures: document.sealed_signatures.map(|binary| binary.bytes),
        })
    }
}

impl From<Retired> for RetiredDocument {
    fn from(retired: Retired) -> Self {
        Self { refresh_id: uuid(retired.refresh_id), at: date(retired.at), delivered: retired.delivered }
    }
}
