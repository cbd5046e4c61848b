//! Counts checks by tier and outcome.
//!
//! A count is one relaxed addition, with no lookup and no clock. [`publish`] passes the counts to
//! the recorder of metrics. They are the process's, as the recorder is.

use std::sync::atomic::{AtomicU64, Ordering};

use super::AuthError;
use crate::{
    fault::TokenFault,
    local::Key,
    telemetry::{self, SINGLE_USES},
    tier::Tier,
};

/// A count in a cache line of its own (two, as processors fetch them in pairs).
#[repr(align(128))]
struct Line(AtomicU64);

/// Tokens accepted within the lease. They are by far the most frequent, so that one count would
/// travel between the processors. A token's key chooses the line.
static HITS: [Line; 8] = [const { Line(AtomicU64::new(0)) }; 8];

/// All other checks.
static CHECKS: [[AtomicU64; OUTCOMES]; TIERS] = [const { [const { AtomicU64::new(0) }; OUTCOMES] }; TIERS];

const TIERS: usize = 4;
const OUTCOMES: usize = 16;

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Accepted,
    NoCredentials,
    InvalidRequest,
    Malformed,
    Recipient,
    Expired,
    Key,
    Signature,
    Unknown,
    Revoked,
    Used,
    Mismatch,
    Binding,
    Proof,
    Insufficient,
    Unavailable,
}

impl From<&AuthError> for Outcome {
    fn from(error: &AuthError) -> Self {
        match error {
            AuthError::MissingCredentials => Self::NoCredentials,
            AuthError::InvalidRequest(_) => Self::InvalidRequest,
            AuthError::InvalidProof(_) => Self::Proof,
            AuthError::Denied(_) => Self::Insufficient,
            AuthError::Unavailable(_) => Self::Unavailable,
            AuthError::InvalidToken(fault) => match fault {
                TokenFault::Oversized
                | TokenFault::Malformed
                | TokenFault::Header
                | TokenFault::Type
                | TokenFault::Claim(_)
                | TokenFault::CustomClaims => Self::Malformed,
                TokenFault::Issuer | TokenFault::Audience | TokenFault::ClaimRule | TokenFault::Lifetime => {
                    Self::Recipient
                }
                TokenFault::Expired | TokenFault::NotYetValid => Self::Expired,
                TokenFault::Key => Self::Key,
                TokenFault::Signature => Self::Signature,
                TokenFault::Unknown => Self::Unknown,
                TokenFault::Revoked => Self::Revoked,
                TokenFault::Used => Self::Used,
                TokenFault::Mismatch => Self::Mismatch,
                TokenFault::Binding => Self::Binding,
            },
        }
    }
}

/// Counts a token that was accepted within the lease.
#[inline]
pub(super) fn count_hit(key: Option<Key>) {
    if cfg!(feature = "metrics") {
        let line = key.map_or(0, Key::low_bits) % HITS.len();
        HITS[line].0.fetch_add(1, Ordering::Relaxed);
    }
}

/// Counts a check that ended otherwise.
#[cold]
#[inline(never)]
pub(super) fn count_error(tier: Tier, error: &AuthError) {
    count(tier, error.into());
}

/// Counts a check that asked.
pub(super) fn count_checked<T>(tier: Tier, checked: &Result<T, AuthError>) {
    match checked {
        Ok(_) => count(tier, Outcome::Accepted),
        Err(error) => count_error(tier, error),
    }
}

/// Counts a try to use up a single-use token, if the store was asked.
pub(super) fn count_single_use<T>(spent: &Result<T, AuthError>) {
    let outcome = match spent {
        Ok(_) => "accepted",
        Err(AuthError::InvalidToken(TokenFault::Used)) => "refused",
        Err(AuthError::Unavailable(_)) => "unavailable",
        Err(_) => return,
    };
    telemetry::count(SINGLE_USES, [("outcome", outcome)]);
}

fn count(tier: Tier, outcome: Outcome) {
    if cfg!(feature = "metrics") {
        CHECKS[tier as usize][outcome as usize].fetch_add(1, Ordering::Relaxed);
    }
}

/// Passes the counts to the recorder of metrics. What has never happened is left out, except for
/// accepted tokens: their first one must be an increase.
#[cfg(feature = "metrics")]
pub(super) fn publish() {
    for tier in [Tier::None, Tier::Local, Tier::Shared, Tier::Store] {
        for outcome in Outcome::ALL {
            let mut checks = CHECKS[tier as usize][outcome as usize].load(Ordering::Relaxed);
            let is_hit = (tier, outcome) == (Tier::Local, Outcome::Accepted);
            if is_hit {
                checks += HITS.iter().map(|line| line.0.load(Ordering::Relaxed)).sum::<u64>();
            }
            if checks > 0 || is_hit || (tier, outcome) == (Tier::Store, Outcome::Accepted) {
                let (tier, outcome) = (tier_label(tier), outcome.label());
                metrics::counter!(telemetry::CHECKS, "tier" => tier, "outcome" => outcome).absolute(checks);
            }
        }
    }
}

#[cfg(feature = "metrics")]
const fn tier_label(tier: Tier) -> &'static str {
    match tier {
        Tier::None => "none",
        Tier::Local => "local",
        Tier::Shared => "shared",
        Tier::Store => "store",
    }
}

#[cfg(feature = "metrics")]
impl Outcome {
    const ALL: [Self; OUTCOMES] = [
        Self::Accepted,
        Self::NoCredentials,
        Self::InvalidRequest,
        Self::Malformed,
        Self::Recipient,
        Self::Expired,
        Self::Key,
        Self::Signature,
        Self::Unknown,
        Self::Revoked,
        Self::Used,
        Self::Mismatch,
        Self::Binding,
        Self::Proof,
        Self::Insufficient,
        Self::Unavailable,
    ];

    const fn label(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::NoCredentials => "no_credentials",
            Self::InvalidRequest => "invalid_request",
            Self::Malformed => "malformed",
            Self::Recipient => "recipient",
            Self::Expired => "expired",
            Self::Key => "key",
            Self::Signature => "signature",
            Self::Unknown => "unknown",
            Self::Revoked => "revoked",
            Self::Used => "used",
            Self::Mismatch => "mismatch",
            Self::Binding => "binding",
            Self::Proof => "proof",
            Self::Insufficient => "insufficient",
            Self::Unavailable => "unavailable",
        }
    }
}
