//! The flags, each with its environment variable.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::{
    Parser, ValueEnum,
    error::{ContextKind, ContextValue, ErrorKind},
};
use secrecy::SecretString;

use crate::logging::LogFormat;

/// A sign-in service whose tokens can be taken back.
///
/// With no flags it runs by itself: users and tokens in files under the data directory, and a signing key of its own.
#[derive(Clone, Debug, Parser)]
#[command(version)]
pub struct Config {
    /// Address to listen on; port 0 picks a free one. The address is printed to standard output.
    #[arg(long, env = "DEMO_LISTEN", default_value = "127.0.0.1:3000")]
    pub listen: SocketAddr,

    /// Directory of the embedded database and the generated signing key.
    #[arg(long, env = "DEMO_DATA_DIR", default_value = "./data")]
    pub data_dir: PathBuf,

    /// MongoDB replica set to keep users and tokens in; without it they are kept in the data directory.
    ///
    /// `mongodb+srv://` is not supported: name the members.
    #[arg(long, env = "MONGODB_URI", hide_env_values = true)]
    pub mongodb_uri: Option<SecretString>,

    /// Database in MongoDB; its name is also what the keys in Redis begin with.
    #[arg(long, env = "MONGODB_DATABASE", default_value = "auth")]
    pub mongodb_database: String,

    /// Redis to share token status through, beside MongoDB. Repeat it, or separate by commas, for a cluster.
    #[arg(long, env = "REDIS_URL", hide_env_values = true, value_delimiter = ',')]
    pub redis_url: Vec<SecretString>,

    /// How long Redis may call a token active.
    #[arg(long, env = "DEMO_REDIS_TTL", default_value = "60s", value_parser = duration)]
    pub redis_ttl: Duration,

    /// Directory of the signing keys, PKCS#8 PEM files [default: `keys` in the data directory].
    #[arg(long, env = "DEMO_KEYS_DIR")]
    pub keys_dir: Option<PathBuf>,

    /// From the publication of a new key to its first signature.
    #[arg(long, env = "DEMO_KEY_PUBLISH_DELAY", default_value = "60s", value_parser = duration)]
    pub key_publish_delay: Duration,

    /// `iss` of the tokens.
    #[arg(long, env = "DEMO_ISSUER", default_value = "http://127.0.0.1:3000")]
    pub issuer: String,

    /// `aud` of the tokens.
    #[arg(long, env = "DEMO_AUDIENCE", default_value = "demo-app")]
    pub audience: String,

    /// Confidential OAuth clients, `id:secret,id:secret`; this version has no endpoint for them yet.
    ///
    /// Neither may hold a comma, and the id no colon.
    #[arg(long, env = "DEMO_CLIENTS", hide_env_values = true, value_delimiter = ',', value_parser = client)]
    pub clients: Vec<Client>,

    /// Lifetime of access tokens.
    #[arg(long, env = "DEMO_ACCESS_TTL", default_value = "15m", value_parser = lifetime)]
    pub access_ttl: Duration,

    /// Lifetime of refresh tokens. A session ends after 90 days at the latest, or after this time where this is longer.
    #[arg(long, env = "DEMO_REFRESH_TTL", default_value = "30d", value_parser = lifetime)]
    pub refresh_ttl: Duration,

    /// For how long a retried refresh gets the same answer.
    #[arg(long, env = "DEMO_REFRESH_GRACE", default_value = "10s", value_parser = duration)]
    pub refresh_grace: Duration,

    /// Lease of the in-process cache; 0 is off.
    #[arg(long, env = "DEMO_LOCAL_CACHE", default_value = "1s", value_parser = duration)]
    pub local_cache: Duration,

    /// Limits of wrong passwords (10 a minute per account and address, 100 a minute per address)
    /// and of registrations (30 a minute per address).
    #[arg(long, env = "DEMO_RATE_LIMIT", value_enum, default_value_t = Switch::On)]
    pub rate_limit: Switch,

    /// How a line of the log is written, on standard error. What is logged: `RUST_LOG`, `info` by default.
    #[arg(long, env = "DEMO_LOG_FORMAT", value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
}

/// On or off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Switch {
    /// On.
    On,
    /// Off.
    Off,
}

/// A confidential OAuth client.
#[derive(Clone, Debug)]
pub struct Client {
    /// Its `client_id`.
    pub id: String,
    /// Its `client_secret`.
    pub secret: SecretString,
}

impl Config {
    /// The flags of this process; with what is wrong with them, or with what was asked for, it ends here.
    pub(crate) fn of_process() -> Self {
        Self::try_parse().unwrap_or_else(|error| without_secrets(error).exit())
    }

