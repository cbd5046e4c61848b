//! Issues the single-use token, and uses it up.

use super::Call;
use crate::{
    broken::Broken,
    laws::{Bar, Law},
    process::{Consume, ConsumeAt, IssueAt, Outcome, Process},
    state::{FIRST_SESSION, Record, SINGLE_USE},
};

impl Call<'_> {
    pub(super) fn issue_single_use(&mut self, at: IssueAt) {
        if self.state.mongo.down && at != IssueAt::HandOut {
            return self.fail();
        }
        let primary = &mut self.state.mongo.primary;
        match at {
            IssueAt::Record => {
                primary.single_use.insert();
                self.go(Process::IssueSingleUse(IssueAt::Commit));
            }
            IssueAt::Commit => {
                let stands = primary.session(FIRST_SESSION).is_some_and(|session| !session.revoked);
                self.go(Process::IssueSingleUse(if stands { IssueAt::HandOut } else { IssueAt::Forget }));
            }
            IssueAt::HandOut => {
                self.state.history.handed.add(SINGLE_USE);
                return self.end(Outcome::Handed);
            }
            IssueAt::Forget => {
                primary.single_use = Record::Absent;
                self.end(Outcome::Refused);
            }
        }
        self.acknowledge();
    }

    pub(super) fn consume(&mut self, consume: Consume) {
        if self.state.mongo.down && consume.at != ConsumeAt::Answer {
            return self.fail();
        }
        match consume.at {
            ConsumeAt::Begin if !self.state.history.handed.has(SINGLE_USE) => {}
            ConsumeAt::Begin => {
                let bar = Bar::at_start(&self.state.history, 0, SINGLE_USE, false);
                let consume = Consume { bar, ..consume };
                if self.state.mongo.primary.single_use != Record::Active {
                    self.end(Outcome::Refused);
                    self.acknowledge();
                } else if self.protocol.is_without(Broken::ConsumeCheckThenSet) {
                    self.go(Process::Consume(Consume { at: ConsumeAt::Set, ..consume }));
                } else {
                    self.use_up(consume);
                }
            }
            ConsumeAt::Set => self.use_up(consume),
            ConsumeAt::Answer => {
                let history = &mut self.state.history;
                if let Some(law) = consume.bar.broken_by(false) {
                    history.breach(law);
                }
                if std::mem::replace(&mut history.used, true) {
                    history.breach(Law::UsedOnce);
                }
                self.end(Outcome::Accepted);
            }
        }
    }

    fn use_up(&mut self, consume: Consume) {
        self.state.mongo.primary.single_use = Record::Revoked;
        self.go(Process::Consume(Consume { at: ConsumeAt::Answer, ..consume }));
        self.acknowledge();
    }
}
