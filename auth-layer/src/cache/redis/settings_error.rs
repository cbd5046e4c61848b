//! Tells from a server's error what is wrong with the settings.

use std::{error::Error, io, sync::Arc};

use deadpool_redis::redis::{ErrorKind, RedisError, ServerErrorKind};

/// Codes of errors that pass by themselves: the server is busy or loading, is full, elects a
/// primary, or has lost its replicas or its disk.
const TRANSIENT_CODES: [&str; 8] =
    ["BUSY", "CLUSTERDOWN", "LOADING", "MASTERDOWN", "MISCONF", "NOREPLICAS", "OOM", "TRYAGAIN"];

/// Returns what is set up wrongly, in one sentence that begins after "Redis at ADDRESS". `None` if
/// waiting may help.
pub(super) fn settings_error(error: &RedisError) -> Option<String> {
    // In a pipeline, the first command that failed counts.
    let of_first = error.clone().into_server_errors().and_then(|errors| Some(errors.first()?.1.clone().into()));
    let error = of_first.as_ref().unwrap_or(error);
    let detail = error.detail().unwrap_or_default();
    let sentence = match error.kind() {
        ErrorKind::AuthenticationFailed => "refuses the user name or the password in the URL",
        ErrorKind::Parse | ErrorKind::UnexpectedReturnType => "does not answer as a Redis does: check host and port",
        ErrorKind::InvalidClientConfig => "cannot be used with this URL",
        ErrorKind::Io => return tls_error(error),
        ErrorKind::Server(ServerErrorKind::ReadOnly) => IS_REPLICA,
        ErrorKind::Server(ServerErrorKind::Moved | ServerErrorKind::Ask | ServerErrorKind::CrossSlot) => {
            IS_CLUSTER_MEMBER
        }
        ErrorKind::Server(ServerErrorKind::NoPerm) => {
            return Some(format!("does not allow its user what is needed ({detail}): extend the user's ACL"));
        }
        ErrorKind::Server(_) | ErrorKind::Extension => return server_error(error, detail),
        _ => return None,
    };
    Some(sentence.to_owned())
}

/// The error text for a server that accepts no writes.
pub(super) const IS_REPLICA: &str = "is a replica, which takes no writes: name its primary";

/// The error text for a server that holds only some keys.
pub(super) const IS_CLUSTER_MEMBER: &str =
    "is a member of a cluster: name several members (or this one twice), separated by commas";

/// The error text for a server outside a cluster when several were named.
pub(super) const NOT_IN_CLUSTER: &str = "is in no cluster: several URLs mean the members of one; name one server only";

/// Returns the sentence for an answer with another code.
fn server_error(error: &RedisError, detail: &str) -> Option<String> {
    let code = error.code().unwrap_or("ERR");
    let has = |part: &str| detail.contains(part);
    if TRANSIENT_CODES.contains(&code) || has("max number of clients") {
        return None;
    }
    let sentence = match code {
        "NOAUTH" => "wants a password, and the URL has none: redis://USER:PASSWORD@HOST",
        "WRONGPASS" => "refuses the user name or the password in the URL",
        "DENIED" => "is in protected mode, and takes no connections from other machines",
        _ if has("DB index") => "has no database of the number in the URL",
        _ if has("SELECT is not allowed in cluster mode") => IS_CLUSTER_MEMBER,
        _ if has("cluster support disabled") => NOT_IN_CLUSTER,
        _ if has("unknown command") || has("syntax error") => {
            return Some(format!("lacks a command that is needed ({detail}): use Redis 6.2 or later"));
        }
        _ => return Some(format!("answers with an error ({code} {detail})")),
    };
    Some(sentence.to_owned())
}

/// Of the failures of a connection, only those of TLS are due to the settings.
fn tls_error(error: &RedisError) -> Option<String> {
    // The driver wraps the cause in an `Arc`.
    let cause = error.source()?.downcast_ref::<Arc<dyn Error + Send + Sync>>()?;
    let Some(failed) = cause.downcast_ref::<io::Error>() else {
        return Some(format!("cannot be reached by TLS ({cause}): check the URL's host and SSL_CERT_FILE"));
    };
    match failed.get_ref()?.downcast_ref()? {
        rustls::Error::InvalidCertificate(why) => Some(format!(
            "shows a certificate that is not trusted ({why:?}): name the authority that issued it in SSL_CERT_FILE"
        )),
        rustls::Error::InvalidMessage(_) => Some("does not speak TLS: use redis:// or its TLS port".to_owned()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use deadpool_redis::redis::{Value, parse_redis_value};

    use super::*;

    fn answer(reply: &str) -> RedisError {
        match parse_redis_value(format!("-{reply}\r\n").as_bytes()) {
            Ok(Value::ServerError(error)) => error.into(),
            Ok(other) => panic!("{reply}: {other:?}"),
            Err(error) => error,
        }
    }

    #[test]
    fn redis_settings_errors_differ_from_transient_errors() {
        for (reply, expected) in [
            ("NOAUTH Authentication required.", "wants a password"),
            ("WRONGPASS invalid username-password pair or user is disabled.", "refuses the user name or the password"),
            ("NOPERM this user has no permissions to run the 'get' command", "run the 'get' command"),
            ("READONLY You can't write against a read only replica.", "is a replica"),
            ("MOVED 866 127.0.0.1:7001", "is a member of a cluster"),
            ("ERR DB index is out of range", "has no database"),
            ("ERR This instance has cluster support disabled", "is in no cluster"),
            ("ERR syntax error", "Redis 6.2 or later"),
            ("ERR unknown command `TIME`, with args beginning with: ", "Redis 6.2 or later"),
            ("ERR something new", "answers with an error (ERR something new)"),
        ] {
            let sentence = settings_error(&answer(reply)).unwrap_or_else(|| panic!("{reply}"));
            assert!(sentence.contains(expected), "{reply}: {sentence}");
        }
        for reply in [
            "LOADING Redis is loading the dataset in memory",
            "OOM command not allowed when used memory > 'maxmemory'.",
            "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
            "CLUSTERDOWN The cluster is down",
            "TRYAGAIN Multiple keys request during rehashing of slot",
            "BUSY Redis is busy running a script.",
            "MISCONF Redis is configured to save RDB snapshots, but it is currently not able to persist on disk.",
            "NOREPLICAS Not enough good replicas to write.",
            "ERR max number of clients reached",
        ] {
            assert_eq!(settings_error(&answer(reply)), None, "{reply}");
        }
        assert_eq!(settings_error(&io::Error::from(io::ErrorKind::ConnectionRefused).into()), None);
    }

    #[test]
    fn redis_certificate_that_is_not_trusted_is_a_settings_error() {
        let unknown = rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer);
        let sentence = settings_error(&io::Error::new(io::ErrorKind::InvalidData, unknown).into());
        assert!(sentence.is_some_and(|sentence| sentence.contains("SSL_CERT_FILE")));
        let plain = rustls::Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType);
        let sentence = settings_error(&io::Error::new(io::ErrorKind::InvalidData, plain).into());
        assert!(sentence.is_some_and(|sentence| sentence.contains("does not speak TLS")));
    }
}