    /// The directory of the signing keys.
    pub fn keys_dir(&self) -> PathBuf {
        self.keys_dir.clone().unwrap_or_else(|| self.data_dir.join("keys"))
    }
}

/// `15m`, `30d`, `500ms`, `0`.
fn duration(text: &str) -> Result<Duration, String> {
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    humantime::parse_duration(text).map_err(|error| error.to_string())
}

/// A duration of whole seconds, one at least: tokens count in seconds.
fn lifetime(text: &str) -> Result<Duration, String> {
    let lifetime = duration(text)?;
    if lifetime < Duration::from_secs(1) || lifetime.subsec_nanos() != 0 {
        return Err("a lifetime is a whole number of seconds, one at least".into());
    }
    Ok(lifetime)
}

fn client(text: &str) -> Result<Client, &'static str> {
    match text.split_once(':') {
        Some((id, secret)) if !id.is_empty() && !secret.is_empty() => {
            Ok(Client { id: id.to_owned(), secret: secret.to_owned().into() })
        }
        _ => Err("a client is written id:secret, and neither holds a comma"),
    }
}

/// The flags whose values are, or hold, secrets.
const SECRET: [&str; 3] = ["--clients", "--mongodb-uri", "--redis-url"];

/// The same error, with no value in it that may be a secret: clap quotes whatever it refuses.
fn without_secrets(mut error: clap::Error) -> clap::Error {
    let text = |error: &clap::Error, kind| error.get(kind).map(ToString::to_string).unwrap_or_default();
    let argument = text(&error, ContextKind::InvalidArg);
    let of_secret = SECRET.iter().any(|flag| argument.starts_with(flag));
    // A word that no flag takes is the rest of a value, if it was not quoted as it should be.
    let stray = error.kind() == ErrorKind::UnknownArgument && !is_flag(&argument);
    if of_secret && error.get(ContextKind::InvalidValue).is_some() {
        error.insert(ContextKind::InvalidValue, ContextValue::String(HIDDEN.to_owned()));
    }
    if stray {
        error.insert(ContextKind::InvalidArg, ContextValue::String(HIDDEN.to_owned()));
        error.remove(ContextKind::Suggested);
    }
    error
}

/// What stands where a secret was.
const HIDDEN: &str = "[hidden]";

/// Whether this is the name of a flag, if of none that we have, and nothing else.
fn is_flag(argument: &str) -> bool {
    argument.strip_prefix("--").is_some_and(|name| name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_those_that_clients_and_operators_rely_on() {
        let config = Config::parse_from(["demo-app"]);
        assert_eq!(config.listen.to_string(), "127.0.0.1:3000");
        assert_eq!(config.data_dir, PathBuf::from("./data"));
        assert_eq!(config.keys_dir(), PathBuf::from("./data/keys"));
        assert_eq!(config.mongodb_database, "auth");
        assert_eq!((config.mongodb_uri.is_none(), config.redis_url.len(), config.clients.len()), (true, 0, 0));
        assert_eq!(config.redis_ttl, Duration::from_mins(1));
        assert_eq!(config.key_publish_delay, Duration::from_mins(1));
        assert_eq!((config.issuer.as_str(), config.audience.as_str()), ("http://127.0.0.1:3000", "demo-app"));
        assert_eq!(config.access_ttl, Duration::from_mins(15));
        assert_eq!(config.refresh_ttl, Duration::from_hours(30 * 24));
        assert_eq!(config.refresh_grace, Duration::from_secs(10));
        assert_eq!(config.local_cache, Duration::from_secs(1));
        assert_eq!(config.rate_limit, Switch::On);
        assert_eq!(config.log_format, LogFormat::Text);
    }

    #[test]
    fn durations_and_lists_are_read_as_documented() {
        let flags = ["--local-cache", "0", "--refresh-grace", "500ms", "--redis-url", "redis://a,redis://b"];
        let config = Config::parse_from(["demo-app"].into_iter().chain(flags));
        assert_eq!(config.local_cache, Duration::ZERO);
        assert_eq!(config.refresh_grace, Duration::from_millis(500));
        assert_eq!(config.redis_url.len(), 2);
        for flags in [["--access-ttl", "0"], ["--access-ttl", "1500ms"], ["--refresh-grace", "soon"]] {
            assert!(Config::try_parse_from(["demo-app"].into_iter().chain(flags)).is_err(), "{flags:?}");
        }
    }

    #[test]
    fn no_secret_is_shown() {
        let flags = ["--mongodb-uri", "mongodb://u:hush@h", "--redis-url", "redis://:hush@h", "--clients", "a:hush"];
        let config = Config::parse_from(["demo-app"].into_iter().chain(flags));
        assert!(!format!("{config:?}").contains("hush"));
    }
}
