//! A refresh: read, record the child, commit, deliver; or return the same pair; or revoke for
//! reuse.

use super::Call;
use crate::{
    laws::{Law, Permission},
    mutation::Mutation,
    process::{Outcome, Process, Refresh, RefreshAt, RevocationCause},
    scenarios::Condition,
    state::{Age, Record, Retired, Session, session_of},
};

impl Call<'_> {
    /// Does the next step of a refresh.
    pub(super) fn refresh(&mut self, refresh: Refresh) {
        match refresh.at {
            RefreshAt::Begin => self.begin_refresh(refresh),
            RefreshAt::Again => self.decide(refresh),
            RefreshAt::InsertRecords => self.record_child(refresh),
            RefreshAt::Commit => self.commit_rotation(refresh),
            RefreshAt::RemoveRecords => {
                self.refresh_at(refresh, RefreshAt::Again);
                if !self.state.mongo.down {
                    self.state.mongo.primary.remove_pair(refresh.child);
                    self.acknowledge();
                }
            }
            RefreshAt::Confirm(pair) => self.confirm(refresh, pair),
            RefreshAt::RevokeForReuse(as_read) => self.commit_revocation_for_reuse(refresh, as_read),
            RefreshAt::Deliver(pair) => {
                self.deliver(refresh, pair);
                self.refresh_at(refresh, RefreshAt::MarkDelivered(pair));
            }
            RefreshAt::MarkDelivered(pair) => self.mark_delivered(refresh, pair),
        }
    }

    /// Moves the refresh on to this step.
    fn refresh_at(&mut self, refresh: Refresh, at: RefreshAt) {
        self.continue_as(Process::Refresh(Refresh { at, ..refresh }));
    }

    /// Fixes what the laws permit, then reads the session.
    fn begin_refresh(&mut self, refresh: Refresh) {
        if !self.state.history.delivered.contains(refresh.parent) {
            return;
        }
        if self.state.age == Age::Over && refresh.parent == 0 {
            return self.end(Outcome::Refused);
        }
        let (history, mongo) = (&self.state.history, &self.state.mongo);
        let is_reuse = !mongo.is_deposed_for(refresh.node) && history.must_be_reuse(refresh.parent, &mongo.majority);
        let permission = match Permission::at_start(history, refresh.node, refresh.parent, false) {
            Permission::Allowed if is_reuse => Permission::Forbidden(Law::TheftEndsTheSession),
            permission => permission,
        };
        self.decide(Refresh { permission, ..refresh });
    }

    /// Decides what the refresh does: `session_for_refresh`, then `Session::judge`. The two reads
    /// are one step. The read of the token can only lead to a refusal. What the read of the session
    /// leads to is decided by a write, or is as good as an earlier answer that came late.
    fn decide(&mut self, refresh: Refresh) {
        if self.state.mongo.down {
            return if self.protocol.has_mutation(Mutation::FailureIsInvalidGrant) {
                self.end(Outcome::Refused);
            } else {
                self.fail();
            };
        }
        let documents = self.state.mongo.read_on(refresh.node);
        let record = documents.refresh[usize::from(refresh.parent)];
        let Some(session) = documents.sessions[usize::from(session_of(refresh.parent))] else {
            return self.end(Outcome::Refused);
        };
        let is_revoked = record == Record::Revoked && !self.protocol.has_mutation(Mutation::RefuseRevokedTokenAlone);
        if session.revoked || is_revoked {
            return self.finish_revocation_and_refuse(refresh);
        }
        if record != Record::Active {
            return self.end(Outcome::Refused);
        }
        let is_previous = |previous: Retired| previous.pair == refresh.parent;
        let repeats = session.previous.filter(|previous| is_previous(*previous));
        // The window closes only on a pair that was delivered.
        let is_open = repeats.is_some_and(|previous| previous.in_grace || !previous.delivered);
        if session.current == refresh.parent {
            self.refresh_at(refresh, RefreshAt::InsertRecords);
        } else if repeats.is_none() || !(is_open || self.protocol.has_mutation(Mutation::WindowNeverCloses)) {
            match self.protocol.mutation {
                Some(Mutation::ReuseOnlyRefused) => self.end(Outcome::Refused),
                Some(Mutation::IgnoreReuseOfOlderToken) if repeats.is_none() => self.end(Outcome::Refused),
                _ => self.revoke_for_reuse(refresh, session.current),
            }
        } else {
            match self.protocol.mutation {
                Some(Mutation::SecondChild) => {
                    self.state.mongo.primary.insert_pair(refresh.child);
                    self.refresh_at(refresh, RefreshAt::Deliver(refresh.child));
                    self.acknowledge();
                }
                Some(Mutation::RepeatUnconfirmedPair) => self.refresh_at(refresh, RefreshAt::Deliver(session.current)),
                _ => self.refresh_at(refresh, RefreshAt::Confirm(session.current)),
            }
        }
    }

    /// Finishes the revocation of the session before the refusal. The node that began it may have
    /// died before the session was revoked, or after.
    fn finish_revocation_and_refuse(&mut self, refresh: Refresh) {
        if self.protocol.has_mutation(Mutation::LeaveRevocationUnfinished) {
            self.state.history.acknowledged[usize::from(refresh.node)].insert(session_of(refresh.parent));
            return self.end(Outcome::Refused);
        }
        self.continue_as(Process::revoke(refresh.node, RevocationCause::Finish, 0));
    }

    /// Inserts the child's records.
    fn record_child(&mut self, refresh: Refresh) {
        if self.state.mongo.down {
            return self.fail();
        }
        if self.protocol.has_mutation(Mutation::DeliverBeforeCommit) {
            self.deliver(refresh, refresh.child);
        }
        self.state.mongo.primary.insert_pair(refresh.child);
        self.refresh_at(refresh, RefreshAt::Commit);
        self.acknowledge();
    }

    /// Makes the child the session's current pair, if the session stands.
    fn commit_rotation(&mut self, refresh: Refresh) {
        if self.state.mongo.down {
            return self.fail();
        }
        let unconditional = self.protocol.has_mutation(Mutation::RotateUnconditionally);
        let delivered = self.protocol.has_mutation(Mutation::CommitCountsAsDelivery);
        let session = self.state.mongo.primary.session(session_of(refresh.parent));
        let stands = |session: &&mut Session| !session.revoked && (session.current == refresh.parent || unconditional);
        if let Some(session) = session.as_mut().filter(stands) {
            session.previous = Some(Retired { pair: refresh.parent, in_grace: true, delivered });
            session.current = refresh.child;
            self.state.history.retired.insert(refresh.parent);
            self.state.history.closed.remove(refresh.parent);
            self.state.history.closed_after_delivery.remove(refresh.parent);
            self.refresh_at(refresh, RefreshAt::Deliver(refresh.child));
        } else if self.protocol.has_mutation(Mutation::LostRaceIsReuse) {
            let current = session.map_or(refresh.child, |session| session.current);
            self.revoke_for_reuse(refresh, current);
        } else {
            self.refresh_at(refresh, RefreshAt::RemoveRecords);
        }
        self.acknowledge();
    }

    /// Confirms the current pair by a conditional write that changes the session. A majority holds
    /// what was read when the pair is delivered.
    fn confirm(&mut self, refresh: Refresh, pair: u8) {
        if self.state.mongo.down {
            return self.fail();
        }
        let session = *self.state.mongo.primary.session(session_of(refresh.parent));
        let confirmed = session.is_some_and(|session| !session.revoked && session.current == pair);
        self.refresh_at(refresh, if confirmed { RefreshAt::Deliver(pair) } else { RefreshAt::Again });
        self.acknowledge();
    }

    /// Marks the pair as delivered. Written to the primary alone, and nobody waits for it. A
    /// failure has no consequence.
    fn mark_delivered(&mut self, refresh: Refresh, pair: u8) {
        self.end(Outcome::Delivered);
        let any_pair = self.protocol.has_mutation(Mutation::MarkDeliveredUnconditionally);
        let session = self.state.mongo.primary.session(session_of(refresh.parent)).as_mut();
        let previous =
            session.filter(|session| session.current == pair || any_pair).and_then(|one| one.previous.as_mut());
        if !self.state.mongo.down
            && let Some(previous) = previous
        {
            let is_first = !std::mem::replace(&mut previous.delivered, true);
            if is_first && !self.protocol.has_mutation(Mutation::WindowStartsAtRotation) {
                previous.in_grace = true;
                self.state.history.closed.remove(previous.pair);
            }
            if !self.protocol.scenario.has(Condition::Failovers) {
                self.state.mongo.majority = self.state.mongo.primary;
            }
        }
    }

    /// Moves the refresh on to the revocation of its session.
    fn revoke_for_reuse(&mut self, refresh: Refresh, as_read: u8) {
        self.refresh_at(refresh, RefreshAt::RevokeForReuse(as_read));
    }

    /// Revokes the session for reuse by a conditional write, and sweeps next. Only a reuse may come
    /// so far.
    fn commit_revocation_for_reuse(&mut self, refresh: Refresh, as_read: u8) {
        if self.state.mongo.down {
            return self.fail();
        }
        let any_state = self.protocol.has_mutation(Mutation::RevokeForReuseUnconditionally);
        let session = self.state.mongo.primary.session(session_of(refresh.parent)).as_mut();
        if let Some(session) = session.filter(|session| session.current == as_read || any_state) {
            let was_revoked = std::mem::replace(&mut session.revoked, true);
            let history = &mut self.state.history;
            if history.may_be_reuse(refresh.parent) {
                history.to_end.insert(session_of(refresh.parent));
            } else if !was_revoked {
                history.record_broken(Law::TheftEndsTheSession);
            }
            self.continue_as(Process::reuse_revocation(refresh.node));
        } else {
            self.refresh_at(refresh, RefreshAt::Again);
        }
        self.acknowledge();
    }

    /// Delivers the pair, and records the law that this breaks.
    fn deliver(&mut self, refresh: Refresh, pair: u8) {
        let history = &mut self.state.history;
        if let Some(law) = refresh.permission.broken_by(false) {
            history.record_broken(law);
        }
        history.delivered.insert(pair);
        let child = history.child[usize::from(refresh.parent)].get_or_insert(pair);
        if *child != pair {
            history.record_broken(Law::OneChild);
        }
    }
}
