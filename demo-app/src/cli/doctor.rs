//! `demo-app doctor`.

use std::{fs, io, path::Path, time::SystemTime};

use auth_layer::{
    cache::redis::{EvictionPolicy, RedisCache},
    clock::Clock,
};
use bson::doc;
use chrono::{DateTime, TimeDelta, Utc};
use secrecy::ExposeSecret;
use serde::Serialize;

use super::{
    CommandError,
    output::{Format, Report, table},
};
use crate::{
    config::{Config, Switch},
    data_dir::{self, DataDirError},
    keys_dir::{KeyState, KeysDir, KeysError},
    logging::error_text,
    start::{self, CLOCK_SKEW_MARGIN, hosts},
    tls::{TlsFiles, Validity},
    users::Users,
};

/// How far a clock may be off without a word. A revocation at MongoDB is dated by the node's clock.
const USUAL_SKEW: TimeDelta = TimeDelta::seconds(2);

/// The check of the signing keys.
const KEYS: &str = "keys";

/// What was checked.
#[derive(Serialize)]
struct Findings {
    findings: Vec<Finding>,
}

#[derive(Serialize)]
struct Finding {
    check: &'static str,
    outcome: Outcome,
    /// What was found, and how to mend it.
    text: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Outcome {
    Ok,
    /// A node works, and something is to be known or to be improved.
    Warning,
    /// A node does not start, or does not keep its promises.
    Failure,
}

pub(super) async fn run(config: &Config, format: Format, clock: impl Clock) -> Result<(), CommandError> {
    let mut findings = Findings { findings: Vec::new() };
    check_settings(config, &mut findings);
    check_tls(config, &mut findings, clock.now());
    let has_key = check_keys(config, &mut findings, clock.now());
    let is_empty = match &config.mongodb_uri {
        None => check_data_dir(config, &mut findings).await,
        Some(uri) => check_mongodb(uri.expose_secret(), config, &mut findings, &clock).await,
    };
    if !has_key && is_empty == Some(false) {
        findings.fail(KEYS, &KeysError::Lost { directory: config.keys_dir() });
    }
    if !config.redis_url.is_empty() {
        check_redis(config, &mut findings).await;
    }
    format.print(&findings)?;
    match findings.findings.iter().filter(|finding| finding.outcome == Outcome::Failure).count() {
        0 => Ok(()),
        failures => Err(CommandError::Unhealthy(failures)),
    }
}

impl Findings {
    fn add(&mut self, check: &'static str, outcome: Outcome, text: impl Into<String>) {
        self.findings.push(Finding { check, outcome, text: text.into() });
    }

    fn fail(&mut self, check: &'static str, error: &(dyn std::error::Error + 'static)) {
        self.add(check, Outcome::Failure, error_text(error));
    }
}

impl Report for Findings {
    fn text(&self) -> String {
        let rows = self.findings.iter().map(|finding| {
            let outcome = match finding.outcome {
                Outcome::Ok => "ok",
                Outcome::Warning => "WARNING",
                Outcome::Failure => "FAILURE",
            };
            [finding.check.to_owned(), outcome.to_owned(), finding.text.clone()]
        });
        table(["CHECK", "OUTCOME", "FOUND"], rows)
    }
}

fn check_settings(config: &Config, findings: &mut Findings) {
    const CHECK: &str = "settings";
    let before = findings.findings.len();
    if let Err(error) = start::check_flags(config) {
        findings.fail(CHECK, &error);
    }
    if let Some(warning) = start::issuer_warning(config) {
        findings.add(CHECK, Outcome::Warning, warning);
    }
    if config.rate_limit == Switch::Off {
        findings.add(CHECK, Outcome::Warning, "`--rate-limit off`: passwords can be guessed without a limit");
    }
    if config.password_grant == Switch::On {
        findings.add(CHECK, Outcome::Warning, "`--password-grant on`: RFC 9700 forbids this grant");
    }
    if findings.findings.len() == before {
        findings.add(CHECK, Outcome::Ok, "they work together");
    }
}

