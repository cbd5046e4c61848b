//! A database on a server that outlives the tests.

use std::{thread, time::Duration};

use mongodb::Client;
use tokio::{runtime::Builder, time::timeout};

/// The time limit for removing it. A stopped server does not fail a test.
const PATIENCE: Duration = Duration::from_secs(10);

/// Removes its database on drop.
#[derive(Debug)]
pub(super) struct Guest {
    uri: String,
    name: String,
}

impl Guest {
    pub(super) fn new(uri: &str, name: &str) -> Self {
        Self { uri: uri.to_owned(), name: name.to_owned() }
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let (uri, name) = (std::mem::take(&mut self.uri), std::mem::take(&mut self.name));
        // A test's runtime must not block, and may be shutting down.
        let leaving = thread::spawn(move || {
            let Ok(runtime) = Builder::new_current_thread().enable_all().build() else { return };
            let gone = async {
                let client = Client::with_uri_str(&uri).await?;
                client.database(&name).drop().await
            };
            // The server's owner can see what is left.
            let _ = runtime.block_on(async { timeout(PATIENCE, gone).await });
        });
        let _ = leaving.join();
    }
}
