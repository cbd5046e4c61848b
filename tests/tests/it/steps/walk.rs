//! Walks through the steps of a call of a node.

use super::*;

/// The greatest number of steps.
const MAX_STEPS: usize = 40;

/// The number of runs in a row that may bring no new step.
const MAX_FRUITLESS_RUNS: usize = 60;

/// The steps of one call, at least `least` of them.
///
/// A node that waited too long for Redis does not ask it for a second, and takes fewer steps in its
/// next run. That happens on a busy machine. So a run counts only if it went exactly one step
/// further than the one before. Any other run must keep the laws too, and is repeated.
pub(super) struct StepWalk {
    least: usize,
    /// The steps after which the node was stopped, sorted by name, because some run side by side.
    done: Vec<String>,
    fruitless_runs: usize,
    over: bool,
}

impl StepWalk {
    /// Begins a walk through at least `least` steps.
    pub(super) fn at_least(least: usize) -> Self {
        Self { least, done: Vec::new(), fruitless_runs: 0, over: false }
    }

    /// Returns `false` once a run was over before its stop and no step is missing.
    pub(super) fn has_next(&self) -> bool {
        !self.over
    }

    /// Records that the node stands after a step. `taken` are its steps so far.
    fn record_stop(&mut self, mut taken: Vec<String>) {
        taken.sort_unstable();
        let mut known = self.done.iter().peekable();
        let new = taken.iter().filter(|step| known.next_if(|known| known == step).is_none()).count();
        if new == 1 && known.next().is_none() {
            assert!(taken.len() < MAX_STEPS, "there is no end of steps: {taken:?}");
            self.done = taken;
            self.fruitless_runs = 0;
        } else {
            self.record_fruitless_run(&taken);
        }
    }

    /// Records that the call was over before the stop.
    fn record_end(&mut self, taken: &[String]) {
        self.over = self.done.len() >= self.least;
        if !self.over {
            self.record_fruitless_run(taken);
        }
    }

    /// Counts a run that brought no new step. Fails after too many in a row.
    fn record_fruitless_run(&mut self, taken: &[String]) {
        self.fruitless_runs += 1;
        let Self { least, done, .. } = self;
        assert!(
            self.fruitless_runs < MAX_FRUITLESS_RUNS,
            "of {least} steps only {done:?} were reached; the last run took {taken:?}"
        );
    }
}

impl SteppedNodes {
    /// Runs `doing` and stops the first node after its next step. Returns `None` if `doing` was
    /// over before.
    pub(super) async fn stop_after_next_step<T>(
        &self,
        steps: &mut StepWalk,
        doing: T,
    ) -> Option<tokio::task::JoinHandle<T::Output>>
    where
        T: Future<Output: Send + 'static> + Send + 'static,
    {
        self.relay.stop_after(steps.done.len() + 1);
        let mut doing = tokio::spawn(doing);
        tokio::select! {
            () = self.relay.until_stopped() => {
                steps.record_stop(self.relay.steps().into_iter().take(steps.done.len() + 1).collect());
                Some(doing)
            }
            done = &mut doing => {
                done.unwrap();
                self.relay.release();
                steps.record_end(&self.relay.steps());
                None
            }
        }
    }
}

/// Returns the names of steps.
fn names(steps: &[&str]) -> Vec<String> {
    steps.iter().map(ToString::to_string).collect()
}

#[test]
fn walk_repeats_a_run_that_ended_early_or_went_another_way() {
    let mut steps = StepWalk::at_least(3);
    steps.record_end(&[]);
    steps.record_stop(names(&["GET"]));
    steps.record_stop(names(&["find", "update"]));
    assert_eq!(steps.done, ["GET"], "without Redis, and so not the second step of the same way");
    steps.record_stop(names(&["GET", "find"]));
    steps.record_stop(names(&["find", "GET", "find"]));
    assert_eq!(steps.done.len(), 3, "side by side, in whichever order");
    assert!(steps.has_next(), "there may be more");
    steps.record_end(&steps.done.clone());
    assert!(!steps.has_next());
}

#[test]
#[should_panic(expected = "of 2 steps only [\"GET\"] were reached")]
fn walk_fails_at_a_step_that_is_never_reached() {
    let mut steps = StepWalk::at_least(2);
    steps.record_stop(names(&["GET"]));
    while steps.has_next() {
        steps.record_end(&[]);
    }
}
