//! The registered OAuth clients.
//!
//! - `demo-app` is built in: the first-party client, public, with no redirect URI.
//! - `--clients` names confidential clients, whose scope is `profile`.
//! - `demo-app clients` keeps others in the store of users: a table of `users.redb`, or the
//!   collection `clients` of MongoDB, where `_id` is the `client_id`.
//!
//! [`Clients::find`] keeps what it read for [`CACHE_TTL`]. So a running node knows of a new or
//! deleted client within that time, and a client that is asked for often costs few reads.

mod embedded;
mod mongodb;

use std::{collections::HashMap, error::Error, sync::Arc, time::Duration};

use auth_layer::oauth::{Client, Secret};
use chrono::{DateTime, Utc};
use quick_cache::sync::Cache;
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use uuid::Uuid;

pub(crate) use self::{embedded::EmbeddedClients, mongodb::MongoClients};
use crate::config;

/// The `client_id` of the built-in first-party client.
pub(crate) const FIRST_PARTY: &str = "demo-app";

/// The scope of a client whose registration names none.
pub(crate) const DEFAULT_SCOPE: &str = "profile";

/// How long a node believes what it read of a client.
pub(crate) const CACHE_TTL: Duration = Duration::from_secs(4);

/// How many clients a node remembers, and how many ids that no client has.
const CACHED: usize = 10_000;

/// A client and when it was registered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Registration {
    #[serde(flatten)]
    pub(crate) client: Client,
    pub(crate) created_at: DateTime<Utc>,
}

/// The result of registering a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Registered {
    Added,
    /// A client of this id is registered, built in or named by `--clients`.
    IdTaken,
}

/// The clients could not be read or written.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub(crate) struct ClientsError {
    what: &'static str,
    #[source]
    source: Option<Box<dyn Error + Send + Sync>>,
    /// Whether a retry is useless because a setting is wrong.
    refused: bool,
}

impl ClientsError {
    fn new(what: &'static str, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { what, source: Some(source.into()), refused: false }
    }

    /// Makes an error for a wrong setting, which `what` describes in one sentence.
    fn refused(what: &'static str) -> Self {
        Self { what, source: None, refused: true }
    }

    /// Returns whether a retry is useless.
    pub(crate) fn is_refused(&self) -> bool {
        self.refused
    }
}

/// `--clients` cannot be used. No message repeats a value, which may be a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FixedClientsError {
    #[error("`--clients` names `{FIRST_PARTY}`, which is the built-in client; use another id")]
    FirstParty,
    #[error("`--clients` names a client twice; remove one of the two")]
    Twice,
    #[error("`--clients` names a client whose id cannot be used: it {0}")]
    Id(&'static str),
}

/// Where registered clients are kept.
#[derive(Clone, Debug)]
pub(crate) enum ClientStore {
    Embedded(EmbeddedClients),
    Mongo(MongoClients),
}

/// The OAuth clients. Clones share the cache.
#[derive(Clone, Debug)]
pub(crate) struct Clients(Arc<ClientsInner>);

#[derive(Debug)]
struct ClientsInner {
    store: ClientStore,
    /// The clients that no store has: built in or named by `--clients`.
    fixed: HashMap<String, Arc<Client>>,
    cache: Cache<String, CachedClient>,
}

/// What was read of a client.
#[derive(Clone, Debug)]
struct CachedClient {
    /// When the read began.
    read_at: Instant,
    /// `None` if no client has the id.
    client: Option<Arc<Client>>,
}

impl Clients {
    /// Combines the registered clients with the built-in one and those of `--clients`.
    pub(crate) fn new(store: ClientStore, named: &[config::Client]) -> Result<Self, FixedClientsError> {
        let fixed = fixed_clients(named)?;
        Ok(Self(Arc::new(ClientsInner { store, fixed, cache: Cache::new(CACHED) })))
    }

