//! `demo-app clients`.

use std::time::Duration;

use auth_layer::{
    Authority, Scope, Subject,
    clock::Clock,
    oauth::{Client, ClientKind, RedirectUri, Secret},
};
use chrono::{SubsecRound, Utc};
use clap::Subcommand;
use serde::Serialize;

use super::{
    CommandError,
    output::{Format, Report, fields, note, spinner, table},
};
use crate::{
    audit::{Audit, Event},
    clients::{CACHE_TTL, Clients, DEFAULT_SCOPE, FIRST_PARTY, Registered, Registration, check_client_id},
    config::Config,
    start::{IfNew, Stores, open_stores},
    text::rfc3339,
};

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum ClientsCommand {
    /// Registers a client, and shows its secret once.
    Create {
        /// The `client_id`: 1 to 255 characters of printable ASCII, no UUID.
        name: String,
        /// The client cannot keep a secret: an application in a browser or on a device.
        #[arg(long)]
        public: bool,
        /// Where codes are sent; repeatable. It is matched exactly; only the port of a loopback
        /// address may differ.
        #[arg(long = "redirect-uri", value_name = "URI")]
        redirect_uris: Vec<RedirectUri>,
        /// The most that the client may ask for, separated by spaces.
        #[arg(long, default_value = DEFAULT_SCOPE)]
        scope: Scope,
    },
    /// Lists the clients: the built-in one, those of `--clients`, and those that are registered.
    List,
    /// Deletes a client and ends its sessions.
    Delete {
        /// The `client_id`.
        name: String,
    },
}

/// How many clients or sessions are read at a time.
const PAGE: u32 = 100;

/// The longest time that a node takes to answer a request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(3);

pub(super) async fn run(
    command: ClientsCommand,
    config: &Config,
    format: Format,
    clock: impl Clock,
) -> Result<(), CommandError> {
    match command {
        ClientsCommand::Create { name, public, redirect_uris, scope } => {
            check_client_id(&name).map_err(|rule| CommandError::Invalid { field: "the client id", rule })?;
            let stores = open_stores(config, IfNew::Create, clock).await?;
            let client = create(&stores.clients, name, public, redirect_uris, scope).await?;
            Audit::begin(Event::ClientCreated).client(&client.client_id).granted();
            format.print(&client)?;
            if !public {
                note("the secret is shown this once; only its hash is stored");
            }
            Ok(())
        }
        ClientsCommand::List => {
            let stores = open_stores(config, IfNew::Fail, clock).await?;
            format.print(&ClientList(list(&stores.clients).await?))
        }
        ClientsCommand::Delete { name } => {
            let stores = open_stores(config, IfNew::Fail, clock).await?;
            let client = delete(&stores, name).await?;
            Audit::begin(Event::ClientDeleted).client(&client.client_id).granted();
            format.print(&client)
        }
    }
}

async fn create(
    clients: &Clients,
    id: String,
    public: bool,
    redirect_uris: Vec<RedirectUri>,
    scope: Scope,
) -> Result<CreatedClient, CommandError> {
    // `--clients` comes first, and a stored client of that id would never be found.
    if clients.find(&id).await?.is_some() {
        return Err(CommandError::ClientIdTaken(id));
    }
    let secret = if public { None } else { Some(Secret::generate()?) };
    let invalid = |_| CommandError::Invalid { field: "the client id", rule: "cannot be used" };
    let client = match &secret {
        Some(secret) => Client::confidential(&id, secret.hash()).map_err(invalid)?,
        None => Client::public(&id).map_err(invalid)?,
    };
    let client = redirect_uris.iter().cloned().fold(client.scope(scope.clone()), Client::redirect_uri);
    match clients.add(Registration { client, created_at: Utc::now().trunc_subsecs(3) }).await? {
        Registered::Added => Ok(CreatedClient {
            client_id: id,
            client_secret: secret.map(|secret| secret.expose().to_owned()),
            redirect_uris,
            scope,
        }),
        Registered::IdTaken => Err(CommandError::ClientIdTaken(id)),
    }
}