/// Checks the certificate, if there is one. What is wrong with the flags is among the settings.
fn check_tls(config: &Config, findings: &mut Findings, now: DateTime<Utc>) {
    const CHECK: &str = "TLS";
    let Ok(Some(files)) = TlsFiles::of(config) else { return };
    let certificate = match files.load() {
        Ok(certificate) => certificate,
        Err(error) => return findings.fail(CHECK, &error),
    };
    let (from, until) = (certificate.valid_from(), certificate.valid_until());
    let (outcome, text) = match certificate.validity(now) {
        Validity::Valid => {
            let count = certificate.chain_length();
            (
                Outcome::Ok,
                format!("the certificate and its key belong together; valid until {until}; {count} in the chain"),
            )
        }
        Validity::EndsSoon => (Outcome::Warning, format!("the certificate ends at {until}; renew it")),
        Validity::Expired => (Outcome::Failure, format!("the certificate expired at {until}; renew it")),
        Validity::NotYet => {
            (Outcome::Failure, format!("the certificate is not valid before {from}; check this machine's clock"))
        }
    };
    findings.add(CHECK, outcome, text);
    if !certificate.covers(&config.issuer) {
        let text = format!(
            "the certificate is not for the host of `--issuer {}`: clients refuse it, unless a proxy is in front; get one \
             with that name",
            config.issuer
        );
        findings.add(CHECK, Outcome::Warning, text);
    }
    if certificate.key_is_exposed() {
        let text = format!("other users may read {}; run `chmod o-r` on it", files.key().display());
        findings.add(CHECK, Outcome::Failure, text);
    }
}

/// Checks the keys directory. Returns false if there is no key in it.
fn check_keys(config: &Config, findings: &mut Findings, now: DateTime<Utc>) -> bool {
    let path = config.keys_dir();
    let mut keys = KeysDir::new(path.clone(), config.key_publish_delay);
    let listed = keys.list(SystemTime::from(now));
    let has_key = !matches!(listed, Err(KeysError::Empty { .. }));
    match listed {
        Err(KeysError::Empty { .. }) => {
            findings.add(
                KEYS,
                Outcome::Warning,
                "there is no key yet; the first start makes one, in an empty store alone",
            );
        }
        Err(error) => findings.fail(KEYS, &error),
        Ok((infos, problem)) => {
            if let Some(problem) = problem {
                findings.fail(KEYS, &problem);
            }
            let count = |state| infos.iter().filter(|key| key.state == state).count();
            let signing = infos.iter().find(|key| key.state == KeyState::Signing);
            match signing {
                Some(key) => {
                    let [waiting, verifying] = [KeyState::Waiting, KeyState::Verifying].map(count);
                    let text = format!(
                        "{} signs ({}); {waiting} will sign, {verifying} verify what they have signed",
                        key.kid, key.algorithm
                    );
                    findings.add(KEYS, Outcome::Ok, text);
                }
                None => findings.add(KEYS, Outcome::Failure, "no key signs; make one with `demo-app keys generate`"),
            }
            for key in infos.iter().filter(|key| key.created_at > now + USUAL_SKEW) {
                let text = format!("`{}` was made in the future: a clock is or was wrong", key.file);
                findings.add(KEYS, Outcome::Warning, text);
            }
        }
    }
    for file in keys.exposed() {
        let text = format!("other users may read {}; run `chmod 600` on it", file.display());
        findings.add(KEYS, Outcome::Failure, text);
    }
    check_is_private(&path, KEYS, findings);
    has_key
}

/// Finds fault with a directory that others may change: who replaces a key's file signs.
fn check_is_private(directory: &Path, check: &'static str, findings: &mut Findings) {
    #[cfg(unix)]
    if let Ok(metadata) = fs::metadata(directory)
        && std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o022 != 0
    {
        let text = format!("other users may write to {}; run `chmod 700` on it", directory.display());
        findings.add(check, Outcome::Failure, text);
    }
}

