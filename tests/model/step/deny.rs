//! A denial of another issuer's subject, and the checks that ask for it.

use super::Call;
use crate::{
    laws::Law,
    mutation::Mutation,
    process::{CheckDenied, CheckDeniedAt, Deny, DenyAt, Outcome, Process},
    scenarios::Condition,
    state::DenialEntry,
};

impl Call<'_> {
    /// Does the next step of a check.
    pub(super) fn check_denied(&mut self, check: CheckDenied) {
        match check.at {
            CheckDeniedAt::Begin => {
                let is_denied = check.issued <= self.state.history.denied;
                self.ask_redis_for_denial(CheckDenied { is_denied, ..check });
            }
            CheckDeniedAt::Read(miss) => self.read_denial(check, miss),
            CheckDeniedAt::Fill { miss, denied } => self.fill_denial(check, miss, denied),
        }
    }

    /// Moves the check on to this step.
    fn check_denied_at(&mut self, check: CheckDenied, at: CheckDeniedAt) {
        self.continue_as(Process::CheckDenied(CheckDenied { at, ..check }));
    }

    /// Asks Redis, and concludes from an entry that this server took.
    fn ask_redis_for_denial(&mut self, check: CheckDenied) {
        let node = self.state.node(check.node);
        if node.breaker_open || node.cut_off {
            node.breaker_open = true;
            return self.check_denied_at(check, CheckDeniedAt::Read(None));
        }
        let run = self.state.redis.run;
        match self.state.redis.denial {
            DenialEntry::Known { denied, taken_by }
                if taken_by == run || self.protocol.has_mutation(Mutation::BelieveRestoredEntries) =>
            {
                self.conclude_denied(check, denied);
            }
            _ => self.check_denied_at(check, CheckDeniedAt::Read(Some(run))),
        }
    }

    /// Reads the denial after a miss.
    fn read_denial(&mut self, check: CheckDenied, miss: Option<u8>) {
        if self.state.mongo.down {
            return match self.protocol.mutation {
                Some(Mutation::FailOpen) => self.conclude_denied(check, 0),
                _ => self.end(Outcome::Unavailable),
            };
        }
        let denied = self.state.mongo.read_on(check.node).denied;
        match miss {
            Some(miss) if self.protocol.has_mutation(Mutation::FillByOwnClock) => {
                let denied = if self.is_over(check.node) { 0 } else { denied };
                self.check_denied_at(check, CheckDeniedAt::Fill { miss, denied });
            }
            Some(miss) => self.check_denied_at(check, CheckDeniedAt::Fill { miss, denied }),
            None => self.conclude_denied(check, denied),
        }
    }

    /// Fills Redis: `SET NX` on the connection of the miss.
    fn fill_denial(&mut self, check: CheckDenied, miss: u8, denied: u8) {
        let run = self.state.redis.run;
        let connected = miss == run || self.protocol.has_mutation(Mutation::FillOnAnyConnection);
        if self.state.node(check.node).cut_off || !connected {
            self.state.node(check.node).breaker_open = true;
        } else if self.state.redis.denial == DenialEntry::Absent || self.protocol.has_mutation(Mutation::FillWithoutNx)
        {
            self.state.redis.denial = DenialEntry::Known { denied, taken_by: run };
        }
        self.conclude_denied(check, denied);
    }

    /// Returns whether the denial has expired by the node's clock.
    fn is_over(&self, node: u8) -> bool {
        node == 1 && self.protocol.scenario.has(Condition::ClockAhead)
    }

    /// Accepts the token or refuses it, and records the law that this breaks.
    fn conclude_denied(&mut self, check: CheckDenied, denied: u8) {
        let is_refused = check.issued <= denied && !self.is_over(check.node);
        if !is_refused && check.is_denied {
            self.state.history.record_broken(Law::DeniedIsDenied);
        }
        if is_refused && check.issued > self.state.history.to_deny {
            self.state.history.record_broken(Law::FailClosed);
        }
        self.end(if is_refused { Outcome::Refused } else { Outcome::Accepted });
    }

    /// Does the next step of a denial.
    pub(super) fn deny(&mut self, deny: Deny) {
        match deny.at {
            DenyAt::Record => self.record_denial(deny),
            DenyAt::AskRedis if self.protocol.has_mutation(Mutation::SucceedWithoutTombstones) => {
                self.return_denied(deny);
            }
            DenyAt::AskRedis if self.state.node(deny.node).cut_off => self.fail_to_tell(deny),
            DenyAt::AskRedis => {
                let miss = self.state.redis.run;
                if self.protocol.has_mutation(Mutation::PutDenialWithoutReading) {
                    self.deny_at(deny, DenyAt::Put { miss, denied: deny.until });
                } else {
                    self.deny_at(deny, DenyAt::Read(miss));
                }
            }
            DenyAt::Read(_) if self.state.mongo.down => self.fail_to_tell(deny),
            DenyAt::Read(miss) => {
                let denied = self.state.mongo.read_on(deny.node).denied.max(deny.until);
                self.deny_at(deny, DenyAt::Put { miss, denied });
            }
            DenyAt::Put { miss, denied } => self.put_denial(deny, miss, denied),
        }
    }

    /// Moves the denial on to this step.
    fn deny_at(&mut self, deny: Deny, at: DenyAt) {
        self.continue_as(Process::Deny(Deny { at, ..deny }));
    }

    /// Writes the denial's document, in which the later time stays.
    fn record_denial(&mut self, deny: Deny) {
        let history = &mut self.state.history;
        history.to_deny = history.to_deny.max(deny.until);
        if self.state.mongo.down {
            return self.fail();
        }
        let held = &mut self.state.mongo.primary.denied;
        *held = if self.protocol.has_mutation(Mutation::RecordLastDenial) { deny.until } else { deny.until.max(*held) };
        self.deny_at(deny, DenyAt::AskRedis);
        self.acknowledge();
    }

    /// Writes the entry, if the server is still the one that was asked. Of two denials the later
    /// time stays.
    fn put_denial(&mut self, deny: Deny, miss: u8, denied: u8) {
        let run = self.state.redis.run;
        let connected = miss == run || self.protocol.has_mutation(Mutation::PutDenialOnAnyServer);
        if self.state.node(deny.node).cut_off || !connected {
            return self.fail_to_tell(deny);
        }
        let held = self.state.redis.denial.denied();
        let denied = if self.protocol.has_mutation(Mutation::PutLastDenial) { denied } else { denied.max(held) };
        self.state.redis.denial = DenialEntry::Known { denied, taken_by: run };
        self.return_denied(deny);
    }

    /// Ends the call with an error. Its node tells Redis later.
    fn fail_to_tell(&mut self, deny: Deny) {
        let pending = &mut self.state.node(deny.node).pending_denial;
        *pending = deny.until.max(*pending);
        self.fail();
    }

    fn return_denied(&mut self, deny: Deny) {
        let history = &mut self.state.history;
        history.denied = history.denied.max(deny.until);
        self.end(Outcome::Revoked);
    }
}
