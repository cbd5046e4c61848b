//! A revocation: the committing document, the sweep, the tombstones, the node's own cache, the
//! answer.

use super::Call;
use crate::{
    environment::drop_local_entries,
    mutation::Mutation,
    process::{Outcome, Process, RevocationCause, Revoke, RevokeAt},
    scenarios::Condition,
    set::Set,
    state::{Age, FIRST_SESSION, LONE_TOKEN, Record, RedisEntry, pairs_of, session_of},
};

impl Call<'_> {
    /// Does the next step of a revocation.
    pub(super) fn revoke(&mut self, revoke: Revoke) {
        if self.state.mongo.down && !matches!(revoke.at, RevokeAt::PutTombstones(_) | RevokeAt::Return) {
            return self.fail();
        }
        if self.protocol.scenario.has(Condition::DeposedAlone) && self.state.mongo.is_deposed_for(revoke.node) {
            return self.revoke_at_deposed_primary(revoke);
        }
        let revoke = self.resumed(revoke);
        match revoke.at {
            RevokeAt::Password => {
                self.state.mongo.primary.new_password = true;
                self.revoke_at(revoke, RevokeAt::Commit);
                self.acknowledge();
            }
            RevokeAt::Token => self.revoke_record(revoke),
            RevokeAt::Commit => self.commit_revocation(revoke),
            RevokeAt::MarkSessions => self.mark_sessions(revoke),
            RevokeAt::ListSessions => self.list_sessions(revoke),
            RevokeAt::SpareNewSessions => self.spare_new_sessions(revoke),
            RevokeAt::Sweep => self.sweep(revoke),
            RevokeAt::ListAccessTokens => self.list_access_tokens(revoke),
            RevokeAt::PutTombstones(found) => self.put_tombstones(revoke, found),
            RevokeAt::Return => self.return_success(revoke),
        }
    }

    /// Fills in what the record of a revocation says, when a node starts to finish it.
    fn resumed(&mut self, revoke: Revoke) -> Revoke {
        if revoke.at != revoke.cause.first_step() {
            return revoke;
        }
        match revoke.cause {
            RevocationCause::ResumeSession => {
                let session = Set::of(revoke.cause.session());
                Revoke { covers: session, sweeps: session, ..revoke }
            }
            RevocationCause::ResumeUser => {
                let primary = &mut self.state.mongo.primary;
                if self.protocol.has_mutation(Mutation::ResumeRaisesFence) {
                    primary.epoch += 1;
                }
                Revoke { covers: self.state.history.fenced, epoch: primary.epoch, ..revoke }
            }
            _ => revoke,
        }
    }

    /// Moves the revocation on to this step.
    fn revoke_at(&mut self, revoke: Revoke, at: RevokeAt) {
        self.continue_as(Process::Revoke(Revoke { at, ..revoke }));
    }

    /// Revokes the token's own record.
    fn revoke_record(&mut self, revoke: Revoke) {
        let primary = &mut self.state.mongo.primary;
        if revoke.cause == RevocationCause::RefreshToken {
            primary.refresh[0].revoke();
            self.revoke_at(revoke, RevokeAt::Commit);
            return self.acknowledge();
        }
        let token = Set::of(LONE_TOKEN);
        let marked = Revoke { covers: token, sweeps: token, ..revoke };
        match self.protocol.mutation {
            Some(Mutation::TombstoneBeforeRecord) if revoke.sweeps.is_empty() => {
                return self.list_access_tokens(marked);
            }
            Some(Mutation::TombstoneBeforeRecord) => {
                primary.access[0].revoke();
                self.revoke_at(marked, RevokeAt::Return);
            }
            Some(Mutation::TokenEndsSession) => self.revoke_at(revoke, RevokeAt::Commit),
            _ => {
                primary.access[0].revoke();
                self.list_access_tokens(marked);
            }
        }
        self.acknowledge();
    }

    /// Writes the committing document: the session, or the user's fence.
    fn commit_revocation(&mut self, revoke: Revoke) {
        match revoke.cause {
            RevocationCause::Session
            | RevocationCause::NewSession
            | RevocationCause::RefreshToken
            | RevocationCause::AccessToken
            | RevocationCause::Reuse
            | RevocationCause::Finish
            | RevocationCause::ResumeSession => self.end_session(revoke),
            RevocationCause::User
            | RevocationCause::Password
            | RevocationCause::Disable
            | RevocationCause::ResumeUser => {
                let covers = self.state.history.begun.difference(revoke.cause.spares());
                let primary = &mut self.state.mongo.primary;
                primary.epoch += 1;
                primary.disabled |= revoke.cause == RevocationCause::Disable;
                let epoch = primary.epoch;
                self.state.history.fenced = covers;
                self.revoke_at(Revoke { covers, epoch, ..revoke }, RevokeAt::MarkSessions);
                self.acknowledge();
            }
        }
    }

    /// Revokes the session.
    fn end_session(&mut self, revoke: Revoke) {
        let session = Set::of(revoke.cause.session());
        let late = self.protocol.has_mutation(Mutation::SweepBeforeCommit);
        let marked = Revoke { covers: session, sweeps: session, ..revoke };
        if late && revoke.sweeps.is_empty() {
            return self.revoke_at(marked, RevokeAt::Sweep);
        }
        if let Some(session) = self.state.mongo.primary.session(revoke.cause.session()) {
            session.revoked = true;
        }
        self.revoke_at(marked, if late { RevokeAt::Return } else { RevokeAt::Sweep });
        self.acknowledge();
    }

    /// Does the next step on a deposed primary, which gets no write acknowledged. The mark of a
    /// revocation is a write, also if the session was revoked before. An update of a session that
    /// the deposed primary does not know changes nothing. So absence is confirmed by a read that
    /// needs a majority.
    fn revoke_at_deposed_primary(&mut self, revoke: Revoke) {
        let known = self.state.mongo.read_on(revoke.node);
        let number = revoke.cause.session();
        let marked = Revoke { covers: Set::of(number), sweeps: Set::of(number), ..revoke };
        let is_swept = |pair: u8| {
            known.access[usize::from(pair)] != Record::Active && known.refresh[usize::from(pair)] != Record::Active
        };
        match (revoke.at, known.sessions[usize::from(number)]) {
            (RevokeAt::PutTombstones(found), _) => self.put_tombstones(revoke, found),
            (RevokeAt::Return, _) => self.return_success(revoke),
            (RevokeAt::ListAccessTokens, _) => self.list_access_tokens(revoke),
            (RevokeAt::Sweep, _) if pairs_of(revoke.sweeps).all(is_swept) => {
                self.revoke_at(revoke, RevokeAt::ListAccessTokens);
            }
            (RevokeAt::Commit, None)
                if revoke.cause == RevocationCause::NewSession
                    && self.protocol.has_mutation(Mutation::BelieveAbsence) =>
            {
                self.revoke_at(marked, RevokeAt::Sweep);
            }
            _ => self.fail(),
        }
    }

    /// Revokes the user's sessions of older epochs.
    fn mark_sessions(&mut self, revoke: Revoke) {
        let all = self.protocol.has_mutation(Mutation::RevokeOwnSession);
        let spares = if all { Set::EMPTY } else { revoke.cause.spares() };
        for (session, number) in self.state.mongo.primary.sessions.iter_mut().zip(0..) {
            if let Some(session) = session.as_mut().filter(|_| !spares.contains(number)) {
                session.revoked |= session.epoch < revoke.epoch;
            }
        }
        self.revoke_at(revoke, RevokeAt::ListSessions);
        self.acknowledge();
    }

    /// Lists the sessions of the user's tokens.
    fn list_sessions(&mut self, revoke: Revoke) {
        let primary = &self.state.mongo.primary;
        let recorded = |&session: &u8| {
            pairs_of(Set::of(session))
                .map(usize::from)
                .any(|pair| primary.access[pair] != Record::Absent || primary.refresh[pair] != Record::Absent)
        };
        let sweeps: Set = (0..2).filter(recorded).collect();
        let sweeps_all = self.protocol.has_mutation(Mutation::SweepSparedSession);
        let sweeps = if sweeps_all { sweeps } else { sweeps.difference(revoke.cause.spares()) };
        self.revoke_at(Revoke { sweeps, ..revoke }, RevokeAt::SpareNewSessions);
    }

    /// Takes the sessions of the new epoch from the list.
    fn spare_new_sessions(&mut self, revoke: Revoke) {
        let sessions = self.state.mongo.primary.sessions.iter().zip(0..);
        let new = |session: &Option<crate::state::Session>| session.is_some_and(|one| one.epoch >= revoke.epoch);
        let spared = sessions.filter(|(session, _)| new(session)).map(|(_, number)| number).collect();
        self.revoke_at(Revoke { sweeps: revoke.sweeps.difference(spared), ..revoke }, RevokeAt::Sweep);
    }

    /// Revokes the records of the tokens.
    fn sweep(&mut self, revoke: Revoke) {
        let primary = &mut self.state.mongo.primary;
        for pair in pairs_of(revoke.sweeps) {
            primary.access[usize::from(pair)].revoke();
            // Retired refresh tokens are left to their session.
            let session = primary.sessions[usize::from(session_of(pair))];
            if session.is_none_or(|session| session.current == pair) {
                primary.refresh[usize::from(pair)].revoke();
            }
        }
        if revoke.sweeps.contains(FIRST_SESSION) {
            primary.single_use.revoke();
        }
        self.revoke_at(revoke, RevokeAt::ListAccessTokens);
        self.acknowledge();
    }

    /// Lists the access tokens that a node may still accept.
    fn list_access_tokens(&mut self, revoke: Revoke) {
        let listed = if self.protocol.has_mutation(Mutation::SkipTokensInLeeway) { Age::Fresh } else { Age::Leeway };
        let access = self.state.mongo.read_on(revoke.node).access;
        let age = self.state.age;
        let found: Set = pairs_of(revoke.sweeps)
            .filter(|&pair| access[usize::from(pair)] != Record::Absent && (pair != 0 || age <= listed))
            .collect();
        if found.is_empty() || self.protocol.has_mutation(Mutation::SucceedWithoutTombstones) {
            self.after_tombstones(revoke);
        } else {
            self.revoke_at(revoke, RevokeAt::PutTombstones(found));
        }
    }

    /// Writes all tombstones in one step. Nothing relies on one of them before the last is
    /// acknowledged.
    fn put_tombstones(&mut self, revoke: Revoke, found: Set) {
        let node = self.state.node(revoke.node);
        if node.cut_off {
            node.pending = node.pending.union(found);
            return self.fail();
        }
        let deletes = self.protocol.has_mutation(Mutation::DeleteInsteadOfTombstone);
        for pair in found.iter() {
            *self.state.entry(pair) = if deletes { RedisEntry::Absent } else { RedisEntry::Tombstone };
        }
        self.after_tombstones(revoke);
    }

    /// Moves the revocation on after its tombstones.
    fn after_tombstones(&mut self, revoke: Revoke) {
        let by_session = matches!(
            revoke.cause,
            RevocationCause::Session
                | RevocationCause::NewSession
                | RevocationCause::RefreshToken
                | RevocationCause::Reuse
                | RevocationCause::Finish
        );
        let next = match self.protocol.mutation {
            Some(Mutation::SweepBeforeCommit) if by_session => RevokeAt::Commit,
            Some(Mutation::TombstoneBeforeRecord) if revoke.cause == RevocationCause::AccessToken => RevokeAt::Token,
            _ => RevokeAt::Return,
        };
        self.revoke_at(revoke, next);
    }

    /// Updates the node's own cache and returns success.
    fn return_success(&mut self, revoke: Revoke) {
        if !self.protocol.has_mutation(Mutation::KeepOwnCacheEntries) {
            drop_local_entries(self.state, revoke.node, revoke.covers);
        }
        let history = &mut self.state.history;
        let acknowledged = &mut history.acknowledged[usize::from(revoke.node)];
        *acknowledged = acknowledged.union(revoke.covers);
        if matches!(
            revoke.cause,
            RevocationCause::User | RevocationCause::Password | RevocationCause::Disable | RevocationCause::ResumeUser
        ) {
            history.acknowledged_by_revoke_all = history.acknowledged_by_revoke_all.union(revoke.covers);
        }
        self.end(match revoke.cause {
            RevocationCause::Reuse => Outcome::RefusedAsReuse,
            RevocationCause::Finish => Outcome::Refused,
            _ => Outcome::Revoked,
        });
    }
}
