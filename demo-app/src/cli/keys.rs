//! `demo-app keys`.

use std::time::SystemTime;

use auth_layer::keys::Algorithm;
use clap::{Subcommand, ValueEnum};
use serde::Serialize;

use super::{
    CommandError,
    output::{Format, Report, table},
};
use crate::{
    audit::{Audit, Event},
    config::Config,
    keys_dir::{KeyInfo, KeyState, KeysDir, Retirement},
    start::{CLOCK_SKEW_MARGIN, longest_acceptance},
    text::rfc3339,
};

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum KeysCommand {
    /// Makes a key. It is published now, and signs after `--key-publish-delay`.
    Generate {
        /// The algorithm of the key.
        #[arg(long, value_enum, ignore_case = true, default_value_t = KeyAlgorithm::EdDsa)]
        algorithm: KeyAlgorithm,
    },
    /// Lists the keys in the order in which they sign.
    List,
    /// Makes a key in place of the one that signs, and retires that one.
    ///
    /// The old key signs until the new one does, after `--key-publish-delay`. It verifies until the
    /// last token that it signed has expired. Give the command the nodes' `--refresh-ttl` and
    /// `--access-ttl`.
    Rotate {
        /// The algorithm of the new key [default: that of the old one].
        #[arg(long, value_enum, ignore_case = true)]
        algorithm: Option<KeyAlgorithm>,
    },
    /// Retires a key: it stops signing, and verifies until the last token that it signed has
    /// expired.
    Retire {
        /// The key, as `keys list` shows it.
        // It may begin with a hyphen.
        #[arg(allow_hyphen_values = true)]
        kid: String,
        /// For a stolen key: it leaves every node at once, and its tokens are refused.
        #[arg(long)]
        now: bool,
    },
}

/// The algorithms of signing keys.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum KeyAlgorithm {
    #[value(name = "EdDSA")]
    EdDsa,
    #[value(name = "ES256")]
    Es256,
    #[value(name = "RS256")]
    Rs256,
}

impl From<KeyAlgorithm> for Algorithm {
    fn from(algorithm: KeyAlgorithm) -> Self {
        match algorithm {
            KeyAlgorithm::EdDsa => Self::EdDsa,
            KeyAlgorithm::Es256 => Self::Es256,
            KeyAlgorithm::Rs256 => Self::Rs256,
        }
    }
}

pub(super) fn run(command: KeysCommand, config: &Config, format: Format) -> Result<(), CommandError> {
    let mut keys = KeysDir::new(config.keys_dir(), config.key_publish_delay);
    let now = SystemTime::now();
    match command {
        KeysCommand::Generate { algorithm } => {
            let new = keys.generate(algorithm.into(), now)?;
            audit(&[&new]);
            format.print(&GeneratedKey(new.into()))
        }
        KeysCommand::List => {
            let (keys, problem) = keys.list(now)?;
            format.print(&KeyList(keys.into_iter().map(KeyReport::from).collect()))?;
            problem.map_or(Ok(()), |problem| Err(problem.into()))
        }
        KeysCommand::Rotate { algorithm } => {
            let (new, old) = keys.rotate(algorithm.map(Algorithm::from), longest_acceptance(config), now)?;
            audit(&[&new, &old]);
            format.print(&Rotation { new: new.into(), old: old.into() })
        }
        KeysCommand::Retire { kid, now: at_once } => {
            let retirement = if at_once {
                Retirement::Now { clock_skew: CLOCK_SKEW_MARGIN }
            } else {
                Retirement::AfterLastToken(longest_acceptance(config))
            };
            let old = keys.retire(&kid, retirement, now)?;
            audit(&[&old]);
            format.print(&RetiredKey(old.into()))
        }
    }
}

/// Writes the audit event of a change of these keys.
fn audit(keys: &[&KeyInfo]) {
    let kids: Vec<&str> = keys.iter().map(|key| key.kid.as_str()).collect();
    Audit::begin(Event::KeyChange).about(kids.join(", ")).granted();
}

/// A key as it is printed.
#[derive(Serialize)]
struct KeyReport {
    kid: String,
    algorithm: String,
    state: KeyState,
    created_at: String,
    active_from: String,
    retired_at: Option<String>,
    file: String,
}

impl From<KeyInfo> for KeyReport {
    fn from(key: KeyInfo) -> Self {
        let KeyInfo { kid, algorithm, state, created_at, active_from, retired_at, file } = key;
        let [created_at, active_from] = [created_at, active_from].map(rfc3339);
        Self { kid, algorithm, state, created_at, active_from, retired_at: retired_at.map(rfc3339), file }
    }
}

impl KeyReport {
    fn when_it_signs(&self) -> String {
        match self.state {
            KeyState::Signing => "it signs now".to_owned(),
            _ => format!("it signs from {} on", self.active_from),
        }
    }

    fn how_long_it_verifies(&self) -> String {
        let file = &self.file;
        match (self.state, &self.retired_at) {
            (KeyState::Retired, _) => format!("is retired: nodes drop it within 5 s; then `{file}` can be deleted"),
            (_, Some(retired_at)) => format!("verifies until {retired_at}; then `{file}` can be deleted"),
            (_, None) => "stays".to_owned(),
        }
    }
}

#[derive(Serialize)]
struct GeneratedKey(KeyReport);

impl Report for GeneratedKey {
    fn text(&self) -> String {
        let KeyReport { kid, file, .. } = &self.0;
        format!("key {kid} is published, in `{file}`; {}", self.0.when_it_signs())
    }
}

#[derive(Serialize)]
struct Rotation {
    new: KeyReport,
    old: KeyReport,
}

impl Report for Rotation {
    fn text(&self) -> String {
        let Self { new, old } = self;
        format!(
            "key {} is published, in `{}`; {}\nkey {} {}",
            new.kid,
            new.file,
            new.when_it_signs(),
            old.kid,
            old.how_long_it_verifies()
        )
    }
}

#[derive(Serialize)]
struct RetiredKey(KeyReport);

impl Report for RetiredKey {
    fn text(&self) -> String {
        format!("key {} {}", self.0.kid, self.0.how_long_it_verifies())
    }
}

#[derive(Serialize)]
struct KeyList(Vec<KeyReport>);

impl Report for KeyList {
    fn text(&self) -> String {
        let rows = self.0.iter().map(|key| {
            let state = match key.state {
                KeyState::Waiting => "waiting",
                KeyState::Signing => "signing",
                KeyState::Verifying => "verifying",
                KeyState::Retired => "retired",
            };
            [
                key.kid.clone(),
                key.algorithm.clone(),
                state.to_owned(),
                key.created_at.clone(),
                key.active_from.clone(),
                key.retired_at.clone().unwrap_or_else(|| "-".to_owned()),
                key.file.clone(),
            ]
        });
        table(["KID", "ALGORITHM", "STATE", "CREATED", "SIGNS FROM", "VERIFIES UNTIL", "FILE"], rows)
    }
}
