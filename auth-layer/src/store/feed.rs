//! The revocation listeners of one store, and the task that calls them.

use std::{
    fmt,
    future::Future,
    sync::{Arc, Mutex, OnceLock, PoisonError, Weak},
};

use tokio::{runtime::Handle, task::JoinHandle};
use uuid::Uuid;

use super::RevocationListener;
use crate::background::again_after_panics;

/// Listeners and their task. The first listener starts the task, and dropping this ends it.
#[derive(Debug)]
pub(crate) struct Feed {
    listeners: Arc<Listeners>,
    /// The runtime in which the store was made. A subscriber may be outside any runtime.
    runtime: Handle,
    task: OnceLock<JoinHandle<()>>,
}

impl Feed {
    /// Must be called within a Tokio runtime.
    pub(crate) fn new() -> Self {
        Self { listeners: Arc::default(), runtime: Handle::current(), task: OnceLock::new() }
    }

    /// Adds a listener. The first one starts the task.
    ///
    /// A task that panics is started again. As at its first start, it then reports a gap.
    pub(crate) fn subscribe<F>(
        &self,
        listener: Weak<dyn RevocationListener>,
        task: impl Fn(Arc<Listeners>) -> F + Send + 'static,
    ) where
        F: Future<Output = ()> + Send + 'static,
    {
        self.listeners.add(listener);
        self.task.get_or_init(|| {
            let listeners = Arc::clone(&self.listeners);
            let follow = move || task(Arc::clone(&listeners));
            self.runtime.spawn(again_after_panics("news of revocations", follow))
        });
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        if let Some(task) = self.task.get() {
            task.abort();
        }
    }
}

/// The listeners. Dropped ones are removed.
#[derive(Default)]
pub(crate) struct Listeners(Mutex<Vec<Weak<dyn RevocationListener>>>);

impl Listeners {
    fn add(&self, listener: Weak<dyn RevocationListener>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(listener);
    }

    /// Reports these ids to all listeners.
    pub(crate) fn revoked(&self, ids: &[Uuid]) {
        for listener in self.alive() {
            for id in ids {
                listener.revoked(*id);
            }
        }
    }

    /// Reports to all listeners that revocations may have been missed.
    pub(crate) fn gap(&self) {
        for listener in self.alive() {
            listener.gap();
        }
    }

    /// Returns the live listeners, for calls without the lock: a listener may do anything, and
    /// dropping it may drop the store.
    fn alive(&self) -> Vec<Arc<dyn RevocationListener>> {
        let mut listeners = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        listeners.retain(|listener| listener.strong_count() > 0);
        listeners.iter().filter_map(Weak::upgrade).collect()
    }
}

impl fmt::Debug for Listeners {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listeners").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::{
        future::pending,
        panic::resume_unwind,
        sync::atomic::{AtomicBool, Ordering},
        time::Duration,
    };

    use super::*;

    #[derive(Default)]
    struct RecordingListener(Mutex<Vec<Option<Uuid>>>);

    impl RevocationListener for RecordingListener {
        fn revoked(&self, id: Uuid) {
            self.0.lock().unwrap().push(Some(id));
        }

        fn gap(&self) {
            self.0.lock().unwrap().push(None);
        }
    }

    fn listener() -> (Arc<RecordingListener>, Weak<dyn RevocationListener>) {
        let recorder = Arc::new(RecordingListener::default());
        let listener: Weak<RecordingListener> = Arc::downgrade(&recorder);
        (recorder, listener)
    }

    #[tokio::test]
    async fn feed_reports_to_all_listeners_until_they_are_dropped() {
        let feed = Feed::new();
        let ((one, first), (other, second)) = (listener(), listener());
        feed.subscribe(first, |_| pending());
        feed.subscribe(second, |_| pending());
        let ids = [Uuid::now_v7(), Uuid::now_v7()];
        feed.listeners.revoked(&ids);
        drop(one);
        feed.listeners.gap();
        assert_eq!(*other.0.lock().unwrap(), [Some(ids[0]), Some(ids[1]), None]);
        assert_eq!(feed.listeners.0.lock().unwrap().len(), 1, "who is gone is forgotten");
    }

    #[tokio::test]
    async fn feed_has_one_task_that_ends_with_the_store() {
        let feed = Feed::new();
        let witness = Arc::new(());
        for _ in 0..3 {
            let (guard, (_, listener)) = (Arc::clone(&witness), listener());
            feed.subscribe(listener, move |_| {
                let guard = Arc::clone(&guard);
                async move {
                    pending::<()>().await;
                    drop(guard);
                }
            });
        }
        tokio::task::yield_now().await;
        assert_eq!(Arc::strong_count(&witness), 3, "one task, which can begin anew");
        drop(feed);
        while Arc::strong_count(&witness) > 1 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn feed_task_that_panics_is_started_again() {
        let feed = Feed::new();
        let (recorder, listener) = listener();
        let id = Uuid::now_v7();
        let started = AtomicBool::new(false);
        feed.subscribe(listener, move |listeners| {
            let is_first = !started.swap(true, Ordering::SeqCst);
            async move {
                if is_first {
                    resume_unwind(Box::new(()));
                }
                listeners.revoked(&[id]);
                pending::<()>().await;
            }
        });
        // Paused time advances only when no task can run.
        let received = async {
            while recorder.0.lock().unwrap().is_empty() {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), received).await.expect("the listener is told");
        assert_eq!(*recorder.0.lock().unwrap(), [Some(id)]);
    }
}
