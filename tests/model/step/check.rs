//! A check of an access token: the node's own cache, Redis, the record, the fill.

use super::Call;
use crate::{
    laws::{Law, Permission, is_refused_wrongly},
    mutation::Mutation,
    process::{Check, CheckAt, Outcome, Process},
    scenarios::Condition,
    state::{Age, LocalEntry, Record, RedisEntry},
};

impl Call<'_> {
    /// Does the next step of a check.
    pub(super) fn check(&mut self, check: Check) {
        match check.at {
            CheckAt::Begin => self.begin_check(check),
            CheckAt::AskRedis => self.ask_redis(check),
            CheckAt::ReadRecord(miss) => self.read_record(check, miss),
            CheckAt::Fill(miss) => self.fill(check, miss),
            CheckAt::Conclude => self.conclude(check),
        }
    }

    /// Moves the check on to this step.
    fn check_at(&mut self, check: Check, at: CheckAt) {
        self.continue_as(Process::Check(Check { at, ..check }));
    }

    /// Looks the token up in the node's own cache.
    ///
    /// Dates the entry in one step with the read of the cache. A revocation recorded between the
    /// two would be later than the entry.
    fn begin_check(&mut self, check: Check) {
        if !self.state.history.delivered.contains(check.token) {
            return;
        }
        let local_cache = self.protocol.scenario.has(Condition::LocalCaches);
        let permission = Permission::of_check(&self.state.history, check.node, check.token, local_cache);
        let check = Check { permission, ..check };
        if self.state.age == Age::Over && check.token == 0 {
            self.end(Outcome::Refused);
        } else if self.state.node(check.node).local[usize::from(check.token)].is_some() {
            self.accept(check, true);
        } else {
            self.check_at(check, CheckAt::AskRedis);
        }
    }

    /// Looks the token up in Redis.
    fn ask_redis(&mut self, check: Check) {
        let node = self.state.node(check.node);
        if node.breaker_open || node.cut_off {
            node.breaker_open = true;
            return self.check_at(check, CheckAt::ReadRecord(None));
        }
        let run = self.state.redis.run;
        match *self.state.entry(check.token) {
            RedisEntry::Active(taken_by)
                if taken_by == run || self.protocol.has_mutation(Mutation::BelieveRestoredEntries) =>
            {
                self.check_at(check, CheckAt::Conclude);
            }
            RedisEntry::Tombstone => self.refuse(check),
            RedisEntry::Active(_) | RedisEntry::Absent => self.check_at(check, CheckAt::ReadRecord(Some(run))),
        }
    }

    /// Reads the record after a miss.
    fn read_record(&mut self, check: Check, miss: Option<u8>) {
        if self.state.mongo.down {
            return match self.protocol.mutation {
                Some(Mutation::FailOpen) => self.check_at(check, CheckAt::Conclude),
                Some(Mutation::FailureIsAbsence) => self.refuse(check),
                _ => self.end(Outcome::Unavailable),
            };
        }
        let documents = self.state.mongo.read_on(check.node);
        match (documents.access[usize::from(check.token)], miss) {
            (Record::Active, Some(run)) => self.check_at(check, CheckAt::Fill(run)),
            (Record::Active, None) => self.check_at(check, CheckAt::Conclude),
            (Record::Absent | Record::Revoked, _) => self.refuse(check),
        }
    }

    /// Fills Redis: `SET NX` on the connection of the miss. A slow process stands for a fill that
    /// lands after its time limit. The code drops a fill that is too old. The model does not, and
    /// the laws hold without that.
    fn fill(&mut self, check: Check, miss: u8) {
        let run = self.state.redis.run;
        let connected = miss == run || self.protocol.has_mutation(Mutation::FillOnAnyConnection);
        if self.state.node(check.node).cut_off || !connected {
            self.state.node(check.node).breaker_open = true;
        } else if *self.state.entry(check.token) == RedisEntry::Absent
            || self.protocol.has_mutation(Mutation::FillWithoutNx)
        {
            *self.state.entry(check.token) = RedisEntry::Active(run);
        }
        self.check_at(check, CheckAt::Conclude);
    }

    /// Puts the entry in the node's own cache, and accepts.
    fn conclude(&mut self, check: Check) {
        if self.protocol.scenario.has(Condition::LocalCaches) {
            let began_after = check.permission != Permission::Allowed;
            let dated_rightly = !self.protocol.has_mutation(Mutation::DateEntryAfterCheck);
            let past_its_lease = self.state.history.lease_over && !began_after;
            if !(dated_rightly && (check.revoked_meanwhile || past_its_lease)) {
                let acknowledged = !self.state.history.acknowledged_anywhere().is_empty();
                let after_revocation = if dated_rightly { began_after } else { acknowledged };
                self.state.node(check.node).local[usize::from(check.token)] = Some(LocalEntry { after_revocation });
            }
        }
        self.accept(check, false);
    }

    /// Accepts the token, and records the law that this breaks.
    fn accept(&mut self, check: Check, from_local_cache: bool) {
        if let Some(law) = check.permission.broken_by(from_local_cache) {
            self.state.history.record_broken(law);
        }
        self.end(Outcome::Accepted);
    }

    /// Refuses the token, and records the law that this breaks.
    fn refuse(&mut self, check: Check) {
        if is_refused_wrongly(self.state, check.token) {
            self.state.history.record_broken(Law::FailClosed);
        }
        self.end(Outcome::Refused);
    }
}
