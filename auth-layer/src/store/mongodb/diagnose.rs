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
const HELLO_TIMEOUT: Duration = Duration::from_secs(1);

/// How long a starting member may say that it is in no set.
const STARTUP_PAUSE: Duration = Duration::from_secs(1);

/// Returns what is set up wrongly, or `None` if the reachable servers show no such fault.
pub(super) async fn find_misconfiguration(options: &ClientOptions) -> Option<StoreError> {
    let error = check_servers(options).await?;
    sleep(STARTUP_PAUSE).await;
    check_servers(options).await.map(|_| error)
}

async fn check_servers(options: &ClientOptions) -> Option<StoreError> {
    let answers = join_all(options.hosts.iter().map(|host| hello(options, host))).await;
    let faults: Vec<Option<StoreError>> =
        answers.iter().flatten().map(|hello| misconfiguration_of(hello, options.repl_set_name.as_deref())).collect();
    // If one member fits, the others may just be down.
    if faults.iter().any(Option::is_none) { None } else { faults.into_iter().flatten().next() }
}

/// Asks one server. `None` if it cannot be reached.
async fn hello(options: &ClientOptions, host: &ServerAddress) -> Option<Document> {
    let mut direct = options.clone();
    direct.hosts = vec![host.clone()];
    direct.direct_connection = Some(true);
    direct.repl_set_name = None;
    direct.load_balanced = None;
    // `hello` needs no credentials.
    direct.credential = None;
    direct.server_selection_timeout = Some(HELLO_TIMEOUT);
    let client = Client::with_options(direct).ok()?;
    let hello = client.database("admin").run_command(doc! { "hello": 1 }).await;
    client.shutdown().immediate(true).await;
    hello.ok()
}

fn misconfiguration_of(hello: &Document, wanted: Option<&str>) -> Option<StoreError> {
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
    fn mongodb_servers_that_do_not_match_the_uri_are_recognised() {
        let fault = |hello: &Document, wanted| misconfiguration_of(hello, wanted).map(|error| error.to_string());
        let member = doc! { "setName": "rs0", "secondary": true };
        assert_eq!(fault(&member, None), None);
        assert_eq!(fault(&member, Some("rs0")), None);
        assert!(fault(&member, Some("rs1")).unwrap().contains("replicaSet=NAME"));
        let ghost = doc! { "isreplicaset": true, "info": "Does not have a valid replica set config" };
        assert!(fault(&ghost, Some("rs0")).unwrap().contains("rs.initiate()"));
        let standalone = doc! { "isWritablePrimary": true };
        assert!(fault(&standalone, Some("rs0")).unwrap().contains("--replSet"));
        let mongos = doc! { "isWritablePrimary": true, "msg": "isdbgrid" };
        assert_eq!(fault(&mongos, None), None);
        assert!(fault(&mongos, Some("rs0")).unwrap().contains("mongos"));
    }
}