/// Returns whether there is no user and no token; `None` if that is not known.
async fn check_data_dir(config: &Config, findings: &mut Findings) -> Option<bool> {
    const CHECK: &str = "data directory";
    let directory = &config.data_dir;
    check_is_private(directory, CHECK, findings);
    match data_dir::check_created(directory) {
        Err(DataDirError::New(_)) => {
            let text = format!("{} holds no database yet; the first start makes it", directory.display());
            findings.add(CHECK, Outcome::Warning, text);
            return Some(true);
        }
        Err(error) => {
            findings.fail(CHECK, &error);
            return None;
        }
        Ok(()) => {}
    }
    if let Err(error) = can_write_to(directory) {
        let text = format!("{} cannot be written: {error}; check permissions and free space", directory.display());
        findings.add(CHECK, Outcome::Failure, text);
    }
    match data_dir::open(directory, config.embedded_options()).await {
        Ok((store, users)) => {
            findings.add(CHECK, Outcome::Ok, format!("{} can be opened and written", directory.display()));
            Some(store.is_empty().await.ok()? && users.is_empty().await.ok()?)
        }
        Err(DataDirError::InUse(_)) => {
            findings.add(CHECK, Outcome::Ok, format!("{} is in use by a running server", directory.display()));
            None
        }
        Err(error) => {
            findings.fail(CHECK, &error);
            None
        }
    }
}

fn can_write_to(directory: &Path) -> io::Result<()> {
    tempfile::NamedTempFile::new_in(directory).map(drop)
}

/// Checks what a node does at its start, indexes included: those that are missing are made. Returns
/// whether there is no user and no token; `None` if that is not known.
async fn check_mongodb(uri: &str, config: &Config, findings: &mut Findings, clock: &impl Clock) -> Option<bool> {
    const CHECK: &str = "MongoDB";
    let (store, users, _) = match start::open_mongodb(uri, &config.mongodb_database).await {
        Ok(stores) => stores,
        Err(error) => {
            findings.fail(CHECK, &error);
            return None;
        }
    };
    let before = clock.now();
    let hello = match store.database().run_command(doc! { "hello": 1 }).await {
        Ok(hello) => hello,
        Err(error) => {
            findings.fail(CHECK, &error);
            return None;
        }
    };
    let primary = hello.get_str("primary").unwrap_or("an unnamed primary");
    let text = format!(
        "{} serves database {}; the primary is {primary}; collections and indexes are there",
        hosts(uri),
        config.mongodb_database
    );
    findings.add(CHECK, Outcome::Ok, text);
    if let Ok(theirs) = hello.get_datetime("localTime") {
        // The answer came some time between the two.
        let (theirs, after) = (theirs.to_chrono(), clock.now());
        let skew = (before - theirs).max(theirs - after).max(TimeDelta::zero());
        check_clock("clock", "MongoDB's primary", skew, findings);
    }
    Some(store.is_empty().await.ok()? && Users::Mongo(users).is_empty().await.ok()?)
}

fn check_clock(check: &'static str, other: &str, skew: TimeDelta, findings: &mut Findings) {
    let seconds = skew.as_seconds_f64();
    let margin = CLOCK_SKEW_MARGIN.as_secs();
    if skew.to_std().is_ok_and(|skew| skew >= CLOCK_SKEW_MARGIN) {
        let text = format!(
            "it differs by {seconds:.1} s from that of {other}, and {margin} s is the most that is allowed for; synchronise \
             both, with NTP for instance"
        );
        findings.add(check, Outcome::Failure, text);
    } else if skew > USUAL_SKEW {
        let text =
            format!("it differs by {seconds:.1} s from that of {other}; synchronise both, with NTP for instance");
        findings.add(check, Outcome::Warning, text);
    } else {
        findings.add(check, Outcome::Ok, format!("it agrees with that of {other}"));
    }
}

/// Tries every command that the cache sends.
async fn check_redis(config: &Config, findings: &mut Findings) {
    const CHECK: &str = "Redis";
    let (urls, options) = start::redis_settings(config);
    if let Err(error) = RedisCache::probe(&urls, &options).await {
        return findings.fail(CHECK, &start::redis_error(error));
    }
    let cache = match RedisCache::connect(&urls, options).await {
        Ok(cache) => cache,
        Err(error) => return findings.fail(CHECK, &start::redis_error(error)),
    };
    findings.add(CHECK, Outcome::Ok, format!("{} allows every command that is needed", cache.addresses().join(",")));
    let policy = cache.eviction_policy();
    if let Some(warning) = start::eviction_warning(policy.as_ref()) {
        let evicts = matches!(policy, Some(EvictionPolicy::Evicts(_)));
        findings.add(CHECK, if evicts { Outcome::Failure } else { Outcome::Warning }, warning);
    }
}
