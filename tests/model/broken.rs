//! The protocol, and what it is without one of its rules.

/// A rule that is left out, or something asked of the surroundings that is not so. Each must lead to a counterexample, or the model
/// would prove nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Broken {
    /// A revocation deletes the entry in Redis where it should write a tombstone.
    DeleteForTombstone,
    /// A fill is a plain `SET`.
    FillWithoutNx,
    /// A fill goes to whichever server is there by then.
    FillOnAnyConnection,
    /// An active entry is believed whichever server took it.
    BelieveRestoredEntries,
    /// The server that took an entry is known by its process alone, which has followed another since and lost the tombstone.
    IdentifyByProcess,
    /// No rule of the protocol, but what is asked of its surroundings: Redis evicts tombstones (`allkeys-*`, or `volatile-ttl` once
    /// it holds nothing else).
    EvictTombstones,
    /// A revocation returns success without tombstones.
    SucceedWithoutTombstones,
    /// A revocation sweeps the tokens, then marks the session.
    SweepBeforeCommit,
    /// A revocation believes the server it asks that there is nothing to revoke.
    BelieveAbsence,
    /// A revocation passes over access tokens whose `exp` has passed, though they are within their leeway.
    PassOverLeeway,
    /// Records are removed at `exp`.
    PurgeWithoutMargin,
    /// An entry in the node's own cache is dated from the end of its check.
    DateAfterCheck,
    /// A node that revokes does not tell its own cache.
    ForgetNothing,
    /// A rotation looks at the session, then replaces its pair whatever it has become.
    RotateUnconditionally,
    /// A refresh hands its pair out, then commits.
    HandOutBeforeCommit,
    /// A retry inside the grace window gets a pair of its own.
    SecondChild,
    /// A retired refresh token is answered with the current pair though its window is closed.
    GraceEnds,
    /// The reuse of a refresh token is refused, and its session lives on.
    ReuseOnlyRefused,
    /// So is that of a token that was retired before the last one.
    OnlyThePreviousIsPunished,
    /// The window closes on a pair that was committed, whether or not anybody was given it.
    TakeCommitForDelivery,
    /// The window begins with the rotation, however much later somebody is first given the pair.
    WindowFromNote,
    /// That a pair was handed out is noted of whichever pair is current by then.
    NoteUnconditionally,
    /// A refresh token of a revoked session is refused, and whatever of that session is left is left.
    RefuseUnfinished,
    /// A refresh token whose own record is revoked is refused, and its session left alone.
    RefuseRevokedToken,
    /// A lost race is taken for reuse.
    PunishLostRace,
    /// A session is revoked for a reuse whatever it has become since it was read.
    PunishUnconditionally,
    /// A repeat inside the grace window is answered from what the primary says, which may be lost with it.
    RepeatUnconfirmed,
    /// Who goes on with a revocation of all raises the fence once more, in place of going by the
    /// one that was raised.
    ResumeFromTheFence,
    /// A sign-in commits whatever the fence has become.
    SignInWithoutFence,
    /// A sign-in reads the fence with concern `local`: from a write that may be lost, and then be made once more.
    FenceReadLocally,
    /// A sign-in checks the password, then reads the fence.
    FenceReadAfterPassword,
    /// A change of password ends the session that it comes from as well.
    SpareNobody,
    /// It leaves that session, and sweeps its tokens.
    SweepTheSpared,
    /// The revocation of an access token ends its session.
    TokenEndsSession,
    /// It writes the tombstone, then the record.
    BuryBeforeRecord,
    /// A single-use token is looked at, then marked.
    ConsumeCheckThenSet,
    /// A check whose caches and store are away lets through.
    FailOpen,
    /// A check whose store is away says that there is no such token.
    FailureIsAbsence,
    /// A refresh whose store is away says that the token is not good.
    FailureIsInvalidGrant,
    /// The same: a deposed primary answers reads.
    DeposedPrimaryAnswers,
}
