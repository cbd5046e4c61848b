//! Goes through the steps of something that a node does.

use super::*;

/// How many steps there may be at the most.
const MOST: usize = 40;

/// How many runs in a row may bring no new step.
const FRUITLESS: usize = 60;

/// The steps of one thing, of which there are at least so many.
///
/// A node that waited too long for Redis leaves it in peace for a second, and takes fewer steps in its next run. That happens on a
/// machine that has too much to do. So a run counts only where it went as far as the one before and one step further; another one
/// is held to the laws as well, and then repeated.
pub(super) struct Steps {
    least: usize,
    /// Those after which the node was stopped, in the order of their names: some are taken side by side.
    done: Vec<String>,
    fruitless: usize,
    over: bool,
}

impl Steps {
    pub(super) fn at_least(least: usize) -> Self {
        Self { least, done: Vec::new(), fruitless: 0, over: false }
    }

    /// False once a run was over before its stop and no step is missing.
    pub(super) fn go_on(&self) -> bool {
        !self.over
    }

    /// The node stands after a step, having taken these.
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

    /// What the node did was over before the stop.
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
    /// Runs `doing` and stops the first node after the next step of it. `None` where it was over before.
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
fn a_run_that_is_over_too_early_is_repeated_and_one_that_went_another_way_does_not_count() {
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
fn a_step_that_is_never_reached_fails() {
    let mut steps = Steps::at_least(2);
    steps.stopped(names(&["GET"]));
    while steps.go_on() {
        steps.was_over(&[]);
    }
}
