//! The demo's gRPC services, on real nodes and with a real client.

use std::time::{Duration, Instant};

use demo_app::grpc::pb::{WhoAmIRequest, WhoAmIResponse, identity_client::IdentityClient};
use futures_util::stream;
use http::{StatusCode, Uri};
use tests::servers::MongoServer;
use tokio::time::timeout;
use tonic::{Code, Request, Status, Streaming, transport::Channel};
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse,
    health_check_response::ServingStatus::{self, NotServing, Serving},
    health_client::HealthClient,
};
use tonic_reflection::pb::{v1, v1alpha};

use crate::fleet::{Fleet, PASSWORD, username};

/// Law 7: the time in which an answer must come, and normal service after the stores' return.
const ANSWER: Duration = Duration::from_secs(3);
const RECOVERY: Duration = Duration::from_secs(15);

async fn connect(url: &str) -> Channel {
    Channel::from_shared(url.to_owned()).unwrap().connect().await.unwrap()
}

/// Calls `WhoAmI`, with these credentials if there are any.
async fn who_am_i(channel: &Channel, credentials: &str) -> Result<WhoAmIResponse, Status> {
    let mut request = Request::new(WhoAmIRequest {});
    if !credentials.is_empty() {
        request.metadata_mut().insert("authorization", credentials.parse().unwrap());
    }
    Ok(IdentityClient::new(channel.clone()).who_am_i(request).await?.into_inner())
}

async fn check(channel: &Channel) -> ServingStatus {
    let request = HealthCheckRequest { service: "demo.v1.Identity".into() };
    HealthClient::new(channel.clone()).check(request).await.unwrap().get_ref().status()
}

async fn watch(channel: &Channel) -> Streaming<HealthCheckResponse> {
    HealthClient::new(channel.clone()).watch(HealthCheckRequest::default()).await.unwrap().into_inner()
}

/// Waits for the next status of the watched server.
async fn next(changes: &mut Streaming<HealthCheckResponse>) -> ServingStatus {
    let change = timeout(RECOVERY, changes.message()).await.expect("the status changes in time");
    change.unwrap().expect("the stream goes on").status()
}

#[tokio::test(flavor = "multi_thread")]
async fn grpc_of_the_demo_grants_and_refuses_beside_http() {
    let fleet = Fleet::on_shared_servers(2, true, &["--local-cache", "0", "--clients", "nightly:secret"]).await;
    let (http, other) = fleet.clients();
    let name = username();
    let tokens = http.sign_up(&name, PASSWORD).await.unwrap();
    let user_id = http.me(&tokens.access).await.unwrap().json()["user_id"].as_str().unwrap().to_owned();
    let good = format!("Bearer {}", tokens.access);
    let form = [("grant_type", "client_credentials"), ("client_id", "nightly"), ("client_secret", "secret")];
    let of_client = http.post_form("/oauth/token", &form).await.unwrap().json()["access_token"].clone();
    let of_client = format!("Bearer {}", of_client.as_str().unwrap());
    let expected = WhoAmIResponse { user_id, username: name, scopes: vec!["profile".into()] };
    let mut channels = Vec::new();
    for node in &fleet.nodes {
        let channel = connect(node.url()).await;
        assert_eq!(who_am_i(&channel, &good).await.unwrap(), expected);
        for credentials in ["", "Basic YTpi", "Bearer", "Bearer rubbish", &format!("Bearer {}", tokens.refresh)] {
            let status = who_am_i(&channel, credentials).await.unwrap_err();
            assert_eq!(status.code(), Code::Unauthenticated, "{credentials}: {status:?}");
        }
        let no_user = who_am_i(&channel, &of_client).await.unwrap_err();
        assert_eq!(no_user.code(), Code::PermissionDenied, "{no_user:?}");
        let unknown = IdentityClient::with_origin(channel.clone(), Uri::from_static("http://node/no.Service"));
        let status = { unknown }.who_am_i(WhoAmIRequest {}).await.unwrap_err();
        assert_eq!(status.code(), Code::Unimplemented, "{status:?}");
        channels.push(channel);
    }
    assert_eq!(other.logout(&tokens.access).await.unwrap().status, StatusCode::NO_CONTENT);
    for channel in &channels {
        let revoked = who_am_i(channel, &good).await.unwrap_err();
        assert_eq!(revoked.code(), Code::Unauthenticated, "{revoked:?}");
    }
}

