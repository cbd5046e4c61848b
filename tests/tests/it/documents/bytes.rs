//! The bytes of the documents, read by <https://bsonspec.org> and not by the driver that wrote
//! them, as a client in another language does.

use std::collections::BTreeMap;

use bson::{RawDocumentBuf, doc};
use futures_util::TryStreamExt;
use serde_json::Value;
use tests::client::payload;
use uuid::Uuid;

use super::database;
use crate::fleet::{Fleet, PASSWORD, username};

const STRING: u8 = 0x02;
const BINARY: u8 = 0x05;
const BOOLEAN: u8 = 0x08;
const DATE: u8 = 0x09;

/// The subtype of a UUID, as opposed to any other binary.
const UUID_SUBTYPE: u8 = 0x04;

/// Returns the elements of a document by name, each with its type and the bytes of its value.
fn elements(document: &[u8]) -> BTreeMap<String, (u8, Vec<u8>)> {
    let number = |bytes: &[u8]| usize::try_from(i32::from_le_bytes(bytes[..4].try_into().unwrap())).unwrap();
    assert_eq!(number(document), document.len());
    let mut rest = &document[4..];
    let mut elements = BTreeMap::new();
    while rest[0] != 0 {
        let kind = rest[0];
        let end = 1 + rest[1..].iter().position(|byte| *byte == 0).unwrap();
        let name = String::from_utf8(rest[1..end].to_vec()).unwrap();
        rest = &rest[end + 1..];
        let length = match kind {
            STRING => 4 + number(rest),
            BINARY => 4 + 1 + number(rest),
            BOOLEAN => 1,
            DATE => 8,
            other => panic!("{name} is of type {other:#04x}, which no field is of"),
        };
        let (value, after) = rest.split_at(length);
        assert!(elements.insert(name, (kind, value.to_vec())).is_none(), "each name once");
        rest = after;
    }
    assert_eq!(rest, [0], "the end of a document");
    elements
}

/// Returns a UUID as BSON has it, in network byte order.
fn uuid(id: &Value) -> (u8, Vec<u8>) {
    let id = Uuid::parse_str(id.as_str().unwrap()).unwrap();
    (BINARY, [&16_i32.to_le_bytes()[..], &[UUID_SUBTYPE], id.as_bytes()].concat())
}

/// Returns a text as BSON has it.
fn text(text: &str) -> (u8, Vec<u8>) {
    let length = i32::try_from(text.len() + 1).unwrap();
    (STRING, [&length.to_le_bytes()[..], text.as_bytes(), &[0]].concat())
}

/// Returns a NumericDate as BSON has it, in milliseconds.
fn date(seconds: &Value) -> (u8, Vec<u8>) {
    (DATE, (seconds.as_i64().unwrap() * 1_000).to_le_bytes().to_vec())
}

/// Returns a boolean as BSON has it.
fn boolean(value: bool) -> (u8, Vec<u8>) {
    (BOOLEAN, vec![u8::from(value)])
}

#[tokio::test]
async fn mongodb_documents_are_as_documented_byte_for_byte() {
    let fleet = Fleet::on_shared_servers(1, false, &[]).await;
    let (client, _) = fleet.clients();
    let pair = client.sign_up(&username(), PASSWORD).await.unwrap();
    let once = client.post("/auth/single-use", Some(&pair.access), None).await.unwrap().json();
    let once = once["access_token"].as_str().unwrap();

    let tokens = database(&fleet).await.collection::<RawDocumentBuf>("tokens");
    let stored = async || -> Vec<_> {
        let found: Vec<RawDocumentBuf> = tokens.find(doc! {}).await.unwrap().try_collect().await.unwrap();
        found.iter().map(|document| elements(document.as_bytes())).collect()
    };
    let before = stored().await;
    assert_eq!(before.len(), 3);
    assert_eq!(client.logout(&pair.access).await.unwrap().status.as_u16(), 204);
    let after = stored().await;

    for (token, kind) in [(pair.access.as_str(), "access"), (&pair.refresh, "refresh"), (once, "single_use")] {
        let claims = payload(token);
        for (documents, revoked) in [(&before, false), (&after, true)] {
            let ours = documents.iter().find(|document| document["_id"] == uuid(&claims["jti"])).expect("a record");
            let expected = BTreeMap::from([
                ("_id".to_owned(), uuid(&claims["jti"])),
                ("user_id".to_owned(), uuid(&claims["sub"])),
                ("session_id".to_owned(), uuid(&claims["sid"])),
                ("kind".to_owned(), text(kind)),
                ("issued_at".to_owned(), date(&claims["iat"])),
                ("expires_at".to_owned(), date(&claims["exp"])),
                ("revoked".to_owned(), boolean(revoked)),
            ]);
            assert_eq!(*ours, expected, "{kind}");
        }
    }
}
