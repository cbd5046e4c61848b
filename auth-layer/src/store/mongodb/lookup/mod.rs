//! Lookups of tokens, of sessions and of denials that share queries.
//!
//! A query for one record costs the driver and the server nearly as much as a query for
//! [`MAX_BATCH`]. So at most [`MAX_IN_FLIGHT`] queries are in flight. With fewer in flight, a
//! lookup is sent at once, together with those of other tasks that are ready to run. Otherwise it
//! waits, and the next query carries up to [`MAX_BATCH`] ids. There is no timer: the load makes the
//! batches.
//!
//! # How fresh an answer is
//!
//! **Only a query that starts after a caller's call may answer it.** A query in flight may have
//! read the record before a revocation that has since returned. A later caller that joined it would
//! be told "active". A batch is therefore closed before its query starts, and nobody joins it
//! later, even for an id that it contains. Callers in one batch that want the same record share its
//! answer.
//!
//! # What may go wrong
//!
//! - *A caller goes away.* It leaves the queue. If its query is in flight, the query completes
//!   without it.
//! - *A query fails.* Each of its callers gets an error of the same kind. An unreadable document
//!   fails only the callers that asked for it.
//! - *A query hangs.* It frees its slot after [`HANG_TIMEOUT`], so that a dead connection does not
//!   block others. It is not dropped, because the driver does not support that, and it still
//!   answers its callers.
//! - *A query panics.* Its callers get an error, and the next query takes its place.
//! - *A runtime shuts down.* Callers of its queries get an error. If no other query is left to
//!   serve them, waiting callers get one too.
//!
//! The queue itself has no bound. Each entry is a caller that still waits, up to its own time
//! limit.

mod find;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    future::Future,
    hash::Hash,
    mem,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use foldhash::fast::RandomState;
use mongodb::error::Result as MongoResult;
use tokio::{sync::oneshot, task::yield_now, time::timeout};

pub(super) use self::find::{FindDenials, FindSessions, FindTokens};
use super::{document::Unreadable, error::store_error};
use crate::store::StoreError;

/// How many queries are in flight at most, not counting those that hang.
const MAX_IN_FLIGHT: usize = 2;

/// How many records one query asks for at most.
const MAX_BATCH: usize = 64;

/// After this time a query counts as hanging and frees its place.
///
/// Far longer than a query takes that completes, and short enough for those behind it to be
/// answered within their time limit.
const HANG_TIMEOUT: Duration = Duration::from_millis(250);

/// The records that were found, by id.
type Found<R> = HashMap<<R as BatchQuery>::Id, Result<<R as BatchQuery>::Record, Unreadable>, RandomState>;

/// A record; `None` if there is none.
type LookupResult<R> = Result<Option<<R as BatchQuery>::Record>, StoreError>;

/// Reads many records in one query.
pub(super) trait BatchQuery: Send + Sync + 'static {
    type Id: Copy + Eq + Hash + Send + Sync;
    type Record: Clone + Send + Sync;

    /// What could not be done when a query fails.
    const FAILURE: &'static str;

    /// Reads the records with these distinct ids. Starts when it is first polled, not before.
    fn read(&self, ids: Vec<Self::Id>) -> impl Future<Output = MongoResult<Found<Self>>> + Send;
}

/// Looks records up, many in one query.
pub(super) struct LookupBatcher<R: BatchQuery>(Arc<Shared<R>>);

impl<R: BatchQuery> LookupBatcher<R> {
    pub(super) fn new(query: R) -> Self {
        Self(Arc::new(Shared { query, queue: Mutex::default() }))
    }

    /// Returns a record, not older than this call. The caller sets the time limit.
    pub(super) async fn find(&self, id: R::Id) -> LookupResult<R> {
        let lookup = self.0.enqueue(id);
        self.0.flush();
        lookup.answer().await
    }

    /// Returns several records in the order of their ids, as [`find`](Self::find) does for one.
    /// They wait for one query, or for two at the same time.
    pub(super) async fn find_all(&self, ids: Vec<R::Id>) -> Result<Vec<Option<R::Record>>, StoreError> {
        let lookups: Vec<_> = ids.into_iter().map(|id| self.0.enqueue(id)).collect();
        self.0.flush();
        let mut found = Vec::with_capacity(lookups.len());
        for lookup in lookups {
            found.push(lookup.answer().await?);
        }
        Ok(found)
    }
}

/// A caller's lookup. Dropping it leaves the queue.
struct Lookup<'a, R: BatchQuery> {
    receiver: oneshot::Receiver<LookupResult<R>>,
    _guard: QueueGuard<'a, R>,
}

impl<R: BatchQuery> Lookup<'_, R> {
    async fn answer(self) -> LookupResult<R> {
        let Self { receiver, _guard } = self;
        receiver.await.unwrap_or_else(|cut| Err(StoreError::unavailable("a lookup in MongoDB was cut short", cut)))
    }
}

/// What the batcher shares with its queries: the queue, and how to run a query.
struct Shared<R: BatchQuery> {
    query: R,
    queue: Mutex<Queue<R>>,
}

/// The callers that wait, and the number of queries.
///
/// While unlocked, each waiting caller fits into a query that is about to start, or
/// [`MAX_IN_FLIGHT`] queries are in flight. Code that adds a caller or frees a slot must therefore
/// call [`flush`](Shared::flush).
struct Queue<R: BatchQuery> {
    /// By ticket, in the order of the calls.
    waiting: BTreeMap<u64, Waiter<R>>,
    /// The next caller's ticket.
    ticket: u64,
    /// How many queries are in flight or about to start.
    in_flight: usize,
    /// How many of them are about to start, and will take waiting callers along.
    starting: usize,
}

