//! The three collections, with the concerns that all operations on them share.

use std::time::Duration;

use mongodb::{
    Collection, Database,
    options::{Acknowledgment, CollectionOptions, ReadConcern, ReadPreference, SelectionCriteria, WriteConcern},
};

use super::{
    document::{SessionDocument, SubjectDocument, TokenDocument},
    lookup::{FindTokens, Lookups},
};

/// The collections. Each operation is a method on a shared pointer to this, so that it can run on as a task.
pub(super) struct Records {
    pub(super) tokens: Collection<TokenDocument>,
    pub(super) sessions: Collection<SessionDocument>,
    pub(super) subjects: Collection<SubjectDocument>,
    /// Reads single tokens, many at a time.
    pub(super) lookups: Lookups<FindTokens>,
    /// How long the server may take over one read.
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
        Self {
            lookups: Lookups::new(lookups),
            tokens: database.collection_with_options("tokens", options.clone()),
            sessions: database.collection_with_options("sessions", options.clone()),
            subjects: database.collection_with_options("subjects", options),
            limit,
        }
    }
}

/// The newest that the primary has. The module's documentation says why not `majority`.
pub(super) fn read_concern() -> ReadConcern {
    ReadConcern::local()
}

/// Held by the primary, in memory: for what may be lost.
pub(super) fn cheap_write_concern(limit: Duration) -> WriteConcern {
    WriteConcern::builder().w(Acknowledgment::Nodes(1)).w_timeout(limit).journal(false).build()
}

/// Held by a majority, on disk. With a limit the server stops waiting for the majority after it and reports that as an error.
pub(super) fn write_concern(limit: Option<Duration>) -> WriteConcern {
    WriteConcern::builder().w(Acknowledgment::Majority).w_timeout(limit).journal(true).build()
}

/// How a server's log and profile name the commands that no caller waits for.
pub(super) const BACKGROUND: &str = "auth-layer: background";
