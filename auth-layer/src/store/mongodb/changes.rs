//! Reports revocations and denials from a MongoDB change stream.
//!
//! A change stream on the database reports every record in `tokens` whose `revoked` becomes true,
//! and every change of `denials`, by any program. It does so once a majority has the change, so a
//! lookup after the report sees it. After a failover the stream resumes where it stopped. If it
//! cannot (the server no longer knows the place, or the database was dropped), it starts anew and
//! reports a gap. One of the two collections that is dropped is a gap, too.
//!
//! The driver waits without a limit for the server's answer, even on a half-dead connection. The
//! server is therefore asked to answer often, with nothing if need be. A stream that stays silent
//! is dropped.

use std::{error::Error, sync::Arc, time::Duration};

use bson::{Bson, Document, doc};
use mongodb::{
    Database,
    change_stream::{
        ChangeStream,
        event::{ChangeStreamEvent, OperationType, ResumeToken},
    },
    error::ErrorKind,
    options::{ReadConcern, ReadPreference, SelectionCriteria},
};
use tokio::time::{error::Elapsed, sleep, timeout};
use uuid::Uuid;

use super::document::key_of;
use crate::store::{HashedKey, Listeners};

/// How often the server answers when nothing has happened.
const HEARTBEAT: Duration = Duration::from_millis(500);

/// How much longer than [`HEARTBEAT`] an answer may take, and how long a stream may take to open.
const ANSWER_TIMEOUT: Duration = Duration::from_millis(1_500);

/// The pause before the next try: first and longest. It doubles each time.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

type Changes = ChangeStream<ChangeStreamEvent<Document>>;

/// Why a stream ended.
#[derive(Debug, thiserror::Error)]
enum StreamEnd {
    #[error("the change stream failed")]
    Failed(#[from] mongodb::error::Error),
    #[error("nothing came from the change stream")]
    Silent(#[from] Elapsed),
    #[error("the database was dropped")]
    Invalidated,
}

impl StreamEnd {
    /// Returns whether resuming the stream is worth a try.
    fn is_resumable(&self) -> bool {
        match self {
            // The server refused the command, and would refuse it again.
            Self::Failed(error) => !matches!(*error.kind, ErrorKind::Command(_)),
            Self::Silent(_) => true,
            Self::Invalidated => false,
        }
    }
}

/// Reports revocations to the listeners, without end.
pub(super) async fn follow(database: Database, listeners: Arc<Listeners>) {
    let (shortest, longest) = BACKOFF;
    let mut pause = shortest;
    let mut resume_token = None;
    let mut warned = false;
    loop {
        let mut received = false;
        let ended = follow_until_ended(&database, &mut resume_token, &listeners, &mut received).await;
        if !ended.is_resumable() {
            resume_token = None;
        }
        if received {
            pause = shortest;
        }
        if received || !warned {
            tracing::warn!(
                error = &ended as &dyn Error,
                "no news of revocations from MongoDB; in-process caches go by their lease"
            );
            warned = true;
        } else {
            tracing::debug!(error = &ended as &dyn Error, "still no news of revocations from MongoDB");
        }
        sleep(pause).await;
        pause = longest.min(pause * 2);
    }
}

/// Reports revocations until the stream ends. Sets `received` if it worked at all, and keeps
/// `resume_token` up to date.
async fn follow_until_ended(
    database: &Database,
    resume_token: &mut Option<ResumeToken>,
    listeners: &Listeners,
    received: &mut bool,
) -> StreamEnd {
    let mut changes = match open(database, resume_token.clone()).await {
        Ok(changes) => changes,
        Err(ended) => return ended,
    };
    if resume_token.is_none() {
        listeners.gap();
    }
    loop {
        // A stream has a resume token even before its first answer.
        if let Some(reached) = changes.resume_token() {
            *resume_token = Some(reached);
        }
        let change = match timeout(HEARTBEAT + ANSWER_TIMEOUT, changes.next_if_any()).await {
            Ok(Ok(change)) => change,
            Ok(Err(error)) => return error.into(),
            Err(silent) => return silent.into(),
        };
        if !*received {
            *received = true;
            tracing::info!("news of revocations from MongoDB");
        }
        match change.as_ref().map(|change| (&change.operation_type, id_of(change))) {
            Some((OperationType::Drop | OperationType::Rename, _)) => listeners.gap(),
            Some((_, Some(id))) => listeners.revoked(&[id]),
            Some((_, None)) => tracing::debug!("a record of a token or of a denial has no id of ours"),
            None if changes.is_alive() => {}
            None => return StreamEnd::Invalidated,
        }
    }
}

async fn open(database: &Database, resume_token: Option<ResumeToken>) -> Result<Changes, StreamEnd> {
    let mut watch = database.watch().pipeline(pipeline()).max_await_time(HEARTBEAT);
    // Change streams report what a majority holds, and accept no other read concern.
    watch = watch.read_concern(ReadConcern::majority());
    watch = watch.selection_criteria(SelectionCriteria::ReadPreference(ReadPreference::Primary));
    if let Some(resume_token) = resume_token {
        watch = watch.start_after(resume_token);
    }
    Ok(timeout(ANSWER_TIMEOUT, watch).await??)
}

/// Makes the server send only the identifier and what the stream needs. A used single-use token is
/// left out, because no cache holds it.
fn pipeline() -> [Document; 2] {
    let set = doc! {
        "ns.coll": "tokens",
        "operationType": "update",
        "updateDescription.updatedFields.revoked": true,
        "updateDescription.updatedFields.consumed_at": { "$exists": false },
    };
    // Some tools save a document as a whole.
    let replaced = doc! { "ns.coll": "tokens", "operationType": "replace", "fullDocument.revoked": true };
    let denied = doc! { "ns.coll": "denials", "operationType": { "$in": ["insert", "update", "replace"] } };
    let lost = doc! {
        "ns.coll": { "$in": ["tokens", "denials"] },
        "operationType": { "$in": ["drop", "rename"] },
    };
    [
        doc! { "$match": { "$or": [set, replaced, denied, lost, { "operationType": "invalidate" }] } },
        doc! { "$project": { "operationType": 1, "ns": 1, "documentKey": 1 } },
    ]
}

/// Returns the token's id, or the tag of a denial's key.
fn id_of(change: &ChangeStreamEvent<Document>) -> Option<Uuid> {
    let id = change.document_key.as_ref()?.get("_id")?;
    match id {
        Bson::Binary(binary) => {
            key_of(id).as_ref().map(HashedKey::tag).or_else(|| binary.to_uuid().ok().map(Uuid::from))
        }
        _ => None,
    }
}
