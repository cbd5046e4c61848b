//! Writes in one thread, and commits for many callers at once.
//!
//! A commit waits for the disk, some hundred microseconds at best, and other operations queue
//! meanwhile. The thread takes up to 256 of them, runs each in one transaction, commits once and
//! then answers. With no more callers than that, each waits for at most two commits, and the
//! throughput grows with their number.
//!
//! An operation that need not be durable waits a moment for one that must be, and shares its
//! commit. It has a queue of its own: meanwhile others like it do not wake the thread.

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
    thread::{self, Thread},
    time::{Duration, Instant},
};

use tokio::sync::{mpsc, oneshot};

use super::{
    error::EmbeddedError,
    file::{CommitMode, DatabaseFile},
    tables::Tables,
};
use crate::store::{StoreError, StoreErrorKind};

/// The length of each queue. When it is full, callers wait for a place.
const QUEUE: usize = 1_024;

/// How many operations of each queue share a commit at most.
const MAX_GROUP: usize = 256;

/// How long an operation that need not be durable waits for one that must be.
const UNSYNCED_DELAY: Duration = Duration::from_millis(20);

/// How long the thread pauses after a failure. Meanwhile reads work if the file could be opened,
/// and the log stays short.
const REOPEN_PAUSE: Duration = Duration::from_millis(100);

/// The error text of a failed operation.
const WRITE_FAILED: &str = "the embedded store could not write";

/// The thread that writes. Dropping this completes the queues and ends the thread.
pub(super) struct Writer {
    /// `Some` until the drop.
    queues: Option<Queues<mpsc::Sender<Box<dyn Job>>>>,
    thread: Option<thread::JoinHandle<()>>,
}

/// The two queues: their senders or their receivers.
struct Queues<Q> {
    durable: Q,
    unsynced: Q,
}

impl Writer {
    pub(super) fn start(file: Arc<DatabaseFile>) -> io::Result<Self> {
        Self::with_delay(file, UNSYNCED_DELAY)
    }

    /// Operations that need not be durable wait for `delay`.
    pub(super) fn with_delay(file: Arc<DatabaseFile>, delay: Duration) -> io::Result<Self> {
        let (durable, durable_jobs) = mpsc::channel(QUEUE);
        let (unsynced, unsynced_jobs) = mpsc::channel(QUEUE);
        let jobs = Queues { durable: durable_jobs, unsynced: unsynced_jobs };
        let run = move || run_writer(&file, jobs, delay);
        let thread = thread::Builder::new().name("auth-store".to_owned()).spawn(run)?;
        Ok(Self { queues: Some(Queues { durable, unsynced }), thread: Some(thread) })
    }

    /// Runs `operation` in a transaction of the thread, and answers when that is durable.
    ///
    /// Once queued, it runs even if the caller goes away. It may run in several transactions, but
    /// at most one of them is committed.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        operation: impl FnMut(&mut Tables<'_>) -> Result<T, EmbeddedError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.enqueue(operation, CommitMode::Durable).await
    }

    /// Runs an operation that may be lost in a crash. It waits for the disk only if it shares a
    /// transaction with one of [`run`](Self::run).
    pub(super) async fn run_unsynced<T: Send + 'static>(
        &self,
        operation: impl FnMut(&mut Tables<'_>) -> Result<T, EmbeddedError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.enqueue(operation, CommitMode::Unsynced).await
    }

    async fn enqueue<T: Send + 'static>(
        &self,
        operation: impl FnMut(&mut Tables<'_>) -> Result<T, EmbeddedError> + Send + 'static,
        mode: CommitMode,
    ) -> Result<T, StoreError> {
        let (caller, answer) = oneshot::channel();
        let job: Box<dyn Job> = Box::new(QueuedOperation { operation, answer: None, caller, mode });
        let queue = self.queues.as_ref().map(|queues| match mode {
            CommitMode::Durable => &queues.durable,
            CommitMode::Unsynced => &queues.unsynced,
        });
        match queue {
            Some(queue) if queue.send(job).await.is_ok() => {}
            _ => return Err(writer_ended()),
        }
        answer.await.unwrap_or_else(|_| Err(writer_ended()))
    }

    /// Fails if the thread has ended and nothing can be written.
    pub(super) fn ping(&self) -> Result<(), StoreError> {
        match &self.queues {
            Some(queues) if !queues.durable.is_closed() => Ok(()),
            _ => Err(writer_ended()),
        }
    }

    /// Returns how many operations wait that must be durable.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.queues.as_ref().map_or(0, |queues| QUEUE - queues.durable.capacity())
    }

    /// Makes the thread find out whether the file must be reopened.
    pub(super) fn probe(&self) {
        let (caller, _) = oneshot::channel();
        if let Some(queues) = &self.queues {
            // If the queue is full, its operations will find out.
            let operation = |_: &mut Tables<'_>| Ok(());
            let _ = queues.durable.try_send(Box::new(QueuedOperation {
                operation,
                answer: None,
                caller,
                mode: CommitMode::Durable,
            }));
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.queues = None;
        if let Some(thread) = self.thread.take() {
            // An error means that the thread panicked, which the panic hook has reported.
            let _ = thread.join();
        }
    }
}

fn writer_ended() -> StoreError {
    StoreError::new(StoreErrorKind::Unavailable, "the embedded store's writer has ended")
}

/// An operation in the queue.
trait Job: Send {
    fn mode(&self) -> CommitMode;

