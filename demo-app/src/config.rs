//! The flags, each with its environment variable.

mod file;
mod process;
mod values;

use std::{num::NonZero, path::PathBuf, time::Duration};

use clap::{Parser, ValueEnum};
use secrecy::SecretString;

use self::values::{
    client, database, grace, lease, lifetime, listen, publish_delay, redis_ttl, secret, sessions, text,
};
use crate::logging::LogFormat;

/// A sign-in service whose tokens can be taken back.
///
/// With no flags it runs by itself: users and tokens in files under the data directory, and a
/// signing key of its own.
///
/// A flag comes before its environment variable, that before the file of --config, and that before
/// the default. An empty variable counts as not set.
#[derive(Clone, Debug, Parser)]
#[command(version)]
pub struct Config {
    /// TOML file with the flags' names, for instance `access-ttl = "15m"`. Its paths are relative
    /// to the working directory.
    #[arg(long, env = "DEMO_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Address or name to listen on, HOST:PORT; port 0 picks a free one. The address is printed to
    /// standard output.
    ///
    /// Of a name with several addresses the first that can be had is taken, IPv4 first.
    #[arg(long, env = "DEMO_LISTEN", default_value = "127.0.0.1:3000", value_parser = listen)]
    pub listen: String,

    /// Directory of the embedded database and the generated signing key.
    #[arg(long, env = "DEMO_DATA_DIR", default_value = "./data")]
    pub data_dir: PathBuf,

    /// MongoDB replica set to keep users and tokens in; without it they are kept in the data
    /// directory.
    ///
    /// `mongodb+srv://` is not supported: name the members.
    #[arg(long, env = "MONGODB_URI", hide_env_values = true, value_parser = secret)]
    pub mongodb_uri: Option<SecretString>,

    /// Database in MongoDB; its name is also what the keys in Redis begin with.
    #[arg(long, env = "MONGODB_DATABASE", default_value = "auth", value_parser = database)]
    pub mongodb_database: String,

    /// Redis to share token status through, beside MongoDB. Repeat it, or separate by commas, for a
    /// cluster.
    ///
    /// `rediss://` is TLS: the system's authorities are trusted, or those in the PEM file that
    /// `SSL_CERT_FILE` names.
    #[arg(long, env = "REDIS_URL", hide_env_values = true, value_delimiter = ',', value_parser = secret)]
    pub redis_url: Vec<SecretString>,

    /// How long Redis may call a token active: 1ms to 1day.
    #[arg(long, env = "DEMO_REDIS_TTL", default_value = "60s", value_parser = redis_ttl)]
    pub redis_ttl: Duration,

    /// Directory of the signing keys, PKCS#8 PEM files [default: `keys` in the data directory].
    #[arg(long, env = "DEMO_KEYS_DIR")]
    pub keys_dir: Option<PathBuf>,

    /// From the publication of a new key to its first signature: 30days at most.
    #[arg(long, env = "DEMO_KEY_PUBLISH_DELAY", default_value = "60s", value_parser = publish_delay)]
    pub key_publish_delay: Duration,

    /// `iss` of the tokens.
    #[arg(long, env = "DEMO_ISSUER", default_value = "http://127.0.0.1:3000", value_parser = text)]
    pub issuer: String,

    /// `aud` of the tokens.
    #[arg(long, env = "DEMO_AUDIENCE", default_value = "demo-app", value_parser = text)]
    pub audience: String,

    /// Confidential OAuth clients, `id:secret,id:secret`; this version has no endpoint for them
    /// yet.
    ///
    /// Neither may hold a comma, and the id no colon.
    #[arg(long, env = "DEMO_CLIENTS", hide_env_values = true, value_delimiter = ',', value_parser = client)]
    pub clients: Vec<Client>,

    /// Lifetime of access tokens: 1s to 10years.
    #[arg(long, env = "DEMO_ACCESS_TTL", default_value = "15m", value_parser = lifetime)]
    pub access_ttl: Duration,

