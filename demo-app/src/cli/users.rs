//! `demo-app users`.

use std::path::PathBuf;

use auth_layer::{Authority, clock::Clock};
use clap::Subcommand;
use serde::Serialize;

use super::{
    CommandError,
    import::{ImportFormat, import},
    output::{Format, Report, table},
    password,
};
use crate::{
    audit::{Audit, Event},
    config::Config,
    password::{PasswordCost, Passwords},
    start::{IfNew, Stores, open_stores},
    users::{AddOutcome, Role, User, UserSummary, Users, check_username},
};

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum UsersCommand {
    /// Creates a user. The password comes from a prompt, or from standard input.
    Create {
        /// The username: 3 to 64 letters, digits, dots, underscores or hyphens.
        name: String,
        /// The role, which says what scopes the user may have.
        #[arg(long, value_enum, default_value_t = Role::User)]
        role: Role,
    },
    /// Adds users from a file, with the argon2 or bcrypt hashes that they have.
    ///
    /// The file has `username` and `password_hash`, and may have `role` and `user_id` (a UUID). It
    /// prints which lines were refused and why. It can be repeated: users who are there with the same
    /// hash are left as they are.
    Import {
        /// The file, or `-` for standard input.
        file: PathBuf,
        /// The form of the file [default: by its name, `.csv`, `.jsonl` or `.ndjson`].
        #[arg(long, value_enum)]
        format: Option<ImportFormat>,
    },
    /// Lists the users by name.
    List,
    /// Ends all sessions of a user and refuses sign-ins.
    Disable {
        /// The username.
        name: String,
    },
    /// Allows sign-ins of a user again. Ended sessions stay ended.
    Enable {
        /// The username.
        name: String,
    },
    /// Changes the role of a user. The role `user` also ends all sessions, whose scope may be more.
    Role {
        /// The username.
        name: String,
        /// The new role.
        #[arg(value_enum)]
        role: Role,
    },
    /// Sets a new password and ends all sessions. The password comes from a prompt, or from
    /// standard input.
    Password {
        /// The username.
        name: String,
    },
    /// Ends all sessions of a user.
    Revoke {
        /// The username.
        name: String,
    },
}

/// How many users are read at a time.
const PAGE: u32 = 100;

/// How often a password is set while its hash changes.
const MAX_PASSWORD_ATTEMPTS: usize = 3;

pub(super) async fn run(
    command: UsersCommand,
    config: &Config,
    format: Format,
    clock: impl Clock,
    cost: PasswordCost,
) -> Result<(), CommandError> {
    let open = async |if_new| open_stores(config, if_new, clock).await;
    match command {
        UsersCommand::Create { name, role } => {
            check_username(&name).map_err(|rule| CommandError::Invalid { field: "the username", rule })?;
            let password = password::read_new()?;
            let hash = Passwords::new(cost)?.hash(password.normalized()).await?;
            let Stores { authority, users, .. } = open(IfNew::CreateWithKey).await?;
            let user = create(&users, name, hash, role).await?;
            report(format, &authority, Event::UserCreated, user, "is created").await
        }
        UsersCommand::Import { file, format: file_format } => {
            let Stores { users, .. } = open(IfNew::CreateWithKey).await?;
            import(&users, &file, file_format, format).await
        }
        UsersCommand::List => {
            let Stores { authority, users, .. } = open(IfNew::Fail).await?;
            format.print(&UserList(list(&authority, &users).await?))
        }
        UsersCommand::Disable { name } => {
            let Stores { authority, users, .. } = open(IfNew::Fail).await?;
            let user = find(&users, name).await?;
            authority.set_user_disabled(user.user_id, true).await?;
            report(format, &authority, Event::UserDisabled, user, "is disabled, and all sessions are ended").await
        }
        UsersCommand::Enable { name } => {
            let Stores { authority, users, .. } = open(IfNew::Fail).await?;
            let user = find(&users, name).await?;
            authority.set_user_disabled(user.user_id, false).await?;
            report(format, &authority, Event::UserEnabled, user, "may sign in again").await
        }
        UsersCommand::Role { name, role } => {
            let Stores { authority, users, .. } = open(IfNew::Fail).await?;
            let user = set_role(&authority, &users, name, role).await?;
            let done = match role {
                Role::Admin => "is an administrator from the next sign-in on",
                Role::User => "is no administrator, and all sessions are ended",
            };
            report(format, &authority, Event::UserRole, user, done).await
        }
        UsersCommand::Password { name } => {
            let password = password::read_new()?;
            let hash = Passwords::new(cost)?.hash(password.normalized()).await?;
            let Stores { authority, users, .. } = open(IfNew::Fail).await?;
            let user = set_password(&authority, &users, name, hash).await?;
            report(format, &authority, Event::UserPassword, user, "has a new password, and all sessions are ended")
                .await
        }
        UsersCommand::Revoke { name } => {
            let Stores { authority, users, .. } = open(IfNew::Fail).await?;
            let user = find(&users, name).await?;
            authority.revoke_user(user.user_id, None).await?;
            report(format, &authority, Event::UserRevoked, user, "has no sessions any more").await
        }
    }
}

