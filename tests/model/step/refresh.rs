//! A refresh: read, record the child, commit, deliver; or return the same pair; or revoke for
//! reuse.

use super::Call;
use crate::{
    broken::Broken,
    laws::{Bar, Law},
    process::{Cause, Outcome, Process, Refresh, RefreshAt},
    scenarios::With,
    state::{Age, Record, Retired, Session, session_of},
};

impl Call<'_> {
    pub(super) fn refresh(&mut self, refresh: Refresh) {
        match refresh.at {
            RefreshAt::Begin => self.begin_refresh(refresh),
            RefreshAt::Again => self.judge(refresh),
            RefreshAt::Record => self.record_child(refresh),
            RefreshAt::Commit => self.commit_rotation(refresh),
            RefreshAt::Forget => {
                self.refresh_at(refresh, RefreshAt::Again);
                if !self.state.mongo.down {
                    self.state.mongo.primary.remove_pair(refresh.child);
                    self.acknowledge();
                }
            }
            RefreshAt::Confirm(pair) => self.confirm(refresh, pair),
            RefreshAt::Punish(as_read) => self.commit_punishment(refresh, as_read),
            RefreshAt::HandOut(pair) => {
                self.give(refresh, pair);
                self.refresh_at(refresh, RefreshAt::Note(pair));
            }
            RefreshAt::Note(pair) => self.note_delivered(refresh, pair),
        }
    }

    fn refresh_at(&mut self, refresh: Refresh, at: RefreshAt) {
        self.go(Process::Refresh(Refresh { at, ..refresh }));
    }

    fn begin_refresh(&mut self, refresh: Refresh) {
        if !self.state.history.handed.has(refresh.parent) {
            return;
        }
        if self.state.age == Age::Over && refresh.parent == 0 {
            return self.end(Outcome::Refused);
        }
        let (history, mongo) = (&self.state.history, &self.state.mongo);
        let is_reuse = !mongo.is_behind(refresh.node) && history.is_reuse(refresh.parent, &mongo.majority);
        let bar = match Bar::at_start(history, refresh.node, refresh.parent, false) {
            Bar::None if is_reuse => Bar::Barred(Law::TheftEndsTheSession),
            bar => bar,
        };
        self.judge(Refresh { bar, ..refresh });
    }

    /// `session_for_refresh`, then `Session::judge`. The two reads are one step. The read of the
    /// token can only lead to a refusal. What the read of the session leads to is decided by a
    /// write, or is as good as an earlier answer that came late.
    fn judge(&mut self, refresh: Refresh) {
        if self.state.mongo.down {
            return if self.protocol.is_without(Broken::FailureIsInvalidGrant) {
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
        let is_revoked = record == Record::Revoked && !self.protocol.is_without(Broken::RefuseRevokedToken);
        if session.revoked || is_revoked {
            return self.refuse_for_good(refresh);
        }
        if record != Record::Active {
            return self.end(Outcome::Refused);
        }
        let is_previous = |previous: Retired| previous.pair == refresh.parent;
        let repeats = session.previous.filter(|previous| is_previous(*previous));
        // The window closes only on a pair that was delivered.
        let is_open = repeats.is_some_and(|previous| previous.in_grace || !previous.delivered);
        if session.current == refresh.parent {
            self.refresh_at(refresh, RefreshAt::Record);
        } else if repeats.is_none() || !(is_open || self.protocol.is_without(Broken::GraceEnds)) {
            match self.protocol.without {
                Some(Broken::ReuseOnlyRefused) => self.end(Outcome::Refused),
                Some(Broken::OnlyThePreviousIsPunished) if repeats.is_none() => self.end(Outcome::Refused),
                _ => self.revoke_for_reuse(refresh, session.current),
            }
        } else {
            match self.protocol.without {
                Some(Broken::SecondChild) => {
                    self.state.mongo.primary.insert_pair(refresh.child);
                    self.refresh_at(refresh, RefreshAt::HandOut(refresh.child));
                    self.acknowledge();
                }
                Some(Broken::RepeatUnconfirmed) => self.refresh_at(refresh, RefreshAt::HandOut(session.current)),
                _ => self.refresh_at(refresh, RefreshAt::Confirm(session.current)),
            }
        }
    }

    /// Finishes the revocation of the session before the refusal. The node that began it may have
    /// died before the session was revoked, or after.
    fn refuse_for_good(&mut self, refresh: Refresh) {
        if self.protocol.is_without(Broken::RefuseUnfinished) {
            self.state.history.told[usize::from(refresh.node)].add(session_of(refresh.parent));
            return self.end(Outcome::Refused);
        }
        self.go(Process::revoke(refresh.node, Cause::Finish, 0));
    }

    fn record_child(&mut self, refresh: Refresh) {
        if self.state.mongo.down {
            return self.fail();
        }
        if self.protocol.is_without(Broken::HandOutBeforeCommit) {
            self.give(refresh, refresh.child);
        }
        self.state.mongo.primary.insert_pair(refresh.child);
        self.refresh_at(refresh, RefreshAt::Commit);
        self.acknowledge();
    }

    fn commit_rotation(&mut self, refresh: Refresh) {
        if self.state.mongo.down {
            return self.fail();
        }
        let unconditional = self.protocol.is_without(Broken::RotateUnconditionally);
        let delivered = self.protocol.is_without(Broken::TakeCommitForDelivery);
        let session = self.state.mongo.primary.session(session_of(refresh.parent));
        let stands = |session: &&mut Session| !session.revoked && (session.current == refresh.parent || unconditional);
        if let Some(session) = session.as_mut().filter(stands) {
            session.previous = Some(Retired { pair: refresh.parent, in_grace: true, delivered });
            session.current = refresh.child;
            self.state.history.retired.add(refresh.parent);
            self.state.history.closed.remove(refresh.parent);
            self.state.history.closed_on_a_child.remove(refresh.parent);
            self.refresh_at(refresh, RefreshAt::HandOut(refresh.child));
        } else if self.protocol.is_without(Broken::PunishLostRace) {
            let current = session.map_or(refresh.child, |session| session.current);
            self.revoke_for_reuse(refresh, current);
        } else {
            self.refresh_at(refresh, RefreshAt::Forget);
        }
        self.acknowledge();
    }

    /// A conditional write that changes the session. A majority holds what was read when the pair
    /// is delivered.
    fn confirm(&mut self, refresh: Refresh, pair: u8) {
        if self.state.mongo.down {
            return self.fail();
        }
        let session = *self.state.mongo.primary.session(session_of(refresh.parent));
        let confirmed = session.is_some_and(|session| !session.revoked && session.current == pair);
        self.refresh_at(refresh, if confirmed { RefreshAt::HandOut(pair) } else { RefreshAt::Again });
        self.acknowledge();
    }

    /// Written to the primary alone, and nobody waits for it. A failure has no consequence.
    fn note_delivered(&mut self, refresh: Refresh, pair: u8) {
        self.end(Outcome::Handed);
        let any_pair = self.protocol.is_without(Broken::NoteUnconditionally);
        let session = self.state.mongo.primary.session(session_of(refresh.parent)).as_mut();
        let previous =
            session.filter(|session| session.current == pair || any_pair).and_then(|one| one.previous.as_mut());
        if !self.state.mongo.down
            && let Some(previous) = previous
        {
            let is_first = !std::mem::replace(&mut previous.delivered, true);
            if is_first && !self.protocol.is_without(Broken::WindowFromNote) {
                previous.in_grace = true;
                self.state.history.closed.remove(previous.pair);
            }
            if !self.protocol.scenario.has(With::Failovers) {
                self.state.mongo.majority = self.state.mongo.primary;
            }
        }
    }

    fn revoke_for_reuse(&mut self, refresh: Refresh, as_read: u8) {
        self.refresh_at(refresh, RefreshAt::Punish(as_read));
    }

    /// The conditional write on the session that starts the revocation. Only a reuse may come so
    /// far.
    fn commit_punishment(&mut self, refresh: Refresh, as_read: u8) {
        if self.state.mongo.down {
            return self.fail();
        }
        let any_state = self.protocol.is_without(Broken::PunishUnconditionally);
        let session = self.state.mongo.primary.session(session_of(refresh.parent)).as_mut();
        if let Some(session) = session.filter(|session| session.current == as_read || any_state) {
            let was_revoked = std::mem::replace(&mut session.revoked, true);
            let history = &mut self.state.history;
            if history.is_retired_for_good(refresh.parent) {
                history.doomed.add(session_of(refresh.parent));
            } else if !was_revoked {
                history.breach(Law::TheftEndsTheSession);
            }
            self.go(Process::punishment(refresh.node));
        } else {
            self.refresh_at(refresh, RefreshAt::Again);
        }
        self.acknowledge();
    }

    fn give(&mut self, refresh: Refresh, pair: u8) {
        let history = &mut self.state.history;
        if let Some(law) = refresh.bar.broken_by(false) {
            history.breach(law);
        }
        history.handed.add(pair);
        let child = history.child[usize::from(refresh.parent)].get_or_insert(pair);
        if *child != pair {
            history.breach(Law::OneChild);
        }
    }
}
