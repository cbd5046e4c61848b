//! Clients in MongoDB.

use auth_layer::oauth::Client;
use bson::{Bson, Document, doc};
use futures_util::TryStreamExt;
use mongodb::{Collection, Database};

use super::{ClientsError, Registered, Registration};
use crate::mongo::{self, MongoError, UNAUTHORIZED};

/// The field that MongoDB keeps unique, and its name in a [`Client`].
const ID: &str = "_id";
const CLIENT_ID: &str = "client_id";

const CREATED_AT: &str = "created_at";

/// The collection `clients`.
///
/// `_id` is the `client_id`. `client_name`, `redirect_uris`, `scope` and `secret_hash` are those of
/// a [`Client`], and `created_at` is a Date.
#[derive(Clone, Debug)]
pub(crate) struct MongoClients(Collection<Document>);

impl MongoClients {
    /// Opens the collection. Writes nothing.
    ///
    /// Fails if it holds other documents. Sorted by `_id`, those of one type are adjacent: if the
    /// first and the last are clients, all are.
    pub(crate) async fn open(database: &Database) -> Result<Self, ClientsError> {
        let clients: Collection<Document> = mongo::collection(database, "clients");
        for order in [1, -1] {
            let clients = clients.clone();
            let found = mongo::run(async move { clients.find_one(doc! {}).sort(doc! { ID: order }).await });
            if found.await.map_err(clients_error)?.is_some_and(|document| registration(document).is_err()) {
                return Err(ClientsError::refused(
                    "the collection `clients` holds another program's documents; use another `--mongodb-database`",
                ));
            }
        }
        Ok(Self(clients))
    }

    pub(super) async fn find(&self, id: &str) -> Result<Option<Client>, ClientsError> {
        let (clients, id) = (self.0.clone(), id.to_owned());
        let found = mongo::run(async move { clients.find_one(doc! { ID: id }).await }).await.map_err(clients_error)?;
        Ok(found.map(registration).transpose()?.map(|registration| registration.client))
    }

    pub(super) async fn add(&self, registration: Registration) -> Result<Registered, ClientsError> {
        let (clients, document) = (self.0.clone(), document(&registration)?);
        let adding = mongo::run(async move {
            match clients.insert_one(document).await {
                Ok(_) => Ok(Registered::Added),
                Err(error) if mongo::is_duplicate(&error) => Ok(Registered::IdTaken),
                Err(error) => Err(error),
            }
        });
        adding.await.map_err(clients_error)
    }

    pub(super) async fn remove(&self, id: &str) -> Result<bool, ClientsError> {
        let (clients, id) = (self.0.clone(), id.to_owned());
        let removed = mongo::run(async move { clients.delete_one(doc! { ID: id }).await });
        Ok(removed.await.map_err(clients_error)?.deleted_count == 1)
    }

    pub(super) async fn list(&self, after: Option<&str>, limit: u32) -> Result<Vec<Registration>, ClientsError> {
        let clients = self.0.clone();
        let filter = after.map_or_else(Document::new, |after| doc! { ID: { "$gt": after } });
        let listing = mongo::run(async move {
            clients.find(filter).sort(doc! { ID: 1 }).limit(limit.into()).await?.try_collect::<Vec<_>>().await
        });
        listing.await.map_err(clients_error)?.into_iter().map(registration).collect()
    }
}

/// Converts to a document.
fn document(registration: &Registration) -> Result<Document, ClientsError> {
    let mut document = bson::serialize_to_document(&registration.client)
        .map_err(|error| ClientsError::new("an OAuth client cannot be written as a document", error))?;
    document.remove(CLIENT_ID);
    document.insert(ID, registration.client.id());
    document.insert(CREATED_AT, bson::DateTime::from_chrono(registration.created_at));
    Ok(document)
}

/// Converts from a document.
fn registration(mut document: Document) -> Result<Registration, ClientsError> {
    const WHAT: &str = "a document of the collection `clients` is unreadable (changed by hand, or by a newer version)";
    let unreadable = |error: &'static str| ClientsError::new(WHAT, error);
    let Some(Bson::String(id)) = document.remove(ID) else { return Err(unreadable("its _id is not text")) };
    let Some(Bson::DateTime(created_at)) = document.remove(CREATED_AT) else {
        return Err(unreadable("its created_at is not a Date"));
    };
    document.insert(CLIENT_ID, id);
    let client = bson::deserialize_from_document(document).map_err(|error| ClientsError::new(WHAT, error))?;
    Ok(Registration { client, created_at: created_at.to_chrono() })
}

fn clients_error(error: MongoError) -> ClientsError {
    match error.code() {
        Some(UNAUTHORIZED) => ClientsError::refused(
            "MongoDB denies access to the collection `clients`; grant the user of `--mongodb-uri` the role readWrite",
        ),
        _ => ClientsError::new("the collection `clients` cannot be read or written", error.into_cause()),
    }
}

#[cfg(test)]
mod tests {
    use auth_layer::oauth::Secret;
    use chrono::DateTime;

    use super::*;

    #[test]
    fn clients_document_has_the_client_id_as_its_id_and_no_secret() {
        let secret = Secret::from("s3cret");
        let client = Client::confidential("job", secret.hash()).unwrap().scope("profile".parse().unwrap());
        let client = client.redirect_uri("https://job.example/cb".parse().unwrap());
        let created_at = DateTime::from_timestamp_millis(1_700_000_000_123).unwrap();
        let stored = Registration { client, created_at };
        let document = document(&stored).unwrap();
        assert_eq!((document.get_str("_id").unwrap(), document.get_str("scope").unwrap()), ("job", "profile"));
        assert!(!document.contains_key("client_id") && document.get_datetime("created_at").is_ok(), "{document}");
        assert!(!document.to_string().contains("s3cret"), "{document}");
        assert_eq!(registration(document.clone()).unwrap(), stored);
        for (name, value) in [("_id", Bson::Int32(1)), ("created_at", Bson::Null), ("scope", Bson::from("a  b"))] {
            let mut other = document.clone();
            other.insert(name, value);
            assert!(registration(other).is_err(), "{name}");
        }
    }
}
