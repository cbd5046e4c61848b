//! Where signatures are checked while there is a flood of forged tokens.
//!
//! A signature costs several times what the rest of a request does, and in a flood most of them are wrong. Checked where
//! requests are served, they would take the good ones' time. So they are checked on threads of their own, half as many as there are
//! processors, in the order in which they came: what is left of the machine serves the tokens that are known.

use std::{num::NonZero, sync::Arc, thread::available_parallelism};

use tokio::{sync::Semaphore, task::spawn_blocking};

use crate::store::StoreError;

/// Runs work on a few threads besides those that serve.
#[derive(Debug)]
pub(super) struct Aside(Arc<Semaphore>);

impl Aside {
    pub(super) fn new() -> Self {
        let processors = available_parallelism().map_or(1, NonZero::get);
        Self(Arc::new(Semaphore::new((processors / 2).max(1))))
    }

    /// Waits for its turn, then runs `work`. Fails where the runtime shuts down.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, StoreError> {
        let unavailable = |error| StoreError::unavailable("a signature could not be checked", error);
        let place = Arc::clone(&self.0).acquire_owned().await.map_err(|closed| unavailable(closed.to_string()))?;
        // The place goes along: work that nobody waits for any more still takes a thread.
        let work = move || {
            let _place = place;
            work()
        };
        spawn_blocking(work).await.map_err(|error| unavailable(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicUsize, Ordering},
        thread,
    };

    use futures_util::future::join_all;

    use super::*;

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
        for thread in join_all((0..200).map(|_| aside.run(work()))).await {
            assert_ne!(thread.unwrap(), serving);
        }
        let processors = available_parallelism().map_or(1, NonZero::get);
        assert!(most.load(Ordering::SeqCst) <= (processors / 2).max(1));
    }
}
