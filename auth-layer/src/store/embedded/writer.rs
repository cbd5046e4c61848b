//! Writes in one thread, and commits for many callers at once.
//!
//! A commit waits for the disk, some hundred microseconds at best, and other operations queue
//! meanwhile. The thread takes up to 256 of them, runs each in one transaction, commits once and
//! then answers. With no more callers than that, each waits for at most two commits, and the
//! throughput grows with their number.

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    thread,
    time::Duration,
};

use tokio::sync::{mpsc, oneshot};

use super::{
    fault::Fault,
    file::{File, Weight},
    tables::Tables,
};
use crate::store::{StoreError, StoreErrorKind};

/// The length of the queue. When it is full, callers wait for a place.
const QUEUE: usize = 1_024;

/// How many operations share a commit at most.
const GROUP: usize = 256;

/// How long the thread pauses after a failure. Meanwhile reads work if the file could be opened,
/// and the log stays short.
const REST: Duration = Duration::from_millis(100);

/// The error text of a failed operation.
const WHAT: &str = "the embedded store could not write";

/// The thread that writes. Dropping this completes the queue and ends the thread.
pub(super) struct Writer {
    /// `Some` until the drop.
    queue: Option<mpsc::Sender<Box<dyn Job>>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Writer {
    pub(super) fn start(file: Arc<File>) -> io::Result<Self> {
        let (queue, jobs) = mpsc::channel(QUEUE);
        let thread = thread::Builder::new().name("auth-store".to_owned()).spawn(move || work(&file, jobs))?;
        Ok(Self { queue: Some(queue), thread: Some(thread) })
    }

    /// Runs `operation` in a transaction of the thread, and answers when that is durable.
    ///
    /// Once queued, it runs even if the caller goes away. It may run in several transactions, but
    /// at most one of them is committed.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        operation: impl FnMut(&mut Tables<'_>) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.queue_up(operation, Weight::Durable).await
    }

    /// Runs an operation that may be lost in a crash. It waits for the disk only if it shares a
    /// transaction with one of [`run`](Self::run).
    pub(super) async fn run_lightly<T: Send + 'static>(
        &self,
        operation: impl FnMut(&mut Tables<'_>) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.queue_up(operation, Weight::Light).await
    }

    async fn queue_up<T: Send + 'static>(
        &self,
        operation: impl FnMut(&mut Tables<'_>) -> Result<T, Fault> + Send + 'static,
        weight: Weight,
    ) -> Result<T, StoreError> {
        let (caller, answer) = oneshot::channel();
        let job: Box<dyn Job> = Box::new(Task { operation, answer: None, caller, weight });
        match &self.queue {
            Some(queue) if queue.send(job).await.is_ok() => {}
            _ => return Err(gone()),
        }
        answer.await.unwrap_or_else(|_| Err(gone()))
    }

    /// Fails if the thread has ended and nothing can be written.
    pub(super) fn ping(&self) -> Result<(), StoreError> {
        match &self.queue {
            Some(queue) if !queue.is_closed() => Ok(()),
            _ => Err(gone()),
        }
    }

    /// Returns how many operations wait.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.queue.as_ref().map_or(0, |queue| QUEUE - queue.capacity())
    }

    /// Makes the thread find out whether the file must be reopened.
    pub(super) fn probe(&self) {
        let (caller, _) = oneshot::channel();
        if let Some(queue) = &self.queue {
            // If the queue is full, its operations will find out.
            let operation = |_: &mut Tables<'_>| Ok(());
            let _ = queue.try_send(Box::new(Task { operation, answer: None, caller, weight: Weight::Durable }));
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.queue = None;
        if let Some(thread) = self.thread.take() {
            // An error means that the thread panicked, which the panic hook has reported.
            let _ = thread.join();
        }
    }
}

fn gone() -> StoreError {
    StoreError::new(StoreErrorKind::Unavailable, "the embedded store's writer has ended")
}

/// An operation in the queue.
trait Job: Send {
    fn weight(&self) -> Weight;

    /// Runs it, and keeps its answer until the commit.
    fn run(&mut self, tables: &mut Tables<'_>) -> Result<(), Fault>;

    /// Sends the caller the kept answer, or the failure.
    fn settle(self: Box<Self>, outcome: Result<(), Fault>);
}

struct Task<F, T> {
    operation: F,
    answer: Option<T>,
    caller: oneshot::Sender<Result<T, StoreError>>,
    weight: Weight,
}

impl<T: Send, F: FnMut(&mut Tables<'_>) -> Result<T, Fault> + Send> Job for Task<F, T> {
    fn weight(&self) -> Weight {
        self.weight
    }

    fn run(&mut self, tables: &mut Tables<'_>) -> Result<(), Fault> {
        self.answer = Some((self.operation)(tables)?);
        Ok(())
    }

    fn settle(self: Box<Self>, outcome: Result<(), Fault>) {
        let answer = match outcome {
            Ok(()) => self.answer.ok_or_else(gone),
            Err(fault) => Err(fault.into_error(WHAT)),
        };
        // The caller may have stopped waiting.
        let _ = self.caller.send(answer);
    }
}

fn work(file: &File, mut jobs: mpsc::Receiver<Box<dyn Job>>) {
    let mut group = Vec::with_capacity(GROUP);
    while jobs.blocking_recv_many(&mut group, GROUP) > 0 {
        // A panic fails only the operations in its transaction.
        if catch_unwind(AssertUnwindSafe(|| commit(file, &mut group))).is_err() {
            tracing::error!("the embedded store's writer panicked; nothing of that transaction is acknowledged");
            group.drain(..).for_each(|job| job.settle(Err(Fault::Panicked)));
            reopen(file);
        }
    }
}

/// Runs and commits the group, and answers all of it.
fn commit(file: &File, group: &mut Vec<Box<dyn Job>>) {
    while !group.is_empty() {
        let mut reached = 0;
        let all_light = group.iter().all(|job| job.weight() == Weight::Light);
        let weight = if all_light { Weight::Light } else { Weight::Durable };
        let outcome = file.write(weight, |tables| {
            for job in group.iter_mut() {
                job.run(tables)?;
                reached += 1;
            }
            Ok(())
        });
        match outcome {
            // An operation that met an unreadable value fails alone. The others run again.
            Err(fault @ Fault::Value(_)) if reached < group.len() => group.remove(reached).settle(Err(fault)),
            Ok(()) => group.drain(..).for_each(|job| job.settle(Ok(()))),
            Err(fault) => {
                let reopen = fault.calls_for_reopening();
                tracing::error!(error = &fault as &dyn std::error::Error, "the embedded store could not write");
                group.drain(..).for_each(|job| job.settle(Err(fault.clone())));
                if reopen {
                    self::reopen(file);
                }
            }
        }
    }
}

fn reopen(file: &File) {
    // If this panics, the file stays closed, and the next call that needs it opens it.
    let opened = catch_unwind(AssertUnwindSafe(|| file.reopen())).unwrap_or(Err(Fault::Panicked));
    if let Err(fault) = opened {
        tracing::error!(error = &fault as &dyn std::error::Error, "the embedded store could not be opened again");
    } else {
        tracing::info!("the embedded store was opened again");
    }
    thread::sleep(REST);
}
