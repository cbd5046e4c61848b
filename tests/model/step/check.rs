//! A check of an access token: the node's own cache, Redis, the record, the fill.

use super::Call;
use crate::{
    broken::Broken,
    laws::{Bar, Law, is_refused_wrongly},
    process::{Check, CheckAt, Outcome, Process},
    scenarios::With,
    state::{Age, Entry, Local, Record},
};

impl Call<'_> {
    pub(super) fn check(&mut self, check: Check) {
        match check.at {
            CheckAt::Begin => self.begin_check(check),
            CheckAt::Ask => self.ask_redis(check),
            CheckAt::Read(miss) => self.read_record(check, miss),
            CheckAt::Fill(miss) => self.fill(check, miss),
            CheckAt::Conclude => self.conclude(check),
        }
    }

    fn check_at(&mut self, check: Check, at: CheckAt) {
        self.go(Process::Check(Check { at, ..check }));
    }

    /// Dates the entry in one step with the read of the cache. A revocation recorded between the
    /// two would be later than the entry.
    fn begin_check(&mut self, check: Check) {
        if !self.state.history.handed.has(check.token) {
            return;
        }
        let local_cache = self.protocol.scenario.has(With::LocalCaches);
        let bar = Bar::of_check(&self.state.history, check.node, check.token, local_cache);
        let check = Check { bar, ..check };
        if self.state.age == Age::Over && check.token == 0 {
            self.end(Outcome::Refused);
        } else if self.state.node(check.node).local[usize::from(check.token)].is_some() {
            self.accept(check, true);
        } else {
            self.check_at(check, CheckAt::Ask);
        }
    }

    fn ask_redis(&mut self, check: Check) {
        let node = self.state.node(check.node);
        if node.breaker_open || node.cut_off {
            node.breaker_open = true;
            return self.check_at(check, CheckAt::Read(None));
        }
        let run = self.state.redis.run;
        match *self.state.entry(check.token) {
            Entry::Active(taken_by) if taken_by == run || self.protocol.is_without(Broken::BelieveRestoredEntries) => {
                self.check_at(check, CheckAt::Conclude);
            }
            Entry::Tombstone => self.refuse(check),
            Entry::Active(_) | Entry::Absent => self.check_at(check, CheckAt::Read(Some(run))),
        }
    }

    fn read_record(&mut self, check: Check, miss: Option<u8>) {
        if self.state.mongo.down {
            return match self.protocol.without {
                Some(Broken::FailOpen) => self.check_at(check, CheckAt::Conclude),
                Some(Broken::FailureIsAbsence) => self.refuse(check),
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

    /// `SET NX` on the connection of the miss. A slow process stands for a fill that lands after
    /// its time limit. The code drops a fill that is too old. The model does not, and the laws hold
    /// without that.
    fn fill(&mut self, check: Check, miss: u8) {
        let run = self.state.redis.run;
        let connected = miss == run || self.protocol.is_without(Broken::FillOnAnyConnection);
        if self.state.node(check.node).cut_off || !connected {
            self.state.node(check.node).breaker_open = true;
        } else if *self.state.entry(check.token) == Entry::Absent || self.protocol.is_without(Broken::FillWithoutNx) {
            *self.state.entry(check.token) = Entry::Active(run);
        }
        self.check_at(check, CheckAt::Conclude);
    }

    fn conclude(&mut self, check: Check) {
        if self.protocol.scenario.has(With::LocalCaches) {
            let began_after = check.bar != Bar::None;
            let dated_rightly = !self.protocol.is_without(Broken::DateAfterCheck);
            let past_its_lease = self.state.history.lease_over && !began_after;
            if !(dated_rightly && (check.noted || past_its_lease)) {
                let told = !self.state.history.told_anywhere().is_empty();
                let after_revocation = if dated_rightly { began_after } else { told };
                self.state.node(check.node).local[usize::from(check.token)] = Some(Local { after_revocation });
            }
        }
        self.accept(check, false);
    }

    fn accept(&mut self, check: Check, from_local_cache: bool) {
        if let Some(law) = check.bar.broken_by(from_local_cache) {
            self.state.history.breach(law);
        }
        self.end(Outcome::Accepted);
    }

    fn refuse(&mut self, check: Check) {
        if is_refused_wrongly(self.state, check.token) {
            self.state.history.breach(Law::FailClosed);
        }
        self.end(Outcome::Refused);
    }
}
