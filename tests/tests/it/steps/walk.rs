//! Walks through the steps of a call of a node.

use super::*;

/// The greatest number of steps.
const MOST: usize = 40;

/// The number of runs in a row that may bring no new step.
const FRUITLESS: usize = 60;

/// The steps of one call, at least `least` of them.
///
/// A node that waited too long for Redis does not ask it for a second, and takes fewer steps in its
/// next run. That happens on a busy machine. So a run counts only if it went exactly one step
/// further than the one before. Any other run must keep the laws too, and is repeated.
pub(super) struct Steps {
    least: usize,
    /// The steps after which the node was stopped, sorted by name, because some run side by side.
    done: Vec<String>,
    fruitless: usize,
    over: bool,
}

impl Steps {
    pub(super) fn at_least(least: usize) -> Self {
        Self { least, done: Vec::new(), fruitless: 0, over: false }
    }

    /// Returns `false` once a run was over before its stop and no step is missing.
    pub(super) fn go_on(&self) -> bool {
        !self.over
    }

    /// Called when the node stands after a step. `taken` are its steps so far.
    fn stopped(&mut self, mut taken: Vec<String>) {
        taken.sort_unstable();
        let mut known = self.done.iter().peekable();
        let new = taken.iter().filter(|step| known.next_if(|known| known == step).is_none()).count();
        if new == 1 && known.next().is_none() {
            assert!(taken.len() < MOST, "there is no end of steps: {taken:?}");
            self.done = taken;
            self.fruitless = 0;
        } else {
            self.was_fruitless(&taken);
        }
    }

    /// Called when the call was over before the stop.
    fn was_over(&mut self, taken: &[String]) {
        self.over = self.done.len() >= self.least;
        if !self.over {
            self.was_fruitless(taken);
        }
    }

    fn was_fruitless(&mut self, taken: &[String]) {
        self.fruitless += 1;
        let Self { least, done, .. } = self;
        assert!(self.fruitless < FRUITLESS, "of {least} steps only {done:?} were reached; the last run took {taken:?}");
    }
}

impl Stage {
    /// Runs `doing` and stops the first node after its next step. Returns `None` if `doing` was
    /// over before.
    pub(super) async fn stopped_after<T>(
        &self,
        steps: &mut Steps,
        doing: T,
    ) -> Option<tokio::task::JoinHandle<T::Output>>
    where
        T: Future<Output: Send + 'static> + Send + 'static,
    {
        self.relay.stop_after(steps.done.len() + 1);
        let mut doing = tokio::spawn(doing);
        tokio::select! {
            () = self.relay.reached() => {
                steps.stopped(self.relay.seen().into_iter().take(steps.done.len() + 1).collect());
                Some(doing)
            }
            done = &mut doing => {
                done.unwrap();
                self.relay.release();
                steps.was_over(&self.relay.seen());
                None
            }
        }
    }
}

fn names(steps: &[&str]) -> Vec<String> {
    steps.iter().map(ToString::to_string).collect()
}

#[test]
fn walk_repeats_a_run_that_ended_early_or_went_another_way() {
    let mut steps = Steps::at_least(3);
    steps.was_over(&[]);
    steps.stopped(names(&["GET"]));
    steps.stopped(names(&["find", "update"]));
    assert_eq!(steps.done, ["GET"], "without Redis, and so not the second step of the same way");
    steps.stopped(names(&["GET", "find"]));
    steps.stopped(names(&["find", "GET", "find"]));
    assert_eq!(steps.done.len(), 3, "side by side, in whichever order");
    assert!(steps.go_on(), "there may be more");
    steps.was_over(&steps.done.clone());
    assert!(!steps.go_on());
}

#[test]
#[should_panic(expected = "of 2 steps only [\"GET\"] were reached")]
fn walk_fails_at_a_step_that_is_never_reached() {
    let mut steps = Steps::at_least(2);
    steps.stopped(names(&["GET"]));
    while steps.go_on() {
        steps.was_over(&[]);
    }
}
