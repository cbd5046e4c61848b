//! Reports revocations from a MongoDB change stream.
//!
//! A change stream on `tokens` reports every record whose `revoked` becomes true, by any program.
//! It does so once a majority has the change, so a lookup after the report sees it. After a
//! failover the stream resumes where it stopped. If it cannot (the server no longer knows the
//! place, or the collection was dropped), it starts anew and reports a gap.
//!
//! The driver waits without a limit for the server's answer, even on a half-dead connection. The
//! server is therefore asked to answer often, with nothing if need be. A stream that stays silent
//! is dropped.

use std::{error::Error, sync::Arc, time::Duration};

use bson::{Document, doc};
use mongodb::{
    Collection, Database,
    change_stream::{
        ChangeStream,
        event::{ChangeStreamEvent, ResumeToken},
    },
    error::ErrorKind,
    options::{CollectionOptions, ReadConcern, ReadPreference, SelectionCriteria},
};
use tokio::time::{error::Elapsed, sleep, timeout};
use uuid::Uuid;

use crate::store::Listeners;

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
    #[error("the collection was dropped or renamed")]
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
    let tokens = database.collection_with_options("tokens", options());
    let (shortest, longest) = BACKOFF;
    let mut pause = shortest;
    let mut resume_token = None;
    let mut warned = false;
    loop {
        let mut received = false;
        let ended = follow_until_ended(&tokens, &mut resume_token, &listeners, &mut received).await;
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
    tokens: &Collection<Document>,
    resume_token: &mut Option<ResumeToken>,
    listeners: &Listeners,
    received: &mut bool,
) -> StreamEnd {
    let mut changes = match open(tokens, resume_token.clone()).await {
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
        match change.as_ref().map(token_of) {
            Some(Some(id)) => listeners.revoked(&[id]),
            Some(None) => tracing::debug!("a record of a token has no UUID"),
            None if changes.is_alive() => {}
            None => return StreamEnd::Invalidated,
        }
    }
}

async fn open(tokens: &Collection<Document>, resume_token: Option<ResumeToken>) -> Result<Changes, StreamEnd> {
    let mut watch = tokens.watch().pipeline(pipeline()).max_await_time(HEARTBEAT);
    if let Some(resume_token) = resume_token {
        watch = watch.start_after(resume_token);
    }
    Ok(timeout(ANSWER_TIMEOUT, watch).await??)
}

/// Makes the server send only the identifier and what the stream needs. A used single-use token is
/// left out, because no cache holds it.
fn pipeline() -> [Document; 2] {
    let set = doc! {
        "operationType": "update",
        "updateDescription.updatedFields.revoked": true,
        "updateDescription.updatedFields.consumed_at": { "$exists": false },
    };
    // Some tools save a document as a whole.
    let replaced = doc! { "operationType": "replace", "fullDocument.revoked": true };
    [
        doc! { "$match": { "$or": [set, replaced, { "operationType": "invalidate" }] } },
        doc! { "$project": { "operationType": 1, "ns": 1, "documentKey": 1 } },
    ]
}

/// Change streams report what a majority holds, and accept no other read concern.
fn options() -> CollectionOptions {
    CollectionOptions::builder()
        .selection_criteria(SelectionCriteria::ReadPreference(ReadPreference::Primary))
        .read_concern(ReadConcern::majority())
        .build()
}

fn token_of(change: &ChangeStreamEvent<Document>) -> Option<Uuid> {
    let id = change.document_key.as_ref()?.get("_id")?;
    match id {
        bson::Bson::Binary(binary) => binary.to_uuid().ok().map(Uuid::from),
        _ => None,
    }
}
