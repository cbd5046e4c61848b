//! Opens the two databases of the data directory and creates them once, together.
//!
//! `databases-created` is written when both exist. From then on a missing file is an error: a new
//! one would have lost its users or its revocations. Before that, a single empty file is an
//! interrupted first start.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use auth_layer::store::{
    StoreError,
    embedded::{EmbeddedOptions, EmbeddedStore, OpenError},
};

use crate::users::{EmbeddedUsers, UsersError};

const TOKENS: &str = "tokens.redb";
const USERS: &str = "users.redb";
const CREATED: &str = "databases-created";

/// The reason why the databases cannot be opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DataDirError {
    /// A database that once existed is missing.
    #[error(
        "`--data-dir {}` lacks {missing}; restore the directory from a backup, or delete all of it to start with no users and \
         sign everybody out",
        directory.display()
    )]
    Missing { directory: PathBuf, missing: String },
    /// No database was created here yet.
    #[error("`--data-dir {}` holds no database; check the path, or start the server once", .0.display())]
    New(PathBuf),
    /// A file of the directory cannot be accessed.
    #[error(
        "`--data-dir {}`: `{file}` cannot be accessed: {error}; check the directory's permissions and free space",
        directory.display()
    )]
    Io { directory: PathBuf, file: &'static str, error: io::Error },
    /// Another process has the directory open.
    #[error("{} is in use by another process; stop it, or use another `--data-dir`", .0.display())]
    InUse(PathBuf),
    #[error("the token store {} cannot be opened (if it is damaged, restore `--data-dir` from a backup)", .0.display())]
    Tokens(PathBuf, #[source] OpenError),
    #[error("the token store of `--data-dir` cannot be read")]
    Store(#[from] StoreError),
    #[error("the user file {} cannot be opened (if it is damaged, restore `--data-dir` from a backup)", .0.display())]
    Users(PathBuf, #[source] UsersError),
}

/// Fails if no database was created in the directory.
pub(crate) fn check_created(directory: &Path) -> Result<(), DataDirError> {
    for file in [CREATED, TOKENS, USERS] {
        if exists(directory, file)? {
            return Ok(());
        }
    }
    Err(DataDirError::New(directory.to_owned()))
}

fn exists(directory: &Path, file: &'static str) -> Result<bool, DataDirError> {
    let there = directory.join(file).try_exists();
    there.map_err(|error| DataDirError::Io { directory: directory.to_owned(), file, error })
}

/// Opens the databases of the directory, and creates them in a new one.
pub(crate) async fn open(
    directory: &Path,
    options: EmbeddedOptions,
) -> Result<(EmbeddedStore, EmbeddedUsers), DataDirError> {
    let exists = |file| exists(directory, file);
    let created = exists(CREATED)?;
    let (tokens, users) = (exists(TOKENS)?, exists(USERS)?);
    let missing = || {
        let names = [(TOKENS, tokens), (USERS, users)];
        let names: Vec<String> =
            names.iter().filter(|(_, there)| !there).map(|(name, _)| format!("`{name}`")).collect();
        DataDirError::Missing { directory: directory.to_owned(), missing: names.join(" and ") }
    };
    if created && !(tokens && users) {
        return Err(missing());
    }
    let open_tokens = || {
        let path = directory.join(TOKENS);
        EmbeddedStore::open_with(&path, options).map_err(|error| match error {
            OpenError::InUse => DataDirError::InUse(path),
            error => DataDirError::Tokens(path, error),
        })
    };
    let open_users = || {
        let path = directory.join(USERS);
        EmbeddedUsers::open(&path).map_err(|error| {
            if error.is_in_use() { DataDirError::InUse(path) } else { DataDirError::Users(path, error) }
        })
    };
    // A single existing file is opened first. The other is created only if that one is empty.
    let opened = if users && !tokens {
        let users = open_users()?;
        if !users.is_empty().await.map_err(|error| DataDirError::Users(directory.join(USERS), error))? {
            return Err(missing());
        }
        (open_tokens()?, users)
    } else {
        let tokens = open_tokens()?;
        if !users && !tokens.is_empty().await? {
            return Err(missing());
        }
        (tokens, open_users()?)
    };
    if !created {
        mark_created(directory).map_err(|error| DataDirError::Io {
            directory: directory.to_owned(),
            file: CREATED,
            error,
        })?;
    }
    Ok(opened)
}

/// Writes the marker that both databases were created. Their files and names are on the disk by
/// now.
fn mark_created(directory: &Path) -> io::Result<()> {
    let text = "The databases of this directory were created. A missing one is an error and is not created again.\n";
    let mut file = tempfile::NamedTempFile::new_in(directory)?;
    io::Write::write_all(&mut file, text.as_bytes())?;
    file.as_file().sync_all()?;
    file.persist(directory.join(CREATED)).map_err(|error| error.error)?;
    if cfg!(unix) { fs::File::open(directory)?.sync_all() } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use auth_layer::UserId;
    use chrono::Utc;

    use super::*;
    use crate::users::{Role, User, Users};

    async fn open(directory: &Path) -> Result<(EmbeddedStore, EmbeddedUsers), DataDirError> {
        super::open(directory, EmbeddedOptions::default()).await
    }

    async fn open_and_register(directory: &Path) {
        let (tokens, users) = open(directory).await.unwrap();
        let user = User {
            user_id: UserId::generate(),
            username: "ada".to_owned(),
            password_hash: "hash".to_owned(),
            role: Role::User,
            created_at: Utc::now(),
            password_changed_in: None,
        };
        let _ = auth_layer::store::TokenStore::set_user_disabled(&tokens, user.user_id.into(), true, Utc::now())
            .await
            .unwrap();
        Users::Embedded(users).add(user).await.unwrap();
    }

    fn missing_message(result: Result<(EmbeddedStore, EmbeddedUsers), DataDirError>) -> String {
        match result.unwrap_err() {
            error @ DataDirError::Missing { .. } => error.to_string(),
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn data_dir_with_missing_file_is_refused_and_unchanged() {
        for (gone, names) in [(&[USERS][..], "`users.redb`"), (&[TOKENS], "`tokens.redb`"), (&[TOKENS, USERS], "and")] {
            let directory = tempfile::tempdir().unwrap();
            open_and_register(directory.path()).await;
            for name in gone {
                fs::remove_file(directory.path().join(name)).unwrap();
            }
            for _ in 0..2 {
                let message = missing_message(open(directory.path()).await);
                assert!(
                    message.contains(names) && message.contains("--data-dir") && message.contains("backup"),
                    "{message}"
                );
            }
        }
    }

    #[tokio::test]
    async fn data_dir_of_earlier_version_opens_unless_a_file_is_missing() {
        for gone in [None, Some(USERS), Some(TOKENS)] {
            let directory = tempfile::tempdir().unwrap();
            open_and_register(directory.path()).await;
            fs::remove_file(directory.path().join(CREATED)).unwrap();
            match gone {
                None => {
                    let (_, users) = open(directory.path()).await.unwrap();
                    assert!(!users.is_empty().await.unwrap());
                    assert!(directory.path().join(CREATED).exists());
                }
                Some(name) => {
                    fs::remove_file(directory.path().join(name)).unwrap();
                    assert!(missing_message(open(directory.path()).await).contains(name));
                    assert!(!directory.path().join(name).exists());
                }
            }
        }
    }

    #[tokio::test]
    async fn data_dir_of_interrupted_first_start_is_finished() {
        for made in [&[][..], &[TOKENS], &[USERS], &[TOKENS, USERS]] {
            let directory = tempfile::tempdir().unwrap();
            for name in made {
                match *name {
                    TOKENS => drop(EmbeddedStore::open(directory.path().join(TOKENS)).unwrap()),
                    _ => drop(EmbeddedUsers::open(&directory.path().join(USERS)).unwrap()),
                }
            }
            open_and_register(directory.path()).await;
            let (_, users) = open(directory.path()).await.unwrap();
            assert!(!users.is_empty().await.unwrap());
        }
    }
}
