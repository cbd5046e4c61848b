//! Denials as Redis values, and the commands that write them.
//!
//! The key is `<prefix>d:` and the 32 bytes of the hash. The value is `0` for "not denied" or `D`
//! for "denied", then the server that took the entry (8 bytes, big-endian). After `D` and the
//! server come both times of the denial, in milliseconds since 1970: `<denied_at>,<expires_at>`.
//!
//! # Why a lost denial lets no token through
//!
//! A tombstone is a flag: a late one does no harm. A denial has times, and an earlier denial of the
//! same key would hide a later one that was lost. So every entry, also "denied", follows the rules
//! of active entries: it ends after `active_ttl`, and is believed only from the server that took
//! it. Its writer reads the store *after* it has seen the server, and writes to that server or
//! fails.
//!
//! - A denial that was acknowledged before that read is in what was read.
//! - A denial that was acknowledged later was put on a server itself. If that was this server, the
//!   script keeps the later of each time, in either order. If it was a successor, this server has
//!   gone, or is found to be deposed at the next health check.
//!
//! What is read before a denial was recorded may be written after it: a fill says "not denied", and
//! another denial has earlier times. While the later entry is there, `NX` refuses the fill, and the
//! script keeps the later times. The entry lives for `active_ttl` from its arrival. By then the fill
//! has ended (`PXAT`), and the script writes nothing: both count from their miss, by the server's own
//! clock. A command may be that late if it waited in a socket.

use chrono::DateTime;
use deadpool_redis::redis::{self, Cmd};

use super::connection::ServerId;
use crate::{
    clock::Timestamp,
    store::{Denial, HashedKey},
};

const NOT_DENIED: u8 = b'0';
const DENIED: u8 = b'D';

/// Writes a denial. If the entry is a denial, of each time the later one stays.
///
/// Arguments: what precedes the times, `denied_at`, `expires_at`, the entry's life and the latest
/// time of arrival, all in milliseconds. A value of another form is replaced. Lua's numbers are
/// exact for times to the year 287000.
const PUT: &str = "\
local time = redis.call('TIME') \
if time[1] * 1000 + math.floor(time[2] / 1000) >= tonumber(ARGV[5]) then \
  return redis.error_reply('LATE a denial that was read too long ago') \
end \
local denied_at, expires_at = ARGV[2], ARGV[3] \
local held = redis.pcall('GET', KEYS[1]) \
if type(held) == 'string' and string.sub(held, 1, 1) == 'D' then \
  local denied, expires = string.match(string.sub(held, 10), '^(%-?%d+),(%-?%d+)$') \
  if denied and tonumber(denied) > tonumber(denied_at) then denied_at = denied end \
  if expires and tonumber(expires) > tonumber(expires_at) then expires_at = expires end \
end \
redis.call('SET', KEYS[1], ARGV[1] .. denied_at .. ',' .. expires_at, 'PX', ARGV[4])";

/// Returns the key of a denial.
pub(super) fn key(prefix: &str, key: HashedKey) -> Vec<u8> {
    [prefix.as_bytes(), b"d:", key.as_bytes()].concat()
}

/// Creates the command that fills an absent entry. It ends at `end`, in the server's milliseconds.
pub(super) fn fill(key: &[u8], read: Option<Denial>, taken_by: ServerId, end: u64) -> Cmd {
    let mut set = redis::cmd("SET");
    set.arg(key).arg(encode(read, taken_by)).arg("NX").arg("PXAT").arg(end);
    set
}

/// Creates the command that writes a denial for `life` milliseconds, if it arrives before `latest`,
/// in the server's milliseconds.
pub(super) fn put(key: &[u8], made: Denial, taken_by: ServerId, life: u64, latest: u64) -> Cmd {
    let mut eval = redis::cmd("EVAL");
    eval.arg(PUT).arg(1).arg(key).arg(head(DENIED, taken_by));
    eval.arg(made.denied_at.timestamp_millis()).arg(made.expires_at.timestamp_millis()).arg(life).arg(latest);
    eval
}

fn head(form: u8, taken_by: ServerId) -> Vec<u8> {
    [&[form][..], &taken_by.0.to_be_bytes()].concat()
}

fn encode(denial: Option<Denial>, taken_by: ServerId) -> Vec<u8> {
    let Some(denial) = denial else { return head(NOT_DENIED, taken_by) };
    let times = format!("{},{}", denial.denied_at.timestamp_millis(), denial.expires_at.timestamp_millis());
    [&head(DENIED, taken_by)[..], times.as_bytes()].concat()
}

/// Returns the denial, or none, and the server that took the entry. `None` if the value is not
/// understood: newer nodes may write other forms.
pub(super) fn decode(value: &[u8]) -> Option<(Option<Denial>, ServerId)> {
    let (&form, rest) = value.split_first()?;
    let (server, times) = rest.split_first_chunk()?;
    let taken_by = ServerId(u64::from_be_bytes(*server));
    match form {
        NOT_DENIED if times.is_empty() => Some((None, taken_by)),
        DENIED => {
            let (denied_at, expires_at) = str::from_utf8(times).ok()?.split_once(',')?;
            let denial = Denial { denied_at: time(denied_at)?, expires_at: time(expires_at)? };
            Some((Some(denial), taken_by))
        }
        _ => None,
    }
}

fn time(millis: &str) -> Option<Timestamp> {
    DateTime::from_timestamp_millis(millis.parse().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVER: ServerId = ServerId(0x0102_0304_0506_0708);

    fn denial(denied_at: i64, expires_at: i64) -> Denial {
        let [denied_at, expires_at] = [denied_at, expires_at].map(|at| DateTime::from_timestamp_millis(at).unwrap());
        Denial { denied_at, expires_at }
    }

    #[test]
    fn redis_denial_has_these_bytes_and_round_trips() {
        let server = [1, 2, 3, 4, 5, 6, 7, 8];
        for (read, expected) in [
            (None, [&b"0"[..], &server].concat()),
            (Some(denial(1_000, 2_000)), [&b"D"[..], &server, b"1000,2000"].concat()),
            (Some(denial(-1, 0)), [&b"D"[..], &server, b"-1,0"].concat()),
        ] {
            assert_eq!(encode(read, SERVER), expected);
            assert_eq!(decode(&expected), Some((read, SERVER)));
        }
        assert_eq!(key("auth:", HashedKey::from_digest([7; 32])), [&b"auth:d:"[..], &[7; 32]].concat());
    }

    #[test]
    fn redis_denial_that_is_cut_or_of_an_unknown_form_is_not_understood() {
        let whole = encode(Some(denial(1_000, 2_000)), SERVER);
        let comma = whole.len() - 5;
        for end in 0..=comma {
            assert_eq!(decode(&whole[..end]), None, "cut after {end} bytes");
        }
        let with = |times: &str| [&whole[..9], times.as_bytes()].concat();
        let far = format!("1000,{}", i64::MAX);
        for value in [b"x".to_vec(), with(""), with("1,"), with("1,2,3"), with("1,x"), with(&far), with("1000 2000")] {
            assert_eq!(decode(&value), None, "{value:?}");
        }
        for form in *b"01dEx" {
            assert_eq!(decode(&[&[form][..], &whole[1..]].concat()), None, "{form}");
        }
    }
}
