use std::path::Path;

use tokio::time::advance;

use super::*;
use crate::users::EmbeddedUsers;

fn named(text: &str) -> Vec<config::Client> {
    text.split(',')
        .filter_map(|client| client.split_once(':'))
        .map(|(id, secret)| config::Client { id: id.to_owned(), secret: secret.into() })
        .collect()
}

fn open(directory: &Path) -> ClientStore {
    let users = EmbeddedUsers::open(&directory.join("users.redb")).unwrap();
    ClientStore::Embedded(EmbeddedClients::new(users))
}

fn registration(id: &str) -> Registration {
    let client = Client::public(id).unwrap().scope("profile".parse().unwrap());
    Registration { client, created_at: Utc::now() }
}

async fn ids(clients: &Clients, after: Option<&str>, limit: u32) -> Vec<String> {
    let listed = clients.list(after, limit).await.unwrap();
    listed.into_iter().map(|registration| registration.client.id().to_owned()).collect()
}

#[tokio::test]
async fn clients_built_in_and_named_are_found_and_not_registered() {
    let directory = tempfile::tempdir().unwrap();
    let clients = Clients::new(open(directory.path()), &named("job:s3cret,other:s3cret")).unwrap();
    let first_party = clients.find(FIRST_PARTY).await.unwrap().unwrap();
    assert_eq!(first_party.kind(), auth_layer::oauth::ClientKind::Public);
    assert_eq!(first_party.scope_for(None).unwrap().to_string(), "profile admin");
    assert!(first_party.redirect_uris().is_empty());
    let job = clients.find("job").await.unwrap().unwrap();
    assert_eq!(job.kind(), auth_layer::oauth::ClientKind::Confidential);
    assert_eq!(job.scope_for(None).unwrap().to_string(), "profile");
    assert_eq!(clients.add(registration("job")).await.unwrap(), Registered::IdTaken);
    assert_eq!(ids(&clients, None, 10).await, [""; 0]);
    assert_eq!(clients.fixed().iter().map(|client| client.id()).collect::<Vec<_>>(), [FIRST_PARTY, "job", "other"]);
}

#[test]
fn clients_named_wrongly_are_refused() {
    for (text, expected) in [
        ("demo-app:s3cret", FixedClientsError::FirstParty),
        ("a:s3cret,b:s3cret,a:other", FixedClientsError::Twice),
        ("\u{e9}:s3cret", FixedClientsError::Id("must be 1 to 255 characters of printable ASCII")),
    ] {
        let error = check_named(&named(text)).unwrap_err();
        assert_eq!(error, expected, "{text}");
        assert!(error.to_string().contains("--clients") && !error.to_string().contains("s3cret"), "{error}");
    }
    check_named(&named("a:s3cret,b:s3cret")).unwrap();
}

#[test]
fn clients_have_ids_that_no_user_can_have() {
    let uuid = Uuid::now_v7();
    for id in ["", "\u{e9}", "a\nb", &"a".repeat(256), &uuid.to_string(), &uuid.simple().to_string().to_uppercase()] {
        assert!(check_client_id(id).is_err(), "{id:?}");
    }
    for id in ["a", "My job, nightly", &"a".repeat(255)] {
        assert_eq!(check_client_id(id), Ok(()), "{id:?}");
    }
}

#[tokio::test]
async fn clients_are_registered_once_listed_in_pages_and_removed() {
    let directory = tempfile::tempdir().unwrap();
    let clients = Clients::new(open(directory.path()), &[]).unwrap();
    assert_eq!(ids(&clients, None, 10).await, [""; 0], "there is no table yet");
    assert!(!clients.remove("a").await.unwrap());
    let added = [registration("b"), registration("a"), registration("c")];
    for registration in &added {
        assert_eq!(clients.add(registration.clone()).await.unwrap(), Registered::Added);
    }
    assert_eq!(clients.add(registration("b")).await.unwrap(), Registered::IdTaken);
    assert_eq!(clients.list(Some("a"), 1).await.unwrap(), added[..1]);
    assert_eq!(ids(&clients, None, 2).await, ["a", "b"]);
    assert_eq!(ids(&clients, Some("b"), 2).await, ["c"]);
    assert!(clients.remove("b").await.unwrap());
    assert!(!clients.remove("b").await.unwrap());
    assert_eq!(ids(&clients, None, 10).await, ["a", "c"]);
    drop(clients);
    let clients = Clients::new(open(directory.path()), &[]).unwrap();
    assert_eq!(clients.find("a").await.unwrap().as_deref(), Some(&added[1].client), "after a restart");
}

/// Two handles on one store are two nodes.
#[tokio::test(start_paused = true)]
async fn clients_new_and_deleted_are_known_to_other_nodes_within_the_bound() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let node = Clients::new(store.clone(), &[]).unwrap();
    let other = Clients::new(store, &[]).unwrap();
    assert!(node.find("job").await.unwrap().is_none());
    other.add(registration("job")).await.unwrap();
    assert!(other.find("job").await.unwrap().is_some(), "at once where it was made");
    assert!(node.find("job").await.unwrap().is_none(), "its absence is remembered");
    advance(CACHE_TTL).await;
    assert!(node.find("job").await.unwrap().is_some());

    other.remove("job").await.unwrap();
    assert!(other.find("job").await.unwrap().is_none(), "at once where it was deleted");
    advance(CACHE_TTL.saturating_sub(Duration::from_millis(1))).await;
    assert!(node.find("job").await.unwrap().is_some(), "it is remembered");
    advance(Duration::from_millis(1)).await;
    assert!(node.find("job").await.unwrap().is_none());
}

#[tokio::test]
async fn clients_with_impossible_ids_are_not_remembered() {
    let directory = tempfile::tempdir().unwrap();
    let clients = Clients::new(open(directory.path()), &[]).unwrap();
    for id in ["a".repeat(1_000), "\u{e9}".to_owned(), String::new(), Uuid::now_v7().to_string()] {
        assert!(clients.find(&id).await.unwrap().is_none());
    }
    assert_eq!(clients.0.cache.len(), 0);
    assert!(clients.find("unknown").await.unwrap().is_none());
    assert_eq!(clients.0.cache.len(), 1);
}
