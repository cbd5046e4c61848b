//! Token lookups that share queries.
//!
//! A query for one token costs the driver and the server nearly as much as a query for [`FULL`]. So
//! at most [`ABREAST`] queries are in flight. With fewer in flight, a lookup is sent at once,
//! together with those of other tasks that are ready to run. Otherwise it waits, and the next query
//! carries up to [`FULL`] ids. There is no timer: the load makes the batches.
//!
//! # How fresh an answer is
//!
//! **Only a query that starts after a caller's call may answer it.** A query in flight may have
//! read the token before a revocation that has since returned. A later caller that joined it would
//! be told "active". A batch is therefore closed before its query starts, and nobody joins it
//! later, even for an id that it contains. Callers in one batch that want the same token share its
//! answer.
//!
//! # What may go wrong
//!
//! - *A caller goes away.* It leaves the queue. If its query is in flight, the query completes
//!   without it.
//! - *A query fails.* Each of its callers gets an error of the same kind. An unreadable document
//!   fails only the callers that asked for it.
//! - *A query hangs.* It frees its place after [`PATIENCE`], so that a dead connection does not
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
    mem,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use foldhash::fast::RandomState;
use mongodb::error::Result as Outcome;
use tokio::{sync::oneshot, task::yield_now, time::timeout};

pub(super) use self::find::FindTokens;
use super::{document::Unreadable, fault::fault};
use crate::{
    id::TokenId,
    store::{StoreError, TokenStatus},
};

/// How many queries are in flight at most, not counting those that hang.
const ABREAST: usize = 2;

/// How many tokens one query asks for at most.
const FULL: usize = 64;

/// After this time a query counts as hanging and frees its place.
///
/// Far longer than a query takes that completes, and short enough for those behind it to be
/// answered within their time limit.
const PATIENCE: Duration = Duration::from_millis(250);

/// The records that were found. A token that is missing has none.
type Found = HashMap<TokenId, Result<TokenStatus, Unreadable>, RandomState>;

type Answer = Result<TokenStatus, StoreError>;

/// Reads many tokens in one query.
pub(super) trait RoundTrip: Send + Sync + 'static {
    /// Reads the records of these distinct tokens. Starts when it is first polled, not before.
    fn read(&self, ids: Vec<TokenId>) -> impl Future<Output = Outcome<Found>> + Send;
}

/// Looks tokens up, many in one query.
pub(super) struct Lookups<R: RoundTrip>(Arc<Station<R>>);

impl<R: RoundTrip> Lookups<R> {
    pub(super) fn new(round_trip: R) -> Self {
        Self(Arc::new(Station { round_trip, queue: Mutex::default() }))
    }

    /// Returns the status of a token, not older than this call. The caller sets the time limit.
    pub(super) async fn status(&self, id: TokenId) -> Result<TokenStatus, StoreError> {
        let (answer, told) = oneshot::channel();
        let _place = self.0.enter(Caller { id, answer });
        self.0.depart();
        told.await.unwrap_or_else(|cut| Err(StoreError::unavailable("a lookup in MongoDB was cut short", cut)))
    }
}

/// The batcher: queues callers and starts queries.
struct Station<R: RoundTrip> {
    round_trip: R,
    queue: Mutex<Queue>,
}

/// The callers that wait, and the number of queries.
///
/// While unlocked, each waiting caller fits into a query that is about to start, or [`ABREAST`]
/// queries are in flight. Code that adds a caller or frees a slot must therefore call
/// [`depart`](Station::depart).
#[derive(Default)]
struct Queue {
    /// By ticket, in the order of the calls.
    waiting: BTreeMap<u64, Caller>,
    /// The next caller's ticket.
    ticket: u64,
    /// How many queries are in flight or about to start.
    out: usize,
    /// How many of them are about to start, and will take waiting callers along.
    boarding: usize,
}

struct Caller {
    id: TokenId,
    answer: oneshot::Sender<Answer>,
}

/// A batch: the callers of one query.
struct Group {
    ids: HashSet<TokenId, RandomState>,
    callers: Vec<Caller>,
}

