//! Tells open streams that the server stops.
//!
//! A stream may never end by itself. Without this it would hold the shutdown up to its limit.

use tokio::sync::watch;

/// The shutdown of the server, as its streams see it.
#[derive(Clone, Debug)]
pub(crate) struct Shutdown(watch::Receiver<bool>);

/// Begins the shutdown.
#[derive(Debug)]
pub(crate) struct ShutdownTrigger(watch::Sender<bool>);

impl Shutdown {
    pub(crate) fn new() -> (ShutdownTrigger, Self) {
        let (trigger, shutdown) = watch::channel(false);
        (ShutdownTrigger(trigger), Self(shutdown))
    }

    /// Waits until the shutdown begins.
    pub(crate) async fn begun(mut self) {
        // An error means that the trigger is gone, and the server with it.
        let _ = self.0.wait_for(|begun| *begun).await;
    }
}

impl ShutdownTrigger {
    pub(crate) fn begin(&self) {
        self.0.send_replace(true);
    }
}
