use std::{io, path::PathBuf};

use auth_layer::keys::KeyError;

use super::manifest;

/// The reason why the keys could not be loaded. Each message names the directory by its flag.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeysError {
    /// The directory, or a file in it, cannot be read or written.
    #[error("`--keys-dir {}`: {what} cannot be read or written: {error}", directory.display())]
    Io {
        directory: PathBuf,
        /// The directory itself or a file in it.
        what: String,
        error: io::Error,
    },
    /// A file holds no usable key.
    #[error("`--keys-dir {}`: `{file}`: {error}", directory.display())]
    Key { directory: PathBuf, file: String, error: KeyError },
    /// The manifest is not valid.
    #[error(
        "`--keys-dir {}`: `{name}` cannot be used: {error}; restore it, or remove it to order the keys by the files' \
         modification times",
        directory.display(),
        name = manifest::FILE_NAME
    )]
    Manifest { directory: PathBuf, error: io::Error },
    /// The manifest contradicts a key.
    #[error(
        "`--keys-dir {}`: `{file}` holds a key for {holds}, and `{name}` says {says}; correct `{name}`",
        directory.display(),
        name = manifest::FILE_NAME
    )]
    Algorithm { directory: PathBuf, file: String, holds: &'static str, says: String },
    /// The manifest names keys whose files are missing.
    #[error(
        "`--keys-dir {}` lacks {files}; restore the files. A key is removed by `demo-app keys retire` alone",
        directory.display()
    )]
    Missing { directory: PathBuf, files: String },
    /// All keys disappeared under a running node.
    #[error("`--keys-dir {}`: every key file is missing; mount the volume or restore the files", directory.display())]
    AllMissing { directory: PathBuf },
    /// There is no key, but the store holds users or tokens signed with another.
    #[error(
        "`--keys-dir {}` holds no key, but the store holds users or tokens: a new key would sign everybody out. Restore the \
         keys, or sign everybody out with a new key: `demo-app keys generate`",
        directory.display()
    )]
    Lost { directory: PathBuf },
    /// All keys are retired.
    #[error(
        "`--keys-dir {}`: every key is retired, so none can sign; add a key: `demo-app keys generate`",
        directory.display()
    )]
    AllRetired { directory: PathBuf },
    /// A command names a key that is not there.
    #[error("`--keys-dir {}` has no key {kid}; `demo-app keys list` shows the keys", directory.display())]
    Unknown { directory: PathBuf, kid: String },
    /// There is no key to rotate or to list.
    #[error("`--keys-dir {}` holds no key; check the path, or run `demo-app keys generate`", directory.display())]
    Empty { directory: PathBuf },
    /// A rotation is under way.
    #[error(
        "`--keys-dir {}`: key {kid} signs from {from} on, so a rotation is under way; rotate again after that",
        directory.display()
    )]
    Waiting { directory: PathBuf, kid: String, from: String },
    /// The key to retire is the last that can sign.
    #[error(
        "`--keys-dir {}`: no other key can sign in place of {kid}; run `demo-app keys rotate`, which retires it, or for a \
         stolen key `demo-app keys generate` first",
        directory.display()
    )]
    LastSigner { directory: PathBuf, kid: String },
    /// A key cannot be made or added to the ring.
    #[error("`--keys-dir`: a signing key cannot be generated or added to the key ring")]
    Ring(#[from] KeyError),
    /// A load panicked.
    #[error("reading `--keys-dir` panicked (a bug; please report the panic above); retrying")]
    Panicked,
}
