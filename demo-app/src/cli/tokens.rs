//! `demo-app tokens`.
//!
//! Tokens and sessions are named by their ids. No command takes or shows a token itself.

use auth_layer::{
    Authority, SessionId, TokenId,
    clock::Clock,
    store::{DynStore, Purged, Session, TokenStatus, TokenStore},
};
use chrono::{DateTime, Utc};
use clap::Subcommand;
use serde::Serialize;
use uuid::Uuid;

use super::{
    CommandError,
    output::{Format, Report, fields, spinner, table},
    users,
};
use crate::{
    audit::{Audit, Event},
    config::Config,
    start::{IfNew, Stores, open_stores},
    text::rfc3339,
};

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum TokensCommand {
    /// Lists the live sessions of a user, with the ids of their current tokens.
    List {
        /// The username.
        user: String,
    },
    /// Shows what is recorded of a token or a session.
    Show {
        /// The id of the token (`jti`) or of the session (`sid`).
        id: String,
    },
    /// Revokes a token or a session. A refresh token takes its session with it.
    Revoke {
        /// The id of the token (`jti`) or of the session (`sid`).
        id: String,
    },
    /// Removes what has expired.
    Purge,
}

pub(super) async fn run(
    command: TokensCommand,
    config: &Config,
    format: Format,
    clock: impl Clock,
) -> Result<(), CommandError> {
    // Read before the stores are opened.
    let id = match &command {
        TokensCommand::Show { id } | TokensCommand::Revoke { id } => parse_id(id)?,
        TokensCommand::List { .. } | TokensCommand::Purge => Uuid::nil(),
    };
    let stores = open_stores(config, IfNew::Fail, clock).await?;
    match command {
        TokensCommand::List { user } => format.print(&list(&stores, user).await?),
        TokensCommand::Show { .. } => match find(&stores.record, id, Utc::now()).await? {
            Found::Session(session) => format.print(&session),
            Found::Token(token) => format.print(&token),
        },
        TokensCommand::Revoke { .. } => {
            let revoked = revoke(&stores, id).await?;
            Audit::begin(Event::Revocation).about(&revoked.id).granted();
            format.print(&revoked)
        }
        TokensCommand::Purge => format.print(&purge(&stores.authority).await?),
    }
}

/// Reads an id in any spelling of a UUID. The error does not repeat it: it may be a token.
fn parse_id(text: &str) -> Result<Uuid, CommandError> {
    Uuid::try_parse(text).map_err(|_| CommandError::NotAnId)
}

async fn list(stores: &Stores, user: String) -> Result<SessionList, CommandError> {
    let user = users::find(&stores.users, user).await?;
    let sessions = stores.authority.sessions(user.user_id).await?;
    let now = Utc::now();
    Ok(SessionList(sessions.iter().map(|session| SessionReport::of(session, now)).collect()))
}

/// What is recorded under an id.
enum Found {
    Session(SessionReport),
    Token(TokenReport),
}

async fn find(record: &DynStore, id: Uuid, now: DateTime<Utc>) -> Result<Found, CommandError> {
    if let Some(session) = record.session(SessionId::from(id), now).await? {
        return Ok(Found::Session(SessionReport::of(&session, now)));
    }
    let token_id = TokenId::from(id);
    match record.token_status(token_id).await? {
        TokenStatus::Unknown => Err(CommandError::UnknownId),
        TokenStatus::Revoked => Ok(Found::Token(TokenReport {
            token_id,
            status: "revoked or used",
            kind: None,
            user_id: None,
            session_id: None,
            expires_at: None,
        })),
        TokenStatus::Active(token) => Ok(Found::Token(TokenReport {
            token_id,
            status: if token.expires_at > now { "active" } else { "expired" },
            kind: Some(token.kind.as_str()),
            user_id: Some(token.user_id.to_string()),
            session_id: Some(token.session_id),
            expires_at: Some(rfc3339(token.expires_at)),
        })),
    }
}