#[tokio::test]
async fn grpc_of_the_demo_describes_itself() {
    let fleet = Fleet::embedded(&[]).await;
    let channel = connect(fleet.nodes[0].url()).await;
    let expected = [
        "demo.v1.Identity",
        "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection",
        "grpc.reflection.v1alpha.ServerReflection",
    ];

    let question = v1::server_reflection_request::MessageRequest::ListServices(String::new());
    let question = v1::ServerReflectionRequest { host: String::new(), message_request: Some(question) };
    let mut client = v1::server_reflection_client::ServerReflectionClient::new(channel.clone());
    let mut answers = client.server_reflection_info(stream::iter([question])).await.unwrap().into_inner();
    let answer = answers.message().await.unwrap().unwrap().message_response.unwrap();
    let v1::server_reflection_response::MessageResponse::ListServicesResponse(list) = answer else {
        panic!("no list: {answer:?}")
    };
    assert_eq!(list.service.into_iter().map(|service| service.name).collect::<Vec<_>>(), expected);

    let question = v1alpha::server_reflection_request::MessageRequest::ListServices(String::new());
    let question = v1alpha::ServerReflectionRequest { host: String::new(), message_request: Some(question) };
    let mut client = v1alpha::server_reflection_client::ServerReflectionClient::new(channel);
    let mut answers = client.server_reflection_info(stream::iter([question])).await.unwrap().into_inner();
    let answer = answers.message().await.unwrap().unwrap().message_response.unwrap();
    let v1alpha::server_reflection_response::MessageResponse::ListServicesResponse(list) = answer else {
        panic!("no list: {answer:?}")
    };
    assert_eq!(list.service.into_iter().map(|service| service.name).collect::<Vec<_>>(), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn grpc_of_the_demo_without_its_store_is_unavailable_and_then_serves_again() {
    let mut mongodb = MongoServer::start().await;
    let fleet = Fleet::on_servers(1, &mongodb, None, &["--local-cache", "0"]).await;
    let (http, _) = fleet.clients();
    let good = format!("Bearer {}", http.sign_up(&username(), PASSWORD).await.unwrap().access);
    let channel = connect(fleet.nodes[0].url()).await;
    who_am_i(&channel, &good).await.unwrap();
    let mut changes = watch(&channel).await;
    assert_eq!((next(&mut changes).await, check(&channel).await), (Serving, Serving));

    mongodb.kill();
    let begun = Instant::now();
    let refused = who_am_i(&channel, &good).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable, "{refused:?}");
    assert!(begun.elapsed() < ANSWER, "{:?}", begun.elapsed());
    assert_eq!((next(&mut changes).await, check(&channel).await), (NotServing, NotServing));
    let anonymous = who_am_i(&channel, "").await.unwrap_err();
    assert_eq!(anonymous.code(), Code::Unauthenticated, "no store is needed for that");

    mongodb.restart().await;
    assert_eq!(next(&mut changes).await, Serving);
    who_am_i(&channel, &good).await.unwrap();
}

#[tokio::test]
async fn grpc_streams_of_the_demo_end_with_their_client_and_with_the_node() {
    let mut fleet = Fleet::embedded(&[]).await;
    let node = &mut fleet.nodes[0];
    let mut left = watch(&connect(node.url()).await).await;
    assert_eq!(next(&mut left).await, Serving);
    drop(left);
    node.log().until("request abandoned", 1).await;
    assert!(node.log().lines().iter().any(|line| line.contains("abandoned") && line.contains("Health/Watch")));

    let channel = connect(node.url()).await;
    let mut changes = watch(&channel).await;
    assert_eq!(next(&mut changes).await, Serving);
    let mut client = v1::server_reflection_client::ServerReflectionClient::new(channel);
    let mut answers = client.server_reflection_info(stream::pending()).await.unwrap().into_inner();
    let begun = Instant::now();
    // A client keeps the connection open as long as it waits for its calls.
    let ended = async {
        assert_eq!(changes.message().await.unwrap_err().code(), Code::Unavailable);
        assert_eq!(answers.message().await.unwrap_err().code(), Code::Unavailable);
        drop((changes, answers, client));
    };
    let (status, ()) = tokio::join!(node.terminate(), ended);
    assert!(status.success(), "{status:?}");
    assert!(begun.elapsed() < Duration::from_secs(8), "open streams hold the shutdown: {:?}", begun.elapsed());
    assert!(!node.log().contains("cut off"), "{}", node.log().tail());
}