async fn list(clients: &Clients) -> Result<Vec<ClientReport>, CommandError> {
    let fixed = clients.fixed().into_iter().map(|client| ClientReport::of(client, None));
    let mut listed: Vec<ClientReport> = fixed.collect();
    let mut after: Option<String> = None;
    loop {
        let page = clients.list(after.as_deref(), PAGE).await?;
        let is_last = page.len() < PAGE as usize;
        after = page.last().map(|registration| registration.client.id().to_owned());
        let reports =
            page.iter().map(|Registration { client, created_at }| ClientReport::of(client, Some(rfc3339(*created_at))));
        listed.extend(reports);
        if is_last {
            return Ok(listed);
        }
    }
}

/// Removes the registration, then ends what the client has.
///
/// If this breaks off, repeating it finishes it.
async fn delete(stores: &Stores, id: String) -> Result<DeletedClient, CommandError> {
    let Stores { authority, clients, .. } = stores;
    if id == FIRST_PARTY {
        return Err(CommandError::BuiltInClient(id));
    }
    if clients.is_fixed(&id) {
        return Err(CommandError::NamedClient(id));
    }
    let was_registered = clients.remove(&id).await?;
    let mut ended = end_sessions(authority, &id).await?;
    if !was_registered && ended == 0 {
        return Err(CommandError::UnknownClient(id));
    }
    if clients.is_shared() {
        // A node that has just read the client may issue for as long as it remembers it, and a
        // request that began then may end later.
        let wait = CACHE_TTL + REQUEST_TIMEOUT;
        note(&format!("waiting {} s, in which nodes may still know the client", wait.as_secs()));
        tokio::time::sleep(wait).await;
        ended += end_sessions(authority, &id).await?;
    }
    Ok(DeletedClient { client_id: id, sessions_ended: ended })
}

/// Ends the sessions of the client itself, then those that it opened for users. Returns how many
/// they were.
async fn end_sessions(authority: &Authority, id: &str) -> Result<u64, CommandError> {
    let spinner = spinner("ending sessions of the client");
    let mut ended = 0;
    if let Ok(subject) = id.parse::<Subject>() {
        ended += authority.sessions(&subject).await?.len() as u64;
        // It also fences a sign-in that has begun.
        authority.revoke_user(&subject, None).await?;
    }
    let mut after = None;
    loop {
        let page = authority.sessions_of_client(id, after, PAGE as usize).await?;
        for session in &page {
            authority.revoke_session(*session).await?;
            ended += 1;
            spinner.set_message(format!("ended {ended} sessions of the client"));
        }
        if page.len() < PAGE as usize {
            spinner.finish_and_clear();
            return Ok(ended);
        }
        after = page.last().copied();
    }
}

/// A new client. It has no `Debug`, because it holds the secret.
#[derive(Serialize)]
struct CreatedClient {
    client_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_secret: Option<String>,
    redirect_uris: Vec<RedirectUri>,
    scope: Scope,
}

impl Report for CreatedClient {
    fn text(&self) -> String {
        fields(self)
    }
}

#[derive(Serialize)]
struct ClientReport {
    client_id: String,
    kind: &'static str,
    scope: String,
    redirect_uris: Vec<String>,
    /// `None` for the built-in client and for those of `--clients`.
    created_at: Option<String>,
}

impl ClientReport {
    fn of(client: &Client, created_at: Option<String>) -> Self {
        let kind = match client.kind() {
            ClientKind::Public => "public",
            ClientKind::Confidential => "confidential",
        };
        // A request that names no scope gets all that the client may have.
        let scope = client.scope_for(None).unwrap_or_default().to_string();
        let redirect_uris = client.redirect_uris().iter().map(|uri| uri.as_str().to_owned()).collect();
        Self { client_id: client.id().to_owned(), kind, scope, redirect_uris, created_at }
    }
}

#[derive(Serialize)]
struct ClientList(Vec<ClientReport>);

impl Report for ClientList {
    fn text(&self) -> String {
        let rows = self.0.iter().map(|client| {
            [
                client.client_id.clone(),
                client.kind.to_owned(),
                client.created_at.clone().unwrap_or_else(|| "fixed".to_owned()),
                client.scope.clone(),
                client.redirect_uris.join(" "),
            ]
        });
        table(["CLIENT ID", "KIND", "CREATED", "SCOPE", "REDIRECT URIS"], rows)
    }
}

#[derive(Serialize)]
struct DeletedClient {
    client_id: String,
    sessions_ended: u64,
}

impl Report for DeletedClient {
    fn text(&self) -> String {
        format!("client `{}` is deleted, and {} sessions are ended", self.client_id, self.sessions_ended)
    }
}
