//! Issues the single-use token, and uses it up.

use super::Call;
use crate::{
    laws::{Law, Permission},
    mutation::Mutation,
    process::{Consume, ConsumeAt, IssueAt, Outcome, Process},
    state::{FIRST_SESSION, Record, SINGLE_USE},
};

impl Call<'_> {
    /// Does the next step of the issue.
    pub(super) fn issue_single_use(&mut self, at: IssueAt) {
        if self.state.mongo.down && at != IssueAt::Deliver {
            return self.fail();
        }
        let primary = &mut self.state.mongo.primary;
        match at {
            IssueAt::InsertRecord => {
                primary.single_use.insert();
                self.continue_as(Process::IssueSingleUse(IssueAt::Commit));
            }
            IssueAt::Commit => {
                let stands = primary.session(FIRST_SESSION).is_some_and(|session| !session.revoked);
                self.continue_as(Process::IssueSingleUse(if stands {
                    IssueAt::Deliver
                } else {
                    IssueAt::RemoveRecord
                }));
            }
            IssueAt::Deliver => {
                self.state.history.delivered.insert(SINGLE_USE);
                return self.end(Outcome::Delivered);
            }
            IssueAt::RemoveRecord => {
                primary.single_use = Record::Absent;
                self.end(Outcome::Refused);
            }
        }
        self.acknowledge();
    }

    /// Does the next step of a use.
    pub(super) fn consume(&mut self, consume: Consume) {
        if self.state.mongo.down && consume.at != ConsumeAt::Answer {
            return self.fail();
        }
        match consume.at {
            ConsumeAt::Begin if !self.state.history.delivered.contains(SINGLE_USE) => {}
            ConsumeAt::Begin => {
                let permission = Permission::at_start(&self.state.history, 0, SINGLE_USE, false);
                let consume = Consume { permission, ..consume };
                if self.state.mongo.primary.single_use != Record::Active {
                    self.end(Outcome::Refused);
                    self.acknowledge();
                } else if self.protocol.has_mutation(Mutation::ReadThenConsume) {
                    self.continue_as(Process::Consume(Consume { at: ConsumeAt::Set, ..consume }));
                } else {
                    self.use_up(consume);
                }
            }
            ConsumeAt::Set => self.use_up(consume),
            ConsumeAt::Answer => {
                let history = &mut self.state.history;
                if let Some(law) = consume.permission.broken_by(false) {
                    history.record_broken(law);
                }
                if std::mem::replace(&mut history.used, true) {
                    history.record_broken(Law::UsedOnce);
                }
                self.end(Outcome::Accepted);
            }
        }
    }

    /// Marks the token as used.
    fn use_up(&mut self, consume: Consume) {
        self.state.mongo.primary.single_use = Record::Revoked;
        self.continue_as(Process::Consume(Consume { at: ConsumeAt::Answer, ..consume }));
        self.acknowledge();
    }
}
