//! The reasons why a command fails.

use std::io;

use auth_layer::{SignInError, keys::KeyError, store::StoreError};

use crate::{clients::ClientsError, keys_dir::KeysError, password::HashError, start::StartError, users::UsersError};

/// The reason why a command failed, one sentence.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CommandError {
    #[error(transparent)]
    Start(#[from] StartError),
    #[error(transparent)]
    Keys(#[from] KeysError),
    #[error("the token store failed; what was done stays done, and the command can be repeated")]
    Store(#[from] StoreError),
    #[error("the user store failed; the command can be repeated")]
    Users(#[from] UsersError),
    #[error("the store of OAuth clients failed; the command can be repeated")]
    Clients(#[from] ClientsError),
    #[error("the password cannot be hashed")]
    Hash(#[from] HashError),
    #[error("the state of a user cannot be read")]
    Fence(#[from] SignInError),
    #[error("no secret can be generated: the system has no randomness")]
    Secret(#[from] KeyError),
    #[error("`{path}` cannot be read: {error}")]
    Import { path: String, error: io::Error },
    #[error("the form of the file is not clear from its name; add `--format csv` or `--format jsonl`")]
    ImportFormat,
    #[error("lines that were refused: {0}; the other users are imported, and the command can be repeated")]
    NotImported(usize),
    #[error("checks that failed: {0}")]
    Unhealthy(usize),
    #[error("the result cannot be written to standard output")]
    Output(#[source] io::Error),
    #[error("no password can be read from {from}")]
    Password { from: &'static str, source: io::Error },
    #[error("{field} {rule}")]
    Invalid { field: &'static str, rule: &'static str },
    #[error("the passwords differ; nothing was changed")]
    PasswordsDiffer,
    #[error("the username `{0}` is taken")]
    UsernameTaken(String),
    #[error("there is no user `{0}`; `demo-app users list` shows the users")]
    UnknownUser(String),
    #[error("the password of `{0}` was changed at the same time; repeat the command")]
    PasswordChanged(String),
    #[error("the client id `{0}` is taken; use another, or delete that client first")]
    ClientIdTaken(String),
    #[error("there is no client `{0}`; `demo-app clients list` shows the clients")]
    UnknownClient(String),
    #[error("the client `{0}` is built in and cannot be deleted")]
    BuiltInClient(String),
    #[error("the client `{0}` is named by `--clients`; remove it there, restart the nodes, then repeat the command")]
    NamedClient(String),
    #[error("ID must be the id of a token (`jti`) or of a session (`sid`), a UUID; a token itself is not taken")]
    NotAnId,
    #[error("nothing is recorded under this id; `demo-app tokens list USER` shows the ids of a user's sessions")]
    UnknownId,
}
