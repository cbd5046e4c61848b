//! Texts of times.

use chrono::{DateTime, SecondsFormat, Utc};

/// Formats a moment as RFC 3339, in UTC and with milliseconds.
pub(crate) fn rfc3339(moment: DateTime<Utc>) -> String {
    moment.to_rfc3339_opts(SecondsFormat::Millis, true)
}
