//! gRPC behind the same layer as axum: a real tonic server, a real client, over TCP.

mod demo;

use std::net::SocketAddr;

use auth_layer::{
    AuthLayer, Authority, Claims, Grant, IssuedPair, UserId,
    keys::{Keyring, SigningKey},
    store::{
        MemoryStore, TokenStore,
        mongodb::{MongoOptions, MongoStore},
    },
};
use axum::{Router, routing::get};
use http::StatusCode;
use tests::{client::Client, servers::MongoServer};
use tokio::{net::TcpListener, task::AbortHandle};
use tonic::{
    Code, Request, Response, Status,
    codegen::tokio_stream::{Empty, wrappers::TcpListenerStream},
    metadata::MetadataValue,
    server::NamedService,
    service::{LayerExt, Routes},
    transport::{Channel, Server},
};
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse,
    health_check_response::ServingStatus,
    health_client::HealthClient,
    health_server::{Health, HealthServer},
};
use tower::Layer;

/// A service of the standard health protocol that answers each caller about the subject of its own
/// token only.
#[derive(Debug)]
struct OwnSubject;

#[tonic::async_trait]
impl Health for OwnSubject {
    async fn check(&self, request: Request<HealthCheckRequest>) -> Result<Response<HealthCheckResponse>, Status> {
        let claims = request.extensions().get::<Claims>().ok_or_else(|| Status::internal("no claims"))?;
        if claims.sub.to_string() != request.get_ref().service {
            return Err(Status::not_found("somebody else's"));
        }
        Ok(Response::new(HealthCheckResponse { status: ServingStatus::Serving.into() }))
    }

    type WatchStream = Empty<Result<HealthCheckResponse, Status>>;

    async fn watch(&self, _: Request<HealthCheckRequest>) -> Result<Response<Self::WatchStream>, Status> {
        Err(Status::unimplemented("nothing to watch"))
    }
}

/// A server on a free port. Ends when dropped.
struct RunningServer {
    address: SocketAddr,
    task: AbortHandle,
}

impl Drop for RunningServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl RunningServer {
    /// Starts a tonic server behind the layer.
    async fn tonic(authority: &Authority) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = Server::builder()
            .layer(AuthLayer::new(authority.clone()))
            .add_service(HealthServer::new(OwnSubject))
            .serve_with_incoming(TcpListenerStream::new(listener));
        Self { address, task: tokio::spawn(server).abort_handle() }
    }

    /// Starts an axum server.
    async fn axum(app: Router) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        Self { address, task: tokio::spawn(async { axum::serve(listener, app).await }).abort_handle() }
    }

    /// Connects a gRPC client.
    async fn client(&self) -> HealthClient<Channel> {
        let channel = Channel::from_shared(format!("http://{}", self.address)).unwrap();
        HealthClient::new(channel.connect().await.unwrap())
    }
}

/// Builds an authority on this store.
fn authority(store: impl TokenStore) -> Authority {
    let keys = Keyring::new(SigningKey::generate().unwrap());
    Authority::builder("https://issuer", store).audience("api").keys(keys).build().unwrap()
}

/// Opens a session of a new user.
async fn signed_in(authority: &Authority) -> IssuedPair {
    let sign_in = authority.begin_sign_in(UserId::generate()).await.unwrap();
    authority.sign_in(sign_in, Grant::new("web")).await.unwrap()
}

/// Returns a request for the health of `service`, with the token if there is one.
fn health_request(service: &str, token: Option<&str>) -> Request<HealthCheckRequest> {
    let mut request = Request::new(HealthCheckRequest { service: service.to_owned() });
    if let Some(token) = token {
        let value = MetadataValue::try_from(format!("Bearer {token}")).unwrap();
        request.metadata_mut().insert("authorization", value);
    }
    request
}

