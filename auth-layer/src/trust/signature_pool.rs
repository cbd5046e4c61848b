//! Verifies signatures on separate threads during a flood of forged tokens.
//!
//! A signature costs several times the rest of a request. Verified inline, the wrong signatures of
//! a flood would take the time of good requests. So a pool of half the processors verifies them in
//! order of arrival, and the other half serves known tokens.
//!
//! The queue holds one or two tenths of a second of work. When it is full, signatures are verified
//! inline: every token gets an answer, and the queue takes little memory.

use std::{num::NonZero, sync::Arc, thread::available_parallelism};

use tokio::{
    runtime::{Builder, Runtime},
    sync::Semaphore,
    task::JoinHandle,
};

/// How many signatures may wait per thread: one or two tenths of a second of work.
const QUEUE: usize = 4_096;

/// How many bytes of tokens may wait per thread.
const QUEUE_BYTES: usize = 8 << 20;

/// A few threads that only verify signatures.
pub(super) struct SignaturePool {
    /// Only its blocking threads are used. The serving runtime needs its own for other work, and
    /// tokio bounds them per runtime. `None` once it is dropped.
    runtime: Option<Runtime>,
    /// The free space of the queue, in bytes.
    room: Arc<Semaphore>,
}

impl SignaturePool {
    pub(super) fn new() -> Self {
        let threads = (available_parallelism().map_or(1, NonZero::get) / 2).max(1);
        // Starts no thread yet. If it fails, all signatures are verified inline.
        let runtime =
            Builder::new_current_thread().max_blocking_threads(threads).thread_name("signatures").build().ok();
        Self { runtime, room: Arc::new(Semaphore::new(QUEUE_BYTES * threads)) }
    }

    /// Queues `work`, which holds `bytes` of memory. Returns it when the queue is full.
    ///
    /// The handle fails when the work panics.
    pub(super) fn try_spawn<T, W>(&self, bytes: usize, work: W) -> Result<JoinHandle<T>, W>
    where
        T: Send + 'static,
        W: FnOnce() -> T + Send + 'static,
    {
        // Each takes at least its share, which bounds their number.
        let bytes = u32::try_from(bytes.max(QUEUE_BYTES / QUEUE)).unwrap_or(u32::MAX);
        let room = Arc::clone(&self.room).try_acquire_many_owned(bytes);
        let (Some(runtime), Ok(room)) = (&self.runtime, room) else { return Err(work) };
        Ok(runtime.spawn_blocking(move || {
            // The work has left the queue.
            drop(room);
            work()
        }))
    }
}

impl Drop for SignaturePool {
    /// Shuts down without waiting: the last trust may be dropped on a thread that must not block,
    /// or on one of the pool. Queued work holds its trust, so nothing is queued any more.
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{
            Mutex,
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
    async fn signature_pool_uses_other_threads_and_no_more_than_half_the_processors() {
        let (pool, serving) = (SignaturePool::new(), thread::current().id());
        let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let work = || {
            let (running, most) = (Arc::clone(&running), Arc::clone(&most));
            move || {
                most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                // Let others begin, if they can.
                thread::yield_now();
                running.fetch_sub(1, Ordering::SeqCst);
                thread::current().id()
            }
        };
        for thread in join_all((0..200).map(|_| pool.try_spawn(1, work()).ok().unwrap())).await {
            assert_ne!(thread.unwrap(), serving);
        }
        assert!(most.load(Ordering::SeqCst) <= threads());
    }

    /// Occupies all threads with work of this size, until the sender is dropped.
    fn occupied(pool: &SignaturePool, bytes: usize) -> (Vec<JoinHandle<()>>, mpsc::Sender<()>) {
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
        let running = (0..threads()).map(|_| pool.try_spawn(bytes, held()).ok().unwrap()).collect();
        begins.iter().take(threads()).for_each(drop);
        (running, release)
    }

    #[tokio::test]
    async fn signature_pool_queue_is_bounded_in_number_and_gives_the_rest_back() {
        let pool = SignaturePool::new();
        let (mut answers, release) = occupied(&pool, 1);
        while let Ok(answer) = pool.try_spawn(1, || ()) {
            answers.push(answer);
        }
        assert_eq!(answers.len(), threads() * (1 + QUEUE));
        drop(release);
        for answer in answers {
            answer.await.unwrap();
        }
        assert!(pool.try_spawn(1, || ()).is_ok(), "there is room again");
    }

    #[tokio::test]
    async fn signature_pool_queue_is_bounded_in_bytes() {
        let pool = SignaturePool::new();
        // Running work takes no queue space.
        let (running, release) = occupied(&pool, QUEUE_BYTES);
        let large = QUEUE_BYTES / 4;
        let waiting: Vec<_> = std::iter::from_fn(|| pool.try_spawn(large, || ()).ok()).collect();
        assert_eq!(waiting.len(), 4 * threads(), "in bytes they are full, in number far from it");
        assert!(pool.try_spawn(1, || ()).is_err());
        drop(release);
        for answer in running.into_iter().chain(waiting) {
            answer.await.unwrap();
        }
        assert_eq!(pool.room.available_permits(), QUEUE_BYTES * threads());
    }

    #[tokio::test]
    async fn signature_pool_survives_a_panic() {
        let pool = SignaturePool::new();
        let (bad, good) = (pool.try_spawn(1, || std::panic::resume_unwind(Box::new(()))), pool.try_spawn(1, || 5));
        let bad: Result<(), _> = bad.ok().unwrap().await;
        assert!(bad.is_err());
        assert_eq!(good.ok().unwrap().await.unwrap(), 5);
    }

    #[test]
    fn signature_pool_outlives_the_runtime_that_serves() {
        let runtime = || Builder::new_current_thread().build().unwrap();
        let pool = SignaturePool::new();
        let queued: Vec<_> =
            runtime().block_on(async { (0..10).map(|_| pool.try_spawn(1, || 5).ok().unwrap()).collect() });
        runtime().block_on(async {
            for answer in queued {
                assert_eq!(answer.await.unwrap(), 5);
            }
            assert_eq!(pool.try_spawn(1, || 5).ok().unwrap().await.unwrap(), 5);
        });
    }

    #[tokio::test]
    async fn signature_pool_can_be_dropped_by_its_own_thread() {
        let pool = Arc::new(SignaturePool::new());
        let (hand_over, handed) = mpsc::channel();
        let last = pool.try_spawn(1, move || drop(handed.recv().unwrap())).ok().unwrap();
        hand_over.send(pool).unwrap();
        last.await.unwrap();
    }
}
