//! One thread writes, and commits for many callers at once.
//!
//! A commit waits for the disk, some hundred microseconds at best, and while it does others queue up behind it. The thread takes
//! whatever is queued, runs it operation by operation in one transaction, commits once and only then answers. So each caller
//! waits for at most two commits, and the throughput grows with the number of callers.

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

/// How many operations may wait; further callers wait for a place.
const QUEUE: usize = 1_024;

/// How many operations share a commit at most.
const GROUP: usize = 256;

/// How long the thread rests after a failure: so long, readers are served again, if the file can be opened, and the log is spared.
const REST: Duration = Duration::from_millis(100);

/// What a caller reads whose operation failed.
const WHAT: &str = "the embedded store could not write";

/// The thread that writes, ended by dropping this: it works through the queue, then the drop returns.
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

    /// Runs `operation` in a transaction of the thread's and answers when that is durable. Where the caller does not wait for it,
    /// it is run all the same once it is queued. It may be run more than once, in transactions of which one is committed.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        operation: impl FnMut(&mut Tables<'_>) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.queue_up(operation, Weight::Durable).await
    }

    /// The same for what may be lost in a crash: it waits for no disk unless it shares a transaction with something that does.
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

    /// Fails if the thread has ended, so that nothing can be written any more.
    pub(super) fn ping(&self) -> Result<(), StoreError> {
        match &self.queue {
            Some(queue) if !queue.is_closed() => Ok(()),
            _ => Err(gone()),
        }
    }

    /// How many operations wait.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.queue.as_ref().map_or(0, |queue| QUEUE - queue.capacity())
    }

    /// Has the thread find out, as soon as it comes to it, whether the file must be opened again.
    pub(super) fn probe(&self) {
        let (caller, _) = oneshot::channel();
        if let Some(queue) = &self.queue {
            // A full queue will find out as well.
            let operation = |_: &mut Tables<'_>| Ok(());
            let _ = queue.try_send(Box::new(Task { operation, answer: None, caller, weight: Weight::Durable }));
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.queue = None;
        if let Some(thread) = self.thread.take() {
            // An error says that the thread panicked, which has been reported on its way.
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

    /// Runs it, and keeps its answer until it is durable.
    fn run(&mut self, tables: &mut Tables<'_>) -> Result<(), Fault>;

    /// Gives the caller the answer that was kept, or what failed.
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
        // A panic fails those who share the transaction, and nobody after them.
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
            // One that met a value which cannot be understood fails alone: the others have nothing to do with it.
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
    // If this panics the file stays closed, and the next call that finds it closed opens it again.
    let opened = catch_unwind(AssertUnwindSafe(|| file.reopen())).unwrap_or(Err(Fault::Panicked));
    if let Err(fault) = opened {
        tracing::error!(error = &fault as &dyn std::error::Error, "the embedded store could not be opened again");
    } else {
        tracing::info!("the embedded store was opened again");
    }
    thread::sleep(REST);
}
