//! The flags, each with its environment variable.

mod effective;
mod file;
mod process;
mod values;

use std::{num::NonZero, path::PathBuf, time::Duration};

use auth_layer::store::embedded::EmbeddedOptions;
use clap::{Parser, ValueEnum};
use ipnet::IpNet;
use secrecy::SecretString;

pub(crate) use self::effective::{Origin, Setting};
use self::values::{
    client, database, endpoint, grace, issuer, lease, lifetime, listen, mebibytes, network, origin, publish_delay,
    redis_ttl, secret, sessions, text,
};
use crate::{cli::Command, logging::LogFormat};

/// A sign-in service with revocable tokens.
///
/// Serves without a command. Needs no flags: it keeps users, tokens and a generated signing key in
/// the data directory.
///
/// A command takes the settings of the nodes, before or after its name.
///
/// Precedence: flag, environment variable, `--config` file, default. An empty variable counts as
/// not set.
#[derive(Clone, Debug, Parser)]
#[command(version, next_help_heading = "Settings")]
pub struct Config {
    /// What to do in place of serving.
    #[command(subcommand)]
    pub(crate) command: Option<Command>,

    /// TOML file with the flags' names, for instance `access-ttl = "15m"`. Its paths are relative
    /// to the working directory.
    #[arg(long, global = true, env = "DEMO_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Address or name to listen on, HOST:PORT; port 0 picks a free one. The address is printed to
    /// standard output.
    ///
    /// If a name has several addresses, the first usable one is taken, IPv4 first.
    #[arg(long, global = true, env = "DEMO_LISTEN", default_value = "127.0.0.1:3000", value_parser = listen)]
    pub listen: String,

    /// Address or name to serve the metrics on, HOST:PORT [default: `/metrics` on `--listen`]. Then
    /// `--listen` has no `/metrics`.
    #[arg(long, global = true, env = "DEMO_METRICS_LISTEN", value_parser = listen)]
    pub metrics_listen: Option<String>,

    /// Certificate chain of the server, PEM, its own certificate first; needs `--tls-key` [default:
    /// none, plain HTTP].
    ///
    /// New connections get a changed certificate within 5 s. Open ones go on.
    #[arg(long, global = true, env = "DEMO_TLS_CERT", value_name = "FILE")]
    pub tls_cert: Option<PathBuf>,

    /// Private key of the certificate, PEM without a passphrase: PKCS#8, PKCS#1 or SEC1.
    #[arg(long, global = true, env = "DEMO_TLS_KEY", value_name = "FILE")]
    pub tls_key: Option<PathBuf>,

