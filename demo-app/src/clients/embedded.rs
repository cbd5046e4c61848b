//! Clients in the users' file.

use std::ops::Bound;

use auth_layer::oauth::Client;
use redb::{ReadOnlyTable, ReadTransaction, ReadableDatabase, ReadableTable, TableDefinition, TableError};

use super::{ClientsError, Registered, Registration};
use crate::users::{EmbeddedUsers, UserFileError, UsersError};

/// Registrations as JSON, by `client_id`. The table is made with the first client.
const CLIENTS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("clients");

/// Stores clients in the file of the users.
#[derive(Clone, Debug)]
pub(crate) struct EmbeddedClients(EmbeddedUsers);

impl EmbeddedClients {
    pub(crate) fn new(file: EmbeddedUsers) -> Self {
        Self(file)
    }

    pub(super) async fn find(&self, id: &str) -> Result<Option<Client>, ClientsError> {
        let id = id.to_owned();
        let found = self.0.read(move |database| {
            let Some(clients) = open(&database.begin_read()?)? else { return Ok(None) };
            let Some(stored) = clients.get(id.as_str())? else { return Ok(None) };
            Ok(Some(serde_json::from_slice::<Registration>(stored.value())?.client))
        });
        found.await.map_err(clients_error)
    }

    pub(super) async fn add(&self, registration: Registration) -> Result<Registered, ClientsError> {
        let added = self.0.write(move |write| {
            let mut clients = write.open_table(CLIENTS)?;
            let id = registration.client.id();
            if clients.get(id)?.is_some() {
                return Ok(Registered::IdTaken);
            }
            clients.insert(id, &*serde_json::to_vec(&registration)?)?;
            Ok(Registered::Added)
        });
        added.await.map_err(clients_error)
    }

    pub(super) async fn remove(&self, id: &str) -> Result<bool, ClientsError> {
        let id = id.to_owned();
        let removed = self.0.write(move |write| Ok(write.open_table(CLIENTS)?.remove(id.as_str())?.is_some()));
        removed.await.map_err(clients_error)
    }

    pub(super) async fn list(&self, after: Option<&str>, limit: u32) -> Result<Vec<Registration>, ClientsError> {
        let after = after.map(str::to_owned);
        let listed = self.0.run(move |database| {
            let Some(clients) = open(&database.begin_read()?)? else { return Ok(Vec::new()) };
            let from = after.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
            let mut listed = Vec::new();
            for row in clients.range::<&str>((from, Bound::Unbounded))?.take(limit as usize) {
                let (_, stored) = row?;
                listed.push(serde_json::from_slice(stored.value())?);
            }
            Ok(listed)
        });
        listed.await.map_err(clients_error)
    }
}

/// Opens the table; `None` if no client was ever registered.
fn open(read: &ReadTransaction) -> Result<Option<ReadOnlyTable<&'static str, &'static [u8]>>, UserFileError> {
    match read.open_table(CLIENTS) {
        Err(TableError::TableDoesNotExist(_)) => Ok(None),
        opened => Ok(Some(opened?)),
    }
}

fn clients_error(error: UsersError) -> ClientsError {
    ClientsError::new("the OAuth clients cannot be read or written", error)
}