/// Fails unless the server grants and refuses as it must. Tries everything except an outage.
async fn assert_grants_and_refuses(client: &mut HealthClient<Channel>, authority: &Authority) {
    let pair = signed_in(authority).await;
    let subject = pair.user_id.to_string();
    let served = client.check(health_request(&subject, Some(&pair.access_token))).await.unwrap();
    assert_eq!(served.get_ref().status(), ServingStatus::Serving, "the handler had the caller's claims");
    let stranger = client.check(health_request("stranger", Some(&pair.access_token))).await.unwrap_err();
    assert_eq!(stranger.code(), Code::NotFound, "the service's own errors pass through the layer");

    let anonymous = client.check(health_request(&subject, None)).await.unwrap_err();
    assert_eq!(anonymous.code(), Code::Unauthenticated);
    let rubbish = client.check(health_request(&subject, Some("rubbish"))).await.unwrap_err();
    assert_eq!(rubbish.code(), Code::Unauthenticated);
    let wrong_kind = client.check(health_request(&subject, Some(&pair.refresh_token))).await.unwrap_err();
    assert_eq!(wrong_kind.code(), Code::Unauthenticated);
    // Streaming calls are refused in the same way.
    let watched = client.watch(health_request(&subject, None)).await.unwrap_err();
    assert_eq!(watched.code(), Code::Unauthenticated);

    authority.revoke_session(pair.session_id).await.unwrap();
    let revoked = client.check(health_request(&subject, Some(&pair.access_token))).await.unwrap_err();
    assert_eq!(revoked.code(), Code::Unauthenticated);
    assert!(!revoked.message().is_empty() && !revoked.message().contains('%'), "it was decoded: {}", revoked.message());
}

#[tokio::test]
async fn grpc_server_grants_and_refuses_in_grpc_terms() {
    let authority = authority(MemoryStore::new());
    let server = RunningServer::tonic(&authority).await;
    assert_grants_and_refuses(&mut server.client().await, &authority).await;
}

#[tokio::test]
async fn grpc_and_axum_share_one_port_behind_one_layer() {
    let authority = authority(MemoryStore::new());
    let me = Router::new().route("/me", get(async |claims: Claims| claims.sub.to_string()));
    let app = Routes::new(HealthServer::new(OwnSubject)).prepare().into_axum_router().merge(me);
    let server = RunningServer::axum(app.layer(AuthLayer::new(authority.clone()))).await;

    assert_grants_and_refuses(&mut server.client().await, &authority).await;
    let pair = signed_in(&authority).await;
    let http = Client::new(&format!("http://{}", server.address));
    assert_eq!(http.me(&pair.access_token).await.unwrap().text, pair.user_id.to_string());
    authority.revoke_session(pair.session_id).await.unwrap();
    let refused = http.me(&pair.access_token).await.unwrap();
    assert_eq!((refused.status, refused.error()), (StatusCode::UNAUTHORIZED, "invalid_token".into()));
}

#[tokio::test]
async fn grpc_service_can_be_behind_the_layer_beside_others_that_are_not() {
    fn name_of<S: NamedService>(_: &S) -> &'static str {
        S::NAME
    }
    let authority = authority(MemoryStore::new());
    let layered = AuthLayer::new(authority.clone()).named_layer(HealthServer::new(OwnSubject));
    assert_eq!(name_of(&layered), "grpc.health.v1.Health");
    let _ = AuthLayer::new(authority.clone()).layer(HealthServer::new(OwnSubject));

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = Server::builder().add_service(layered).serve_with_incoming(TcpListenerStream::new(listener));
    let server = RunningServer { address, task: tokio::spawn(serving).abort_handle() };
    assert_grants_and_refuses(&mut server.client().await, &authority).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn grpc_server_without_its_store_is_unavailable_and_then_serves_again() {
    let mut mongodb = MongoServer::start().await;
    let store = MongoStore::connect(&mongodb.uri(), "grpc", MongoOptions::default()).await.unwrap();
    let authority = authority(store);
    let server = RunningServer::tonic(&authority).await;
    let mut client = server.client().await;
    let pair = signed_in(&authority).await;
    let subject = pair.user_id.to_string();
    client.check(health_request(&subject, Some(&pair.access_token))).await.unwrap();

    mongodb.kill();
    let refused = client.check(health_request(&subject, Some(&pair.access_token))).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable, "{refused:?}");

    mongodb.restart().await;
    client.check(health_request(&subject, Some(&pair.access_token))).await.unwrap();
}
