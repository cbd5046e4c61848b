//! A sign-in: fence, password, session, tokens, fence again, pending mark removed, delivery.

use super::Call;
use crate::{
    broken::Broken,
    process::{Outcome, Process, Revoke, RevokeAt, SignIn, SignInAt},
    scenarios::With,
    state::{NEW_SESSION, PAIR_OF_SIGN_IN, Session},
};

impl Call<'_> {
    pub(super) fn sign_in(&mut self, sign_in: SignIn) {
        if self.state.mongo.down && sign_in.at != SignInAt::HandOut {
            return self.fail();
        }
        match sign_in.at {
            SignInAt::Begin if self.protocol.is_without(Broken::FenceReadAfterPassword) => {
                self.check_password(SignIn { at: SignInAt::Password, ..sign_in });
            }
            SignInAt::Begin => {
                let checks = self.protocol.scenario.has(With::ChangeOfPassword);
                self.read_fence(if checks { SignInAt::Password } else { SignInAt::Session });
            }
            SignInAt::Password if self.protocol.is_without(Broken::FenceReadAfterPassword) => {
                self.read_fence(SignInAt::Session);
            }
            SignInAt::Password => self.check_password(SignIn { at: SignInAt::Session, ..sign_in }),
            SignInAt::HandOut => {
                self.state.history.handed.add(PAIR_OF_SIGN_IN);
                self.end(Outcome::Handed);
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
        let locally = self.protocol.is_without(Broken::FenceReadLocally);
        let documents = if locally { self.state.mongo.primary } else { self.state.mongo.majority };
        if documents.disabled {
            return self.end(Outcome::Refused);
        }
        self.note_begun();
        self.go(Process::SignIn(SignIn { at: next, epoch: documents.epoch }));
    }

    /// Notes that the sign-in has begun. A revocation of all that has raised the fence by now spares
    /// this session, also if another node finishes it.
    fn note_begun(&mut self) {
        self.state.history.begun.add(NEW_SESSION);
        let is_to_raise = |process: &Process| matches!(process, Process::Revoke(Revoke { at: RevokeAt::Commit, .. }));
        if self.protocol.scenario.has(With::Resumes) && !self.state.processes.iter().any(is_to_raise) {
            self.state.history.doomed.remove(NEW_SESSION);
        }
    }

    /// The sign-in has the password that was good at the start.
    fn check_password(&mut self, next: SignIn) {
        if self.state.mongo.primary.new_password {
            return self.end(Outcome::Refused);
        }
        self.note_begun();
        self.go(Process::SignIn(next));
    }

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
                let passed = stands || self.protocol.is_without(Broken::SignInWithoutFence);
                if passed { SignInAt::Open } else { SignInAt::Undo }
            }
            SignInAt::Open => match primary.session(NEW_SESSION) {
                Some(session) if !session.revoked => {
                    session.pending = false;
                    SignInAt::HandOut
                }
                _ => SignInAt::Undo,
            },
            SignInAt::Undo => {
                *primary.session(NEW_SESSION) = None;
                SignInAt::UndoTokens
            }
            SignInAt::UndoTokens | SignInAt::Begin | SignInAt::Password | SignInAt::HandOut => {
                primary.remove_pair(PAIR_OF_SIGN_IN);
                return self.end(Outcome::Refused);
            }
        };
        self.go(Process::SignIn(SignIn { at: next, ..sign_in }));
    }
}