    /// Lifetime of refresh tokens: 10years at most, and no shorter than that of access tokens. A
    /// session ends after 90 days at the latest, or after this time where this is longer.
    #[arg(long, env = "DEMO_REFRESH_TTL", default_value = "30d", value_parser = lifetime)]
    pub refresh_ttl: Duration,

    /// For how long a retried refresh gets the same answer: 1day at most; 0 is never.
    #[arg(long, env = "DEMO_REFRESH_GRACE", default_value = "10s", value_parser = grace)]
    pub refresh_grace: Duration,

    /// Lease of the in-process cache: 1h at most; 0 is off.
    #[arg(long, env = "DEMO_LOCAL_CACHE", default_value = "1s", value_parser = lease)]
    pub local_cache: Duration,

    /// Limits of wrong passwords (10 a minute per account and address, 100 a minute per address)
    /// and of registrations (30 a minute per address).
    #[arg(long, env = "DEMO_RATE_LIMIT", value_enum, default_value_t = Switch::On)]
    pub rate_limit: Switch,

    /// How many sessions a user may have. A further sign-in ends the one used longest ago.
    #[arg(long, env = "DEMO_MAX_SESSIONS", default_value = "100", value_parser = sessions)]
    pub max_sessions: NonZero<usize>,

    /// How a line of the log is written, on standard error. What is logged: `RUST_LOG`, `info` by
    /// default.
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
    /// Reads flags, variables and the configuration file of this process. Exits after `--help` and
    /// when one of them is wrong.
    pub(crate) fn of_process() -> Self {
        process::parse(&std::env::args_os().collect::<Vec<_>>()).unwrap_or_else(|error| error.exit())
    }

    /// Returns the directory of the signing keys.
    pub fn keys_dir(&self) -> PathBuf {
        self.keys_dir.clone().unwrap_or_else(|| self.data_dir.join("keys"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_those_that_clients_and_operators_rely_on() {
        let config = Config::parse_from(["demo-app"]);
        assert_eq!(config.listen, "127.0.0.1:3000");
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
        for [flag, value] in [
            ["--access-ttl", "0"],
            ["--access-ttl", "1500ms"],
            ["--refresh-grace", "soon"],
            ["--refresh-ttl", "10000years"],
            ["--access-ttl", "11years"],
            ["--refresh-grace", "2days"],
            ["--local-cache", "2h"],
            ["--redis-ttl", "0"],
            ["--redis-ttl", "1us"],
            ["--redis-ttl", "2days"],
            ["--key-publish-delay", "31days"],
            ["--issuer", ""],
            ["--issuer", " "],
            ["--audience", ""],
            ["--mongodb-uri", ""],
            ["--mongodb-database", ""],
            ["--mongodb-database", "a.b"],
            ["--mongodb-database", "local"],
            ["--redis-url", ""],
            ["--redis-url", "redis://a,,redis://b"],
            ["--data-dir", ""],
            ["--keys-dir", ""],
            ["--clients", ""],
            ["--listen", ""],
            ["--listen", "3000"],
            ["--listen", ":3000"],
            ["--listen", "::1:3000"],
            ["--listen", "localhost:65536"],
            ["--rate-limit", ""],
            ["--config", ""],
        ] {
            let error = Config::try_parse_from(["demo-app", flag, value]).unwrap_err().to_string();
            assert!(error.contains(flag), "{flag} {value}: {error}");
        }
        for [flag, value] in [
            ["--refresh-ttl", "10years"],
            ["--refresh-grace", "0"],
            ["--key-publish-delay", "0"],
            ["--listen", "localhost:3000"],
            ["--listen", "[::1]:0"],
        ] {
            Config::try_parse_from(["demo-app", flag, value]).unwrap();
        }
    }

    #[test]
    fn no_secret_is_shown() {
        let flags = ["--mongodb-uri", "mongodb://u:hush@h", "--redis-url", "redis://:hush@h", "--clients", "a:hush"];
        let config = Config::parse_from(["demo-app"].into_iter().chain(flags));
        assert!(!format!("{config:?}").contains("hush"));
    }
}