pub(super) async fn find(users: &Users, name: String) -> Result<User, CommandError> {
    users.by_name(&name).await?.ok_or(CommandError::UnknownUser(name))
}

async fn create(users: &Users, name: String, hash: String, role: Role) -> Result<User, CommandError> {
    let user = User::new(name.clone(), hash, role);
    match users.add(user.clone()).await? {
        AddOutcome::Added => Ok(user),
        AddOutcome::Taken => Err(CommandError::UsernameTaken(name)),
    }
}

async fn list(authority: &Authority, users: &Users) -> Result<Vec<UserSummary>, CommandError> {
    let mut listed: Vec<UserSummary> = Vec::new();
    loop {
        let after = listed.last().map(|user| user.username.as_str());
        let page = users.list(after, PAGE).await?;
        let is_last = page.len() < PAGE as usize;
        listed.extend(UserSummary::of_all(authority, page).await?);
        if is_last {
            return Ok(listed);
        }
    }
}

/// Sets the role, then ends the sessions that may have the scopes of another. A sign-in that read
/// the old role is refused, or its session ends, too.
async fn set_role(authority: &Authority, users: &Users, name: String, role: Role) -> Result<User, CommandError> {
    let user = find(users, name).await?;
    if !users.set_role(&user, role).await? {
        return Err(CommandError::UnknownUser(user.username));
    }
    // Also if the user had this role: an earlier call may have failed here.
    if role == Role::User {
        authority.revoke_user(user.user_id, None).await?;
    }
    Ok(User { role, ..user })
}

/// Writes the hash, then ends the sessions.
async fn set_password(authority: &Authority, users: &Users, name: String, hash: String) -> Result<User, CommandError> {
    for _ in 0..MAX_PASSWORD_ATTEMPTS {
        let user = find(users, name.clone()).await?;
        // False if the user changed the password since it was read, or a sign-in renewed its hash.
        if users.replace_hash(&user, hash.clone(), None).await? {
            authority.revoke_user(user.user_id, None).await?;
            return Ok(user);
        }
    }
    Err(CommandError::PasswordChanged(name))
}

/// Writes the audit event of a change, and prints the user.
async fn report(
    format: Format,
    authority: &Authority,
    event: Event,
    user: User,
    done: &'static str,
) -> Result<(), CommandError> {
    let audit = Audit::begin(event).user(user.user_id).claimed(&user.username);
    let audit = if event == Event::UserRole { audit.about(user.role.as_str()) } else { audit };
    audit.granted();
    format.print(&ChangedUser { user: UserSummary::of(authority, user).await?, done })
}

#[derive(Serialize)]
struct ChangedUser {
    #[serde(flatten)]
    user: UserSummary,
    #[serde(skip)]
    done: &'static str,
}

impl Report for ChangedUser {
    fn text(&self) -> String {
        format!("user `{}` ({}) {}", self.user.username, self.user.user_id, self.done)
    }
}

#[derive(Serialize)]
struct UserList(Vec<UserSummary>);

impl Report for UserList {
    fn text(&self) -> String {
        let rows = self.0.iter().map(|user| {
            let disabled = if user.disabled { "yes" } else { "no" };
            [
                user.username.clone(),
                user.user_id.to_string(),
                user.role.as_str().to_owned(),
                disabled.to_owned(),
                user.created_at.clone(),
            ]
        });
        table(["USERNAME", "USER ID", "ROLE", "DISABLED", "CREATED"], rows)
    }
}
