//! A node of the landed version and one of this version side by side, as during an upgrade of a
//! fleet.
//!
//! Neither takes the other's work for theft, and neither removes what the other wrote.

mod bound;

use std::collections::{BTreeMap, BTreeSet};

use auth_layer::keys::Algorithm;
use bson::{Bson, Document};
use futures_util::{TryStreamExt, future::join_all};
use http::{Method, StatusCode, header};
use mongodb::Database;
use serde_json::{Map, Value, json};
use tests::{
    client::{Client, Response, Tokens, payload},
    landed,
};

use super::{list_sessions, sign_in_with, single_use, spend};
use crate::{
    fleet::{Fleet, LONG_GRACE, NodeProgram, PASSWORD, username},
    life, news, races,
    steps::unfinished,
};

/// In-process caches are off, so everything must hold at once.
const STRICT: [&str; 6] = ["--local-cache", "0", "--rate-limit", "off", LONG_GRACE[0], LONG_GRACE[1]];

/// The number of sessions that are refreshed in turns, beside each other.
const SESSIONS: usize = 8;

/// The number of refreshes of each session.
const REFRESHES: usize = 60;

/// Returns the landed version and this one, in either order.
async fn both_orders() -> [[NodeProgram<'static>; 2]; 2] {
    let (landed, current) = (NodeProgram::at(landed::demo_app().await), NodeProgram::full_hashes());
    [[landed, current], [current, landed]]
}

/// Starts nodes of these programs on MongoDB and Redis.
async fn fleet(programs: [NodeProgram<'_>; 2]) -> Fleet {
    Fleet::of_programs(&programs, true, &STRICT, None).await
}

/// Fails unless `meant` reuses were counted, and unless they were logged.
async fn assert_reuses(fleet: &Fleet, meant: u64) {
    assert_eq!(
        races::count_reuses(fleet).await,
        (meant, meant > 0),
        "reuses that were counted, and whether any was logged"
    );
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "slow: builds the landed version"]
async fn mixed_fleet_serves_the_whole_life_of_a_token() {
    for programs in both_orders().await {
        for redis in [true, false] {
            let fleet = Fleet::of_programs(&programs, redis, &STRICT, None).await;
            life::run_session_lifecycle(&fleet).await;
            // The one reuse that the test stages.
            assert_reuses(&fleet, 1).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "slow: builds the landed version"]
async fn mixed_fleet_refreshes_in_turns_and_repeats_the_same_pair() {
    // ES256 signs differently each time, so its signatures are stored.
    for algorithm in [Algorithm::EdDsa, Algorithm::Es256] {
        let [programs, _] = both_orders().await;
        let fleet = Fleet::of_programs(&programs, true, &STRICT, Some(algorithm)).await;
        let (landed, current) = fleet.clients();
        join_all((0..SESSIONS).map(|session| {
            let nodes = if session % 2 == 0 { [&landed, &current] } else { [&current, &landed] };
            refresh_in_turns(nodes)
        }))
        .await;
        assert_reuses(&fleet, 0).await;
    }
}

/// Opens a session at the first node. Then the nodes refresh it in turns, and each returns the pair
/// that the other issued.
async fn refresh_in_turns(nodes: [&Client; 2]) {
    let mut current = nodes[0].sign_up(&username(), PASSWORD).await.unwrap();
    // The claims in the tokens of each node, without those that differ from token to token.
    let mut said = [lasting_claims(&current), Map::new()];
    for turn in 1..=REFRESHES {
        let (this, other) = (nodes[turn % 2], nodes[(turn + 1) % 2]);
        // Every third time both nodes are asked at once.
        let answers = if turn % 3 == 0 {
            let (one, two) = tokio::join!(this.refresh(&current.refresh), other.refresh(&current.refresh));
            vec![one.unwrap(), two.unwrap()]
        } else {
            vec![this.refresh(&current.refresh).await.unwrap(), other.refresh(&current.refresh).await.unwrap()]
        };
        let again = [this.refresh(&current.refresh).await.unwrap(), other.refresh(&current.refresh).await.unwrap()];
        let next = races::single_pair(&[answers, again.into()].concat());
        for node in nodes {
            for pair in [&current, &next] {
                assert_accepted(node, &pair.access).await;
            }
        }
        if turn % 3 != 0 {
            let (claims, said) = (lasting_claims(&next), &mut said[turn % 2]);
            if said.is_empty() {
                said.clone_from(&claims);
            }
            assert_eq!(&claims, said, "turn {turn}");
        }
        current = next;
    }
    let [one, two] = &said;
    for (claim, value) in one {
        assert!(two.get(claim).is_none_or(|other| other == value), "{claim} is not the same in {one:?} and {two:?}");
    }
    for claim in ["iss", "sub", "aud", "sid", "client_id", "scope", "username"] {
        assert!(one.contains_key(claim) && two.contains_key(claim), "{claim} is not in both of {one:?} and {two:?}");
    }
}

/// Returns the claims that every access token of a session must repeat.
fn lasting_claims(tokens: &Tokens) -> Map<String, Value> {
    let Value::Object(mut claims) = payload(&tokens.access) else { panic!("claims are an object") };
    for of_one_token in ["jti", "iat", "exp"] {
        assert!(claims.remove(of_one_token).is_some(), "{of_one_token} is not in {claims:?}");
    }
    claims
}

/// Fails unless the node accepts this access token.
async fn assert_accepted(node: &Client, access: &str) {
    let me = node.me(access).await.unwrap();
    assert_eq!(me.status, StatusCode::OK, "{me:?}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "slow: builds the landed version"]
async fn mixed_fleet_gives_concurrent_refreshes_of_one_token_one_child() {
    for programs in both_orders().await {
        let fleet = fleet(programs).await;
        for _ in 0..4 {
            races::assert_one_child(&fleet).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "slow: builds the landed version"]
async fn mixed_fleet_ends_a_session_for_reuse_on_either_node() {
    let [programs, _] = both_orders().await;
    let fleet = fleet(programs).await;
    let (landed, current) = fleet.clients();
    let nodes = [&landed, &current];
    let name = username();
    landed.register(&name, PASSWORD).await.unwrap();
    let mut meant = 0;
    // The node that opens the session, those of two refreshes, and that of the reuse.
    for places in 0..16 {
        let at = |bit: usize| nodes[places >> bit & 1];
        let first = at(0).login(&name, PASSWORD).await.unwrap().tokens();
        let second = at(1).refresh(&first.refresh).await.unwrap().tokens();
        let third = at(2).refresh(&second.refresh).await.unwrap().tokens();
        assert_accepted(at(3), &third.access).await;
        assert_eq!(at(3).refresh(&first.refresh).await.unwrap().error(), "invalid_grant");
        meant += 1;
        assert_reuses(&fleet, meant).await;
        for node in nodes {
            for pair in [&first, &second, &third] {
                assert_eq!(node.me(&pair.access).await.unwrap().error(), "invalid_token", "{places}");
                assert_eq!(node.refresh(&pair.refresh).await.unwrap().error(), "invalid_grant", "{places}");
            }
        }
        assert_reuses(&fleet, meant).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "slow: builds the landed version"]
async fn mixed_fleet_uses_a_single_use_token_once() {
    for programs in both_orders().await {
        let fleet = fleet(programs).await;
        let (issuer, other) = fleet.clients();
        let access = issuer.sign_up(&username(), PASSWORD).await.unwrap().access;
        for _ in 0..8 {
            let once = single_use(&issuer, &access).await;
            let uses = races::send_at_once(fleet.clients(), async |node: Client| spend(&node, &once).await).await;
            assert_eq!(uses.iter().filter(|status| **status == StatusCode::OK).count(), 1, "{uses:?}");
            // One after the other: at the node that did not issue it, then at both.
            let once = single_use(&issuer, &access).await;
            assert_eq!(spend(&other, &once).await, StatusCode::OK);
            for node in [&issuer, &other] {
                assert_eq!(spend(node, &once).await, StatusCode::UNAUTHORIZED);
            }
        }
        assert_reuses(&fleet, 0).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "slow: builds the landed version"]
async fn mixed_fleet_receives_news_of_each_other_s_revocations() {
    for programs in both_orders().await {
        for redis in [true, false] {
            news::assert_every_kind_arrives(&Fleet::of_programs(&programs, redis, &news::LONG_LEASE, None).await).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "slow: builds the landed version"]
async fn mixed_fleet_finishes_a_revocation_that_broke_off_on_the_other_version() {
    for programs in both_orders().await {
        unfinished::assert_logout_is_finished(programs).await;
        unfinished::assert_logout_of_all_is_finished(programs).await;
        unfinished::assert_revoke_for_reuse_is_finished(programs).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "slow: builds the landed version"]
async fn mixed_fleet_lists_the_same_sessions() {
    let [programs, _] = both_orders().await;
    let fleet = fleet(programs).await;
    let (landed, current) = fleet.clients();
    let nodes = [&landed, &current];
    let name = username();
    landed.register(&name, PASSWORD).await.unwrap();
    let mut pairs = Vec::new();
    for (node, agent) in [(&landed, "phone"), (&current, "laptop"), (&landed, "tablet"), (&current, "watch")] {
        pairs.push(sign_in_with(node, &name, agent).await);
    }
    let mut listed = Vec::new();
    for turn in 0..6 {
        let lists = join_all(nodes.map(|node| list_sessions(node, &pairs[0].access))).await;
        assert_eq!(lists[0], lists[1], "turn {turn}");
        listed.push(lists.into_iter().next().unwrap());
        for (number, pair) in pairs.iter_mut().enumerate() {
            *pair = nodes[(turn + number) % 2].refresh(&pair.refresh).await.unwrap().tokens();
        }
    }
    // A refresh moves the times on, and changes nothing else.
    let lasting = |list: &BTreeMap<String, Value>| -> Vec<Value> {
        let members = |session: &Value| json!([session["created_at"], session["user_agent"], session["current"]]);
        list.values().map(members).collect()
    };
    for list in &listed {
        assert_eq!(lasting(list), lasting(&listed[0]));
    }
    let agents: BTreeSet<&str> = listed[0].values().filter_map(|session| session["user_agent"].as_str()).collect();
    assert_eq!(agents, BTreeSet::from(["phone", "laptop", "tablet", "watch"]));
    assert_reuses(&fleet, 0).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "slow: builds the landed version"]
async fn mixed_fleet_removes_nothing_that_the_other_version_wrote() {
    for programs in both_orders().await {
        let fleet = fleet(programs).await;
        let (writer, other) = fleet.clients();
        let database = fleet.database.as_ref().unwrap();
        let database = mongodb::Client::with_uri_str(&database.uri).await.unwrap().database(&database.name);

        // One version writes each kind of document. After a refresh the session has a retired
        // token.
        let name = username();
        writer.register(&name, PASSWORD).await.unwrap();
        let sessions = join_all(["phone", "laptop"].map(async |agent| {
            let opened = sign_in_with(&writer, &name, agent).await;
            writer.refresh(&opened.refresh).await.unwrap().tokens()
        }))
        .await;
        let once = single_use(&writer, &sessions[0].access).await;
        let bystander = writer.sign_up(&username(), PASSWORD).await.unwrap();
        let written = fields_by_document(&database).await;
        let kinds: BTreeSet<&str> = written.keys().map(|(collection, _)| collection.as_str()).collect();
        assert!(kinds.is_superset(&BTreeSet::from(["sessions", "subjects", "tokens", "users"])), "{kinds:?}");

        // The other version rotates and updates each of them.
        let mut pairs = Vec::new();
        for session in &sessions {
            assert_accepted(&other, &session.access).await;
            let refreshed = other.refresh(&session.refresh).await.unwrap().tokens();
            pairs.push(other.refresh(&refreshed.refresh).await.unwrap().tokens());
        }
        assert_no_field_lost(&written, &fields_by_document(&database).await, "two refreshes");
        assert_eq!(spend(&other, &once).await, StatusCode::OK);
        let change = json!({ "current_password": PASSWORD, "new_password": "battery staple" });
        let changed = other.post("/auth/password", Some(&pairs[0].access), Some(&change)).await.unwrap();
        assert_eq!(changed.status, StatusCode::NO_CONTENT, "{changed:?}");
        assert_eq!(other.logout_all(&pairs[0].access).await.unwrap().status, StatusCode::NO_CONTENT);
        assert_no_field_lost(&written, &fields_by_document(&database).await, "a change of password and a revoke-all");
        assert_accepted(&writer, &bystander.access).await;
        assert_reuses(&fleet, 0).await;
    }
}

/// Returns the members of each document by its collection and id, nested documents included.
async fn fields_by_document(database: &Database) -> BTreeMap<(String, String), BTreeSet<String>> {
    let mut found = BTreeMap::new();
    for collection in database.list_collection_names().await.unwrap() {
        let documents = database.collection::<Document>(&collection).find(Document::new()).await.unwrap();
        let documents: Vec<Document> = documents.try_collect().await.unwrap();
        for document in documents {
            let mut paths = BTreeSet::new();
            collect_fields(&document, "", &mut paths);
            found.insert((collection.clone(), document["_id"].to_string()), paths);
        }
    }
    found
}

/// Collects the paths of a document's fields.
fn collect_fields(document: &Document, within: &str, into: &mut BTreeSet<String>) {
    for (name, value) in document {
        let path = format!("{within}{name}");
        if let Bson::Document(inner) = value {
            collect_fields(inner, &format!("{path}."), into);
        }
        into.insert(path);
    }
}

/// Fails unless each document still has all its fields.
fn assert_no_field_lost(
    written: &BTreeMap<(String, String), BTreeSet<String>>,
    now: &BTreeMap<(String, String), BTreeSet<String>>,
    after: &str,
) {
    for (document, members) in written {
        let kept = now.get(document).unwrap_or_else(|| panic!("{document:?} is gone after {after}"));
        let gone: Vec<&String> = members.difference(kept).collect();
        assert!(gone.is_empty(), "{document:?} has lost {gone:?} after {after}");
    }
}
