//! Finds out why there is no primary.
//!
//! The driver ignores servers that do not match the URI, and then reports only that it found none.
//! So this module asks each server that the URI names what it is.

use std::time::Duration;

use bson::{Document, doc};
use futures_util::future::join_all;
use mongodb::{
    Client,
    options::{ClientOptions, ServerAddress},
};
use tokio::time::sleep;

use super::schema;
use crate::store::{StoreError, StoreErrorKind};

/// How long one server may take to answer.
const LIMIT: Duration = Duration::from_secs(1);

/// How long a starting member may say that it is in no set.
const STARTING: Duration = Duration::from_secs(1);

/// Returns what is set up wrongly, or `None` if the reachable servers show no such fault.
pub(super) async fn why_no_primary(options: &ClientOptions) -> Option<StoreError> {
    let error = ask(options).await?;
    sleep(STARTING).await;
    ask(options).await.map(|_| error)
}

async fn ask(options: &ClientOptions) -> Option<StoreError> {
    let answers = join_all(options.hosts.iter().map(|host| hello(options, host))).await;
    let faults: Vec<Option<StoreError>> =
        answers.iter().flatten().map(|hello| fault_of(hello, options.repl_set_name.as_deref())).collect();
    // If one member fits, the others may just be down.
    if faults.iter().any(Option::is_none) { None } else { faults.into_iter().flatten().next() }
}

/// Asks one server. `None` if it cannot be reached.
async fn hello(options: &ClientOptions, host: &ServerAddress) -> Option<Document> {
    let mut alone = options.clone();
    alone.hosts = vec![host.clone()];
    alone.direct_connection = Some(true);
    alone.repl_set_name = None;
    alone.load_balanced = None;
    // `hello` needs no credentials.
    alone.credential = None;
    alone.server_selection_timeout = Some(LIMIT);
    let client = Client::with_options(alone).ok()?;
    let hello = client.database("admin").run_command(doc! { "hello": 1 }).await;
    client.shutdown().immediate(true).await;
    hello.ok()
}

fn fault_of(hello: &Document, wanted: Option<&str>) -> Option<StoreError> {
    let unsupported = |what| Some(StoreError::new(StoreErrorKind::Unsupported, what));
    match hello.get_str("setName") {
        Ok(name) => match wanted {
            Some(wanted) if wanted != name => unsupported(
                "the MongoDB replica set has another name than the URI says: correct replicaSet=NAME in the URI",
            ),
            _ => None,
        },
        Err(_) if matches!(hello.get_str("msg"), Ok("isdbgrid")) => match wanted {
            Some(_) => unsupported("the MongoDB URI names a mongos: leave replicaSet out of it"),
            None => None,
        },
        Err(_) if matches!(hello.get_bool("isreplicaset"), Ok(true)) => unsupported(schema::NOT_INITIATED),
        Err(_) => unsupported(schema::NO_SET),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mongodb_servers_that_do_not_fit_the_uri_are_told_from_members() {
        let said = |hello: &Document, wanted| fault_of(hello, wanted).map(|error| error.to_string());
        let member = doc! { "setName": "rs0", "secondary": true };
        assert_eq!(said(&member, None), None);
        assert_eq!(said(&member, Some("rs0")), None);
        assert!(said(&member, Some("rs1")).unwrap().contains("replicaSet=NAME"));
        let ghost = doc! { "isreplicaset": true, "info": "Does not have a valid replica set config" };
        assert!(said(&ghost, Some("rs0")).unwrap().contains("rs.initiate()"));
        let standalone = doc! { "isWritablePrimary": true };
        assert!(said(&standalone, Some("rs0")).unwrap().contains("--replSet"));
        let mongos = doc! { "isWritablePrimary": true, "msg": "isdbgrid" };
        assert_eq!(said(&mongos, None), None);
        assert!(said(&mongos, Some("rs0")).unwrap().contains("mongos"));
    }
}
