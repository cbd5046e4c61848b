//! A database on a server that outlives the tests.

use std::{thread, time::Duration};

use mongodb::Client;
use tokio::{runtime::Builder, time::timeout};

/// How long its end may take. A test does not fail for a server that somebody has stopped.
const PATIENCE: Duration = Duration::from_secs(10);

/// Dropped from the server when this is.
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
        // The runtime of a test may not be blocked on, and may be about to end.
        let leaving = thread::spawn(move || {
            let Ok(runtime) = Builder::new_current_thread().enable_all().build() else { return };
            let gone = async {
                let client = Client::with_uri_str(&uri).await?;
                client.database(&name).drop().await
            };
            // Whoever owns the server sees what is left there.
            let _ = runtime.block_on(async { timeout(PATIENCE, gone).await });
        });
        let _ = leaving.join();
    }
}
