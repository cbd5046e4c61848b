//! The steps of the processes. Each is one read or one write of a server.

mod check;
mod deny;
mod refresh;
mod revoke;
mod sign_in;
mod single_use;

use crate::{
    environment::drop_local_entries,
    process::{Outcome, Process, RevocationCause, Revoke},
    protocol::Protocol,
    scenarios::Condition,
    set::Set,
    state::State,
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
                let to_end = &mut call.state.history.to_end;
                *to_end = to_end.union(revoke.cause.may_end());
            }
            call.revoke(revoke);
        }
        Process::SignIn(sign_in) => call.sign_in(sign_in),
        Process::IssueSingleUse(at) => call.issue_single_use(at),
        Process::Consume(consume) => call.consume(consume),
        Process::CheckDenied(check) => call.check_denied(check),
        Process::Deny(deny) => call.deny(deny),
        Process::Ended(_) => {}
    }
}

/// Ends a process whose store or cache has failed, or lets its caller retry.
pub(crate) fn fail(state: &mut State, number: u8) {
    let process = &mut state.processes[usize::from(number)];
    if let Process::Revoke(revoke) = *process {
        *process = if revoke.cause == RevocationCause::Finish {
            Process::Ended(Outcome::Refused)
        } else if matches!(revoke.cause, RevocationCause::ResumeSession | RevocationCause::ResumeUser) {
            // The node tries again from the beginning.
            Process::revoke(revoke.node, revoke.cause, 0)
        } else if revoke.retries == 0 {
            Process::Ended(Outcome::Unavailable)
        } else {
            let retries = revoke.retries - 1;
            Process::Revoke(Revoke { at: revoke.cause.first_step(), sweeps: Set::EMPTY, retries, ..revoke })
        };
        drop_local_entries(state, revoke.node, revoke.covers);
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
    fn continue_as(&mut self, process: Process) {
        self.state.processes[usize::from(self.number)] = process;
    }

    /// Ends the process.
    fn end(&mut self, outcome: Outcome) {
        self.continue_as(Process::Ended(outcome));
    }

    /// Ends the process because its store or cache has failed, or lets its caller retry.
    fn fail(&mut self) {
        fail(self.state, self.number);
    }

    /// Waits for the majority, after a write was applied or an update matched nothing. The process
    /// waits until a majority holds all that it saw. Without failovers the majority catches up at
    /// once, because nothing can show the difference.
    fn acknowledge(&mut self) {
        if self.protocol.scenario.has(Condition::Failovers) {
            self.state.writers.insert(self.number, self.before);
        } else {
            self.state.mongo.majority = self.state.mongo.primary;
        }
    }
}
