//! Background tasks.

use std::{
    future::{Future, poll_fn},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::sleep;

/// The pause after a panic: a task that panics again at once must not cause load.
const PAUSE: Duration = Duration::from_secs(1);

/// Runs a task to its end, and starts it again when it panics. Otherwise nobody would notice.
pub(crate) async fn again_after_panics<F: Future<Output = ()>>(name: &'static str, mut begin: impl FnMut() -> F) {
    while panics(begin()).await {
        tracing::error!(task = name, "a background task panicked; it begins anew");
        sleep(PAUSE).await;
    }
}

/// Runs a future and returns whether it panicked.
async fn panics(future: impl Future<Output = ()>) -> bool {
    let mut future = pin!(future);
    // It is not polled again after a panic.
    let poll = |cx: &mut Context<'_>| {
        catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx)))
            .map_or(Poll::Ready(true), |polled| polled.map(|()| false))
    };
    poll_fn(poll).await
}

#[cfg(test)]
mod tests {
    use std::panic::resume_unwind;

    use tokio::{task::yield_now, time::Instant};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn background_task_that_panics_begins_anew_after_a_pause_and_ends_when_it_is_done() {
        let begun = Instant::now();
        let mut times = 0;
        again_after_panics("of the test", || {
            times += 1;
            let panics = times < 3;
            async move {
                yield_now().await;
                if panics {
                    resume_unwind(Box::new(()));
                }
            }
        })
        .await;
        assert_eq!((times, begun.elapsed()), (3, 2 * PAUSE));
    }
}
