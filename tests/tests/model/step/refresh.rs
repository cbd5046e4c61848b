//! A refresh: look, record the child, commit, hand out; or repeat; or punish.

use super::Call;
use crate::{
    broken::Broken,
    laws::{Bar, Law},
    process::{Cause, Outcome, Process, Refresh, RefreshAt},
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
            RefreshAt::HandOut(pair) => {
                self.give(refresh, pair);
                self.end(Outcome::Handed);
            }
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
        let bar = Bar::at_start(&self.state.history, refresh.node, refresh.parent, false);
        self.judge(Refresh { bar, ..refresh });
    }

    /// `presented`, then `Session::judge`. The two reads are one step: that of the token can but refuse, and whatever the other
    /// led to is decided by a write, or is as good as an earlier answer that came late.
    fn judge(&mut self, refresh: Refresh) {
        if self.state.mongo.down {
            return self.fail();
        }
        let record = self.state.mongo.primary.refresh[usize::from(refresh.parent)];
        let session = *self.state.mongo.primary.session(session_of(refresh.parent));
        let Some(session) = session else { return self.end(Outcome::Refused) };
        if session.revoked {
            return self.refuse_for_good(refresh);
        }
        if record != Record::Active {
            return self.end(Outcome::Refused);
        }
        let is_previous = |previous: Retired| previous.pair == refresh.parent;
        let repeats = session.previous.filter(|previous| is_previous(*previous));
        let in_grace = repeats.is_some_and(|previous| previous.in_grace);
        if session.current == refresh.parent {
            self.refresh_at(refresh, RefreshAt::Record);
        } else if repeats.is_none() || !(in_grace || self.protocol.is_without(Broken::GraceEnds)) {
            self.punish(refresh);
        } else {
            if !in_grace {
                self.state.history.breach(Law::OnlyTheftEndsASession);
            }
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

    /// The refusal says that the session is over, so that is seen to: whoever began may have died on the way.
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
        let session = self.state.mongo.primary.session(session_of(refresh.parent));
        let stands = |session: &&mut Session| !session.revoked && (session.current == refresh.parent || unconditional);
        if let Some(session) = session.as_mut().filter(stands) {
            session.previous = Some(Retired { pair: refresh.parent, in_grace: true });
            session.current = refresh.child;
            self.state.history.retired.add(refresh.parent);
            self.refresh_at(refresh, RefreshAt::HandOut(refresh.child));
        } else if self.protocol.is_without(Broken::PunishLostRace) {
            self.punish(refresh);
        } else {
            self.refresh_at(refresh, RefreshAt::Forget);
        }
        self.acknowledge();
    }

    /// A conditional write that changes the session, so that what was read is held by a majority when the pair leaves.
    fn confirm(&mut self, refresh: Refresh, pair: u8) {
        if self.state.mongo.down {
            return self.fail();
        }
        let session = *self.state.mongo.primary.session(session_of(refresh.parent));
        let confirmed = session.is_some_and(|session| !session.revoked && session.current == pair);
        self.refresh_at(refresh, if confirmed { RefreshAt::HandOut(pair) } else { RefreshAt::Again });
        self.acknowledge();
    }

    /// Nothing but the reuse of a token that a rotation retired, and whose window is closed, may come here.
    fn punish(&mut self, refresh: Refresh) {
        let session = *self.state.mongo.primary.session(session_of(refresh.parent));
        let previous = session.and_then(|session| session.previous);
        let benign = previous.is_some_and(|previous| previous.pair == refresh.parent && previous.in_grace);
        if benign || !self.state.history.retired.has(refresh.parent) {
            self.state.history.breach(Law::OnlyTheftEndsASession);
        }
        self.go(Process::revoke(refresh.node, Cause::Theft, 0));
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
