//! Logs one line that describes the running server.

use secrecy::ExposeSecret;

use super::{hosts, stores::Stores};
use crate::config::{Config, DpopMode, Switch};

/// Logs what serves and where its stores are. No field holds a secret: of URIs only hosts and names
/// appear.
///
/// The active key signs. Waiting keys will sign later, and the others only verify.
pub(super) fn log(config: &Config, stores: &Stores, waiting: &[String]) {
    let keys = stores.authority.keys();
    // The signing key comes first.
    let mut kids = keys.verifying_keys().map(auth_layer::keys::VerifyingKey::kid);
    let active = kids.next().unwrap_or("none");
    let (waiting, others): (Vec<&str>, Vec<&str>) = kids.partition(|kid| waiting.iter().any(|waits| waits == kid));
    let lease = match config.local_cache {
        lease if lease.is_zero() => "off".to_owned(),
        lease => humantime::format_duration(lease).to_string(),
    };
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        store = store(config),
        redis = redis(stores),
        lease,
        tls = if config.tls_cert.is_some() { "on" } else { "off" },
        trusted_proxies = if config.trusted_proxy.is_empty() {
            "none".to_owned()
        } else {
            config.trusted_proxy.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
        },
        issuer = config.issuer,
        audience = config.audience.join(", "),
        active_key = active,
        waiting_keys = list(&waiting),
        other_keys = list(&others),
        rate_limit = on_or_off(config.rate_limit),
        named_clients = config.clients.len(),
        password_grant = on_or_off(config.password_grant),
        dpop = match config.dpop {
            DpopMode::Off => "off",
            DpopMode::Optional => "optional",
            DpopMode::Required => "required",
        },
        "starting"
    );
}

fn on_or_off(switch: Switch) -> &'static str {
    if switch == Switch::On { "on" } else { "off" }
}

fn list(kids: &[&str]) -> String {
    if kids.is_empty() { "none".to_owned() } else { kids.join(", ") }
}

/// Describes the store of tokens and users.
fn store(config: &Config) -> String {
    match &config.mongodb_uri {
        Some(uri) => format!("MongoDB {}, database {}", hosts(uri.expose_secret()), config.mongodb_database),
        None => format!("embedded, in {}; no MongoDB is configured", config.data_dir.display()),
    }
}

fn redis(stores: &Stores) -> String {
    match &stores.shared_cache {
        Some(cache) => cache.addresses().join(", "),
        None => "none".to_owned(),
    }
}