/// Revokes what has this id, also if it is revoked already: an earlier call may have failed
/// half-way.
async fn revoke(stores: &Stores, id: Uuid) -> Result<RevokedId, CommandError> {
    let kind = match find(&stores.record, id, Utc::now()).await? {
        Found::Session(_) => {
            stores.authority.revoke_session(SessionId::from(id)).await?;
            "session"
        }
        Found::Token(token) => {
            stores.authority.revoke_token(token.token_id).await?;
            token.kind.unwrap_or("token")
        }
    };
    Ok(RevokedId { id: id.to_string(), kind, status: "revoked" })
}

async fn purge(authority: &Authority) -> Result<PurgeReport, CommandError> {
    let spinner = spinner("removing what has expired");
    let purged = authority.purge_expired().await;
    spinner.finish_and_clear();
    let Purged { tokens, sessions, keys } = purged?;
    Ok(PurgeReport { tokens, sessions, keys })
}

#[derive(Serialize)]
struct SessionReport {
    session_id: SessionId,
    status: &'static str,
    user_id: String,
    client_id: String,
    scope: String,
    created_at: String,
    last_used_at: String,
    expires_at: String,
    access_token_id: TokenId,
    refresh_token_id: TokenId,
    user_agent: Option<String>,
}

impl SessionReport {
    fn of(session: &Session, now: DateTime<Utc>) -> Self {
        let status = match (session.revoked, session.is_live(now)) {
            (true, _) => "revoked",
            (false, true) => "live",
            (false, false) => "expired",
        };
        Self {
            session_id: session.session_id,
            status,
            user_id: session.user_id.to_string(),
            client_id: session.client_id().to_owned(),
            scope: session.scope().to_string(),
            created_at: rfc3339(session.created_at),
            last_used_at: rfc3339(session.last_used_at),
            expires_at: rfc3339(session.expires_at()),
            access_token_id: session.current.access_id,
            refresh_token_id: session.current.refresh_id,
            user_agent: session.user_agent().map(str::to_owned),
        }
    }
}

impl Report for SessionReport {
    fn text(&self) -> String {
        fields(self)
    }
}

#[derive(Serialize)]
struct SessionList(Vec<SessionReport>);

impl Report for SessionList {
    fn text(&self) -> String {
        let rows = self.0.iter().map(|session| {
            [
                session.session_id.to_string(),
                session.access_token_id.to_string(),
                session.refresh_token_id.to_string(),
                session.client_id.clone(),
                session.last_used_at.clone(),
                session.expires_at.clone(),
                session.user_agent.clone().unwrap_or_else(|| "-".to_owned()),
            ]
        });
        table(["SESSION", "ACCESS TOKEN", "REFRESH TOKEN", "CLIENT", "LAST USED", "EXPIRES", "USER AGENT"], rows)
    }
}

#[derive(Serialize)]
struct TokenReport {
    token_id: TokenId,
    status: &'static str,
    /// The store keeps no more of a revoked token than that it is.
    kind: Option<&'static str>,
    user_id: Option<String>,
    session_id: Option<SessionId>,
    expires_at: Option<String>,
}

impl Report for TokenReport {
    fn text(&self) -> String {
        fields(self)
    }
}

#[derive(Serialize)]
struct RevokedId {
    id: String,
    kind: &'static str,
    status: &'static str,
}

impl Report for RevokedId {
    fn text(&self) -> String {
        format!("{} {} is revoked", self.kind, self.id)
    }
}

#[derive(Serialize)]
struct PurgeReport {
    tokens: u64,
    sessions: u64,
    keys: u64,
}

impl Report for PurgeReport {
    fn text(&self) -> String {
        let Self { tokens, sessions, keys } = self;
        format!("removed {tokens} tokens, {sessions} sessions, and {keys} used proofs and codes")
    }
}
