use std::{io, path::PathBuf};

use auth_layer::keys::KeyError;

use super::manifest;

/// The reason why the keys could not be loaded. Each message names the directory by its flag.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeysError {
    /// The directory, or a file in it, cannot be read or written.
    #[error("`--keys-dir {}`: {what} cannot be used", directory.display())]
    Io {
        directory: PathBuf,
        /// The directory itself or a file in it.
        what: String,
        #[source]
        source: io::Error,
    },
    /// A file holds no usable key.
    #[error("`--keys-dir {}`: `{file}`: {source}", directory.display())]
    Key { directory: PathBuf, file: String, source: KeyError },
    /// The manifest is not valid.
    #[error(
        "`--keys-dir {}`: `{name}` is damaged; restore it, or remove it to go by the files' times of modification",
        directory.display(),
        name = manifest::NAME
    )]
    Manifest {
        directory: PathBuf,
        #[source]
        source: io::Error,
    },
    /// The manifest contradicts a key.
    #[error(
        "`--keys-dir {}`: `{file}` holds a key for {holds}, and `{name}` says {says}; correct `{name}`",
        directory.display(),
        name = manifest::NAME
    )]
    Algorithm { directory: PathBuf, file: String, holds: &'static str, says: String },
    /// The manifest names keys whose files are missing.
    #[error(
        "`--keys-dir {}`: missing: {files}; put the files back (a key leaves by being retired in `{name}`, not by removing it)",
        directory.display(),
        name = manifest::NAME
    )]
    Missing { directory: PathBuf, files: String },
    /// All keys disappeared under a running node.
    #[error("`--keys-dir {}`: none of the keys in use is there; is the volume mounted? Put the files back", directory.display())]
    Emptied { directory: PathBuf },
    /// There is no key, but the store holds users or tokens signed with another.
    #[error(
        "`--keys-dir {}` holds no key, but the store holds users or tokens: a new key would sign everybody out. Put the keys \
         back, or sign everybody out by a key of your own: `openssl genpkey -algorithm ed25519 -out {}`",
        directory.display(),
        directory.join(super::FIRST).display()
    )]
    Lost { directory: PathBuf },
    /// All keys are retired.
    #[error("`--keys-dir {}`: every key is retired, and none may sign; add one", directory.display())]
    NoneSigns { directory: PathBuf },
    /// A key cannot be made or added to the ring.
    #[error("the key ring cannot be made")]
    Ring(#[from] KeyError),
    /// A load panicked.
    #[error("reading the keys directory panicked; it is read again")]
    Panicked,
}