// Not derived: a derive would require it of `R`.
impl<R: BatchQuery> Default for Queue<R> {
    fn default() -> Self {
        Self { waiting: BTreeMap::new(), ticket: 0, in_flight: 0, starting: 0 }
    }
}

struct Waiter<R: BatchQuery> {
    id: R::Id,
    answer: oneshot::Sender<LookupResult<R>>,
}

/// A batch: the callers of one query.
struct Batch<R: BatchQuery> {
    ids: HashSet<R::Id, RandomState>,
    waiters: Vec<Waiter<R>>,
}

impl<R: BatchQuery> Shared<R> {
    fn queue(&self) -> MutexGuard<'_, Queue<R>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enqueue(&self, id: R::Id) -> Lookup<'_, R> {
        let (answer, receiver) = oneshot::channel();
        let mut queue = self.queue();
        let ticket = queue.ticket;
        queue.ticket += 1;
        queue.waiting.insert(ticket, Waiter { id, answer });
        Lookup { receiver, _guard: QueueGuard { shared: self, ticket } }
    }

    /// Starts a query if more callers wait than the starting queries will take, and a slot is free.
    fn flush(self: &Arc<Self>) {
        if self.queue().reserve_slot() {
            let slot = QuerySlot { shared: Arc::clone(self), starting: true, released: false };
            // Outside the lock: a runtime that shuts down drops the task at once, and the slot's
            // drop locks.
            tokio::spawn(run_query(slot));
        }
    }
}

impl<R: BatchQuery> Queue<R> {
    /// Takes a slot for waiting callers that the starting queries will not take. False if there are
    /// none, or no slot is free.
    fn reserve_slot(&mut self) -> bool {
        let wanted = self.in_flight < MAX_IN_FLIGHT && self.waiting.len() > self.starting * MAX_BATCH;
        if wanted {
            self.in_flight += 1;
            self.starting += 1;
        }
        wanted
    }

    /// Takes the callers that have waited longest. Nobody joins the batch later.
    fn take_batch(&mut self) -> Option<Batch<R>> {
        let mut batch = Batch { ids: HashSet::default(), waiters: Vec::new() };
        while let Some(first) = self.waiting.first_entry()
            && (batch.ids.len() < MAX_BATCH || batch.ids.contains(&first.get().id))
        {
            let waiter = first.remove();
            batch.ids.insert(waiter.id);
            batch.waiters.push(waiter);
        }
        (!batch.waiters.is_empty()).then_some(batch)
    }
}

/// Runs one query. Its task is in no caller's span, because it belongs to all of them, and
/// completes if they go away.
async fn run_query<R: BatchQuery>(mut slot: QuerySlot<R>) {
    // Let other tasks join: callers that the last query answered mostly call again at once.
    yield_now().await;
    let shared = Arc::clone(&slot.shared);
    let Some(batch) = slot.take_batch() else { return slot.release() };
    let mut query = pin!(shared.query.read(batch.ids.into_iter().collect()));
    let found = timeout(HANG_TIMEOUT, query.as_mut()).await;
    // Start the next query before answering these callers.
    slot.release();
    let found = match found {
        Ok(found) => found,
        Err(_) => query.await,
    };
    for Waiter { id, answer } in batch.waiters {
        // A caller may have stopped waiting.
        let _ = answer.send(result_for::<R>(id, &found));
    }
}

/// Picks one caller's answer from the query's result.
fn result_for<R: BatchQuery>(id: R::Id, found: &MongoResult<Found<R>>) -> LookupResult<R> {
    let found = found.as_ref().map_err(|error| store_error(R::FAILURE)(error.clone()))?;
    Ok(found.get(&id).cloned().transpose()?)
}

/// A caller's place in the queue. Dropping it leaves the queue, if the caller still waits there.
struct QueueGuard<'a, R: BatchQuery> {
    shared: &'a Shared<R>,
    ticket: u64,
}

impl<R: BatchQuery> Drop for QueueGuard<'_, R> {
    fn drop(&mut self) {
        let left = self.shared.queue().waiting.remove(&self.ticket);
        drop(left);
    }
}

/// One of the [`MAX_IN_FLIGHT`] slots for a query. Dropping it lets the next query start.
struct QuerySlot<R: BatchQuery> {
    shared: Arc<Shared<R>>,
    /// Whether its query has yet to start.
    starting: bool,
    /// Whether it was given back, not just dropped.
    released: bool,
}

impl<R: BatchQuery> QuerySlot<R> {
    /// Takes the batch that this query will answer.
    fn take_batch(&mut self) -> Option<Batch<R>> {
        let mut queue = self.shared.queue();
        self.starting = false;
        queue.starting -= 1;
        queue.take_batch()
    }

    fn release(mut self) {
        self.released = true;
    }
}

impl<R: BatchQuery> Drop for QuerySlot<R> {
    fn drop(&mut self) {
        let mut queue = self.shared.queue();
        queue.in_flight -= 1;
        queue.starting -= usize::from(self.starting);
        // A slot dropped while starting did not panic: its task was never polled, or the runtime
        // shuts down.
        if self.released || (thread::panicking() && !self.starting) {
            drop(queue);
            self.shared.flush();
        } else if queue.in_flight == 0 {
            // The task was dropped half-way: its runtime shuts down and would run no other.
            let stranded = mem::take(&mut queue.waiting);
            drop(queue);
            drop(stranded);
        }
    }
}
