//! Mutations of the protocol: each leaves out one of its rules.

/// A rule that is left out, or an assumption about the surroundings that does not hold. Each must
/// lead to a counterexample, or the model would prove nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mutation {
    /// A revocation deletes the entry in Redis and writes no tombstone.
    DeleteInsteadOfTombstone,
    /// A fill is a plain `SET`.
    FillWithoutNx,
    /// A fill goes to any server that is reachable by then.
    FillOnAnyConnection,
    /// An active entry is believed no matter which server took it.
    BelieveRestoredEntries,
    /// The server that took an entry is identified by its process alone. That server has since
    /// followed another one and lost the tombstone.
    IdentifyByProcess,
    /// An assumption about the surroundings: Redis evicts tombstones (`allkeys-*`, or
    /// `volatile-ttl` when nothing else is left).
    EvictTombstones,
    /// A revocation or a denial returns success without an entry in Redis.
    SucceedWithoutTombstones,
    /// A revocation sweeps the tokens, then marks the session.
    SweepBeforeCommit,
    /// A revocation that finds nothing believes the server that it asked.
    BelieveAbsence,
    /// A revocation skips access tokens whose `exp` has passed and that are within their leeway.
    SkipTokensInLeeway,
    /// Records are removed at `exp`.
    PurgeWithoutMargin,
    /// An entry in the node's own cache is dated from the end of its check.
    DateEntryAfterCheck,
    /// A node that revokes does not update its own cache.
    KeepOwnCacheEntries,
    /// A rotation reads the session, then replaces its pair unconditionally.
    RotateUnconditionally,
    /// A refresh returns its pair, then commits.
    DeliverBeforeCommit,
    /// A retry inside the grace window gets a pair of its own.
    SecondChild,
    /// A retired refresh token gets the current pair after its window has closed.
    WindowNeverCloses,
    /// The reuse of a refresh token is refused, and its session lives on.
    ReuseOnlyRefused,
    /// The reuse of a token that was retired before the last one is refused, and its session lives
    /// on.
    IgnoreReuseOfOlderToken,
    /// The window starts at the commit, whether or not the pair was delivered.
    CommitCountsAsDelivery,
    /// The window starts at the rotation, not at the first delivery of the pair.
    WindowStartsAtRotation,
    /// The delivery mark is put on the current pair, even if that is a later one.
    MarkDeliveredUnconditionally,
    /// A refresh token of a revoked session is refused, and an unfinished revocation stays
    /// unfinished.
    LeaveRevocationUnfinished,
    /// A refresh token whose own record is revoked is refused, and its session goes on.
    RefuseRevokedTokenAlone,
    /// A lost race is taken for reuse.
    LostRaceIsReuse,
    /// A session is revoked for reuse even if it has changed since it was read.
    RevokeForReuseUnconditionally,
    /// A retry inside the grace window is answered from the primary alone, whose writes may be
    /// lost.
    RepeatUnconfirmedPair,
    /// The node that finishes a revocation of all raises the fence again. The rule uses the epoch
    /// that was raised.
    ResumeRaisesFence,
    /// A sign-in commits without a condition on the fence.
    SignInWithoutFence,
    /// A sign-in reads the fence with read concern `local`: the write may be lost, and the epoch
    /// reached again.
    ReadFenceLocally,
    /// A sign-in checks the password, then reads the fence.
    ReadFenceAfterPassword,
    /// A change of password ends its own session as well.
    RevokeOwnSession,
    /// A change of password spares its own session and sweeps the tokens of that session.
    SweepSparedSession,
    /// The revocation of an access token ends its session.
    TokenEndsSession,
    /// The revocation of an access token writes the tombstone, then the record.
    TombstoneBeforeRecord,
    /// A single-use token is read, then marked as used.
    ReadThenConsume,
    /// A check accepts when its caches and the store are unreachable.
    FailOpen,
    /// A check says "no such token" when the store is unreachable.
    FailureIsAbsence,
    /// A refresh says "invalid token" when the store is unreachable.
    FailureIsInvalidGrant,
    /// The store replaces a denial by a later call's, whichever has the later time.
    RecordLastDenial,
    /// The entry of a denial replaces that of another, whichever has the later time.
    PutLastDenial,
    /// A denial puts its own time in Redis, and not what the store has by then.
    PutDenialWithoutReading,
    /// A denial writes its entry to any server that is reachable by then.
    PutDenialOnAnyServer,
    /// The entry of a denial ends while writes are under way that were read before it.
    EndDenialEntriesEarly,
    /// A node fills Redis with what is denied by its own clock.
    FillByOwnClock,
    /// An assumption about the surroundings: a deposed primary answers the reads of checks.
    DeposedPrimaryAnswers,
}
