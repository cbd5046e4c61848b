//! Lookups that share round trips.
//!
//! To ask for one token costs the driver and the server nearly what it costs to ask for [`FULL`]. So only [`ABREAST`] round trips are out
//! at once. A lookup that finds fewer goes out with whoever is about to run in this process, and waits for nobody else; those that come
//! while all are out wait for the next to return, and then go together. There is no timer and no window: it is the load that makes
//! the groups.
//!
//! # How fresh an answer is
//!
//! **Only a round trip that begins after a caller called may answer it.** A round trip already out has perhaps read the token
//! before a revocation that has since returned: whoever calls after that and joined it would be told "active". So a group is
//! closed before its round trip begins, and nobody joins it later, not even for a token that it asks for. Who waits for the
//! same token goes in the same round trip: it is asked for once and its answer is shared.
//!
//! # What may go wrong
//!
//! - *A caller that goes away* leaves the queue with that. If it is on its way, the round trip ends without it.
//! - *A round trip that fails* fails its own callers, each with an error of the same kind. One document that cannot be read
//!   fails those alone who asked for it.
//! - *A round trip that hangs* gives up its place after [`PATIENCE`], so that a dead connection does not hold up those behind
//!   it. It is not dropped, since the driver does not want that, and still answers whoever waits for it.
//! - *A panic* cuts short the callers of that round trip; the next takes its place.
//! - *A runtime that shuts down* cuts short those on their way in it, and where no other round trip is left to take them, those
//!   who wait.
//!
//! The queue has no bound of its own: each who waits in it is a caller that still waits for its answer, no longer than
//! until its own time limit.

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

/// How many round trips are out at once, but for those that hang.
const ABREAST: usize = 2;

/// How many tokens a round trip asks for at most.
const FULL: usize = 64;

/// After how long a round trip no longer counts as one that is out: far longer than one takes that comes back, and short
/// enough for those behind it to be answered within their time limit.
const PATIENCE: Duration = Duration::from_millis(250);

/// The records that were found; a token that is missing has none.
type Found = HashMap<TokenId, Result<TokenStatus, Unreadable>, RandomState>;

type Answer = Result<TokenStatus, StoreError>;

/// Asks the server for many tokens at once.
pub(super) trait RoundTrip: Send + Sync + 'static {
    /// Reads the records of these tokens, no token named twice. It begins to read when it is first polled, not before.
    fn read(&self, ids: Vec<TokenId>) -> impl Future<Output = Outcome<Found>> + Send;
}

/// Looks tokens up, many in one round trip.
pub(super) struct Lookups<R: RoundTrip>(Arc<Station<R>>);

impl<R: RoundTrip> Lookups<R> {
    pub(super) fn new(round_trip: R) -> Self {
        Self(Arc::new(Station { round_trip, queue: Mutex::default() }))
    }

    /// What is recorded of a token, not earlier than this call. The time limit is the caller's.
    pub(super) async fn status(&self, id: TokenId) -> Result<TokenStatus, StoreError> {
        let (answer, told) = oneshot::channel();
        let _place = self.0.enter(Caller { id, answer });
        self.0.depart();
        told.await.unwrap_or_else(|cut| Err(StoreError::unavailable("a lookup in MongoDB was cut short", cut)))
    }
}

/// Where callers wait and round trips begin.
struct Station<R: RoundTrip> {
    round_trip: R,
    queue: Mutex<Queue>,
}

/// Whenever it is not locked for a change, whoever waits has a place in a round trip about to begin, or as many are out as may be:
/// whoever adds a caller or frees a slot calls [`depart`](Station::depart) after that.
#[derive(Default)]
struct Queue {
    /// By ticket, that is in the order of the calls.
    waiting: BTreeMap<u64, Caller>,
    /// The next caller's ticket.
    ticket: u64,
    /// How many round trips are out, or about to begin.
    out: usize,
    /// How many of them are about to begin, with whoever waits then.
    boarding: usize,
}

struct Caller {
    id: TokenId,
    answer: oneshot::Sender<Answer>,
}

/// Those who go together.
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

    /// Has a round trip begin, if someone waits who would not find a place in one that is about to, and one more may be out.
    fn depart(self: &Arc<Self>) {
        if self.queue().reserve() {
            let slot = Slot { station: Arc::clone(self), boarding: true, returned: false };
            // Not under the lock: a runtime that shuts down drops what it is given at once, and the slot's drop takes the lock.
            tokio::spawn(travel(slot));
        }
    }
}

impl Queue {
    /// Takes a slot for those who wait beyond the places that the round trips about to begin have; false where there is nobody or no
    /// slot.
    fn reserve(&mut self) -> bool {
        let wanted = self.out < ABREAST && self.waiting.len() > self.boarding * FULL;
        if wanted {
            self.out += 1;
            self.boarding += 1;
        }
        wanted
    }

    /// Those who have waited longest, if someone waits. Nobody is added to them any more.
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

/// A task of its own, in no caller's span: it belongs to all of them, and goes on if they go away.
async fn travel<R: RoundTrip>(mut slot: Slot<R>) {
    // Whoever is about to call comes along: those whom the last round trip has answered mostly call again.
    yield_now().await;
    let station = Arc::clone(&slot.station);
    let Some(group) = slot.board() else { return slot.free() };
    let mut round_trip = pin!(station.round_trip.read(group.ids.into_iter().collect()));
    let found = timeout(PATIENCE, round_trip.as_mut()).await;
    // The next go out before these are answered.
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

/// What one caller is told of what its round trip has found.
fn told(id: TokenId, found: &Outcome<Found>) -> Answer {
    let found = found.as_ref().map_err(|error| fault("could not read a token's record")(error.clone()))?;
    Ok(found.get(&id).cloned().transpose()?.unwrap_or(TokenStatus::Unknown))
}

/// A caller's place in the queue, left when this is dropped; one who has been taken along has none to leave.
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

/// One of the round trips that may be out; its drop lets the next begin.
struct Slot<R: RoundTrip> {
    station: Arc<Station<R>>,
    /// Whether its round trip has yet to begin.
    boarding: bool,
    returned: bool,
}

impl<R: RoundTrip> Slot<R> {
    /// Takes along those who go.
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
        // One that was dropped before it began was never polled, or its runtime shuts down: it did not panic, whoever else does.
        if self.returned || (thread::panicking() && !self.boarding) {
            drop(queue);
            self.station.depart();
        } else if queue.out == 0 {
            // The task was dropped half-way, so that its runtime is shutting down and would take no other.
            let stranded = mem::take(&mut queue.waiting);
            drop(queue);
            drop(stranded);
        }
    }
}