    /// Proxies whose word on the client counts: networks or addresses, such as `10.0.0.0/8`. Repeat
    /// the flag or separate them by commas.
    ///
    /// From connections of these alone, the client's address is taken from `--proxy-header`, for
    /// rate limits and the audit log, and the request's id from `X-Request-Id`.
    #[arg(
        long,
        global = true,
        env = "DEMO_TRUSTED_PROXY",
        value_name = "NETWORK",
        value_delimiter = ',',
        value_parser = network
    )]
    pub trusted_proxy: Vec<IpNet>,

    /// Header in which the trusted proxies name the client. The other one is not read: a proxy that
    /// sets one may let a client's own pass in the other.
    #[arg(long, global = true, env = "DEMO_PROXY_HEADER", value_enum, default_value_t = ProxyHeader::XForwardedFor)]
    pub proxy_header: ProxyHeader,

    /// Directory of the embedded database and the generated signing key.
    #[arg(long, global = true, env = "DEMO_DATA_DIR", default_value = "./data")]
    pub data_dir: PathBuf,

    /// Memory for pages of the embedded database's token file, in MiB. A smaller file takes no more
    /// than its size.
    #[arg(long, global = true, env = "DEMO_EMBEDDED_CACHE", default_value = "512", value_parser = mebibytes)]
    pub embedded_cache: usize,

    /// MongoDB replica set for users and tokens [default: the embedded store in the data
    /// directory].
    ///
    /// `mongodb+srv://` is not supported: list the members,
    /// `mongodb://HOST,HOST,HOST/?replicaSet=NAME`.
    #[arg(long, global = true, env = "MONGODB_URI", hide_env_values = true, value_parser = secret)]
    pub mongodb_uri: Option<SecretString>,

    /// Database in MongoDB; its name is also the prefix of the keys in Redis.
    #[arg(long, global = true, env = "MONGODB_DATABASE", default_value = "auth", value_parser = database)]
    pub mongodb_database: String,

    /// Redis as a shared cache of token status; needs `--mongodb-uri`. For a cluster, repeat the
    /// flag or separate the URLs by commas.
    ///
    /// `rediss://` uses TLS. It trusts the system's authorities, or those in the PEM file that
    /// `SSL_CERT_FILE` names.
    #[arg(long, global = true, env = "REDIS_URL", hide_env_values = true, value_delimiter = ',', value_parser = secret)]
    pub redis_url: Vec<SecretString>,

    /// How long Redis may call a token active: 1ms to 1day. A revocation made by hand in MongoDB
    /// takes effect within this time plus `--local-cache`.
    #[arg(long, global = true, env = "DEMO_REDIS_TTL", default_value = "60s", value_parser = redis_ttl)]
    pub redis_ttl: Duration,

    /// Directory of the signing keys, PKCS#8 PEM files [default: `keys` in the data directory].
    #[arg(long, global = true, env = "DEMO_KEYS_DIR")]
    pub keys_dir: Option<PathBuf>,

    /// Time from a new key's publication to its first signature: at most 30days. Less than 5s
    /// counts as 5s, in which all nodes see the key.
    #[arg(long, global = true, env = "DEMO_KEY_PUBLISH_DELAY", default_value = "60s", value_parser = publish_delay)]
    pub key_publish_delay: Duration,

    /// Issuer, `iss` of the tokens: the URL by which clients know the service.
    ///
    /// Use https. With plain http, anyone on the network can read codes and tokens.
    #[arg(long, global = true, env = "DEMO_ISSUER", default_value = "http://127.0.0.1:3000", value_parser = issuer)]
    pub issuer: String,

    /// Audiences, `aud` of the tokens. The first is the service's own and the default; clients ask
    /// for others with `resource`. Repeat the flag or separate the names by commas.
    #[arg(
        long,
        global = true,
        env = "DEMO_AUDIENCE",
        default_value = "demo-app",
        value_name = "AUDIENCE",
        value_delimiter = ',',
        value_parser = text
    )]
    pub audience: Vec<String>,

    /// Confidential OAuth clients, `id:secret,id:secret`, besides those of `demo-app clients`. Their
    /// scope is `profile`.
    ///
    /// Ids and secrets must not contain a comma, ids no colon.
    #[arg(long, global = true, env = "DEMO_CLIENTS", hide_env_values = true, value_delimiter = ',', value_parser = client)]
    pub clients: Vec<Client>,

    /// Lifetime of access tokens: 1s to 10years.
    #[arg(long, global = true, env = "DEMO_ACCESS_TTL", default_value = "15m", value_parser = lifetime)]
    pub access_ttl: Duration,

    /// Lifetime of refresh tokens: at least `--access-ttl`, at most 10years. A session ends after
    /// 90 days, or after this time if that is longer.
    #[arg(long, global = true, env = "DEMO_REFRESH_TTL", default_value = "30d", value_parser = lifetime)]
    pub refresh_ttl: Duration,

    /// How long a repeated refresh gets the same tokens: at most 1day; 0 turns this off.
    #[arg(long, global = true, env = "DEMO_REFRESH_GRACE", default_value = "10s", value_parser = grace)]
    pub refresh_grace: Duration,

    /// How long this node may accept a checked token again without asking the store (the lease of
    /// its in-process cache): at most 1h; 0 turns the cache off.
    #[arg(long, global = true, env = "DEMO_LOCAL_CACHE", default_value = "1s", value_parser = lease)]
    pub local_cache: Duration,

    /// Limits wrong passwords (10 a minute per account and address, 100 a minute per address) and
    /// registrations (30 a minute per address).
    #[arg(long, global = true, env = "DEMO_RATE_LIMIT", value_enum, default_value_t = Switch::On)]
    pub rate_limit: Switch,

    /// Allows `grant_type=password` at the token endpoint, which RFC 9700 forbids. For clients that
    /// know no other grant.
    #[arg(long, global = true, env = "DEMO_PASSWORD_GRANT", value_enum, default_value_t = Switch::Off)]
    pub password_grant: Switch,

    /// Binds tokens to a key of the client (RFC 9449): for clients that send proofs, or for all.
    #[arg(long, global = true, env = "DEMO_DPOP", value_enum, default_value_t = DpopMode::Off)]
    pub dpop: DpopMode,

    /// Demands in each proof a nonce that the service gave out, so that none is made ahead.
    #[arg(long, global = true, env = "DEMO_DPOP_NONCE", value_enum, default_value_t = Switch::Off)]
    pub dpop_nonce: Switch,

    /// Maximum number of sessions per user. Another sign-in ends the least recently used one.
    #[arg(long, global = true, env = "DEMO_MAX_SESSIONS", default_value = "100", value_parser = sessions)]
    pub max_sessions: NonZero<usize>,

    /// Origins whose pages may call this service with tokens in a header (CORS), such as
    /// `https://app.example`. Repeat the flag or separate them by commas.
    #[arg(
        long,
        global = true,
        env = "DEMO_CORS_ORIGIN",
        value_name = "ORIGIN",
        value_delimiter = ',',
        value_parser = origin
    )]
    pub cors_origin: Vec<auth_layer::dpop::Origin>,

    /// OpenTelemetry collector that gets a span of each request, by OTLP over HTTP: its base URL,
    /// such as `http://127.0.0.1:4318`. Needs a program that is built with `--features otel`.
    ///
    /// The variables of the OpenTelemetry SDK work too, for instance `OTEL_SERVICE_NAME` and
    /// `OTEL_TRACES_SAMPLER`.
    #[arg(long, global = true, env = "DEMO_OTLP_ENDPOINT", value_name = "URL", value_parser = endpoint)]
    pub otlp_endpoint: Option<String>,

    /// Format of the log on standard error. `RUST_LOG` sets the filter, `info` by default.
    #[arg(long, global = true, env = "DEMO_LOG_FORMAT", value_enum, default_value_t = LogFormat::Text)]
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