impl<R: RoundTrip> Station<R> {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enter(&self, caller: Caller) -> Place<'_, R> {
        let mut queue = self.queue();
        let ticket = queue.ticket;
        queue.ticket += 1;
        queue.waiting.insert(ticket, caller);
        Place { station: self, ticket }
    }

    /// Starts a query if more callers wait than the starting queries will take, and a slot is free.
    fn depart(self: &Arc<Self>) {
        if self.queue().reserve() {
            let slot = Slot { station: Arc::clone(self), boarding: true, returned: false };
            // Outside the lock: a runtime that shuts down drops the task at once, and the slot's
            // drop locks.
            tokio::spawn(travel(slot));
        }
    }
}

impl Queue {
    /// Takes a slot for waiting callers that the starting queries will not take. False if there are
    /// none, or no slot is free.
    fn reserve(&mut self) -> bool {
        let wanted = self.out < ABREAST && self.waiting.len() > self.boarding * FULL;
        if wanted {
            self.out += 1;
            self.boarding += 1;
        }
        wanted
    }

    /// Takes the callers that have waited longest. Nobody joins the batch later.
    fn group(&mut self) -> Option<Group> {
        let mut group = Group { ids: HashSet::default(), callers: Vec::new() };
        while let Some(first) = self.waiting.first_entry()
            && (group.ids.len() < FULL || group.ids.contains(&first.get().id))
        {
            let caller = first.remove();
            group.ids.insert(caller.id);
            group.callers.push(caller);
        }
        (!group.callers.is_empty()).then_some(group)
    }
}

/// Runs one query. Its task is in no caller's span, because it belongs to all of them, and
/// completes if they go away.
async fn travel<R: RoundTrip>(mut slot: Slot<R>) {
    // Let other tasks join: callers that the last query answered mostly call again at once.
    yield_now().await;
    let station = Arc::clone(&slot.station);
    let Some(group) = slot.board() else { return slot.free() };
    let mut round_trip = pin!(station.round_trip.read(group.ids.into_iter().collect()));
    let found = timeout(PATIENCE, round_trip.as_mut()).await;
    // Start the next query before answering these callers.
    slot.free();
    let found = match found {
        Ok(found) => found,
        Err(_) => round_trip.await,
    };
    for Caller { id, answer } in group.callers {
        // A caller may have stopped waiting.
        let _ = answer.send(told(id, &found));
    }
}

/// Picks one caller's answer from the query's result.
fn told(id: TokenId, found: &Outcome<Found>) -> Answer {
    let found = found.as_ref().map_err(|error| fault("could not read a token's record")(error.clone()))?;
    Ok(found.get(&id).cloned().transpose()?.unwrap_or(TokenStatus::Unknown))
}

/// A caller's place in the queue. Dropping it leaves the queue, if the caller still waits there.
struct Place<'a, R: RoundTrip> {
    station: &'a Station<R>,
    ticket: u64,
}

impl<R: RoundTrip> Drop for Place<'_, R> {
    fn drop(&mut self) {
        let left = self.station.queue().waiting.remove(&self.ticket);
        drop(left);
    }
}

/// One of the [`ABREAST`] places for a query. Dropping it lets the next query start.
struct Slot<R: RoundTrip> {
    station: Arc<Station<R>>,
    /// Whether its query has yet to start.
    boarding: bool,
    returned: bool,
}

impl<R: RoundTrip> Slot<R> {
    /// Takes the batch that this query will answer.
    fn board(&mut self) -> Option<Group> {
        let mut queue = self.station.queue();
        self.boarding = false;
        queue.boarding -= 1;
        queue.group()
    }

    fn free(mut self) {
        self.returned = true;
    }
}

impl<R: RoundTrip> Drop for Slot<R> {
    fn drop(&mut self) {
        let mut queue = self.station.queue();
        queue.out -= 1;
        queue.boarding -= usize::from(self.boarding);
        // A slot dropped while boarding did not panic: its task was never polled, or the runtime
        // shuts down.
        if self.returned || (thread::panicking() && !self.boarding) {
            drop(queue);
            self.station.depart();
        } else if queue.out == 0 {
            // The task was dropped half-way: its runtime shuts down and would run no other.
            let stranded = mem::take(&mut queue.waiting);
            drop(queue);
            drop(stranded);
        }
    }
}
