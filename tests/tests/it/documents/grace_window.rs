//! The grace window closes by MongoDB's clock. The tests do not wait for that: they move the time
//! from which it counts.

use std::time::{Duration, Instant};

use bson::{Document, doc};
use http::StatusCode;
use mongodb::Collection;

use super::database;
use crate::fleet::{Fleet, PASSWORD, PATIENCE, username};

/// A minute in milliseconds.
const MINUTE_MS: i64 = 60_000;

/// Waits for the delivery mark, which starts the window and is written in the background.
async fn until_delivered(sessions: &Collection<Document>) {
    let begun = Instant::now();
    while sessions.find_one(doc! { "previous.delivered": true }).await.unwrap().is_none() {
        assert!(begun.elapsed() < PATIENCE, "the pair is not marked as delivered");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Moves the beginning of the window back by this time.
async fn backdate_window(sessions: &Collection<Document>, minutes: i64) {
    let at = doc! { "$subtract": ["$previous.at", minutes * MINUTE_MS] };
    let moved = sessions.update_one(doc! {}, vec![doc! { "$set": { "previous.at": at } }]).await.unwrap();
    assert_eq!(moved.modified_count, 1);
}

#[tokio::test]
async fn refresh_retry_gets_the_same_pair_in_the_window_and_then_ends_the_session() {
    let fleet = Fleet::on_shared_servers(2, false, &["--local-cache", "0", "--refresh-grace", "10m"]).await;
    let (a, b) = fleet.clients();
    let first = a.sign_up(&username(), PASSWORD).await.unwrap();
    let second = a.refresh(&first.refresh).await.unwrap().tokens();
    let sessions = database(&fleet).await.collection::<Document>("sessions");
    until_delivered(&sessions).await;

    backdate_window(&sessions, 5).await;
    for node in [&a, &b] {
        let again = node.refresh(&first.refresh).await.unwrap().tokens();
        assert_eq!((&again.access, &again.refresh), (&second.access, &second.refresh), "within the window");
    }

    backdate_window(&sessions, 6).await;
    assert_eq!(b.refresh(&first.refresh).await.unwrap().error(), "invalid_grant", "the window has passed");
    for node in [&a, &b] {
        for tokens in [&first, &second] {
            assert_eq!(node.me(&tokens.access).await.unwrap().status, StatusCode::UNAUTHORIZED);
        }
        assert_eq!(node.refresh(&second.refresh).await.unwrap().error(), "invalid_grant", "the session has ended");
    }
}
