//! The keys of another issuer, fetched by HTTP.
//!
//! One task per issuer fetches its JWK set, every 5 minutes or sooner by its `Cache-Control`. A token
//! with an unknown `kid` causes a fetch at once, which all requests share. Fetches begin at least
//! 10 s apart, so neither forged tokens nor a failing issuer cause load.
//!
//! - **[`State`]** decides what is known and when to fetch. It does no I/O and takes times.
//! - **[`Fetcher`]** makes one fetch: the issuer's metadata, if needed, and its JWK set.
//! - **[`RemoteKeys`]** has both, and the task.
//!
//! A fetch that fails leaves the known keys in place, for 24 h after the last success. A fetch that
//! succeeds replaces them, so a key that the issuer dropped is gone.

mod fetch;
mod http;
mod location;
mod state;
#[cfg(test)]
mod tests;

use std::{
    error::Error,
    fmt,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak},
    time::Duration,
};

use tokio::{
    runtime::Handle,
    sync::Notify,
    task::AbortHandle,
    time::{sleep, timeout},
};

use self::{
    fetch::{FetchError, Fetched, Fetcher},
    state::{Limits, State},
};
pub(crate) use self::{location::Location, state::KeysUnavailable};
use crate::{
    background::again_after_panics,
    clock::Clock,
    keys::VerifyingKeys,
    telemetry::{self, JWKS_FETCHES},
};

/// The longest pause of the task. After it, a clock that was turned meanwhile is seen.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// The keys of an issuer, kept up to date. Its clones share one task, which ends with the last.
#[derive(Clone)]
pub(crate) struct RemoteKeys {
    shared: Arc<Shared>,
}

type OnKeys = dyn Fn(Option<&VerifyingKeys>) + Send + Sync;

struct Shared {
    fetcher: Arc<Fetcher>,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
    on_keys: OnceLock<Box<OnKeys>>,
    task: Mutex<Option<AbortHandle>>,
    /// Wakes the task, which holds nothing else of this while it sleeps.
    wake: Arc<Notify>,
    /// Wakes the requests that wait for a fetch.
    concluded: Notify,
}

/// The time limits. Only tests have others than the default.
#[derive(Clone, Copy, Debug)]
struct Settings {
    limits: Limits,
    /// How long a fetch takes at most, with all its requests. It is shorter than the time between
    /// two fetches.
    fetch: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self { limits: Limits::default(), fetch: Duration::from_secs(8) }
    }
}

impl RemoteKeys {
    /// Creates the keys that are published at `location`, none of which are known yet.
    ///
    /// `read` reads the body of a JWK set. A set without a key that can be used is a failed fetch.
    pub(crate) fn new<E>(
        location: Location,
        read: impl Fn(&[u8]) -> Result<VerifyingKeys, E> + Send + Sync + 'static,
        clock: Arc<dyn Clock>,
    ) -> Self
    where
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        Self::with_settings(location, read, clock, Settings::default())
    }

    fn with_settings<E>(
        location: Location,
        read: impl Fn(&[u8]) -> Result<VerifyingKeys, E> + Send + Sync + 'static,
        clock: Arc<dyn Clock>,
        settings: Settings,
    ) -> Self
    where
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        Self {
            shared: Arc::new(Shared {
                fetcher: Arc::new(Fetcher::new(location, read, settings.fetch)),
                clock,
                state: Mutex::new(State::new(settings.limits)),
                on_keys: OnceLock::new(),
                task: Mutex::default(),
                wake: Arc::default(),
                concluded: Notify::new(),
            }),
        }
    }

    /// Starts the task. Outside a runtime, the first use inside one starts it. Waits for nothing.
    ///
    /// `on_keys` gets each set that was fetched, and `None` when the last one is too old. Its calls
    /// do not overlap. It must not hold a clone of this. Only the first call of `start` counts.
    pub(crate) fn start(&self, on_keys: impl Fn(Option<&VerifyingKeys>) + Send + Sync + 'static) {
        self.shared.on_keys.get_or_init(|| Box::new(on_keys));
        self.shared.start();
    }

    /// Returns the known keys. `None` if no fetch has succeeded in the last 24 h.
    pub(crate) fn current(&self) -> Option<VerifyingKeys> {
        let shared = &self.shared;
        shared.start();
        let now = shared.clock.monotonic();
        let state = shared.state();
        if state.is_due(now) {
            shared.wake.notify_one();
        }
        state.current(now)
    }

    /// Returns keys that are at most 10 s old, for a `kid` that is not among the current ones. A
    /// `kid` that is not among these either is unknown: 401.
    ///
    /// Fetches if the last fetch began 10 s ago or earlier. All calls share that fetch. It goes on
    /// when they have waited for `wait` or were dropped.
    ///
    /// # Errors
    ///
    /// If the last fetch failed, or takes longer than `wait`: 503.
    pub(crate) async fn refetch(&self, wait: Duration) -> Result<VerifyingKeys, KeysUnavailable> {
        let shared = &self.shared;
        // It sees each fetch that ends from here on.
        let concluded = shared.concluded.notified();
        let answer = shared.state().ask(shared.clock.monotonic());
        if let Some(answer) = answer {
            return answer;
        }
        shared.start();
        shared.wake.notify_one();
        // After the wait, the state decides as well.
        let _ = timeout(wait, concluded).await;
        shared.state().fresh(shared.clock.monotonic())
    }
}

