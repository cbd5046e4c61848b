//! Where signatures are checked while there is a flood of forged tokens.
//!
//! A signature costs several times what the rest of a request does, and in a flood most of them are wrong. Checked where
//! requests are served, they would take the good ones' time. So they are checked on threads of their own, half as many as there are
//! processors, in the order in which they came: what is left of the machine serves the tokens that are known.
//!
//! So many may wait for that as these threads get done in a fraction of a second: whoever brings more at a time, on thousands of
//! connections or streams, has the rest checked where requests are served, beside which nothing else is. No token is left
//! unanswered for want of time, and what waits takes little memory.

use std::{
    collections::VecDeque,
    num::NonZero,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread::available_parallelism,
};

use tokio::{runtime::Handle, sync::oneshot};

use crate::store::StoreError;

/// How many signatures may wait for each thread: one or two tenths of a second of work.
const QUEUE: usize = 4_096;

/// How much memory the waiting tokens of each thread may take, in bytes.
const QUEUE_BYTES: usize = 8 << 20;

/// Runs work on a few threads besides those that serve.
pub(super) struct Aside {
    threads: usize,
    queue: Arc<Mutex<Queue>>,
}

/// Whenever it is not locked, there is either no work or a thread that will come to it.
#[derive(Default)]
struct Queue {
    waiting: VecDeque<Waiting>,
    /// What all of `waiting` take.
    bytes: usize,
    threads: usize,
}

struct Waiting {
    work: Box<dyn FnOnce() + Send>,
    bytes: usize,
}

impl Queue {
    fn push(&mut self, waiting: Waiting) {
        self.bytes += waiting.bytes;
        self.waiting.push_back(waiting);
    }

    fn pop(&mut self) -> Option<Box<dyn FnOnce() + Send>> {
        let Waiting { work, bytes } = self.waiting.pop_front()?;
        self.bytes -= bytes;
        Some(work)
    }

    /// Takes all that waits out.
    fn take(&mut self) -> VecDeque<Waiting> {
        self.bytes = 0;
        std::mem::take(&mut self.waiting)
    }
}

impl Aside {
    pub(super) fn new() -> Self {
        let processors = available_parallelism().map_or(1, NonZero::get);
        Self { threads: (processors / 2).max(1), queue: Arc::default() }
    }

    /// Queues `work`, which holds `bytes` of memory. Gives it back when the queue is full.
    pub(super) fn run<T, W>(&self, bytes: usize, work: W) -> Result<Outcome<T>, W>
    where
        T: Send + 'static,
        W: FnOnce() -> T + Send + 'static,
    {
        let Ok(runtime) = Handle::try_current() else { return Err(work) };
        let mut queue = locked(&self.queue);
        let is_full = queue.waiting.len() >= QUEUE * self.threads
            || queue.bytes.saturating_add(bytes) > QUEUE_BYTES * self.threads;
        if is_full {
            return Err(work);
        }
        let (sender, result) = oneshot::channel();
        // Nobody may wait for it any more.
        queue.push(Waiting { work: Box::new(move || drop(sender.send(work()))), bytes });
        let thread = (queue.threads < self.threads).then(|| {
            queue.threads += 1;
            Thread { queue: Arc::clone(&self.queue), ended: false }
        });
        // Not under the lock: a runtime that shuts down drops what it is given at once, and the thread's drop takes the lock.
        drop(queue);
        if let Some(thread) = thread {
            runtime.spawn_blocking(move || thread.work());
        }
        Ok(Outcome(result))
    }
}

/// What comes of some work.
pub(super) struct Outcome<T>(oneshot::Receiver<T>);

impl<T> Outcome<T> {
    /// Waits for it. Fails where the runtime shuts down before.
    pub(super) async fn told(self) -> Result<T, StoreError> {
        self.0.await.map_err(|cut| StoreError::unavailable("a signature could not be checked", cut))
    }
}

fn locked(queue: &Mutex<Queue>) -> MutexGuard<'_, Queue> {
    queue.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One that works until nothing waits.
struct Thread {
    queue: Arc<Mutex<Queue>>,
    ended: bool,
}

impl Thread {
    fn work(mut self) {
        loop {
            let mut queue = locked(&self.queue);
            let Some(work) = queue.pop() else {
                queue.threads -= 1;
                self.ended = true;
                return;
            };
            drop(queue);
            // Told to whoever waits for this by the loss of the sender, and to nobody else.
            let _ = catch_unwind(AssertUnwindSafe(work));
        }
    }
}