/// The header in which a proxy names the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ProxyHeader {
    /// `X-Forwarded-For`.
    XForwardedFor,
    /// `Forwarded` (RFC 7239).
    Forwarded,
}

/// Whether tokens are bound to keys of the clients (`DPoP`, RFC 9449).
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum DpopMode {
    /// Proofs are ignored.
    Off,
    /// A client that sends a proof gets tokens that are bound to its key.
    Optional,
    /// Each client must send proofs.
    Required,
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
    pub(crate) fn from_process() -> Self {
        process::parse(&std::env::args_os().collect::<Vec<_>>()).unwrap_or_else(|error| error.exit())
    }

    /// Returns all settings of this process, each with where its value came from and without
    /// secrets.
    pub(crate) fn effective() -> Result<Vec<Setting>, clap::Error> {
        process::effective(&std::env::args_os().collect::<Vec<_>>())
    }

    /// Returns the directory of the signing keys.
    pub fn keys_dir(&self) -> PathBuf {
        self.keys_dir.clone().unwrap_or_else(|| self.data_dir.join("keys"))
    }

    /// Returns the options of the embedded store.
    pub(crate) fn embedded_options(&self) -> EmbeddedOptions {
        EmbeddedOptions::default().with_cache_bytes(self.embedded_cache)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn config_defaults_are_as_documented() {
        let config = Config::parse_from(["demo-app"]);
        assert_eq!((config.listen.as_str(), config.metrics_listen.is_none()), ("127.0.0.1:3000", true));
        assert_eq!((&config.tls_cert, &config.tls_key), (&None, &None));
        assert_eq!((config.trusted_proxy.len(), config.proxy_header), (0, ProxyHeader::XForwardedFor));
        assert_eq!(config.data_dir, PathBuf::from("./data"));
        assert_eq!(config.keys_dir(), PathBuf::from("./data/keys"));
        assert_eq!(config.embedded_options(), EmbeddedOptions::default());
        assert_eq!(config.mongodb_database, "auth");
        assert_eq!((config.mongodb_uri.is_none(), config.redis_url.len(), config.clients.len()), (true, 0, 0));
        assert_eq!(config.redis_ttl, Duration::from_mins(1));
        assert_eq!(config.key_publish_delay, Duration::from_mins(1));
        assert_eq!((config.issuer.as_str(), config.audience), ("http://127.0.0.1:3000", vec!["demo-app".to_owned()]));
        assert_eq!((config.password_grant, config.dpop), (Switch::Off, DpopMode::Off));
        assert_eq!(config.dpop_nonce, Switch::Off);
        assert_eq!(config.access_ttl, Duration::from_mins(15));
        assert_eq!(config.refresh_ttl, Duration::from_hours(30 * 24));
        assert_eq!(config.refresh_grace, Duration::from_secs(10));
        assert_eq!(config.local_cache, Duration::from_secs(1));
        assert_eq!(config.rate_limit, Switch::On);
        assert_eq!(config.log_format, LogFormat::Text);
        assert_eq!(config.otlp_endpoint, None);
    }

    #[test]
    fn config_values_are_parsed_and_checked() {
        let flags = ["--local-cache", "0", "--refresh-grace", "500ms", "--redis-url", "redis://a,redis://b"];
        let config = Config::parse_from(["demo-app"].into_iter().chain(flags));
        assert_eq!(config.local_cache, Duration::ZERO);
        assert_eq!(config.refresh_grace, Duration::from_millis(500));
        assert_eq!(config.redis_url.len(), 2);
        let flags = ["--audience", "api,orders", "--audience", "https://billing.example", "--dpop", "required"];
        let config = Config::parse_from(["demo-app"].into_iter().chain(flags));
        assert_eq!(config.audience, ["api", "orders", "https://billing.example"]);
        assert_eq!(config.dpop, DpopMode::Required);
        let flags = ["--cors-origin", "https://App.example:443,http://[::1]:5173", "--cors-origin", "http://localhost"];
        let config = Config::parse_from(["demo-app"].into_iter().chain(flags));
        let origins: Vec<_> = config.cors_origin.iter().map(auth_layer::dpop::Origin::as_str).collect();
        assert_eq!(origins, ["https://app.example", "http://[::1]:5173", "http://localhost"]);
        let flags = ["--trusted-proxy", "10.1.2.3/8,127.0.0.1", "--trusted-proxy", "::ffff:192.0.2.0/120,::1"];
        let config = Config::parse_from(["demo-app"].into_iter().chain(flags));
        let networks: Vec<String> = config.trusted_proxy.iter().map(ToString::to_string).collect();
        assert_eq!(networks, ["10.0.0.0/8", "127.0.0.1/32", "192.0.2.0/24", "::1/128"]);
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
            ["--issuer", "auth.example"],
            ["--issuer", "ftp://auth.example"],
            ["--issuer", "https://auth.example/?tenant=1"],
            ["--issuer", "https://user@auth.example"],
            ["--issuer", "https://AUTH.example"],
            ["--audience", ""],
            ["--audience", "api,"],
            ["--password-grant", "maybe"],
            ["--dpop", "on"],
            ["--dpop-nonce", ""],
            ["--cors-origin", ""],
            ["--cors-origin", "*"],
            ["--cors-origin", "https://*.example"],
            ["--cors-origin", "null"],
            ["--cors-origin", "app.example"],
            ["--cors-origin", "https://app.example/page"],
            ["--cors-origin", "https://app.example/"],
            ["--cors-origin", "https://app.example,"],
            ["--cors-origin", "https://app.example?page"],
            ["--cors-origin", "https://user@app.example"],
            ["--mongodb-uri", ""],
            ["--mongodb-database", ""],
            ["--mongodb-database", "a.b"],
            ["--mongodb-database", "local"],
            ["--redis-url", ""],
            ["--redis-url", "redis://a,,redis://b"],
            ["--tls-cert", ""],
            ["--tls-key", ""],
            ["--trusted-proxy", ""],
            ["--trusted-proxy", "localhost"],
            ["--trusted-proxy", "10.0.0.0/33"],
            ["--trusted-proxy", "0.0.0.0/0"],
            ["--trusted-proxy", "::/0"],
            ["--proxy-header", "x-real-ip"],
            ["--data-dir", ""],
            ["--keys-dir", ""],
            ["--clients", ""],
            ["--listen", ""],
            ["--listen", "3000"],
            ["--listen", ":3000"],
            ["--listen", "::1:3000"],
            ["--listen", "localhost:65536"],
            ["--metrics-listen", ""],
            ["--metrics-listen", "9100"],
            ["--rate-limit", ""],
            ["--otlp-endpoint", ""],
            ["--otlp-endpoint", "127.0.0.1:4318"],
            ["--otlp-endpoint", "grpc://127.0.0.1:4317"],
            ["--otlp-endpoint", "http://user:password@collector"],
            ["--otlp-endpoint", "http://collector/?key=1"],
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
            ["--issuer", "http://auth.internal:8080"],
            ["--issuer", "https://auth.example/tenant"],
        ] {
            Config::try_parse_from(["demo-app", flag, value]).unwrap();
        }
    }

    #[test]
    fn config_of_a_command_has_the_settings_before_and_after_its_name() {
        for words in [
            &["--data-dir", "x", "keys", "list", "--json"][..],
            &["keys", "list", "--data-dir", "x", "--json"],
            &["keys", "--json", "--data-dir=x", "list"],
            &["--data-dir", "y", "keys", "list", "--json", "--data-dir", "x"],
        ] {
            let config = Config::parse_from(["demo-app"].iter().chain(words));
            assert_eq!(config.data_dir, PathBuf::from("x"), "{words:?}");
            assert!(matches!(config.command, Some(Command::Keys { json: true, .. })), "{words:?}");
        }
        assert!(Config::parse_from(["demo-app"]).command.is_none());
        for words in [["retire", "-Abc", "--now"], ["retire", "--now", "-Abc"]] {
            let config = Config::parse_from(["demo-app", "keys"].iter().chain(&words));
            assert!(format!("{config:?}").contains(r#"kid: "-Abc", now: true"#), "{words:?}: {config:?}");
        }
    }

    #[test]
    fn config_debug_shows_no_secret() {
        let flags = ["--mongodb-uri", "mongodb://u:hush@h", "--redis-url", "redis://:hush@h", "--clients", "a:hush"];
        let config = Config::parse_from(["demo-app"].into_iter().chain(flags));
        assert!(!format!("{config:?}").contains("hush"));
    }
}