impl fmt::Debug for RemoteKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let location = format_args!("{}", self.shared.fetcher.location());
        f.debug_struct("RemoteKeys").field("location", &location).finish_non_exhaustive()
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // No code panics while it is locked.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts the task, unless it runs or there is no runtime. It also ends with its runtime.
    fn start(self: &Arc<Self>) {
        let mut task = self.task.lock().unwrap_or_else(PoisonError::into_inner);
        if task.as_ref().is_some_and(|task| !task.is_finished()) {
            return;
        }
        let Ok(runtime) = Handle::try_current() else { return };
        let (shared, wake) = (Arc::downgrade(self), Arc::clone(&self.wake));
        let keep = move || keep_fresh(Weak::clone(&shared), Arc::clone(&wake));
        *task = Some(runtime.spawn(again_after_panics("keys of an issuer", keep)).abort_handle());
    }

    /// Begins a fetch, if one is due.
    fn begin(self: &Arc<Self>) -> Option<Flight> {
        let begins = self.state().begin(self.clock.monotonic());
        begins.then(|| Flight { shared: Arc::downgrade(self), result: None })
    }

    fn conclude(&self, result: Option<Result<Fetched, FetchError>>) {
        if let Some(result) = &result {
            let issuer = self.fetcher.location().to_string();
            telemetry::count(JWKS_FETCHES, [("issuer", &issuer), ("outcome", telemetry::outcome(result))]);
        }
        match result {
            Some(Ok(fetched)) => {
                let was_away = self.state().succeed(fetched.keys.clone(), fetched.max_age);
                self.tell(Some(&fetched.keys));
                self.log_success(&fetched.keys, was_away);
            }
            Some(Err(error)) => {
                let is_first = self.state().fail();
                self.log_failure(&error, is_first);
            }
            // The task panicked, which is logged elsewhere, or its runtime shuts down.
            None => self.state().abandon(),
        }
        self.concluded.notify_waiters();
    }

    /// Drops keys that are too old.
    fn expire(&self) {
        let has_expired = self.state().expire(self.clock.monotonic());
        if has_expired {
            self.tell(None);
            let issuer = self.fetcher.location();
            tracing::error!(%issuer, "an issuer has published no keys for too long; its tokens are refused with 503");
        }
    }

    /// Not under the lock: the other side may do anything.
    fn tell(&self, keys: Option<&VerifyingKeys>) {
        if let Some(on_keys) = self.on_keys.get() {
            on_keys(keys);
        }
    }

    fn log_success(&self, keys: &VerifyingKeys, was_away: bool) {
        let (issuer, keys) = (self.fetcher.location(), keys.iter().count());
        if was_away {
            tracing::info!(%issuer, keys, "the keys of an issuer can be fetched again");
        } else {
            tracing::debug!(%issuer, keys, "fetched the keys of an issuer");
        }
    }

    /// Logs a failure, as a warning if an outage begins with it.
    fn log_failure(&self, error: &FetchError, is_first: bool) {
        let (issuer, error) = (self.fetcher.location(), error as &dyn Error);
        if is_first {
            tracing::warn!(%issuer, error, "the keys of an issuer cannot be fetched; known keys serve for at most 24 h");
        } else {
            tracing::debug!(%issuer, error, "the keys of an issuer still cannot be fetched");
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        let task = self.task.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(task) = task.take() {
            task.abort();
        }
    }
}

/// A fetch in progress. It is abandoned if it is dropped without a result.
struct Flight {
    shared: Weak<Shared>,
    result: Option<Result<Fetched, FetchError>>,
}

impl Flight {
    async fn run(mut self, fetcher: Arc<Fetcher>) {
        self.result = Some(fetcher.fetch().await);
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        if let Some(shared) = self.shared.upgrade() {
            shared.conclude(self.result.take());
        }
    }
}

/// Fetches what is due until the keys are dropped.
async fn keep_fresh(shared: Weak<Shared>, wake: Arc<Notify>) {
    loop {
        let Some(keys) = shared.upgrade() else { return };
        keys.expire();
        let (flight, fetcher) = (keys.begin(), Arc::clone(&keys.fetcher));
        let pause = keys.state().pause(keys.clock.monotonic());
        drop(keys);
        match flight {
            Some(flight) => flight.run(fetcher).await,
            None => {
                tokio::select! {
                    () = wake.notified() => {}
                    () = sleep(pause.min(LONGEST_PAUSE)) => {}
                }
            }
        }
    }
}