    /// Returns the client of this id. What it returns was true within the last [`CACHE_TTL`].
    pub(crate) async fn find(&self, id: &str) -> Result<Option<Arc<Client>>, ClientsError> {
        if let Some(client) = self.0.fixed.get(id) {
            return Ok(Some(Arc::clone(client)));
        }
        // No client has such an id. It is not kept, for it may be of any length.
        if check_client_id(id).is_err() {
            return Ok(None);
        }
        let now = Instant::now();
        if let Some(cached) = self.0.cache.get(id)
            && now.duration_since(cached.read_at) < CACHE_TTL
        {
            return Ok(cached.client);
        }
        let client = match &self.0.store {
            ClientStore::Embedded(clients) => clients.find(id).await?,
            ClientStore::Mongo(clients) => clients.find(id).await?,
        };
        let client = client.map(Arc::new);
        self.0.cache.insert(id.to_owned(), CachedClient { read_at: now, client: client.clone() });
        Ok(client)
    }

    /// Registers a client, unless its id is taken.
    pub(crate) async fn add(&self, registration: Registration) -> Result<Registered, ClientsError> {
        let id = registration.client.id().to_owned();
        if self.is_fixed(&id) {
            return Ok(Registered::IdTaken);
        }
        let added = match &self.0.store {
            ClientStore::Embedded(clients) => clients.add(registration).await,
            ClientStore::Mongo(clients) => clients.add(registration).await,
        };
        self.0.cache.remove(&id);
        added
    }

    /// Removes the registration of a client; false if there is none. Its tokens stay good: revoke
    /// them after this.
    pub(crate) async fn remove(&self, id: &str) -> Result<bool, ClientsError> {
        let removed = match &self.0.store {
            ClientStore::Embedded(clients) => clients.remove(id).await,
            ClientStore::Mongo(clients) => clients.remove(id).await,
        };
        self.0.cache.remove(id);
        removed
    }

    /// Lists up to `limit` registered clients by id, those after `after`. The fixed ones are not
    /// among them.
    pub(crate) async fn list(&self, after: Option<&str>, limit: u32) -> Result<Vec<Registration>, ClientsError> {
        match &self.0.store {
            ClientStore::Embedded(clients) => clients.list(after, limit).await,
            ClientStore::Mongo(clients) => clients.list(after, limit).await,
        }
    }

    /// Returns the clients that are built in or named by `--clients`, by id.
    pub(crate) fn fixed(&self) -> Vec<&Client> {
        let mut fixed: Vec<&Client> = self.0.fixed.values().map(Arc::as_ref).collect();
        fixed.sort_by_key(|client| client.id());
        fixed
    }

    /// Returns whether the client is built in or named by `--clients`.
    pub(crate) fn is_fixed(&self, id: &str) -> bool {
        self.0.fixed.contains_key(id)
    }

    /// Returns whether other processes may read and write the clients.
    pub(crate) fn is_shared(&self) -> bool {
        matches!(self.0.store, ClientStore::Mongo(_))
    }
}

/// Checks the rule for the ids of clients.
///
/// A client that acts for itself is the subject of its tokens, and users' subjects are UUIDs. So no
/// client has the form of one.
pub(crate) fn check_client_id(id: &str) -> Result<(), &'static str> {
    if Client::public(id).is_err() {
        return Err("must be 1 to 255 characters of printable ASCII");
    }
    if Uuid::try_parse(id).is_ok() { Err("must not be a UUID, which is the form of user ids") } else { Ok(()) }
}

/// Checks `--clients` before any store is opened.
pub(crate) fn check_named(named: &[config::Client]) -> Result<(), FixedClientsError> {
    fixed_clients(named).map(drop)
}

fn fixed_clients(named: &[config::Client]) -> Result<HashMap<String, Arc<Client>>, FixedClientsError> {
    let invalid = |_| FixedClientsError::Id("must be 1 to 255 characters of printable ASCII");
    let scope = |text: &str| text.parse().unwrap_or_default();
    let first_party = Client::public(FIRST_PARTY).map_err(invalid)?.scope(scope("profile admin"));
    let mut fixed = HashMap::from([(FIRST_PARTY.to_owned(), Arc::new(first_party))]);
    for config::Client { id, secret } in named {
        if id == FIRST_PARTY {
            return Err(FixedClientsError::FirstParty);
        }
        let hash = Secret::from(secret.expose_secret()).hash();
        let client = Client::confidential(id, hash).map_err(invalid)?.scope(scope(DEFAULT_SCOPE));
        if fixed.insert(id.clone(), Arc::new(client)).is_some() {
            return Err(FixedClientsError::Twice);
        }
    }
    Ok(fixed)
}

#[cfg(test)]
mod tests;
