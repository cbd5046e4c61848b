//! The collections, with the read and write concerns of all operations.

use std::time::Duration;

use bson::Document;
use mongodb::{
    Collection, Database,
    options::{Acknowledgment, CollectionOptions, ReadConcern, ReadPreference, SelectionCriteria, WriteConcern},
};

use super::{
    document::{OneTimeDocument, SessionDocument, SubjectDocument, TokenDocument},
    lookup::{FindDenials, FindSessions, FindTokens, LookupBatcher},
};

/// The collections. Operations are methods on an `Arc` of this, so that each can run as a task.
pub(super) struct Records {
    pub(super) tokens: Collection<TokenDocument>,
    pub(super) sessions: Collection<SessionDocument>,
    pub(super) subjects: Collection<SubjectDocument>,
    pub(super) reserved_keys: Collection<Document>,
    pub(super) one_time_records: Collection<OneTimeDocument>,
    pub(super) denials: Collection<Document>,
    /// Reads single tokens, many in one query.
    pub(super) lookups: LookupBatcher<FindTokens>,
    /// The same for single sessions.
    pub(super) session_lookups: LookupBatcher<FindSessions>,
    /// The same for denials.
    pub(super) denial_lookups: LookupBatcher<FindDenials>,
    /// The server's time limit for one read.
    pub(super) limit: Duration,
}

impl Records {
    pub(super) fn new(database: &Database, limit: Duration) -> Self {
        let options = CollectionOptions::builder()
            .selection_criteria(SelectionCriteria::ReadPreference(ReadPreference::Primary))
            .read_concern(read_concern())
            .write_concern(write_concern(Some(limit)))
            .build();
        let lookups = FindTokens::new(database.collection_with_options("tokens", options.clone()), limit);
        let session_lookups = FindSessions::new(database.collection_with_options("sessions", options.clone()), limit);
        let denial_lookups = FindDenials::new(database.collection_with_options("denials", options.clone()), limit);
        Self {
            lookups: LookupBatcher::new(lookups),
            session_lookups: LookupBatcher::new(session_lookups),
            denial_lookups: LookupBatcher::new(denial_lookups),
            tokens: database.collection_with_options("tokens", options.clone()),
            sessions: database.collection_with_options("sessions", options.clone()),
            subjects: database.collection_with_options("subjects", options.clone()),
            reserved_keys: database.collection_with_options("reserved_keys", options.clone()),
            one_time_records: database.collection_with_options("one_time_records", options.clone()),
            denials: database.collection_with_options("denials", options),
            limit,
        }
    }
}

/// Reads the primary's newest data. The documentation of `mongodb` says why not `majority`.
pub(super) fn read_concern() -> ReadConcern {
    ReadConcern::local()
}

/// Acknowledged by the primary, in memory: for writes that may be lost.
pub(super) fn cheap_write_concern(limit: Duration) -> WriteConcern {
    WriteConcern::builder().w(Acknowledgment::Nodes(1)).w_timeout(limit).journal(false).build()
}

/// Acknowledged by a majority, on disk. After `limit` the server stops waiting and reports an
/// error.
pub(super) fn write_concern(limit: Option<Duration>) -> WriteConcern {
    WriteConcern::builder().w(Acknowledgment::Majority).w_timeout(limit).journal(true).build()
}

/// The comment on commands that no caller waits for, seen in the server's log and profile.
pub(super) const BACKGROUND: &str = "auth-layer: background";
