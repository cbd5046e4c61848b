//! Removes a test's database from a server that outlives the tests.

use std::{thread, time::Duration};

use mongodb::Client;
use tokio::{runtime::Builder, time::timeout};

/// The time limit for removing it. A stopped server does not fail a test.
const PATIENCE: Duration = Duration::from_secs(10);

/// Removes its database on drop.
#[derive(Debug)]
pub(super) struct DatabaseGuard {
    uri: String,
    name: String,
}

impl DatabaseGuard {
    /// Guards the database of this name on the server at `uri`.
    pub(super) fn new(uri: &str, name: &str) -> Self {
        Self { uri: uri.to_owned(), name: name.to_owned() }
    }
}

impl Drop for DatabaseGuard {
    fn drop(&mut self) {
        let (uri, name) = (std::mem::take(&mut self.uri), std::mem::take(&mut self.name));
        // A test's runtime must not block, and may be shutting down.
        let thread = thread::spawn(move || {
            let Ok(runtime) = Builder::new_current_thread().enable_all().build() else { return };
            let drop = async {
                let client = Client::with_uri_str(&uri).await?;
                client.database(&name).drop().await
            };
            // The server's owner can see what is left.
            let _ = runtime.block_on(async { timeout(PATIENCE, drop).await });
        });
        let _ = thread.join();
    }
}
