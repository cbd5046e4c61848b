//! The steps of the processes. Each is one read or one write of a server.

mod check;
mod refresh;
mod revoke;
mod sign_in;
mod single_use;

use crate::{
    process::{Cause, Outcome, Process, Revoke},
    protocol::Protocol,
    scenarios::With,
    set::Set,
    state::State,
    world::forget,
};

/// Lets a process do its next read or write.
pub(crate) fn step(protocol: &Protocol, state: &mut State, number: u8) {
    let before = state.processes[usize::from(number)];
    let mut call = Call { protocol, state, number, before };
    match before {
        Process::Check(check) => call.check(check),
        Process::Refresh(refresh) => call.refresh(refresh),
        Process::Revoke(revoke) => {
            if revoke.at == revoke.cause.first_step() {
                let doomed = &mut call.state.history.doomed;
                *doomed = doomed.or(revoke.cause.may_end());
            }
            call.revoke(revoke);
        }
        Process::SignIn(sign_in) => call.sign_in(sign_in),
        Process::IssueSingleUse(at) => call.issue_single_use(at),
        Process::Consume(consume) => call.consume(consume),
        Process::Ended(_) => {}
    }
}

/// Ends a process whose store or cache has failed, or lets its caller retry.
pub(crate) fn fail(state: &mut State, number: u8) {
    let process = &mut state.processes[usize::from(number)];
    if let Process::Revoke(revoke) = *process {
        *process = if revoke.cause == Cause::Finish {
            Process::Ended(Outcome::Refused)
        } else if matches!(revoke.cause, Cause::ResumeSession | Cause::ResumeUser) {
            // The node tries again from the beginning.
            Process::revoke(revoke.node, revoke.cause, 0)
        } else if revoke.retries == 0 {
            Process::Ended(Outcome::Unavailable)
        } else {
            let retries = revoke.retries - 1;
            Process::Revoke(Revoke { at: revoke.cause.first_step(), doomed: Set::EMPTY, retries, ..revoke })
        };
        forget(state, revoke.node, revoke.covers);
    } else {
        *process = Process::Ended(Outcome::Unavailable);
    }
}

/// One step of one process.
struct Call<'a> {
    protocol: &'a Protocol,
    state: &'a mut State,
    number: u8,
    /// The process before this step.
    before: Process,
}

impl Call<'_> {
    /// Replaces the process.
    fn go(&mut self, process: Process) {
        self.state.processes[usize::from(self.number)] = process;
    }

    fn end(&mut self, outcome: Outcome) {
        self.go(Process::Ended(outcome));
    }

    fn fail(&mut self) {
        fail(self.state, self.number);
    }

    /// Called after a write was applied or an update matched nothing. The process waits until a
    /// majority holds all that it saw. Without failovers the majority catches up at once, because
    /// nothing can show the difference.
    fn acknowledge(&mut self) {
        if self.protocol.scenario.has(With::Failovers) {
            self.state.writers.insert(self.number, self.before);
        } else {
            self.state.mongo.majority = self.state.mongo.primary;
        }
    }
}