    /// Runs it, and keeps its answer until the commit.
    fn run(&mut self, tables: &mut Tables<'_>) -> Result<(), EmbeddedError>;

    /// Sends the caller the kept answer, or the failure.
    fn respond(self: Box<Self>, outcome: Result<(), EmbeddedError>);
}

struct QueuedOperation<F, T> {
    operation: F,
    answer: Option<T>,
    caller: oneshot::Sender<Result<T, StoreError>>,
    mode: CommitMode,
}

impl<T: Send, F: FnMut(&mut Tables<'_>) -> Result<T, EmbeddedError> + Send> Job for QueuedOperation<F, T> {
    fn mode(&self) -> CommitMode {
        self.mode
    }

    fn run(&mut self, tables: &mut Tables<'_>) -> Result<(), EmbeddedError> {
        self.answer = Some((self.operation)(tables)?);
        Ok(())
    }

    fn respond(self: Box<Self>, outcome: Result<(), EmbeddedError>) {
        let answer = match outcome {
            Ok(()) => self.answer.ok_or_else(writer_ended),
            Err(error) => Err(error.into_store_error(WRITE_FAILED)),
        };
        // The caller may have stopped waiting.
        let _ = self.caller.send(answer);
    }
}

fn run_writer(file: &DatabaseFile, mut jobs: Jobs, unsynced_delay: Duration) {
    let mut group = Vec::with_capacity(2 * MAX_GROUP);
    while jobs.gather(&mut group, unsynced_delay) {
        // A panic fails only the operations in its transaction.
        if catch_unwind(AssertUnwindSafe(|| commit(file, &mut group))).is_err() {
            tracing::error!("the embedded store's writer panicked; nothing of that transaction is acknowledged");
            group.drain(..).for_each(|job| job.respond(Err(EmbeddedError::Panicked)));
            reopen(file);
        }
    }
}

type Jobs = Queues<mpsc::Receiver<Box<dyn Job>>>;

impl Jobs {
    /// Waits until a group is to be committed; false if there will be none.
    fn gather(&mut self, group: &mut Vec<Box<dyn Job>>, unsynced_delay: Duration) -> bool {
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        let mut cx = Context::from_waker(&waker);
        let mut until = None;
        loop {
            let durable = self.durable.poll_recv_many(&mut cx, group, MAX_GROUP);
            if let Poll::Ready(1..) = durable {
                gather_more(&mut self.durable, group);
                break;
            }
            // Not asked again while one waits, so that the next ones do not wake this thread.
            if until.is_none() {
                match self.unsynced.poll_recv_many(&mut cx, group, 1) {
                    Poll::Ready(1..) => until = Some(Instant::now() + unsynced_delay),
                    Poll::Ready(_) if durable.is_ready() => return false,
                    Poll::Ready(_) | Poll::Pending => {}
                }
            }
            if durable.is_ready() {
                // The store is being closed.
                break;
            }
            match until.map(|until| until.saturating_duration_since(Instant::now())) {
                None => thread::park(),
                Some(Duration::ZERO) => break,
                Some(left) => thread::park_timeout(left),
            }
        }
        take_waiting(&mut self.unsynced, group, MAX_GROUP);
        !group.is_empty()
    }
}

/// Takes the operations of those who are about to queue one.
///
/// If they need the processor for that, they get it now. Otherwise each of them would wait for this
/// commit, and then for one of its own. If nobody needs it, this takes no time.
fn gather_more(durable: &mut mpsc::Receiver<Box<dyn Job>>, group: &mut Vec<Box<dyn Job>>) {
    let mut gathered = 0;
    while gathered < group.len() && group.len() < MAX_GROUP {
        gathered = group.len();
        thread::yield_now();
        let room = MAX_GROUP - group.len();
        take_waiting(durable, group, room);
    }
}

/// Moves up to `most` operations that wait in this queue to the group.
fn take_waiting(queue: &mut mpsc::Receiver<Box<dyn Job>>, group: &mut Vec<Box<dyn Job>>, most: usize) {
    group.extend(std::iter::from_fn(|| queue.try_recv().ok()).take(most));
}

/// Wakes a thread that waits for operations.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Runs and commits the group, and answers all of it.
fn commit(file: &DatabaseFile, group: &mut Vec<Box<dyn Job>>) {
    while !group.is_empty() {
        let mut reached = 0;
        let all_unsynced = group.iter().all(|job| job.mode() == CommitMode::Unsynced);
        let mode = if all_unsynced { CommitMode::Unsynced } else { CommitMode::Durable };
        let outcome = file.write(mode, |tables| {
            for job in group.iter_mut() {
                job.run(tables)?;
                reached += 1;
            }
            Ok(())
        });
        match outcome {
            // An operation that met an unreadable value fails alone. The others run again.
            Err(error @ EmbeddedError::Value(_)) if reached < group.len() => group.remove(reached).respond(Err(error)),
            Ok(()) => group.drain(..).for_each(|job| job.respond(Ok(()))),
            Err(error) => {
                let reopen = error.needs_reopen();
                tracing::error!(error = &error as &dyn std::error::Error, "the embedded store could not write");
                group.drain(..).for_each(|job| job.respond(Err(error.clone())));
                if reopen {
                    self::reopen(file);
                }
            }
        }
    }
}

fn reopen(file: &DatabaseFile) {
    // If this panics, the file stays closed, and the next call that needs it opens it.
    let opened = catch_unwind(AssertUnwindSafe(|| file.reopen())).unwrap_or(Err(EmbeddedError::Panicked));
    if let Err(error) = opened {
        tracing::error!(error = &error as &dyn std::error::Error, "the embedded store could not be opened again");
    } else {
        tracing::info!("the embedded store was opened again");
    }
    thread::sleep(REOPEN_PAUSE);
}
