//! Denials of tokens that the store has no records of.

use chrono::serde::ts_milliseconds;
use serde::{Deserialize, Serialize};

#[cfg(doc)]
use super::TokenStore;
use crate::clock::Timestamp;

/// The denial of a token, a session or a subject of another issuer, under a key that stands for it.
///
/// A store keeps it and decides nothing by it. What `denied_at` means depends on what is denied:
/// the denial of a subject covers the tokens that were issued until then.
///
/// ```
/// # use auth_layer::store::Denial;
/// // A store keeps it as JSON, under its key.
/// fn restore(denial: &str) -> serde_json::Result<Denial> {
///     serde_json::from_str(denial)
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Denial {
    /// When it was made.
    #[serde(with = "ts_milliseconds")]
    pub denied_at: Timestamp,
    /// When it ends. From then on it is unknown.
    #[serde(with = "ts_milliseconds")]
    pub expires_at: Timestamp,
}

impl Denial {
    /// Returns whether the denial has not expired at `now`.
    pub fn is_live(&self, now: Timestamp) -> bool {
        self.expires_at > now
    }

    /// Applies [`TokenStore::deny`] to a denial that was read for it: of each time, the later one
    /// stays.
    ///
    /// ```
    /// # use std::time::Duration;
    /// use auth_layer::{clock::Timestamp, store::Denial};
    ///
    /// # fn example(now: Timestamp, hour: Duration) {
    /// let long = Denial { denied_at: now, expires_at: now + 2 * hour };
    /// let late = Denial { denied_at: now + hour, expires_at: now + hour };
    /// let both = Denial { denied_at: now + hour, expires_at: now + 2 * hour };
    /// assert_eq!(long.extended_by(late), both);
    /// assert_eq!(late.extended_by(long), both);
    /// # }
    /// ```
    #[must_use]
    pub fn extended_by(self, other: Self) -> Self {
        Self { denied_at: self.denied_at.max(other.denied_at), expires_at: self.expires_at.max(other.expires_at) }
    }
}

/// Drops the denials that have expired at `now`.
pub(crate) fn only_live(denials: Vec<Option<Denial>>, now: Timestamp) -> Vec<Option<Denial>> {
    denials.into_iter().map(|denial| denial.filter(|denial| denial.is_live(now))).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn denial_json_has_stable_names_and_round_trips() {
        let [denied_at, expires_at] = [1_000, 2_000].map(|at| Timestamp::from_timestamp_millis(at).unwrap());
        let denial = Denial { denied_at, expires_at };
        let text = serde_json::to_string(&denial).unwrap();
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), json!({ "denied_at": 1_000, "expires_at": 2_000 }));
        assert_eq!(serde_json::from_str::<Denial>(&text).unwrap(), denial);
    }
}
