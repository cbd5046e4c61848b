//! Reads, caps, verifies and makes stored hashes.

use argon2::{
    Algorithm, Argon2, Block, Params, PasswordHash, Version,
    password_hash::phc::{Output, ParamsString, Salt},
};
use secrecy::ExposeSecret;

use super::{MemoryPool, Password, PasswordCheck};

/// The maximum memory of an argon2 hash, in KiB.
const MAX_MEMORY: u32 = 128 * 1024;

/// The maximum memory times passes, in KiB: about a quarter of a second.
const MAX_WORK: u64 = 512 * 1024;

/// The maximum cost of a bcrypt hash: about a second.
const MAX_BCRYPT_COST: u32 = 14;

/// A stored hash whose verification stays within the caps.
#[derive(Debug)]
pub(super) struct StoredHash {
    kind: HashKind,
    /// Whether the hash is weaker than one made today, or of another kind.
    outdated: bool,
}

enum HashKind {
    Argon2(Box<(Argon2<'static>, Salt, Output)>),
    Bcrypt(String),
}

/// The reason why a stored hash cannot be used. Contains no part of the hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum UnusableHash {
    #[error("not an argon2 or bcrypt hash")]
    Foreign,
    #[error("damaged, or with parameters that are not supported")]
    Damaged,
    #[error("too costly; the maximum is 128 MiB (512 MiB over all passes) for argon2 and cost 14 for bcrypt")]
    TooCostly,
}

impl StoredHash {
    /// Reads a stored hash; `ours` are the parameters of new hashes.
    pub(super) fn read(text: &str, ours: &Params) -> Result<Self, UnusableHash> {
        if text.starts_with("$2") {
            return Self::bcrypt(text);
        }
        if !text.starts_with("$argon2") {
            return Err(UnusableHash::Foreign);
        }
        let hash = PasswordHash::new(text).map_err(|_| UnusableHash::Damaged)?;
        let algorithm = Algorithm::new(hash.algorithm.as_str()).map_err(|_| UnusableHash::Damaged)?;
        let version = hash.version.map_or(Ok(Version::default()), Version::try_from);
        let version = version.map_err(|_| UnusableHash::Damaged)?;
        let params = Params::try_from(&hash).map_err(|_| UnusableHash::Damaged)?;
        let (Some(salt), Some(output)) = (hash.salt, hash.hash) else { return Err(UnusableHash::Damaged) };
        let work = u64::from(params.m_cost()) * u64::from(params.t_cost());
        if params.m_cost() > MAX_MEMORY || work > MAX_WORK {
            return Err(UnusableHash::TooCostly);
        }
        // A stronger hash stays. The lanes that share the cost do not matter.
        let weaker = params.m_cost() < ours.m_cost() || params.t_cost() < ours.t_cost();
        let outdated = weaker || algorithm != Algorithm::Argon2id || hash.version != Some(Version::V0x13.into());
        let argon2 = Argon2::new(algorithm, version, params);
        Ok(Self { kind: HashKind::Argon2(Box::new((argon2, salt, output))), outdated })
    }

    fn bcrypt(text: &str) -> Result<Self, UnusableHash> {
        if !["$2a$", "$2b$", "$2y$"].iter().any(|prefix| text.starts_with(prefix)) {
            return Err(UnusableHash::Foreign);
        }
        let parts: bcrypt::HashParts = text.parse().map_err(|_| UnusableHash::Damaged)?;
        if parts.get_cost() > MAX_BCRYPT_COST {
            return Err(UnusableHash::TooCostly);
        }
        Ok(Self { kind: HashKind::Bcrypt(text.to_owned()), outdated: true })
    }

    /// Returns the number of memory blocks that verifying takes.
    pub(super) fn blocks(&self) -> usize {
        match &self.kind {
            HashKind::Argon2(argon2) => argon2.0.params().block_count(),
            HashKind::Bcrypt(_) => 0,
        }
    }

    /// Verifies a password in NFC and, if it was sent in another form, in that form. A password
    /// that is right only as sent was hashed before passwords were normalised.
    pub(super) fn verify(&self, password: &Password, memory: &MemoryPool) -> Result<PasswordCheck, UnusableHash> {
        let normalized = self.is_right(password.normalized().expose_secret(), memory)?;
        let as_sent = match password.as_sent() {
            Some(sent) => self.is_right(sent.expose_secret(), memory)?,
            None => false,
        };
        Ok(match (normalized, as_sent) {
            (true, _) if !self.outdated => PasswordCheck::Right,
            (false, false) => PasswordCheck::Wrong,
            _ => PasswordCheck::RightAndOutdated,
        })
    }

    fn is_right(&self, password: &str, memory: &MemoryPool) -> Result<bool, UnusableHash> {
        match &self.kind {
            HashKind::Argon2(hash) => {
                let (argon2, salt, output) = &**hash;
                let length = output.as_bytes().len();
                let made =
                    compute_hash(argon2, password.as_bytes(), salt, length, memory).ok_or(UnusableHash::Damaged)?;
                // `Output` compares in constant time.
                Ok(made == *output)
            }
            HashKind::Bcrypt(hash) => bcrypt::verify(password, hash).map_err(|_| UnusableHash::Damaged),
        }
    }
}

impl std::fmt::Debug for HashKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Argon2(_) => "Argon2",
            Self::Bcrypt(_) => "Bcrypt",
        })
    }
}

/// Makes a PHC string with a random salt.
pub(super) fn hash(params: &Params, password: &[u8], memory: &MemoryPool) -> Option<String> {
    let (algorithm, version) = (Algorithm::Argon2id, Version::V0x13);
    let argon2 = Argon2::new(algorithm, version, params.clone());
    let salt = Salt::generate();
    let length = params.output_len().unwrap_or(Params::DEFAULT_OUTPUT_LEN);
    let output = compute_hash(&argon2, password, &salt, length, memory)?;
    let hash = PasswordHash {
        algorithm: algorithm.ident(),
        version: Some(version.into()),
        params: ParamsString::try_from(params).ok()?,
        salt: Some(salt),
        hash: Some(output),
    };
    Some(hash.to_string())
}

fn compute_hash(
    argon2: &Argon2<'_>,
    password: &[u8],
    salt: &Salt,
    length: usize,
    memory: &MemoryPool,
) -> Option<Output> {
    let mut output = [0; Output::MAX_LENGTH];
    let output = output.get_mut(..length)?;
    memory
        .with_blocks(argon2.params().block_count(), |blocks: &mut [Block]| {
            argon2.hash_password_into_with_memory(password, salt, output, blocks)
        })
        .ok()?;
    Output::new(output).ok()
}
