//! A sign-in: fence, password, session, tokens, fence again, pending mark removed, delivery.

use super::Call;
use crate::{
    mutation::Mutation,
    process::{Outcome, Process, Revoke, RevokeAt, SignIn, SignInAt},
    scenarios::Condition,
    state::{NEW_SESSION, PAIR_OF_SIGN_IN, Session},
};

impl Call<'_> {
    /// Does the next step of a sign-in.
    pub(super) fn sign_in(&mut self, sign_in: SignIn) {
        if self.state.mongo.down && sign_in.at != SignInAt::Deliver {
            return self.fail();
        }
        match sign_in.at {
            SignInAt::Begin if self.protocol.has_mutation(Mutation::ReadFenceAfterPassword) => {
                self.check_password(SignIn { at: SignInAt::Password, ..sign_in });
            }
            SignInAt::Begin => {
                let checks = self.protocol.scenario.has(Condition::PasswordChange);
                self.read_fence(if checks { SignInAt::Password } else { SignInAt::Session });
            }
            SignInAt::Password if self.protocol.has_mutation(Mutation::ReadFenceAfterPassword) => {
                self.read_fence(SignInAt::Session);
            }
            SignInAt::Password => self.check_password(SignIn { at: SignInAt::Session, ..sign_in }),
            SignInAt::Deliver => {
                self.state.history.delivered.insert(PAIR_OF_SIGN_IN);
                self.end(Outcome::Delivered);
            }
            _ => {
                self.write_sign_in(sign_in);
                self.acknowledge();
            }
        }
    }

    /// Reads the fence that a majority holds. A sign-in with an older epoch is refused in the end.
    /// An epoch that is lost later could be reached a second time.
    fn read_fence(&mut self, next: SignInAt) {
        let locally = self.protocol.has_mutation(Mutation::ReadFenceLocally);
        let documents = if locally { self.state.mongo.primary } else { self.state.mongo.majority };
        if documents.disabled {
            return self.end(Outcome::Refused);
        }
        self.record_begun();
        self.continue_as(Process::SignIn(SignIn { at: next, epoch: documents.epoch }));
    }

    /// Records that the sign-in has begun. A revocation of all that has raised the fence by now
    /// spares this session, also if another node finishes it.
    fn record_begun(&mut self) {
        self.state.history.begun.insert(NEW_SESSION);
        let is_to_raise = |process: &Process| matches!(process, Process::Revoke(Revoke { at: RevokeAt::Commit, .. }));
        if self.protocol.scenario.has(Condition::Resumes) && !self.state.processes.iter().any(is_to_raise) {
            self.state.history.to_end.remove(NEW_SESSION);
        }
    }

    /// Checks the password, which was good at the start.
    fn check_password(&mut self, next: SignIn) {
        if self.state.mongo.primary.new_password {
            return self.end(Outcome::Refused);
        }
        self.record_begun();
        self.continue_as(Process::SignIn(next));
    }

    /// Does the next write of a sign-in.
    fn write_sign_in(&mut self, sign_in: SignIn) {
        let primary = &mut self.state.mongo.primary;
        let next = match sign_in.at {
            SignInAt::Session => {
                let (epoch, current) = (sign_in.epoch, PAIR_OF_SIGN_IN);
                let session = Session { epoch, revoked: false, pending: true, current, previous: None };
                *primary.session(NEW_SESSION) = Some(session);
                SignInAt::Tokens
            }
            SignInAt::Tokens => {
                primary.insert_pair(PAIR_OF_SIGN_IN);
                SignInAt::Fence
            }
            SignInAt::Fence => {
                let stands = primary.epoch == sign_in.epoch && !primary.disabled;
                let passed = stands || self.protocol.has_mutation(Mutation::SignInWithoutFence);
                if passed { SignInAt::Open } else { SignInAt::Undo }
            }
            SignInAt::Open => match primary.session(NEW_SESSION) {
                Some(session) if !session.revoked => {
                    session.pending = false;
                    SignInAt::Deliver
                }
                _ => SignInAt::Undo,
            },
            SignInAt::Undo => {
                *primary.session(NEW_SESSION) = None;
                SignInAt::UndoTokens
            }
            SignInAt::UndoTokens | SignInAt::Begin | SignInAt::Password | SignInAt::Deliver => {
                primary.remove_pair(PAIR_OF_SIGN_IN);
                return self.end(Outcome::Refused);
            }
        };
        self.continue_as(Process::SignIn(SignIn { at: next, ..sign_in }));
    }
}
