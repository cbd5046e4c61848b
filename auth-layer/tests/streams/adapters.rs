//! Bodies, streams of results and gRPC's streams.

use std::{convert::Infallible, error::Error};

use auth_layer::stream::{RevocableBody, RevocableStream};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Full, StreamBody};
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;

use super::*;

/// Returns a stream, and the sender of its items.
fn items<T>() -> (mpsc::UnboundedSender<T>, UnboundedReceiverStream<T>) {
    let (sender, receiver) = mpsc::unbounded_channel();
    (sender, UnboundedReceiverStream::new(receiver))
}

fn stream_end(error: &(dyn Error + 'static)) -> Option<StreamEnd> {
    error.downcast_ref().copied()
}

#[tokio::test(start_paused = true)]
async fn stream_adapter_lets_nothing_pass_after_the_end() {
    let node = Node::new();
    let claims = node.claims().await;
    let (sender, items) = items();
    let mut items = items.until_revoked(node.trust.revoked(&claims));
    sender.send(1).unwrap();
    assert_eq!((items.next().await, items.end()), (Some(1), None));
    node.authority.sign_out(&claims).await.unwrap();
    sleep(SECOND).await;
    sender.send(2).unwrap();
    assert_eq!((items.next().await, items.end()), (None, Some(StreamEnd::Revoked)));
    assert_eq!(items.next().await, None);
}

#[tokio::test(start_paused = true)]
async fn stream_adapter_wakes_a_reader_that_waits_for_an_item() {
    let node = Node::new();
    let claims = node.claims().await;
    let (_sender, items) = items::<Result<(), Infallible>>();
    let mut items = items.try_until_revoked(node.trust.revoked(&claims));
    let reader = tokio::spawn(async move {
        let last = items.next().await;
        (last, items.next().await.is_none())
    });
    sleep(MINUTE).await;
    node.authority.sign_out(&claims).await.unwrap();
    let (last, is_over) = timeout(SECOND / 10, reader).await.unwrap().unwrap();
    assert_eq!(stream_end(&*last.unwrap().unwrap_err()), Some(StreamEnd::Revoked));
    assert!(is_over);
}

#[tokio::test(start_paused = true)]
async fn stream_adapters_pass_on_what_is_complete_without_an_error() {
    let node = Node::new();
    let revoked = async || node.trust.revoked(&node.claims().await);
    let items: Vec<_> = stream::iter(0..3).until_revoked(revoked().await).collect().await;
    assert_eq!(items, [0, 1, 2]);
    let results = stream::iter([Ok(1), Err("bad"), Ok(2)]).try_until_revoked(revoked().await);
    let results: Vec<_> = results.map(|item| item.map_err(|error| error.to_string())).collect().await;
    assert_eq!(results, [Ok(1), Err("bad".into()), Ok(2)]);
    let body = RevocableBody::new(Full::new(Bytes::from_static(b"all of it")), revoked().await);
    assert_eq!(body.size_hint().exact(), Some(9));
    assert_eq!(body.collect().await.unwrap().to_bytes(), "all of it");
    let body = RevocableBody::new(http_body_util::Empty::<Bytes>::new(), revoked().await);
    assert!(body.is_end_stream());
}

#[tokio::test(start_paused = true)]
async fn stream_body_ends_with_an_error() {
    for (outage, expected) in [(None, StreamEnd::Revoked), (Some(Outage::Hangs), StreamEnd::Unavailable)] {
        let node = Node::new();
        let claims = node.claims().await;
        let (sender, items) = items::<Result<Frame<Bytes>, Infallible>>();
        let mut body = RevocableBody::new(StreamBody::new(items), node.trust.revoked(&claims));
        sender.send(Ok(Frame::data(Bytes::from_static(b"first")))).unwrap();
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "first");
        match outage {
            None => node.authority.sign_out(&claims).await.unwrap(),
            Some(outage) => node.store.break_down(outage),
        }
        sleep(MINUTE).await;
        sender.send(Ok(Frame::data(Bytes::from_static(b"second")))).unwrap();
        let error = body.frame().await.unwrap().unwrap_err();
        assert_eq!(stream_end(&*error), Some(expected));
        assert!(body.frame().await.is_none() && body.is_end_stream());
    }
}

#[cfg(feature = "tonic")]
#[tokio::test(start_paused = true)]
async fn stream_of_grpc_ends_with_the_status_of_a_refusal() {
    use auth_layer::grpc;
    use tonic::{Code, Status};

    for (revokes, code) in [(true, Code::Unauthenticated), (false, Code::Unavailable)] {
        let node = Node::new();
        let claims = node.claims().await;
        let (sender, items) = items::<Result<u8, Status>>();
        let mut items = grpc::until_revoked(items, node.trust.revoked(&claims));
        sender.send(Ok(1)).unwrap();
        sender.send(Err(Status::not_found("of the service"))).unwrap();
        assert_eq!(items.next().await.unwrap().unwrap(), 1);
        assert_eq!(items.next().await.unwrap().unwrap_err().code(), Code::NotFound);
        if revokes {
            node.authority.sign_out(&claims).await.unwrap();
        } else {
            node.store.break_down(Outage::Fails);
        }
        sleep(MINUTE).await;
        sender.send(Ok(2)).unwrap();
        assert_eq!(items.next().await.unwrap().unwrap_err().code(), code);
        assert!(items.next().await.is_none());
    }
}

/// A client over HTTP sees that something is missing.
#[cfg(feature = "axum")]
#[tokio::test]
async fn stream_of_events_that_is_cut_is_an_error_to_the_client() {
    use auth_layer::AuthLayer;
    use axum::{
        Router,
        extract::State,
        response::{IntoResponse, Sse, sse::Event},
        routing::get,
    };

    async fn events(State(trust): State<Trust>, claims: Claims) -> impl IntoResponse {
        let first = stream::iter([Ok::<_, Infallible>(Event::default().data("first"))]);
        Sse::new(first.chain(stream::pending()).try_until_revoked(trust.revoked(&claims)))
    }

    let node = Node::new();
    let app = Router::new().route("/events", get(events)).layer(AuthLayer::new(&node.authority));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(axum::serve(listener, app.with_state(node.trust.clone())).into_future());
    let pair = node.sign_in(UserId::generate()).await;
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let open = || client.get(format!("http://{address}/events")).bearer_auth(&pair.access_token).send();
    let mut response = open().await.unwrap();
    assert_eq!(response.chunk().await.unwrap().unwrap(), "data: first\n\n");
    node.authority.revoke_session(pair.session_id).await.unwrap();
    assert!(timeout(5 * SECOND, response.chunk()).await.unwrap().is_err());
    assert_eq!(open().await.unwrap().status(), 401, "it cannot come back");
    server.abort();
}