impl Drop for Thread {
    /// One that never came to work, since its runtime shut down, takes what waited for it along.
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        let mut queue = locked(&self.queue);
        queue.threads -= 1;
        if queue.threads == 0 {
            let stranded = queue.take();
            drop(queue);
            drop(stranded);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{
            atomic::{AtomicUsize, Ordering},
            mpsc,
        },
        thread,
    };

    use futures_util::future::join_all;

    use super::*;

    fn threads() -> usize {
        (available_parallelism().map_or(1, NonZero::get) / 2).max(1)
    }

    #[tokio::test]
    async fn work_is_done_on_other_threads_and_on_no_more_than_half_the_processors() {
        let (aside, serving) = (Aside::new(), thread::current().id());
        let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let work = || {
            let (running, most) = (Arc::clone(&running), Arc::clone(&most));
            move || {
                most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                // Others may begin, if they can.
                thread::yield_now();
                running.fetch_sub(1, Ordering::SeqCst);
                thread::current().id()
            }
        };
        for thread in join_all((0..200).map(|_| aside.run(1, work()).ok().unwrap().told())).await {
            assert_ne!(thread.unwrap(), serving);
        }
        assert!(most.load(Ordering::SeqCst) <= threads());
    }

    /// Occupies all threads with work of this size, until the sender is dropped.
    fn occupied(aside: &Aside, bytes: usize) -> (Vec<Outcome<()>>, mpsc::Sender<()>) {
        let (begun, begins) = mpsc::channel();
        let (release, released) = mpsc::channel::<()>();
        let released = Arc::new(Mutex::new(released));
        let held = || {
            let (begun, released) = (begun.clone(), Arc::clone(&released));
            move || {
                begun.send(()).unwrap();
                let _ = released.lock().unwrap().recv();
            }
        };
        let running = (0..threads()).map(|_| aside.run(bytes, held()).ok().unwrap()).collect();
        begins.iter().take(threads()).for_each(drop);
        (running, release)
    }

    #[tokio::test]
    async fn so_much_may_wait_and_the_rest_is_given_back() {
        let aside = Aside::new();
        let (mut answers, release) = occupied(&aside, 1);
        while let Ok(answer) = aside.run(1, || ()) {
            answers.push(answer);
        }
        assert_eq!(answers.len(), threads() * (1 + QUEUE));
        drop(release);
        for answer in answers {
            answer.told().await.unwrap();
        }
        assert!(aside.run(1, || ()).is_ok(), "there is room again");
    }

    #[tokio::test]
    async fn aside_queue_is_bounded_in_bytes() {
        let aside = Aside::new();
        // What runs does not wait any more.
        let (running, release) = occupied(&aside, QUEUE_BYTES);
        let large = QUEUE_BYTES / 4;
        let waiting: Vec<_> = std::iter::from_fn(|| aside.run(large, || ()).ok()).collect();
        assert_eq!(waiting.len(), 4 * threads(), "in bytes they are full, in number far from it");
        assert!(aside.run(1, || ()).is_err());
        drop(release);
        for answer in running.into_iter().chain(waiting) {
            answer.told().await.unwrap();
        }
        assert_eq!(locked(&aside.queue).bytes, 0);
    }

    #[tokio::test]
    async fn work_that_panics_cuts_only_itself_short() {
        let aside = Aside::new();
        let (bad, good) = (aside.run(1, || std::panic::resume_unwind(Box::new(()))), aside.run(1, || 5));
        let bad: Result<(), _> = bad.ok().unwrap().told().await;
        assert!(bad.is_err());
        assert_eq!(good.ok().unwrap().told().await.unwrap(), 5);
    }

    #[test]
    fn a_runtime_that_has_shut_down_leaves_nobody_hanging_and_the_next_one_its_threads() {
        let runtime = || tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (aside, ended) = (Aside::new(), runtime().handle().clone());
        let stranded: Vec<_> = {
            let _ended = ended.enter();
            (0..10).map(|_| aside.run(1, || ()).ok().unwrap()).collect()
        };
        runtime().block_on(async {
            for outcome in stranded {
                assert!(outcome.told().await.is_err());
            }
            assert_eq!(aside.run(1, || 5).ok().unwrap().told().await.unwrap(), 5);
        });
    }
}
