//! Handles the signals that stop the process.

use std::{io, process::exit};

use tokio::sync::oneshot;

/// Returns a future that completes at the first SIGINT or, on Unix, SIGTERM. Both are caught from
/// this call on. The second signal ends the process at once.
pub(super) fn stop() -> io::Result<impl Future<Output = ()>> {
    let mut signals = Signals::new()?;
    let (stop, stopped) = oneshot::channel();
    // A separate task: the start may be busy, and the shutdown may wait.
    tokio::spawn(async move {
        signals.next().await;
        tracing::info!("stopping; the next signal ends the process at once");
        let _ = stop.send(());
        let signal = signals.next().await;
        // The exit status that a shell reports for a process ended by this signal.
        exit(128 + signal);
    });
    Ok(async {
        let _ = stopped.await;
    })
}

/// The signals that stop the process.
#[cfg(unix)]
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn new() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};

        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    /// Returns the number of the next signal.
    async fn next(&mut self) -> i32 {
        use tokio::signal::unix::SignalKind;

        let came = tokio::select! {
            _ = self.interrupt.recv() => SignalKind::interrupt(),
            _ = self.terminate.recv() => SignalKind::terminate(),
        };
        came.as_raw_value()
    }
}

#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    #[expect(clippy::unnecessary_wraps, reason = "elsewhere it can fail")]
    fn new() -> io::Result<Self> {
        Ok(Self)
    }

    async fn next(&mut self) -> i32 {
        let _ = tokio::signal::ctrl_c().await;
        2
    }
}
