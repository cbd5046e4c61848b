//! A revocation: the committing document, the sweep, the tombstones, the node's own cache, the
//! answer.

use super::Call;
use crate::{
    broken::Broken,
    process::{Cause, Outcome, Process, Revoke, RevokeAt},
    scenarios::With,
    set::Set,
    state::{Age, Entry, FIRST_SESSION, LONE_TOKEN, Record, pairs_of, session_of},
    world::forget,
};

impl Call<'_> {
    pub(super) fn revoke(&mut self, revoke: Revoke) {
        if self.state.mongo.down && !matches!(revoke.at, RevokeAt::Bury(_) | RevokeAt::Return) {
            return self.fail();
        }
        if self.protocol.scenario.has(With::DeposedAlone) && self.state.mongo.is_behind(revoke.node) {
            return self.revoke_behind(revoke);
        }
        let revoke = self.taken_up(revoke);
        match revoke.at {
            RevokeAt::Password => {
                self.state.mongo.primary.new_password = true;
                self.revoke_at(revoke, RevokeAt::Commit);
                self.acknowledge();
            }
            RevokeAt::Token => self.revoke_record(revoke),
            RevokeAt::Commit => self.commit_revocation(revoke),
            RevokeAt::Sessions => self.mark_sessions(revoke),
            RevokeAt::ListSessions => self.list_sessions(revoke),
            RevokeAt::Spare => self.spare(revoke),
            RevokeAt::Sweep => self.sweep(revoke),
            RevokeAt::List => self.list(revoke),
            RevokeAt::Bury(found) => self.put_tombstones(revoke, found),
            RevokeAt::Return => self.return_success(revoke),
        }
    }

    /// Fills in what the record of a revocation says, when a node starts to finish it.
    fn taken_up(&mut self, revoke: Revoke) -> Revoke {
        if revoke.at != revoke.cause.first_step() {
            return revoke;
        }
        match revoke.cause {
            Cause::ResumeSession => {
                let session = Set::of(revoke.cause.session());
                Revoke { covers: session, doomed: session, ..revoke }
            }
            Cause::ResumeUser => {
                let primary = &mut self.state.mongo.primary;
                if self.protocol.is_without(Broken::ResumeFromTheFence) {
                    primary.epoch += 1;
                }
                Revoke { covers: self.state.history.fenced, epoch: primary.epoch, ..revoke }
            }
            _ => revoke,
        }
    }

    fn revoke_at(&mut self, revoke: Revoke, at: RevokeAt) {
        self.go(Process::Revoke(Revoke { at, ..revoke }));
    }

    fn revoke_record(&mut self, revoke: Revoke) {
        let primary = &mut self.state.mongo.primary;
        if revoke.cause == Cause::RefreshToken {
            primary.refresh[0].revoke();
            self.revoke_at(revoke, RevokeAt::Commit);
            return self.acknowledge();
        }
        let token = Set::of(LONE_TOKEN);
        let marked = Revoke { covers: token, doomed: token, ..revoke };
        match self.protocol.without {
            Some(Broken::BuryBeforeRecord) if revoke.doomed.is_empty() => return self.list(marked),
            Some(Broken::BuryBeforeRecord) => {
                primary.access[0].revoke();
                self.revoke_at(marked, RevokeAt::Return);
            }
            Some(Broken::TokenEndsSession) => self.revoke_at(revoke, RevokeAt::Commit),
            _ => {
                primary.access[0].revoke();
                self.list(marked);
            }
        }
        self.acknowledge();
    }

    fn commit_revocation(&mut self, revoke: Revoke) {
        match revoke.cause {
            Cause::Session
            | Cause::NewSession
            | Cause::RefreshToken
            | Cause::AccessToken
            | Cause::Theft
            | Cause::Finish
            | Cause::ResumeSession => self.end_session(revoke),
            Cause::User | Cause::Password | Cause::Disable | Cause::ResumeUser => {
                let covers = self.state.history.begun.minus(revoke.cause.spares());
                let primary = &mut self.state.mongo.primary;
                primary.epoch += 1;
                primary.disabled |= revoke.cause == Cause::Disable;
                let epoch = primary.epoch;
                self.state.history.fenced = covers;
                self.revoke_at(Revoke { covers, epoch, ..revoke }, RevokeAt::Sessions);
                self.acknowledge();
            }
        }
    }

    fn end_session(&mut self, revoke: Revoke) {
        let session = Set::of(revoke.cause.session());
        let late = self.protocol.is_without(Broken::SweepBeforeCommit);
        let marked = Revoke { covers: session, doomed: session, ..revoke };
        if late && revoke.doomed.is_empty() {
            return self.revoke_at(marked, RevokeAt::Sweep);
        }
        if let Some(session) = self.state.mongo.primary.session(revoke.cause.session()) {
            session.revoked = true;
        }
        self.revoke_at(marked, if late { RevokeAt::Return } else { RevokeAt::Sweep });
        self.acknowledge();
    }

    /// A deposed primary gets no write acknowledged. The mark of a revocation is a write, also if
    /// the session was revoked before. An update of a session that the deposed primary does not
    /// know changes nothing. So absence is confirmed by a read that needs a majority.
    fn revoke_behind(&mut self, revoke: Revoke) {
        let known = self.state.mongo.read_on(revoke.node);
        let number = revoke.cause.session();
        let marked = Revoke { covers: Set::of(number), doomed: Set::of(number), ..revoke };
        let is_swept = |pair: u8| {
            known.access[usize::from(pair)] != Record::Active && known.refresh[usize::from(pair)] != Record::Active
        };
        match (revoke.at, known.sessions[usize::from(number)]) {
            (RevokeAt::Bury(found), _) => self.put_tombstones(revoke, found),
            (RevokeAt::Return, _) => self.return_success(revoke),
            (RevokeAt::List, _) => self.list(revoke),
            (RevokeAt::Sweep, _) if pairs_of(revoke.doomed).all(is_swept) => self.revoke_at(revoke, RevokeAt::List),
            (RevokeAt::Commit, None)
                if revoke.cause == Cause::NewSession && self.protocol.is_without(Broken::BelieveAbsence) =>
            {
                self.revoke_at(marked, RevokeAt::Sweep);
            }
            _ => self.fail(),
        }
    }

    fn mark_sessions(&mut self, revoke: Revoke) {
        let everybody = self.protocol.is_without(Broken::SpareNobody);
        let spares = if everybody { Set::EMPTY } else { revoke.cause.spares() };
        for (session, number) in self.state.mongo.primary.sessions.iter_mut().zip(0..) {
            if let Some(session) = session.as_mut().filter(|_| !spares.has(number)) {
                session.revoked |= session.epoch < revoke.epoch;
            }
        }
        self.revoke_at(revoke, RevokeAt::ListSessions);
        self.acknowledge();
    }

    fn list_sessions(&mut self, revoke: Revoke) {
        let primary = &self.state.mongo.primary;
        let recorded = |&session: &u8| {
            pairs_of(Set::of(session))
                .map(usize::from)
                .any(|pair| primary.access[pair] != Record::Absent || primary.refresh[pair] != Record::Absent)
        };
        let doomed: Set = (0..2).filter(recorded).collect();
        let sweeps_all = self.protocol.is_without(Broken::SweepTheSpared);
        let doomed = if sweeps_all { doomed } else { doomed.minus(revoke.cause.spares()) };
        self.revoke_at(Revoke { doomed, ..revoke }, RevokeAt::Spare);
    }

    fn spare(&mut self, revoke: Revoke) {
        let sessions = self.state.mongo.primary.sessions.iter().zip(0..);
        let new = |session: &Option<crate::state::Session>| session.is_some_and(|one| one.epoch >= revoke.epoch);
        let spared = sessions.filter(|(session, _)| new(session)).map(|(_, number)| number).collect();
        self.revoke_at(Revoke { doomed: revoke.doomed.minus(spared), ..revoke }, RevokeAt::Sweep);
    }

    fn sweep(&mut self, revoke: Revoke) {
        let primary = &mut self.state.mongo.primary;
        for pair in pairs_of(revoke.doomed) {
            primary.access[usize::from(pair)].revoke();
            // Retired refresh tokens are left to their session.
            let session = primary.sessions[usize::from(session_of(pair))];
            if session.is_none_or(|session| session.current == pair) {
                primary.refresh[usize::from(pair)].revoke();
            }
        }
        if revoke.doomed.has(FIRST_SESSION) {
            primary.single_use.revoke();
        }
        self.revoke_at(revoke, RevokeAt::List);
        self.acknowledge();
    }

    /// Lists the access tokens that a node may still accept.
    fn list(&mut self, revoke: Revoke) {
        let listed = if self.protocol.is_without(Broken::PassOverLeeway) { Age::Fresh } else { Age::Leeway };
        let access = self.state.mongo.read_on(revoke.node).access;
        let age = self.state.age;
        let found: Set = pairs_of(revoke.doomed)
            .filter(|&pair| access[usize::from(pair)] != Record::Absent && (pair != 0 || age <= listed))
            .collect();
        if found.is_empty() || self.protocol.is_without(Broken::SucceedWithoutTombstones) {
            self.after_tombstones(revoke);
        } else {
            self.revoke_at(revoke, RevokeAt::Bury(found));
        }
    }

    /// Writes all tombstones in one step. Nothing relies on one of them before the last is
    /// acknowledged.
    fn put_tombstones(&mut self, revoke: Revoke, found: Set) {
        let node = self.state.node(revoke.node);
        if node.cut_off {
            node.pending = node.pending.or(found);
            return self.fail();
        }
        let deletes = self.protocol.is_without(Broken::DeleteForTombstone);
        for pair in found.iter() {
            *self.state.entry(pair) = if deletes { Entry::Absent } else { Entry::Tombstone };
        }
        self.after_tombstones(revoke);
    }

    fn after_tombstones(&mut self, revoke: Revoke) {
        let by_session = matches!(
            revoke.cause,
            Cause::Session | Cause::NewSession | Cause::RefreshToken | Cause::Theft | Cause::Finish
        );
        let next = match self.protocol.without {
            Some(Broken::SweepBeforeCommit) if by_session => RevokeAt::Commit,
            Some(Broken::BuryBeforeRecord) if revoke.cause == Cause::AccessToken => RevokeAt::Token,
            _ => RevokeAt::Return,
        };
        self.revoke_at(revoke, next);
    }

    fn return_success(&mut self, revoke: Revoke) {
        if !self.protocol.is_without(Broken::ForgetNothing) {
            forget(self.state, revoke.node, revoke.covers);
        }
        let history = &mut self.state.history;
        let told = &mut history.told[usize::from(revoke.node)];
        *told = told.or(revoke.covers);
        if matches!(revoke.cause, Cause::User | Cause::Password | Cause::Disable | Cause::ResumeUser) {
            history.told_by_all = history.told_by_all.or(revoke.covers);
        }
        self.end(match revoke.cause {
            Cause::Theft => Outcome::RefusedAsReuse,
            Cause::Finish => Outcome::Refused,
            _ => Outcome::Revoked,
        });
    }
}
